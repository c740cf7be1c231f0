/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What the back-ends over this host's devices share: the opened devices, lists of I/O, the check
 * every I/O passes before the kernel sees it, and the resumption of short transfers.
 *
 * For the back-ends and pair.c only.
 */
#ifndef TI_BLOCKDEV_HOST_H
#define TI_BLOCKDEV_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "blockdev.h"

/** Longest transfer asked of the kernel at once; it would cut longer ones short itself. */
#define TI_HOST_MAX_TRANSFER ((size_t)1 << 30)

/** Fewest and most I/Os that a back-end keeps under way. */
#define TI_HOST_MIN_DEPTH     2U
#define TI_HOST_MAX_DEPTH     4096U
#define TI_HOST_DEFAULT_DEPTH 256U

/** A device as pair_device.c opened it.  Plain data: copied into the queue that takes it over. */
struct ti_host_device {
	int fd;	    /* -1: not open */
	char *path; /* from the heap; info.name is the same */
	struct ti_device_info info;
};

/** The head of every back-end's queue over host devices. */
struct ti_host_queue {
	struct ti_queue queue; /* first: a struct ti_queue * is turned into this */
	struct ti_host_device dev[TI_DEVICES];
};

static inline struct ti_host_queue *ti_host_queue(struct ti_queue *queue)
{
	return (struct ti_host_queue *)queue;
}

/** An empty place for a device. */
#define TI_HOST_DEVICE_NONE                                                                        \
	{                                                                                          \
		.fd = -1, .info = {.name = "" }                                                    \
	}

/** Fill in the queue's head.  From here on the devices are the queue's. */
void ti_host_queue_init(struct ti_host_queue *hq, const struct ti_queue_ops *ops,
			const struct ti_host_device dev[TI_DEVICES]);

/** Close a device and free its path.  Releases its locks.  Fine on one that is not open. */
void ti_host_device_close(struct ti_host_device *dev);

/**
 * May this I/O be given to the kernel?  1: yes.  0 or negative errno: no, this is its result (0:
 * there is nothing to do).  io path.
 *
 * A write beyond the end would make a file longer; a write to a device opened for reading would
 * fail as -EBADF, which names no cause.  Neither gets that far.
 */
int ti_host_check(const struct ti_host_queue *hq, const struct ti_io *io);

/**
 * What is still to be transferred after io->progress bytes (fewer than io->len): *@iov is the first
 * of the returned number of elements.  io path.
 *
 * After a transfer that stopped inside an element, only the rest of that element is offered: the
 * submitter's array is not ours to change and nothing is allocated here, and it is rare.
 */
unsigned ti_host_rest(struct ti_io *io, const struct iovec **iov);

/** Bytes in @count elements. */
static inline size_t ti_host_iov_bytes(const struct iovec *iov, unsigned count)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

/** First in, first out, through io->next. */
struct ti_io_list {
	struct ti_io *first;
	struct ti_io **end; /* where the next one's address goes */
};

static inline void ti_io_list_init(struct ti_io_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static inline bool ti_io_list_empty(const struct ti_io_list *list)
{
	return list->first == NULL;
}

static inline void ti_io_list_add(struct ti_io_list *list, struct ti_io *io)
{
	io->next = NULL;
	*list->end = io;
	list->end = &io->next;
}

static inline struct ti_io *ti_io_list_take(struct ti_io_list *list)
{
	struct ti_io *io = list->first;

	if (io != NULL) {
		list->first = io->next;
		if (list->first == NULL)
			list->end = &list->first;
	}
	return io;
}

/** Append all of @from to @list; @from is empty then. */
static inline void ti_io_list_move(struct ti_io_list *list, struct ti_io_list *from)
{
	if (from->first == NULL)
		return;
	*list->end = from->first;
	list->end = from->end;
	ti_io_list_init(from);
}

#endif
