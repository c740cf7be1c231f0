/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Scrub: what it finds, what it must not take for a finding, and how it gives way, stops, goes on
 * and ends.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sim_bitmap.h"
#include "sim_journal.h"

#define PATIENCE     100000U
#define PIECE_BLOCKS 512U

/* What the engine has told. */
struct told {
	unsigned mismatches, ends;
	struct ti_event last;
};

static void note_event(void *ctx, const struct ti_event *event)
{
	struct told *told = ctx;

	told->mismatches += event->type == TI_EVENT_MISMATCH;
	told->ends += event->type == TI_EVENT_SCRUB_ENDED;
	if (event->type == TI_EVENT_MISMATCH)
		told->last = *event;
}

static struct ti_scrub_report report_of(const struct sim_lun *l)
{
	struct ti_scrub_report report;

	ti_lun_scrub_get(l->lun, &report);
	return report;
}

static void start(struct sim_lun *l)
{
	assert_int_equal(ti_lun_scrub_start(l->lun, NULL, 0), 0);
}

static void let_time_pass(struct sim_lun *l)
{
	ti_lun_wait(l->lun, ti_lun_deadline(l->lun));
	ti_lun_tick(l->lun);
	sim_go(l);
}

/* To the end of the scrub. */
static struct ti_scrub_report run(struct sim_lun *l)
{
	sim_hold(l->sim, false);
	for (unsigned i = 0; i < PATIENCE; i++) {
		if (report_of(l).state != TI_SCRUB_RUNNING)
			return report_of(l);
		let_time_pass(l);
	}
	fail_msg("the scrub does not end: sector %llu", (unsigned long long)report_of(l).sector);
	return report_of(l);
}

static struct ti_scrub_report scrub(struct sim_lun *l)
{
	start(l);
	return run(l);
}

static void put_tag_bit(struct sim_lun *l, uint32_t block)
{
	sim_contents(l->sim, TI_META)[l->geo.tag_offset + (size_t)block * l->geo.tag_size] ^= 0x10;
	sim_settle(l->sim, TI_META);
}

static void assert_bad(const struct ti_scrub_report *r, unsigned i, enum ti_scrub_kind kind,
		       uint64_t sector, uint64_t sectors)
{
	assert_true(i < r->listed);
	assert_int_equal(r->bad[i].kind, kind);
	assert_int_equal(r->bad[i].sector, sector);
	assert_int_equal(r->bad[i].sectors, sectors);
}

/* A LUN with 700 blocks of version 3, flushed. */
static struct sim_lun *filled(struct told *told)
{
	const struct sim_lun_options options = { .lun.events = { .event = note_event,
								 .ctx = told } };
	struct sim_lun *l = sim_lun_new(&options);

	*told = (struct told){ 0 };
	sim_ok(l, sim_write(l, 0, 700, 3));
	sim_ok(l, sim_flush(l));
	return l;
}

static void clean_pair_is_gone_through_once_and_read_only(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);
	struct ti_scrub_report r;

	(void)state;
	assert_int_equal(report_of(l).state, TI_SCRUB_NEVER);
	sim_forget(l);
	r = scrub(l);
	assert_int_equal(r.state, TI_SCRUB_FINISHED);
	assert_int_equal(r.sector, 4096);
	assert_int_equal(r.verified_sectors, 4096);
	assert_int_equal(r.skipped_sectors, 0);
	assert_int_equal(r.ranges, 0);
	assert_int_equal(told.ends, 1);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_READ), 4096 / PIECE_BLOCKS);
	assert_int_equal(sim_started(l, TI_META, TI_IO_READ), 4096 / PIECE_BLOCKS);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 0);
	sim_lun_free(l);
}

static void last_block_is_gone_through_however_many_there_are(void **state)
{
	(void)state;
	for (uint32_t blocks = 1021; blocks <= 1028; blocks++) {
		struct sim_lun *l = sim_lun_new(&(struct sim_lun_options){ .blocks = blocks });
		struct ti_scrub_report r;

		sim_ok(l, sim_write(l, 0, blocks, 1));
		sim_ok(l, sim_flush(l));
		put_tag_bit(l, blocks - 1);
		sim_settle(l->sim, TI_META);
		sim_lun_cut(l);
		r = scrub(l);
		assert_int_equal(r.verified_sectors, blocks);
		assert_int_equal(r.bad_sectors[TI_SCRUB_MISMATCH], 1);
		assert_int_equal(r.bad[0].sector, blocks - 1);
		sim_lun_free(l);
	}
}

static void bad_blocks_are_found_counted_listed_and_told(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);
	struct ti_scrub_report r;

	(void)state;
	sim_put_block(l, 5, 8);
	sim_put_block(l, 511, 8); /* neighbours in two pieces */
	sim_put_block(l, 512, 8);
	sim_put_block(l, 4095, 8);
	r = scrub(l);
	assert_int_equal(r.state, TI_SCRUB_FINISHED);
	assert_int_equal(r.bad_sectors[TI_SCRUB_MISMATCH], 4);
	assert_int_equal(ti_scrub_all_bad(&r), 4);
	assert_int_equal(r.ranges, 3);
	assert_int_equal(r.listed, 3);
	assert_bad(&r, 0, TI_SCRUB_MISMATCH, 5, 1);
	assert_bad(&r, 1, TI_SCRUB_MISMATCH, 511, 2);
	assert_bad(&r, 2, TI_SCRUB_MISMATCH, 4095, 1);
	assert_int_equal(told.mismatches, 4);
	assert_int_equal(told.last.source, TI_SOURCE_SCRUB);
	assert_int_equal(told.last.sector, 4095);
	assert_int_equal(sim_stats(l).mismatches, 4);
	assert_int_equal(sim_logged(l, "tag mismatch on scrub"), 4);
	/* The next one begins anew. */
	sim_ok(l, sim_write(l, 0, 1000, 9));
	sim_ok(l, sim_flush(l));
	r = scrub(l);
	assert_int_equal(r.ranges, 1);
	assert_bad(&r, 0, TI_SCRUB_MISMATCH, 4095, 1);
	sim_lun_free(l);
}

static void mismatch_is_logged_with_both_tags(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);
	uint8_t stored[4], computed[4], block[512];
	char line[64];

	(void)state;
	sim_content(l, 20, 3, block);
	ti_hash_same(&l->hash, 20, block, 1, stored);
	sim_content(l, 20, 8, block);
	ti_hash_same(&l->hash, 20, block, 1, computed);
	sim_put_block(l, 20, 8);
	scrub(l);
	snprintf(line, sizeof(line), "expected=%02x%02x%02x%02x found=%02x%02x%02x%02x", stored[0],
		 stored[1], stored[2], stored[3], computed[0], computed[1], computed[2],
		 computed[3]);
	if (sim_logged(l, line) != 1)
		fail_msg("no '%s' in: %s", line, l->text);
	sim_bad(l, sim_read(l, 20, 1), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 20);
	assert_int_equal(sim_logged(l, line), 2);
	assert_int_equal(told.last.source, TI_SOURCE_READ);
	sim_lun_free(l);
}

static void tag_is_read_from_the_medium_and_mended_from_memory(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);
	struct ti_scrub_report r;

	(void)state;
	sim_reads(l, 600, 1, 3); /* its line is in the cache */
	put_tag_bit(l, 600);
	r = scrub(l);
	assert_bad(&r, 0, TI_SCRUB_TAG_DECAYED, 600, 1);
	assert_int_equal(r.ranges, 1);
	assert_int_equal(sim_stats(l).tags_decayed, 1);
	assert_int_equal(sim_stats(l).mismatches, 0);
	sim_ok(l, sim_flush(l));
	assert_true(sim_matches(l, 600));
	r = scrub(l);
	assert_int_equal(r.ranges, 0);
	sim_lun_free(l);
}

/*
 * Beside the decayed tag, in the same piece, lies a line that a write-out is about to fill and has
 * not read: the scrub may not have it written, and waits for the write-out to give it back.
 */
static void line_that_a_write_out_is_about_to_fill_is_waited_for(void **state)
{
	struct sim_lun *l = sim_journal_new(8, 1);

	(void)state;
	sim_reads(l, 100, 1, 0);
	put_tag_bit(l, 100);
	sim_hold(l->sim, true);
	/* Tags of 255 bytes: line 1 belongs to these blocks alone. */
	sim_write(l, 16, 17, 5);
	sim_flush(l);
	sim_go(l);
	while (sim_count(l->sim, TI_DATA, TI_IO_WRITE) == 0) {
		assert_true(sim_complete_one(l->sim, TI_META, TI_IO_WRITE) ||
			    sim_complete_one(l->sim, TI_META, TI_IO_FLUSH) ||
			    sim_complete_one(l->sim, TI_DATA, TI_IO_FLUSH));
		sim_go(l);
	}
	start(l);
	for (unsigned i = 0; i < 100; i++) {
		sim_complete_one(l->sim, TI_META, TI_IO_READ);
		sim_complete_one(l->sim, TI_DATA, TI_IO_READ);
		sim_advance(l->sim, 1000);
		ti_lun_tick(l->lun);
		sim_go(l);
	}
	assert_int_equal(sim_stats(l).tags_decayed, 0);
	/* The block cannot be written, and its line is not filled. */
	sim_fail(l, TI_DATA, TI_IO_WRITE, (uint64_t)20 * 512, 1);
	sim_hold(l->sim, false);
	sim_finish(l);
	sim_age(l);
	sim_finish(l);
	assert_int_equal(sim_stats(l).tags_decayed, 1);
	sim_reads(l, 16, 17, 5);
	sim_reads(l, 100, 1, 0);
	assert_int_equal(sim_lun_close(l), 0);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

/* In mode journal a flush writes no tags. */
static void tag_that_was_mended_is_on_the_medium_after_a_close(void **state)
{
	(void)state;
	for (int aged = 0; aged < 2; aged++) {
		struct sim_lun *l = sim_journal_new(8, 0);
		struct ti_scrub_report r;

		sim_ok(l, sim_flush(l));
		sim_reads(l, 600, 1, 0);
		put_tag_bit(l, 600);
		r = scrub(l);
		assert_bad(&r, 0, TI_SCRUB_TAG_DECAYED, 600, 1);
		if (aged) /* written already, but not flushed */
			sim_age(l);
		assert_int_equal(sim_lun_close(l), 0);
		assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 600, 0));
		sim_lun_free(l);
	}
}

/* Large tags: a piece's lie in many lines.  One is newer in memory, another has decayed. */
static void tags_behind_the_pieces_first_line_are_like_the_others(void **state)
{
	struct sim_lun *l = sim_lun_new(
		&(struct sim_lun_options){ .shape = { .tag_size = 255 }, .blocks = 1000 });
	struct ti_scrub_report r;

	(void)state;
	sim_ok(l, sim_write(l, 0, 1000, 1));
	sim_ok(l, sim_flush(l));
	sim_ok(l, sim_write(l, 100, 1, 2));
	r = scrub(l);
	assert_int_equal(r.ranges, 0);
	sim_ok(l, sim_flush(l));
	put_tag_bit(l, 200);
	sim_settle(l->sim, TI_META);
	assert_false(sim_has_tag(l, sim_durable(l->sim, TI_META), 200, 1));
	r = scrub(l);
	assert_int_equal(r.bad_sectors[TI_SCRUB_TAG_DECAYED], 1);
	assert_int_equal(r.bad_sectors[TI_SCRUB_MISMATCH], 0);
	sim_ok(l, sim_flush(l));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 200, 1));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 100, 2));
	sim_lun_free(l);
}

static void tag_that_is_newer_in_memory_is_no_finding(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);
	struct ti_scrub_report r;

	(void)state;
	sim_ok(l, sim_write(l, 100, 8, 7)); /* the data is on its device, the tags are not */
	sim_put_block(l, 110, 8);	    /* a bad one behind the same line of tags */
	r = scrub(l);
	assert_int_equal(r.ranges, 1);
	assert_bad(&r, 0, TI_SCRUB_MISMATCH, 110, 1);
	assert_int_equal(sim_stats(l).tags_decayed, 0);
	sim_lun_free(l);
}

/* The line is on its way to the medium while the piece is read. */
static void tag_that_arrives_during_the_piece_is_no_finding(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);
	struct sim_req *flush;
	struct ti_scrub_report r;

	(void)state;
	sim_ok(l, sim_write(l, 100, 8, 7));
	sim_hold(l->sim, true);
	flush = sim_flush(l);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1);
	start(l);
	sim_advance(l->sim, 10);
	ti_lun_tick(l->lun);
	sim_go(l);
	/* The old tags are read, then the new ones arrive, then it judges. */
	sim_let(l, TI_META, TI_IO_READ);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_DATA, TI_IO_READ);
	sim_ok(l, flush);
	r = run(l);
	assert_int_equal(r.ranges, 0);
	assert_int_equal(sim_stats(l).tags_decayed, 0);
	sim_lun_free(l);
}

static void write_waits_for_the_piece_and_its_neighbour_does_not(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);
	struct sim_req *inside, *last, *outside, *reader;
	struct ti_scrub_report r;

	(void)state;
	sim_hold(l->sim, true);
	start(l);
	sim_advance(l->sim, 10);
	ti_lun_tick(l->lun);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), 1);
	inside = sim_write(l, 10, 1, 6);
	last = sim_write(l, 511, 1, 6);
	outside = sim_write(l, 512, 1, 6); /* its tag is in the same line */
	reader = sim_read(l, 20, 1);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_WRITE), 1);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), 2);
	sim_let(l, TI_DATA, TI_IO_WRITE);
	assert_true(outside->back);
	assert_false(inside->back || last->back);
	sim_finish(l);
	assert_true(inside->back && last->back);
	assert_true(reader->back);
	r = run(l);
	assert_int_equal(r.ranges, 0);
	assert_int_equal(r.verified_sectors, 4096);
	sim_lun_free(l);
}

static void piece_waits_for_the_write_that_came_first(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);
	struct ti_scrub_report r;

	(void)state;
	sim_hold(l->sim, true);
	sim_write(l, 10, 1, 6);
	sim_go(l);
	start(l);
	sim_advance(l->sim, 10);
	ti_lun_tick(l->lun);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), 0);
	sim_finish(l);
	r = run(l);
	assert_int_equal(r.ranges, 0);
	sim_lun_free(l);
}

static void block_in_the_journal_is_left_out(void **state)
{
	struct sim_lun *l = sim_journal_new(8, 0);
	struct ti_scrub_report r;

	(void)state;
	sim_ok(l, sim_write(l, 100, 3, 6));
	sim_put_block(l, 101, 8); /* will be written over */
	sim_put_block(l, 200, 8);
	r = scrub(l);
	assert_int_equal(r.skipped_sectors, 3);
	assert_int_equal(r.verified_sectors, 1000 - 3);
	assert_int_equal(r.ranges, 1);
	assert_bad(&r, 0, TI_SCRUB_MISMATCH, 200, 1);
	sim_lun_free(l);
}

/* A block leaves the journal while its piece is read: what was read is of before. */
static void block_that_leaves_the_journal_meanwhile_is_no_finding(void **state)
{
	struct sim_lun *l = sim_journal_new(2, 0);
	struct ti_scrub_report r;

	(void)state;
	for (uint32_t block = 0; block < 64; block += 8) {
		sim_write(l, block, 8, 5);
		start(l);
		r = run(l);
		assert_int_equal(r.ranges, 0);
		assert_int_equal(r.verified_sectors + r.skipped_sectors, 1000);
	}
	sim_hold(l->sim, true);
	sim_write(l, 100, 8, 6);
	sim_write(l, 108, 4, 6);
	sim_flush(l);
	sim_go(l);
	start(l);
	for (unsigned i = 0; i < 2000 && report_of(l).state == TI_SCRUB_RUNNING; i++) {
		static const enum ti_io_op order[] = { TI_IO_WRITE, TI_IO_FLUSH, TI_IO_READ };

		/* Whatever writes goes first, so that old and new meet in one piece. */
		for (unsigned op = 0; op < 3; op++)
			for (int dev = 0; dev < TI_DEVICES; dev++)
				sim_complete_one(l->sim, (enum ti_device)dev, order[op]);
		sim_advance(l->sim, TI_NS_PER_MS);
		ti_lun_tick(l->lun);
		sim_go(l);
	}
	r = report_of(l);
	assert_int_equal(r.state, TI_SCRUB_FINISHED);
	assert_int_equal(r.ranges, 0);
	sim_lun_free(l);
}

static void unreadable_block_is_found_alone(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);
	struct ti_scrub_report r;

	(void)state;
	sim_put_block(l, 31, 8);
	sim_fail(l, TI_DATA, TI_IO_READ, 30 * 512, SIM_FOR_EVER);
	r = scrub(l);
	assert_int_equal(r.state, TI_SCRUB_FINISHED);
	assert_int_equal(r.ranges, 2);
	assert_bad(&r, 0, TI_SCRUB_DATA_UNREADABLE, 30, 1);
	assert_bad(&r, 1, TI_SCRUB_MISMATCH, 31, 1);
	assert_int_equal(r.verified_sectors, 4095);
	assert_int_equal(sim_stats(l).io_errors[TI_DATA], 1);
	sim_lun_free(l);
}

static void unreadable_tags_are_found_by_the_devices_block(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);
	struct ti_scrub_report r;

	(void)state;
	/* 128 tags lie in one sector. */
	sim_fail(l, TI_META, TI_IO_READ, l->geo.tag_offset + 512, SIM_FOR_EVER);
	r = scrub(l);
	/* More in a row than a device may fail that is still there. */
	assert_int_equal(r.state, TI_SCRUB_FAILED);
	assert_bad(&r, 0, TI_SCRUB_TAG_UNREADABLE, 128, 64);
	sim_mend(l);
	sim_lun_free(l);
}

static void device_that_is_gone_ends_it(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);
	struct ti_scrub_report r;

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_READ, SIM_EVERYWHERE, SIM_FOR_EVER);
	r = scrub(l);
	assert_int_equal(r.state, TI_SCRUB_FAILED);
	assert_true(r.sector < 100);
	assert_int_equal(told.ends, 1);
	sim_mend(l);
	/* Once more, from where it ended. */
	assert_int_equal(ti_lun_scrub_start(l->lun, &r, 0), 0);
	r = run(l);
	assert_int_equal(r.state, TI_SCRUB_FINISHED);
	sim_lun_free(l);
}

static void list_is_bounded_and_the_count_is_not(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);
	struct ti_scrub_report r;

	(void)state;
	for (uint32_t block = 0; block < 400; block += 2)
		sim_put_block(l, block, 8);
	sim_put_block(l, 399, 8); /* makes the last place larger, which is not listed */
	r = scrub(l);
	assert_int_equal(r.ranges, 200);
	assert_int_equal(r.bad_sectors[TI_SCRUB_MISMATCH], 201);
	assert_int_equal(r.listed, TI_SCRUB_BAD_MAX);
	assert_bad(&r, TI_SCRUB_BAD_MAX - 1, TI_SCRUB_MISMATCH, 2 * (TI_SCRUB_BAD_MAX - 1), 1);
	sim_lun_free(l);
}

static void stopped_scrub_goes_on_after_another_open(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);
	struct ti_scrub_report r;

	(void)state;
	sim_put_block(l, 7, 8);
	sim_put_block(l, 3000, 8);
	start(l);
	assert_int_equal(ti_lun_scrub_start(l->lun, NULL, 0), -EALREADY);
	while (report_of(l).sector < 2 * PIECE_BLOCKS)
		let_time_pass(l);
	assert_int_equal(ti_lun_scrub_stop(l->lun), 0);
	r = run(l);
	assert_int_equal(r.state, TI_SCRUB_STOPPED);
	assert_int_equal(told.ends, 1);
	assert_true(r.sector >= 2 * PIECE_BLOCKS && r.sector < 3000);
	assert_int_equal(r.verified_sectors, r.sector);
	assert_int_equal(ti_lun_scrub_stop(l->lun), -EALREADY);
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_lun_open(l), 0);
	sim_forget(l);
	assert_int_equal(ti_lun_scrub_start(l->lun, &r, 0), 0);
	r = run(l);
	assert_int_equal(r.state, TI_SCRUB_FINISHED);
	assert_int_equal(r.verified_sectors, 4096);
	assert_int_equal(r.ranges, 2);
	assert_bad(&r, 0, TI_SCRUB_MISMATCH, 7, 1);
	assert_bad(&r, 1, TI_SCRUB_MISMATCH, 3000, 1);
	assert_true(sim_started(l, TI_DATA, TI_IO_READ) <= 6);
	/* One that is at its end, or not of this pair, is dropped. */
	assert_int_equal(ti_lun_scrub_start(l->lun, &r, 0), 0);
	r = run(l);
	assert_int_equal(r.verified_sectors, 4096);
	sim_lun_free(l);
}

static void close_does_not_wait_for_the_end_nor_tell_of_one(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);

	(void)state;
	sim_hold(l->sim, true);
	start(l);
	sim_advance(l->sim, 10);
	ti_lun_tick(l->lun);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), 1);
	sim_forget(l);
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(told.ends, 0);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_READ), 0);
	sim_lun_free(l);
}

/* Between two pieces the engine is left, however fast the devices are. */
static void one_run_does_one_piece(void **state)
{
	const struct sim_lun_options options = { 0 };
	struct sim_lun *l = sim_lun_new(&options);

	(void)state;
	start(l);
	sim_advance(l->sim, 10);
	ti_lun_tick(l->lun);
	sim_forget(l);
	for (unsigned i = 0; i < 100; i++)
		sim_go(l);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_READ), 1);
	sim_lun_free(l);
}

static void rate_limit_is_kept(void **state)
{
	const struct sim_lun_options options = { 0 };
	struct sim_lun *l = sim_lun_new(&options);
	uint64_t began = ti_clock_now(sim_as_clock(l->sim)), ns;

	(void)state;
	/* 2 MiB: four seconds, of which the last piece's rest does not count. */
	assert_int_equal(ti_lun_scrub_start(l->lun, NULL, 512 << 10), 0);
	run(l);
	ns = ti_clock_now(sim_as_clock(l->sim)) - began;
	assert_in_range(ns, 3400 * TI_NS_PER_MS, 4200 * TI_NS_PER_MS);
	sim_lun_free(l);
}

/* Faster at once, not after the rest of a slow piece; slower; and the next scrub does not know. */
static void rate_of_a_running_scrub_can_be_changed(void **state)
{
	const struct sim_lun_options options = { 0 };
	struct sim_lun *l = sim_lun_new(&options);
	uint64_t began;

	(void)state;
	assert_int_equal(ti_lun_scrub_set_rate(l->lun, 0), -EALREADY);
	/* A piece in four seconds. */
	assert_int_equal(ti_lun_scrub_start(l->lun, NULL, 64 << 10), 0);
	while (report_of(l).sector == 0)
		let_time_pass(l);
	began = ti_clock_now(sim_as_clock(l->sim));
	assert_true(ti_lun_deadline(l->lun) > began + 3000 * TI_NS_PER_MS);
	assert_int_equal(ti_lun_scrub_set_rate(l->lun, 512 << 10), 0);
	assert_int_equal(report_of(l).rate_limit, 512 << 10);
	while (report_of(l).sector < 3 * PIECE_BLOCKS)
		let_time_pass(l);
	assert_in_range(ti_clock_now(sim_as_clock(l->sim)) - began, 450 * TI_NS_PER_MS,
			600 * TI_NS_PER_MS);
	assert_int_equal(ti_lun_scrub_set_rate(l->lun, 0), 0);
	assert_int_equal(run(l).state, TI_SCRUB_FINISHED);
	assert_in_range(ti_clock_now(sim_as_clock(l->sim)) - began, 0, 700 * TI_NS_PER_MS);
	assert_int_equal(ti_lun_scrub_set_rate(l->lun, 0), -EALREADY);
	start(l);
	assert_int_equal(report_of(l).rate_limit, 0);
	sim_lun_free(l);
}

static void it_rests_while_others_work(void **state)
{
	const struct sim_lun_options options = { 0 };
	struct sim_lun *l = sim_lun_new(&options);
	uint64_t now;

	(void)state;
	sim_hold(l->sim, true);
	start(l);
	sim_advance(l->sim, 10);
	ti_lun_tick(l->lun);
	sim_go(l);
	sim_advance(l->sim, 10 * TI_NS_PER_MS); /* so long takes the piece */
	sim_read(l, 2000, 1);
	sim_let(l, TI_META, TI_IO_READ);
	sim_complete_at(l->sim, TI_DATA, TI_IO_READ, 0);
	sim_go(l);
	assert_int_equal(report_of(l).sector, PIECE_BLOCKS);
	now = ti_clock_now(sim_as_clock(l->sim));
	assert_in_range(ti_lun_deadline(l->lun) - now, 29 * TI_NS_PER_MS, 31 * TI_NS_PER_MS);
	sim_finish(l);
	/* Nobody works: the next piece's rest is none. */
	while (report_of(l).sector < 2 * PIECE_BLOCKS)
		let_time_pass(l);
	now = ti_clock_now(sim_as_clock(l->sim));
	assert_in_range(ti_lun_deadline(l->lun), 0, now + 1);
	sim_lun_free(l);
}

static void it_waits_for_a_recalculation(void **state)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);
	struct ti_scrub_report r;

	(void)state;
	l->sb.flags |= TI_SB_RECALCULATING;
	l->sb.recalc_sector = 0;
	sim_put_superblock(l, &l->sb);
	for (uint32_t block = 0; block < 4096; block += 16)
		sim_put_block(l, block, 9);
	l->options.mode = TI_MODE_DIRECT;
	assert_int_equal(sim_lun_open(l), 0);
	start(l);
	sim_recalculate(l);
	assert_int_equal(report_of(l).sector, 0);
	r = run(l);
	assert_int_equal(r.state, TI_SCRUB_FINISHED);
	assert_int_equal(r.verified_sectors, 4096);
	assert_int_equal(r.ranges, 0);
	sim_lun_free(l);
}

/* Read-only, nothing is recalculated: what is not vouched for is left out, the rest is looked at.
 */
static void block_without_a_tag_yet_is_left_out(void **state)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);
	struct ti_scrub_report r;

	(void)state;
	l->sb.flags |= TI_SB_RECALCULATING;
	l->sb.recalc_sector = 1000;
	sim_put_superblock(l, &l->sb);
	sim_put_block(l, 50, 9);
	sim_put_block(l, 2000, 9);
	l->options.mode = TI_MODE_DIRECT;
	l->options.read_only = true;
	assert_int_equal(sim_lun_open(l), 0);
	r = scrub(l);
	assert_int_equal(r.skipped_sectors, 4096 - 1000);
	assert_int_equal(r.verified_sectors, 1000);
	assert_int_equal(r.ranges, 1);
	assert_bad(&r, 0, TI_SCRUB_MISMATCH, 50, 1);
	sim_lun_free(l);
}

static void mode_recovery_has_nothing_to_verify(void **state)
{
	const struct sim_lun_options options = { .lun.mode = TI_MODE_RECOVERY };
	struct sim_lun *l = sim_lun_make(&options);

	(void)state;
	assert_int_equal(sim_lun_open(l), 0);
	assert_int_equal(ti_lun_scrub_start(l->lun, NULL, 0), -EOPNOTSUPP);
	sim_lun_free(l);
}

static void assert_counts(const struct sim_lun *l, uint64_t ranges, uint64_t bad, uint64_t mended)
{
	const struct ti_scrub_report r = report_of(l);

	assert_int_equal(r.ranges, ranges);
	assert_int_equal(r.listed, ranges);
	assert_int_equal(ti_scrub_all_bad(&r), bad);
	assert_int_equal(r.mended_sectors, mended);
}

/* Only what was written: a write that fails mends nothing. */
static void bad_block_that_is_written_or_discarded_is_told_no_longer(void **state)
{
	const enum ti_mode modes[] = { TI_MODE_DIRECT, TI_MODE_BITMAP, TI_MODE_JOURNAL };

	(void)state;
	for (unsigned m = 0; m < 3; m++) {
		struct sim_lun *l = modes[m] == TI_MODE_JOURNAL ? sim_journal_make(8, 0)
								: sim_bitmap_make(0, SIM_REGION);
		struct ti_scrub_report r;

		l->options.mode = modes[m];
		l->options.allow_discards = true;
		for (uint32_t block = 100; block < 110; block++)
			sim_put_block(l, block, 9);
		sim_put_block(l, 300, 9);
		assert_int_equal(sim_lun_open(l), 0);
		scrub(l);
		assert_counts(l, 2, 11, 0);
		sim_ok(l, sim_write(l, 90, 10, 5)); /* a neighbour */
		sim_reads(l, 110, 50, 0);
		assert_counts(l, 2, 11, 0);
		sim_ok(l, sim_write(l, 103, 2, 5)); /* in the middle: now it is two places */
		assert_counts(l, 3, 9, 2);
		r = report_of(l);
		assert_bad(&r, 0, TI_SCRUB_MISMATCH, 100, 3);
		assert_bad(&r, 1, TI_SCRUB_MISMATCH, 105, 5);
		sim_ok(l, sim_discard(l, 108, 20));
		assert_counts(l, 3, 7, 4);
		sim_ok(l, sim_write(l, 290, 20, 5));
		assert_counts(l, 2, 6, 5);
		if (modes[m] != TI_MODE_JOURNAL) { /* there it would be the write-out */
			sim_fail(l, TI_DATA, TI_IO_WRITE, (uint64_t)100 * 512, 1);
			sim_bad(l, sim_write(l, 100, 1, 5), -EIO, TI_CAUSE_DATA_IO, 100);
			assert_counts(l, 2, 6, 5);
		}
		/* And it is so, not only told. */
		sim_ok(l, sim_flush(l));
		sim_age(l);
		sim_finish(l);
		scrub(l);
		assert_counts(l, 2, 6, 0);
		sim_lun_free(l);
	}
}

/* The last place is mended while the scrub stands behind it, and what follows is another place. */
static void place_that_was_mended_does_not_grow(void **state)
{
	struct told told;
	struct sim_lun *l = filled(&told);
	struct ti_scrub_report r;

	(void)state;
	sim_put_block(l, PIECE_BLOCKS - 2, 8);
	sim_put_block(l, PIECE_BLOCKS - 1, 8);
	sim_put_block(l, PIECE_BLOCKS, 8);
	start(l);
	while (report_of(l).sector < PIECE_BLOCKS)
		let_time_pass(l);
	assert_int_equal(report_of(l).sector, PIECE_BLOCKS);
	assert_counts(l, 1, 2, 0);
	sim_ok(l, sim_write(l, PIECE_BLOCKS - 1, 1, 5));
	r = run(l);
	assert_counts(l, 2, 2, 1);
	assert_bad(&r, 0, TI_SCRUB_MISMATCH, PIECE_BLOCKS - 2, 1);
	assert_bad(&r, 1, TI_SCRUB_MISMATCH, PIECE_BLOCKS, 1);
	sim_lun_free(l);
}

/* A pair whose superblock says that it is to be recalculated from @sector on. */
static struct sim_lun *to_be_recalculated(uint64_t sector)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);

	l->sb.flags |= TI_SB_RECALCULATING;
	l->sb.recalc_sector = sector;
	sim_put_superblock(l, &l->sb);
	l->options.mode = TI_MODE_DIRECT;
	return l;
}

/* Two places that are listed, and one more that is not. */
static const struct ti_scrub_report three = { .state = TI_SCRUB_FINISHED,
					      .sector = 4096,
					      .end = 4096,
					      .bad_sectors = { 30 },
					      .ranges = 3,
					      .listed = 2,
					      .bad = { { 1, 10, TI_SCRUB_MISMATCH },
						       { 2000, 10, TI_SCRUB_MISMATCH } } };

static void recalculation_mends_what_it_makes_tags_for(void **state)
{
	(void)state;
	for (int late = 0; late < 2; late++) {
		struct sim_lun *l = to_be_recalculated(0);

		assert_int_equal(sim_lun_open(l), 0);
		/* It does not wait for somebody to say what was bad. */
		if (late)
			sim_recalculate(l);
		assert_int_equal(ti_lun_scrub_restore(l->lun, &three), 0);
		if (!late) {
			while (sim_stats(l).recalc_sector < 1000)
				let_time_pass(l);
			assert_int_equal(report_of(l).mended_sectors, 10);
			assert_int_equal(report_of(l).ranges, 2);
			sim_recalculate(l);
		}
		assert_counts(l, 0, 0, 30);
		sim_lun_free(l);
	}
}

/* Before it began nothing has got a tag; nor, on a read-only LUN, has anything. */
static void recalculation_mends_nothing_else(void **state)
{
	(void)state;
	for (int read_only = 0; read_only < 2; read_only++) {
		struct sim_lun *l = to_be_recalculated(1024);

		l->options.read_only = read_only;
		assert_int_equal(sim_lun_open(l), 0);
		if (!read_only)
			sim_recalculate(l);
		assert_int_equal(ti_lun_scrub_restore(l->lun, &three), 0);
		assert_int_equal(report_of(l).mended_sectors, read_only ? 0 : 10);
		assert_int_equal(report_of(l).ranges, read_only ? 3 : 2);
		assert_int_equal(report_of(l).bad[0].sector, 1);
		sim_lun_free(l);
	}
}

/* It keeps its tag, and is still bad. */
static void block_that_recalculation_passed_by_is_still_told(void **state)
{
	struct sim_lun *l = to_be_recalculated(0);
	struct ti_scrub_report r;

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_READ, (uint64_t)2003 * 512, 1000);
	assert_int_equal(sim_lun_open(l), 0);
	assert_int_equal(ti_lun_scrub_restore(l->lun, &three), 0);
	sim_recalculate(l);
	r = report_of(l);
	assert_int_equal(r.ranges, 2);
	assert_int_equal(r.mended_sectors, 19);
	assert_bad(&r, 0, TI_SCRUB_MISMATCH, 2003, 1);
	sim_lun_free(l);
}

/* Random writes and flushes all the time: nothing is ever taken for bad. */
static void scrub_under_load_finds_nothing_but_what_is_bad(void **state)
{
	const enum ti_mode modes[] = { TI_MODE_DIRECT, TI_MODE_BITMAP, TI_MODE_JOURNAL };

	(void)state;
	for (unsigned m = 0; m < 3; m++) {
		struct sim_lun *l = modes[m] == TI_MODE_JOURNAL ? sim_journal_make(4, 0)
								: sim_bitmap_make(0, SIM_REGION);
		uint32_t blocks = (uint32_t)l->geo.provided_blocks, version = 1;
		struct sim_random random = { .state = 77 + m };

		sim_put_block(l, blocks - 1, 9);
		l->options.mode = modes[m];
		assert_int_equal(sim_lun_open(l), 0);
		for (unsigned round = 0; round < 20; round++) {
			struct ti_scrub_report r;

			start(l);
			while (report_of(l).state == TI_SCRUB_RUNNING) {
				uint32_t count = 1 + (uint32_t)sim_below(&random, 20);
				uint32_t block = (uint32_t)sim_below(&random, blocks - 1 - count);

				if (sim_chance(&random, 30))
					sim_write(l, block, count, ++version);
				if (sim_chance(&random, 10))
					sim_flush(l);
				let_time_pass(l);
			}
			r = report_of(l);
			assert_int_equal(r.state, TI_SCRUB_FINISHED);
			assert_int_equal(r.ranges, 1);
			assert_bad(&r, 0, TI_SCRUB_MISMATCH, blocks - 1, 1);
			assert_int_equal(r.verified_sectors + r.skipped_sectors, blocks);
		}
		sim_finish(l);
		sim_lun_free(l);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clean_pair_is_gone_through_once_and_read_only),
		cmocka_unit_test(bad_blocks_are_found_counted_listed_and_told),
		cmocka_unit_test(mismatch_is_logged_with_both_tags),
		cmocka_unit_test(tag_is_read_from_the_medium_and_mended_from_memory),
		cmocka_unit_test(line_that_a_write_out_is_about_to_fill_is_waited_for),
		cmocka_unit_test(tag_that_was_mended_is_on_the_medium_after_a_close),
		cmocka_unit_test(tag_that_is_newer_in_memory_is_no_finding),
		cmocka_unit_test(tag_that_arrives_during_the_piece_is_no_finding),
		cmocka_unit_test(write_waits_for_the_piece_and_its_neighbour_does_not),
		cmocka_unit_test(piece_waits_for_the_write_that_came_first),
		cmocka_unit_test(block_in_the_journal_is_left_out),
		cmocka_unit_test(block_that_leaves_the_journal_meanwhile_is_no_finding),
		cmocka_unit_test(unreadable_block_is_found_alone),
		cmocka_unit_test(unreadable_tags_are_found_by_the_devices_block),
		cmocka_unit_test(device_that_is_gone_ends_it),
		cmocka_unit_test(list_is_bounded_and_the_count_is_not),
		cmocka_unit_test(stopped_scrub_goes_on_after_another_open),
		cmocka_unit_test(close_does_not_wait_for_the_end_nor_tell_of_one),
		cmocka_unit_test(one_run_does_one_piece),
		cmocka_unit_test(rate_limit_is_kept),
		cmocka_unit_test(rate_of_a_running_scrub_can_be_changed),
		cmocka_unit_test(it_rests_while_others_work),
		cmocka_unit_test(it_waits_for_a_recalculation),
		cmocka_unit_test(block_without_a_tag_yet_is_left_out),
		cmocka_unit_test(mode_recovery_has_nothing_to_verify),
		cmocka_unit_test(bad_block_that_is_written_or_discarded_is_told_no_longer),
		cmocka_unit_test(place_that_was_mended_does_not_grow),
		cmocka_unit_test(recalculation_mends_what_it_makes_tags_for),
		cmocka_unit_test(recalculation_mends_nothing_else),
		cmocka_unit_test(block_that_recalculation_passed_by_is_still_told),
		cmocka_unit_test(scrub_under_load_finds_nothing_but_what_is_bad),
		cmocka_unit_test(last_block_is_gone_through_however_many_there_are),
		cmocka_unit_test(tags_behind_the_pieces_first_line_are_like_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
