/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Tags per second of each digest, against what its library does in a bare loop over the same bytes:
 * a context made once, the sector's 8 bytes, the block, the end.
 *
 *     digest_speed [ROUNDS]
 *
 * Both take turns in short rounds, and processor time is what counts, so that whatever else the
 * machine does hits both alike.  A line has the digest, the block, our tags per second and GB/s,
 * and the median of the rounds' ratios (ours to the library's) with its quartiles.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gcrypt.h>
#include <isa-l/crc.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <xxhash.h>

#include "hash.h"

#define BLOCKS	   64U /* together: they stay in the processor's caches */
#define ROUND_NS   2000000ULL
#define MAX_ROUNDS 999U

struct bare {
	EVP_MD_CTX *md;
	EVP_MAC_CTX *mac;
	gcry_md_hd_t gcrypt;
	XXH64_state_t *xx;
};

static uint8_t data[BLOCKS * 4096], tags[BLOCKS * TI_HASH_MAX_DIGEST];
static uint8_t key[32] = "thirty-two bytes, of no secrecy";

static void must(int good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "digest_speed: %s failed\n", what);
	exit(1);
}

/* ---- one tag by the library alone ---- */

static void crc32c_tag(const struct bare *b, const uint8_t *sector, const uint8_t *block, int len,
		       uint8_t *tag)
{
	uint32_t crc = crc32_iscsi((unsigned char *)(uintptr_t)sector, 8, UINT32_MAX);

	(void)b;
	crc = ~crc32_iscsi((unsigned char *)(uintptr_t)block, len, crc);
	memcpy(tag, &crc, sizeof(crc));
}

static void crc32_tag(const struct bare *b, const uint8_t *sector, const uint8_t *block, int len,
		      uint8_t *tag)
{
	uint32_t crc = crc32_gzip_refl(UINT32_MAX, sector, 8);

	(void)b;
	crc = crc32_gzip_refl(crc, block, (uint64_t)len);
	memcpy(tag, &crc, sizeof(crc));
}

static void xxhash_tag(const struct bare *b, const uint8_t *sector, const uint8_t *block, int len,
		       uint8_t *tag)
{
	uint64_t hash;

	XXH64_reset(b->xx, 0);
	XXH64_update(b->xx, sector, 8);
	XXH64_update(b->xx, block, (size_t)len);
	hash = XXH64_digest(b->xx);
	memcpy(tag, &hash, sizeof(hash));
}

static void evp_tag(const struct bare *b, const uint8_t *sector, const uint8_t *block, int len,
		    uint8_t *tag)
{
	EVP_DigestInit_ex2(b->md, NULL, NULL);
	EVP_DigestUpdate(b->md, sector, 8);
	EVP_DigestUpdate(b->md, block, (size_t)len);
	EVP_DigestFinal_ex(b->md, tag, NULL);
}

static void evp_mac_tag(const struct bare *b, const uint8_t *sector, const uint8_t *block, int len,
			uint8_t *tag)
{
	size_t made;

	EVP_MAC_init(b->mac, NULL, 0, NULL);
	EVP_MAC_update(b->mac, sector, 8);
	EVP_MAC_update(b->mac, block, (size_t)len);
	EVP_MAC_final(b->mac, tag, &made, TI_HASH_MAX_DIGEST);
}

static void gcrypt_tag(const struct bare *b, const uint8_t *sector, const uint8_t *block, int len,
		       uint8_t *tag)
{
	gcry_md_reset(b->gcrypt);
	gcry_md_write(b->gcrypt, sector, 8);
	gcry_md_write(b->gcrypt, block, (size_t)len);
	memcpy(tag, gcry_md_read(b->gcrypt, 0), 32);
}

static const struct digest {
	const char *name;
	void (*tag)(const struct bare *b, const uint8_t *sector, const uint8_t *block, int len,
		    uint8_t *tag);
	const char *evp; /* libcrypto's name */
	int gcrypt;	 /* libgcrypt's number */
} digests[] = {
	{ "crc32c", crc32c_tag, NULL, 0 },
	{ "crc32", crc32_tag, NULL, 0 },
	{ "xxhash64", xxhash_tag, NULL, 0 },
	{ "sha1", evp_tag, "SHA1", 0 },
	{ "sha256", evp_tag, "SHA256", 0 },
	{ "sha384", evp_tag, "SHA384", 0 },
	{ "sha512", evp_tag, "SHA512", 0 },
	{ "sha3-256", gcrypt_tag, NULL, GCRY_MD_SHA3_256 },
	{ "sha3-512", gcrypt_tag, NULL, GCRY_MD_SHA3_512 },
	{ "blake2b-256", gcrypt_tag, NULL, GCRY_MD_BLAKE2B_256 },
	{ "blake2b-512", gcrypt_tag, NULL, GCRY_MD_BLAKE2B_512 },
	{ "blake2s-256", gcrypt_tag, NULL, GCRY_MD_BLAKE2S_256 },
	{ "hmac(sha1)", evp_mac_tag, "SHA1", 0 },
	{ "hmac(sha256)", evp_mac_tag, "SHA256", 0 },
	{ "hmac(sha384)", evp_mac_tag, "SHA384", 0 },
	{ "hmac(sha512)", evp_mac_tag, "SHA512", 0 },
	{ "hmac(sha3-256)", gcrypt_tag, NULL, GCRY_MD_SHA3_256 },
	{ "hmac(sha3-512)", gcrypt_tag, NULL, GCRY_MD_SHA3_512 },
	{ "hmac(blake2b-256)", gcrypt_tag, NULL, GCRY_MD_BLAKE2B_256 },
	{ "hmac(blake2b-512)", gcrypt_tag, NULL, GCRY_MD_BLAKE2B_512 },
	{ "hmac(blake2s-256)", gcrypt_tag, NULL, GCRY_MD_BLAKE2S_256 },
};

static struct bare bare_open(const struct digest *d, bool keyed)
{
	struct bare b = { .xx = XXH64_createState() };
	OSSL_PARAM digest[2] = { OSSL_PARAM_construct_end(), OSSL_PARAM_construct_end() };

	if (d->tag == evp_tag) {
		b.md = EVP_MD_CTX_new();
		must(EVP_DigestInit_ex2(b.md, EVP_MD_fetch(NULL, d->evp, NULL), NULL), d->evp);
	} else if (d->tag == evp_mac_tag) {
		digest[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
							     (char *)(uintptr_t)d->evp, 0);
		b.mac = EVP_MAC_CTX_new(EVP_MAC_fetch(NULL, "HMAC", NULL));
		must(EVP_MAC_init(b.mac, key, sizeof(key), digest), d->evp);
	} else if (d->tag == gcrypt_tag) {
		must(!gcry_md_open(&b.gcrypt, d->gcrypt, keyed ? GCRY_MD_FLAG_HMAC : 0), d->name);
		must(!keyed || !gcry_md_setkey(b.gcrypt, key, sizeof(key)), d->name);
	}
	return b;
}

static void bare_close(struct bare *b)
{
	EVP_MD_CTX_free(b->md);
	EVP_MAC_CTX_free(b->mac);
	gcry_md_close(b->gcrypt);
	XXH64_freeState(b->xx);
}

/* ---- measuring ---- */

/* What the thread has used: other load of the machine does not count. */
static uint64_t processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static double ours(const struct ti_hash *h, uint32_t block)
{
	struct iovec flat = { .iov_base = data, .iov_len = (size_t)BLOCKS * block };
	uint64_t start = processor_time(), now;
	uint64_t done = 0;

	do {
		struct ti_iov_cursor cursor = ti_iov_cursor(&flat, 1);

		ti_hash_blocks(h, done, &cursor, BLOCKS, tags);
		done += BLOCKS;
		now = processor_time();
	} while (now - start < ROUND_NS);
	return (double)done * 1e9 / (double)(now - start);
}

static double theirs(const struct digest *d, const struct bare *b, uint32_t block, unsigned size)
{
	uint64_t start = processor_time(), now;
	uint64_t done = 0;

	do {
		for (uint32_t i = 0; i < BLOCKS; i++, done++)
			d->tag(b, (const uint8_t *)&done, data + (size_t)i * block, (int)block,
			       tags + (size_t)i * size);
		now = processor_time();
	} while (now - start < ROUND_NS);
	return (double)done * 1e9 / (double)(now - start);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void measure(const struct digest *d, uint32_t block, unsigned rounds)
{
	const struct ti_hash_ops *ops = ti_hash_find(d->name);
	double rate[MAX_ROUNDS], ratio[MAX_ROUNDS];
	struct ti_secret *secret = NULL;
	struct bare b;
	struct ti_hash h;

	if (ops->keyed) {
		must(!ti_secret_alloc(sizeof(key), &secret), "locking memory");
		memcpy(secret->bytes, key, secret->len = sizeof(key));
	}
	must(!ti_hash_init_keyed(&h, ops, secret, block, ops->digest_size, NULL), d->name);
	b = bare_open(d, ops->keyed);
	for (unsigned i = 0; i < rounds; i++) {
		rate[i] = ours(&h, block);
		ratio[i] = rate[i] / theirs(d, &b, block, ops->digest_size);
	}
	qsort(rate, rounds, sizeof(*rate), by_value);
	qsort(ratio, rounds, sizeof(*ratio), by_value);
	printf("%-18s %4" PRIu32 " %10.0f tags/s %7.3f GB/s  %.2f (%.2f to %.2f)\n", d->name, block,
	       rate[rounds / 2], rate[rounds / 2] * block / 1e9, ratio[rounds / 2],
	       ratio[rounds / 4], ratio[rounds * 3 / 4]);
	bare_close(&b);
	ti_hash_destroy(&h);
	ti_secret_free(secret);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 51;

	must(rounds > 0 && rounds <= MAX_ROUNDS, "ROUNDS, a number from 1 to 999,");
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 + i / 256);
	for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++)
		for (uint32_t block = 512; block <= 4096; block *= 8)
			measure(&digests[i], block, rounds);
	return 0;
}
