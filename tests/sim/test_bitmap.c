/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Mode bitmap: when a region's bit is set and when it is cleared, I/O by I/O.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "journal_scan.h"
#include "sim_bitmap.h"

/* A LUN in whose region 0 a write is complete, unflushed; all I/O is held. */
static struct sim_lun *with_a_dirty_region(void)
{
	struct sim_lun *l = sim_bitmap_new();

	sim_ok(l, sim_write(l, 5, 1, 1));
	sim_forget(l);
	sim_hold(l->sim, true);
	return l;
}

static void write_begins_when_its_bit_is_durable(void **state)
{
	struct sim_lun *l = sim_bitmap_new();
	struct sim_req *r;

	(void)state;
	sim_hold(l->sim, true);
	r = sim_write(l, 100, 1, 1);
	sim_go(l);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_true(sim_bit(l, 1));
	assert_false(sim_bit_is_durable(l, 1));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(sim_bit_is_durable(l, 1));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 1);
	sim_ok(l, r);
	assert_int_equal(sim_bits(l), 1);
	sim_lun_free(l);
}

static void write_to_a_dirty_region_begins_at_once(void **state)
{
	struct sim_lun *l = with_a_dirty_region();
	struct sim_req *r = sim_write(l, 63, 1, 2);

	(void)state;
	sim_go(l);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 1);
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 0);
	sim_ok(l, r);
	sim_lun_free(l);
}

static void write_across_regions_needs_both_bits(void **state)
{
	struct sim_lun *l = with_a_dirty_region();
	struct sim_req *r = sim_write(l, 60, 8, 2);

	(void)state;
	sim_go(l);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 1);
	sim_ok(l, r);
	assert_int_equal(sim_bits(l), 2);
	sim_lun_free(l);
}

static void writes_that_wait_share_a_round(void **state)
{
	struct sim_lun *l = sim_bitmap_new();
	struct sim_req *r[4];

	(void)state;
	sim_hold(l->sim, true);
	for (uint32_t i = 0; i < 4; i++)
		r[i] = sim_write(l, i * SIM_REGION, 1, 1);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 4);
	for (uint32_t i = 0; i < 4; i++)
		sim_ok(l, r[i]);
	sim_lun_free(l);
}

static void write_that_comes_during_a_round_waits_for_the_next(void **state)
{
	struct sim_lun *l = sim_bitmap_new();
	struct sim_req *first, *second;

	(void)state;
	sim_hold(l->sim, true);
	first = sim_write(l, 0, 1, 1);
	sim_go(l);
	second = sim_write(l, SIM_REGION, 1, 1);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 1);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 1);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 2);
	sim_ok(l, first);
	sim_ok(l, second);
	sim_lun_free(l);
}

/* Regions of one block, and a write whose bits lie in two pages of the bitmap. */
static struct sim_lun *with_two_pages(void)
{
	return sim_lun_new(&(struct sim_lun_options){ .shape = { .sectors_per_bit = 1 },
						      .blocks = 40000,
						      .lun = { .mode = TI_MODE_BITMAP } });
}

static void bits_of_two_pages_are_set_in_one_round(void **state)
{
	struct sim_lun *l = with_two_pages();
	struct sim_req *r;

	(void)state;
	sim_hold(l->sim, true);
	r = sim_write(l, 32760, 16, 1);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 2);
	sim_complete_one(l->sim, TI_META, TI_IO_WRITE);
	sim_complete_one(l->sim, TI_META, TI_IO_WRITE);
	sim_go(l);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
	sim_let(l, TI_META, TI_IO_FLUSH);
	sim_ok(l, r);
	for (uint32_t i = 32759; i < 32777; i++)
		assert_int_equal(sim_bit(l, i), i >= 32760 && i < 32776);
	sim_lun_free(l);
}

static void flush_and_fua_leave_the_bit_set(void **state)
{
	struct sim_lun *l = sim_bitmap_new();

	(void)state;
	sim_ok(l, sim_write_fua(l, 0, 1, 1));
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 0, 1));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 0, 1));
	sim_ok(l, sim_flush(l));
	assert_true(sim_bit_is_durable(l, 0));
	sim_lun_free(l);
}

/* Both flushes run at the same time; the bit goes when both are done, whichever is first. */
static void bits_are_cleared_after_both_flushes(void **state)
{
	(void)state;
	for (unsigned first = 0; first < TI_DEVICES; first++) {
		struct sim_lun *l = with_a_dirty_region();
		enum ti_device one = first == 0 ? TI_DATA : TI_META;
		enum ti_device other = first == 0 ? TI_META : TI_DATA;

		sim_clear(l);
		sim_let(l, TI_META, TI_IO_WRITE); /* the tag */
		assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
		assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 1);
		sim_let(l, one, TI_IO_FLUSH);
		assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 0);
		assert_true(sim_bit(l, 0));
		sim_let(l, other, TI_IO_FLUSH);
		sim_let(l, TI_META, TI_IO_WRITE);
		assert_false(sim_bit(l, 0));
		sim_finish(l);
		assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 5, 1));
		assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 5, 1));
		sim_lun_free(l);
	}
}

static void nothing_dirty_nothing_is_flushed(void **state)
{
	struct sim_lun *l = sim_bitmap_new();

	(void)state;
	sim_clear(l);
	assert_int_equal(l->events, 0);
	sim_lun_free(l);
}

static void bit_stays_when_a_flush_fails(void **state)
{
	(void)state;
	for (unsigned dev = 0; dev < TI_DEVICES; dev++) {
		struct sim_lun *l = with_a_dirty_region();

		sim_hold(l->sim, false);
		sim_fail(l, (enum ti_device)dev, TI_IO_FLUSH, SIM_EVERYWHERE, 1);
		for (unsigned i = 0; i < 3; i++) {
			sim_clear(l);
			sim_finish(l);
		}
		assert_true(sim_bit(l, 0));
		assert_int_not_equal(sim_lun_close(l), 0);
		assert_true(sim_bit(l, 0));
		assert_true(sim_superblock(l).flags & TI_SB_DIRTY_BITMAP);
		sim_lun_free(l);
	}
}

static void bit_stays_when_the_tags_cannot_be_written(void **state)
{
	struct sim_lun *l = with_a_dirty_region();

	(void)state;
	sim_hold(l->sim, false);
	sim_fail(l, TI_META, TI_IO_WRITE, l->geo.tag_offset, 1);
	sim_clear(l);
	sim_finish(l);
	assert_true(sim_bit(l, 0));
	/* The tags are kept, and the next step finds the device well. */
	sim_clear(l);
	sim_finish(l);
	assert_false(sim_bit(l, 0));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 5, 1));
	sim_lun_free(l);
}

/* The step's flushes cover neither of these writes. */
static void bit_of_a_write_under_way_when_the_step_begins_stays(void **state)
{
	struct sim_lun *l = with_a_dirty_region();
	struct sim_req *r = sim_write(l, 6, 1, 2);

	(void)state;
	sim_go(l);
	sim_clear(l);
	/* It completes while the step's flushes are under way. */
	sim_let(l, TI_DATA, TI_IO_WRITE);
	sim_ok(l, r);
	assert_true(sim_bit(l, 0));
	assert_true(sim_bit_is_durable(l, 0));
	sim_clear(l);
	sim_finish(l);
	assert_false(sim_bit(l, 0));
	sim_lun_free(l);
}

static void bit_of_a_write_that_begins_during_the_step_stays(void **state)
{
	struct sim_lun *l = with_a_dirty_region();
	struct sim_req *r;

	(void)state;
	sim_clear(l);
	r = sim_write(l, 6, 1, 2);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_WRITE);
	sim_ok(l, r);
	assert_true(sim_bit(l, 0));
	sim_lun_free(l);
}

static void only_regions_that_were_left_alone_are_cleared(void **state)
{
	struct sim_lun *l = sim_bitmap_new();
	struct sim_req *r;

	(void)state;
	sim_ok(l, sim_write(l, 0, 1, 1));
	sim_ok(l, sim_write(l, SIM_REGION, 1, 1));
	sim_hold(l->sim, true);
	sim_clear(l);
	r = sim_write(l, SIM_REGION + 1, 1, 1);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_WRITE);
	sim_ok(l, r);
	sim_finish(l);
	assert_false(sim_bit(l, 0));
	assert_true(sim_bit(l, 1));
	sim_lun_free(l);
}

/* The bit is cleared in memory, its page on the way: the write must not believe the medium. */
static void write_after_the_decision_waits_for_its_bit_again(void **state)
{
	struct sim_lun *l = with_a_dirty_region();
	struct sim_req *r;

	(void)state;
	sim_clear(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1); /* clears */
	r = sim_write(l, 7, 1, 2);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_WRITE), 0);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_false(sim_bit_is_durable(l, 0));
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_WRITE), 0);
	sim_let(l, TI_META, TI_IO_WRITE); /* sets it again */
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(sim_bit_is_durable(l, 0));
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_WRITE), 1);
	sim_ok(l, r);
	sim_lun_free(l);
}

static void write_fails_when_its_bit_cannot_be_set(void **state)
{
	static const enum ti_io_op op[] = { TI_IO_WRITE, TI_IO_FLUSH };
	static const enum ti_cause cause[] = { TI_CAUSE_META_IO, TI_CAUSE_META_FLUSH };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sim_lun *l = sim_bitmap_new();

		sim_fail(l, TI_META, op[i], l->geo.journal_offset, 1);
		sim_bad(l, sim_write(l, 3, 1, 1), -EIO, cause[i], 3);
		assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
		sim_reads(l, 3, 1, 0);
		/* An error of a write may pass; a flush that failed never does. */
		if (op[i] == TI_IO_WRITE) {
			sim_ok(l, sim_write(l, 3, 1, 2));
			assert_true(sim_bit_is_durable(l, 0));
		} else {
			sim_bad(l, sim_write(l, 3, 1, 2), -EIO, TI_CAUSE_META_FLUSH, 3);
		}
		sim_lun_free(l);
	}
}

/* @bad: a mask of pages.  The one that fails completes first, and what follows is well. */
static void write_fails_when_one_of_two_pages_cannot_be_written(void **state)
{
	(void)state;
	for (unsigned bad = 1; bad <= 3; bad++) {
		struct sim_lun *l = with_two_pages();
		uint64_t page[2] = { l->geo.journal_offset, l->geo.journal_offset + 4096 };
		struct sim_req *r;

		for (unsigned i = 0; i < 2; i++)
			if (bad >> i & 1)
				sim_fail(l, TI_META, TI_IO_WRITE, page[i], 1);
		sim_hold(l->sim, true);
		r = sim_write(l, 32760, 16, 1);
		sim_go(l);
		assert_true(sim_complete_at(l->sim, TI_META, TI_IO_WRITE, page[bad == 2]));
		assert_true(sim_complete_at(l->sim, TI_META, TI_IO_WRITE, page[bad != 2]));
		sim_bad(l, r, -EIO, TI_CAUSE_META_IO, 32760);
		assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
		sim_ok(l, sim_write(l, 32760, 16, 2));
		for (uint32_t i = 32760; i < 32776; i++)
			assert_true(sim_bit_is_durable(l, i));
		sim_lun_free(l);
	}
}

static void bits_at_the_end_of_a_page_are_cleared(void **state)
{
	struct sim_lun *l = with_two_pages();

	(void)state;
	sim_ok(l, sim_write(l, 32760, 16, 1));
	assert_int_equal(sim_bits(l), 16);
	sim_clear(l);
	sim_finish(l);
	sim_clear(l);
	sim_finish(l);
	assert_int_equal(sim_bits(l), 0);
	sim_lun_free(l);
}

/* No flush has failed: the tags are only in memory, and gone with it. */
static void write_that_waits_for_the_next_round_outlives_a_failed_one(void **state)
{
	struct sim_lun *l = sim_bitmap_new();
	struct sim_req *first, *second;

	(void)state;
	sim_fail(l, TI_META, TI_IO_WRITE, l->geo.journal_offset, 1);
	sim_hold(l->sim, true);
	first = sim_write(l, 3, 1, 1);
	sim_go(l);
	second = sim_write(l, 10 * SIM_REGION, 1, 1);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_bad(l, first, -EIO, TI_CAUSE_META_IO, 3);
	sim_ok(l, second);
	assert_true(sim_bit_is_durable(l, 10));
	sim_lun_free(l);
}

static void close_that_cannot_write_the_tags_leaves_the_pair_dirty(void **state)
{
	struct sim_lun *l = sim_bitmap_new();

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_fail(l, TI_META, TI_IO_WRITE, l->geo.tag_offset, SIM_FOR_EVER);
	assert_int_equal(sim_lun_close(l), -EIO);
	sim_mend(l);
	assert_true(sim_superblock(l).flags & TI_SB_DIRTY_BITMAP);
	assert_true(sim_bit_is_durable(l, 0));
	assert_int_equal(sim_lun_open(l), 0);
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

static void open_says_dirty_before_the_bitmap_is_written(void **state)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);
	bool seen = false;

	(void)state;
	assert_int_equal(sim_lun_open(l), 0);
	for (unsigned i = 0; i < l->events; i++) {
		if (l->event[i].op != TI_IO_WRITE || l->event[i].completed)
			continue;
		if (l->event[i].offset == l->geo.start_sector * 512)
			seen = true;
		else if (l->event[i].offset == l->geo.journal_offset)
			assert_true(seen);
	}
	assert_true(seen);
	assert_true(sim_superblock(l).flags & TI_SB_DIRTY_BITMAP);
	assert_int_equal(sim_superblock(l).version, 3);
	assert_int_equal(sim_bits(l), 0);
	sim_lun_free(l);
}

static void clean_close_leaves_an_empty_journal_and_version_3(void **state)
{
	struct sim_lun *l = with_a_dirty_region();
	struct ti_journal_summary s;

	(void)state;
	sim_hold(l->sim, false);
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_superblock(l).flags, 0);
	assert_int_equal(sim_superblock(l).version, 3);
	assert_int_equal(ti_journal_scan(sim_as_queue(l->sim), &l->geo, &s, &l->error), 0);
	assert_int_equal(s.state, TI_JOURNAL_EMPTY);
	for (uint32_t i = 0; i < s.shown; i++)
		assert_int_equal(s.seq[i], 0);
	sim_power_cut(l->sim);
	assert_true(sim_all_match(l));
	l->options.mode = TI_MODE_DIRECT;
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 5, 1, 1);
	sim_lun_free(l);
}

static void size_of_bits_is_kept_unless_the_option_says_otherwise(void **state)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);

	(void)state;
	assert_int_equal(sim_lun_open(l), 0);
	assert_int_equal(sim_superblock(l).log2_blocks_per_bitmap_bit, 6);
	assert_int_equal(sim_lun_close(l), 0);
	l->options.sectors_per_bit = 256;
	assert_int_equal(sim_lun_open(l), 0);
	assert_int_equal(sim_superblock(l).log2_blocks_per_bitmap_bit, 8);
	sim_ok(l, sim_write(l, 200, 100, 1));
	assert_int_equal(sim_bits(l), 2);
	sim_lun_free(l);
}

static void journal_is_replayed_before_the_bitmap_takes_its_place(void **state)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);

	(void)state;
	l->options.mode = TI_MODE_JOURNAL;
	assert_int_equal(sim_lun_open(l), 0);
	sim_ok(l, sim_write_fua(l, 10, 3, 7));
	l->options.mode = TI_MODE_BITMAP;
	sim_lun_cut(l);
	sim_reads(l, 10, 3, 7);
	assert_int_equal(sim_bits(l), 0);
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 12, 7));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 12, 7));
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(write_begins_when_its_bit_is_durable),
		cmocka_unit_test(write_to_a_dirty_region_begins_at_once),
		cmocka_unit_test(write_across_regions_needs_both_bits),
		cmocka_unit_test(writes_that_wait_share_a_round),
		cmocka_unit_test(write_that_comes_during_a_round_waits_for_the_next),
		cmocka_unit_test(bits_of_two_pages_are_set_in_one_round),
		cmocka_unit_test(flush_and_fua_leave_the_bit_set),
		cmocka_unit_test(bits_are_cleared_after_both_flushes),
		cmocka_unit_test(nothing_dirty_nothing_is_flushed),
		cmocka_unit_test(bit_stays_when_a_flush_fails),
		cmocka_unit_test(bit_stays_when_the_tags_cannot_be_written),
		cmocka_unit_test(bit_of_a_write_under_way_when_the_step_begins_stays),
		cmocka_unit_test(bit_of_a_write_that_begins_during_the_step_stays),
		cmocka_unit_test(only_regions_that_were_left_alone_are_cleared),
		cmocka_unit_test(write_after_the_decision_waits_for_its_bit_again),
		cmocka_unit_test(write_fails_when_its_bit_cannot_be_set),
		cmocka_unit_test(open_says_dirty_before_the_bitmap_is_written),
		cmocka_unit_test(clean_close_leaves_an_empty_journal_and_version_3),
		cmocka_unit_test(size_of_bits_is_kept_unless_the_option_says_otherwise),
		cmocka_unit_test(journal_is_replayed_before_the_bitmap_takes_its_place),
		cmocka_unit_test(write_fails_when_one_of_two_pages_cannot_be_written),
		cmocka_unit_test(bits_at_the_end_of_a_page_are_cleared),
		cmocka_unit_test(close_that_cannot_write_the_tags_leaves_the_pair_dirty),
		cmocka_unit_test(write_that_waits_for_the_next_round_outlives_a_failed_one),
	};

	return cmocka_run_group_tests_name("bitmap", tests, NULL, NULL);
}
