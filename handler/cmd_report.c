// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * REPORT SUPPORTED OPERATION CODES, from the table itself, and TASK MANAGEMENT FUNCTIONS.
 */
#include "cdb.h"

#include <string.h>

#include "libtcmu_common.h"

/* CDB byte 1 of WRITE SAME: looked at where there are discards. */
#define WRITE_SAME_UNMAP 0x08

#define RCTD 0x80 /* byte 2: return command timeouts descriptors */

enum {
	ALL = 0,
	WITHOUT_ACTION = 1,
	WITH_ACTION = 2,
	EITHER = 3,
};

#define ROWS_AT_MOST  80
#define TIMEOUT_BYTES 12 /* a descriptor of zeroes but its length: there are no time limits */
#define ENTRY_BYTES   8
#define ONE_BYTES     (4 + 16 + TIMEOUT_BYTES)

#define NOT_SUPPORTED 0x01
#define SUPPORTED     0x03
#define ONE_CTDP      0x80

#define LIST_CTDP     0x02
#define LIST_SERVACTV 0x01

static bool has_action(const struct ti_row *row)
{
	return row->service_action != TI_NO_SERVICE_ACTION;
}

static size_t put_timeouts(uint8_t *p)
{
	ti_put_be16(p, TIMEOUT_BYTES - 2);
	return TIMEOUT_BYTES;
}

static int list_all(struct ti_command *cmd, bool timeouts, size_t allocation)
{
	uint8_t data[4 + ROWS_AT_MOST * (ENTRY_BYTES + TIMEOUT_BYTES)] = { 0 };
	const struct ti_row *row;
	size_t len = 4;

	for (size_t i = 0; i < ROWS_AT_MOST && (row = ti_row_at(i)) != NULL; i++) {
		uint8_t *p = data + len;

		if (!ti_row_is_listed(row, cmd->facts))
			continue;
		p[0] = row->opcode;
		if (has_action(row)) {
			ti_put_be16(p + 2, (uint16_t)row->service_action);
			p[5] = LIST_SERVACTV;
		}
		ti_put_be16(p + 6, row->cdb_len);
		len += ENTRY_BYTES;
		if (timeouts) {
			p[5] |= LIST_CTDP;
			len += put_timeouts(data + len);
		}
	}
	ti_put_be32(data, (uint32_t)(len - 4));
	return ti_answer(cmd, data, len, allocation);
}

/* The row, if the LUN serves it.  *@actions: the operation code has service actions. */
static const struct ti_row *find(const struct ti_command *cmd, uint8_t opcode, uint16_t action,
				 bool *actions)
{
	const struct ti_row *row, *found = NULL;

	*actions = false;
	for (size_t i = 0; (row = ti_row_at(i)) != NULL; i++) {
		if (row->opcode != opcode || !ti_row_is_listed(row, cmd->facts))
			continue;
		*actions |= has_action(row);
		if (has_action(row) ? row->service_action == action : !found)
			found = row;
	}
	return found;
}

static int tell_one(struct ti_command *cmd, unsigned option, bool timeouts, size_t allocation)
{
	uint16_t action = ti_be16(cmd->cdb + 4);
	uint8_t data[ONE_BYTES] = { 0 };
	const struct ti_row *row;
	size_t len = 4;
	bool actions;

	row = find(cmd, cmd->cdb[3], action, &actions);
	if (option == WITHOUT_ACTION && actions)
		return ti_bad_field(cmd, 2, 2);
	if (option == WITH_ACTION && row && !actions)
		return ti_bad_field(cmd, 2, 2);
	if (option == EITHER && row && !actions && action != 0)
		row = NULL;
	data[1] = row ? SUPPORTED : NOT_SUPPORTED;
	if (row) {
		ti_put_be16(data + 2, row->cdb_len);
		memcpy(data + 4, row->usage, row->cdb_len);
		if (row->run == ti_cmd_write_same && cmd->facts->discards)
			data[4 + 1] |= WRITE_SAME_UNMAP;
		len += row->cdb_len;
		if (timeouts) {
			data[1] |= ONE_CTDP;
			len += put_timeouts(data + len);
		}
	}
	return ti_answer(cmd, data, len, allocation);
}

int ti_cmd_report_opcodes(const struct ti_row *row, struct ti_command *cmd)
{
	unsigned option = cmd->cdb[2] & 0x7;
	bool timeouts = cmd->cdb[2] & RCTD;
	size_t allocation = ti_be32(cmd->cdb + 6);

	(void)row;
	if (option > EITHER)
		return ti_bad_field(cmd, 2, 2);
	return option == ALL ? list_all(cmd, timeouts, allocation)
			     : tell_one(cmd, option, timeouts, allocation);
}

/* The kernel's: ABORT TASK and LOGICAL UNIT RESET. */
int ti_cmd_report_tmf(const struct ti_row *row, struct ti_command *cmd)
{
	uint8_t data[16] = { [0] = 0x80 | 0x08 };
	bool extended = cmd->cdb[2] & 0x80;

	(void)row;
	if (ti_be32(cmd->cdb + 6) < 4) /* SPC-4 asks for that here, as nowhere else */
		return ti_bad_field(cmd, 6, -1);
	data[3] = extended ? 12 : 0;
	return ti_answer(cmd, data, extended ? 16 : 4, ti_be32(cmd->cdb + 6));
}
