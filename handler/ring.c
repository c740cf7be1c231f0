/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
#include "ring.h"

#include <stdlib.h>
#include <sys/types.h>

#include "libtcmu_common.h"
#include "libtcmu_priv.h"
#include "target_core_user_local.h"

void ti_ring_find(struct tcmu_device *dev, struct ti_ring *ring)
{
	void *base = NULL;
	size_t size;
	off_t offset;

	free(tcmu_dev_get_memory_info(dev, &base, &size, &offset));
	ring->mailbox = base;
	ring->place = &dev->cmd_tail;
	ring->tail = *ring->place;
}

const struct tcmu_cmd_entry *ti_ring_entry(const struct tcmu_mailbox *mailbox, uint32_t tail,
					   uint32_t *len)
{
	const struct tcmu_cmd_entry *entry =
		(const void *)((const char *)mailbox + mailbox->cmdr_off + tail);

	*len = tcmu_hdr_get_len(entry->hdr.len_op);
	return *len == 0 || *len > mailbox->cmdr_size - tail ? NULL : entry;
}

const uint8_t *ti_ring_next(const struct ti_ring *ring)
{
	const struct tcmu_mailbox *mailbox = ring->mailbox;
	uint32_t tail = ring->tail, head, walked = 0, len;

	if (!mailbox)
		return NULL;
	head = __atomic_load_n(&mailbox->cmd_head, __ATOMIC_ACQUIRE);
	while (tail != head && walked < mailbox->cmdr_size) {
		const struct tcmu_cmd_entry *entry = ti_ring_entry(mailbox, tail, &len);

		if (!entry)
			break;
		if (tcmu_hdr_get_op(entry->hdr.len_op) == TCMU_OP_CMD)
			return (const uint8_t *)mailbox + entry->req.cdb_off;
		walked += len;
		tail = (tail + len) % mailbox->cmdr_size;
	}
	return NULL;
}

/* Is the command that ends at @to the only one from @from on?  When in doubt it is not. */
static bool is_one_command(const struct tcmu_mailbox *mailbox, uint32_t from, uint32_t to)
{
	uint32_t walked = 0, commands = 0, len;

	while (from != to && walked < mailbox->cmdr_size) {
		const struct tcmu_cmd_entry *entry = ti_ring_entry(mailbox, from, &len);

		if (!entry)
			return false;
		commands += tcmu_hdr_get_op(entry->hdr.len_op) == TCMU_OP_CMD;
		walked += len;
		from = (from + len) % mailbox->cmdr_size;
	}
	return commands == 1;
}

bool ti_ring_has_more(struct ti_ring *ring)
{
	uint32_t before = ring->tail;

	if (!ring->mailbox)
		return true;
	ring->tail = *ring->place;
	ring->passed_others = !is_one_command(ring->mailbox, before, ring->tail);
	/* Pairs with the kernel's barrier between an entry and cmd_head. */
	return ring->tail != __atomic_load_n(&ring->mailbox->cmd_head, __ATOMIC_ACQUIRE);
}
