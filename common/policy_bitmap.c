/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Mode bitmap ('B'): mode direct, with the region of every write marked on the medium first.
 *
 * A crash may leave a block's data and tag apart as in mode direct; but its region's bit is set,
 * and recalculation makes a tag for whatever the block holds.  A write to a region whose bit is set
 * costs what it costs in mode direct.
 */
#include "bitmap.h"

static void gate(struct ti_slot *slot)
{
	if (slot->result.err != 0) {
		ti_part_done(slot);
		return;
	}
	slot->step = gate;
	if (ti_bitmap_gate(slot->lun->bitmap, slot))
		ti_write_to_device(slot);
}

static void begin_write(struct ti_slot *slot)
{
	/* The memory first: it may make the part shorter. */
	ti_part_map(slot, gate);
}

static void begin_discard(struct ti_slot *slot)
{
	if (slot->result.err != 0) {
		ti_part_done(slot);
		return;
	}
	slot->step = begin_discard;
	/* All of its regions in one round. */
	ti_bitmap_expect(slot->lun->bitmap, slot->sector,
			 slot->req->sector + slot->req->sectors - slot->sector);
	if (ti_bitmap_gate(slot->lun->bitmap, slot))
		ti_discard_part(slot);
}

static void flush(struct ti_lun *lun, struct ti_flush_waiter *waiter)
{
	ti_flush_join(&lun->flusher, waiter);
}

static bool run(struct ti_lun *lun)
{
	/* There is none yet where a start fails early: what is under way is only waited for. */
	bool moved = lun->bitmap != NULL && ti_bitmap_run(lun->bitmap);

	return ti_flusher_run(&lun->flusher) || moved;
}

static void tick(struct ti_lun *lun)
{
	/* The step writes out the tags, too. */
	ti_bitmap_clear(lun->bitmap);
}

static int start(struct ti_lun *lun, struct ti_error *error)
{
	/* ti_lun_settle() has emptied the journal, unless nothing may be written: then what it
	 * holds would not be seen. */
	return lun->read_only ? ti_lun_empty_journal(lun, error) : 0;
}

const struct ti_policy_ops ti_policy_bitmap = {
	.name = "bitmap",
	.start = start,
	.begin_read = ti_read_from_device,
	.begin_write = begin_write,
	.begin_discard = begin_discard,
	.flush = flush,
	.run = run,
	.tick = tick,
	.stop = ti_bitmap_stop,
};
