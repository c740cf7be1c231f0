/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* Maps of bits: against the same done bit by bit, and against the format's arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bits.h"

#define BITS 200U

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

static void ranges_are_set_cleared_and_found_as_bit_by_bit(void **state)
{
	uint8_t map[BITS / 8] = { 0 };
	bool model[BITS] = { false };
	uint64_t seed = 1;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		uint64_t a = next_random(&seed) % (BITS + 1), b = next_random(&seed) % (BITS + 1);
		struct ti_bit_range range = { a < b ? a : b, a < b ? b : a };
		bool value = next_random(&seed) % 2, all = true, any = false;
		uint64_t found = range.end, count = 0;

		if (value)
			ti_bits_set(map, range);
		else
			ti_bits_clear(map, range);
		for (uint64_t n = range.first; n < range.end; n++)
			model[n] = value;
		a = next_random(&seed) % BITS;
		b = a + next_random(&seed) % (BITS - a + 1);
		range = (struct ti_bit_range){ a, b };
		value = next_random(&seed) % 2;
		found = b;
		for (uint64_t n = a; n < b; n++) {
			all &= model[n];
			any |= model[n];
			if (found == b && model[n] == value)
				found = n;
		}
		assert_int_equal(ti_bits_all(map, range), all);
		assert_int_equal(ti_bits_any(map, range), any);
		assert_int_equal(ti_bits_find(map, range, value), found);
		for (uint64_t n = 0; n < a; n++)
			count += model[n];
		assert_int_equal(ti_bits_count(map, a), count);
		for (uint64_t n = 0; n < BITS; n++)
			assert_int_equal(ti_bit(map, n), model[n]);
	}
}

/* The format: bit n is bit n % 8 of byte n / 8. */
static void bit_lies_where_the_format_has_it(void **state)
{
	uint8_t map[8] = { 0 };
	static const uint8_t want[8] = { 0x01, 0x02, 0, 0x80 };

	(void)state;
	ti_bits_set(map, (struct ti_bit_range){ 0, 1 });
	ti_bits_set(map, (struct ti_bit_range){ 9, 10 });
	ti_bits_set(map, (struct ti_bit_range){ 31, 32 });
	assert_memory_equal(map, want, sizeof(map));
}

static void regions_of_requests_and_sizes_of_maps(void **state)
{
	const struct ti_geometry geo = { .sectors_per_block = 8, .provided_blocks = 800000 / 8 };
	struct ti_bit_range r;

	(void)state;
	assert_int_equal(ti_bits_needed(&geo, 0), 100000);
	assert_int_equal(ti_bits_needed(&geo, 12), 25);
	assert_int_equal(ti_bits_needed(&geo, 16), 2);
	assert_int_equal(ti_bits_needed(&geo, 63), 1);
	assert_int_equal(ti_bits_bytes(1), 4096);
	assert_int_equal(ti_bits_bytes(32768), 4096);
	assert_int_equal(ti_bits_bytes(32769), 8192);
	r = ti_bits_of(&geo, 3, 64, 8); /* one block: the first of region 1 */
	assert_true(r.first == 1 && r.end == 2);
	r = ti_bits_of(&geo, 3, 56, 16);
	assert_true(r.first == 0 && r.end == 2);
	r = ti_bits_of(&geo, 3, 56, 8);
	assert_true(r.first == 0 && r.end == 1);
	/* The format page's example: 400000 bits need 13 pages. */
	assert_int_equal(ti_bits_bytes(400000), 13 * 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_are_set_cleared_and_found_as_bit_by_bit),
		cmocka_unit_test(bit_lies_where_the_format_has_it),
		cmocka_unit_test(regions_of_requests_and_sizes_of_maps),
	};

	return cmocka_run_group_tests_name("bits", tests, NULL, NULL);
}
