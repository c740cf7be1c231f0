/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Keys of a LUN: in no core dump while it is open, nowhere when it is closed, and nowhere after an
 * open that has failed, wherever it did.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "memory_search.h"
#include "sim_seal.h"

static const char *const ciphers[] = { NULL, "ctr-aes", "chacha20", "cbc-aes", "ecb-aes" };

#define CIPHERS	   (sizeof(ciphers) / sizeof(ciphers[0]))
#define HASH_FIRST 5
#define HELPERS	   2U

/* In place of the C library's: the one after the next so many fails, if this is not 0. */
static unsigned locks_until_failure;

int mlock(const void *address, size_t len)
{
	if (locks_until_failure > 0 && --locks_until_failure == 0) {
		errno = ENOMEM;
		return -1;
	}
	return (int)syscall(SYS_mlock, address, len);
}

static void rest(void *ctx, struct ti_hash_crew *crew)
{
	(void)ctx;
	(void)crew;
}

/* Helpers that do nothing but have the key. */
static const struct ti_hash_crew_script resting = { .chance = rest };

struct keyed {
	struct sim_sealed w;
	struct ti_secret *hash_key;
	size_t ours; /* bytes that are not dumped: the three keys of the test */
};

static unsigned keys_found(bool only_dumped)
{
	/* The first bytes of sim_sealed_make()'s MAC key and cipher key, and of the tags' key. */
	return memory_holds(1, SIM_KEY_STEP, only_dumped) +
	       memory_holds(9, SIM_KEY_STEP, only_dumped) +
	       memory_holds(HASH_FIRST, SIM_KEY_STEP, only_dumped);
}

static void nothing_is_left(const struct keyed *k)
{
	assert_int_equal(memory_not_dumped(), k->ours);
	assert_int_equal(keys_found(true), 0);
}

/* A pair with everything keyed, and flushed writes in its journal; not open. */
static struct keyed make(const char *crypt, const char *hash)
{
	struct keyed k = { .w = sim_sealed_make(crypt, true), .hash_key = sim_key(32, HASH_FIRST) };
	struct sim_lun *l = k.w.l;

	l->options.hash = hash;
	l->options.hash_key = k.hash_key;
	l->options.cache_bytes = 1; /* the least, for it is searched again and again */
	l->options.queue_depth = 4;
	l->options.bounce_buffers = 1;
	l->options.crew = (struct ti_hash_crew_options){ .helpers = HELPERS, .script = &resting };
	k.ours = memory_not_dumped();
	assert_int_not_equal(k.ours, 0);
	assert_true(keys_found(false) > 0);
	if (sim_lun_open(l) != 0)
		fail_msg("%s", l->error.text);
	sim_ok(l, sim_write(l, 3, 8, 1));
	sim_ok(l, sim_flush(l));
	assert_true(memory_not_dumped() > k.ours);
	if (keys_found(true) != 0)
		fail_msg("a core dump of an open LUN would hold a key");
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	nothing_is_left(&k);
	return k;
}

static void drop(struct keyed *k)
{
	sim_sealed_drop(&k->w);
	ti_secret_free(k->hash_key);
	assert_int_equal(memory_not_dumped(), 0);
	assert_int_equal(keys_found(false), 0);
}

static void fails(struct keyed *k, int err)
{
	assert_int_equal(sim_lun_open(k->w.l), err);
	nothing_is_left(k);
}

static void open_that_is_refused_leaves_no_key(void **state)
{
	(void)state;
	for (size_t c = 0; c < CIPHERS; c++) {
		struct keyed k = make(ciphers[c], "hmac-sha256");
		struct ti_lun_options *o = &k.w.l->options;
		const struct ti_lun_options right = *o;
		uint8_t *meta = sim_contents(k.w.l->sim, TI_META);
		uint8_t *section = sim_journal_bytes(k.w.l, 0);

		o->hash_key = NULL;
		fails(&k, -ENOKEY);
		o->hash = "sha257";
		fails(&k, -EOPNOTSUPP);
		*o = right;
		o->hash_key = k.w.mac_key;
		fails(&k, -EILSEQ); /* the journal's data */
		*o = right;
		o->seal.mac = NULL;
		o->seal.mac_key = NULL;
		fails(&k, -EINVAL);
		*o = right;
		o->seal.mac_key = k.hash_key;
		fails(&k, -EILSEQ); /* the superblock's MAC */
		*o = right;
		if (ciphers[c] != NULL) {
			o->seal.crypt_key = k.hash_key;
			fails(&k, -EUCLEAN);
			o->seal.crypt_key = NULL;
			fails(&k, -ENOKEY);
			o->seal.crypt_key = k.w.mac_key; /* 40 bytes */
			fails(&k, -EINVAL);
			*o = right;
		}
		meta[48] ^= 1; /* the salt */
		fails(&k, -EILSEQ);
		meta[48] ^= 1;
		section[0] ^= 1; /* a sector number, and what a block cipher makes of it */
		assert_true(sim_lun_open(k.w.l) < 0);
		nothing_is_left(&k);
		section[0] ^= 1;
		for (int op = TI_IO_READ; op <= TI_IO_WRITE; op++) {
			sim_fail(k.w.l, TI_META, (enum ti_io_op)op, k.w.l->geo.journal_offset, 1);
			fails(&k, -EIO);
			sim_mend(k.w.l);
		}
		sim_fail(k.w.l, TI_META, TI_IO_READ, 0, 1);
		fails(&k, -EIO);
		sim_mend(k.w.l);
		assert_int_equal(sim_lun_open(k.w.l), 0);
		sim_reads(k.w.l, 3, 8, 1);
		drop(&k);
	}
}

/* Each piece of secret memory is the one that there is not, in turn. */
static void open_without_memory_leaves_no_key(void **state)
{
	static const char *const hashes[] = { "hmac-sha256", "hmac-sha3-512" };

	(void)state;
	for (size_t h = 0; h < 2; h++) {
		for (size_t c = 0; c < CIPHERS; c++) {
			struct keyed k = make(ciphers[c], hashes[h]);
			unsigned failed = 0, unused = 0;

			for (unsigned n = 1; unused == 0; n++) {
				int err;

				locks_until_failure = n;
				err = sim_lun_open(k.w.l);
				unused = locks_until_failure;
				locks_until_failure = 0;
				if (err != 0) {
					assert_int_equal(err, -ENOMEM);
					failed++;
				} else {
					/* Of memory without secrets it is no failure. */
					assert_int_equal(keys_found(true), 0);
					ti_lun_abandon(k.w.l->lun);
					k.w.l->lun = NULL;
				}
				nothing_is_left(&k);
			}
			/* The key of the MAC twice, its two states, the tags'; and the cipher's. */
			assert_in_range(failed, ciphers[c] != NULL ? 5 : 4, 8);
			drop(&k);
		}
	}
}

/* One page for each. */
static void helpers_keep_their_keys_where_the_lun_does(void **state)
{
	struct keyed k = make(NULL, "hmac-sha512");
	size_t with;

	(void)state;
	assert_int_equal(sim_lun_open(k.w.l), 0);
	with = memory_not_dumped();
	assert_int_equal(sim_lun_close(k.w.l), 0);
	nothing_is_left(&k);
	k.w.l->options.crew.helpers = 0;
	assert_int_equal(sim_lun_open(k.w.l), 0);
	assert_int_equal(with - memory_not_dumped(), HELPERS * (size_t)sysconf(_SC_PAGESIZE));
	assert_int_equal(sim_lun_close(k.w.l), 0);
	nothing_is_left(&k);
	drop(&k);
}

static void closed_lun_leaves_no_key(void **state)
{
	(void)state;
	for (size_t c = 0; c < CIPHERS; c++) {
		struct keyed k = make(ciphers[c], "hmac-blake2b-256");

		assert_int_equal(sim_lun_open(k.w.l), 0);
		sim_reads(k.w.l, 3, 8, 1);
		sim_ok(k.w.l, sim_write(k.w.l, 30, 8, 2));
		assert_int_equal(sim_lun_close(k.w.l), 0);
		nothing_is_left(&k);
		drop(&k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_that_is_refused_leaves_no_key),
		cmocka_unit_test(open_without_memory_leaves_no_key),
		cmocka_unit_test(helpers_keep_their_keys_where_the_lun_does),
		cmocka_unit_test(closed_lun_leaves_no_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
