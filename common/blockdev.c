/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What every queue can do, whatever its back-end: one I/O, waited for.
 */
#include "blockdev.h"

#include <errno.h>

#include "clock.h"

int ti_queue_check_blocks(const struct ti_queue *q, struct ti_error *error)
{
	for (int i = 0; i < TI_DEVICES; i++) {
		if (q->dev[i].logical_block_size > TI_MAX_LOGICAL_BLOCK)
			return ti_error_set(
				error, -EOPNOTSUPP,
				"%s has logical blocks of %u bytes, which is more than "
				"the %u that the format can address: use another device",
				q->dev[i].name, q->dev[i].logical_block_size, TI_MAX_LOGICAL_BLOCK);
	}
	return 0;
}

static void sync_done(struct ti_io *io)
{
	bool *finished = io->owner;

	*finished = true;
}

int ti_queue_sync(struct ti_queue *q, enum ti_io_op op, enum ti_device dev, uint64_t offset,
		  void *buf, size_t len)
{
	bool finished = false;
	const struct iovec iov = { .iov_base = buf, .iov_len = len };
	bool transfers = op == TI_IO_READ || op == TI_IO_WRITE;
	struct ti_io io = {
		.op = op,
		.dev = dev,
		.offset = offset,
		.len = len,
		.iov = transfers ? &iov : NULL,
		.iov_count = transfers ? 1 : 0,
		.done = sync_done,
		.owner = &finished,
	};

	ti_queue_submit(q, &io);
	for (;;) {
		ti_queue_run(q);
		if (finished)
			return io.result;
		q->ops->wait(q, TI_CLOCK_NEVER);
	}
}
