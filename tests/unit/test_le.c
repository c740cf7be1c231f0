/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* Little-endian integers: bytes in the right order, at any address. */
#include "le.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void integers_lie_with_their_lowest_byte_first(void **state)
{
	static const uint8_t bytes[8] = { 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11 };
	struct ti_le64 v64;
	struct ti_le32 v32;
	struct ti_le16 v16;

	(void)state;
	ti_le64_set(&v64, 0x1122334455667788ULL);
	ti_le32_set(&v32, 0x55667788U);
	ti_le16_set(&v16, 0x7788U);
	assert_memory_equal(&v64, bytes, 8);
	assert_memory_equal(&v32, bytes, 4);
	assert_memory_equal(&v16, bytes, 2);
}

static void what_was_set_is_read_at_odd_addresses(void **state)
{
	uint8_t room[16] = { 0 };

	(void)state;
	for (size_t at = 0; at < 8; at++) {
		struct ti_le64 *p64 = (struct ti_le64 *)(room + at);
		struct ti_le32 *p32 = (struct ti_le32 *)(room + at);
		struct ti_le16 *p16 = (struct ti_le16 *)(room + at);

		ti_le64_set(p64, UINT64_MAX - 5);
		assert_int_equal(ti_le64_get(p64), UINT64_MAX - 5);
		ti_le32_set(p32, 0x80000001U);
		assert_int_equal(ti_le32_get(p32), 0x80000001U);
		ti_le16_set(p16, 0xfe01U);
		assert_int_equal(ti_le16_get(p16), 0xfe01U);
	}
}

static void setting_touches_no_neighbour(void **state)
{
	uint8_t room[16];

	(void)state;
	memset(room, 0xaa, sizeof(room));
	ti_le16_set((struct ti_le16 *)(room + 1), 0);
	ti_le32_set((struct ti_le32 *)(room + 4), 0);
	assert_int_equal(room[0], 0xaa);
	assert_int_equal(room[3], 0xaa);
	assert_int_equal(room[8], 0xaa);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_lie_with_their_lowest_byte_first),
		cmocka_unit_test(what_was_set_is_read_at_odd_addresses),
		cmocka_unit_test(setting_touches_no_neighbour),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
