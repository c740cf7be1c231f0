/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
#include "skipped.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/types.h>

#include "libtcmu.h"
#include "libtcmu_common.h"
#include "libtcmu_priv.h"
#include "target_core_user_local.h"
#include "tcmur_device.h"

#include "ring.h"
#include "sense.h"

/* What a skipped command's operation code becomes when it has been answered. */
#define TEST_UNIT_READY 0x00

void ti_skipped_find(struct tcmu_device *dev, struct ti_skipped *out)
{
	void *base = NULL;
	size_t size = 0;
	off_t offset;

	*out = (struct ti_skipped){ .dev = dev };
	free(tcmu_dev_get_memory_info(dev, &base, &size, &offset));
	out->runner = tcmu_dev_get_private(dev);
	if (!base || !out->runner || out->runner->dev != dev)
		return;
	out->mailbox = base;
	out->bytes = size;
}

/* As tcmu_cdb_get_length() has it. */
static bool has_no_length(uint8_t opcode)
{
	return (opcode >= 0x60 && opcode < 0x7f) || opcode >= 0xc0;
}

/* The first that was skipped, and its CDB.  Under the runner's lock. */
static const struct tcmu_cmd_entry *find(const struct ti_skipped *s, uint8_t **cdb)
{
	uint32_t size = s->mailbox->cmdr_size, at = s->mailbox->cmd_tail, walked = 0, len;
	uint32_t end = __atomic_load_n(&s->dev->cmd_tail, __ATOMIC_ACQUIRE);

	for (; at != end && at < size && walked < size; at = (at + len) % size, walked += len) {
		const struct tcmu_cmd_entry *entry = ti_ring_entry(s->mailbox, at, &len);

		if (!entry)
			break;
		if (tcmu_hdr_get_op(entry->hdr.len_op) != TCMU_OP_CMD ||
		    entry->req.cdb_off >= s->bytes)
			continue;
		*cdb = (uint8_t *)s->mailbox + entry->req.cdb_off;
		if (has_no_length(**cdb))
			return entry;
	}
	return NULL;
}

static bool is_any(const struct ti_skipped *s)
{
	uint8_t *cdb;
	bool any;

	pthread_spin_lock(&s->runner->lock);
	any = find(s, &cdb) != NULL;
	pthread_spin_unlock(&s->runner->lock);
	return any;
}

void ti_skipped_answer(const struct ti_skipped *s)
{
	bool answered = false;

	while (s->mailbox && is_any(s)) {
		/* libtcmu's to free, as every command; it looks at nothing else in it. */
		struct tcmulib_cmd *cmd = calloc(1, sizeof(*cmd));
		const struct tcmu_cmd_entry *entry;
		uint8_t *cdb;

		if (!cmd)
			break; /* the next look finds it again */
		pthread_spin_lock(&s->runner->lock);
		entry = find(s, &cdb); /* another thread may have answered it */
		if (entry) {
			cmd->cmd_id = entry->hdr.cmd_id;
			*cdb = TEST_UNIT_READY;
			tcmulib_command_complete(s->dev, cmd,
						 ti_sense_set(cmd->sense_buf,
							      TI_KEY_ILLEGAL_REQUEST,
							      TI_ASC_INVALID_OPERATION_CODE));
		}
		pthread_spin_unlock(&s->runner->lock);
		if (!entry)
			free(cmd);
		answered |= entry != NULL;
	}
	if (answered)
		tcmulib_processing_complete(s->dev);
}
