/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Requests that do more than one thing to their range, and those that only compare; in both modes.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim_journal.h"

static struct sim_lun *lun(int mode)
{
	struct sim_lun_options o = { .lun.max_part_bytes = 2048 };

	return mode == TI_MODE_JOURNAL ? sim_journal_new(4, 0) : sim_lun_new(&o);
}

#define EACH_MODE(mode) for (int mode = TI_MODE_DIRECT; mode <= TI_MODE_JOURNAL; mode++)

/* The request's memory, as if it were in one piece. */
static void put(struct sim_req *r, size_t at, const void *bytes, size_t len)
{
	struct ti_iov_cursor cursor = ti_iov_cursor(r->req.iov, r->req.iov_count);
	uint8_t skipped;

	for (size_t i = 0; i < at; i++)
		ti_iov_copy_out(&cursor, &skipped, 1);
	assert_int_equal(ti_iov_copy_in(&cursor, bytes, len), len);
}

/* Blocks from @first on of a version, from the @at-th block of the memory on. */
static void put_blocks(struct sim_lun *l, struct sim_req *r, uint32_t at, uint32_t first,
		       uint32_t count, uint32_t version)
{
	uint8_t block[4096];

	for (uint32_t n = 0; n < count; n++) {
		sim_content(l, first + n, version, block);
		put(r, (size_t)(at + n) * l->geo.block_size, block, l->geo.block_size);
	}
}

static struct sim_req *submit(struct sim_lun *l, struct sim_req *r)
{
	r->submitted = true;
	ti_lun_submit(l->lun, &r->req);
	return r;
}

static struct sim_req *compare(struct sim_lun *l, uint32_t block, uint32_t count, uint32_t version)
{
	struct sim_req *r = sim_prepare(l, TI_REQ_COMPARE, block, count, version);

	sim_scatter(r, 200, 3);
	put_blocks(l, r, 0, block, count, version);
	return r;
}

static struct sim_req *swap(struct sim_lun *l, uint32_t block, uint32_t count, uint32_t old,
			    uint32_t new)
{
	struct sim_req *r = sim_prepare(l, TI_REQ_COMPARE_AND_WRITE, block, count, new);

	put_blocks(l, r, 0, block, count, old);
	put_blocks(l, r, count, block, count, new);
	return r;
}

static void differs(struct sim_lun *l, struct sim_req *r, uint32_t block, uint64_t offset)
{
	sim_bad(l, r, -EBADMSG, TI_CAUSE_MISCOMPARE, block);
	assert_int_equal(r->req.result.offset, offset);
}

static void compare_finds_the_first_byte_that_differs(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_lun *l = lun(mode);
		struct sim_req *r;
		uint8_t other;

		sim_ok(l, sim_write(l, 10, 12, 1));
		sim_ok(l, submit(l, compare(l, 10, 12, 1)));
		sim_ok(l, submit(l, compare(l, 8, 2, 0)));
		r = compare(l, 10, 12, 1);
		other = 0xa5;
		put(r, 8 * 512 + 77, &other, 1);
		other = 0x5a;
		put(r, 9 * 512, &other, 1);
		differs(l, submit(l, r), 18, 8 * 512 + 77);
		r = compare(l, 10, 12, 1);
		other = 0xee;
		put(r, 12 * 512 - 1, &other, 1);
		differs(l, submit(l, r), 21, 12 * 512 - 1);
		sim_lun_free(l);
	}
}

static void compare_same_repeats_its_memory(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_lun *l = lun(mode);
		struct sim_req *r;

		sim_ok(l, sim_write_same(l, 3, 20, 5));
		r = sim_prepare(l, TI_REQ_COMPARE_SAME, 3, 20, 5);
		put_blocks(l, r, 0, 3, 1, 5 | SIM_SAME);
		sim_ok(l, submit(l, r));
		sim_ok(l, sim_write(l, 19, 1, 6));
		r = sim_prepare(l, TI_REQ_COMPARE_SAME, 3, 20, 5);
		put_blocks(l, r, 0, 3, 1, 5 | SIM_SAME);
		differs(l, submit(l, r), 19, 16 * 512);
		sim_lun_free(l);
	}
}

static void compare_tells_of_a_tag_that_does_not_match(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 0, 4, 1));
	sim_ok(l, sim_flush(l));
	sim_contents(l->sim, TI_DATA)[2 * 512] ^= 1;
	sim_settle(l->sim, TI_DATA);
	sim_bad(l, submit(l, compare(l, 0, 4, 1)), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 2);
	sim_bad(l, submit(l, swap(l, 0, 4, 1, 2)), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 2);
	sim_reads(l, 0, 2, 1);
	assert_int_equal(sim_stats(l).failed_verifies, 1);
	assert_int_equal(sim_stats(l).failed_writes, 1);
	sim_lun_free(l);
}

static void compare_and_write_writes_only_if_all_is_the_same(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_lun *l = lun(mode);

		sim_ok(l, sim_write(l, 10, 12, 1));
		sim_ok(l, submit(l, swap(l, 10, 12, 1, 2)));
		sim_reads(l, 10, 12, 2);
		sim_ok(l, sim_write(l, 21, 1, 3));
		differs(l, submit(l, swap(l, 10, 12, 2, 4)), 21, 11 * 512);
		sim_reads(l, 10, 11, 2);
		sim_reads(l, 21, 1, 3);
		sim_lun_free(l);
	}
}

/* Of two that want to change the same old content only one can win. */
static void two_that_compare_and_write_do_not_both_win(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_lun *l = lun(mode);
		struct sim_req *first = submit(l, swap(l, 5, 3, 0, 1));
		struct sim_req *second = submit(l, swap(l, 5, 3, 0, 2));

		sim_ok(l, first);
		differs(l, second, 5, 0);
		sim_reads(l, 5, 3, 1);
		sim_lun_free(l);
	}
}

static void compare_and_write_with_fua_is_durable(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_lun *l = lun(mode);
		struct sim_req *r = swap(l, 5, 3, 0, 1);

		r->req.flags = TI_REQ_FUA;
		sim_ok(l, submit(l, r));
		sim_lun_cut(l);
		sim_reads(l, 5, 3, 1);
		sim_lun_free(l);
	}
}

static void or_write_adds_bits(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_lun *l = lun(mode);
		struct sim_req *r = sim_prepare(l, TI_REQ_OR_WRITE, 30, 10, 2), *read;
		uint8_t old[512], new[512], seen[512];
		struct ti_iov_cursor cursor;

		sim_ok(l, sim_write(l, 30, 10, 1));
		sim_scatter(r, 513, 1);
		put_blocks(l, r, 0, 30, 10, 2);
		sim_ok(l, submit(l, r));
		read = sim_read(l, 30, 10);
		sim_ok(l, read);
		cursor = ti_iov_cursor(read->req.iov, read->req.iov_count);
		for (uint32_t n = 0; n < 10; n++) {
			sim_content(l, 30 + n, 1, old);
			sim_content(l, 30 + n, 2, new);
			for (unsigned i = 0; i < 512; i++)
				new[i] |= old[i];
			ti_iov_copy_out(&cursor, seen, 512);
			assert_memory_equal(seen, new, 512);
		}
		sim_lun_free(l);
	}
}

static void or_write_with_fua_is_durable(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		struct sim_lun *l = lun(mode);
		struct sim_req *r = sim_prepare(l, TI_REQ_OR_WRITE, 5, 3, 1);

		put_blocks(l, r, 0, 5, 3, 1);
		r->req.flags = TI_REQ_FUA;
		sim_ok(l, submit(l, r));
		sim_lun_cut(l);
		sim_reads(l, 5, 3, 1);
		sim_lun_free(l);
	}
}

static void write_and_verify_is_durable_before_it_reads(void **state)
{
	(void)state;
	EACH_MODE(mode)
	{
		for (int op = TI_REQ_WRITE_AND_VERIFY; op <= TI_REQ_WRITE_AND_COMPARE; op++) {
			struct sim_lun *l = lun(mode);
			struct sim_req *r = sim_prepare(l, (enum ti_req_op)op, 7, 9, 1);
			unsigned flush = 0, read = 0;

			sim_ok(l, sim_read(l, 7, 9));
			sim_forget(l);
			put_blocks(l, r, 0, 7, 9, 1);
			sim_ok(l, submit(l, r));
			for (unsigned i = 0; i < l->events; i++) {
				if (l->event[i].op == TI_IO_FLUSH && l->event[i].completed)
					flush = i + 1;
				if (l->event[i].op == TI_IO_READ && l->event[i].dev == TI_DATA &&
				    !read)
					read = i + 1;
			}
			assert_true(flush > 0);
			assert_true(mode == TI_MODE_JOURNAL || read > flush);
			sim_lun_cut(l);
			sim_reads(l, 7, 9, 1);
			sim_lun_free(l);
		}
	}
}

static void write_and_verify_whose_flush_fails_has_failed(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct sim_req *r = sim_prepare(l, TI_REQ_WRITE_AND_VERIFY, 7, 9, 1);

	(void)state;
	put_blocks(l, r, 0, 7, 9, 1);
	sim_fail(l, TI_DATA, TI_IO_FLUSH, 0, 1);
	sim_bad(l, submit(l, r), -EIO, TI_CAUSE_DATA_FLUSH, 7);
	/* Its range is free again. */
	sim_reads(l, 7, 9, 1);
	sim_lun_free(l);
}

/* --- atomic writes --- */

static struct sim_req *atomic(struct sim_lun *l, uint32_t block, uint32_t count, uint32_t version)
{
	struct sim_req *r = sim_prepare(l, TI_REQ_WRITE, block, count, version);

	r->req.flags = TI_REQ_ATOMIC;
	put_blocks(l, r, 0, block, count, version);
	return r;
}

static void only_mode_journal_writes_atomically(void **state)
{
	struct sim_lun *l = lun(TI_MODE_DIRECT);

	(void)state;
	assert_int_equal(ti_lun_atomic_sectors(l->lun), 0);
	sim_bad(l, submit(l, atomic(l, 5, 1, 1)), -EINVAL, TI_CAUSE_INTERNAL, 5);
	sim_lun_free(l);
	l = lun(TI_MODE_JOURNAL);
	assert_int_equal(ti_lun_atomic_sectors(l->lun), SIM_SECTION_ENTRIES);
	sim_bad(l, submit(l, atomic(l, 5, SIM_SECTION_ENTRIES + 1, 1)), -EINVAL, TI_CAUSE_INTERNAL,
		5);
	sim_ok(l, submit(l, atomic(l, 5, SIM_SECTION_ENTRIES, 1)));
	sim_reads(l, 5, SIM_SECTION_ENTRIES, 1);
	sim_lun_free(l);
}

/* All blocks hold one version; which one? */
static uint32_t one_version(struct sim_lun *l, uint32_t block, uint32_t count)
{
	struct sim_req *r = sim_read(l, block, count);

	sim_ok(l, r);
	for (uint32_t version = 1; version <= 2; version++)
		if (sim_holds(l, r, version))
			return version;
	fail_msg("the blocks hold neither the old nor the new");
	return 0;
}

/*
 * The section is partly filled, some of the blocks already stand in it or in the one before; then
 * the commit reaches the medium with some of its sections and not with others.
 */
static void atomic_write_is_there_as_a_whole_or_not_at_all(void **state)
{
	unsigned seen[3] = { 0 };

	(void)state;
	for (unsigned round = 0; round < 600; round++) {
		struct sim_lun *l = sim_journal_new(4, 95);
		size_t bytes = l->geo.section_sectors * 512;
		uint32_t first = 100, count = 2 + round % (SIM_SECTION_ENTRIES - 1);
		uint8_t *before = malloc(4 * bytes);

		sim_ok(l, sim_write(l, first, count, 1));
		sim_ok(l, sim_flush(l));
		/* Filled, not committed: the old content again, and others. */
		sim_ok(l, sim_write(l, first, 1 + round % count, 1));
		sim_ok(l, sim_write(l, 500, 1 + round % 11, 1));
		memcpy(before, sim_journal_bytes(l, 0), 4 * bytes);
		sim_ok(l, submit(l, atomic(l, first, count, 2)));
		sim_reads(l, first, count, 2);
		sim_ok(l, sim_flush(l));
		for (uint32_t i = 0; i < 4; i++)
			if (round / 8 >> i & 1)
				memcpy(sim_journal_bytes(l, i), before + i * bytes, bytes);
		sim_settle(l->sim, TI_META);
		sim_lun_cut(l);
		seen[one_version(l, first, count)]++;
		free(before);
		sim_lun_free(l);
	}
	print_message("old %u new %u\n", seen[1], seen[2]);
	assert_true(seen[1] > 20 && seen[2] > 20);
}

/* More than there is room for: they wait for whole sections, and all end. */
static void atomic_writes_wait_for_room(void **state)
{
	struct sim_lun *l = sim_journal_new(3, 0);

	(void)state;
	for (uint32_t n = 0; n < 20; n++) {
		submit(l, atomic(l, 10 * n, SIM_SECTION_ENTRIES - n % 4, 1));
		sim_write(l, 400 + 5 * n, 1 + n % 5, 1);
	}
	sim_finish(l);
	for (uint32_t n = 0; n < 20; n++) {
		sim_reads(l, 10 * n, SIM_SECTION_ENTRIES - n % 4, 1);
		sim_reads(l, 400 + 5 * n, 1 + n % 5, 1);
	}
	assert_int_equal(sim_lun_close(l), 0);
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compare_finds_the_first_byte_that_differs),
		cmocka_unit_test(compare_same_repeats_its_memory),
		cmocka_unit_test(compare_tells_of_a_tag_that_does_not_match),
		cmocka_unit_test(compare_and_write_writes_only_if_all_is_the_same),
		cmocka_unit_test(two_that_compare_and_write_do_not_both_win),
		cmocka_unit_test(compare_and_write_with_fua_is_durable),
		cmocka_unit_test(or_write_adds_bits),
		cmocka_unit_test(write_and_verify_is_durable_before_it_reads),
		cmocka_unit_test(write_and_verify_whose_flush_fails_has_failed),
		cmocka_unit_test(only_mode_journal_writes_atomically),
		cmocka_unit_test(atomic_write_is_there_as_a_whole_or_not_at_all),
		cmocka_unit_test(atomic_writes_wait_for_room),
		cmocka_unit_test(or_write_with_fua_is_durable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
