// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
#include "cdb.h"

#include "libtcmu_common.h"

#include "iov.h"
#include "sense.h"

#define NO_SA TI_NO_SERVICE_ACTION

static int refuse_action(const struct ti_row *row, struct ti_command *cmd)
{
	(void)row;
	return ti_bad_field(cmd, 1, 4);
}

/* Bytes of a CDB that are looked at. */
#define B2 0xff, 0xff
#define B4 B2, B2
#define B8 B4, B4

#define WRITES TI_ROW_WRITES
#define HIDDEN TI_ROW_HIDDEN
#define KERNEL TI_ROW_KERNEL

/* clang-format off */
/* The search is linear: what is frequent stands first. */
static const struct ti_row rows[] = {
	/* Op    SA     Len Flags   Name                 Function                Bits looked at */
	{ 0x28, NO_SA, 10, 0,      "READ(10)",           ti_cmd_read_write,      { 0x28, 0x18, B4, 0, B2, 0 } },
	{ 0x2a, NO_SA, 10, WRITES, "WRITE(10)",          ti_cmd_read_write,      { 0x2a, 0x18, B4, 0, B2, 0 } },
	{ 0x88, NO_SA, 16, 0,      "READ(16)",           ti_cmd_read_write,      { 0x88, 0x18, B8, B4, 0, 0 } },
	{ 0x8a, NO_SA, 16, WRITES, "WRITE(16)",          ti_cmd_read_write,      { 0x8a, 0x18, B8, B4, 0, 0 } },
	{ 0x35, NO_SA, 10, 0,      "SYNCHRONIZE CACHE(10)", ti_cmd_synchronize_cache, { 0x35, 0x02, B4, 0, B2, 0 } },
	{ 0x91, NO_SA, 16, 0,      "SYNCHRONIZE CACHE(16)", ti_cmd_synchronize_cache, { 0x91, 0x02, B8, B4, 0, 0 } },
	{ 0x08, NO_SA,  6, 0,      "READ(6)",            ti_cmd_read_write,      { 0x08, 0x1f, B2, 0xff, 0 } },
	{ 0x0a, NO_SA,  6, WRITES, "WRITE(6)",           ti_cmd_read_write,      { 0x0a, 0x1f, B2, 0xff, 0 } },
	{ 0xa8, NO_SA, 12, 0,      "READ(12)",           ti_cmd_read_write,      { 0xa8, 0x18, B4, B4, 0, 0 } },
	{ 0xaa, NO_SA, 12, WRITES, "WRITE(12)",          ti_cmd_read_write,      { 0xaa, 0x18, B4, B4, 0, 0 } },
	{ 0x41, NO_SA, 10, WRITES, "WRITE SAME(10)",     ti_cmd_write_same,      { 0x41, 0x00, B4, 0, B2, 0 } },
	{ 0x93, NO_SA, 16, WRITES, "WRITE SAME(16)",     ti_cmd_write_same,      { 0x93, 0x01, B8, B4, 0, 0 } },
	{ 0x89, NO_SA, 16, WRITES, "COMPARE AND WRITE",  ti_cmd_compare_and_write, { 0x89, 0x18, B8, 0, 0, 0, 0xff, 0, 0 } },
	{ 0x2f, NO_SA, 10, 0,      "VERIFY(10)",         ti_cmd_verify,          { 0x2f, 0x16, B4, 0, B2, 0 } },
	{ 0xaf, NO_SA, 12, 0,      "VERIFY(12)",         ti_cmd_verify,          { 0xaf, 0x16, B4, B4, 0, 0 } },
	{ 0x8f, NO_SA, 16, 0,      "VERIFY(16)",         ti_cmd_verify,          { 0x8f, 0x16, B8, B4, 0, 0 } },
	{ 0x2e, NO_SA, 10, WRITES, "WRITE AND VERIFY(10)", ti_cmd_write_and_verify, { 0x2e, 0x16, B4, 0, B2, 0 } },
	{ 0xae, NO_SA, 12, WRITES, "WRITE AND VERIFY(12)", ti_cmd_write_and_verify, { 0xae, 0x16, B4, B4, 0, 0 } },
	{ 0x8e, NO_SA, 16, WRITES, "WRITE AND VERIFY(16)", ti_cmd_write_and_verify, { 0x8e, 0x16, B8, B4, 0, 0 } },
	{ 0x8b, NO_SA, 16, WRITES, "ORWRITE(16)",        ti_cmd_or_write,        { 0x8b, 0x18, B8, B4, 0, 0 } },
	{ 0x9c, NO_SA, 16, WRITES, "WRITE ATOMIC(16)",   ti_cmd_write_atomic,    { 0x9c, 0x18, B8, 0, 0, B2, 0, 0 } },
	{ 0x42, NO_SA, 10, WRITES, "UNMAP",              ti_cmd_unmap,           { 0x42, 0x00, 0, 0, 0, 0, 0, B2, 0 } },
	{ 0x34, NO_SA, 10, 0,      "PRE-FETCH(10)",      ti_cmd_pre_fetch,       { 0x34, 0x02, B4, 0, B2, 0 } },
	{ 0x90, NO_SA, 16, 0,      "PRE-FETCH(16)",      ti_cmd_pre_fetch,       { 0x90, 0x02, B8, B4, 0, 0 } },
	{ 0x83, 0x00,  16, WRITES, "EXTENDED COPY(LID1)", ti_cmd_extended_copy,  { 0x83, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, B4, 0, 0 } },

	{ 0x00, NO_SA,  6, 0,      "TEST UNIT READY",    ti_cmd_test_unit_ready, { 0x00, 0, 0, 0, 0, 0 } },
	{ 0x03, NO_SA,  6, 0,      "REQUEST SENSE",      ti_cmd_request_sense,   { 0x03, 0x01, 0, 0, 0xff, 0 } },
	{ 0x12, NO_SA,  6, 0,      "INQUIRY",            ti_cmd_inquiry,         { 0x12, 0x01, 0xff, B2, 0 } },
	{ 0x1a, NO_SA,  6, 0,      "MODE SENSE(6)",      ti_cmd_mode_sense,      { 0x1a, 0x08, B2, 0xff, 0 } },
	{ 0x5a, NO_SA, 10, 0,      "MODE SENSE(10)",     ti_cmd_mode_sense,      { 0x5a, 0x18, B2, 0, 0, 0, B2, 0 } },
	{ 0x15, NO_SA,  6, 0,      "MODE SELECT(6)",     ti_cmd_mode_select,     { 0x15, 0x10, 0, 0, 0xff, 0 } },
	{ 0x55, NO_SA, 10, 0,      "MODE SELECT(10)",    ti_cmd_mode_select,     { 0x55, 0x10, 0, 0, 0, 0, 0, B2, 0 } },
	{ 0x4d, NO_SA, 10, 0,      "LOG SENSE",          ti_cmd_log_sense,       { 0x4d, 0x00, B2, 0, B2, B2, 0 } },
	{ 0x1b, NO_SA,  6, 0,      "START STOP UNIT",    ti_cmd_start_stop,      { 0x1b, 0x01, 0, 0, 0xf7, 0 } },
	{ 0x25, NO_SA, 10, 0,      "READ CAPACITY(10)",  ti_cmd_read_capacity,   { 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0 } },
	{ 0x9e, 0x10,  16, 0,      "READ CAPACITY(16)",  ti_cmd_read_capacity,   { 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, B4, 0, 0 } },
	{ 0x9e, 0x12,  16, 0,      "GET LBA STATUS",     ti_cmd_get_lba_status,  { 0x9e, 0x12, B8, B4, 0, 0 } },
	{ 0x37, NO_SA, 10, 0,      "READ DEFECT DATA(10)", ti_cmd_read_defect_data, { 0x37, 0, 0x1f, 0, 0, 0, 0, B2, 0 } },
	{ 0xb7, NO_SA, 12, 0,      "READ DEFECT DATA(12)", ti_cmd_read_defect_data, { 0xb7, 0x1f, B4, B4, 0, 0 } },
	{ 0xa3, 0x0c,  12, 0,      "REPORT SUPPORTED OPERATION CODES", ti_cmd_report_opcodes, { 0xa3, 0x0c, 0x87, 0xff, B2, B4, 0, 0 } },
	{ 0xa3, 0x0d,  12, 0,      "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", ti_cmd_report_tmf, { 0xa3, 0x0d, 0x80, 0, 0, 0, B4, 0, 0 } },
	{ 0x84, 0x00,  16, 0,      "RECEIVE COPY STATUS(LID1)", ti_cmd_copy_status, { 0x84, 0x00, 0xff, 0, 0, 0, 0, 0, 0, 0, B4, 0, 0 } },
	{ 0x84, 0x03,  16, 0,      "RECEIVE COPY OPERATING PARAMETERS", ti_cmd_copy_parameters, { 0x84, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, B4, 0, 0 } },
	{ 0x84, 0x04,  16, 0,      "RECEIVE COPY FAILURE DETAILS(LID1)", ti_cmd_copy_failure, { 0x84, 0x04, 0xff, 0, 0, 0, 0, 0, 0, 0, B4, 0, 0 } },

	/* tcmu-runner's core, for those who have ALUA groups. */
	{ 0xa3, 0x0a,  12, HIDDEN, "REPORT TARGET PORT GROUPS", NULL,            { 0 } },
	{ 0xa4, 0x0a,  12, HIDDEN, "SET TARGET PORT GROUPS", NULL,               { 0 } },
	/* The core forgets write errors and never ends on a LUN of more than 2^32 blocks. */
	{ 0x04, NO_SA,  6, WRITES | HIDDEN, "FORMAT UNIT", ti_cmd_refuse,        { 0 } },

	/* The kernel answers these; here only if somebody has switched that off (emulate_pr). */
	{ 0xa0, NO_SA, 12, KERNEL, "REPORT LUNS",        ti_cmd_refuse,          { 0xa0, 0, 0xff, 0, 0, 0, B4, 0, 0 } },
	{ 0x5e, 0x00,  10, KERNEL, "PERSISTENT RESERVE IN, READ KEYS", ti_cmd_refuse, { 0x5e, 0x00, 0, 0, 0, 0, 0, B2, 0 } },
	{ 0x5e, 0x01,  10, KERNEL, "READ RESERVATION",   ti_cmd_refuse,          { 0x5e, 0x01, 0, 0, 0, 0, 0, B2, 0 } },
	{ 0x5e, 0x02,  10, KERNEL, "REPORT CAPABILITIES", ti_cmd_refuse,         { 0x5e, 0x02, 0, 0, 0, 0, 0, B2, 0 } },
	{ 0x5e, 0x03,  10, KERNEL, "READ FULL STATUS",   ti_cmd_refuse,          { 0x5e, 0x03, 0, 0, 0, 0, 0, B2, 0 } },
	{ 0x5f, 0x00,  10, KERNEL, "PERSISTENT RESERVE OUT, REGISTER", ti_cmd_refuse, { 0x5f, 0x00, 0xff, 0, 0, B4, 0 } },
	{ 0x5f, 0x01,  10, KERNEL, "RESERVE",            ti_cmd_refuse,          { 0x5f, 0x01, 0xff, 0, 0, B4, 0 } },
	{ 0x5f, 0x02,  10, KERNEL, "RELEASE",            ti_cmd_refuse,          { 0x5f, 0x02, 0xff, 0, 0, B4, 0 } },
	{ 0x5f, 0x03,  10, KERNEL, "CLEAR",              ti_cmd_refuse,          { 0x5f, 0x03, 0xff, 0, 0, B4, 0 } },
	{ 0x5f, 0x04,  10, KERNEL, "PREEMPT",            ti_cmd_refuse,          { 0x5f, 0x04, 0xff, 0, 0, B4, 0 } },
	{ 0x5f, 0x05,  10, KERNEL, "PREEMPT AND ABORT",  ti_cmd_refuse,          { 0x5f, 0x05, 0xff, 0, 0, B4, 0 } },
	{ 0x5f, 0x06,  10, KERNEL, "REGISTER AND IGNORE EXISTING KEY", ti_cmd_refuse, { 0x5f, 0x06, 0xff, 0, 0, B4, 0 } },
	{ 0x5f, 0x07,  10, KERNEL, "REGISTER AND MOVE",  ti_cmd_refuse,          { 0x5f, 0x07, 0xff, 0, 0, B4, 0 } },
	{ 0x16, NO_SA,  6, KERNEL, "RESERVE(6)",         ti_cmd_refuse,          { 0x16, 0, 0, 0, 0, 0 } },
	{ 0x17, NO_SA,  6, KERNEL, "RELEASE(6)",         ti_cmd_refuse,          { 0x17, 0, 0, 0, 0, 0 } },
	{ 0x56, NO_SA, 10, KERNEL, "RESERVE(10)",        ti_cmd_refuse,          { 0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0 } },
	{ 0x57, NO_SA, 10, KERNEL, "RELEASE(10)",        ti_cmd_refuse,          { 0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0 } },
};
/* clang-format on */

/* What nobody serves: with a known operation code it is the service action that is wrong. */
static const struct ti_row unknown_opcode = { .flags = HIDDEN, .name = "?", .run = ti_cmd_refuse };
static const struct ti_row unknown_action = { .flags = HIDDEN, .name = "?", .run = refuse_action };

#define ROWS (sizeof(rows) / sizeof(rows[0]))

const struct ti_row *ti_row_find(const uint8_t *cdb)
{
	const struct ti_row *unknown = &unknown_opcode;

	for (size_t i = 0; i < ROWS; i++) {
		if (rows[i].opcode != cdb[0])
			continue;
		if (rows[i].service_action == NO_SA || rows[i].service_action == (cdb[1] & 0x1f))
			return rows[i].run ? &rows[i] : NULL;
		unknown = &unknown_action;
	}
	return unknown;
}

const struct ti_row *ti_row_at(size_t index)
{
	return index < ROWS ? &rows[index] : NULL;
}

int ti_answer(struct ti_command *cmd, const uint8_t *data, size_t len, size_t allocation)
{
	struct ti_iov_cursor cursor = ti_iov_cursor(cmd->iov, cmd->iov_count);
	size_t filled = ti_iov_copy_in(&cursor, data, len < allocation ? len : allocation);

	cmd->answered = true;
	cmd->answer = ti_iov_zero(&cursor, SIZE_MAX) > 0 ? (uint32_t)filled : 0;
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

bool ti_row_is_listed(const struct ti_row *row, const struct ti_scsi_facts *facts)
{
	if (row->run == ti_cmd_write_atomic && facts->max_atomic == 0)
		return false;
	if (row->run == ti_cmd_unmap && !facts->discards)
		return false;
	return !(row->flags & HIDDEN);
}

unsigned ti_count_byte(const struct ti_row *row)
{
	switch (row->cdb_len) {
	case 6:
		return 4;
	case 10:
		return 7;
	case 12:
		return 6;
	default:
		return 10;
	}
}

int ti_row_run(const struct ti_row *row, struct ti_command *cmd)
{
	unsigned last = row->cdb_len - 1U; /* of the unknown: not looked at */

	if (row->cdb_len > 0 && row->run != ti_cmd_refuse && (cmd->cdb[last] & TI_CDB_NACA))
		return ti_bad_field(cmd, last, 2);
	return row->run(row, cmd);
}

void ti_list_bytes(const struct iovec *iov, size_t iov_count, size_t at, uint8_t *out, size_t len)
{
	struct ti_iov_cursor cursor = ti_iov_cursor(iov, iov_count);
	struct iovec piece;
	size_t taken;

	for (; at > 0; at -= taken)
		ti_iov_take(&cursor, at, &piece, 1, &taken);
	ti_iov_copy_out(&cursor, out, len);
}

/* What the kernel's own targets say of it. */
static int refuse_buffer(struct ti_command *cmd)
{
	return ti_sense_set(cmd->sense, TI_KEY_ILLEGAL_REQUEST,
			    TI_ASC_INVALID_FIELD_IN_INFORMATION_UNIT);
}

int ti_check_buffer(struct ti_command *cmd, uint64_t bytes)
{
	return ti_iov_length(cmd->iov, cmd->iov_count) == bytes ? TCMU_STS_OK : refuse_buffer(cmd);
}

int ti_check_room(struct ti_command *cmd, uint64_t bytes)
{
	if (!cmd->facts->tells_length)
		return ti_check_buffer(cmd, bytes);
	return ti_iov_length(cmd->iov, cmd->iov_count) >= bytes ? TCMU_STS_OK : refuse_buffer(cmd);
}

int ti_ask_engine(struct ti_command *cmd, enum ti_req_op op, struct ti_extent extent)
{
	cmd->request.op = op;
	cmd->request.lba = extent.lba;
	cmd->request.blocks = extent.blocks;
	cmd->request.iov = cmd->iov;
	cmd->request.iov_count = cmd->iov_count;
	return TI_STS_REQUEST;
}
