/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See latency.h. */
#include "latency.h"

/* Natively a clock is read in some 20 ns. */
#define DEAR_CLOCK_NS 1000U
#define CLOCK_READS   5U
#define DEAR_SAMPLE   16U

void ti_stopwatch_init(struct ti_stopwatch *w, struct ti_clock *clock)
{
	uint64_t before = ti_clock_now(clock), best = UINT64_MAX;

	/* The shortest counts: we may be interrupted. */
	for (unsigned i = 0; i < CLOCK_READS; i++) {
		uint64_t now = ti_clock_now(clock);

		best = now - before < best ? now - before : best;
		before = now;
	}
	*w = (struct ti_stopwatch){ .clock = clock, .dear = best > DEAR_CLOCK_NS };
}

void ti_stopwatch_begin(struct ti_stopwatch *w)
{
	if (w->began_ns != 0)
		return;
	if (w->dear) {
		w->unlooked++;
		if (w->unlooked > 1 && w->unlooked <= DEAR_SAMPLE)
			return;
		w->unlooked = 1;
	}
	w->began_ns = ti_clock_now(w->clock);
}

void ti_stopwatch_end(struct ti_stopwatch *w)
{
	if (w->began_ns == 0)
		return;
	ti_latency_add(&w->latency, ti_clock_now(w->clock) - w->began_ns);
	w->began_ns = 0;
}
