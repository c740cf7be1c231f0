/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Are a device's flushes so short that waiting for them beats handing them to a worker?
 *
 * A device that says it has no volatile cache is believed until a flush of it is seen to take long:
 * the thread that waits for it holds up everything else, and a second device's flush would come
 * after it instead of beside it.  Every flush is measured, by whomever it is done.  One that took
 * long sends the next ones to workers, until enough of theirs in a row were short: a thread that
 * was merely not scheduled for a moment costs that many, not all for ever.
 */
#ifndef TI_FLUSH_GAUGE_H
#define TI_FLUSH_GAUGE_H

#include <stdbool.h>
#include <stdint.h>

struct ti_clock;

/**
 * A flush that took longer is not waited for again; a worker's may take three times as long, for it
 * is woken first.  Where reading the clock is a slow system call, so is every other: there a flush
 * may take as long as TI_FLUSH_MAX_READS readings.
 */
#define TI_FLUSH_MAX_NS	   100000ULL
#define TI_FLUSH_MAX_READS 32U
/** So many short ones of workers in a row earn another chance. */
#define TI_FLUSH_PROBATION 64U
/** Where reading the clock costs as much as a flush, so many inline ones share a measurement. */
#define TI_FLUSH_DEAR_SAMPLE 64U

struct ti_flush_gauge {
	bool never;	     /* the device has a volatile cache */
	bool dear;	     /* so is reading the clock */
	uint64_t max_ns;     /* a short flush takes no longer */
	unsigned probation;  /* short flushes that are wanted before the next inline one */
	unsigned unmeasured; /* inline ones since the last that was measured */
};

/** @volatile_cache: never inline.  Reads @clock a few times to see what that costs. */
void ti_flush_gauge_init(struct ti_flush_gauge *g, bool volatile_cache, struct ti_clock *clock);

/** Shall the next flush be waited for by the thread that asks for it?  io path. */
static inline bool ti_flush_gauge_inline(const struct ti_flush_gauge *g)
{
	return !g->never && g->probation == 0;
}

/** Is the inline flush at hand to be measured?  Asked once for each.  io path. */
bool ti_flush_gauge_measures(struct ti_flush_gauge *g);

/** What was measured.  io path. */
void ti_flush_gauge_inline_took(struct ti_flush_gauge *g, uint64_t ns);
void ti_flush_gauge_worker_took(struct ti_flush_gauge *g, uint64_t ns);

#endif
