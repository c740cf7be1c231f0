/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Tags between memory and the metadata device, seen from the LUN: when they are written, what a
 * close leaves, where the tag area ends, and a cache smaller than what the requests need.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim_lun.h"

/* Tags of 255 bytes, 16 to a line: 94 lines, of which the cache holds 36. */
#define LARGE_TAGS                                                                                 \
	{                                                                                          \
		.tag_size = 255                                                                    \
	}
#define LARGE_BLOCKS 1500U

static void one_tick(struct sim_lun *l)
{
	sim_advance(l->sim, ti_lun_deadline(l->lun) - ti_clock_now(sim_as_clock(l->sim)));
	ti_lun_tick(l->lun);
	sim_go(l);
}

static void tick_writes_old_dirty_tags_without_a_flush(void **state)
{
	struct sim_lun_options o = { .lun.commit_time_ms = 1000 };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	one_tick(l);
	sim_ok(l, sim_write(l, 3, 1, 1));
	one_tick(l); /* dirty for less than a tick: young */
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 0);
	one_tick(l);
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 1);
	assert_true(sim_has_tag(l, sim_contents(l->sim, TI_META), 3, 1));
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 0);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_FLUSH), 0);
	one_tick(l);
	one_tick(l);
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 1);
	sim_lun_free(l);
}

static void tags_are_written_after_the_commit_time_at_the_latest(void **state)
{
	struct sim_lun_options o = { .lun.commit_time_ms = 1000 };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	for (unsigned ms = 1; ms <= 1000; ms++) {
		if (ms == 1)
			sim_ok(l, sim_write(l, 3, 1, 1));
		sim_advance(l->sim, TI_NS_PER_MS);
		ti_lun_tick(l->lun);
		sim_go(l);
	}
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 1);
	sim_lun_free(l);
}

static void block_that_is_written_all_the_time_does_not_stay_young(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		sim_ok(l, sim_write(l, 3, 1, 1 + i));
		one_tick(l);
	}
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 1);
	sim_lun_free(l);
}

static void tick_does_nothing_before_its_time(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 1, 1));
	sim_forget(l);
	for (unsigned i = 0; i < 10; i++)
		ti_lun_tick(l->lun);
	sim_go(l);
	assert_int_equal(l->events, 0);
	sim_lun_free(l);
}

static void tick_tries_a_failed_tag_write_again(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 1, 1));
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_age(l);
	assert_int_equal(sim_stats(l).io_errors[TI_META], 1);
	one_tick(l);
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 2);
	assert_true(sim_has_tag(l, sim_contents(l->sim, TI_META), 3, 1));
	sim_lun_free(l);
}

static void line_that_changes_while_it_is_written_is_written_again_after_that(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 1, 1));
	sim_hold(l->sim, true);
	sim_age(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1);
	sim_write(l, 3, 1, 2);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_WRITE);
	sim_flush(l);
	sim_go(l);
	/* Two at once could reach the device in the wrong order. */
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1);
	sim_let(l, TI_META, TI_IO_WRITE);
	/* What was on its way was a copy: the new tag did not slip in. */
	assert_true(sim_has_tag(l, sim_contents(l->sim, TI_META), 3, 1));
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_true(sim_has_tag(l, sim_contents(l->sim, TI_META), 3, 2));
	sim_lun_free(l);
}

static void neighbouring_dirty_lines_travel_in_one_write(void **state)
{
	struct sim_lun *l = sim_lun_new(&(struct sim_lun_options){ .blocks = 32768 });

	(void)state;
	/* Eight of 32 lines, the last one first. */
	for (uint32_t line = 8; line-- > 0;)
		sim_ok(l, sim_write(l, line * 1024, 1, 1));
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 1);
	assert_int_equal(sim_stats(l).tag_lines_written, 8);
	for (uint32_t line = 0; line < 8; line++)
		assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), line * 1024, 1));
	sim_lun_free(l);
}

static void line_that_is_overwritten_whole_is_not_read(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 1024, 1024, 1));
	assert_int_equal(sim_started(l, TI_META, TI_IO_READ), 0);
	sim_ok(l, sim_write(l, 0, 1023, 1));
	assert_int_equal(sim_started(l, TI_META, TI_IO_READ), 1);
	sim_reads(l, 0, 1023, 1);
	sim_reads(l, 1023, 1, 0);
	sim_reads(l, 1024, 1024, 1);
	sim_lun_free(l);
}

static void failed_overwrite_of_a_whole_line_leaves_the_old_tags(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_write(l, 1024, 1024, 1), -EIO, TI_CAUSE_DATA_IO, 1024);
	for (uint32_t block = 1024; block < 2048; block++) {
		sim_forget(l);
		if (sim_has_data(l, sim_contents(l->sim, TI_DATA), block, 0))
			sim_reads(l, block, 1, 0);
		else
			sim_bad(l, sim_read(l, block, 1), -EILSEQ, TI_CAUSE_TAG_MISMATCH, block);
	}
	sim_lun_free(l);
}

static void tags_in_memory_are_not_read_again(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	for (uint32_t i = 0; i < 10; i++)
		sim_reads(l, 0, 2000, 0);
	assert_int_equal(sim_started(l, TI_META, TI_IO_READ), 1);
	assert_int_equal(sim_stats(l).tag_lines_read, 2);
	sim_lun_free(l);
}

static void requests_that_want_the_same_line_share_one_read_of_it(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct sim_req *read[3];

	(void)state;
	sim_hold(l->sim, true);
	for (uint32_t i = 0; i < 3; i++)
		read[i] = sim_read(l, i, 1);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_READ), 1);
	for (uint32_t i = 0; i < 3; i++)
		sim_ok(l, read[i]);
	assert_int_equal(sim_started(l, TI_META, TI_IO_READ), 1);
	sim_lun_free(l);
}

static void close_makes_everything_durable(void **state)
{
	/* Block 1024 has its tag in another line than block 1023. */
	static const uint32_t first[] = { 4, 1020, 3500 };
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		sim_ok(l, sim_write(l, first[i], 7, 1));
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_under_way(l->sim), 0);
	for (unsigned i = 0; i < 3; i++) {
		for (uint32_t block = first[i]; block < first[i] + 7; block++) {
			assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), block, 1));
			assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), block, 1));
		}
	}
	sim_power_cut(l->sim);
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 1020, 7, 1);
	sim_lun_free(l);
}

static void close_of_a_clean_lun_reaches_no_device(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_reads(l, 0, 4096, 0);
	sim_forget(l);
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(l->events, 0);
	sim_lun_free(l);
}

static void abandon_writes_nothing(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 1, 1));
	sim_forget(l);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	assert_int_equal(l->events, 0);
	assert_false(sim_has_tag(l, sim_contents(l->sim, TI_META), 3, 1));
	sim_lun_free(l);
}

static void superblock_and_journal_are_never_written(void **state)
{
	struct sim_lun_options o = { .shape = { .start_sector = 24, .salted = true } };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	sim_ok(l, sim_write(l, 0, 4096, 1));
	sim_ok(l, sim_flush(l));
	for (unsigned i = 0; i < l->events; i++)
		if (l->event[i].dev == TI_META && l->event[i].op == TI_IO_WRITE)
			assert_true(l->event[i].offset >= l->geo.tag_offset);
	sim_lun_free(l);
}

static void pair_behind_reserved_sectors_works(void **state)
{
	struct sim_lun_options o = { .shape = { .start_sector = 24, .tag_size = 7 } };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	for (unsigned i = 0; i < 24 * 512; i++)
		sim_contents(l->sim, TI_META)[i] = 0x5a;
	sim_settle(l->sim, TI_META);
	sim_ok(l, sim_write(l, 0, 4096, 1));
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 0, 4096, 1);
	for (unsigned i = 0; i < 24 * 512; i++)
		assert_int_equal(sim_contents(l->sim, TI_META)[i], 0x5a);
	sim_lun_free(l);
}

/* The device ends in the middle of the tags' last line: the last line's I/O is shorter. */
static void last_line_that_the_device_cuts_is_read_and_written(void **state)
{
	struct sim_lun_options o = { .shape.start_sector = 64, .blocks = 1024 + 300 };
	struct sim_lun *l = sim_lun_new(&o);
	uint64_t end = l->geo.tag_offset + 4096 + 3 * 512;

	(void)state;
	sim_lun_free(l);
	o.meta_bytes = end; /* 300 tags of 4 bytes: 2.3 sectors */
	l = sim_lun_new(&o);
	assert_int_equal(l->geo.tag_offset + 4096 + 3 * 512, end);
	sim_reads(l, 1023, 301, 0);
	sim_ok(l, sim_write(l, 1323, 1, 1));
	sim_ok(l, sim_flush(l));
	/* Overwritten whole, without a read: shorter as well. */
	sim_ok(l, sim_write(l, 1024, 300, 2));
	sim_ok(l, sim_flush(l));
	sim_lun_cut(l);
	sim_reads(l, 1024, 300, 2);
	sim_reads(l, 0, 1024, 0);
	sim_lun_free(l);
}

static void metadata_device_of_4096_byte_blocks_works(void **state)
{
	struct sim_lun_options o = { .shape = { .start_sector = 8, .block_size = 4096 },
				     .logical_block_size = { 512, 4096 } };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	sim_ok(l, sim_write(l, 5, 1, 1));
	sim_ok(l, sim_flush(l));
	sim_lun_cut(l);
	sim_reads(l, 5, 1, 1);
	sim_reads(l, 0, 5, 0);
	sim_lun_free(l);
}

static void reads_wait_for_room_in_the_cache(void **state)
{
	struct sim_lun_options o = { .shape = LARGE_TAGS, .blocks = LARGE_BLOCKS };
	struct sim_lun *l;
	struct sim_req *read[15];

	(void)state;
	o.lun.cache_bytes = 1;
	l = sim_lun_new(&o);
	sim_hold(l->sim, true);
	for (uint32_t i = 0; i < 15; i++)
		read[i] = sim_read(l, i * 100, 100);
	sim_go(l);
	/* 7 or 8 lines each. */
	assert_in_range(sim_count(l->sim, TI_META, TI_IO_READ), 4, 5);
	for (uint32_t i = 0; i < 15; i++) {
		sim_ok(l, read[i]);
		assert_true(sim_holds(l, read[i], 0));
	}
	sim_lun_free(l);
}

static void writes_make_room_by_writing_back(void **state)
{
	struct sim_lun_options o = { .shape = LARGE_TAGS, .blocks = LARGE_BLOCKS };
	struct sim_lun *l;
	struct sim_req *write[15];

	(void)state;
	o.lun.cache_bytes = 1;
	l = sim_lun_new(&o);
	for (uint32_t i = 0; i < 15; i++)
		write[i] = sim_write(l, i * 100, 100, i + 1);
	for (uint32_t i = 0; i < 15; i++)
		sim_ok(l, write[i]);
	assert_int_equal(sim_stats(l).flush_rounds, 0);
	assert_true(sim_stats(l).tag_lines_written > 94 - 36);
	for (uint32_t i = 0; i < 15; i++)
		sim_reads(l, i * 100, 100, i + 1);
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_lun_open(l), 0);
	for (uint32_t i = 0; i < 15; i++)
		sim_reads(l, i * 100, 100, i + 1);
	sim_lun_free(l);
}

static void line_is_not_given_away_while_it_is_written(void **state)
{
	struct sim_lun_options o = { .shape = LARGE_TAGS, .blocks = LARGE_BLOCKS };
	struct sim_lun *l;

	(void)state;
	o.lun.cache_bytes = 1;
	l = sim_lun_new(&o);
	sim_ok(l, sim_write(l, 0, 1, 1));
	sim_hold(l->sim, true);
	sim_age(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1);
	/* It is used once more, then all the other lines come and go. */
	sim_read(l, 0, 1);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_READ);
	for (uint32_t block = 100; block < LARGE_BLOCKS; block += 16) {
		sim_read(l, block, 1);
		sim_go(l);
		while (sim_complete_one(l->sim, TI_META, TI_IO_READ) ||
		       sim_complete_one(l->sim, TI_DATA, TI_IO_READ))
			sim_go(l);
	}
	/* The device still has the old tag; memory has the new one, and it counts. */
	sim_forget(l);
	sim_read(l, 0, 1);
	sim_go(l);
	assert_int_equal(sim_started(l, TI_META, TI_IO_READ), 0);
	sim_reads(l, 0, 1, 1);
	sim_lun_free(l);
}

static void metadata_device_that_fails_for_ever_fails_requests_and_hangs_none(void **state)
{
	struct sim_lun_options o = { .shape = LARGE_TAGS, .blocks = LARGE_BLOCKS };
	struct sim_lun *l;
	struct sim_req *write[60];
	unsigned failed = 0;

	(void)state;
	o.lun.cache_bytes = 1;
	l = sim_lun_new(&o);
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, SIM_FOR_EVER);
	for (uint32_t i = 0; i < 60; i++)
		write[i] = sim_write(l, i * 25, 25, 1);
	sim_finish(l);
	for (uint32_t i = 0; i < 60; i++) {
		if (write[i]->req.result.err == 0)
			continue;
		assert_string_equal(ti_cause_name(write[i]->req.result.cause),
				    ti_cause_name(TI_CAUSE_META_IO));
		failed++;
	}
	/* 36 lines have room for the tags of 23 requests. */
	assert_in_range(failed, 30, 50);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_IO, 0);

	/* It is back: what was acknowledged is still there, and the LUN serves everything again. */
	sim_mend(l);
	sim_ok(l, sim_flush(l));
	for (uint32_t i = 0; i < 60; i++)
		if (write[i]->req.result.err == 0)
			sim_reads(l, i * 25, 25, 1);
	sim_forget(l);
	for (uint32_t i = 0; i < 60; i++)
		sim_ok(l, sim_write(l, i * 25, 25, 2));
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 0, LARGE_BLOCKS, 2);
	sim_lun_free(l);
}

static void full_cache_still_serves_the_tags_that_it_holds(void **state)
{
	struct sim_lun_options o = { .shape = LARGE_TAGS, .blocks = LARGE_BLOCKS };
	struct sim_lun *l;

	(void)state;
	o.lun.cache_bytes = 1;
	l = sim_lun_new(&o);
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, SIM_FOR_EVER);
	/* The tags of 578 blocks fill 36 lines. */
	sim_ok(l, sim_write(l, 0, 578, 1));
	sim_bad(l, sim_read(l, 1000, 1), -EIO, TI_CAUSE_META_IO, 1000);
	sim_reads(l, 0, 578, 1);
	sim_ok(l, sim_write(l, 100, 1, 2));
	sim_reads(l, 100, 1, 2);
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tick_writes_old_dirty_tags_without_a_flush),
		cmocka_unit_test(tags_are_written_after_the_commit_time_at_the_latest),
		cmocka_unit_test(block_that_is_written_all_the_time_does_not_stay_young),
		cmocka_unit_test(tick_does_nothing_before_its_time),
		cmocka_unit_test(tick_tries_a_failed_tag_write_again),
		cmocka_unit_test(line_that_changes_while_it_is_written_is_written_again_after_that),
		cmocka_unit_test(neighbouring_dirty_lines_travel_in_one_write),
		cmocka_unit_test(line_that_is_overwritten_whole_is_not_read),
		cmocka_unit_test(failed_overwrite_of_a_whole_line_leaves_the_old_tags),
		cmocka_unit_test(tags_in_memory_are_not_read_again),
		cmocka_unit_test(requests_that_want_the_same_line_share_one_read_of_it),
		cmocka_unit_test(close_makes_everything_durable),
		cmocka_unit_test(close_of_a_clean_lun_reaches_no_device),
		cmocka_unit_test(abandon_writes_nothing),
		cmocka_unit_test(superblock_and_journal_are_never_written),
		cmocka_unit_test(pair_behind_reserved_sectors_works),
		cmocka_unit_test(last_line_that_the_device_cuts_is_read_and_written),
		cmocka_unit_test(metadata_device_of_4096_byte_blocks_works),
		cmocka_unit_test(reads_wait_for_room_in_the_cache),
		cmocka_unit_test(writes_make_room_by_writing_back),
		cmocka_unit_test(line_is_not_given_away_while_it_is_written),
		cmocka_unit_test(metadata_device_that_fails_for_ever_fails_requests_and_hangs_none),
		cmocka_unit_test(full_cache_still_serves_the_tags_that_it_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
