/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See flush_gauge.h. */
#include "flush_gauge.h"

#include "clock.h"

/* Natively a clock is read in some 20 ns; as a system call of a slow kind, in several us. */
#define DEAR_CLOCK_NS 1000U
#define CLOCK_READS   5U

void ti_flush_gauge_init(struct ti_flush_gauge *g, bool volatile_cache, struct ti_clock *clock)
{
	uint64_t before = ti_clock_now(clock), best = UINT64_MAX;

	/* The shortest counts: we may be interrupted. */
	for (unsigned i = 0; i < CLOCK_READS; i++) {
		uint64_t now = ti_clock_now(clock);

		best = now - before < best ? now - before : best;
		before = now;
	}
	*g = (struct ti_flush_gauge){ .never = volatile_cache, .dear = best > DEAR_CLOCK_NS };
	g->max_ns = TI_FLUSH_MAX_NS;
	if (g->dear && best < TI_FLUSH_MAX_NS && best * TI_FLUSH_MAX_READS > g->max_ns)
		g->max_ns = best * TI_FLUSH_MAX_READS;
}

bool ti_flush_gauge_measures(struct ti_flush_gauge *g)
{
	bool measures = !g->dear || g->unmeasured == 0;

	g->unmeasured = (g->unmeasured + 1) % TI_FLUSH_DEAR_SAMPLE;
	return measures;
}

void ti_flush_gauge_inline_took(struct ti_flush_gauge *g, uint64_t ns)
{
	if (ns <= g->max_ns)
		return;
	g->probation = TI_FLUSH_PROBATION;
	g->unmeasured = 0; /* the next inline one is measured in any case */
}

void ti_flush_gauge_worker_took(struct ti_flush_gauge *g, uint64_t ns)
{
	if (ns > 3 * g->max_ns)
		g->probation = TI_FLUSH_PROBATION;
	else if (g->probation > 0)
		g->probation--;
}
