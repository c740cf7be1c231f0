/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Verdicts, block by block, merged into ranges.
 *
 * A chunk whose reads succeeded is hashed as a whole and compared at once; only when that
 * differs are single blocks looked at.  A chunk with a failed read is read again in ever smaller
 * pieces until the unreadable ones are as small as the device's logical blocks, so that one bad
 * sector does not hide the megabyte around it.
 */
#include "check.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "sweep.h"
#include "tag_cache.h"

/* The first step from a chunk towards its unreadable blocks. */
#define PIECE_BYTES ((size_t)64 << 10)

/*
 * So many single reads are spent on finding unreadable places exactly.  A device that has died
 * altogether would else be asked for every block, each answer possibly taking seconds; from then
 * on whole pieces are called unreadable.
 */
#define SMALL_READS_MAX 65536

/* A block's verdict while its chunk is worked on: a kind, or this. */
#define GOOD UINT8_MAX

struct check {
	bool allow_discards;
	struct ti_queue *q;
	const struct ti_geometry *geo;
	struct ti_hash hash;
	struct ti_check_report *report;
	uint8_t *expected; /* tags of one chunk */
	uint8_t *verdict;  /* one per block of a chunk */
	size_t blocks_max; /* room in the two above */
	const struct ti_journal_overlay *overlay;
	const struct ti_unsettled *unsettled; /* NULL: there are none */
	uint64_t small_reads;
	struct ti_check_range open; /* the range that may still grow; sectors 0: none */
};

/* ---- ranges ---- */

static void close_range(struct check *c)
{
	struct ti_check_report *r = c->report;

	if (!c->open.sectors)
		return;
	r->ranges[c->open.kind]++;
	if (r->listed < r->list_max)
		r->list[r->listed++] = c->open;
	c->open.sectors = 0;
}

static void add_bad_block(struct check *c, enum ti_check_kind kind, uint64_t block)
{
	uint64_t sector = block * c->geo->sectors_per_block;

	c->report->bad_sectors[kind] += c->geo->sectors_per_block;
	if (c->open.sectors && c->open.kind == kind && c->open.sector + c->open.sectors == sector) {
		c->open.sectors += c->geo->sectors_per_block;
		return;
	}
	close_range(c);
	c->open = (struct ti_check_range){
		.kind = kind,
		.sector = sector,
		.sectors = c->geo->sectors_per_block,
	};
}

/* ---- unreadable places ---- */

/* Mark the blocks whose data (or tags) lie in @len bytes at @at of the chunk's data (or tags). */
static void mark(struct check *c, const struct ti_sweep_chunk *chunk, enum ti_device dev, size_t at,
		 size_t len)
{
	size_t unit = dev == TI_DATA ? c->geo->block_size : c->geo->tag_size;
	size_t end = (at + len - 1) / unit + 1;

	if (end > chunk->blocks)
		end = chunk->blocks;
	for (size_t block = at / unit; block < end; block++) {
		if (c->verdict[block] == GOOD)
			c->verdict[block] =
				dev == TI_DATA ? TI_CHECK_DATA_UNREADABLE : TI_CHECK_TAG_UNREADABLE;
	}
}

/* Read a chunk's data or tags again, piece by piece, and mark what cannot be read. */
static void find_unreadable(struct check *c, const struct ti_sweep_chunk *chunk, enum ti_device dev)
{
	size_t total = dev == TI_DATA ? chunk->data_len : chunk->tag_len;
	uint64_t base = dev == TI_DATA ? chunk->data_offset : chunk->tag_offset;
	uint8_t *buf = dev == TI_DATA ? chunk->data : chunk->tags;
	size_t smallest = c->q->dev[dev].logical_block_size;
	size_t piece, small;

	for (size_t at = 0; at < total; at += piece) {
		piece = total - at < PIECE_BYTES ? total - at : PIECE_BYTES;
		if (!ti_queue_sync(c->q, TI_IO_READ, dev, base + at, buf + at, piece))
			continue;
		if (c->small_reads >= SMALL_READS_MAX) {
			mark(c, chunk, dev, at, piece);
			continue;
		}
		for (size_t in = 0; in < piece; in += small) {
			small = smallest;
			assert(in + small <= piece);
			c->small_reads++;
			if (ti_queue_sync(c->q, TI_IO_READ, dev, base + at + in, buf + at + in,
					  small))
				mark(c, chunk, dev, at + in, small);
		}
	}
}

/* ---- tags ---- */

static bool all_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i])
			return false;
	}
	return true;
}

static void compare_blocks(struct check *c, const struct ti_sweep_chunk *chunk)
{
	size_t tag_size = c->geo->tag_size;

	for (size_t i = 0; i < chunk->blocks; i++) {
		const uint8_t *found = chunk->tags + i * tag_size;

		if (c->verdict[i] != GOOD ||
		    ti_secret_equal(found, c->expected + i * tag_size, tag_size))
			continue;
		c->verdict[i] = ti_tag_is_filler(found, tag_size) ? TI_CHECK_DISCARDED
				: all_zero(found, tag_size)	  ? TI_CHECK_NEVER_WRITTEN
								  : TI_CHECK_MISMATCH;
	}
}

/* What nobody vouches for is neither good nor bad. */
static void doubt(struct check *c, const struct ti_sweep_chunk *chunk)
{
	for (size_t i = 0; c->unsettled != NULL && i < chunk->blocks; i++) {
		if (c->verdict[i] != TI_CHECK_DATA_UNREADABLE &&
		    c->verdict[i] != TI_CHECK_TAG_UNREADABLE &&
		    ti_unsettled_has(c->unsettled, chunk->first_block + i))
			c->verdict[i] = TI_CHECK_UNSETTLED;
	}
}

static int visit(void *ctx, const struct ti_sweep_chunk *chunk)
{
	struct check *c = ctx;
	struct iovec flat = { .iov_base = chunk->data,
			      .iov_len = chunk->blocks * c->geo->block_size };
	struct ti_iov_cursor cursor = ti_iov_cursor(&flat, 1);
	bool failed = chunk->data_failed || chunk->tags_failed;

	assert(chunk->blocks <= c->blocks_max);
	memset(c->verdict, GOOD, chunk->blocks);
	if (chunk->data_failed)
		find_unreadable(c, chunk, TI_DATA);
	if (chunk->tags_failed)
		find_unreadable(c, chunk, TI_META);
	ti_hash_blocks(&c->hash, chunk->first_block * c->geo->sectors_per_block, &cursor,
		       chunk->blocks, c->expected);
	c->report->checked_sectors += chunk->blocks * c->geo->sectors_per_block;
	if (!failed && c->unsettled == NULL &&
	    ti_secret_equal(c->expected, chunk->tags, chunk->blocks * c->geo->tag_size))
		return 0;
	compare_blocks(c, chunk);
	doubt(c, chunk);
	for (size_t i = 0; i < chunk->blocks; i++) {
		if (c->verdict[i] == TI_CHECK_DISCARDED && c->allow_discards)
			c->report->bad_sectors[TI_CHECK_DISCARDED] += c->geo->sectors_per_block;
		else if (c->verdict[i] != GOOD &&
			 !(c->overlay &&
			   ti_journal_overlay_has(c->overlay, chunk->first_block + i)))
			add_bad_block(c, (enum ti_check_kind)c->verdict[i], chunk->first_block + i);
	}
	return 0;
}

int ti_check(struct ti_queue *q, const struct ti_geometry *geo,
	     const struct ti_check_options *options, struct ti_check_report *report,
	     struct ti_error *error)
{
	struct check c = { .q = q,
			   .geo = geo,
			   .report = report,
			   .overlay = options->overlay,
			   .allow_discards = options->allow_discards };
	const struct ti_sweep_options sweep = {
		.kind = TI_SWEEP_VERIFY,
		.visit = visit,
		.ctx = &c,
		.progress = options->progress,
	};
	int err;

	report->listed = 0;
	report->checked_sectors = 0;
	memset(report->bad_sectors, 0, sizeof(report->bad_sectors));
	memset(report->ranges, 0, sizeof(report->ranges));

	err = ti_hash_prepare(&c.hash, options->hash, options->hash_key, geo, options->salt, error);
	if (err)
		return err;
	if (options->unsettled && ti_unsettled_any(options->unsettled))
		c.unsettled = options->unsettled;
	c.blocks_max = ti_sweep_chunk_blocks(q, geo, sweep.kind);
	c.expected = malloc(c.blocks_max * geo->tag_size);
	c.verdict = malloc(c.blocks_max);
	if (c.expected && c.verdict) {
		err = ti_sweep(q, geo, &c.hash, &sweep, error);
		close_range(&c);
	} else {
		err = ti_error_set(error, -ENOMEM, "there is no memory for buffers");
	}
	free(c.verdict);
	free(c.expected);
	ti_hash_destroy(&c.hash);
	return err;
}
