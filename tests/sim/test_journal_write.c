/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Mode journal, what a request sees: writes that are complete once they stand in the journal, reads
 * that find them there, and a journal that is too small for what comes.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim_journal.h"

static void write_completes_without_any_io(void **state)
{
	struct sim_lun *l = sim_journal_new(8, 0);
	struct sim_req *w;

	(void)state;
	sim_hold(l->sim, true);
	w = sim_write(l, 3, 8, 1);
	sim_go(l);
	assert_true(w->back);
	assert_int_equal(w->req.result.err, 0);
	assert_int_equal(l->events, 0);
	sim_lun_free(l);
}

static void read_of_what_the_journal_holds_reaches_no_device(void **state)
{
	struct sim_lun *l = sim_journal_new(8, 0);
	struct sim_req *r, *v;

	(void)state;
	sim_hold(l->sim, true);
	sim_write(l, 3, 8, 1);
	r = sim_read(l, 3, 8);
	v = sim_verify(l, 4, 2);
	sim_go(l);
	assert_true(r->back && v->back);
	assert_true(sim_holds(l, r, 1));
	assert_int_equal(l->events, 0);
	sim_lun_free(l);
}

static void read_takes_each_block_from_where_its_newest_version_is(void **state)
{
	struct sim_lun *l = sim_journal_new(8, 0);
	struct sim_req *r;

	(void)state;
	sim_write(l, 2, 2, 1);
	sim_write(l, 7, 1, 2);
	sim_ok(l, sim_flush(l));
	sim_write(l, 3, 1, 3);
	r = sim_read(l, 0, 10);
	sim_ok(l, r);
	for (uint32_t n = 0; n < 10; n++) {
		static const uint32_t want[] = { 0, 0, 1, 3, 0, 0, 0, 2, 0, 0 };

		assert_true(sim_has_data(l, r->memory, n, want[n]));
	}
	sim_lun_free(l);
}

static void memory_in_odd_pieces_goes_in_and_out_of_the_journal(void **state)
{
	struct sim_lun *l = sim_journal_new(8, 0);
	struct sim_req *r;

	(void)state;
	r = sim_prepare(l, TI_REQ_WRITE, 5, 9, 1);
	sim_scatter(r, 100, 3);
	sim_submit(l, r);
	r = sim_prepare(l, TI_REQ_READ, 5, 9, 0);
	sim_scatter(r, 77, 1);
	sim_submit(l, r);
	sim_ok(l, r);
	assert_true(sim_holds(l, r, 1));
	sim_lun_free(l);
}

static void write_same_fills_the_journal_with_one_block(void **state)
{
	struct sim_lun *l = sim_journal_new(2, 0);

	(void)state;
	sim_ok(l, sim_write_same(l, 10, 100, 4));
	sim_reads(l, 10, 100, 4 | SIM_SAME);
	sim_ok(l, sim_flush(l));
	sim_lun_cut(l);
	sim_reads(l, 10, 100, 4 | SIM_SAME);
	sim_lun_free(l);
}

/* The acknowledged one must stay whole until the new one is. */
static void block_written_again_before_its_commit_takes_another_entry(void **state)
{
	struct sim_lun *l = sim_journal_new(8, 0);

	(void)state;
	for (uint32_t version = 1; version <= 40; version++)
		sim_ok(l, sim_write(l, 5, 1, version));
	sim_reads(l, 5, 1, 40);
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_journal_look(l).used_entries, 40);
	sim_lun_cut(l);
	sim_reads(l, 5, 1, 40);
	sim_lun_free(l);
}

static void block_written_again_after_its_commit_takes_another(void **state)
{
	struct sim_lun *l = sim_journal_new(8, 99);

	(void)state;
	sim_ok(l, sim_write(l, 5, 1, 1));
	sim_ok(l, sim_flush(l));
	sim_ok(l, sim_write(l, 5, 1, 2));
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_journal_look(l).used_entries, 2);
	sim_reads(l, 5, 1, 2);
	sim_lun_free(l);
}

static void request_larger_than_the_smallest_journal_completes(void **state)
{
	struct sim_lun *l = sim_journal_new(1, 0);

	(void)state;
	sim_ok(l, sim_write(l, 0, 1000, 1));
	sim_reads(l, 0, 1000, 1);
	sim_ok(l, sim_write_fua(l, 0, 999, 2));
	sim_lun_cut(l);
	sim_reads(l, 0, 999, 2);
	sim_reads(l, 999, 1, 1);
	sim_lun_free(l);
}

static void sixty_four_large_writes_through_the_smallest_journal_complete_in_order(void **state)
{
	struct sim_lun *l = sim_journal_new(1, 0);
	struct sim_req *r[64];

	(void)state;
	for (uint32_t i = 0; i < 64; i++)
		r[i] = sim_write(l, i * 15, 15, i + 1);
	for (uint32_t i = 0; i < 64; i++) {
		sim_finish(l);
		sim_forget(l);
		assert_int_equal(r[i]->req.result.err, 0);
		assert_int_equal(r[i]->order, i + 1);
	}
	for (uint32_t i = 0; i < 64; i++)
		sim_reads(l, i * 15, 15, i + 1);
	assert_int_equal(sim_lun_close(l), 0);
	sim_forget(l);
	assert_int_equal(sim_lun_open(l), 0);
	for (uint32_t i = 0; i < 64; i++)
		sim_reads(l, i * 15, 15, i + 1);
	sim_lun_free(l);
}

/* It stands last, and the large ones take all that becomes free before it. */
static void small_write_gets_its_turn_behind_large_ones(void **state)
{
	struct sim_lun *l = sim_journal_new(1, 0);
	struct sim_req *large[4], *small;

	(void)state;
	for (uint32_t i = 0; i < 4; i++)
		large[i] = sim_write(l, i * 200, 200, 1);
	small = sim_write(l, 900, 1, 2);
	sim_finish(l);
	assert_int_equal(small->req.result.err, 0);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(large[i]->req.result.err, 0);
		assert_int_equal(large[i]->order, i + 1);
	}
	sim_lun_free(l);
}

static void overlapping_writes_that_wait_for_room_end_with_the_last_one(void **state)
{
	struct sim_lun *l = sim_journal_new(1, 0);

	(void)state;
	for (uint32_t i = 1; i <= 20; i++)
		sim_write(l, 50, 30, i);
	sim_reads(l, 50, 30, 20);
	sim_ok(l, sim_flush(l));
	sim_lun_cut(l);
	sim_reads(l, 50, 30, 20);
	sim_lun_free(l);
}

/* The one that waits is atomic: there are entries left, but not enough of them in one section,
 * while the other one is being committed. */
static void write_for_which_there_is_room_does_not_overtake_one_that_waits(void **state)
{
	struct sim_lun *l = sim_journal_new(2, 99);
	struct sim_req *atomic, *small;

	(void)state;
	sim_ok(l, sim_write(l, 0, 3, 1));
	sim_hold(l->sim, true);
	sim_flush(l);
	sim_go(l);
	sim_write(l, 10, 3, 1);
	sim_go(l);
	atomic = sim_prepare(l, TI_REQ_WRITE, 100, 8, 2);
	atomic->req.flags = TI_REQ_ATOMIC;
	sim_submit(l, atomic);
	sim_go(l);
	small = sim_write(l, 500, 1, 2);
	sim_go(l);
	assert_false(atomic->back || small->back);
	sim_ok(l, atomic);
	sim_ok(l, small);
	assert_true(atomic->order < small->order);
	sim_lun_free(l);
}

/* The last bytes of each of their sectors give way to a commit id.  A ring of one section is whole
 * when it is replayed, and left as it is. */
static void blocks_of_eight_sectors_go_in_and_out_of_the_journal(void **state)
{
	(void)state;
	for (uint32_t sections = 1; sections <= 3; sections += 2) {
		struct sim_lun *l = sim_lun_make(&(struct sim_lun_options){
			.shape = { .block_size = 4096, .journal_sectors = sections * 392 },
			.blocks = 256,
			.lun = { .mode = TI_MODE_JOURNAL, .journal_watermark = 99 } });

		assert_int_equal(l->geo.journal_sections, sections);
		assert_int_equal(sim_lun_open(l), 0);
		sim_ok(l, sim_write(l, 10, 5, 1));
		sim_reads(l, 10, 5, 1);
		sim_ok(l, sim_flush(l));
		sim_reads(l, 10, 5, 1);
		if (sections > 1)
			assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
		sim_lun_cut(l);
		sim_reads(l, 10, 5, 1);
		sim_lun_cut(l);
		sim_ok(l, sim_write(l, 12, 2, 2));
		sim_ok(l, sim_flush(l));
		assert_int_equal(sim_lun_close(l), 0);
		assert_int_equal(sim_lun_open(l), 0);
		sim_reads(l, 10, 2, 1);
		sim_reads(l, 12, 2, 2);
		sim_reads(l, 14, 1, 1);
		sim_lun_free(l);
	}
}

/* Tags of 255 bytes fill a run's scratch at 64 blocks and a bit: runs still end between them. */
static void device_with_larger_blocks_than_ours_gets_whole_ones(void **state)
{
	struct sim_lun *l = sim_lun_make(&(struct sim_lun_options){
		.shape = { .tag_size = 255, .journal_sectors = 16 * 64 },
		.blocks = 2000,
		.logical_block_size = { 4096, 512 },
		.lun = { .mode = TI_MODE_JOURNAL, .journal_watermark = 99 } });

	(void)state;
	assert_int_equal(sim_lun_open(l), 0);
	sim_ok(l, sim_write(l, 8, 400, 1));
	sim_ok(l, sim_write(l, 16, 8, 2));
	sim_reads(l, 0, 8, 0);
	assert_int_equal(sim_lun_close(l), 0);
	for (unsigned i = 0; i < l->events; i++) {
		if (l->event[i].dev != TI_DATA || l->event[i].op != TI_IO_WRITE)
			continue;
		assert_int_equal(l->event[i].offset % 4096, 0);
		assert_int_equal(l->event[i].len % 4096, 0);
	}
	sim_forget(l);
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 16, 8, 2);
	sim_reads(l, 24, 384, 1);
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(write_completes_without_any_io),
		cmocka_unit_test(read_of_what_the_journal_holds_reaches_no_device),
		cmocka_unit_test(read_takes_each_block_from_where_its_newest_version_is),
		cmocka_unit_test(memory_in_odd_pieces_goes_in_and_out_of_the_journal),
		cmocka_unit_test(write_same_fills_the_journal_with_one_block),
		cmocka_unit_test(block_written_again_before_its_commit_takes_another_entry),
		cmocka_unit_test(block_written_again_after_its_commit_takes_another),
		cmocka_unit_test(request_larger_than_the_smallest_journal_completes),
		cmocka_unit_test(
			sixty_four_large_writes_through_the_smallest_journal_complete_in_order),
		cmocka_unit_test(small_write_gets_its_turn_behind_large_ones),
		cmocka_unit_test(overlapping_writes_that_wait_for_room_end_with_the_last_one),
		cmocka_unit_test(device_with_larger_blocks_than_ours_gets_whole_ones),
		cmocka_unit_test(blocks_of_eight_sectors_go_in_and_out_of_the_journal),
		cmocka_unit_test(write_for_which_there_is_room_does_not_overtake_one_that_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
