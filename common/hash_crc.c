/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * CRC-32C and CRC-32 by ISA-L, which picks the CPU's fastest way at run time.
 *
 * Both are followed as raw registers here, so that the salt, the same for every block, goes through
 * once, at init.  crc32c begins and ends with an inversion, as the standard has it; the kernel's
 * crc32 does neither (format: tags).  ISA-L's CRC-32C works on the raw register, its CRC-32
 * inverts at both ends, which is undone.
 *
 * A message begins with the sector's 8 bytes, for which a call of ISA-L costs as much as for some
 * hundreds.  A CRC's register is linear in what goes through: after 8 bytes it is what 8 zeros
 * would have left, xor what each byte alone would have left of a register of zeros.  ISA-L itself
 * says at init what that is, for each byte at each of the 8 places.
 */
#include "hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <isa-l/crc.h>

#include "le.h"

#define HEAD 8 /* bytes of the sector's number */

struct head {
	uint32_t of_byte[HEAD][256]; /* what it alone leaves of a register of zeros */
};

struct state {
	uint32_t after_prefix; /* the register when the salt, if any, has gone through */
	uint32_t after_zeros;  /* and HEAD zeros after that */
	struct head *head;
	uint32_t clear_vectors;
};

_Static_assert(sizeof(struct state) <= TI_HASH_STATE, "the state fits");

struct crc {
	uint32_t (*feed)(uint32_t reg, const void *data, size_t len);
	uint32_t first; /* what the register begins with */
};

/* ISA-L only reads, though its prototype does not say so. */
static uint32_t feed_crc32c(uint32_t reg, const void *data, size_t len)
{
	return crc32_iscsi((unsigned char *)(uintptr_t)data, (int)len, reg);
}

static uint32_t feed_crc32(uint32_t reg, const void *data, size_t len)
{
	return ~crc32_gzip_refl(~reg, data, len);
}

/*
 * ISA-L's AVX-512 code leaves the vector registers' upper halves in use.  Whatever SSE instruction
 * follows then waits for the CRC to be finished, also one that moves an iovec, so that the
 * processor cannot begin with the next block: a fifth of the speed, measured on blocks of 512.
 */
static inline void clear_vectors(void)
{
#ifdef __x86_64__
	__asm__ volatile("vzeroupper");
#endif
}

static bool has_wide_vectors(void)
{
#ifdef __x86_64__
	return __builtin_cpu_supports("avx");
#else
	return false;
#endif
}

/* One bit by ISA-L, several from those, for they add up. */
static struct head *make_head(const struct crc *crc)
{
	struct head *head = calloc(1, sizeof(*head));

	if (!head)
		return NULL;
	for (unsigned i = 0; i < HEAD * 256; i++) {
		uint32_t *of_byte = head->of_byte[i / 256];
		uint8_t byte = (uint8_t)i, rest = byte & (uint8_t)(byte - 1);
		uint8_t alone[HEAD] = { 0 };

		alone[i / 256] = byte;
		of_byte[byte] =
			rest ? of_byte[rest] ^ of_byte[byte ^ rest] : crc->feed(0, alone, HEAD);
	}
	return head;
}

static int crc_init(struct ti_hash *h, const struct ti_secret *key, const uint8_t *prefix,
		    size_t prefix_len)
{
	const struct crc *crc = h->ops->algorithm;
	struct state st = { .after_prefix = crc->first, .clear_vectors = has_wide_vectors() };

	static const uint8_t zeros[HEAD];

	(void)key;
	st.head = make_head(crc);
	if (!st.head)
		return -ENOMEM;
	if (prefix_len)
		st.after_prefix = crc->feed(st.after_prefix, prefix, prefix_len);
	st.after_zeros = crc->feed(st.after_prefix, zeros, HEAD);
	if (st.clear_vectors)
		clear_vectors();
	memcpy(h->state, &st, sizeof(st));
	return 0;
}

static void crc_destroy(struct ti_hash *h)
{
	struct state st;

	memcpy(&st, h->state, sizeof(st));
	free(st.head);
}

static inline uint32_t feed_head(const struct state *st, const uint8_t *number)
{
	uint32_t reg = st->after_zeros;

	for (size_t at = 0; at < HEAD; at++)
		reg ^= st->head->of_byte[at][number[at]];
	return reg;
}

/* By a constant function: the calls below are direct ones. */
static inline void __attribute__((always_inline))
message(const struct ti_hash *h, const struct iovec *piece, size_t n, uint8_t *digest,
	uint32_t (*feed)(uint32_t reg, const void *data, size_t len), uint32_t last)
{
	struct ti_le32 le_crc;
	struct state st;
	uint32_t reg;
	size_t i = 0;

	memcpy(&st, h->state, sizeof(st));
	reg = st.after_prefix;
	if (n && piece[0].iov_len == HEAD) {
		reg = feed_head(&st, piece[0].iov_base);
		i = 1;
	}
	for (; i < n; i++)
		reg = feed(reg, piece[i].iov_base, piece[i].iov_len);
	if (st.clear_vectors)
		clear_vectors();
	ti_le32_set(&le_crc, reg ^ last);
	memcpy(digest, &le_crc, sizeof(le_crc));
}

/* io path */
static void crc32c_message(const struct ti_hash *h, const struct iovec *piece, size_t n,
			   uint8_t *digest)
{
	message(h, piece, n, digest, feed_crc32c, UINT32_MAX);
}

/* io path */
static void crc32_message(const struct ti_hash *h, const struct iovec *piece, size_t n,
			  uint8_t *digest)
{
	message(h, piece, n, digest, feed_crc32, 0);
}

const struct ti_hash_ops ti_hash_crc32c = {
	.name = "crc32c",
	.digest_size = 4,
	.algorithm = &(const struct crc){ feed_crc32c, UINT32_MAX },
	.init = crc_init,
	.message = crc32c_message,
	.destroy = crc_destroy,
};

const struct ti_hash_ops ti_hash_crc32 = {
	.name = "crc32",
	.digest_size = 4,
	.algorithm = &(const struct crc){ feed_crc32, 0 },
	.init = crc_init,
	.message = crc32_message,
	.destroy = crc_destroy,
};
