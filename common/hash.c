/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * From blocks in scattered memory to tags, whatever the digest.
 *
 * A block that lies in one piece goes to the digest as it is; one in a few pieces as a list of
 * them; one in more than TI_HASH_MAX_PIECES, which no sane initiator sends, is gathered on the
 * stack first.  So any fragmentation works, and back-ends never see more pieces than that.
 */
#include "hash.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "geometry.h"
#include "superblock.h"

/** The largest digest that a back-end may have (SHA-512). */
#define MAX_DIGEST 64
#define MAX_BLOCK  4096

static const struct ti_hash_ops *const all_hashes[] = { &ti_hash_crc32c };

const struct ti_hash_ops *ti_hash_find(const char *name)
{
	for (size_t i = 0; i < sizeof(all_hashes) / sizeof(all_hashes[0]); i++)
		if (!strcmp(all_hashes[i]->name, name))
			return all_hashes[i];
	return NULL;
}

int ti_hash_init(struct ti_hash *h, const struct ti_hash_ops *ops, uint32_t block_size,
		 uint32_t tag_size, const uint8_t *salt)
{
	if (!tag_size || tag_size > TI_MAX_TAG_SIZE || !block_size || block_size > MAX_BLOCK)
		return -EINVAL;
	assert(ops->digest_size <= MAX_DIGEST);
	memset(h, 0, sizeof(*h));
	h->ops = ops;
	h->block_size = block_size;
	h->tag_size = tag_size;
	return ops->init(h, salt, salt ? TI_SALT_BYTES : 0);
}

void ti_hash_destroy(struct ti_hash *h)
{
	if (h->ops && h->ops->destroy)
		h->ops->destroy(h);
	memset(h, 0, sizeof(*h));
}

static void tag_of_pieces(const struct ti_hash *h, uint64_t sector, const struct iovec *piece,
			  size_t n, uint8_t *tag)
{
	unsigned digest_size = h->ops->digest_size;
	uint8_t digest[MAX_DIGEST];

	if (h->tag_size >= digest_size) {
		h->ops->block(h, sector, piece, n, tag);
		memset(tag + digest_size, 0, h->tag_size - digest_size);
		return;
	}
	h->ops->block(h, sector, piece, n, digest);
	memcpy(tag, digest, h->tag_size);
}

/* Apart, so that only this rare case has a block on its stack. */
static void __attribute__((noinline))
tag_of_gathered(const struct ti_hash *h, uint64_t sector, struct ti_iov_cursor *data, uint8_t *tag)
{
	uint8_t block[MAX_BLOCK];
	struct iovec piece = { .iov_base = block, .iov_len = h->block_size };
	size_t got = ti_iov_copy_out(data, block, h->block_size);

	/* The engine has compared the request's length with its memory before. */
	assert(got == h->block_size);
	tag_of_pieces(h, sector, &piece, 1, tag);
}

void ti_hash_blocks(const struct ti_hash *h, uint64_t sector, struct ti_iov_cursor *data, size_t n,
		    uint8_t *tags)
{
	uint32_t sectors_per_block = h->block_size / TI_SECTOR_BYTES;

	for (size_t i = 0; i < n; i++, sector += sectors_per_block, tags += h->tag_size) {
		struct iovec piece[TI_HASH_MAX_PIECES];
		struct ti_iov_cursor before = *data;
		size_t taken, pieces;

		pieces = ti_iov_take(data, h->block_size, piece, TI_HASH_MAX_PIECES, &taken);
		if (taken == h->block_size) {
			tag_of_pieces(h, sector, piece, pieces, tags);
		} else {
			*data = before;
			tag_of_gathered(h, sector, data, tags);
		}
	}
}

void ti_hash_same(const struct ti_hash *h, uint64_t sector, const void *block, size_t n,
		  uint8_t *tags)
{
	uint32_t sectors_per_block = h->block_size / TI_SECTOR_BYTES;
	struct iovec piece = { .iov_base = (void *)(uintptr_t)block, .iov_len = h->block_size };

	for (size_t i = 0; i < n; i++, sector += sectors_per_block, tags += h->tag_size)
		tag_of_pieces(h, sector, &piece, 1, tags);
}
