/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Mode direct ('D'): data goes to its place, the tag into the cache; no protection between the two.
 *
 * A write's tags are computed before the device gets the data, from the same bytes, but become
 * visible only when the device has taken the data: after a failed write, a block that still holds
 * its old content still matches its old tag, and one that is neither old nor new does not match.
 */
#include <assert.h>
#include <errno.h>

#include "lun_internal.h"

static uint64_t first_sector_of_tag(const struct ti_slot *slot, uint64_t tag_offset)
{
	const struct ti_geometry *geo = &slot->lun->geo;
	uint64_t sector = tag_offset / geo->tag_size * geo->sectors_per_block;

	return sector > slot->sector ? sector : slot->sector;
}

/* The first block of the part whose tag could not be read, or what lies behind the part. */
static uint64_t first_missing_tag(const struct ti_slot *slot)
{
	return slot->pin.error == 0 ? slot->sector + slot->sectors
				    : first_sector_of_tag(slot, slot->pin.error_offset);
}

/* The tags could not be read: fail at @sector. */
static void fail_without_tags(struct ti_slot *slot, uint64_t sector)
{
	ti_lun_io_error(slot->lun, TI_META, "tags", sector, slot->pin.error);
	ti_slot_fail(slot, slot->pin.error, TI_CAUSE_META_IO, sector);
}

/*
 * Whatever is found out first, the request fails at the first block that is bad: what lies before
 * it is handed over, and initiators take it for good.  So that is verified, too, if a device could
 * not read a block behind it or its tag.
 */
static void verify(struct ti_slot *slot)
{
	struct ti_lun *lun = slot->lun;
	struct ti_iov_cursor data = ti_iov_cursor(slot->iov, slot->iov_count);
	uint64_t unread = slot->result.err != 0 ? slot->result.sector : UINT64_MAX;
	uint64_t missing = first_missing_tag(slot), end = unread < missing ? unread : missing;
	uint32_t blocks = (uint32_t)(end - slot->sector) / lun->geo.sectors_per_block;
	size_t bad = 0, first = 0, size = lun->geo.tag_size;
	uint8_t stored[TI_MAX_TAG_SIZE];

	if (blocks > 0) {
		ti_lun_hash(lun, slot->sector, &data, blocks, slot->tags);
		bad = ti_tag_cache_compare(&slot->pin, slot->tags, size, blocks, &first);
	}
	if (bad > 0 || missing < unread)
		slot->result.err = 0; /* of a later block */
	if (bad > 0) {
		uint64_t sector = slot->sector + first * lun->geo.sectors_per_block;

		ti_tag_cache_fetch(&slot->pin, first * size, size, stored);
		ti_lun_mismatch(lun, TI_SOURCE_READ, sector, bad, stored,
				slot->tags + first * size);
		ti_slot_fail(slot, -EILSEQ, TI_CAUSE_TAG_MISMATCH, sector);
	} else if (slot->pin.error != 0 && missing < unread) {
		fail_without_tags(slot, missing);
	}
	ti_tag_cache_unpin(lun->cache, &slot->pin);
	ti_part_done(slot);
}

static void read_done(struct ti_slot *slot)
{
	if (slot->io.result != 0)
		ti_part_locate(slot, verify);
	else
		verify(slot);
}

/* Nobody vouches for the tags. */
static void unchecked_done(struct ti_slot *slot)
{
	if (slot->io.result != 0)
		ti_part_locate(slot, ti_part_done);
	else
		ti_part_done(slot);
}

static void read_mapped(struct ti_slot *slot)
{
	slot->step = slot->unchecked ? unchecked_done : read_done;
	slot->pending = 1; /* until both have been started */
	ti_part_transfer(slot, TI_IO_READ);
	if (!slot->unchecked)
		ti_part_pin(slot, false);
	ti_slot_ready(slot);
}

void ti_read_unchecked(struct ti_slot *slot)
{
	slot->unchecked = true;
	ti_part_map(slot, read_mapped);
}

void ti_read_from_device(struct ti_slot *slot)
{
	bool trusted;

	slot->sectors = (uint32_t)ti_recalc_alike(slot->lun, slot->sector, slot->sectors, &trusted);
	slot->unchecked = !trusted;
	ti_part_map(slot, read_mapped);
}

static void write_done(struct ti_slot *slot)
{
	struct ti_lun *lun = slot->lun;

	slot->in_bitmap = false;
	if (!slot->io.fua || slot->io.result != 0)
		ti_flusher_wrote(&lun->flusher, TI_DATA);
	if (slot->io.result != 0) {
		ti_lun_io_error(lun, TI_DATA, "write", slot->sector, slot->io.result);
		ti_slot_fail(slot, slot->io.result, TI_CAUSE_DATA_IO, slot->sector);
	} else if (slot->pin.error != 0) {
		/* None is stored, so none of the part's blocks counts as written. */
		fail_without_tags(slot, slot->sector);
	} else {
		ti_tag_cache_store(lun->cache, &slot->pin, slot->tags);
		ti_flusher_completed_write(&lun->flusher);
	}
	ti_tag_cache_unpin(lun->cache, &slot->pin);
	ti_part_done(slot);
}

void ti_write_to_device(struct ti_slot *slot)
{
	struct ti_lun *lun = slot->lun;
	struct ti_iov_cursor data = ti_iov_cursor(slot->iov, slot->iov_count);
	uint32_t blocks = ti_slot_blocks(slot);

	/* A block that is the same over and over stays in the processor's cache. */
	if (ti_part_is_uniform(slot) && !ti_hash_crew_shares(lun->crew, blocks))
		ti_hash_same(&lun->hash, slot->sector, slot->bounce, blocks, slot->tags);
	else
		ti_lun_hash(lun, slot->sector, &data, blocks, slot->tags);
	slot->step = write_done;
	slot->pending = 1; /* until both have been started */
	ti_part_transfer(slot, TI_IO_WRITE);
	ti_part_pin(slot, true);
	ti_slot_ready(slot);
}

static void begin_write(struct ti_slot *slot)
{
	ti_part_map(slot, ti_write_to_device);
}

static bool run(struct ti_lun *lun)
{
	return ti_flusher_run(&lun->flusher);
}

static void flush(struct ti_lun *lun, struct ti_flush_waiter *waiter)
{
	ti_flush_join(&lun->flusher, waiter);
}

static void tick(struct ti_lun *lun)
{
	/* Nobody asked, but the longer a tag stays in memory only, the more blocks a crash leaves
	 * with data and tag apart. */
	ti_tag_cache_tick(lun->cache);
}

const struct ti_policy_ops ti_policy_direct = {
	.name = "direct",
	.start = ti_lun_empty_journal,
	.begin_read = ti_read_from_device,
	.begin_write = begin_write,
	.flush = flush,
	.run = run,
	.tick = tick,
};
