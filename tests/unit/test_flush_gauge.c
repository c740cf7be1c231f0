/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * When flushes are inline, and what sends them to workers and back.
 */
#include "flush_gauge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "clock.h"

#define SHORT_NS 10000U

struct test_clock {
	struct ti_clock clock;
	uint64_t now_ns, step_ns;
};

static uint64_t stepping(struct ti_clock *clock)
{
	struct test_clock *c = (struct test_clock *)clock;

	return c->now_ns += c->step_ns;
}

static struct ti_flush_gauge gauge(bool volatile_cache, uint64_t clock_ns)
{
	struct test_clock c = { .clock.now_ns = stepping, .step_ns = clock_ns };
	struct ti_flush_gauge g;

	ti_flush_gauge_init(&g, volatile_cache, &c.clock);
	return g;
}

static void volatile_cache_is_never_flushed_inline(void **state)
{
	struct ti_flush_gauge g = gauge(true, 20);

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		assert_false(ti_flush_gauge_inline(&g));
		ti_flush_gauge_worker_took(&g, SHORT_NS);
	}
}

static void short_flushes_stay_inline_and_all_are_measured(void **state)
{
	struct ti_flush_gauge g = gauge(false, 20);

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(ti_flush_gauge_inline(&g));
		assert_true(ti_flush_gauge_measures(&g));
		ti_flush_gauge_inline_took(&g, TI_FLUSH_MAX_NS);
	}
}

static void one_long_flush_sends_the_next_to_a_worker(void **state)
{
	struct ti_flush_gauge g = gauge(false, 20);

	(void)state;
	ti_flush_gauge_inline_took(&g, SHORT_NS);
	ti_flush_gauge_inline_took(&g, TI_FLUSH_MAX_NS + 1);
	assert_false(ti_flush_gauge_inline(&g));
}

static void short_flushes_of_workers_bring_it_back(void **state)
{
	struct ti_flush_gauge g = gauge(false, 20);

	(void)state;
	ti_flush_gauge_inline_took(&g, TI_FLUSH_MAX_NS + 1);
	for (unsigned i = 0; i < TI_FLUSH_PROBATION; i++) {
		assert_false(ti_flush_gauge_inline(&g));
		ti_flush_gauge_worker_took(&g, 3 * TI_FLUSH_MAX_NS);
	}
	assert_true(ti_flush_gauge_inline(&g));
}

static void slow_device_is_never_tried_again(void **state)
{
	struct ti_flush_gauge g = gauge(false, 20);

	(void)state;
	ti_flush_gauge_inline_took(&g, 5 * TI_NS_PER_MS);
	for (unsigned i = 0; i < 1000; i++) {
		assert_false(ti_flush_gauge_inline(&g));
		/* One long one in a while is enough. */
		ti_flush_gauge_worker_took(&g, i % 50 == 0 ? 5 * TI_NS_PER_MS : SHORT_NS);
	}
}

static void dear_clock_is_read_for_one_flush_in_some(void **state)
{
	struct ti_flush_gauge g = gauge(false, 10000);
	unsigned measured = 0;

	(void)state;
	assert_true(ti_flush_gauge_measures(&g));
	for (unsigned i = 1; i < 10 * TI_FLUSH_DEAR_SAMPLE; i++)
		measured += ti_flush_gauge_measures(&g);
	assert_int_equal(measured, 9);
	/* After a long one the first that is inline again is measured. */
	assert_true(ti_flush_gauge_measures(&g));
	ti_flush_gauge_inline_took(&g, 10000 * TI_FLUSH_MAX_READS);
	assert_true(ti_flush_gauge_inline(&g));
	ti_flush_gauge_inline_took(&g, 10000 * TI_FLUSH_MAX_READS + 1);
	assert_false(ti_flush_gauge_inline(&g));
	assert_true(ti_flush_gauge_measures(&g));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(volatile_cache_is_never_flushed_inline),
		cmocka_unit_test(short_flushes_stay_inline_and_all_are_measured),
		cmocka_unit_test(one_long_flush_sends_the_next_to_a_worker),
		cmocka_unit_test(short_flushes_of_workers_bring_it_back),
		cmocka_unit_test(slow_device_is_never_tried_again),
		cmocka_unit_test(dear_clock_is_read_for_one_flush_in_some),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
