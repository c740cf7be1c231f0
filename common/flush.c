/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See flush.h. */
#include "flush.h"

#include <assert.h>
#include <stddef.h>

void ti_flusher_init(struct ti_flusher *f, struct ti_queue *queue, struct ti_tag_cache *cache,
		     struct ti_clock *clock, bool read_only,
		     void (*failed)(void *ctx, enum ti_device dev, int error), void *ctx)
{
	f->queue = queue;
	f->cache = cache;
	f->failed = failed;
	f->ctx = ctx;
	STAILQ_INIT(&f->now);
	STAILQ_INIT(&f->next);
	ti_stopwatch_init(&f->round_watch, clock);
	f->watch[TI_DATA] = f->round_watch;
	f->watch[TI_META] = f->round_watch;
	/* Whoever had the devices open before may have died with writes in their caches that it had
	 * acknowledged; an initiator that has lived on counts on our first flush to cover them. */
	f->dirty[TI_DATA] = !read_only;
	f->dirty[TI_META] = !read_only;
	f->past[TI_DATA] = !read_only;
	f->past[TI_META] = !read_only;
}

void ti_flusher_wrote(struct ti_flusher *f, enum ti_device dev)
{
	f->dirty[dev] = true;
}

void ti_flusher_completed_write(struct ti_flusher *f)
{
	f->version++;
}

static void fail(struct ti_flusher *f, int error, enum ti_cause cause)
{
	if (f->result.err != 0)
		return;
	f->result.err = error;
	f->result.cause = cause;
}

static void part_done(struct ti_flusher *f)
{
	struct ti_flush_waiters told = STAILQ_HEAD_INITIALIZER(told);
	struct ti_flush_waiter *waiter;
	struct ti_result result;

	assert(f->pending > 0);
	if (--f->pending > 0)
		return;
	/* A flush that failed earlier: what it should have covered is not durable, whatever this
	 * round says. */
	if (f->broken[TI_DATA] != 0)
		fail(f, f->broken[TI_DATA], TI_CAUSE_DATA_FLUSH);
	if (f->broken[TI_META] != 0)
		fail(f, f->broken[TI_META], TI_CAUSE_META_FLUSH);
	result = f->result;
	f->running = false;
	ti_stopwatch_end(&f->round_watch);
	STAILQ_CONCAT(&told, &f->now);
	while ((waiter = STAILQ_FIRST(&told)) != NULL) {
		STAILQ_REMOVE_HEAD(&told, link);
		waiter->done(waiter, &result);
	}
}

void ti_flusher_flush_started(struct ti_flusher *f, enum ti_device dev)
{
	/* Cleared before the flush starts: a write that completes while it runs is not covered and
	 * sets it again. */
	f->dirty[dev] = false;
	f->flushing[dev]++;
	ti_stopwatch_begin(&f->watch[dev]);
	f->device_flushes[dev]++;
}

void ti_flusher_flush_ended(struct ti_flusher *f, enum ti_device dev, int error)
{
	f->flushing[dev]--;
	ti_stopwatch_end(&f->watch[dev]);
	if (error == 0) {
		f->past[dev] = false;
		return;
	}
	f->dirty[dev] = true;
	ti_flusher_failed(f, dev, error);
}

void ti_flusher_failed(struct ti_flusher *f, enum ti_device dev, int error)
{
	if (f->broken[dev] != 0)
		return;
	f->broken[dev] = error;
	f->failed(f->ctx, dev, error);
}

bool ti_flusher_fua_pays(const struct ti_flusher *f, enum ti_device dev)
{
	return f->queue->dev[dev].fua && !f->dirty[dev] && f->flushing[dev] == 0;
}

static void device_flushed(struct ti_io *io)
{
	struct ti_flusher *f = io->owner;

	ti_flusher_flush_ended(f, io->dev, io->result);
	part_done(f);
}

static void flush_device(struct ti_flusher *f, enum ti_device dev)
{
	struct ti_io *io = &f->io[dev];

	/* Another's flush that is under way may cover everything, but has not done so yet. */
	if (!f->dirty[dev] && f->flushing[dev] == 0) {
		part_done(f);
		return;
	}
	ti_flusher_flush_started(f, dev);
	io->op = TI_IO_FLUSH;
	io->dev = dev;
	io->offset = 0;
	io->len = 0;
	io->iov = NULL;
	io->iov_count = 0;
	io->fua = false;
	io->done = device_flushed;
	io->owner = f;
	ti_queue_submit(f->queue, io);
}

static void tags_written(struct ti_tag_sync *sync)
{
	struct ti_flusher *f = sync->owner;

	/* The lines that could not be written stay dirty.  Flush the others all the same. */
	if (sync->error != 0)
		fail(f, sync->error, TI_CAUSE_META_IO);
	flush_device(f, TI_META);
}

void ti_flush_join(struct ti_flusher *f, struct ti_flush_waiter *waiter)
{
	if (f->running && f->round_version == f->version)
		STAILQ_INSERT_TAIL(&f->now, waiter, link);
	else
		STAILQ_INSERT_TAIL(&f->next, waiter, link);
}

bool ti_flusher_run(struct ti_flusher *f)
{
	bool told = false;

	while (!f->running && !STAILQ_EMPTY(&f->next)) {
		f->running = true;
		f->round_version = f->version;
		f->result = (struct ti_result){ 0 };
		f->rounds++;
		ti_stopwatch_begin(&f->round_watch);
		STAILQ_CONCAT(&f->now, &f->next);
		/* One for each device, one that keeps the round open while it is being started. */
		f->pending = 3;
		flush_device(f, TI_DATA);
		f->sync.fua = ti_flusher_fua_pays(f, TI_META);
		f->sync.done = tags_written;
		f->sync.owner = f;
		if (!ti_tag_cache_sync(f->cache, &f->sync))
			flush_device(f, TI_META);
		part_done(f);
		told = !f->running;
	}
	return told;
}
