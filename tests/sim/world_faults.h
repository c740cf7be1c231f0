/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What goes wrong with the devices of a simulated world: a few rules at a time.
 *
 * A rule names a device, an operation and a range of bytes, and lets I/O there fail: always, now
 * and then, once, or until some time has passed.  A device that vanishes fails everything.
 */
#ifndef WORLD_FAULTS_H
#define WORLD_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "sim_queue.h"

#define FAULT_RULES 6U

struct fault_rule {
	enum ti_device dev;
	bool op[4];	      /* by ti_io_op */
	uint64_t first, last; /* bytes; flushes have none and are always in it */
	unsigned percent;
	uint64_t times;	   /* left */
	uint64_t until_ns; /* of the devices' clock */
	int err;
};

struct faults {
	struct fault_rule rule[FAULT_RULES];
	unsigned rules;
	bool vanishing;
	unsigned vanish_after; /* I/Os until both devices are gone */
	int vanish_err;
};

void faults_none(struct faults *f);
/* Other rules than before, or none. */
void faults_choose(struct faults *f, struct sim_random *r, const uint64_t *bytes, uint64_t now_ns);
/*
 * Everything of both devices fails after @count more I/Os.  A flush that fails loses what is in the
 * cache; unless @remembered, for then nobody could know at the next open: it was never seen.
 */
void faults_vanish_after(struct faults *f, unsigned count, bool remembered);
/* The error of an I/O that completes now, or 0. */
int faults_hit(struct faults *f, struct sim_random *r, const struct ti_io *io, uint64_t now_ns);

#endif
