/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See blockdev_host.h. */
#include "blockdev_host.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

void ti_host_queue_init(struct ti_host_queue *hq, const struct ti_queue_ops *ops,
			const struct ti_host_device dev[TI_DEVICES])
{
	hq->queue.ops = ops;
	for (unsigned i = 0; i < TI_DEVICES; i++) {
		hq->dev[i] = dev[i];
		hq->queue.dev[i] = dev[i].info;
	}
}

void ti_host_device_close(struct ti_host_device *dev)
{
	/* Nothing hangs on close()'s result: what had to be durable was flushed and checked. */
	if (dev->fd >= 0)
		(void)close(dev->fd);
	free(dev->path);
	*dev = (struct ti_host_device)TI_HOST_DEVICE_NONE;
}

int ti_host_check(const struct ti_host_queue *hq, const struct ti_io *io)
{
	const struct ti_device_info *info = &hq->queue.dev[io->dev];

	if (hq->dev[io->dev].fd < 0)
		return -ENODEV;
	if (io->op == TI_IO_FLUSH)
		return 1;
	if (io->offset > info->size || io->len > info->size - io->offset)
		return -EINVAL;
	if (info->read_only && io->op != TI_IO_READ)
		return -EROFS;
	return io->len != 0;
}

unsigned ti_host_rest(struct ti_io *io, const struct iovec **iov)
{
	uint64_t skip = io->progress;
	unsigned i = 0;

	while (i < io->iov_count && skip >= io->iov[i].iov_len)
		skip -= io->iov[i++].iov_len;
	assert(i < io->iov_count);
	if (skip == 0 && io->iov[i].iov_len <= TI_HOST_MAX_TRANSFER) {
		*iov = &io->iov[i];
		return io->iov_count - i;
	}
	io->rest.iov_base = (char *)io->iov[i].iov_base + skip;
	io->rest.iov_len = io->iov[i].iov_len - skip;
	if (io->rest.iov_len > TI_HOST_MAX_TRANSFER)
		io->rest.iov_len = TI_HOST_MAX_TRANSFER;
	*iov = &io->rest;
	return 1;
}
