// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * Commands that read and write the medium: checked here, carried out by the engine.
 *
 * The kernel hands CDB and buffer over as the initiator sent them: nothing says that they fit each
 * other.  The engine takes exactly as many bytes as the CDB says.  A read may have a longer buffer
 * (short_answer.h).  Any other difference would need a residual that tcmu cannot report, and
 * without one the initiator would take bytes for data that are none, or for written.  So it is
 * refused.
 */
#include "cdb.h"

#include "libtcmu_common.h"

#include "iov.h"
#include "sense.h"

/* CDB byte 1 of WRITE SAME. */
#define ANCHOR 0x10
#define UNMAP_ 0x08
#define PBDATA 0x04
#define LBDATA 0x02
#define NDOB   0x01 /* (16) only */
/* CDB byte 1 of SYNCHRONIZE CACHE. */
#define IMMED 0x02

/* WRITE SAME without data writes zeroes: one integrity block of each possible size. */
static const uint8_t zero_block[TI_MAX_BLOCK_SIZE];

#define ZEROES(len)                                                                                \
	{                                                                                          \
		.iov_base = (void *)(uintptr_t)zero_block, .iov_len = (len)                        \
	}
static const struct iovec zeroes[] = { ZEROES(512), ZEROES(1024), ZEROES(2048), ZEROES(4096) };

int ti_cmd_read_write(const struct ti_row *row, struct ti_command *cmd)
{
	struct ti_extent extent = ti_cdb_extent(cmd->cdb, row->cdb_len);
	bool writes = row->flags & TI_ROW_WRITES;
	int status;

	if (row->cdb_len == 6) {
		if (extent.blocks == 0)
			extent.blocks = 256;
	} else if (cmd->cdb[1] & TI_CDB_PROTECT_MASK) {
		return ti_bad_field(cmd, 1, 7);
	}
	status = ti_check_extent(cmd, extent);
	if (status != TCMU_STS_OK)
		return status;
	if (extent.blocks == 0) /* that nothing of a buffer is used cannot be told */
		return ti_check_buffer(cmd, 0);
	status = writes ? ti_check_buffer(cmd, extent.blocks * cmd->facts->block_size)
			: ti_check_room(cmd, extent.blocks * cmd->facts->block_size);
	if (status != TCMU_STS_OK)
		return status;

	if (row->cdb_len != 6 && (cmd->cdb[1] & TI_CDB_FUA))
		cmd->request.flags = TI_REQ_FUA;
	return ti_ask_engine(cmd, writes ? TI_REQ_WRITE : TI_REQ_READ, extent);
}

int ti_cmd_write_same(const struct ti_row *row, struct ti_command *cmd)
{
	struct ti_extent extent = ti_cdb_extent(cmd->cdb, row->cdb_len);
	uint8_t bits = cmd->cdb[1];
	bool no_data = row->cdb_len == 16 && (bits & NDOB), unmaps = bits & UNMAP_;
	int status;

	if (bits & TI_CDB_PROTECT_MASK)
		return ti_bad_field(cmd, 1, 7);
	if (bits & (ANCHOR | PBDATA | LBDATA))
		return ti_bad_field(cmd, 1, bits & ANCHOR ? 4 : bits & PBDATA ? 2 : 1);
	if (unmaps && !cmd->facts->discards)
		return ti_bad_field(cmd, 1, 3);
	if (extent.blocks == 0) {
		/* Up to the last block (SBC-4, WSNZ 0), of which there must be one.  The size is
		 * looked at once: a resize changes it meanwhile. */
		uint64_t blocks = cmd->facts->blocks;

		extent.blocks = extent.lba < blocks ? blocks - extent.lba : 1;
	}
	if (extent.blocks > cmd->facts->max_write_same)
		return ti_bad_field(cmd, ti_count_byte(row), -1);
	status = ti_check_extent(cmd, extent);
	if (status == TCMU_STS_OK)
		status = ti_check_buffer(cmd, no_data ? 0 : cmd->facts->block_size);
	if (status != TCMU_STS_OK)
		return status;
	if (unmaps) { /* whatever the data is: LBPRZ promises nothing of it */
		ti_ask_engine(cmd, TI_REQ_DISCARD, extent);
		cmd->request.iov_count = 0;
		return TI_STS_REQUEST;
	}
	if (no_data) {
		ti_ask_engine(cmd, TI_REQ_WRITE_SAME, extent);
		cmd->request.iov = &zeroes[__builtin_ctz(cmd->facts->integrity_block) - 9];
		cmd->request.iov_count = 1;
		return TI_STS_REQUEST;
	}
	return ti_ask_engine(cmd, TI_REQ_WRITE_SAME, extent);
}

int ti_cmd_synchronize_cache(const struct ti_row *row, struct ti_command *cmd)
{
	struct ti_extent extent = ti_cdb_extent(cmd->cdb, row->cdb_len);
	int status = ti_check_extent(cmd, extent);

	if (status != TCMU_STS_OK)
		return status;
	/* The whole LUN, whatever the range: a device cannot flush less. */
	cmd->request.op = TI_REQ_FLUSH;
	cmd->request.detached = cmd->cdb[1] & IMMED;
	return TI_STS_REQUEST;
}

/* There is no cache of data to fetch into, and GOOD says so (CONDITION MET: all fits). */
int ti_cmd_pre_fetch(const struct ti_row *row, struct ti_command *cmd)
{
	return ti_check_extent(cmd, ti_cdb_extent(cmd->cdb, row->cdb_len));
}
