/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What a person may ask for as the rate of work in the background, in bytes per second; 0 is no
 * limit.  Below the least one a piece of 256 KiB would be seconds apart from the next, and a number
 * that was meant in other units is likely; the most is what recalculate_rate= can say.
 */
#ifndef TI_RATE_H
#define TI_RATE_H

#include <stdbool.h>
#include <stdint.h>

#define TI_RATE_MIN (64ULL << 10)
#define TI_RATE_MAX (1ULL << 40)

static inline bool ti_rate_is_good(uint64_t rate)
{
	return rate == 0 || (rate >= TI_RATE_MIN && rate <= TI_RATE_MAX);
}

#endif
