/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A flush that fails while a LUN serves, or is closed or opened.  Somebody is told, and opens it
 * again: what that open reads, the device may have in its cache only, and what it should have
 * flushed is never certain again.  What is built upon it must last all the same: superblock,
 * journal and bitmap of the metadata device, and tags that are made of what the data device has.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim_bitmap.h"
#include "sim_journal.h"

#define SEEDS 12U

static const enum ti_mode modes[] = { TI_MODE_JOURNAL, TI_MODE_DIRECT, TI_MODE_BITMAP };

static char directory[] = "./ti-doubt-XXXXXX";
static char path[sizeof(directory) + 16], ring[sizeof(path) + 16];

static int make_directory(void **state)
{
	(void)state;
	if (mkdtemp(directory) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/store", directory);
	(void)snprintf(ring, sizeof(ring), "%s/store.journal", directory);
	return 0;
}

static void reboot(void)
{
	unlink(path);
	unlink(ring);
}

static int remove_directory(void **state)
{
	(void)state;
	reboot();
	return rmdir(directory);
}

static bool there_is_a_file(void)
{
	return access(path, F_OK) == 0;
}

/* Formatted, with a store; three sections, 64 blocks for each bit. */
static struct sim_lun *make(enum ti_mode mode)
{
	struct sim_lun *l = sim_lun_make(&(struct sim_lun_options){
		.shape = { .tag_size = 255, .journal_sectors = 48, .sectors_per_bit = SIM_REGION },
		.blocks = 1000,
		.lun = { .mode = mode,
			 .queue_depth = 4,
			 .bounce_buffers = 1,
			 .max_part_bytes = 32U << 10,
			 .bitmap_flush_interval_ms = 100 },
	});

	assert_int_equal(l->geo.journal_sections, 3);
	reboot();
	l->options.store_path = path;
	return l;
}

static void opens(struct sim_lun *l)
{
	sim_forget(l);
	if (sim_lun_open(l) != 0)
		fail_msg("%s", l->error.text);
}

/* A ring of one commit: emptied in one step. */
static void fill_the_journal(struct sim_lun *l)
{
	for (uint32_t i = 0; i < 3; i++) {
		sim_journal_seq(l, i, 1);
		sim_journal_entry(l, i, 0, 40 + i, i + 1);
	}
}

static void holds_it(struct sim_lun *l)
{
	for (uint32_t i = 0; i < 3; i++)
		sim_reads(l, 40 + i, 1, i + 1);
}

/* The same, and behind it a torn commit, because of which the open empties the journal. */
static void fill_the_journal_and_tear_it(struct sim_lun *l)
{
	const struct ti_journal_ids ids = ti_journal_plain_ids();

	sim_journal_seq(l, 0, 2);
	sim_journal_entry(l, 0, 0, 600, 1);
	ti_journal_set_id(sim_journal_bytes(l, 0), 9, ti_journal_commit_id(&ids, 0, 9, 1));
	for (uint32_t i = 0; i < 3; i++) {
		sim_journal_seq(l, i / 2 + 1, 1);
		sim_journal_entry(l, i / 2 + 1, i % 2, 40 + i, i + 1);
	}
	sim_settle(l->sim, TI_META);
}

/*
 * The open builds on what it has read: @version is written to a block, and flushed.  Then the power
 * goes, and a plain open must find all of it.
 */
static void build_and_cut(struct sim_lun *l, enum ti_mode mode, uint32_t version, uint64_t seed)
{
	l->options.mode = mode;
	opens(l);
	holds_it(l);
	sim_ok(l, sim_write(l, 200, 3, version));
	sim_ok(l, sim_write(l, 300, 1, version));
	sim_ok(l, sim_flush(l));
	/* Another block is under way when the power goes. */
	sim_hold(l->sim, true);
	(void)sim_write(l, 300, 1, version + 1);
	sim_go(l);
	sim_hold(l->sim, false);
	for (struct sim_req *r = l->reqs; r != NULL; r = r->next)
		r->back = true; /* nobody waits any more */
	sim_reseed(l->sim, seed);
	sim_power_cut(l->sim);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	reboot();
	l->options.mode = TI_MODE_JOURNAL;
	opens(l);
	sim_recalculate(l);
	holds_it(l);
	sim_reads(l, 200, 3, version);
	assert_int_equal(sim_lun_close(l), 0);
}

static void everything_matches(struct sim_lun *l, enum ti_mode mode)
{
	/* Mode direct promises nothing for a block that was being written. */
	if (mode == TI_MODE_DIRECT)
		sim_put_both(l, 300, 1);
	assert_true(sim_all_match(l));
}

static void failed_flush_of_a_close_is_not_built_upon(void **state)
{
	unsigned failed = 0;

	(void)state;
	for (unsigned pair = 0; pair < 9 * SEEDS; pair++) {
		enum ti_mode from = modes[pair % 3], to = modes[pair / 3 % 3];

		for (uint32_t after = 0;; after++) {
			struct sim_lun *l = make(from);
			int err;

			fill_the_journal(l);
			opens(l);
			sim_ok(l, sim_write(l, 500, 1, 7));
			sim_ok(l, sim_flush(l));
			sim_fail_after(l, TI_META, TI_IO_FLUSH, 0, after);
			err = sim_lun_close(l);
			sim_mend(l);
			/* A clean close leaves no file, any other does. */
			assert_int_equal(there_is_a_file(), err != 0);
			if (err == 0) {
				sim_lun_free(l);
				break;
			}
			build_and_cut(l, to, 20, pair);
			everything_matches(l, to);
			sim_lun_free(l);
			failed++;
		}
	}
	print_message("%u closes failed\n", failed);
	assert_true(failed > 9 * SEEDS);
}

static void failed_flush_of_an_open_is_not_built_upon(void **state)
{
	unsigned failed = 0;

	(void)state;
	for (unsigned pair = 0; pair < 9 * SEEDS; pair++) {
		enum ti_mode from = modes[pair % 3], to = modes[pair / 3 % 3];

		for (uint32_t after = 0;; after++) {
			struct sim_lun *l = make(from);
			int err;

			if (pair % 2)
				fill_the_journal_and_tear_it(l);
			else
				fill_the_journal(l);
			sim_fail_after(l, TI_META, TI_IO_FLUSH, 0, after);
			err = sim_lun_open(l);
			sim_mend(l);
			if (err == 0) {
				sim_lun_free(l);
				break;
			}
			if (!there_is_a_file())
				fail_msg("from %d, flush %u: %s", (int)from, after, l->error.text);
			build_and_cut(l, to, 20, pair);
			everything_matches(l, to);
			sim_lun_free(l);
			failed++;
		}
	}
	print_message("%u opens failed\n", failed);
	assert_true(failed > 5 * SEEDS);
}

/* Superblock and journal, byte for byte, and flushed; once. */
static void next_open_writes_superblock_and_journal_once_more(void **state)
{
	struct sim_lun *l = make(TI_MODE_JOURNAL);
	size_t end = (size_t)l->geo.tag_offset;

	(void)state;
	fill_the_journal(l);
	opens(l);
	sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
	assert_int_equal(sim_lun_close(l), -EIO);
	opens(l);
	assert_int_equal(sim_logged(l, "were written once more"), 1);
	assert_memory_equal(sim_durable(l->sim, TI_META), sim_contents(l->sim, TI_META), end);
	assert_int_equal(sim_journal_look(l).used_entries, 0);
	assert_int_equal(sim_lun_close(l), 0);
	assert_false(there_is_a_file());
	opens(l);
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 0);
	assert_int_equal(sim_logged(l, "were written once more"), 1);
	sim_lun_free(l);
}

/* It is not forgotten by an open that fails, nor by a kill of the one that serves. */
static void doubt_lasts_until_it_is_settled(void **state)
{
	struct sim_lun *l = make(TI_MODE_JOURNAL);

	(void)state;
	fill_the_journal(l);
	opens(l);
	sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
	assert_int_equal(sim_lun_close(l), -EIO);
	sim_fail(l, TI_META, TI_IO_WRITE, 0, 1);
	assert_int_equal(sim_lun_open(l), -EIO);
	print_message("%s\n", l->error.text);
	assert_non_null(strstr(l->error.text, "sim-meta"));
	assert_true(there_is_a_file());
	sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
	assert_int_equal(sim_lun_open(l), -EIO);
	assert_true(there_is_a_file());
	/* A flush fails while it serves, and it is killed. */
	opens(l);
	sim_ok(l, sim_write(l, 1, 1, 1));
	sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_FLUSH, 0);
	sim_lun_die(l);
	assert_int_equal(sim_logged(l, "were written once more"), 2);
	holds_it(l);
	sim_reads(l, 1, 1, 1);
	sim_lun_free(l);
}

/* What the process remembered is not all: one of its own flushes fails, too, and it is told. */
static void flush_that_fails_after_an_inherited_one_is_remembered(void **state)
{
	struct sim_lun *l = make(TI_MODE_JOURNAL);

	(void)state;
	opens(l);
	sim_ok(l, sim_write(l, 1, 1, 1));
	sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_FLUSH, 0);
	sim_lun_die(l);
	assert_int_equal(sim_logged(l, "were written once more"), 1);
	sim_ok(l, sim_write(l, 2, 1, 2));
	sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
	assert_int_equal(sim_lun_close(l), -EIO);
	opens(l);
	assert_int_equal(sim_logged(l, "were written once more"), 2);
	assert_int_equal(sim_lun_close(l), 0);
	assert_false(there_is_a_file());
	sim_lun_free(l);
}

/* ---- the data device ---- */

/* Closed in mode bitmap: block 5's version 1 is durable, and the flush that should have made
 * version 2 durable has failed.  Its region is marked. */
static struct sim_lun *make_lost(void)
{
	struct sim_lun *l = make(TI_MODE_BITMAP);

	opens(l);
	sim_ok(l, sim_flush(l));
	sim_ok(l, sim_write(l, 5, 1, 1));
	sim_ok(l, sim_flush(l));
	sim_ok(l, sim_write(l, 5, 1, 2));
	sim_fail(l, TI_DATA, TI_IO_FLUSH, 0, 1);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_DATA_FLUSH, 0);
	assert_int_equal(sim_lun_close(l), -EIO);
	assert_true(there_is_a_file());
	assert_true(sim_bit(l, 0));
	sim_mend(l);
	return l;
}

/* Recalculated, and in mode bitmap the bit is gone. */
static void settle(struct sim_lun *l)
{
	sim_recalculate(l);
	for (unsigned steps = 0; steps < 5; steps++) {
		sim_clear(l);
		sim_go(l);
	}
	sim_finish(l);
}

static void cut(struct sim_lun *l, uint64_t seed)
{
	sim_reseed(l->sim, seed);
	sim_power_cut(l->sim);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	reboot();
}

/* The first flush after an open is a real one in any case.  Have it over before the first piece is
 * written back. */
static void flush_before_the_first_piece(struct sim_lun *l)
{
	struct sim_req *r;

	sim_hold(l->sim, true);
	sim_go(l);
	r = sim_flush(l);
	for (unsigned turns = 0; !r->back; turns++) {
		assert_true(turns < 20);
		sim_go(l);
		sim_complete_one(l->sim, TI_DATA, TI_IO_FLUSH);
		sim_complete_one(l->sim, TI_META, TI_IO_WRITE);
		sim_complete_one(l->sim, TI_META, TI_IO_FLUSH);
		sim_go(l);
	}
	assert_int_equal(sim_stats(l).recalculated_sectors, 0);
	sim_hold(l->sim, false);
}

static void failed_flush_of_data_is_not_built_upon(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 3ULL * SEEDS; seed++) {
		struct sim_lun *l = make_lost();

		l->options.mode = modes[seed % 3];
		opens(l);
		assert_int_equal(sim_logged(l, "when they are recalculated"), 1);
		if (seed % 2)
			flush_before_the_first_piece(l);
		sim_reads(l, 5, 1, 2);
		settle(l);
		if (modes[seed % 3] == TI_MODE_BITMAP)
			assert_int_equal(sim_bits(l), 0);
		cut(l, seed);
		assert_true(sim_all_match(l));
		opens(l);
		/* Its tag vouches for it since. */
		sim_reads(l, 5, 1, 2);
		assert_int_equal(sim_lun_close(l), 0);
		sim_lun_free(l);
	}
}

/* Its region, and nothing else; and nothing at all when there is no doubt. */
static void only_what_gets_a_tag_is_written_back(void **state)
{
	static const bool doubt[] = { true, false };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sim_lun *l = make_lost();
		uint64_t written = 0;

		if (!doubt[i])
			reboot();
		opens(l);
		settle(l);
		assert_int_equal(sim_stats(l).recalculated_sectors, SIM_REGION);
		for (unsigned k = 0; k < l->events; k++) {
			const struct sim_event *e = &l->event[k];

			if (e->dev != TI_DATA || e->op != TI_IO_WRITE || e->completed)
				continue;
			assert_true(e->offset + e->len <= SIM_REGION * 512U);
			written += e->len;
		}
		assert_int_equal(written, doubt[i] ? SIM_REGION * 512U : 0);
		/* The doubt is over. */
		assert_int_equal(sim_lun_close(l), 0);
		assert_false(there_is_a_file());
		sim_lun_free(l);
	}
}

/* Not by a close that is told nothing, nor by a kill. */
static void doubt_of_data_lasts_until_all_is_recalculated(void **state)
{
	struct sim_lun *l = make_lost();

	(void)state;
	l->options.recalculate_rate = 1;
	opens(l);
	assert_int_equal(sim_lun_close(l), 0);
	assert_true(there_is_a_file());
	opens(l);
	assert_int_equal(sim_logged(l, "when they are recalculated"), 2);
	l->options.mode = TI_MODE_DIRECT;
	sim_lun_die(l);
	assert_int_equal(sim_logged(l, "when they are recalculated"), 3);
	l->options.recalculate_rate = 0;
	sim_lun_die(l);
	settle(l);
	cut(l, 1);
	assert_true(sim_all_match(l));
	opens(l);
	sim_reads(l, 5, 1, 2);
	assert_int_equal(sim_lun_close(l), 0);
	assert_false(there_is_a_file());
	sim_lun_free(l);
}

static void block_that_cannot_be_written_back_gets_no_tag(void **state)
{
	struct sim_lun *l = make_lost();

	(void)state;
	opens(l);
	sim_fail(l, TI_DATA, TI_IO_WRITE, 5 * 512U, 3);
	sim_recalculate(l);
	/* It was tried again. */
	assert_int_equal(l->fault[0].times, 0);
	assert_int_equal(sim_stats(l).recalculated_sectors, SIM_REGION);
	assert_int_equal(sim_stats(l).recalc_unreadable, 0);
	settle(l);
	cut(l, 1);
	assert_true(sim_all_match(l));
	opens(l);
	sim_reads(l, 5, 1, 2);
	sim_lun_free(l);
}

/* The next open has nothing to recalculate, and there is nothing to remember. */
static void doubt_of_data_ends_where_nothing_is_recalculated(void **state)
{
	struct sim_lun *l = make(TI_MODE_DIRECT);

	(void)state;
	opens(l);
	sim_ok(l, sim_write(l, 5, 1, 1));
	sim_fail(l, TI_DATA, TI_IO_FLUSH, 0, 1);
	assert_int_equal(sim_lun_close(l), -EIO);
	assert_true(there_is_a_file());
	opens(l);
	sim_reads(l, 5, 1, 1);
	assert_int_equal(sim_lun_close(l), 0);
	assert_false(there_is_a_file());
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(next_open_writes_superblock_and_journal_once_more),
		cmocka_unit_test(doubt_lasts_until_it_is_settled),
		cmocka_unit_test(flush_that_fails_after_an_inherited_one_is_remembered),
		cmocka_unit_test(failed_flush_of_data_is_not_built_upon),
		cmocka_unit_test(only_what_gets_a_tag_is_written_back),
		cmocka_unit_test(doubt_of_data_lasts_until_all_is_recalculated),
		cmocka_unit_test(block_that_cannot_be_written_back_gets_no_tag),
		cmocka_unit_test(doubt_of_data_ends_where_nothing_is_recalculated),
		cmocka_unit_test(failed_flush_of_a_close_is_not_built_upon),
		cmocka_unit_test(failed_flush_of_an_open_is_not_built_upon),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
