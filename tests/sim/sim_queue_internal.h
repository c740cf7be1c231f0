/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The inside of the simulated devices, for sim_queue.c and sim_crash.c only.
 *
 * Per device: `now` is what reads return, `durable` what is certain, and a log of versions, one
 * entry per unit written and not yet certain, in the order of their completion.  A unit is what the
 * device never tears: a sector of 512 bytes, or a physical block.
 */
#ifndef SIM_QUEUE_INTERNAL_H
#define SIM_QUEUE_INTERNAL_H

#include "sim_queue.h"

#define SIM_SECTOR 512U

struct sim_version {
	uint64_t unit;
	uint64_t completed; /* when, by the queue's step counter */
	bool lost;	    /* a flush that should have covered it failed */
};

struct sim_device {
	uint32_t unit; /* bytes */
	uint8_t *now, *durable;
	uint64_t *certain; /* per unit: step of the version in `durable` */
	struct sim_version *log;
	uint8_t *log_data; /* a unit per entry of the log */
	size_t log_count, log_room;
};

struct sim_pending {
	struct ti_io *io;
	uint64_t submitted; /* step counter */
	uint64_t due_ns;    /* does not complete before */
};

struct sim_queue {
	struct ti_queue queue;
	struct ti_clock clock;
	uint64_t time_ns;
	struct sim_random random;
	struct sim_options options;
	struct sim_device dev[TI_DEVICES];
	struct sim_pending *pending;
	size_t pending_count, pending_room;
	uint64_t step;
	bool hold;
	bool nudge; /* wait() was called: the next run() completes something */
};

static inline const uint8_t *sim_log_data(const struct sim_device *d, size_t i)
{
	return d->log_data + i * d->unit;
}

/* Does it change what the device holds? */
static inline bool sim_changes(const struct sim_queue *sim, const struct ti_io *io)
{
	return io->op == TI_IO_WRITE || (io->op == TI_IO_DISCARD && sim->options.discards);
}

/* The units of an I/O one by one; a discard has a unit of what it leaves for each. */
void sim_each_unit(struct sim_queue *sim, const struct ti_io *io,
		   void (*fn)(struct sim_queue *sim, const struct ti_io *io, uint64_t unit,
			      uint8_t *memory, void *arg),
		   void *arg);

#endif
