/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Discards: what a discarded block reads as, what is durable when, and that nothing comes back.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim_bitmap.h"
#include "sim_journal.h"
#include "tag_cache.h"

/* A LUN of 4096 blocks, or of mode journal's 1000, that takes discards. */
static struct sim_lun *open_in(enum ti_mode mode)
{
	struct sim_lun *l;

	if (mode == TI_MODE_JOURNAL)
		l = sim_journal_make(4, 99);
	else
		l = sim_lun_make(&(struct sim_lun_options){
			.shape = { .sectors_per_bit = SIM_REGION }, .lun = { .mode = mode } });
	l->options.allow_discards = true;
	if (sim_lun_open(l) != 0)
		fail_msg("%s", l->error.text);
	sim_ok(l, sim_flush(l));
	sim_forget(l);
	return l;
}

static const enum ti_mode modes[] = { TI_MODE_DIRECT, TI_MODE_JOURNAL, TI_MODE_BITMAP };
#define EACH_MODE(m) (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++)

static void quiet(struct sim_lun *l)
{
	sim_hold(l->sim, false);
	for (sim_go(l); sim_under_way(l->sim) > 0; sim_go(l))
		ti_lun_wait(l->lun, TI_CLOCK_NEVER);
}

static const uint8_t *durable_meta(struct sim_lun *l)
{
	return sim_durable(l->sim, TI_META);
}

static void discarded_block_reads_as_the_device_has_left_it(void **state)
{
	(void)state;
	for
		EACH_MODE(m)
		{
			struct sim_lun *l = open_in(modes[m]);

			sim_ok(l, sim_write(l, 10, 20, 1));
			sim_ok(l, sim_discard(l, 14, 8));
			sim_reads(l, 10, 4, 1);
			sim_reads(l, 14, 8, SIM_DISCARDED);
			sim_reads(l, 22, 8, 1);
			sim_ok(l, sim_verify(l, 10, 20));
			sim_ok(l, sim_write(l, 16, 2, 2));
			sim_reads(l, 14, 2, SIM_DISCARDED);
			sim_reads(l, 16, 2, 2);
			assert_int_equal(sim_stats(l).discards, 1);
			assert_int_equal(sim_stats(l).discarded_sectors, 8);
			assert_int_equal(sim_stats(l).mismatches, 0);
			sim_lun_free(l);
		}
}

static void flushed_discard_outlives_a_power_cut(void **state)
{
	(void)state;
	for
		EACH_MODE(m)
		{
			struct sim_lun *l = open_in(modes[m]);

			sim_ok(l, sim_write(l, 10, 20, 1));
			sim_ok(l, sim_flush(l));
			sim_ok(l, sim_discard(l, 14, 8));
			sim_ok(l, sim_flush(l));
			for (uint32_t n = 14; n < 22; n++) {
				assert_true(sim_has_filler(l, durable_meta(l), n));
				assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), n,
							 SIM_DISCARDED));
			}
			sim_lun_cut(l);
			sim_reads(l, 10, 4, 1);
			sim_reads(l, 14, 8, SIM_DISCARDED);
			sim_lun_free(l);
		}
}

static void device_that_cannot_discard_is_no_failure(void **state)
{
	(void)state;
	for
		EACH_MODE(m)
		{
			struct sim_lun_options o = { .shape = { .sectors_per_bit = SIM_REGION },
						     .cannot_discard = true,
						     .lun = { .mode = modes[m],
							      .allow_discards = true } };
			struct sim_lun *l = sim_lun_new(&o);

			sim_ok(l, sim_write(l, 10, 8, 1));
			sim_ok(l, sim_flush(l));
			sim_ok(l, sim_discard(l, 10, 8));
			sim_reads(l, 10, 8, 1);
			sim_ok(l, sim_flush(l));
			/* Nobody vouches for it any more. */
			sim_lun_close(l);
			sim_put_block(l, 12, 2);
			assert_int_equal(sim_lun_open(l), 0);
			sim_reads(l, 12, 1, 2);
			sim_lun_free(l);
		}
}

static void error_of_the_device_is_reported(void **state)
{
	(void)state;
	for
		EACH_MODE(m)
		{
			struct sim_lun *l = open_in(modes[m]);

			sim_ok(l, sim_write(l, 10, 8, 1));
			sim_fail(l, TI_DATA, TI_IO_DISCARD, 12 * 512, 1);
			sim_bad(l, sim_discard(l, 10, 8), -EIO, TI_CAUSE_DATA_IO, 10);
			/* Anything, but not a mismatch. */
			sim_ok(l, sim_verify(l, 10, 8));
			assert_int_equal(sim_stats(l).discards, 0);
			sim_ok(l, sim_discard(l, 10, 8));
			sim_reads(l, 10, 8, SIM_DISCARDED);
			sim_lun_free(l);
		}
}

static void tags_that_cannot_be_read_fail_a_discard(void **state)
{
	(void)state;
	for
		EACH_MODE(m)
		{
			struct sim_lun *l = open_in(modes[m]);

			sim_fail(l, TI_META, TI_IO_READ, l->geo.tag_offset, 1);
			sim_bad(l, sim_discard(l, 1, 2), -EIO, TI_CAUSE_META_IO, 1);
			assert_int_equal(sim_started(l, TI_DATA, TI_IO_DISCARD), 0);
			sim_reads(l, 1, 2, 0);
			sim_lun_free(l);
		}
}

static void without_the_option_a_discarded_block_is_a_mismatch(void **state)
{
	(void)state;
	for
		EACH_MODE(m)
		{
			struct sim_lun *l = open_in(modes[m]);

			sim_ok(l, sim_discard(l, 10, 8));
			assert_int_equal(sim_lun_close(l), 0);
			l->options.allow_discards = false;
			assert_int_equal(sim_lun_open(l), 0);
			sim_bad(l, sim_read(l, 8, 4), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 10);
			sim_bad(l, sim_discard(l, 8, 4), -EINVAL, TI_CAUSE_INTERNAL, 8);
			assert_false(ti_lun_discards(l->lun));
			sim_lun_free(l);
		}
}

static void filler_in_a_part_of_a_tag_is_a_mismatch(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_DIRECT);

	(void)state;
	assert_int_equal(sim_lun_close(l), 0);
	memset(sim_contents(l->sim, TI_META) + l->geo.tag_offset + 10 * 4, TI_DISCARD_FILLER, 3);
	sim_settle(l->sim, TI_META);
	assert_int_equal(sim_lun_open(l), 0);
	sim_bad(l, sim_read(l, 8, 4), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 10);
	sim_lun_free(l);
}

static void recovery_and_read_only_refuse_discards(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_DIRECT);

	(void)state;
	assert_true(ti_lun_discards(l->lun));
	assert_int_equal(sim_lun_close(l), 0);
	l->options.mode = TI_MODE_RECOVERY;
	assert_int_equal(sim_lun_open(l), 0);
	assert_false(ti_lun_discards(l->lun));
	sim_bad(l, sim_discard(l, 8, 4), -EROFS, TI_CAUSE_READ_ONLY, 8);
	sim_lun_free(l);
}

static void discard_beyond_the_end_is_refused(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_DIRECT);

	(void)state;
	sim_bad(l, sim_discard(l, 4090, 7), -EINVAL, TI_CAUSE_RANGE, 4090);
	sim_ok(l, sim_discard(l, 4090, 6));
	sim_ok(l, sim_discard(l, 4096, 0));
	sim_lun_free(l);
}

/* All of the LUN: more tags than the cache holds. */
static void discard_of_everything_is_one_command_and_few_flushes(void **state)
{
	(void)state;
	for
		EACH_MODE(m)
		{
			struct sim_lun_options o = {
				.shape = { .tag_size = 200, .sectors_per_bit = SIM_REGION },
				.blocks = 20000,
				.meta_bytes = 8U << 20,
				.lun = { .mode = modes[m],
					 .allow_discards = true,
					 .cache_bytes = 1 },
			};
			struct sim_lun *l = sim_lun_new(&o);

			sim_ok(l, sim_discard(l, 0, 20000));
			assert_int_equal(sim_started(l, TI_DATA, TI_IO_DISCARD), 1);
			assert_true(sim_started(l, TI_META, TI_IO_FLUSH) <= 2);
			sim_ok(l, sim_flush(l));
			for (uint32_t n = 0; n < 20000; n++)
				assert_true(sim_has_filler(l, durable_meta(l), n));
			sim_reads(l, 19990, 10, SIM_DISCARDED);
			sim_lun_free(l);
		}
}

/* Overlapping requests wait for each other. */
static void read_waits_for_a_discard_and_a_discard_for_a_write(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_DIRECT);
	struct sim_req *discard, *read;

	(void)state;
	sim_hold(l->sim, true);
	(void)sim_write(l, 10, 8, 1);
	discard = sim_discard(l, 12, 2);
	read = sim_read(l, 12, 2);
	sim_go(l);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_DISCARD), 0);
	sim_finish(l);
	assert_true(discard->order < read->order);
	assert_true(sim_holds(l, read, SIM_DISCARDED));
	sim_lun_free(l);
}

/* --- mode bitmap --- */

static void bits_are_durable_before_the_tags_and_before_the_device_forgets(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_BITMAP);
	struct sim_req *r;

	(void)state;
	sim_hold(l->sim, true);
	r = sim_discard(l, SIM_REGION - 4, 8);
	sim_go(l);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_DISCARD), 0);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_DISCARD), 0);
	assert_int_equal(sim_started(l, TI_META, TI_IO_READ), 0);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(sim_bit_is_durable(l, 0) && sim_bit_is_durable(l, 1));
	while (sim_started(l, TI_DATA, TI_IO_DISCARD) == 0) {
		assert_false(r->back);
		sim_let(l, TI_META, TI_IO_READ);
	}
	/* The step that is to clear the bits finds the discard under way. */
	sim_clear(l);
	while (sim_complete_one(l->sim, TI_META, TI_IO_WRITE) ||
	       sim_complete_one(l->sim, TI_META, TI_IO_FLUSH) ||
	       sim_complete_one(l->sim, TI_DATA, TI_IO_FLUSH))
		sim_go(l);
	assert_true(sim_bit_is_durable(l, 0) && sim_bit_is_durable(l, 1));
	sim_ok(l, r);
	sim_lun_free(l);
}

/* --- recalculation --- */

static void discard_fails_when_its_bits_cannot_be_set(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_BITMAP);

	(void)state;
	sim_fail(l, TI_META, TI_IO_WRITE, l->geo.journal_offset, SIM_FOR_EVER);
	sim_bad(l, sim_discard(l, 10, 4), -EIO, TI_CAUSE_META_IO, 10);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_DISCARD), 0);
	sim_mend(l);
	sim_ok(l, sim_discard(l, 10, 4));
	sim_reads(l, 10, 4, SIM_DISCARDED);
	sim_lun_free(l);
}

static void discarded_blocks_of_clean_regions_are_no_mismatch_for_recalculation(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_BITMAP);

	(void)state;
	sim_ok(l, sim_discard(l, 0, SIM_REGION));
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_lun_open(l), 0);
	/* Another region of the same chunk is left dirty. */
	sim_ok(l, sim_write(l, 3 * SIM_REGION, 4, 1));
	sim_lun_cut(l);
	sim_recalculate(l);
	assert_int_equal(sim_stats(l).recalc_mismatches, 0);
	sim_reads(l, 0, SIM_REGION, SIM_DISCARDED);
	sim_ok(l, sim_flush(l));
	assert_true(sim_has_filler(l, durable_meta(l), 5));
	sim_lun_free(l);
}

/* As the kernel does it: the filler may have been left by a write whose tag the crash took. */
static void recalculated_block_is_not_discarded_any_more(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_BITMAP);

	(void)state;
	sim_ok(l, sim_discard(l, 0, 4));
	sim_ok(l, sim_flush(l));
	sim_lun_cut(l);
	sim_recalculate(l);
	sim_reads(l, 0, 4, SIM_DISCARDED);
	sim_ok(l, sim_flush(l));
	assert_true(sim_has_tag(l, durable_meta(l), 1, SIM_DISCARDED));
	sim_lun_free(l);
}

/* --- scrub --- */

static void scrub_takes_discarded_blocks_for_good(void **state)
{
	(void)state;
	for
		EACH_MODE(m)
		{
			struct sim_lun *l = open_in(modes[m]);
			struct ti_scrub_report report;

			sim_ok(l, sim_write(l, 0, 100, 1));
			sim_ok(l, sim_flush(l));
			sim_ok(l,
			       sim_discard(l, 20, 30)); /* its tags may not be on the medium yet */
			for (unsigned round = 0; round < 2; round++) {
				assert_int_equal(ti_lun_scrub_start(l->lun, NULL, 0), 0);
				do {
					ti_lun_wait(l->lun, ti_lun_deadline(l->lun));
					ti_lun_tick(l->lun);
					sim_go(l);
					ti_lun_scrub_get(l->lun, &report);
				} while (report.state == TI_SCRUB_RUNNING);
				assert_int_equal(report.state, TI_SCRUB_FINISHED);
				assert_int_equal(report.ranges, 0);
				sim_ok(l, sim_flush(l));
			}
			assert_int_equal(sim_stats(l).mismatches, 0);
			sim_lun_free(l);
		}
}

/* --- extents --- */

static void extent_is(struct sim_lun *l, uint32_t block, uint32_t count, uint32_t alike,
		      bool discarded)
{
	struct sim_req *r = sim_submit(l, sim_prepare(l, TI_REQ_EXTENT, block, count, 0));

	sim_ok(l, r);
	assert_int_equal(r->req.extent.sectors, alike);
	assert_int_equal(r->req.extent.discarded, discarded);
}

static void extents_tell_what_is_discarded(void **state)
{
	(void)state;
	for
		EACH_MODE(m)
		{
			struct sim_lun *l = open_in(modes[m]);

			sim_ok(l, sim_write(l, 0, 100, 1));
			sim_ok(l, sim_discard(l, 20, 30));
			extent_is(l, 0, 1000, 20, false);
			extent_is(l, 20, 980, 30, true);
			extent_is(l, 20, 10, 10, true);
			extent_is(l, 49, 10, 1, true);
			extent_is(l, 50, 950, 950, false);
			/* In mode journal its newest version is not in its place. */
			sim_ok(l, sim_write(l, 25, 1, 2));
			extent_is(l, 20, 980, 5, true);
			extent_is(l, 25, 980 - 5, 1, false);
			extent_is(l, 26, 974, 24, true);
			sim_lun_free(l);
		}
}

static void blocks_that_are_not_recalculated_yet_are_not_called_discarded(void **state)
{
	struct sim_lun *l = sim_lun_make(NULL);
	struct sim_req *r;

	(void)state;
	l->options.allow_discards = true;
	l->options.reset_recalculate = true;
	memset(sim_contents(l->sim, TI_META) + l->geo.tag_offset, TI_DISCARD_FILLER, 400);
	sim_settle(l->sim, TI_META);
	assert_int_equal(sim_lun_open(l), 0);
	/* Recalculation gets no block to read. */
	sim_hold(l->sim, true);
	r = sim_submit(l, sim_prepare(l, TI_REQ_EXTENT, 0, 50, 0));
	for (sim_go(l); !r->back; sim_go(l))
		assert_true(sim_complete_one(l->sim, TI_META, TI_IO_READ));
	assert_int_equal(r->req.result.err, 0);
	assert_int_equal(r->req.extent.sectors, 50);
	assert_false(r->req.extent.discarded);
	sim_lun_free(l);
}

/* Whoever looks from the LUN's beginning to its end neither waits for all writes nor stops them. */
static void look_at_the_whole_lun_waits_for_no_write_behind_its_reach(void **state)
{
	/* Of 257 blocks the tags fill a pin. */
	struct sim_lun *l = sim_lun_new(&(struct sim_lun_options){ .shape.tag_size = 255,
								   .blocks = 6000,
								   .meta_bytes = 4U << 20,
								   .lun.allow_discards = true });
	struct sim_req *w, *r;

	(void)state;
	sim_hold(l->sim, true);
	w = sim_write(l, 5000, 1, 1);
	r = sim_submit(l, sim_prepare(l, TI_REQ_EXTENT, 0, 6000, 0));
	for (sim_go(l); !r->back; sim_go(l))
		assert_true(sim_complete_one(l->sim, TI_META, TI_IO_READ));
	assert_false(w->back);
	assert_int_equal(r->req.result.err, 0);
	assert_int_equal(r->req.extent.sectors, 16 * 257);
	/* What it does look at is held. */
	w = sim_write(l, 4111, 1, 1);
	r = sim_submit(l, sim_prepare(l, TI_REQ_EXTENT, 0, 6000, 0));
	sim_go(l);
	while (sim_complete_one(l->sim, TI_META, TI_IO_READ))
		sim_go(l);
	assert_false(r->back);
	sim_finish(l);
	assert_int_equal(w->order + 1, r->order);
	sim_lun_free(l);
}

/* Blocks 0 to 19, of which 16 to 19 are half of what the data device reads at once. */
static void device_block_that_is_discarded_in_part_is_not_discarded(void **state)
{
	struct sim_lun *l =
		sim_lun_make(&(struct sim_lun_options){ .logical_block_size = { 4096, 512 } });
	struct sim_req *r;

	(void)state;
	l->options.allow_discards = true;
	memset(sim_contents(l->sim, TI_META) + l->geo.tag_offset, TI_DISCARD_FILLER, 20 * 4);
	sim_settle(l->sim, TI_META);
	assert_int_equal(sim_lun_open(l), 0);
	r = sim_submit(l, sim_prepare(l, TI_REQ_EXTENT, 0, 48, 0));
	sim_ok(l, r);
	assert_true(r->req.extent.discarded);
	assert_int_equal(r->req.extent.sectors, 16);
	r = sim_submit(l, sim_prepare(l, TI_REQ_EXTENT, 16, 32, 0));
	sim_ok(l, r);
	assert_false(r->req.extent.discarded);
	assert_int_equal(r->req.extent.sectors, 32);
	sim_lun_free(l);
}

/* --- mode journal --- */

/* Does a section on the medium name the block, whatever replay would make of it? */
static bool is_named(struct sim_lun *l, uint32_t block)
{
	for (uint32_t i = 0; i < l->geo.journal_sections; i++)
		for (uint32_t n = 0; n < l->geo.section_entries; n++)
			if (ti_journal_entry_sector(&l->geo, sim_journal_bytes(l, i), n) ==
			    (uint64_t)block * l->geo.sectors_per_block)
				return true;
	return false;
}

static void filler_is_on_the_medium_before_the_device_forgets(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_JOURNAL);
	struct sim_req *r;

	(void)state;
	sim_hold(l->sim, true);
	r = sim_discard(l, 10, 4);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_READ);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_DISCARD), 0);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(sim_has_filler(l, durable_meta(l), 10));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_DISCARD), 1);
	sim_ok(l, r);
	sim_lun_free(l);
}

/* The round under way is another discard's, and began before this one's filler was there. */
static void filler_waits_for_a_round_that_began_after_it(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_JOURNAL);
	struct sim_req *r;

	(void)state;
	sim_hold(l->sim, true);
	sim_discard(l, 10, 4);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_READ);
	sim_let(l, TI_META, TI_IO_WRITE);
	r = sim_discard(l, 2, 4);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_FLUSH);
	/* The first one's; the other's filler is on its way. */
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_DISCARD), 1);
	assert_false(sim_has_filler(l, durable_meta(l), 2));
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_DISCARD), 2);
	assert_true(sim_has_filler(l, durable_meta(l), 2));
	sim_ok(l, r);
	sim_lun_free(l);
}

static void flush_joins_no_round_that_began_before_the_device_forgot(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_DIRECT);
	struct sim_req *discard, *first, *second;

	(void)state;
	sim_hold(l->sim, true);
	discard = sim_discard(l, 10, 4);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_READ);
	first = sim_flush(l);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_DATA, TI_IO_DISCARD);
	assert_true(discard->back);
	second = sim_flush(l);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(first->back);
	assert_false(second->back);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	assert_true(second->back);
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 10, SIM_DISCARDED));
	sim_lun_free(l);
}

/* While I/O is held, all of the metadata device's, and the data device's of one kind. */
static void let_meta_and(struct sim_lun *l, enum ti_io_op op)
{
	sim_go(l);
	while (sim_complete_one(l->sim, TI_META, TI_IO_READ) ||
	       sim_complete_one(l->sim, TI_META, TI_IO_WRITE) ||
	       sim_complete_one(l->sim, TI_META, TI_IO_FLUSH) ||
	       sim_complete_one(l->sim, TI_DATA, op))
		sim_go(l);
}

/* The next discard's flush of the data device, which comes before its filler counts, is under way,
 * and would cover the one before; but it has not done so. */
static void flush_covers_a_discard_though_anothers_flush_is_under_way(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_JOURNAL);
	struct sim_req *discard, *flush;

	(void)state;
	sim_hold(l->sim, true);
	discard = sim_discard(l, 10, 4);
	let_meta_and(l, TI_IO_DISCARD);
	assert_true(discard->back);
	discard = sim_discard(l, 6, 4);
	let_meta_and(l, TI_IO_DISCARD);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
	flush = sim_flush(l);
	sim_go(l);
	assert_false(flush->back);
	/* The second one completes while the commit's flush, which does not cover it, is under way.
	 */
	assert_true(sim_complete_one(l->sim, TI_DATA, TI_IO_FLUSH));
	let_meta_and(l, TI_IO_DISCARD);
	assert_true(discard->back);
	assert_false(flush->back);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	assert_true(flush->back);
	sim_discard(l, 2, 4);
	let_meta_and(l, TI_IO_DISCARD);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
	flush = sim_flush(l);
	sim_go(l);
	assert_false(flush->back);
	sim_ok(l, flush);
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 6, SIM_DISCARDED));
	sim_lun_free(l);
}

static void filler_that_cannot_be_flushed_fails_the_discard(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_JOURNAL);

	(void)state;
	sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
	sim_bad(l, sim_discard(l, 10, 4), -EIO, TI_CAUSE_META_FLUSH, 10);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_DISCARD), 0);
	sim_lun_free(l);
}

/* Entries that are in their places, in sections that are free, and that replay would find. */
static void nothing_on_the_medium_names_a_discarded_block(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_JOURNAL);

	(void)state;
	for (uint32_t round = 1; round <= 7; round++) {
		for (uint32_t n = 0; n < 4; n++) {
			sim_ok(l, sim_write(l, 10 + 8 * n, 8, round));
			sim_ok(l, sim_flush(l));
		}
		quiet(l);
		assert_true(is_named(l, 10));
		sim_ok(l, sim_discard(l, 10 + round, 2));
		assert_false(is_named(l, 10 + round));
		assert_false(is_named(l, 11 + round));
		sim_ok(l, sim_flush(l));
		sim_lun_cut(l);
		sim_reads(l, 10, round, round);
		sim_reads(l, 10 + round, 2, SIM_DISCARDED);
		sim_reads(l, 12 + round, 28 - round, round);
	}
	sim_lun_free(l);
}

static void entries_that_are_not_committed_yet_do_not_come_back(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_JOURNAL);

	(void)state;
	sim_ok(l, sim_write(l, 10, 3, 1));
	sim_ok(l, sim_discard(l, 11, 1));
	sim_ok(l, sim_flush(l));
	assert_false(is_named(l, 11));
	sim_lun_cut(l);
	sim_reads(l, 10, 1, 1);
	sim_reads(l, 11, 1, SIM_DISCARDED);
	sim_reads(l, 12, 1, 1);
	sim_lun_free(l);
}

static void entry_that_a_replay_has_left_does_not_come_back(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_JOURNAL);

	(void)state;
	for (uint32_t n = 0; n < 4; n++)
		sim_ok(l, sim_write_fua(l, 10 + 8 * n, 8, 1));
	sim_lun_cut(l);
	/* It was replayed, and is on the medium still. */
	assert_true(is_named(l, 20));
	sim_ok(l, sim_discard(l, 20, 1));
	assert_false(is_named(l, 20));
	sim_lun_cut(l);
	sim_reads(l, 20, 1, SIM_DISCARDED);
	sim_reads(l, 10, 10, 1);
	sim_lun_free(l);
}

/* One block of the range, at either end, is in the journal, committed or not; the range has fewer
 * or more blocks than there are entries, which are looked for differently. */
static void range_is_cleared_from_its_first_block_to_its_last(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 8; way++) {
		bool committed = way & 1;
		uint32_t count = way & 2 ? 4 : 14;
		uint32_t block = way & 4 ? 10 : 10 + count - 1;
		struct sim_lun *l = open_in(TI_MODE_JOURNAL);

		if (committed) {
			sim_ok(l, sim_write_fua(l, block, 1, 1));
			sim_lun_cut(l); /* replayed: it is in its place, and on the medium still */
			assert_true(is_named(l, block));
		} else {
			sim_ok(l, sim_write(l, block, 1, 1));
		}
		sim_ok(l, sim_discard(l, 10, count));
		sim_ok(l, sim_flush(l));
		assert_false(is_named(l, block));
		sim_lun_cut(l);
		sim_reads(l, 10, count, SIM_DISCARDED);
		sim_lun_free(l);
	}
}

/* The ring begins with its last section, which has the blocks, and goes on with its first. */
static void entry_is_found_though_the_ring_begins_behind_it(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_JOURNAL);

	(void)state;
	for (uint32_t n = 0; n < 3; n++)
		sim_ok(l, sim_write_fua(l, 100 + 8 * n, 8, 1));
	sim_ok(l, sim_write(l, 10, 8, 1));
	sim_ok(l, sim_write(l, 200, 1, 1)); /* no room: the first three are written out */
	sim_ok(l, sim_discard(l, 0, 40));
	sim_ok(l, sim_flush(l));
	assert_false(is_named(l, 10));
	sim_lun_cut(l);
	sim_reads(l, 0, 40, SIM_DISCARDED);
	sim_reads(l, 100, 24, 1);
	sim_lun_free(l);
}

static void discard_of_what_the_journal_does_not_hold_writes_no_journal(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_JOURNAL);

	(void)state;
	sim_ok(l, sim_write_fua(l, 10, 8, 1));
	sim_forget(l);
	sim_ok(l, sim_discard(l, 100, 100));
	assert_int_equal(sim_started_at(l, TI_META, TI_IO_WRITE, l->geo.journal_offset), 0);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
	assert_true(is_named(l, 10));
	sim_lun_free(l);
}

static void discard_does_not_wait_for_ever_while_others_write(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_JOURNAL);
	struct sim_req *r;

	(void)state;
	for (uint32_t n = 0; n < 4; n++)
		sim_ok(l, sim_write_fua(l, 10 + 8 * n, 8, 1));
	r = sim_discard(l, 10, 32);
	for (unsigned i = 0; i < 200 && !r->back; i++)
		sim_ok(l, sim_write(l, 500 + i % 100, 5, 2));
	assert_true(r->back);
	sim_ok(l, r);
	sim_lun_free(l);
}

static void commit_that_fails_fails_the_discard_that_needs_it(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_JOURNAL);

	(void)state;
	sim_ok(l, sim_write(l, 10, 4, 1));
	sim_fail(l, TI_META, TI_IO_WRITE, l->geo.journal_offset, 1);
	sim_bad(l, sim_discard(l, 10, 4), -EIO, TI_CAUSE_META_IO, 10);
	sim_reads(l, 10, 4, 1);
	sim_ok(l, sim_discard(l, 10, 4));
	sim_reads(l, 10, 4, SIM_DISCARDED);
	sim_lun_free(l);
}

static void write_out_that_fails_fails_the_discard_that_needs_it(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_JOURNAL);

	(void)state;
	sim_ok(l, sim_write_fua(l, 10, 4, 1));
	sim_fail(l, TI_DATA, TI_IO_WRITE, 11 * 512, 1);
	sim_bad(l, sim_discard(l, 10, 4), -EIO, TI_CAUSE_DATA_IO, 10);
	sim_reads(l, 10, 4, 1);
	sim_ok(l, sim_discard(l, 10, 4));
	sim_reads(l, 10, 4, SIM_DISCARDED);
	sim_lun_free(l);
}

/* A commit that has begun without a flush of the data device covers no discard. */
static void flush_during_a_commit_covers_an_earlier_discard(void **state)
{
	struct sim_lun *l = open_in(TI_MODE_JOURNAL);
	struct sim_req *flush;

	(void)state;
	sim_ok(l, sim_discard(l, 10, 4));
	sim_ok(l, sim_write(l, 50, 4, 1));
	sim_hold(l->sim, true);
	sim_age(l); /* the commit begins by itself */
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 0);
	flush = sim_flush(l);
	sim_go(l);
	sim_ok(l, flush);
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 10, SIM_DISCARDED));
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(discarded_block_reads_as_the_device_has_left_it),
		cmocka_unit_test(flushed_discard_outlives_a_power_cut),
		cmocka_unit_test(device_that_cannot_discard_is_no_failure),
		cmocka_unit_test(error_of_the_device_is_reported),
		cmocka_unit_test(tags_that_cannot_be_read_fail_a_discard),
		cmocka_unit_test(without_the_option_a_discarded_block_is_a_mismatch),
		cmocka_unit_test(filler_in_a_part_of_a_tag_is_a_mismatch),
		cmocka_unit_test(recovery_and_read_only_refuse_discards),
		cmocka_unit_test(discard_beyond_the_end_is_refused),
		cmocka_unit_test(discard_of_everything_is_one_command_and_few_flushes),
		cmocka_unit_test(read_waits_for_a_discard_and_a_discard_for_a_write),
		cmocka_unit_test(bits_are_durable_before_the_tags_and_before_the_device_forgets),
		cmocka_unit_test(
			discarded_blocks_of_clean_regions_are_no_mismatch_for_recalculation),
		cmocka_unit_test(recalculated_block_is_not_discarded_any_more),
		cmocka_unit_test(scrub_takes_discarded_blocks_for_good),
		cmocka_unit_test(look_at_the_whole_lun_waits_for_no_write_behind_its_reach),
		cmocka_unit_test(extents_tell_what_is_discarded),
		cmocka_unit_test(blocks_that_are_not_recalculated_yet_are_not_called_discarded),
		cmocka_unit_test(filler_is_on_the_medium_before_the_device_forgets),
		cmocka_unit_test(filler_that_cannot_be_flushed_fails_the_discard),
		cmocka_unit_test(nothing_on_the_medium_names_a_discarded_block),
		cmocka_unit_test(entries_that_are_not_committed_yet_do_not_come_back),
		cmocka_unit_test(entry_that_a_replay_has_left_does_not_come_back),
		cmocka_unit_test(discard_of_what_the_journal_does_not_hold_writes_no_journal),
		cmocka_unit_test(discard_does_not_wait_for_ever_while_others_write),
		cmocka_unit_test(commit_that_fails_fails_the_discard_that_needs_it),
		cmocka_unit_test(write_out_that_fails_fails_the_discard_that_needs_it),
		cmocka_unit_test(flush_during_a_commit_covers_an_earlier_discard),
		cmocka_unit_test(filler_waits_for_a_round_that_began_after_it),
		cmocka_unit_test(flush_joins_no_round_that_began_before_the_device_forgot),
		cmocka_unit_test(flush_covers_a_discard_though_anothers_flush_is_under_way),
		cmocka_unit_test(range_is_cleared_from_its_first_block_to_its_last),
		cmocka_unit_test(entry_is_found_though_the_ring_begins_behind_it),
		cmocka_unit_test(discard_fails_when_its_bits_cannot_be_set),
		cmocka_unit_test(device_block_that_is_discarded_in_part_is_not_discarded),
	};

	return cmocka_run_group_tests_name("discard", tests, NULL, NULL);
}
