/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Flush rounds, completion by completion: what runs beside what, which round covers which write,
 * who shares a round, and which device is left alone.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim_lun.h"

/* A LUN with one block written (its data in the device's cache, its tag in memory), held. */
static struct sim_lun *one_block_written(void)
{
	struct sim_lun *l = sim_lun_new(NULL);

	sim_ok(l, sim_write(l, 0, 1, 1));
	sim_forget(l);
	sim_hold(l->sim, true);
	return l;
}

static void data_flush_and_tag_write_back_are_under_way_at_the_same_time(void **state)
{
	struct sim_lun *l = one_block_written();

	(void)state;
	sim_flush(l);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1);
	assert_int_equal(sim_under_way(l->sim), 2);
	sim_lun_free(l);
}

static void metadata_flush_starts_while_the_data_flush_still_runs(void **state)
{
	struct sim_lun *l = one_block_written();

	(void)state;
	sim_flush(l);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 1);
	sim_lun_free(l);
}

static void metadata_flush_waits_for_every_tag_write(void **state)
{
	struct sim_lun *l = sim_lun_new(&(struct sim_lun_options){ .blocks = 16384 });

	(void)state;
	/* 1024 tags of 4 bytes to a line: three lines that are no neighbours. */
	for (uint32_t block = 0; block < 3 * 2048; block += 2048)
		sim_ok(l, sim_write(l, block, 1, 1));
	sim_hold(l->sim, true);
	sim_flush(l);
	sim_go(l);
	for (unsigned left = 2; left > 0; left--) {
		assert_true(sim_complete_one(l->sim, TI_META, TI_IO_WRITE));
		sim_go(l);
		assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 0);
	}
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 1);
	sim_lun_free(l);
}

static void flush_completes_only_after_both(enum ti_device first, enum ti_device second)
{
	struct sim_lun *l = one_block_written();
	struct sim_req *flush = sim_flush(l);

	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_false(flush->back);
	sim_let(l, first, TI_IO_FLUSH);
	assert_false(flush->back);
	sim_let(l, second, TI_IO_FLUSH);
	assert_true(flush->back);
	sim_ok(l, flush);
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 0, 1));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 0, 1));
	sim_lun_free(l);
}

static void flush_completes_only_after_the_metadata_flush(void **state)
{
	(void)state;
	flush_completes_only_after_both(TI_DATA, TI_META);
}

static void flush_completes_only_after_the_data_flush(void **state)
{
	(void)state;
	flush_completes_only_after_both(TI_META, TI_DATA);
}

static void flush_waits_for_tag_writes_that_began_before_it(void **state)
{
	struct sim_lun *l = one_block_written();

	(void)state;
	sim_age(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1);
	sim_flush(l);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 0);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 1);
	sim_lun_free(l);
}

static void tags_written_before_the_flush_are_flushed_by_it(void **state)
{
	struct sim_lun *l = one_block_written();

	(void)state;
	sim_age(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_false(sim_has_tag(l, sim_durable(l->sim, TI_META), 0, 1));
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 1);
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 0, 1));
	sim_lun_free(l);
}

static void flush_started_before_a_write_completed_does_not_cover_it(void **state)
{
	struct sim_lun *l = one_block_written();
	struct sim_req *first = sim_flush(l), *write, *second;

	(void)state;
	sim_go(l);
	write = sim_write(l, 5, 1, 2);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_WRITE);
	assert_true(write->back);
	second = sim_flush(l);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(first->back);
	assert_false(second->back);
	assert_false(sim_has_data(l, sim_durable(l->sim, TI_DATA), 5, 2));
	/* The second pair has begun by itself. */
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
	sim_ok(l, second);
	assert_int_equal(sim_stats(l).flush_rounds, 2);
	assert_int_equal(sim_stats(l).device_flushes[TI_DATA], 2);
	assert_int_equal(sim_stats(l).device_flushes[TI_META], 2);
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 5, 2));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 5, 2));
	sim_lun_free(l);
}

static void write_that_completes_during_a_flush_is_there_for_the_next(void **state)
{
	struct sim_lun *l = one_block_written();

	(void)state;
	sim_flush(l);
	sim_go(l);
	sim_write(l, 5, 1, 2);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_WRITE);
	sim_finish(l);
	/* Nothing is written after the first round's end. */
	sim_ok(l, sim_flush(l));
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 5, 2));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 5, 2));
	sim_lun_free(l);
}

static void tags_written_back_during_a_metadata_flush_are_there_for_the_next(void **state)
{
	struct sim_lun *l = one_block_written();

	(void)state;
	sim_flush(l);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	/* The metadata flush is under way; a new tag follows it to the device. */
	sim_write(l, 5, 1, 2);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_WRITE);
	sim_age(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 1);
	sim_finish(l);
	sim_ok(l, sim_flush(l));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 5, 2));
	sim_lun_free(l);
}

static void flush_does_not_wait_for_writes_under_way(void **state)
{
	struct sim_lun *l = one_block_written();
	struct sim_req *write = sim_write(l, 5, 1, 2), *flush;

	(void)state;
	sim_go(l);
	flush = sim_flush(l);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	assert_true(flush->back);
	assert_false(write->back);
	sim_lun_free(l);
}

static void flush_joins_the_round_that_runs_if_nothing_was_written_since(void **state)
{
	struct sim_lun *l = one_block_written();
	struct sim_req *first = sim_flush(l), *second;

	(void)state;
	sim_go(l);
	second = sim_flush(l);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(first->back);
	assert_true(second->back);
	assert_int_equal(sim_stats(l).flush_rounds, 1);
	sim_lun_free(l);
}

static void thirty_two_flushes_at_once_share_one_round(void **state)
{
	struct sim_lun *l = one_block_written();

	(void)state;
	for (unsigned i = 0; i < 32; i++)
		sim_flush(l);
	sim_finish(l);
	assert_int_equal(sim_stats(l).flush_rounds, 1);
	assert_int_equal(sim_stats(l).flushes, 32);
	assert_int_equal(sim_stats(l).device_flushes[TI_DATA], 1);
	assert_int_equal(sim_stats(l).device_flushes[TI_META], 1);
	sim_lun_free(l);
}

static void thirty_two_flushes_behind_a_running_round_cost_one_more(void **state)
{
	struct sim_lun *l = one_block_written();

	(void)state;
	sim_flush(l);
	sim_go(l);
	for (uint32_t i = 0; i < 32; i++) {
		sim_write(l, 1 + i, 1, 2);
		sim_go(l);
		sim_let(l, TI_DATA, TI_IO_WRITE);
		sim_flush(l);
		sim_go(l);
	}
	sim_finish(l);
	assert_int_equal(sim_stats(l).flush_rounds, 2);
	assert_int_equal(sim_stats(l).device_flushes[TI_DATA], 2);
	assert_int_equal(sim_stats(l).device_flushes[TI_META], 2);
	for (uint32_t i = 0; i < 32; i++)
		assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 1 + i, 2));
	sim_lun_free(l);
}

static void flush_of_a_clean_pair_completes_at_once_and_reaches_no_device(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct sim_req *flush;

	(void)state;
	sim_reads(l, 0, 64, 0);
	sim_forget(l);
	sim_hold(l->sim, true);
	flush = sim_flush(l);
	sim_go(l);
	assert_true(flush->back);
	assert_int_equal(l->events, 0);
	sim_ok(l, flush);
	sim_lun_free(l);
}

/* Whoever had the pair before may have died with acknowledged writes in the devices' caches. */
static void first_flush_after_open_reaches_both_devices(void **state)
{
	struct sim_lun *l = sim_lun_make(NULL);

	(void)state;
	assert_int_equal(sim_lun_open(l), 0);
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_FLUSH), 1);
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 1);
	sim_lun_free(l);
}

static void first_flush_after_a_death_covers_what_was_written_before_it(void **state)
{
	struct sim_lun *l = one_block_written();

	(void)state;
	/* The tag reaches the metadata device's cache; nothing is flushed. */
	sim_age(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_lun_die(l);
	sim_ok(l, sim_flush(l));
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 0, 1));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 0, 1));
	sim_lun_free(l);
}

static void device_that_was_flushed_is_not_flushed_again(void **state)
{
	struct sim_lun *l = one_block_written();

	(void)state;
	sim_ok(l, sim_flush(l));
	sim_forget(l);
	sim_ok(l, sim_flush(l));
	assert_int_equal(l->events, 0);
	sim_lun_free(l);
}

static void metadata_device_without_a_new_tag_is_not_flushed(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	/* The data is written, but the tag's line cannot be read. */
	sim_fail(l, TI_META, TI_IO_READ, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_write(l, 3, 1, 1), -EIO, TI_CAUSE_META_IO, 3);
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_FLUSH), 1);
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 0);
	sim_lun_free(l);
}

static void data_device_without_new_data_is_not_flushed(void **state)
{
	struct sim_lun *l = one_block_written();

	(void)state;
	/* The data is flushed, but the tag stays in memory. */
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_IO, 0);
	sim_forget(l);
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_FLUSH), 0);
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 1);
	sim_lun_free(l);
}

static void failed_write_makes_the_data_device_dirty(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	/* Some of it may be in the device's cache. */
	sim_fail(l, TI_DATA, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_write(l, 3, 1, 1), -EIO, TI_CAUSE_DATA_IO, 3);
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_FLUSH), 1);
	sim_lun_free(l);
}

/* The same as one_block_written() on a metadata device that says it has FUA writes. */
static struct sim_lun *one_block_written_with_fua(uint32_t blocks)
{
	struct sim_lun *l = sim_lun_new(
		&(struct sim_lun_options){ .blocks = blocks, .fua = { [TI_META] = true } });

	sim_ok(l, sim_write(l, 0, 1, 1));
	sim_forget(l);
	sim_hold(l->sim, true);
	return l;
}

static void lone_tag_write_with_fua_needs_no_flush(void **state)
{
	struct sim_lun *l = one_block_written_with_fua(0);
	struct sim_req *flush = sim_flush(l);

	(void)state;
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	assert_false(flush->back);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_true(flush->back);
	sim_ok(l, flush);
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 0);
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 0, 1));
	sim_lun_free(l);
}

static void scattered_tags_are_flushed_although_there_is_fua(void **state)
{
	struct sim_lun *l = one_block_written_with_fua(16384);
	struct sim_req *flush;

	(void)state;
	sim_hold(l->sim, false);
	sim_ok(l, sim_write(l, 2048, 1, 1));
	sim_hold(l->sim, true);
	flush = sim_flush(l);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	assert_true(sim_complete_one(l->sim, TI_META, TI_IO_WRITE));
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_false(flush->back);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 1);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(flush->back);
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 0, 1));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 2048, 1));
	sim_lun_free(l);
}

static void fua_does_not_cover_tags_written_before(void **state)
{
	struct sim_lun *l = one_block_written_with_fua(16384);

	(void)state;
	sim_age(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_hold(l->sim, false);
	sim_ok(l, sim_write(l, 2048, 1, 1));
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 1);
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 0, 1));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 2048, 1));
	sim_lun_free(l);
}

static void failed_fua_write_of_tags_is_made_good_by_the_next_flush(void **state)
{
	struct sim_lun *l = one_block_written_with_fua(0);

	(void)state;
	sim_hold(l->sim, false);
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_IO, 0);
	sim_mend(l);
	sim_ok(l, sim_flush(l));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 0, 1));
	sim_lun_free(l);
}

static void granted(struct ti_recalc_wish *wish, int err)
{
	(void)wish;
	assert_int_equal(err, 0);
}

/* The tag was written before a recalculation's flush of the metadata device began, which will cover
 * it, but has not done so. */
static void flush_waits_for_anothers_flush_of_what_it_covers(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct ti_recalc_wish wish = { .done = granted };
	struct sim_req *flush;

	(void)state;
	sim_hold(l->sim, true);
	assert_int_equal(ti_lun_recalculate(l->lun, 0, &wish), 0);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1); /* the superblock */
	sim_write(l, 0, 1, 1);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_READ);
	sim_let(l, TI_DATA, TI_IO_WRITE);
	sim_age(l);
	assert_true(sim_complete_at(l->sim, TI_META, TI_IO_WRITE, l->geo.tag_offset));
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 1);
	flush = sim_flush(l);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	assert_false(flush->back);
	sim_ok(l, flush);
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 0, 1));
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_flush_and_tag_write_back_are_under_way_at_the_same_time),
		cmocka_unit_test(metadata_flush_starts_while_the_data_flush_still_runs),
		cmocka_unit_test(metadata_flush_waits_for_every_tag_write),
		cmocka_unit_test(flush_completes_only_after_the_metadata_flush),
		cmocka_unit_test(flush_completes_only_after_the_data_flush),
		cmocka_unit_test(flush_waits_for_tag_writes_that_began_before_it),
		cmocka_unit_test(tags_written_before_the_flush_are_flushed_by_it),
		cmocka_unit_test(flush_started_before_a_write_completed_does_not_cover_it),
		cmocka_unit_test(write_that_completes_during_a_flush_is_there_for_the_next),
		cmocka_unit_test(tags_written_back_during_a_metadata_flush_are_there_for_the_next),
		cmocka_unit_test(flush_does_not_wait_for_writes_under_way),
		cmocka_unit_test(flush_joins_the_round_that_runs_if_nothing_was_written_since),
		cmocka_unit_test(thirty_two_flushes_at_once_share_one_round),
		cmocka_unit_test(thirty_two_flushes_behind_a_running_round_cost_one_more),
		cmocka_unit_test(flush_of_a_clean_pair_completes_at_once_and_reaches_no_device),
		cmocka_unit_test(first_flush_after_open_reaches_both_devices),
		cmocka_unit_test(first_flush_after_a_death_covers_what_was_written_before_it),
		cmocka_unit_test(device_that_was_flushed_is_not_flushed_again),
		cmocka_unit_test(metadata_device_without_a_new_tag_is_not_flushed),
		cmocka_unit_test(data_device_without_new_data_is_not_flushed),
		cmocka_unit_test(failed_write_makes_the_data_device_dirty),
		cmocka_unit_test(lone_tag_write_with_fua_needs_no_flush),
		cmocka_unit_test(scattered_tags_are_flushed_although_there_is_fua),
		cmocka_unit_test(fua_does_not_cover_tags_written_before),
		cmocka_unit_test(failed_fua_write_of_tags_is_made_good_by_the_next_flush),
		cmocka_unit_test(flush_waits_for_anothers_flush_of_what_it_covers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
