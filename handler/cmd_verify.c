// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * Commands that read what is on the medium and do more with it than hand it over: verify, compare,
 * compare and write, or; and the write that is atomic.
 *
 * Each is one request to the engine, which holds the range from the first read to the last write.
 *
 * The medium (SBC-4): what only a volatile cache holds goes to the medium before it is verified.
 * Hence FUA on the requests that read.
 */
#include "cdb.h"

#include "libtcmu_common.h"

#include "sense.h"

#define BYTCHK_SHIFT 1
#define BYTCHK_MASK  0x3
/* What the data-out buffer holds. */
enum {
	BYTCHK_NOTHING = 0, /* WRITE AND VERIFY: the data, not compared */
	BYTCHK_ALL = 1,
	BYTCHK_SAME = 3,
};

#define BYTCHK_BIT 2 /* the field's leftmost bit */

static unsigned bytchk(const struct ti_command *cmd)
{
	return cmd->cdb[1] >> BYTCHK_SHIFT & BYTCHK_MASK;
}

/* What all of them have in common. */
static int check(struct ti_command *cmd, struct ti_extent extent)
{
	if (cmd->cdb[1] & TI_CDB_PROTECT_MASK)
		return ti_bad_field(cmd, 1, 7);
	return ti_check_extent(cmd, extent);
}

int ti_cmd_verify(const struct ti_row *row, struct ti_command *cmd)
{
	struct ti_extent extent = ti_cdb_extent(cmd->cdb, row->cdb_len);
	uint64_t size = cmd->facts->block_size;
	int status = check(cmd, extent);
	enum ti_req_op op;

	if (status != TCMU_STS_OK)
		return status;
	switch (bytchk(cmd)) {
	case BYTCHK_NOTHING:
		/* No buffer bounds it, and nobody else may write meanwhile. */
		if (extent.blocks > cmd->facts->max_verify)
			return ti_bad_field(cmd, ti_count_byte(row), -1);
		op = TI_REQ_VERIFY;
		break;
	case BYTCHK_ALL:
		status = ti_check_buffer(cmd, extent.blocks * size);
		op = TI_REQ_COMPARE;
		break;
	case BYTCHK_SAME:
		if (extent.blocks > cmd->facts->max_verify)
			return ti_bad_field(cmd, ti_count_byte(row), -1);
		if (extent.blocks > 0)
			status = ti_check_buffer(cmd, size);
		op = TI_REQ_COMPARE_SAME;
		break;
	default:
		return ti_bad_field(cmd, 1, BYTCHK_BIT);
	}
	if (status != TCMU_STS_OK || extent.blocks == 0)
		return status;
	cmd->request.flags = TI_REQ_FUA;
	return ti_ask_engine(cmd, op, extent);
}

int ti_cmd_write_and_verify(const struct ti_row *row, struct ti_command *cmd)
{
	struct ti_extent extent = ti_cdb_extent(cmd->cdb, row->cdb_len);
	int status = check(cmd, extent);

	if (status != TCMU_STS_OK)
		return status;
	if (bytchk(cmd) != BYTCHK_NOTHING && bytchk(cmd) != BYTCHK_ALL)
		return ti_bad_field(cmd, 1, BYTCHK_BIT);
	status = ti_check_buffer(cmd, extent.blocks * cmd->facts->block_size);
	if (status != TCMU_STS_OK || extent.blocks == 0)
		return status;
	return ti_ask_engine(
		cmd, bytchk(cmd) == BYTCHK_ALL ? TI_REQ_WRITE_AND_COMPARE : TI_REQ_WRITE_AND_VERIFY,
		extent);
}

int ti_cmd_compare_and_write(const struct ti_row *row, struct ti_command *cmd)
{
	struct ti_extent extent = { ti_be64(cmd->cdb + 2), cmd->cdb[13] };
	int status = check(cmd, extent);

	(void)row;
	/* More blocks than the one byte holds are a longer buffer: the CDB is to blame. */
	if (status == TCMU_STS_OK &&
	    ti_check_buffer(cmd, 2 * extent.blocks * cmd->facts->block_size) != TCMU_STS_OK)
		status = ti_bad_field(cmd, 13, -1);
	if (status != TCMU_STS_OK || extent.blocks == 0)
		return status;
	if (cmd->cdb[1] & TI_CDB_FUA)
		cmd->request.flags = TI_REQ_FUA;
	return ti_ask_engine(cmd, TI_REQ_COMPARE_AND_WRITE, extent);
}

int ti_cmd_or_write(const struct ti_row *row, struct ti_command *cmd)
{
	struct ti_extent extent = ti_cdb_extent(cmd->cdb, row->cdb_len);
	int status = check(cmd, extent);

	if (status == TCMU_STS_OK)
		status = ti_check_buffer(cmd, extent.blocks * cmd->facts->block_size);
	if (status != TCMU_STS_OK || extent.blocks == 0)
		return status;
	if (cmd->cdb[1] & TI_CDB_FUA)
		cmd->request.flags = TI_REQ_FUA;
	return ti_ask_engine(cmd, TI_REQ_OR_WRITE, extent);
}

int ti_cmd_write_atomic(const struct ti_row *row, struct ti_command *cmd)
{
	struct ti_extent extent = { ti_be64(cmd->cdb + 2), ti_be16(cmd->cdb + 12) };
	int status;

	if (cmd->facts->max_atomic == 0)
		return ti_cmd_refuse(row, cmd);
	status = check(cmd, extent);
	if (status != TCMU_STS_OK)
		return status;
	if (ti_be16(cmd->cdb + 10) != 0) /* ATOMIC BOUNDARY: the Block Limits page has none */
		return ti_bad_field(cmd, 10, -1);
	if (extent.blocks > cmd->facts->max_atomic)
		return ti_bad_field(cmd, 12, -1);
	status = ti_check_buffer(cmd, extent.blocks * cmd->facts->block_size);
	if (status != TCMU_STS_OK || extent.blocks == 0)
		return status;
	cmd->request.flags = TI_REQ_ATOMIC;
	if (cmd->cdb[1] & TI_CDB_FUA)
		cmd->request.flags |= TI_REQ_FUA;
	return ti_ask_engine(cmd, TI_REQ_WRITE, extent);
}
