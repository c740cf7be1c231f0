/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Little-endian integers as they lie on disk.
 *
 * Each width is a struct of its own, so a forgotten conversion does not compile.  Everything that
 * the format stores goes through these accessors; nothing else reads or writes on-disk integers.
 * The bytes may be unaligned.
 */
#ifndef TI_LE_H
#define TI_LE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

struct ti_le16 {
	uint8_t bytes[2];
};
struct ti_le32 {
	uint8_t bytes[4];
};
struct ti_le64 {
	uint8_t bytes[8];
};

static inline uint16_t ti_le16_get(const struct ti_le16 *p)
{
	uint16_t v;

	memcpy(&v, p->bytes, sizeof(v));
	return le16toh(v);
}

static inline uint32_t ti_le32_get(const struct ti_le32 *p)
{
	uint32_t v;

	memcpy(&v, p->bytes, sizeof(v));
	return le32toh(v);
}

static inline uint64_t ti_le64_get(const struct ti_le64 *p)
{
	uint64_t v;

	memcpy(&v, p->bytes, sizeof(v));
	return le64toh(v);
}

static inline void ti_le16_set(struct ti_le16 *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p->bytes, &v, sizeof(v));
}

static inline void ti_le32_set(struct ti_le32 *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p->bytes, &v, sizeof(v));
}

static inline void ti_le64_set(struct ti_le64 *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p->bytes, &v, sizeof(v));
}

#endif
