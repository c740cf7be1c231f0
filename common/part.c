/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Parts: cutting a request into device transfers and giving each the memory it needs.
 *
 * Where the caller's memory suits the device, the device reads and writes it directly; else the
 * part goes through a bounce buffer, for which slots queue.  A slot that waits for a bounce buffer
 * holds only its range, never tags, and one that has a buffer waits only for devices: no circle.
 */
#include "lun_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static void part_begin(struct ti_slot *slot);

/* Bytes of the request that lie behind the part under way. */
static uint64_t bytes_left(const struct ti_slot *slot)
{
	const struct ti_request *req = slot->req;

	return (req->sector + req->sectors - slot->sector) * TI_SECTOR_BYTES;
}

static bool suits_device(const struct ti_slot *slot, const struct iovec *iov, size_t count)
{
	const struct ti_device_info *dev = &slot->lun->queue->dev[TI_DATA];

	return ti_iov_aligned(iov, count, dev->memory_align, dev->logical_block_size);
}

/*
 * Try to let the device use the caller's memory: all of the request at once if it is small enough,
 * else a slice.  Sets iov, iov_count and sectors; moves the cursor.  False: a bounce buffer is
 * needed.
 */
static bool map_direct(struct ti_slot *slot)
{
	const struct ti_request *req = slot->req;
	uint32_t align = slot->lun->io_align;
	size_t want = (size_t)slot->sectors * TI_SECTOR_BYTES, taken;
	struct ti_iov_cursor cursor = slot->cursor;

	if (slot->sector == req->sector && slot->sectors == req->sectors &&
	    req->iov_count <= TI_IO_MAX_IOV && !ti_ops[req->op].twice) {
		slot->iov = req->iov;
		slot->iov_count = (unsigned)req->iov_count;
		return suits_device(slot, req->iov, req->iov_count);
	}
	slot->iov = slot->iov_room;
	slot->iov_count =
		(unsigned)ti_iov_take(&cursor, want, slot->iov_room, TI_PART_IOVS, &taken);
	if (taken < want) { /* too many pieces: a shorter part, of whole blocks */
		want = taken - taken % align;
		if (want == 0)
			return false;
		cursor = slot->cursor;
		slot->iov_count =
			(unsigned)ti_iov_take(&cursor, want, slot->iov_room, TI_PART_IOVS, &taken);
		assert(taken == want);
	}
	if (!suits_device(slot, slot->iov, slot->iov_count))
		return false;
	slot->sectors = (uint32_t)(want / TI_SECTOR_BYTES);
	slot->cursor = cursor;
	return true;
}

/* Let the part use the slot's bounce buffer. */
static void map_bounce(struct ti_slot *slot)
{
	slot->bounce_iov.iov_base = slot->bounce;
	slot->bounce_iov.iov_len = (size_t)slot->sectors * TI_SECTOR_BYTES;
	slot->iov = &slot->bounce_iov;
	slot->iov_count = 1;
}

void ti_part_skip(struct ti_iov_cursor *cursor, size_t bytes)
{
	struct iovec piece;
	size_t taken;

	for (; bytes > 0; bytes -= taken)
		ti_iov_take(cursor, bytes, &piece, 1, &taken);
}

bool ti_part_is_uniform(const struct ti_slot *slot)
{
	return slot->req->op == TI_REQ_WRITE_SAME &&
	       ti_iov_length(slot->req->iov, slot->req->iov_count) == slot->lun->geo.block_size;
}

struct ti_iov_cursor ti_part_same(const struct ti_slot *slot, uint32_t n)
{
	const struct ti_request *req = slot->req;
	struct ti_iov_cursor cursor = ti_iov_cursor(req->iov, req->iov_count);
	uint64_t at = (slot->sector - req->sector) * TI_SECTOR_BYTES +
		      (uint64_t)n * slot->lun->geo.block_size;

	ti_part_skip(&cursor, (size_t)(at % ti_iov_length(req->iov, req->iov_count)));
	return cursor;
}

static void fill_same(struct ti_slot *slot)
{
	size_t block = slot->lun->geo.block_size;
	uint32_t blocks = ti_slot_blocks(slot);

	/* Later parts are never longer: once is enough. */
	if (ti_part_is_uniform(slot) && slot->sector != slot->req->sector)
		return;
	for (uint32_t n = 0; n < blocks; n++) {
		struct ti_iov_cursor cursor = ti_part_same(slot, n);

		ti_iov_copy_out(&cursor, slot->bounce + n * block, block);
	}
}

static void fill_bounce(struct ti_slot *slot)
{
	if (ti_slot_pass(slot) != TI_PASS_WRITE)
		return;
	if (ti_ops[slot->req->op].repeats)
		fill_same(slot);
	else
		ti_iov_copy_out(&slot->cursor, slot->bounce, slot->bounce_iov.iov_len);
}

static void part_bounced(struct ti_slot *slot)
{
	slot->lun->stats.bounced_parts++;
	map_bounce(slot);
	fill_bounce(slot);
	slot->after_map(slot);
}

static void get_bounce(struct ti_slot *slot)
{
	struct ti_lun *lun = slot->lun;

	if (slot->bounce != NULL) {
		part_bounced(slot);
		return;
	}
	slot->step = part_bounced;
	if (lun->bounce_free > 0 && STAILQ_EMPTY(&lun->want_bounce)) {
		slot->bounce = lun->bounce[--lun->bounce_free];
		part_bounced(slot);
		return;
	}
	STAILQ_INSERT_TAIL(&lun->want_bounce, slot, link);
}

static void put_bounce(struct ti_slot *slot)
{
	struct ti_lun *lun = slot->lun;
	struct ti_slot *next = STAILQ_FIRST(&lun->want_bounce);

	if (slot->bounce == NULL)
		return;
	if (next != NULL) {
		STAILQ_REMOVE_HEAD(&lun->want_bounce, link);
		next->bounce = slot->bounce;
		next->pending = 1;
		ti_slot_ready(next);
	} else {
		lun->bounce[lun->bounce_free++] = slot->bounce;
	}
	slot->bounce = NULL;
}

void ti_part_map(struct ti_slot *slot, void (*then)(struct ti_slot *slot))
{
	enum ti_pass pass = ti_slot_pass(slot);
	bool own_memory =
		pass == TI_PASS_READ || (pass == TI_PASS_WRITE && !ti_ops[slot->req->op].repeats);

	slot->after_map = then;
	if (own_memory && map_direct(slot))
		then(slot);
	else
		get_bounce(slot);
}

static void part_begin(struct ti_slot *slot)
{
	struct ti_lun *lun = slot->lun;
	uint64_t left = bytes_left(slot) / TI_SECTOR_BYTES;

	slot->sectors = left < lun->part_sectors ? (uint32_t)left : lun->part_sectors;
	slot->iov = NULL;
	switch (ti_slot_pass(slot)) {
	case TI_PASS_WRITE:
		lun->policy->begin_write(slot);
		break;
	case TI_PASS_FORGET:
	case TI_PASS_DISCARD:
		ti_discard_begin(slot);
		break;
	case TI_PASS_LOOK:
		ti_extent_begin(slot);
		break;
	default:
		lun->policy->begin_read(slot);
		break;
	}
}

void ti_part_first(struct ti_slot *slot)
{
	const struct ti_request *req = slot->req;

	slot->sector = req->sector;
	slot->cursor = ti_iov_cursor(req->iov, req->iov_count);
	if (ti_ops[req->op].twice && slot->pass > 0)
		ti_part_skip(&slot->cursor, (size_t)req->sectors * TI_SECTOR_BYTES);
	part_begin(slot);
}

/*
 * What is in the bounce buffer goes to the request: all of it, or of a read that failed what lies
 * before the first bad block.  A slot keeps its bounce buffer to the pass's end, but not every part
 * needs it.
 */
static void empty_bounce(struct ti_slot *slot)
{
	size_t bytes = slot->bounce_iov.iov_len;

	if (slot->iov != &slot->bounce_iov)
		return;
	if (slot->result.err != 0)
		bytes = ti_slot_pass(slot) == TI_PASS_READ
				? (size_t)(slot->result.sector - slot->sector) * TI_SECTOR_BYTES
				: 0;
	if (bytes > 0)
		ti_pass_take(slot, 0, slot->bounce, bytes);
}

void ti_part_done(struct ti_slot *slot)
{
	enum ti_pass pass = ti_slot_pass(slot);

	empty_bounce(slot);
	if (slot->result.err == 0 && (pass == TI_PASS_WRITE || pass == TI_PASS_FORGET))
		ti_scrub_mended(slot->lun, slot->sector, slot->sectors);
	slot->sector += slot->sectors;
	if (slot->result.err == 0 && bytes_left(slot) > 0) {
		part_begin(slot);
		return;
	}
	put_bounce(slot);
	ti_pass_next(slot);
}

static void transferred(struct ti_io *io)
{
	ti_slot_ready(io->owner);
}

void ti_part_transfer(struct ti_slot *slot, enum ti_io_op op)
{
	struct ti_io *io = &slot->io;

	io->op = op;
	io->dev = TI_DATA;
	io->offset = slot->sector * TI_SECTOR_BYTES;
	io->len = (size_t)slot->sectors * TI_SECTOR_BYTES;
	io->iov = slot->iov;
	io->iov_count = slot->iov_count;
	io->fua = op == TI_IO_WRITE && ti_device_writes_through(&slot->lun->queue->dev[TI_DATA]);
	io->done = transferred;
	io->owner = slot;
	slot->pending++;
	ti_queue_submit(slot->lun->queue, io);
}

static void pinned(struct ti_tag_pin *pin)
{
	ti_slot_ready(pin->owner);
}

void ti_part_pin(struct ti_slot *slot, bool overwrite)
{
	struct ti_tag_pin *pin = &slot->pin;

	pin->offset = ti_slot_tag_offset(slot);
	pin->len = (size_t)ti_slot_blocks(slot) * slot->lun->geo.tag_size;
	pin->overwrite = overwrite;
	pin->ready = pinned;
	pin->owner = slot;
	slot->pending++;
	if (ti_tag_cache_pin(slot->lun->cache, pin))
		ti_slot_ready(slot);
}

/*
 * Locating: an error on a large read says nothing about which sector is bad, but an initiator wants
 * to know.  Read again in units of the smallest request, from the front; the first that fails is
 * the one.  If none does, the error was a passing one and the data is there.
 */
static void locate_next(struct ti_slot *slot)
{
	struct ti_iov_cursor cursor = ti_iov_cursor(slot->iov, slot->iov_count);
	size_t unit = slot->lun->io_align, taken;
	struct ti_io *io = &slot->io;

	ti_part_skip(&cursor, slot->located);
	io->iov_count =
		(unsigned)ti_iov_take(&cursor, unit, slot->locate_iov, TI_HASH_MAX_PIECES, &taken);
	assert(taken == unit);
	io->iov = slot->locate_iov;
	io->offset = slot->sector * TI_SECTOR_BYTES + slot->located;
	io->len = unit;
	slot->pending = 1;
	ti_queue_submit(slot->lun->queue, io);
}

static void located(struct ti_slot *slot)
{
	struct ti_lun *lun = slot->lun;

	if (slot->io.result != 0) {
		uint64_t sector = slot->sector + slot->located / TI_SECTOR_BYTES;

		ti_lun_io_error(lun, TI_DATA, "read", sector, slot->io.result);
		ti_slot_fail(slot, slot->io.result, TI_CAUSE_DATA_IO, sector);
	} else {
		slot->located += lun->io_align;
		if (slot->located < slot->sectors * TI_SECTOR_BYTES) {
			locate_next(slot);
			return;
		}
	}
	slot->step = slot->after_locate;
	slot->pending = 1;
	ti_slot_ready(slot);
}

void ti_part_locate(struct ti_slot *slot, void (*then)(struct ti_slot *slot))
{
	slot->located = 0;
	slot->after_locate = then;
	slot->step = located;
	locate_next(slot);
}
