/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Entries and sections.  See journal.h for the ring.
 *
 * A block may stand in several entries.  The table leads to the newest; each one leads to the next
 * newer.  Sections are freed from the oldest on, so an entry that goes has no older ones.
 *
 * An entry never changes: an overwrite takes a new one.  A process that is killed in the middle of
 * it then leaves the old one, which has been acknowledged, whole; and a section that a failed
 * commit may have written is written again as it was.  (Were it changed and that write torn,
 * sectors of both would stand on the medium under one sequence number.)
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "journal.h"
#include "memory.h"

static uint32_t *bucket(const struct ti_journal *j, uint64_t block)
{
	return &j->table[(block * 0x9e3779b97f4a7c15ULL) >> j->table_shift];
}

static uint32_t section_of(const struct ti_journal *j, const struct ti_journal_entry *e)
{
	return (uint32_t)((size_t)(e - j->entry) / j->section_entries);
}

static uint32_t number_of(const struct ti_journal *j, const struct ti_journal_entry *e)
{
	return (uint32_t)((size_t)(e - j->entry) % j->section_entries);
}

/* How far the section is from the ring's first one. */
static uint32_t distance(const struct ti_journal *j, uint32_t section)
{
	return section >= j->first ? section - j->first : section + j->sections - j->first;
}

struct ti_journal_entry *ti_journal_find(const struct ti_journal *j, uint64_t block)
{
	uint32_t ref;

	if (j->used_entries == 0)
		return NULL;
	for (ref = *bucket(j, block); ref != 0; ref = j->entry[ref - 1].next)
		if (j->entry[ref - 1].block == block)
			return &j->entry[ref - 1];
	return NULL;
}

static void table_remove(struct ti_journal *j, struct ti_journal_entry *e)
{
	uint32_t ref = (uint32_t)(e - j->entry) + 1, *slot = bucket(j, e->block);

	while (*slot != ref)
		slot = &j->entry[*slot - 1].next;
	*slot = e->next;
}

void ti_journal_link(struct ti_journal *j, uint32_t i, uint32_t n, uint64_t block)
{
	uint32_t index = i * j->section_entries + n, *slot;
	struct ti_journal_entry *e = &j->entry[index], *older = ti_journal_find(j, block);

	assert(!e->used);
	e->block = block;
	e->newer = 0;
	e->used = true;
	if (older != NULL) {
		older->newer = index + 1;
		table_remove(j, older);
	}
	slot = bucket(j, block);
	e->next = *slot;
	*slot = index + 1;
	j->used_entries++;
}

uint64_t ti_journal_free_entries(const struct ti_journal *j)
{
	uint64_t open = j->filled > 0 ? j->section_entries - j->fill : 0;

	return open + (uint64_t)ti_journal_free_sections(j) * j->section_entries;
}

static uint8_t *entry_bytes(const struct ti_journal *j, uint32_t i, uint32_t n)
{
	return ti_journal_section(j, i) + ti_journal_entry_offset(j->geo, n);
}

static uint8_t *entry_data(const struct ti_journal *j, uint32_t i, uint32_t n)
{
	return ti_journal_section(j, i) + ti_journal_data_offset(j->geo, n);
}

void ti_journal_restore(struct ti_journal *j, uint32_t i, uint32_t n)
{
	const uint8_t *entry = entry_bytes(j, i, n);
	uint8_t *data = entry_data(j, i, n);

	for (uint32_t s = 0; s < j->geo->sectors_per_block; s++)
		memcpy(data + s * TI_SECTOR_BYTES + TI_JOURNAL_COMMIT_ID_OFFSET,
		       entry + ti_journal_last_bytes_offset(s), sizeof(struct ti_le64));
}

void ti_journal_copy(const struct ti_journal *j, const struct ti_journal_entry *e, uint8_t *out)
{
	uint32_t i = section_of(j, e), n = number_of(j, e);
	const uint8_t *entry = entry_bytes(j, i, n);

	/* The last 8 bytes of each sector may be a commit id just now. */
	memcpy(out, entry_data(j, i, n), j->geo->block_size);
	for (uint32_t s = 0; s < j->geo->sectors_per_block; s++)
		memcpy(out + s * TI_SECTOR_BYTES + TI_JOURNAL_COMMIT_ID_OFFSET,
		       entry + ti_journal_last_bytes_offset(s), sizeof(struct ti_le64));
}

/* No entry is used. */
void ti_journal_open_section(struct ti_journal *j)
{
	struct ti_section_word word;
	uint32_t i;

	assert(ti_journal_free_sections(j) > 0);
	i = ti_journal_ring(j, j->committed + j->committing + j->filled);
	/* A successor must neither compare what is in memory now with the medium, nor take old
	 * entries for new ones. */
	ti_section_set_state(j->store, i, TI_SECTION_OPENING);
	for (uint32_t n = 0; n < j->section_entries; n++)
		ti_journal_entry_set_sector(j->geo, ti_journal_section(j, i), n, TI_JOURNAL_UNUSED);
	word = ti_section_word(j->store, i);
	word.state = TI_SECTION_FILLED;
	word.turn += j->sections;
	ti_section_set(j->store, i, word);
	j->filled++;
	j->fill = 0;
}

static bool is_committed(const struct ti_journal *j, uint32_t section)
{
	return distance(j, section) < j->committed;
}

bool ti_journal_superseded(const struct ti_journal *j, const struct ti_journal_entry *e)
{
	return e->newer != 0 && is_committed(j, section_of(j, &j->entry[e->newer - 1]));
}

bool ti_journal_make_room(struct ti_journal *j, uint32_t blocks)
{
	if (j->filled > 0 && j->section_entries - j->fill >= blocks)
		return true;
	if (ti_journal_free_sections(j) == 0)
		return false;
	j->fill = j->section_entries; /* closed: the next entry opens another */
	return true;
}

/* The last store of an entry: a kill before it leaves an unused entry, after it a whole one.  (All
 * entries begin at a multiple of 8 bytes.) */
static void publish_entry(const struct ti_journal *j, uint8_t *bytes, uint64_t block)
{
	ti_store_put((uint64_t *)(void *)bytes, htole64(block * j->geo->sectors_per_block));
}

static uint8_t *newest_entry(struct ti_journal *j, uint64_t block)
{
	const struct ti_journal_entry *e = ti_journal_find(j, block);

	return entry_bytes(j, section_of(j, e), number_of(j, e));
}

void ti_journal_tag(struct ti_journal *j, uint64_t block, const uint8_t *tag, bool publish)
{
	uint8_t *bytes = newest_entry(j, block);

	memcpy(bytes + ti_journal_entry_tag_offset(j->geo), tag, j->geo->tag_size);
	if (publish)
		publish_entry(j, bytes, block);
}

void ti_journal_publish(struct ti_journal *j, uint64_t block)
{
	publish_entry(j, newest_entry(j, block), block);
}

uint8_t *ti_journal_insert(struct ti_journal *j, uint64_t block, struct ti_iov_cursor *data)
{
	const struct ti_geometry *geo = j->geo;
	uint32_t i, n;
	uint8_t *bytes, *place;

	if (j->filled == 0 || j->fill == j->section_entries)
		ti_journal_open_section(j);
	i = ti_journal_ring(j, j->committed + j->committing + j->filled - 1);
	n = j->fill++;
	ti_journal_link(j, i, n, block);
	bytes = entry_bytes(j, i, n);
	place = entry_data(j, i, n);
	ti_iov_copy_out(data, place, geo->block_size);
	for (uint32_t s = 0; s < geo->sectors_per_block; s++)
		memcpy(bytes + ti_journal_last_bytes_offset(s),
		       place + s * TI_SECTOR_BYTES + TI_JOURNAL_COMMIT_ID_OFFSET,
		       sizeof(struct ti_le64));
	j->insertions++;
	return place;
}

void ti_journal_release(struct ti_journal *j, uint32_t count)
{
	assert(count <= j->committed);
	for (; count > 0; count--) {
		struct ti_journal_entry *e = &j->entry[(size_t)j->first * j->section_entries];

		for (uint32_t n = 0; n < j->section_entries; n++, e++) {
			if (!e->used)
				continue;
			if (e->newer == 0)
				table_remove(j, e);
			e->used = false;
			j->used_entries--;
		}
		ti_section_set_state(j->store, j->first, TI_SECTION_CLEAN);
		j->first = ti_journal_ring(j, 1);
		j->committed--;
	}
}

bool ti_journal_idle(const struct ti_journal *j)
{
	return !j->commit_running && !j->writeout_running && j->ops_busy == 0;
}

void ti_journal_want(struct ti_journal *j, struct ti_slot *slot)
{
	struct ti_slot *next = STAILQ_FIRST(&j->want), *before = NULL;

	for (; next != NULL && next->turn < slot->turn; next = STAILQ_NEXT(next, link))
		before = next;
	if (before == NULL)
		STAILQ_INSERT_HEAD(&j->want, slot, link);
	else
		STAILQ_INSERT_AFTER(&j->want, before, slot, link);
}

void ti_journal_serve_want(struct ti_journal *j)
{
	struct ti_slot *slot;
	uint64_t entries = ti_journal_free_entries(j);

	/* Each of them will take at least one, and ask again for the rest. */
	while (entries > 0 && (slot = STAILQ_FIRST(&j->want)) != NULL) {
		uint64_t takes = ti_slot_blocks(slot);

		STAILQ_REMOVE_HEAD(&j->want, link);
		slot->pending = 1;
		ti_slot_ready(slot);
		entries -= takes < entries ? takes : entries;
	}
}

void ti_journal_fail_want(struct ti_journal *j, const struct ti_result *result)
{
	struct ti_slot *slot;

	while ((slot = STAILQ_FIRST(&j->want)) != NULL) {
		STAILQ_REMOVE_HEAD(&j->want, link);
		ti_slot_fail(slot, result->err, result->cause, slot->sector);
		slot->step = ti_part_done;
		slot->pending = 1;
		ti_slot_ready(slot);
	}
}

static int allocate(struct ti_journal *j, bool *locked)
{
	size_t buckets = 2, entries = (size_t)j->sections * j->section_entries;
	unsigned log2 = 1;

	while (buckets < entries) {
		buckets *= 2;
		log2++;
	}
	j->table_shift = 64 - log2;
	j->table_bytes = buckets * sizeof(*j->table);
	j->table = ti_memory_get(j->table_bytes, locked);
	if (ti_seal_encrypts(j->lun->seal)) {
		j->sealed_bytes = (size_t)j->sections * j->section_bytes;
		j->sealed = ti_memory_get(j->sealed_bytes, locked);
		if (j->sealed == NULL)
			return -ENOMEM;
	}
	j->entry_bytes = entries * sizeof(*j->entry);
	j->entry = ti_memory_get(j->entry_bytes, locked);
	j->ops_bytes = TI_JOURNAL_OPS * sizeof(*j->ops);
	j->ops = ti_memory_get(j->ops_bytes, locked);
	j->tags_bytes = TI_JOURNAL_OPS * (size_t)TI_JOURNAL_TAGS;
	j->tags = ti_memory_get(j->tags_bytes, locked);
	if (!j->table || !j->entry || !j->ops || !j->tags)
		return -ENOMEM;
	if (j->lun->allow_discards && ti_journal_medium_alloc(j, locked) != 0)
		return -ENOMEM;
	for (unsigned i = 0; i < TI_JOURNAL_OPS; i++) {
		j->ops[i].journal = j;
		j->ops[i].tags = j->tags + i * (size_t)TI_JOURNAL_TAGS;
		STAILQ_INSERT_TAIL(&j->free_ops, &j->ops[i], link);
	}
	return 0;
}

int ti_journal_alloc(struct ti_lun *lun, const char *path, struct ti_journal **journal,
		     struct ti_error *error)
{
	const struct ti_store_pair pair = ti_lun_store_pair(lun);
	struct ti_journal *j = calloc(1, sizeof(*j));
	uint64_t entries;
	int err;

	if (j == NULL)
		return ti_error_set(error, -ENOMEM, "out of memory");
	j->lun = lun;
	j->geo = &lun->geo;
	j->ids = ti_seal_ids(lun->seal);
	ti_stopwatch_init(&j->watch, lun->clock);
	j->section_bytes = ti_journal_section_bytes(&lun->geo);
	j->sections = lun->geo.journal_sections;
	j->section_entries = lun->geo.section_entries;
	STAILQ_INIT(&j->want);
	STAILQ_INIT(&j->clear);
	STAILQ_INIT(&j->now);
	STAILQ_INIT(&j->next);
	STAILQ_INIT(&j->free_ops);
	STAILQ_INIT(&j->done_ops);
	/* dm-integrity: journal_watermark says how full, rounded to whole entries. */
	entries = (uint64_t)j->sections * j->section_entries;
	j->threshold = (entries * (100 - lun->journal_watermark) + 50) / 100;
	j->run_blocks = TI_JOURNAL_TAGS / lun->geo.tag_size;
	if (j->run_blocks > (1U << 20) / lun->geo.block_size)
		j->run_blocks = (1U << 20) / lun->geo.block_size;
	/* A device with larger blocks than ours gets whole ones: requests are multiples of them, so
	 * are the pieces of a section that hold a request's blocks. */
	j->run_blocks -= j->run_blocks % (lun->io_align / lun->geo.block_size);
	/* Entry numbers + 1 must fit 32 bits, and memory must be addressable. */
	err = entries >= UINT32_MAX ? -ENOMEM : allocate(j, &lun->locked_memory);
	if (err != 0)
		ti_error_set(error, err, "out of memory for a journal of %" PRIu32 " sections",
			     j->sections);
	else
		err = ti_journal_store_open(path, &pair, lun->read_only, &lun->log,
					    &lun->locked_memory, &j->store, error);
	if (err != 0) {
		ti_journal_free(j);
		return err;
	}
	j->memory = j->store->memory;
	j->memory_bytes = j->store->memory_bytes;
	*journal = j;
	return 0;
}

void ti_journal_free(struct ti_journal *j)
{
	if (j == NULL)
		return;
	ti_journal_medium_free(j);
	ti_memory_put(j->tags, j->tags_bytes);
	ti_memory_put(j->ops, j->ops_bytes);
	ti_memory_put(j->entry, j->entry_bytes);
	ti_memory_put(j->sealed, j->sealed_bytes);
	ti_journal_store_close(j->store);
	ti_memory_put(j->table, j->table_bytes);
	free(j);
}
