// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * READ CAPACITY(16).  The core's answer claims thin provisioning, which this LUN has not, and knows
 * nothing of physical blocks; READ CAPACITY(10) says neither and stays with the core.
 */
#include "cdb.h"

int ti_cmd_read_capacity(const struct ti_row *row, struct ti_command *cmd)
{
	const struct ti_scsi_facts *facts = cmd->facts;
	uint8_t data[32] = { 0 };

	(void)row;
	ti_put_be64(data, facts->blocks - 1);
	ti_put_be32(data + 8, facts->block_size);
	data[13] = facts->physical_exponent & 0x0f;
	/* LBPME and LBPRZ, the two highest bits, stay 0. */
	ti_put_be16(data + 14, facts->lowest_aligned & 0x3fff);
	return ti_answer(cmd, data, sizeof(data), ti_be32(cmd->cdb + 10));
}
