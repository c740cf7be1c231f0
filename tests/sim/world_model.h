/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What each block may hold: the promises of lun.h, in a form that can be checked.
 *
 * The model keeps, for each block, its versions since the last one that is known durable.  From the
 * promises follows what may be seen:
 *  - a read returns exactly the version of the last overlapping write submitted before it, unless
 *    that write failed; then an older one, or a tag mismatch at a block where that is so;
 *  - after a power cut a block holds the durable version or a later one.  Its tag does not match
 *    only if a version that is not durable was written in a mode that permits it;
 *  - after a kill it is not older than the last acknowledged version that outlives the process.
 *  - a block that was discarded holds what the data device makes of it.  While that is not durable
 *    it may be anything, but its tag says nothing against it.  From then on nothing that was
 *    written before comes back, whether from the journal or from anywhere else.
 *
 * Then there is doubt: the medium itself says, by a bit or by recalc_sector, that nobody vouches
 * for a block's tag (world_doubt.h).  Such a block never mismatches, for its tag is not looked at
 * until it has been made anew; and what a crash or an error has left in its place may be parts of
 * several versions.  Where there is no doubt nothing is permitted for its sake: every block holds
 * one version and matches its tag, and no acknowledged version that was marked is missing.
 *
 * A version is named by the number of the step that wrote it, or that found it, if it is one that
 * nobody wrote; 0 is a block as formatted.
 *
 * Whoever breaks a promise is reported by violation(), which does not return.
 */
#ifndef WORLD_MODEL_H
#define WORLD_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "world_schedule.h"

/* How a version came to be, and what has become of it. */
enum version_status { IN_FLIGHT, DONE, FAILED, BAD /* data and tag are apart */ };

struct version {
	uint32_t id;
	enum version_status status;
	bool fua; /* lets its range go before it comes back */
	bool cut_parts_tag, fails_part_tag, marks, outlives_process;
	bool found;  /* nobody wrote it */
	bool filler; /* its tag may be the discard filler: the crash took the right one */
	/* It could not be read when its turn came: its tag may be any. */
	bool unreadable;
	uint8_t *bytes; /* NULL: they follow from the id */
};

struct block {
	struct version *v; /* v[0] is durable */
	unsigned count, room;
	/* There was doubt when the LUN was opened, and what came of it is not yet known. */
	bool doubt;
	/* A failed flush should have covered its versions up to this one, and whoever closed the
	 * LUN was told: none of them is ever certain, whatever a later flush says. */
	bool lost;
	uint32_t lost_id;
};

struct model {
	struct block *block;
	uint32_t blocks, block_size, unit; /* bytes; the latter are never torn */
	bool discards;			   /* there are some */
	bool forgets; /* what the data device has discarded is SIM_FORGOTTEN; else it is unknown */
	/* A tag may lie in two sectors of the metadata device, and be half a filler. */
	bool tags_tear;
	struct written {
		uint32_t first, count, period; /* period 0: each block of the version differs */
		bool atomic, discard;
	} * written;	     /* [id] */
	uint8_t *scratch[2]; /* a block each */
};

/* In place of a version's id: the block's tag did not match; it holds what nobody wrote. */
#define SEEN_MISMATCH UINT32_MAX
#define SEEN_TORN     (UINT32_MAX - 1)

void model_init(struct model *m, const struct schedule *s);
void model_free(struct model *m);

/* A block's bytes of a version that was written. */
void model_content(const struct model *m, uint32_t block, uint32_t id, uint8_t *out);
/* Is it this one of the block's versions? */
bool model_holds(const struct model *m, const uint8_t *data, uint32_t block, uint32_t id);

/* A block's bytes, if it is certain what a read that is submitted now returns. */
bool model_known(const struct model *m, uint32_t n, uint8_t *out);
/* The version of a write that was submitted has these bytes. */
void model_set_bytes(struct model *m, uint32_t n, uint32_t id, const uint8_t *bytes);

/* A write was submitted; it came back. */
void model_submitted(struct model *m, const struct step *step, const struct world_mode *mode);
void model_came_back(struct model *m, const struct step *step, enum version_status status);

/* These blocks' version @id, or a newer one, is durable. */
void model_durable(struct model *m, uint32_t block, uint32_t count, uint32_t id);

/* The same of what a read has seen that was to be of the medium. */
void model_durable_seen(struct model *m, uint32_t n, uint32_t seen);

/* @id[block]: the newest acknowledged version, UINT32_MAX where there is none: what a flush that is
 * submitted now makes durable. */
void model_acknowledged(const struct model *m, uint32_t *id);
void model_flushed(struct model *m, const uint32_t *id);

/* A read that was submitted before any version newer than @newest has seen @data at block @n; NULL:
 * its tag does not match.  Returns the version's id or SEEN_... */
uint32_t model_judge_read(const struct model *m, uint32_t n, uint32_t newest, const uint8_t *data);

/* A scrub has found that block @n does not match its tag.  Writes may have been submitted since;
 * with @faults, some of those that have not come back may have failed already. */
void model_judge_scrub(const struct model *m, uint32_t n, bool faults);

/* After a power cut, or a kill, block @n holds @data (NULL: a mismatch); @doubt: says the medium.
 * Returns what was seen: a version's id or SEEN_... */
uint32_t model_judge_cut(const struct model *m, uint32_t n, const uint8_t *data, bool doubt);
uint32_t model_judge_kill(const struct model *m, uint32_t n, const uint8_t *data, bool doubt);

/* After either: @seen[block] holds all of each atomic write, or nothing of it. */
void model_judge_atomic(const struct model *m, const uint32_t *seen);

/*
 * The world goes on with what was seen after a cut: nothing else can ever come back.  @bytes: what
 * the data device has there; @step: now.
 */
void model_settle_cut(struct model *m, uint32_t n, uint32_t seen, const uint8_t *bytes, bool doubt,
		      uint32_t step);
/* The devices' caches live on: older versions may come back when the power goes. */
void model_settle_kill(struct model *m, uint32_t n, uint32_t seen, const uint8_t *bytes, bool doubt,
		       uint32_t step);

/* The LUN was opened again after a close that failed: what is not durable now never will be. */
void model_lost(struct model *m);
/* May what was seen of block @n after a kill be gone after a power cut, though it was flushed? */
bool model_is_lost(const struct model *m, uint32_t n, uint32_t seen);

/* Something could not be read while tags were made anew. */
void model_unreadable(struct model *m);
/* No recalculation is under way.  Returns whether there is doubt left. */
bool model_recalculated(struct model *m);

/* Report and end.  world_main.c knows which world it was. */
void violation(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
