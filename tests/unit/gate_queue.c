/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
#include "gate_queue.h"

#include <errno.h>
#include <stdlib.h>

#include "pair.h"

#define HELD_MAX 256U

struct gate gate;

static struct ti_queue_ops ops;
static const struct ti_queue_ops *under;
static struct ti_io *held[HELD_MAX];
static unsigned held_count;

/* What an I/O had, while its end is looked at here. */
struct watched {
	struct ti_io *io;
	void (*done)(struct ti_io *io);
	void *owner;
	uint64_t covers; /* of a flush */
};

static struct watched watched[HELD_MAX];

static void ended(struct ti_io *io)
{
	struct watched *w = io->owner;

	io->done = w->done;
	io->owner = w->owner;
	w->io = NULL;
	if (io->op == TI_IO_FLUSH && gate.flushes_fail)
		io->result = -EIO;
	if (io->result == 0 && io->op == TI_IO_FLUSH && w->covers > gate.durable[io->dev])
		gate.durable[io->dev] = w->covers;
	if (io->result == 0 && (io->op == TI_IO_WRITE || io->op == TI_IO_DISCARD))
		gate.completed[io->dev]++;
	if (io->op == TI_IO_WRITE && io->dev == TI_DATA && io->offset <= gate.bad_offset &&
	    gate.bad_offset - io->offset < io->len)
		io->result = -EIO;
	io->done(io);
}

static void pass_on(struct ti_queue *q, struct ti_io *io)
{
	struct watched *w = watched;

	while (w->io != NULL) {
		if (++w == watched + HELD_MAX)
			abort();
	}
	*w = (struct watched){ io, io->done, io->owner, gate.completed[io->dev] };
	io->done = ended;
	io->owner = w;
	if (io->op == TI_IO_FLUSH && io->dev == TI_DATA && gate.flush_begins != NULL)
		gate.flush_begins();
	under->submit(q, io);
}

static void submit(struct ti_queue *q, struct ti_io *io)
{
	if (!gate.shut || io->dev != TI_DATA || io->op == TI_IO_FLUSH) {
		pass_on(q, io);
		return;
	}
	if (gate.passes > 0) {
		gate.passes--;
		pass_on(q, io);
		return;
	}
	if (held_count == HELD_MAX)
		abort();
	held[held_count++] = io;
}

static unsigned run(struct ti_queue *q)
{
	unsigned count = gate.shut ? 0 : held_count;

	for (unsigned i = 0; i < count; i++)
		pass_on(q, held[i]);
	held_count -= count;
	return under->run(q);
}

int __real_ti_pair_open(const struct ti_pair_options *options, const struct ti_log *log,
			struct ti_queue **queue, struct ti_error *error);
int __wrap_ti_pair_open(const struct ti_pair_options *options, const struct ti_log *log,
			struct ti_queue **queue, struct ti_error *error);

int __wrap_ti_pair_open(const struct ti_pair_options *options, const struct ti_log *log,
			struct ti_queue **queue, struct ti_error *error)
{
	int err = __real_ti_pair_open(options, log, queue, error);

	if (err)
		return err;
	gate = (struct gate){ .bad_offset = GATE_NEVER };
	under = (*queue)->ops;
	ops = *under;
	ops.submit = submit;
	ops.run = run;
	(*queue)->ops = &ops;
	for (enum ti_device dev = 0; dev < TI_DEVICES; dev++) {
		(*queue)->dev[dev].has_volatile_cache = true;
		(*queue)->dev[dev].fua = false;
	}
	return 0;
}
