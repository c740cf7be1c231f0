/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * UNMAP and WRITE SAME with UNMAP, and what the LUN says of itself where it takes discards.
 */
#include "cdb_fixture.h"

static struct fixture *discarding(void **state)
{
	struct fixture *f = *state;

	f->facts.discards = true;
	f->facts.max_unmap = 800;
	f->facts.unmap_granularity = 8;
	f->facts.unmap_alignment = 3;
	return f;
}

/* A parameter list of @count descriptors of @blocks blocks each, 100 apart from LBA 10 on. */
static size_t list_of(uint8_t *list, unsigned count, uint32_t blocks)
{
	size_t len = 8 + 16 * (size_t)count;

	memset(list, 0, len);
	ti_put_be16(list, (uint16_t)(len - 2));
	ti_put_be16(list + 2, (uint16_t)(len - 8));
	for (unsigned n = 0; n < count; n++) {
		ti_put_be64(list + 8 + 16 * n, 10 + 100 * n);
		ti_put_be32(list + 8 + 16 * n + 8, blocks);
	}
	return len;
}

static int unmap(struct fixture *f, const uint8_t *list, size_t len, size_t said)
{
	const uint8_t cdb[10] = { 0x42, [7] = (uint8_t)(said >> 8), [8] = (uint8_t)said };

	return run(f, cdb, sizeof(cdb), list, len);
}

static bool next(struct fixture *f, uint64_t lba, uint64_t blocks)
{
	struct ti_extent extent;

	if (!ti_unmap_next(f->iov, 2, &f->command.request.unmap, &extent))
		return false;
	assert_int_equal(extent.lba, lba);
	assert_int_equal(extent.blocks, blocks);
	return true;
}

static void unmap_goes_through_its_descriptors(void **state)
{
	struct fixture *f = discarding(state);
	uint8_t list[8 + 16 * 4];
	size_t len = list_of(list, 4, 7);

	ti_put_be32(list + 8 + 16 + 8, 0); /* nothing, which is no error */
	unmap(f, list, len, len);
	expect_request(f, TI_REQ_DISCARD, 0, 10, 7);
	assert_int_equal(f->command.request.iov_count, 0);
	assert_true(next(f, 210, 7));
	assert_true(next(f, 310, 7));
	assert_false(next(f, 0, 0));
}

static void unmap_of_nothing_is_done_at_once(void **state)
{
	struct fixture *f = discarding(state);
	uint8_t list[8 + 16];
	size_t len;

	assert_int_equal(unmap(f, NULL, 0, 0), TCMU_STS_OK);
	len = list_of(list, 0, 0);
	assert_int_equal(unmap(f, list, len, len), TCMU_STS_OK);
	len = list_of(list, 1, 0);
	assert_int_equal(unmap(f, list, len, len), TCMU_STS_OK);
}

/* SBC-4: a descriptor that is cut, by either length, is ignored. */
static void list_that_is_cut_ends_at_its_last_whole_descriptor(void **state)
{
	struct fixture *f = discarding(state);
	uint8_t list[8 + 16 * 3];
	size_t len = list_of(list, 3, 7);

	unmap(f, list, len, len - 1);
	expect_request(f, TI_REQ_DISCARD, 0, 10, 7);
	assert_true(next(f, 110, 7));
	assert_false(next(f, 0, 0));
	ti_put_be16(list + 2, 31);
	unmap(f, list, len, len);
	expect_request(f, TI_REQ_DISCARD, 0, 10, 7);
	assert_false(next(f, 0, 0));
	ti_put_be16(list + 2, 0xffff);
	unmap(f, list, len, len);
	assert_true(next(f, 110, 7) && next(f, 210, 7) && !next(f, 0, 0));
	for (size_t said = 1; said < 8; said++) {
		unmap(f, list, len, said);
		expect_sense(f, 5, 0x1a00);
	}
	unmap(f, list, len - 1, len);
	expect_sense(f, 5, 0x1a00);
}

static void unmap_beyond_the_end_or_the_limits_discards_nothing(void **state)
{
	struct fixture *f = discarding(state);
	uint8_t list[8 + 16 * (TI_MAX_UNMAP_DESCRIPTORS + 1)];
	size_t len = list_of(list, 3, 7);

	ti_put_be64(list + 8 + 32, BLOCKS - 3);
	unmap(f, list, len, len);
	expect_out_of_range(f, BLOCKS);
	ti_put_be64(list + 8 + 32, UINT32_MAX);
	unmap(f, list, len, len);
	expect_sense(f, 5, 0x2100);
	len = list_of(list, 3, 267);
	unmap(f, list, len, len);
	expect_sense(f, 5, 0x2600);
	assert_int_equal(f->sense[16] << 8 | f->sense[17], 8 + 32 + 8);
	len = list_of(list, 1, UINT32_MAX);
	unmap(f, list, len, len);
	expect_sense(f, 5, 0x2100);
	len = list_of(list, 3, 266);
	unmap(f, list, len, len);
	expect_request(f, TI_REQ_DISCARD, 0, 10, 266);
	f->facts.blocks = 1U << 20;
	len = list_of(list, TI_MAX_UNMAP_DESCRIPTORS, 1);
	unmap(f, list, len, len);
	expect_request(f, TI_REQ_DISCARD, 0, 10, 1);
	len = list_of(list, TI_MAX_UNMAP_DESCRIPTORS + 1, 1);
	unmap(f, list, len, len);
	expect_sense(f, 5, 0x2600);
}

static void anchors_are_refused(void **state)
{
	struct fixture *f = discarding(state);

	run(f, CDB(0x42, 0x01, 0, 0, 0, 0, 0, 0, 24, 0), NULL, 24);
	expect_bad_field(f, 1);
	run(f, CDB(0x41, 0x18, 0, 0, 0, 9, 0, 0, 2, 0), NULL, 512);
	expect_bad_field(f, 1);
	run(f, CDB(0x93, 0x10, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0), NULL, 512);
	expect_bad_field(f, 1);
	run(f, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24, 4), NULL, 24); /* NACA */
	expect_bad_field(f, 9);
}

static void write_same_with_unmap_discards(void **state)
{
	struct fixture *f = discarding(state);

	run(f, CDB(0x41, 0x08, 0, 0, 0, 9, 0, 0, 2, 0), NULL, 512);
	expect_request(f, TI_REQ_DISCARD, 0, 9, 2);
	assert_int_equal(f->command.request.iov_count, 0);
	run(f, CDB(0x93, 0x08, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0), NULL, 512);
	expect_request(f, TI_REQ_DISCARD, 0, 9, 2);
	run(f, CDB(0x93, 0x09, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0), NULL, 0);
	expect_request(f, TI_REQ_DISCARD, 0, 9, 2);
	/* The same limits as without. */
	run(f, CDB(0x93, 0x08, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0), NULL, 1024);
	expect_bad_buffer(f);
	run(f, CDB(0x93, 0x09, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 2, 0, 0, 0), NULL, 0);
	expect_bad_field(f, 10);
	run(f, CDB(0x93, 0x09, 0, 0, 0, 0, 0, 0, 0x03, 0xe7, 0, 0, 0, 2, 0, 0), NULL, 0);
	expect_out_of_range(f, BLOCKS);
	/* And without, it writes. */
	run(f, CDB(0x41, 0, 0, 0, 0, 9, 0, 0, 2, 0), NULL, 512);
	expect_request(f, TI_REQ_WRITE_SAME, 0, 9, 2);
}

static void without_the_option_there_is_nothing_to_unmap(void **state)
{
	struct fixture *f = *state;
	uint8_t list[8 + 16];
	size_t len = list_of(list, 1, 7);

	unmap(f, list, len, len);
	expect_sense(f, 5, 0x2000);
	assert_false(ti_row_is_listed(ti_row_find((const uint8_t[]){ 0x42 }), &f->facts));
	f->facts.discards = true;
	assert_true(ti_row_is_listed(ti_row_find((const uint8_t[]){ 0x42 }), &f->facts));
}

static void the_lun_says_that_it_takes_discards(void **state)
{
	struct fixture *f = discarding(state);

	run(f, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), NULL, 32);
	assert_int_equal(f->data[14], 0x80); /* LBPME, not LBPRZ */
	run(f, CDB(0x12, 1, 0xb0, 0, 64, 0), NULL, 64);
	assert_int_equal(ti_be32(f->data + 20), 800);
	assert_int_equal(ti_be32(f->data + 24), TI_MAX_UNMAP_DESCRIPTORS);
	assert_int_equal(ti_be32(f->data + 28), 8);
	assert_int_equal(ti_be32(f->data + 32), 0x80000003);
	run(f, CDB(0x12, 1, 0xb2, 0, 8, 0), NULL, 8);
	assert_int_equal(ti_be16(f->data + 2), 4);
	assert_int_equal(f->data[5], 0xe0);
	assert_int_equal(f->data[6], 0);
	f->facts.thin = true;
	run(f, CDB(0x12, 1, 0xb2, 0, 8, 0), NULL, 8);
	assert_int_equal(f->data[6], 2);
	/* REPORT SUPPORTED OPERATION CODES: WRITE SAME looks at its UNMAP bit. */
	run(f, CDB(0xa3, 0x0c, 0x01, 0x41, 0, 0, 0, 0, 0, 64, 0, 0), NULL, 64);
	assert_int_equal(f->data[4 + 1], 0x08);
	f->facts.discards = false;
	run(f, CDB(0xa3, 0x0c, 0x01, 0x41, 0, 0, 0, 0, 0, 64, 0, 0), NULL, 64);
	assert_int_equal(f->data[4 + 1], 0);
	run(f, CDB(0x12, 1, 0xb0, 0, 64, 0), NULL, 64);
	assert_int_equal(ti_be32(f->data + 20) | ti_be32(f->data + 24) | ti_be32(f->data + 32), 0);
	run(f, CDB(0x12, 1, 0xb2, 0, 8, 0), NULL, 8);
	assert_int_equal(f->data[5] | f->data[6], 0);
}

static void lba_status_asks_the_engine(void **state)
{
	struct fixture *f = discarding(state);

	run(f, CDB(0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 24, 0, 0), NULL, 24);
	expect_request(f, TI_REQ_EXTENT, 0, 20, BLOCKS - 20);
	/* The second: the engine's extent ends within the first block, which is not discarded. */
	for (unsigned whole = 30;; whole = 0) {
		const uint8_t wanted[24] = {
			[3] = 20, [15] = 20, [19] = whole ? 30 : 1, [20] = whole ? 1 : 0
		};
		struct ti_iov_cursor cursor;
		uint8_t data[24];

		ti_answer_lba_status(&f->command, whole, true);
		cursor = ti_iov_cursor(f->iov, 2);
		ti_iov_copy_out(&cursor, data, sizeof(data));
		assert_memory_equal(data, wanted, sizeof(wanted));
		if (!whole)
			break;
	}
	run(f, CDB(0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0x03, 0xe8, 0, 0, 0, 24, 0, 0), NULL, 24);
	expect_out_of_range(f, BLOCKS);
	f->facts.discards = false;
	run(f, CDB(0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 24, 0, 0), NULL, 24);
	assert_int_equal(f->status, TCMU_STS_OK);
	assert_int_equal(ti_be32(f->data + 16), BLOCKS - 20);
	assert_int_equal(f->data[20], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(unmap_goes_through_its_descriptors),
		TEST(unmap_of_nothing_is_done_at_once),
		TEST(list_that_is_cut_ends_at_its_last_whole_descriptor),
		TEST(unmap_beyond_the_end_or_the_limits_discards_nothing),
		TEST(anchors_are_refused),
		TEST(write_same_with_unmap_discards),
		TEST(without_the_option_there_is_nothing_to_unmap),
		TEST(the_lun_says_that_it_takes_discards),
		TEST(lba_status_asks_the_engine),
	};

	return cmocka_run_group_tests_name("unmap", tests, NULL, NULL);
}
