/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Mode journal ('J'): data and tag change together or not at all.
 *
 * A write is complete when it stands in the journal's memory, durable when its sections have been
 * committed; the devices get it later, from the journal.  A read takes a block from its newest
 * entry if it has one, without checking it, else from the data device with its tag.
 */
#include <errno.h>
#include <stdlib.h>

#include "journal.h"

static struct ti_journal *journal(const struct ti_slot *slot)
{
	return slot->lun->journal;
}

static uint64_t first_block(const struct ti_slot *slot)
{
	return slot->sector / slot->lun->geo.sectors_per_block;
}

/* How many blocks from the part's first on are alike: all in the journal, or none of them? */
static uint32_t alike(const struct ti_slot *slot, bool in_journal)
{
	const struct ti_journal *j = journal(slot);
	uint32_t n = 1, blocks = ti_slot_blocks(slot);

	if (j->used_entries == 0)
		return blocks;
	while (n < blocks && (ti_journal_find(j, first_block(slot) + n) != NULL) == in_journal)
		n++;
	return n;
}

static void take(struct ti_slot *slot, uint32_t blocks)
{
	const struct ti_journal *j = journal(slot);
	uint8_t block[TI_MAX_BLOCK_BYTES];

	for (uint32_t n = 0; ti_slot_pass(slot) != TI_PASS_VERIFY && n < blocks; n++) {
		ti_journal_copy(j, ti_journal_find(j, first_block(slot) + n), block);
		ti_pass_take(slot, n, block, slot->lun->geo.block_size);
	}
	slot->step = ti_part_done;
	slot->pending = 1;
	ti_slot_ready(slot);
}

static void begin_read(struct ti_slot *slot)
{
	bool in_journal = ti_journal_find(journal(slot), first_block(slot)) != NULL;
	uint32_t blocks = alike(slot, in_journal);
	uint32_t unit = slot->lun->io_align / slot->lun->geo.block_size;

	/* The device reads whole logical blocks of its own. */
	if (!in_journal && blocks % unit != 0)
		blocks = blocks > unit ? blocks - blocks % unit : unit;
	slot->sectors = blocks * slot->lun->geo.sectors_per_block;
	if (in_journal)
		take(slot, blocks);
	else
		ti_read_from_device(slot);
}

/* The part's @n-th block; the piece of memory that it is in now, at @piece or added to the one
 * before it. */
static unsigned put(struct ti_slot *slot, uint32_t n, unsigned pieces)
{
	struct ti_journal *j = journal(slot);
	size_t block_size = slot->lun->geo.block_size;
	struct iovec *next = &slot->iov_room[pieces];
	struct ti_iov_cursor same;
	uint8_t *place;

	if (ti_ops[slot->req->op].repeats) {
		same = ti_part_same(slot, n);
		place = ti_journal_insert(j, first_block(slot) + n, &same);
	} else {
		place = ti_journal_insert(j, first_block(slot) + n, &slot->cursor);
	}
	if (pieces > 0 && place == (uint8_t *)next[-1].iov_base + next[-1].iov_len) {
		next[-1].iov_len += block_size;
		return pieces;
	}
	*next = (struct iovec){ .iov_base = place, .iov_len = block_size };
	return pieces + 1;
}

/*
 * Put the part's blocks from the @n-th on into the journal, at most @most: first all bytes, then
 * all tags, made from the journal's own copy, then they are published.  Returns how many.
 */
static uint32_t put_some(struct ti_slot *slot, uint32_t n, uint32_t most, bool together)
{
	struct ti_lun *lun = slot->lun;
	uint64_t first = first_block(slot) + n;
	struct ti_iov_cursor bytes;
	unsigned pieces = 0;
	uint32_t count = 0;

	while (count < most && pieces < TI_PART_IOVS)
		pieces = put(slot, n + count++, pieces);
	bytes = ti_iov_cursor(slot->iov_room, pieces);
	ti_lun_hash(lun, first * lun->geo.sectors_per_block, &bytes, count, slot->tags);
	for (uint32_t i = 0; i < count; i++)
		ti_journal_tag(lun->journal, first + i, slot->tags + i * lun->geo.tag_size,
			       !together || n + i > 0);
	return count;
}

static void insert(struct ti_slot *slot)
{
	struct ti_journal *j = journal(slot);
	uint64_t entries = ti_journal_free_entries(j);
	bool together = slot->req->flags & TI_REQ_ATOMIC;
	uint32_t blocks = ti_slot_blocks(slot), batch = 1;

	if (entries == 0 || (together && !ti_journal_make_room(j, blocks))) {
		ti_journal_want(j, slot);
		return;
	}
	if (!together && blocks > entries)
		blocks = (uint32_t)entries;
	slot->sectors = blocks * slot->lun->geo.sectors_per_block;
	/* One by one, a block is hashed while it is in the processor's cache. */
	if (ti_hash_crew_shares(slot->lun->crew, blocks))
		batch = blocks;
	for (uint32_t n = 0; n < blocks;)
		n += put_some(slot, n, blocks - n < batch ? blocks - n : batch, together);
	/* The first entry last: a kill leaves all of them or none. */
	if (together)
		ti_journal_publish(j, first_block(slot));
	slot->step = ti_part_done;
	slot->pending = 1;
	ti_slot_ready(slot);
}

static void begin_write(struct ti_slot *slot)
{
	struct ti_journal *j = journal(slot);

	slot->step = insert;
	if (slot->sector == slot->req->sector)
		slot->turn = ++j->turns;
	if (STAILQ_EMPTY(&j->want) && ti_journal_free_entries(j) > 0)
		insert(slot);
	else
		ti_journal_want(j, slot);
}

static void flush(struct ti_lun *lun, struct ti_flush_waiter *waiter)
{
	ti_journal_commit_join(lun->journal, waiter);
}

static bool run(struct ti_lun *lun)
{
	struct ti_journal *j = lun->journal;
	bool moved = ti_journal_writeout_run(j);

	/* Rounds serve the write-out, and discards. */
	moved |= ti_flusher_run(&lun->flusher);
	moved |= ti_journal_commit_run(j);
	moved |= ti_journal_clear_run(j);
	return moved;
}

static void tick(struct ti_lun *lun)
{
	struct ti_journal *j = lun->journal;

	/* What was there at the last tick already has waited for half the commit time at least. */
	if (j->filled > 0 && j->tick_filled)
		j->commit_wanted = true;
	j->tick_filled = j->filled > 0;
	j->writeout_failed = false; /* try again */
	ti_tag_cache_tick(lun->cache);
}

static void clear(struct ti_slot *slot)
{
	ti_journal_clear(journal(slot), slot);
}

static bool elsewhere(const struct ti_lun *lun, uint64_t block)
{
	return ti_journal_find(lun->journal, block) != NULL;
}

/* Replay takes a section or leaves it: what stands in one section is atomic, data and tags. */
static uint64_t atomic_sectors(const struct ti_lun *lun)
{
	uint64_t unit = lun->io_align / TI_SECTOR_BYTES;
	uint64_t most = (uint64_t)lun->geo.section_entries * lun->geo.sectors_per_block;

	if (most > lun->part_sectors)
		most = lun->part_sectors;
	return most - most % unit;
}

static int open_journal(struct ti_lun *lun, struct ti_error *error)
{
	char *path;
	int err = ti_lun_ring_path(lun, &path, error);

	if (err != 0)
		return err;
	err = ti_journal_alloc(lun, path, &lun->journal, error);
	free(path);
	return err;
}

static int start(struct ti_lun *lun, struct ti_error *error)
{
	return ti_journal_start(lun->journal, true, error);
}

static int stop(struct ti_lun *lun)
{
	return ti_journal_stop(lun->journal);
}

static void close(struct ti_lun *lun)
{
	ti_journal_free(lun->journal);
	lun->journal = NULL;
}

const struct ti_policy_ops ti_policy_journal = {
	.name = "journal",
	.open = open_journal,
	.start = start,
	.begin_read = begin_read,
	.begin_write = begin_write,
	.clear = clear,
	.filler_first = true,
	.elsewhere = elsewhere,
	.flush = flush,
	.run = run,
	.tick = tick,
	.atomic_sectors = atomic_sectors,
	.stop = stop,
	.close = close,
};
