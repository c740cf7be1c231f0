/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Discards: the two passes over a range whose content is not needed any more.
 *
 *	FORGET	 the tags become the filler, with which the block may hold anything
 *	DISCARD	 the data device may forget
 *
 * In this order, so that at no moment a block that the device has forgotten has a tag that says
 * what it held: in the cache in every mode, for the sake of a process that is killed; and on the
 * medium where the mode promises that data and tag go together (mode journal: there is a flush
 * between the passes).  In mode bitmap the regions' bits are set before each pass.  Each pass
 *covers the whole range before the next, so that this is one flush for a discard of whatever
 *length.
 *
 * That a device has nothing to forget with (-EOPNOTSUPP) is no failure: the filler is all that was
 * asked for.  Another error is one; the range may hold anything then, and can be read.
 *
 * A discard is not journalled: see journal_clear.c for what becomes of entries of its range.
 */
#include "lun_internal.h"

#include <errno.h>

/* One command to the data device: so that it ends before anybody's patience does. */
#define DISCARD_SECTORS (1U << 21)

/* As many sectors as have their tags in one pin; at most @left. */
static uint32_t pin_sectors(const struct ti_lun *lun, uint64_t left)
{
	uint32_t unit = lun->io_align / lun->geo.block_size;
	uint32_t blocks = (uint32_t)(ti_tag_cache_max_span() / lun->geo.tag_size);
	uint32_t sectors;

	blocks -= blocks % unit;
	sectors = (blocks > 0 ? blocks : unit) * lun->geo.sectors_per_block;
	return left < sectors ? (uint32_t)left : sectors;
}

static uint64_t sectors_left(const struct ti_slot *slot)
{
	return slot->req->sector + slot->req->sectors - slot->sector;
}

/* True if the part's tags could not be read; then the request has failed. */
static bool pin_failed(struct ti_slot *slot)
{
	if (slot->pin.error == 0)
		return false;
	ti_lun_io_error(slot->lun, TI_META, "tags", slot->sector, slot->pin.error);
	ti_slot_fail(slot, slot->pin.error, TI_CAUSE_META_IO, slot->sector);
	return true;
}

static void forgotten(struct ti_slot *slot)
{
	struct ti_lun *lun = slot->lun;

	slot->in_bitmap = false;
	if (!pin_failed(slot)) {
		ti_tag_cache_fill(lun->cache, &slot->pin, TI_DISCARD_FILLER);
		ti_flusher_completed_write(&lun->flusher);
	}
	ti_tag_cache_unpin(lun->cache, &slot->pin);
	ti_part_done(slot);
}

static void discarded(struct ti_slot *slot)
{
	struct ti_lun *lun = slot->lun;
	int err = slot->io.result;

	slot->in_bitmap = false;
	ti_flusher_wrote(&lun->flusher, TI_DATA);
	ti_flusher_completed_write(&lun->flusher);
	lun->flusher.discards++;
	if (err != 0 && err != -EOPNOTSUPP) {
		ti_lun_io_error(lun, TI_DATA, "discard", slot->sector, err);
		ti_slot_fail(slot, err, TI_CAUSE_DATA_IO, slot->sector);
	}
	ti_part_done(slot);
}

void ti_discard_part(struct ti_slot *slot)
{
	bool tags = ti_slot_pass(slot) == TI_PASS_FORGET;

	slot->step = tags ? forgotten : discarded;
	slot->pending = 1; /* until it has been started */
	slot->iov_count = 0;
	if (tags)
		ti_part_pin(slot, true);
	else
		ti_part_transfer(slot, TI_IO_DISCARD);
	ti_slot_ready(slot);
}

void ti_discard_begin(struct ti_slot *slot)
{
	const struct ti_policy_ops *policy = slot->lun->policy;
	uint64_t left = sectors_left(slot);

	if (ti_slot_pass(slot) == TI_PASS_FORGET)
		slot->sectors = pin_sectors(slot->lun, left);
	else
		slot->sectors = left < DISCARD_SECTORS ? (uint32_t)left : DISCARD_SECTORS;
	if (policy->begin_discard != NULL)
		policy->begin_discard(slot);
	else
		ti_discard_part(slot);
}

static void settled(struct ti_flush_waiter *waiter, const struct ti_result *result)
{
	struct ti_slot *slot = (struct ti_slot *)((char *)waiter - offsetof(struct ti_slot, flush));

	if (result->err != 0)
		ti_slot_fail(slot, result->err, result->cause, slot->req->sector);
	slot->step = result->err != 0 ? ti_request_done : ti_part_first;
	slot->pending = 1;
	ti_slot_ready(slot);
}

void ti_discard_settle(struct ti_slot *slot)
{
	slot->flush.done = settled;
	ti_flush_join(&slot->lun->flusher, &slot->flush);
}

/* ---- looking ---- */

/* So many parts are looked at for one request. */
#define LOOK_PARTS 16U

uint64_t ti_extent_reach(const struct ti_lun *lun, uint64_t sectors)
{
	uint64_t most = (uint64_t)LOOK_PARTS * pin_sectors(lun, UINT64_MAX);

	return sectors < most ? sectors : most;
}

/* How many of the part's blocks from the @n-th on are alike? */
static uint32_t alike(const struct ti_slot *slot, uint32_t n, bool *is_discarded)
{
	const struct ti_lun *lun = slot->lun;
	uint32_t spb = lun->geo.sectors_per_block, left = ti_slot_blocks(slot) - n, count, vouched;
	uint64_t first = slot->sector / spb;
	bool trusted;

	count = (uint32_t)ti_tag_cache_alike(&slot->pin, lun->geo.tag_size, n, is_discarded);
	/* A tag that is still to be recalculated may be from before the pair was formatted. */
	vouched =
		(uint32_t)(ti_recalc_alike(lun, (first + n) * spb, (uint64_t)left * spb, &trusted) /
			   spb);
	*is_discarded &= trusted;
	if (!trusted)
		return vouched;
	count = count < vouched ? count : vouched;
	if (!*is_discarded || lun->policy->elsewhere == NULL)
		return count;
	/* In its place the block is discarded, but that is not its newest version. */
	*is_discarded = !lun->policy->elsewhere(lun, first + n);
	for (uint32_t k = 1; k < count; k++)
		if (lun->policy->elsewhere(lun, first + n + k) == *is_discarded)
			return k;
	return count;
}

/* Add what the part's tags say to the extent.  True: it may go on behind the part. */
static bool add_to_extent(struct ti_slot *slot)
{
	const struct ti_lun *lun = slot->lun;
	struct ti_request *req = slot->req;
	uint32_t blocks = ti_slot_blocks(slot), unit = lun->io_align / lun->geo.block_size;

	for (uint32_t n = 0, count; n < blocks; n += count) {
		bool is_discarded;

		count = alike(slot, n, &is_discarded);
		/* Requests are of whole units: one that is discarded in part is not discarded. */
		is_discarded &= count >= unit;
		count = count >= unit ? count - count % unit : unit;
		if (req->extent.sectors == 0)
			req->extent.discarded = is_discarded;
		if (is_discarded != req->extent.discarded)
			return false;
		req->extent.sectors += (uint64_t)count * lun->geo.sectors_per_block;
	}
	return true;
}

static void looked(struct ti_slot *slot)
{
	struct ti_lun *lun = slot->lun;
	bool on = !pin_failed(slot) && add_to_extent(slot);
	uint64_t end = slot->sector + slot->sectors;

	ti_tag_cache_unpin(lun->cache, &slot->pin);
	slot->sector = end;
	slot->located++;
	if (on && sectors_left(slot) > 0 && slot->located < LOOK_PARTS)
		ti_extent_begin(slot);
	else
		ti_request_done(slot);
}

void ti_extent_begin(struct ti_slot *slot)
{
	if (slot->sector == slot->req->sector) {
		slot->req->extent.sectors = 0;
		slot->located = 0;
	}
	slot->sectors = pin_sectors(slot->lun, sectors_left(slot));
	slot->step = looked;
	slot->pending = 1;
	ti_part_pin(slot, false);
	ti_slot_ready(slot);
}
