/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * SHA-1, SHA-256, SHA-384, SHA-512 and hmac() of them by libcrypto.
 *
 * By its structs, not by EVP: in OpenSSL 3.0 every EVP_DigestInit_ex() and every EVP_MAC_init()
 * frees the digest's context and allocates a new one, and the I/O path may not allocate.  A struct
 * can also be copied: what is the same for every message (hmac()'s key, the salt) goes through
 * once, at init, and each message starts from a copy of what that left.  OpenSSL calls these
 * functions deprecated, in favour of EVP.
 *
 * What a key has gone through is as good as the key: it lies in secret memory, and copies of it are
 * wiped.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "hash.h"

#include <errno.h>
#include <string.h>

#include <openssl/sha.h>

union sha {
	SHA_CTX sha1;
	SHA256_CTX sha256;
	SHA512_CTX sha512;
};

struct sha_algorithm {
	void (*init)(union sha *sha);
	void (*update)(union sha *sha, const void *data, size_t len);
	void (*final)(union sha *sha, uint8_t *digest);
	size_t context; /* bytes of the union that are its own */
	size_t block;
};

/* In secret memory, whether or not there is a key. */
struct sha_start {
	union sha inner; /* hmac(): the inner pad, and the salt, have gone through; else the salt */
	union sha outer; /* hmac(): the outer pad has gone through */
};

struct state {
	struct ti_secret *memory; /* holds a struct sha_start */
};

_Static_assert(sizeof(struct state) <= TI_HASH_STATE, "the state fits");

static const struct state *state_of(const struct ti_hash *h)
{
	return (const struct state *)(const void *)h->state;
}

static void start_with_key(const struct sha_algorithm *a, const struct ti_secret *key,
			   unsigned digest_size, struct sha_start *start)
{
	uint8_t inner[TI_HASH_MAX_HMAC_BLOCK], outer[TI_HASH_MAX_HMAC_BLOCK];
	uint8_t shorter[TI_HASH_MAX_DIGEST];
	const uint8_t *bytes = key->bytes;
	size_t len = key->len;

	if (len > a->block) {
		a->update(&start->outer, bytes, len); /* as a scratch: it begins anew below */
		a->final(&start->outer, shorter);
		a->init(&start->outer);
		bytes = shorter;
		len = digest_size;
	}
	ti_hmac_pads(bytes, len, a->block, inner, outer);
	a->update(&start->inner, inner, a->block);
	a->update(&start->outer, outer, a->block);
	explicit_bzero(inner, sizeof(inner));
	explicit_bzero(outer, sizeof(outer));
	explicit_bzero(shorter, sizeof(shorter));
}

static int sha_init(struct ti_hash *h, const struct ti_secret *key, const uint8_t *prefix,
		    size_t prefix_len)
{
	const struct sha_algorithm *a = h->ops->algorithm;
	struct state *st = (struct state *)(void *)h->state;
	struct sha_start *start;
	int err = ti_secret_alloc(sizeof(*start), &st->memory);

	if (err)
		return err;
	start = (struct sha_start *)(void *)st->memory->bytes;
	a->init(&start->inner);
	a->init(&start->outer);
	if (key)
		start_with_key(a, key, h->ops->digest_size, start);
	if (prefix_len)
		a->update(&start->inner, prefix, prefix_len);
	return 0;
}

static void sha_destroy(struct ti_hash *h)
{
	ti_secret_free(state_of(h)->memory);
}

/* io path */
static void sha_message(const struct ti_hash *h, const struct iovec *piece, size_t n,
			uint8_t *digest)
{
	const struct sha_algorithm *a = h->ops->algorithm;
	const struct sha_start *start =
		(const struct sha_start *)(const void *)state_of(h)->memory->bytes;
	union sha sha;

	memcpy(&sha, &start->inner, a->context);
	for (size_t i = 0; i < n; i++)
		a->update(&sha, piece[i].iov_base, piece[i].iov_len);
	a->final(&sha, digest);
	if (!h->ops->keyed)
		return;
	memcpy(&sha, &start->outer, a->context);
	a->update(&sha, digest, h->ops->digest_size);
	a->final(&sha, digest);
	explicit_bzero(&sha, a->context);
}

/* All of them return 1 whatever they are given. */
#define SHA_FUNCTIONS(name, member, init, update, final)                                           \
	static void name##_init(union sha *sha)                                                    \
	{                                                                                          \
		(void)init(&sha->member);                                                          \
	}                                                                                          \
	static void name##_update(union sha *sha, const void *data, size_t len)                    \
	{                                                                                          \
		(void)update(&sha->member, data, len);                                             \
	}                                                                                          \
	static void name##_final(union sha *sha, uint8_t *digest)                                  \
	{                                                                                          \
		(void) final(digest, &sha->member);                                                \
	}

SHA_FUNCTIONS(sha1, sha1, SHA1_Init, SHA1_Update, SHA1_Final)
SHA_FUNCTIONS(sha256, sha256, SHA256_Init, SHA256_Update, SHA256_Final)
SHA_FUNCTIONS(sha384, sha512, SHA384_Init, SHA384_Update, SHA384_Final)
SHA_FUNCTIONS(sha512, sha512, SHA512_Init, SHA512_Update, SHA512_Final)

static const struct sha_algorithm sha1 = { sha1_init, sha1_update, sha1_final, sizeof(SHA_CTX),
					   SHA_CBLOCK };
static const struct sha_algorithm sha256 = { sha256_init, sha256_update, sha256_final,
					     sizeof(SHA256_CTX), SHA256_CBLOCK };
static const struct sha_algorithm sha384 = { sha384_init, sha384_update, sha384_final,
					     sizeof(SHA512_CTX), SHA512_CBLOCK };
static const struct sha_algorithm sha512 = { sha512_init, sha512_update, sha512_final,
					     sizeof(SHA512_CTX), SHA512_CBLOCK };

#define SHA_HASH(name_, size_, keyed_, algorithm_)                                                 \
	{                                                                                          \
		.name = (name_), .digest_size = (size_), .keyed = (keyed_), .slow = true,          \
		.algorithm = (algorithm_), .init = sha_init, .message = sha_message,               \
		.destroy = sha_destroy                                                             \
	}

const struct ti_hash_ops ti_hash_sha_list[] = {
	SHA_HASH("sha1", SHA_DIGEST_LENGTH, false, &sha1),
	SHA_HASH("sha256", SHA256_DIGEST_LENGTH, false, &sha256),
	SHA_HASH("sha384", SHA384_DIGEST_LENGTH, false, &sha384),
	SHA_HASH("sha512", SHA512_DIGEST_LENGTH, false, &sha512),
	SHA_HASH("hmac(sha1)", SHA_DIGEST_LENGTH, true, &sha1),
	SHA_HASH("hmac(sha256)", SHA256_DIGEST_LENGTH, true, &sha256),
	SHA_HASH("hmac(sha384)", SHA384_DIGEST_LENGTH, true, &sha384),
	SHA_HASH("hmac(sha512)", SHA512_DIGEST_LENGTH, true, &sha512),
	{ .name = NULL },
};
