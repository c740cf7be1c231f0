/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Tags that outlive a killed process: what was acknowledged is there after the next open, and
 * nothing in the file is believed that the block itself does not say.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim_lun.h"
#include "store_file.h"

static char directory[] = "./ti-store-XXXXXX";
static char path[sizeof(directory) + 16], other[sizeof(directory) + 16];
static char ring[sizeof(path) + 16];

static int make_directory(void **state)
{
	(void)state;
	if (mkdtemp(directory) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/store", directory);
	(void)snprintf(other, sizeof(other), "%s/other", directory);
	(void)snprintf(ring, sizeof(ring), "%s/store.journal", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path);
	unlink(other);
	unlink(ring);
	return rmdir(directory);
}

/* A LUN with a store; @options may be NULL. */
static struct sim_lun *with_store(const struct sim_lun_options *options)
{
	struct sim_lun_options o = { 0 };

	if (options != NULL)
		o = *options;
	unlink(path);
	unlink(ring);
	o.lun.store_path = path;
	return sim_lun_new(&o);
}

static bool there_is_a_file(void)
{
	return access(path, F_OK) == 0;
}

static void acknowledged_write_outlives_the_process(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 0);
	sim_lun_die(l);
	assert_int_equal(sim_logged(l, "tags rescued blocks=5 unreadable=0"), 1);
	sim_reads(l, 3, 5, 1);
	sim_reads(l, 0, 3, 0);
	sim_reads(l, 8, 100, 0);
	sim_lun_free(l);
}

static void discarded_block_outlives_the_process(void **state)
{
	struct sim_lun *l = with_store(&(struct sim_lun_options){ .lun.allow_discards = true });

	(void)state;
	sim_ok(l, sim_write(l, 0, 20, 1));
	sim_ok(l, sim_flush(l));
	sim_ok(l, sim_discard(l, 3, 5));
	sim_lun_die(l);
	sim_reads(l, 0, 3, 1);
	sim_reads(l, 3, 5, SIM_DISCARDED);
	sim_reads(l, 8, 12, 1);
	sim_ok(l, sim_flush(l));
	assert_true(sim_has_filler(l, sim_durable(l->sim, TI_META), 3));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 8, 1));
	/* Written again, and killed again: the filler on the device gives way. */
	sim_ok(l, sim_write(l, 4, 2, 2));
	sim_lun_die(l);
	sim_reads(l, 4, 2, 2);
	sim_reads(l, 3, 1, SIM_DISCARDED);
	sim_lun_free(l);
}

/* The block was discarded, and written, and a write that was under way has left something else: the
 * filler on the device would let that pass. */
static void filler_on_the_device_gives_way_to_any_tag(void **state)
{
	struct sim_lun *l = with_store(&(struct sim_lun_options){ .lun.allow_discards = true });

	(void)state;
	sim_ok(l, sim_discard(l, 3, 5));
	sim_ok(l, sim_flush(l));
	assert_true(sim_has_filler(l, sim_durable(l->sim, TI_META), 4));
	sim_ok(l, sim_write(l, 4, 2, 2));
	sim_contents(l->sim, TI_DATA)[4 * 512] ^= 1;
	sim_lun_die(l);
	sim_bad(l, sim_read(l, 4, 2), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 4);
	sim_reads(l, 5, 1, 2);
	sim_lun_free(l);
}

static void last_block_is_rescued(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 4095, 1, 1));
	sim_lun_die(l);
	sim_reads(l, 4095, 1, 1);
	sim_lun_free(l);
}

static void first_flush_of_the_successor_covers_it(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_lun_die(l);
	sim_ok(l, sim_flush(l));
	for (uint32_t block = 3; block < 8; block++) {
		assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), block, 1));
		assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), block, 1));
	}
	sim_lun_free(l);
}

static void write_that_was_under_way_matches_or_says_that_it_does_not(void **state)
{
	unsigned matching = 0, bad = 0;

	(void)state;
	for (uint32_t block = 0; block < 20; block++) {
		struct sim_lun *l = with_store(NULL);
		struct sim_req *r;

		/* The numbers drawn here decide whether the device carries the second write out. */
		for (uint32_t i = 0; i < block; i++)
			(void)sim_random(sim_queue_random(l->sim));
		sim_ok(l, sim_write(l, block, 1, 1));
		sim_hold(l->sim, true);
		sim_write(l, block, 1, 2);
		sim_go(l);
		sim_lun_die(l);
		r = sim_read(l, block, 1);
		sim_finish(l);
		if (r->req.result.err == 0) {
			assert_true(sim_holds(l, r, 1));
			matching++;
		} else {
			assert_string_equal(ti_cause_name(r->req.result.cause), "tag mismatch");
			bad++;
		}
		sim_lun_free(l);
	}
	assert_true(matching > 0 && bad > 0);
}

static void tag_whose_write_was_under_way_is_not_lost(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 0, 1000, 1));
	sim_hold(l->sim, true);
	sim_age(l);
	assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1);
	sim_lun_die(l);
	sim_reads(l, 0, 1000, 1);
	sim_lun_free(l);
}

static void tag_whose_write_failed_is_not_lost(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 0, 1000, 1));
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_IO, 0);
	sim_lun_die(l);
	sim_reads(l, 0, 1000, 1);
	sim_lun_free(l);
}

static void tags_in_two_lines_are_rescued_whole(void **state)
{
	(void)state;
	/* 4096 = 585 * 7 + 1: block 585's tag lies in two lines. */
	for (uint32_t block = 583; block < 588; block++) {
		struct sim_lun *l = with_store(
			&(struct sim_lun_options){ .shape.tag_size = 7, .blocks = 3000 });

		sim_ok(l, sim_write(l, block, 1, 1));
		sim_lun_die(l);
		sim_reads(l, block, 1, 1);
		sim_reads(l, 500, block - 500, 0);
		sim_reads(l, block + 1, 600, 0);
		sim_lun_free(l);
	}
}

/* Only one of the tag's two lines has reached the device, and only the other one is dirty. */
static void tag_of_which_one_half_is_on_the_device_is_rescued(void **state)
{
	static const uint32_t neighbour[] = { 500, 600 }; /* in the first line; in the second */

	(void)state;
	for (unsigned half = 0; half < 2; half++) {
		struct sim_lun *l = with_store(
			&(struct sim_lun_options){ .shape.tag_size = 7, .blocks = 3000 });
		uint64_t lines = l->geo.tag_offset;

		sim_reads(l, 500, 200, 0);
		sim_ok(l, sim_write(l, neighbour[half], 1, 2));
		sim_hold(l->sim, true);
		sim_age(l); /* this line's write is under way, without block 585's tag */
		sim_write(l, 585, 1, 1);
		sim_go(l);
		sim_complete_one(l->sim, TI_DATA, TI_IO_WRITE);
		sim_flush(l);
		sim_go(l);
		assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 2);
		assert_true(sim_complete_at(l->sim, TI_META, TI_IO_WRITE,
					    half == 0 ? lines + 4096 : lines));
		sim_lun_die(l);
		sim_reads(l, 585, 1, 1);
		sim_reads(l, neighbour[half], 1, 2);
		sim_reads(l, 501, 84, 0);
		sim_reads(l, 586, 14, 0);
		sim_lun_free(l);
	}
}

static void tag_that_changed_while_its_line_was_written_is_not_lost(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 1, 1));
	sim_hold(l->sim, true);
	sim_age(l);
	sim_write(l, 4, 1, 2);
	sim_go(l);
	sim_complete_one(l->sim, TI_DATA, TI_IO_WRITE);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_lun_die(l);
	sim_reads(l, 3, 1, 1);
	sim_reads(l, 4, 1, 2);
	sim_lun_free(l);
}

static void lines_that_came_and_went_are_rescued_from_their_places(void **state)
{
	struct sim_lun_options o = { .shape.tag_size = 255, .blocks = 1500 };
	struct sim_lun *l;

	(void)state;
	o.lun.cache_bytes = 1; /* 36 lines of 94 */
	l = with_store(&o);
	for (uint32_t round = 1; round < 4; round++)
		for (uint32_t i = 0; i < 50; i++)
			sim_ok(l, sim_write(l, i * 30, 29, round * 100 + i));
	sim_lun_die(l);
	for (uint32_t i = 0; i < 50; i++) {
		sim_reads(l, i * 30, 29, 300 + i);
		sim_reads(l, i * 30 + 29, 1, 0);
	}
	sim_lun_free(l);
}

static void every_shape_is_rescued(void **state)
{
	static const struct sim_lun_options shape[] = {
		{ .shape = { .block_size = 4096, .salted = true }, .blocks = 700 },
		{ .shape = { .block_size = 1024, .tag_size = 20, .start_sector = 24 },
		  .blocks = 700 },
		{ .shape = { .block_size = 4096, .start_sector = 8 },
		  .blocks = 700,
		  .logical_block_size = { 4096, 4096 } },
		{ .shape = { .tag_size = 3 }, .blocks = 4096, .logical_block_size = { 4096, 512 } },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(shape) / sizeof(shape[0]); i++) {
		struct sim_lun *l = with_store(&shape[i]);

		sim_ok(l, sim_write(l, 8, 400, 1));
		sim_lun_die(l);
		sim_reads(l, 8, 400, 1);
		sim_reads(l, 0, 8, 0);
		sim_reads(l, 408, 200, 0);
		sim_lun_free(l);
	}
}

static void last_line_that_the_device_cuts_is_rescued(void **state)
{
	struct sim_lun_options o = { .shape.start_sector = 64, .blocks = 1024 + 300 };
	struct sim_lun *l = with_store(&o);

	(void)state;
	o.meta_bytes = l->geo.tag_offset + 4096 + 3 * 512;
	sim_lun_free(l);
	l = with_store(&o);
	sim_ok(l, sim_write(l, 1000, 324, 1));
	sim_lun_die(l);
	sim_reads(l, 1000, 324, 1);
	sim_lun_free(l);
}

static void what_is_on_the_device_already_is_not_written_again(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_ok(l, sim_flush(l));
	sim_ok(l, sim_write(l, 2000, 1, 1)); /* the file stays: this one is dirty */
	sim_kill(l->sim);
	ti_lun_abandon(l->lun);
	sim_forget(l);
	assert_int_equal(sim_lun_open(l), 0);
	assert_int_equal(sim_logged(l, "rescued blocks=1"), 1);
	for (unsigned i = 0; i < l->events; i++)
		if (l->event[i].op == TI_IO_WRITE)
			assert_true(l->event[i].offset >= l->geo.tag_offset + 4096);
	sim_lun_free(l);
}

/* The open may be on a thread that keeps all other LUNs waiting. */
static void rescue_is_left_to_the_start(void **state)
{
	(void)state;
	for (unsigned closed = 0; closed < 2; closed++) {
		struct sim_lun *l = with_store(NULL);

		sim_ok(l, sim_write(l, 3, 5, 1));
		sim_kill(l->sim);
		ti_lun_abandon(l->lun);
		l->options.defer_start = true;
		sim_forget(l);
		assert_int_equal(sim_lun_open(l), 0);
		assert_int_equal(sim_started(l, TI_DATA, TI_IO_READ), 0);
		assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 0);
		assert_int_equal(sim_logged(l, "rescued"), 0);
		/* Not started, it has nothing to do with what was left. */
		if (closed)
			assert_int_equal(ti_lun_close(l->lun), 0);
		else
			ti_lun_abandon(l->lun);
		l->lun = NULL;
		assert_true(there_is_a_file());
		l->options.defer_start = false;
		assert_int_equal(sim_lun_open(l), 0);
		assert_int_equal(sim_logged(l, "tags rescued blocks=5 unreadable=0"), 1);
		sim_reads(l, 3, 5, 1);
		assert_int_equal(sim_lun_close(l), 0);
		assert_false(there_is_a_file());
		sim_lun_free(l);
	}
}

static void neighbouring_blocks_are_read_at_once(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 700, 1)); /* 512 blocks are read at once */
	sim_ok(l, sim_write(l, 900, 5, 1));
	sim_kill(l->sim);
	ti_lun_abandon(l->lun);
	sim_forget(l);
	assert_int_equal(sim_lun_open(l), 0);
	assert_int_equal(sim_logged(l, "tags rescued blocks=705 unreadable=0"), 1);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_READ), 3);
	sim_reads(l, 3, 700, 1);
	sim_reads(l, 900, 5, 1);
	sim_lun_free(l);
}

static void rescued_tags_are_durable_before_their_file_goes(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_kill(l->sim);
	ti_lun_abandon(l->lun);
	assert_int_equal(sim_lun_open(l), 0);
	for (uint32_t block = 3; block < 8; block++)
		assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), block, 1));
	sim_lun_free(l);
}

static void clean_close_leaves_no_file(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	assert_true(there_is_a_file());
	sim_ok(l, sim_write(l, 3, 5, 1));
	assert_int_equal(sim_lun_close(l), 0);
	assert_false(there_is_a_file());
	sim_lun_free(l);
}

static void close_that_could_not_write_the_tags_leaves_them_in_the_file(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, SIM_FOR_EVER);
	assert_int_equal(sim_lun_close(l), -EIO);
	assert_true(there_is_a_file());
	sim_mend(l);
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 3, 5, 1);
	sim_lun_free(l);
}

static void metadata_error_during_the_rescue_refuses_the_open_and_keeps_the_file(void **state)
{
	static const enum ti_io_op fault[] = { TI_IO_READ, TI_IO_WRITE, TI_IO_FLUSH };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct sim_lun *l = with_store(NULL);

		sim_ok(l, sim_write(l, 3, 5, 1));
		sim_kill(l->sim);
		ti_lun_abandon(l->lun);
		l->lun = NULL;
		sim_fail(l, TI_META, fault[i], l->geo.tag_offset, 1);
		assert_int_equal(sim_lun_open(l), -EIO);
		print_message("%s\n", l->error.text);
		assert_non_null(strstr(l->error.text, "sim-meta"));
		assert_non_null(strstr(l->error.text, path));
		assert_true(there_is_a_file());
		sim_forget(l);
		assert_int_equal(sim_lun_open(l), 0);
		/* Also if the tags are there, and only their flush had failed. */
		assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH),
				 fault[i] == TI_IO_FLUSH ? 2 : 1);
		if (fault[i] != TI_IO_FLUSH)
			assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 3, 1));
		sim_reads(l, 3, 5, 1);
		sim_lun_free(l);
	}
}

/* A device that could not flush may have dropped what it had; no later flush brings it back. */
static void tags_whose_rescue_could_not_be_flushed_are_written_again(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_kill(l->sim);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
	assert_int_equal(sim_lun_open(l), -EIO);
	assert_int_equal(sim_lun_open(l), 0);
	for (uint32_t block = 3; block < 8; block++)
		assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), block, 1));
	sim_lun_free(l);
}

static void block_that_cannot_be_read_keeps_nobody_else_from_being_rescued(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_fail(l, TI_DATA, TI_IO_READ, 5 * 512, 2); /* with others, and alone */
	sim_lun_die(l);
	assert_int_equal(sim_logged(l, "tags rescued blocks=4 unreadable=1"), 1);
	sim_reads(l, 3, 2, 1);
	sim_reads(l, 6, 2, 1);
	sim_reads(l, 5, 1, 1); /* the error was a passing one */
	sim_lun_free(l);
}

/* The data device comes back later: its blocks are what they were, and so are their tags. */
static void outage_during_the_rescue_costs_no_block_its_tag(void **state)
{
	struct sim_lun *l = with_store(&(struct sim_lun_options){ .lun.allow_discards = true });

	(void)state;
	sim_ok(l, sim_write(l, 0, 20, 1));
	sim_ok(l, sim_flush(l));
	sim_ok(l, sim_write(l, 3, 5, 2));
	sim_ok(l, sim_discard(l, 12, 2));
	sim_fail_range(l, TI_DATA, TI_IO_READ, 0, 4096 * 512);
	sim_lun_die(l);
	assert_int_equal(sim_logged(l, "tags rescued blocks=0 unreadable=7"), 1);
	sim_bad(l, sim_read(l, 3, 1), -EIO, TI_CAUSE_DATA_IO, 3);
	sim_mend(l);
	sim_reads(l, 0, 3, 1);
	sim_reads(l, 3, 5, 2);
	sim_reads(l, 8, 4, 1);
	sim_reads(l, 12, 2, SIM_DISCARDED);
	sim_reads(l, 14, 6, 1);
	sim_lun_free(l);
}

/* Nobody can tell it from a block that was being written: what is in the file is not lost. */
static void wrong_digest_costs_no_block_its_tag(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_kill(l->sim);
	ti_lun_abandon(l->lun);
	l->options.hash = "crc32";
	assert_int_equal(sim_lun_open(l), 0);
	assert_int_equal(sim_logged(l, "tags rescued blocks=0 unreadable=0 unmatched=5"), 1);
	sim_bad(l, sim_read(l, 3, 1), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 3);
	assert_int_equal(sim_lun_close(l), 0);
	l->options.hash = NULL;
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 0, 3, 0);
	sim_reads(l, 3, 5, 1);
	sim_reads(l, 8, 100, 0);
	sim_lun_free(l);
}

/* The same sizes, another salt: only the file itself can tell. */
static void file_of_another_pair_is_dropped(void **state)
{
	struct sim_lun *l = with_store(&(struct sim_lun_options){ .shape.salted = true });

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_kill(l->sim);
	ti_lun_abandon(l->lun);
	l->sb.salt[0] ^= 1;
	ti_superblock_write(&l->sb, sim_contents(l->sim, TI_META));
	sim_forget(l);
	assert_int_equal(sim_lun_open(l), 0);
	assert_int_equal(sim_logged(l, "of another pair"), 1);
	assert_int_equal(sim_logged(l, "rescued"), 0);
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 0);
	sim_lun_free(l);
}

static void damaged_block_is_not_made_good(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_contents(l->sim, TI_DATA)[6 * 512 + 9] ^= 4;
	sim_lun_die(l);
	sim_reads(l, 3, 3, 1);
	sim_bad(l, sim_read(l, 0, 16), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 6);
	sim_lun_free(l);
}

static void file_that_is_older_than_the_pair_does_no_harm(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_kill(l->sim);
	ti_lun_abandon(l->lun);
	/* Somebody without the file works on the pair. */
	l->options.store_path = NULL;
	assert_int_equal(sim_lun_open(l), 0);
	sim_ok(l, sim_write(l, 3, 3, 2));
	assert_int_equal(sim_lun_close(l), 0);
	l->options.store_path = path;
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 3, 3, 2);
	sim_reads(l, 6, 2, 1);
	sim_lun_free(l);
}

/* A read that found the old tag would fail, and a flush could not cover what is in the devices'
 * caches. */
static void read_only_open_is_refused_and_leaves_the_file_alone(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_kill(l->sim);
	ti_lun_abandon(l->lun);
	l->options.read_only = true;
	sim_forget(l);
	assert_int_equal(sim_lun_open(l), -EUCLEAN);
	assert_non_null(strstr(l->error.text, path));
	for (unsigned i = 0; i < l->events; i++)
		assert_int_equal(l->event[i].op, TI_IO_READ);
	l->options.read_only = false;
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 3, 5, 1);
	assert_int_equal(sim_lun_close(l), 0);
	l->options.read_only = true;
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 3, 5, 1);
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_lun_close(l), 0);
	sim_lun_free(l);
}

static void mode_recovery_after_a_kill_reads_and_does_not_flush(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	l->options.mode = TI_MODE_RECOVERY;
	sim_lun_die(l);
	sim_forget(l);
	sim_reads(l, 3, 5, 1);
	sim_bad(l, sim_flush(l), -EUCLEAN, TI_CAUSE_META_FLUSH, 0);
	assert_int_equal(sim_lun_close(l), 0);
	for (unsigned i = 0; i < l->events; i++)
		assert_int_equal(l->event[i].op, TI_IO_READ);
	/* Nothing of it is lost for the next one. */
	l->options.mode = TI_MODE_DIRECT;
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 3, 5, 1);
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_lun_close(l), 0);
	l->options.mode = TI_MODE_RECOVERY;
	assert_int_equal(sim_lun_open(l), 0);
	sim_ok(l, sim_flush(l));
	sim_lun_free(l);
}

static void grow(struct sim_lun *l)
{
	for (enum ti_device dev = 0; dev < TI_DEVICES; dev++)
		sim_as_queue(l->sim)->dev[dev].size += 1 << 20;
}

/* A volume that is made larger while the LUN is open is no other pair. */
static void writes_outlive_the_process_though_the_devices_have_grown(void **state)
{
	static const enum ti_mode modes[] = { TI_MODE_JOURNAL, TI_MODE_DIRECT };

	(void)state;
	for (unsigned m = 0; m < 2; m++) {
		struct sim_lun *l = with_store(&(struct sim_lun_options){ .lun.mode = modes[m] });

		sim_ok(l, sim_write(l, 5, 1, 1));
		grow(l);
		sim_lun_die(l);
		sim_ok(l, sim_flush(l));
		sim_reads(l, 5, 1, 1);
		sim_power_cut(l->sim);
		ti_lun_abandon(l->lun);
		unlink(path);
		unlink(ring);
		assert_int_equal(sim_lun_open(l), 0);
		sim_reads(l, 5, 1, 1);
		sim_lun_free(l);
	}
}

static void failed_flush_is_remembered_though_the_devices_have_grown(void **state)
{
	static const enum ti_mode modes[] = { TI_MODE_JOURNAL, TI_MODE_DIRECT };

	(void)state;
	for (unsigned m = 0; m < 2; m++) {
		struct sim_lun *l = with_store(&(struct sim_lun_options){ .lun.mode = modes[m] });

		sim_ok(l, sim_write(l, 5, 1, 1));
		sim_fail(l, TI_META, TI_IO_FLUSH, SIM_EVERYWHERE, 1);
		sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_FLUSH, 0);
		sim_mend(l);
		grow(l);
		sim_lun_die(l);
		sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_FLUSH, 0);
		sim_lun_free(l);
	}
}

static void file_that_cannot_be_made_is_a_warning(void **state)
{
	struct sim_lun_options o = { 0 };
	struct sim_lun *l;

	(void)state;
	o.lun.store_path = "./no-such-directory/store";
	l = sim_lun_new(&o);
	assert_int_equal(sim_logged(l, "warn: unwritten tags will not outlive this process "
				       "path=./no-such-directory/store"),
			 1);
	sim_ok(l, sim_write(l, 3, 5, 1));
	assert_int_equal(sim_lun_close(l), 0);
	sim_lun_free(l);
}

static void file_is_for_its_owner_only(void **state)
{
	struct sim_lun *l = with_store(NULL);
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	sim_lun_free(l);
}

static void link_at_its_place_is_not_followed(void **state)
{
	struct sim_lun *l = with_store(NULL);
	struct stat st;

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_kill(l->sim);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(symlink("other", path), 0);
	assert_int_equal(sim_lun_open(l), -ELOOP);
	print_message("%s\n", l->error.text);
	assert_non_null(strstr(l->error.text, path));
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(rename(other, path), 0);
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 3, 5, 1);
	sim_lun_free(l);
}

/* Read the file, change it with @spoil, and open: nothing may happen to the pair but what is right.
 */
static void opens_with_spoilt_file(void (*spoil)(uint8_t *file, size_t *len, unsigned n),
				   unsigned times)
{
	for (unsigned n = 0; n < times; n++) {
		struct sim_lun *l = with_store(NULL);
		uint8_t *file;
		size_t len;
		FILE *f;

		sim_ok(l, sim_write(l, 3, 5, 1));
		sim_kill(l->sim);
		ti_lun_abandon(l->lun);
		f = fopen(path, "r+");
		assert_non_null(f);
		file = malloc(1 << 20);
		assert_non_null(file);
		len = fread(file, 1, 1 << 20, f);
		assert_in_range(len, 4096, (1 << 20) - 1);
		spoil(file, &len, n);
		rewind(f);
		assert_int_equal(fwrite(file, 1, len, f), len);
		assert_int_equal(ftruncate(fileno(f), (off_t)len), 0);
		fclose(f);
		free(file);
		assert_int_equal(sim_lun_open(l), 0);
		/* The five blocks were rescued or were not; nothing else has changed. */
		sim_reads(l, 0, 3, 0);
		sim_reads(l, 8, 4000, 0);
		for (uint32_t block = 3; block < 8; block++) {
			struct sim_req *r = sim_read(l, block, 1);

			sim_finish(l);
			if (r->req.result.err == 0)
				assert_true(sim_holds(l, r, 1));
		}
		sim_lun_free(l);
	}
}

static void cut_short(uint8_t *file, size_t *len, unsigned n)
{
	static const size_t left[] = { 0, 1, 15, 16, 24, 4095, 4096, 8192, 12288 };

	(void)file;
	*len = left[n];
}

static void garbage(uint8_t *file, size_t *len, unsigned n)
{
	struct sim_random r = { .state = n };

	/* The header is right in every other file. */
	for (size_t at = n % 2 != 0 ? 24 : 0; at < *len; at++)
		file[at] = (uint8_t)sim_random(&r);
}

static void wrong_numbers(uint8_t *file, size_t *len, unsigned n)
{
	static const uint64_t number[] = { 0, 1, 5, 1ULL << 40, UINT64_MAX / 4096, UINT64_MAX };

	(void)len;
	memcpy(file + 16, &number[n], sizeof(uint64_t));
}

static void wrong_places(uint8_t *file, size_t *len, unsigned n)
{
	static const uint64_t place[] = { 2, 4, 5, 1ULL << 52, 1ULL << 63, UINT64_MAX };

	(void)len;
	for (size_t line = 0; line < 4; line++)
		memcpy(file + 4096 + line * 8, &place[n], sizeof(uint64_t));
}

static void spoilt_file_does_no_harm(void **state)
{
	(void)state;
	opens_with_spoilt_file(cut_short, 9);
	opens_with_spoilt_file(garbage, 20);
	opens_with_spoilt_file(wrong_numbers, 6);
	opens_with_spoilt_file(wrong_places, 6);
}

/* --- flushes that failed --- */

static void failed_flush_is_not_forgotten_with_the_process(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 3; n++) {
		struct sim_lun_options o = { .lun.mode =
						     n == 2 ? TI_MODE_JOURNAL : TI_MODE_DIRECT };
		enum ti_device dev = n == 0 ? TI_DATA : TI_META;
		enum ti_cause cause = n == 0 ? TI_CAUSE_DATA_FLUSH : TI_CAUSE_META_FLUSH;
		struct sim_lun *l = with_store(&o);

		sim_fail(l, dev, TI_IO_FLUSH, 0, 1);
		sim_ok(l, sim_write(l, 3, 5, 1));
		sim_bad(l, sim_flush(l), -EIO, cause, 0);
		/* Twice: the successor's successor does not know better. */
		for (unsigned i = 0; i < 2; i++) {
			sim_lun_die(l);
			assert_int_equal(sim_logged(l, "before tcmu-runner was killed"), i + 1);
			sim_reads(l, 3, 5, 1);
			sim_bad(l, sim_flush(l), -EIO, cause, 0);
			sim_bad(l, sim_write_fua(l, 30, 1, 1), -EIO, cause, 30);
		}
		/* Whoever closes it is told, and the next open starts anew. */
		assert_int_equal(sim_lun_close(l), -EIO);
		assert_int_equal(sim_lun_open(l), 0);
		sim_ok(l, sim_flush(l));
		assert_int_equal(sim_lun_close(l), 0);
		assert_false(there_is_a_file());
		sim_lun_free(l);
	}
}

static void open_that_fails_does_not_forget_a_failed_flush(void **state)
{
	struct sim_lun_options o = { .lun.mode = TI_MODE_JOURNAL };
	struct sim_lun *l = with_store(&o);

	(void)state;
	sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_FLUSH, 0);
	sim_kill(l->sim);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	sim_fail(l, TI_META, TI_IO_READ, l->geo.journal_offset, 1);
	assert_int_equal(sim_lun_open(l), -EIO);
	assert_int_equal(sim_lun_open(l), 0);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_FLUSH, 0);
	sim_lun_free(l);
}

/* The process is gone; its store is not. */
static void die(struct sim_lun *l)
{
	sim_kill(l->sim);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	sim_forget(l);
}

/* What the dead process had written lies in the same cache as what a start writes, whatever mode it
 * is of: the superblock, a bitmap, an empty journal. */
static void failed_flush_of_a_start_is_remembered_in_every_mode(void **state)
{
	static const enum ti_mode mode[] = { TI_MODE_DIRECT, TI_MODE_JOURNAL, TI_MODE_BITMAP };

	(void)state;
	for (unsigned n = 0; n < 9; n++) {
		struct sim_lun_options o = { .lun.mode = mode[n / 3] };
		struct sim_lun *l = with_store(&o);

		sim_ok(l, sim_write(l, 3, 5, 1));
		die(l);
		l->options.mode = mode[n % 3];
		sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
		assert_int_equal(sim_lun_open(l), -EIO);
		assert_int_equal(sim_lun_open(l), 0);
		sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_FLUSH, 0);
		sim_reads(l, 3, 5, 1);
		sim_lun_free(l);
	}
}

/* No file may be longer than the header of a store: as if there were no room for one. */
static void no_room(bool full)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = full ? 4096 : limit.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Open where there is no room, and die: before the start, or after it and a flush. */
static void serve_without_room(struct sim_lun *l, bool start)
{
	no_room(true);
	l->options.defer_start = !start;
	assert_int_equal(sim_lun_open(l), 0);
	l->options.defer_start = false;
	no_room(false);
	assert_int_equal(sim_logged(l, "unwritten tags will not outlive this process"), 1);
}

static void failed_flush_is_remembered_where_there_is_no_room(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 6; n++) {
		struct sim_lun_options o = { .lun.mode = n % 3 == 2 ? TI_MODE_JOURNAL
								    : TI_MODE_DIRECT };
		enum ti_device dev = n % 3 == 0 ? TI_DATA : TI_META;
		enum ti_cause cause = dev == TI_DATA ? TI_CAUSE_DATA_FLUSH : TI_CAUSE_META_FLUSH;
		struct sim_lun *l = with_store(&o);

		sim_fail(l, dev, TI_IO_FLUSH, 0, 1);
		sim_ok(l, sim_write(l, 3, 5, 1));
		sim_bad(l, sim_flush(l), -EIO, cause, 0);
		die(l);
		serve_without_room(l, n >= 3);
		if (n >= 3) {
			sim_reads(l, 3, 5, 1);
			sim_bad(l, sim_flush(l), -EIO, cause, 0);
		}
		die(l);
		assert_int_equal(sim_lun_open(l), 0);
		sim_bad(l, sim_flush(l), -EIO, cause, 0);
		assert_int_equal(sim_lun_close(l), -EIO);
		assert_int_equal(sim_lun_open(l), 0);
		sim_ok(l, sim_flush(l));
		sim_reads(l, 3, 5, 1);
		assert_int_equal(sim_lun_close(l), 0);
		assert_false(there_is_a_file());
		sim_lun_free(l);
	}
}

/* The predecessor had none; its file is all there is to note it in. */
static void flush_that_fails_where_there_is_no_room_is_remembered(void **state)
{
	struct sim_lun *l = with_store(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	die(l);
	serve_without_room(l, true);
	sim_fail(l, TI_DATA, TI_IO_FLUSH, 0, 1);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_DATA_FLUSH, 0);
	die(l);
	assert_int_equal(sim_lun_open(l), 0);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_DATA_FLUSH, 0);
	sim_lun_free(l);
}

static void failed_flush_is_remembered_though_no_file_can_take_its_place(void **state)
{
	struct sim_lun *l = with_store(NULL);
	char fresh[sizeof(path) + 4];

	(void)state;
	sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_FLUSH, 0);
	die(l);
	l->options.defer_start = true;
	assert_int_equal(sim_lun_open(l), 0);
	l->options.defer_start = false;
	(void)snprintf(fresh, sizeof(fresh), "%s.new", path);
	assert_int_equal(unlink(fresh), 0);
	assert_int_equal(ti_lun_start(l->lun, &l->error), 0);
	assert_int_equal(sim_logged(l, "unwritten tags will not outlive this process"), 1);
	die(l);
	assert_int_equal(sim_lun_open(l), 0);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_FLUSH, 0);
	sim_lun_free(l);
}

/* The journal's file is one that cannot be opened, which is found out when the tags' has been kept.
 */
static void open_that_fails_where_there_is_no_room_forgets_nothing(void **state)
{
	struct sim_lun *l = with_store(&(struct sim_lun_options){ .lun.mode = TI_MODE_JOURNAL });

	(void)state;
	sim_fail(l, TI_META, TI_IO_FLUSH, 0, 1);
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_FLUSH, 0);
	die(l);
	assert_int_equal(unlink(ring), 0);
	assert_int_equal(symlink("nowhere", ring), 0);
	no_room(true);
	assert_int_equal(sim_lun_open(l), -ELOOP);
	no_room(false);
	assert_int_equal(unlink(ring), 0);
	assert_true(there_is_a_file());
	assert_int_equal(sim_lun_open(l), 0);
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_FLUSH, 0);
	sim_lun_free(l);
}

static void file_that_was_kept_goes_with_a_clean_close(void **state)
{
	struct sim_lun *l = with_store(NULL);
	struct stat st;

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	die(l);
	serve_without_room(l, true);
	/* Its room is free, and whoever is killed now has left no tag there. */
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks * 512 <= 4096);
	sim_ok(l, sim_write(l, 3, 5, 2));
	sim_ok(l, sim_flush(l));
	sim_reads(l, 3, 5, 2);
	assert_int_equal(sim_lun_close(l), 0);
	assert_false(there_is_a_file());
	sim_lun_free(l);
}

/* Before the bitmap, or the journal, is there. */
static void start_that_fails_at_the_rescue_fails_in_every_mode(void **state)
{
	static const enum ti_mode mode[] = { TI_MODE_DIRECT, TI_MODE_JOURNAL, TI_MODE_BITMAP };

	(void)state;
	for (unsigned n = 0; n < 3; n++) {
		struct sim_lun *l = with_store(NULL);

		sim_ok(l, sim_write(l, 3, 5, 1));
		die(l);
		l->options.mode = mode[n];
		sim_fail(l, TI_META, TI_IO_READ, l->geo.tag_offset, 1);
		assert_int_equal(sim_lun_open(l), -EIO);
		assert_true(there_is_a_file());
		assert_int_equal(sim_lun_open(l), 0);
		sim_reads(l, 3, 5, 1);
		sim_ok(l, sim_flush(l));
		sim_lun_free(l);
	}
}

/* --- the files' names --- */

static void files_of_a_pair_are_found_by_its_metadata_device(void **state)
{
	char meta[sizeof(directory) + 16], link[sizeof(directory) + 16], name[TI_STORE_PATH_BYTES];
	char journal[TI_STORE_PATH_BYTES + 16], mode[TI_STORE_PATH_BYTES + 16];
	struct ti_store_found found;

	(void)state;
	(void)snprintf(meta, sizeof(meta), "%s/meta", directory);
	(void)snprintf(link, sizeof(link), "%s/link", directory);
	assert_int_equal(ti_store_find(directory, meta, 0, &found), -ENOENT);
	assert_int_equal(close(open(meta, O_CREAT | O_WRONLY, 0600)), 0);
	assert_int_equal(symlink("meta", link), 0);
	assert_int_equal(ti_store_find(directory, meta, 0, &found), 0);
	assert_int_equal(found.count, 0);
	assert_int_equal(ti_store_find("./no-such-directory", meta, 0, &found), 0);
	assert_int_equal(found.count, 0);

	assert_int_equal(ti_store_name(directory, meta, 8, name, sizeof(name)), 0);
	(void)snprintf(journal, sizeof(journal), "%s.journal", name);
	assert_int_equal(close(open(journal, O_CREAT | O_WRONLY, 0600)), 0);
	assert_int_equal(ti_store_find(directory, link, 8, &found), 0);
	assert_int_equal(found.count, 1);
	assert_string_equal(found.path[0], journal);
	assert_int_equal(close(open(name, O_CREAT | O_WRONLY, 0600)), 0);
	assert_int_equal(ti_store_find(directory, link, 8, &found), 0);
	assert_int_equal(found.count, 2);
	assert_string_equal(found.path[0], name);
	assert_string_equal(found.path[1], journal);
	assert_string_equal(found.mode, "");
	(void)snprintf(mode, sizeof(mode), "%s.mode", name);
	assert_int_equal(close(open(mode, O_CREAT | O_WRONLY, 0600)), 0);
	assert_int_equal(ti_store_find(directory, link, 8, &found), 0);
	assert_int_equal(found.count, 2);
	assert_string_equal(found.mode, mode);
	unlink(mode);
	assert_int_equal(ti_store_find(directory, link, 0, &found), 0);
	assert_int_equal(found.count, 0);
	assert_int_equal(ti_store_name(directory, meta, 0, found.path[1], 10), -ENAMETOOLONG);
	unlink(name);
	unlink(journal);
	unlink(link);
	unlink(meta);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(acknowledged_write_outlives_the_process),
		cmocka_unit_test(discarded_block_outlives_the_process),
		cmocka_unit_test(first_flush_of_the_successor_covers_it),
		cmocka_unit_test(write_that_was_under_way_matches_or_says_that_it_does_not),
		cmocka_unit_test(tag_whose_write_was_under_way_is_not_lost),
		cmocka_unit_test(tag_whose_write_failed_is_not_lost),
		cmocka_unit_test(tags_in_two_lines_are_rescued_whole),
		cmocka_unit_test(tag_of_which_one_half_is_on_the_device_is_rescued),
		cmocka_unit_test(tag_that_changed_while_its_line_was_written_is_not_lost),
		cmocka_unit_test(lines_that_came_and_went_are_rescued_from_their_places),
		cmocka_unit_test(every_shape_is_rescued),
		cmocka_unit_test(last_line_that_the_device_cuts_is_rescued),
		cmocka_unit_test(what_is_on_the_device_already_is_not_written_again),
		cmocka_unit_test(rescue_is_left_to_the_start),
		cmocka_unit_test(neighbouring_blocks_are_read_at_once),
		cmocka_unit_test(rescued_tags_are_durable_before_their_file_goes),
		cmocka_unit_test(clean_close_leaves_no_file),
		cmocka_unit_test(close_that_could_not_write_the_tags_leaves_them_in_the_file),
		cmocka_unit_test(
			metadata_error_during_the_rescue_refuses_the_open_and_keeps_the_file),
		cmocka_unit_test(tags_whose_rescue_could_not_be_flushed_are_written_again),
		cmocka_unit_test(block_that_cannot_be_read_keeps_nobody_else_from_being_rescued),
		cmocka_unit_test(outage_during_the_rescue_costs_no_block_its_tag),
		cmocka_unit_test(wrong_digest_costs_no_block_its_tag),
		cmocka_unit_test(file_of_another_pair_is_dropped),
		cmocka_unit_test(damaged_block_is_not_made_good),
		cmocka_unit_test(file_that_is_older_than_the_pair_does_no_harm),
		cmocka_unit_test(read_only_open_is_refused_and_leaves_the_file_alone),
		cmocka_unit_test(mode_recovery_after_a_kill_reads_and_does_not_flush),
		cmocka_unit_test(writes_outlive_the_process_though_the_devices_have_grown),
		cmocka_unit_test(failed_flush_is_remembered_though_the_devices_have_grown),
		cmocka_unit_test(file_that_cannot_be_made_is_a_warning),
		cmocka_unit_test(file_is_for_its_owner_only),
		cmocka_unit_test(link_at_its_place_is_not_followed),
		cmocka_unit_test(spoilt_file_does_no_harm),
		cmocka_unit_test(failed_flush_is_not_forgotten_with_the_process),
		cmocka_unit_test(open_that_fails_does_not_forget_a_failed_flush),
		cmocka_unit_test(failed_flush_of_a_start_is_remembered_in_every_mode),
		cmocka_unit_test(failed_flush_is_remembered_where_there_is_no_room),
		cmocka_unit_test(flush_that_fails_where_there_is_no_room_is_remembered),
		cmocka_unit_test(failed_flush_is_remembered_though_no_file_can_take_its_place),
		cmocka_unit_test(file_that_was_kept_goes_with_a_clean_close),
		cmocka_unit_test(start_that_fails_at_the_rescue_fails_in_every_mode),
		cmocka_unit_test(files_of_a_pair_are_found_by_its_metadata_device),
		cmocka_unit_test(filler_on_the_device_gives_way_to_any_tag),
		cmocka_unit_test(last_block_is_rescued),
		cmocka_unit_test(open_that_fails_where_there_is_no_room_forgets_nothing),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
