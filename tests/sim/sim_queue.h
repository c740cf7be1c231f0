/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Two simulated devices behind the engine's device seam, in one thread, repeatable from a seed.
 *
 * Each device is a medium and a volatile cache.  A completed write is in the cache: reads see it,
 * but it is on the medium for certain only when a flush that was submitted after the write's
 * completion has itself completed, or if it was a FUA write.  Sectors of 512 bytes are independent
 * of each other: at a power cut each one holds the durable version or any version that came later,
 * those of writes still under way included.  Completions come in any order.  Nothing is durable by
 * accident, so a flush that is missing, too early or lost shows.  A device that does not tear its
 * physical blocks of 4096 bytes has units of that size in place of sectors.
 *
 * After a failed flush, what it should have covered stays volatile for ever: a later flush that
 * succeeds says nothing about it, as with a drive that dropped its cache.
 */
#ifndef SIM_QUEUE_H
#define SIM_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockdev.h"
#include "clock.h"

/* Small, fast, and the same everywhere. */
struct sim_random {
	uint64_t state;
};

uint64_t sim_random(struct sim_random *r);
/* 0 <= result < n */
uint64_t sim_below(struct sim_random *r, uint64_t n);
bool sim_chance(struct sim_random *r, unsigned percent);

/* What a unit that was discarded is full of. */
#define SIM_FORGOTTEN 0xd5

struct sim_options {
	uint64_t seed;
	uint64_t bytes[TI_DEVICES];
	uint32_t logical_block_size[TI_DEVICES]; /* 0: 512 */
	uint32_t unit_bytes[TI_DEVICES];	 /* what a device never tears; 0: 512 */
	/* The device says that it has no volatile cache.  It has one all the same, as if it had
	 * been switched on since. */
	bool says_no_cache[TI_DEVICES];
	bool discards;		   /* a discard is a write of SIM_FORGOTTEN; else there are none */
	bool fua[TI_DEVICES];	   /* what the device says; FUA writes are durable in any case */
	unsigned complete_percent; /* chance of each I/O to complete at a run(); 0: 50 */
	/* 0: I/O may complete at once.  Else it takes up to 100 us, and so many of a hundred up to
	 * 20 ms: past ticks and many others. */
	unsigned slow_percent;
	/* Asked for each I/O when it completes: 0, or the error to complete it with. */
	int (*fault)(void *ctx, const struct ti_io *io);
	/* Told about each I/O when it is submitted and when it completes; may be NULL. */
	void (*watch)(void *ctx, const struct ti_io *io, bool completed);
	void *ctx;
};

struct sim_queue;

/* Media are zeroed.  Never fails (tests: no memory means abort). */
struct sim_queue *sim_queue_new(const struct sim_options *options);
void sim_queue_free(struct sim_queue *sim);

struct ti_queue *sim_as_queue(struct sim_queue *sim);
struct ti_clock *sim_as_clock(struct sim_queue *sim);
struct sim_random *sim_queue_random(struct sim_queue *sim);

/* What a reader sees now, for preparing and inspecting a device directly. */
uint8_t *sim_contents(struct sim_queue *sim, enum ti_device dev);
/* Take what sim_contents() holds as durable; only while nothing is under way. */
void sim_settle(struct sim_queue *sim, enum ti_device dev);

/* Cut the power: I/O under way vanishes (done() is never called), each sector takes one of the
 * versions it may have. */
void sim_power_cut(struct sim_queue *sim);

/* Kill the process, not the machine: I/O under way is carried out or not, and its done() is never
 * called; what the devices have, in their caches too, stays. */
void sim_kill(struct sim_queue *sim);

/* The device flushes a part of its cache by itself: so many of a hundred of the versions. */
void sim_leak(struct sim_queue *sim, enum ti_device dev, unsigned percent);

/* Make @to, of the same sizes and units, hold what @from holds, I/O under way included: @to must be
 * cut or killed before it runs. */
void sim_copy(struct sim_queue *to, const struct sim_queue *from);

/* What is random from here on follows from @seed. */
void sim_reseed(struct sim_queue *sim, uint64_t seed);

/* What is on the medium for certain: the least that a power cut leaves. */
const uint8_t *sim_durable(const struct sim_queue *sim, enum ti_device dev);

/* I/Os submitted and not completed: all of them; those of one kind. */
unsigned sim_under_way(const struct sim_queue *sim);
unsigned sim_count(const struct sim_queue *sim, enum ti_device dev, enum ti_io_op op);

/* For tests that choose the order: complete one I/O of this kind now, if there is one under way;
 * the one at this offset (bytes). */
bool sim_complete_one(struct sim_queue *sim, enum ti_device dev, enum ti_io_op op);
bool sim_complete_at(struct sim_queue *sim, enum ti_device dev, enum ti_io_op op, uint64_t offset);
/* While held, run() completes nothing by itself. */
void sim_hold(struct sim_queue *sim, bool hold);

/* Let time pass. */
void sim_advance(struct sim_queue *sim, uint64_t ns);

#endif
