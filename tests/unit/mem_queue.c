/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
#include "mem_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int carry_out(struct mem_queue *mq, struct ti_io *io)
{
	const struct ti_device_info *dev = &mq->q.dev[io->dev];
	uint64_t fault = mq->fault_offset[io->dev];
	uint8_t *at;

	if (io->op == TI_IO_FLUSH) {
		mq->flushes++;
		return 0;
	}
	if (io->offset % dev->logical_block_size || io->len % dev->logical_block_size)
		return -EINVAL;
	if (io->offset > dev->size || io->len > dev->size - io->offset)
		return -ENXIO;
	if (fault >= io->offset && fault - io->offset < io->len)
		return -EIO;
	if (io->op == TI_IO_DISCARD)
		return -EOPNOTSUPP;

	at = mq->bytes[io->dev] + io->offset;
	for (unsigned i = 0; i < io->iov_count; i++) {
		if ((uintptr_t)io->iov[i].iov_base % dev->memory_align)
			return -EINVAL;
		if (io->op == TI_IO_READ)
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		else
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	if (io->op == TI_IO_READ)
		mq->reads++;
	else
		mq->writes++;
	return 0;
}

static void mem_submit(struct ti_queue *q, struct ti_io *io)
{
	struct mem_queue *mq = (struct mem_queue *)q;

	io->next = NULL;
	*mq->tail = io;
	mq->tail = &io->next;
}

static unsigned mem_run(struct ti_queue *q)
{
	struct mem_queue *mq = (struct mem_queue *)q;
	unsigned done = 0;

	while (mq->head) {
		struct ti_io *io = mq->head;

		mq->head = io->next;
		if (!mq->head)
			mq->tail = &mq->head;
		io->result = carry_out(mq, io);
		io->done(io);
		done++;
	}
	return done;
}

static void mem_wait(struct ti_queue *q, uint64_t deadline_ns)
{
	(void)q;
	(void)deadline_ns;
}

static void mem_wake(struct ti_queue *q)
{
	(void)q;
}

static void mem_close(struct ti_queue *q)
{
	mem_queue_free((struct mem_queue *)q);
}

static const struct ti_queue_ops mem_ops = {
	.name = "memory",
	.submit = mem_submit,
	.run = mem_run,
	.wait = mem_wait,
	.wake = mem_wake,
	.close = mem_close,
};

struct mem_queue *mem_queue_new(uint64_t data_size, uint64_t meta_size)
{
	const uint64_t size[TI_DEVICES] = { data_size, meta_size };
	static const char *const name[TI_DEVICES] = { "DATA", "META" };
	struct mem_queue *mq = calloc(1, sizeof(*mq));

	assert(mq);
	mq->q.ops = &mem_ops;
	mq->tail = &mq->head;
	for (unsigned i = 0; i < TI_DEVICES; i++) {
		assert(size[i] % 512 == 0);
		mq->bytes[i] = calloc(1, size[i] ? size[i] : 1);
		assert(mq->bytes[i]);
		mq->fault_offset[i] = MEM_QUEUE_NO_FAULT;
		mq->q.dev[i] = (struct ti_device_info){
			.name = name[i],
			.size = size[i],
			.logical_block_size = 512,
			.memory_align = 512,
			.has_volatile_cache = true,
		};
	}
	return mq;
}

void mem_queue_free(struct mem_queue *mq)
{
	if (!mq)
		return;
	for (unsigned i = 0; i < TI_DEVICES; i++)
		free(mq->bytes[i]);
	free(mq);
}
