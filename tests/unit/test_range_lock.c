/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
#include "range_lock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct holder {
	struct ti_range range; /* first */
	bool held;
	unsigned turn; /* it was the how manieth to be granted later, from 1 */
};

static unsigned turns;

static void granted(struct ti_range *range)
{
	struct holder *h = (struct holder *)range;

	assert_false(h->held);
	h->held = true;
	h->turn = ++turns;
}

static void ask(struct ti_range_locks *locks, struct holder *h, uint64_t first, uint64_t end,
		bool exclusive)
{
	*h = (struct holder){
		.range = { .first = first, .end = end, .exclusive = exclusive, .granted = granted }
	};
	h->held = ti_range_lock(locks, &h->range);
}

static void let_go(struct ti_range_locks *locks, struct holder *h)
{
	assert_true(h->held);
	h->held = false;
	ti_range_unlock(locks, &h->range);
}

static void range_is_held_at_once_if_nobody_has_it(void **state)
{
	struct ti_range_locks locks;
	struct holder a, b;

	(void)state;
	ti_range_locks_init(&locks);
	ask(&locks, &a, 10, 20, true);
	assert_true(a.held);
	let_go(&locks, &a);
	ask(&locks, &b, 10, 20, true);
	assert_true(b.held);
	let_go(&locks, &b);
	assert_true(TAILQ_EMPTY(&locks.list));
}

static void readers_share(void **state)
{
	struct ti_range_locks locks;
	struct holder a, b, c;

	(void)state;
	ti_range_locks_init(&locks);
	ask(&locks, &a, 0, 100, false);
	ask(&locks, &b, 50, 60, false);
	ask(&locks, &c, 99, 200, false);
	assert_true(a.held && b.held && c.held);
}

static void writer_waits_for_all_readers_of_its_range(void **state)
{
	struct ti_range_locks locks;
	struct holder a, b, far, writer;

	(void)state;
	ti_range_locks_init(&locks);
	ask(&locks, &a, 0, 11, false);
	ask(&locks, &b, 19, 30, false);
	ask(&locks, &far, 20, 30, false);
	ask(&locks, &writer, 10, 20, true);
	assert_false(writer.held);
	let_go(&locks, &b);
	assert_false(writer.held);
	let_go(&locks, &a);
	assert_true(writer.held);
	assert_true(far.held);
}

static void reader_waits_for_the_writer(void **state)
{
	struct ti_range_locks locks;
	struct holder writer, reader;

	(void)state;
	ti_range_locks_init(&locks);
	ask(&locks, &writer, 10, 20, true);
	ask(&locks, &reader, 19, 20, false);
	assert_false(reader.held);
	let_go(&locks, &writer);
	assert_true(reader.held);
}

static void neighbours_do_not_touch(void **state)
{
	struct ti_range_locks locks;
	struct holder a, b, c, last;

	(void)state;
	ti_range_locks_init(&locks);
	ask(&locks, &a, 10, 20, true);
	ask(&locks, &b, 20, 30, true);
	ask(&locks, &c, 9, 10, true);
	ask(&locks, &last, UINT64_MAX - 1, UINT64_MAX, true);
	assert_true(a.held && b.held && c.held && last.held);
}

static void newcomer_does_not_overtake_a_waiter_that_it_overlaps(void **state)
{
	struct ti_range_locks locks;
	struct holder reader, writer, late_reader, apart;

	(void)state;
	ti_range_locks_init(&locks);
	ask(&locks, &reader, 0, 10, false);
	ask(&locks, &writer, 5, 15, true);
	ask(&locks, &late_reader, 0, 10, false); /* could share with the first one */
	ask(&locks, &apart, 15, 20, true);
	assert_false(writer.held);
	assert_false(late_reader.held);
	assert_true(apart.held);
	let_go(&locks, &reader);
	assert_true(writer.held);
	assert_false(late_reader.held);
	let_go(&locks, &writer);
	assert_true(late_reader.held);
}

static void waiters_are_granted_in_the_order_of_arrival(void **state)
{
	struct ti_range_locks locks;
	struct holder h[10];

	(void)state;
	turns = 0;
	ti_range_locks_init(&locks);
	for (unsigned i = 0; i < 10; i++)
		ask(&locks, &h[i], 0, 10, true);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(h[i].turn, i);
		let_go(&locks, &h[i]);
	}
	assert_true(TAILQ_EMPTY(&locks.list));
}

static void all_readers_behind_a_writer_start_together(void **state)
{
	struct ti_range_locks locks;
	struct holder writer, reader[3];

	(void)state;
	turns = 0;
	ti_range_locks_init(&locks);
	ask(&locks, &writer, 0, 10, true);
	for (unsigned i = 0; i < 3; i++)
		ask(&locks, &reader[i], i, i + 5, false);
	let_go(&locks, &writer);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(reader[i].turn, i + 1);
}

static bool conflict(const struct holder *a, const struct holder *b)
{
	return (a->range.exclusive || b->range.exclusive) && a->range.first < b->range.end &&
	       b->range.first < a->range.end;
}

/* A range is held exactly when no older one that conflicts with it is still there. */
static void check_all(struct holder *const *oldest_first, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		bool free = true;

		for (unsigned k = 0; k < i; k++)
			if (conflict(oldest_first[k], oldest_first[i]))
				free = false;
		assert_int_equal(oldest_first[i]->held, free);
	}
}

static void random_ranges_are_held_exactly_when_they_may_be(void **state)
{
	enum { MOST = 12, STEPS = 50000 };
	static struct holder h[MOST];
	struct holder *order[MOST];
	struct ti_range_locks locks;
	bool used[MOST] = { false };
	unsigned count = 0;

	(void)state;
	srandom(1);
	ti_range_locks_init(&locks);
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned i = (unsigned)random() % MOST, at = 0;

		if (!used[i]) {
			uint64_t first = (uint64_t)random() % 30;

			ask(&locks, &h[i], first, first + 1 + (uint64_t)random() % 8, random() % 2);
			used[i] = true;
			order[count++] = &h[i];
		} else if (h[i].held) {
			let_go(&locks, &h[i]);
			used[i] = false;
			while (order[at] != &h[i])
				at++;
			memmove(&order[at], &order[at + 1], (--count - at) * sizeof(order[0]));
		}
		check_all(order, count);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(range_is_held_at_once_if_nobody_has_it),
		cmocka_unit_test(readers_share),
		cmocka_unit_test(writer_waits_for_all_readers_of_its_range),
		cmocka_unit_test(reader_waits_for_the_writer),
		cmocka_unit_test(neighbours_do_not_touch),
		cmocka_unit_test(newcomer_does_not_overtake_a_waiter_that_it_overlaps),
		cmocka_unit_test(waiters_are_granted_in_the_order_of_arrival),
		cmocka_unit_test(all_readers_behind_a_writer_start_together),
		cmocka_unit_test(random_ranges_are_held_exactly_when_they_may_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
