/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The journal's ring outlives a killed process: what was acknowledged is there after the next open,
 * unless somebody else has changed the journal since, or the file is not what it should be.
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
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "journal_store.h"
#include "sim_journal.h"

static char directory[] = "./ti-store-XXXXXX";
static char path[sizeof(directory) + 16], ring[sizeof(path) + 16], other[sizeof(path) + 16];

static int make_directory(void **state)
{
	(void)state;
	if (mkdtemp(directory) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/store", directory);
	(void)snprintf(ring, sizeof(ring), "%s/store.journal", directory);
	(void)snprintf(other, sizeof(other), "%s/other", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path);
	unlink(ring);
	return rmdir(directory);
}

/* A journal of small sections in a store; open. */
static struct sim_lun *with_store(uint32_t sections, unsigned watermark)
{
	struct sim_lun *l = sim_journal_make(sections, watermark);

	unlink(path);
	unlink(ring);
	l->options.store_path = path;
	/* Many opens, each of which makes its memory present. */
	l->options.queue_depth = 4;
	l->options.bounce_buffers = 1;
	l->options.max_part_bytes = 32U << 10;
	if (sim_lun_open(l) != 0)
		fail_msg("%s", l->error.text);
	sim_ok(l, sim_flush(l));
	sim_forget(l);
	return l;
}

static bool there_is_a_file(void)
{
	return access(ring, F_OK) == 0;
}

static void kill_runner(struct sim_lun *l)
{
	for (struct sim_req *r = l->reqs; r != NULL; r = r->next)
		r->back = true; /* nobody waits any more */
	sim_kill(l->sim);
	sim_hold(l->sim, false);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	sim_forget(l);
}

static void acknowledged_write_outlives_the_process(void **state)
{
	struct sim_lun *l = with_store(4, 99);

	(void)state;
	sim_ok(l, sim_write(l, 7, 3, 1));
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 0);
	sim_lun_die(l);
	assert_int_equal(sim_logged(l, "uncommitted_blocks=3 sections=1"), 1);
	sim_reads(l, 7, 3, 1);
	sim_reads(l, 0, 7, 0);
	sim_reads(l, 10, 100, 0);
	sim_lun_free(l);
}

static void successors_flush_covers_it(void **state)
{
	struct sim_lun *l = with_store(4, 99);

	(void)state;
	sim_ok(l, sim_write(l, 7, 3, 1));
	sim_lun_die(l);
	sim_ok(l, sim_flush(l));
	unlink(ring);
	sim_lun_cut(l);
	sim_reads(l, 7, 3, 1);
	sim_lun_free(l);
}

static void takeover_writes_to_the_journal_only_and_once(void **state)
{
	struct sim_lun *l = with_store(4, 99);

	(void)state;
	sim_ok(l, sim_write(l, 7, 5, 1));
	sim_ok(l, sim_flush(l));
	sim_ok(l, sim_write(l, 10, 5, 2));
	for (unsigned i = 0; i < 5; i++) {
		kill_runner(l);
		assert_int_equal(sim_lun_open(l), 0);
		assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), i == 0);
		assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
	}
	sim_reads(l, 7, 3, 1);
	sim_reads(l, 10, 5, 2);
	sim_lun_free(l);
}

static void what_a_killed_process_has_committed_does_not_outlive_a_discard(void **state)
{
	struct sim_lun *l = with_store(4, 99);

	(void)state;
	assert_int_equal(sim_lun_close(l), 0);
	l->options.allow_discards = true;
	assert_int_equal(sim_lun_open(l), 0);
	sim_ok(l, sim_write_fua(l, 10, 8, 1));
	sim_lun_die(l);
	assert_int_equal(sim_logged(l, "is continued"), 1);
	sim_ok(l, sim_discard(l, 10, 8));
	sim_ok(l, sim_flush(l));
	unlink(path);
	unlink(ring);
	sim_lun_cut(l);
	sim_reads(l, 10, 8, SIM_DISCARDED);
	sim_lun_free(l);
}

static void newest_of_several_versions_counts(void **state)
{
	struct sim_lun *l = with_store(8, 99);

	(void)state;
	for (uint32_t version = 1; version <= 30; version++)
		sim_ok(l, sim_write(l, 5, 1, version));
	sim_lun_die(l);
	sim_reads(l, 5, 1, 30);
	sim_ok(l, sim_write(l, 5, 1, 31));
	sim_lun_die(l);
	sim_reads(l, 5, 1, 31);
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 5, 1, 31);
	sim_lun_free(l);
}

/* Committed, on its way, in memory only: and each of the commit's sectors arrives or does not. */
static void every_kind_of_section_is_taken_over(void **state)
{
	(void)state;
	for (uint32_t n = 0; n < 40; n++) {
		struct sim_lun *l = with_store(5, 99);

		for (uint32_t i = 0; i < n; i++)
			(void)sim_random(sim_queue_random(l->sim));
		sim_ok(l, sim_write(l, 0, 1 + n % 9, 1));
		sim_ok(l, sim_flush(l));
		sim_ok(l, sim_write(l, 20, 10, 2));
		sim_hold(l->sim, true);
		sim_flush(l);
		sim_go(l);
		assert_int_equal(sim_count(l->sim, TI_META, TI_IO_WRITE), 1);
		if (n % 3 == 0) {
			assert_true(sim_complete_one(l->sim, TI_META, TI_IO_WRITE));
			sim_go(l);
		}
		sim_write(l, 25, 6, 3);
		sim_go(l);
		sim_lun_die(l);
		assert_int_equal(sim_logged(l, "is continued"), 1);
		sim_reads(l, 0, 1 + n % 9, 1);
		sim_reads(l, 20, 5, 2);
		sim_reads(l, 25, 6, 3);
		sim_ok(l, sim_flush(l));
		unlink(ring);
		sim_lun_cut(l);
		sim_reads(l, 0, 1 + n % 9, 1);
		sim_reads(l, 20, 5, 2);
		sim_reads(l, 25, 6, 3);
		sim_lun_free(l);
	}
}

static void commit_that_failed_before_the_kill_is_tried_again(void **state)
{
	struct sim_lun *l = with_store(4, 99);

	(void)state;
	sim_fail(l, TI_META, TI_IO_WRITE, l->geo.journal_offset, 1);
	sim_ok(l, sim_write(l, 7, 2, 1));
	sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_IO, 0);
	sim_ok(l, sim_write(l, 8, 2, 2));
	sim_lun_die(l);
	sim_reads(l, 7, 1, 1);
	sim_reads(l, 8, 2, 2);
	sim_ok(l, sim_flush(l));
	/* The section that was tried has not changed. */
	assert_int_equal(sim_journal_section(l, 0).used, 2);
	assert_int_equal(sim_journal_section(l, 1).used, 2);
	unlink(ring);
	sim_lun_cut(l);
	sim_reads(l, 7, 1, 1);
	sim_reads(l, 8, 2, 2);
	sim_lun_free(l);
}

/* Block n holds version last[n]. */
static void all_are_there(struct sim_lun *l, const uint32_t last[1000])
{
	struct sim_req *r = sim_read(l, 0, 1000);
	uint8_t want[512];

	sim_ok(l, r);
	for (uint32_t n = 0; n < 1000; n++) {
		sim_content(l, n, last[n], want);
		assert_memory_equal((uint8_t *)r->iov[0].iov_base + n * sizeof(want), want,
				    sizeof(want));
	}
}

/* Odd numbers of blocks, so that kills find the ring at every place; now and then a flush. */
static void many_laps_with_kills_keep_everything_acknowledged(void **state)
{
	(void)state;
	for (uint32_t sections = 1; sections <= 5; sections++) {
		struct sim_lun *l = with_store(sections, 30);
		uint32_t last[1000] = { 0 };

		for (uint32_t version = 1; version <= 200; version++) {
			uint32_t first = version * 37 % 960, count = 1 + version * 7 % 23;

			sim_ok(l, sim_write(l, first, count, version));
			for (uint32_t n = first; n < first + count; n++)
				last[n] = version;
			if (version % 5 == 0)
				sim_ok(l, sim_flush(l));
			if (version % 7 == 0) {
				sim_lun_die(l);
				all_are_there(l, last);
			}
			sim_forget(l);
			l->text[0] = '\0';
		}
		sim_lun_free(l);
	}
}

static void mode_direct_brings_it_home(void **state)
{
	struct sim_lun *l = with_store(4, 99);

	(void)state;
	sim_ok(l, sim_write(l, 7, 9, 1));
	sim_ok(l, sim_flush(l));
	sim_ok(l, sim_write(l, 10, 9, 2));
	l->options.mode = TI_MODE_DIRECT;
	sim_lun_die(l);
	assert_false(there_is_a_file());
	assert_int_equal(sim_journal_look(l).used_entries, 0);
	for (uint32_t n = 7; n < 19; n++) {
		assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), n, n < 10 ? 1 : 2));
		assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), n, n < 10 ? 1 : 2));
	}
	sim_reads(l, 7, 3, 1);
	sim_reads(l, 10, 9, 2);
	sim_lun_free(l);
}

/* The way home is cut after each I/O: by a kill, and everything is there at the next try; or by the
 * power, and what was flushed is. */
static void mode_direct_that_is_cut_can_be_repeated(void **state)
{
	(void)state;
	for (uint32_t n = 0; n < 80; n++) {
		struct sim_lun *l = with_store(4, 99);
		bool power = n % 2 != 0;

		sim_ok(l, sim_write(l, 7, 9, 1));
		sim_ok(l, sim_flush(l));
		sim_ok(l, sim_write(l, 20, 9, 2));
		kill_runner(l);
		l->options.mode = TI_MODE_DIRECT;
		sim_vanish_after(l, n / 2);
		if (sim_lun_open(l) != 0)
			l->lun = NULL;
		if (power)
			sim_power_cut(l->sim);
		else
			sim_kill(l->sim);
		ti_lun_abandon(l->lun);
		l->lun = NULL;
		if (power)
			unlink(ring);
		sim_vanish_after(l, SIM_FOR_EVER);
		l->options.mode = n % 4 < 2 ? TI_MODE_DIRECT : TI_MODE_JOURNAL;
		assert_int_equal(sim_lun_open(l), 0);
		sim_reads(l, 7, 9, 1);
		if (!power)
			sim_reads(l, 20, 9, 2);
		sim_lun_free(l);
	}
}

/* The initiator may have read it from the successor. */
static void what_was_taken_over_is_durable(void **state)
{
	struct sim_lun *l = with_store(4, 99);

	(void)state;
	sim_ok(l, sim_write(l, 7, 9, 1));
	sim_ok(l, sim_flush(l));
	sim_ok(l, sim_write(l, 10, 9, 2));
	kill_runner(l);
	assert_int_equal(sim_lun_open(l), 0);
	unlink(ring);
	sim_lun_cut(l);
	sim_reads(l, 7, 3, 1);
	sim_reads(l, 10, 9, 2);
	sim_lun_free(l);
}

static void takeover_whose_commit_fails_is_repeated(void **state)
{
	static const enum ti_io_op op[] = { TI_IO_WRITE, TI_IO_FLUSH };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sim_lun *l = with_store(4, 99);

		sim_ok(l, sim_write(l, 10, 9, 2));
		kill_runner(l);
		sim_fail(l, TI_META, op[i], l->geo.journal_offset, 1);
		assert_int_equal(sim_lun_open(l), -EIO);
		print_message("%s\n", l->error.text);
		assert_true(there_is_a_file());
		assert_int_equal(sim_lun_open(l), 0);
		sim_reads(l, 10, 9, 2);
		/* What else the flush that failed should have covered may be lost: it is not
		 * forgotten. */
		if (op[i] == TI_IO_FLUSH)
			sim_bad(l, sim_flush(l), -EIO, TI_CAUSE_META_FLUSH, 0);
		else
			sim_ok(l, sim_flush(l));
		unlink(ring);
		sim_lun_cut(l);
		sim_reads(l, 10, 9, 2);
		sim_lun_free(l);
	}
}

/* --- when it is not believed --- */

static void journal_that_somebody_else_has_used_is_left_alone(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 4; n++) {
		struct sim_lun *l = with_store(4, 99);

		sim_ok(l, sim_write(l, 3, 9, 1));
		sim_ok(l, sim_flush(l));
		sim_ok(l, sim_write(l, 3, 3, 2));
		kill_runner(l);
		/* Who has no store: in either mode, closed or killed. */
		l->options.store_path = NULL;
		l->options.mode = n % 2 != 0 ? TI_MODE_JOURNAL : TI_MODE_DIRECT;
		assert_int_equal(sim_lun_open(l), 0);
		sim_ok(l, sim_write(l, 3, 2, 3));
		sim_ok(l, sim_flush(l));
		if (n < 2)
			assert_int_equal(sim_lun_close(l), 0);
		else
			kill_runner(l);
		l->options.store_path = path;
		l->options.mode = TI_MODE_JOURNAL;
		assert_int_equal(sim_lun_open(l), 0);
		assert_int_equal(sim_logged(l, "err: the journal on sim-meta is not as"), 1);
		assert_int_equal(sim_logged(l, "are dropped blocks=3"), 1);
		sim_reads(l, 3, 2, 3);
		sim_reads(l, 5, 7, 1);
		/* And it goes on like any other. */
		sim_ok(l, sim_write(l, 3, 2, 4));
		sim_lun_die(l);
		sim_reads(l, 3, 2, 4);
		sim_lun_free(l);
	}
}

/* Section 0 is committed, 1 was tried and not written, 2 is filled, 3 is clean. */
/* The journal that is emptied then looks like the fresh one that the ring went with. */
static void ring_is_not_believed_after_somebody_used_mode_bitmap(void **state)
{
	static const enum ti_mode modes[] = { TI_MODE_JOURNAL, TI_MODE_DIRECT, TI_MODE_BITMAP };

	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct sim_lun *l = with_store(4, 100);

		sim_ok(l, sim_write(l, 5, 1, 2));
		sim_kill(l->sim);
		ti_lun_abandon(l->lun);
		sim_forget(l);
		l->options.store_path = NULL;
		l->options.mode = TI_MODE_BITMAP;
		assert_int_equal(sim_lun_open(l), 0);
		sim_ok(l, sim_write(l, 5, 1, 3));
		sim_ok(l, sim_flush(l));
		sim_kill(l->sim);
		ti_lun_abandon(l->lun);
		sim_forget(l);
		l->options.store_path = path;
		l->options.mode = modes[i];
		assert_int_equal(sim_lun_open(l), 0);
		sim_reads(l, 5, 1, 3);
		assert_int_equal(sim_lun_close(l), 0);
		l->options.mode = TI_MODE_JOURNAL;
		assert_int_equal(sim_lun_open(l), 0);
		sim_reads(l, 5, 1, 3);
		sim_lun_free(l);
	}
}

static void any_change_of_the_medium_is_noticed(void **state)
{
	/* Section, sector, byte in it, and whether that is noticed. */
	static const struct {
		uint32_t section, sector, byte;
		bool noticed;
	} change[] = {
		{ 0, 0, 0, true },   { 0, 9, 100, true },  { 0, 3, 510, true },
		{ 1, 0, 504, true }, { 1, 10, 511, true }, { 1, 10, 3, false },
		{ 2, 5, 507, true }, { 2, 5, 3, false },   { 3, 0, 0, true },
		{ 3, 8, 503, true }, { 3, 15, 504, true },
	};

	(void)state;
	for (unsigned n = 0; n < sizeof(change) / sizeof(change[0]); n++) {
		struct sim_lun *l = with_store(4, 99);
		/* A commit id, or what a replay would write. */
		bool damaged =
			change[n].byte >= TI_JOURNAL_COMMIT_ID_OFFSET || change[n].section == 0;
		uint8_t *at;

		sim_ok(l, sim_write(l, 0, 8, 1));
		sim_ok(l, sim_flush(l));
		sim_ok(l, sim_write(l, 20, 8, 2));
		sim_hold(l->sim, true);
		sim_flush(l);
		sim_go(l);
		sim_write(l, 40, 8, 3);
		sim_go(l);
		/* The commit is not carried out. */
		at = malloc(4 * 16 * 512);
		assert_non_null(at);
		memcpy(at, sim_journal_bytes(l, 0), 4 * 16 * 512);
		kill_runner(l);
		memcpy(sim_journal_bytes(l, 0), at, 4 * 16 * 512);
		free(at);
		at = sim_journal_bytes(l, change[n].section) + change[n].sector * 512 +
		     change[n].byte;
		*at ^= 1;
		sim_settle(l->sim, TI_META);
		/* What is no journal is refused, and the file stays until it is one again. */
		assert_int_equal(sim_lun_open(l), damaged ? -EUCLEAN : 0);
		assert_int_equal(sim_logged(l, "is not as a killed"),
				 change[n].noticed && !damaged);
		if (damaged) {
			*at ^= 1;
			sim_settle(l->sim, TI_META);
			assert_int_equal(sim_lun_open(l), 0);
		}
		assert_int_equal(sim_logged(l, "is continued"), !change[n].noticed || damaged);
		if (!change[n].noticed || damaged) {
			sim_reads(l, 0, 8, 1);
			sim_reads(l, 20, 8, 2);
			sim_reads(l, 40, 8, 3);
		}
		sim_lun_free(l);
	}
}

/* It is not the ring that is wrong. */
static void wrong_digest_is_refused_and_keeps_the_file(void **state)
{
	static const enum ti_mode mode[] = { TI_MODE_JOURNAL, TI_MODE_DIRECT, TI_MODE_BITMAP };

	(void)state;
	for (unsigned m = 0; m < 3; m++) {
		struct sim_lun *l = with_store(4, 99);

		sim_ok(l, sim_write(l, 3, 5, 1));
		sim_ok(l, sim_flush(l));
		sim_ok(l, sim_write(l, 5, 5, 2));
		kill_runner(l);
		l->options.mode = mode[m];
		l->options.hash = "crc32";
		assert_int_equal(sim_lun_open(l), -EILSEQ);
		print_message("%s\n", l->error.text);
		assert_true(there_is_a_file());
		assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 0);
		l->options.hash = NULL;
		assert_int_equal(sim_lun_open(l), 0);
		assert_int_equal(sim_logged(l, "is continued"), 1);
		sim_reads(l, 3, 2, 1);
		sim_reads(l, 5, 5, 2);
		sim_lun_free(l);
	}
}

static void ring_of_another_pair_is_dropped(void **state)
{
	struct sim_lun *l = with_store(4, 99);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	kill_runner(l);
	/* The same sizes, another salt: as after another format. */
	l->sb.flags |= TI_SB_FIXED_HMAC;
	l->sb.salt[0] ^= 1;
	ti_superblock_write(&l->sb, sim_contents(l->sim, TI_META));
	sim_settle(l->sim, TI_META);
	assert_int_equal(sim_lun_open(l), 0);
	assert_int_equal(sim_logged(l, "uncommitted writes of another pair"), 1);
	assert_int_equal(sim_logged(l, "is continued"), 0);
	sim_lun_free(l);
}

static void metadata_error_during_the_takeover_refuses_the_open_and_keeps_the_file(void **state)
{
	struct sim_lun *l = with_store(4, 99);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	kill_runner(l);
	sim_fail(l, TI_META, TI_IO_READ, l->geo.journal_offset, 1);
	assert_int_equal(sim_lun_open(l), -EIO);
	assert_non_null(strstr(l->error.text, "sim-meta"));
	assert_true(there_is_a_file());
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 3, 5, 1);
	sim_lun_free(l);
}

static void deferred_start_that_never_comes_keeps_the_file(void **state)
{
	struct sim_lun *l = with_store(4, 99);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	kill_runner(l);
	l->options.defer_start = true;
	assert_int_equal(sim_lun_open(l), 0);
	assert_int_equal(ti_lun_close(l->lun), 0);
	assert_int_equal(sim_lun_open(l), 0);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	l->options.defer_start = false;
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 3, 5, 1);
	sim_lun_free(l);
}

static void read_only_open_is_refused_and_leaves_the_file_alone(void **state)
{
	struct sim_lun *l = with_store(4, 99);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	for (unsigned mode = 0; mode < 2; mode++) {
		kill_runner(l);
		l->options.read_only = true;
		l->options.mode = mode == 0 ? TI_MODE_DIRECT : TI_MODE_JOURNAL;
		assert_int_equal(sim_lun_open(l), -EUCLEAN);
		print_message("%s\n", l->error.text);
		for (unsigned i = 0; i < l->events; i++)
			assert_int_equal(l->event[i].op, TI_IO_READ);
		l->options.read_only = false;
		l->options.mode = TI_MODE_JOURNAL;
		assert_int_equal(sim_lun_open(l), 0);
		sim_reads(l, 3, 5, 1);
	}
	sim_lun_free(l);
}

static void clean_close_leaves_no_file(void **state)
{
	struct sim_lun *l = with_store(4, 99);

	(void)state;
	assert_true(there_is_a_file());
	sim_ok(l, sim_write(l, 3, 5, 1));
	assert_int_equal(sim_lun_close(l), 0);
	assert_false(there_is_a_file());
	assert_int_equal(sim_lun_open(l), 0);
	assert_int_equal(sim_lun_close(l), 0);
	assert_false(there_is_a_file());
	sim_lun_free(l);
}

static void close_that_could_not_commit_leaves_the_file(void **state)
{
	struct sim_lun *l = with_store(4, 99);

	(void)state;
	sim_ok(l, sim_write(l, 3, 5, 1));
	sim_fail(l, TI_META, TI_IO_WRITE, SIM_EVERYWHERE, SIM_FOR_EVER);
	assert_int_equal(sim_lun_close(l), -EIO);
	assert_true(there_is_a_file());
	sim_mend(l);
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 3, 5, 1);
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 3, 5, 1);
	sim_lun_free(l);
}

static void file_that_cannot_be_made_is_a_warning(void **state)
{
	struct sim_lun *l = sim_journal_make(4, 99);

	(void)state;
	l->options.store_path = "./no-such-directory/store";
	assert_int_equal(sim_lun_open(l), 0);
	assert_int_equal(sim_logged(l, "warn: uncommitted writes will not outlive this process "
				       "path=./no-such-directory/store.journal"),
			 1);
	sim_ok(l, sim_write(l, 3, 5, 1));
	assert_int_equal(sim_lun_close(l), 0);
	sim_lun_free(l);
}

static void file_is_for_its_owner_only_and_no_link_is_followed(void **state)
{
	struct sim_lun *l = with_store(4, 99);
	struct stat st;

	(void)state;
	assert_int_equal(stat(ring, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	sim_ok(l, sim_write(l, 3, 5, 1));
	kill_runner(l);
	assert_int_equal(rename(ring, other), 0);
	assert_int_equal(symlink("other", ring), 0);
	assert_int_equal(sim_lun_open(l), -ELOOP);
	print_message("%s\n", l->error.text);
	assert_non_null(strstr(l->error.text, ring));
	assert_int_equal(rename(other, ring), 0);
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 3, 5, 1);
	sim_lun_free(l);
}

/* --- killed in the middle of a write --- */

/*
 * A child does the write and is stopped after every instruction; whenever one has changed the file,
 * the file is what a kill at that moment leaves, and a successor is let loose on a copy of it.  The
 * child does no I/O, so the devices are as they were for both.
 */
struct victim {
	struct sim_lun *l;
	uint8_t *map, *seen; /* the file; as it was at the last look */
	size_t bytes;
	unsigned looks;
};

static void map_ring(struct victim *v)
{
	int fd = open(ring, O_RDONLY);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	v->bytes = (size_t)st.st_size;
	v->map = mmap(NULL, v->bytes, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(v->map != MAP_FAILED);
	close(fd);
	v->seen = malloc(v->bytes);
	assert_non_null(v->seen);
	memcpy(v->seen, v->map, v->bytes);
}

static void unmap_ring(struct victim *v)
{
	munmap(v->map, v->bytes);
	free(v->seen);
}

/* Blocks from @first on hold version @before, or, from the first that does not, @after; @whole:
 * all of them the same.  What @l has written before is there. */
static void successor_finds(struct victim *v, uint32_t first, uint32_t count, uint32_t before,
			    uint32_t after, bool whole)
{
	struct sim_lun *l = v->l, *next = sim_journal_make(4, 50);
	struct ti_lun_options options = l->options;
	uint32_t changed = 0;
	FILE *f = fopen(other, "w");
	char name[sizeof(other) + 16];

	assert_non_null(f);
	(void)fclose(f);
	(void)snprintf(name, sizeof(name), "%s.journal", other);
	f = fopen(name, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(v->seen, 1, v->bytes, f), v->bytes);
	(void)fclose(f);
	for (enum ti_device dev = 0; dev < TI_DEVICES; dev++) {
		memcpy(sim_contents(next->sim, dev), sim_contents(l->sim, dev),
		       sim_as_queue(l->sim)->dev[dev].size);
		sim_settle(next->sim, dev);
	}
	next->options = options;
	next->options.store_path = other;
	if (sim_lun_open(next) != 0)
		fail_msg("%s", next->error.text);
	assert_int_equal(sim_logged(next, "is continued"), 1);
	for (uint32_t n = first; n < first + count; n++) {
		struct sim_req *r = sim_read(next, n, 1);

		sim_ok(next, r);
		if (sim_holds(next, r, after))
			changed++;
		else if (!sim_holds(next, r, before))
			fail_msg("block %u is neither old nor new", n);
	}
	assert_true(!whole || changed == 0 || changed == count);
	sim_reads(next, 900, 5, 77);
	sim_reads(next, 100, 16, 55); /* of the last lap, not of the one before */
	assert_int_equal(sim_lun_close(next), 0);
	sim_lun_free(next);
	unlink(other);
	unlink(name);
	v->looks++;
}

static void rest(void *ctx, struct ti_hash_crew *crew)
{
	(void)ctx;
	(void)crew;
}

static const struct ti_hash_crew_script resting = { .chance = rest };

/* The ring has made laps, so that the section that is opened held other blocks; and there is an
 * acknowledged version that no commit has tried to write. */
static struct sim_lun *before_the_kill(bool helpers)
{
	struct sim_lun *l = with_store(4, 50);

	if (helpers) {
		l->options.crew = (struct ti_hash_crew_options){
			.helpers = 1, .piece_bytes = 512, .share_bytes = 1024, .script = &resting
		};
		assert_int_equal(sim_lun_close(l), 0);
		assert_int_equal(sim_lun_open(l), 0);
	}

	for (uint32_t lap = 0; lap < 6; lap++) {
		sim_ok(l, sim_write(l, 100, 16, 50 + lap));
		sim_ok(l, sim_flush(l));
		while (sim_under_way(l->sim) > 0)
			sim_go(l);
	}
	sim_ok(l, sim_write(l, 900, 5, 77));
	sim_ok(l, sim_write(l, 10, 2, 1));
	return l;
}

/* Overwrite blocks 10 and 11, the second of them in a new section; never returns. */
static void be_the_victim(unsigned flags, bool helpers)
{
	struct sim_lun *l = before_the_kill(helpers);
	struct sim_req *r = sim_prepare(l, TI_REQ_WRITE, 10, 2, 2);

	r->req.flags = flags;
	sim_submit(l, r);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(1);
	(void)raise(SIGSTOP);
	sim_go(l);
	_exit(r->back && r->req.result.err == 0 ? 0 : 2);
}

static void kill_at_every_instruction(unsigned flags, bool whole, bool helpers)
{
	/* Everything is the same each time: the devices are those of the child. */
	struct victim v = { .l = before_the_kill(helpers) };
	pid_t child;
	int status;

	ti_lun_abandon(v.l->lun);
	v.l->lun = NULL;
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		be_the_victim(flags, helpers);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	map_ring(&v);
	for (;;) {
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
			break;
		if (memcmp(v.seen, v.map, v.bytes) == 0)
			continue;
		memcpy(v.seen, v.map, v.bytes);
		successor_finds(&v, 10, 2, 1, 2, whole);
	}
	if (WIFSTOPPED(status)) {
		(void)kill(child, SIGKILL);
		(void)waitpid(child, &status, 0);
		fail_msg("the child was stopped");
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	print_message("%u successors\n", v.looks);
	assert_true(v.looks > 20);
	unmap_ring(&v);
	sim_lun_free(v.l);
}

static void write_killed_anywhere_is_whole_or_not_there(void **state)
{
	(void)state;
	kill_at_every_instruction(0, false, false);
}

/* All blocks are in the ring before the first tag is. */
static void shared_write_killed_anywhere_is_whole_or_not_there(void **state)
{
	(void)state;
	kill_at_every_instruction(0, false, true);
}

static void atomic_write_killed_anywhere_is_whole_or_not_there(void **state)
{
	(void)state;
	kill_at_every_instruction(TI_REQ_ATOMIC, true, false);
}

static void shared_atomic_write_killed_anywhere_is_whole_or_not_there(void **state)
{
	(void)state;
	kill_at_every_instruction(TI_REQ_ATOMIC, true, true);
}

/*
 * The data device's blocks are larger than ours, and it writes and reads whole ones: so is what a
 * successor takes over, wherever the kill was between the first of a write's blocks and the last.
 */
static void blocks_of_one_device_block_are_taken_over_together_or_not_at_all(void **state)
{
	const uint64_t unused = TI_JOURNAL_UNUSED;

	(void)state;
	for (uint32_t there = 0; there <= 8; there++) {
		struct sim_lun *l = sim_lun_make(&(struct sim_lun_options){
			.shape = { .tag_size = 255, .journal_sectors = 4 * 16 },
			.blocks = 1000,
			.logical_block_size = { 4096, 512 },
			.lun = { .mode = TI_MODE_JOURNAL, .journal_watermark = 99 } });
		int fd;

		unlink(path);
		unlink(ring);
		l->options.store_path = path;
		assert_int_equal(sim_lun_open(l), 0);
		sim_ok(l, sim_write(l, 40, 8, 1));
		sim_ok(l, sim_flush(l));
		sim_ok(l, sim_write(l, 40, 8, 2));
		kill_runner(l);
		/* Only so many entries of the second section had been published. */
		fd = open(ring, O_WRONLY);
		assert_true(fd >= 0);
		for (uint32_t n = there; n < 8; n++)
			assert_int_equal(pwrite(fd, &unused, sizeof(unused),
						8192 + 16 * 512 + (off_t)n * 512),
					 sizeof(unused));
		close(fd);
		if (sim_lun_open(l) != 0)
			fail_msg("%u blocks were there: %s", there, l->error.text);
		assert_int_equal(sim_logged(l, "is continued"), 1);
		sim_reads(l, 40, 8, there == 8 ? 2 : 1);
		/* Over the ring's end, so that all of it goes to its place. */
		for (uint32_t version = 3; version < 9; version++)
			sim_ok(l, sim_write(l, 80, 16, version));
		sim_reads(l, 40, 8, there == 8 ? 2 : 1);
		assert_int_equal(sim_lun_close(l), 0);
		assert_int_equal(sim_lun_open(l), 0);
		sim_reads(l, 40, 8, there == 8 ? 2 : 1);
		sim_reads(l, 80, 16, 8);
		sim_lun_free(l);
	}
}

/* --- a file with anything in it --- */

enum { WORDS = 4096, SECTIONS = 8192, FILE_BYTES = SECTIONS + 4 * 16 * 512 };

/*
 * Blocks 0 to 7 are committed with version 1, 3 to 7 and 20 to 22 in memory with version 2.  Change
 * the file with @spoil and open: nothing may happen to the pair but what is right.  Returns whether
 * the ring was taken over.
 */
static bool opens_with_spoilt_file(void (*spoil)(uint8_t *file, size_t *len, unsigned n),
				   unsigned n)
{
	struct sim_lun *l = with_store(4, 99);
	static uint8_t file[FILE_BYTES + 1];
	bool taken;
	size_t len;
	FILE *f;

	sim_ok(l, sim_write(l, 0, 8, 1));
	sim_ok(l, sim_flush(l));
	sim_ok(l, sim_write(l, 3, 5, 2));
	sim_ok(l, sim_write(l, 20, 3, 2));
	kill_runner(l);
	f = fopen(ring, "r+");
	assert_non_null(f);
	len = fread(file, 1, sizeof(file), f);
	assert_int_equal(len, FILE_BYTES);
	spoil(file, &len, n);
	rewind(f);
	assert_int_equal(fwrite(file, 1, len, f), len);
	assert_int_equal(ftruncate(fileno(f), (off_t)len), 0);
	fclose(f);
	assert_int_equal(sim_lun_open(l), 0);
	taken = sim_logged(l, "is continued") > 0;
	sim_reads(l, 0, 3, 1);
	sim_reads(l, 3, 5, taken ? 2 : 1);
	sim_reads(l, 20, 3, taken ? 2 : 0);
	sim_reads(l, 8, 12, 0);
	sim_reads(l, 23, 900, 0);
	/* What follows is as good as ever. */
	sim_ok(l, sim_write(l, 1, 30, 3));
	sim_lun_die(l);
	sim_reads(l, 1, 30, 3);
	sim_lun_free(l);
	return taken;
}

static void nothing(uint8_t *file, size_t *len, unsigned n)
{
	(void)file;
	(void)len;
	(void)n;
}

static void cut_short(uint8_t *file, size_t *len, unsigned n)
{
	static const size_t left[] = { 0, 1, 15, 16, 24, 100, 4095, 4096, 8192, FILE_BYTES - 512 };

	(void)file;
	*len = left[n];
}

static void other_number_of_bytes(uint8_t *file, size_t *len, unsigned n)
{
	static const uint64_t bytes[] = { 0, 4096, SECTIONS, 1ULL << 40, UINT64_MAX };

	(void)len;
	memcpy(file + 16, &bytes[n], 8);
}

static void garbage_words(uint8_t *file, size_t *len, unsigned n)
{
	struct sim_random r = { .state = n };

	(void)len;
	for (size_t at = WORDS; at < WORDS + 32; at++)
		file[at] = (uint8_t)sim_random(&r);
}

/* Each word alone: another state, another number, another turn. */
static void wrong_word(uint8_t *file, size_t *len, unsigned n)
{
	static const uint64_t flip[] = { 4, 8, 64, 16, 20, 1, 2, 1 << 8, 2 << 8, 1ULL << 63 };
	uint64_t word;

	(void)len;
	memcpy(&word, file + WORDS + n % 4 * 8, 8);
	word ^= flip[n / 4];
	memcpy(file + WORDS + n % 4 * 8, &word, 8);
}

/* Sections 0 committed, 1 filled, 2 and 3 clean.  Words as the engine makes them, but no ring. */
static void wrong_ring(uint8_t *file, size_t *len, unsigned n)
{
	uint64_t *words = (uint64_t *)(void *)(file + WORDS);
	struct ti_journal_store s = { .word = words };
	uint32_t i = n % 4;
	struct ti_section_word w = ti_section_word(&s, i);

	(void)len;
	assert_true(w.state >= TI_SECTION_CLEAN && w.state <= TI_SECTION_COMMITTED);
	if (n < 4)
		w.turn++;
	else if (n < 8)
		w.seq++;
	else if (n < 12)
		w.turn = ti_section_word(&s, (i + 1) % 4).turn;
	else if (n < 16)
		w.state = (enum ti_section_state)(i == 0   ? TI_SECTION_FILLED
						  : i == 1 ? TI_SECTION_CLEAN
						  : i == 2 ? TI_SECTION_COMMITTED
							   : TI_SECTION_OPENING);
	ti_section_set(&s, i, w);
	for (i = 0; n >= 16 && i < 4; i++) {
		w = ti_section_word(&s, i);
		w.turn += TI_SECTION_MAX_TURN - n;
		ti_section_set(&s, i, w);
	}
}

/* An entry of the filled section 1. */
static uint8_t *entry(uint8_t *file, uint32_t n)
{
	return file + SECTIONS + 16 * 512 + (size_t)(n % 8) * 512;
}

static void wrong_entries(uint8_t *file, size_t *len, unsigned n)
{
	static const uint64_t sector[] = { 1000, 1ULL << 40, UINT64_MAX >> 8, 4, 5 };

	(void)len;
	if (n < 5)
		memcpy(entry(file, 3), &sector[n], 8); /* beyond the end; another block */
	else if (n < 10)
		entry(file, 3)[8 + (n - 5) * 60] ^= 1; /* last bytes, tag */
	else
		file[SECTIONS + 16 * 512 + (8 + 3) * 512 + (n - 10) * 50] ^= 1; /* data */
}

static void not_begun(uint8_t *file, size_t *len, unsigned n)
{
	uint64_t begun = n == 0 ? 0 : n == 1 ? 2 : UINT64_MAX;

	(void)len;
	memcpy(file + 24 + sizeof(struct ti_store_identity), &begun, 8);
}

static void garbage(uint8_t *file, size_t *len, unsigned n)
{
	struct sim_random r = { .state = n };
	size_t from[] = { 0, 16, 24, 100, WORDS, SECTIONS };

	for (size_t at = from[n % 6]; at < *len; at++)
		file[at] = (uint8_t)sim_random(&r);
}

static void spoilt_file_does_no_harm(void **state)
{
	static const struct {
		void (*spoil)(uint8_t *file, size_t *len, unsigned n);
		unsigned times;
	} way[] = {
		{ cut_short, 10 },  { other_number_of_bytes, 5 }, { garbage_words, 30 },
		{ wrong_ring, 18 }, { wrong_entries, 20 },	  { not_begun, 3 },
		{ garbage, 18 },    { wrong_word, 40 },
	};

	(void)state;
	assert_true(opens_with_spoilt_file(nothing, 0));
	for (unsigned i = 0; i < sizeof(way) / sizeof(way[0]); i++)
		for (unsigned n = 0; n < way[i].times; n++)
			if (opens_with_spoilt_file(way[i].spoil, n))
				fail_msg("way %u, %u: it was believed", i, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(acknowledged_write_outlives_the_process),
		cmocka_unit_test(successors_flush_covers_it),
		cmocka_unit_test(takeover_writes_to_the_journal_only_and_once),
		cmocka_unit_test(newest_of_several_versions_counts),
		cmocka_unit_test(every_kind_of_section_is_taken_over),
		cmocka_unit_test(commit_that_failed_before_the_kill_is_tried_again),
		cmocka_unit_test(many_laps_with_kills_keep_everything_acknowledged),
		cmocka_unit_test(mode_direct_brings_it_home),
		cmocka_unit_test(mode_direct_that_is_cut_can_be_repeated),
		cmocka_unit_test(what_was_taken_over_is_durable),
		cmocka_unit_test(takeover_whose_commit_fails_is_repeated),
		cmocka_unit_test(journal_that_somebody_else_has_used_is_left_alone),
		cmocka_unit_test(ring_is_not_believed_after_somebody_used_mode_bitmap),
		cmocka_unit_test(any_change_of_the_medium_is_noticed),
		cmocka_unit_test(wrong_digest_is_refused_and_keeps_the_file),
		cmocka_unit_test(ring_of_another_pair_is_dropped),
		cmocka_unit_test(
			metadata_error_during_the_takeover_refuses_the_open_and_keeps_the_file),
		cmocka_unit_test(deferred_start_that_never_comes_keeps_the_file),
		cmocka_unit_test(read_only_open_is_refused_and_leaves_the_file_alone),
		cmocka_unit_test(clean_close_leaves_no_file),
		cmocka_unit_test(close_that_could_not_commit_leaves_the_file),
		cmocka_unit_test(file_that_cannot_be_made_is_a_warning),
		cmocka_unit_test(file_is_for_its_owner_only_and_no_link_is_followed),
		cmocka_unit_test(blocks_of_one_device_block_are_taken_over_together_or_not_at_all),
		cmocka_unit_test(spoilt_file_does_no_harm),
		cmocka_unit_test(write_killed_anywhere_is_whole_or_not_there),
		cmocka_unit_test(shared_write_killed_anywhere_is_whole_or_not_there),
		cmocka_unit_test(atomic_write_killed_anywhere_is_whole_or_not_there),
		cmocka_unit_test(shared_atomic_write_killed_anywhere_is_whole_or_not_there),
		cmocka_unit_test(what_a_killed_process_has_committed_does_not_outlive_a_discard),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
