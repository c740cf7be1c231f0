/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
#include "short_answer.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/types.h>

#include "libtcmu.h"
#include "libtcmu_common.h"
#include "target_core_user_local.h"
#include "tcmu-runner.h"
#include "tcmur_device.h"

/* The kernel's ABI, newer than the runner's copy of its header (Linux 4.20). */
#define CAP_READ_LEN   (1U << 1) /* mailbox flags */
#define UFLAG_READ_LEN 0x2

_Static_assert(sizeof(((struct tcmu_cmd_entry *)0)->rsp.__pad3) == sizeof(uint32_t),
	       "the place of read_len");

void ti_short_answer_find(struct tcmu_device *dev, struct ti_short_answer *out)
{
	struct tcmu_mailbox *mailbox;
	void *base = NULL;
	size_t size;
	off_t offset;

	*out = (struct ti_short_answer){ 0 };
	free(tcmu_dev_get_memory_info(dev, &base, &size, &offset));
	mailbox = base;
	if (!mailbox || !(mailbox->flags & CAP_READ_LEN))
		return;
	out->runner = tcmu_dev_get_private(dev);
	if (out->runner && out->runner->dev == dev)
		out->mailbox = mailbox;
}

/*
 * The entry that tcmulib_command_complete() will take: it steps over what is no command.  It is
 * there, since the command that completes has not been; NULL: the mailbox makes no sense.
 */
static struct tcmu_cmd_entry *next_response(struct tcmu_mailbox *mailbox)
{
	uint32_t size = mailbox->cmdr_size, tail = mailbox->cmd_tail, walked = 0, len;
	uint32_t head = __atomic_load_n(&mailbox->cmd_head, __ATOMIC_ACQUIRE);

	while (tail != head && tail < size && walked < size) {
		struct tcmu_cmd_entry *entry = (void *)((char *)mailbox + mailbox->cmdr_off + tail);

		if (tcmu_hdr_get_op(entry->hdr.len_op) == TCMU_OP_CMD)
			return entry;
		len = tcmu_hdr_get_len(entry->hdr.len_op);
		if (len == 0)
			break;
		walked += len;
		tail = (tail + len) % size;
	}
	return NULL;
}

/* The core waits for the commands that it has handed out before it closes a device. */
static void command_is_gone(struct tcmu_track_aio *track)
{
	pthread_mutex_lock(&track->track_lock);
	assert(track->tracked_aio_ops > 0);
	if (--track->tracked_aio_ops == 0 && track->is_empty_cond) {
		pthread_cond_signal(track->is_empty_cond);
		track->is_empty_cond = NULL;
	}
	pthread_mutex_unlock(&track->track_lock);
}

void ti_short_answer_complete(const struct ti_short_answer *s, struct tcmu_device *dev,
			      struct tcmur_cmd *cmd, int status, uint32_t bytes)
{
	struct tcmu_cmd_entry *entry;

	pthread_spin_lock(&s->runner->lock);
	entry = next_response(s->mailbox);
	if (entry) {
		entry->hdr.uflags |= UFLAG_READ_LEN;
		entry->rsp.__pad3 = bytes;
	} else {
		status = TCMU_STS_HW_ERR; /* the rest of the buffer must not be taken for data */
	}
	list_del(&cmd->cmds_list_entry);
	tcmulib_command_complete(dev, cmd->lib_cmd, status);
	pthread_spin_unlock(&s->runner->lock);
	tcmulib_processing_complete(dev);
	/* Last: then the device may go away. */
	command_is_gone(&s->runner->track_queue);
}
