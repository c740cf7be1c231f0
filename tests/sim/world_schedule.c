/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See world_schedule.h. */
#include "world_schedule.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim_queue.h"

#define MAX_BLOCKS 1500U

const struct world_mode world_modes[] = {
	{ .letter = 'D',
	  .mode = TI_MODE_DIRECT,
	  .cut_parts_tag = true,
	  .fails_part_tag = true,
	  .outlives_process = true,
	  .needs_store = true,
	  .write_errors_reach_writes = true },
	{ .letter = 'J', .mode = TI_MODE_JOURNAL, .outlives_process = true, .needs_store = true },
	{ .letter = 'B',
	  .mode = TI_MODE_BITMAP,
	  .fails_part_tag = true,
	  .marks = true,
	  .outlives_process = true,
	  .write_errors_reach_writes = true },
};
const unsigned world_mode_count = sizeof(world_modes) / sizeof(world_modes[0]);

/* Of ten thousand steps. */
static const struct {
	const char *name;
	unsigned chance;
} ops[STEP_OPS] = {
	[STEP_WRITE] = { "write", 1760 },  [STEP_WRITE_SAME] = { "write_same", 310 },
	[STEP_READ] = { "read", 1600 },	   [STEP_VERIFY] = { "verify", 370 },
	[STEP_FLUSH] = { "flush", 550 },   [STEP_RUN] = { "run", 3100 },
	[STEP_WAIT] = { "wait", 1780 },	   [STEP_QUIET] = { "quiet", 40 },
	[STEP_LEAK] = { "leak", 100 },	   [STEP_FAULTS] = { "faults", 70 },
	[STEP_LOOK] = { "look", 150 },	   [STEP_CUT] = { "cut", 80 },
	[STEP_KILL] = { "kill", 50 },	   [STEP_REOPEN] = { "reopen", 40 },
	[STEP_DISCARD] = { "discard", 0 }, /* in the place of some runs */
};

const struct world_mode *world_mode_find(char letter)
{
	for (unsigned i = 0; i < world_mode_count; i++)
		if (world_modes[i].letter == letter)
			return &world_modes[i];
	return NULL;
}

uint32_t step_period(const struct step *step)
{
	uint32_t period = 1 + (uint32_t)(step->seed % 4);

	if (step->op != STEP_WRITE_SAME)
		return 0;
	return step->count % period == 0 ? period : 1;
}

static uint32_t below(struct sim_random *r, uint64_t n)
{
	return (uint32_t)sim_below(r, n);
}

/* Few blocks: their states can be looked at by the thousand. */
static void small_world(struct world_shape *s, struct sim_random *r)
{
	static const uint32_t tag_size[] = { 4, 4, 20, 40, 64, 100, 160, 255 };

	s->tag_size = tag_size[below(r, 8)];
	s->blocks = 8 + below(r, 56);
	s->journal_sectors = below(r, 200);
	s->looks = 20;
}

static void middle_world(struct world_shape *s, struct sim_random *r)
{
	static const uint32_t tag_size[] = { 4, 4, 4, 7, 8, 20, 40 };

	s->tag_size = tag_size[below(r, 7)];
	s->blocks = 16 + below(r, 500);
	s->journal_sectors = below(r, 1000);
	s->looks = 6;
}

/* A tag area of more lines than the smallest cache has: lines come and go. */
static void large_world(struct world_shape *s, struct sim_random *r)
{
	s->tag_size = 100 + below(r, 156);
	s->blocks = MAX_BLOCKS;
	s->journal_sectors = below(r, 1000);
	s->looks = 3;
	if (s->block_size > 1024)
		s->block_size = 512;
}

static void make_shape(struct world_shape *s, struct sim_random *r, char mode)
{
	static const uint32_t block_size[] = { 512, 512, 1024, 2048, 4096, 4096 };
	static const uint32_t start[] = { 0, 0, 8, 24 };
	unsigned dice = below(r, 100);

	s->mode = mode != 0 ? mode : world_modes[below(r, world_mode_count)].letter;
	s->block_size = block_size[below(r, 6)];
	s->salted = below(r, 2);
	s->start_sector = start[below(r, 4)];
	if (dice < 70)
		small_world(s, r);
	else if (dice < 85)
		middle_world(s, r);
	else
		large_world(s, r);
	s->complete_percent = 5 + below(r, 95);
	s->slow_percent = sim_chance(r, 40) ? 1 + below(r, 20) : 0;
	s->data_logical = s->data_unit = s->meta_logical = 512;
	if (s->block_size == 4096 && sim_chance(r, 30)) {
		s->data_logical = 4096;
		/* Drives promise not to tear their sectors.  Some do. */
		s->data_unit = sim_chance(r, 50) ? 4096 : 512;
	}
	if (s->block_size == 4096 && s->start_sector % 8 == 0 && sim_chance(r, 30))
		s->meta_logical = 4096;
	s->watermark = 1 + below(r, 99);
	s->queue_depth = 1 + below(r, 32);
	s->max_part_blocks = 1U << below(r, 6);
	s->bounce_buffers = 1 + below(r, 3);
	s->commit_time_ms = 1 + below(r, 3);
	/* Of up to 256 blocks of 4096 bytes; no fewer than one block. */
	s->sectors_per_bit = (s->block_size / TI_SECTOR_BYTES) << below(r, 9);
	s->recalculate = sim_chance(r, 15);
	s->recalculate_rate = sim_chance(r, 40) ? 100 * (1 + below(r, 50)) : 0;
	s->store = sim_chance(r, 60);
	s->max_in_flight = 1 + below(r, 40);
}

static enum step_op any_op(struct sim_random *r)
{
	unsigned dice = below(r, 10000), op = 0;

	for (; op < STEP_DISCARD - 1 && dice >= ops[op].chance; op++)
		dice -= ops[op].chance;
	return (enum step_op)op;
}

/*
 * Some successors are asked for a write and a flush, and no more: what that flush covers is their
 * predecessor's.
 */
static void ask_for_little(struct schedule *s, unsigned killed)
{
	static const enum step_op then[] = { STEP_WRITE, STEP_RUN, STEP_QUIET };

	for (unsigned i = 0; i < 3 && killed + 1 + i < s->steps; i++) {
		struct step *step = &s->step[killed + 1 + i];

		step->op = then[i];
		step->seed -= step->op == STEP_QUIET ? step->seed % 4 : 0;
	}
}

void schedule_make(struct schedule *s, uint64_t seed, unsigned steps, char mode)
{
	struct sim_random r = { .state = seed };
	bool switches;

	*s = (struct schedule){ .steps = steps, .step = calloc(steps + 1, sizeof(*s->step)) };
	if (s->step == NULL)
		abort();
	make_shape(&s->shape, &r, mode);
	s->shape.meta_fua = seed % 2;
	s->shape.data_no_cache = seed / 2 % 4 == 1;
	s->shape.meta_no_cache = seed / 4 % 4 == 1;
	s->shape.discards = seed / 16 % 4 < 3 ? seed / 16 % 4 : 2;
	s->shape.passes = 1;
	if (seed % 5 == 2) {
		s->shape.hash = (uint32_t)(seed / 5 % 4);
		s->shape.mac = seed / 20 % 3 > 0;
		/* An encrypted journal and a bitmap do not go together. */
		s->shape.crypt = s->shape.mode != 'B' ? (uint32_t)(seed / 60 % 4) : 0;
	}
	s->shape.helpers = (uint32_t)(seed / 3 % 3);
	switches = sim_chance(&r, 35);
	for (unsigned i = 0; i < steps; i++) {
		struct step *step = &s->step[i];
		uint32_t max = sim_chance(&r, 20) ? s->shape.blocks : 8;

		step->id = i + 1;
		step->op = any_op(&r);
		step->block = below(&r, s->shape.blocks);
		step->count = 1 + below(&r, max);
		if (step->count > s->shape.blocks - step->block)
			step->count = s->shape.blocks - step->block;
		step->fua = sim_chance(&r, 15);
		step->mode =
			switches ? world_modes[below(&r, world_mode_count)].letter : s->shape.mode;
		step->seed = sim_random(&r);
		if (step->op == STEP_RUN && s->shape.discards > 0 && step->seed % 12 == 0)
			step->op = STEP_DISCARD;
	}
	for (unsigned i = 0; i < steps; i++)
		if (s->step[i].op == STEP_KILL && s->step[i].seed % 4 == 0)
			ask_for_little(s, i);
}

void schedule_free(struct schedule *s)
{
	free(s->step);
	s->step = NULL;
}

void schedule_keep(struct schedule *to, const struct schedule *from, const bool *keep)
{
	*to = (struct schedule){ .shape = from->shape,
				 .step = calloc(from->steps + 1, sizeof(*to->step)) };
	if (to->step == NULL)
		abort();
	for (unsigned i = 0; i < from->steps; i++)
		if (keep[i])
			to->step[to->steps++] = from->step[i];
}

void step_text(const struct step *step, char *text, size_t size)
{
	(void)snprintf(text, size,
		       "step %" PRIu32 " %s block %" PRIu32 " count %" PRIu32
		       " fua %d mode %c seed %" PRIu64,
		       step->id, ops[step->op].name, step->block, step->count, step->fua,
		       step->mode, step->seed);
}

void schedule_write(const struct schedule *s, FILE *file)
{
	char text[200];

	fprintf(file, "mode %c\n", s->shape.mode);
#define F(name) fprintf(file, "%s %" PRIu32 "\n", #name, s->shape.name);
	WORLD_SHAPE_FIELDS(F)
#undef F
	for (unsigned i = 0; i < s->steps; i++) {
		step_text(&s->step[i], text, sizeof(text));
		fprintf(file, "%s\n", text);
	}
}

static bool read_step(struct schedule *s, const char *line)
{
	struct step step = { 0 };
	char name[20];
	int fua;

	if (sscanf(line,
		   "step %" SCNu32 " %19s block %" SCNu32 " count %" SCNu32
		   " fua %d mode %c seed %" SCNu64,
		   &step.id, name, &step.block, &step.count, &fua, &step.mode, &step.seed) != 7)
		return false;
	step.fua = fua != 0;
	while (step.op < STEP_OPS && strcmp(name, ops[step.op].name) != 0)
		step.op++;
	if (step.op == STEP_OPS || world_mode_find(step.mode) == NULL || step.count == 0 ||
	    step.block >= s->shape.blocks || step.count > s->shape.blocks - step.block ||
	    (s->steps > 0 && step.id <= s->step[s->steps - 1].id))
		return false;
	s->step = realloc(s->step, (s->steps + 1) * sizeof(*s->step));
	if (s->step == NULL)
		abort();
	s->step[s->steps++] = step;
	return true;
}

static bool read_line(struct schedule *s, const char *line)
{
	char name[40];
	uint32_t value;

	if (line[0] == '#' || line[0] == '\n')
		return true;
	if (strncmp(line, "step ", 5) == 0)
		return read_step(s, line);
	if (sscanf(line, "mode %c", &s->shape.mode) == 1)
		return world_mode_find(s->shape.mode) != NULL;
	if (sscanf(line, "%39s %" SCNu32, name, &value) != 2)
		return false;
#define F(field)                                                                                   \
	if (strcmp(name, #field) == 0) {                                                           \
		s->shape.field = value;                                                            \
		return true;                                                                       \
	}
	WORLD_SHAPE_FIELDS(F)
#undef F
	return false;
}

unsigned schedule_read(struct schedule *s, FILE *file)
{
	char line[300];

	memset(s, 0, sizeof(*s));
	for (unsigned number = 1; fgets(line, sizeof(line), file) != NULL; number++)
		if (!read_line(s, line))
			return number;
	return 0;
}
