/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The back-end over a pool of threads, for where io_uring is refused.  For pair.c.
 */
#ifndef TI_BLOCKDEV_THREADS_H
#define TI_BLOCKDEV_THREADS_H

#include "blockdev_host.h"

extern const struct ti_queue_ops ti_threads_ops;

/**
 * Put a queue over @dev, with @threads threads for reads, writes and discards and one more per
 * device for flushes.  On success the devices are the queue's, otherwise they stay the caller's.
 * Returns 0 or negative errno.
 */
int ti_threads_open(const struct ti_host_device dev[TI_DEVICES], unsigned threads,
		    struct ti_queue **queue);

#endif
