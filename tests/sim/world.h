/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A simulated world: the engine on simulated devices, a schedule that is carried out, and a model
 * that judges.
 *
 * world.c carries out steps; world_look.c judges what a cut or a kill could leave at some moment;
 * world_shrink.c makes the schedule of a failure shorter; world_main.c is the program.
 */
#ifndef WORLD_H
#define WORLD_H

#include "format.h"
#include "lun.h"
#include "sim_queue.h"
#include "world_crew.h"
#include "world_death.h"
#include "world_faults.h"
#include "world_model.h"
#include "world_schedule.h"

#define MAX_IN_FLIGHT 40U

#define NONE UINT64_MAX

/* What happened, over all worlds. */
struct world_counts {
	uint64_t worlds, reads, writes, discards, flushes, mismatches, faults, cuts, kills, deaths,
		reopens;
	uint64_t lived_on; /* opens after a close that failed, without a power cut */
	uint64_t looks, states, exhaustive, cut_again, opened_again;
	uint64_t doubts, recalculations; /* opens with a doubt; recalculations seen to their end */
	uint64_t scrubs, scrub_mismatches;
	uint64_t compares_same, recoveries;
	uint64_t states_by_mode[8]; /* by world_modes[] */
};

/* A request that is under way. */
struct op {
	struct ti_request req;
	const struct step *step; /* NULL: not used */
	uint8_t *memory, *buf;
	struct iovec iov[64];
	bool was_broken;	/* a flush had failed before it was submitted */
	uint64_t differs;	/* of a comparison: the first byte that must differ; NONE */
	uint32_t newest;	/* of a read: the newest version that it may see */
	uint32_t *acknowledged; /* of a flush: by block */
};

struct world {
	const struct schedule *schedule;
	const struct step *step; /* being carried out */
	const char *store;	 /* file of unwritten tags; NULL: none */
	struct world_counts *counts;
	bool verbose;

	struct sim_random random;
	struct sim_queue *sim;
	uint64_t bytes[TI_DEVICES];
	struct ti_geometry geo;
	uint32_t sectors_per_block;
	struct model model;
	struct faults faults;
	bool faults_on;

	const struct world_mode *mode;
	struct ti_lun *lun;
	bool *doubt;	 /* by block: what the medium said before it was opened */
	bool any_doubt;	 /* in the model */
	bool had_doubt;	 /* at the open */
	uint64_t unread; /* recalc_unreadable, when last looked at */
	struct op op[MAX_IN_FLIGHT];
	unsigned in_flight;
	struct world_crew crew;
	struct world_death death;
	bool dead;		 /* the next step, whatever it is, is the successor's open */
	struct world_keys *keys; /* NULL: no key, no seal */
	bool reads_and_writes;	 /* a compound command has failed since the open, in either part */

	unsigned data_write_faults, data_write_failures, meta_read_faults, read_failures;
	bool flush_broken;     /* a flush has failed since the LUN was opened */
	bool flush_was_broken; /* one has, ever; the store may remember it for the next opens */
	bool was_broken;       /* before the run that is being judged */
	bool lived_on;	       /* over a close that failed: what is recalculated is written back */

	uint64_t scrub_seen; /* bad places before this sector have been counted */
};

/* Carry out a schedule.  @store: a path for the file of unwritten tags and, with "-look" behind it,
 * for that of the worlds that are looked at. */
void world_run(const struct schedule *s, const char *store, bool verbose,
	       struct world_counts *counts);

/* How the world opens a LUN in a mode.  @seed: what is asked for by a few opens only. */
struct ti_lun_options world_lun_options(const struct world *w, const struct world_mode *mode,
					const char *store, uint64_t seed);

/* The mode of this letter if the world can be opened in it, else the one that it has now. */
const struct world_mode *world_mode_or(const struct world *w, char letter);

/* Let a recalculation go on for so many turns, or to its end.  Returns whether it has ended. */
bool world_recalculate(struct ti_lun *lun, unsigned turns);

/* Hand a request to a LUN at rest, and wait for it. */
void world_ask(struct ti_lun *lun, struct ti_request *req);

/* Read all blocks of a LUN at rest: fn() gets each one's bytes, or NULL if its tag does not match.
 * Any other error is a violation. */
void world_read_all(const struct world *w, struct ti_lun *lun,
		    void (*fn)(void *ctx, uint32_t n, const uint8_t *data), void *ctx);

/* world_main.c is told where a world has got to, for whoever must say where it ended. */
void world_at_step(uint32_t id);

/* Remove the store's files. */
void world_drop_store(const char *store);

/* world_look.c: judge what a power cut or a kill at this moment could leave. */
void world_look(struct world *w);

#endif
