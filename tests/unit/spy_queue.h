/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A queue over a mem_queue that keeps a log, completes I/Os in an order of its own, and lets the
 * nth of them fail.
 */
#ifndef TI_TEST_SPY_QUEUE_H
#define TI_TEST_SPY_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem_queue.h"

#define SPY_NEVER SIZE_MAX

struct spy_event {
	bool done; /* else: submitted */
	enum ti_io_op op;
	enum ti_device dev;
	uint64_t offset;
	size_t len;
};

struct spy_queue {
	struct ti_queue q; /* first */
	struct mem_queue *under;
	struct spy_event *log;
	size_t events, room;
	size_t ios;	       /* submitted so far */
	bool dead[TI_DEVICES]; /* everything on this device fails with -EIO */
	size_t fail_at; /* the number, from 0, of the I/O that fails with -EIO; or SPY_NEVER */
	struct ti_io *pending[256];
	size_t pending_count;
	size_t most_pending;
	uint64_t random;
};

/** @under stays the caller's.  Other seeds, other orders. */
struct spy_queue *spy_queue_new(struct mem_queue *under, uint64_t seed);
void spy_queue_free(struct spy_queue *spy);

#endif
