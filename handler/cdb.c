// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
#include "cdb.h"

#include "libtcmu_common.h"

#include "iov.h"
#include "sense.h"

#define NO_SA TI_NO_SERVICE_ACTION

/* The search is linear: what is frequent stands first. */
static const struct ti_row rows[] = {
	/* Op    SA     Len Flags          Name */
	{ 0x28, NO_SA, 10, 0, "READ(10)", ti_cmd_read_write },
	{ 0x2a, NO_SA, 10, TI_ROW_WRITES, "WRITE(10)", ti_cmd_read_write },
	{ 0x88, NO_SA, 16, 0, "READ(16)", ti_cmd_read_write },
	{ 0x8a, NO_SA, 16, TI_ROW_WRITES, "WRITE(16)", ti_cmd_read_write },
	{ 0x35, NO_SA, 10, 0, "SYNCHRONIZE CACHE(10)", ti_cmd_synchronize_cache },
	{ 0x91, NO_SA, 16, 0, "SYNCHRONIZE CACHE(16)", ti_cmd_synchronize_cache },
	{ 0x08, NO_SA, 6, 0, "READ(6)", ti_cmd_read_write },
	{ 0x0a, NO_SA, 6, TI_ROW_WRITES, "WRITE(6)", ti_cmd_read_write },
	{ 0xa8, NO_SA, 12, 0, "READ(12)", ti_cmd_read_write },
	{ 0xaa, NO_SA, 12, TI_ROW_WRITES, "WRITE(12)", ti_cmd_read_write },
	{ 0x41, NO_SA, 10, TI_ROW_WRITES, "WRITE SAME(10)", ti_cmd_write_same },
	{ 0x93, NO_SA, 16, TI_ROW_WRITES, "WRITE SAME(16)", ti_cmd_write_same },

	{ 0x12, NO_SA, 6, 0, "INQUIRY", ti_cmd_inquiry },
	{ 0x1a, NO_SA, 6, 0, "MODE SENSE(6)", ti_cmd_mode_sense },
	{ 0x5a, NO_SA, 10, 0, "MODE SENSE(10)", ti_cmd_mode_sense },
	{ 0x15, NO_SA, 6, 0, "MODE SELECT(6)", ti_cmd_mode_select },
	{ 0x55, NO_SA, 10, 0, "MODE SELECT(10)", ti_cmd_mode_select },
	{ 0x9e, 0x10, 16, 0, "READ CAPACITY(16)", ti_cmd_read_capacity },

	/* Not provisioned thinly: nothing to unmap (LBPME is 0). */
	{ 0x42, NO_SA, 10, TI_ROW_WRITES, "UNMAP", ti_cmd_refuse },
	/* The core forgets write errors and never ends on a LUN of more than 2^32 blocks. */
	{ 0x04, NO_SA, 6, TI_ROW_WRITES, "FORMAT UNIT", ti_cmd_refuse },
	/* The core reads a command that it has just freed. */
	{ 0x83, NO_SA, 16, TI_ROW_WRITES, "EXTENDED COPY", ti_cmd_refuse },
	{ 0x84, NO_SA, 16, 0, "RECEIVE COPY RESULTS", ti_cmd_refuse },
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

const struct ti_row *ti_row_find(const uint8_t *cdb)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (rows[i].opcode == cdb[0] &&
		    (rows[i].service_action == NO_SA || rows[i].service_action == (cdb[1] & 0x1f)))
			return &rows[i];
	}
	return NULL;
}

const struct ti_row *ti_row_at(size_t index)
{
	return index < ROWS ? &rows[index] : NULL;
}

int ti_answer(struct ti_command *cmd, const uint8_t *data, size_t len, size_t allocation)
{
	struct ti_iov_cursor cursor = ti_iov_cursor(cmd->iov, cmd->iov_count);

	ti_iov_copy_in(&cursor, data, len < allocation ? len : allocation);
	ti_iov_zero(&cursor, SIZE_MAX);
	return TCMU_STS_OK;
}

int ti_bad_field(struct ti_command *cmd, unsigned byte, int bit)
{
	return ti_sense_set_field(cmd->sense, TI_ASC_INVALID_FIELD_IN_CDB, byte, bit);
}

struct ti_extent ti_cdb_extent(const uint8_t *cdb, unsigned cdb_len)
{
	switch (cdb_len) {
	case 6:
		return (struct ti_extent){ ((uint64_t)(cdb[1] & 0x1f) << 16) | ti_be16(cdb + 2),
					   cdb[4] };
	case 10:
		return (struct ti_extent){ ti_be32(cdb + 2), ti_be16(cdb + 7) };
	case 12:
		return (struct ti_extent){ ti_be32(cdb + 2), ti_be32(cdb + 6) };
	default:
		return (struct ti_extent){ ti_be64(cdb + 2), ti_be32(cdb + 10) };
	}
}

int ti_check_extent(struct ti_command *cmd, struct ti_extent extent)
{
	uint64_t blocks = cmd->facts->blocks;

	if (extent.lba <= blocks && extent.blocks <= blocks - extent.lba)
		return TCMU_STS_OK;
	return ti_sense_set_lba(cmd->sense, TI_KEY_ILLEGAL_REQUEST, TI_ASC_LBA_OUT_OF_RANGE,
				extent.lba > blocks ? extent.lba : blocks);
}

int ti_cmd_refuse(const struct ti_row *row, struct ti_command *cmd)
{
	(void)row;
	return ti_sense_set(cmd->sense, TI_KEY_ILLEGAL_REQUEST, TI_ASC_INVALID_OPERATION_CODE);
}
