/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The command table: what each CDB becomes, and that none, however broken, reads or writes beyond
 * what it was given.
 */
#include "cdb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libtcmu_common.h"

#include "cdb_fixture.h"

static void rows_are_in_order(void **state)
{
	static const unsigned group_len[8] = { 6, 10, 10, 0, 16, 12, 0, 0 };

	(void)state;
	for (size_t i = 0; ti_row_at(i); i++) {
		const struct ti_row *row = ti_row_at(i);
		uint8_t cdb[16] = { row->opcode };

		assert_int_equal(row->cdb_len, group_len[row->opcode >> 5]);
		assert_non_null(row->name);
		if (row->service_action >= 0)
			cdb[1] = (uint8_t)row->service_action;
		assert_ptr_equal(ti_row_find(cdb), row->run ? row : NULL);
		if (row->flags & TI_ROW_HIDDEN)
			continue;
		assert_int_equal(row->usage[0], row->opcode);
		if (row->service_action >= 0)
			assert_int_equal(row->usage[1] & 0x1f, row->service_action);
		for (size_t j = row->cdb_len; j < sizeof(row->usage); j++)
			assert_int_equal(row->usage[j], 0);
	}
}

static void nobodys_commands_are_refused(void **state)
{
	struct fixture *f = *state;

	/* The core's: TARGET PORT GROUPS. */
	assert_null(ti_row_find((const uint8_t[16]){ 0xa3, 0x0a }));
	assert_null(ti_row_find((const uint8_t[16]){ 0xa4, 0x0a }));
	f->command = (struct ti_command){ .facts = &f->facts, .sense = f->sense };
	for (unsigned opcode = 0; opcode < 256; opcode++) {
		uint8_t cdb[16] = { (uint8_t)opcode, 0x1f };
		const struct ti_row *row = ti_row_find(cdb);

		f->command.cdb = cdb;
		if (row == NULL || strcmp(row->name, "?") != 0)
			continue;
		f->status = ti_row_run(row, &f->command);
		if (opcode == 0x5e || opcode == 0x5f || opcode == 0x83 || opcode == 0x84 ||
		    opcode == 0x9e || opcode == 0xa3 || opcode == 0xa4)
			expect_bad_field(f, 1);
		else
			expect_sense(f, 5, 0x2000);
	}
}

static void reads_of_every_length_are_decoded(void **state)
{
	struct fixture *f = *state;

	f->facts.blocks = 1ULL << 40;
	run(f, CDB(0x08, 0xff, 0x02, 0x03, 4, 0), NULL, 4 * 512);
	expect_request(f, TI_REQ_READ, 0, 0x1f0203, 4);
	run(f, CDB(0x08, 0, 0, 0, 0, 0), NULL, 256 * 512);
	expect_request(f, TI_REQ_READ, 0, 0, 256);
	run(f, CDB(0x28, 0x10, 0xf1, 2, 3, 4, 0, 0, 5, 0), NULL, 5 * 512);
	expect_request(f, TI_REQ_READ, 0, 0xf1020304, 5);
	run(f, CDB(0xa8, 0, 0xf1, 2, 3, 4, 0, 0, 0, 5, 0, 0), NULL, 5 * 512);
	expect_request(f, TI_REQ_READ, 0, 0xf1020304, 5);
	run(f, CDB(0x88, 0, 0, 0, 0, 0xff, 1, 2, 3, 4, 0, 0, 0, 5, 0, 0), NULL, 5 * 512);
	expect_request(f, TI_REQ_READ, 0, 0xff01020304, 5);
	assert_ptr_equal(f->command.request.iov, f->iov);
	assert_int_equal(f->command.request.iov_count, 2);
	assert_false(f->command.request.detached);
}

static void reads_and_writes_carry_fua(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x08, 0, 0, 1, 1, 0), NULL, 512);
	expect_request(f, TI_REQ_READ, 0, 1, 1);
	run(f, CDB(0x28, 0x18, 0, 0, 0, 1, 0, 0, 1, 0), NULL, 512);
	expect_request(f, TI_REQ_READ, TI_REQ_FUA, 1, 1);
	run(f, CDB(0xa8, 0x08, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0), NULL, 512);
	expect_request(f, TI_REQ_READ, TI_REQ_FUA, 1, 1);
	run(f, CDB(0x88, 0x08, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0), NULL, 512);
	expect_request(f, TI_REQ_READ, TI_REQ_FUA, 1, 1);
	run(f, CDB(0x0a, 0x08, 0, 1, 1, 0), NULL, 512); /* part of the address there */
	expect_out_of_range(f, 0x080001);
	run(f, CDB(0x0a, 0, 0, 1, 1, 0), NULL, 512);
	expect_request(f, TI_REQ_WRITE, 0, 1, 1);
	run(f, CDB(0x2a, 0x10, 0, 0, 0, 1, 0, 0, 1, 0), NULL, 512);
	expect_request(f, TI_REQ_WRITE, 0, 1, 1);
	run(f, CDB(0x2a, 0x08, 0, 0, 0, 1, 0, 0, 1, 0), NULL, 512);
	expect_request(f, TI_REQ_WRITE, TI_REQ_FUA, 1, 1);
	run(f, CDB(0xaa, 0x18, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0), NULL, 512);
	expect_request(f, TI_REQ_WRITE, TI_REQ_FUA, 1, 1);
	run(f, CDB(0x8a, 0x08, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0), NULL, 512);
	expect_request(f, TI_REQ_WRITE, TI_REQ_FUA, 1, 1);
}

static void blocks_of_4096_are_counted_as_such(void **state)
{
	struct fixture *f = *state;

	lun(f, 4096);
	run(f, CDB(0x2a, 0, 0, 0, 0, 7, 0, 0, 3, 0), NULL, 3 * 4096);
	expect_request(f, TI_REQ_WRITE, 0, 7, 3);
	run(f, CDB(0x2a, 0, 0, 0, 0, 7, 0, 0, 3, 0), NULL, 3 * 512);
	expect_bad_buffer(f);
}

static void protection_information_is_refused(void **state)
{
	struct fixture *f = *state;

	for (unsigned protect = 1; protect < 8; protect++) {
		uint8_t b = (uint8_t)(protect << 5);

		run(f, CDB(0x28, b, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 512);
		expect_bad_field(f, 1);
		run(f, CDB(0x8a, b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), NULL, 512);
		expect_bad_field(f, 1);
		run(f, CDB(0x41, b, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 512);
		expect_bad_field(f, 1);
	}
}

static void naca_is_refused_by_every_command(void **state)
{
	struct fixture *f = *state;
	const struct ti_row *row;

	f->facts.discards = true;
	for (size_t i = 0; (row = ti_row_at(i)) != NULL; i++) {
		uint8_t cdb[16] = { row->opcode };

		if (!row->run || row->run == ti_cmd_refuse)
			continue;
		if (row->service_action >= 0)
			cdb[1] = (uint8_t)row->service_action;
		cdb[row->cdb_len - 1] = 0x04;
		run(f, cdb, row->cdb_len, NULL, 512);
		expect_bad_field(f, row->cdb_len - 1U);
	}
}

static void the_end_of_the_lun_is_the_end(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x28, 0, 0, 0, 0x03, 0xe7, 0, 0, 1, 0), NULL, 512); /* 999 */
	expect_request(f, TI_REQ_READ, 0, 999, 1);
	run(f, CDB(0x28, 0, 0, 0, 0x03, 0xe7, 0, 0, 2, 0), NULL, 1024);
	expect_out_of_range(f, 1000);
	run(f, CDB(0x28, 0, 0, 0, 0x03, 0xe8, 0, 0, 1, 0), NULL, 512);
	expect_out_of_range(f, 1000);
	run(f, CDB(0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0), NULL, 512);
	expect_out_of_range(f, 0xffffffff);
	/* lba + count wraps around */
	run(f, CDB(0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0), NULL,
	    512);
	assert_int_equal(f->status, TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(ti_be32(f->sense), 0x72052100); /* descriptor format */
}

static void an_address_beyond_32_bits_is_reported_whole(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x88, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 0, 0), NULL, 512);
	assert_int_equal(f->status, TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(f->sense[0], 0x72);
	assert_int_equal(f->sense[1], 5);
	assert_int_equal(f->sense[2], 0x21);
	assert_int_equal(ti_be64(f->sense + 12), 0x0102030405060708);
}

static void nothing_to_transfer_is_fine(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 0, 0), NULL, 0), TCMU_STS_OK);
	assert_int_equal(run(f, CDB(0x2a, 0, 0, 0, 0, 9, 0, 0, 0, 0), NULL, 0), TCMU_STS_OK);
	assert_int_equal(run(f, CDB(0x28, 0, 0, 0, 0x03, 0xe8, 0, 0, 0, 0), NULL, 0), TCMU_STS_OK);
	run(f, CDB(0x28, 0, 0, 0, 0x03, 0xe9, 0, 0, 0, 0), NULL, 0);
	expect_out_of_range(f, 1001);
	/* A buffer that nothing happens to would be taken for data, or for written. */
	f->facts.tells_length = true;
	run(f, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 0, 0), NULL, 512);
	expect_bad_buffer(f);
	run(f, CDB(0x2a, 0, 0, 0, 0, 9, 0, 0, 0, 0), NULL, 512);
	expect_bad_buffer(f);
}

static void a_buffer_of_another_length_is_refused(void **state)
{
	struct fixture *f = *state;
	static const size_t lengths[] = { 0, 1, 511, 512, 1023, 1025, 2048 };

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		run(f, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 2, 0), NULL, lengths[i]);
		expect_bad_buffer(f);
		run(f, CDB(0x2a, 0, 0, 0, 0, 9, 0, 0, 2, 0), NULL, lengths[i]);
		expect_bad_buffer(f);
		run(f, CDB(0x0a, 0, 0, 9, 2, 0), NULL, lengths[i]);
		expect_bad_buffer(f);
		run(f, CDB(0xaa, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0), NULL, lengths[i]);
		expect_bad_buffer(f);
		run(f, CDB(0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0), NULL, lengths[i]);
		expect_bad_buffer(f);
	}
}

static void a_read_may_have_a_longer_buffer_if_that_can_be_told(void **state)
{
	struct fixture *f = *state;

	f->facts.tells_length = true;
	run(f, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 2, 0), NULL, 1025);
	expect_request(f, TI_REQ_READ, 0, 9, 2);
	run(f, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 2, 0), NULL, 1023);
	expect_bad_buffer(f);
	run(f, CDB(0x2a, 0, 0, 0, 0, 9, 0, 0, 2, 0), NULL, 1025);
	expect_bad_buffer(f);
	run(f, CDB(0x2f, 0x02, 0, 0, 0, 9, 0, 0, 2, 0), NULL, 1025);
	expect_bad_buffer(f);
}

/* What is data and what is not, by the smallest of answer, allocation length and buffer. */
static void an_answer_tells_its_length_if_the_buffer_is_longer(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 100);
	assert_true(f->command.answered);
	assert_int_equal(f->command.answer, 8);
	run(f, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 8);
	assert_int_equal(f->command.answer, 0);
	run(f, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 4);
	assert_int_equal(f->command.answer, 0);
	run(f, CDB(0x12, 0, 0, 0, 5, 0), NULL, 255);
	assert_int_equal(f->command.answer, 5);
	run(f, CDB(0x12, 0, 0, 0, 0, 0), NULL, 255);
	assert_int_equal(f->command.answer, 0);
	run(f, CDB(0x00, 0, 0, 0, 0, 0), NULL, 255);
	assert_false(f->command.answered);
}

static void write_same_repeats_a_block(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x41, 0, 0, 0, 0, 9, 0, 0x01, 0xf4, 0), NULL, 512);
	expect_request(f, TI_REQ_WRITE_SAME, 0, 9, 500);
	assert_ptr_equal(f->command.request.iov, f->iov);
	run(f, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 3, 0, 0), NULL, 512);
	expect_request(f, TI_REQ_WRITE_SAME, 0, 9, 3);
	/* Longer than the limit, beyond the end, no block, two blocks */
	run(f, CDB(0x41, 0, 0, 0, 0, 9, 0, 0x01, 0xf5, 0), NULL, 512);
	expect_bad_field(f, 7);
	run(f, CDB(0x41, 0, 0, 0, 0x03, 0xe7, 0, 0, 2, 0), NULL, 512);
	expect_out_of_range(f, 1000);
	run(f, CDB(0x41, 0, 0, 0, 0, 9, 0, 0, 2, 0), NULL, 0);
	expect_bad_buffer(f);
	run(f, CDB(0x41, 0, 0, 0, 0, 9, 0, 0, 2, 0), NULL, 1024);
	expect_bad_buffer(f);
}

static void write_same_of_no_blocks_goes_to_the_end(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x41, 0, 0, 0, 0x01, 0xf4, 0, 0, 0, 0), NULL, 512);
	expect_request(f, TI_REQ_WRITE_SAME, 0, 500, 500);
	run(f, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0x03, 0xe7, 0, 0, 0, 0, 0, 0), NULL, 512);
	expect_request(f, TI_REQ_WRITE_SAME, 0, 999, 1);
	/* That is more than the limit, or there is nothing. */
	run(f, CDB(0x41, 0, 0, 0, 0x01, 0xf3, 0, 0, 0, 0), NULL, 512);
	expect_bad_field(f, 7);
	run(f, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0), NULL, 512);
	expect_bad_field(f, 10);
	run(f, CDB(0x41, 0, 0, 0, 0x03, 0xe8, 0, 0, 0, 0), NULL, 512);
	expect_out_of_range(f, 1000);
	run(f, CDB(0x41, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0), NULL, 512);
	expect_sense(f, 5, 0x2100);
}

static void write_same_without_data_writes_zeroes(void **state)
{
	struct fixture *f = *state;
	static const uint8_t zeros[TI_MAX_BLOCK_SIZE];
	static const uint32_t sizes[] = { 512, 1024, 2048, 4096 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const struct iovec *iov;

		lun(f, sizes[i]);
		run(f, CDB(0x93, 0x01, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 3, 0, 0), NULL, 0);
		expect_request(f, TI_REQ_WRITE_SAME, 0, 9, 3);
		iov = f->command.request.iov;
		assert_int_equal(f->command.request.iov_count, 1);
		assert_int_equal(iov->iov_len, sizes[i]);
		assert_memory_equal(iov->iov_base, zeros, sizes[i]);
		run(f, CDB(0x93, 0x01, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 3, 0, 0), NULL, sizes[i]);
		expect_bad_buffer(f);
	}
	/* (10) has no such bit; there it is reserved. */
	lun(f, 512);
	run(f, CDB(0x41, 0x01, 0, 0, 0, 9, 0, 0, 2, 0), NULL, 512);
	expect_request(f, TI_REQ_WRITE_SAME, 0, 9, 2);
	assert_ptr_equal(f->command.request.iov, f->iov);
}

static void write_same_unmaps_nothing(void **state)
{
	struct fixture *f = *state;
	static const uint8_t bits[] = { 0x08, 0x10, 0x18, 0x04, 0x02 };

	for (size_t i = 0; i < sizeof(bits); i++) {
		run(f, CDB(0x41, bits[i], 0, 0, 0, 9, 0, 0, 2, 0), NULL, 512);
		expect_bad_field(f, 1);
		run(f, CDB(0x93, bits[i], 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0), NULL, 512);
		expect_bad_field(f, 1);
	}
}

static void write_same_repeats_a_block_of_several_integrity_blocks(void **state)
{
	struct fixture *f = *state;

	lun(f, 4096);
	f->facts.integrity_block = 512;
	run(f, CDB(0x41, 0, 0, 0, 0, 9, 0, 0, 2, 0), NULL, 4096);
	expect_request(f, TI_REQ_WRITE_SAME, 0, 9, 2);
	assert_ptr_equal(f->command.request.iov, f->iov);
	run(f, CDB(0x41, 0, 0, 0, 0, 9, 0, 0, 2, 0), NULL, 512);
	expect_bad_buffer(f);
	/* Without data, a block of zeroes is enough. */
	run(f, CDB(0x93, 0x01, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 3, 0, 0), NULL, 0);
	expect_request(f, TI_REQ_WRITE_SAME, 0, 9, 3);
	assert_int_equal(f->command.request.iov->iov_len, 512);
}

static void synchronize_cache_checks_its_range(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 0);
	assert_int_equal(f->status, TI_STS_REQUEST);
	assert_int_equal(f->command.request.op, TI_REQ_FLUSH);
	assert_false(f->command.request.detached);
	run(f, CDB(0x35, 0x02, 0, 0, 0, 9, 0, 0x03, 0xdf, 0), NULL, 0); /* 9 + 991 */
	assert_int_equal(f->status, TI_STS_REQUEST);
	assert_true(f->command.request.detached);
	run(f, CDB(0x35, 0x02, 0, 0, 0, 9, 0, 0x03, 0xe0, 0), NULL, 0);
	expect_out_of_range(f, 1000);
	run(f, CDB(0x91, 0, 0, 0, 0, 0, 0, 0, 0x03, 0xe9, 0, 0, 0, 0, 0, 0), NULL, 0);
	expect_out_of_range(f, 1001);
	run(f, CDB(0x91, 0x02, 0, 0, 0, 0, 0, 0, 0x03, 0xe8, 0, 0, 0, 0, 0, 0), NULL, 0);
	assert_int_equal(f->status, TI_STS_REQUEST);
	assert_true(f->command.request.detached);
}

static void what_the_core_does_badly_is_refused(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0), NULL, 24);
	expect_sense(f, 5, 0x2000);
	run(f, CDB(0x04, 0, 0, 0, 0, 0), NULL, 0);
	expect_sense(f, 5, 0x2000);
}

static void capacity_is_fully_provisioned(void **state)
{
	struct fixture *f = *state;
	uint8_t wanted[40] = { [6] = 0x03, [7] = 0xe7, [10] = 0x02, [13] = 3, [15] = 7 };

	f->facts.physical_exponent = 3;
	f->facts.lowest_aligned = 7;
	run(f, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), NULL, 40);
	assert_int_equal(f->status, TCMU_STS_OK);
	assert_memory_equal(f->data, wanted, 40);
	/* The allocation length cuts, the rest of the buffer is zeroed. */
	memset(wanted + 8, 0, sizeof(wanted) - 8);
	run(f, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0), NULL, 40);
	assert_memory_equal(f->data, wanted, 40);
	run(f, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), NULL, 5);
	assert_int_equal(f->status, TCMU_STS_OK);
}

static void inquiry_tells_the_standard_data(void **state)
{
	struct fixture *f = *state;

	run(f, CDB(0x12, 0, 0, 0, 96, 0), NULL, 96);
	assert_int_equal(f->status, TCMU_STS_OK);
	assert_int_equal(f->data[0], 0);
	assert_int_equal(f->data[2], 6);
	assert_int_equal(f->data[3], 0x12);
	assert_int_equal(f->data[4], 91);
	assert_int_equal(f->data[5], 0x08); /* third-party copy, no ALUA */
	assert_int_equal(f->data[7], 2);
	assert_memory_equal(f->data + 8, "LIO-ORG TCMU device     0002", 28);
	run(f, CDB(0x12, 0, 0x80, 0, 96, 0), NULL, 96);
	expect_bad_field(f, 2);
	run(f, CDB(0x12, 2, 0, 0, 96, 0), NULL, 96);
	expect_bad_field(f, 1);
	run(f, CDB(0x12, 1, 0x84, 0, 96, 0), NULL, 96);
	expect_bad_field(f, 2);
	assert_int_equal(run(f, CDB(0x12, 0, 0, 0, 0, 0), NULL, 0), TCMU_STS_OK);
}

static void page(struct fixture *f, uint8_t code, size_t len)
{
	run(f, CDB(0x12, 1, code, 2, 0, 0), NULL, 512);
	assert_int_equal(f->status, TCMU_STS_OK);
	assert_int_equal(f->data[0], 0);
	assert_int_equal(f->data[1], code);
	assert_int_equal(ti_be16(f->data + 2), len);
	for (size_t i = len + 4; i < 512; i++)
		assert_int_equal(f->data[i], 0);
}

static void vital_product_data_is_complete(void **state)
{
	struct fixture *f = *state;
	static const uint8_t pages[] = { 0x00, 0x80, 0x83, 0x86, 0x8f, 0xb0, 0xb1, 0xb2 };
	/* As the core makes it: the serial number's digits behind 6 001405. */
	static const uint8_t naa[] = { 0x60, 0x01, 0x40, 0x51, 0x11, 0x12, 0x22, 0x23,
				       0x33, 0x34, 0x44, 0x45, 0x55, 0x56, 0x66, 0x67 };

	page(f, 0x00, sizeof(pages));
	assert_memory_equal(f->data + 4, pages, sizeof(pages));
	page(f, 0x80, 36);
	assert_memory_equal(f->data + 4, f->facts.serial_ctx, 36);
	page(f, 0x83, 4 + 8 + 36 + 4 + 16);
	assert_memory_equal(f->data + 4, ((const uint8_t[]){ 2, 1, 0, 44 }), 4);
	assert_memory_equal(f->data + 8, "LIO-ORG 11112222-3333", 21);
	assert_memory_equal(f->data + 52, ((const uint8_t[]){ 1, 3, 0, 16 }), 4);
	assert_memory_equal(f->data + 56, naa, 16);
	page(f, 0x86, 0x3c);
	for (unsigned i = 4; i < 64; i++)
		assert_int_equal(f->data[i], i == 5 || i == 6 ? 1 : 0);
	f->facts.physical_exponent = 3;
	page(f, 0xb0, 0x3c);
	assert_int_equal(f->data[4], 0);
	assert_int_equal(f->data[5], 255);
	assert_int_equal(ti_be16(f->data + 6), 8);
	assert_int_equal(ti_be32(f->data + 8), 2048);
	assert_int_equal(ti_be32(f->data + 20), 0);
	assert_int_equal(ti_be64(f->data + 36), 500);
	assert_int_equal(ti_be32(f->data + 44), 40);
	for (unsigned i = 48; i < 64; i++)
		assert_int_equal(f->data[i], 0);
	page(f, 0xb1, 0x3c);
	assert_int_equal(ti_be16(f->data + 4), 0);
	f->facts.solid_state = true;
	page(f, 0xb1, 0x3c);
	assert_int_equal(ti_be16(f->data + 4), 1);
	page(f, 0xb2, 4);
	assert_int_equal(ti_be32(f->data + 4), 0);
}

static void a_serial_number_of_any_length_does_no_harm(void **state)
{
	struct fixture *f = *state;
	char longest[600];

	memset(longest, 'f', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	f->facts.serial_ctx = longest;
	page(f, 0x80, 240);
	page(f, 0x83, 4 + 8 + 240 + 4 + 16);
	assert_int_equal(f->data[7], 248);
	longest[0] = '\0';
	page(f, 0x80, 0);
	page(f, 0x83, 4 + 8 + 4 + 16);
	/* It cannot be read now: later. */
	f->facts.serial_ctx = NULL;
	assert_int_equal(run(f, CDB(0x12, 1, 0x83, 2, 0, 0), NULL, 512), TCMU_STS_BUSY);
}

static void mode_sense_tells_of_cache_and_fua(void **state)
{
	struct fixture *f = *state;
	static const uint8_t caching[] = { 23, 0, 0x10, 0, 0x08, 0x12, 0x04 };
	static const uint8_t all_ten[] = { 0, 62, 0, 0x10, 0, 0, 0, 0, 0x01, 0x0a };

	run(f, CDB(0x1a, 0, 0x08, 0, 255, 0), NULL, 255);
	assert_int_equal(f->status, TCMU_STS_OK);
	assert_memory_equal(f->data, caching, sizeof(caching));
	run(f, CDB(0x5a, 0, 0x3f, 0xff, 0, 0, 0, 1, 0, 0), NULL, 256);
	assert_int_equal(f->status, TCMU_STS_OK);
	assert_memory_equal(f->data, all_ten, sizeof(all_ten));
	assert_int_equal(f->data[20], 0x08);
	assert_int_equal(f->data[40], 0x0a);
	assert_int_equal(f->data[52], 0x1c);
	/* WCE is changeable, nothing else of its page. */
	run(f, CDB(0x1a, 0, 0x48, 0, 255, 0), NULL, 255);
	assert_int_equal(f->data[4], 0x08);
	assert_int_equal(f->data[6], 4);
	for (unsigned i = 7; i < 24; i++)
		assert_int_equal(f->data[i], 0);
	f->mode.kept = false;
	run(f, CDB(0x1a, 0, 0x48, 0, 255, 0), NULL, 255);
	assert_int_equal(f->data[6], 0);
	f->mode.kept = true;
	run(f, CDB(0x1a, 0, 0x88, 0, 255, 0), NULL, 255);
	assert_int_equal(f->data[6], 0x04);
	run(f, CDB(0x1a, 0, 0xc8, 0, 255, 0), NULL, 255);
	expect_sense(f, 5, 0x3900);
	run(f, CDB(0x1a, 0, 0x02, 0, 255, 0), NULL, 255);
	expect_bad_field(f, 2);
	run(f, CDB(0x1a, 0, 0x08, 1, 255, 0), NULL, 255);
	expect_bad_field(f, 3);
	/* Cut short anywhere, the lengths in the data stay what they are. */
	for (uint8_t len = 0; len < 60; len++) {
		run(f, CDB(0x1a, 0, 0x3f, 0, len, 0), NULL, len);
		assert_int_equal(f->status, TCMU_STS_OK);
		if (len)
			assert_int_equal(f->data[0], 59);
	}
}

static void mode_sense_says_that_a_lun_in_recovery_is_write_protected(void **state)
{
	struct fixture *f = *state;

	f->facts.write_protected = true;
	run(f, CDB(0x1a, 0, 0x08, 0, 255, 0), NULL, 255);
	assert_int_equal(f->data[2], 0x90);
	run(f, CDB(0x5a, 0, 0x08, 0, 0, 0, 0, 1, 0, 0), NULL, 256);
	assert_int_equal(f->data[3], 0x90);
}

static void mode_select_takes_what_mode_sense_gave(void **state)
{
	struct fixture *f = *state;
	uint8_t list[96], ten[96];

	run(f, CDB(0x1a, 0, 0x3f, 0, 60, 0), NULL, 60);
	memcpy(list, f->data, 60);
	assert_int_equal(run(f, CDB(0x15, 0x10, 0, 0, 60, 0), list, 60), TCMU_STS_OK);
	assert_int_equal(run(f, CDB(0x15, 0x10, 0, 0, 4, 0), list, 4), TCMU_STS_OK);
	assert_int_equal(run(f, CDB(0x15, 0x10, 0, 0, 0, 0), NULL, 0), TCMU_STS_OK);
	run(f, CDB(0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 64, 0), NULL, 64);
	memcpy(ten, f->data, 64);
	assert_int_equal(run(f, CDB(0x55, 0x10, 0, 0, 0, 0, 0, 0, 64, 0), ten, 64), TCMU_STS_OK);

	/* Not in page format, to be saved, cut short, one bit changed, a page of nobody's */
	run(f, CDB(0x15, 0, 0, 0, 60, 0), list, 60);
	expect_bad_field(f, 1);
	run(f, CDB(0x15, 0x11, 0, 0, 60, 0), list, 60);
	expect_bad_field(f, 1);
	run(f, CDB(0x15, 0x10, 0, 0, 60, 0), list, 59);
	expect_sense(f, 5, 0x1a00);
	run(f, CDB(0x15, 0x10, 0, 0, 59, 0), list, 59);
	expect_sense(f, 5, 0x1a00);
	run(f, CDB(0x15, 0x10, 0, 0, 3, 0), list, 3);
	expect_sense(f, 5, 0x1a00);
	list[18] |= 1; /* RCD */
	run(f, CDB(0x15, 0x10, 0, 0, 60, 0), list, 60);
	expect_sense(f, 5, 0x2600);
	assert_int_equal(f->sense[17], 18);
	list[18] = 4;
	list[16] = 0x1b;
	run(f, CDB(0x15, 0x10, 0, 0, 60, 0), list, 60);
	expect_sense(f, 5, 0x2600);
}

static void mode_select_takes_a_true_block_descriptor(void **state)
{
	struct fixture *f = *state;
	uint8_t list[12] = { [3] = 8, [6] = 0x03, [7] = 0xe8, [10] = 0x02 };

	assert_int_equal(run(f, CDB(0x15, 0x10, 0, 0, 12, 0), list, 12), TCMU_STS_OK);
	list[7] = 0xe9;
	run(f, CDB(0x15, 0x10, 0, 0, 12, 0), list, 12);
	expect_sense(f, 5, 0x2600);
	list[7] = 0xe8;
	list[10] = 0x10;
	run(f, CDB(0x15, 0x10, 0, 0, 12, 0), list, 12);
	expect_sense(f, 5, 0x2600);
	list[3] = 16;
	run(f, CDB(0x15, 0x10, 0, 0, 12, 0), list, 12);
	expect_sense(f, 5, 0x2600);
	list[3] = 8;
	run(f, CDB(0x15, 0x10, 0, 0, 8, 0), list, 8);
	expect_sense(f, 5, 0x1a00);
}

/* Whatever an initiator sends, it gets an answer, and sense data with every error. */
static void broken_cdbs_do_no_harm(void **state)
{
	struct fixture *f = *state;
	unsigned seed = 1;

	for (unsigned round = 0; round < 20000; round++) {
		const struct ti_row *row;
		uint8_t cdb[16], data[200];
		size_t len, rows = 0;

		while (ti_row_at(rows))
			rows++;
		row = ti_row_at((unsigned)rand_r(&seed) % rows);
		if (!row->run)
			continue;
		for (size_t i = 0; i < sizeof(cdb); i++)
			cdb[i] = rand_r(&seed) % 3 ? (uint8_t)rand_r(&seed) & 0x1f
						   : (uint8_t)rand_r(&seed);
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = rand_r(&seed) % 2 ? 0 : (uint8_t)rand_r(&seed);
		cdb[0] = row->opcode;
		if (row->service_action >= 0)
			cdb[1] = (uint8_t)(row->service_action | (cdb[1] & 0xe0));
		len = (size_t)rand_r(&seed) % sizeof(data);
		run(f, cdb, row->cdb_len, data, len);
		if (f->status == TCMU_STS_PASSTHROUGH_ERR)
			assert_int_equal(f->sense[0] & 0x70, 0x70);
		else if (f->status == TI_STS_REQUEST && row->run == ti_cmd_compare_and_write)
			assert_int_equal(f->command.request.blocks * 1024, len);
		else if (f->status == TI_STS_REQUEST && row->run == ti_cmd_extended_copy)
			assert_in_range(f->command.request.copy.segments, 1, TI_COPY_SEGMENTS);
		else if (f->status == TI_STS_REQUEST && f->command.request.op != TI_REQ_FLUSH &&
			 f->command.request.op != TI_REQ_WRITE_SAME &&
			 f->command.request.op != TI_REQ_VERIFY &&
			 f->command.request.op != TI_REQ_COMPARE_SAME)
			assert_int_equal(f->command.request.blocks * 512, len);
		else if (f->status != TI_STS_REQUEST)
			assert_int_equal(f->status, TCMU_STS_OK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rows_are_in_order),
		TEST(nobodys_commands_are_refused),
		TEST(reads_of_every_length_are_decoded),
		TEST(reads_and_writes_carry_fua),
		TEST(blocks_of_4096_are_counted_as_such),
		TEST(protection_information_is_refused),
		TEST(naca_is_refused_by_every_command),
		TEST(the_end_of_the_lun_is_the_end),
		TEST(an_address_beyond_32_bits_is_reported_whole),
		TEST(nothing_to_transfer_is_fine),
		TEST(a_buffer_of_another_length_is_refused),
		TEST(a_read_may_have_a_longer_buffer_if_that_can_be_told),
		TEST(an_answer_tells_its_length_if_the_buffer_is_longer),
		TEST(write_same_repeats_a_block),
		TEST(write_same_of_no_blocks_goes_to_the_end),
		TEST(write_same_without_data_writes_zeroes),
		TEST(write_same_unmaps_nothing),
		TEST(write_same_repeats_a_block_of_several_integrity_blocks),
		TEST(synchronize_cache_checks_its_range),
		TEST(what_the_core_does_badly_is_refused),
		TEST(capacity_is_fully_provisioned),
		TEST(inquiry_tells_the_standard_data),
		TEST(vital_product_data_is_complete),
		TEST(a_serial_number_of_any_length_does_no_harm),
		TEST(mode_sense_tells_of_cache_and_fua),
		TEST(mode_sense_says_that_a_lun_in_recovery_is_write_protected),
		TEST(mode_select_takes_what_mode_sense_gave),
		TEST(mode_select_takes_a_true_block_descriptor),
		TEST(broken_cdbs_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
