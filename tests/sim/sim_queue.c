/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * See sim_queue.h and, for what a device is made of, sim_queue_internal.h.
 */
#include "sim_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_queue_internal.h"

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

/* Most I/O is quick; some takes so long that ticks and many others pass by. */
static uint64_t latency_ns(struct sim_queue *sim)
{
	if (sim->options.slow_percent == 0)
		return 0;
	if (sim_chance(&sim->random, sim->options.slow_percent))
		return sim_below(&sim->random, 20U * TI_NS_PER_MS);
	return sim_below(&sim->random, 100000);
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
	if (io->op == TI_IO_DISCARD)
		assert(io->len > 0 && io->offset % dev->logical_block_size == 0 &&
		       io->len % dev->logical_block_size == 0 && io->offset + io->len <= dev->size);
	sim->pending =
		grow(sim->pending, sim->pending_count, &sim->pending_room, sizeof(*sim->pending));
	sim->pending[sim->pending_count++] = (struct sim_pending){
		.io = io,
		.submitted = ++sim->step,
		.due_ns = sim->time_ns + latency_ns(sim),
	};
	if (sim->options.watch)
		sim->options.watch(sim->options.ctx, io, false);
}

static void add_version(struct sim_device *d, uint64_t unit, const uint8_t *data, uint64_t when)
{
	if (d->log_count == d->log_room) {
		d->log = grow(d->log, d->log_count, &d->log_room, sizeof(*d->log));
		d->log_data = realloc(d->log_data, d->log_room * d->unit);
		if (d->log_data == NULL)
			abort();
	}
	d->log[d->log_count] = (struct sim_version){ .unit = unit, .completed = when };
	memcpy(d->log_data + d->log_count * d->unit, data, d->unit);
	d->log_count++;
}

void sim_each_unit(struct sim_queue *sim, const struct ti_io *io,
		   void (*fn)(struct sim_queue *sim, const struct ti_io *io, uint64_t unit,
			      uint8_t *memory, void *arg),
		   void *arg)
{
	static uint8_t forgotten[4096];
	uint32_t bytes = sim->dev[io->dev].unit;
	uint64_t unit = io->offset / bytes;

	if (io->op == TI_IO_DISCARD) {
		memset(forgotten, SIM_FORGOTTEN, sizeof(forgotten));
		assert(bytes <= sizeof(forgotten));
		for (size_t at = 0; at < io->len; at += bytes)
			fn(sim, io, unit++, forgotten, arg);
	}
	for (unsigned i = 0; i < io->iov_count; i++)
		for (size_t at = 0; at < io->iov[i].iov_len; at += bytes)
			fn(sim, io, unit++, (uint8_t *)io->iov[i].iov_base + at, arg);
}

static void read_unit(struct sim_queue *sim, const struct ti_io *io, uint64_t unit, uint8_t *memory,
		      void *arg)
{
	const struct sim_device *d = &sim->dev[io->dev];

	(void)arg;
	memcpy(memory, d->now + unit * d->unit, d->unit);
}

static void write_unit(struct sim_queue *sim, const struct ti_io *io, uint64_t unit,
		       uint8_t *memory, void *arg)
{
	struct sim_device *d = &sim->dev[io->dev];

	(void)arg;
	memcpy(d->now + unit * d->unit, memory, d->unit);
	add_version(d, unit, memory, sim->step);
}

/* A write that fails, or is under way at a power cut: any of its units may have arrived. */
static void maybe_write_unit(struct sim_queue *sim, const struct ti_io *io, uint64_t unit,
			     uint8_t *memory, void *arg)
{
	if (sim_chance(&sim->random, 50))
		write_unit(sim, io, unit, memory, arg);
}

static void keep_version(struct sim_device *d, size_t to, size_t from)
{
	if (to == from)
		return;
	d->log[to] = d->log[from];
	memcpy(d->log_data + to * d->unit, d->log_data + from * d->unit, d->unit);
}

/* What is older than a durable version of its unit can not come back. */
static void forget_old_versions(struct sim_device *d)
{
	size_t kept = 0;

	for (size_t i = 0; i < d->log_count; i++)
		if (d->log[i].completed > d->certain[d->log[i].unit])
			keep_version(d, kept++, i);
	d->log_count = kept;
}

static void make_durable(struct sim_device *d, size_t i)
{
	const struct sim_version *v = &d->log[i];

	memcpy(d->durable + v->unit * d->unit, sim_log_data(d, i), d->unit);
	d->certain[v->unit] = v->completed;
}

/* The versions of the write that has just been carried out. */
static void make_latest_durable(struct sim_queue *sim, struct sim_device *d)
{
	for (size_t i = 0; i < d->log_count; i++)
		if (d->log[i].completed == sim->step)
			make_durable(d, i);
	forget_old_versions(d);
}

static void flush_device(struct sim_queue *sim, const struct sim_pending *p, bool failed)
{
	struct sim_device *d = &sim->dev[p->io->dev];

	for (size_t i = 0; i < d->log_count; i++) {
		struct sim_version *v = &d->log[i];

		if (v->completed >= p->submitted || v->lost)
			continue;
		if (failed)
			v->lost = true;
		else
			make_durable(d, i);
	}
	forget_old_versions(d);
}

static void complete(struct sim_queue *sim, size_t i)
{
	struct sim_pending p = sim->pending[i];
	struct ti_io *io = p.io;

	sim->pending[i] = sim->pending[--sim->pending_count];
	sim->step++;
	io->result = sim->options.fault ? sim->options.fault(sim->options.ctx, io) : 0;
	switch (io->op) {
	case TI_IO_READ:
		if (io->result == 0)
			sim_each_unit(sim, io, read_unit, NULL);
		break;
	case TI_IO_WRITE:
		sim_each_unit(sim, io, io->result == 0 ? write_unit : maybe_write_unit, NULL);
		if (io->fua && io->result == 0)
			make_latest_durable(sim, &sim->dev[io->dev]);
		break;
	case TI_IO_FLUSH:
		/* One that is cancelled never reached the device. */
		if (io->result != -ECANCELED)
			flush_device(sim, &p, io->result != 0);
		break;
	case TI_IO_DISCARD:
		if (io->result == 0 && !sim->options.discards)
			io->result = -EOPNOTSUPP;
		else if (sim->options.discards)
			sim_each_unit(sim, io, io->result == 0 ? write_unit : maybe_write_unit,
				      NULL);
		break;
	}
	if (sim->options.watch)
		sim->options.watch(sim->options.ctx, io, true);
	io->done(io);
}

/* Complete one of those that are due, any of them. */
static bool complete_due(struct sim_queue *sim)
{
	size_t due = 0, which;

	for (size_t i = 0; i < sim->pending_count; i++)
		due += sim->pending[i].due_ns <= sim->time_ns;
	if (due == 0)
		return false;
	which = sim_below(&sim->random, due);
	for (size_t i = 0; i < sim->pending_count; i++) {
		if (sim->pending[i].due_ns <= sim->time_ns && which-- == 0) {
			complete(sim, i);
			break;
		}
	}
	return true;
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
		count += complete_due(sim);
	}
	for (; chances > 0 && sim->pending_count > 0; chances--)
		if (sim_chance(&sim->random, sim->options.complete_percent))
			count += complete_due(sim);
	return count;
}

static void wait_for_work(struct ti_queue *q, uint64_t deadline_ns)
{
	struct sim_queue *sim = from_queue(q);
	uint64_t first = deadline_ns;

	sim->nudge = true;
	for (size_t i = 0; i < sim->pending_count; i++)
		if (sim->pending[i].due_ns < first)
			first = sim->pending[i].due_ns;
	if (sim->pending_count > 0 && sim->options.slow_percent == 0)
		sim->time_ns += 1 + sim_below(&sim->random, 100000);
	else if (first != TI_CLOCK_NEVER && first > sim->time_ns)
		sim->time_ns = first;
	else if (first == TI_CLOCK_NEVER) {
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
		info->logical_block_size = options->logical_block_size[i]
						   ? options->logical_block_size[i]
						   : SIM_SECTOR;
		info->memory_align = SIM_SECTOR;
		info->has_volatile_cache = !options->says_no_cache[i];
		info->fua = options->fua[i] || options->says_no_cache[i];
		sim->dev[i].unit = options->unit_bytes[i] ? options->unit_bytes[i] : SIM_SECTOR;
		assert(info->logical_block_size % sim->dev[i].unit == 0);
		sim->dev[i].now = calloc(1, options->bytes[i] + 1);
		sim->dev[i].durable = calloc(1, options->bytes[i] + 1);
		sim->dev[i].certain =
			calloc(options->bytes[i] / sim->dev[i].unit + 1, sizeof(uint64_t));
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
		free(sim->dev[i].log_data);
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
		struct sim_pending *p = &sim->pending[i];

		sim->step++;
		if (sim_changes(sim, p->io))
			sim_each_unit(sim, p->io, maybe_write_unit, NULL);
		else if (p->io->op == TI_IO_FLUSH && sim_chance(&sim->random, 50))
			flush_device(sim, p, false);
	}
	sim->pending_count = 0;
}

void sim_power_cut(struct sim_queue *sim)
{
	for (size_t i = 0; i < sim->pending_count; i++) {
		sim->step++;
		if (sim_changes(sim, sim->pending[i].io))
			sim_each_unit(sim, sim->pending[i].io, maybe_write_unit, NULL);
	}
	sim->pending_count = 0;
	for (int dev = 0; dev < TI_DEVICES; dev++) {
		struct sim_device *d = &sim->dev[dev];

		/* Each later version takes its unit with an even chance: any of them can be the
		 * last, and so can the durable one. */
		for (size_t i = 0; i < d->log_count; i++)
			if (sim_chance(&sim->random, 50))
				memcpy(d->durable + d->log[i].unit * d->unit, sim_log_data(d, i),
				       d->unit);
		d->log_count = 0;
		memcpy(d->now, d->durable, sim->options.bytes[dev]);
	}
}

void sim_leak(struct sim_queue *sim, enum ti_device dev, unsigned percent)
{
	struct sim_device *d = &sim->dev[dev];

	for (size_t i = 0; i < d->log_count; i++)
		if (sim_chance(&sim->random, percent))
			make_durable(d, i);
	forget_old_versions(d);
}

void sim_copy(struct sim_queue *to, const struct sim_queue *from)
{
	to->time_ns = from->time_ns;
	to->step = from->step;
	to->pending_count = 0;
	for (size_t i = 0; i < from->pending_count; i++) {
		to->pending = grow(to->pending, to->pending_count, &to->pending_room,
				   sizeof(*to->pending));
		to->pending[to->pending_count++] = from->pending[i];
	}
	for (int dev = 0; dev < TI_DEVICES; dev++) {
		const struct sim_device *f = &from->dev[dev];
		struct sim_device *t = &to->dev[dev];
		uint64_t bytes = from->options.bytes[dev];

		assert(to->options.bytes[dev] == bytes && t->unit == f->unit);
		memcpy(t->now, f->now, bytes);
		memcpy(t->durable, f->durable, bytes);
		memcpy(t->certain, f->certain, bytes / f->unit * sizeof(*f->certain));
		t->log_count = 0;
		for (size_t i = 0; i < f->log_count; i++) {
			add_version(t, f->log[i].unit, sim_log_data(f, i), f->log[i].completed);
			t->log[i].lost = f->log[i].lost;
		}
	}
}

void sim_reseed(struct sim_queue *sim, uint64_t seed)
{
	sim->random.state = seed;
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
