/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See journal_overlay.h.  Which sections count, and in which order, is journal_scan.h's conclusion.
 */
#include "journal_overlay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "journal_format.h"
#include "journal_scan.h"
#include "memory.h"
#include "secret.h"

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void sort(struct ti_journal_overlay *o)
{
	size_t kept = 0;

	if (o->count == 0)
		return;
	qsort(o->block, o->count, sizeof(*o->block), by_number);
	for (size_t i = 1; i < o->count; i++)
		if (o->block[i] != o->block[kept])
			o->block[++kept] = o->block[i];
	o->count = kept + 1;
}

static int damaged(const char *name, const struct ti_journal_summary *s, struct ti_error *error)
{
	if (s->bad_section == UINT32_MAX)
		return ti_error_set(error, -EUCLEAN,
				    "%s has a damaged journal (all four sequence numbers occur in "
				    "it), so nobody can say which blocks it would change: restore "
				    "the metadata device from a copy",
				    name);
	return ti_error_set(error, -EUCLEAN,
			    "%s has a damaged or encrypted journal (an unknown commit id in "
			    "section %" PRIu32 ", sector %" PRIu32
			    "), so nobody can say which blocks it would change: restore the "
			    "metadata device from a copy, or open it with its journal's key",
			    name, s->bad_section, s->bad_sector);
}

/* Does entry @n's block, put together in memory, match the tag in the entry? */
static bool matches(const struct ti_geometry *geo, const struct ti_hash *hash, uint64_t sector,
		    uint8_t *section, uint32_t n)
{
	uint8_t *data = section + ti_journal_data_offset(geo, n), tag[TI_MAX_TAG_SIZE];
	const uint8_t *entry = section + ti_journal_entry_offset(geo, n);

	for (uint32_t s = 0; s < geo->sectors_per_block; s++)
		memcpy(data + s * TI_SECTOR_BYTES + TI_JOURNAL_COMMIT_ID_OFFSET,
		       entry + ti_journal_last_bytes_offset(s), sizeof(struct ti_le64));
	ti_hash_same(hash, sector, data, 1, tag);
	return ti_secret_equal(tag, entry + ti_journal_entry_tag_offset(geo), geo->tag_size);
}

static int take_section(const char *name, const struct ti_geometry *geo, const struct ti_hash *hash,
			uint32_t i, uint8_t *section, struct ti_journal_overlay *o,
			struct ti_error *error)
{
	for (uint32_t n = 0; n < geo->section_entries; n++) {
		uint64_t sector = ti_journal_entry_sector(geo, section, n);

		if (ti_journal_sector_is_unused(sector))
			continue;
		if (sector % geo->sectors_per_block != 0)
			return ti_error_set(error, -EUCLEAN,
					    "%s has a damaged journal (section %" PRIu32
					    ", entry %" PRIu32 " names sector %" PRIu64
					    ", which is no block's first): restore the metadata "
					    "device from a copy",
					    name, i, n, sector);
		if (sector >= geo->provided_sectors)
			continue; /* as replay does */
		if (!matches(geo, hash, sector, section, n))
			return ti_error_set(
				error, -EUCLEAN,
				"%s has a journal that holds a block for sector %" PRIu64
				" that does not match its tag (section %" PRIu32 ", entry %" PRIu32
				"), so it cannot be replayed: check "
				"--integrity, or restore the metadata device from a copy",
				name, sector, i, n);
		o->block[o->count++] = sector / geo->sectors_per_block;
	}
	return 0;
}

int ti_journal_overlay_load(struct ti_queue *q, const struct ti_geometry *geo,
			    const struct ti_seal *seal, const struct ti_hash *hash,
			    struct ti_journal_overlay *o, struct ti_error *error)
{
	const char *name = q->dev[TI_META].name;
	size_t bytes = ti_journal_section_bytes(geo);
	struct ti_journal_summary s;
	uint8_t *section;
	bool locked;
	int err;

	*o = (struct ti_journal_overlay){ 0 };
	err = ti_journal_scan_sealed(q, geo, seal, &s, error);
	if (err != 0 || s.state == TI_JOURNAL_EMPTY)
		return err;
	if (s.state == TI_JOURNAL_DAMAGED)
		return damaged(name, &s, error);
	o->block = calloc(s.replay_entries + 1, sizeof(*o->block));
	o->room = s.replay_entries;
	section = ti_memory_get(bytes, &locked);
	if (o->block == NULL || section == NULL)
		err = ti_error_set(error, -ENOMEM, "there is no memory for the journal of %s",
				   name);
	for (uint32_t k = 0; err == 0 && k < s.replay_sections; k++) {
		uint32_t i = (uint32_t)(((uint64_t)s.replay_first + k) % s.sections);

		err = ti_queue_sync(q, TI_IO_READ, TI_META, geo->journal_offset + i * bytes,
				    section, bytes);
		if (err != 0)
			ti_error_set(error, err,
				     "cannot read section %" PRIu32 " of the journal on %s: %s", i,
				     name, strerror(-err));
		else
			ti_seal_decrypt(seal, i, section);
		if (err == 0 && !ti_seal_mac_is_right(seal, i, section))
			err = ti_error_set(
				error, -EUCLEAN,
				"section %" PRIu32 " of the journal on %s does not match "
				"its MAC, so it cannot be replayed: somebody has changed "
				"it, or the key of the journal is another one",
				i, name);
		else if (err == 0 &&
			 ti_journal_look(geo, &(struct ti_journal_ids){ 0 }, i, section).used >
				 o->room - o->count)
			err = ti_error_set(error, -EBUSY,
					   "the journal on %s changes while it is "
					   "read: somebody else uses the device",
					   name);
		else if (err == 0)
			err = take_section(name, geo, hash, i, section, o, error);
	}
	ti_memory_put(section, bytes);
	sort(o);
	return err;
}

bool ti_journal_overlay_has(const struct ti_journal_overlay *o, uint64_t block)
{
	return o->count > 0 &&
	       bsearch(&block, o->block, o->count, sizeof(*o->block), by_number) != NULL;
}

void ti_journal_overlay_free(struct ti_journal_overlay *o)
{
	free(o->block);
	*o = (struct ti_journal_overlay){ 0 };
}
