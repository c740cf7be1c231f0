/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Recalculation: computing tags that nobody vouches for from the blocks that are there.
 *
 * Two reasons: the superblock says RECALCULATING (a pair formatted without wiping, or a wish), then
 * every tag from recalc_sector on; or a dirty bitmap was found at open, then the tags of its
 * regions.  It runs in the background, piece by piece from front to end, while the LUN serves.
 * Reads of blocks whose turn has not come are answered without a look at their tags, as the kernel
 * does.
 *
 *	sector	  all before it is done
 *	bits	  NULL: every block from `sector` on is to be recalculated; else those whose
 *		  region's bit is set.  A region's bit goes when the region is done.
 *
 * The kernel recalculates whatever lies between the dirty blocks of a chunk, and so declares good
 * what has become bad there.  Here a block of a clean region is never recalculated; if its chunk
 * has a dirty one, it is verified, and a mismatch is reported and stays one.
 *
 * A piece holds the range lock as a reader: writers of these blocks wait for it, readers do not.
 * Between pieces it gives way: when requests came in meanwhile it rests three times as long as the
 * piece took.  How far it is goes to the superblock now and then, after a flush of the tags.
 *
 * After a flush of the data device that has failed, blocks that are read may be in its cache only,
 * and the next flush may succeed without covering them.  A tag that is made of such a block, and
 * its bit gone, would be left alone by a power cut with the block of before.  So while the device
 * is in doubt (ti_tag_store_doubt()) each piece that gets tags is written back as it was read, and
 * the flush that makes the tags durable covers that.  At the end the doubt is over.
 *
 * The last region's bit stays until the superblock says that all is done: else a crash in between
 * would find no reason to look at the bits, and begin again at the sector saved last.
 */
#ifndef TI_RECALC_H
#define TI_RECALC_H

#include <stdbool.h>
#include <stdint.h>

#include "blockdev.h"
#include "error.h"
#include "flush.h"
#include "range_lock.h"
#include "tag_cache.h"

/** dm-integrity's unit: clean blocks are verified in chunks of which a part is dirty. */
#define TI_RECALC_CHUNK 32768U

struct ti_lun;
struct ti_recalc_wish;

enum ti_recalc_state {
	TI_RECALC_IDLE,	     /* no piece */
	TI_RECALC_LOCKING,   /* waits for the range */
	TI_RECALC_LOCKED,    /* has it; waits for a write-out of the journal to end */
	TI_RECALC_ON_DEVICE, /* reads the blocks, pins the tags */
	TI_RECALC_READ,	     /* both are there */
	TI_RECALC_REWRITING, /* writes the blocks back */
	TI_RECALC_REWRITTEN,
};

struct ti_recalc {
	struct ti_lun *lun;
	bool active;   /* tags before the end are still to be computed */
	bool running;  /* set up to do it; not on a read-only LUN */
	bool stopping; /* no more pieces are begun */
	uint64_t sector, end;
	uint64_t began; /* the first sector */
	uint8_t *bits;
	unsigned log2_blocks; /* of a region */
	size_t bits_bytes;
	uint64_t rate; /* bytes per second at most; 0: no limit */

	/* The piece under way. */
	enum ti_recalc_state state;
	bool trusted; /* verify it, do not recalculate */
	bool rewrite; /* the data device is in doubt: write back what gets a tag */
	unsigned pending;
	uint64_t piece_sectors, piece_max;
	uint64_t chunk_end;   /* with bits: the chunk that is worked through ends here */
	uint64_t small_until; /* after a read error: in the smallest units up to here */
	struct ti_range range;
	struct ti_io io;
	struct iovec iov;
	struct ti_tag_pin pin;
	uint8_t *data, *tags;
	size_t data_bytes, tags_bytes;
	uint64_t piece_began_ns, submitted_before;
	uint64_t rest_until_ns; /* 0: does not rest */

	/* What could not be read; see recalc_suspect.c. */
	bool looking;		  /* what is under way is a look, not a piece */
	bool away;		  /* the data device does not answer */
	unsigned suspects;	  /* units from `sector` on that could not be read */
	unsigned suspects_before; /* as the look before found; 0: there was none */
	uint64_t places;	  /* elsewhere that were tried */
	int suspect_error;

	/* Saving how far it is. */
	bool saving;
	bool finishing; /* the save under way says that all is done */
	uint64_t saved_sector, save_sector, saved_ns;
	struct ti_flush_waiter waiter;
	struct ti_io save_io, save_flush;
	struct iovec save_iov;
	uint8_t *save_buf;

	/* A request: it begins, and is granted, when the save under way has made it durable. */
	struct ti_recalc_wish *wish; /* NULL: none waits */
	uint32_t old_flags;	     /* of the superblock, if it comes to nothing */
	uint64_t old_sector;

	uint64_t done_sectors; /* recalculated since open */
	uint64_t mismatches;   /* blocks of clean regions that did not match */
	uint64_t unreadable;   /* sectors that are bad, and passed by: their tags stay */
	unsigned tenths_logged;
};

/** Allocate, and start what lun->recalc was prepared for, if it was.  Returns 0 or -ENOMEM. */
int ti_recalc_open(struct ti_lun *lun, struct ti_error *error);
void ti_recalc_free(struct ti_lun *lun);

/**
 * How many sectors from @sector on, at most @sectors, are alike: all vouched for (*@trusted), or
 * all to be recalculated.  A multiple of the LUN's I/O unit.  io path.
 */
uint64_t ti_recalc_alike(const struct ti_lun *lun, uint64_t sector, uint64_t sectors,
			 bool *trusted);

/** Carry it on.  True if anything moved.  io path. */
bool ti_recalc_run(struct ti_lun *lun);

/** When ti_recalc_tick() wants to be called, and that it is time. */
uint64_t ti_recalc_deadline(const struct ti_lun *lun);
void ti_recalc_tick(struct ti_lun *lun, uint64_t now_ns);

/**
 * Does a piece hold its range?  Then no write-out of the journal may begin: it takes no range
 * locks, and would change blocks and tags under the piece.  A piece that holds its range waits for
 * nothing but devices and the write-out under way, so this cannot be a circle.
 */
static inline bool ti_recalc_holds(const struct ti_recalc *r)
{
	return r->state >= TI_RECALC_LOCKED;
}

/** Begin nothing any more. */
void ti_recalc_stop(struct ti_lun *lun);
bool ti_recalc_idle(const struct ti_lun *lun);

/**
 * Nothing is under way and all tags are durable: put how far it is into lun->sb.  Returns true if
 * that says all there is to say, false if the bits are needed as well.
 */
bool ti_recalc_note(struct ti_lun *lun);

/** Let the scrub's report know of what has been recalculated since it began, where that has left
 *  nothing out. */
void ti_recalc_mended(struct ti_lun *lun);

/** All is prepared, and the medium says so if it has to: the next run begins the first piece. */
void ti_recalc_begin(struct ti_recalc *r);

/* recalc_suspect.c: a unit could not be read.  A piece could, so that there are no suspects. */
void ti_recalc_suspect(struct ti_recalc *r);
void ti_recalc_no_suspect(struct ti_recalc *r);
/** The sector of the unit that is to be looked at next. */
uint64_t ti_recalc_look_at(const struct ti_recalc *r);
/** The look has ended, with r->io.result.  Returns how many units from `sector` on are bad. */
unsigned ti_recalc_looked(struct ti_recalc *r, uint64_t now_ns);

/* recalc_save.c */

/** Let the superblock say that all is to be recalculated; then begin, and tell r->wish. */
void ti_recalc_announce(struct ti_recalc *r);

/** Save how far it is, if that is due at @now_ns.  True if anything moved.  io path. */
bool ti_recalc_save_run(struct ti_recalc *r, uint64_t now_ns);

#endif
