/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See bitmap.h. */
#include "bitmap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

int ti_bitmap_alloc(struct ti_lun *lun, unsigned log2_blocks, bool *locked, struct ti_bitmap **out)
{
	struct ti_bitmap *b = calloc(1, sizeof(*b));
	uint8_t *p;

	if (b == NULL)
		return -ENOMEM;
	b->lun = lun;
	b->log2_blocks = log2_blocks;
	b->bits = ti_bits_needed(&lun->geo, log2_blocks);
	b->bytes = ti_bits_bytes(b->bits);
	b->memory_bytes = TI_BITMAP_OPS * TI_BITMAP_PAGE + 3 * b->bytes + b->bytes / TI_BITMAP_PAGE;
	b->memory = p = ti_memory_get(b->memory_bytes, locked);
	if (p == NULL) {
		free(b);
		return -ENOMEM;
	}
	b->copy = p;
	b->disk = b->copy + TI_BITMAP_OPS * TI_BITMAP_PAGE;
	b->durable = b->disk + b->bytes;
	b->touched = b->durable + b->bytes;
	b->stale = b->touched + b->bytes;
	STAILQ_INIT(&b->now);
	STAILQ_INIT(&b->next);
	*out = b;
	return 0;
}

void ti_bitmap_free(struct ti_bitmap *b)
{
	if (b == NULL)
		return;
	ti_memory_put(b->memory, b->memory_bytes);
	free(b);
}

bool ti_bitmap_idle(const struct ti_bitmap *b)
{
	return !b->running && !b->wanted && !b->clearing && !b->clear_wanted;
}

static struct ti_bit_range regions(const struct ti_bitmap *b, uint64_t sector, uint64_t sectors)
{
	return ti_bits_of(&b->lun->geo, b->log2_blocks, sector, sectors);
}

void ti_bitmap_touch(struct ti_bitmap *b, uint64_t sector, uint64_t sectors)
{
	ti_bits_set(b->touched, regions(b, sector, sectors));
}

static void mark_stale(struct ti_bitmap *b, struct ti_bit_range range)
{
	for (uint64_t page = range.first / TI_BITMAP_PAGE_BITS;
	     page <= (range.end - 1) / TI_BITMAP_PAGE_BITS; page++)
		b->stale[page] = 1;
}

void ti_bitmap_expect(struct ti_bitmap *b, uint64_t sector, uint64_t sectors)
{
	struct ti_bit_range range = regions(b, sector, sectors);

	if (ti_bits_all(b->disk, range))
		return;
	ti_bits_set(b->disk, range);
	mark_stale(b, range);
}

bool ti_bitmap_gate(struct ti_bitmap *b, struct ti_slot *slot)
{
	struct ti_bit_range range = regions(b, slot->sector, slot->sectors);

	if (ti_bits_all(b->durable, range)) {
		slot->in_bitmap = true;
		ti_bits_set(b->touched, range);
		return true;
	}
	ti_bitmap_expect(b, slot->sector, slot->sectors);
	slot->pending = 1;
	STAILQ_INSERT_TAIL(&b->next, slot, link);
	b->wanted = true;
	return false;
}

/* ---- rounds ---- */

/* What the round's copies held, and has not been cleared since, is on the medium. */
static void take_as_durable(struct ti_bitmap *b)
{
	for (unsigned i = 0; i < b->pages; i++) {
		const uint8_t *copy = b->copy + i * TI_BITMAP_PAGE;
		size_t at = (size_t)b->page[i] * TI_BITMAP_PAGE;

		for (size_t k = 0; k < TI_BITMAP_PAGE; k++)
			b->durable[at + k] = copy[k] & b->disk[at + k];
	}
}

static void end_round(struct ti_bitmap *b)
{
	struct ti_slot *slot;

	b->running = false;
	if (b->error == 0) {
		take_as_durable(b);
		/* Those who came later may have found their bits in the round's copies. */
		STAILQ_CONCAT(&b->now, &b->next);
	} else {
		for (unsigned i = 0; i < b->pages; i++)
			b->stale[b->page[i]] = 1;
	}
	while ((slot = STAILQ_FIRST(&b->now)) != NULL) {
		STAILQ_REMOVE_HEAD(&b->now, link);
		/* A bit that may not be on the medium: the write must not begin. */
		if (b->error != 0)
			ti_slot_fail(slot, b->error, b->cause, slot->sector);
		ti_slot_ready(slot);
	}
}

static void flushed(struct ti_io *io)
{
	struct ti_bitmap *b = io->owner;

	ti_flusher_flush_ended(&b->lun->flusher, TI_META, io->result);
	if (io->result != 0) {
		b->error = io->result;
		b->cause = TI_CAUSE_META_FLUSH;
	} else if (b->lun->flusher.broken[TI_META] != 0) {
		b->error = b->lun->flusher.broken[TI_META];
		b->cause = TI_CAUSE_META_FLUSH;
	}
	end_round(b);
}

static void part_done(struct ti_bitmap *b)
{
	assert(b->pending > 0);
	if (--b->pending > 0)
		return;
	if (b->error != 0) {
		end_round(b);
		return;
	}
	ti_flusher_flush_started(&b->lun->flusher, TI_META);
	b->flush = (struct ti_io){ .op = TI_IO_FLUSH, .dev = TI_META, .done = flushed, .owner = b };
	ti_queue_submit(b->lun->queue, &b->flush);
}

static void page_written(struct ti_io *io)
{
	struct ti_bitmap *b = io->owner;

	ti_flusher_wrote(&b->lun->flusher, TI_META);
	if (io->result != 0) {
		ti_lun_io_error(b->lun, TI_META, "bitmap", io->offset / TI_SECTOR_BYTES,
				io->result);
		b->error = io->result;
		b->cause = TI_CAUSE_META_IO;
	}
	part_done(b);
}

static void write_page(struct ti_bitmap *b, uint64_t page)
{
	unsigned i = b->pages++;
	struct ti_io *io = &b->io[i];

	b->stale[page] = 0;
	b->page[i] = page;
	b->iov[i].iov_base = b->copy + i * TI_BITMAP_PAGE;
	b->iov[i].iov_len = TI_BITMAP_PAGE;
	memcpy(b->iov[i].iov_base, b->disk + page * TI_BITMAP_PAGE, TI_BITMAP_PAGE);
	*io = (struct ti_io){ .op = TI_IO_WRITE,
			      .dev = TI_META,
			      .offset = b->lun->geo.journal_offset + page * TI_BITMAP_PAGE,
			      .len = TI_BITMAP_PAGE,
			      .iov = &b->iov[i],
			      .iov_count = 1,
			      .done = page_written,
			      .owner = b };
	b->pending++;
	ti_queue_submit(b->lun->queue, io);
}

static void start_round(struct ti_bitmap *b)
{
	b->wanted = false;
	b->error = 0;
	b->pages = 0;
	b->pending = 1; /* until all have been started */
	for (uint64_t page = 0; page < b->bytes / TI_BITMAP_PAGE; page++) {
		if (b->stale[page] && b->pages == TI_BITMAP_OPS)
			b->wanted = true;
		else if (b->stale[page])
			write_page(b, page);
	}
	if (b->pages == 0) {
		/* The last round has written what was wanted, and waked who waited for it. */
		assert(STAILQ_EMPTY(&b->next));
		return;
	}
	b->running = true;
	b->rounds++;
	STAILQ_CONCAT(&b->now, &b->next);
	part_done(b);
}

/* ---- clearing ---- */

/* Regions that still have to be recalculated keep their bits. */
static uint8_t kept(const struct ti_bitmap *b, size_t i)
{
	const uint8_t *recalc = b->lun->recalc.bits;

	return b->touched[i] | (recalc != NULL ? recalc[i] : 0);
}

static void clear_untouched(struct ti_bitmap *b)
{
	for (size_t page = 0; page < b->bytes / TI_BITMAP_PAGE; page++) {
		bool changed = false;

		for (size_t i = page * TI_BITMAP_PAGE; i < (page + 1) * TI_BITMAP_PAGE; i++) {
			uint8_t gone = b->disk[i] & (uint8_t)~kept(b, i);

			b->disk[i] ^= gone;
			b->durable[i] &= b->disk[i];
			changed |= gone != 0;
		}
		if (!changed)
			continue;
		b->stale[page] = 1;
		b->wanted = true;
	}
	b->clears++;
}

static void clear_flushed(struct ti_flush_waiter *waiter, const struct ti_result *result)
{
	struct ti_bitmap *b =
		(struct ti_bitmap *)((char *)waiter - offsetof(struct ti_bitmap, waiter));

	b->clearing = false;
	/* Both devices have everything that was written to regions that nobody has touched since
	 * the round began.  After a failure the bits stay: a crash would need them. */
	if (result->err == 0)
		clear_untouched(b);
}

static bool any_bit(const struct ti_bitmap *b)
{
	return ti_bits_any(b->disk, (struct ti_bit_range){ 0, b->bits });
}

static void start_clearing(struct ti_bitmap *b)
{
	struct ti_lun *lun = b->lun;

	b->clear_wanted = false;
	if (!any_bit(b))
		return;
	b->clearing = true;
	memset(b->touched, 0, b->bytes);
	/* Writes under way are not covered by a round that starts now. */
	for (unsigned i = 0; i < lun->slot_count; i++)
		if (lun->slots[i].in_bitmap)
			ti_bitmap_touch(b, lun->slots[i].sector, lun->slots[i].sectors);
	b->waiter.done = clear_flushed;
	ti_flush_join(&lun->flusher, &b->waiter);
}

void ti_bitmap_clear(struct ti_bitmap *b)
{
	b->clear_wanted = true;
}

bool ti_bitmap_run(struct ti_bitmap *b)
{
	bool any = false;

	if (b->clear_wanted && !b->clearing) {
		start_clearing(b);
		any = true;
	}
	if (b->wanted && !b->running) {
		start_round(b);
		any = true;
	}
	return any;
}
