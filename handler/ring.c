/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
#include "ring.h"

#include <stdlib.h>
#include <sys/types.h>

#include "libtcmu_common.h"
#include "target_core_user_local.h"

void ti_ring_find(struct tcmu_device *dev, struct ti_ring *ring)
{
	void *base = NULL;
	size_t size;
	off_t offset;

	free(tcmu_dev_get_memory_info(dev, &base, &size, &offset));
	ring->mailbox = base;
	ring->tail = base ? ring->mailbox->cmd_tail : 0;
}

/* The entry at @tail, or NULL where there can be none.  A mailbox that makes no sense has no end.
 */
static const struct tcmu_cmd_entry *entry_at(const struct tcmu_mailbox *mailbox, uint32_t tail,
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
		const struct tcmu_cmd_entry *entry = entry_at(mailbox, tail, &len);

		if (!entry)
			break;
		if (tcmu_hdr_get_op(entry->hdr.len_op) == TCMU_OP_CMD)
			return (const uint8_t *)mailbox + entry->req.cdb_off;
		walked += len;
		tail = (tail + len) % mailbox->cmdr_size;
	}
	return NULL;
}

bool ti_ring_has_more(struct ti_ring *ring, uint16_t cmd_id)
{
	const struct tcmu_mailbox *mailbox = ring->mailbox;
	uint32_t head, size, walked = 0, len;

	if (!mailbox)
		return true;
	/* Pairs with the kernel's barrier between an entry and cmd_head. */
	head = __atomic_load_n(&mailbox->cmd_head, __ATOMIC_ACQUIRE);
	size = mailbox->cmdr_size;
	while (ring->tail != head && walked < size) {
		const struct tcmu_cmd_entry *entry = entry_at(mailbox, ring->tail, &len);

		if (!entry)
			break;
		walked += len;
		ring->tail = (ring->tail + len) % size;
		if (tcmu_hdr_get_op(entry->hdr.len_op) == TCMU_OP_CMD &&
		    entry->hdr.cmd_id == cmd_id)
			return ring->tail != head;
	}
	ring->mailbox = NULL; /* lost the way */
	return true;
}
