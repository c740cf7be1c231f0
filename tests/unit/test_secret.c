/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Secrets leave nothing behind.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cmocka.h>

#include "hash.h"
#include "hash_crew.h"
#include "memory_search.h"
#include "seal_cipher.h"
#include "secret.h"

#define KEY   200U /* longer than any digest's block: it is hashed first, too */
#define FIRST 29U
#define STEP  73U

static void make_key(struct ti_secret **key, size_t len)
{
	assert_int_equal(ti_secret_alloc(len, key), 0);
	(*key)->len = len;
	for (unsigned i = 0; i < len; i++)
		(*key)->bytes[i] = (uint8_t)(FIRST + i * STEP);
}

static unsigned search(bool only_dumped)
{
	return memory_holds(FIRST, STEP, only_dumped);
}

static void the_search_finds_a_key_that_is_there(void **state)
{
	struct ti_secret *key;
	uint8_t *copy = malloc(64);

	(void)state;
	assert_non_null(copy);
	assert_int_equal(search(false), 0);
	make_key(&key, 64);
	assert_int_equal(search(false), 1);
	memcpy(copy, key->bytes, 64);
	assert_int_equal(search(true), 1);
	assert_int_equal(search(false), 2);
	for (unsigned i = 0; i < 64; i++)
		copy[i] ^= 0x36;
	assert_int_equal(search(true), 1);
	explicit_bzero(copy, 64);
	free(copy);
	ti_secret_free(key);
	assert_int_equal(search(false), 0);
}

static void keys_are_in_no_core_dump_and_gone_when_freed(void **state)
{
	struct ti_secret *key, *copy;

	(void)state;
	make_key(&key, KEY);
	assert_int_equal(ti_secret_copy(key, &copy), 0);
	assert_int_equal(copy->len, KEY);
	assert_true(ti_secret_equal(copy->bytes, key->bytes, KEY));
	assert_int_equal(search(false), 2);
	assert_int_equal(search(true), 0);
	ti_secret_free(key);
	ti_secret_free(copy);
	ti_secret_free(NULL);
	assert_int_equal(search(false), 0);
}

static void use(struct ti_hash *h)
{
	static uint8_t block[4096];
	uint8_t tags[4 * 64];

	ti_hash_same(h, 0, block, 4, tags);
}

static const char *const digests[] = { "sha1",	      "sha256",	     "sha384",
				       "sha512",      "sha3-256",    "sha3-512",
				       "blake2b-256", "blake2b-512", "blake2s-256" };

/* While a keyed digest works, and after it has gone. */
static void no_digest_leaves_its_key_anywhere(void **state)
{
	static const size_t lengths[] = { 32, 64, KEY };
	char name[64];

	(void)state;
	for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
		for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
			struct ti_secret *key;
			struct ti_hash h;

			snprintf(name, sizeof(name), "hmac(%s)", digests[i]);
			make_key(&key, lengths[l]);
			assert_int_equal(
				ti_hash_init_keyed(&h, ti_hash_find(name), key, 4096, 32, NULL), 0);
			ti_secret_free(key);
			use(&h);
			if (search(true))
				fail_msg("%s: a core dump would hold the key", name);
			ti_hash_destroy(&h);
			if (search(false))
				fail_msg("%s: the key is still in memory", name);
		}
	}
}

/* The state that a tag was taken from begins with the tag.  SHA-3's leads back to the key. */
static void no_keyed_digest_keeps_the_state_of_its_last_message(void **state)
{
	static uint8_t block[512];
	char name[64];

	(void)state;
	for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
		uint8_t tag[TI_HASH_MAX_DIGEST], inverted[8];
		const struct ti_hash_ops *ops;
		struct ti_secret *key;
		struct ti_hash h;

		snprintf(name, sizeof(name), "hmac(%s)", digests[i]);
		ops = ti_hash_find(name);
		make_key(&key, 64);
		assert_int_equal(ti_hash_init_keyed(&h, ops, key, 512, ops->digest_size, NULL), 0);
		ti_secret_free(key);
		ti_hash_same(&h, 0, block, 1, tag);
		for (size_t b = 0; b < sizeof(inverted); b++)
			inverted[b] = (uint8_t)~tag[b];
		assert_int_equal(memory_holds_inverse(inverted), 1);
		explicit_bzero(tag, sizeof(tag));
		if (memory_holds_inverse(inverted))
			fail_msg("%s: its last state is still in memory", name);
		ti_hash_destroy(&h);
	}
}

/* As above, with helper threads that have made tags. */
static void no_helper_leaves_its_key_anywhere(void **state)
{
	static const char *const names[] = { "hmac(sha256)", "hmac(sha512)", "hmac(sha3-512)",
					     "hmac(blake2b-256)" };
	static uint8_t data[64 * 4096], tags[64 * 32];
	const struct ti_hash_crew_options options = { .helpers = 2, .share_bytes = 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t not_dumped = memory_not_dumped();
		struct ti_hash_crew *crew;
		struct ti_secret *key;
		bool locked = true;
		struct ti_hash h;

		make_key(&key, 64);
		assert_int_equal(
			ti_hash_init_keyed(&h, ti_hash_find(names[i]), key, 4096, 32, NULL), 0);
		assert_int_equal(ti_hash_crew_open(&options, &h, key, NULL, &locked, &crew), 0);
		ti_secret_free(key);
		/* Each of the three has a place of its own. */
		assert_int_equal(memory_not_dumped() - not_dumped, 3 * sysconf(_SC_PAGESIZE));
		for (unsigned n = 0; n < 1000000 && ti_hash_crew_stats(crew).helped < 20; n++) {
			struct iovec flat = { .iov_base = data, .iov_len = sizeof(data) };
			struct ti_iov_cursor cursor = ti_iov_cursor(&flat, 1);

			ti_hash_crew_blocks(crew, 0, &cursor, 64, tags);
		}
		assert_true(ti_hash_crew_stats(crew).helped >= 20);
		if (search(true))
			fail_msg("%s: a core dump would hold the key", names[i]);
		ti_hash_crew_close(crew);
		ti_hash_destroy(&h);
		if (search(false))
			fail_msg("%s: the key is still in memory", names[i]);
		assert_int_equal(memory_not_dumped(), not_dumped);
	}
}

#define STACK_BYTES ((size_t)256 << 10)

/* A digest or a cipher with a key, from open to close. */
struct use {
	const char *hash, *cipher;
	size_t key_len;
	bool works; /* else what opening it left would be written over */
};

static void use_hash(const struct use *u)
{
	struct ti_secret *key;
	struct ti_hash h;

	make_key(&key, u->key_len);
	assert_int_equal(ti_hash_init_keyed(&h, ti_hash_find(u->hash), key, 4096, 32, NULL), 0);
	ti_secret_free(key);
	if (u->works)
		use(&h);
	ti_hash_destroy(&h);
}

static void use_cipher(const struct use *u)
{
	static const struct ti_geometry geo = { .section_sectors = 64,
						.journal_sections = 32,
						.journal_bytes = 32 * 64 * TI_SECTOR_BYTES };
	static uint8_t section[64 * TI_SECTOR_BYTES];
	struct ti_journal_ids ids = ti_journal_plain_ids();
	struct ti_seal_cipher c = { .kind = TI_SEAL_PLAIN };
	struct ti_error error;
	struct ti_secret *key;

	make_key(&key, u->key_len);
	assert_int_equal(ti_seal_cipher_open(&c, u->cipher, key, &error), 0);
	ti_secret_free(key);
	assert_int_equal(ti_seal_cipher_start(&c, &geo, &ids, &error), 0);
	for (int encrypt = 1; encrypt >= 0 && u->works; encrypt--)
		ti_seal_cipher_run(&c, &geo, 1, encrypt, section, section);
	ti_seal_cipher_close(&c);
}

static void leave_key(const struct use *u)
{
	volatile uint8_t left[64];

	(void)u;
	for (unsigned i = 0; i < sizeof(left); i++)
		left[i] = (uint8_t)(FIRST + i * STEP);
}

/* What runs on the other stack; makecontext() hands over nothing but ints. */
static struct {
	void (*work)(const struct use *u);
	struct use use;
	ucontext_t before, there;
} other;

static void run_work(void)
{
	other.work(&other.use);
}

/* On a stack that nobody uses afterwards. */
static bool leaves_key_on_its_stack(void (*work)(const struct use *u), struct use u)
{
	uint8_t *stack =
		mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool found;

	assert_true(stack != MAP_FAILED);
	other.work = work;
	other.use = u;
	assert_int_equal(getcontext(&other.there), 0);
	other.there.uc_stack = (stack_t){ .ss_sp = stack, .ss_size = STACK_BYTES };
	other.there.uc_link = &other.before;
	makecontext(&other.there, run_work, 0);
	assert_int_equal(swapcontext(&other.before, &other.there), 0);
	found = bytes_hold_a_run(stack, STACK_BYTES, STEP);
	munmap(stack, STACK_BYTES);
	return found;
}

static void no_key_is_left_on_a_stack(void **state)
{
	static const char *const ciphers[] = { "ctr-aes", "chacha20", "cbc-aes", "ecb-aes" };
	static const size_t lengths[] = { 20, 32, 64, 116, KEY };
	char name[64];

	(void)state;
	assert_true(leaves_key_on_its_stack(leave_key, (struct use){ 0 }));
	for (int works = 0; works < 2; works++) {
		for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
			snprintf(name, sizeof(name), "hmac(%s)", digests[i]);
			for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
				struct use u = { .hash = name,
						 .key_len = lengths[l],
						 .works = works };

				if (leaves_key_on_its_stack(use_hash, u))
					fail_msg("%s: of a key of %zu bytes some are left", name,
						 u.key_len);
			}
		}
		for (size_t i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++) {
			struct use u = { .cipher = ciphers[i], .key_len = 32, .works = works };

			if (leaves_key_on_its_stack(use_cipher, u))
				fail_msg("%s: some of the key is left", ciphers[i]);
		}
	}
}

static void refused_keys_leave_nothing(void **state)
{
	struct ti_secret *key;
	struct ti_hash h;

	(void)state;
	make_key(&key, 64);
	assert_int_equal(ti_hash_init_keyed(&h, ti_hash_find("hmac(sha256)"), key, 512, 0, NULL),
			 -EINVAL);
	assert_int_equal(ti_hash_init_keyed(&h, ti_hash_find("sha256"), key, 512, 32, NULL),
			 -EINVAL);
	ti_secret_free(key);
	assert_int_equal(search(false), 0);
}

static void equal_sees_every_byte(void **state)
{
	uint8_t a[40], b[40];

	(void)state;
	for (size_t len = 0; len <= sizeof(a); len++) {
		memset(a, 0x11, sizeof(a));
		memset(b, 0x11, sizeof(b));
		assert_true(ti_secret_equal(a, b, len));
		for (size_t at = 0; at < sizeof(a); at++) {
			b[at] ^= 0x80;
			assert_int_equal(ti_secret_equal(a, b, len), at >= len);
			b[at] ^= 0x80;
		}
	}
}

static void impossible_room_is_refused(void **state)
{
	struct ti_secret *key = NULL;

	(void)state;
	assert_int_equal(ti_secret_alloc(SIZE_MAX, &key), -ENOMEM);
	assert_int_equal(ti_secret_alloc(SIZE_MAX / 2, &key), -ENOMEM);
	assert_null(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_search_finds_a_key_that_is_there),
		cmocka_unit_test(keys_are_in_no_core_dump_and_gone_when_freed),
		cmocka_unit_test(no_digest_leaves_its_key_anywhere),
		cmocka_unit_test(no_keyed_digest_keeps_the_state_of_its_last_message),
		cmocka_unit_test(no_helper_leaves_its_key_anywhere),
		cmocka_unit_test(no_key_is_left_on_a_stack),
		cmocka_unit_test(refused_keys_leave_nothing),
		cmocka_unit_test(equal_sees_every_byte),
		cmocka_unit_test(impossible_room_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
