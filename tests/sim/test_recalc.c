/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Recalculation: what is made anew and what is only verified, what reads see meanwhile, and how far
 * it is after whatever happened.  And the ways from one mode to another.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bits.h"
#include "journal_scan.h"
#include "sim_bitmap.h"
#include "sim_journal.h"

/* A closed pair that died in mode bitmap, with region 1 dirty and block 70's tag not of its data.
 */
static struct sim_lun *died(void)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);

	assert_int_equal(sim_lun_open(l), 0);
	sim_ok(l, sim_write(l, 64, 10, 3));
	sim_power_cut(l->sim);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	sim_put_block(l, 70, 4);
	sim_forget(l);
	return l;
}

/* A closed pair whose superblock says that all from @sector on is to be recalculated. */
static struct sim_lun *unfinished(uint64_t sector, enum ti_mode mode)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);

	l->sb.flags |= TI_SB_RECALCULATING;
	l->sb.recalc_sector = sector;
	sim_put_superblock(l, &l->sb);
	for (uint32_t block = 0; block < 4096; block += 16)
		sim_put_block(l, block, 9);
	l->options.mode = mode;
	return l;
}

static void open_it(struct sim_lun *l)
{
	if (sim_lun_open(l) != 0)
		fail_msg("%s", l->error.text);
}

/* While I/O is held: what is under way completes, and time passes. */
static void step(struct sim_lun *l)
{
	unsigned under_way = sim_under_way(l->sim);

	while (under_way-- > 0)
		for (int dev = 0; dev < TI_DEVICES; dev++)
			for (int op = TI_IO_READ; op <= TI_IO_FLUSH; op++)
				sim_complete_one(l->sim, (enum ti_device)dev, (enum ti_io_op)op);
	sim_advance(l->sim, TI_NS_PER_MS / 10);
	ti_lun_tick(l->lun);
}

static void tick_on(struct sim_lun *l)
{
	step(l);
	sim_go(l);
}

static void mismatch_at(struct sim_lun *l, uint32_t block)
{
	sim_bad(l, sim_read(l, block, 1), -EILSEQ, TI_CAUSE_TAG_MISMATCH, block);
}

/* A request, and what the medium says for certain when it is granted. */
struct asked {
	struct ti_recalc_wish wish;
	struct sim_lun *l;
	bool back;
	int err;
	struct ti_superblock durable;
	unsigned read_before; /* of the data device, until then */
};

static void answered(struct ti_recalc_wish *wish, int err)
{
	struct asked *a = (struct asked *)wish;
	const uint8_t *meta = sim_durable(a->l->sim, TI_META);

	assert_false(a->back);
	a->back = true;
	a->err = err;
	a->read_before = sim_count(a->l->sim, TI_DATA, TI_IO_READ);
	if (ti_superblock_parse(meta + a->l->geo.start_sector * TI_SECTOR_BYTES, "sim-meta",
				&a->durable, &a->l->error) != 0)
		fail_msg("%s", a->l->error.text);
}

/* Ask, and wait for the answer, which this returns. */
static int ask(struct sim_lun *l)
{
	struct asked a = { .wish.done = answered, .l = l };
	int err = ti_lun_recalculate(l->lun, 0, &a.wish);

	for (unsigned i = 0; err == 0 && !a.back; i++) {
		assert_true(i < 100);
		tick_on(l);
	}
	return err != 0 ? err : a.err;
}

static void dirty_region_gets_the_tags_of_what_is_there(void **state)
{
	struct sim_lun *l = died();

	(void)state;
	assert_false(sim_matches(l, 70));
	open_it(l);
	sim_recalculate(l);
	sim_reads(l, 70, 1, 4);
	sim_clear(l);
	sim_finish(l);
	assert_int_equal(sim_bits(l), 0);
	assert_int_equal(sim_lun_close(l), 0);
	assert_true(sim_all_match(l));
	assert_false(sim_superblock(l).flags & TI_SB_DIRTY_BITMAP);
	sim_lun_free(l);
}

/* The kernel would make a new tag for a block that stands between dirty ones. */
static void clean_block_beside_a_dirty_region_is_verified_and_never_blessed(void **state)
{
	struct sim_lun *l = died();

	(void)state;
	sim_put_block(l, 20, 8);   /* region 0: clean */
	sim_put_block(l, 2000, 8); /* far away in the same chunk */
	sim_put_bit(l, 3, true);   /* region 2 lies between two dirty ones */
	sim_put_block(l, 130, 8);
	open_it(l);
	sim_recalculate(l);
	assert_int_equal(sim_stats(l).recalc_mismatches, 3);
	assert_int_equal(sim_stats(l).recalculated_sectors, 2 * SIM_REGION);
	mismatch_at(l, 20);
	mismatch_at(l, 130);
	mismatch_at(l, 2000);
	sim_clear(l);
	sim_finish(l);
	assert_int_equal(sim_lun_close(l), 0);
	assert_false(sim_matches(l, 20));
	assert_false(sim_matches(l, 130));
	assert_true(sim_matches(l, 70));
	sim_lun_free(l);
}

static void only_chunks_with_a_dirty_region_are_read(void **state)
{
	struct sim_lun *l = sim_bitmap_make(3 * 32768, SIM_REGION);
	uint32_t regions_of_chunk = 32768 / SIM_REGION;

	(void)state;
	open_it(l);
	sim_power_cut(l->sim);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	sim_put_bit(l, regions_of_chunk + 5, true);
	sim_forget(l);
	open_it(l);
	sim_recalculate(l);
	for (unsigned i = 0; i < l->events; i++)
		if (l->event[i].dev == TI_DATA && l->event[i].op == TI_IO_READ) {
			assert_true(l->event[i].offset >= 32768 * 512U);
			assert_true(l->event[i].offset + l->event[i].len <= 2 * 32768 * 512U);
		}
	assert_true(sim_started(l, TI_DATA, TI_IO_READ) > 0);
	sim_lun_free(l);
}

static void read_before_its_turn_is_answered_without_a_look_at_the_tag(void **state)
{
	struct sim_lun *l = died();
	struct sim_req *r;

	(void)state;
	sim_put_block(l, 20, 8);
	open_it(l);
	sim_hold(l->sim, true);
	sim_go(l);
	/* Across a clean, a dirty and a clean region; block 20 is in none of them. */
	r = sim_read(l, 60, 70);
	sim_go(l);
	while (!r->back) {
		assert_true(sim_complete_one(l->sim, TI_DATA, TI_IO_READ) ||
			    sim_complete_one(l->sim, TI_META, TI_IO_READ));
		sim_go(l);
	}
	assert_int_equal(r->req.result.err, 0);
	/* What is clean is verified all the time. */
	r = sim_read(l, 20, 1);
	sim_go(l);
	while (!r->back) {
		assert_true(sim_complete_one(l->sim, TI_DATA, TI_IO_READ) ||
			    sim_complete_one(l->sim, TI_META, TI_IO_READ));
		sim_go(l);
	}
	assert_int_equal(r->req.result.cause, TI_CAUSE_TAG_MISMATCH);
	sim_lun_free(l);
}

static void write_waits_for_a_piece_and_keeps_its_tag(void **state)
{
	struct sim_lun *l = died();
	struct sim_req *r, *last;

	(void)state;
	sim_put_bit(l, 0, true); /* the first piece is regions 0 and 1 */
	open_it(l);
	sim_hold(l->sim, true);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), 1);
	r = sim_write(l, 66, 2, 12);
	last = sim_write(l, 127, 1, 12);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_WRITE), 0);
	sim_ok(l, r);
	sim_ok(l, last);
	sim_recalculate(l);
	sim_reads(l, 66, 2, 12);
	sim_reads(l, 127, 1, 12);
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

static void bit_is_cleared_only_when_its_new_tags_are_durable(void **state)
{
	struct sim_lun *l = died();

	(void)state;
	open_it(l);
	sim_hold(l->sim, true);
	sim_go(l); /* the first piece is read */
	sim_clear(l);
	sim_let(l, TI_META, TI_IO_FLUSH);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	assert_int_equal(sim_stats(l).bitmap_clears, 1);
	sim_complete_one(l->sim, TI_META, TI_IO_WRITE); /* were the step to write anything */
	sim_go(l);
	assert_true(sim_bit(l, 1));
	/* It is recalculated while the next step's flushes are under way. */
	sim_ok(l, sim_write(l, 64, 1, 3));
	assert_true(sim_stats(l).recalculating);
	sim_recalculate(l);
	for (unsigned i = 0; i < 3; i++) {
		sim_clear(l);
		sim_finish(l);
	}
	assert_false(sim_bit(l, 1));
	sim_power_cut(l->sim);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

/* The tags are stored while the step's flushes, which do not cover them, are under way. */
static void bit_stays_when_its_tags_come_during_the_step(void **state)
{
	struct sim_lun *l = died();

	(void)state;
	sim_put_bit(l, 3, true); /* so that region 1 is not the last one */
	l->options.recalculate_rate = 1;
	open_it(l);
	sim_hold(l->sim, true);
	sim_go(l); /* the first piece: region 0, verified */
	while (sim_count(l->sim, TI_DATA, TI_IO_READ) + sim_count(l->sim, TI_META, TI_IO_READ) > 0)
		tick_on(l);
	sim_advance(l->sim, 1000 * TI_NS_PER_SEC * 1000);
	ti_lun_tick(l->lun); /* rested: the next piece, and a clearing step */
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), 1);
	sim_let(l, TI_DATA, TI_IO_READ);
	if (sim_count(l->sim, TI_META, TI_IO_READ) > 0)
		sim_let(l, TI_META, TI_IO_READ);
	assert_int_equal(sim_stats(l).recalculated_sectors, SIM_REGION);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_int_equal(sim_stats(l).bitmap_clears, 1);
	assert_true(sim_bit(l, 1));
	sim_finish(l);
	assert_true(sim_bit(l, 1));
	sim_lun_free(l);
}

static void last_bit_stays_until_the_superblock_says_done(void **state)
{
	struct sim_lun *l = died();

	(void)state;
	l->options.bitmap_flush_interval_ms = 1;
	open_it(l);
	sim_fail(l, TI_META, TI_IO_WRITE, l->geo.start_sector * 512, 1);
	/* To the end, and then on, so that every bit that may go is gone. */
	for (unsigned after = 0; after < 5; after += sim_stats(l).recalc_sector == 4096) {
		sim_clear(l);
		sim_finish(l);
	}
	/* All is recalculated and durable; the superblock does not say so yet. */
	assert_int_equal(sim_stats(l).recalc_sector, 4096);
	assert_true(sim_stats(l).recalculating);
	assert_true(sim_bit(l, 1));
	sim_recalculate_and_close(l); /* it is tried again */
	assert_int_equal(sim_superblock(l).recalc_sector, 4096);
	assert_false(sim_superblock(l).flags & TI_SB_DIRTY_BITMAP);
	sim_lun_free(l);
}

static void unfinished_recalculation_goes_on_in_every_mode(void **state)
{
	static const enum ti_mode mode[] = { TI_MODE_DIRECT, TI_MODE_JOURNAL, TI_MODE_BITMAP };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct sim_lun *l = unfinished(1000, mode[i]);

		open_it(l);
		mismatch_at(l, 16); /* before the sector nothing is recalculated */
		sim_reads(l, 4080, 1, 9);
		sim_recalculate(l);
		assert_int_equal(sim_stats(l).recalculated_sectors, 3096);
		mismatch_at(l, 992);
		sim_reads(l, 1008, 1, 9);
		sim_recalculate_and_close(l);
		assert_int_equal(sim_superblock(l).recalc_sector, 4096);
		assert_int_equal(sim_superblock(l).flags, TI_SB_RECALCULATING);
		for (uint32_t block = 0; block < 4096; block++)
			assert_int_equal(sim_matches(l, block), block >= 1000 || block % 16 != 0);
		sim_lun_free(l);
	}
}

static void superblock_says_done_after_the_tags_are_durable(void **state)
{
	struct sim_lun *l = unfinished(0, TI_MODE_DIRECT);

	(void)state;
	open_it(l);
	for (unsigned i = 0; sim_superblock(l).recalc_sector < 4096; i++) {
		assert_true(i < 10000);
		sim_go(l);
		ti_lun_wait(l->lun, ti_lun_deadline(l->lun));
		ti_lun_tick(l->lun);
	}
	sim_power_cut(l->sim);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

/* Somebody's flush is under way when the last tags are made: it does not cover them. */
static void save_waits_for_a_round_that_began_after_its_tags(void **state)
{
	struct sim_lun *l = unfinished(4096 - 512, TI_MODE_DIRECT);
	struct sim_req *flush;

	(void)state;
	open_it(l);
	sim_forget(l);
	sim_hold(l->sim, true);
	flush = sim_flush(l);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 1);
	sim_let(l, TI_META, TI_IO_READ);
	sim_let(l, TI_DATA, TI_IO_READ); /* the only piece */
	sim_let(l, TI_META, TI_IO_FLUSH);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	assert_true(flush->back);
	assert_int_equal(sim_started_at(l, TI_META, TI_IO_WRITE, 0), 0); /* the superblock */
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_int_equal(sim_started_at(l, TI_META, TI_IO_WRITE, 0), 0);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_int_equal(sim_started_at(l, TI_META, TI_IO_WRITE, 0), 1);
	sim_lun_free(l);
}

/* A piece that ends while a save is under way is in the next one. */
static void save_says_no_more_than_its_flush_has_covered(void **state)
{
	struct sim_lun *l = unfinished(0, TI_MODE_DIRECT);

	(void)state;
	open_it(l);
	sim_forget(l);
	sim_hold(l->sim, true);
	sim_go(l);
	sim_advance(l->sim, 11000 * TI_NS_PER_MS);
	sim_let(l, TI_META, TI_IO_READ);
	sim_let(l, TI_DATA, TI_IO_READ);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
	sim_advance(l->sim, TI_NS_PER_MS);
	ti_lun_tick(l->lun);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_READ);
	for (unsigned i = 0; sim_started_at(l, TI_META, TI_IO_WRITE, 0) == 0; i++) {
		assert_true(i < 10);
		sim_complete_one(l->sim, TI_META, TI_IO_WRITE);
		sim_complete_one(l->sim, TI_META, TI_IO_FLUSH);
		sim_complete_one(l->sim, TI_DATA, TI_IO_FLUSH);
		sim_go(l);
	}
	assert_true(sim_complete_at(l->sim, TI_META, TI_IO_WRITE, 0));
	assert_int_equal(sim_superblock(l).recalc_sector, 512);
	sim_lun_free(l);
}

/* Its data is in its place, its tag is not, since that line could not be read: until the write-out
 * is tried again, the journal has what counts. */
static void block_that_the_journal_holds_is_no_mismatch(void **state)
{
	struct sim_lun *l = died();

	(void)state;
	l->options.mode = TI_MODE_JOURNAL;
	l->options.journal_watermark = 1;
	open_it(l);
	sim_hold(l->sim, true);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_READ); /* a piece, upon which there is a rest */
	sim_let(l, TI_DATA, TI_IO_READ);
	sim_fail(l, TI_META, TI_IO_READ, l->geo.tag_offset + 4096, 1);
	sim_write(l, 2000, 8, 1);
	for (unsigned i = 0; sim_logged(l, "I/O error op=tags") == 0; i++) {
		assert_true(i < 100);
		sim_go(l);
		for (int op = TI_IO_READ; op <= TI_IO_FLUSH; op++)
			sim_complete_one(l->sim, TI_META, (enum ti_io_op)op);
		sim_complete_one(l->sim, TI_DATA, TI_IO_WRITE);
	}
	assert_true(sim_has_data(l, sim_contents(l->sim, TI_DATA), 2000, 1));
	assert_false(sim_has_tag(l, sim_contents(l->sim, TI_META), 2000, 1));
	for (unsigned i = 0; sim_stats(l).recalculating; i++) {
		assert_true(i < 1000);
		tick_on(l);
	}
	assert_int_equal(sim_stats(l).mismatches, 0);
	sim_hold(l->sim, false);
	sim_reads(l, 2000, 8, 1);
	assert_int_equal(sim_lun_close(l), 0);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

/* In mode journal a flush leaves the tags alone: the close has to write them, before the
 * superblock. */
static void close_says_no_more_than_is_durable_and_tells_of_errors(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sim_lun *l = unfinished(0, TI_MODE_JOURNAL);
		uint64_t at = i == 0 ? l->geo.tag_offset : l->geo.start_sector * TI_SECTOR_BYTES;

		open_it(l);
		sim_hold(l->sim, true);
		for (unsigned turn = 0; sim_stats(l).recalculated_sectors < 1024; turn++) {
			assert_true(turn < 100);
			tick_on(l);
		}
		sim_fail(l, TI_META, TI_IO_WRITE, at, SIM_FOR_EVER);
		assert_int_equal(sim_lun_close(l), -EIO);
		sim_mend(l);
		assert_int_equal(sim_superblock(l).recalc_sector, 0);
		open_it(l);
		sim_recalculate_and_close(l);
		assert_true(sim_all_match(l));
		sim_lun_free(l);
	}
}

static void reset_in_mode_bitmap_sets_every_bit_on_the_medium(void **state)
{
	struct sim_lun *l = died();

	(void)state;
	assert_int_equal(sim_bits(l), 1);
	l->options.reset_recalculate = true;
	open_it(l);
	for (uint32_t region = 0; region < 4096 / SIM_REGION; region++)
		assert_true(sim_bit_is_durable(l, region));
	sim_lun_free(l);
}

/* Somebody else, a kernel perhaps, has said sector 11, in the middle of what the device reads. */
static void recalculation_goes_on_with_a_whole_block_of_the_device(void **state)
{
	struct sim_lun *l =
		sim_lun_make(&(struct sim_lun_options){ .logical_block_size = { 4096, 512 } });

	(void)state;
	l->sb.flags |= TI_SB_RECALCULATING;
	l->sb.recalc_sector = 11;
	sim_put_superblock(l, &l->sb);
	sim_put_block(l, 12, 9);
	open_it(l);
	sim_ok(l, sim_read(l, 8, 8));
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

/* Regions of one block, eight of which are what the data device reads at once; block 27 is dirty.
 */
static void device_block_with_one_dirty_region_is_recalculated_whole(void **state)
{
	struct sim_lun *l = sim_lun_make(&(struct sim_lun_options){
		.shape = { .sectors_per_bit = 1 },
		.logical_block_size = { 4096, 512 },
		.lun = { .mode = TI_MODE_BITMAP },
	});
	struct sim_req *r;

	(void)state;
	open_it(l);
	sim_ok(l, sim_write(l, 24, 8, 3));
	sim_ok(l, sim_flush(l));
	sim_power_cut(l->sim);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	for (uint32_t region = 24; region < 32; region++)
		sim_put_bit(l, region, region == 27);
	sim_put_block(l, 27, 4);
	open_it(l);
	sim_hold(l->sim, true);
	r = sim_read(l, 8, 24);
	while (!r->back)
		tick_on(l);
	assert_int_equal(r->req.result.err, 0);
	sim_hold(l->sim, false);
	sim_recalculate(l);
	assert_true(sim_all_match(l));
	assert_int_equal(sim_stats(l).mismatches, 0);
	sim_ok(l, sim_read(l, 24, 8));
	sim_lun_free(l);
}

/* However often and wherever the power goes: what is left is said, and at the end all is well. */
static void cut_anywhere_it_ends_some_time(enum ti_mode mode)
{
	struct sim_lun *l = died();

	l->options.mode = mode;
	l->options.max_part_bytes = 4096; /* many pieces */
	for (uint32_t ios = 1; ios < 60; ios++) {
		sim_vanish_after(l, ios);
		if (sim_lun_open(l) == 0) {
			for (unsigned i = 0; i < 2 * ios; i++) {
				sim_go(l);
				if (sim_under_way(l->sim) == 0)
					break;
				ti_lun_wait(l->lun, TI_CLOCK_NEVER);
			}
			sim_power_cut(l->sim);
			ti_lun_abandon(l->lun);
		}
		sim_vanish_after(l, SIM_FOR_EVER);
		sim_power_cut(l->sim);
		l->lun = NULL;
		sim_forget(l);
	}
	open_it(l);
	sim_recalculate(l);
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

static void recalculation_survives_cuts_in_mode_bitmap(void **state)
{
	(void)state;
	cut_anywhere_it_ends_some_time(TI_MODE_BITMAP);
}

static void change_to_mode_direct_survives_cuts(void **state)
{
	(void)state;
	cut_anywhere_it_ends_some_time(TI_MODE_DIRECT);
}

static void change_to_mode_journal_survives_cuts(void **state)
{
	(void)state;
	cut_anywhere_it_ends_some_time(TI_MODE_JOURNAL);
}

/* Whoever opens next, in whatever mode, after a cut at each I/O of a change of mode. */
static void every_cut_of_a_change_leaves_a_pair_that_recalculates(void **state)
{
	static const enum ti_mode mode[] = { TI_MODE_BITMAP, TI_MODE_DIRECT, TI_MODE_JOURNAL };

	(void)state;
	for (unsigned from = 0; from < 3; from++) {
		for (unsigned to = 0; to < 3; to++) {
			for (uint32_t ios = 1; ios < 16; ios++) {
				struct sim_lun *l = died();

				l->options.mode = mode[from];
				sim_vanish_after(l, ios);
				if (sim_lun_open(l) == 0)
					ti_lun_abandon(l->lun);
				l->lun = NULL;
				sim_power_cut(l->sim);
				sim_vanish_after(l, SIM_FOR_EVER);
				l->options.mode = mode[to];
				open_it(l);
				sim_recalculate_and_close(l);
				assert_true(sim_matches(l, 70));
				assert_true(sim_all_match(l));
				sim_lun_free(l);
			}
		}
	}
}

static void dirty_pair_opened_in_another_mode_recalculates_only_the_dirty(void **state)
{
	static const enum ti_mode mode[] = { TI_MODE_DIRECT, TI_MODE_JOURNAL };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sim_lun *l = died();
		struct ti_journal_summary s;

		l->options.mode = mode[i];
		sim_put_block(l, 20, 8);
		open_it(l);
		/* The medium can only say "all of it". */
		assert_int_equal(sim_superblock(l).flags, TI_SB_RECALCULATING);
		assert_int_equal(sim_superblock(l).recalc_sector, 0);
		assert_int_equal(ti_journal_scan(sim_as_queue(l->sim), &l->geo, &s, &l->error), 0);
		assert_int_equal(s.state, TI_JOURNAL_EMPTY);
		sim_recalculate(l);
		mismatch_at(l, 20);
		sim_reads(l, 70, 1, 4);
		sim_recalculate_and_close(l);
		assert_true(sim_matches(l, 70));
		assert_false(sim_matches(l, 20));
		sim_lun_free(l);
	}
}

static void clean_close_in_mode_bitmap_keeps_bits_that_are_still_needed(void **state)
{
	struct sim_lun *l = died();

	(void)state;
	sim_put_block(l, 4000, 8);
	l->options.recalculate_rate = 1; /* as good as never */
	open_it(l);
	assert_int_equal(sim_lun_close(l), 0);
	assert_true(sim_superblock(l).flags & TI_SB_DIRTY_BITMAP);
	assert_int_equal(sim_bits(l), 1);
	l->options.recalculate_rate = 0;
	open_it(l);
	sim_recalculate_and_close(l);
	assert_true(sim_matches(l, 70));
	assert_false(sim_matches(l, 4000));
	assert_false(sim_superblock(l).flags & TI_SB_DIRTY_BITMAP);
	sim_lun_free(l);
}

static void close_in_mode_direct_says_how_far_it_is(void **state)
{
	struct sim_lun *l = unfinished(0, TI_MODE_DIRECT);
	uint64_t at;

	(void)state;
	l->options.max_part_bytes = 4096;
	l->options.recalculate_rate = 1 << 20; /* it rests when the close comes */
	open_it(l);
	sim_hold(l->sim, true);
	for (sim_go(l); sim_stats(l).recalc_sector <= 500; sim_go(l))
		step(l);
	assert_int_equal(sim_lun_close(l), 0);
	at = sim_superblock(l).recalc_sector;
	assert_true(at > 500 && at < 4096);
	sim_power_cut(l->sim);
	for (uint32_t block = 0; block < at; block++)
		assert_true(sim_matches(l, block));
	open_it(l);
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

static void option_recalculate_begins_once_and_reset_always(void **state)
{
	struct sim_lun *l = unfinished(4096, TI_MODE_DIRECT); /* was finished */

	(void)state;
	l->options.recalculate = true;
	open_it(l);
	assert_false(sim_stats(l).recalculating);
	mismatch_at(l, 16);
	assert_int_equal(sim_lun_close(l), 0);
	l->options.reset_recalculate = true;
	open_it(l);
	assert_int_equal(sim_superblock(l).recalc_sector, 0);
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));

	l->sb.flags = 0;
	l->sb.recalc_sector = 0;
	sim_put_superblock(l, &l->sb);
	sim_put_block(l, 77, 5);
	l->options.reset_recalculate = false;
	open_it(l);
	assert_true(sim_superblock(l).flags & TI_SB_RECALCULATING);
	sim_recalculate_and_close(l);
	assert_true(sim_matches(l, 77));
	sim_lun_free(l);
}

static void another_size_of_bits_makes_everything_dirty(void **state)
{
	struct sim_lun *l = died();

	(void)state;
	sim_put_block(l, 4000, 8);
	l->options.sectors_per_bit = 128;
	open_it(l);
	assert_int_equal(sim_superblock(l).log2_blocks_per_bitmap_bit, 7);
	assert_int_equal(sim_bits(l), 32);
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

/* Half as many bits, all of them set: read as bits of the old size they say that half is clean. */
static void cut_while_the_size_of_bits_changes_leaves_all_dirty(void **state)
{
	(void)state;
	for (uint32_t ios = 1; ios < 16; ios++) {
		struct sim_lun *l = died();

		sim_put_bit(l, 60, true);
		sim_put_block(l, 60 * SIM_REGION + 9, 4);
		l->options.sectors_per_bit = 2 * SIM_REGION;
		sim_vanish_after(l, ios);
		if (sim_lun_open(l) == 0)
			ti_lun_abandon(l->lun);
		l->lun = NULL;
		sim_power_cut(l->sim);
		sim_vanish_after(l, SIM_FOR_EVER);
		l->options.sectors_per_bit = 0;
		open_it(l);
		sim_recalculate_and_close(l);
		assert_true(sim_all_match(l));
		sim_lun_free(l);
	}
}

/* The journal is written over the bits then: its bytes, taken for bits, call regions clean. */
static void cut_while_a_pending_recalculation_is_closed_leaves_it_pending(void **state)
{
	int closed = -1;

	(void)state;
	for (uint32_t ios = 0; closed != 0; ios++) {
		struct sim_lun *l = unfinished(0, TI_MODE_BITMAP);

		l->options.recalculate_rate = 1;
		open_it(l);
		sim_vanish_after(l, ios);
		closed = sim_lun_close(l);
		sim_power_cut(l->sim);
		sim_vanish_after(l, SIM_FOR_EVER);
		sim_forget(l);
		l->options.recalculate_rate = 0;
		open_it(l);
		sim_recalculate_and_close(l);
		assert_true(sim_all_match(l));
		sim_lun_free(l);
	}
}

static void recalculation_on_request_after_one_of_dirty_regions_is_of_everything(void **state)
{
	struct sim_lun *l = died();

	(void)state;
	l->options.mode = TI_MODE_DIRECT;
	open_it(l);
	sim_recalculate(l);
	sim_put_block(l, 3000, 8);
	mismatch_at(l, 3000);
	assert_int_equal(ask(l), 0);
	sim_recalculate(l);
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

/* While it is pending nobody looks at tags: a power cut must not take back why. */
static void superblock_that_a_killed_process_left_in_the_cache_is_flushed(void **state)
{
	static const enum ti_mode modes[] = { TI_MODE_DIRECT, TI_MODE_JOURNAL, TI_MODE_BITMAP };

	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct sim_lun *l = unfinished(1000, modes[i]);
		struct ti_superblock sb = l->sb;
		uint64_t at = l->geo.start_sector * TI_SECTOR_BYTES;
		_Alignas(TI_SB_BYTES) uint8_t page[TI_SB_BYTES];
		const uint8_t *durable;

		sb.recalc_sector = 0;
		ti_superblock_write(&sb, page);
		assert_int_equal(ti_queue_sync(sim_as_queue(l->sim), TI_IO_WRITE, TI_META, at, page,
					       sizeof(page)),
				 0);
		open_it(l);
		durable = sim_durable(l->sim, TI_META);
		if (modes[i] == TI_MODE_BITMAP)
			assert_int_equal(ti_bits_count(durable + l->geo.journal_offset, 64), 64);
		else
			assert_memory_equal(durable + at, page, sizeof(page));
		sim_lun_free(l);
	}
}

static void pending_recalculation_in_mode_bitmap_sets_the_bits(void **state)
{
	struct sim_lun *l = unfinished(1000, TI_MODE_BITMAP);

	(void)state;
	l->options.recalculate_rate = 1;
	open_it(l);
	assert_int_equal(sim_bits(l), 64 - 1000 / SIM_REGION);
	assert_false(sim_bit(l, 1000 / SIM_REGION - 1));
	assert_int_equal(sim_superblock(l).recalc_sector, 1000);
	/* At close the sector says the same, and the journal gets its place back. */
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_superblock(l).flags, TI_SB_RECALCULATING);
	sim_lun_free(l);
}

static void unreadable_block_costs_only_its_own_tag(void **state)
{
	struct sim_lun *l = unfinished(0, TI_MODE_DIRECT);

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_READ, 1600 * 512U, SIM_FOR_EVER);
	open_it(l);
	sim_recalculate(l);
	assert_int_equal(sim_stats(l).recalc_unreadable, 1);
	sim_mend(l);
	sim_recalculate_and_close(l);
	for (uint32_t block = 0; block < 4096; block++)
		assert_int_equal(sim_matches(l, block), block != 1600);
	sim_lun_free(l);
}

/*
 * A piece that sets all of a line's tags has not read the line. If its blocks cannot be read,
 * nobody may have what is in memory for tags: here a look at them, which the recalculation shares
 * its range with, and which still waits for another line when the recalculation goes on block by
 * block.
 */
static void unreadable_block_keeps_its_tag_while_others_look(void **state)
{
	struct sim_lun_options o = { .shape = { .tag_size = 64 }, .blocks = 2048 };
	struct sim_lun *l = sim_lun_make(&o);
	struct sim_req *look;

	(void)state;
	l->sb.flags |= TI_SB_RECALCULATING;
	l->sb.recalc_sector = 64; /* a line's worth */
	sim_put_superblock(l, &l->sb);
	l->options.mode = TI_MODE_DIRECT;
	sim_fail(l, TI_DATA, TI_IO_READ, 70 * 512U, SIM_FOR_EVER);
	open_it(l);
	sim_forget(l);
	sim_hold(l->sim, true);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), 1);
	assert_int_equal(sim_started(l, TI_META, TI_IO_READ), 0);
	look = sim_submit(l, sim_prepare(l, TI_REQ_EXTENT, 64, 640, 0));
	for (unsigned i = 0; i < 20; i++) {
		sim_complete_one(l->sim, TI_DATA, TI_IO_READ);
		sim_go(l);
		sim_advance(l->sim, TI_NS_PER_MS);
		ti_lun_tick(l->lun);
		sim_go(l);
	}
	assert_false(look->back);
	sim_ok(l, look);
	sim_recalculate(l);
	assert_int_equal(sim_stats(l).recalc_unreadable, 1);
	sim_mend(l);
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

static void unreadable_tags_are_tried_again(void **state)
{
	struct sim_lun *l = died();

	(void)state;
	open_it(l);
	sim_fail(l, TI_META, TI_IO_READ, l->geo.tag_offset, 3);
	sim_recalculate(l);
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

static void recalculation_rests_while_others_work(void **state)
{
	struct sim_lun *l = unfinished(0, TI_MODE_DIRECT);
	struct sim_req *r = NULL;
	unsigned busy, idle;

	(void)state;
	l->options.max_part_bytes = 4096;
	open_it(l);
	sim_hold(l->sim, true);
	sim_go(l);
	for (unsigned i = 0; i < 200; i++) {
		if (r == NULL || r->back)
			r = sim_read(l, 4000, 1);
		sim_go(l);
		step(l);
		sim_go(l);
	}
	busy = (unsigned)sim_stats(l).recalculated_sectors;
	while (!r->back) {
		step(l);
		sim_go(l);
	}
	sim_go(l);
	for (unsigned i = 0; i < 200; i++) {
		step(l);
		sim_go(l);
	}
	idle = (unsigned)sim_stats(l).recalculated_sectors - busy;
	print_message("%u sectors while others read, %u without\n", busy, idle);
	assert_true(busy > 0);
	assert_true(2 * busy < idle);
	sim_lun_free(l);
}

static void rate_is_kept(void **state)
{
	struct sim_lun *l = unfinished(0, TI_MODE_DIRECT);
	uint64_t from = ti_clock_now(sim_as_clock(l->sim)), took;

	(void)state;
	l->options.recalculate_rate = 1 << 20;
	open_it(l);
	sim_recalculate(l);
	took = ti_clock_now(sim_as_clock(l->sim)) - from;
	/* 2 MiB; after the last piece nobody waits. */
	assert_true(took >= 1700 * TI_NS_PER_MS);
	sim_lun_free(l);
}

/* And the rest that the old one has made long ends. */
static void rate_can_be_changed_while_it_runs(void **state)
{
	struct sim_lun *l = unfinished(0, TI_MODE_DIRECT);
	uint64_t from = ti_clock_now(sim_as_clock(l->sim));

	(void)state;
	l->options.recalculate_rate = 1;
	open_it(l);
	sim_go(l);
	assert_int_equal(sim_stats(l).recalc_rate, 1);
	assert_int_equal(ti_lun_recalculate_set_rate(l->lun, 1 << 30), 0);
	assert_int_equal(sim_stats(l).recalc_rate, 1 << 30);
	sim_recalculate(l);
	assert_true(ti_clock_now(sim_as_clock(l->sim)) - from < TI_NS_PER_SEC);
	assert_int_equal(sim_stats(l).recalc_rate, 0);
	assert_int_equal(ti_lun_recalculate_set_rate(l->lun, 0), -EALREADY);
	sim_lun_free(l);
}

/* In mode journal a write-out takes no range locks: it and a piece must not meet. */
static void piece_and_write_out_of_the_journal_do_not_meet(void **state)
{
	struct sim_lun *l = unfinished(0, TI_MODE_JOURNAL);

	(void)state;
	l->options.max_part_bytes = 4096;
	l->options.journal_watermark = 1;
	open_it(l);
	for (unsigned i = 0; i < 600; i++) {
		sim_write(l, (i * 37) % 4096, 1, i + 1);
		if (i % 3 == 0)
			sim_flush(l);
		sim_go(l);
		if (sim_under_way(l->sim) > 0)
			ti_lun_wait(l->lun, TI_CLOCK_NEVER);
		ti_lun_tick(l->lun);
		if (i % 64 == 0)
			sim_forget(l);
	}
	sim_finish(l);
	sim_forget(l);
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

/* It is time for it, however long they rest. */
static void next_piece(struct sim_lun *l)
{
	sim_advance(l->sim, 2 * TI_NS_PER_SEC);
	ti_lun_tick(l->lun);
	sim_go(l);
}

static void write_out_waits_for_a_piece_and_a_piece_for_the_write_out(void **state)
{
	struct sim_lun *l = unfinished(0, TI_MODE_JOURNAL);
	struct sim_req *flush;

	(void)state;
	l->options.max_part_bytes = 4096;
	l->options.journal_watermark = 1;
	l->options.recalculate_rate = 4096;
	open_it(l);
	sim_go(l); /* the first piece is done, and a long rest begins */
	sim_hold(l->sim, true);
	next_piece(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), 1);
	sim_write(l, 2000, 64, 5);
	flush = sim_flush(l);
	sim_go(l);
	for (unsigned i = 0; i < 8; i++) {
		sim_complete_one(l->sim, TI_META, TI_IO_WRITE);
		sim_complete_one(l->sim, TI_META, TI_IO_FLUSH);
		sim_complete_one(l->sim, TI_DATA, TI_IO_FLUSH);
		sim_go(l);
	}
	assert_true(flush->back);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_WRITE), 0);
	sim_let(l, TI_DATA, TI_IO_READ);
	assert_true(sim_count(l->sim, TI_DATA, TI_IO_WRITE) > 0);
	next_piece(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), 0);
	sim_finish(l);
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

static void read_only_open_reads_what_nobody_vouches_for_and_writes_nothing(void **state)
{
	static const enum ti_mode mode[] = { TI_MODE_DIRECT, TI_MODE_JOURNAL, TI_MODE_BITMAP,
					     TI_MODE_RECOVERY };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct sim_lun *l = died();

		sim_put_block(l, 20, 8);
		l->options.mode = mode[i];
		l->options.read_only = true;
		open_it(l);
		sim_reads(l, 70, 1, 4);
		if (mode[i] == TI_MODE_RECOVERY)
			sim_reads(l, 20, 1, 8);
		else
			mismatch_at(l, 20);
		sim_bad(l, sim_write(l, 0, 1, 1), -EROFS, TI_CAUSE_READ_ONLY, 0);
		sim_ok(l, sim_flush(l));
		sim_clear(l);
		assert_int_equal(sim_lun_close(l), 0);
		for (unsigned e = 0; e < l->events; e++)
			assert_int_equal(l->event[e].op, TI_IO_READ);
		sim_lun_free(l);
	}
}

static void recovery_sees_the_data_device_and_leaves_a_journal_alone(void **state)
{
	struct sim_lun *l = sim_journal_new(8, 99);

	(void)state;
	sim_ok(l, sim_write_fua(l, 10, 3, 7));
	l->options.mode = TI_MODE_RECOVERY;
	sim_lun_cut(l);
	sim_reads(l, 10, 3, 0);
	sim_ok(l, sim_verify(l, 0, 1000));
	assert_int_equal(sim_started(l, TI_META, TI_IO_READ), 0);
	assert_int_equal(sim_lun_close(l), 0);
	l->options.mode = TI_MODE_JOURNAL;
	open_it(l);
	sim_reads(l, 10, 3, 7);
	sim_lun_free(l);
}

/* ---- on request ---- */

static void request_makes_all_tags_anew(void **state)
{
	static const enum ti_mode mode[] = { TI_MODE_DIRECT, TI_MODE_JOURNAL };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);

		sim_put_block(l, 70, 9);
		sim_put_block(l, 4000, 9);
		l->options.mode = mode[i];
		open_it(l);
		mismatch_at(l, 70);
		assert_int_equal(ask(l), 0);
		assert_int_equal(ask(l), -EALREADY);
		assert_true(sim_stats(l).recalculating);
		sim_write(l, 100, 10, 5);
		sim_recalculate(l);
		sim_reads(l, 70, 1, 9);
		sim_reads(l, 4000, 1, 9);
		sim_reads(l, 100, 10, 5);
		assert_int_equal(sim_lun_close(l), 0);
		assert_int_equal(sim_superblock(l).recalc_sector, 4096);
		assert_true(sim_all_match(l));
		sim_lun_free(l);
	}
}

static void request_that_is_cut_goes_on_from_its_last_save(void **state)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);

	(void)state;
	for (uint32_t block = 0; block < 4096; block += 100)
		sim_put_block(l, block, 9);
	l->options.mode = TI_MODE_DIRECT;
	open_it(l);
	assert_int_equal(ask(l), 0);
	for (unsigned i = 0; i < 3; i++)
		tick_on(l);
	assert_int_equal(sim_lun_close(l), 0);
	assert_true(sim_superblock(l).flags & TI_SB_RECALCULATING);
	assert_true(sim_superblock(l).recalc_sector < 4096);
	open_it(l);
	assert_true(sim_stats(l).recalculating);
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

/*
 * Whoever has been told that it is granted may lose the power the next moment.  Until then no block
 * is read and every read is verified.  A second time, too, when the flag is there already and the
 * sector says "nothing".
 */
static void request_is_durable_when_it_is_granted(void **state)
{
	static const enum ti_mode mode[] = { TI_MODE_DIRECT, TI_MODE_JOURNAL };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);
		struct asked a = { .wish.done = answered, .l = l };

		l->options.mode = mode[i % 2];
		if (i >= 2) {
			open_it(l);
			assert_int_equal(ask(l), 0);
			sim_recalculate(l);
			assert_int_equal(sim_lun_close(l), 0);
		}
		sim_put_block(l, 70, 9);
		open_it(l);
		sim_ok(l, sim_write(l, 10, 2, 3));
		mismatch_at(l, 70);
		sim_forget(l);
		sim_hold(l->sim, true);
		assert_int_equal(ti_lun_recalculate(l->lun, 0, &a.wish), 0);
		assert_int_equal(ti_lun_recalculate(l->lun, 0, &a.wish), -EALREADY);
		assert_false(sim_stats(l).recalculating);
		for (unsigned steps = 0; !a.back; steps++) {
			assert_true(steps < 100);
			sim_go(l);
			for (int dev = 0; dev < TI_DEVICES && !a.back; dev++)
				for (int op = TI_IO_READ; op <= TI_IO_FLUSH && !a.back; op++)
					sim_complete_one(l->sim, (enum ti_device)dev,
							 (enum ti_io_op)op);
		}
		assert_int_equal(a.err, 0);
		assert_int_equal(a.read_before, 0);
		assert_true(a.durable.flags & TI_SB_RECALCULATING);
		assert_int_equal(a.durable.recalc_sector, 0);
		assert_true(sim_stats(l).recalculating);
		sim_power_cut(l->sim);
		ti_lun_abandon(l->lun);
		l->lun = NULL;
		sim_hold(l->sim, false);
		open_it(l);
		assert_true(sim_stats(l).recalculating);
		sim_recalculate_and_close(l);
		assert_true(sim_all_match(l));
		sim_lun_free(l);
	}
}

/* And the one who asked is told. */
static void request_that_cannot_be_made_durable_begins_nothing(void **state)
{
	static const enum ti_io_op op[] = { TI_IO_WRITE, TI_IO_FLUSH, TI_IO_FLUSH };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);
		uint64_t at = l->geo.start_sector * TI_SECTOR_BYTES;

		sim_put_block(l, 70, 9);
		l->options.mode = TI_MODE_DIRECT;
		open_it(l);
		/* Then the flush that fails is not the tags', but the superblock's own. */
		if (i == 2)
			sim_ok(l, sim_flush(l));
		sim_fail(l, TI_META, op[i], op[i] == TI_IO_WRITE ? at : 0, 1);
		assert_int_equal(ask(l), -EIO);
		assert_false(sim_stats(l).recalculating);
		mismatch_at(l, 70);
		/* The second time it goes well, unless the device has failed a flush. */
		assert_int_equal(ask(l), op[i] == TI_IO_WRITE ? 0 : -EIO);
		if (op[i] == TI_IO_WRITE) {
			sim_recalculate_and_close(l);
			assert_true(sim_all_match(l));
		}
		sim_lun_free(l);
	}
}

/* The superblock may have been lost with another's flush, though its own one has succeeded. */
static void request_is_not_granted_if_another_flush_has_failed_meanwhile(void **state)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);
	struct asked a = { .wish.done = answered, .l = l };

	(void)state;
	l->options.mode = TI_MODE_DIRECT;
	open_it(l);
	sim_ok(l, sim_flush(l));
	sim_hold(l->sim, true);
	assert_int_equal(ti_lun_recalculate(l->lun, 0, &a.wish), 0);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1); /* the superblock */
	sim_write(l, 70, 1, 1);
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_READ);
	sim_flush(l);
	sim_go(l);
	assert_true(sim_complete_at(l->sim, TI_META, TI_IO_WRITE, l->geo.tag_offset));
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_FLUSH), 2);
	sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
	assert_true(sim_complete_one(l->sim, TI_META, TI_IO_FLUSH));
	sim_go(l);
	assert_false(a.back);
	assert_true(sim_complete_one(l->sim, TI_META, TI_IO_FLUSH));
	sim_go(l);
	assert_true(a.back);
	assert_int_equal(a.err, -EIO);
	assert_false(sim_stats(l).recalculating);
	sim_finish(l);
	sim_lun_free(l);
}

/* A close that comes in between lets it become durable, or not, and tells. */
static void request_is_answered_by_a_close(void **state)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);
	struct asked a = { .wish.done = answered, .l = l };

	(void)state;
	sim_put_block(l, 70, 9);
	l->options.mode = TI_MODE_DIRECT;
	open_it(l);
	assert_int_equal(ti_lun_recalculate(l->lun, 0, &a.wish), 0);
	assert_int_equal(ti_lun_close(l->lun), 0);
	l->lun = NULL;
	assert_true(a.back);
	assert_int_equal(a.err, 0);
	assert_int_equal(sim_superblock(l).recalc_sector, 0);
	open_it(l);
	assert_true(sim_stats(l).recalculating);
	sim_recalculate_and_close(l);
	assert_true(sim_all_match(l));
	sim_lun_free(l);
}

/* A second request begins anew, and a scrub's piece is not disturbed by it. */
static void request_can_be_repeated_and_waits_for_the_scrubs_piece(void **state)
{
	struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);
	struct asked a = { .wish.done = answered, .l = l };
	struct ti_scrub_report report;

	(void)state;
	l->options.mode = TI_MODE_DIRECT;
	open_it(l);
	assert_int_equal(ask(l), 0);
	sim_recalculate(l);
	sim_put_block(l, 5, 9);
	sim_put_block(l, 600, 9);
	sim_hold(l->sim, true);
	assert_int_equal(ti_lun_scrub_start(l->lun, NULL, 0), 0);
	sim_advance(l->sim, 10);
	ti_lun_tick(l->lun);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), 1);
	assert_int_equal(ti_lun_recalculate(l->lun, 0, &a.wish), 0);
	while (!a.back) {
		sim_go(l);
		sim_complete_one(l->sim, TI_DATA, TI_IO_FLUSH);
		sim_complete_one(l->sim, TI_META, TI_IO_FLUSH);
		sim_complete_one(l->sim, TI_META, TI_IO_WRITE);
	}
	assert_int_equal(a.err, 0);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), 1);
	sim_recalculate(l);
	ti_lun_scrub_get(l->lun, &report);
	assert_int_equal(report.mended_sectors, 1);
	assert_int_equal(ti_scrub_all_bad(&report), 0);
	sim_reads(l, 5, 1, 9);
	sim_reads(l, 600, 1, 9);
	sim_lun_free(l);
}

static void request_is_refused_where_it_would_do_harm(void **state)
{
	struct sim_lun *l = sim_bitmap_new();

	(void)state;
	assert_int_equal(ask(l), -EOPNOTSUPP);
	assert_int_equal(sim_lun_close(l), 0);
	l->options.mode = TI_MODE_DIRECT;
	l->options.read_only = true;
	open_it(l);
	assert_int_equal(ask(l), -EROFS);
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dirty_region_gets_the_tags_of_what_is_there),
		cmocka_unit_test(request_makes_all_tags_anew),
		cmocka_unit_test(request_is_durable_when_it_is_granted),
		cmocka_unit_test(request_that_cannot_be_made_durable_begins_nothing),
		cmocka_unit_test(request_is_not_granted_if_another_flush_has_failed_meanwhile),
		cmocka_unit_test(request_is_answered_by_a_close),
		cmocka_unit_test(request_that_is_cut_goes_on_from_its_last_save),
		cmocka_unit_test(request_can_be_repeated_and_waits_for_the_scrubs_piece),
		cmocka_unit_test(request_is_refused_where_it_would_do_harm),
		cmocka_unit_test(clean_block_beside_a_dirty_region_is_verified_and_never_blessed),
		cmocka_unit_test(only_chunks_with_a_dirty_region_are_read),
		cmocka_unit_test(read_before_its_turn_is_answered_without_a_look_at_the_tag),
		cmocka_unit_test(write_waits_for_a_piece_and_keeps_its_tag),
		cmocka_unit_test(bit_is_cleared_only_when_its_new_tags_are_durable),
		cmocka_unit_test(bit_stays_when_its_tags_come_during_the_step),
		cmocka_unit_test(last_bit_stays_until_the_superblock_says_done),
		cmocka_unit_test(unfinished_recalculation_goes_on_in_every_mode),
		cmocka_unit_test(superblock_says_done_after_the_tags_are_durable),
		cmocka_unit_test(recalculation_survives_cuts_in_mode_bitmap),
		cmocka_unit_test(change_to_mode_direct_survives_cuts),
		cmocka_unit_test(change_to_mode_journal_survives_cuts),
		cmocka_unit_test(every_cut_of_a_change_leaves_a_pair_that_recalculates),
		cmocka_unit_test(dirty_pair_opened_in_another_mode_recalculates_only_the_dirty),
		cmocka_unit_test(clean_close_in_mode_bitmap_keeps_bits_that_are_still_needed),
		cmocka_unit_test(close_in_mode_direct_says_how_far_it_is),
		cmocka_unit_test(option_recalculate_begins_once_and_reset_always),
		cmocka_unit_test(another_size_of_bits_makes_everything_dirty),
		cmocka_unit_test(cut_while_the_size_of_bits_changes_leaves_all_dirty),
		cmocka_unit_test(cut_while_a_pending_recalculation_is_closed_leaves_it_pending),
		cmocka_unit_test(
			recalculation_on_request_after_one_of_dirty_regions_is_of_everything),
		cmocka_unit_test(superblock_that_a_killed_process_left_in_the_cache_is_flushed),
		cmocka_unit_test(pending_recalculation_in_mode_bitmap_sets_the_bits),
		cmocka_unit_test(unreadable_block_costs_only_its_own_tag),
		cmocka_unit_test(unreadable_block_keeps_its_tag_while_others_look),
		cmocka_unit_test(unreadable_tags_are_tried_again),
		cmocka_unit_test(recalculation_rests_while_others_work),
		cmocka_unit_test(rate_is_kept),
		cmocka_unit_test(rate_can_be_changed_while_it_runs),
		cmocka_unit_test(piece_and_write_out_of_the_journal_do_not_meet),
		cmocka_unit_test(write_out_waits_for_a_piece_and_a_piece_for_the_write_out),
		cmocka_unit_test(read_only_open_reads_what_nobody_vouches_for_and_writes_nothing),
		cmocka_unit_test(recovery_sees_the_data_device_and_leaves_a_journal_alone),
		cmocka_unit_test(save_waits_for_a_round_that_began_after_its_tags),
		cmocka_unit_test(device_block_with_one_dirty_region_is_recalculated_whole),
		cmocka_unit_test(save_says_no_more_than_its_flush_has_covered),
		cmocka_unit_test(block_that_the_journal_holds_is_no_mismatch),
		cmocka_unit_test(close_says_no_more_than_is_durable_and_tells_of_errors),
		cmocka_unit_test(reset_in_mode_bitmap_sets_every_bit_on_the_medium),
		cmocka_unit_test(recalculation_goes_on_with_a_whole_block_of_the_device),
	};

	return cmocka_run_group_tests_name("recalc", tests, NULL, NULL);
}
