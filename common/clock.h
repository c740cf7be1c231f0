/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The clock seam: what time it is, and "wake me then".
 *
 * Time is in nanoseconds of a clock that never goes back.  The simulation has a clock of its own.
 */
#ifndef TI_CLOCK_H
#define TI_CLOCK_H

#include <stdint.h>

#define TI_NS_PER_MS   (1000ULL * 1000)
#define TI_NS_PER_SEC  (1000ULL * 1000 * 1000)
#define TI_CLOCK_NEVER UINT64_MAX

struct ti_clock {
	uint64_t (*now_ns)(struct ti_clock *clock);
};

/** The machine's monotonic clock.  Stateless: one serves everybody. */
extern struct ti_clock ti_clock_monotonic;

static inline uint64_t ti_clock_now(struct ti_clock *clock)
{
	return clock->now_ns(clock);
}

#endif
