/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What becomes of flushes when a device fails.  A failed device flush is never forgotten; a tag
 * that could not be written stays in memory and is tried again.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim_lun.h"

static const enum ti_cause flush_cause[TI_DEVICES] = { TI_CAUSE_DATA_FLUSH, TI_CAUSE_META_FLUSH };

/* A LUN whose device @dev has failed one flush and is well again since. */
static struct sim_lun *after_a_failed_flush(enum ti_device dev)
{
	struct sim_lun *l = sim_lun_new(NULL);

	sim_ok(l, sim_write(l, 0, 1, 1));
	sim_fail(l, dev, TI_IO_FLUSH, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_flush(l), -EIO, flush_cause[dev], 0);
	sim_forget(l);
	return l;
}

static void failed_flush_fails_everyone_who_waited_for_it(void **state)
{
	(void)state;
	for (enum ti_device dev = TI_DATA; dev < TI_DEVICES; dev++) {
		struct sim_lun *l = sim_lun_new(NULL);
		struct sim_req *fua, *flush[5];

		sim_reads(l, 0, 16, 0); /* the tags' line is there */
		sim_fail(l, dev, TI_IO_FLUSH, SIM_EVERYWHERE, 1);
		sim_hold(l->sim, true);
		fua = sim_write_fua(l, 8, 1, 1);
		sim_go(l);
		sim_complete_one(l->sim, TI_DATA, TI_IO_WRITE);
		for (unsigned i = 0; i < 5; i++)
			flush[i] = sim_flush(l);
		sim_go(l);
		sim_bad(l, fua, -EIO, flush_cause[dev], 8);
		for (unsigned i = 0; i < 5; i++)
			sim_bad(l, flush[i], -EIO, flush_cause[dev], 0);
		assert_int_equal(sim_stats(l).flush_rounds, 1);
		sim_lun_free(l);
	}
}

static void failed_flush_fails_every_later_flush(void **state)
{
	(void)state;
	for (enum ti_device dev = TI_DATA; dev < TI_DEVICES; dev++) {
		struct sim_lun *l = after_a_failed_flush(dev);

		for (unsigned i = 0; i < 3; i++)
			sim_bad(l, sim_flush(l), -EIO, flush_cause[dev], 0);
		sim_ok(l, sim_write(l, 1, 1, 1));
		sim_bad(l, sim_flush(l), -EIO, flush_cause[dev], 0);
		sim_lun_free(l);
	}
}

static void failed_flush_fails_every_later_fua_write(void **state)
{
	(void)state;
	for (enum ti_device dev = TI_DATA; dev < TI_DEVICES; dev++) {
		struct sim_lun *l = after_a_failed_flush(dev);

		sim_bad(l, sim_write_fua(l, 7, 1, 1), -EIO, flush_cause[dev], 7);
		sim_lun_free(l);
	}
}

static void failed_flush_fails_the_close(void **state)
{
	(void)state;
	for (enum ti_device dev = TI_DATA; dev < TI_DEVICES; dev++) {
		struct sim_lun *l = after_a_failed_flush(dev);

		assert_int_equal(sim_lun_close(l), -EIO);
		sim_lun_free(l);
	}
}

static void failed_flush_is_told_once_to_the_log(void **state)
{
	(void)state;
	for (enum ti_device dev = TI_DATA; dev < TI_DEVICES; dev++) {
		struct sim_lun *l = after_a_failed_flush(dev);

		sim_fail(l, dev, TI_IO_FLUSH, SIM_EVERYWHERE, SIM_FOR_EVER);
		for (unsigned i = 0; i < 3; i++)
			sim_bad(l, sim_flush(l), -EIO, flush_cause[dev], 0);
		assert_int_equal(sim_logged(l, "err: flush failed"), 1);
		assert_int_equal(
			sim_logged(l, dev == TI_DATA ? "device=sim-data" : "device=sim-meta"), 1);
		assert_int_equal(sim_logged(l, strerror(EIO)), 1);
		sim_lun_free(l);
	}
}

static void failed_flushes_of_both_devices_are_both_told(void **state)
{
	struct sim_lun *l = after_a_failed_flush(TI_META);

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_FLUSH, SIM_EVERYWHERE, 1);
	sim_ok(l, sim_write(l, 1, 1, 1));
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_DATA_FLUSH, 0);
	assert_int_equal(sim_logged(l, "err: flush failed"), 2);
	assert_int_equal(sim_logged(l, "device=sim-data"), 1);
	assert_int_equal(sim_logged(l, "device=sim-meta"), 1);
	sim_lun_free(l);
}

static void reads_and_plain_writes_go_on_after_a_failed_flush(void **state)
{
	struct sim_lun *l = after_a_failed_flush(TI_DATA);

	(void)state;
	sim_ok(l, sim_write(l, 4, 2, 9));
	sim_reads(l, 4, 2, 9);
	sim_reads(l, 0, 1, 1);
	sim_lun_free(l);
}

static void flush_that_joined_a_failing_round_fails_with_it(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct sim_req *first, *second;

	(void)state;
	sim_ok(l, sim_write(l, 0, 1, 1));
	sim_fail(l, TI_DATA, TI_IO_FLUSH, SIM_EVERYWHERE, 1);
	sim_hold(l->sim, true);
	first = sim_flush(l);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_FLUSH); /* failed, and the round is still open */
	second = sim_flush(l);
	sim_bad(l, first, -EIO, TI_CAUSE_DATA_FLUSH, 0);
	sim_bad(l, second, -EIO, TI_CAUSE_DATA_FLUSH, 0);
	sim_lun_free(l);
}

static void lun_that_is_opened_anew_starts_clean(void **state)
{
	struct sim_lun *l = after_a_failed_flush(TI_DATA);

	(void)state;
	sim_lun_close(l);
	assert_int_equal(sim_lun_open(l), 0);
	sim_ok(l, sim_write_fua(l, 1, 1, 2));
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 1, 2));
	sim_lun_free(l);
}

static void failed_tag_write_fails_the_flush_and_the_next_one_makes_it_good(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 1, 1));
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_IO, 0);
	assert_int_equal(sim_logged(l, "err: tags could not be written"), 1);
	assert_int_equal(sim_stats(l).io_errors[TI_META], 1);
	sim_ok(l, sim_flush(l));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 3, 1));
	assert_int_equal(sim_lun_close(l), 0);
	sim_lun_free(l);
}

static void failed_tag_write_fails_the_fua_write_and_the_next_flush_makes_it_good(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_write_fua(l, 3, 1, 1), -EIO, TI_CAUSE_META_IO, 3);
	sim_ok(l, sim_flush(l));
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 3, 1));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 3, 1));
	sim_lun_free(l);
}

static void one_failed_tag_write_does_not_keep_the_others_from_the_medium(void **state)
{
	struct sim_lun *l = sim_lun_new(&(struct sim_lun_options){ .blocks = 16384 });

	(void)state;
	/* Three lines that are no neighbours; the middle one cannot be written. */
	for (uint32_t block = 0; block < 3 * 2048; block += 2048)
		sim_ok(l, sim_write(l, block, 1, 1));
	sim_fail(l, TI_META, TI_IO_WRITE, l->geo.tag_offset + 2048 * 4, 2);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_IO, 0);
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 0, 1));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 4096, 1));
	sim_forget(l);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_IO, 0);
	sim_ok(l, sim_flush(l));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 2048, 1));
	/* It alone was tried again. */
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 2);
	sim_lun_free(l);
}

static void tag_that_failed_in_the_background_is_written_by_the_flush(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 1, 1));
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_age(l);
	assert_int_equal(sim_stats(l).io_errors[TI_META], 1);
	sim_ok(l, sim_flush(l));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 3, 1));
	sim_lun_free(l);
}

static void tag_that_changed_while_its_write_failed_is_written_in_its_new_form(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 1, 1));
	sim_hold(l->sim, true);
	sim_flush(l);
	sim_go(l);
	sim_write(l, 3, 1, 2);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_WRITE);
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_finish(l);
	sim_ok(l, sim_flush(l));
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 3, 2));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 3, 2));
	sim_lun_free(l);
}

/* The line is dirty again through a later write; the flush must still see that it failed. */
static void tag_write_that_failed_is_not_covered_up_by_a_later_change(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct sim_req *flush;

	(void)state;
	sim_ok(l, sim_write(l, 3, 1, 1));
	sim_hold(l->sim, true);
	sim_age(l); /* the tag is on its way */
	flush = sim_flush(l);
	sim_go(l);
	sim_write(l, 4, 1, 2); /* the same line */
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_WRITE);
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_bad(l, flush, -EIO, TI_CAUSE_META_IO, 0);
	sim_lun_free(l);
}

static void close_reports_tags_that_could_not_be_written(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 1, 1));
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, SIM_FOR_EVER);
	assert_int_equal(sim_lun_close(l), -EIO);
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failed_flush_fails_everyone_who_waited_for_it),
		cmocka_unit_test(failed_flush_fails_every_later_flush),
		cmocka_unit_test(failed_flush_fails_every_later_fua_write),
		cmocka_unit_test(failed_flush_fails_the_close),
		cmocka_unit_test(failed_flush_is_told_once_to_the_log),
		cmocka_unit_test(failed_flushes_of_both_devices_are_both_told),
		cmocka_unit_test(reads_and_plain_writes_go_on_after_a_failed_flush),
		cmocka_unit_test(flush_that_joined_a_failing_round_fails_with_it),
		cmocka_unit_test(lun_that_is_opened_anew_starts_clean),
		cmocka_unit_test(failed_tag_write_fails_the_flush_and_the_next_one_makes_it_good),
		cmocka_unit_test(
			failed_tag_write_fails_the_fua_write_and_the_next_flush_makes_it_good),
		cmocka_unit_test(one_failed_tag_write_does_not_keep_the_others_from_the_medium),
		cmocka_unit_test(tag_that_failed_in_the_background_is_written_by_the_flush),
		cmocka_unit_test(
			tag_that_changed_while_its_write_failed_is_written_in_its_new_form),
		cmocka_unit_test(tag_write_that_failed_is_not_covered_up_by_a_later_change),
		cmocka_unit_test(close_reports_tags_that_could_not_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
