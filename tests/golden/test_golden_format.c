/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The superblock and the tags of the kernel's images: we read what it wrote, and would have written
 * the same.
 */
#include "image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hash.h"
#include "journal_format.h"

static void superblock_says_what_the_readme_says(void **state)
{
	const struct golden_pair *p = *state;
	const struct golden_image *want = p->image;

	assert_int_equal(p->data_bytes, want->data_sectors * TI_SECTOR_BYTES);
	assert_int_equal(p->meta_bytes, want->meta_sectors * TI_SECTOR_BYTES);
	assert_int_equal(p->sb.version, want->version);
	assert_int_equal(p->sb.flags, want->flags);
	assert_int_equal(p->sb.tag_size, want->shape.tag_size);
	assert_int_equal(512U << p->sb.log2_sectors_per_block, want->shape.block_size);
	assert_int_equal(p->sb.provided_sectors, want->data_sectors);
	assert_int_equal(p->sb.journal_sections, want->journal_sections);
	assert_int_equal(p->sb.log2_blocks_per_bitmap_bit, want->log2_blocks_per_bitmap_bit);
	assert_int_equal(p->sb.recalc_sector, 0);
}

/* What cannot be planned is taken over: the flags of its use, the salt, and a version that stayed.
 */
static void our_plan_for_the_same_table_gives_the_same_bytes(void **state)
{
	const struct golden_pair *p = *state;
	const struct ti_pair_sizes sizes = {
		.data_sectors = p->image->data_sectors,
		.meta_sectors = p->image->meta_sectors,
		.data_name = p->data_path,
		.meta_name = p->meta_path,
	};
	const uint8_t *theirs = p->meta + p->image->start_sector * TI_SECTOR_BYTES;
	uint8_t ours[TI_SB_BYTES];
	struct ti_superblock sb;
	struct ti_geometry geo;
	struct ti_error e = { 0 };
	struct ti_seal *seal;

	if (ti_geometry_plan(&p->image->shape, &sizes, &sb, &geo, &e))
		fail_msg("%s", e.text);
	sb.flags |= p->sb.flags & TI_SB_DIRTY_BITMAP;
	memcpy(sb.salt, p->sb.salt, sizeof(sb.salt));
	ti_superblock_write(&sb, ours);
	/* Closed in bitmap mode: the version of its last use stays. */
	if (p->sb.version == 3 && !(p->sb.flags & TI_SB_DIRTY_BITMAP)) {
		assert_int_equal(ours[8], 2);
		ours[8] = 3;
	}
	seal = golden_seal(p);
	ti_seal_superblock(seal, &sb, ours);
	ti_seal_close(seal);
	assert_memory_equal(ours, theirs, TI_SB_BYTES);
	assert_int_equal(geo.tag_offset, p->geo.tag_offset);
	assert_int_equal(geo.section_sectors, p->geo.section_sectors);
}

static void support_is_refused_by_the_flags_alone(void **state)
{
	const struct golden_pair *p = *state;
	bool unsettled = p->sb.flags & TI_SB_DIRTY_BITMAP;

	assert_int_equal(ti_superblock_check_supported(&p->sb, p->meta_path, NULL), 0);
	assert_int_equal(ti_superblock_check_settled(&p->sb, p->meta_path, NULL) != 0, unsettled);
}

static bool all_bytes_are(const uint8_t *tag, uint32_t len, uint8_t value)
{
	for (uint32_t i = 0; i < len; i++)
		if (tag[i] != value)
			return false;
	return true;
}

static void mark(const struct golden_pair *p, uint8_t *covered, uint64_t sector)
{
	assert_true(sector < p->sb.provided_sectors);
	covered[sector / p->geo.sectors_per_block] = 1;
}

/* Blocks whose newest version is in the journal. */
static void mark_journalled(const struct golden_pair *p, uint8_t *covered)
{
	for (uint32_t i = 0; i < p->sb.journal_sections; i++) {
		const uint8_t *section =
			p->meta + p->geo.journal_offset + i * ti_journal_section_bytes(&p->geo);

		/* In these images the torn section alone is not replayed. */
		if (p->image->seq[i] > 3)
			continue;
		for (uint32_t n = 0; n < p->geo.section_entries; n++) {
			uint64_t sector = ti_journal_entry_sector(&p->geo, section, n);

			if (!ti_journal_sector_is_unused(sector))
				mark(p, covered, sector);
		}
	}
}

/* Blocks whose bit is set in the bitmap that lies in the journal's place. */
static uint64_t mark_dirty(const struct golden_pair *p, uint8_t *covered)
{
	const uint8_t *bitmap = p->meta + p->geo.journal_offset;
	uint64_t dirty = 0;

	for (uint64_t block = 0; block < p->geo.provided_blocks; block++) {
		uint64_t bit = block >> p->sb.log2_blocks_per_bitmap_bit;

		covered[block] = bitmap[bit / 8] >> bit % 8 & 1;
		dirty += covered[block];
	}
	return dirty;
}

static void tags_match_as_often_as_the_readme_counts(void **state)
{
	const struct golden_pair *p = *state;
	uint8_t *covered = calloc(1, p->geo.provided_blocks);
	uint64_t ok = 0, never = 0, discarded = 0, dirty = 0, wrong = 0;
	struct ti_hash h;

	assert_non_null(covered);
	if (p->image->journal)
		mark_journalled(p, covered);
	else
		dirty = mark_dirty(p, covered);
	golden_hash(p, &h);
	for (uint64_t block = 0; block < p->geo.provided_blocks; block++) {
		const uint8_t *tag = p->meta + p->geo.tag_offset + block * p->geo.tag_size;
		uint8_t made[TI_MAX_TAG_SIZE];

		if (covered[block])
			continue;
		ti_hash_same(&h, block * p->geo.sectors_per_block,
			     p->data + block * p->geo.block_size, 1, made);
		if (all_bytes_are(tag, p->geo.tag_size, 0))
			never++;
		else if (all_bytes_are(tag, p->geo.tag_size, 0xf6))
			discarded++;
		else if (!memcmp(tag, made, p->geo.tag_size))
			ok++;
		else
			wrong++;
	}
	ti_hash_destroy(&h);
	free(covered);
	assert_int_equal(wrong, 0);
	assert_int_equal(ok, p->image->tags_ok);
	assert_int_equal(never, p->image->tags_never_written);
	assert_int_equal(discarded, p->image->tags_discarded);
	assert_int_equal(dirty, p->image->dirty_blocks);
}

int main(void)
{
	static const char *const what[] = {
		"superblock says what the README says",
		"our plan for the same table gives the same bytes",
		"support is refused by the flags alone",
		"tags match as often as the README counts",
	};
	static void (*const test[])(void **) = {
		superblock_says_what_the_readme_says,
		our_plan_for_the_same_table_gives_the_same_bytes,
		support_is_refused_by_the_flags_alone,
		tags_match_as_often_as_the_readme_counts,
	};

	return golden_run_all("golden_format", what, test, sizeof(test) / sizeof(test[0]));
}
