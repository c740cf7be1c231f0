/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See bits.h.  A LUN has few regions, and a request touches one or two: bytes are fast enough. */
#include "bits.h"

#include <assert.h>
#include <string.h>

uint64_t ti_bits_needed(const struct ti_geometry *geo, unsigned log2_blocks)
{
	if (log2_blocks >= 64)
		return 1;
	return ((geo->provided_blocks - 1) >> log2_blocks) + 1;
}

size_t ti_bits_bytes(uint64_t bits)
{
	return (size_t)((bits + TI_BITMAP_PAGE_BITS - 1) / TI_BITMAP_PAGE_BITS * TI_BITMAP_PAGE);
}

struct ti_bit_range ti_bits_of(const struct ti_geometry *geo, unsigned log2_blocks, uint64_t sector,
			       uint64_t sectors)
{
	uint64_t first = sector / geo->sectors_per_block;
	uint64_t last = (sector + sectors - 1) / geo->sectors_per_block;

	assert(sectors > 0 && log2_blocks < 64);
	return (struct ti_bit_range){ first >> log2_blocks, (last >> log2_blocks) + 1 };
}

/* The byte's bits that belong to the range. */
static uint8_t mask(struct ti_bit_range range, uint64_t byte)
{
	unsigned low = byte == range.first / 8 ? range.first % 8 : 0;
	unsigned high = byte == (range.end - 1) / 8 ? (range.end - 1) % 8 : 7;

	return (uint8_t)((0xffU >> (7 - high)) & (0xffU << low));
}

bool ti_bits_all(const uint8_t *map, struct ti_bit_range range)
{
	return ti_bits_find(map, range, false) == range.end;
}

bool ti_bits_any(const uint8_t *map, struct ti_bit_range range)
{
	return ti_bits_find(map, range, true) != range.end;
}

void ti_bits_set(uint8_t *map, struct ti_bit_range range)
{
	for (uint64_t i = range.first / 8; range.first < range.end && i <= (range.end - 1) / 8; i++)
		map[i] |= mask(range, i);
}

void ti_bits_clear(uint8_t *map, struct ti_bit_range range)
{
	for (uint64_t i = range.first / 8; range.first < range.end && i <= (range.end - 1) / 8; i++)
		map[i] &= (uint8_t)~mask(range, i);
}

uint64_t ti_bits_find(const uint8_t *map, struct ti_bit_range range, bool value)
{
	if (range.first >= range.end)
		return range.end;
	for (uint64_t i = range.first / 8; i <= (range.end - 1) / 8; i++) {
		uint8_t hit = (uint8_t)((value ? map[i] : ~map[i]) & mask(range, i));

		if (hit != 0)
			return i * 8 + (unsigned)__builtin_ctz(hit);
	}
	return range.end;
}

uint64_t ti_bits_count(const uint8_t *map, uint64_t bits)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < bits / 8; i++)
		count += (unsigned)__builtin_popcount(map[i]);
	if (bits % 8 != 0)
		count += (unsigned)__builtin_popcount(map[bits / 8] & (0xffU >> (8 - bits % 8)));
	return count;
}
