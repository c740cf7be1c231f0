/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Every digest against known digests: of "abc" and, for hmac(), of RFC 2104's "Jefe" as published;
 * of 600 bytes, and with a key longer than any block, as Python's hashlib has them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hash.h"
#include "superblock.h"

enum key { NO_KEY, JEFE, LONG_KEY };
enum message { ABC, LONG, QUESTION };

static const struct vector {
	const char *name;
	enum key key;
	enum message message;
	const char *digest;
} vectors[] = {
	{ "crc32c", NO_KEY, ABC, "b73f4b36" },
	{ "crc32", NO_KEY, ABC, "d09865ca" },
	{ "xxhash64", NO_KEY, ABC, "990977adf52cbc44" },
	{ "sha1", NO_KEY, ABC, "a9993e364706816aba3e25717850c26c9cd0d89d" },
	{ "sha256", NO_KEY, ABC,
	  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
	{ "sha384", NO_KEY, ABC,
	  "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
	  "8086072ba1e7cc2358baeca134c825a7" },
	{ "sha512", NO_KEY, ABC,
	  "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
	  "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f" },
	{ "sha3-256", NO_KEY, ABC,
	  "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532" },
	{ "sha3-512", NO_KEY, ABC,
	  "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
	  "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0" },
	{ "blake2b-256", NO_KEY, ABC,
	  "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319" },
	{ "blake2b-512", NO_KEY, ABC,
	  "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
	  "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923" },
	{ "blake2s-256", NO_KEY, ABC,
	  "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982" },
	{ "crc32c", NO_KEY, LONG, "612603b3" },
	{ "crc32", NO_KEY, LONG, "18365fa8" },
	{ "xxhash64", NO_KEY, LONG, "81f65c66b816cbac" },
	{ "sha1", NO_KEY, LONG, "ec7029dc2005fbc4d0b46ef319bf215c5468eb5e" },
	{ "sha256", NO_KEY, LONG,
	  "db4f2ac25d140369324dbed60d7b8e314fdf1252c171f8513fb7dbf5cc92e88d" },
	{ "sha384", NO_KEY, LONG,
	  "0ff9861ecbe94981986a792be25bce64dbb17b12a23b81508c6e2fe39c12d13e"
	  "960dfe5a59727cb89dbeee555c1e35be" },
	{ "sha512", NO_KEY, LONG,
	  "83b54edfce9e307e4046585838da89cf2c4317bbe2b793d56592352011d7b887"
	  "94b48160af0e6495fe2039d7e0ec4a544825425866393e6e67bedd706fccb0cc" },
	{ "sha3-256", NO_KEY, LONG,
	  "497a01cc408eb55d33f3f6aeee0f948a27f25fa0cfd87a32fe61a73ac2aa681d" },
	{ "sha3-512", NO_KEY, LONG,
	  "015bf7e6b024a73425a79ffa0db332017edc59d9bc7089955ddc006955d1bd20"
	  "5e75d33bc99d4222ef764cc761796e6801febf51fc9def94e205546be56010f2" },
	{ "blake2b-256", NO_KEY, LONG,
	  "3b43465dedfd4d6c36300512e565e92ff0721a9e39d6407968557b6ca2f98336" },
	{ "blake2b-512", NO_KEY, LONG,
	  "17afbb2d88ea0c2c1e23689001b79c823dc65f1ba09c32e779c7c5af79896ec5"
	  "fdeb998cef82b7b31e0718875220e1dd7812cd9ec78f85afaee9919b44df9ea4" },
	{ "blake2s-256", NO_KEY, LONG,
	  "706020299109b80b20d70d60dffdf471d50c85654354b46fbcf1ed7c9891a0c0" },
	{ "hmac(sha1)", JEFE, QUESTION, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79" },
	{ "hmac(sha1)", LONG_KEY, LONG, "d1b2a6802b2af28e84c848db4e429e24fe30c5b2" },
	{ "hmac(sha256)", JEFE, QUESTION,
	  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
	{ "hmac(sha256)", LONG_KEY, LONG,
	  "15e26b7a3a87c9a91f526933fd3522d847a5a1d32be3d58fb741247ce92c288f" },
	{ "hmac(sha384)", JEFE, QUESTION,
	  "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
	  "8e2240ca5e69e2c78b3239ecfab21649" },
	{ "hmac(sha384)", LONG_KEY, LONG,
	  "e91a5e05ddf228770270503a240cf46ed2a8fbf25808d3668762c76e73b3699b"
	  "0bd7d2cba816e64c01492d3491e7b0b1" },
	{ "hmac(sha512)", JEFE, QUESTION,
	  "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
	  "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737" },
	{ "hmac(sha512)", LONG_KEY, LONG,
	  "c2ad3ba1699b66b973a5f9311943965e390234bcdddce82fbfc8748ef65e950f"
	  "d060f000aa8a36dfd02baeb17fcdf827d9093c28a9cfa4fce4a2c720f2611160" },
	{ "hmac(sha3-256)", JEFE, QUESTION,
	  "c7d4072e788877ae3596bbb0da73b887c9171f93095b294ae857fbe2645e1ba5" },
	{ "hmac(sha3-256)", LONG_KEY, LONG,
	  "4a3cd3992c1be403812149cd4ea2abcf1283341d5dc5f64ed72286d50efff42a" },
	{ "hmac(sha3-512)", JEFE, QUESTION,
	  "5a4bfeab6166427c7a3647b747292b8384537cdb89afb3bf5665e4c5e709350b"
	  "287baec921fd7ca0ee7a0c31d022a95e1fc92ba9d77df883960275beb4e62024" },
	{ "hmac(sha3-512)", LONG_KEY, LONG,
	  "4cfa09cdda000fe42430f395f4a7f4a40013fad0598c212243c93744ab0971dc"
	  "055974c8d316c288f4e6052ec2d2fce7e927bbe3a29840755c4700e745486137" },
	{ "hmac(blake2b-256)", JEFE, QUESTION,
	  "3cf096eeeb2202a250db168c4823a44ef4618ebabb225789386fed316131e3a0" },
	{ "hmac(blake2b-256)", LONG_KEY, LONG,
	  "f6fae5b680d5e9a8f4f071bf0fbb91e9d33ed6f6603f776876a90f599d01e14b" },
	{ "hmac(blake2b-512)", JEFE, QUESTION,
	  "6ff884f8ddc2a6586b3c98a4cd6ebdf14ec10204b6710073eb5865ade37a2643"
	  "b8807c1335d107ecdb9ffeaeb6828c4625ba172c66379efcd222c2de11727ab4" },
	{ "hmac(blake2b-512)", LONG_KEY, LONG,
	  "ba406f709b0f5e1c6594a665010488d4d8b40fd5a7167939dd4612a21d7c0596"
	  "241476f0d5511a04f202e8b2d959db7af27875c19b8c5081b344795d12da5d4c" },
	{ "hmac(blake2s-256)", JEFE, QUESTION,
	  "90b6281e2f3038c9056af0b4a7e763cae6fe5d9eb4386a0ec95237890c104ff0" },
	{ "hmac(blake2s-256)", LONG_KEY, LONG,
	  "98bad7fe06a1b9be5d90d5bbb2071eae94c5ab47cb90f3c24aeb9ddae1e85b98" },
};

#define VECTORS (sizeof(vectors) / sizeof(vectors[0]))

static uint8_t long_message[600];

static size_t message_of(const struct vector *v, const uint8_t **bytes)
{
	static const char question[] = "what do ya want for nothing?";

	if (v->message == LONG) {
		*bytes = long_message;
		return sizeof(long_message);
	}
	*bytes = (const uint8_t *)(v->message == ABC ? "abc" : question);
	return strlen((const char *)*bytes);
}

static struct ti_secret *key_of(enum key which)
{
	struct ti_secret *key;

	if (which == NO_KEY)
		return NULL;
	assert_int_equal(ti_secret_alloc(200, &key), 0);
	key->len = which == JEFE ? 4 : 200;
	for (unsigned i = 0; i < 200; i++)
		key->bytes[i] = (uint8_t)(i * 7 + 3);
	if (which == JEFE)
		memcpy(key->bytes, "Jefe", 4);
	return key;
}

static void to_hex(const uint8_t *bytes, size_t n, char *hex)
{
	for (size_t i = 0; i < n; i++)
		sprintf(hex + 2 * i, "%02x", bytes[i]);
}

static void open_vector(const struct vector *v, uint32_t tag_size, const uint8_t *salt,
			struct ti_hash *h)
{
	const struct ti_hash_ops *ops = ti_hash_find(v->name);
	struct ti_secret *key = key_of(v->key);

	if (!ops)
		fail_msg("%s is not known", v->name);
	assert_int_equal(
		ti_hash_init_keyed(h, ops, key, 512, tag_size ? tag_size : ops->digest_size, salt),
		0);
	ti_secret_free(key);
}

/* In @pieces pieces of about the same length. */
static void digest_in(const struct ti_hash *h, const uint8_t *bytes, size_t len, size_t pieces,
		      uint8_t *digest)
{
	struct iovec piece[8];

	for (size_t i = 0; i < pieces; i++) {
		size_t from = len * i / pieces, to = len * (i + 1) / pieces;

		piece[i].iov_base = (uint8_t *)(uintptr_t)bytes + from;
		piece[i].iov_len = to - from;
	}
	ti_hash_message(h, piece, pieces, digest);
}

static void digests_are_the_known_ones_in_any_number_of_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		const uint8_t *bytes;
		size_t len = message_of(&vectors[i], &bytes);
		struct ti_hash h;

		open_vector(&vectors[i], 0, NULL, &h);
		/* Again and again: nothing stays from one message to the next. */
		for (size_t pieces = 1; pieces <= 8; pieces++) {
			uint8_t digest[TI_HASH_MAX_DIGEST];
			char hex[2 * TI_HASH_MAX_DIGEST + 1];

			digest_in(&h, bytes, len, pieces, digest);
			to_hex(digest, h.ops->digest_size, hex);
			if (strcmp(hex, vectors[i].digest) != 0)
				fail_msg("%s: %s instead of %s", vectors[i].name, hex,
					 vectors[i].digest);
		}
		ti_hash_destroy(&h);
	}
}

/* Salt, sector and block are one message; cut and filled up as every tag. */
static void tags_are_digests_of_salt_sector_and_block(void **state)
{
	static const uint8_t salt[TI_SALT_BYTES] = "sixteen bytes..";
	static const uint32_t sizes[] = { 1, 3, 20, 64, 255 };
	uint8_t message[TI_SALT_BYTES + 8 + 512];

	(void)state;
	memcpy(message, salt, sizeof(salt));
	memcpy(message + TI_SALT_BYTES, "\x34\x12\0\0\0\0\0\0", 8);
	memcpy(message + TI_SALT_BYTES + 8, long_message, 512);
	for (size_t i = 0; i < VECTORS; i++) {
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			uint8_t want[2][255] = { { 0 } }, tag[255];
			size_t digest = strlen(vectors[i].digest) / 2;
			struct ti_hash plain, h;

			open_vector(&vectors[i], 0, NULL, &plain);
			for (int salted = 0; salted < 2; salted++) {
				size_t skip = salted ? 0 : TI_SALT_BYTES;

				digest_in(&plain, message + skip, sizeof(message) - skip, 1,
					  want[salted]);
				if (sizes[s] > digest)
					memset(want[salted] + digest, 0, sizes[s] - digest);
				open_vector(&vectors[i], sizes[s], salted ? salt : NULL, &h);
				memset(tag, 0xee, sizeof(tag));
				ti_hash_same(&h, 0x1234, long_message, 1, tag);
				assert_memory_equal(tag, want[salted], sizes[s]);
				assert_true(sizes[s] == 255 || tag[sizes[s]] == 0xee);
				ti_hash_destroy(&h);
			}
			ti_hash_destroy(&plain);
		}
	}
}

static void two_keys_give_two_digests(void **state)
{
	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		struct vector other = vectors[i];
		uint8_t a[TI_HASH_MAX_DIGEST], b[TI_HASH_MAX_DIGEST];
		struct ti_hash h;

		if (vectors[i].key == NO_KEY)
			continue;
		other.key = vectors[i].key == JEFE ? LONG_KEY : JEFE;
		open_vector(&vectors[i], 0, NULL, &h);
		digest_in(&h, long_message, 600, 1, a);
		ti_hash_destroy(&h);
		open_vector(&other, 0, NULL, &h);
		digest_in(&h, long_message, 600, 1, b);
		assert_memory_not_equal(a, b, h.ops->digest_size);
		ti_hash_destroy(&h);
	}
}

static void keys_are_taken_where_they_belong_only(void **state)
{
	struct ti_secret *key = key_of(JEFE);
	struct ti_hash h, zero = { 0 };

	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		const struct ti_hash_ops *ops = ti_hash_find(vectors[i].name);

		assert_int_equal(ti_hash_init_keyed(&h, ops, ops->keyed ? NULL : key, 512, 4, NULL),
				 ops->keyed ? -ENOKEY : -EINVAL);
		assert_memory_equal(&h, &zero, sizeof(h));
	}
	key->len = 0;
	assert_int_equal(ti_hash_init_keyed(&h, ti_hash_find("hmac(sha256)"), key, 512, 4, NULL),
			 -EINVAL);
	ti_secret_free(key);
}

static void names_are_found_in_both_spellings(void **state)
{
	static const char *const unknown[] = { "",	     "hmac",	     "hmac-",
					       "hmac()",     "hmac(crc32c)", "hmac-crc32c",
					       "hmac(sha3)", "SHA256",	     "hmac-hmac(sha1)",
					       "md5",	     "sha256 ",	     "hmac(sha256" };

	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		char spelled[64];
		size_t len;

		assert_string_equal(ti_hash_find(vectors[i].name)->name, vectors[i].name);
		if (vectors[i].key == NO_KEY)
			continue;
		len = (size_t)sprintf(spelled, "hmac-%s", vectors[i].name + 5);
		spelled[len - 1] = '\0';
		assert_ptr_equal(ti_hash_find(spelled), ti_hash_find(vectors[i].name));
	}
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		assert_null(ti_hash_find(unknown[i]));
	assert_null(ti_hash_find("hmac-a name that is longer than any digest's could ever be, "
				 "and so is cut off"));
}

static void names_in_messages_are_all_there_are(void **state)
{
	(void)state;
	for (size_t i = 0; i < VECTORS; i++)
		if (vectors[i].key == NO_KEY)
			assert_non_null(strstr(TI_HASH_NAMES, vectors[i].name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digests_are_the_known_ones_in_any_number_of_pieces),
		cmocka_unit_test(tags_are_digests_of_salt_sector_and_block),
		cmocka_unit_test(two_keys_give_two_digests),
		cmocka_unit_test(keys_are_taken_where_they_belong_only),
		cmocka_unit_test(names_are_found_in_both_spellings),
		cmocka_unit_test(names_in_messages_are_all_there_are),
	};

	for (unsigned i = 0; i < sizeof(long_message); i++)
		long_message[i] = (uint8_t)(i % 251);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
