/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * How long flushes take: count, sum, longest, and a histogram whose bounds grow by four.
 *
 * A flush costs two looks at the clock.  Where one is dear (a system call of a slow kind, as in
 * User Mode Linux) only one flush in sixteen is measured.
 */
#ifndef TI_LATENCY_H
#define TI_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "clock.h"

/** Bounds of 64 us, 256 us, ... 4.2 s, and a last bucket without one. */
#define TI_LATENCY_BUCKETS 10U

struct ti_latency {
	uint64_t count, sum_ns, max_ns;
	uint64_t bucket[TI_LATENCY_BUCKETS]; /* not cumulative */
};

/** The longest duration of a bucket; UINT64_MAX for the last one. */
static inline uint64_t ti_latency_bound_ns(unsigned bucket)
{
	return bucket + 1 < TI_LATENCY_BUCKETS ? 64000ULL << (2 * bucket) : UINT64_MAX;
}

static inline void ti_latency_add(struct ti_latency *l, uint64_t ns)
{
	unsigned i = 0;

	while (ns > ti_latency_bound_ns(i))
		i++;
	l->bucket[i]++;
	l->count++;
	l->sum_ns += ns;
	if (ns > l->max_ns)
		l->max_ns = ns;
}

/** One thing whose duration is measured now and then. */
struct ti_stopwatch {
	struct ti_clock *clock;
	bool dear;	   /* a look at the clock */
	unsigned unlooked; /* since the last one that was measured */
	uint64_t began_ns; /* 0: not being measured */
	struct ti_latency latency;
};

/** Looks at the clock some times, to see what it costs. */
void ti_stopwatch_init(struct ti_stopwatch *w, struct ti_clock *clock);

/** It begins, and ends.  What was begun twice is measured from the first time.  io path. */
void ti_stopwatch_begin(struct ti_stopwatch *w);
void ti_stopwatch_end(struct ti_stopwatch *w);

#endif
