/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Devices that say they have no volatile cache: every write is a FUA write, and nothing is left to
 * flush.  The simulated ones have a cache all the same, as if somebody had switched it on since the
 * pair was opened: what was not a FUA write would be lost in it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim_journal.h"

static struct sim_lun *without_caches(bool data, bool meta, enum ti_mode mode)
{
	struct sim_lun_options o = {
		.blocks = 16384,
		.says_no_cache = { [TI_DATA] = data, [TI_META] = meta },
		.lun.mode = mode,
	};
	struct sim_lun *l = sim_lun_new(&o);

	sim_forget(l);
	return l;
}

static void is_durable(struct sim_lun *l, uint32_t block, uint32_t version)
{
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), block, version));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), block, version));
}

static void flush_sends_nothing_but_the_tags(void **state)
{
	struct sim_lun *l = without_caches(true, true, TI_MODE_DIRECT);

	(void)state;
	/* Tags in three lines that are no neighbours. */
	for (uint32_t block = 0; block < 3 * 2048; block += 2048)
		sim_ok(l, sim_write(l, block, 1, 1));
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_FLUSH), 0);
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 0);
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 3);
	for (uint32_t block = 0; block < 3 * 2048; block += 2048)
		is_durable(l, block, 1);
	sim_lun_free(l);
}

static void tags_written_back_earlier_need_no_flush_either(void **state)
{
	struct sim_lun *l = without_caches(true, true, TI_MODE_DIRECT);

	(void)state;
	sim_ok(l, sim_write(l, 0, 1, 1));
	sim_age(l);
	sim_finish(l);
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 0);
	is_durable(l, 0, 1);
	sim_lun_free(l);
}

static void device_that_has_a_cache_is_flushed_although_the_other_has_none(void **state)
{
	(void)state;
	for (int none = 0; none < TI_DEVICES; none++) {
		struct sim_lun *l =
			without_caches(none == TI_DATA, none == TI_META, TI_MODE_DIRECT);

		sim_ok(l, sim_write(l, 0, 1, 1));
		sim_ok(l, sim_flush(l));
		assert_int_equal(sim_started(l, (enum ti_device)none, TI_IO_FLUSH), 0);
		assert_int_equal(sim_started(l, (enum ti_device) !none, TI_IO_FLUSH), 1);
		is_durable(l, 0, 1);
		sim_lun_free(l);
	}
}

static void first_flush_after_open_reaches_both_devices_nevertheless(void **state)
{
	struct sim_lun *l =
		sim_lun_make(&(struct sim_lun_options){ .says_no_cache = { true, true } });

	(void)state;
	assert_int_equal(sim_lun_open(l), 0);
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_FLUSH), 1);
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 1);
	sim_lun_free(l);
}

static void failed_write_is_followed_by_a_flush(void **state)
{
	struct sim_lun *l = without_caches(true, true, TI_MODE_DIRECT);

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_write(l, 3, 1, 1), -EIO, TI_CAUSE_DATA_IO, 3);
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_FLUSH), 1);
	sim_lun_free(l);
}

static void every_part_of_a_large_write_is_durable(void **state)
{
	struct sim_lun *l = without_caches(true, true, TI_MODE_DIRECT);

	(void)state;
	sim_ok(l, sim_write(l, 5, 4096, 1));
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_FLUSH), 0);
	for (uint32_t n = 0; n < 4096; n++)
		is_durable(l, 5 + n, 1);
	sim_lun_free(l);
}

static void journal_is_committed_and_written_out_without_a_flush(void **state)
{
	struct sim_lun *l = without_caches(true, true, TI_MODE_JOURNAL);
	uint32_t entries = 2 * 168; /* more than the one section holds */

	(void)state;
	for (uint32_t n = 0; n < entries; n++)
		sim_ok(l, sim_write(l, 4 * n, 1, 1));
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_FLUSH), 0);
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 0);
	assert_true(sim_started(l, TI_DATA, TI_IO_WRITE) > 0);
	sim_lun_cut(l);
	for (uint32_t n = 0; n < entries; n++)
		sim_reads(l, 4 * n, 1, 1);
	sim_lun_free(l);
}

static void journal_is_written_out_before_it_is_freed(void **state)
{
	struct sim_lun *l = without_caches(true, true, TI_MODE_JOURNAL);

	(void)state;
	/* The one section has to be free again before the second write gets its entries. */
	for (uint32_t version = 1; version <= 2; version++) {
		sim_ok(l, sim_write(l, 0, 168, version));
		sim_ok(l, sim_flush(l));
	}
	for (uint32_t n = 0; n < 168; n++)
		assert_false(sim_has_data(l, sim_durable(l->sim, TI_DATA), n, 0));
	sim_lun_free(l);
}

/* Were two sections committed together, the ring's last one and its first? */
static bool wrapped(const struct sim_lun *l)
{
	uint64_t ring = l->geo.journal_offset, section = l->geo.section_sectors * 512ULL;
	uint64_t last = ring + (l->geo.journal_sections - 1) * section;

	for (unsigned i = 0; i + 1 < l->events; i++) {
		const struct sim_event *a = &l->event[i], *b = &l->event[i + 1];

		if (a->op == TI_IO_WRITE && !a->completed && a->offset == last &&
		    b->op == TI_IO_WRITE && !b->completed && b->offset == ring)
			return true;
	}
	return false;
}

static void commit_that_wraps_is_durable_without_a_flush(void **state)
{
	struct sim_lun *l = sim_lun_new(&(struct sim_lun_options){ .blocks = 16384,
								   .meta_bytes = 4U << 20,
								   .shape.journal_sectors = 4 * 176,
								   .says_no_cache = { true, true },
								   .lun.mode = TI_MODE_JOURNAL });

	(void)state;
	sim_forget(l);
	/* One section a commit, and at last one that begins in the ring's last section. */
	for (uint32_t n = 1; n <= 3; n++) {
		sim_ok(l, sim_write(l, n, 1, n));
		sim_ok(l, sim_flush(l));
		sim_finish(l);
	}
	sim_ok(l, sim_write(l, 100, 2 * 168, 4));
	sim_ok(l, sim_flush(l));
	assert_true(wrapped(l));
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 0);
	sim_lun_cut(l);
	for (uint32_t n = 1; n <= 3; n++)
		sim_reads(l, n, 1, n);
	sim_reads(l, 100, 2 * 168, 4);
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flush_sends_nothing_but_the_tags),
		cmocka_unit_test(tags_written_back_earlier_need_no_flush_either),
		cmocka_unit_test(device_that_has_a_cache_is_flushed_although_the_other_has_none),
		cmocka_unit_test(first_flush_after_open_reaches_both_devices_nevertheless),
		cmocka_unit_test(failed_write_is_followed_by_a_flush),
		cmocka_unit_test(every_part_of_a_large_write_is_durable),
		cmocka_unit_test(journal_is_committed_and_written_out_without_a_flush),
		cmocka_unit_test(journal_is_written_out_before_it_is_freed),
		cmocka_unit_test(commit_that_wraps_is_durable_without_a_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
