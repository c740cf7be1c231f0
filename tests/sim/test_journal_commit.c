/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Mode journal, what is durable when: commits, one device I/O at a time.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "journal_format.h"
#include "sim_journal.h"

/* An open LUN whose first flush, which covers what was before, is done. */
static struct sim_lun *flushed(uint32_t sections, unsigned watermark)
{
	struct sim_lun *l = sim_journal_new(sections, watermark);

	sim_ok(l, sim_flush(l));
	sim_forget(l);
	return l;
}

static void flush_completes_when_the_journal_is_flushed_and_not_before(void **state)
{
	struct sim_lun *l = flushed(4, 0);
	struct sim_req *flush;

	(void)state;
	sim_hold(l->sim, true);
	sim_write(l, 7, 2, 1);
	flush = sim_flush(l);
	sim_go(l);
	assert_int_equal(sim_under_way(l->sim), 1);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_false(flush->back);
	assert_int_equal(sim_under_way(l->sim), 1);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 1);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(flush->back);
	assert_int_equal(flush->req.result.err, 0);
	sim_lun_cut(l);
	sim_reads(l, 7, 2, 1);
	sim_lun_free(l);
}

static void fua_write_completes_when_the_journal_is_flushed_and_not_before(void **state)
{
	struct sim_lun *l = flushed(4, 0);
	struct sim_req *w;

	(void)state;
	sim_hold(l->sim, true);
	w = sim_write_fua(l, 7, 2, 1);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_false(w->back);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(w->back);
	sim_lun_cut(l);
	sim_reads(l, 7, 2, 1);
	sim_lun_free(l);
}

/* The same world, cut at each point: the blocks are both old or both new, and match their tags. */
static void cut_at_any_point_leaves_data_and_tag_together(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 40; n++) {
		struct sim_lun *l = flushed(2, 0);
		struct sim_req *r;

		sim_ok(l, sim_write_fua(l, 7, 1, 1));
		sim_vanish_after(l, n);
		for (uint32_t i = 0; i < 6; i++) {
			sim_write(l, 7, 1, 2 + i);
			sim_write(l, 20 * i, 9, 2 + i);
			sim_flush(l);
			sim_finish(l);
		}
		sim_vanish_after(l, SIM_FOR_EVER);
		sim_lun_cut(l);
		r = sim_read(l, 7, 1);
		sim_ok(l, r);
		assert_false(sim_holds(l, r, 0));
		sim_ok(l, sim_verify(l, 0, 1000));
		sim_lun_free(l);
	}
}

static void data_device_is_flushed_at_the_same_time_when_it_needs_it(void **state)
{
	struct sim_lun *l = sim_journal_new(4, 0);
	struct sim_req *flush;

	(void)state;
	sim_hold(l->sim, true);
	sim_write(l, 7, 2, 1);
	flush = sim_flush(l); /* the first since open: nothing is known of the data device */
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_false(flush->back);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	assert_true(flush->back);
	sim_lun_free(l);
}

/* A LUN that lived in mode direct before may have acknowledged writes that no flush covers yet. */
static void first_flush_after_open_reaches_both_devices(void **state)
{
	struct sim_lun *l = sim_journal_new(4, 0);

	(void)state;
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_FLUSH), 1);
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 1);
	sim_forget(l);
	sim_ok(l, sim_flush(l));
	assert_int_equal(l->events, 0);
	sim_lun_free(l);
}

/* In mode direct, and was killed: its writes are complete and in the caches, tags included. */
static struct sim_lun *after_a_death(bool discards)
{
	struct sim_lun *l = sim_journal_make(4, 0);

	l->options.mode = TI_MODE_DIRECT;
	if (sim_lun_open(l) != 0)
		fail_msg("%s", l->error.text);
	sim_ok(l, sim_flush(l));
	sim_ok(l, sim_write(l, 100, 1, 1));
	sim_age(l);
	sim_finish(l);
	assert_true(sim_has_tag(l, sim_contents(l->sim, TI_META), 100, 1));
	assert_false(sim_has_tag(l, sim_durable(l->sim, TI_META), 100, 1));
	assert_false(sim_has_data(l, sim_durable(l->sim, TI_DATA), 100, 1));
	l->options.mode = TI_MODE_JOURNAL;
	l->options.allow_discards = discards;
	sim_lun_die(l);
	sim_forget(l);
	sim_hold(l->sim, true);
	return l;
}

static void covers_it(struct sim_lun *l)
{
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 100, 1));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 100, 1));
}

/* The commit under way was begun by time, and leaves the data device alone. */
static void first_flush_does_not_join_a_commit_that_leaves_the_data_device_alone(void **state)
{
	struct sim_lun *l = after_a_death(false);
	struct sim_req *flush;

	(void)state;
	assert_true(sim_write(l, 7, 1, 1)->req.result.err == 0);
	sim_go(l);
	for (unsigned i = 0; i < 3 && sim_count(l->sim, TI_META, TI_IO_WRITE) == 0; i++) {
		sim_advance(l->sim, 10000 * TI_NS_PER_MS);
		ti_lun_tick(l->lun);
		sim_go(l);
	}
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1);
	flush = sim_flush(l);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_false(flush->back);
	sim_ok(l, flush);
	covers_it(l);
	sim_lun_free(l);
}

/* A flush round is under way for the sake of a discard, and covers it all, but has not done so. */
static void first_flush_waits_for_a_round_that_is_under_way(void **state)
{
	struct sim_lun *l = after_a_death(true);
	struct sim_req *flush;

	(void)state;
	sim_discard(l, 200, 4);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_READ);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 1);
	flush = sim_flush(l);
	sim_go(l);
	while (sim_complete_one(l->sim, TI_DATA, TI_IO_FLUSH))
		sim_go(l);
	assert_false(flush->back);
	sim_ok(l, flush);
	covers_it(l);
	sim_lun_free(l);
}

/* The same where a commit could be a FUA write: of nothing but what it writes. */
static void fua_commit_does_not_stand_for_a_flush_of_the_past_under_way(void **state)
{
	struct sim_lun *l = after_a_death(true);
	struct sim_req *flush;

	(void)state;
	sim_as_queue(l->sim)->dev[TI_META].fua = true;
	sim_discard(l, 200, 4);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_READ);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 1);
	sim_write(l, 7, 1, 1);
	flush = sim_flush(l);
	sim_go(l);
	while (sim_complete_one(l->sim, TI_DATA, TI_IO_FLUSH))
		sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_false(flush->back);
	sim_ok(l, flush);
	covers_it(l);
	sim_lun_free(l);
}

static void eight_flushes_share_one_commit(void **state)
{
	struct sim_lun *l = flushed(4, 0);
	struct sim_req *flush[8];

	(void)state;
	for (uint32_t i = 0; i < 8; i++) {
		sim_write(l, i * 10, 1, 1);
		flush[i] = sim_flush(l);
	}
	sim_finish(l);
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(flush[i]->req.result.err, 0);
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 1);
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 1);
	sim_lun_free(l);
}

static void flush_that_has_nothing_new_joins_the_commit_under_way(void **state)
{
	struct sim_lun *l = flushed(4, 0);
	struct sim_req *a, *b;

	(void)state;
	sim_hold(l->sim, true);
	sim_write(l, 0, 1, 1);
	a = sim_flush(l);
	sim_go(l);
	b = sim_flush(l);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(a->back && b->back);
	sim_lun_free(l);
}

static void those_who_come_during_a_commit_with_new_entries_share_the_next(void **state)
{
	struct sim_lun *l = flushed(4, 0);
	struct sim_req *a, *b[5];

	(void)state;
	sim_hold(l->sim, true);
	sim_write(l, 0, 1, 1);
	a = sim_flush(l);
	sim_go(l);
	for (uint32_t i = 0; i < 5; i++) {
		sim_write(l, i, 1, 2);
		sim_go(l);
		b[i] = sim_flush(l);
		sim_go(l);
	}
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(a->back);
	for (uint32_t i = 0; i < 5; i++)
		assert_false(b[i]->back);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	for (uint32_t i = 0; i < 5; i++)
		assert_true(b[i]->back);
	sim_lun_cut(l);
	sim_reads(l, 0, 5, 2);
	sim_lun_free(l);
}

/* The block stands in a section that is on its way: it must not change there. */
static void write_during_a_commit_leaves_what_is_being_committed_alone(void **state)
{
	struct sim_lun *l = flushed(4, 0);
	struct sim_req *flush;

	(void)state;
	sim_hold(l->sim, true);
	sim_write(l, 7, 1, 1);
	flush = sim_flush(l);
	sim_go(l);
	sim_write(l, 7, 1, 2);
	sim_go(l);
	sim_reads(l, 7, 1, 2);
	assert_true(flush->back);
	sim_lun_cut(l);
	sim_reads(l, 7, 1, 1);
	sim_lun_free(l);
}

static void commit_time_makes_writes_durable_without_a_flush(void **state)
{
	struct sim_lun *l = flushed(4, 0);

	(void)state;
	sim_ok(l, sim_write(l, 7, 1, 1));
	assert_int_equal(l->events, 0);
	sim_age(l);
	sim_finish(l);
	while (sim_under_way(l->sim) > 0)
		sim_go(l);
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 1);
	sim_lun_cut(l);
	sim_reads(l, 7, 1, 1);
	sim_lun_free(l);
}

static void journal_as_full_as_the_watermark_is_committed(void **state)
{
	struct sim_lun *l = flushed(4, 50);

	(void)state;
	sim_hold(l->sim, true);
	sim_write(l, 0, 15, 1);
	sim_go(l);
	assert_int_equal(sim_under_way(l->sim), 0);
	sim_write(l, 15, 1, 1);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1);
	sim_lun_free(l);
}

static void failed_commit_fails_its_waiters_and_the_next_one_succeeds(void **state)
{
	struct sim_lun *l = flushed(4, 0);
	struct sim_req *flush, *fua;

	(void)state;
	sim_fail(l, TI_META, TI_IO_WRITE, l->geo.journal_offset, 1);
	sim_ok(l, sim_write(l, 7, 2, 1));
	flush = sim_flush(l);
	fua = sim_write_fua(l, 30, 1, 1);
	sim_finish(l);
	assert_int_equal(flush->req.result.err, -EIO);
	assert_int_equal(flush->req.result.cause, TI_CAUSE_META_IO);
	assert_int_equal(fua->req.result.err, -EIO);
	sim_reads(l, 7, 2, 1);
	sim_ok(l, sim_flush(l));
	sim_lun_cut(l);
	sim_reads(l, 7, 2, 1);
	sim_lun_free(l);
}

/*
 * The failed commit may have reached the medium after all; were the section changed and the next
 * commit torn, sectors of both would stand under one number.
 */
static void section_whose_commit_failed_never_changes(void **state)
{
	struct sim_lun *l = flushed(4, 99);

	(void)state;
	sim_fail(l, TI_META, TI_IO_WRITE, l->geo.journal_offset, 1);
	sim_ok(l, sim_write(l, 7, 1, 1));
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_IO, 0);
	sim_ok(l, sim_write(l, 7, 1, 2));
	sim_ok(l, sim_write(l, 8, 1, 2));
	sim_reads(l, 7, 2, 2);
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_journal_section(l, 0).used, 1);
	assert_int_equal(sim_journal_section(l, 1).used, 2);
	assert_int_equal(sim_journal_section(l, 0).seq, sim_journal_section(l, 1).seq);
	sim_lun_cut(l);
	sim_reads(l, 7, 2, 2);
	sim_lun_free(l);
}

static void failed_flush_of_the_journal_is_never_forgotten(void **state)
{
	struct sim_lun *l = flushed(4, 0);

	(void)state;
	sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
	sim_ok(l, sim_write(l, 7, 1, 1));
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_FLUSH, 0);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_FLUSH, 0);
	sim_bad(l, sim_write_fua(l, 8, 1, 1), -EIO, TI_CAUSE_META_FLUSH, 8);
	sim_reads(l, 7, 2, 1);
	sim_lun_free(l);
}

/* A flush round of somebody else's fails while the commit's own flush is under way. */
static void commit_during_a_failed_flush_is_not_believed(void **state)
{
	struct sim_lun *l = sim_journal_make(4, 50);
	struct sim_req *discard, *flush;

	(void)state;
	l->options.allow_discards = true;
	assert_int_equal(sim_lun_open(l), 0);
	sim_ok(l, sim_flush(l));
	sim_hold(l->sim, true);
	discard = sim_discard(l, 500, 1);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_READ);
	(void)sim_write(l, 10, 2, 1);
	flush = sim_flush(l);
	sim_go(l);
	/* The filler, and the section. */
	assert_true(sim_complete_one(l->sim, TI_META, TI_IO_WRITE));
	assert_true(sim_complete_one(l->sim, TI_META, TI_IO_WRITE));
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 2);
	sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
	sim_bad(l, discard, -EIO, TI_CAUSE_META_FLUSH, 500);
	assert_int_not_equal(flush->req.result.err, 0);
	/* So nothing of it goes to its place. */
	sim_forget(l);
	sim_bad(l, sim_discard(l, 10, 2), -EIO, TI_CAUSE_META_FLUSH, 10);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
	sim_reads(l, 10, 2, 1);
	sim_lun_free(l);
}

static void sequence_number_steps_on_with_each_lap(void **state)
{
	struct sim_lun *l = flushed(3, 50);
	uint32_t version = 0;

	(void)state;
	for (uint32_t lap = 0; lap < 9; lap++) {
		for (uint32_t i = 0; i < 3; i++) {
			version++;
			sim_ok(l, sim_write(l, version * 8, 8, version));
			sim_ok(l, sim_flush(l));
			while (sim_under_way(l->sim) > 0)
				sim_go(l);
			assert_int_equal(sim_journal_section(l, i).seq, (1 + lap) % 4);
			assert_int_equal(sim_journal_section(l, i).used, 8);
			sim_forget(l);
		}
	}
	sim_lun_cut(l);
	for (; version > 0; version--)
		sim_reads(l, version * 8, 8, version);
	sim_lun_free(l);
}

static void commit_that_wraps_is_two_writes_with_two_numbers(void **state)
{
	struct sim_lun *l = flushed(3, 50);
	struct sim_req *flush;

	(void)state;
	/* Two sections, written out at the watermark: the ring begins at section 2. */
	sim_ok(l, sim_write(l, 0, 16, 1));
	sim_ok(l, sim_flush(l));
	while (sim_under_way(l->sim) > 0)
		sim_go(l);
	sim_hold(l->sim, true);
	sim_write(l, 100, 16, 2);
	flush = sim_flush(l);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 2);
	assert_true(sim_complete_one(l->sim, TI_META, TI_IO_WRITE));
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 0);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_false(flush->back);
	sim_let(l, TI_META, TI_IO_FLUSH);
	sim_ok(l, flush);
	assert_int_equal(sim_journal_section(l, 2).seq, 1);
	assert_int_equal(sim_journal_section(l, 0).seq, 2);
	sim_lun_cut(l);
	sim_reads(l, 0, 16, 1);
	sim_reads(l, 100, 16, 2);
	sim_lun_free(l);
}

/* Whichever half, and whichever completes first: none of it counts, and all of it is written again.
 */
static void commit_that_wraps_has_failed_if_one_half_has(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 4; way++) {
		struct sim_lun *l = flushed(3, 50);
		uint64_t half[2] = { l->geo.journal_offset + 2 * ti_journal_section_bytes(&l->geo),
				     l->geo.journal_offset };
		struct sim_req *flush;

		sim_ok(l, sim_write(l, 0, 16, 1));
		sim_ok(l, sim_flush(l));
		while (sim_under_way(l->sim) > 0)
			sim_go(l);
		sim_fail(l, TI_META, TI_IO_WRITE, half[way & 1], 1);
		sim_hold(l->sim, true);
		sim_write(l, 100, 16, 2);
		flush = sim_flush(l);
		sim_go(l);
		assert_true(sim_complete_at(l->sim, TI_META, TI_IO_WRITE, half[way >> 1]));
		assert_true(sim_complete_at(l->sim, TI_META, TI_IO_WRITE, half[!(way >> 1)]));
		sim_go(l);
		assert_true(flush->back);
		assert_int_equal(flush->req.result.err, -EIO);
		flush = sim_flush(l);
		sim_go(l);
		for (unsigned i = 0; !flush->back; i++) {
			assert_true(i < 10);
			sim_complete_at(l->sim, TI_META, TI_IO_WRITE, half[0]);
			sim_complete_at(l->sim, TI_META, TI_IO_WRITE, half[1]);
			sim_complete_one(l->sim, TI_META, TI_IO_FLUSH);
			sim_go(l);
		}
		assert_int_equal(flush->req.result.err, 0);
		sim_lun_cut(l);
		sim_reads(l, 0, 16, 1);
		sim_reads(l, 100, 16, 2);
		sim_lun_free(l);
	}
}

static void flush_does_not_join_a_commit_that_has_failed_already(void **state)
{
	struct sim_lun *l = flushed(3, 50);
	uint64_t section_2 = l->geo.journal_offset + 2 * ti_journal_section_bytes(&l->geo);
	struct sim_req *early, *late;

	(void)state;
	sim_ok(l, sim_write(l, 0, 16, 1));
	sim_ok(l, sim_flush(l));
	while (sim_under_way(l->sim) > 0)
		sim_go(l);
	sim_hold(l->sim, true);
	sim_write(l, 100, 16, 2);
	early = sim_flush(l);
	sim_go(l);
	sim_fail(l, TI_META, TI_IO_WRITE, section_2, 1);
	assert_true(sim_complete_at(l->sim, TI_META, TI_IO_WRITE, section_2));
	sim_go(l);
	late = sim_flush(l);
	sim_finish(l);
	assert_int_equal(early->req.result.err, -EIO);
	assert_int_equal(late->req.result.err, 0);
	sim_lun_cut(l);
	sim_reads(l, 100, 16, 2);
	sim_lun_free(l);
}

static struct sim_lun *flushed_with_fua(uint32_t sections, unsigned watermark)
{
	struct sim_lun *l = flushed(sections, watermark);

	sim_as_queue(l->sim)->dev[TI_META].fua = true;
	return l;
}

static void commit_in_one_write_with_fua_needs_no_flush(void **state)
{
	struct sim_lun *l = flushed_with_fua(4, 0);
	struct sim_req *flush;

	(void)state;
	sim_hold(l->sim, true);
	sim_write(l, 7, 2, 1);
	flush = sim_flush(l);
	sim_go(l);
	assert_false(flush->back);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_ok(l, flush);
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 0);
	sim_lun_cut(l);
	sim_reads(l, 7, 2, 1);
	sim_lun_free(l);
}

static void commit_that_wraps_is_flushed_although_there_is_fua(void **state)
{
	struct sim_lun *l = flushed_with_fua(3, 50);
	struct sim_req *flush;

	(void)state;
	sim_ok(l, sim_write(l, 0, 16, 1));
	sim_ok(l, sim_flush(l));
	while (sim_under_way(l->sim) > 0)
		sim_go(l);
	sim_hold(l->sim, true);
	sim_write(l, 100, 16, 2);
	flush = sim_flush(l);
	sim_go(l);
	assert_true(sim_complete_one(l->sim, TI_META, TI_IO_WRITE));
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_false(flush->back);
	sim_let(l, TI_META, TI_IO_FLUSH);
	sim_ok(l, flush);
	sim_lun_cut(l);
	sim_reads(l, 100, 16, 2);
	sim_lun_free(l);
}

static void failed_fua_commit_fails_its_waiters_and_the_next_one_succeeds(void **state)
{
	struct sim_lun *l = flushed_with_fua(4, 0);

	(void)state;
	sim_write(l, 7, 2, 1);
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_IO, 0);
	sim_mend(l);
	sim_ok(l, sim_flush(l));
	sim_lun_cut(l);
	sim_reads(l, 7, 2, 1);
	sim_lun_free(l);
}

/* Odd numbers of blocks, so that commits end in any section; cuts between them. */
static void many_laps_with_cuts_keep_everything_flushed(void **state)
{
	(void)state;
	for (uint32_t sections = 1; sections <= 5; sections++) {
		struct sim_lun *l = flushed(sections, 30);
		uint32_t last[1000] = { 0 };

		for (uint32_t version = 1; version <= 200; version++) {
			uint32_t first = version * 37 % 960, count = 1 + version * 7 % 23;

			sim_write(l, first, count, version);
			for (uint32_t n = first; n < first + count; n++)
				last[n] = version;
			if (version % 3 == 0)
				sim_ok(l, sim_flush(l));
			else
				sim_finish(l);
			sim_forget(l);
			if (version % 33 == 0)
				sim_lun_cut(l);
		}
		sim_ok(l, sim_flush(l));
		sim_lun_cut(l);
		for (uint32_t n = 0; n < 1000; n++) {
			sim_reads(l, n, 1, last[n]);
			sim_forget(l);
		}
		sim_lun_free(l);
	}
}

/* Complete whatever the metadata device has, and let the engine run. */
static void let_all_of_meta(struct sim_lun *l)
{
	while (sim_complete_one(l->sim, TI_META, TI_IO_READ) ||
	       sim_complete_one(l->sim, TI_META, TI_IO_WRITE) ||
	       sim_complete_one(l->sim, TI_META, TI_IO_FLUSH))
		sim_go(l);
}

/* A predecessor in mode direct may have left acknowledged writes in the data device's cache. */
static void flush_waits_for_a_data_flush_under_way_that_covers_the_past(void **state)
{
	struct sim_lun *l = sim_journal_make(4, 0);
	struct sim_req *flush;

	(void)state;
	l->options.recalculate = true;
	assert_int_equal(sim_lun_open(l), 0);
	sim_hold(l->sim, true);
	for (unsigned turn = 0; sim_count(l->sim, TI_DATA, TI_IO_FLUSH) == 0; turn++) {
		assert_true(turn < 1000);
		sim_go(l);
		let_all_of_meta(l);
		sim_complete_one(l->sim, TI_DATA, TI_IO_READ);
		/* It rests after each piece. */
		sim_advance(l->sim, 1000);
		ti_lun_tick(l->lun);
	}
	/* It is the recalculation's. */
	flush = sim_flush(l);
	sim_go(l);
	let_all_of_meta(l);
	assert_false(flush->back);
	while (sim_complete_one(l->sim, TI_DATA, TI_IO_FLUSH))
		sim_go(l);
	let_all_of_meta(l);
	assert_true(flush->back);
	assert_int_equal(flush->req.result.err, 0);
	sim_lun_free(l);
}

static void flush_joins_no_commit_that_does_not_cover_the_past(void **state)
{
	struct sim_lun *l = sim_journal_new(4, 0);
	struct sim_req *flush;

	(void)state;
	sim_hold(l->sim, true);
	sim_write(l, 7, 2, 1);
	sim_go(l);
	sim_age(l);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 0);
	flush = sim_flush(l);
	sim_go(l);
	let_all_of_meta(l);
	assert_false(flush->back);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	assert_true(flush->back);
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flush_completes_when_the_journal_is_flushed_and_not_before),
		cmocka_unit_test(fua_write_completes_when_the_journal_is_flushed_and_not_before),
		cmocka_unit_test(cut_at_any_point_leaves_data_and_tag_together),
		cmocka_unit_test(data_device_is_flushed_at_the_same_time_when_it_needs_it),
		cmocka_unit_test(first_flush_after_open_reaches_both_devices),
		cmocka_unit_test(
			first_flush_does_not_join_a_commit_that_leaves_the_data_device_alone),
		cmocka_unit_test(first_flush_waits_for_a_round_that_is_under_way),
		cmocka_unit_test(eight_flushes_share_one_commit),
		cmocka_unit_test(flush_that_has_nothing_new_joins_the_commit_under_way),
		cmocka_unit_test(those_who_come_during_a_commit_with_new_entries_share_the_next),
		cmocka_unit_test(write_during_a_commit_leaves_what_is_being_committed_alone),
		cmocka_unit_test(commit_time_makes_writes_durable_without_a_flush),
		cmocka_unit_test(journal_as_full_as_the_watermark_is_committed),
		cmocka_unit_test(failed_commit_fails_its_waiters_and_the_next_one_succeeds),
		cmocka_unit_test(section_whose_commit_failed_never_changes),
		cmocka_unit_test(failed_flush_of_the_journal_is_never_forgotten),
		cmocka_unit_test(commit_during_a_failed_flush_is_not_believed),
		cmocka_unit_test(sequence_number_steps_on_with_each_lap),
		cmocka_unit_test(commit_that_wraps_is_two_writes_with_two_numbers),
		cmocka_unit_test(flush_does_not_join_a_commit_that_has_failed_already),
		cmocka_unit_test(commit_in_one_write_with_fua_needs_no_flush),
		cmocka_unit_test(commit_that_wraps_is_flushed_although_there_is_fua),
		cmocka_unit_test(failed_fua_commit_fails_its_waiters_and_the_next_one_succeeds),
		cmocka_unit_test(flush_waits_for_a_data_flush_under_way_that_covers_the_past),
		cmocka_unit_test(flush_joins_no_commit_that_does_not_cover_the_past),
		cmocka_unit_test(many_laps_with_cuts_keep_everything_flushed),
		cmocka_unit_test(fua_commit_does_not_stand_for_a_flush_of_the_past_under_way),
		cmocka_unit_test(commit_that_wraps_has_failed_if_one_half_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
