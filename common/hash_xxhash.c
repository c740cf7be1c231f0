/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * XXH64 with seed 0, stored little endian as the kernel does (format: tags), not in the canonical
 * form.
 *
 * xxHash is compiled in from its header: so its state may lie on the stack, whatever version of the
 * library is installed, and its loops are inlined.
 */
#include "hash.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "le.h"

/* The salt goes in before every message again: it is shorter than the 32 bytes that XXH64 takes at
 * once, so there is nothing to be saved. */
struct state {
	uint8_t prefix[32];
	size_t prefix_len;
};

_Static_assert(sizeof(struct state) <= TI_HASH_STATE, "the state fits");

static int xx_init(struct ti_hash *h, const struct ti_secret *key, const uint8_t *prefix,
		   size_t prefix_len)
{
	struct state *st = (struct state *)(void *)h->state;

	(void)key;
	if (prefix_len)
		memcpy(st->prefix, prefix, prefix_len);
	st->prefix_len = prefix_len;
	return 0;
}

/* io path */
static void xx_message(const struct ti_hash *h, const struct iovec *piece, size_t n,
		       uint8_t *digest)
{
	const struct state *st = (const struct state *)(const void *)h->state;
	struct ti_le64 le_hash;
	XXH64_state_t xx;

	XXH64_reset(&xx, 0);
	if (st->prefix_len)
		XXH64_update(&xx, st->prefix, st->prefix_len);
	for (size_t i = 0; i < n; i++)
		XXH64_update(&xx, piece[i].iov_base, piece[i].iov_len);
	ti_le64_set(&le_hash, XXH64_digest(&xx));
	memcpy(digest, &le_hash, sizeof(le_hash));
}

const struct ti_hash_ops ti_hash_xxhash64 = {
	.name = "xxhash64",
	.digest_size = 8,
	.init = xx_init,
	.message = xx_message,
};
