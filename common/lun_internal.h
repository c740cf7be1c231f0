/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The inside of a LUN: slots, parts and the policy seam.  Only the engine's own files include this.
 *
 * A request that is being worked on occupies a slot.  It is carried out in parts, one after the
 * other, each small enough for one device transfer, the tag scratch and a tag pin.  Whatever a slot
 * waits for (range lock, bounce buffer, device, tags, flush) ends with ti_slot_ready(), which puts
 * it on the LUN's ready list; ti_lun_run() then calls its next step.  Steps never nest, so a step
 * may do anything, also finish other requests' waits.
 */
#ifndef TI_LUN_INTERNAL_H
#define TI_LUN_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "flush.h"
#include "hash.h"
#include "hash_crew.h"
#include "iov.h"
#include "lun.h"
#include "range_lock.h"
#include "recalc.h"
#include "scrub.h"
#include "seal.h"
#include "store_file.h"
#include "tag_cache.h"
#include "tag_store.h"

/* Pieces of memory that one part may have without being copied to a bounce buffer. */
#define TI_PART_IOVS 260U

/* Largest block. */
#define TI_MAX_BLOCK_BYTES 4096U

struct ti_slot;
STAILQ_HEAD(ti_slot_list, ti_slot);

/**
 * What is done to a request's range, one pass after the other, while it is held.  A pass that reads
 * what the one before has written waits until that is durable.
 */
enum ti_pass {
	TI_PASS_END,
	TI_PASS_READ,
	TI_PASS_VERIFY,
	TI_PASS_COMPARE,
	TI_PASS_OR, /* into the request's memory */
	TI_PASS_WRITE,
	TI_PASS_FORGET,	 /* tags become the discard filler */
	TI_PASS_DISCARD, /* the data device may forget */
	TI_PASS_LOOK,	 /* at the tags only: TI_REQ_EXTENT */
};

#define TI_MAX_PASSES 3

struct ti_op {
	bool writes;
	bool repeats; /* the request's memory is used over and over */
	bool verifies;
	bool no_memory;
	bool twice; /* the request's memory is that of two passes */
	enum ti_pass pass[TI_MAX_PASSES];
};

extern const struct ti_op ti_ops[];

struct ti_slot {
	struct ti_lun *lun;
	struct ti_request *req;
	struct ti_result result;
	void (*step)(struct ti_slot *slot); /* what follows when the slot is ready */
	unsigned pending; /* waits that have not ended; the last one makes ready */
	unsigned pass;	  /* which one of the request's */

	/* The part under way. */
	uint64_t sector;  /* first */
	uint32_t sectors; /* 0 before the first part */
	const struct iovec *iov;
	unsigned iov_count;
	struct ti_iov_cursor cursor; /* in the request's memory, behind this part */
	struct ti_io io;
	struct ti_tag_pin pin;
	uint32_t located; /* bytes of the part known to be readable (ti_part_locate) */
	void (*after_locate)(struct ti_slot *slot);
	void (*after_map)(struct ti_slot *slot);
	struct iovec locate_iov[TI_HASH_MAX_PIECES];

	/* The slot's for ever. */
	struct iovec *iov_room; /* TI_PART_IOVS */
	uint8_t *tags;		/* scratch for one part's tags */
	/* The slot's while it holds one. */
	uint8_t *bounce;
	struct iovec bounce_iov;

	struct ti_range range;
	bool range_held;
	bool unchecked; /* read without a look at the tags */
	bool in_bitmap; /* mode bitmap: the part is being written, its regions' bits must stay */
	struct ti_flush_waiter flush;
	uint64_t turn;		    /* mode journal: writes get entries in this order */
	STAILQ_ENTRY(ti_slot) link; /* free, ready or waiting for a bounce buffer: one of them */
};

/**
 * A write policy: what becomes of one part.  Everything else is shared.  direct: policy_direct.c.
 * Each begin function ends in ti_slot_ready() with slot->step = ti_part_done, slot->result set.
 */
struct ti_policy_ops {
	const char *name; /* as in mode=... */
	/* Allocate.  May be NULL. */
	int (*open)(struct ti_lun *lun, struct ti_error *error);
	/* Replay the journal.  Blocks. */
	int (*start)(struct ti_lun *lun, struct ti_error *error);
	/* Begin the part that starts at slot->sector and is at most slot->sectors long; the policy
	 * may make it shorter. */
	void (*begin_read)(struct ti_slot *slot);
	void (*begin_write)(struct ti_slot *slot);
	/* The same of the two passes of a discard.  NULL: ti_discard_part() is all. */
	void (*begin_discard)(struct ti_slot *slot);
	/* A discard has its range: see to it that nothing will ever write to it that was written
	 * before, then ti_slot_ready() with slot->step = ti_part_first.  NULL: there is nothing. */
	void (*clear)(struct ti_slot *slot);
	/* The filler is on the medium before the data device may forget. */
	bool filler_first;
	/* Is the newest version of the block somewhere else than in its place?  NULL: never. */
	bool (*elsewhere)(const struct ti_lun *lun, uint64_t block);
	/* Make every completed write durable; the waiter is told when it is. */
	void (*flush)(struct ti_lun *lun, struct ti_flush_waiter *waiter);
	/* Carry on what concerns more than one request (rounds, commits).  Called when no slot is
	 * ready.  True if anything moved: then it is called again. */
	bool (*run)(struct ti_lun *lun);
	/* The time of a deadline has come. */
	void (*tick)(struct ti_lun *lun);
	/* See ti_lun_atomic_sectors().  NULL: 0. */
	uint64_t (*atomic_sectors)(const struct ti_lun *lun);
	/* Nothing is under way and the last flush is done: leave the devices for the next open.
	 * Blocks.  May be NULL. */
	int (*stop)(struct ti_lun *lun);
	void (*close)(struct ti_lun *lun);
};

extern const struct ti_policy_ops ti_policy_direct, ti_policy_journal, ti_policy_bitmap,
	ti_policy_recovery;

struct ti_journal;
struct ti_bitmap;

struct ti_lun {
	const struct ti_policy_ops *policy;
	struct ti_queue *queue;
	struct ti_clock *clock;
	struct ti_log log;
	struct ti_superblock sb;
	struct ti_geometry geo;
	struct ti_hash hash;
	struct ti_hash_crew *crew; /* NULL: the thread that is inside makes all tags itself */
	struct ti_seal *seal;	   /* NULL: neither journal_mac nor journal_crypt */
	struct ti_tag_cache *cache;
	struct ti_tag_store *store; /* the cache's memory, if it is to outlive us */
	char *store_path;	    /* its name; NULL: nothing is to outlive us */
	bool brought_home;	    /* what a predecessor left there */
	struct ti_inheritance inherited;
	struct ti_flusher flusher;
	struct ti_range_locks ranges;
	struct ti_journal *journal; /* policy_journal.c */
	struct ti_bitmap *bitmap;   /* policy_bitmap.c */
	struct ti_recalc recalc;
	struct ti_scrub scrub;
	struct ti_event_sink events;
	unsigned journal_watermark; /* percent */
	uint32_t sectors_per_bit;   /* 0: as the superblock says */
	bool recalculate, reset_recalculate;
	bool allow_discards;
	bool read_only;
	bool started;
	uint16_t start_progress; /* ti_lun_start_progress(); relaxed atomics on both sides */
	bool locked_memory;

	uint32_t io_align;     /* bytes: requests are multiples of this */
	uint32_t part_sectors; /* largest part */

	struct ti_slot *slots;
	unsigned slot_count;
	unsigned slots_busy;
	struct ti_slot_list free, ready, want_bounce;
	struct ti_request_list waiting; /* for a slot, in order */
	struct ti_request_list finished;

	uint8_t **bounce; /* free ones */
	unsigned bounce_free, bounce_count;

	uint64_t submitted; /* requests, ever */

	uint64_t tick_ns;     /* interval */
	uint64_t deadline_ns; /* of the next tick */

	void *pool; /* memory of slots, scratch and bounce buffers */
	size_t pool_bytes;

	struct ti_ratelimit mismatch_log, error_log;
	struct ti_lun_stats stats;
};

static inline uint64_t ti_slot_tag_offset(const struct ti_slot *slot)
{
	const struct ti_geometry *geo = &slot->lun->geo;

	return slot->sector / geo->sectors_per_block * geo->tag_size;
}

static inline uint32_t ti_slot_blocks(const struct ti_slot *slot)
{
	return slot->sectors / slot->lun->geo.sectors_per_block;
}

static inline enum ti_pass ti_slot_pass(const struct ti_slot *slot)
{
	return ti_ops[slot->req->op].pass[slot->pass];
}

/** ti_hash_blocks() by the LUN's digest, with its crew's help if that pays. */
static inline void ti_lun_hash(struct ti_lun *lun, uint64_t sector, struct ti_iov_cursor *data,
			       size_t n, uint8_t *tags)
{
	if (ti_hash_crew_shares(lun->crew, n))
		ti_hash_crew_blocks(lun->crew, sector, data, n, tags);
	else
		ti_hash_blocks(&lun->hash, sector, data, n, tags);
}

/** One of the things that the slot waits for has come. */
void ti_slot_ready(struct ti_slot *slot);

/** The first failure of a request counts. */
void ti_slot_fail(struct ti_slot *slot, int err, enum ti_cause cause, uint64_t sector);

/* part.c */

/** Work on a request whose range is held: first part to last, then ti_request_done(). */
void ti_part_first(struct ti_slot *slot);
/** The step after a part: the next one, or the end. */
void ti_part_done(struct ti_slot *slot);
/** Give the part the memory that the device will use, then call @then; may shorten the part. */
void ti_part_map(struct ti_slot *slot, void (*then)(struct ti_slot *slot));
/** A cursor at the request's memory becomes one @bytes further on. */
void ti_part_skip(struct ti_iov_cursor *cursor, size_t bytes);
/** A WRITE SAME whose blocks are all alike. */
bool ti_part_is_uniform(const struct ti_slot *slot);
/** A cursor at what a request that repeats its memory has for the part's @n-th block. */
struct ti_iov_cursor ti_part_same(const struct ti_slot *slot, uint32_t n);
/** Start the part's data transfer; slot->pending counts it. */
void ti_part_transfer(struct ti_slot *slot, enum ti_io_op op);
/** Pin the part's tags; slot->pending counts it. */
void ti_part_pin(struct ti_slot *slot, bool overwrite);
/** After a failed read: find the first part of it that cannot be read, or that all of it can. */
void ti_part_locate(struct ti_slot *slot, void (*then)(struct ti_slot *slot));

/* pass.c */

/** The request's memory is as long as its operation wants it. */
bool ti_pass_memory_fits(const struct ti_lun *lun, const struct ti_request *req);
/** A slot has its range: the first pass. */
void ti_pass_first(struct ti_slot *slot);
/** A pass is over, well or not: the next one, or the end of the request. */
void ti_pass_next(struct ti_slot *slot);
/** A reading pass has got the part's blocks from the @n-th on: @len bytes at @data. */
void ti_pass_take(struct ti_slot *slot, uint32_t n, const uint8_t *data, size_t len);

/* policy_direct.c */

/**
 * Read the part from the data device and verify it; one whose tags are still to be recalculated is
 * only read.  May shorten the part.
 */
void ti_read_from_device(struct ti_slot *slot);
/** Read the part from the data device, whatever its tags are. */
void ti_read_unchecked(struct ti_slot *slot);
/** Write the part, whose memory is mapped, and its tags. */
void ti_write_to_device(struct ti_slot *slot);

/* discard.c */

/** Begin the part of a discard's pass that starts at slot->sector; its length is chosen here. */
void ti_discard_begin(struct ti_slot *slot);
/** Carry it out: nothing stands in its way any more. */
void ti_discard_part(struct ti_slot *slot);
/** Between a discard's passes, if the filler is to be on the medium first. */
void ti_discard_settle(struct ti_slot *slot);
/** How many of the @sectors of a TI_REQ_EXTENT are looked at, at most. */
uint64_t ti_extent_reach(const struct ti_lun *lun, uint64_t sectors);
/** Begin to look at the part that starts at slot->sector. */
void ti_extent_begin(struct ti_slot *slot);

/* lun_open.c */

/** The pair, for those who keep files of it. */
struct ti_store_pair ti_lun_store_pair(struct ti_lun *lun);

/** Mode direct: what a journal still holds goes to its places, then it is erased.  Blocks. */
int ti_lun_empty_journal(struct ti_lun *lun, struct ti_error *error);

/** The file of the journal's ring, to be freed; *@path NULL: nothing is to outlive us.  0 or
 * -ENOMEM. */
int ti_lun_ring_path(const struct ti_lun *lun, char **path, struct ti_error *error);

/* lun_meta.c: while nothing else is going on.  All block. */

/** Flush the metadata device; a failure is remembered like any other flush's. */
int ti_lun_flush_meta(struct ti_lun *lun);

/** Write @sb, sealed, and flush it.  Returns 0 or negative errno with a sentence in @error. */
int ti_lun_store_superblock(struct ti_lun *lun, const struct ti_superblock *sb,
			    struct ti_error *error);

/**
 * A flush of the metadata device has failed before this open: write superblock and journal (or
 * bitmap) once more as they are found, and flush them; then the failure is forgotten.  Returns 0 or
 * negative errno with a sentence in @error.
 */
int ti_lun_rewrite_meta(struct ti_lun *lun, struct ti_error *error);

/* lun.c */
void ti_request_done(struct ti_slot *slot);
/** Make durable what the slot's range holds, then begin the slot's pass. */
void ti_request_flush_and_read(struct ti_slot *slot);
/** A device error on the way of a request: counted, and logged at a bounded rate. */
void ti_lun_io_error(struct ti_lun *lun, enum ti_device dev, const char *what, uint64_t sector,
		     int error);
/** Blocks that do not match: counted, told, logged at a bounded rate.  The first one's tags:
 * @stored is the one it should match, @computed the one of the bytes that are there. */
void ti_lun_mismatch(struct ti_lun *lun, enum ti_event_source source, uint64_t sector,
		     size_t blocks, const uint8_t *stored, const uint8_t *computed);
/** Tags that are bad on the medium only.  @mended: they are being written again. */
void ti_lun_tag_decayed(struct ti_lun *lun, uint64_t sector, size_t blocks, bool mended);
void ti_lun_event(struct ti_lun *lun, const struct ti_event *event);

#endif
