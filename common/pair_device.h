/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Opening one device of a pair.  For pair.c.
 */
#ifndef TI_PAIR_DEVICE_H
#define TI_PAIR_DEVICE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "blockdev_host.h"
#include "error.h"
#include "log.h"

struct ti_device_request {
	const char *role; /* "data device", "metadata device": for messages */
	const char *path;
	bool read_only;
	bool no_lock;
	bool peek;
};

/**
 * Is there a file or a block device at that path?  Opens nothing.  On success *@st is its stat.
 * Returns 0 or negative errno with a sentence.
 */
int ti_device_look(const struct ti_device_request *rq, struct stat *st, struct ti_error *error);

/** For a peek, before anything is opened: does somebody hold what ti_device_look() saw?  Returns 0
 * or -EBUSY with a sentence. */
int ti_device_held(const struct ti_device_request *rq, const struct stat *seen,
		   struct ti_error *error);

/**
 * Open and lock what ti_device_look() saw, and learn what I/O it takes.  Waits up to two seconds
 * for a holder that is on its way out.  @dev is the caller's on success, to be closed with
 * ti_host_device_close().  Returns 0 or negative errno with a sentence.
 */
int ti_device_open(const struct ti_device_request *rq, const struct stat *seen,
		   const struct ti_log *log, struct ti_host_device *dev, struct ti_error *error);

#endif
