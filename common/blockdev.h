/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The device seam: one queue of I/O to the two devices of a pair.
 *
 * The engine submits struct ti_io objects that it owns; each completes exactly once, from inside
 * ->run(), by a call of its done() with io->result set.  done() may submit more I/O.  Nothing ever
 * completes inside ->submit(), so a submitter never has to expect its own state to change under it.
 *
 * Threads: submit() and run() are called by the one thread that is inside the engine at that moment
 * (the LUN's monitor sees to it); wait() is called by one thread that is NOT inside; wake() by any.
 *
 * What completion means: a READ or WRITE has been carried out by the device, a WRITE perhaps only
 * in the device's volatile cache; a FLUSH covers every WRITE to the same device that was completed
 * (its done() called) before the FLUSH was submitted, and makes it durable.  Flushes of one device
 * are carried out one after the other, and reported in that order: a device that could not flush
 * may have lost what a later flush, which succeeds, does not bring back.  No other order exists.
 *
 * Back-ends: blockdev_uring.c (io_uring), blockdev_threads.c (where io_uring is refused), and the
 * simulation's.
 */
#ifndef TI_BLOCKDEV_H
#define TI_BLOCKDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "error.h"
#include "io_thread.h"
#include "log.h"

enum ti_device {
	TI_DATA = 0,
	TI_META = 1,
	TI_DEVICES = 2,
};

enum ti_io_op {
	TI_IO_READ,
	TI_IO_WRITE,
	TI_IO_FLUSH,
	TI_IO_DISCARD, /* hint: the bytes may be forgotten; -EOPNOTSUPP where not supported */
};

/** Most elements of io->iov. */
#define TI_IO_MAX_IOV 1024

struct ti_io {
	/* Set by the submitter, unchanged until done(). */
	enum ti_io_op op;
	enum ti_device dev;
	uint64_t offset; /* bytes from the device's start */
	size_t len;	 /* bytes; equals the iovecs' sum for READ and WRITE, 0 for FLUSH */
	const struct iovec *iov;
	unsigned iov_count;
	bool fua; /* WRITE only: durable on completion, as if a flush of this write followed */
	void (*done)(struct ti_io *io);
	void *owner; /* for done() */

	int result; /* 0 or negative errno: never a short count */

	/* The back-end's own, undefined between uses. */
	struct ti_io *next;
	uint64_t progress;
	struct iovec rest; /* short transfers are resumed from here */
};

/** What the engine needs to know about a device. */
struct ti_device_info {
	const char *name;	     /* path, for messages; owned by the back-end */
	uint64_t size;		     /* bytes, a multiple of 512 */
	uint32_t logical_block_size; /* offsets and lengths of I/O must be multiples of this */
	uint32_t memory_align;	     /* so must memory addresses be multiples of this */
	bool read_only;
	bool has_volatile_cache; /* false: the queue says "write through"; a flush is cheap */
	bool fua; /* a write with fua needs no flush: the device does it alone, or has no cache */
};

/**
 * Is every write to the device to be a FUA write?  Where there is no volatile cache that costs
 * nothing, and no flush is needed afterwards.  Should the cache be switched on while the device is
 * in use, the kernel makes each such write durable nevertheless.
 */
static inline bool ti_device_writes_through(const struct ti_device_info *info)
{
	return info->fua && !info->has_volatile_cache;
}

struct ti_queue;

struct ti_queue_ops {
	const char *name;
	/* Take an I/O; it starts at the latest with the next run().  Never fails: errors are
	 * reported by done().  io path. */
	void (*submit)(struct ti_queue *q, struct ti_io *io);
	/* Start what was submitted and call done() for all that has completed, also for what was
	 * submitted and completed meanwhile.  Does not block.  Returns the number of done() calls.
	 * io path. */
	unsigned (*run)(struct ti_queue *q);
	/* Block until run() may have something to do, wake() was called, or @deadline_ns of the
	 * queue's clock has come (TI_CLOCK_NEVER: no limit). */
	void (*wait)(struct ti_queue *q, uint64_t deadline_ns);
	/* Make a wait() that is under way, or the next one, return.  Any thread. */
	void (*wake)(struct ti_queue *q);
	/* Release everything.  No I/O may be under way.  Closes the devices. */
	void (*close)(struct ti_queue *q);
};

struct ti_queue {
	const struct ti_queue_ops *ops;
	struct ti_device_info dev[TI_DEVICES];
	struct ti_io_threads threads; /* the back-end's own */
	bool unlocked_memory;	      /* the back-end's memory could not be locked */
};

static inline void ti_queue_submit(struct ti_queue *q, struct ti_io *io)
{
	q->ops->submit(q, io);
}

static inline unsigned ti_queue_run(struct ti_queue *q)
{
	return q->ops->run(q);
}

/** The largest logical block of a device that the engine does I/O to, in bytes: the format's blocks
 *  and its superblock are no larger. */
#define TI_MAX_LOGICAL_BLOCK 4096U

/** Are both devices' logical blocks no larger?  Returns 0, or -EOPNOTSUPP and says so. */
int ti_queue_check_blocks(const struct ti_queue *q, struct ti_error *error);

/**
 * Carry out one I/O and wait for it: for open, format and check, when nobody else uses the queue.
 * @buf is aligned as the device wants it.  Returns 0 or negative errno.
 */
int ti_queue_sync(struct ti_queue *q, enum ti_io_op op, enum ti_device dev, uint64_t offset,
		  void *buf, size_t len);

#endif
