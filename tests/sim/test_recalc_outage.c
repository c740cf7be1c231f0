/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A recalculation whose data device does not answer for a while, and one whose blocks are bad.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim_bitmap.h"

#define BLOCKS 4096U

static const enum ti_mode modes[] = { TI_MODE_DIRECT, TI_MODE_JOURNAL, TI_MODE_BITMAP };

/* All tags are to be made anew, and none of them matches. */
static struct sim_lun *make(enum ti_mode mode)
{
	struct sim_lun *l = sim_bitmap_make(BLOCKS, SIM_REGION);

	l->sb.flags |= TI_SB_RECALCULATING;
	l->sb.recalc_sector = 0;
	sim_put_superblock(l, &l->sb);
	for (uint32_t block = 0; block < BLOCKS; block++)
		sim_content(l, block, 9, sim_contents(l->sim, TI_DATA) + (size_t)block * 512);
	sim_settle(l->sim, TI_DATA);
	l->options.mode = mode;
	return l;
}

/* Died in mode bitmap with one region dirty; block 70's tag is not of its data. */
static struct sim_lun *make_dirty_region(void)
{
	struct sim_lun *l = sim_bitmap_make(BLOCKS, SIM_REGION);

	assert_int_equal(sim_lun_open(l), 0);
	sim_ok(l, sim_write(l, 64, 10, 3));
	sim_power_cut(l->sim);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	sim_put_block(l, 70, 4);
	return l;
}

static void open_it(struct sim_lun *l)
{
	sim_forget(l);
	if (sim_lun_open(l) != 0)
		fail_msg("%s", l->error.text);
}

static uint64_t now(struct sim_lun *l)
{
	return ti_clock_now(sim_as_clock(l->sim));
}

/* Time passes, but at most so much of it at once that nothing else is due. */
static void go_on(struct sim_lun *l, unsigned turns)
{
	while (turns-- > 0) {
		sim_go(l);
		ti_lun_wait(l->lun, ti_lun_deadline(l->lun));
		ti_lun_tick(l->lun);
	}
}

static void waits_for_the_device(struct sim_lun *l)
{
	uint64_t from = now(l), seconds;
	uint32_t bits;

	open_it(l);
	bits = sim_bits(l);
	sim_forget(l);
	sim_fail(l, TI_DATA, TI_IO_READ, SIM_EVERYWHERE, SIM_FOR_EVER);
	go_on(l, 400);
	seconds = (now(l) - from) / TI_NS_PER_SEC;
	assert_true(seconds > 20);
	assert_true(sim_stats(l).recalculating);
	assert_int_equal(sim_stats(l).recalc_sector, 0);
	assert_int_equal(sim_stats(l).recalc_unreadable, 0);
	assert_int_equal(sim_logged(l, "recalculation waits"), 1);
	/* Each may take long. */
	assert_true(sim_started(l, TI_DATA, TI_IO_READ) <= 70 + 2 * seconds);
	assert_int_equal(sim_bits(l), bits);
	sim_mend(l);
	sim_recalculate_and_close(l);
	assert_int_equal(sim_logged(l, "can be read again"), 1);
	assert_int_equal(sim_logged(l, "I/O error"), 0);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

static void outage_of_the_data_device_is_waited_for(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		waits_for_the_device(make(modes[i]));
	waits_for_the_device(make_dirty_region());
}

/* Wherever it begins, and however soon it ends: of so many reads. */
static void short_outage_costs_no_block_its_tag(void **state)
{
	(void)state;
	for (uint32_t reads = 1; reads < 140; reads++) {
		struct sim_lun *l = make(modes[reads % 3]);

		sim_fail_after(l, TI_DATA, TI_IO_READ, SIM_EVERYWHERE, reads / 3 % 5);
		l->fault[0].times = reads;
		open_it(l);
		sim_recalculate(l);
		assert_int_equal(l->fault[0].times, 0);
		assert_int_equal(sim_stats(l).recalc_unreadable, 0);
		sim_recalculate_and_close(l);
		assert_true(sim_all_match(l));
		sim_lun_free(l);
	}
}

/* A few, more than one look goes over, at the beginning, at the end, and nearly all of them. */
static void bad_blocks_keep_their_tags_and_the_rest_goes_on(void **state)
{
	static const struct {
		uint32_t first, count;
	} bad[] = { { 0, 1 }, { 0, 100 }, { 1000, 64 }, { 1017, 300 }, { 4000, 96 }, { 5, 4080 } };

	(void)state;
	for (unsigned i = 0; i < 3 * sizeof(bad) / sizeof(bad[0]); i++) {
		uint32_t first = bad[i / 3].first, count = bad[i / 3].count;
		struct sim_lun *l = make(modes[i % 3]);

		sim_fail_range(l, TI_DATA, TI_IO_READ, first * 512ULL, count * 512ULL);
		open_it(l);
		sim_recalculate(l);
		assert_int_equal(sim_stats(l).recalc_unreadable, count);
		assert_int_equal(sim_stats(l).recalculated_sectors, BLOCKS - count);
		sim_mend(l);
		sim_recalculate_and_close(l);
		for (uint32_t block = 0; block < BLOCKS; block++)
			assert_int_equal(sim_matches(l, block),
					 block < first || block >= first + count);
		sim_lun_free(l);
	}
}

/* For most of a second. */
static bool rests(struct sim_lun *l)
{
	sim_go(l);
	return sim_under_way(l->sim) == 0 && ti_lun_deadline(l->lun) > now(l) + 900 * TI_NS_PER_MS;
}

/* And the next one goes on where it was. */
static void close_does_not_wait_for_the_device(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct sim_lun *l = make(modes[i]);
		uint64_t from;

		sim_fail_after(l, TI_DATA, TI_IO_READ, SIM_EVERYWHERE, 3);
		l->fault[0].times = SIM_FOR_EVER;
		l->options.bitmap_flush_interval_ms = 10000;
		open_it(l);
		go_on(l, 200);
		assert_int_equal(sim_logged(l, "recalculation waits"), 1);
		for (unsigned turns = 0; !rests(l); turns++) {
			assert_true(turns < 10);
			go_on(l, 1);
		}
		sim_forget(l);
		from = now(l);
		assert_int_equal(sim_lun_close(l), 0);
		assert_true(now(l) - from < 100 * TI_NS_PER_MS);
		assert_int_equal(sim_started(l, TI_DATA, TI_IO_READ), 0);
		assert_int_equal(sim_superblock(l).recalc_sector, 3 * 512);
		sim_mend(l);
		open_it(l);
		sim_recalculate_and_close(l);
		assert_true(sim_all_match(l));
		sim_lun_free(l);
	}
}

/* Go on until this block, and no other with it, has been read, which ends a look at those before.
 */
static void look_up_to(struct sim_lun *l, uint32_t block)
{
	sim_forget(l);
	for (unsigned turn = 0; turn < 1000; turn++) {
		for (unsigned i = 0; i < l->events; i++)
			if (l->event[i].completed && l->event[i].op == TI_IO_READ &&
			    l->event[i].dev == TI_DATA && l->event[i].len == 512 &&
			    l->event[i].offset == (uint64_t)block * 512)
				return;
		go_on(l, 1);
	}
	fail_msg("block %u is not looked at", block);
}

static void fail_blocks(struct sim_lun *l, uint32_t first, uint32_t count)
{
	sim_mend(l);
	sim_fail_range(l, TI_DATA, TI_IO_READ, (uint64_t)first * 512, (uint64_t)count * 512);
}

static void block_is_bad_only_if_both_looks_say_so(void **state)
{
	struct sim_lun *l = make(TI_MODE_DIRECT);

	(void)state;
	open_it(l);
	fail_blocks(l, 0, 5);
	look_up_to(l, 5);
	fail_blocks(l, 0, 3);
	sim_recalculate(l);
	sim_mend(l);
	assert_int_equal(sim_stats(l).recalc_unreadable, 3);
	sim_reads(l, 3, 100, 9);
	sim_lun_free(l);
}

/* A block that could not be read could be soon after; another one fails once, much later. */
static void look_of_before_does_not_count_for_another_block(void **state)
{
	struct sim_lun *l = make(TI_MODE_DIRECT);

	(void)state;
	open_it(l);
	fail_blocks(l, 0, 2);
	look_up_to(l, 2);
	fail_blocks(l, 600, 1);
	look_up_to(l, 601);
	sim_mend(l);
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outage_of_the_data_device_is_waited_for),
		cmocka_unit_test(short_outage_costs_no_block_its_tag),
		cmocka_unit_test(bad_blocks_keep_their_tags_and_the_rest_goes_on),
		cmocka_unit_test(close_does_not_wait_for_the_device),
		cmocka_unit_test(block_is_bad_only_if_both_looks_say_so),
		cmocka_unit_test(look_of_before_does_not_count_for_another_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
