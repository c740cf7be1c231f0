/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The digest seam: from a block to its integrity tag.
 *
 *     tag = first tag_size bytes of H( [salt if fix_hmac] || le64(sector) || block )
 *
 * A longer tag than the digest is filled up with zeros.  `sector` counts 512-byte sectors of the
 * LUN even when blocks are larger.  (Format: tags.)  One back-end per file: hash_crc32c.c.
 */
#ifndef TI_HASH_H
#define TI_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "error.h"
#include "iov.h"

/** Most pieces of memory that one block may lie in. */
#define TI_HASH_MAX_PIECES 16

/** Room for a back-end's prepared state. */
#define TI_HASH_STATE 256

struct ti_hash;

struct ti_hash_ops {
	const char *name; /* the kernel's name, as in internal_hash: */
	unsigned digest_size;
	/* Prepare h->state; @prefix (salt or nothing) is hashed before every block. */
	int (*init)(struct ti_hash *h, const uint8_t *prefix, size_t prefix_len);
	/* Digest of one block at LUN sector @sector lying in @n pieces.  Writes digest_size bytes.
	 * Any thread; reads h only. */
	void (*block)(const struct ti_hash *h, uint64_t sector, const struct iovec *piece, size_t n,
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

extern const struct ti_hash_ops ti_hash_crc32c;

/** Find a digest by its kernel name.  NULL if it is unknown. */
const struct ti_hash_ops *ti_hash_find(const char *name);

/**
 * Prepare a digest for blocks of @block_size bytes and tags of @tag_size bytes.
 * @salt: TI_SALT_BYTES bytes if the superblock says fix_hmac, else NULL.
 */
int ti_hash_init(struct ti_hash *h, const struct ti_hash_ops *ops, uint32_t block_size,
		 uint32_t tag_size, const uint8_t *salt);
void ti_hash_destroy(struct ti_hash *h);

/**
 * Tags of @n blocks, the first at LUN sector @sector, whose bytes the cursor yields (it moves).
 * Writes n * tag_size bytes to @tags.  Allocates nothing.  Any thread.  io path.
 */
void ti_hash_blocks(const struct ti_hash *h, uint64_t sector, struct ti_iov_cursor *data, size_t n,
		    uint8_t *tags);

/** Tags of @n blocks that all hold the same @block (flat memory): WRITE SAME, wiping.  io path. */
void ti_hash_same(const struct ti_hash *h, uint64_t sector, const void *block, size_t n,
		  uint8_t *tags);

#endif
