/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See recalc.h.  recalc_save.c keeps the superblock up to date, recalc_suspect.c tells what is bad
 * from a device that does not answer. */
#include "recalc.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bitmap.h"
#include "journal.h"
#include "lun_internal.h"
#include "memory.h"
#include "tag_store.h"

#define PIECE_BYTES (256U << 10)
/* While others work, so much time is spent on resting for each part that a piece takes. */
#define REST_FACTOR 3U
#define REST_MAX_NS (200 * TI_NS_PER_MS)
/* After an error of the metadata device. */
#define RETRY_NS (1000 * TI_NS_PER_MS)

static uint64_t unit_sectors(const struct ti_lun *lun)
{
	return lun->io_align / TI_SECTOR_BYTES;
}

static struct ti_bit_range regions(const struct ti_recalc *r, uint64_t sector, uint64_t sectors)
{
	return ti_bits_of(&r->lun->geo, r->log2_blocks, sector, sectors);
}

/* The first sector of a region; the end for the one behind the last. */
static uint64_t region_sector(const struct ti_recalc *r, uint64_t region)
{
	uint64_t sector = (region << r->log2_blocks) * r->lun->geo.sectors_per_block;

	return sector < r->end ? sector : r->end;
}

uint64_t ti_recalc_alike(const struct ti_lun *lun, uint64_t sector, uint64_t sectors, bool *trusted)
{
	const struct ti_recalc *r = &lun->recalc;
	uint64_t unit = unit_sectors(lun), alike, found;
	struct ti_bit_range range;

	*trusted = true;
	if (!r->active || sector + sectors <= r->sector)
		return sectors;
	if (sector < r->sector)
		return r->sector - sector;
	*trusted = false;
	if (r->bits == NULL)
		return sectors;
	range = regions(r, sector, sectors);
	*trusted = !ti_bit(r->bits, range.first);
	found = ti_bits_find(r->bits, range, *trusted);
	if (found == range.end)
		return sectors;
	alike = region_sector(r, found) - sector;
	if (alike % unit == 0)
		return alike;
	/* A region may end inside of what the data device reads at once: doubt wins. */
	if (*trusted && alike > unit)
		return alike - alike % unit;
	*trusted = false;
	return alike + unit - alike % unit;
}

/* ---- where to go on ---- */

/* Set `sector` to the next one that is to be looked at: the end, if there is none. */
static void go_on(struct ti_recalc *r)
{
	uint64_t dirty;

	if (r->bits == NULL || r->sector >= r->end || r->sector < r->chunk_end)
		return;
	dirty = ti_bits_find(r->bits, regions(r, r->sector, r->end - r->sector), true);
	dirty = region_sector(r, dirty);
	if (dirty >= r->end) {
		r->sector = r->end;
		return;
	}
	r->chunk_end = (dirty / TI_RECALC_CHUNK + 1) * TI_RECALC_CHUNK;
	if (dirty - dirty % TI_RECALC_CHUNK > r->sector)
		r->sector = dirty - dirty % TI_RECALC_CHUNK;
}

static void log_progress(struct ti_recalc *r)
{
	unsigned tenths = (unsigned)(r->sector / (r->end / 10 + 1));

	if (tenths <= r->tenths_logged)
		return;
	r->tenths_logged = tenths;
	ti_log(&r->lun->log, TI_LOG_INFO,
	       "recalculation goes on sector=%" PRIu64 " of=%" PRIu64 " mismatches=%" PRIu64,
	       r->sector, r->end, r->mismatches);
}

/* Is a dirty region left behind the sector? */
static bool any_left(const struct ti_recalc *r)
{
	return r->sector < r->end &&
	       ti_bits_any(r->bits, regions(r, r->sector, r->end - r->sector));
}

/* The piece's blocks are done. */
static void advance(struct ti_recalc *r)
{
	uint64_t from = r->sector, to = from + r->piece_sectors;
	struct ti_bit_range done = { 0, 0 };

	if (r->bits != NULL)
		done = regions(r, from, r->piece_sectors);
	/* Regions that end behind the piece are not done. */
	if (r->bits != NULL && region_sector(r, done.end) > to)
		done.end--;
	r->sector = to;
	/* The last one's bit stays until the superblock says that all is done. */
	if (r->bits != NULL && !r->trusted && any_left(r))
		ti_bits_clear(r->bits, done);
	go_on(r);
	log_progress(r);
}

/* ---- a piece ---- */

static void arrived(struct ti_recalc *r)
{
	assert(r->pending > 0);
	if (--r->pending == 0)
		r->state = TI_RECALC_READ;
}

static void data_read(struct ti_io *io)
{
	arrived(io->owner);
}

static void tags_pinned(struct ti_tag_pin *pin)
{
	arrived(pin->owner);
}

/* Read the piece's length from @sector on; @pending: what is waited for in all. */
static void read_data(struct ti_recalc *r, uint64_t sector, unsigned pending)
{
	struct ti_lun *lun = r->lun;
	size_t len = (size_t)r->piece_sectors * TI_SECTOR_BYTES;

	r->state = TI_RECALC_ON_DEVICE;
	r->piece_began_ns = ti_clock_now(lun->clock);
	r->submitted_before = lun->submitted;
	r->pending = pending;
	r->iov = (struct iovec){ .iov_base = r->data, .iov_len = len };
	r->io = (struct ti_io){ .op = TI_IO_READ,
				.dev = TI_DATA,
				.offset = sector * TI_SECTOR_BYTES,
				.len = len,
				.iov = &r->iov,
				.iov_count = 1,
				.done = data_read,
				.owner = r };
	ti_queue_submit(lun->queue, &r->io);
}

static void read_piece(struct ti_recalc *r)
{
	struct ti_lun *lun = r->lun;
	const struct ti_geometry *geo = &lun->geo;
	size_t len = (size_t)r->piece_sectors * TI_SECTOR_BYTES;

	r->looking = false;
	read_data(r, r->sector, 2);
	r->pin.offset = r->sector / geo->sectors_per_block * geo->tag_size;
	r->pin.len = len / geo->block_size * geo->tag_size;
	r->pin.overwrite = !r->trusted;
	r->pin.ready = tags_pinned;
	r->pin.owner = r;
	if (ti_tag_cache_pin(lun->cache, &r->pin))
		arrived(r);
}

static void data_rewritten(struct ti_io *io)
{
	struct ti_recalc *r = io->owner;

	if (!io->fua || io->result != 0)
		ti_flusher_wrote(&r->lun->flusher, TI_DATA);
	r->state = TI_RECALC_REWRITTEN;
}

/* The range is held: nobody else writes there.  False if the piece is not to be written back. */
static bool write_back(struct ti_recalc *r)
{
	struct ti_lun *lun = r->lun;

	if (!r->rewrite || r->trusted || r->io.result != 0 || r->pin.error != 0)
		return false;
	r->state = TI_RECALC_REWRITING;
	r->io = (struct ti_io){ .op = TI_IO_WRITE,
				.dev = TI_DATA,
				.fua = ti_device_writes_through(&lun->queue->dev[TI_DATA]),
				.offset = r->io.offset,
				.len = r->io.len,
				.iov = &r->iov,
				.iov_count = 1,
				.done = data_rewritten,
				.owner = r };
	ti_queue_submit(lun->queue, &r->io);
	return true;
}

static void granted(struct ti_range *range)
{
	struct ti_recalc *r =
		(struct ti_recalc *)((char *)range - offsetof(struct ti_recalc, range));

	r->state = TI_RECALC_LOCKED;
}

static void begin_piece(struct ti_recalc *r)
{
	uint64_t most = r->end - r->sector;

	if (most > r->piece_max)
		most = r->piece_max;
	if (r->bits != NULL && most > r->chunk_end - r->sector)
		most = r->chunk_end - r->sector;
	if (r->sector < r->small_until)
		most = unit_sectors(r->lun);
	r->piece_sectors = ti_recalc_alike(r->lun, r->sector, most, &r->trusted);
	r->range = (struct ti_range){ .first = r->sector,
				      .end = r->sector + r->piece_sectors,
				      .granted = granted };
	r->state = TI_RECALC_LOCKING;
	if (ti_range_lock(&r->lun->ranges, &r->range))
		r->state = TI_RECALC_LOCKED;
}

/* A write-out that has failed may have left one of a block's data and tag: until it is tried again
 * the journal has what counts, and there is nothing to verify. */
static void pass_over_the_journals(struct ti_recalc *r, size_t blocks)
{
	const struct ti_lun *lun = r->lun;
	uint64_t first = r->sector / lun->geo.sectors_per_block;
	size_t size = lun->geo.tag_size;

	for (size_t n = 0; lun->policy->elsewhere != NULL && n < blocks; n++)
		if (lun->policy->elsewhere(lun, first + n))
			ti_tag_cache_fetch(&r->pin, n * size, size, r->tags + n * size);
}

static void verify(struct ti_recalc *r, size_t blocks)
{
	const struct ti_geometry *geo = &r->lun->geo;
	size_t first = 0, bad, size = geo->tag_size;
	uint8_t stored[TI_MAX_TAG_SIZE];

	pass_over_the_journals(r, blocks);
	bad = ti_tag_cache_compare(&r->pin, r->tags, size, blocks, &first);
	if (bad == 0)
		return;
	r->mismatches += bad;
	ti_tag_cache_fetch(&r->pin, first * size, size, stored);
	ti_lun_mismatch(r->lun, TI_SOURCE_RECALCULATION, r->sector + first * geo->sectors_per_block,
			bad, stored, r->tags + first * size);
}

static void settle_piece(struct ti_recalc *r)
{
	struct ti_lun *lun = r->lun;
	struct ti_iov_cursor cursor = ti_iov_cursor(&r->iov, 1);
	size_t blocks = (size_t)(r->piece_sectors / lun->geo.sectors_per_block);

	ti_lun_hash(lun, r->sector, &cursor, blocks, r->tags);
	if (r->trusted) {
		verify(r, blocks);
		return;
	}
	ti_tag_cache_store(lun->cache, &r->pin, r->tags);
	ti_flusher_completed_write(&lun->flusher);
	if (lun->bitmap != NULL)
		ti_bitmap_touch(lun->bitmap, r->sector, r->piece_sectors);
	r->done_sectors += r->piece_sectors;
	ti_scrub_mended(lun, r->sector, r->piece_sectors);
}

/* Give way to others, and keep to the rate. */
static void rest(struct ti_recalc *r, uint64_t now)
{
	struct ti_lun *lun = r->lun;
	uint64_t took = now - r->piece_began_ns, ns = 0, due;

	if (lun->submitted != r->submitted_before || lun->slots_busy > 0)
		ns = took * REST_FACTOR < REST_MAX_NS ? took * REST_FACTOR : REST_MAX_NS;
	if (r->rate != 0) {
		due = r->piece_sectors * TI_SECTOR_BYTES * TI_NS_PER_SEC / r->rate;
		if (due > took && due - took > ns)
			ns = due - took;
	}
	/* Also if it is not to rest: the next piece waits for a tick, so that whoever is inside
	 * the engine leaves it first, however fast the devices are. */
	r->rest_until_ns = now + ns + 1;
}

/* The blocks could not be read: one by one, so that a bad one costs only itself its tag. */
static void read_failed(struct ti_recalc *r)
{
	if (r->piece_sectors > unit_sectors(r->lun))
		r->small_until = r->sector + r->piece_sectors;
	else
		ti_recalc_suspect(r);
}

/* A look at a unit changes nothing, and needs no range. */
static void begin_look(struct ti_recalc *r)
{
	r->piece_sectors = unit_sectors(r->lun);
	r->looking = true;
	read_data(r, ti_recalc_look_at(r), 1);
}

/* The next @units are bad, one as the other: they keep their tags. */
static void pass_by(struct ti_recalc *r, unsigned units)
{
	while (units-- > 0) {
		r->piece_sectors =
			ti_recalc_alike(r->lun, r->sector, unit_sectors(r->lun), &r->trusted);
		ti_lun_io_error(r->lun, TI_DATA, "recalculation", r->sector, r->suspect_error);
		r->unreadable += r->piece_sectors;
		advance(r);
	}
}

static void end_look(struct ti_recalc *r)
{
	uint64_t now = ti_clock_now(r->lun->clock);

	r->state = TI_RECALC_IDLE;
	rest(r, now);
	pass_by(r, ti_recalc_looked(r, now));
}

static void end_piece(struct ti_recalc *r)
{
	struct ti_lun *lun = r->lun;
	uint64_t now = ti_clock_now(lun->clock);
	int pin_error = r->pin.error;

	if (pin_error == 0 && r->io.result == 0)
		settle_piece(r);
	ti_tag_cache_unpin(lun->cache, &r->pin);
	ti_range_unlock(&lun->ranges, &r->range);
	r->state = TI_RECALC_IDLE;
	rest(r, now);
	if (pin_error != 0) {
		ti_lun_io_error(lun, TI_META, "tags", r->sector, pin_error);
		r->rest_until_ns = now + RETRY_NS;
	} else if (r->io.result != 0 && r->io.op == TI_IO_WRITE) {
		ti_lun_io_error(lun, TI_DATA, "recalculation", r->sector, r->io.result);
		r->rest_until_ns = now + RETRY_NS;
	} else if (r->io.result != 0) {
		read_failed(r);
		return; /* a save's flush would be one more thing that may fail */
	} else {
		ti_recalc_no_suspect(r);
		advance(r);
	}
	ti_recalc_save_run(r, now);
}

/* ---- the outside ---- */

bool ti_recalc_run(struct ti_lun *lun)
{
	struct ti_recalc *r = &lun->recalc;

	if (!r->running)
		return false;
	switch (r->state) {
	case TI_RECALC_IDLE:
		if (r->stopping || r->rest_until_ns != 0)
			return false;
		if (r->sector >= r->end)
			return ti_recalc_save_run(r, r->saved_ns);
		/* It may be about to judge by tags that this piece would change. */
		if (!ti_scrub_idle(&lun->scrub))
			return false;
		if (r->suspects > 0)
			begin_look(r);
		else
			begin_piece(r);
		return true;
	case TI_RECALC_LOCKED:
		if (lun->journal != NULL && lun->journal->writeout_running)
			return false;
		read_piece(r);
		return true;
	case TI_RECALC_READ:
		if (r->looking)
			end_look(r);
		else if (!write_back(r))
			end_piece(r);
		return true;
	case TI_RECALC_REWRITTEN:
		end_piece(r);
		return true;
	case TI_RECALC_LOCKING:
	case TI_RECALC_ON_DEVICE:
	case TI_RECALC_REWRITING:
		break;
	}
	return false;
}

uint64_t ti_recalc_deadline(const struct ti_lun *lun)
{
	const struct ti_recalc *r = &lun->recalc;

	return r->running && r->rest_until_ns != 0 ? r->rest_until_ns : TI_CLOCK_NEVER;
}

void ti_recalc_tick(struct ti_lun *lun, uint64_t now)
{
	struct ti_recalc *r = &lun->recalc;

	if (!r->running || r->rest_until_ns == 0 || now < r->rest_until_ns)
		return;
	r->rest_until_ns = 0;
}

void ti_recalc_stop(struct ti_lun *lun)
{
	lun->recalc.stopping = true;
}

bool ti_recalc_idle(const struct ti_lun *lun)
{
	const struct ti_recalc *r = &lun->recalc;

	return r->state == TI_RECALC_IDLE && !r->saving;
}

bool ti_recalc_note(struct ti_lun *lun)
{
	struct ti_recalc *r = &lun->recalc;

	if (!r->active)
		return true;
	lun->sb.recalc_sector = r->sector >= r->end ? lun->geo.provided_sectors : r->sector;
	if (r->bits == NULL)
		return true;
	/* At the end only the last region's bit is left, and the tags are there. */
	return r->sector >= r->end ||
	       ti_bits_all(r->bits, regions(r, r->sector, r->end - r->sector));
}

void ti_recalc_mended(struct ti_lun *lun)
{
	struct ti_recalc *r = &lun->recalc;

	/* A read-only LUN's stands still. */
	if (r->bits == NULL && r->unreadable == 0 && !lun->read_only)
		ti_scrub_mended(lun, r->began, r->sector - r->began);
}

void ti_recalc_begin(struct ti_recalc *r)
{
	struct ti_lun *lun = r->lun;

	/* Behind it nothing can be read in whole units, nor be asked for. */
	r->end -= r->end % unit_sectors(lun);
	r->active = true;
	r->began = r->sector;
	r->saved_sector = r->sector;
	r->saved_ns = ti_clock_now(lun->clock);
	go_on(r);
	r->running = true;
	ti_log(&lun->log, TI_LOG_INFO,
	       "recalculation begins sector=%" PRIu64 " of=%" PRIu64 " regions=%s", r->sector,
	       r->end, r->bits != NULL ? "dirty" : "all");
}

/* With nothing to recalculate, nothing is made of what the data device may lose. */
static void settle_doubt(struct ti_recalc *r)
{
	struct ti_lun *lun = r->lun;

	if (!lun->inherited.doubt[TI_DATA])
		return;
	r->rewrite = r->active;
	if (r->rewrite)
		ti_log(&lun->log, TI_LOG_WARN,
		       "a flush failed when the pair was used last: blocks are written once more, "
		       "as they are found, when they are recalculated device=%s",
		       lun->queue->dev[TI_DATA].name);
	else if (lun->flusher.broken[TI_DATA] == 0)
		ti_tag_store_doubt(lun->store, TI_DATA, false);
}

int ti_recalc_open(struct ti_lun *lun, struct ti_error *error)
{
	struct ti_recalc *r = &lun->recalc;
	uint64_t unit = unit_sectors(lun);

	if (lun->read_only)
		return 0;
	r->piece_max = PIECE_BYTES / TI_SECTOR_BYTES;
	if (r->piece_max > lun->part_sectors)
		r->piece_max = lun->part_sectors;
	r->piece_max -= r->piece_max % unit;
	if (r->piece_max == 0)
		r->piece_max = unit;
	r->data_bytes = (size_t)r->piece_max * TI_SECTOR_BYTES;
	r->tags_bytes = (size_t)(r->piece_max / lun->geo.sectors_per_block) * lun->geo.tag_size;
	r->data = ti_memory_get(r->data_bytes, &lun->locked_memory);
	r->tags = ti_memory_get(r->tags_bytes, &lun->locked_memory);
	r->save_buf = ti_memory_get(TI_SB_BYTES, &lun->locked_memory);
	if (r->data == NULL || r->tags == NULL || r->save_buf == NULL)
		return ti_error_set(error, -ENOMEM, "out of memory for recalculation");
	settle_doubt(r);
	if (r->active)
		ti_recalc_begin(r);
	return 0;
}

int ti_lun_recalculate(struct ti_lun *lun, uint64_t rate, struct ti_recalc_wish *wish)
{
	struct ti_recalc *r = &lun->recalc;
	struct ti_error error = { 0 };

	if (lun->read_only)
		return -EROFS;
	/* Its bits would have to say so on the medium, all of them, before the first tag does. */
	if (lun->bitmap != NULL)
		return -EOPNOTSUPP;
	if (r->active || r->wish != NULL)
		return -EALREADY;
	if (ti_seal_check_recalculate(lun->seal, &lun->sb, lun->hash.ops, false, "", &error) != 0)
		return -EPERM;
	/* Bits of an earlier recalculation, all clear by now, would say that there is nothing to
	 * do. */
	ti_memory_put(r->bits, r->bits_bytes);
	r->bits = NULL;
	r->bits_bytes = 0;
	r->wish = wish;
	r->sector = r->began = 0;
	r->end = lun->geo.provided_sectors;
	r->rate = rate;
	r->chunk_end = r->small_until = r->rest_until_ns = 0;
	r->done_sectors = r->mismatches = r->unreadable = 0;
	r->tenths_logged = 0;
	ti_recalc_announce(r);
	return 0;
}

int ti_lun_recalculate_set_rate(struct ti_lun *lun, uint64_t rate)
{
	struct ti_recalc *r = &lun->recalc;

	if (!r->running)
		return -EALREADY;
	r->rate = rate;
	/* Not after a rest that the old rate has made long. */
	if (r->rest_until_ns != 0)
		r->rest_until_ns = ti_clock_now(lun->clock) + 1;
	ti_log(&lun->log, TI_LOG_INFO,
	       "recalculation goes on at another rate sector=%" PRIu64 " rate_limit=%" PRIu64,
	       r->sector, rate);
	return 0;
}

void ti_recalc_free(struct ti_lun *lun)
{
	struct ti_recalc *r = &lun->recalc;

	ti_memory_put(r->data, r->data_bytes);
	ti_memory_put(r->tags, r->tags_bytes);
	ti_memory_put(r->save_buf, TI_SB_BYTES);
	ti_memory_put(r->bits, r->bits_bytes);
	memset(r, 0, sizeof(*r));
}
