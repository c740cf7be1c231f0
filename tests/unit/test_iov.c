/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* Cursors over scattered memory. */
#include "iov.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* "abcdefghij" in pieces of 3, 0, 4, 0, 0 and 3 bytes. */
struct scattered {
	char a[3], b[4], c[3];
	struct iovec iov[6];
};

static void scatter(struct scattered *s)
{
	memcpy(s->a, "abc", 3);
	memcpy(s->b, "defg", 4);
	memcpy(s->c, "hij", 3);
	s->iov[0] = (struct iovec){ .iov_base = s->a, .iov_len = 3 };
	s->iov[1] = (struct iovec){ .iov_base = NULL, .iov_len = 0 };
	s->iov[2] = (struct iovec){ .iov_base = s->b, .iov_len = 4 };
	s->iov[3] = (struct iovec){ .iov_base = s->c, .iov_len = 0 };
	s->iov[4] = (struct iovec){ .iov_base = NULL, .iov_len = 0 };
	s->iov[5] = (struct iovec){ .iov_base = s->c, .iov_len = 3 };
}

static void length_is_the_sum(void **state)
{
	struct scattered s;

	(void)state;
	scatter(&s);
	assert_int_equal(ti_iov_length(s.iov, 6), 10);
	assert_int_equal(ti_iov_length(s.iov, 3), 7);
	assert_int_equal(ti_iov_length(NULL, 0), 0);
}

static void copy_out_in_any_steps_yields_the_bytes_in_order(void **state)
{
	struct scattered s;

	(void)state;
	scatter(&s);
	for (size_t step = 1; step <= 11; step++) {
		struct ti_iov_cursor c = ti_iov_cursor(s.iov, 6);
		char got[16] = { 0 };
		size_t sum = 0, n;

		while ((n = ti_iov_copy_out(&c, got + sum, step)) > 0)
			sum += n;
		assert_int_equal(sum, 10);
		assert_string_equal(got, "abcdefghij");
		assert_int_equal(ti_iov_copy_out(&c, got, 1), 0);
	}
}

static void copy_in_fills_what_there_is(void **state)
{
	struct scattered s;
	struct ti_iov_cursor c;

	(void)state;
	scatter(&s);
	c = ti_iov_cursor(s.iov, 6);
	assert_int_equal(ti_iov_copy_in(&c, "0123", 4), 4);
	assert_int_equal(ti_iov_copy_in(&c, "456789xyz", 9), 6);
	assert_memory_equal(s.a, "012", 3);
	assert_memory_equal(s.b, "3456", 4);
	assert_memory_equal(s.c, "789", 3);
}

static void zero_fills_exactly_the_length(void **state)
{
	struct scattered s;
	struct ti_iov_cursor c;

	(void)state;
	scatter(&s);
	c = ti_iov_cursor(s.iov, 6);
	assert_int_equal(ti_iov_zero(&c, 5), 5);
	assert_memory_equal(s.a, "\0\0\0", 3);
	assert_memory_equal(s.b, "\0\0fg", 4);
	assert_int_equal(ti_iov_zero(&c, 100), 5);
	assert_memory_equal(s.c, "\0\0\0", 3);
}

static void take_stops_at_length_at_pieces_and_at_the_end(void **state)
{
	struct scattered s;
	struct ti_iov_cursor c;
	struct iovec piece[6];
	size_t taken;

	(void)state;
	scatter(&s);
	c = ti_iov_cursor(s.iov, 6);
	assert_int_equal(ti_iov_take(&c, 5, piece, 6, &taken), 2);
	assert_int_equal(taken, 5);
	assert_ptr_equal(piece[0].iov_base, s.a);
	assert_int_equal(piece[0].iov_len, 3);
	assert_ptr_equal(piece[1].iov_base, s.b);
	assert_int_equal(piece[1].iov_len, 2);

	/* One piece at most: the rest of b, though more was asked for. */
	assert_int_equal(ti_iov_take(&c, 5, piece, 1, &taken), 1);
	assert_int_equal(taken, 2);
	assert_ptr_equal(piece[0].iov_base, s.b + 2);

	assert_int_equal(ti_iov_take(&c, 5, piece, 6, &taken), 1);
	assert_int_equal(taken, 3);
	assert_int_equal(ti_iov_take(&c, 5, piece, 6, &taken), 0);
	assert_int_equal(taken, 0);
}

static void take_skips_empty_elements_and_makes_no_empty_pieces(void **state)
{
	struct scattered s;
	struct ti_iov_cursor c;
	struct iovec piece[6];
	size_t taken;

	(void)state;
	scatter(&s);
	c = ti_iov_cursor(s.iov, 6);
	assert_int_equal(ti_iov_take(&c, 10, piece, 3, &taken), 3);
	assert_int_equal(taken, 10);
	for (int i = 0; i < 3; i++)
		assert_true(piece[i].iov_len > 0);
	assert_int_equal(ti_iov_take(&c, 0, piece, 3, &taken), 0);
	assert_int_equal(taken, 0);
}

static void walking_changes_no_element(void **state)
{
	struct scattered s, before;
	struct ti_iov_cursor c;
	char got[10];

	(void)state;
	memset(&s, 0, sizeof(s));
	scatter(&s);
	memcpy(&before, &s, sizeof(s));
	c = ti_iov_cursor(s.iov, 6);
	ti_iov_copy_out(&c, got, 4);
	ti_iov_copy_out(&c, got, 6);
	assert_memory_equal(&before, &s, sizeof(s));
}

static void alignment_is_that_of_the_worst_piece(void **state)
{
	static char room[4096] __attribute__((aligned(4096)));
	struct iovec iov[2] = {
		{ .iov_base = room, .iov_len = 1024 },
		{ .iov_base = room + 1024, .iov_len = 512 },
	};

	(void)state;
	assert_true(ti_iov_aligned(iov, 2, 512, 512));
	assert_true(ti_iov_aligned(iov, 2, 1024, 512));
	assert_false(ti_iov_aligned(iov, 2, 512, 1024));
	assert_false(ti_iov_aligned(iov, 2, 2048, 512));
	assert_true(ti_iov_aligned(iov, 1, 4096, 1024));
	iov[0].iov_base = room + 4;
	assert_false(ti_iov_aligned(iov, 2, 512, 512));
	assert_true(ti_iov_aligned(iov, 2, 4, 512));
	assert_true(ti_iov_aligned(iov, 2, 1, 1));
	assert_true(ti_iov_aligned(NULL, 0, 4096, 4096));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(length_is_the_sum),
		cmocka_unit_test(copy_out_in_any_steps_yields_the_bytes_in_order),
		cmocka_unit_test(copy_in_fills_what_there_is),
		cmocka_unit_test(zero_fills_exactly_the_length),
		cmocka_unit_test(take_stops_at_length_at_pieces_and_at_the_end),
		cmocka_unit_test(take_skips_empty_elements_and_makes_no_empty_pieces),
		cmocka_unit_test(walking_changes_no_element),
		cmocka_unit_test(alignment_is_that_of_the_worst_piece),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
