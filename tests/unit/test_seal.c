/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The journal's ciphers against libcrypto's EVP, which the engine uses only for key streams, and
 * what is refused.  (What the kernel makes of the same bytes, the lab shows.)
 */
#include "seal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>

#include "hash.h"
#include "le.h"

static struct ti_secret *make_key(size_t len)
{
	struct ti_secret *key;

	assert_int_equal(ti_secret_alloc(len, &key), 0);
	key->len = len;
	for (size_t i = 0; i < len; i++)
		key->bytes[i] = (uint8_t)(i * 11 + 5);
	return key;
}

static void make_pair(struct ti_superblock *sb, struct ti_geometry *geo, bool salted, bool mac)
{
	const struct ti_format_shape shape = { .block_size = 512,
					       .tag_size = 4,
					       .journal_sectors = 600,
					       .salted = salted,
					       .journal_mac = mac };
	const struct ti_pair_sizes sizes = {
		.data_sectors = 2048, .meta_sectors = 2048, .data_name = "data", .meta_name = "meta"
	};
	struct ti_error e = { 0 };

	if (ti_geometry_plan(&shape, &sizes, sb, geo, &e))
		fail_msg("%s", e.text);
	for (unsigned i = 0; salted && i < TI_SALT_BYTES; i++)
		sb->salt[i] = (uint8_t)(i + 1);
}

/* Encrypt @len bytes as one message. */
static void by_evp(const EVP_CIPHER *cipher, const uint8_t *key, const uint8_t *iv,
		   const uint8_t *in, uint8_t *out, size_t len)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int made;

	assert_int_equal(EVP_EncryptInit_ex(ctx, cipher, NULL, key, iv), 1);
	EVP_CIPHER_CTX_set_padding(ctx, 0);
	assert_int_equal(EVP_EncryptUpdate(ctx, out, &made, in, (int)len), 1);
	assert_int_equal(made, len);
	EVP_CIPHER_CTX_free(ctx);
}

static const struct {
	const char *name;
	size_t key;
	const EVP_CIPHER *(*evp)(void);
	bool stream;
} ciphers[] = {
	{ "ctr(aes)", 16, EVP_aes_128_ctr, true },  { "ctr-aes", 24, EVP_aes_192_ctr, true },
	{ "ctr-aes", 32, EVP_aes_256_ctr, true },   { "chacha20", 32, EVP_chacha20, true },
	{ "cbc(aes)", 16, EVP_aes_128_cbc, false }, { "cbc-aes", 32, EVP_aes_256_cbc, false },
	{ "ecb-aes", 16, EVP_aes_128_ecb, false },  { "ecb(aes)", 24, EVP_aes_192_ecb, false },
};

static struct ti_seal *open_cipher(const char *name, const struct ti_secret *key,
				   const struct ti_superblock *sb, const struct ti_geometry *geo)
{
	const struct ti_seal_options options = { .crypt = name, .crypt_key = key };
	struct ti_error e = { 0 };
	struct ti_seal *seal;

	if (ti_seal_open(&options, &seal, &e) || ti_seal_start(seal, sb, geo, &e))
		fail_msg("%s", e.text);
	return seal;
}

static void encrypt_whole(const struct ti_seal *seal, const struct ti_geometry *geo,
			  const uint8_t *plain, uint8_t *out)
{
	size_t bytes = ti_journal_section_bytes(geo);

	for (uint32_t i = 0; i < geo->journal_sections; i++)
		ti_seal_encrypt(seal, i, plain + i * bytes, out + i * bytes);
}

static void ciphers_are_those_of_the_format(void **state)
{
	static const uint8_t zero[16];

	(void)state;
	for (size_t c = 0; c < sizeof(ciphers) / sizeof(ciphers[0]); c++) {
		struct ti_secret *key = make_key(ciphers[c].key);
		struct ti_superblock sb;
		struct ti_geometry geo;
		struct ti_seal *seal;
		size_t bytes, len;
		uint8_t *plain, *ours, *want;

		make_pair(&sb, &geo, false, false);
		bytes = ti_journal_section_bytes(&geo);
		/* The journal, rounded up to pages, and what makes the ids. */
		len = (geo.journal_bytes + 4095) / 4096 * 4096 + 32;
		plain = calloc(1, len);
		ours = calloc(1, len);
		want = calloc(1, len);
		for (size_t i = 0; i < geo.journal_bytes; i++)
			plain[i] = (uint8_t)(i * 7 + i / 512);
		seal = open_cipher(ciphers[c].name, key, &sb, &geo);
		assert_true(ti_seal_encrypts(seal));
		encrypt_whole(seal, &geo, plain, ours);
		if (ciphers[c].stream) {
			struct ti_journal_ids ids = ti_seal_ids(seal),
					      plain_ids = ti_journal_plain_ids();

			by_evp(ciphers[c].evp(), key->bytes, zero, plain, want, len);
			for (unsigned k = 0; k < 4; k++)
				assert_int_equal(
					ids.id[k],
					plain_ids.id[k] ^
						ti_le64_get((struct ti_le64 *)(want + len - 32 +
									       8 * k)));
		} else {
			struct ti_journal_ids ids = ti_seal_ids(seal);

			assert_int_equal(ids.id[2], ti_journal_plain_ids().id[2]);
			for (uint32_t i = 0; i < geo.journal_sections; i++) {
				uint8_t number[16] = { (uint8_t)i }, iv[16];

				by_evp(ciphers[c].evp(), key->bytes, zero, number, iv, 16);
				by_evp(ciphers[c].evp(), key->bytes, iv, plain + i * bytes,
				       want + i * bytes, bytes);
			}
		}
		assert_memory_equal(ours, want, geo.journal_bytes);
		for (uint32_t i = 0; i < geo.journal_sections; i++)
			ti_seal_decrypt(seal, i, ours + i * bytes);
		assert_memory_equal(ours, plain, geo.journal_bytes);
		/* In place, too. */
		for (uint32_t i = 0; i < geo.journal_sections; i++)
			ti_seal_encrypt(seal, i, ours + i * bytes, ours + i * bytes);
		assert_memory_equal(ours, want, geo.journal_bytes);
		free(plain);
		free(ours);
		free(want);
		ti_seal_close(seal);
		ti_secret_free(key);
	}
}

static void section_macs_cover_sector_numbers_and_places(void **state)
{
	static const char *const macs[] = { "hmac-sha256", "hmac-sha512", "hmac-sha1", "sha512",
					    "crc32c" };

	(void)state;
	for (size_t m = 0; m < sizeof(macs) / sizeof(macs[0]); m++) {
		for (int salted = 0; salted < 2; salted++) {
			bool keyed = !strncmp(macs[m], "hmac", 4);
			struct ti_secret *key = keyed ? make_key(32) : NULL;
			const struct ti_seal_options options = { .mac = macs[m], .mac_key = key };
			struct ti_error e = { 0 };
			struct ti_superblock sb;
			struct ti_geometry geo;
			struct ti_seal *seal;
			uint8_t *section;

			make_pair(&sb, &geo, salted, true);
			section = malloc(ti_journal_section_bytes(&geo));
			assert_int_equal(ti_seal_open(&options, &seal, &e), 0);
			assert_int_equal(ti_seal_start(seal, &sb, &geo, &e), 0);
			assert_false(ti_seal_encrypts(seal));
			ti_seal_empty_section(seal, &geo, 1, 2, section);
			assert_true(ti_seal_mac_is_right(seal, 1, section));
			/* fix_hmac: a section does not fit in another's place. */
			assert_int_equal(ti_seal_mac_is_right(seal, 2, section), !salted);
			for (uint32_t n = 0; n < geo.section_entries; n++) {
				uint8_t *at = section + ti_journal_entry_offset(&geo, n) + n % 8;

				*at ^= 0x40;
				assert_false(ti_seal_mac_is_right(seal, 1, section));
				*at ^= 0x40;
			}
			/* The digest's bytes, and the zeros behind a short one. */
			for (unsigned k = 0; k < 8; k++) {
				section[k * 512 + 496 + 3] ^= 1;
				assert_false(ti_seal_mac_is_right(seal, 1, section));
				section[k * 512 + 496 + 3] ^= 1;
			}
			assert_true(ti_seal_mac_is_right(seal, 1, section));
			free(section);
			ti_seal_close(seal);
			ti_secret_free(key);
		}
	}
}

static void superblock_macs_are_there_with_fix_hmac_only(void **state)
{
	struct ti_secret *key = make_key(32);
	const struct ti_seal_options options = { .mac = "hmac-sha256", .mac_key = key };
	struct ti_error e = { 0 };
	struct ti_seal *seal;

	(void)state;
	assert_int_equal(ti_seal_open(&options, &seal, &e), 0);
	for (int salted = 0; salted < 2; salted++) {
		static const uint8_t none[448];
		uint8_t buf[TI_SB_BYTES];
		struct ti_superblock sb;
		struct ti_geometry geo;

		make_pair(&sb, &geo, salted, true);
		ti_superblock_write(&sb, buf);
		ti_seal_superblock(seal, &sb, buf);
		assert_int_equal(!memcmp(buf + 64, none, sizeof(none)), !salted);
		assert_int_equal(ti_seal_check_superblock(seal, buf, &sb, "meta", &e), 0);
		buf[100] ^= 1;
		assert_int_equal(ti_seal_check_superblock(seal, buf, &sb, "meta", NULL),
				 salted ? -EILSEQ : 0);
		/* Only the first sector is covered. */
		buf[100] ^= 1;
		buf[512] ^= 1;
		assert_int_equal(ti_seal_check_superblock(seal, buf, &sb, "meta", NULL), 0);
		assert_int_equal(ti_seal_check_superblock(NULL, buf, &sb, "meta", NULL), -EINVAL);
		sb.flags &= ~TI_SB_HAVE_JOURNAL_MAC;
		assert_int_equal(ti_seal_check_superblock(seal, buf, &sb, "meta", NULL), -EINVAL);
		assert_int_equal(ti_seal_check_superblock(NULL, buf, &sb, "meta", NULL), 0);
	}
	ti_seal_close(seal);
	ti_secret_free(key);
}

static void recalculation_is_refused_as_the_kernel_refuses_it(void **state)
{
	static const struct {
		bool salted, hash_keyed, mac_keyed, refused;
	} cases[] = {
		{ false, false, false, false }, { false, true, false, true },
		{ false, false, true, true },	{ false, true, true, true },
		{ true, false, false, false },	{ true, true, false, true },
		{ true, false, true, false },	{ true, true, true, false },
	};
	struct ti_secret *key = make_key(32);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct ti_seal_options options = {
			.mac = cases[i].mac_keyed ? "hmac-sha256" : "sha256",
			.mac_key = cases[i].mac_keyed ? key : NULL,
		};
		const struct ti_hash_ops *hash =
			ti_hash_find(cases[i].hash_keyed ? "hmac-sha1" : "sha1");
		struct ti_error e = { 0 };
		struct ti_superblock sb;
		struct ti_geometry geo;
		struct ti_seal *seal;

		make_pair(&sb, &geo, cases[i].salted, true);
		assert_int_equal(ti_seal_open(&options, &seal, &e), 0);
		assert_int_equal(ti_seal_check_recalculate(seal, &sb, hash, false, "meta", &e),
				 cases[i].refused ? -EOPNOTSUPP : 0);
		assert_int_equal(ti_seal_check_recalculate(seal, &sb, hash, true, "meta", NULL), 0);
		/* No journal_mac at all: as one without a key. */
		assert_int_equal(ti_seal_check_recalculate(NULL, &sb, hash, false, "meta", NULL),
				 cases[i].hash_keyed ? -EOPNOTSUPP : 0);
		ti_seal_close(seal);
	}
	ti_secret_free(key);
}

static void refused(const struct ti_seal_options *options, int err, const char *says)
{
	struct ti_error e = { 0 };
	struct ti_seal *seal = (struct ti_seal *)&e;

	assert_int_equal(ti_seal_open(options, &seal, &e), err);
	assert_null(seal);
	if (!strstr(e.text, says))
		fail_msg("'%s' does not contain '%s'", e.text, says);
}

static void what_cannot_be_is_refused(void **state)
{
	struct ti_secret *key = make_key(20), *key16 = make_key(16);
	struct ti_seal *seal = (struct ti_seal *)key;

	(void)state;
	assert_int_equal(ti_seal_open(&(struct ti_seal_options){ 0 }, &seal, NULL), 0);
	assert_null(seal);
	refused(&(struct ti_seal_options){ .mac = "md5" }, -EOPNOTSUPP, "'md5'");
	refused(&(struct ti_seal_options){ .mac = "hmac-sha256" }, -ENOKEY, "needs a key");
	refused(&(struct ti_seal_options){ .mac = "sha256", .mac_key = key }, -EINVAL,
		"takes no key");
	refused(&(struct ti_seal_options){ .crypt = "xts-aes" }, -EOPNOTSUPP, "ctr-aes");
	refused(&(struct ti_seal_options){ .crypt = "ctr-aes" }, -ENOKEY, "needs a key");
	refused(&(struct ti_seal_options){ .crypt = "cbc-aes", .crypt_key = key }, -EINVAL,
		"20 were given");
	refused(&(struct ti_seal_options){ .crypt = "chacha20", .crypt_key = key16 }, -EINVAL,
		"32 bytes");
	ti_secret_free(key);
	ti_secret_free(key16);
	ti_seal_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ciphers_are_those_of_the_format),
		cmocka_unit_test(section_macs_cover_sector_numbers_and_places),
		cmocka_unit_test(superblock_macs_are_there_with_fix_hmac_only),
		cmocka_unit_test(recalculation_is_refused_as_the_kernel_refuses_it),
		cmocka_unit_test(what_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
