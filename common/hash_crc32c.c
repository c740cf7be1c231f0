/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * CRC-32C by ISA-L, which picks the CPU's fastest way at run time.
 *
 * ISA-L works on the raw register: it neither inverts at the beginning nor at the end, so its
 * results can be chained, and both inversions of the standard CRC are done here.  The salt is the
 * same for every block: its register is computed once, at init.
 */
#include "hash.h"

#include <string.h>

#include <isa-l/crc.h>

#include "le.h"

struct state {
	uint32_t after_prefix; /* the register when the salt, if any, has gone through */
};

_Static_assert(sizeof(struct state) <= TI_HASH_STATE, "the state fits");

static uint32_t feed(uint32_t reg, const void *data, size_t len)
{
	/* ISA-L only reads, though its prototype does not say so. */
	return crc32_iscsi((unsigned char *)(uintptr_t)data, (int)len, reg);
}

static int crc32c_init(struct ti_hash *h, const uint8_t *prefix, size_t prefix_len)
{
	struct state st = { .after_prefix = UINT32_MAX };

	if (prefix_len)
		st.after_prefix = feed(st.after_prefix, prefix, prefix_len);
	memcpy(h->state, &st, sizeof(st));
	return 0;
}

/* io path */
static void crc32c_block(const struct ti_hash *h, uint64_t sector, const struct iovec *piece,
			 size_t n, uint8_t *digest)
{
	struct ti_le64 le_sector;
	struct ti_le32 le_crc;
	struct state st;
	uint32_t reg;

	memcpy(&st, h->state, sizeof(st));
	ti_le64_set(&le_sector, sector);
	reg = feed(st.after_prefix, &le_sector, sizeof(le_sector));
	for (size_t i = 0; i < n; i++)
		reg = feed(reg, piece[i].iov_base, piece[i].iov_len);
	ti_le32_set(&le_crc, ~reg);
	memcpy(digest, &le_crc, sizeof(le_crc));
}

const struct ti_hash_ops ti_hash_crc32c = {
	.name = "crc32c",
	.digest_size = 4,
	.init = crc32c_init,
	.block = crc32c_block,
};
