// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * READ CAPACITY.  The core's answer always claims that blocks can be unmapped and are zeroes then,
 * and knows nothing of physical blocks.
 */
#include "cdb.h"

#include "libtcmu_common.h"

#define LBPME 0x8000 /* bytes 14 and 15 */

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
	/* LBPRZ stays 0: a discarded block is whatever the data device makes of it. */
	ti_put_be16(data + 14,
		    (uint16_t)((facts->discards ? LBPME : 0) | (facts->lowest_aligned & 0x3fff)));
	return ti_answer(cmd, data, sizeof(data), ti_be32(cmd->cdb + 10));
}
