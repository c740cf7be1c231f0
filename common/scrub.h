/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Scrub: going once over all blocks, in the background, and verifying each against its tag.
 *
 * What is verified is the medium: blocks and tags are read from the devices, past the tag cache.
 * What the medium cannot know yet is left out:
 *
 *  - a block whose newest version is in the journal: its place is about to be written.  Which they
 *    are is settled when the piece has its range, for nobody can put one of its blocks into the
 *    journal while it is held;
 *  - a block whose tag is still to be recalculated;
 *  - a tag that was newer in memory than on the medium when the piece was read (its line was dirty,
 *    or on its way to the device).  Then the one in memory is compared.
 *
 * A tag that does not match while the clean line in the tag cache does is bad on the medium only:
 * it is counted as decayed, and written again.  Nothing else is ever written.
 *
 * A piece holds the range lock as a reader: writers of these blocks wait for it, readers do not.
 * After each piece it gives way: the next one waits for a tick, so that whoever is inside the
 * engine leaves it first, however fast the devices are; if requests came in meanwhile it rests
 * three times as long as the piece took.  A rate limits it further.  While a recalculation runs it
 * waits.
 */
#ifndef TI_SCRUB_H
#define TI_SCRUB_H

#include <stdbool.h>
#include <stdint.h>

#include "blockdev.h"
#include "error.h"
#include "range_lock.h"
#include "scrub_report.h"
#include "tag_cache.h"

struct ti_lun;

enum ti_scrub_step {
	TI_SCRUB_IDLE,	    /* no piece */
	TI_SCRUB_LOCKING,   /* waits for the range */
	TI_SCRUB_LOCKED,    /* has it */
	TI_SCRUB_ON_DEVICE, /* reads blocks and tags */
	TI_SCRUB_READ,	    /* both are there */
	TI_SCRUB_PINNING,   /* something differs: waits for the tag cache's opinion */
	TI_SCRUB_PINNED,
};

struct ti_scrub {
	struct ti_lun *lun;
	struct ti_scrub_report report;
	bool stopping;		  /* ends with the piece under way */
	bool halted;		  /* the LUN is being closed */
	bool counting;		  /* the last bad place may still grow */
	struct ti_scrub_bad last; /* it, listed or not */
	unsigned failures;	  /* unreadable units in a row */

	/* The piece under way. */
	enum ti_scrub_step step;
	unsigned pending;
	uint64_t piece_sectors, piece_max;
	uint64_t small_until; /* after an error: in the smallest units up to here */
	bool settled;	      /* its tags on the medium are as new as those in memory */
	bool unchecked;	      /* nobody vouches for its tags */
	struct ti_range range;
	struct ti_io data_io, tag_io;
	struct iovec data_iov, tag_iov;
	struct ti_tag_pin pin;
	uint8_t *data, *medium, *tags; /* blocks; tags as read, at medium_skip; as they should be */
	uint8_t *skip;		       /* a bit for each block of the piece */
	size_t data_bytes, medium_bytes, tags_bytes, skip_bytes;
	size_t medium_skip;
	uint64_t piece_began_ns, submitted_before;
	uint64_t rest_until_ns; /* 0: does not rest */
	uint64_t rate_began_ns, rate_sectors;
};

/** Allocate what a scrub needs.  Returns 0 or -ENOMEM. */
int ti_scrub_open(struct ti_lun *lun, struct ti_error *error);
void ti_scrub_free(struct ti_lun *lun);

/** Carry it on.  True if anything moved.  io path. */
bool ti_scrub_run(struct ti_lun *lun);

/** These sectors were given tags that are right, with data that is: the last scrub, and the one
 * that runs, no longer tell them as bad.  Their range is held.  io path. */
void ti_scrub_mended(struct ti_lun *lun, uint64_t sector, uint64_t sectors);

/** When ti_scrub_tick() wants to be called, and that it is time. */
uint64_t ti_scrub_deadline(const struct ti_lun *lun);
void ti_scrub_tick(struct ti_lun *lun, uint64_t now_ns);

/** Begin nothing any more, and tell nobody of an end: the LUN is being closed. */
static inline void ti_scrub_halt(struct ti_scrub *s)
{
	s->halted = true;
}

/** No piece is under way. */
static inline bool ti_scrub_idle(const struct ti_scrub *s)
{
	return s->step == TI_SCRUB_IDLE;
}

#endif
