/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A gate before the data device of the next pair that is opened, and a count of what its caches
 * would lose.  For executables linked with --wrap=ti_pair_open; one pair at a time.  The devices
 * say that they have a volatile cache and no FUA.
 */
#ifndef TI_TEST_GATE_QUEUE_H
#define TI_TEST_GATE_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockdev.h"

#define GATE_NEVER UINT64_MAX

struct gate {
	/* Set by the test, while it holds the LUN's lock. */
	bool shut;		    /* the data device's I/O, but for flushes, does not begin */
	unsigned passes;	    /* so many do, first */
	bool flushes_fail;	    /* with -EIO */
	uint64_t bad_offset;	    /* a write to the data device's byte there fails with -EIO */
	void (*flush_begins)(void); /* of the data device, or NULL */

	/* Writes that have completed well, and how many of them a good flush covers. */
	uint64_t completed[TI_DEVICES], durable[TI_DEVICES];
};

extern struct gate gate;

#endif
