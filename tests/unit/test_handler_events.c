/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The ring of events, how long flushes took, and the file that keeps a scrub.
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

#include <sys/eventfd.h>

#include <cmocka.h>

#include "events.h"
#include "latency.h"
#include "scrub_state.h"

static void put(struct ti_events *e, uint64_t sector)
{
	const struct ti_event event = { .type = TI_EVENT_MISMATCH, .sector = sector };

	ti_events_put(e, &event);
}

static bool is_awake(int fd)
{
	uint64_t times;

	return read(fd, &times, sizeof(times)) == sizeof(times);
}

static void events_come_out_in_order_and_wake_whoever_looks(void **state)
{
	struct ti_event out[TI_EVENTS];
	struct ti_events e;
	uint64_t lost;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ti_events_init(&e), 0);
	put(&e, 1); /* before anybody looks: kept */
	ti_events_watch(&e, fd);
	assert_false(is_awake(fd));
	for (uint64_t round = 0; round < 5; round++) {
		for (uint64_t i = 0; i < 30; i++)
			put(&e, 2 + round * 30 + i);
		assert_true(is_awake(fd));
		assert_false(is_awake(fd));
		assert_int_equal(ti_events_take(&e, out, &lost), round == 0 ? 31 : 30);
		assert_int_equal(lost, 0);
		assert_int_equal(out[0].sector, round == 0 ? 1 : 2 + round * 30);
	}
	ti_events_poke(&e);
	assert_true(is_awake(fd));
	assert_int_equal(ti_events_take(&e, out, &lost), 0);
	ti_events_watch(&e, -1);
	put(&e, 7);
	assert_false(is_awake(fd));
	ti_events_destroy(&e);
	close(fd);
}

static void full_ring_loses_the_newest_and_counts_them(void **state)
{
	struct ti_event out[TI_EVENTS];
	struct ti_events e;
	uint64_t lost;

	(void)state;
	assert_int_equal(ti_events_init(&e), 0);
	for (uint64_t i = 0; i < TI_EVENTS_MISMATCHES + 5; i++)
		put(&e, i);
	assert_int_equal(ti_events_take(&e, out, &lost), TI_EVENTS_MISMATCHES);
	assert_int_equal(lost, 5);
	assert_int_equal(out[0].sector, 0);
	assert_int_equal(out[TI_EVENTS_MISMATCHES - 1].sector, TI_EVENTS_MISMATCHES - 1);
	put(&e, 9);
	assert_int_equal(ti_events_take(&e, out, &lost), 1);
	assert_int_equal(lost, 0);
	ti_events_destroy(&e);
}

static void mismatches_do_not_crowd_out_the_end_of_a_scrub(void **state)
{
	const struct ti_event end = { .type = TI_EVENT_SCRUB_ENDED };
	struct ti_event out[TI_EVENTS];
	struct ti_events e;
	uint64_t lost;

	(void)state;
	assert_int_equal(ti_events_init(&e), 0);
	for (uint64_t i = 0; i < 1000; i++)
		put(&e, i);
	for (unsigned i = 0; i < TI_EVENTS - TI_EVENTS_MISMATCHES + 1; i++)
		ti_events_put(&e, &end);
	put(&e, 1);
	assert_int_equal(ti_events_take(&e, out, &lost), TI_EVENTS);
	assert_int_equal(lost, 1000 - TI_EVENTS_MISMATCHES + 2);
	for (unsigned i = 0; i < TI_EVENTS; i++)
		assert_int_equal(out[i].type, i < TI_EVENTS_MISMATCHES ? TI_EVENT_MISMATCH
								       : TI_EVENT_SCRUB_ENDED);
	ti_events_destroy(&e);
}

/* ---- stopwatch ---- */

struct test_clock {
	struct ti_clock clock;
	uint64_t now, step;
};

static uint64_t test_now(struct ti_clock *clock)
{
	struct test_clock *c = (struct test_clock *)clock;

	return c->now += c->step;
}

static void every_flush_is_measured_where_the_clock_is_cheap(void **state)
{
	struct test_clock c = { .clock.now_ns = test_now, .now = 1 };
	struct ti_stopwatch w;

	(void)state;
	ti_stopwatch_init(&w, &c.clock);
	for (unsigned i = 0; i < 10; i++) {
		ti_stopwatch_begin(&w);
		c.now += 100000;
		ti_stopwatch_begin(&w); /* a second one meanwhile: from the first */
		c.now += i == 9 ? 900000 : 100000;
		ti_stopwatch_end(&w);
		ti_stopwatch_end(&w);
	}
	assert_int_equal(w.latency.count, 10);
	assert_int_equal(w.latency.sum_ns, 9 * 200000 + 1000000);
	assert_int_equal(w.latency.max_ns, 1000000);
	assert_int_equal(w.latency.bucket[0], 0);
	assert_int_equal(w.latency.bucket[1], 9);
	assert_int_equal(w.latency.bucket[2], 1);
}

static void dear_clock_is_looked_at_for_one_in_sixteen(void **state)
{
	struct test_clock c = { .clock.now_ns = test_now, .now = 1, .step = 5000 };
	struct ti_stopwatch w;

	(void)state;
	ti_stopwatch_init(&w, &c.clock);
	for (unsigned i = 0; i < 160; i++) {
		ti_stopwatch_begin(&w);
		ti_stopwatch_end(&w);
	}
	assert_int_equal(w.latency.count, 10);
}

static void every_duration_has_its_bucket(void **state)
{
	struct ti_latency l = { 0 };

	(void)state;
	ti_latency_add(&l, 0);
	ti_latency_add(&l, 64000);
	ti_latency_add(&l, 64001);
	ti_latency_add(&l, UINT64_MAX / 4);
	assert_int_equal(l.bucket[0], 2);
	assert_int_equal(l.bucket[1], 1);
	assert_int_equal(l.bucket[TI_LATENCY_BUCKETS - 1], 1);
}

/* ---- the file ---- */

static const struct ti_scrub_saved example = {
	.pair = 0x123456789abcdef0,
	.devices = 0xa,
	.report = { .state = TI_SCRUB_RUNNING,
		    .sector = 1234,
		    .end = 99999,
		    .rate_limit = 1 << 20,
		    .verified_sectors = 1200,
		    .skipped_sectors = 34,
		    .bad_sectors = { 5, 1, 2, 0 },
		    .mended_sectors = 77,
		    .ranges = 4,
		    .listed = 3,
		    .bad = { { 7, 5, TI_SCRUB_MISMATCH },
			     { 100, 1, TI_SCRUB_TAG_DECAYED },
			     { 1000, 2, TI_SCRUB_DATA_UNREADABLE } } },
	.started = 1700000000,
	.ended = 0,
	.recalculating = true,
	.recalc_rate = 1 << 21,
};

struct place {
	char dir[64], file[128];
};

static void make_place(struct place *p)
{
	strcpy(p->dir, "/tmp/ti-scrub-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->file, sizeof(p->file), "%s/sub/lun.123456789abcdef0-000000000000000a.state",
		 p->dir);
	strcat(p->dir, "/sub"); /* is made */
}

static void remove_place(struct place *p)
{
	unlink(p->file);
	rmdir(p->dir);
	p->dir[strlen(p->dir) - strlen("/sub")] = '\0';
	rmdir(p->dir);
}

static void scrub_is_read_as_it_was_written(void **state)
{
	struct ti_scrub_saved back = { .pair = example.pair, .devices = 0xa };
	struct place p;

	(void)state;
	make_place(&p);
	assert_int_equal(ti_scrub_state_load(p.dir, "lun", &back), -ENOENT);
	assert_int_equal(ti_scrub_state_save(p.dir, "lun", &example), 0);
	assert_int_equal(ti_scrub_state_load(p.dir, "lun", &back), 0);
	assert_int_equal(back.report.state, TI_SCRUB_RUNNING);
	assert_int_equal(back.report.sector, 1234);
	assert_int_equal(back.report.end, 99999);
	assert_int_equal(back.report.rate_limit, 1 << 20);
	assert_int_equal(back.report.verified_sectors, 1200);
	assert_int_equal(back.report.skipped_sectors, 34);
	assert_memory_equal(back.report.bad_sectors, example.report.bad_sectors,
			    sizeof(example.report.bad_sectors));
	assert_int_equal(back.report.mended_sectors, 77);
	assert_int_equal(back.report.ranges, 4);
	assert_int_equal(back.report.listed, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(back.report.bad[i].sector, example.report.bad[i].sector);
		assert_int_equal(back.report.bad[i].sectors, example.report.bad[i].sectors);
		assert_int_equal(back.report.bad[i].kind, example.report.bad[i].kind);
	}
	assert_int_equal(back.started, 1700000000);
	assert_int_equal(back.ended, 0);
	assert_true(back.recalculating);
	assert_int_equal(back.recalc_rate, 1 << 21);
	remove_place(&p);
}

static void file_of_another_pair_is_not_taken(void **state)
{
	struct ti_scrub_saved back = { .pair = example.pair + 1, .devices = 0xa };
	struct place p;
	char other[128];

	(void)state;
	make_place(&p);
	assert_int_equal(ti_scrub_state_save(p.dir, "lun", &example), 0);
	assert_int_equal(ti_scrub_state_load(p.dir, "lun", &back), -ENOENT);
	assert_int_equal(back.report.state, TI_SCRUB_NEVER);
	/* Nor if it was given the right name. */
	snprintf(other, sizeof(other), "%s/lun.123456789abcdef1-000000000000000a.state", p.dir);
	assert_int_equal(rename(p.file, other), 0);
	assert_int_equal(ti_scrub_state_load(p.dir, "lun", &back), -ESTALE);
	assert_int_equal(back.report.state, TI_SCRUB_NEVER);
	unlink(other);
	remove_place(&p);
}

static void luns_of_one_name_have_a_file_each(void **state)
{
	struct ti_scrub_saved other = example, back = { .pair = example.pair, .devices = 0xa };
	struct place p;
	char file[128];

	(void)state;
	make_place(&p);
	other.pair++;
	other.report.sector = 4321;
	assert_int_equal(ti_scrub_state_save(p.dir, "lun", &example), 0);
	assert_int_equal(ti_scrub_state_save(p.dir, "lun", &other), 0);
	assert_int_equal(ti_scrub_state_load(p.dir, "lun", &back), 0);
	assert_int_equal(back.report.sector, 1234);
	back.pair = other.pair;
	assert_int_equal(ti_scrub_state_load(p.dir, "lun", &back), 0);
	assert_int_equal(back.report.sector, 4321);
	snprintf(file, sizeof(file), "%s/lun.123456789abcdef1-000000000000000a.state", p.dir);
	unlink(file);
	remove_place(&p);
}

/* Two copies of one pair, or two without a salt. */
static void pairs_that_look_the_same_have_a_file_for_each_pair_of_devices(void **state)
{
	struct ti_scrub_saved other = example, back = { .pair = example.pair, .devices = 0xb };
	struct place p;
	char file[128];

	(void)state;
	make_place(&p);
	assert_int_equal(ti_scrub_state_save(p.dir, "lun", &example), 0);
	assert_int_equal(ti_scrub_state_load(p.dir, "lun", &back), -ENOENT);
	assert_int_equal(back.report.state, TI_SCRUB_NEVER);
	assert_int_equal(back.devices, 0xb);
	other.devices = 0xb;
	other.report.sector = 4321;
	assert_int_equal(ti_scrub_state_save(p.dir, "lun", &other), 0);
	assert_int_equal(ti_scrub_state_load(p.dir, "lun", &back), 0);
	assert_int_equal(back.report.sector, 4321);
	back.devices = 0xa;
	assert_int_equal(ti_scrub_state_load(p.dir, "lun", &back), 0);
	assert_int_equal(back.report.sector, 1234);
	snprintf(file, sizeof(file), "%s/lun.123456789abcdef0-000000000000000b.state", p.dir);
	unlink(file);
	remove_place(&p);
}

/* It gets the name of today, so that nobody else takes it, too. */
static void file_of_an_earlier_version_is_taken_over_once(void **state)
{
	static const char *const names[] = { "lun.state", "lun.123456789abcdef0.state" };
	struct place p;
	char old[128];

	(void)state;
	make_place(&p);
	for (unsigned i = 0; i < 2; i++) {
		struct ti_scrub_saved other = { .pair = example.pair + 1, .devices = 0xa };
		struct ti_scrub_saved back = { .pair = example.pair, .devices = 0xa };
		struct ti_scrub_saved twin = { .pair = example.pair, .devices = 0xb };

		assert_int_equal(ti_scrub_state_save(p.dir, "lun", &example), 0);
		snprintf(old, sizeof(old), "%s/%s", p.dir, names[i]);
		assert_int_equal(rename(p.file, old), 0);
		assert_int_equal(ti_scrub_state_load(p.dir, "lun", &other), -ENOENT);
		assert_int_equal(ti_scrub_state_load(p.dir, "another", &back), -ENOENT);
		assert_int_equal(ti_scrub_state_load(p.dir, "lun", &back), 0);
		assert_int_equal(back.report.sector, 1234);
		assert_int_equal(access(old, F_OK), -1);
		assert_int_equal(ti_scrub_state_load(p.dir, "lun", &twin), -ENOENT);
		assert_int_equal(ti_scrub_state_load(p.dir, "lun", &back), 0);
		/* One of today's is not replaced by it. */
		back.report.sector = 2222;
		assert_int_equal(rename(p.file, old), 0);
		assert_int_equal(ti_scrub_state_save(p.dir, "lun", &back), 0);
		assert_int_equal(ti_scrub_state_load(p.dir, "lun", &back), 0);
		assert_int_equal(back.report.sector, 2222);
		assert_int_equal(unlink(old), 0);
		assert_int_equal(unlink(p.file), 0);
	}
	remove_place(&p);
}

/* Whatever line is missing or nonsense: nothing of it is believed. */
static void damaged_file_is_not_believed(void **state)
{
	static const char *const lines[] = {
		"version=2",
		"state=dancing",
		"sector=-1",
		"sector=x",
		"end=",
		"ranges=1",
		"bad=1 2;",
		"bad=1 2 rotten;",
		"bad=x 2 mismatch;",
		"mismatch=many",
	};
	struct place p;

	(void)state;
	make_place(&p);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct ti_scrub_saved back = { .pair = example.pair, .devices = 0xa };
		FILE *f;

		assert_int_equal(ti_scrub_state_save(p.dir, "lun", &example), 0);
		f = fopen(p.file, "a"); /* the last of two lines counts */
		assert_non_null(f);
		fprintf(f, "%s\n", lines[i]);
		fclose(f);
		if (ti_scrub_state_load(p.dir, "lun", &back) != -EINVAL)
			fail_msg("believed: %s", lines[i]);
		assert_int_equal(back.report.state, TI_SCRUB_NEVER);
	}
	remove_place(&p);
}

static void list_that_is_too_long_is_not_believed(void **state)
{
	struct ti_scrub_saved back = { .pair = example.pair, .devices = 0xa };
	struct place p;
	FILE *f;

	(void)state;
	make_place(&p);
	assert_int_equal(ti_scrub_state_save(p.dir, "lun", &example), 0);
	f = fopen(p.file, "a");
	assert_non_null(f);
	fprintf(f, "ranges=1000\nbad=");
	for (unsigned i = 0; i <= TI_SCRUB_BAD_MAX; i++)
		fprintf(f, "%u 1 mismatch;", 2 * i);
	fprintf(f, "\n");
	fclose(f);
	assert_int_equal(ti_scrub_state_load(p.dir, "lun", &back), -EINVAL);
	remove_place(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_come_out_in_order_and_wake_whoever_looks),
		cmocka_unit_test(full_ring_loses_the_newest_and_counts_them),
		cmocka_unit_test(mismatches_do_not_crowd_out_the_end_of_a_scrub),
		cmocka_unit_test(every_flush_is_measured_where_the_clock_is_cheap),
		cmocka_unit_test(dear_clock_is_looked_at_for_one_in_sixteen),
		cmocka_unit_test(every_duration_has_its_bucket),
		cmocka_unit_test(scrub_is_read_as_it_was_written),
		cmocka_unit_test(file_of_another_pair_is_not_taken),
		cmocka_unit_test(luns_of_one_name_have_a_file_each),
		cmocka_unit_test(pairs_that_look_the_same_have_a_file_for_each_pair_of_devices),
		cmocka_unit_test(file_of_an_earlier_version_is_taken_over_once),
		cmocka_unit_test(damaged_file_is_not_believed),
		cmocka_unit_test(list_that_is_too_long_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
