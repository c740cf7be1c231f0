// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * READ CAPACITY and GET LBA STATUS.  The core's answers claim thin provisioning, which this LUN has
 * not, and know nothing of physical blocks.
 */
#include "cdb.h"

#include "libtcmu_common.h"

int ti_cmd_read_capacity(const struct ti_row *row, struct ti_command *cmd)
{
	const struct ti_scsi_facts *facts = cmd->facts;
	uint64_t last = facts->blocks - 1;
	uint8_t data[32] = { 0 };

	if (row->cdb_len == 10) {
		ti_put_be32(data, last < UINT32_MAX ? (uint32_t)last : UINT32_MAX);
		ti_put_be32(data + 4, facts->block_size);
		return ti_answer(cmd, data, 8, SIZE_MAX);
	}
	ti_put_be64(data, last);
	ti_put_be32(data + 8, facts->block_size);
	data[13] = facts->physical_exponent & 0x0f;
	/* LBPME and LBPRZ, the two highest bits, stay 0. */
	ti_put_be16(data + 14, facts->lowest_aligned & 0x3fff);
	return ti_answer(cmd, data, sizeof(data), ti_be32(cmd->cdb + 10));
}

/* Every block is mapped: one descriptor, from the address asked for to the end. */
int ti_cmd_get_lba_status(const struct ti_row *row, struct ti_command *cmd)
{
	uint64_t lba = ti_be64(cmd->cdb + 2), blocks = cmd->facts->blocks;
	int status = ti_check_extent(cmd, (struct ti_extent){ lba, 1 });
	uint8_t data[24] = { 0 };

	(void)row;
	if (status != TCMU_STS_OK)
		return status;
	ti_put_be32(data, sizeof(data) - 4);
	ti_put_be64(data + 8, lba);
	ti_put_be32(data + 16, blocks - lba < UINT32_MAX ? (uint32_t)(blocks - lba) : UINT32_MAX);
	return ti_answer(cmd, data, sizeof(data), ti_be32(cmd->cdb + 10));
}
