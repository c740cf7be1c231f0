/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
#include "spy_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static void note(struct spy_queue *spy, const struct ti_io *io, bool done)
{
	if (spy->events == spy->room) {
		spy->room = spy->room ? 2 * spy->room : 256;
		spy->log = realloc(spy->log, spy->room * sizeof(*spy->log));
		assert(spy->log);
	}
	spy->log[spy->events++] = (struct spy_event){
		.done = done,
		.op = io->op,
		.dev = io->dev,
		.offset = io->offset,
		.len = io->len,
	};
}

static void spy_submit(struct ti_queue *q, struct ti_io *io)
{
	struct spy_queue *spy = (struct spy_queue *)q;

	assert(spy->pending_count < sizeof(spy->pending) / sizeof(spy->pending[0]));
	note(spy, io, false);
	/* The back-end's own field remembers the I/O's number. */
	io->progress = spy->ios++;
	spy->pending[spy->pending_count++] = io;
	if (spy->pending_count > spy->most_pending)
		spy->most_pending = spy->pending_count;
}

static size_t pick(struct spy_queue *spy)
{
	spy->random = spy->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (size_t)(spy->random >> 33) % spy->pending_count;
}

/* One at a time, so that whoever submits more sees every order. */
static unsigned spy_run(struct ti_queue *q)
{
	struct spy_queue *spy = (struct spy_queue *)q;
	struct ti_io *io;
	size_t i;

	if (!spy->pending_count)
		return 0;
	i = pick(spy);
	io = spy->pending[i];
	spy->pending[i] = spy->pending[--spy->pending_count];
	note(spy, io, true);
	if (io->progress == spy->fail_at || spy->dead[io->dev]) {
		io->result = -EIO;
		io->done(io);
		return 1;
	}
	spy->under->q.ops->submit(&spy->under->q, io);
	return spy->under->q.ops->run(&spy->under->q);
}

static void spy_wait(struct ti_queue *q, uint64_t deadline_ns)
{
	(void)q;
	(void)deadline_ns;
}

static void spy_wake(struct ti_queue *q)
{
	(void)q;
}

static void spy_close(struct ti_queue *q)
{
	spy_queue_free((struct spy_queue *)q);
}

static const struct ti_queue_ops spy_ops = {
	.name = "spy",
	.submit = spy_submit,
	.run = spy_run,
	.wait = spy_wait,
	.wake = spy_wake,
	.close = spy_close,
};

struct spy_queue *spy_queue_new(struct mem_queue *under, uint64_t seed)
{
	struct spy_queue *spy = calloc(1, sizeof(*spy));

	assert(spy);
	spy->q.ops = &spy_ops;
	for (int i = 0; i < TI_DEVICES; i++)
		spy->q.dev[i] = under->q.dev[i];
	spy->under = under;
	spy->fail_at = SPY_NEVER;
	spy->random = seed;
	return spy;
}

void spy_queue_free(struct spy_queue *spy)
{
	if (!spy)
		return;
	free(spy->log);
	free(spy);
}
