/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Clearing: before a discard begins, nothing may be left that could write to its range later.
 *
 * Two things could.  Entries of the range that are not in their places yet: these are committed and
 * written out.  And entries that have been for long: their sections are free, but until they are
 * committed anew they lie on the medium, and replay applies every entry of every section it finds
 * whole.  The kernel leaves these; after a crash the old block is there again.  We write over them:
 * the ring goes on, through empty sections, until the last one that names a block of the range has
 * been committed anew.  That is nothing but an ordinary commit, so a crash in the middle of it, a
 * kill, a kernel that opens the pair, MACs and ciphers need no further thought.  Its price is up to
 * a ring's worth of writing, paid only by a discard of what the ring still holds; after that there
 * is nothing of it left to be paid for.
 *
 * (Marking single entries unused in their place would be cheaper, but is not safe: with a MAC or a
 * block cipher a torn write of this kind damages the section, and a damaged journal is the end of
 * the pair.  Nor can the filler be journalled: replay would find that it does not match the block.)
 *
 * The range is locked: no new entry of it appears meanwhile.  So each step is needed once, whatever
 * others write.
 */
#include <errno.h>

#include "journal.h"
#include "memory.h"

#define NO_BLOCK UINT64_MAX

int ti_journal_medium_alloc(struct ti_journal *j, bool *locked)
{
	size_t entries = (size_t)j->sections * j->section_entries;

	j->medium_bytes = entries * sizeof(*j->medium);
	j->medium = ti_memory_get(j->medium_bytes, locked);
	j->span_bytes = j->sections * sizeof(*j->span);
	j->span = ti_memory_get(j->span_bytes, locked);
	if (j->medium == NULL || j->span == NULL)
		return -ENOMEM;
	for (size_t n = 0; n < entries; n++)
		j->medium[n] = NO_BLOCK;
	for (uint32_t i = 0; i < j->sections; i++)
		j->span[i] = (struct ti_journal_span){ .first = NO_BLOCK };
	return 0;
}

void ti_journal_medium_free(struct ti_journal *j)
{
	ti_memory_put(j->medium, j->medium_bytes);
	ti_memory_put(j->span, j->span_bytes);
}

void ti_journal_medium_set(struct ti_journal *j, uint32_t i, const uint8_t *section)
{
	struct ti_journal_span span = { .first = NO_BLOCK };
	uint64_t *block;

	if (j->medium == NULL)
		return;
	block = &j->medium[(size_t)i * j->section_entries];
	for (uint32_t n = 0; n < j->section_entries; n++) {
		uint64_t sector = ti_journal_entry_sector(j->geo, section, n);

		block[n] = NO_BLOCK;
		if (ti_journal_sector_is_unused(sector))
			continue;
		block[n] = sector / j->geo->sectors_per_block;
		if (block[n] < span.first)
			span.first = block[n];
		if (block[n] > span.last)
			span.last = block[n];
	}
	j->span[i] = span;
}

/* A discard's blocks. */
struct range {
	uint64_t first, end;
};

static struct range range_of(const struct ti_journal *j, const struct ti_slot *slot)
{
	const struct ti_request *req = slot->req;

	return (struct range){ req->sector / j->geo->sectors_per_block,
			       (req->sector + req->sectors) / j->geo->sectors_per_block };
}

static bool in(const struct range *r, uint64_t block)
{
	return block >= r->first && block < r->end;
}

/* Is the newest version of a block of the range in the journal? */
static bool any_entry(const struct ti_journal *j, const struct range *r)
{
	size_t used = (size_t)(j->sections - ti_journal_free_sections(j)) * j->section_entries;

	if (j->used_entries == 0)
		return false;
	/* Whatever is less: to look for each block, or at each entry. */
	if (r->end - r->first < used) {
		for (uint64_t block = r->first; block < r->end; block++)
			if (ti_journal_find(j, block) != NULL)
				return true;
		return false;
	}
	for (uint32_t k = 0; k < j->sections - ti_journal_free_sections(j); k++) {
		const struct ti_journal_entry *e =
			&j->entry[(size_t)ti_journal_ring(j, k) * j->section_entries];

		for (uint32_t n = 0; n < j->section_entries; n++)
			if (e[n].used && in(r, e[n].block))
				return true;
	}
	return false;
}

/* Does section @i name a block of the range, on the medium? */
static bool names(const struct ti_journal *j, uint32_t i, const struct range *r)
{
	const uint64_t *block = &j->medium[(size_t)i * j->section_entries];

	if (j->span[i].first >= r->end || j->span[i].last < r->first)
		return false;
	for (uint32_t n = 0; n < j->section_entries; n++)
		if (in(r, block[n]))
			return true;
	return false;
}

/*
 * Fill sections with nothing up to the last free one that names a block of the range.  Returns
 * whether any section names one, free or not.
 */
static bool push(struct ti_journal *j, const struct range *r)
{
	uint32_t busy = j->sections - ti_journal_free_sections(j), last = 0;
	bool any = false;

	for (uint32_t k = 0; k < j->sections; k++) {
		if (!names(j, ti_journal_ring(j, k), r))
			continue;
		any = true;
		if (k >= busy)
			last = k + 1 - busy;
	}
	for (; last > 0; last--)
		ti_journal_open_section(j);
	return any;
}

/* One discard: true if its range is clear, else what it needs is on its way. */
static bool look(struct ti_journal *j, const struct ti_slot *slot)
{
	struct range r = range_of(j, slot);

	if (any_entry(j, &r))
		j->draining = true;
	else if (!push(j, &r))
		return true;
	/* What is not committed, is: entries of the range, or what goes over them. */
	j->commit_wanted |= j->filled > 0;
	return false;
}

void ti_journal_clear(struct ti_journal *j, struct ti_slot *slot)
{
	STAILQ_INSERT_TAIL(&j->clear, slot, link);
	j->clear_look = true;
}

bool ti_journal_clear_run(struct ti_journal *j)
{
	struct ti_slot_list waiting = STAILQ_HEAD_INITIALIZER(waiting);
	struct ti_slot *slot;

	if (!j->clear_look || STAILQ_EMPTY(&j->clear))
		return false;
	j->clear_look = false;
	j->draining = false;
	STAILQ_CONCAT(&waiting, &j->clear);
	while ((slot = STAILQ_FIRST(&waiting)) != NULL) {
		STAILQ_REMOVE_HEAD(&waiting, link);
		if (!look(j, slot)) {
			STAILQ_INSERT_TAIL(&j->clear, slot, link);
			continue;
		}
		slot->step = ti_part_first;
		slot->pending = 1;
		ti_slot_ready(slot);
	}
	return true;
}

void ti_journal_fail_clear(struct ti_journal *j, const struct ti_result *result)
{
	struct ti_slot *slot;

	j->draining = false;
	while ((slot = STAILQ_FIRST(&j->clear)) != NULL) {
		STAILQ_REMOVE_HEAD(&j->clear, link);
		ti_slot_fail(slot, result->err, result->cause, slot->req->sector);
		slot->step = ti_request_done;
		slot->pending = 1;
		ti_slot_ready(slot);
	}
}
