/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Check: what is found, called what, in which ranges, and that nothing is written.
 */
#include "check.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format.h"
#include "spy_queue.h"

#define MIB (1024ULL * 1024)

struct pair {
	struct mem_queue *mq;
	struct spy_queue *spy;
	struct ti_format_plan plan;
	struct ti_check_range list[16];
	struct ti_check_report report;
	unsigned writes; /* after format */
};

struct shape {
	uint64_t data_size;
	uint32_t block, tag;
	uint32_t data_logical, meta_logical;
};

/* A pair with random data and right tags. */
static void pair_make(struct pair *p, const struct shape *s, uint64_t seed)
{
	static const struct ti_progress quiet = { .step = NULL };
	/* Not a random one: short tags must not happen to be zero in one run of many. */
	static const uint8_t salt[TI_SALT_BYTES] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	const struct ti_format_options o = {
		.salt = salt,
		.hash = &ti_hash_crc32c,
		.shape = { .block_size = s->block,
			   .tag_size = s->tag,
			   .journal_sectors = 400,
			   .salted = true },
		.fill = TI_FORMAT_KEEP_DATA,
	};
	uint64_t tags = s->data_size / s->block * s->tag;
	struct ti_error error = { .err = 0 };
	uint64_t random = seed;

	memset(p, 0, sizeof(*p));
	p->mq = mem_queue_new(s->data_size, (tags + MIB) / 4096 * 4096);
	for (uint64_t i = 0; i < s->data_size; i += 8) {
		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		memcpy(p->mq->bytes[TI_DATA] + i, &random, 8);
	}
	/* Formatted with small logical blocks: what a check meets need not be what format makes. */
	if (ti_format_plan(&p->mq->q, &o, &p->plan, &error) ||
	    ti_format_write(&p->mq->q, &p->plan, &quiet, &error))
		fail_msg("%s", error.text);
	p->writes = p->mq->writes;
	p->mq->q.dev[TI_DATA].logical_block_size = s->data_logical;
	p->mq->q.dev[TI_META].logical_block_size = s->meta_logical;
	p->spy = spy_queue_new(p->mq, seed);
	p->report.list = p->list;
	p->report.list_max = sizeof(p->list) / sizeof(p->list[0]);
}

static void pair_free(struct pair *p)
{
	assert_int_equal(p->mq->writes, p->writes);
	spy_queue_free(p->spy);
	mem_queue_free(p->mq);
}

static int run_with(struct pair *p, const struct ti_progress *progress)
{
	const struct ti_check_options options = {
		.hash = &ti_hash_crc32c,
		.salt = p->plan.sb.salt,
		.progress = *progress,
	};
	struct ti_error error = { .err = 0 };
	int err = ti_check(&p->spy->q, &p->plan.geo, &options, &p->report, &error);

	assert_int_equal(err, error.err);
	assert_int_equal(p->spy->pending_count, 0);
	return err;
}

static void run(struct pair *p)
{
	static const struct ti_progress quiet = { .step = NULL };

	assert_int_equal(run_with(p, &quiet), 0);
	assert_int_equal(p->report.checked_sectors, p->plan.geo.provided_sectors);
}

static void expect_clean(const struct pair *p)
{
	for (int i = 0; i < TI_CHECK_KINDS; i++) {
		assert_int_equal(p->report.bad_sectors[i], 0);
		assert_int_equal(p->report.ranges[i], 0);
	}
	assert_int_equal(p->report.listed, 0);
}

static void expect_range(const struct pair *p, size_t i, enum ti_check_kind kind, uint64_t sector,
			 uint64_t sectors)
{
	assert_true(i < p->report.listed);
	assert_int_equal(p->list[i].kind, kind);
	assert_int_equal(p->list[i].sector, sector);
	assert_int_equal(p->list[i].sectors, sectors);
}

static uint8_t *data_of(const struct pair *p, uint64_t block)
{
	return p->mq->bytes[TI_DATA] + block * p->plan.geo.block_size;
}

static uint8_t *tag_of(const struct pair *p, uint64_t block)
{
	return p->mq->bytes[TI_META] + p->plan.geo.tag_offset + block * p->plan.geo.tag_size;
}

static const struct shape shapes[] = {
	{ 512, 512, 4, 512, 512 },
	{ MIB + 512, 512, 4, 512, 512 },
	{ 9 * MIB + 1024, 1024, 7, 512, 512 },
	{ 9 * MIB + 2048, 2048, 1, 512, 4096 },
	{ 17 * MIB + 4096, 4096, 40, 4096, 4096 },
	{ 17 * MIB, 4096, 7, 4096, 4096 },
	{ 5 * MIB, 512, 2, 4096, 512 },
};

#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static const struct shape small = { 8 * MIB, 512, 4, 512, 512 };
static const struct shape large_blocks = { 32 * MIB, 4096, 4, 4096, 4096 };

static void a_formatted_pair_is_clean(void **state)
{
	(void)state;
	for (size_t i = 0; i < SHAPES; i++) {
		struct pair p;

		pair_make(&p, &shapes[i], i);
		run(&p);
		expect_clean(&p);
		pair_free(&p);
	}
}

/* In every shape: the first block, the last, and some in between. */
static void a_flipped_bit_in_data_is_found_at_its_block(void **state)
{
	(void)state;
	for (size_t i = 0; i < SHAPES; i++) {
		struct pair p;
		uint64_t blocks;

		pair_make(&p, &shapes[i], i);
		blocks = p.plan.geo.provided_blocks;
		for (unsigned n = 0; n < 5; n++) {
			uint64_t block = n * (blocks - 1) / 4;
			uint8_t *byte = data_of(&p, block) + 100 * (n + 1);

			*byte ^= 0x10;
			run(&p);
			assert_int_equal(p.report.listed, 1);
			expect_range(&p, 0, TI_CHECK_MISMATCH, block * p.plan.geo.sectors_per_block,
				     p.plan.geo.sectors_per_block);
			*byte ^= 0x10;
		}
		run(&p);
		expect_clean(&p);
		pair_free(&p);
	}
}

static void a_flipped_bit_in_a_tag_is_found_at_its_block(void **state)
{
	(void)state;
	for (size_t i = 0; i < SHAPES; i++) {
		struct pair p;
		uint64_t blocks;

		pair_make(&p, &shapes[i], i);
		blocks = p.plan.geo.provided_blocks;
		for (unsigned n = 0; n < 5; n++) {
			uint64_t block = n * (blocks - 1) / 4;
			uint8_t *byte = tag_of(&p, block) + n % p.plan.geo.tag_size;

			*byte ^= 0x04;
			run(&p);
			assert_int_equal(p.report.listed, 1);
			/* A tag of one byte may become zero by that. */
			assert_in_range(p.list[0].kind, TI_CHECK_MISMATCH, TI_CHECK_NEVER_WRITTEN);
			assert_int_equal(p.list[0].sector, block * p.plan.geo.sectors_per_block);
			assert_int_equal(p.list[0].sectors, p.plan.geo.sectors_per_block);
			*byte ^= 0x04;
		}
		pair_free(&p);
	}
}

static void neighbours_are_one_range_also_across_transfers(void **state)
{
	struct pair p;

	(void)state;
	pair_make(&p, &small, 1);
	/* A chunk ends at 4 MiB, block 8192. */
	for (uint64_t block = 8190; block < 8195; block++)
		data_of(&p, block)[7] ^= 1;
	data_of(&p, 8196)[7] ^= 1;
	run(&p);
	assert_int_equal(p.report.listed, 2);
	expect_range(&p, 0, TI_CHECK_MISMATCH, 8190, 5);
	expect_range(&p, 1, TI_CHECK_MISMATCH, 8196, 1);
	assert_int_equal(p.report.bad_sectors[TI_CHECK_MISMATCH], 6);
	assert_int_equal(p.report.ranges[TI_CHECK_MISMATCH], 2);
	pair_free(&p);
}

static void zero_tags_are_counted_apart(void **state)
{
	struct pair p;

	(void)state;
	pair_make(&p, &small, 2);
	memset(tag_of(&p, 50), 0, 10 * 4);
	data_of(&p, 60)[0] ^= 1;
	memset(tag_of(&p, 61), 0, 4);
	run(&p);
	assert_int_equal(p.report.listed, 3);
	expect_range(&p, 0, TI_CHECK_NEVER_WRITTEN, 50, 10);
	expect_range(&p, 1, TI_CHECK_MISMATCH, 60, 1);
	expect_range(&p, 2, TI_CHECK_NEVER_WRITTEN, 61, 1);
	assert_int_equal(p.report.bad_sectors[TI_CHECK_NEVER_WRITTEN], 11);
	assert_int_equal(p.report.bad_sectors[TI_CHECK_MISMATCH], 1);
	pair_free(&p);
}

static void a_full_list_does_not_stop_the_counting(void **state)
{
	struct pair p;

	(void)state;
	pair_make(&p, &small, 3);
	for (uint64_t block = 0; block < 200; block += 2)
		data_of(&p, block)[1] ^= 1;
	run(&p);
	assert_int_equal(p.report.listed, 16);
	expect_range(&p, 15, TI_CHECK_MISMATCH, 30, 1);
	assert_int_equal(p.report.ranges[TI_CHECK_MISMATCH], 100);
	assert_int_equal(p.report.bad_sectors[TI_CHECK_MISMATCH], 100);
	p.report.list_max = 0;
	run(&p);
	assert_int_equal(p.report.listed, 0);
	assert_int_equal(p.report.ranges[TI_CHECK_MISMATCH], 100);
	pair_free(&p);
}

static void another_salt_or_none_matches_nothing(void **state)
{
	struct ti_check_options options = { .hash = &ti_hash_crc32c };
	struct pair p;

	(void)state;
	pair_make(&p, &small, 4);
	assert_int_equal(ti_check(&p.spy->q, &p.plan.geo, &options, &p.report, NULL), 0);
	assert_int_equal(p.report.bad_sectors[TI_CHECK_MISMATCH], p.plan.geo.provided_sectors);
	assert_int_equal(p.report.listed, 1);
	pair_free(&p);
}

/* ---- unreadable places ---- */

static void an_unreadable_block_is_found_and_the_rest_is_checked(void **state)
{
	struct pair p;

	(void)state;
	pair_make(&p, &small, 5);
	p.mq->fault_offset[TI_DATA] = 5000 * 512 + 17;
	data_of(&p, 4999)[0] ^= 1;
	data_of(&p, 5001)[0] ^= 1;
	data_of(&p, 16383)[0] ^= 1;
	run(&p);
	assert_int_equal(p.report.listed, 4);
	expect_range(&p, 0, TI_CHECK_MISMATCH, 4999, 1);
	expect_range(&p, 1, TI_CHECK_DATA_UNREADABLE, 5000, 1);
	expect_range(&p, 2, TI_CHECK_MISMATCH, 5001, 1);
	expect_range(&p, 3, TI_CHECK_MISMATCH, 16383, 1);
	assert_int_equal(p.report.bad_sectors[TI_CHECK_DATA_UNREADABLE], 1);
	pair_free(&p);
}

static void an_unreadable_logical_block_hides_all_blocks_in_it(void **state)
{
	const struct shape s = { 5 * MIB, 512, 4, 4096, 512 };
	struct pair p;

	(void)state;
	pair_make(&p, &s, 6);
	p.mq->fault_offset[TI_DATA] = 4096 * 100;
	run(&p);
	assert_int_equal(p.report.listed, 1);
	expect_range(&p, 0, TI_CHECK_DATA_UNREADABLE, 800, 8);
	pair_free(&p);
}

static void an_unreadable_tag_sector_hides_its_blocks_only(void **state)
{
	struct pair p;

	(void)state;
	pair_make(&p, &large_blocks, 7);
	/* Tags 1024 to 2047 are in the tag area's second logical block of 4096 bytes. */
	p.mq->fault_offset[TI_META] = p.plan.geo.tag_offset + 4096 + 1;
	data_of(&p, 1023)[0] ^= 1;
	data_of(&p, 1500)[0] ^= 1;
	data_of(&p, 2048)[0] ^= 1;
	run(&p);
	assert_int_equal(p.report.listed, 3);
	expect_range(&p, 0, TI_CHECK_MISMATCH, 1023 * 8, 8);
	expect_range(&p, 1, TI_CHECK_TAG_UNREADABLE, 1024 * 8, 1024 * 8);
	expect_range(&p, 2, TI_CHECK_MISMATCH, 2048 * 8, 8);
	pair_free(&p);
}

static void a_tag_that_is_half_unreadable_is_unreadable(void **state)
{
	const struct shape s = { MIB, 512, 7, 512, 512 };
	struct pair p;

	(void)state;
	pair_make(&p, &s, 8);
	/* Bytes 512 to 1023 of the tag area: from the 2nd byte of tag 73 to the 2nd of tag 146. */
	p.mq->fault_offset[TI_META] = p.plan.geo.tag_offset + 512;
	run(&p);
	assert_int_equal(p.report.listed, 1);
	expect_range(&p, 0, TI_CHECK_TAG_UNREADABLE, 73, 74);
	pair_free(&p);
}

static void a_read_that_fails_once_is_no_finding(void **state)
{
	(void)state;
	for (size_t fail_at = 0; fail_at < 10; fail_at++) {
		struct pair p;

		pair_make(&p, &small, 9 + fail_at);
		p.spy->fail_at = fail_at;
		run(&p);
		expect_clean(&p);
		assert_true(p.spy->ios > fail_at);
		pair_free(&p);
	}
}

static void data_and_tags_unreadable_in_one_chunk_are_told_apart(void **state)
{
	struct pair p;

	(void)state;
	pair_make(&p, &small, 10);
	p.mq->fault_offset[TI_DATA] = 10 * 512;
	p.mq->fault_offset[TI_META] = p.plan.geo.tag_offset;
	run(&p);
	assert_int_equal(p.report.listed, 3);
	expect_range(&p, 0, TI_CHECK_TAG_UNREADABLE, 0, 10);
	expect_range(&p, 1, TI_CHECK_DATA_UNREADABLE, 10, 1);
	expect_range(&p, 2, TI_CHECK_TAG_UNREADABLE, 11, 117);
	pair_free(&p);
}

/* The last tag's sector holds nothing else: what lies behind the LUN's end has no verdict. */
static void the_last_tags_sector_may_be_unreadable(void **state)
{
	const struct shape s = { MIB + 512, 512, 4, 512, 512 };
	struct pair p;

	(void)state;
	pair_make(&p, &s, 14);
	p.mq->fault_offset[TI_META] = p.plan.geo.tag_offset + 2048 * 4 + 100;
	run(&p);
	assert_int_equal(p.report.listed, 1);
	expect_range(&p, 0, TI_CHECK_TAG_UNREADABLE, 2048, 1);
	pair_free(&p);
}

static void reading_again_is_for_the_failed_chunk_and_alone(void **state)
{
	size_t under_way = 0;
	struct pair p;

	(void)state;
	pair_make(&p, &large_blocks, 15);
	p.spy->fail_at = 1;
	run(&p);
	expect_clean(&p);
	/* 32 of data and 8 of tags; then one chunk of 4 MiB again, in pieces of 64 KiB. */
	assert_int_equal(p.spy->ios, 40 + 64);
	for (size_t i = 0; i < p.spy->events; i++) {
		const struct spy_event *e = &p.spy->log[i];

		under_way += e->done ? -(size_t)1 : 1;
		if (!e->done && e->len == 65536)
			assert_int_equal(under_way, 1);
	}
	pair_free(&p);
}

static void a_dead_device_is_not_asked_for_every_block(void **state)
{
	const struct shape s = { 48 * MIB, 512, 4, 512, 512 };
	struct pair p;

	(void)state;
	pair_make(&p, &s, 13);
	p.spy->dead[TI_DATA] = true;
	run(&p);
	assert_int_equal(p.report.listed, 1);
	expect_range(&p, 0, TI_CHECK_DATA_UNREADABLE, 0, 96 * 1024);
	/* 65536 small reads of 98304, and the large ones. */
	assert_in_range(p.spy->ios, 65536, 65536 + 2000);
	pair_free(&p);
}

/* ---- stopping, pipelining ---- */

static int stop_at(void *ctx, uint64_t done, uint64_t total)
{
	(void)total;
	return done >= *(const uint64_t *)ctx;
}

static void a_stopped_check_reports_what_it_has_seen(void **state)
{
	uint64_t limit = 8 * MIB;
	const struct ti_progress progress = { .step = stop_at, .ctx = &limit };
	struct pair p;

	(void)state;
	pair_make(&p, &large_blocks, 11);
	data_of(&p, 5)[0] ^= 1;
	data_of(&p, 8191)[0] ^= 1;
	assert_int_equal(run_with(&p, &progress), -ECANCELED);
	assert_int_equal(p.report.checked_sectors, limit / 512);
	assert_int_equal(p.report.listed, 1);
	expect_range(&p, 0, TI_CHECK_MISMATCH, 5 * 8, 8);
	pair_free(&p);
}

static void both_devices_are_read_ahead_in_large_transfers(void **state)
{
	size_t of_a_mib = 0, of_meta = 0;
	struct pair p;

	(void)state;
	pair_make(&p, &large_blocks, 12);
	run(&p);
	for (size_t i = 0; i < p.spy->events; i++) {
		const struct spy_event *e = &p.spy->log[i];

		assert_int_equal(e->op, TI_IO_READ);
		of_a_mib += !e->done && e->dev == TI_DATA && e->len == MIB;
		of_meta += !e->done && e->dev == TI_META;
	}
	assert_int_equal(of_a_mib, 32);
	assert_int_equal(of_meta, 8);
	assert_in_range(p.spy->most_pending, 10, 256);
	pair_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_formatted_pair_is_clean),
		cmocka_unit_test(a_flipped_bit_in_data_is_found_at_its_block),
		cmocka_unit_test(a_flipped_bit_in_a_tag_is_found_at_its_block),
		cmocka_unit_test(neighbours_are_one_range_also_across_transfers),
		cmocka_unit_test(zero_tags_are_counted_apart),
		cmocka_unit_test(a_full_list_does_not_stop_the_counting),
		cmocka_unit_test(another_salt_or_none_matches_nothing),
		cmocka_unit_test(an_unreadable_block_is_found_and_the_rest_is_checked),
		cmocka_unit_test(an_unreadable_logical_block_hides_all_blocks_in_it),
		cmocka_unit_test(an_unreadable_tag_sector_hides_its_blocks_only),
		cmocka_unit_test(a_tag_that_is_half_unreadable_is_unreadable),
		cmocka_unit_test(a_read_that_fails_once_is_no_finding),
		cmocka_unit_test(data_and_tags_unreadable_in_one_chunk_are_told_apart),
		cmocka_unit_test(the_last_tags_sector_may_be_unreadable),
		cmocka_unit_test(reading_again_is_for_the_failed_chunk_and_alone),
		cmocka_unit_test(a_dead_device_is_not_asked_for_every_block),
		cmocka_unit_test(a_stopped_check_reports_what_it_has_seen),
		cmocka_unit_test(both_devices_are_read_ahead_in_large_transfers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
