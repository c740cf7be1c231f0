/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A pair's state from one use to the next: dirty bitmap, recalculation, and the changes of mode.
 *
 *	DIRTY_BITMAP  opened in  what is done
 *	no	      bitmap	 replay the journal; set the flag; write the bitmap: clear, or set
 *from recalc_sector on yes	      bitmap	 the bits say what is to be recalculated; with
 *another size of bits, or on request, everything is
 *	yes	      others	 the bits say what is to be recalculated, but the medium can only
 *keep "everything"; empty journal; the flag goes
 *
 * Each write leaves a pair that can be opened: while the journal's place holds something that is no
 * bitmap though the flag is set, the superblock names a size of bits that nobody would choose,
 * which every reader takes for "another size: everything is dirty".
 *
 * A bitmap whose bits nobody needs any more gives its place back to an empty journal at close.  One
 * that still says what is to be recalculated stays, flag and all, unless recalc_sector can say the
 * same: the kernel's rule at close, "everything from recalc_sector on", would have clean regions
 * recalculated, and what has become bad there declared good.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bitmap.h"
#include "format.h"
#include "journal.h"
#include "journal_store.h"
#include "memory.h"

#define LOAD_BYTES (1U << 20)

/* Sectors of a bit, log2: the superblock can say it, and ti_geometry_bitmap_fits() denies it. */
#define VOID_LOG2 63

static const char *meta_name(const struct ti_lun *lun)
{
	return lun->queue->dev[TI_META].name;
}

static struct ti_bit_range all_of(uint64_t bits)
{
	return (struct ti_bit_range){ 0, bits };
}

/* Read or write the map, whole pages at a time. */
static int transfer(struct ti_lun *lun, enum ti_io_op op, uint8_t *map, size_t bytes,
		    struct ti_error *error)
{
	int err = 0;

	for (size_t at = 0; at < bytes && err == 0; at += LOAD_BYTES) {
		size_t len = bytes - at < LOAD_BYTES ? bytes - at : LOAD_BYTES;

		err = ti_queue_sync(lun->queue, op, TI_META, lun->geo.journal_offset + at, map + at,
				    len);
	}
	if (err == 0 && op == TI_IO_WRITE)
		err = ti_lun_flush_meta(lun);
	if (err != 0)
		return ti_error_set(error, err,
				    "cannot %s the dirty bitmap of %s at sector %" PRIu64 ": %s",
				    op == TI_IO_READ ? "read" : "write", meta_name(lun),
				    lun->geo.journal_offset / TI_SECTOR_BYTES, strerror(-err));
	return 0;
}

int ti_bitmap_load(struct ti_lun *lun, uint8_t *map, uint64_t bits, struct ti_error *error)
{
	size_t bytes = ti_bits_bytes(bits);
	int err = transfer(lun, TI_IO_READ, map, bytes, error);

	ti_bits_clear(map, (struct ti_bit_range){ bits, (uint64_t)bytes * 8 });
	return err;
}

static int store_superblock(struct ti_lun *lun, struct ti_error *error)
{
	return ti_lun_store_superblock(lun, &lun->sb, error);
}

/* The superblock, with a size of bits that no bitmap has. */
static int store_void(struct ti_lun *lun, struct ti_error *error)
{
	struct ti_superblock sb = lun->sb;

	sb.log2_blocks_per_bitmap_bit = (uint8_t)(VOID_LOG2 - sb.log2_sectors_per_block);
	return ti_lun_store_superblock(lun, &sb, error);
}

static int empty_journal(struct ti_lun *lun, struct ti_error *error)
{
	int err = ti_format_journal(lun->queue, &lun->geo, lun->seal, error);

	if (err != 0)
		return err;
	err = ti_lun_flush_meta(lun);
	if (err != 0)
		return ti_error_set(error, err, "cannot flush %s after its journal was emptied: %s",
				    meta_name(lun), strerror(-err));
	return 0;
}

/* ---- what is to be recalculated ---- */

static void recalculate_from(struct ti_lun *lun, uint64_t sector)
{
	struct ti_recalc *r = &lun->recalc;

	sector -= sector % (lun->io_align / TI_SECTOR_BYTES);
	r->active = sector < lun->geo.provided_sectors;
	r->sector = sector;
}

static void say_recalculate(struct ti_lun *lun, uint64_t sector)
{
	lun->sb.flags |= TI_SB_RECALCULATING;
	lun->sb.recalc_sector = sector;
	recalculate_from(lun, sector);
}

/* Only the regions whose bits are set in @map. */
static int recalculate_only(struct ti_lun *lun, const uint8_t *map, uint64_t bits, unsigned log2,
			    struct ti_error *error)
{
	struct ti_recalc *r = &lun->recalc;

	r->bits_bytes = ti_bits_bytes(bits);
	r->bits = ti_memory_get(r->bits_bytes, &lun->locked_memory);
	if (r->bits == NULL)
		return ti_error_set(error, -ENOMEM, "out of memory for the dirty bitmap");
	memcpy(r->bits, map, r->bits_bytes);
	r->log2_blocks = log2;
	return 0;
}

/* ---- a dirty bitmap ---- */

/* What the medium says is dirty. */
struct found {
	uint8_t *map;
	size_t bytes;
	uint64_t bits;
	bool any;
};

static int find_dirty(struct ti_lun *lun, unsigned log2, struct found *f, struct ti_error *error)
{
	bool locked;
	int err;

	f->bits = ti_bits_needed(&lun->geo, log2);
	f->bytes = ti_bits_bytes(f->bits);
	f->map = ti_memory_get(f->bytes, &locked);
	if (f->map == NULL)
		return ti_error_set(error, -ENOMEM, "out of memory for the dirty bitmap");
	/* Another size of bits: nobody knows what the bytes mean. */
	if (log2 != lun->sb.log2_blocks_per_bitmap_bit || lun->reset_recalculate) {
		ti_bits_set(f->map, all_of(f->bits));
		f->any = true;
		return 0;
	}
	err = ti_bitmap_load(lun, f->map, f->bits, error);
	f->any = ti_bits_any(f->map, all_of(f->bits));
	return err;
}

static int dirty_in_bitmap_mode(struct ti_lun *lun, unsigned log2, const struct found *f,
				struct ti_error *error)
{
	bool rewrite = log2 != lun->sb.log2_blocks_per_bitmap_bit || lun->reset_recalculate;
	struct ti_bitmap *b = lun->bitmap;
	int err = 0;

	memcpy(b->disk, f->map, b->bytes);
	memcpy(b->durable, f->map, b->bytes);
	if (f->any) {
		say_recalculate(lun, 0);
		err = recalculate_only(lun, f->map, f->bits, log2, error);
	} else if (ti_superblock_recalculating(&lun->sb)) {
		recalculate_from(lun, lun->sb.recalc_sector);
	}
	/* Bits of one size, taken for those of another, would call dirty regions clean. */
	if (err == 0 && log2 != lun->sb.log2_blocks_per_bitmap_bit)
		err = store_void(lun, error);
	if (err == 0 && rewrite)
		err = transfer(lun, TI_IO_WRITE, b->disk, b->bytes, error);
	lun->sb.log2_blocks_per_bitmap_bit = (uint8_t)log2;
	return err != 0 ? err : store_superblock(lun, error);
}

static int dirty_in_other_modes(struct ti_lun *lun, unsigned log2, const struct found *f,
				struct ti_error *error)
{
	int err = 0;

	lun->sb.log2_blocks_per_bitmap_bit = (uint8_t)log2;
	if (f->any) {
		say_recalculate(lun, 0);
		err = recalculate_only(lun, f->map, f->bits, log2, error);
		/* Before the journal takes the bitmap's place. */
		if (err == 0)
			err = store_void(lun, error);
	} else if (ti_superblock_recalculating(&lun->sb)) {
		recalculate_from(lun, lun->sb.recalc_sector);
	}
	if (err == 0)
		err = empty_journal(lun, error);
	if (err != 0)
		return err;
	lun->sb.flags &= ~TI_SB_DIRTY_BITMAP;
	return store_superblock(lun, error);
}

/* ---- no dirty bitmap ---- */

static int clean_in_bitmap_mode(struct ti_lun *lun, unsigned log2, struct ti_error *error)
{
	struct ti_bitmap *b = lun->bitmap;
	struct ti_recalc *r = &lun->recalc;
	int err = ti_lun_empty_journal(lun, error);

	if (err != 0)
		return err;
	lun->sb.flags |= TI_SB_DIRTY_BITMAP;
	lun->sb.log2_blocks_per_bitmap_bit = (uint8_t)log2;
	if (!r->active) {
		/* The bytes of an empty journal, taken for bits, cost a needless recalculation. */
		err = store_superblock(lun, error);
		return err != 0 ? err : transfer(lun, TI_IO_WRITE, b->disk, b->bytes, error);
	}
	ti_bits_set(b->disk,
		    ti_bits_of(&lun->geo, log2, r->sector, lun->geo.provided_sectors - r->sector));
	memcpy(b->durable, b->disk, b->bytes);
	err = recalculate_only(lun, b->disk, b->bits, log2, error);
	/* The bits must be there before anybody believes them. */
	if (err == 0)
		err = store_void(lun, error);
	if (err == 0)
		err = transfer(lun, TI_IO_WRITE, b->disk, b->bytes, error);
	return err != 0 ? err : store_superblock(lun, error);
}

/*
 * A predecessor that was killed may have left the superblock that says so in the device's cache.
 * Tags are not looked at on the strength of it: no power cut may take it back.
 */
static int keep_doubt(struct ti_lun *lun, struct ti_error *error)
{
	int err = ti_lun_flush_meta(lun);

	if (err != 0)
		return ti_error_set(error, err,
				    "cannot flush %s, whose superblock says that tags are to be "
				    "recalculated: %s",
				    meta_name(lun), strerror(-err));
	return 0;
}

static int settle_clean(struct ti_lun *lun, unsigned log2, struct ti_error *error)
{
	bool wish = lun->reset_recalculate ||
		    (lun->recalculate && !(lun->sb.flags & TI_SB_RECALCULATING));

	if (wish)
		say_recalculate(lun, 0);
	else if (ti_superblock_recalculating(&lun->sb))
		recalculate_from(lun, lun->sb.recalc_sector);
	if (lun->read_only)
		return 0;
	if (lun->bitmap != NULL)
		return clean_in_bitmap_mode(lun, log2, error);
	if (wish)
		return store_superblock(lun, error);
	return lun->recalc.active ? keep_doubt(lun, error) : 0;
}

/*
 * A bitmap in the journal's place: somebody has used the pair since a killed process left its ring
 * in a file, for our own change to mode bitmap brings a ring home first.  An emptied journal looks
 * like the one that a ring of a fresh pair goes with, so the ring must go before.
 */
static int forget_ring(struct ti_lun *lun, struct ti_error *error)
{
	char *path;
	bool found;
	int err;

	if (lun->journal != NULL) {
		found = lun->journal->store->inherited;
		ti_journal_store_drop(lun->journal->store);
	} else {
		err = ti_lun_ring_path(lun, &path, error);
		if (err != 0)
			return err;
		found = ti_journal_store_exists(path) && unlink(path) == 0;
		free(path);
	}
	if (found)
		ti_log(&lun->log, TI_LOG_ERR,
		       "somebody else has opened the pair in mode bitmap since a tcmu-runner was "
		       "killed: writes that it had acknowledged and not committed are dropped "
		       "device=%s",
		       meta_name(lun));
	return 0;
}

static int settle_dirty(struct ti_lun *lun, unsigned log2, struct ti_error *error)
{
	struct found f = { 0 };
	int err = lun->read_only ? 0 : forget_ring(lun, error);

	if (err == 0)
		err = find_dirty(lun, log2, &f, error);
	if (err == 0 && lun->read_only) {
		recalculate_from(lun, 0);
		err = recalculate_only(lun, f.map, f.bits, log2, error);
	} else if (err == 0 && lun->bitmap != NULL) {
		err = dirty_in_bitmap_mode(lun, log2, &f, error);
	} else if (err == 0) {
		err = dirty_in_other_modes(lun, log2, &f, error);
	}
	ti_memory_put(f.map, f.bytes);
	return err;
}

/* The size of bits that this open wants. */
static unsigned wanted_granularity(const struct ti_lun *lun)
{
	if (lun->sectors_per_bit == 0 &&
	    ti_geometry_bitmap_fits(&lun->geo, lun->sb.log2_blocks_per_bitmap_bit))
		return lun->sb.log2_blocks_per_bitmap_bit;
	return ti_geometry_bitmap_granularity(&lun->geo, lun->sectors_per_bit);
}

int ti_lun_settle(struct ti_lun *lun, struct ti_error *error)
{
	unsigned log2 = wanted_granularity(lun);
	bool bitmap = lun->policy == &ti_policy_bitmap;
	int err = 0;

	if (lun->policy == &ti_policy_recovery)
		return 0;
	/* The kernel writes garbage instead of a bitmap then, and integritysetup refuses it. */
	if (bitmap && ti_seal_encrypts(lun->seal))
		return ti_error_set(error, -EINVAL,
				    "%s has an encrypted journal (journal_crypt), which mode "
				    "bitmap cannot be used with: choose another mode",
				    meta_name(lun));
	lun->recalc.lun = lun;
	lun->recalc.end = lun->geo.provided_sectors;
	lun->sb.bitmap_mode = bitmap;
	if (bitmap)
		err = ti_bitmap_alloc(lun, log2, &lun->locked_memory, &lun->bitmap);
	if (err != 0)
		return ti_error_set(error, err, "out of memory for the dirty bitmap");
	return lun->sb.flags & TI_SB_DIRTY_BITMAP ? settle_dirty(lun, log2, error)
						  : settle_clean(lun, log2, error);
}

/* ---- close ---- */

int ti_bitmap_stop(struct ti_lun *lun)
{
	struct ti_bitmap *b = lun->bitmap;
	const int *broken = lun->flusher.broken;
	struct ti_error error = { 0 };
	int err;

	/* Not all of it is durable: the bits are needed. */
	if (broken[TI_DATA] != 0 || broken[TI_META] != 0 || ti_tag_cache_dirty(lun->cache))
		return -EIO;
	if (!ti_recalc_note(lun)) {
		memcpy(b->disk, lun->recalc.bits, b->bytes);
		err = transfer(lun, TI_IO_WRITE, b->disk, b->bytes, &error);
		return err != 0 ? err : store_superblock(lun, &error);
	}
	/* Taken for bits, what the journal is written over them says that regions are clean. */
	err = lun->recalc.active ? store_void(lun, &error) : 0;
	if (err == 0)
		err = empty_journal(lun, &error);
	if (err != 0)
		return err;
	lun->sb.flags &= ~TI_SB_DIRTY_BITMAP;
	return store_superblock(lun, &error);
}
