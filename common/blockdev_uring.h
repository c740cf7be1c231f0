/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The back-end over io_uring.  For pair.c.
 */
#ifndef TI_BLOCKDEV_URING_H
#define TI_BLOCKDEV_URING_H

#include "blockdev_host.h"

extern const struct ti_queue_ops ti_uring_ops;

/**
 * Put an io_uring queue over @dev, with at most @depth reads and writes in the kernel at once (more
 * wait their turn).  On success the devices are the queue's.  Otherwise they stay the caller's, and
 * *@refused says in a few words what was refused (a constant string).  Returns 0 or negative errno.
 */
int ti_uring_open(const struct ti_host_device dev[TI_DEVICES], unsigned depth,
		  struct ti_queue **queue, const char **refused);

#endif
