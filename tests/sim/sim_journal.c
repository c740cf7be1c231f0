/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See sim_journal.h. */
#include "sim_journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "journal_format.h"

#define MAX_SECTIONS 64U

struct sim_lun *sim_journal_make(uint32_t sections, unsigned watermark)
{
	struct sim_lun *l = sim_lun_make(&(struct sim_lun_options){
		.shape = { .tag_size = 255, .journal_sectors = sections * 16 },
		.blocks = 1000,
		.lun = { .mode = TI_MODE_JOURNAL, .journal_watermark = watermark },
	});

	assert_int_equal(l->geo.journal_sections, sections);
	assert_int_equal(l->geo.section_entries, SIM_SECTION_ENTRIES);
	assert_true(sections <= MAX_SECTIONS);
	return l;
}

struct sim_lun *sim_journal_new(uint32_t sections, unsigned watermark)
{
	struct sim_lun *l = sim_journal_make(sections, watermark);

	if (sim_lun_open(l) != 0)
		fail_msg("%s", l->error.text);
	sim_forget(l);
	return l;
}

uint8_t *sim_journal_bytes(struct sim_lun *l, uint32_t i)
{
	return sim_contents(l->sim, TI_META) + l->geo.journal_offset +
	       i * ti_journal_section_bytes(&l->geo);
}

struct ti_journal_section sim_journal_section(struct sim_lun *l, uint32_t i)
{
	const struct ti_journal_ids ids = ti_journal_plain_ids();

	return ti_journal_look(&l->geo, &ids, i, sim_journal_bytes(l, i));
}

struct ti_journal_summary sim_journal_look(struct sim_lun *l)
{
	struct ti_journal_section section[MAX_SECTIONS];
	struct ti_journal_summary summary;

	for (uint32_t i = 0; i < l->geo.journal_sections; i++)
		section[i] = sim_journal_section(l, i);
	ti_journal_conclude(section, l->geo.journal_sections, &summary);
	return summary;
}

void sim_journal_entry(struct sim_lun *l, uint32_t i, uint32_t n, uint32_t block, uint32_t version)
{
	const struct ti_geometry *geo = &l->geo;
	uint8_t *section = sim_journal_bytes(l, i), content[4096];
	uint8_t *entry = section + ti_journal_entry_offset(geo, n);
	uint8_t *data = section + ti_journal_data_offset(geo, n);
	uint64_t sector = (uint64_t)block * geo->sectors_per_block;

	sim_content(l, block, version, content);
	for (uint32_t s = 0; s < geo->sectors_per_block; s++) {
		memcpy(data + s * TI_SECTOR_BYTES, content + s * TI_SECTOR_BYTES,
		       TI_JOURNAL_COMMIT_ID_OFFSET);
		memcpy(entry + ti_journal_last_bytes_offset(s),
		       content + s * TI_SECTOR_BYTES + TI_JOURNAL_COMMIT_ID_OFFSET,
		       sizeof(struct ti_le64));
	}
	ti_hash_same(&l->hash, sector, content, 1, entry + ti_journal_entry_tag_offset(geo));
	ti_journal_entry_set_sector(geo, section, n, sector);
	sim_settle(l->sim, TI_META);
}

void sim_journal_seq(struct sim_lun *l, uint32_t i, unsigned seq)
{
	const struct ti_journal_ids ids = ti_journal_plain_ids();

	for (uint32_t s = 0; s < l->geo.section_sectors; s++)
		ti_journal_set_id(sim_journal_bytes(l, i), s,
				  ti_journal_commit_id(&ids, i, s, seq));
	sim_settle(l->sim, TI_META);
}

unsigned sim_started_at(const struct sim_lun *l, enum ti_device dev, enum ti_io_op op,
			uint64_t offset)
{
	unsigned count = 0;

	for (unsigned i = 0; i < l->events; i++) {
		const struct sim_event *e = &l->event[i];

		if (e->dev == dev && e->op == op && !e->completed && e->offset <= offset &&
		    offset - e->offset < e->len)
			count++;
	}
	return count;
}
