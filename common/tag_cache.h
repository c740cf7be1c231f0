/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The tag cache: a bounded window on the metadata device's tag area, written back later.
 *
 * The area is seen as lines of 4 KiB.  A request pins the lines that hold its tags, which loads the
 * missing ones; reads and changes the tags in memory; and unpins.  Changed lines are dirty until
 * written back: by ti_tag_cache_sync() (a flush waits for it), in the background when many are
 *dirty or old, or to make room.
 *
 * Life of a line:
 *	FREE     nothing; in no table
 *	LOADING  being read; pinned by whoever asked            -> VALID or FAILED
 *	EMPTY    not read because its pinner overwrites it all  -> VALID, or FREE at unpin;
 *		 others who want it wait for that
 *	VALID    equals the device, or is newer (dirty)         -> FREE by eviction when clean
 *	FAILED   could not be read; out of the table            -> FREE at the last unpin
 *
 * Write-back copies a line and writes the copy: what the device reads never changes under it, and
 * the line may be changed meanwhile (it is then dirty again).  A line has at most one write under
 * way, else two could reach the device in the wrong order.
 *
 * Pins are all or nothing and first come, first served: a pin that waits, for room or for an EMPTY
 * line, holds no line, and one that has its lines waits for devices only.  So pins cannot wait for
 * each other in a circle.
 */
#ifndef TI_TAG_CACHE_H
#define TI_TAG_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "blockdev.h"

#define TI_LINE_BYTES 4096U

/** Most lines that one pin may span; ti_tag_cache_max_span() bytes of tags always fit. */
#define TI_PIN_LINES 18U

/** What the tag of a discarded block consists of.  (Format: tags.) */
#define TI_DISCARD_FILLER 0xf6

/** Is the tag of @size bytes a discarded block's? */
static inline bool ti_tag_is_filler(const uint8_t *tag, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (tag[i] != TI_DISCARD_FILLER)
			return false;
	return true;
}

struct ti_tag_line;
struct ti_tag_cache;
struct ti_tag_store;

/** One request's hold on the lines of a range of tag bytes. */
struct ti_tag_pin {
	/* Set by the caller. */
	uint64_t offset; /* bytes from the tag area's start */
	size_t len;	 /* bytes, at most ti_tag_cache_max_span() */
	bool overwrite;	 /* the caller will set all of these bytes */
	/* Called once when the lines are there or could not be read, unless pin() said so at once.
	 * Called from inside the queue's run() or an unpin; must not call the cache. */
	void (*ready)(struct ti_tag_pin *pin);
	void *owner;

	/* When ready. */
	int error;	       /* 0, or what reading a line said */
	uint64_t error_offset; /* first byte of the tag area that could not be read */

	/* The cache's. */
	struct ti_tag_line *line[TI_PIN_LINES];
	struct iovec vec[TI_PIN_LINES];
	unsigned lines;
	unsigned loading;
	TAILQ_ENTRY(ti_tag_pin) link;
};

/** A wait for everything that is dirty now to be written. */
struct ti_tag_sync {
	void (*done)(struct ti_tag_sync *sync);
	void *owner;
	/* One write that does it all may be a FUA write, of which wrote() is not told: no flush of
	 * the device is needed after it. */
	bool fua;
	int error; /* of the first line that could not be written: it stays dirty */
	uint64_t target;
	bool active;
};

struct ti_tag_cache_options {
	struct ti_queue *queue;
	uint64_t area_offset; /* bytes: where the tag area starts on the metadata device */
	uint64_t area_bytes;  /* tag bytes in it */
	size_t lines;	      /* from ti_tag_cache_lines() */
	/* Tags of this size that are the discard filler match whatever they are compared with; 0:
	 * they are tags like others. */
	size_t filler_tag_size;
	/* Where the lines lie, if they are to outlive the process; NULL: in memory of the cache's
	 * own. It has as many lines and outlives the cache. */
	struct ti_tag_store *store;
	/* Called when a write-back has completed, well or not: the metadata device's volatile cache
	 * may hold it now.  Not called for one that is durable already. */
	void (*wrote)(void *ctx, int result);
	void *ctx;
};

struct ti_tag_cache_stats {
	uint64_t lines_read, lines_written, write_errors, read_errors;
	size_t lines, dirty;
};

/** How many lines @cache_bytes mean: what two pins need at least, the whole area at most. */
size_t ti_tag_cache_lines(size_t cache_bytes, uint64_t area_bytes);

/**
 * Make a cache.  *@locked as in ti_memory_get().  Returns 0, -ENOMEM, or -EINVAL if the area does
 * not lie on the device in whole logical blocks.
 */
int ti_tag_cache_open(const struct ti_tag_cache_options *options, bool *locked,
		      struct ti_tag_cache **cache);

/** Free it; no I/O of it may complete any more.  Dirty lines are lost (sync first). */
void ti_tag_cache_close(struct ti_tag_cache *cache);

/** Bytes of tags that fit into one pin wherever they start. */
size_t ti_tag_cache_max_span(void);

/** Returns true if the pin is ready now (its error may be set); else ready() is called.  io path.
 */
bool ti_tag_cache_pin(struct ti_tag_cache *cache, struct ti_tag_pin *pin);
void ti_tag_cache_unpin(struct ti_tag_cache *cache, struct ti_tag_pin *pin);

/**
 * Compare the first pinned tags with @tags, @count tags of @tag_size bytes.  They must be there: of
 * a pin with an error those before error_offset are. Returns the number that differ, *@first is the
 * index of the first of them.  io path.
 */
size_t ti_tag_cache_compare(const struct ti_tag_pin *pin, const uint8_t *tags, size_t tag_size,
			    size_t count, size_t *first);

/** The bytes of a pin that is ready, from @offset of it on.  io path. */
void ti_tag_cache_fetch(const struct ti_tag_pin *pin, size_t offset, size_t len, uint8_t *out);

/** Are these @len bytes, at most TI_MAX_TAG_SIZE, there?  Takes the same time whatever they are. */
bool ti_tag_cache_holds(const struct ti_tag_pin *pin, size_t offset, const uint8_t *tag,
			size_t len);

/** Is the medium as new as memory in [offset, offset + len)?  len > 0.  io path. */
bool ti_tag_cache_settled(struct ti_tag_cache *cache, uint64_t offset, size_t len);

/** Write the pin's lines again as they are: the medium has lost them.  io path. */
void ti_tag_cache_rewrite(struct ti_tag_cache *cache, struct ti_tag_pin *pin);

/** Set all pinned bytes; the lines become dirty.  io path. */
void ti_tag_cache_store(struct ti_tag_cache *cache, struct ti_tag_pin *pin, const uint8_t *tags);

/** Set all pinned bytes to @byte; the lines become dirty.  io path. */
void ti_tag_cache_fill(struct ti_tag_cache *cache, struct ti_tag_pin *pin, uint8_t byte);

/**
 * How many of the pinned tags, of @tag_size bytes, from the one with number @from on are alike: the
 * discard filler (*@filler), or not?  io path.
 */
size_t ti_tag_cache_alike(const struct ti_tag_pin *pin, size_t tag_size, size_t from, bool *filler);

/**
 * Write out all that is dirty at this moment; done() is called when it has been written (not
 * flushed), at the earliest from the queue's next run().  Returns false, without calling done(), if
 * there was nothing to do.  One at a time.  io path.
 */
bool ti_tag_cache_sync(struct ti_tag_cache *cache, struct ti_tag_sync *sync);

/** Start writing back, in the background, lines that were dirty at the previous call already. */
void ti_tag_cache_tick(struct ti_tag_cache *cache);

bool ti_tag_cache_dirty(const struct ti_tag_cache *cache);
/** No read or write is under way. */
bool ti_tag_cache_idle(const struct ti_tag_cache *cache);
void ti_tag_cache_get_stats(const struct ti_tag_cache *cache, struct ti_tag_cache_stats *stats);

#endif
