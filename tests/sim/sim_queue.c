/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * See sim_queue.h.  Per device: `now` is what reads return, `durable` what is certain, and a log of
 * versions, one entry per sector written and not yet certain, in the order of their completion.
 */
#include "sim_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512U

struct version {
	uint64_t sector;
	uint64_t completed; /* when, by the queue's step counter */
	bool lost;	    /* a flush that should have covered it failed */
	uint8_t data[SECTOR];
};

struct device {
	uint8_t *now, *durable;
	uint64_t *certain; /* per sector: step of the version in `durable` */
	struct version *log;
	size_t log_count, log_room;
};

struct pending {
	struct ti_io *io;
	uint64_t submitted; /* step counter */
};

struct sim_queue {
	struct ti_queue queue;
	struct ti_clock clock;
	uint64_t time_ns;
	struct sim_random random;
	struct sim_options options;
	struct device dev[TI_DEVICES];
	struct pending *pending;
	size_t pending_count, pending_room;
	uint64_t step;
	bool hold;
	bool nudge; /* wait() was called: the next run() completes something */
};

uint64_t sim_random(struct sim_random *r)
{
	uint64_t z = (r->state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

uint64_t sim_below(struct sim_random *r, uint64_t n)
{
	return sim_random(r) % n;
}

bool sim_chance(struct sim_random *r, unsigned percent)
{
	return sim_below(r, 100) < percent;
}

static struct sim_queue *from_queue(struct ti_queue *q)
{
	return (struct sim_queue *)((char *)q - offsetof(struct sim_queue, queue));
}

static void *grow(void *p, size_t count, size_t *room, size_t size)
{
	if (count < *room)
		return p;
	*room = *room ? *room * 2 : 64;
	p = realloc(p, *room * size);
	if (p == NULL)
		abort();
	return p;
}

static void submit(struct ti_queue *q, struct ti_io *io)
{
	struct sim_queue *sim = from_queue(q);
	const struct ti_device_info *dev = &q->dev[io->dev];
	size_t sum = 0;

	if (io->op == TI_IO_READ || io->op == TI_IO_WRITE) {
		for (unsigned i = 0; i < io->iov_count; i++) {
			assert((uintptr_t)io->iov[i].iov_base % dev->memory_align == 0);
			assert(io->iov[i].iov_len % dev->logical_block_size == 0);
			sum += io->iov[i].iov_len;
		}
		assert(io->iov_count <= TI_IO_MAX_IOV && sum == io->len && sum > 0);
		assert(io->offset % dev->logical_block_size == 0);
		assert(io->offset + io->len <= dev->size);
	}
	sim->pending =
		grow(sim->pending, sim->pending_count, &sim->pending_room, sizeof(*sim->pending));
	sim->pending[sim->pending_count].io = io;
	sim->pending[sim->pending_count++].submitted = ++sim->step;
	if (sim->options.watch)
		sim->options.watch(sim->options.ctx, io, false);
}

static void add_version(struct device *d, uint64_t sector, const uint8_t *data, uint64_t when)
{
	struct version *v;

	d->log = grow(d->log, d->log_count, &d->log_room, sizeof(*d->log));
	v = &d->log[d->log_count++];
	v->sector = sector;
	v->completed = when;
	v->lost = false;
	memcpy(v->data, data, SECTOR);
}

/* The sectors of an I/O one by one. */
static void each_sector(struct sim_queue *sim, const struct ti_io *io,
			void (*fn)(struct sim_queue *sim, const struct ti_io *io, uint64_t sector,
				   uint8_t *memory))
{
	uint64_t sector = io->offset / SECTOR;

	for (unsigned i = 0; i < io->iov_count; i++)
		for (size_t at = 0; at < io->iov[i].iov_len; at += SECTOR)
			fn(sim, io, sector++, (uint8_t *)io->iov[i].iov_base + at);
}

static void read_sector(struct sim_queue *sim, const struct ti_io *io, uint64_t sector,
			uint8_t *memory)
{
	memcpy(memory, sim->dev[io->dev].now + sector * SECTOR, SECTOR);
}

static void write_sector(struct sim_queue *sim, const struct ti_io *io, uint64_t sector,
			 uint8_t *memory)
{
	struct device *d = &sim->dev[io->dev];

	memcpy(d->now + sector * SECTOR, memory, SECTOR);
	add_version(d, sector, memory, sim->step);
}

/* A write that fails, or is under way at a power cut: any of its sectors may have arrived. */
static void maybe_write_sector(struct sim_queue *sim, const struct ti_io *io, uint64_t sector,
			       uint8_t *memory)
{
	if (sim_chance(&sim->random, 50))
		write_sector(sim, io, sector, memory);
}

static void flush_device(struct sim_queue *sim, const struct pending *p, bool failed)
{
	struct device *d = &sim->dev[p->io->dev];
	size_t kept = 0;

	for (size_t i = 0; i < d->log_count; i++) {
		struct version *v = &d->log[i];

		if (v->completed < p->submitted && !v->lost) {
			if (!failed) {
				memcpy(d->durable + v->sector * SECTOR, v->data, SECTOR);
				d->certain[v->sector] = v->completed;
				continue;
			}
			v->lost = true;
		}
		if (kept != i)
			d->log[kept] = *v;
		kept++;
	}
	d->log_count = kept;
	/* What is older than a durable version of its sector can not come back. */
	for (size_t i = kept = 0; i < d->log_count; i++)
		if (d->log[i].completed > d->certain[d->log[i].sector])
			d->log[kept++] = d->log[i];
	d->log_count = kept;
}

static void complete(struct sim_queue *sim, size_t i)
{
	struct pending p = sim->pending[i];
	struct ti_io *io = p.io;

	sim->pending[i] = sim->pending[--sim->pending_count];
	sim->step++;
	io->result = sim->options.fault ? sim->options.fault(sim->options.ctx, io) : 0;
	switch (io->op) {
	case TI_IO_READ:
		if (io->result == 0)
			each_sector(sim, io, read_sector);
		break;
	case TI_IO_WRITE:
		each_sector(sim, io, io->result == 0 ? write_sector : maybe_write_sector);
		break;
	case TI_IO_FLUSH:
		flush_device(sim, &p, io->result != 0);
		break;
	case TI_IO_DISCARD:
		io->result = -EOPNOTSUPP;
		break;
	}
	if (sim->options.watch)
		sim->options.watch(sim->options.ctx, io, true);
	io->done(io);
}

static unsigned run(struct ti_queue *q)
{
	struct sim_queue *sim = from_queue(q);
	size_t chances = sim->pending_count;
	unsigned count = 0;

	if (sim->hold || chances == 0)
		return 0;
	if (sim->nudge) {
		sim->nudge = false;
		complete(sim, sim_below(&sim->random, sim->pending_count));
		count++;
	}
	for (; chances > 0 && sim->pending_count > 0; chances--) {
		if (!sim_chance(&sim->random, sim->options.complete_percent))
			continue;
		complete(sim, sim_below(&sim->random, sim->pending_count));
		count++;
	}
	return count;
}

static void wait_for_work(struct ti_queue *q, uint64_t deadline_ns)
{
	struct sim_queue *sim = from_queue(q);

	sim->nudge = true;
	if (sim->pending_count > 0)
		sim->time_ns += 1 + sim_below(&sim->random, 100000);
	else if (deadline_ns != TI_CLOCK_NEVER && deadline_ns > sim->time_ns)
		sim->time_ns = deadline_ns;
	else if (deadline_ns == TI_CLOCK_NEVER) {
		fprintf(stderr, "sim: waiting for ever with no I/O under way\n");
		abort();
	}
}

static void wake(struct ti_queue *q)
{
	(void)q;
}

static void close_queue(struct ti_queue *q)
{
	(void)q;
}

static uint64_t now_ns(struct ti_clock *clock)
{
	return ((struct sim_queue *)((char *)clock - offsetof(struct sim_queue, clock)))->time_ns;
}

static const struct ti_queue_ops sim_ops = {
	.name = "sim",
	.submit = submit,
	.run = run,
	.wait = wait_for_work,
	.wake = wake,
	.close = close_queue,
};

struct sim_queue *sim_queue_new(const struct sim_options *options)
{
	static const char *const name[TI_DEVICES] = { "sim-data", "sim-meta" };
	struct sim_queue *sim = calloc(1, sizeof(*sim));

	if (sim == NULL)
		abort();
	sim->options = *options;
	if (sim->options.complete_percent == 0)
		sim->options.complete_percent = 50;
	sim->random.state = options->seed;
	sim->queue.ops = &sim_ops;
	sim->clock.now_ns = now_ns;
	sim->time_ns = 1;
	for (int i = 0; i < TI_DEVICES; i++) {
		struct ti_device_info *info = &sim->queue.dev[i];

		info->name = name[i];
		info->size = options->bytes[i];
		info->logical_block_size =
			options->logical_block_size[i] ? options->logical_block_size[i] : SECTOR;
		info->memory_align = SECTOR;
		info->has_volatile_cache = true;
		sim->dev[i].now = calloc(1, options->bytes[i] + 1);
		sim->dev[i].durable = calloc(1, options->bytes[i] + 1);
		sim->dev[i].certain = calloc(options->bytes[i] / SECTOR + 1, sizeof(uint64_t));
		if (!sim->dev[i].now || !sim->dev[i].durable || !sim->dev[i].certain)
			abort();
	}
	return sim;
}

void sim_queue_free(struct sim_queue *sim)
{
	for (int i = 0; i < TI_DEVICES; i++) {
		free(sim->dev[i].now);
		free(sim->dev[i].durable);
		free(sim->dev[i].certain);
		free(sim->dev[i].log);
	}
	free(sim->pending);
	free(sim);
}

struct ti_queue *sim_as_queue(struct sim_queue *sim)
{
	return &sim->queue;
}

struct ti_clock *sim_as_clock(struct sim_queue *sim)
{
	return &sim->clock;
}

struct sim_random *sim_queue_random(struct sim_queue *sim)
{
	return &sim->random;
}

uint8_t *sim_contents(struct sim_queue *sim, enum ti_device dev)
{
	return sim->dev[dev].now;
}

void sim_settle(struct sim_queue *sim, enum ti_device dev)
{
	assert(sim->pending_count == 0);
	sim->dev[dev].log_count = 0;
	memcpy(sim->dev[dev].durable, sim->dev[dev].now, sim->options.bytes[dev]);
}

void sim_kill(struct sim_queue *sim)
{
	for (size_t i = 0; i < sim->pending_count; i++) {
		struct pending *p = &sim->pending[i];

		sim->step++;
		if (p->io->op == TI_IO_WRITE)
			each_sector(sim, p->io, maybe_write_sector);
		else if (p->io->op == TI_IO_FLUSH && sim_chance(&sim->random, 50))
			flush_device(sim, p, false);
	}
	sim->pending_count = 0;
}

void sim_power_cut(struct sim_queue *sim)
{
	for (size_t i = 0; i < sim->pending_count; i++)
		if (sim->pending[i].io->op == TI_IO_WRITE)
			each_sector(sim, sim->pending[i].io, maybe_write_sector);
	sim->pending_count = 0;
	for (int dev = 0; dev < TI_DEVICES; dev++) {
		struct device *d = &sim->dev[dev];

		/* Each later version takes its sector with an even chance: any of them can be the
		 * last, and so can the durable one. */
		for (size_t i = 0; i < d->log_count; i++)
			if (sim_chance(&sim->random, 50))
				memcpy(d->durable + d->log[i].sector * SECTOR, d->log[i].data,
				       SECTOR);
		d->log_count = 0;
		memcpy(d->now, d->durable, sim->options.bytes[dev]);
	}
}

const uint8_t *sim_durable(const struct sim_queue *sim, enum ti_device dev)
{
	return sim->dev[dev].durable;
}

unsigned sim_under_way(const struct sim_queue *sim)
{
	return (unsigned)sim->pending_count;
}

unsigned sim_count(const struct sim_queue *sim, enum ti_device dev, enum ti_io_op op)
{
	unsigned count = 0;

	for (size_t i = 0; i < sim->pending_count; i++)
		if (sim->pending[i].io->dev == dev && sim->pending[i].io->op == op)
			count++;
	return count;
}

bool sim_complete_one(struct sim_queue *sim, enum ti_device dev, enum ti_io_op op)
{
	for (size_t i = 0; i < sim->pending_count; i++) {
		if (sim->pending[i].io->dev == dev && sim->pending[i].io->op == op) {
			complete(sim, i);
			return true;
		}
	}
	return false;
}

bool sim_complete_at(struct sim_queue *sim, enum ti_device dev, enum ti_io_op op, uint64_t offset)
{
	for (size_t i = 0; i < sim->pending_count; i++) {
		const struct ti_io *io = sim->pending[i].io;

		if (io->dev == dev && io->op == op && io->offset == offset) {
			complete(sim, i);
			return true;
		}
	}
	return false;
}

void sim_hold(struct sim_queue *sim, bool hold)
{
	sim->hold = hold;
}

void sim_advance(struct sim_queue *sim, uint64_t ns)
{
	sim->time_ns += ns;
}
