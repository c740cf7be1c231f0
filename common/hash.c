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
#include <stdio.h>
#include <string.h>

#include "geometry.h"
#include "le.h"
#include "superblock.h"

#define MAX_BLOCK 4096

static const struct ti_hash_ops *find_in(const struct ti_hash_ops *list, const char *name)
{
	for (; list->name; list++)
		if (!strcmp(list->name, name))
			return list;
	return NULL;
}

static const struct ti_hash_ops *find_kernel_name(const char *name)
{
	static const struct ti_hash_ops *const single[] = { &ti_hash_crc32c, &ti_hash_crc32,
							    &ti_hash_xxhash64 };
	const struct ti_hash_ops *found = find_in(ti_hash_sha_list, name);

	for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++)
		if (!strcmp(single[i]->name, name))
			return single[i];
	return found ? found : find_in(ti_hash_gcrypt_list, name);
}

const struct ti_hash_ops *ti_hash_find(const char *name)
{
	char kernel_name[64];
	int len;

	if (strncmp(name, "hmac-", 5) != 0)
		return find_kernel_name(name);
	len = snprintf(kernel_name, sizeof(kernel_name), "hmac(%s)", name + 5);
	if (len < 0 || (size_t)len >= sizeof(kernel_name))
		return NULL;
	return find_kernel_name(kernel_name);
}

int ti_hash_init_keyed(struct ti_hash *h, const struct ti_hash_ops *ops,
		       const struct ti_secret *key, uint32_t block_size, uint32_t tag_size,
		       const uint8_t *salt)
{
	int err;

	memset(h, 0, sizeof(*h));
	if (!tag_size || tag_size > TI_MAX_TAG_SIZE || !block_size || block_size > MAX_BLOCK)
		return -EINVAL;
	assert(ops->digest_size <= TI_HASH_MAX_DIGEST);
	if (ops->keyed && !key)
		return -ENOKEY;
	if (key && (!ops->keyed || !key->len))
		return -EINVAL;
	h->ops = ops;
	h->block_size = block_size;
	h->tag_size = tag_size;
	err = ops->init(h, key, salt, salt ? TI_SALT_BYTES : 0);
	if (key)
		ti_secret_wipe_stack();
	if (err)
		memset(h, 0, sizeof(*h));
	return err;
}

int ti_hash_init(struct ti_hash *h, const struct ti_hash_ops *ops, uint32_t block_size,
		 uint32_t tag_size, const uint8_t *salt)
{
	return ti_hash_init_keyed(h, ops, NULL, block_size, tag_size, salt);
}

int ti_hash_prepare(struct ti_hash *h, const struct ti_hash_ops *ops, const struct ti_secret *key,
		    const struct ti_geometry *geo, const uint8_t *salt, struct ti_error *error)
{
	int err = ti_hash_init_keyed(h, ops, key, geo->block_size, geo->tag_size, salt);

	switch (err) {
	case 0:
		return 0;
	case -ENOKEY:
		return ti_error_set(error, err, "the digest %s needs a key, and none was given",
				    ops->name);
	case -ENOMEM:
		return ti_error_set(error, err,
				    "there is no memory for the digest %s, or none that may be "
				    "locked",
				    ops->name);
	default:
		return ti_error_set(error, err,
				    key && !ops->keyed
					    ? "the digest %s takes no key; leave the key out, or "
					      "use hmac-... of a digest"
					    : "this host's library refuses the digest %s",
				    ops->name);
	}
}

void ti_hash_destroy(struct ti_hash *h)
{
	if (h->ops && h->ops->destroy)
		h->ops->destroy(h);
	explicit_bzero(h, sizeof(*h));
}

void ti_hash_message(const struct ti_hash *h, const struct iovec *piece, size_t n, uint8_t *digest)
{
	h->ops->message(h, piece, n, digest);
}

void ti_hmac_pads(const uint8_t *key, size_t key_len, size_t block, uint8_t *inner, uint8_t *outer)
{
	assert(key_len <= block && block <= TI_HASH_MAX_HMAC_BLOCK);
	memset(inner, 0x36, block);
	memset(outer, 0x5c, block);
	for (size_t i = 0; i < key_len; i++) {
		inner[i] ^= key[i];
		outer[i] ^= key[i];
	}
}

/* @piece[0] is left free for the sector, the block follows in @n pieces. */
static inline void tag_of_pieces(const struct ti_hash *h, uint64_t sector, struct iovec *piece,
				 size_t n, uint8_t *tag)
{
	unsigned digest_size = h->ops->digest_size;
	uint8_t digest[TI_HASH_MAX_DIGEST];
	struct ti_le64 number;

	ti_le64_set(&number, sector);
	piece[0] = (struct iovec){ .iov_base = &number, .iov_len = sizeof(number) };
	if (h->tag_size >= digest_size) {
		h->ops->message(h, piece, n + 1, tag);
		if (h->tag_size > digest_size)
			memset(tag + digest_size, 0, h->tag_size - digest_size);
		return;
	}
	h->ops->message(h, piece, n + 1, digest);
	memcpy(tag, digest, h->tag_size);
}

/* Apart, so that only this rare case has a block on its stack. */
static void __attribute__((noinline))
tag_of_gathered(const struct ti_hash *h, uint64_t sector, struct ti_iov_cursor *data, uint8_t *tag)
{
	uint8_t block[MAX_BLOCK];
	struct iovec piece[2] = { [1] = { .iov_base = block, .iov_len = h->block_size } };
	size_t got = ti_iov_copy_out(data, block, h->block_size);

	/* The engine has compared the request's length with its memory before. */
	assert(got == h->block_size);
	tag_of_pieces(h, sector, piece, 1, tag);
}

/* The next block where it lies in one piece, as most do: nothing to be put together. */
static bool take_flat(struct ti_iov_cursor *data, size_t len, struct iovec *piece)
{
	if (!data->count || data->iov->iov_len - data->skip < len)
		return false;
	piece->iov_base = (uint8_t *)data->iov->iov_base + data->skip;
	piece->iov_len = len;
	data->skip += len;
	if (data->skip == data->iov->iov_len) {
		data->iov++;
		data->count--;
		data->skip = 0;
	}
	return true;
}

void ti_hash_blocks(const struct ti_hash *h, uint64_t sector, struct ti_iov_cursor *data, size_t n,
		    uint8_t *tags)
{
	uint32_t sectors_per_block = h->block_size / TI_SECTOR_BYTES;

	for (size_t i = 0; i < n; i++, sector += sectors_per_block, tags += h->tag_size) {
		struct iovec piece[1 + TI_HASH_MAX_PIECES];
		struct ti_iov_cursor before;
		size_t taken, pieces;

		if (take_flat(data, h->block_size, &piece[1])) {
			tag_of_pieces(h, sector, piece, 1, tags);
			continue;
		}
		before = *data;
		pieces = ti_iov_take(data, h->block_size, piece + 1, TI_HASH_MAX_PIECES, &taken);
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
	struct iovec piece[2] = { [1] = { .iov_base = (void *)(uintptr_t)block,
					  .iov_len = h->block_size } };

	for (size_t i = 0; i < n; i++, sector += sectors_per_block, tags += h->tag_size)
		tag_of_pieces(h, sector, piece, 1, tags);
}
