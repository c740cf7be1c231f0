// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * TEST UNIT READY, REQUEST SENSE and START STOP UNIT: the state of the LUN.
 */
#include "cdb.h"

#include <string.h>

#include "libtcmu_common.h"

#include "sense.h"

#define DESC		  0x01 /* REQUEST SENSE, byte 1 */
#define IMMED		  0x01 /* START STOP UNIT, byte 1 */
#define POWER_CONDITION	  0xf0 /* byte 4 */
#define NO_FLUSH	  0x04
#define LOAD_EJECT	  0x02
#define START		  0x01
#define FIXED_SENSE_BYTES 18

int ti_cmd_test_unit_ready(const struct ti_row *row, struct ti_command *cmd)
{
	(void)row;
	return cmd->facts->ready(cmd->facts->disk, cmd->sense);
}

/* Nothing is pending, ever: every command that fails brings its sense data along. */
int ti_cmd_request_sense(const struct ti_row *row, struct ti_command *cmd)
{
	uint8_t sense[TI_SENSE_BYTES];
	size_t len = FIXED_SENSE_BYTES;

	(void)row;
	ti_sense_set(sense, TI_KEY_NO_SENSE, TI_ASC_NONE);
	cmd->facts->ready(cmd->facts->disk, sense);
	if (cmd->cdb[1] & DESC) {
		ti_sense_to_descriptors(sense);
		len = 8U + sense[7];
	}
	return ti_answer(cmd, sense, len, cmd->cdb[4]);
}

/*
 * A LUN that others use as well is not stopped because one of them says so: STOP makes durable what
 * has been written, and the LUN stays ready, as with other targets that have no motor.
 */
int ti_cmd_start_stop(const struct ti_row *row, struct ti_command *cmd)
{
	uint8_t bits = cmd->cdb[4];

	(void)row;
	if (bits & POWER_CONDITION)
		return ti_bad_field(cmd, 4, 7);
	if (bits & LOAD_EJECT)
		return ti_bad_field(cmd, 4, 1);
	if (bits & (START | NO_FLUSH))
		return TCMU_STS_OK;
	cmd->request.op = TI_REQ_FLUSH;
	cmd->request.detached = cmd->cdb[1] & IMMED;
	return TI_STS_REQUEST;
}
