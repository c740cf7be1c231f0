/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* Blocks that do not match their tags and devices that fail: what a request says, and where. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim_lun.h"

static void damage_data(struct sim_lun *l, uint32_t block)
{
	sim_contents(l->sim, TI_DATA)[(size_t)block * l->geo.block_size + 77] ^= 1;
}

static void damage_tag(struct sim_lun *l, uint32_t block, uint32_t byte)
{
	sim_contents(l->sim, TI_META)[l->geo.tag_offset + (size_t)block * l->geo.tag_size + byte] ^=
		1;
}

static void mismatch_names_the_first_bad_block_and_counts_all(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 0, 32, 1));
	damage_data(l, 11);
	damage_data(l, 13);
	damage_data(l, 31);
	sim_bad(l, sim_read(l, 8, 24), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 11);
	assert_int_equal(sim_stats(l).mismatches, 3);
	assert_int_equal(sim_logged(l, "err: tag mismatch on read device=sim-data sector=11 "
				       "blocks=3"),
			 1);
	sim_reads(l, 0, 11, 1);
	sim_reads(l, 14, 17, 1);
	sim_lun_free(l);
}

static void mismatch_is_named_in_sectors_of_512_bytes(void **state)
{
	struct sim_lun *l =
		sim_lun_new(&(struct sim_lun_options){ .shape.block_size = 4096, .blocks = 64 });

	(void)state;
	damage_data(l, 5);
	sim_bad(l, sim_read(l, 0, 16), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 5);
	sim_finish(l);
	assert_int_equal(sim_logged(l, "sector=40 blocks=1"), 1);
	sim_lun_free(l);
}

static void every_byte_of_a_tag_counts(void **state)
{
	(void)state;
	for (uint32_t byte = 0; byte < 20; byte++) {
		struct sim_lun *l = sim_lun_new(
			&(struct sim_lun_options){ .shape.tag_size = 20, .shape.salted = true });

		damage_tag(l, 9, byte);
		sim_bad(l, sim_read(l, 0, 32), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 9);
		sim_lun_free(l);
	}
}

static void mismatch_of_a_tag_that_lies_in_two_lines_is_found(void **state)
{
	(void)state;
	/* 4096 = 585 * 7 + 1: the first byte of block 585's tag ends the line. */
	for (uint32_t byte = 0; byte < 7; byte++) {
		struct sim_lun *l = sim_lun_new(
			&(struct sim_lun_options){ .shape.tag_size = 7, .blocks = 2000 });

		damage_tag(l, 585, byte);
		sim_bad(l, sim_read(l, 580, 10), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 585);
		sim_ok(l, sim_write(l, 585, 1, 3));
		sim_reads(l, 585, 1, 3);
		sim_lun_free(l);
	}
}

static void mismatch_in_a_later_part_fails_the_read_there(void **state)
{
	struct sim_lun_options o = { .lun.max_part_bytes = 2048 };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	damage_data(l, 9);
	sim_bad(l, sim_read(l, 0, 32), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 9);
	/* What follows is not read any more. */
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_READ), 3);
	sim_lun_free(l);
}

static void mismatch_in_an_earlier_part_is_not_made_good_by_a_later_one(void **state)
{
	struct sim_lun_options o = { .lun.max_part_bytes = 2048 };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	damage_data(l, 0);
	sim_bad(l, sim_verify(l, 0, 32), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 0);
	sim_bad(l, sim_read(l, 0, 32), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 0);
	sim_lun_free(l);
}

static void block_in_another_blocks_place_does_not_match(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	uint8_t *data = sim_contents(l->sim, TI_DATA), *meta = sim_contents(l->sim, TI_META);

	(void)state;
	sim_ok(l, sim_write(l, 0, 16, 1));
	sim_ok(l, sim_flush(l));
	/* Data and tag together: the sector's number is in the tag. */
	for (size_t i = 0; i < 512; i++)
		data[7 * 512 + i] = data[3 * 512 + i];
	for (size_t i = 0; i < 4; i++)
		meta[l->geo.tag_offset + 7 * 4 + i] = meta[l->geo.tag_offset + 3 * 4 + i];
	sim_settle(l->sim, TI_DATA);
	sim_settle(l->sim, TI_META);
	sim_lun_cut(l);
	sim_bad(l, sim_read(l, 0, 16), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 7);
	sim_lun_free(l);
}

static void mismatch_is_mended_by_writing_the_block(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	damage_data(l, 6);
	sim_bad(l, sim_read(l, 6, 1), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 6);
	sim_ok(l, sim_write(l, 6, 1, 2));
	sim_reads(l, 6, 1, 2);
	sim_lun_free(l);
}

static void mismatches_are_logged_at_a_bounded_rate(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	damage_data(l, 6);
	for (unsigned i = 0; i < 200; i++)
		sim_bad(l, sim_read(l, 6, 1), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 6);
	assert_in_range(sim_logged(l, "tag mismatch"), 1, TI_RATELIMIT_BURST);
	sim_advance(l->sim, TI_RATELIMIT_NS);
	sim_bad(l, sim_read(l, 6, 1), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 6);
	assert_int_equal(sim_logged(l, "not_logged=190"), 1);
	assert_int_equal(sim_stats(l).mismatches, 201);
	sim_lun_free(l);
}

/* Read [0, 16) with block 5 unreadable, its memory in pieces. */
static void locate(uint32_t block_size, size_t piece, size_t shift)
{
	struct sim_lun *l = sim_lun_new(
		&(struct sim_lun_options){ .shape.block_size = block_size, .blocks = 1024 });
	struct sim_req *r = sim_prepare(l, TI_REQ_READ, 0, 16, 0);

	sim_fail(l, TI_DATA, TI_IO_READ, 5ULL * block_size + 511, SIM_FOR_EVER);
	sim_scatter(r, piece, shift);
	sim_bad(l, sim_submit(l, r), -EIO, TI_CAUSE_DATA_IO, 5);
	assert_int_equal(sim_stats(l).io_errors[TI_DATA], 1);
	assert_int_equal(sim_logged(l, "err: I/O error op=read device=sim-data"), 1);
	sim_reads(l, 0, 5, 0);
	sim_reads(l, 6, 10, 0);
	sim_lun_free(l);
}

static void read_error_is_located_to_its_block(void **state)
{
	(void)state;
	locate(512, 16 * 512, 0);
	locate(4096, 16 * 4096, 0);
}

static void read_error_is_located_in_scattered_memory(void **state)
{
	(void)state;
	locate(512, 3 * 512, 0);
	locate(4096, 512, 0);
	locate(4096, 3 * 512, 0);
}

static void read_error_is_located_behind_a_bounce_buffer(void **state)
{
	(void)state;
	locate(512, 16 * 512, 8);
	locate(4096, 1000, 1);
}

static void read_error_in_a_later_part_is_located(void **state)
{
	struct sim_lun_options o = { .lun.max_part_bytes = 4096 };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_READ, 21 * 512, SIM_FOR_EVER);
	sim_bad(l, sim_read(l, 3, 32), -EIO, TI_CAUSE_DATA_IO, 21);
	sim_bad(l, sim_verify(l, 3, 32), -EIO, TI_CAUSE_DATA_IO, 21);
	sim_lun_free(l);
}

static void first_of_two_unreadable_blocks_is_named(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_READ, 12 * 512, SIM_FOR_EVER);
	sim_fail(l, TI_DATA, TI_IO_READ, 4 * 512, SIM_FOR_EVER);
	sim_bad(l, sim_read(l, 0, 16), -EIO, TI_CAUSE_DATA_IO, 4);
	sim_lun_free(l);
}

static void passing_read_error_is_healed_by_reading_again(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 0, 16, 1));
	sim_fail(l, TI_DATA, TI_IO_READ, 5 * 512, 1);
	sim_reads(l, 0, 16, 1);
	assert_int_equal(l->fault[0].times, 0);
	sim_lun_free(l);
}

static void healed_read_is_still_verified(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	damage_data(l, 9);
	sim_fail(l, TI_DATA, TI_IO_READ, 5 * 512, 1);
	sim_bad(l, sim_read(l, 0, 16), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 9);
	sim_lun_free(l);
}

/* What an initiator takes for good, whatever else is wrong behind it. */
static void blocks_before_a_bad_one_are_read(size_t shift)
{
	struct sim_lun *l = sim_lun_new(&(struct sim_lun_options){ .lun.max_part_bytes = 4096 });
	struct sim_req *r = sim_prepare(l, TI_REQ_READ, 0, 16, 0);

	sim_ok(l, sim_write(l, 0, 16, 1));
	damage_data(l, 11);
	sim_scatter(r, 16 * 512, shift);
	sim_bad(l, sim_submit(l, r), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 11);
	assert_true(sim_holds_first(l, r, 11, 1));
	sim_lun_free(l);
}

static void blocks_before_a_mismatch_are_read(void **state)
{
	(void)state;
	blocks_before_a_bad_one_are_read(0);
}

static void blocks_before_a_mismatch_are_read_behind_a_bounce_buffer(void **state)
{
	(void)state;
	blocks_before_a_bad_one_are_read(8);
}

static void blocks_before_an_unreadable_one_are_read_and_verified(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct sim_req *r;

	(void)state;
	sim_ok(l, sim_write(l, 0, 16, 1));
	sim_fail(l, TI_DATA, TI_IO_READ, 12 * 512, SIM_FOR_EVER);
	r = sim_read(l, 0, 16);
	sim_bad(l, r, -EIO, TI_CAUSE_DATA_IO, 12);
	assert_true(sim_holds_first(l, r, 12, 1));
	damage_data(l, 7);
	sim_bad(l, sim_read(l, 0, 16), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 7);
	sim_lun_free(l);
}

static void blocks_before_one_without_a_tag_are_verified(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct sim_req *r;

	(void)state;
	sim_ok(l, sim_write(l, 1000, 24, 1));
	sim_fail(l, TI_META, TI_IO_READ, l->geo.tag_offset + 4096, 2);
	r = sim_read(l, 1000, 100);
	sim_bad(l, r, -EIO, TI_CAUSE_META_IO, 1024);
	assert_true(sim_holds_first(l, r, 24, 1));
	damage_data(l, 1010);
	sim_bad(l, sim_read(l, 1000, 100), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 1010);
	sim_lun_free(l);
}

static void first_trouble_is_named_whichever_device_has_it(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	/* Block 1024 has no tag; an unreadable one before it, and then behind it. */
	sim_reads(l, 1000, 1, 0);
	sim_fail(l, TI_META, TI_IO_READ, l->geo.tag_offset + 4096, 2);
	sim_fail(l, TI_DATA, TI_IO_READ, 1020 * 512, 3);
	sim_bad(l, sim_read(l, 1000, 100), -EIO, TI_CAUSE_DATA_IO, 1020);
	sim_fail(l, TI_DATA, TI_IO_READ, 1030 * 512, SIM_FOR_EVER);
	sim_bad(l, sim_read(l, 1021, 79), -EIO, TI_CAUSE_META_IO, 1024);
	sim_lun_free(l);
}

/* No tag of the part is stored, so none of its blocks may count as written. */
static void write_without_tags_counts_from_the_parts_first_block(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_reads(l, 1000, 1, 0);
	sim_fail(l, TI_META, TI_IO_READ, l->geo.tag_offset + 4096, 1);
	sim_bad(l, sim_write(l, 1000, 100, 1), -EIO, TI_CAUSE_META_IO, 1000);
	sim_lun_free(l);
}

static void tag_read_error_names_the_first_block_without_a_tag(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	/* Blocks 1024 to 2047 have their tags in the second line. */
	sim_reads(l, 0, 1, 0);
	sim_fail(l, TI_META, TI_IO_READ, l->geo.tag_offset + 4096, 1);
	sim_bad(l, sim_read(l, 1000, 100), -EIO, TI_CAUSE_META_IO, 1024);
	assert_int_equal(sim_logged(l, "err: I/O error op=tags device=sim-meta sector=1024"), 1);
	assert_int_equal(sim_stats(l).io_errors[TI_META], 1);
	sim_fail(l, TI_META, TI_IO_READ, l->geo.tag_offset + 4096, 1);
	sim_bad(l, sim_read(l, 1030, 100), -EIO, TI_CAUSE_META_IO, 1030);
	sim_lun_free(l);
}

/* Block 16's tag lies in two lines, of which the second cannot be read. */
static void block_whose_tag_is_there_in_part_has_none(void **state)
{
	struct sim_lun *l = sim_lun_new(
		&(struct sim_lun_options){ .shape = { .tag_size = 255 }, .blocks = 1000 });

	(void)state;
	sim_reads(l, 0, 1, 0);
	sim_fail(l, TI_META, TI_IO_READ, l->geo.tag_offset + 4096, 1);
	sim_bad(l, sim_read(l, 10, 20), -EIO, TI_CAUSE_META_IO, 16);
	sim_lun_free(l);
}

static void read_error_is_told_where_no_tag_is_looked_at(void **state)
{
	struct sim_lun *l = sim_lun_make(NULL);
	struct sim_req *r;

	(void)state;
	l->options.mode = TI_MODE_RECOVERY;
	assert_int_equal(sim_lun_open(l), 0);
	sim_fail(l, TI_DATA, TI_IO_READ, 5 * 512, SIM_FOR_EVER);
	r = sim_read(l, 3, 5);
	sim_bad(l, r, -EIO, TI_CAUSE_DATA_IO, 5);
	assert_true(sim_holds_first(l, r, 2, 0));
	sim_bad(l, sim_verify(l, 0, 10), -EIO, TI_CAUSE_DATA_IO, 5);
	sim_reads(l, 6, 10, 0);
	sim_lun_free(l);
}

static void tag_read_error_is_named_by_its_first_line_whatever_fails_first(void **state)
{
	struct sim_lun *l = sim_lun_new(&(struct sim_lun_options){ .blocks = 16384 });
	uint64_t tags = l->geo.tag_offset;
	struct sim_req *read;

	(void)state;
	/* The middle line is there, the ones around it are read each by itself. */
	sim_reads(l, 1024, 1, 0);
	sim_fail(l, TI_META, TI_IO_READ, SIM_EVERYWHERE, 2);
	sim_hold(l->sim, true);
	read = sim_read(l, 1000, 1200);
	sim_go(l);
	assert_true(sim_complete_at(l->sim, TI_META, TI_IO_READ, tags + 2 * 4096));
	assert_true(sim_complete_at(l->sim, TI_META, TI_IO_READ, tags));
	sim_bad(l, read, -EIO, TI_CAUSE_META_IO, 1000);
	sim_lun_free(l);
}

static void tags_that_could_not_be_read_are_read_again_by_the_next_request(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_fail(l, TI_META, TI_IO_READ, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_read(l, 3, 4), -EIO, TI_CAUSE_META_IO, 3);
	sim_reads(l, 3, 4, 0);
	sim_lun_free(l);
}

static void write_without_its_neighbours_tags_fails(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_fail(l, TI_META, TI_IO_READ, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_write(l, 40, 4, 1), -EIO, TI_CAUSE_META_IO, 40);
	/* Data without its tag: not one wrong byte is handed out. */
	sim_bad(l, sim_read(l, 40, 4), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 40);
	sim_ok(l, sim_write(l, 40, 4, 2));
	sim_reads(l, 40, 4, 2);
	sim_lun_free(l);
}

static void failed_write_leaves_the_old_tag(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	unsigned kept = 0, changed = 0;

	(void)state;
	sim_ok(l, sim_write(l, 0, 32, 1));
	sim_fail(l, TI_DATA, TI_IO_WRITE, SIM_EVERYWHERE, SIM_FOR_EVER);
	for (uint32_t block = 0; block < 32; block++) {
		sim_bad(l, sim_write(l, block, 1, 2), -EIO, TI_CAUSE_DATA_IO, block);
		if (sim_has_data(l, sim_contents(l->sim, TI_DATA), block, 1)) {
			sim_reads(l, block, 1, 1);
			kept++;
		} else {
			sim_bad(l, sim_read(l, block, 1), -EILSEQ, TI_CAUSE_TAG_MISMATCH, block);
			changed++;
		}
	}
	/* The device fails either way. */
	assert_in_range(kept, 1, 31);
	assert_in_range(changed, 1, 31);
	sim_lun_free(l);
}

static void write_error_names_the_part_that_failed(void **state)
{
	struct sim_lun_options o = { .lun.max_part_bytes = 2048 };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_WRITE, 13 * 512, 1);
	sim_bad(l, sim_write(l, 0, 32, 1), -EIO, TI_CAUSE_DATA_IO, 12);
	assert_int_equal(sim_stats(l).io_errors[TI_DATA], 1);
	sim_reads(l, 0, 12, 1);
	sim_reads(l, 16, 16, 0);
	sim_lun_free(l);
}

static void write_same_error_fails_the_request(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_write_same(l, 8, 8, 1), -EIO, TI_CAUSE_DATA_IO, 8);
	sim_ok(l, sim_write_same(l, 8, 8, 1));
	sim_reads(l, 8, 8, 1 | SIM_SAME);
	sim_lun_free(l);
}

static void errors_are_logged_at_a_bounded_rate(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_WRITE, SIM_EVERYWHERE, SIM_FOR_EVER);
	for (unsigned i = 0; i < 200; i++)
		sim_bad(l, sim_write(l, 1, 1, 1), -EIO, TI_CAUSE_DATA_IO, 1);
	assert_in_range(sim_logged(l, "I/O error"), 1, TI_RATELIMIT_BURST);
	assert_int_equal(sim_stats(l).io_errors[TI_DATA], 200);
	sim_lun_free(l);
}

static void failed_requests_are_not_counted_as_done(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_write(l, 1, 1, 1), -EIO, TI_CAUSE_DATA_IO, 1);
	sim_fail(l, TI_DATA, TI_IO_READ, SIM_EVERYWHERE, 2);
	sim_bad(l, sim_read(l, 2, 1), -EIO, TI_CAUSE_DATA_IO, 2);
	assert_int_equal(sim_stats(l).writes, 0);
	assert_int_equal(sim_stats(l).reads, 0);
	sim_ok(l, sim_write(l, 1, 3, 1));
	sim_reads(l, 1, 2, 1);
	sim_ok(l, sim_verify(l, 1, 1));
	assert_int_equal(sim_stats(l).writes, 1);
	assert_int_equal(sim_stats(l).written_sectors, 3);
	assert_int_equal(sim_stats(l).reads, 2);
	assert_int_equal(sim_stats(l).read_sectors, 3);
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mismatch_names_the_first_bad_block_and_counts_all),
		cmocka_unit_test(mismatch_is_named_in_sectors_of_512_bytes),
		cmocka_unit_test(every_byte_of_a_tag_counts),
		cmocka_unit_test(mismatch_of_a_tag_that_lies_in_two_lines_is_found),
		cmocka_unit_test(mismatch_in_a_later_part_fails_the_read_there),
		cmocka_unit_test(mismatch_in_an_earlier_part_is_not_made_good_by_a_later_one),
		cmocka_unit_test(block_in_another_blocks_place_does_not_match),
		cmocka_unit_test(mismatch_is_mended_by_writing_the_block),
		cmocka_unit_test(mismatches_are_logged_at_a_bounded_rate),
		cmocka_unit_test(read_error_is_located_to_its_block),
		cmocka_unit_test(read_error_is_located_in_scattered_memory),
		cmocka_unit_test(read_error_is_located_behind_a_bounce_buffer),
		cmocka_unit_test(read_error_in_a_later_part_is_located),
		cmocka_unit_test(first_of_two_unreadable_blocks_is_named),
		cmocka_unit_test(passing_read_error_is_healed_by_reading_again),
		cmocka_unit_test(healed_read_is_still_verified),
		cmocka_unit_test(blocks_before_a_mismatch_are_read),
		cmocka_unit_test(blocks_before_a_mismatch_are_read_behind_a_bounce_buffer),
		cmocka_unit_test(blocks_before_an_unreadable_one_are_read_and_verified),
		cmocka_unit_test(blocks_before_one_without_a_tag_are_verified),
		cmocka_unit_test(first_trouble_is_named_whichever_device_has_it),
		cmocka_unit_test(write_without_tags_counts_from_the_parts_first_block),
		cmocka_unit_test(tag_read_error_names_the_first_block_without_a_tag),
		cmocka_unit_test(tag_read_error_is_named_by_its_first_line_whatever_fails_first),
		cmocka_unit_test(tags_that_could_not_be_read_are_read_again_by_the_next_request),
		cmocka_unit_test(write_without_its_neighbours_tags_fails),
		cmocka_unit_test(failed_write_leaves_the_old_tag),
		cmocka_unit_test(write_error_names_the_part_that_failed),
		cmocka_unit_test(write_same_error_fails_the_request),
		cmocka_unit_test(errors_are_logged_at_a_bounded_rate),
		cmocka_unit_test(failed_requests_are_not_counted_as_done),
		cmocka_unit_test(block_whose_tag_is_there_in_part_has_none),
		cmocka_unit_test(read_error_is_told_where_no_tag_is_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
