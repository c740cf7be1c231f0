/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Maps of bits as mode bitmap has them on disk: bit n is bit n % 8 of byte n / 8.
 *
 * One bit stands for a region of 2^log2_blocks_per_bitmap_bit blocks.  A map is a whole number of
 * pages of TI_BITMAP_PAGE bytes; what lies behind its last bit in the last page is garbage on disk
 * (the kernel leaves there what was in its buffer) and is ignored.
 */
#ifndef TI_BITS_H
#define TI_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "geometry.h"

#define TI_BITMAP_PAGE	    4096U
#define TI_BITMAP_PAGE_BITS (TI_BITMAP_PAGE * 8U)

/** Bits [first, end). */
struct ti_bit_range {
	uint64_t first, end;
};

/** How many bits the LUN has if each stands for 2^@log2_blocks blocks; bytes of their map. */
uint64_t ti_bits_needed(const struct ti_geometry *geo, unsigned log2_blocks);
size_t ti_bits_bytes(uint64_t bits);

/** The regions that [sector, sector + sectors) touches; sectors > 0. */
struct ti_bit_range ti_bits_of(const struct ti_geometry *geo, unsigned log2_blocks, uint64_t sector,
			       uint64_t sectors);

static inline bool ti_bit(const uint8_t *map, uint64_t n)
{
	return map[n / 8] >> (n % 8) & 1;
}

bool ti_bits_all(const uint8_t *map, struct ti_bit_range range);
bool ti_bits_any(const uint8_t *map, struct ti_bit_range range);
void ti_bits_set(uint8_t *map, struct ti_bit_range range);
void ti_bits_clear(uint8_t *map, struct ti_bit_range range);

/** The first bit of the range that is @value, or range.end. */
uint64_t ti_bits_find(const uint8_t *map, struct ti_bit_range range, bool value);

uint64_t ti_bits_count(const uint8_t *map, uint64_t bits);

#endif
