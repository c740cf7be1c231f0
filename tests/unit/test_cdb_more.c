/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The command table: commands that verify, compare and report, and what MODE SELECT changes.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cdb_fixture.h"

static void expect_ok(struct fixture *f)
{
	assert_int_equal(f->status, TCMU_STS_OK);
}

static void verify_without_data_reads_the_medium(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x2f, 0x10, 0, 0, 0, 7, 0, 0, 9, 0), NULL, 0);
	expect_request(f, TI_REQ_VERIFY, TI_REQ_FUA, 7, 9);
	run(f, CDB(0xaf, 0, 0, 0, 0, 7, 0, 0, 2, 0x58, 0, 0), NULL, 0);
	expect_request(f, TI_REQ_VERIFY, TI_REQ_FUA, 7, 600);
	run(f, CDB(0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 2, 0x58, 0, 0), NULL, 0);
	expect_request(f, TI_REQ_VERIFY, TI_REQ_FUA, 7, 600);
	/* More would keep others from writing for too long. */
	run(f, CDB(0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 2, 0x59, 0, 0), NULL, 0);
	expect_bad_field(f, 10);
	run(f, CDB(0x2f, 0, 0, 0, 0, 7, 0, 0, 0, 0), NULL, 0);
	expect_ok(f);
	run(f, CDB(0x2f, 0, 0, 0, 3, 0xe8, 0, 0, 1, 0), NULL, 0);
	expect_out_of_range(f, 1000);
	run(f, CDB(0x2f, 0x20, 0, 0, 0, 7, 0, 0, 9, 0), NULL, 0);
	expect_bad_field(f, 1);
}

static void verify_compares_as_bytchk_says(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x2f, 0x02, 0, 0, 0, 7, 0, 0, 9, 0), NULL, 9 * 512);
	expect_request(f, TI_REQ_COMPARE, TI_REQ_FUA, 7, 9);
	assert_ptr_equal(f->command.request.iov, f->iov);
	run(f, CDB(0x2f, 0x02, 0, 0, 0, 7, 0, 0, 9, 0), NULL, 8 * 512);
	expect_bad_buffer(f);
	run(f, CDB(0x2f, 0x06, 0, 0, 0, 7, 0, 0, 9, 0), NULL, 512);
	expect_request(f, TI_REQ_COMPARE_SAME, TI_REQ_FUA, 7, 9);
	run(f, CDB(0x2f, 0x06, 0, 0, 0, 7, 0, 0, 9, 0), NULL, 1024);
	expect_bad_buffer(f);
	run(f, CDB(0x2f, 0x06, 0, 0, 0, 7, 0, 0, 0, 0), NULL, 0);
	expect_ok(f);
	run(f, CDB(0x2f, 0x04, 0, 0, 0, 7, 0, 0, 9, 0), NULL, 0);
	expect_bad_field(f, 1);
}

static void write_and_verify_is_one_request(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x2e, 0x10, 0, 0, 0, 7, 0, 0, 9, 0), NULL, 9 * 512);
	expect_request(f, TI_REQ_WRITE_AND_VERIFY, 0, 7, 9);
	run(f, CDB(0xae, 0x02, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0), NULL, 9 * 512);
	expect_request(f, TI_REQ_WRITE_AND_COMPARE, 0, 7, 9);
	run(f, CDB(0x8e, 0x02, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0), NULL, 9 * 512);
	expect_request(f, TI_REQ_WRITE_AND_COMPARE, 0, 7, 9);
	run(f, CDB(0x2e, 0x06, 0, 0, 0, 7, 0, 0, 9, 0), NULL, 9 * 512);
	expect_bad_field(f, 1);
	run(f, CDB(0x2e, 0, 0, 0, 0, 7, 0, 0, 9, 0), NULL, 10 * 512);
	expect_bad_buffer(f);
	run(f, CDB(0x2e, 0, 0, 0, 0, 7, 0, 0, 0, 0), NULL, 0);
	expect_ok(f);
}

static void compare_and_write_has_two_buffers_in_one(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0), NULL, 10 * 512);
	expect_request(f, TI_REQ_COMPARE_AND_WRITE, 0, 7, 5);
	run(f, CDB(0x89, 0x18, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 255, 0, 0), NULL, 510 * 512);
	expect_request(f, TI_REQ_COMPARE_AND_WRITE, TI_REQ_FUA, 7, 255);
	run(f, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0), NULL, 5 * 512);
	expect_bad_field(f, 13);
	run(f, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 3, 0xe6, 0, 0, 0, 3, 0, 0), NULL, 6 * 512);
	expect_out_of_range(f, 1000);
	run(f, CDB(0x89, 0x40, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0), NULL, 10 * 512);
	expect_bad_field(f, 1);
	run(f, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0), NULL, 0);
	expect_ok(f);
}

static void or_write_and_write_atomic_are_checked(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0), NULL, 5 * 512);
	expect_request(f, TI_REQ_OR_WRITE, TI_REQ_FUA, 7, 5);
	run(f, CDB(0x8b, 0x20, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0), NULL, 5 * 512);
	expect_bad_field(f, 1);
	run(f, CDB(0x9c, 0x08, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 40, 0, 0), NULL, 40 * 512);
	expect_request(f, TI_REQ_WRITE, TI_REQ_FUA | TI_REQ_ATOMIC, 7, 40);
	run(f, CDB(0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 41, 0, 0), NULL, 41 * 512);
	expect_bad_field(f, 12);
	run(f, CDB(0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 8, 0, 40, 0, 0), NULL, 40 * 512);
	expect_bad_field(f, 10);
	f->facts.max_atomic = 0;
	run(f, CDB(0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 40, 0, 0), NULL, 40 * 512);
	expect_sense(f, 5, 0x2000);
}

static void pre_fetch_checks_its_range_and_fetches_nothing(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x34, 0x02, 0, 0, 0, 9, 0, 0x03, 0xdf, 0), NULL, 0);
	expect_ok(f);
	run(f, CDB(0x90, 0, 0, 0, 0, 0, 0, 0, 0x03, 0xe9, 0, 0, 0, 0, 0, 0), NULL, 0);
	expect_out_of_range(f, 1001);
}

static void every_block_is_mapped(void **state)
{
	struct fixture *f = *state;
	const uint8_t wanted[32] = { [3] = 20, [14] = 1, [15] = 0xf4, [18] = 1, [19] = 0xf4 };

	run(f, CDB(0x9e, 0x12, 0, 0, 0, 0, 0, 0, 1, 0xf4, 0, 0, 0, 24, 0, 0), NULL, 32);
	expect_ok(f);
	assert_memory_equal(f->data, wanted, sizeof(wanted));
	run(f, CDB(0x9e, 0x12, 0, 0, 0, 0, 0, 0, 3, 0xe8, 0, 0, 0, 24, 0, 0), NULL, 32);
	expect_out_of_range(f, 1000);
	f->facts.blocks = 1ULL << 40;
	run(f, CDB(0x9e, 0x12, 0, 0, 0, 0, 0, 0, 1, 0xf4, 0, 0, 0, 24, 0, 0), NULL, 32);
	assert_int_equal(ti_be32(f->data + 16), UINT32_MAX);
}

static void capacity_10_ends_at_what_it_can_say(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 8);
	expect_ok(f);
	assert_int_equal(ti_be32(f->data), 999);
	assert_int_equal(ti_be32(f->data + 4), 512);
	f->facts.blocks = 1ULL << 32;
	run(f, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 8);
	assert_int_equal(ti_be32(f->data), UINT32_MAX);
	f->facts.blocks = 1ULL << 40;
	run(f, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 8);
	assert_int_equal(ti_be32(f->data), UINT32_MAX);
}

static void the_state_can_be_asked_for(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x00, 0, 0, 0, 0, 0), NULL, 0);
	expect_ok(f);
	run(f, CDB(0x03, 0, 0, 0, 252, 0), NULL, 252);
	expect_ok(f);
	assert_int_equal(f->data[0], 0x70);
	assert_int_equal(f->data[2], 0);
	assert_int_equal(f->data[7], 10);
	f->ready = TCMU_STS_PASSTHROUGH_ERR;
	run(f, CDB(0x00, 0, 0, 0, 0, 0), NULL, 0);
	expect_sense(f, 2, 0x0401);
	/* The command itself succeeds. */
	run(f, CDB(0x03, 0, 0, 0, 252, 0), NULL, 252);
	expect_ok(f);
	assert_int_equal(f->data[2], 2);
	assert_int_equal(ti_be16(f->data + 12), 0x0401);
	run(f, CDB(0x03, 1, 0, 0, 252, 0), NULL, 252);
	expect_ok(f);
	assert_int_equal(f->data[0], 0x72);
	assert_int_equal(f->data[1], 2);
	assert_int_equal(ti_be16(f->data + 2), 0x0401);
}

static void stop_flushes(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x1b, 0, 0, 0, 0, 0), NULL, 0);
	assert_int_equal(f->status, TI_STS_REQUEST);
	assert_int_equal(f->command.request.op, TI_REQ_FLUSH);
	assert_false(f->command.request.detached);
	run(f, CDB(0x1b, 1, 0, 0, 0, 0), NULL, 0);
	assert_true(f->command.request.detached);
	run(f, CDB(0x1b, 0, 0, 0, 1, 0), NULL, 0);
	expect_ok(f);
	run(f, CDB(0x1b, 0, 0, 0, 4, 0), NULL, 0);
	expect_ok(f);
	run(f, CDB(0x1b, 0, 0, 0, 2, 0), NULL, 0);
	expect_bad_field(f, 4);
	run(f, CDB(0x1b, 0, 0, 0, 0x31, 0), NULL, 0);
	expect_bad_field(f, 4);
}

/* The value of a parameter of 8 bytes in the page that was read. */
static uint64_t parameter(struct fixture *f, uint16_t code)
{
	size_t at = 4, end = 4U + ti_be16(f->data + 2);

	for (; at < end; at += 4U + f->data[at + 3])
		if (ti_be16(f->data + at) == code) {
			assert_int_equal(f->data[at + 3], 8);
			return ti_be64(f->data + at + 4);
		}
	fail_msg("no parameter %u", code);
	return 0;
}

static void log_pages_count_bytes_and_errors(void **state)
{
	struct fixture *f = *state;

	f->stats = (struct ti_lun_stats){ .read_sectors = 100,
					  .verified_sectors = 30,
					  .written_sectors = 7,
					  .failed_reads = 3,
					  .failed_writes = 4,
					  .failed_verifies = 5 };
	run(f, CDB(0x4d, 0, 0x43, 0, 0, 0, 0, 0, 200, 0), NULL, 200);
	expect_ok(f);
	assert_int_equal(f->data[0], 3);
	assert_int_equal(parameter(f, 5), 70 * 512);
	assert_int_equal(parameter(f, 6), 3);
	run(f, CDB(0x4d, 0, 0x42, 0, 0, 0, 0, 0, 200, 0), NULL, 200);
	assert_int_equal(parameter(f, 5), 7 * 512);
	assert_int_equal(parameter(f, 6), 4);
	run(f, CDB(0x4d, 0, 0x45, 0, 0, 0, 0, 0, 200, 0), NULL, 200);
	assert_int_equal(parameter(f, 5), 30 * 512);
	assert_int_equal(parameter(f, 6), 5);
	/* From parameter 6 on; behind it there is none. */
	run(f, CDB(0x4d, 0, 0x45, 0, 0, 0, 6, 0, 200, 0), NULL, 200);
	assert_int_equal(ti_be16(f->data + 2), 12);
	assert_int_equal(parameter(f, 6), 5);
	run(f, CDB(0x4d, 0, 0x45, 0, 0, 0, 7, 0, 200, 0), NULL, 200);
	expect_bad_field(f, 5);
}

/* LOG SENSE, page 15h. */
static void read_scan(struct fixture *f, size_t len)
{
	run(f, CDB(0x4d, 0, 0x55, 0, 0, 0, 0, (uint8_t)(len >> 8), (uint8_t)len, 0), NULL, len);
	expect_ok(f);
	assert_int_equal(f->data[0], 0x15);
	assert_int_equal(ti_be16(f->data + 4), 0);
	assert_int_equal(f->data[7], 12);
}

static void expect_scanned(struct fixture *f, unsigned n, uint64_t lba, unsigned key, unsigned code)
{
	const uint8_t *p = f->data + 4 + 16 + (n - 1) * 24;

	assert_int_equal(ti_be16(p), n);
	assert_int_equal(p[3], 20);
	assert_int_equal(p[8], key);
	assert_int_equal(ti_be16(p + 9), code);
	assert_int_equal(ti_be64(p + 16), lba);
}

static void background_scan_page_tells_of_the_scrub(void **state)
{
	struct fixture *f = *state;

	read_scan(f, 64);
	assert_int_equal(ti_be16(f->data + 2), 16);
	assert_int_equal(f->data[13], 0);
	f->stats.scrubs = 3;
	f->scrub = (struct ti_scrub_report){ .state = TI_SCRUB_RUNNING,
					     .sector = 500,
					     .end = 1000,
					     .listed = 3,
					     .bad = { { 8, 3, TI_SCRUB_MISMATCH },
						      { 20, 1, TI_SCRUB_TAG_DECAYED },
						      { 40, 1, TI_SCRUB_TAG_UNREADABLE } } };
	read_scan(f, 255);
	assert_int_equal(ti_be16(f->data + 2), 16 + 5 * 24);
	assert_int_equal(f->data[13], 1);
	assert_int_equal(ti_be16(f->data + 14), 3);
	assert_in_range(ti_be16(f->data + 16), 32700, 32800);
	assert_int_equal(ti_be16(f->data + 18), 3);
	expect_scanned(f, 1, 8, 0x13, 0x1100);
	expect_scanned(f, 3, 10, 0x13, 0x1100);
	expect_scanned(f, 4, 20, 0x51, 0x1709);
	expect_scanned(f, 5, 40, 0x14, 0x4400);
	f->scrub.state = TI_SCRUB_FAILED;
	read_scan(f, 64);
	assert_int_equal(f->data[13], 3);
	assert_int_equal(ti_be16(f->data + 16), 0);
}

static void background_scan_page_counts_the_luns_blocks_and_has_an_end(void **state)
{
	struct fixture *f = *state;

	forget(f);
	lun(f, 4096);
	f->scrub = (struct ti_scrub_report){ .state = TI_SCRUB_FINISHED,
					     .end = 100000,
					     .sector = 100000,
					     .listed = 2,
					     .bad = { { 15, 2, TI_SCRUB_MISMATCH },
						      { 800, 8000, TI_SCRUB_DATA_UNREADABLE } } };
	read_scan(f, 4000);
	assert_int_equal(ti_be16(f->data + 2), 16 + 128 * 24);
	expect_scanned(f, 1, 1, 0x13, 0x1100);
	expect_scanned(f, 2, 2, 0x13, 0x1100);
	expect_scanned(f, 3, 100, 0x13, 0x1100);
	expect_scanned(f, 128, 225, 0x13, 0x1100);
}

static void every_listed_log_page_can_be_read(void **state)
{
	struct fixture *f = *state;
	uint8_t codes[64];
	size_t count;

	run(f, CDB(0x4d, 0, 0x40, 0, 0, 0, 0, 0, 200, 0), NULL, 200);
	expect_ok(f);
	count = ti_be16(f->data + 2);
	assert_true(count >= 6 && count < sizeof(codes));
	memcpy(codes, f->data + 4, count);
	for (size_t i = 0; i < count; i++) {
		run(f, CDB(0x4d, 0, (uint8_t)(0x40 | codes[i]), 0, 0, 0, 0, 0, 200, 0), NULL, 200);
		expect_ok(f);
		assert_int_equal(f->data[0], codes[i]);
		assert_true(i == 0 || codes[i] > codes[i - 1]);
		assert_int_not_equal(codes[i], 0x0d); /* temperature */
	}
	run(f, CDB(0x4d, 0, 0x40, 0xff, 0, 0, 0, 0, 200, 0), NULL, 200);
	expect_ok(f);
	assert_int_equal(f->data[0], 0x40);
	assert_int_equal(f->data[1], 0xff);
	assert_int_equal(ti_be16(f->data + 2), 2 * (count + 1));
	run(f, CDB(0x4d, 0, 0x4d, 0, 0, 0, 0, 0, 200, 0), NULL, 200);
	expect_bad_field(f, 2);
	run(f, CDB(0x4d, 0, 0x43, 1, 0, 0, 0, 0, 200, 0), NULL, 200);
	expect_bad_field(f, 3);
	run(f, CDB(0x4d, 0, 0x03, 0, 0, 0, 0, 0, 200, 0), NULL, 200);
	expect_bad_field(f, 2);
	run(f, CDB(0x4d, 1, 0x43, 0, 0, 0, 0, 0, 200, 0), NULL, 200);
	expect_bad_field(f, 1);
}

static void defect_lists_are_empty(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x37, 0, 0x1d, 0, 0, 0, 0, 0, 4, 0), NULL, 4);
	expect_ok(f);
	assert_memory_equal(f->data, ((const uint8_t[]){ 0, 0x1d, 0, 0 }), 4);
	run(f, CDB(0xb7, 0x18, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0), NULL, 8);
	expect_ok(f);
	assert_memory_equal(f->data, ((const uint8_t[]){ 0, 0x18, 0, 0, 0, 0, 0, 0 }), 8);
}

/* Every command in the list can be asked for, and what is not in it cannot. */
static void supported_commands_are_those_of_the_table(void **state)
{
	struct fixture *f = *state;
	uint8_t list[4096];
	size_t len, count = 0;

	run(f, CDB(0xa3, 0x0c, 0x80, 0, 0, 0, 0, 0, 0x10, 0, 0, 0), NULL, sizeof(list));
	expect_ok(f);
	memcpy(list, f->data, sizeof(list));
	len = ti_be32(list);
	for (size_t at = 4; at < 4 + len; at += 20, count++) {
		const uint8_t *p = list + at;
		uint8_t option = p[5] & 1 ? 2 : 1;

		assert_true(p[5] & 2);
		assert_int_equal(ti_be16(p + 8), 10);
		run(f, CDB(0xa3, 0x0c, option, p[0], p[2], p[3], 0, 0, 1, 0, 0, 0), NULL, 256);
		expect_ok(f);
		assert_int_equal(f->data[1], 3);
		assert_int_equal(ti_be16(f->data + 2), ti_be16(p + 6));
		assert_int_equal(f->data[4], p[0]);
		run(f, CDB(0xa3, 0x0c, 3 - option, p[0], p[2], p[3], 0, 0, 1, 0, 0, 0), NULL, 256);
		expect_bad_field(f, 2);
		run(f, CDB(0xa3, 0x0c, 0x83, p[0], p[2], p[3], 0, 0, 1, 0, 0, 0), NULL, 256);
		expect_ok(f);
		assert_int_equal(f->data[1], 0x83);
	}
	assert_true(count > 40);
	for (unsigned opcode = 0; opcode < 256; opcode++) {
		bool listed = false;

		for (size_t at = 4; at < 4 + len; at += 20)
			listed |= list[at] == opcode;
		if (listed)
			continue;
		run(f, CDB(0xa3, 0x0c, 1, (uint8_t)opcode, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 256);
		expect_ok(f);
		assert_int_equal(f->data[1], 1);
		assert_int_equal(ti_be16(f->data + 2), 0);
	}
	/* What the LUN cannot do is not there. */
	f->facts.max_atomic = 0;
	run(f, CDB(0xa3, 0x0c, 1, 0x9c, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 256);
	assert_int_equal(f->data[1], 1);
	f->facts.max_atomic = 1;
	run(f, CDB(0xa3, 0x0c, 1, 0x9c, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 256);
	assert_int_equal(f->data[1], 3);
	run(f, CDB(0xa3, 0x0c, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 256);
	expect_bad_field(f, 2);
	run(f, CDB(0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 256);
	assert_memory_equal(f->data, ((const uint8_t[]){ 0x88, 0, 0, 0 }), 4);
	run(f, CDB(0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0), NULL, 256);
	expect_bad_field(f, 6);
}

/* --- MODE SELECT --- */

static void select_bits(struct fixture *f, bool cache, bool descriptors)
{
	uint8_t list[4 + 20 + 12] = { 0 };

	run(f, CDB(0x1a, 0, 0x08, 0, 24, 0), NULL, 24);
	memcpy(list + 4, f->data + 4, 20);
	list[6] = (uint8_t)((list[6] & ~4) | (cache ? 4 : 0));
	run(f, CDB(0x1a, 0, 0x0a, 0, 16, 0), NULL, 16);
	memcpy(list + 24, f->data + 4, 12);
	list[26] = (uint8_t)((list[26] & ~4) | (descriptors ? 4 : 0));
	run(f, CDB(0x15, 0x10, 0, 0, sizeof(list), 0), list, sizeof(list));
}

static uint8_t mode_byte(struct fixture *f, uint8_t code)
{
	run(f, CDB(0x1a, 0, code, 0, 255, 0), NULL, 255);
	return f->data[6];
}

static void switching_the_cache_off_flushes_and_is_for_ever(void **state)
{
	struct fixture *f = *state;

	select_bits(f, true, false);
	expect_ok(f);
	assert_int_equal(ti_select_bits(&f->mode), 0);
	select_bits(f, false, false);
	assert_int_equal(f->status, TI_STS_REQUEST);
	assert_int_equal(f->command.request.op, TI_REQ_FLUSH);
	assert_false(f->command.request.detached);
	assert_int_equal(mode_byte(f, 0x08), 0);
	assert_int_equal(mode_byte(f, 0x88), 4); /* the default */
	select_bits(f, false, false);
	assert_int_equal(f->status, TI_STS_REQUEST);
	/* Shown as on again, but others may have seen that it was off. */
	select_bits(f, true, false);
	expect_ok(f);
	assert_int_equal(mode_byte(f, 0x08), 4);
	assert_int_equal(ti_select_bits(&f->mode), TI_SELECT_DURABLE);
}

static void a_promise_that_cannot_be_kept_is_not_given(void **state)
{
	struct fixture *f = *state;

	f->mode.kept = false;
	select_bits(f, false, false);
	expect_sense(f, 5, 0x2600);
	assert_int_equal(ti_select_bits(&f->mode), 0);
}

static void a_list_with_one_fault_changes_nothing(void **state)
{
	struct fixture *f = *state;
	uint8_t list[4 + 12 + 12] = { 0 };

	run(f, CDB(0x1a, 0, 0x0a, 0, 16, 0), NULL, 16);
	memcpy(list + 4, f->data + 4, 12);
	memcpy(list + 16, f->data + 4, 12);
	list[6] |= 4;
	list[17] = 0x0b;
	run(f, CDB(0x15, 0x10, 0, 0, sizeof(list), 0), list, sizeof(list));
	expect_sense(f, 5, 0x2600);
	assert_int_equal(ti_select_bits(&f->mode), 0);
}

static void d_sense_can_be_switched(void **state)
{
	struct fixture *f = *state;

	select_bits(f, true, true);
	expect_ok(f);
	assert_int_equal(ti_select_bits(&f->mode), TI_SELECT_D_SENSE);
	assert_int_equal(mode_byte(f, 0x0a), 0x06);
	select_bits(f, true, false);
	expect_ok(f);
	assert_int_equal(ti_select_bits(&f->mode), 0);
}

static void what_was_selected_outlives_the_runner(void **state)
{
	char name[] = "/tmp/ti-select-XXXXXX", path[64];
	struct ti_select mode;

	(void)state;
	assert_non_null(mkdtemp(name));
	snprintf(path, sizeof(path), "%s/pair", name);
	assert_int_equal(ti_select_open(&mode, path, 7), 0);
	assert_true(mode.kept);
	ti_select_change(&mode, TI_SELECT_WRITE_THROUGH);
	ti_select_close(&mode);
	ti_select_close(&mode);
	assert_int_equal(ti_select_open(&mode, path, 7), 0);
	assert_int_equal(ti_select_bits(&mode), TI_SELECT_WRITE_THROUGH | TI_SELECT_DURABLE);
	ti_select_change(&mode, 0);
	assert_int_equal(ti_select_bits(&mode), TI_SELECT_DURABLE);
	ti_select_close(&mode);
	assert_int_equal(mode.dropped, 0);
	/* Another pair on the same device, and then the first again. */
	for (unsigned pair = 8; pair >= 7; pair--) {
		assert_int_equal(ti_select_open(&mode, path, pair), 0);
		assert_int_equal(ti_select_bits(&mode), 0);
		assert_int_equal(mode.dropped, pair == 8 ? TI_SELECT_DURABLE : TI_SELECT_SWP);
		ti_select_change(&mode, TI_SELECT_SWP);
		ti_select_close(&mode);
	}
	snprintf(path, sizeof(path), "%s/pair.mode", name);
	assert_int_equal(unlink(path), 0);
	/* One that was never used goes. */
	snprintf(path, sizeof(path), "%s/pair", name);
	assert_int_equal(ti_select_open(&mode, path, 7), 0);
	ti_select_close(&mode);
	assert_int_equal(rmdir(name), 0);
	assert_int_equal(ti_select_open(&mode, path, 7), -ENOENT);
	assert_false(mode.kept);
	assert_int_equal(ti_select_bits(&mode), 0);
	ti_select_close(&mode);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(verify_without_data_reads_the_medium),
		TEST(verify_compares_as_bytchk_says),
		TEST(write_and_verify_is_one_request),
		TEST(compare_and_write_has_two_buffers_in_one),
		TEST(or_write_and_write_atomic_are_checked),
		TEST(pre_fetch_checks_its_range_and_fetches_nothing),
		TEST(every_block_is_mapped),
		TEST(capacity_10_ends_at_what_it_can_say),
		TEST(the_state_can_be_asked_for),
		TEST(stop_flushes),
		TEST(log_pages_count_bytes_and_errors),
		TEST(every_listed_log_page_can_be_read),
		TEST(background_scan_page_tells_of_the_scrub),
		TEST(background_scan_page_counts_the_luns_blocks_and_has_an_end),
		TEST(defect_lists_are_empty),
		TEST(supported_commands_are_those_of_the_table),
		TEST(switching_the_cache_off_flushes_and_is_for_ever),
		TEST(a_promise_that_cannot_be_kept_is_not_given),
		TEST(a_list_with_one_fault_changes_nothing),
		TEST(d_sense_can_be_switched),
		TEST(what_was_selected_outlives_the_runner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
