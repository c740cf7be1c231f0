/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See clock.h. */
#include "clock.h"

#include <time.h>

static uint64_t monotonic_now_ns(struct ti_clock *clock)
{
	struct timespec now;

	(void)clock;
	/* Cannot fail: CLOCK_MONOTONIC exists on every kernel and the address is ours. */
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * TI_NS_PER_SEC + (uint64_t)now.tv_nsec;
}

struct ti_clock ti_clock_monotonic = { .now_ns = monotonic_now_ns };
