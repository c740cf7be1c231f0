/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * SHA-3, BLAKE2 and hmac() of them by libgcrypt.
 *
 * libcrypto has no BLAKE2b of 256 bits, and the others only behind EVP, which allocates for every
 * message (hash_sha.c).  A libgcrypt handle is made once and reset after each message, without
 * allocation.  Its own HMAC would allocate at the end of each, so hmac() is put together here.
 */
#include "hash.h"

#include <errno.h>
#include <string.h>

#include <gcrypt.h>

struct gcrypt_algorithm {
	int number;
	size_t block; /* as hmac() counts: SHA-3's rate */
};

/* In secret memory, if there is a key. */
struct pads {
	uint8_t inner[TI_HASH_MAX_HMAC_BLOCK];
	uint8_t outer[TI_HASH_MAX_HMAC_BLOCK];
};

struct state {
	gcry_md_hd_t md;
	struct ti_secret *memory; /* holds a struct pads; NULL: no key */
	size_t prefix_len;
	uint8_t prefix[32];
};

_Static_assert(sizeof(struct state) <= TI_HASH_STATE, "the state fits");

static struct state *state_of(const struct ti_hash *h)
{
	return (struct state *)(uintptr_t)h->state;
}

static const struct pads *pads_of(const struct state *st)
{
	return (const struct pads *)(const void *)st->memory->bytes;
}

/* The library wants to be told that nobody will configure it.  Others in the process may have. */
static int prepare_library(void)
{
	if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
		return 0;
	if (!gcry_check_version(NULL))
		return -EOPNOTSUPP;
	gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
	gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
	return 0;
}

/*
 * The handle lies on the library's heap, and SHA-3's state can be calculated backwards, up to the
 * key: between two messages there is none.
 */
static void end(const struct state *st, unsigned digest_size, uint8_t *digest)
{
	memcpy(digest, gcry_md_read(st->md, 0), digest_size);
	gcry_md_reset(st->md);
}

static int make_pads(struct state *st, const struct gcrypt_algorithm *a,
		     const struct ti_secret *key, unsigned digest_size)
{
	uint8_t shorter[TI_HASH_MAX_DIGEST];
	const uint8_t *bytes = key->bytes;
	size_t len = key->len;
	struct pads *pads;
	int err = ti_secret_alloc(sizeof(*pads), &st->memory);

	if (err)
		return err;
	pads = (struct pads *)(void *)st->memory->bytes;
	if (len > a->block) {
		gcry_md_write(st->md, bytes, len);
		end(st, digest_size, shorter);
		bytes = shorter;
		len = digest_size;
	}
	ti_hmac_pads(bytes, len, a->block, pads->inner, pads->outer);
	explicit_bzero(shorter, sizeof(shorter));
	return 0;
}

static void gcrypt_destroy(struct ti_hash *h)
{
	struct state *st = state_of(h);

	gcry_md_close(st->md);
	ti_secret_free(st->memory);
}

static int gcrypt_init(struct ti_hash *h, const struct ti_secret *key, const uint8_t *prefix,
		       size_t prefix_len)
{
	const struct gcrypt_algorithm *a = h->ops->algorithm;
	struct state *st = state_of(h);
	int err = prepare_library();

	if (err)
		return err;
	if (gcry_md_open(&st->md, a->number, 0))
		return -EOPNOTSUPP; /* by a policy of this host, such as FIPS mode */
	if (key)
		err = make_pads(st, a, key, h->ops->digest_size);
	if (err) {
		gcrypt_destroy(h);
		return err;
	}
	if (prefix_len)
		memcpy(st->prefix, prefix, prefix_len);
	st->prefix_len = prefix_len;
	return 0;
}

/* io path */
static void gcrypt_message(const struct ti_hash *h, const struct iovec *piece, size_t n,
			   uint8_t *digest)
{
	const struct gcrypt_algorithm *a = h->ops->algorithm;
	const struct state *st = state_of(h);
	unsigned size = h->ops->digest_size;

	if (st->memory)
		gcry_md_write(st->md, pads_of(st)->inner, a->block);
	if (st->prefix_len)
		gcry_md_write(st->md, st->prefix, st->prefix_len);
	for (size_t i = 0; i < n; i++)
		gcry_md_write(st->md, piece[i].iov_base, piece[i].iov_len);
	end(st, size, digest);
	if (!st->memory)
		return;
	gcry_md_write(st->md, pads_of(st)->outer, a->block);
	gcry_md_write(st->md, digest, size);
	end(st, size, digest);
}

static const struct gcrypt_algorithm sha3_256 = { GCRY_MD_SHA3_256, 136 };
static const struct gcrypt_algorithm sha3_512 = { GCRY_MD_SHA3_512, 72 };
static const struct gcrypt_algorithm blake2b_256 = { GCRY_MD_BLAKE2B_256, 128 };
static const struct gcrypt_algorithm blake2b_512 = { GCRY_MD_BLAKE2B_512, 128 };
static const struct gcrypt_algorithm blake2s_256 = { GCRY_MD_BLAKE2S_256, 64 };

#define GCRYPT_HASH(name_, size_, keyed_, algorithm_)                                              \
	{                                                                                          \
		.name = (name_), .digest_size = (size_), .keyed = (keyed_), .slow = true,          \
		.algorithm = (algorithm_), .init = gcrypt_init, .message = gcrypt_message,         \
		.destroy = gcrypt_destroy                                                          \
	}

const struct ti_hash_ops ti_hash_gcrypt_list[] = {
	GCRYPT_HASH("sha3-256", 32, false, &sha3_256),
	GCRYPT_HASH("sha3-512", 64, false, &sha3_512),
	GCRYPT_HASH("blake2b-256", 32, false, &blake2b_256),
	GCRYPT_HASH("blake2b-512", 64, false, &blake2b_512),
	GCRYPT_HASH("blake2s-256", 32, false, &blake2s_256),
	GCRYPT_HASH("hmac(sha3-256)", 32, true, &sha3_256),
	GCRYPT_HASH("hmac(sha3-512)", 64, true, &sha3_512),
	GCRYPT_HASH("hmac(blake2b-256)", 32, true, &blake2b_256),
	GCRYPT_HASH("hmac(blake2b-512)", 64, true, &blake2b_512),
	GCRYPT_HASH("hmac(blake2s-256)", 32, true, &blake2s_256),
	{ .name = NULL },
};
