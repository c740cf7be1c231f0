/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Mode journal, the way from the journal to the blocks' places, and the clean close.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim_journal.h"

static void quiet(struct sim_lun *l)
{
	sim_hold(l->sim, false);
	for (sim_go(l); sim_under_way(l->sim) > 0; sim_go(l))
		ti_lun_wait(l->lun, TI_CLOCK_NEVER);
}

static void is_in_place(struct sim_lun *l, uint32_t block, uint32_t version)
{
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), block, version));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), block, version));
}

static void committed_blocks_stay_in_the_journal_until_the_watermark(void **state)
{
	struct sim_lun *l = sim_journal_new(4, 50);

	(void)state;
	sim_ok(l, sim_write(l, 0, 8, 1));
	sim_ok(l, sim_flush(l));
	quiet(l);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
	sim_ok(l, sim_write(l, 8, 8, 1));
	quiet(l);
	/* The oldest section has made enough room. */
	for (uint32_t n = 0; n < 8; n++)
		is_in_place(l, n, 1);
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 8, 0));
	sim_reads(l, 0, 16, 1);
	sim_lun_free(l);
}

static void neighbouring_blocks_go_to_the_data_device_in_one_write(void **state)
{
	struct sim_lun *l = sim_journal_new(4, 50);

	(void)state;
	for (uint32_t n = 0; n < 16; n++)
		sim_ok(l, sim_write(l, 20 + n, 1, 1));
	quiet(l);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 1);
	for (uint32_t n = 0; n < 16; n++)
		is_in_place(l, 20 + n, 1);
	sim_lun_free(l);
}

/* In neighbouring entries, forwards, backwards, and twice the same distance apart. */
static void blocks_with_a_gap_go_to_their_own_places(void **state)
{
	static const uint32_t block[] = { 5, 7, 6, 9, 8, 11, 13, 14 };
	struct sim_lun *l = sim_journal_new(2, 50);

	(void)state;
	for (unsigned n = 0; n < SIM_SECTION_ENTRIES; n++)
		sim_ok(l, sim_write(l, block[n], 1, 1));
	quiet(l);
	assert_true(sim_started(l, TI_DATA, TI_IO_WRITE) > 0);
	for (unsigned n = 0; n < SIM_SECTION_ENTRIES; n++)
		is_in_place(l, block[n], 1);
	for (uint32_t n = 0; n < 20; n++)
		assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), n,
					 n >= 5 && n <= 14 && n != 10 && n != 12));
	sim_lun_free(l);
}

static void older_entries_of_a_block_are_not_written_out(void **state)
{
	struct sim_lun *l = sim_journal_new(8, 99);

	(void)state;
	for (uint32_t version = 1; version <= 5; version++) {
		sim_ok(l, sim_write(l, 5, 1, version));
		sim_ok(l, sim_flush(l));
	}
	assert_int_equal(sim_journal_look(l).used_entries, 5);
	sim_forget(l);
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 1);
	is_in_place(l, 5, 5);
	sim_lun_free(l);
}

/*
 * Version 1 is committed, version 2 on its way to the journal: the batch must write version 1, for
 * its section is free afterwards, and if the commit is lost nothing else has it.
 */
static void entry_whose_newer_one_is_not_committed_is_written_out(void **state)
{
	struct sim_lun *l = sim_journal_new(2, 99);
	struct sim_req *more;

	(void)state;
	sim_ok(l, sim_write(l, 5, 1, 1));
	sim_ok(l, sim_flush(l));
	sim_forget(l);
	sim_ok(l, sim_write(l, 5, 1, 2));
	sim_ok(l, sim_write(l, 10, 7, 2));
	sim_hold(l->sim, true);
	more = sim_write(l, 30, 1, 3); /* no room: commit section 1, write out section 0 */
	sim_go(l);
	for (unsigned i = 0; i < 100 && !more->back; i++) {
		for (int dev = 0; dev < TI_DEVICES; dev++) {
			sim_complete_one(l->sim, (enum ti_device)dev, TI_IO_READ);
			sim_complete_one(l->sim, (enum ti_device)dev, TI_IO_FLUSH);
		}
		sim_complete_one(l->sim, TI_DATA, TI_IO_WRITE);
		sim_complete_at(l->sim, TI_META, TI_IO_WRITE, l->geo.tag_offset);
		sim_go(l);
	}
	assert_true(more->back);
	is_in_place(l, 5, 1);
	sim_reads(l, 5, 1, 2);
	sim_lun_free(l);
}

static void sections_are_free_only_when_both_devices_are_flushed(void **state)
{
	(void)state;
	for (int last = 0; last < TI_DEVICES; last++) {
		struct sim_lun *l = sim_journal_new(1, 99);
		struct sim_req *w;

		sim_ok(l, sim_flush(l));
		sim_hold(l->sim, true);
		sim_write(l, 0, 8, 1);
		w = sim_write(l, 500, 1, 2);
		sim_go(l);
		sim_let(l, TI_META, TI_IO_WRITE); /* the commit */
		sim_let(l, TI_META, TI_IO_FLUSH);
		sim_let(l, TI_META, TI_IO_READ); /* the tags' line */
		sim_let(l, TI_DATA, TI_IO_WRITE);
		sim_let(l, TI_META, TI_IO_WRITE); /* the tags; the data device is being flushed */
		assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
		assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 1);
		assert_false(w->back);
		sim_let(l, last == TI_META ? TI_DATA : TI_META, TI_IO_FLUSH);
		assert_false(w->back);
		sim_let(l, (enum ti_device)last, TI_IO_FLUSH);
		assert_true(w->back);
		for (uint32_t n = 0; n < 8; n++)
			is_in_place(l, n, 1);
		sim_lun_free(l);
	}
}

static void granted(struct ti_recalc_wish *wish, int err)
{
	(void)wish;
	assert_int_equal(err, 0);
}

/* Another's round is under way when the last run is done: it covers neither data nor tags. */
static void sections_are_not_freed_by_a_round_that_began_before(void **state)
{
	struct sim_lun *l = sim_journal_new(1, 99);
	struct ti_recalc_wish wish = { .done = granted };
	struct sim_req *w;

	(void)state;
	sim_hold(l->sim, true);
	sim_write(l, 0, 8, 1);
	w = sim_write(l, 500, 1, 2);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE); /* the commit */
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_int_equal(ti_lun_recalculate(l->lun, 0, &wish), 0);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1); /* the first one after open */
	sim_let(l, TI_META, TI_IO_READ);			      /* the tags' line */
	sim_let(l, TI_DATA, TI_IO_WRITE);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	assert_false(w->back);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	assert_false(w->back);
	assert_true(sim_complete_at(l->sim, TI_META, TI_IO_WRITE, l->geo.tag_offset));
	sim_go(l);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(w->back);
	for (uint32_t n = 0; n < 8; n++)
		is_in_place(l, n, 1);
	sim_lun_free(l);
}

static void read_during_write_out_is_right_at_every_step(void **state)
{
	struct sim_lun *l = sim_journal_new(4, 50);

	(void)state;
	sim_ok(l, sim_write(l, 0, 100, 1));
	sim_hold(l->sim, true);
	sim_write(l, 0, 16, 2);
	sim_go(l);
	for (unsigned i = 0; i < 60; i++) {
		struct sim_req *r = sim_read(l, 0, 4);

		sim_go(l);
		if (i % 3 == 0)
			sim_complete_one(l->sim, TI_DATA, (enum ti_io_op)(i / 3 % 3));
		else
			sim_complete_one(l->sim, TI_META, (enum ti_io_op)(i % 3));
		sim_go(l);
		if (r->back)
			assert_true(sim_holds(l, r, 2));
	}
	sim_finish(l);
	sim_reads(l, 0, 16, 2);
	sim_reads(l, 16, 84, 1);
	sim_lun_free(l);
}

static void failed_write_out_is_tried_again_and_reads_stay_right(void **state)
{
	static const struct {
		enum ti_device dev;
		enum ti_io_op op;
	} broken[] = { { TI_DATA, TI_IO_WRITE }, { TI_META, TI_IO_READ } };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sim_lun *l = sim_journal_new(4, 50);

		sim_ok(l, sim_flush(l));
		sim_fail(l, broken[i].dev, broken[i].op, SIM_EVERYWHERE, SIM_FOR_EVER);
		sim_ok(l, sim_write(l, 0, 20, 1));
		quiet(l);
		assert_true(sim_logged(l, "I/O error") > 0);
		/* The LUN goes on: what the journal has room for is written, flushed, read. */
		sim_ok(l, sim_write(l, 5, 2, 2));
		sim_ok(l, sim_flush(l));
		sim_reads(l, 0, 5, 1);
		sim_reads(l, 5, 2, 2);
		sim_forget(l);
		sim_mend(l);
		sim_age(l);
		quiet(l);
		assert_true(sim_started(l, TI_DATA, TI_IO_WRITE) > 0);
		is_in_place(l, 0, 1);
		sim_lun_cut(l);
		sim_reads(l, 0, 5, 1);
		sim_reads(l, 5, 2, 2);
		sim_reads(l, 7, 13, 1);
		sim_lun_free(l);
	}
}

static void write_that_finds_no_room_while_the_device_fails_fails_and_the_next_succeeds(
	void **state)
{
	struct sim_lun *l = sim_journal_new(2, 50);
	struct sim_req *w;

	(void)state;
	sim_ok(l, sim_flush(l));
	sim_fail(l, TI_DATA, TI_IO_WRITE, SIM_EVERYWHERE, SIM_FOR_EVER);
	sim_ok(l, sim_write(l, 0, 16, 1));
	quiet(l);
	w = sim_write(l, 100, 1, 2);
	sim_finish(l);
	assert_int_equal(w->req.result.err, -EIO);
	assert_int_equal(w->req.result.cause, TI_CAUSE_DATA_IO);
	assert_int_equal(w->req.result.sector, 100);
	sim_reads(l, 0, 16, 1);
	sim_reads(l, 100, 1, 0);
	sim_mend(l);
	sim_ok(l, sim_write(l, 100, 1, 3));
	sim_reads(l, 0, 16, 1);
	sim_reads(l, 100, 1, 3);
	assert_int_equal(sim_lun_close(l), 0);
	is_in_place(l, 15, 1);
	is_in_place(l, 100, 3);
	sim_lun_free(l);
}

static void tags_that_cannot_be_written_keep_the_sections(void **state)
{
	struct sim_lun *l = sim_journal_new(4, 50);

	(void)state;
	sim_ok(l, sim_flush(l));
	sim_fail(l, TI_META, TI_IO_WRITE, l->geo.tag_offset, SIM_FOR_EVER);
	sim_ok(l, sim_write(l, 0, 16, 1));
	quiet(l);
	sim_ok(l, sim_flush(l)); /* it needs the journal only */
	sim_mend(l);
	sim_lun_cut(l);
	sim_reads(l, 0, 16, 1);
	sim_lun_free(l);
}

static void clean_close_leaves_an_empty_journal_that_goes_on_in_its_numbers(void **state)
{
	struct sim_lun *l = sim_journal_new(3, 99);

	(void)state;
	/* As the kernel: J_wrap.clean is 3,3,2 where two sections of the third lap were used. */
	for (uint32_t version = 1; version <= 8; version++) {
		sim_ok(l, sim_write(l, version * 10, 8, version));
		sim_ok(l, sim_flush(l));
		sim_forget(l);
	}
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_journal_look(l).used_entries, 0);
	assert_int_equal(sim_journal_look(l).state, TI_JOURNAL_EMPTY);
	assert_int_equal(sim_journal_look(l).replay_sections, 3);
	assert_int_equal(sim_journal_section(l, 0).seq, 0);
	assert_int_equal(sim_journal_section(l, 1).seq, 0);
	assert_int_equal(sim_journal_section(l, 2).seq, 3);
	for (uint32_t version = 1; version <= 8; version++)
		is_in_place(l, version * 10 + 7, version);
	sim_forget(l);
	assert_int_equal(sim_lun_open(l), 0);
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 0);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
	sim_ok(l, sim_write(l, 0, 1, 9));
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_journal_section(l, 2).seq, 0);
	sim_lun_cut(l);
	sim_reads(l, 0, 1, 9);
	sim_reads(l, 80, 8, 8);
	sim_lun_free(l);
}

static void close_without_a_write_leaves_the_devices_alone(void **state)
{
	struct sim_lun *l = sim_journal_new(3, 0);

	(void)state;
	sim_reads(l, 0, 100, 0);
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 0);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
	sim_lun_free(l);
}

/* Cut anywhere in a close: the next open finds everything. */
static void close_cut_at_any_io_loses_nothing(void **state)
{
	unsigned cuts = 0;

	(void)state;
	for (unsigned n = 0;; n++) {
		struct sim_lun *l = sim_journal_new(4, 99);
		int err;

		for (uint32_t version = 1; version <= 6; version++) {
			sim_ok(l, sim_write(l, 7, 8, version));
			sim_ok(l, sim_write(l, version * 20, 2, version));
			sim_ok(l, sim_flush(l));
		}
		sim_vanish_after(l, n);
		err = ti_lun_close(l->lun);
		l->lun = NULL;
		sim_vanish_after(l, SIM_FOR_EVER);
		sim_power_cut(l->sim);
		assert_int_equal(sim_lun_open(l), 0);
		sim_forget(l);
		sim_reads(l, 7, 8, 6);
		for (uint32_t version = 1; version <= 6; version++)
			sim_reads(l, version * 20, 2, version);
		sim_ok(l, sim_write(l, 7, 1, 100));
		sim_ok(l, sim_flush(l));
		sim_lun_cut(l);
		sim_reads(l, 7, 1, 100);
		sim_reads(l, 8, 7, 6);
		sim_lun_free(l);
		if (err == 0)
			break;
		cuts++;
	}
	print_message("%u cuts\n", cuts);
	assert_true(cuts > 5);
}

static void close_with_a_failing_data_device_keeps_the_journal(void **state)
{
	struct sim_lun *l = sim_journal_new(4, 99);

	(void)state;
	sim_ok(l, sim_write(l, 7, 8, 1));
	sim_fail(l, TI_DATA, TI_IO_WRITE, SIM_EVERYWHERE, SIM_FOR_EVER);
	assert_int_equal(sim_lun_close(l), -EIO);
	assert_int_equal(sim_journal_look(l).replay_entries, 8);
	sim_mend(l);
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 7, 8, 1);
	is_in_place(l, 14, 1);
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(committed_blocks_stay_in_the_journal_until_the_watermark),
		cmocka_unit_test(neighbouring_blocks_go_to_the_data_device_in_one_write),
		cmocka_unit_test(older_entries_of_a_block_are_not_written_out),
		cmocka_unit_test(entry_whose_newer_one_is_not_committed_is_written_out),
		cmocka_unit_test(sections_are_free_only_when_both_devices_are_flushed),
		cmocka_unit_test(read_during_write_out_is_right_at_every_step),
		cmocka_unit_test(failed_write_out_is_tried_again_and_reads_stay_right),
		cmocka_unit_test(
			write_that_finds_no_room_while_the_device_fails_fails_and_the_next_succeeds),
		cmocka_unit_test(tags_that_cannot_be_written_keep_the_sections),
		cmocka_unit_test(clean_close_leaves_an_empty_journal_that_goes_on_in_its_numbers),
		cmocka_unit_test(close_without_a_write_leaves_the_devices_alone),
		cmocka_unit_test(close_cut_at_any_io_loses_nothing),
		cmocka_unit_test(close_with_a_failing_data_device_keeps_the_journal),
		cmocka_unit_test(sections_are_not_freed_by_a_round_that_began_before),
		cmocka_unit_test(blocks_with_a_gap_go_to_their_own_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
