/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What helper threads gain: the tags of one request, made by one thread and by a crew.
 *
 *     crew_speed [ROUNDS [HELPERS [PIECE_KIB]]]
 *
 * Both take turns, one request each in a round, and it is the time on the wall that counts, for
 * that is what an initiator waits for.  Between two requests the thread sleeps for a moment, so
 * that the helpers sleep, too.  A line has the digest, the request's size, the median and the 90th
 * percentile of both times, and the median of the rounds' ratios (alone to with the crew) with its
 * quartiles.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hash_crew.h"

#define BLOCK	   4096U
#define MAX_BYTES  (1U << 20)
#define MAX_ROUNDS 2000U
#define REST_NS	   200000L

static uint8_t data[MAX_BYTES], tags[2][MAX_BYTES / BLOCK * TI_HASH_MAX_DIGEST];

static void must(int good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "crew_speed: %s failed\n", what);
	exit(1);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Of one request, by the crew or, without one, alone. */
static double once(const struct ti_hash *h, struct ti_hash_crew *crew, size_t bytes, uint8_t *out)
{
	const struct timespec rest = { .tv_nsec = REST_NS };
	struct iovec flat = { .iov_base = data, .iov_len = bytes };
	struct ti_iov_cursor cursor = ti_iov_cursor(&flat, 1);
	double start;

	(void)nanosleep(&rest, NULL);
	/* As if they had just come from somewhere else: the same for both. */
	for (size_t i = 0; i < bytes; i += BLOCK)
		data[i]++;
	start = now_ms();
	if (crew)
		ti_hash_crew_blocks(crew, 8, &cursor, bytes / BLOCK, out);
	else
		ti_hash_blocks(h, 8, &cursor, bytes / BLOCK, out);
	return now_ms() - start;
}

static void measure(const char *name, size_t bytes, unsigned rounds,
		    const struct ti_hash_crew_options *options)
{
	static double alone[MAX_ROUNDS], together[MAX_ROUNDS], ratio[MAX_ROUNDS];
	const struct ti_hash_ops *ops = ti_hash_find(name);
	struct ti_hash_crew_stats stats;
	struct ti_secret *key = NULL;
	struct ti_hash_crew *crew;
	struct ti_hash h;
	bool locked;

	if (ops->keyed) {
		must(!ti_secret_alloc(32, &key), "locking memory");
		memset(key->bytes, 0x2a, key->len = 32);
	}
	must(!ti_hash_init_keyed(&h, ops, key, BLOCK, ops->digest_size, NULL), name);
	must(!ti_hash_crew_open(options, &h, key, NULL, &locked, &crew) && crew,
	     "starting helpers");
	for (unsigned i = 0; i < rounds; i++) {
		alone[i] = once(&h, NULL, bytes, tags[0]);
		together[i] = once(&h, crew, bytes, tags[1]);
		for (size_t b = 0; b < bytes; b += BLOCK)
			data[b]--;
		(void)once(&h, NULL, bytes, tags[0]);
		must(!memcmp(tags[0], tags[1], bytes / BLOCK * ops->digest_size),
		     "making the same tags");
		ratio[i] = alone[i] / together[i];
	}
	stats = ti_hash_crew_stats(crew);
	qsort(alone, rounds, sizeof(*alone), by_value);
	qsort(together, rounds, sizeof(*together), by_value);
	qsort(ratio, rounds, sizeof(*ratio), by_value);
	printf("%-18s %4zu KiB  alone %.3f (%.3f) ms  crew %.3f (%.3f) ms  %.2f (%.2f to %.2f)  "
	       "helped %.1f repeated %.2f\n",
	       name, bytes >> 10, alone[rounds / 2], alone[rounds * 9 / 10], together[rounds / 2],
	       together[rounds * 9 / 10], ratio[rounds / 2], ratio[rounds / 4],
	       ratio[rounds * 3 / 4], (double)stats.helped / rounds,
	       (double)stats.repeated / rounds);
	ti_hash_crew_close(crew);
	ti_hash_destroy(&h);
	ti_secret_free(key);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 64, 128, 256, 1024 }; /* KiB */
	static const char *const names[] = { "sha1",	   "hmac(sha256)",   "sha512",
					     "sha3-256",   "hmac(sha3-512)", "blake2b-256",
					     "blake2s-256" };
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 101;
	struct ti_hash_crew_options options = {
		.helpers = argc > 2 ? (unsigned)atoi(argv[2]) : ti_hash_crew_suits(),
		.piece_bytes = argc > 3 ? (size_t)atoi(argv[3]) << 10 : 0,
		.share_bytes = 1,
	};

	if (options.helpers == 0)
		options.helpers = 1;
	must(rounds > 0 && rounds <= MAX_ROUNDS, "ROUNDS, a number from 1 to 2000,");
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 + i / 256);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++)
			measure(names[i], sizes[k] << 10, rounds, &options);
	return 0;
}
