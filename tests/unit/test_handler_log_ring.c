/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The ring between a disk and tcmu-runner's log: order, room, a log that hangs, and the end.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pthread.h>

#include <cmocka.h>

#include "clock.h"
#include "fake_tcmu.h"
#include "log_ring.h"

#define FRONT "integrity/uio7: "

static struct tcmu_device *dev;

static int make_device(void **state)
{
	(void)state;
	dev = fake_device("integrity/x", 512, 1 << 20);
	fake_log_clear();
	return 0;
}

static int remove_device(void **state)
{
	(void)state;
	fake_log_hang(false);
	fake_device_free(dev);
	return 0;
}

static struct ti_log_ring *open_ring(void)
{
	struct ti_log_ring *ring = NULL;
	bool locked = true;

	assert_int_equal(ti_log_ring_open(dev, &locked, &ring), 0);
	return ring;
}

/* The next line must be this one. */
static void expect(const char **at, const char *line)
{
	char wanted[128];

	snprintf(wanted, sizeof(wanted), FRONT "%s\n", line);
	if (strncmp(*at, wanted, strlen(wanted)) != 0)
		fail_msg("'%.100s' instead of '%s'", *at, wanted);
	*at += strlen(wanted);
}

static void expect_numbers(const char **at, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++) {
		char line[32];

		snprintf(line, sizeof(line), "line=%u", i);
		expect(at, line);
	}
}

static void say_numbers(struct ti_log_ring *ring, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++)
		ti_log_ring_say(ring, TI_LOG_INFO, "line=%u", i);
}

static void lines_are_written_in_order(void **state)
{
	struct ti_log_ring *ring = open_ring();
	const char *at = fake_log_text();

	(void)state;
	/* Many times around, now full and now empty. */
	for (unsigned i = 0; i < 20; i++) {
		char last[16];

		say_numbers(ring, i * TI_LOG_RING_LINES, TI_LOG_RING_LINES);
		snprintf(last, sizeof(last), "=%u\n", (i + 1) * TI_LOG_RING_LINES - 1);
		assert_true(fake_will_log(last));
	}
	ti_log_ring_close(ring);
	expect_numbers(&at, 0, 20 * TI_LOG_RING_LINES);
	assert_string_equal(at, "");
}

static void full_ring_leaves_out_the_newest_and_says_where_and_how_many(void **state)
{
	struct ti_log_ring *ring = open_ring();
	const char *at = fake_log_text();

	(void)state;
	fake_log_hang(true);
	say_numbers(ring, 0, 1);
	fake_log_let(0); /* it is out of the ring, and waits */
	say_numbers(ring, 1, TI_LOG_RING_LINES + 3);
	fake_log_let(2); /* two places */
	say_numbers(ring, 100, 2 + 7);
	fake_log_hang(false);
	assert_true(fake_will_log("count=7"));
	say_numbers(ring, 200, 1);
	ti_log_ring_close(ring);
	expect_numbers(&at, 0, 1 + TI_LOG_RING_LINES);
	expect(&at, "lines are missing here, the log did not take them count=3");
	expect_numbers(&at, 100, 2);
	expect(&at, "lines are missing here, the log did not take them count=7");
	expect_numbers(&at, 200, 1);
	assert_string_equal(at, "");
}

static void nobody_waits_for_a_log_that_hangs(void **state)
{
	struct ti_log_ring *ring = open_ring();
	uint64_t begin = ti_clock_now(&ti_clock_monotonic);

	(void)state;
	fake_log_hang(true);
	say_numbers(ring, 0, 10000);
	assert_true(ti_clock_now(&ti_clock_monotonic) - begin < TI_NS_PER_SEC);
	fake_log_hang(false);
	ti_log_ring_close(ring);
	assert_true(fake_logged("lines are missing here"));
}

#define TALKERS 3U
#define EACH	300U

struct talker {
	struct ti_log_ring *ring;
	unsigned number;
	pthread_t thread;
};

static void *talk(void *arg)
{
	struct talker *t = arg;

	for (unsigned i = 0; i < EACH; i++) {
		ti_log_ring_say(t->ring, TI_LOG_ERR, "talker=%u line=%u", t->number, i);
		if (i % 20 == 0)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return NULL;
}

static void each_line_of_several_threads_is_written_or_counted(void **state)
{
	struct ti_log_ring *ring = open_ring();
	struct talker talker[TALKERS];
	unsigned next[TALKERS] = { 0 }, lines = 0, missing = 0, n, who;
	const char *at = fake_log_text();

	(void)state;
	for (unsigned i = 0; i < TALKERS; i++) {
		talker[i] = (struct talker){ .ring = ring, .number = i };
		assert_int_equal(pthread_create(&talker[i].thread, NULL, talk, &talker[i]), 0);
	}
	for (unsigned i = 0; i < TALKERS; i++)
		pthread_join(talker[i].thread, NULL);
	ti_log_ring_close(ring);
	for (; *at; at = strchr(at, '\n') + 1) {
		if (sscanf(at, FRONT "lines are missing here, the log did not take them count=%u",
			   &n) == 1) {
			missing += n;
			continue;
		}
		assert_int_equal(sscanf(at, FRONT "talker=%u line=%u", &who, &n), 2);
		assert_true(who < TALKERS && n >= next[who]);
		next[who] = n + 1;
		lines++;
	}
	assert_int_equal(lines + missing, TALKERS * EACH);
	assert_true(lines > TI_LOG_RING_LINES);
}

static bool log_thread_is_there(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	bool there = false;

	assert_non_null(tasks);
	while ((task = readdir(tasks)) != NULL) {
		char path[300], name[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fgets(name, sizeof(name), f))
			there |= strncmp(name, "ti-log-", strlen("ti-log-")) == 0;
		fclose(f);
	}
	closedir(tasks);
	return there;
}

static void close_does_not_wait_for_ever_and_nothing_is_lost(void **state)
{
	struct ti_log_ring *ring = open_ring();
	uint64_t begin;
	time_t now;
	char when[32];
	struct tm tm;

	(void)state;
	fake_log_hang(true);
	say_numbers(ring, 0, 3);
	begin = ti_clock_now(&ti_clock_monotonic);
	ti_log_ring_close(ring);
	assert_in_range(ti_clock_now(&ti_clock_monotonic) - begin, 2 * TI_NS_PER_SEC,
			10 * TI_NS_PER_SEC);
	assert_string_equal(fake_log_text(), "");
	/* The thread goes on, and says when that was. */
	assert_true(log_thread_is_there());
	time(&now);
	fake_log_hang(false);
	assert_true(fake_will_log("line=2"));
	while (log_thread_is_there())
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	localtime_r(&now, &tm);
	strftime(when, sizeof(when), "said_at=\"%F ", &tm);
	assert_non_null(strstr(fake_log_text(), "line=1 said_at=\""));
	assert_non_null(strstr(strstr(fake_log_text(), "line=1"), when));
	assert_null(strstr(fake_log_text(), "missing"));
}

static void long_line_is_written_whole(void **state)
{
	struct ti_log_ring *ring = open_ring();
	char text[TI_LOG_LINE];

	(void)state;
	text[0] = '\0';
	for (unsigned i = 0; i < 110; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "word%03u ", i);
	ti_log_ring_line(ring, TI_LOG_WARN, text);
	ti_log_ring_close(ring);
	for (unsigned i = 0; i < 110; i++) {
		char word[16];

		snprintf(word, sizeof(word), "word%03u", i);
		assert_true(fake_logged(word));
	}
}

/* Somebody's input may be part of it, and would be lines of his own, or orders to a terminal. */
static void control_characters_are_not_written(void **state)
{
	struct ti_log_ring *ring = open_ring();
	const char *at = fake_log_text();

	(void)state;
	ti_log_ring_say(ring, TI_LOG_WARN,
			"a\n2026-11-29 [ERROR]\r\x1b[2J\x7f\t\xc2\x9b"
			"2J z\xc3\xa4");
	ti_log_ring_close(ring);
	expect(&at, "a?2026-11-29 [ERROR]??[2J????2J z\xc3\xa4");
	assert_string_equal(at, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_device, remove_device)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines_are_written_in_order),
		TEST(full_ring_leaves_out_the_newest_and_says_where_and_how_many),
		TEST(nobody_waits_for_a_log_that_hangs),
		TEST(each_line_of_several_threads_is_written_or_counted),
		TEST(close_does_not_wait_for_ever_and_nothing_is_lost),
		TEST(long_line_is_written_whole),
		TEST(control_characters_are_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
