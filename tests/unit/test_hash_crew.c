/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A crew makes the tags that one thread would make, however late its helpers are: every order of
 * their steps and the request's own, by a script; random ones; and threads.
 *
 * A request's memory is made unreadable when the request is over: a helper that still looks there
 * ends the test.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/mman.h>

#include <cmocka.h>

#include "hash_crew.h"

#define BLOCK	   512U
#define MOST	   48U /* blocks of a request */
#define TAG	   4U
#define PIECE	   (2U * BLOCK)
#define GUARD	   0xee
#define PATIENCE_S 60U

/* A request, its memory, its tags and those it should have. */
struct work {
	uint8_t *memory; /* MOST blocks, whole pages */
	uint8_t tags[MOST * TAG + 1], want[MOST * TAG];
};

static void work_open(struct work *w)
{
	w->memory = mmap(NULL, MOST * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	assert_true(w->memory != MAP_FAILED);
}

static void work_close(struct work *w)
{
	munmap(w->memory, MOST * BLOCK);
}

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525U + 1013904223U;
	return *state >> 8;
}

/* Tags of @n blocks at @sector with new contents, by the crew, are those of one thread. */
static void make_tags(struct work *w, struct ti_hash_crew *crew, const struct ti_hash *alone,
		      uint64_t sector, size_t n, uint32_t *random)
{
	struct iovec iov[3];
	struct ti_iov_cursor cursor;
	size_t cut[2] = { next_random(random) % (n * BLOCK), 0 };

	assert_int_equal(mprotect(w->memory, MOST * BLOCK, PROT_READ | PROT_WRITE), 0);
	for (size_t i = 0; i < n * BLOCK; i += 4)
		memcpy(w->memory + i, (uint32_t[]){ next_random(random) }, 4);
	/* In three pieces, that end anywhere. */
	cut[1] = cut[0] + next_random(random) % (n * BLOCK - cut[0]);
	iov[0] = (struct iovec){ w->memory, cut[0] };
	iov[1] = (struct iovec){ w->memory + cut[0], cut[1] - cut[0] };
	iov[2] = (struct iovec){ w->memory + cut[1], n * BLOCK - cut[1] };
	cursor = ti_iov_cursor(iov, 3);
	ti_hash_blocks(alone, sector, &cursor, n, w->want);
	memset(w->tags, GUARD, sizeof(w->tags));
	cursor = ti_iov_cursor(iov, 3);
	ti_hash_crew_blocks(crew, sector, &cursor, n, w->tags);
	assert_int_equal(mprotect(w->memory, MOST * BLOCK, PROT_NONE), 0);
	assert_memory_equal(w->tags, w->want, n * TAG);
	assert_int_equal(w->tags[n * TAG], GUARD);
	assert_int_equal(ti_iov_length(cursor.iov, cursor.count), cursor.skip);
}

static struct ti_hash_crew *open_crew(struct ti_hash *own, unsigned helpers, size_t piece,
				      const struct ti_hash_crew_script *script)
{
	struct ti_hash_crew_options options = {
		.helpers = helpers, .piece_bytes = piece, .share_bytes = 1, .script = script
	};
	struct ti_hash_crew *crew;
	bool locked = true;

	assert_int_equal(ti_hash_crew_open(&options, own, NULL, NULL, &locked, &crew), 0);
	assert_non_null(crew);
	return crew;
}

static void open_digest(struct ti_hash *h)
{
	assert_int_equal(ti_hash_init(h, &ti_hash_crc32c, BLOCK, TAG, NULL), 0);
}

/* ---- scripts ---- */

/* Steps of helpers as somebody chooses them: 0 none, n the next step of helper n - 1. */
struct script {
	struct ti_hash_crew_script script;
	unsigned helpers;
	unsigned (*choose)(struct script *s);
	unsigned chances; /* in this order */
	/* Of all orders. */
	unsigned choice[64], depth, used;
	/* Of random ones. */
	uint32_t random;
};

static void chance(void *ctx, struct ti_hash_crew *crew)
{
	struct script *s = ctx;
	unsigned choice;

	/* No request may wait for helpers that do nothing. */
	assert_true(++s->chances < 100000);
	while ((choice = s->choose(s)) > 0)
		if (!ti_hash_helper_step(crew, choice - 1))
			break;
}

static void script_begin(struct script *s, unsigned helpers, unsigned (*choose)(struct script *s))
{
	*s = (struct script){ .script = { chance, s }, .helpers = helpers, .choose = choose };
}

/* The next choice on this way through the tree of all; new ones begin with 0. */
static unsigned by_order(struct script *s)
{
	if (s->used == sizeof(s->choice) / sizeof(s->choice[0]))
		return 0;
	if (s->used == s->depth)
		s->choice[s->depth++] = 0;
	return s->choice[s->used++];
}

/* Go to the next way.  False: it was the last one. */
static bool next_order(struct script *s)
{
	s->used = s->chances = 0;
	while (s->depth > 0 && s->choice[s->depth - 1] == s->helpers)
		s->depth--;
	if (s->depth == 0)
		return false;
	s->choice[s->depth - 1]++;
	return true;
}

/* Two requests, one after the other, so that helpers are late for the first one, too. */
static unsigned long every_order_of(unsigned helpers, size_t first, size_t second)
{
	struct ti_hash_crew_stats all = { 0 };
	unsigned long orders = 0;
	struct script s;
	struct ti_hash h;
	struct work w, later;

	open_digest(&h);
	work_open(&w);
	work_open(&later);
	script_begin(&s, helpers, by_order);
	do {
		struct ti_hash_crew *crew = open_crew(&h, helpers, BLOCK, &s.script);
		struct ti_hash_crew_stats stats;
		uint32_t random = 7;

		make_tags(&w, crew, &h, 8, first, &random);
		if (second > 0)
			make_tags(&later, crew, &h, 1000, second, &random);
		stats = ti_hash_crew_stats(crew);
		all.helped += stats.helped;
		all.repeated += stats.repeated;
		ti_hash_crew_close(crew);
		orders++;
	} while (next_order(&s));
	/* Each end of a piece has been seen. */
	assert_true(all.helped > orders / 4 && all.repeated > orders / 20);
	work_close(&w);
	work_close(&later);
	ti_hash_destroy(&h);
	return orders;
}

static void every_order_of_steps_makes_the_right_tags(void **state)
{
	(void)state;
	/* So many there are: with fewer, not all of them were tried. */
	assert_in_range(every_order_of(1, 3, 2), 9000, 20000);
	assert_in_range(every_order_of(2, 2, 0), 200, 1000);
	assert_in_range(every_order_of(1, 4, 0), 2000, 10000);
}

static unsigned by_dice(struct script *s)
{
	unsigned dice = next_random(&s->random) % 16;

	/* Helpers have moods: at times they all sleep. */
	if ((s->random >> 28) < 4)
		return 0;
	return dice < 6 ? 0 : 1 + next_random(&s->random) % s->helpers;
}

static void random_orders_make_the_right_tags(void **state)
{
	struct script s;
	struct ti_hash h;
	struct work w[2];

	(void)state;
	open_digest(&h);
	work_open(&w[0]);
	work_open(&w[1]);
	for (uint32_t seed = 1; seed <= 60; seed++) {
		unsigned helpers = 1 + seed % 5;
		struct ti_hash_crew_stats stats;
		struct ti_hash_crew *crew;

		script_begin(&s, helpers, by_dice);
		s.random = seed;
		crew = open_crew(&h, helpers, BLOCK * (1 + seed % 3), &s.script);
		for (unsigned i = 0; i < 40; i++)
			make_tags(&w[i % 2], crew, &h, 8 * i, 1 + next_random(&s.random) % MOST,
				  &s.random);
		stats = ti_hash_crew_stats(crew);
		assert_true(stats.helped > 20 && stats.repeated > 0);
		ti_hash_crew_close(crew);
	}
	work_close(&w[0]);
	work_close(&w[1]);
	ti_hash_destroy(&h);
}

/* ---- threads ---- */

static void threads_make_the_right_tags(void **state)
{
	uint32_t random = 3;
	struct ti_hash h;
	struct work w;

	(void)state;
	open_digest(&h);
	work_open(&w);
	for (unsigned helpers = 1; helpers <= 4; helpers++) {
		struct ti_hash_crew *crew = open_crew(&h, helpers, PIECE, NULL);
		unsigned rounds = 0;

		assert_int_equal(ti_hash_crew_threads(crew).count, helpers);
		/* Until they have helped often enough, however busy the machine is. */
		alarm(PATIENCE_S);
		while (rounds < 500 || ti_hash_crew_stats(crew).helped < 200) {
			make_tags(&w, crew, &h, rounds++, 1 + next_random(&random) % MOST, &random);
			if (rounds > 500)
				usleep(100);
		}
		alarm(0);
		ti_hash_crew_close(crew);
	}
	work_close(&w);
	ti_hash_destroy(&h);
}

static unsigned helper_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		char path[300], name[32] = "";
		FILE *f;

		(void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		f = fopen(path, "re");
		if (!f)
			continue;
		n += fgets(name, sizeof(name), f) && !strncmp(name, "ti-hash-", 8);
		fclose(f);
	}
	closedir(dir);
	return n;
}

/* A digest that holds helpers up: they stand inside it until the gate is opened. */
static struct gate {
	pthread_t owner; /* who may pass */
	pthread_mutex_t lock;
	pthread_cond_t moved;
	bool open;
	unsigned standing, passed;
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };

static void gated_message(const struct ti_hash *h, const struct iovec *piece, size_t n,
			  uint8_t *digest)
{
	if (!pthread_equal(pthread_self(), gate.owner)) {
		pthread_mutex_lock(&gate.lock);
		gate.standing++;
		pthread_cond_broadcast(&gate.moved);
		while (!gate.open)
			pthread_cond_wait(&gate.moved, &gate.lock);
		gate.passed++;
		pthread_mutex_unlock(&gate.lock);
	}
	ti_hash_crc32c.message(h, piece, n, digest);
}

static void open_gated_digest(struct ti_hash *h)
{
	static struct ti_hash_ops gated;

	gated = ti_hash_crc32c;
	gated.message = gated_message;
	assert_int_equal(ti_hash_init(h, &gated, BLOCK, TAG, NULL), 0);
}

static void gate_shut(void)
{
	gate.owner = pthread_self();
	gate.open = false;
	gate.standing = gate.passed = 0;
}

static void gate_open(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.open = true;
	pthread_cond_broadcast(&gate.moved);
	pthread_mutex_unlock(&gate.lock);
}

static unsigned gate_count(const unsigned *what)
{
	unsigned n;

	pthread_mutex_lock(&gate.lock);
	n = *what;
	pthread_mutex_unlock(&gate.lock);
	return n;
}

/* A crew of which each helper stands inside of a piece. */
static struct ti_hash_crew *open_standing_crew(struct ti_hash *h, struct work *w, unsigned helpers,
					       uint32_t *random)
{
	struct ti_hash_crew *crew;

	gate_shut();
	open_gated_digest(h);
	work_open(w);
	crew = open_crew(h, helpers, PIECE, NULL);
	alarm(PATIENCE_S);
	while (gate_count(&gate.standing) < helpers) {
		make_tags(w, crew, h, 0, MOST, random);
		usleep(1000);
	}
	return crew;
}

static void helpers_that_stand_still_hold_up_no_request(void **state)
{
	struct ti_hash_crew *crew;
	uint32_t random = 5;
	struct ti_hash h;
	struct work w;

	(void)state;
	crew = open_standing_crew(&h, &w, 2, &random);
	for (unsigned i = 0; i < 100; i++)
		make_tags(&w, crew, &h, i, MOST, &random);
	assert_int_equal(ti_hash_crew_stats(crew).helped, 0);
	assert_int_equal(ti_hash_crew_stats(crew).repeated, 2);
	/* When they go on, for requests that are long gone, they are of use again. */
	gate_open();
	while (ti_hash_crew_stats(crew).helped < 10) {
		make_tags(&w, crew, &h, 9, MOST, &random);
		usleep(1000);
	}
	alarm(0);
	ti_hash_crew_close(crew);
	work_close(&w);
	ti_hash_destroy(&h);
}

static void *open_gate_later(void *arg)
{
	(void)arg;
	usleep(200000);
	gate_open();
	return NULL;
}

static void close_waits_for_a_helper_that_is_late(void **state)
{
	struct ti_hash_crew *crew;
	uint32_t random = 5;
	pthread_t opener;
	struct ti_hash h;
	struct work w;

	(void)state;
	crew = open_standing_crew(&h, &w, 1, &random);
	assert_int_equal(pthread_create(&opener, NULL, open_gate_later, NULL), 0);
	ti_hash_crew_close(crew);
	/* It has made its piece, of two blocks, and gone. */
	assert_int_equal(gate_count(&gate.passed), 2);
	assert_int_equal(helper_threads(), 0);
	pthread_join(opener, NULL);
	alarm(0);
	work_close(&w);
	ti_hash_destroy(&h);
}

/* ---- open ---- */

static void fast_digests_and_small_requests_are_not_shared(void **state)
{
	struct ti_hash_crew_options options = { .helpers = 1 };
	struct ti_hash_crew *crew;
	bool locked = true;
	struct ti_hash h;

	(void)state;
	assert_false(ti_hash_crew_shares(NULL, 1000000));
	open_digest(&h);
	assert_int_equal(ti_hash_crew_open(&options, &h, NULL, NULL, &locked, &crew), 0);
	assert_null(crew);
	ti_hash_destroy(&h);
	assert_int_equal(ti_hash_init(&h, ti_hash_find("sha512"), 4096, 64, NULL), 0);
	assert_int_equal(ti_hash_crew_open(&options, &h, NULL, NULL, &locked, &crew), 0);
	assert_non_null(crew);
	assert_int_equal(helper_threads(), 1);
	/* Whatever was measured: 512 KiB are, and less than 64 KiB is not. */
	assert_true(ti_hash_crew_shares(crew, 128));
	assert_false(ti_hash_crew_shares(crew, 15));
	ti_hash_crew_close(crew);
	options.helpers = 0;
	assert_int_equal(ti_hash_crew_open(&options, &h, NULL, NULL, &locked, &crew), 0);
	assert_null(crew);
	ti_hash_destroy(&h);
	assert_int_equal(helper_threads(), 0);
}

static void so_many_helpers_suit_as_processors_are_idle(void **state)
{
	cpu_set_t all, one;
	size_t first = 0;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	assert_int_equal(ti_hash_crew_suits(),
			 CPU_COUNT(&all) > 4 ? 3 : (unsigned)CPU_COUNT(&all) - 1);
	while (!CPU_ISSET(first, &all))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(ti_hash_crew_suits(), 0);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_order_of_steps_makes_the_right_tags),
		cmocka_unit_test(random_orders_make_the_right_tags),
		cmocka_unit_test(threads_make_the_right_tags),
		cmocka_unit_test(helpers_that_stand_still_hold_up_no_request),
		cmocka_unit_test(close_waits_for_a_helper_that_is_late),
		cmocka_unit_test(fast_digests_and_small_requests_are_not_shared),
		cmocka_unit_test(so_many_helpers_suit_as_processors_are_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
