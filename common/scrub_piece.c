/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * One piece of a scrub: read it, judge it.
 *
 * First the blocks are compared with the tags on the medium.  Most pieces end there.  Where one
 * differs the tag cache is asked, which may know a newer tag, or the right one.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "journal.h"
#include "lun_internal.h"
#include "scrub_internal.h"
#include "secret.h"

static size_t blocks_of(const struct ti_scrub *s)
{
	return (size_t)(s->piece_sectors / s->lun->geo.sectors_per_block);
}

static uint64_t tag_offset(const struct ti_scrub *s)
{
	const struct ti_geometry *geo = &s->lun->geo;

	return s->report.sector / geo->sectors_per_block * geo->tag_size;
}

static bool is_skipped(const struct ti_scrub *s, size_t n)
{
	return s->skip[n / 8] >> (n % 8) & 1;
}

/* The piece has been gone through. */
static void count(struct ti_scrub *s)
{
	size_t blocks = blocks_of(s), skipped = 0;

	for (size_t n = 0; n < blocks; n++)
		skipped += is_skipped(s, n);
	s->report.skipped_sectors += skipped * s->lun->geo.sectors_per_block;
	s->report.verified_sectors += (blocks - skipped) * s->lun->geo.sectors_per_block;
}

/* ---- reading ---- */

/* What of the piece the medium cannot vouch for.  Returns true if that is all of it. */
static bool mark_skipped(struct ti_scrub *s)
{
	const struct ti_lun *lun = s->lun;
	uint64_t block = s->report.sector / lun->geo.sectors_per_block;
	size_t blocks = blocks_of(s), skipped = 0;

	memset(s->skip, s->unchecked ? 0xff : 0, s->skip_bytes);
	if (s->unchecked)
		return true;
	if (lun->journal == NULL || lun->journal->used_entries == 0)
		return false;
	for (size_t n = 0; n < blocks; n++) {
		if (ti_journal_find(lun->journal, block + n) == NULL)
			continue;
		s->skip[n / 8] |= (uint8_t)(1U << (n % 8));
		skipped++;
	}
	return skipped == blocks;
}

static void io_done(struct ti_io *io)
{
	struct ti_scrub *s = io->owner;

	assert(s->pending > 0);
	if (--s->pending == 0)
		s->step = TI_SCRUB_READ;
}

static void submit(struct ti_scrub *s, struct ti_io *io, struct iovec *iov, enum ti_device dev,
		   uint64_t offset, void *buf, size_t len)
{
	*iov = (struct iovec){ .iov_base = buf, .iov_len = len };
	*io = (struct ti_io){ .op = TI_IO_READ,
			      .dev = dev,
			      .offset = offset,
			      .len = len,
			      .iov = iov,
			      .iov_count = 1,
			      .done = io_done,
			      .owner = s };
	s->pending++;
	ti_queue_submit(s->lun->queue, io);
}

/* The tags with what lies beside them in the device's logical blocks. */
static void read_tags(struct ti_scrub *s)
{
	const struct ti_lun *lun = s->lun;
	uint64_t unit = lun->queue->dev[TI_META].logical_block_size;
	uint64_t from = lun->geo.tag_offset + tag_offset(s);
	uint64_t end = from + blocks_of(s) * lun->geo.tag_size;

	s->medium_skip = (size_t)(from % unit);
	from -= s->medium_skip;
	end += (unit - end % unit) % unit;
	assert(end - from <= s->medium_bytes);
	submit(s, &s->tag_io, &s->tag_iov, TI_META, from, s->medium, (size_t)(end - from));
}

void ti_scrub_read_piece(struct ti_scrub *s)
{
	struct ti_lun *lun = s->lun;
	bool nothing = mark_skipped(s);

	s->piece_began_ns = ti_clock_now(lun->clock);
	s->submitted_before = lun->submitted;
	if (nothing) {
		count(s);
		ti_scrub_end_piece(s, TI_SCRUB_LOOKED_AT);
		return;
	}
	/* Before the reads: what becomes newer in memory afterwards are others' tags. */
	s->settled =
		ti_tag_cache_settled(lun->cache, tag_offset(s), blocks_of(s) * lun->geo.tag_size);
	s->step = TI_SCRUB_ON_DEVICE;
	s->pending = 0;
	submit(s, &s->data_io, &s->data_iov, TI_DATA, s->report.sector * TI_SECTOR_BYTES, s->data,
	       (size_t)s->piece_sectors * TI_SECTOR_BYTES);
	read_tags(s);
}

/* ---- judging ---- */

/* Put blocks into the list of bad ones: it is in ascending order, and neighbours are one place. */
static void note(struct ti_scrub *s, enum ti_scrub_kind kind, uint64_t sector, uint64_t sectors)
{
	struct ti_scrub_report *r = &s->report;
	bool grows =
		s->counting && s->last.kind == kind && s->last.sector + s->last.sectors == sector;

	r->bad_sectors[kind] += sectors;
	if (grows) {
		s->last.sectors += sectors;
		/* It may be one that is not listed. */
		if (r->listed > 0 && r->bad[r->listed - 1].sector == s->last.sector)
			r->bad[r->listed - 1] = s->last;
		return;
	}
	s->counting = true;
	s->last = (struct ti_scrub_bad){ .sector = sector, .sectors = sectors, .kind = kind };
	r->ranges++;
	if (r->listed < TI_SCRUB_BAD_MAX)
		r->bad[r->listed++] = s->last;
}

static void unreadable(struct ti_scrub *s)
{
	struct ti_lun *lun = s->lun;
	bool data = s->data_io.result != 0;
	uint64_t unit = lun->io_align / TI_SECTOR_BYTES;

	if (s->piece_sectors <= unit) {
		note(s, data ? TI_SCRUB_DATA_UNREADABLE : TI_SCRUB_TAG_UNREADABLE, s->report.sector,
		     s->piece_sectors);
		ti_lun_io_error(lun, data ? TI_DATA : TI_META, "scrub", s->report.sector,
				data ? s->data_io.result : s->tag_io.result);
	}
	ti_scrub_end_piece(s, TI_SCRUB_UNREADABLE);
}

static const uint8_t *medium_tag(const struct ti_scrub *s, size_t n)
{
	return s->medium + s->medium_skip + n * s->lun->geo.tag_size;
}

static bool matches_medium(const struct ti_scrub *s, size_t n)
{
	size_t size = s->lun->geo.tag_size;

	return ti_secret_equal(medium_tag(s, n), s->tags + n * size, size) ||
	       (s->lun->allow_discards && ti_tag_is_filler(medium_tag(s, n), size));
}

static void pinned(struct ti_tag_pin *pin)
{
	struct ti_scrub *s = pin->owner;

	s->step = TI_SCRUB_PINNED;
}

static void ask_cache(struct ti_scrub *s)
{
	s->step = TI_SCRUB_PINNING;
	s->pin.offset = tag_offset(s);
	s->pin.len = blocks_of(s) * s->lun->geo.tag_size;
	s->pin.overwrite = false;
	s->pin.ready = pinned;
	s->pin.owner = s;
	if (ti_tag_cache_pin(s->lun->cache, &s->pin))
		s->step = TI_SCRUB_PINNED;
}

void ti_scrub_judge(struct ti_scrub *s)
{
	struct ti_lun *lun = s->lun;
	size_t blocks = blocks_of(s), n = 0;
	struct ti_iov_cursor cursor = ti_iov_cursor(&s->data_iov, 1);

	if (s->data_io.result != 0 || s->tag_io.result != 0) {
		unreadable(s);
		return;
	}
	ti_lun_hash(lun, s->report.sector, &cursor, blocks, s->tags);
	if (!ti_secret_equal(medium_tag(s, 0), s->tags, blocks * lun->geo.tag_size))
		while (n < blocks && (is_skipped(s, n) || matches_medium(s, n)))
			n++;
	else
		n = blocks;
	if (n < blocks) {
		ask_cache(s);
		return;
	}
	count(s);
	ti_scrub_end_piece(s, TI_SCRUB_LOOKED_AT);
}

/* A run of blocks of one kind, from block @n of the piece on. */
static void found(struct ti_scrub *s, enum ti_scrub_kind kind, size_t n, size_t blocks)
{
	struct ti_lun *lun = s->lun;
	uint64_t sector = s->report.sector + n * lun->geo.sectors_per_block;

	note(s, kind, sector, blocks * lun->geo.sectors_per_block);
	if (kind == TI_SCRUB_MISMATCH)
		ti_lun_mismatch(lun, TI_SOURCE_SCRUB, sector, blocks, medium_tag(s, n),
				s->tags + n * lun->geo.tag_size);
	else
		ti_lun_tag_decayed(lun, sector, blocks, !lun->read_only);
}

/* Is the tag that is in memory block @n's, or a discarded block's? */
static bool matches_memory(const struct ti_scrub *s, size_t n)
{
	size_t size = s->lun->geo.tag_size;
	uint8_t filler[TI_MAX_TAG_SIZE];

	if (ti_tag_cache_holds(&s->pin, n * size, s->tags + n * size, size))
		return true;
	memset(filler, TI_DISCARD_FILLER, size);
	return s->lun->allow_discards && ti_tag_cache_holds(&s->pin, n * size, filler, size);
}

/* How does block @n stand?  TI_SCRUB_KINDS: well. */
static enum ti_scrub_kind verdict_of(const struct ti_scrub *s, size_t n)
{
	if (is_skipped(s, n) || matches_medium(s, n))
		return TI_SCRUB_KINDS;
	if (!matches_memory(s, n))
		return TI_SCRUB_MISMATCH;
	/* The one in memory is right.  If it was newer, the medium is yet to get it. */
	return s->settled ? TI_SCRUB_TAG_DECAYED : TI_SCRUB_KINDS;
}

void ti_scrub_judge_again(struct ti_scrub *s)
{
	struct ti_lun *lun = s->lun;
	size_t blocks = blocks_of(s), first = 0;
	enum ti_scrub_kind kind = TI_SCRUB_KINDS;
	bool decayed = false;

	if (s->pin.error != 0) {
		/* The reads of a moment ago were good: once more, in small pieces. */
		s->tag_io.result = s->pin.error;
		ti_tag_cache_unpin(lun->cache, &s->pin);
		unreadable(s);
		return;
	}
	for (size_t n = 0; n <= blocks; n++) {
		enum ti_scrub_kind here = n < blocks ? verdict_of(s, n) : TI_SCRUB_KINDS;

		if (here == kind)
			continue;
		if (kind != TI_SCRUB_KINDS)
			found(s, kind, first, n - first);
		decayed |= kind == TI_SCRUB_TAG_DECAYED;
		first = n;
		kind = here;
	}
	if (decayed && !lun->read_only) {
		/* As they are in memory: the next flush brings them to the medium. */
		ti_tag_cache_rewrite(lun->cache, &s->pin);
		ti_flusher_completed_write(&lun->flusher);
	}
	ti_tag_cache_unpin(lun->cache, &s->pin);
	count(s);
	ti_scrub_end_piece(s, TI_SCRUB_LOOKED_AT);
}
