/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See sim_crash.h. */
#include "sim_crash.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sim_queue_internal.h"

/* One content that one unit may have. */
struct choice {
	enum ti_device dev;
	uint64_t unit;
	uint64_t write; /* which write it is of */
	const uint8_t *data;
};

struct sim_crash {
	const struct sim_queue *sim;
	struct choice *choice; /* sorted: those of a unit stand together, oldest first */
	size_t choices, room;
	size_t *place; /* where each unit's begin, and the end */
	size_t places;
	uint64_t states;
};

static void add_choice(struct sim_crash *c, struct choice choice)
{
	if (c->choices == c->room) {
		c->room = c->room ? c->room * 2 : 256;
		c->choice = realloc(c->choice, c->room * sizeof(*c->choice));
		if (c->choice == NULL)
			abort();
	}
	c->choice[c->choices++] = choice;
}

static int by_place(const void *a, const void *b)
{
	const struct choice *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	if (x->unit != y->unit)
		return x->unit < y->unit ? -1 : 1;
	return x->write < y->write ? -1 : x->write > y->write;
}

struct under_way {
	struct sim_crash *crash;
	uint64_t write;
};

static void add_under_way(struct sim_queue *sim, const struct ti_io *io, uint64_t unit,
			  uint8_t *memory, void *arg)
{
	struct under_way *u = arg;

	(void)sim;
	add_choice(u->crash, (struct choice){ io->dev, unit, u->write, memory });
}

static void find_places(struct sim_crash *c)
{
	if (c->choices > 0)
		qsort(c->choice, c->choices, sizeof(*c->choice), by_place);
	c->place = calloc(c->choices + 1, sizeof(*c->place));
	if (c->place == NULL)
		abort();
	for (size_t i = 0; i < c->choices; i++)
		if (i == 0 || c->choice[i].dev != c->choice[i - 1].dev ||
		    c->choice[i].unit != c->choice[i - 1].unit)
			c->place[c->places++] = i;
	c->place[c->places] = c->choices;
	c->states = 1;
	for (size_t p = 0; p < c->places; p++)
		if (__builtin_mul_overflow(c->states, c->place[p + 1] - c->place[p] + 1,
					   &c->states))
			c->states = UINT64_MAX;
}

struct sim_crash *sim_crash_new(const struct sim_queue *sim)
{
	struct sim_crash *c = calloc(1, sizeof(*c));

	if (c == NULL)
		abort();
	c->sim = sim;
	for (int dev = 0; dev < TI_DEVICES; dev++) {
		const struct sim_device *d = &sim->dev[dev];

		for (size_t i = 0; i < d->log_count; i++)
			add_choice(c, (struct choice){ (enum ti_device)dev, d->log[i].unit,
						       d->log[i].completed, sim_log_data(d, i) });
	}
	for (size_t i = 0; i < sim->pending_count; i++) {
		struct under_way u = { .crash = c, .write = sim->step + 1 + i };

		/* The callback changes nothing in the devices. */
		if (sim_changes(sim, sim->pending[i].io))
			sim_each_unit((struct sim_queue *)(uintptr_t)sim, sim->pending[i].io,
				      add_under_way, &u);
	}
	find_places(c);
	return c;
}

void sim_crash_free(struct sim_crash *c)
{
	free(c->choice);
	free(c->place);
	free(c);
}

uint64_t sim_crash_states(const struct sim_crash *c)
{
	return c->states;
}

static void begin(const struct sim_crash *c, struct sim_queue *to)
{
	to->pending_count = 0;
	to->time_ns = c->sim->time_ns;
	for (int dev = 0; dev < TI_DEVICES; dev++) {
		assert(to->options.bytes[dev] == c->sim->options.bytes[dev]);
		memcpy(to->dev[dev].now, c->sim->dev[dev].durable, to->options.bytes[dev]);
		to->dev[dev].log_count = 0;
	}
}

static void end(struct sim_queue *to)
{
	for (int dev = 0; dev < TI_DEVICES; dev++)
		memcpy(to->dev[dev].durable, to->dev[dev].now, to->options.bytes[dev]);
}

static void put(const struct choice *choice, struct sim_queue *to)
{
	struct sim_device *d = &to->dev[choice->dev];

	memcpy(d->now + choice->unit * d->unit, choice->data, d->unit);
}

void sim_crash_make(const struct sim_crash *c, uint64_t n, struct sim_queue *to)
{
	begin(c, to);
	for (size_t p = 0; p < c->places; p++) {
		size_t choices = c->place[p + 1] - c->place[p];
		uint64_t which = n % (choices + 1);

		n /= choices + 1;
		if (which > 0)
			put(&c->choice[c->place[p] + which - 1], to);
	}
	end(to);
}

enum pattern { ANY, ANY_MOSTLY, NEWEST, DATA_ONLY, META_ONLY, ONE_OLD, ONE_NEW, WHOLE_WRITES };
#define PATTERNS 8U

/* Each unit's newest content of those writes that the toss of a coin has let through. */
static void put_whole_writes(const struct sim_crash *c, uint64_t salt, size_t p,
			     struct sim_queue *to)
{
	for (size_t i = c->place[p + 1]; i-- > c->place[p];) {
		struct sim_random coin = { .state = salt ^
						    (c->choice[i].write * 0x9e3779b97f4aULL) };

		if (sim_chance(&coin, 60)) {
			put(&c->choice[i], to);
			return;
		}
	}
}

void sim_crash_sample(const struct sim_crash *c, struct sim_random *random, struct sim_queue *to)
{
	enum pattern pattern = (enum pattern)sim_below(random, PATTERNS);
	uint64_t salt = sim_random(random);
	size_t odd = c->places > 0 ? sim_below(random, c->places) : 0;
	unsigned percent = 1 + (unsigned)sim_below(random, 99);

	begin(c, to);
	for (size_t p = 0; p < c->places; p++) {
		size_t choices = c->place[p + 1] - c->place[p];
		const struct choice *newest = &c->choice[c->place[p + 1] - 1];
		uint64_t any = sim_below(random, choices + 1);

		switch (pattern) {
		case ANY:
			if (any > 0)
				put(&c->choice[c->place[p] + any - 1], to);
			break;
		case ANY_MOSTLY:
			if (sim_chance(random, percent))
				put(newest, to);
			break;
		case NEWEST:
			put(newest, to);
			break;
		case DATA_ONLY:
		case META_ONLY:
			if ((newest->dev == TI_DATA) == (pattern == DATA_ONLY))
				put(newest, to);
			break;
		case ONE_OLD:
		case ONE_NEW:
			if ((p == odd) == (pattern == ONE_NEW))
				put(newest, to);
			break;
		case WHOLE_WRITES:
			put_whole_writes(c, salt, p, to);
			break;
		}
	}
	end(to);
}
