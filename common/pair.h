/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Opening the two devices of a pair on this host, and keeping others out.
 *
 * Block devices are opened with O_EXCL, files are locked with flock(); either fails when somebody
 * holds the device, and the error says who, where that can be known (mount, holder device,
 * process). Data and metadata must be two different devices.  O_DIRECT is used where the file
 * allows it; where not, one warning says so.
 */
#ifndef TI_PAIR_H
#define TI_PAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "blockdev.h"
#include "clock.h"
#include "error.h"
#include "log.h"

/** Which back-end carries the I/O. */
enum ti_backend {
	TI_BACKEND_AUTO,    /* io_uring, or threads where io_uring is refused */
	TI_BACKEND_URING,   /* io_uring or fail */
	TI_BACKEND_THREADS, /* the thread pool */
};

struct ti_pair_options {
	const char *data_path; /* NULL: only the metadata device is opened (dump) */
	const char *meta_path;
	bool read_only; /* open for reading only; readers share files, but not block devices */
	bool no_lock;	/* dump of a device in use: neither O_EXCL nor lock; read_only only */
	/* Would it open?  Neither claim nor lock nor wait, and nothing can be written.  Refused is
	 * what somebody holds for certain, or this very process has open. */
	bool peek;
	enum ti_backend backend;
	unsigned depth;	  /* most I/Os under way at once; 0: 256 */
	unsigned threads; /* of the thread pool; 0: 16 */
};

/**
 * Open both devices and put an I/O queue over them.  Creates and writes nothing.  Blocks: a holder
 * that is not seen to live is given two seconds to go, for the kernel may still be clearing up
 * after a process that was killed.
 * @log is used while the queue lives.  On success *@queue is the caller's, to be closed with
 * ti_pair_close().  Without a data path dev[TI_DATA] is empty (size 0, name "").
 * Returns 0, -EBUSY (held by somebody, or data and metadata are the same device), -EROFS, or what
 * open() said; @error has the sentence.
 */
int ti_pair_open(const struct ti_pair_options *options, const struct ti_log *log,
		 struct ti_queue **queue, struct ti_error *error);

/** Close queue and devices; NULL is fine. */
void ti_pair_close(struct ti_queue *queue);

/** The file descriptor of a host device, for ioctls and libblkid.  -1 if it is not open. */
int ti_pair_fd(const struct ti_queue *queue, enum ti_device dev);

#endif
