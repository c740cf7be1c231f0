/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* What tag_cache.c and tag_writeback.c share; nobody else includes this. */
#ifndef TI_TAG_CACHE_INTERNAL_H
#define TI_TAG_CACHE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "tag_cache.h"

/* Most lines in one write, writes under way at once, and copies of lines for all of them. */
#define WRITEBACK_LINES 64U
#define WRITEBACK_OPS	64U
#define WRITEBACK_PAGES 512U

enum line_state { LINE_FREE, LINE_LOADING, LINE_EMPTY, LINE_VALID, LINE_FAILED };

struct ti_tag_line {
	struct ti_tag_cache *cache;
	uint64_t index; /* of the line in the tag area */
	uint8_t *data;
	enum line_state state;
	unsigned pins;
	bool dirty;	      /* newer than the device */
	bool writing;	      /* a copy is on its way to the device */
	uint64_t dirty_seq;   /* when it became dirty; the oldest change not yet written */
	uint64_t writing_seq; /* dirty_seq of the copy on its way */
	struct ti_tag_line *table_next;
	TAILQ_ENTRY(ti_tag_line) lru;	/* the clean list */
	TAILQ_ENTRY(ti_tag_line) dlink; /* the dirty list */
	unsigned run;			/* lines that io reads, this one first */
	struct ti_io io;
};

TAILQ_HEAD(tag_line_list, ti_tag_line);
TAILQ_HEAD(tag_pin_list, ti_tag_pin);

struct writeback {
	struct ti_tag_cache *cache;
	unsigned lines;
	uint64_t oldest_seq;
	struct ti_tag_line *line[WRITEBACK_LINES];
	struct iovec vec[WRITEBACK_LINES];
	struct ti_io io;
	TAILQ_ENTRY(writeback) link;
};

TAILQ_HEAD(writeback_list, writeback);

struct ti_tag_cache {
	struct ti_queue *queue;
	uint64_t area_offset;
	uint64_t area_bytes; /* of tags */
	size_t filler_tag_size;
	uint64_t area_on_disk; /* rounded up to whole lines, or to the device's end */
	void (*wrote)(void *ctx, int result);
	void *ctx;

	struct ti_tag_line **table;
	unsigned table_shift;
	struct ti_tag_line *lines;
	uint8_t *data;
	struct ti_tag_store *store; /* data is its; NULL: data is ours */
	size_t line_count, table_bytes, lines_bytes, data_bytes;

	struct tag_line_list clean; /* free ones first, then least recently used first */
	size_t available;	    /* lines on it */
	struct tag_line_list dirty; /* by dirty_seq */
	size_t dirty_lines;
	uint64_t seq; /* of the latest change */

	struct tag_pin_list waiting; /* for room */
	struct tag_pin_list loading;
	unsigned io_under_way; /* reads */

	struct writeback *ops;
	uint8_t *pages;
	uint8_t **free_page;
	size_t free_pages, ops_bytes, pages_bytes, free_page_bytes;
	struct writeback_list free_ops, busy_ops;
	unsigned writes_under_way;
	uint64_t background_target; /* write what became dirty up to here */
	uint64_t tick_seq;
	struct ti_tag_sync *sync;

	struct ti_tag_cache_stats stats;
};

/* tag_cache.c */
struct ti_tag_line *ti_tag_line_find(struct ti_tag_cache *c, uint64_t index);
size_t ti_tag_line_bytes(const struct ti_tag_cache *c, uint64_t index);
void ti_tag_line_park(struct ti_tag_cache *c, struct ti_tag_line *line);
/* Give waiting pins what they need, in order.  True if some still wait for room. */
bool ti_tag_cache_serve_waiting(struct ti_tag_cache *c);
void ti_tag_cache_fail_waiting(struct ti_tag_cache *c, int error);

/* tag_writeback.c */
int ti_tag_writeback_open(struct ti_tag_cache *c, bool *locked);
void ti_tag_writeback_close(struct ti_tag_cache *c);
void ti_tag_line_dirty(struct ti_tag_cache *c, struct ti_tag_line *line);
void ti_tag_writeback_make_room(struct ti_tag_cache *c);
void ti_tag_writeback_balance(struct ti_tag_cache *c);

#endif
