/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The dirty bitmap of mode bitmap: which regions may have data and tags apart after a crash.
 *
 * It takes the journal's place on the metadata device.  A region's bit is durable there before the
 * first write to the region begins, and is cleared only when everything written to the region has
 * been flushed on both devices.  So after a crash every block whose data and tag may be apart lies
 * in a region whose bit is set, and recalculation mends it.
 *
 * Three maps in memory, one bit per region:
 *	disk	  what the medium has or is about to get
 *	durable	  of these, what is on the medium for certain: writes to these regions may begin
 *	touched	  regions written to since the clearing step under way began: their bits stay
 * durable is always a part of disk.
 *
 * Setting (a slot waits for it): bits go into `disk`, its pages are copied, written, the metadata
 * device is flushed, and what the copies held and `disk` still holds is durable.  One such round at
 * a time, which any number of slots share; so what the medium gets is always newer than what it
 * has.
 *
 * Clearing (after bitmap_flush_interval): a flush round of both devices; when it has ended well,
 *the bits of all regions that were not touched meanwhile go from `disk` and `durable`, and the
 *pages are written.  A write whose region lost its bit before it began sets it again and waits.  No
 * request waits for the step itself: the kernel locks the whole device instead, to the same end.
 */
#ifndef TI_BITMAP_H
#define TI_BITMAP_H

#include "bits.h"
#include "lun_internal.h"

#define TI_BITMAP_OPS 8U /* pages in one round */

struct ti_bitmap {
	struct ti_lun *lun;
	unsigned log2_blocks; /* of a region */
	uint64_t bits;
	size_t bytes;
	uint8_t *disk, *durable, *touched;
	uint8_t *stale; /* per page: the medium does not have what `disk` holds */
	uint8_t *copy;	/* TI_BITMAP_OPS pages */
	void *memory;
	size_t memory_bytes;

	/* The round under way. */
	bool running;
	bool wanted; /* another one, for slots or because bits were cleared */
	unsigned pending;
	unsigned pages;
	uint64_t page[TI_BITMAP_OPS];
	struct iovec iov[TI_BITMAP_OPS];
	struct ti_io io[TI_BITMAP_OPS];
	struct ti_io flush;
	int error;
	enum ti_cause cause;
	struct ti_slot_list now, next; /* slots that wait for the round under way, for the next */

	/* The clearing step. */
	bool clearing;
	bool clear_wanted;
	struct ti_flush_waiter waiter;

	uint64_t rounds, clears;
};

/* bitmap.c */

/** All bits 0.  Allocates.  *@locked as in ti_memory_get().  Returns 0 or -ENOMEM. */
int ti_bitmap_alloc(struct ti_lun *lun, unsigned log2_blocks, bool *locked,
		    struct ti_bitmap **bitmap);
void ti_bitmap_free(struct ti_bitmap *b);

/**
 * The slot's part is to be written: returns true if it may begin now.  Else the slot becomes ready
 * when it is worth asking again, or has failed.  io path.
 */
bool ti_bitmap_gate(struct ti_bitmap *b, struct ti_slot *slot);

/** Let the next round set the bits of these regions, too: slots are going to need them.  io path.
 */
void ti_bitmap_expect(struct ti_bitmap *b, uint64_t sector, uint64_t sectors);

/** Something in the region's tags changes by other means than a slot (recalculation).  io path. */
void ti_bitmap_touch(struct ti_bitmap *b, uint64_t sector, uint64_t sectors);

/** Start what is due.  True if anything moved.  io path. */
bool ti_bitmap_run(struct ti_bitmap *b);

/** Begin a clearing step as soon as none is under way.  io path. */
void ti_bitmap_clear(struct ti_bitmap *b);

/** No I/O of the bitmap's is under way, nor any wanted. */
bool ti_bitmap_idle(const struct ti_bitmap *b);

/* bitmap_open.c: the bitmap on the medium while nothing else is going on.  All block. */

/** Read the map of @bits bits; the garbage behind the last one is zeroed. */
int ti_bitmap_load(struct ti_lun *lun, uint8_t *map, uint64_t bits, struct ti_error *error);

/**
 * What the superblock's flags ask for when a LUN is started, in any mode: prepares lun->recalc, and
 * in mode bitmap the bitmap.  Leaves the journal's place to the mode.
 */
int ti_lun_settle(struct ti_lun *lun, struct ti_error *error);

/** Mode bitmap: everything is flushed; leave the devices for the next open. */
int ti_bitmap_stop(struct ti_lun *lun);

#endif
