/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A journal that somebody has changed: fresh sections with any sequence numbers, then any bytes at
 * any places.
 *
 * Input: block and tag size, number of sections, their sequence numbers, and changes of a place (4
 * bytes) and what lies there then (8 bytes).
 */
#include "fuzz_input.h"
#include "journal_scan.h"

#define MAX_SECTIONS 8U
#define CHANGE_BYTES 12U

/* The largest section has 8 sectors of entries and 48 blocks of 8 sectors. */
static uint8_t area[MAX_SECTIONS * (8 + 48 * 8) * TI_SECTOR_BYTES];

static struct ti_geometry any_geometry(struct fuzz_input *in)
{
	uint8_t shape = fuzz_take8(in);
	struct ti_superblock sb = {
		.tag_size = 1,
		.journal_sections = 1 + (shape >> 2) % MAX_SECTIONS,
		.provided_sectors = 8,
		.flags = shape & 0x80 ? TI_SB_HAVE_JOURNAL_MAC : 0,
		.log2_sectors_per_block = shape & 3,
	};
	struct ti_pair_sizes sizes = {
		.data_sectors = 8, .meta_sectors = 100000, .data_name = "", .meta_name = ""
	};
	struct ti_geometry geo;

	sb.tag_size = (uint16_t)(sb.tag_size + fuzz_take8(in) % TI_MAX_TAG_SIZE);
	FUZZ_MUST(!ti_geometry_load(&sb, &sizes, 0, 0, &geo, NULL));
	return geo;
}

static void check_summary(const struct ti_journal_summary *s, uint32_t sections)
{
	FUZZ_MUST(s->sections == sections && s->shown == sections);
	FUZZ_MUST(s->replay_entries <= s->used_entries);
	FUZZ_MUST(s->replay_first < sections && s->replay_sections <= sections);
	for (uint32_t i = 0; i < s->replay_sections; i++)
		FUZZ_MUST(s->seq[(s->replay_first + i) % sections] < TI_JOURNAL_SEQS);
	switch (s->state) {
	case TI_JOURNAL_EMPTY:
		break;
	case TI_JOURNAL_FULL:
		FUZZ_MUST(s->replay_sections == sections && s->replay_entries);
		break;
	case TI_JOURNAL_PARTIAL:
		FUZZ_MUST(s->replay_sections < sections && s->used_entries);
		break;
	case TI_JOURNAL_DAMAGED:
		FUZZ_MUST(!s->replay_sections && !s->replay_entries);
		break;
	}
	for (uint32_t i = 0; i < sections; i++)
		FUZZ_MUST(s->seq[i] != TI_JOURNAL_SEQ_BAD || s->state == TI_JOURNAL_DAMAGED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .size = size };
	const struct ti_geometry geo = any_geometry(&in);
	const struct ti_journal_ids ids = ti_journal_plain_ids();
	size_t bytes = ti_journal_section_bytes(&geo);
	struct ti_journal_section section[MAX_SECTIONS];
	struct ti_journal_summary summary;

	FUZZ_MUST(bytes * geo.journal_sections <= sizeof(area));
	for (uint32_t i = 0; i < geo.journal_sections; i++)
		ti_journal_format_section(&geo, i, fuzz_take8(&in) % TI_JOURNAL_SEQS,
					  area + i * bytes);
	while (in.size >= CHANGE_BYTES) {
		size_t at = fuzz_take32(&in) % (bytes * geo.journal_sections - 7);

		fuzz_take(&in, area + at, 8);
	}
	for (uint32_t i = 0; i < geo.journal_sections; i++) {
		section[i] = ti_journal_look(&geo, &ids, i, area + i * bytes);
		FUZZ_MUST(section[i].used <= geo.section_entries);
		FUZZ_MUST(section[i].seq <= TI_JOURNAL_SEQ_BAD);
	}
	ti_journal_conclude(section, geo.journal_sections, &summary);
	check_summary(&summary, geo.journal_sections);
	return 0;
}
