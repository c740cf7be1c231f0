/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Flush rounds: any number of waiters, one pair of concurrent device flushes.
 *
 * A round does, at the same time,
 *	data device:	  FLUSH
 *	metadata device:  write all dirty tags, then FLUSH
 * and then tells all that waited for it.  No order is needed between the two: a drive may empty its
 * cache by itself at any moment, so no crash state is possible with one order that isn't with the
 * other.  A round covers the writes that were complete when it started.  Who asks while one is
 *under way joins it only if no write has completed since its start; else the next one, which starts
 *when this one ends.
 *
 * A device is flushed only if a write to it has completed since its last good flush started.  Where
 * a device has no volatile cache every write is a FUA write, and nothing is left to flush.  The
 *first round of all flushes both: nothing is known of the time before.  Where the metadata device
 * has FUA writes, and all dirty tags go in one write, that write is one, and no flush follows.
 *
 * A failed device flush is never forgotten: what it should have covered may be lost, and no later
 * success can bring it back, so from then on every round fails (until the LUN is opened anew).  A
 *tag line that could not be written is different: it is still in memory, and the next round tries
 *again.
 */
#ifndef TI_FLUSH_H
#define TI_FLUSH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "blockdev.h"
#include "error.h"
#include "latency.h"
#include "tag_cache.h"

/** Somebody who wants all writes completed so far to be durable. */
struct ti_flush_waiter {
	/* Called once, never from inside ti_flush_join(). */
	void (*done)(struct ti_flush_waiter *waiter, const struct ti_result *result);
	STAILQ_ENTRY(ti_flush_waiter) link;
};

STAILQ_HEAD(ti_flush_waiters, ti_flush_waiter);

struct ti_flusher {
	struct ti_queue *queue;
	struct ti_tag_cache *cache;
	/* A flush of a device failed; told once per device, before the waiters are. */
	void (*failed)(void *ctx, enum ti_device dev, int error);
	void *ctx;

	bool dirty[TI_DEVICES];	       /* a write has completed since the last good flush's start */
	unsigned flushing[TI_DEVICES]; /* flushes under way: what they cover is not durable yet */
	/* No flush has ended well since the open: what was written before it may be volatile. */
	bool past[TI_DEVICES];
	int broken[TI_DEVICES]; /* errno of the first failed flush, for ever */
	uint64_t version;	/* counts completed writes */
	uint64_t discards;	/* counts those that the data device has completed */
	uint64_t round_version; /* version when the round under way started */
	bool running;
	unsigned pending;	 /* parts of the round not yet finished */
	struct ti_result result; /* of the round under way */
	struct ti_flush_waiters now, next;
	struct ti_io io[TI_DEVICES];
	struct ti_tag_sync sync;

	uint64_t rounds, device_flushes[TI_DEVICES];
	struct ti_stopwatch watch[TI_DEVICES], round_watch;
};

void ti_flusher_init(struct ti_flusher *f, struct ti_queue *queue, struct ti_tag_cache *cache,
		     struct ti_clock *clock, bool read_only,
		     void (*failed)(void *ctx, enum ti_device dev, int error), void *ctx);

/** A write to @dev has completed, well or not: its cache may hold something now.  io path. */
void ti_flusher_wrote(struct ti_flusher *f, enum ti_device dev);

/** A request's write, data and tag, is complete: only rounds that start later cover it.  io path.
 */
void ti_flusher_completed_write(struct ti_flusher *f);

/**
 * For those who flush a device outside of a round (a journal's commit): called when such a flush is
 * submitted, and when it has completed with @error (0: well).  io path.
 */
void ti_flusher_flush_started(struct ti_flusher *f, enum ti_device dev);
void ti_flusher_flush_ended(struct ti_flusher *f, enum ti_device dev, int error);

/** A flush of the device has failed: every later one fails, too. */
void ti_flusher_failed(struct ti_flusher *f, enum ti_device dev, int error);

/**
 * Is a FUA write to @dev as good as a write and a flush?  Not if the device's cache may hold
 * something else that is to become durable: a flush is needed anyway, and its failure must be seen
 * as one.  After a FUA write that has completed well ti_flusher_wrote() is not called.  io path.
 */
bool ti_flusher_fua_pays(const struct ti_flusher *f, enum ti_device dev);

/** Wait for everything completed so far to be durable.  io path. */
void ti_flush_join(struct ti_flusher *f, struct ti_flush_waiter *waiter);

/**
 * Start the next round if somebody waits and none is under way.  Called once per run, after all
 * that could join has joined.  Returns true if waiters were told (there was nothing to flush).  io
 * path.
 */
bool ti_flusher_run(struct ti_flusher *f);

#endif
