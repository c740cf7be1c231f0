/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A schedule: what a simulated world looks like, and what happens in it, step by step.
 *
 * It is made from a seed, all of it before the world begins, and does not depend on how the engine
 * answers.  Each step carries its number and a seed of its own, from which follows whatever is
 * random while it is carried out.  So a step does the same when others are left out: a schedule
 * that shows a bug can be made shorter.  It can be written as text, and text read as a schedule.
 *
 * A mode is a row of world_modes[]: what it promises is there, and nowhere else.
 */
#ifndef WORLD_SCHEDULE_H
#define WORLD_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lun.h"

/* What a mode promises for a write that was completed in it. */
struct world_mode {
	char letter; /* as in --mode and in schedules */
	enum ti_mode mode;
	/* A power cut may leave data and tag apart: a mismatch, never wrong data. */
	bool cut_parts_tag;
	/* The same for a write that the device fails. */
	bool fails_part_tag;
	/* A write's region is marked on the medium before it begins, until it is durable: after a
	 * crash its blocks may hold parts of several versions, under a tag that is made anew. */
	bool marks;
	/* What is acknowledged outlives the process, with the machine (and a store file). */
	bool outlives_process;
	/* The latter only with a store file. */
	bool needs_store;
	/* A write that the device fails is a write request that fails. */
	bool write_errors_reach_writes;
};

extern const struct world_mode world_modes[];
extern const unsigned world_mode_count;

/* NULL: there is none of that letter. */
const struct world_mode *world_mode_find(char letter);

/* What the world looks like: numbers, named in schedules as here. */
#define WORLD_SHAPE_FIELDS(F)                                                                      \
	F(blocks)                                                                                  \
	F(block_size)                                                                              \
	F(tag_size)                                                                                \
	F(salted)                                                                                  \
	F(start_sector)                                                                            \
	F(journal_sectors)                                                                         \
	F(data_logical) /* bytes of a sector of the data device */                                 \
	F(data_unit)	/* bytes that it never tears */                                            \
	F(meta_logical)                                                                            \
	F(meta_fua)	 /* it says that it has FUA writes */                                      \
	F(data_no_cache) /* it says that it has no volatile cache */                               \
	F(meta_no_cache)                                                                           \
	F(watermark)                                                                               \
	F(queue_depth)                                                                             \
	F(max_part_blocks)                                                                         \
	F(bounce_buffers)                                                                          \
	F(commit_time_ms)                                                                          \
	F(sectors_per_bit)                                                                         \
	F(recalculate)	    /* formatted without tags: they are to be recalculated */              \
	F(recalculate_rate) /* KB per second; 0: no limit */                                       \
	F(store)                                                                                   \
	F(max_in_flight)                                                                           \
	F(complete_percent)                                                                        \
	F(slow_percent)                                                                            \
	F(passes)   /* some writes and verifies are compound commands */                           \
	F(hash)	    /* 0: crc32c; else one of world_seal.c */                                      \
	F(mac)	    /* journal_mac */                                                              \
	F(crypt)    /* journal_crypt: 0: none; else one of world_seal.c */                         \
	F(helpers)  /* for the digest; 0: none */                                                  \
	F(discards) /* 0: there are none; 1: the data device cannot; 2: it forgets */              \
	F(scrub)    /* one runs all the time, one after the other */                               \
	F(looks)    /* crash states per look */

struct world_shape {
	char mode; /* that it begins with */
#define F(name) uint32_t name;
	WORLD_SHAPE_FIELDS(F)
#undef F
};

enum step_op {
	STEP_WRITE,
	STEP_WRITE_SAME,
	STEP_READ,
	STEP_VERIFY,
	STEP_FLUSH,
	STEP_RUN,    /* the engine runs, what comes back is judged */
	STEP_WAIT,   /* for a device; the time of a tick may have come */
	STEP_QUIET,  /* nobody asks for anything until all is written out */
	STEP_LEAK,   /* a device flushes a part of its cache by itself */
	STEP_FAULTS, /* from here on other errors happen, or none */
	STEP_LOOK,   /* judge what a cut or a kill at this moment could leave; the world goes on */
	STEP_CUT,
	STEP_KILL,
	STEP_REOPEN, /* close and open */
	STEP_DISCARD,
	STEP_OPS,
};

struct step {
	uint32_t id; /* its place in the schedule that it was made for, from 1 */
	enum step_op op;
	uint32_t block, count;
	bool fua;  /* of a LEAK: it is the metadata device's */
	char mode; /* opened with after CUT, KILL and REOPEN */
	uint64_t seed;
};

struct schedule {
	struct world_shape shape;
	struct step *step;
	unsigned steps;
};

/* Of a WRITE SAME: how many blocks it repeats.  0: it is something else. */
uint32_t step_period(const struct step *step);

/* The schedule of a seed.  @mode 0: any. */
void schedule_make(struct schedule *s, uint64_t seed, unsigned steps, char mode);
void schedule_free(struct schedule *s);

/* @to gets the steps of @from for which @keep is true. */
void schedule_keep(struct schedule *to, const struct schedule *from, const bool *keep);

void schedule_write(const struct schedule *s, FILE *file);
/* Returns 0, or the number of the line that says nothing that is known. */
unsigned schedule_read(struct schedule *s, FILE *file);

/* One line, as in schedule_write(), without its end. */
void step_text(const struct step *step, char *text, size_t size);

#endif
