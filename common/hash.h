/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The digest seam: from a block to its integrity tag.
 *
 *     tag = first tag_size bytes of H( [salt if fix_hmac] || le64(sector) || block )
 *
 * A longer tag than the digest is filled up with zeros.  `sector` counts 512-byte sectors of the
 * LUN even when blocks are larger.  (Format: tags.)  H may be keyed: hmac() of another digest.
 *
 * Back-ends, all of which work in memory that was taken at init:
 *
 *     hash_crc.c       crc32c, crc32                                      ISA-L
 *     hash_xxhash.c    xxhash64                                           xxHash's header
 *     hash_sha.c       sha1, sha256, sha384, sha512, hmac() of them       libcrypto
 *     hash_gcrypt.c    sha3-*, blake2b-*, blake2s-256, hmac() of them     libgcrypt
 */
#ifndef TI_HASH_H
#define TI_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "error.h"
#include "geometry.h"
#include "iov.h"
#include "secret.h"

/** Most pieces of memory that one block may lie in. */
#define TI_HASH_MAX_PIECES 16

/** The largest digest that a back-end may have (SHA-512). */
#define TI_HASH_MAX_DIGEST 64

/** The longest block that an hmac() may work in (SHA3-256 has 136 bytes). */
#define TI_HASH_MAX_HMAC_BLOCK 144

/** Room for a back-end's prepared state. */
#define TI_HASH_STATE 64

struct ti_hash;

struct ti_hash_ops {
	const char *name; /* the kernel's name, as in internal_hash: */
	unsigned digest_size;
	bool keyed;	       /* hmac(): a key is needed */
	bool slow;	       /* helpers may pay (hash_crew.h) */
	const void *algorithm; /* the back-end's */
	/* Prepare h->state; @prefix (salt or nothing) is hashed before every message.  @key is
	 * NULL exactly if not keyed. */
	int (*init)(struct ti_hash *h, const struct ti_secret *key, const uint8_t *prefix,
		    size_t prefix_len);
	/* Digest of the message that lies in @n pieces.  Writes digest_size bytes.  One thread at
	 * a time: what h->state leads to may be worked in. */
	void (*message)(const struct ti_hash *h, const struct iovec *piece, size_t n,
			uint8_t *digest);
	/* Release and wipe what init made; may be NULL. */
	void (*destroy)(struct ti_hash *h);
};

struct ti_hash {
	const struct ti_hash_ops *ops;
	uint32_t block_size; /* bytes */
	uint32_t tag_size;   /* bytes */
	union {
		uint8_t state[TI_HASH_STATE];
		uint64_t align;
	};
};

extern const struct ti_hash_ops ti_hash_crc32c, ti_hash_crc32, ti_hash_xxhash64;

/** The digests of a back-end; each list ends with one without a name. */
extern const struct ti_hash_ops ti_hash_sha_list[], ti_hash_gcrypt_list[];

/**
 * Find a digest by the kernel's name, "sha256" or "hmac(sha256)", or by integritysetup's way of
 * writing it, "hmac-sha256".  NULL if it is unknown.
 */
const struct ti_hash_ops *ti_hash_find(const char *name);

/** All names but those of hmac(), with commas: for messages. */
#define TI_HASH_NAMES                                                                              \
	"crc32c, crc32, xxhash64, sha1, sha256, sha384, sha512, sha3-256, sha3-512, blake2b-256, " \
	"blake2b-512, blake2s-256"

/**
 * Prepare a digest for blocks of @block_size bytes and tags of @tag_size bytes.
 * @key: of a keyed digest, else NULL; not needed afterwards.  @salt: TI_SALT_BYTES bytes if the
 * superblock says fix_hmac, else NULL.  Returns 0; -EINVAL for impossible sizes; -ENOKEY for a
 * keyed digest without key, -EINVAL for a key that the digest does not take; -ENOMEM.  After an
 * error there is nothing to destroy.
 */
int ti_hash_init_keyed(struct ti_hash *h, const struct ti_hash_ops *ops,
		       const struct ti_secret *key, uint32_t block_size, uint32_t tag_size,
		       const uint8_t *salt);

/** The same for digests without key. */
int ti_hash_init(struct ti_hash *h, const struct ti_hash_ops *ops, uint32_t block_size,
		 uint32_t tag_size, const uint8_t *salt);

/** ti_hash_init_keyed() for a pair's tags, with the sentence that belongs to a failure. */
int ti_hash_prepare(struct ti_hash *h, const struct ti_hash_ops *ops, const struct ti_secret *key,
		    const struct ti_geometry *geo, const uint8_t *salt, struct ti_error *error);

/** Release and wipe.  Safe on what is all zero. */
void ti_hash_destroy(struct ti_hash *h);

/**
 * Tags of @n blocks, the first at LUN sector @sector, whose bytes the cursor yields (it moves).
 * Writes n * tag_size bytes to @tags.  Allocates nothing.  One thread at a time.  io path.
 */
void ti_hash_blocks(const struct ti_hash *h, uint64_t sector, struct ti_iov_cursor *data, size_t n,
		    uint8_t *tags);

/** Tags of @n blocks that all hold the same @block (flat memory): WRITE SAME, wiping.  io path. */
void ti_hash_same(const struct ti_hash *h, uint64_t sector, const void *block, size_t n,
		  uint8_t *tags);

/**
 * The whole digest of any message (after the salt, if there is one): MACs of superblock and
 * journal. Writes digest_size bytes.  io path.
 */
void ti_hash_message(const struct ti_hash *h, const struct iovec *piece, size_t n, uint8_t *digest);

/*
 * For back-ends: the two blocks that hmac() puts before its two messages (RFC 2104).
 */

/**
 * @key: at most @block bytes (a longer one is replaced by its digest first).  Writes @block bytes
 * to each of the two.
 */
void ti_hmac_pads(const uint8_t *key, size_t key_len, size_t block, uint8_t *inner, uint8_t *outer);

#endif
