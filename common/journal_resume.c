/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Going on with the ring of a process that was killed.  See journal_store.h.
 *
 * Three questions, and nothing is changed before all are answered with yes:
 *
 *  1. Do the words make a ring?  In the order of their turns, which follow each other in a circle,
 *     the sections are [OPENING] CLEAN.. COMMITTED.. TRIED.. FILLED.., each part perhaps empty, and
 *     their sequence numbers are those that commits in this order give.
 *  2. Is the medium what they say?  Commit ids in every sector, and the other bytes too wherever
 *     those in memory are the ones that were written.  If not, somebody else has opened the pair
 *     since: what he wrote may be newer than our writes, so these are dropped, and said to be.
 *  3. Are the entries sound?  Used ones come before unused ones, name a block of the LUN and match
 *     their tags.  In a section that was being filled, what stands behind an unused entry is the
 *     rest of an atomic write that the kill has cut, and is cleared.  So are the last ones before
 *     it, if they are a part only of what the data device, whose blocks may be larger than ours,
 *     writes at once: the kill came before the write's other blocks.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "journal.h"
#include "journal_overlay.h"
#include "memory.h"

#define CHUNK_BYTES (1U << 20)
#define MAX_TURN    (TI_SECTION_MAX_TURN / 2) /* far from the end of what a word can say */

/* The ring as the words tell it. */
struct ring {
	uint32_t first; /* section that is to be filled next, or the oldest */
	uint32_t clean, committed, tried, filled; /* how many, in this order from first on */
};

static unsigned next_seq(unsigned seq)
{
	return (seq + 1) % TI_JOURNAL_SEQS;
}

/* The number that the section has, or gets with its next commit, in the order of commits. */
static unsigned committed_seq(const struct ti_section_word *w)
{
	bool pending = w->state == TI_SECTION_TRIED || w->state == TI_SECTION_FILLED;

	return pending ? next_seq(w->seq) : w->seq;
}

static uint32_t oldest_section(const struct ti_journal *j)
{
	uint32_t oldest = 0;

	for (uint32_t i = 1; i < j->sections; i++)
		if (ti_section_word(j->store, i).turn < ti_section_word(j->store, oldest).turn)
			oldest = i;
	return oldest;
}

static bool count_section(struct ring *r, uint32_t k, enum ti_section_state state)
{
	switch (state) {
	case TI_SECTION_OPENING:
		r->clean++;
		return k == 0;
	case TI_SECTION_CLEAN:
		r->clean++;
		return r->committed + r->tried + r->filled == 0;
	case TI_SECTION_COMMITTED:
		r->committed++;
		return r->tried + r->filled == 0;
	case TI_SECTION_TRIED:
		r->tried++;
		return r->filled == 0;
	case TI_SECTION_FILLED:
		r->filled++;
		return true;
	}
	return false;
}

static bool is_ring(const struct ti_journal *j, struct ring *r)
{
	struct ti_section_word before = { 0 }, w;

	*r = (struct ring){ .first = oldest_section(j) };
	for (uint32_t k = 0; k < j->sections; k++, before = w) {
		uint32_t i = (uint32_t)(((uint64_t)r->first + k) % j->sections);

		w = ti_section_word(j->store, i);
		if (!count_section(r, k, w.state))
			return false;
		if (w.turn > MAX_TURN || (k > 0 && w.turn != before.turn + 1))
			return false;
		/* dm-integrity: the number steps on where the ring begins anew. */
		if (k > 0 && committed_seq(&w) != (i == 0 ? next_seq(committed_seq(&before))
							  : committed_seq(&before)))
			return false;
	}
	return true;
}

/* Is sector @s of section @i on the medium what the word says? */
static bool same_sector(const struct ti_journal *j, const struct ti_section_word *w, uint32_t i,
			uint32_t s, const uint8_t *medium)
{
	uint64_t id = ti_journal_get_id(medium, s);
	bool old = id == ti_journal_commit_id(&j->ids, i, s, w->seq);
	const uint8_t *memory = ti_journal_section(j, i) + (size_t)s * TI_SECTOR_BYTES;
	/* Memory may have the block's last bytes in the place of the commit id. */
	bool same = memcmp(memory, medium + (size_t)s * TI_SECTOR_BYTES,
			   TI_JOURNAL_COMMIT_ID_OFFSET) == 0;

	switch (w->state) {
	case TI_SECTION_CLEAN:
	case TI_SECTION_COMMITTED:
		return old && same;
	case TI_SECTION_OPENING:
	case TI_SECTION_FILLED:
		return old;
	case TI_SECTION_TRIED:
		/* Where sectors of both meet, a block cipher leaves garbage in the plain text. */
		same = same || ti_seal_encrypts(j->lun->seal);
		return old || (same && id == ti_journal_commit_id(&j->ids, i, s, next_seq(w->seq)));
	}
	return false;
}

static bool same_section(const struct ti_journal *j, uint32_t i, const uint8_t *medium)
{
	struct ti_section_word w = ti_section_word(j->store, i);

	for (uint32_t s = 0; s < j->geo->section_sectors; s++)
		if (!same_sector(j, &w, i, s, medium))
			return false;
	return true;
}

/* Compare the medium with the store.  Returns 1, 0 if they differ, or negative errno. */
static int compare(struct ti_journal *j, struct ti_error *error)
{
	struct ti_queue *q = j->lun->queue;
	uint32_t chunk =
		j->section_bytes < CHUNK_BYTES ? (uint32_t)(CHUNK_BYTES / j->section_bytes) : 1;
	bool locked;
	uint8_t *buf = ti_memory_get(chunk * j->section_bytes, &locked);
	int same = 1;

	if (buf == NULL)
		return ti_error_set(error, -ENOMEM, "out of memory to read the journal");
	for (uint32_t i = 0; same > 0 && i < j->sections; i += chunk) {
		uint64_t offset = j->geo->journal_offset + (uint64_t)i * j->section_bytes;
		uint32_t n = j->sections - i < chunk ? j->sections - i : chunk;
		int err = ti_queue_sync(q, TI_IO_READ, TI_META, offset, buf, n * j->section_bytes);

		if (err != 0)
			same = ti_error_set(
				error, err,
				"cannot read the journal of %s at sector %" PRIu64 ": %s",
				q->dev[TI_META].name, offset / TI_SECTOR_BYTES, strerror(-err));
		for (uint32_t k = 0; same > 0 && k < n; k++) {
			uint8_t *section = buf + k * j->section_bytes;

			ti_seal_decrypt(j->lun->seal, i + k, section);
			ti_journal_medium_set(j, i + k, section);
			if (!same_section(j, i + k, section))
				same = 0;
		}
	}
	ti_memory_put(buf, chunk * j->section_bytes);
	return same;
}

/* Requests are of whole units, and none lies in two sections: what is left over has been cut. */
static uint32_t whole_units(const struct ti_journal *j, uint32_t entries)
{
	return entries - entries % (j->lun->io_align / j->geo->block_size);
}

/* Entries that match their tags, and that do not. */
struct tags {
	uint64_t right, wrong;
};

/* Check the entries of section @i.  Returns how many are used, or -1. */
static int64_t check_entries(struct ti_journal *j, uint32_t i, struct tags *tags)
{
	bool filling = ti_section_word(j->store, i).state == TI_SECTION_FILLED;
	const struct ti_geometry *geo = j->geo;
	const uint8_t *section = ti_journal_section(j, i);
	uint32_t used = 0;

	for (uint32_t n = 0; n < j->section_entries; n++) {
		uint64_t sector = ti_journal_entry_sector(geo, section, n);

		if (ti_journal_sector_is_unused(sector) && filling)
			break;
		if (ti_journal_sector_is_unused(sector))
			continue;
		if (n != used || sector % geo->sectors_per_block != 0 ||
		    sector >= geo->provided_sectors)
			return -1;
		if (ti_journal_verify(j, i, n, sector))
			tags->right++;
		else
			tags->wrong++;
		used++;
	}
	return filling ? whole_units(j, used) : used;
}

/* Every section that is not clean; *@pending: entries that are not committed. */
static bool check_all_entries(struct ti_journal *j, const struct ring *r, uint64_t *pending,
			      struct tags *tags)
{
	*pending = 0;
	*tags = (struct tags){ 0 };
	for (uint32_t k = r->clean; k < j->sections; k++) {
		uint32_t i = (uint32_t)(((uint64_t)r->first + k) % j->sections);
		int64_t used = check_entries(j, i, tags);

		if (used < 0)
			return false;
		if (k >= r->clean + r->committed)
			*pending += (uint64_t)used;
	}
	return true;
}

/*
 * The medium is not what the ring says.  Could it be replayed without the ring?  If not, nobody has
 * used the pair with it: it is damaged, or our key is the wrong one.  The open is refused in any
 * case, and the ring stays.
 */
static int check_medium(struct ti_journal *j, struct ti_error *error)
{
	struct ti_lun *lun = j->lun;
	struct ti_journal_overlay replayed;
	int err = ti_journal_overlay_load(lun->queue, j->geo, lun->seal, &lun->hash, &replayed,
					  error);

	ti_journal_overlay_free(&replayed);
	return err;
}

static void link_entries(struct ti_journal *j, uint32_t i)
{
	bool filling = ti_section_word(j->store, i).state == TI_SECTION_FILLED;
	uint8_t *section = ti_journal_section(j, i);
	uint32_t used = 0;

	while (used < j->section_entries &&
	       !ti_journal_sector_is_unused(ti_journal_entry_sector(j->geo, section, used)))
		used++;
	if (filling)
		used = whole_units(j, used);
	for (uint32_t n = 0; n < used; n++)
		ti_journal_link(j, i, n,
				ti_journal_entry_sector(j->geo, section, n) /
					j->geo->sectors_per_block);
	j->fill = used;
	for (uint32_t n = used; filling && n < j->section_entries; n++)
		ti_journal_entry_set_sector(j->geo, section, n, TI_JOURNAL_UNUSED);
}

/* Make the ring ours. */
static void take_over(struct ti_journal *j, const struct ring *r)
{
	struct ti_section_word newest;
	uint32_t last;

	j->first = (uint32_t)(((uint64_t)r->first + r->clean) % j->sections);
	j->committed = r->committed;
	j->filled = r->tried + r->filled;
	for (uint32_t k = 0; k < j->committed + j->filled; k++)
		link_entries(j, ti_journal_ring(j, k)); /* fill: the last one's stays */
	if (r->filled == 0)
		j->fill = j->section_entries; /* a section that has been tried is closed */
	/* The number that the first section gets which is not committed. */
	last = ti_journal_ring(j, j->committed + j->sections - 1);
	newest = ti_section_word(j->store, last);
	if (r->clean + r->committed > 0)
		j->seq = (uint8_t)(last == j->sections - 1 ? next_seq(newest.seq) : newest.seq);
	else
		j->seq = (uint8_t)next_seq(ti_section_word(j->store, j->first).seq);
	j->entries = true;
	j->store->inherited = false;
}

int ti_journal_resume(struct ti_journal *j, struct ti_error *error)
{
	const struct ti_log *log = &j->lun->log;
	const char *name = j->lun->queue->dev[TI_META].name, *path = j->store->file.path;
	uint64_t pending = 0;
	struct tags tags = { 0 };
	struct ring r;
	int same, err;
	bool sound = is_ring(j, &r) && check_all_entries(j, &r, &pending, &tags);

	if (sound && tags.right == 0 && tags.wrong > 0)
		return ti_error_set(
			error, -EILSEQ,
			"no write that a killed tcmu-runner left in %s matches its tag: "
			"give the digest and the key that it had; or delete the file, if "
			"the writes are not needed",
			path);
	if (!sound || tags.wrong > 0) {
		ti_log(log, TI_LOG_ERR,
		       "the journal that a killed tcmu-runner left is damaged, writes that it had "
		       "acknowledged and not committed are lost path=%s",
		       path);
		ti_journal_store_drop(j->store);
		return 0;
	}
	same = compare(j, error);
	if (same < 0)
		return same;
	if (same == 0) {
		err = check_medium(j, error);
		if (err != 0)
			return err;
		ti_log(log, pending > 0 ? TI_LOG_ERR : TI_LOG_WARN,
		       "the journal on %s is not as a killed tcmu-runner left it: somebody else "
		       "has "
		       "opened the pair since, and writes that it had acknowledged and not "
		       "committed are dropped blocks=%" PRIu64 " path=%s",
		       name, pending, path);
		ti_journal_store_drop(j->store);
		return 0;
	}
	if (j->lun->read_only && r.committed + r.tried + r.filled > 0)
		return ti_error_set(error, -EUCLEAN,
				    "a tcmu-runner was killed that has left writes for %s in %s, "
				    "which a read-only open cannot bring home: open it for writing "
				    "first",
				    name, path);
	if (j->lun->read_only) {
		j->store->inherited = false;
		return 0;
	}
	take_over(j, &r);
	ti_log(log, TI_LOG_WARN,
	       "the tcmu-runner before this one died with the LUN open; its journal is continued "
	       "uncommitted_blocks=%" PRIu64 " sections=%" PRIu32,
	       pending, r.committed + r.tried + r.filled);
	return 1;
}
