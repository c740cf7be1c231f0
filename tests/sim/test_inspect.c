/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What is said of a metadata device that nobody opens: dump and check look at it, and whatever is
 * odd there is named, with its place, and never believed.
 */
#include "inspect.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "journal_format.h"
#include "journal_overlay.h"
#include "scrub_report.h"
#include "sim_bitmap.h"
#include "sim_journal.h"
#include "unsettled.h"

/* Tags of 255 and blocks of 4096, 8 sectors each: an entry's sector may be none of a block. */
static struct sim_lun *large_blocks(void)
{
	return sim_lun_make(&(struct sim_lun_options){
		.shape = { .block_size = 4096, .tag_size = 100, .journal_sectors = 400 },
		.blocks = 1000,
		.lun = { .mode = TI_MODE_JOURNAL },
	});
}

static struct ti_queue *queue(struct sim_lun *l)
{
	return sim_as_queue(l->sim);
}

static int load(struct sim_lun *l, struct ti_journal_overlay *o)
{
	return ti_journal_overlay_load(queue(l), &l->geo, NULL, &l->hash, o, &l->error);
}

static void says(struct sim_lun *l, int err, int expected, const char *what)
{
	assert_int_equal(err, expected);
	assert_non_null(strstr(l->error.text, "sim-meta"));
	if (strstr(l->error.text, what) == NULL)
		fail_msg("'%s' is not said in '%s'", what, l->error.text);
	memset(&l->error, 0, sizeof(l->error));
}

/* ---- the journal's newest blocks ---- */

static void overlay_has_each_block_of_the_journal_once(void **state)
{
	struct sim_lun *l = sim_journal_make(4, 50);
	struct ti_journal_overlay o;

	(void)state;
	assert_int_equal(load(l, &o), 0);
	assert_false(ti_journal_overlay_has(&o, 0));
	sim_journal_entry(l, 0, 0, 700, 1);
	sim_journal_entry(l, 0, 1, 3, 1);
	sim_journal_entry(l, 1, 0, 700, 2);
	assert_int_equal(load(l, &o), 0);
	assert_int_equal(o.count, 2);
	assert_true(ti_journal_overlay_has(&o, 3));
	assert_true(ti_journal_overlay_has(&o, 700));
	assert_false(ti_journal_overlay_has(&o, 4));
	ti_journal_overlay_free(&o);
	sim_lun_free(l);
}

/* As replay does. */
static void overlay_steps_over_an_entry_beyond_the_end(void **state)
{
	struct sim_lun *l = sim_journal_make(4, 50);
	struct ti_journal_overlay o;

	(void)state;
	sim_journal_entry(l, 0, 0, 5, 1);
	sim_journal_entry(l, 0, 1, 1000, 1);
	assert_int_equal(load(l, &o), 0);
	assert_int_equal(o.count, 1);
	assert_true(ti_journal_overlay_has(&o, 5));
	ti_journal_overlay_free(&o);
	sim_lun_free(l);
}

static void overlay_refuses_an_entry_that_does_not_match_its_tag(void **state)
{
	struct sim_lun *l = sim_journal_make(4, 50);
	struct ti_journal_overlay o;

	(void)state;
	sim_journal_entry(l, 2, 3, 77, 1);
	sim_journal_bytes(l, 2)[ti_journal_data_offset(&l->geo, 3) + 9] ^= 1;
	says(l, load(l, &o), -EUCLEAN,
	     "sector 77 that does not match its tag (section 2, entry 3)");
	ti_journal_overlay_free(&o);
	sim_lun_free(l);
}

static void overlay_refuses_an_entry_that_is_no_blocks_first_sector(void **state)
{
	struct sim_lun *l = large_blocks();
	struct ti_journal_overlay o;

	(void)state;
	sim_journal_entry(l, 0, 0, 4, 1);
	ti_journal_entry_set_sector(&l->geo, sim_journal_bytes(l, 0), 0, 33);
	says(l, load(l, &o), -EUCLEAN, "entry 0 names sector 33, which is no block's first");
	ti_journal_overlay_free(&o);
	sim_lun_free(l);
}

static void overlay_refuses_a_damaged_journal_with_the_place(void **state)
{
	struct sim_lun *l = sim_journal_make(4, 50);
	struct ti_journal_overlay o;

	(void)state;
	sim_journal_bytes(l, 1)[ti_journal_id_offset(3)] ^= 1;
	says(l, load(l, &o), -EUCLEAN, "section 1, sector 3");
	sim_journal_bytes(l, 1)[ti_journal_id_offset(3)] ^= 1;
	for (uint32_t i = 0; i < 4; i++)
		sim_journal_seq(l, i, i);
	says(l, load(l, &o), -EUCLEAN, "all four sequence numbers");
	ti_journal_overlay_free(&o);
	sim_lun_free(l);
}

/* ---- is the pair settled? ---- */

static int settled(struct sim_lun *l)
{
	return ti_inspect_settled(queue(l), &l->sb, &l->geo, &l->error);
}

static void settled_pair_has_an_empty_journal(void **state)
{
	struct sim_lun *l = sim_journal_make(4, 50);

	(void)state;
	assert_int_equal(settled(l), 0);
	sim_journal_entry(l, 0, 0, 7, 1);
	sim_journal_entry(l, 0, 1, 8, 1);
	says(l, settled(l), -EUCLEAN, "2 entries in its journal");
	sim_journal_bytes(l, 1)[ti_journal_id_offset(3)] ^= 1;
	says(l, settled(l), -EUCLEAN, "section 1, sector 3");
	sim_journal_bytes(l, 1)[ti_journal_id_offset(3)] ^= 1;
	for (uint32_t i = 0; i < 4; i++)
		sim_journal_seq(l, i, i);
	says(l, settled(l), -EUCLEAN, "all four sequence numbers");
	sim_lun_free(l);
}

static void pair_with_a_dirty_bitmap_is_not_settled(void **state)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);

	(void)state;
	l->sb.flags |= TI_SB_DIRTY_BITMAP;
	assert_int_not_equal(settled(l), 0);
	assert_non_null(strstr(l->error.text, "sim-meta"));
	sim_lun_free(l);
}

static void journal_that_cannot_be_read_is_told_with_its_device(void **state)
{
	struct sim_lun *l = sim_journal_make(4, 50);
	struct ti_journal_overlay o;

	(void)state;
	sim_fail(l, TI_META, TI_IO_READ, l->geo.journal_offset, SIM_FOR_EVER);
	says(l, settled(l), -EIO, "Input/output error");
	says(l, load(l, &o), -EIO, "Input/output error");
	ti_journal_overlay_free(&o);
	sim_lun_free(l);
}

/* ---- what stands where a superblock would ---- */

static enum ti_place place_at(struct sim_lun *l, uint64_t start)
{
	enum ti_place place = TI_PLACE_OTHER;

	if (ti_inspect_place(queue(l), start, &place, &l->error) != 0)
		fail_msg("%s", l->error.text);
	return place;
}

static void place_of_a_superblock_is_named_by_what_stands_there(void **state)
{
	struct sim_lun *l = sim_lun_make(NULL);
	uint64_t end = queue(l)->dev[TI_META].size / TI_SECTOR_BYTES;
	uint8_t *meta = sim_contents(l->sim, TI_META);

	(void)state;
	assert_int_equal(place_at(l, 0), TI_PLACE_SUPERBLOCK);
	memset(meta + (end - 64) * TI_SECTOR_BYTES, 0, (size_t)64 * TI_SECTOR_BYTES);
	assert_int_equal(place_at(l, end - 64), TI_PLACE_ZERO);
	meta[(end - 64) * TI_SECTOR_BYTES + 4000] = 1;
	assert_int_equal(place_at(l, end - 64), TI_PLACE_OTHER);
	assert_int_equal(place_at(l, end - 1), TI_PLACE_OUTSIDE);
	assert_int_equal(place_at(l, end + 100), TI_PLACE_OUTSIDE);
	assert_int_equal(place_at(l, UINT64_MAX), TI_PLACE_OUTSIDE);
	sim_lun_free(l);
}

static void place_that_cannot_be_read_is_told(void **state)
{
	struct sim_lun *l = sim_lun_make(NULL);
	uint64_t end = queue(l)->dev[TI_META].size / TI_SECTOR_BYTES;
	struct ti_superblock sb;
	enum ti_place place;

	(void)state;
	sim_fail(l, TI_META, TI_IO_READ, 0, SIM_FOR_EVER);
	says(l, ti_inspect_place(queue(l), 0, &place, &l->error), -EIO, "at sector 0");
	says(l, ti_inspect_superblock(queue(l), 0, &sb, &l->error), -EIO, "at sector 0");
	says(l, ti_inspect_seal(queue(l), 0, &l->sb, NULL, &l->error), -EIO, "at sector 0");
	sim_mend(l);
	says(l, ti_inspect_superblock(queue(l), end, &sb, &l->error), -EINVAL, "start sector");
	queue(l)->dev[TI_META].logical_block_size = 4096;
	says(l, ti_inspect_superblock(queue(l), 3, &sb, &l->error), -EINVAL, "a multiple of 8");
	sim_lun_free(l);
}

/* ---- blocks that nobody vouches for ---- */

static void unsettled_blocks_are_what_the_superblock_or_the_bits_say(void **state)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);
	struct ti_superblock sb = l->sb;
	struct ti_unsettled u;

	(void)state;
	assert_int_equal(ti_unsettled_load(queue(l), &sb, &l->geo, &u, &l->error), 0);
	assert_false(ti_unsettled_any(&u));
	sb.flags |= TI_SB_RECALCULATING;
	sb.recalc_sector = 100;
	assert_int_equal(ti_unsettled_load(queue(l), &sb, &l->geo, &u, &l->error), 0);
	assert_true(ti_unsettled_any(&u));
	assert_false(ti_unsettled_has(&u, 99));
	assert_true(ti_unsettled_has(&u, 100));
	sb = l->sb;
	sb.flags |= TI_SB_DIRTY_BITMAP;
	memset(sim_contents(l->sim, TI_META) + l->geo.journal_offset, 0, 512);
	sim_put_bit(l, 2, true);
	assert_int_equal(ti_unsettled_load(queue(l), &sb, &l->geo, &u, &l->error), 0);
	assert_int_equal(u.dirty, 1);
	assert_false(ti_unsettled_has(&u, 2 * SIM_REGION - 1));
	assert_true(ti_unsettled_has(&u, 2 * SIM_REGION));
	assert_false(ti_unsettled_has(&u, 3 * SIM_REGION));
	ti_unsettled_free(&u);
	/* Bits of a size that there cannot be are none: all of it is dirty. */
	sb.log2_blocks_per_bitmap_bit = 63;
	assert_int_equal(ti_unsettled_load(queue(l), &sb, &l->geo, &u, &l->error), 0);
	assert_true(ti_unsettled_has(&u, 0));
	ti_unsettled_free(&u);
	sim_lun_free(l);
}

static void bitmap_that_cannot_be_read_is_told(void **state)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);
	struct ti_superblock sb = l->sb;
	struct ti_unsettled u;

	(void)state;
	sb.flags |= TI_SB_DIRTY_BITMAP;
	sim_fail(l, TI_META, TI_IO_READ, l->geo.journal_offset, 1);
	says(l, ti_unsettled_load(queue(l), &sb, &l->geo, &u, &l->error), -EIO, "dirty bitmap");
	sim_lun_free(l);
}

static void unknown_words_of_a_scrub_have_a_name_too(void **state)
{
	(void)state;
	assert_string_equal(ti_scrub_state_name(TI_SCRUB_STATES), "unknown");
	assert_string_equal(ti_scrub_kind_name(TI_SCRUB_KINDS), "unknown");
	for (unsigned s = 0; s < TI_SCRUB_STATES; s++)
		assert_string_not_equal(ti_scrub_state_name((enum ti_scrub_state)s), "unknown");
	for (unsigned k = 0; k < TI_SCRUB_KINDS; k++)
		assert_string_not_equal(ti_scrub_kind_name((enum ti_scrub_kind)k), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overlay_has_each_block_of_the_journal_once),
		cmocka_unit_test(overlay_steps_over_an_entry_beyond_the_end),
		cmocka_unit_test(overlay_refuses_an_entry_that_does_not_match_its_tag),
		cmocka_unit_test(overlay_refuses_an_entry_that_is_no_blocks_first_sector),
		cmocka_unit_test(overlay_refuses_a_damaged_journal_with_the_place),
		cmocka_unit_test(settled_pair_has_an_empty_journal),
		cmocka_unit_test(pair_with_a_dirty_bitmap_is_not_settled),
		cmocka_unit_test(journal_that_cannot_be_read_is_told_with_its_device),
		cmocka_unit_test(place_of_a_superblock_is_named_by_what_stands_there),
		cmocka_unit_test(place_that_cannot_be_read_is_told),
		cmocka_unit_test(unsettled_blocks_are_what_the_superblock_or_the_bits_say),
		cmocka_unit_test(bitmap_that_cannot_be_read_is_told),
		cmocka_unit_test(unknown_words_of_a_scrub_have_a_name_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
