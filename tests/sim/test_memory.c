/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The caller's memory: used directly where the device can, through bounce buffers where it cannot,
 * in any number of pieces.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim_lun.h"

static const struct sim_event *last_data_io(const struct sim_lun *l)
{
	const struct sim_event *last = NULL;

	for (unsigned i = 0; i < l->events; i++)
		if (l->event[i].dev == TI_DATA && !l->event[i].completed)
			last = &l->event[i];
	assert_non_null(last);
	return last;
}

/* Write and read back with memory in pieces; what was around it must not change. */
static void round_trip(struct sim_lun *l, uint32_t count, size_t piece, size_t shift)
{
	struct sim_req *write = sim_prepare(l, TI_REQ_WRITE, 1, count, 2), *read;

	sim_forget(l);
	sim_ok(l, sim_write(l, 0, count + 2, 1));
	sim_scatter(write, piece, shift);
	sim_ok(l, sim_submit(l, write));
	read = sim_prepare(l, TI_REQ_READ, 1, count, 0);
	sim_scatter(read, piece, shift);
	sim_ok(l, sim_submit(l, read));
	assert_true(sim_holds(l, read, 2));
	sim_reads(l, 0, 1, 1);
	sim_reads(l, 1, count, 2);
	sim_reads(l, count + 1, 1, 1);
}

static void aligned_memory_goes_to_the_device_itself(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct sim_req *r;

	(void)state;
	r = sim_write(l, 0, 8, 1);
	sim_finish(l);
	assert_ptr_equal(last_data_io(l)->memory, r->iov[0].iov_base);
	r = sim_read(l, 0, 8);
	sim_finish(l);
	assert_ptr_equal(last_data_io(l)->memory, r->iov[0].iov_base);
	sim_lun_free(l);
}

static void unaligned_memory_goes_through_a_bounce_buffer(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	for (size_t shift = 1; shift < 512; shift = shift * 2 + 1) {
		round_trip(l, 40, 40 * 512, shift);
		assert_ptr_equal((void *)((uintptr_t)last_data_io(l)->memory & 511), NULL);
	}
	sim_lun_free(l);
}

static void blocks_in_odd_pieces_go_through_a_bounce_buffer(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	round_trip(l, 20, 8, 0);
	round_trip(l, 20, 1000, 0);
	round_trip(l, 20, 513, 3);
	round_trip(l, 3, 1, 0);
	sim_lun_free(l);
}

static void blocks_in_pieces_of_sectors_need_no_bounce_buffer(void **state)
{
	struct sim_lun *l =
		sim_lun_new(&(struct sim_lun_options){ .shape.block_size = 4096, .blocks = 64 });
	struct sim_req *r = sim_prepare(l, TI_REQ_READ, 0, 32, 0);

	(void)state;
	sim_scatter(r, 1536, 0);
	sim_ok(l, sim_submit(l, r));
	assert_ptr_equal(last_data_io(l)->memory, r->iov[0].iov_base);
	assert_int_equal(last_data_io(l)->len, 32 * 4096);
	round_trip(l, 32, 1536, 0);
	sim_lun_free(l);
}

static void write_same_and_verify_use_bounce_buffers(void **state)
{
	struct sim_lun_options o = { .lun.max_part_bytes = 4096 };
	struct sim_lun *l = sim_lun_new(&o);
	struct sim_req *r = sim_prepare(l, TI_REQ_WRITE_SAME, 3, 50, 1);

	(void)state;
	sim_scatter(r, 100, 7);
	sim_ok(l, sim_submit(l, r));
	sim_reads(l, 3, 50, 1 | SIM_SAME);
	sim_ok(l, sim_verify(l, 0, 60));
	assert_ptr_not_equal(last_data_io(l)->memory, NULL);
	sim_lun_free(l);
}

/*
 * WRITE SAME of three blocks over and over: also through parts that end in the middle of the three,
 * from scattered memory, and in the journal's pieces.
 */
static void write_same_repeats_several_blocks(void **state)
{
	static const uint32_t parts[] = { 512, 2048, 65536 };

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct sim_lun_options o = {
			.lun.mode = i < 3 ? TI_MODE_DIRECT : TI_MODE_JOURNAL,
			.lun.max_part_bytes = parts[i % 3],
		};
		struct sim_lun *l = sim_lun_new(&o);
		struct sim_req *same = sim_prepare(l, TI_REQ_WRITE, 5, 3, 1);
		struct sim_req *read = sim_prepare(l, TI_REQ_READ, 4, 32, 0);
		uint8_t want[512];

		same->req.op = TI_REQ_WRITE_SAME;
		same->req.sectors = 30;
		sim_scatter(same, 100, 7);
		for (uint32_t n = 0; n < 3; n++) {
			struct ti_iov_cursor cursor = ti_iov_cursor(same->iov, same->req.iov_count);
			uint8_t skipped[2 * 512];

			ti_iov_copy_out(&cursor, skipped, n * 512);
			sim_content(l, 5 + n, 1, want);
			ti_iov_copy_in(&cursor, want, 512);
		}
		same->submitted = true;
		ti_lun_submit(l->lun, &same->req);
		sim_ok(l, same);
		sim_ok(l, sim_submit(l, read)); /* every tag matches */
		for (uint32_t n = 0; n < 32; n++) {
			sim_content(l, n == 0 || n == 31 ? 4 + n : 5 + (n - 1) % 3,
				    n == 0 || n == 31 ? 0 : 1, want);
			assert_memory_equal(read->memory + n * 512, want, 512);
		}
		sim_lun_free(l);
	}
}

static void write_same_of_what_does_not_fit_is_refused(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct sim_req *r = sim_prepare(l, TI_REQ_WRITE, 5, 3, 1);

	(void)state;
	r->req.op = TI_REQ_WRITE_SAME;
	r->req.sectors = 31;
	r->submitted = true;
	ti_lun_submit(l->lun, &r->req);
	sim_bad(l, r, -EINVAL, TI_CAUSE_INTERNAL, 5);
	sim_reads(l, 5, 31, 0);
	sim_lun_free(l);
}

static void unaligned_request_of_many_parts_keeps_its_order(void **state)
{
	struct sim_lun_options o = { .lun.max_part_bytes = 2048 };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	round_trip(l, 50, 50 * 512, 8);
	round_trip(l, 50, 700, 8);
	sim_lun_free(l);
}

/*
 * Some parts of a request can go directly and others not, in every combination of four parts of one
 * block: each block must come from and go to its own memory.
 */
static void request_that_is_aligned_in_parts_only_is_carried_out_whole(void **state)
{
	struct sim_lun_options o = { .lun.max_part_bytes = 512 };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	for (unsigned unaligned = 0; unaligned < 16; unaligned++) {
		struct sim_req *write = sim_prepare(l, TI_REQ_WRITE, 8, 4, 1 + unaligned);
		struct sim_req *read = sim_prepare(l, TI_REQ_READ, 8, 4, 0);

		sim_scatter(write, 512, 0);
		sim_scatter(read, 512, 0);
		for (unsigned i = 0; i < 4; i++) {
			size_t shift = unaligned & 1U << i ? 8 : 0;

			write->iov[i].iov_base = (uint8_t *)write->iov[i].iov_base + shift;
			read->iov[i].iov_base = (uint8_t *)read->iov[i].iov_base + shift;
		}
		sim_forget(l);
		sim_ok(l, sim_submit(l, write));
		sim_reads(l, 8, 4, 1 + unaligned);
		sim_ok(l, sim_submit(l, read));
		assert_true(sim_holds(l, read, 1 + unaligned));
	}
	sim_lun_free(l);
}

static void request_of_more_pieces_than_a_part_may_have_is_cut(void **state)
{
	/* Parts of 280 blocks, in pieces of one sector: 260 pieces are the most. */
	struct sim_lun_options o = { .lun.max_part_bytes = 280 * 512 };
	struct sim_lun *l = sim_lun_new(&o);
	struct sim_req *read = sim_prepare(l, TI_REQ_READ, 0, 1000, 0);

	(void)state;
	sim_scatter(read, 512, 0);
	sim_ok(l, sim_submit(l, read));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_READ), 4);
	assert_int_equal(last_data_io(l)->len, (1000 - 3 * 260) * 512);
	round_trip(l, 1000, 512, 0);
	sim_lun_free(l);
}

static void request_of_more_pieces_than_an_io_may_have_is_cut(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	round_trip(l, TI_IO_MAX_IOV, 512, 0);
	round_trip(l, TI_IO_MAX_IOV + 1, 512, 0);
	sim_lun_free(l);
}

static void part_that_is_cut_for_its_pieces_ends_with_a_whole_block(void **state)
{
	/* 260 pieces of a sector are 32 blocks and a half. */
	struct sim_lun *l =
		sim_lun_new(&(struct sim_lun_options){ .shape.block_size = 4096, .blocks = 256 });

	(void)state;
	round_trip(l, 200, 512, 0);
	assert_int_equal(last_data_io(l)->len % 4096, 0);
	sim_lun_free(l);
}

static void empty_pieces_are_stepped_over(void **state)
{
	struct sim_lun_options o = { .lun.max_part_bytes = 1024 };
	struct sim_lun *l = sim_lun_new(&o);
	struct sim_req *read = sim_prepare(l, TI_REQ_READ, 0, 4, 0);
	struct iovec pieces[9] = { 0 };

	(void)state;
	sim_ok(l, sim_write(l, 0, 4, 1));
	sim_scatter(read, 512, 0);
	for (unsigned i = 0; i < 4; i++)
		pieces[2 * i + 1] = read->iov[i];
	read->req.iov = pieces;
	read->req.iov_count = 9;
	sim_ok(l, sim_submit(l, read));
	read->req.iov_count = 4;
	assert_true(sim_holds(l, read, 1));
	sim_lun_free(l);
}

static void requests_wait_for_bounce_buffers_in_order(void **state)
{
	struct sim_lun_options o = { .lun.bounce_buffers = 2 };
	struct sim_lun *l = sim_lun_new(&o);
	struct sim_req *read[6];

	(void)state;
	sim_ok(l, sim_write(l, 0, 6, 1));
	sim_hold(l->sim, true);
	for (uint32_t i = 0; i < 6; i++) {
		read[i] = sim_prepare(l, TI_REQ_READ, i, 1, 0);
		sim_scatter(read[i], 512, 8);
		sim_submit(l, read[i]);
	}
	sim_go(l);
	for (uint32_t i = 0; i < 6; i++) {
		assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), i < 5 ? 2 : 1);
		assert_true(sim_complete_at(l->sim, TI_DATA, TI_IO_READ, i * 512));
		sim_go(l);
		assert_true(read[i]->back);
		assert_true(sim_holds(l, read[i], 1));
	}
	sim_lun_free(l);
}

static void aligned_requests_do_not_wait_for_bounce_buffers(void **state)
{
	struct sim_lun_options o = { .lun.bounce_buffers = 1 };
	struct sim_lun *l = sim_lun_new(&o);
	struct sim_req *aligned;

	(void)state;
	sim_reads(l, 0, 1, 0);
	sim_hold(l->sim, true);
	sim_verify(l, 0, 1);
	sim_verify(l, 1, 1);
	aligned = sim_read(l, 2, 1);
	sim_go(l);
	assert_true(sim_complete_at(l->sim, TI_DATA, TI_IO_READ, 2 * 512));
	sim_go(l);
	assert_true(aligned->back);
	sim_lun_free(l);
}

static void failed_request_gives_its_bounce_buffer_back(void **state)
{
	struct sim_lun_options o = { .lun.bounce_buffers = 1 };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_write_same(l, 0, 4, 1), -EIO, TI_CAUSE_DATA_IO, 0);
	sim_contents(l->sim, TI_DATA)[5 * 512] ^= 1;
	sim_bad(l, sim_verify(l, 4, 4), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 5);
	sim_ok(l, sim_write_same(l, 0, 4, 1));
	sim_reads(l, 0, 4, 1 | SIM_SAME);
	sim_lun_free(l);
}

/* Blocks of 512 bytes on a device that takes 4096 at a time. */
static void requests_are_multiples_of_the_data_devices_blocks(void **state)
{
	struct sim_lun_options o = { .logical_block_size = { 4096, 0 } };
	struct sim_lun *l = sim_lun_new(&o);
	struct sim_req *r;

	(void)state;
	assert_int_equal(ti_lun_io_align(l->lun), 4096);
	r = sim_read(l, 0, 7);
	sim_finish(l);
	assert_string_equal(ti_cause_name(r->req.result.cause), "out of range");
	r = sim_read(l, 4, 8);
	sim_finish(l);
	assert_string_equal(ti_cause_name(r->req.result.cause), "out of range");
	sim_ok(l, sim_write(l, 8, 48, 1));
	sim_reads(l, 8, 48, 1);
	sim_ok(l, sim_write_same(l, 16, 8, 2));
	sim_reads(l, 8, 8, 1);
	sim_reads(l, 16, 8, 2 | SIM_SAME);
	/* In pieces that are too short for the device. */
	r = sim_prepare(l, TI_REQ_READ, 24, 32, 0);
	sim_scatter(r, 1536, 0);
	sim_ok(l, sim_submit(l, r));
	assert_true(sim_holds(l, r, 1));
	/* Tags are still those of 512-byte blocks, and a bad one of them is named. */
	sim_contents(l->sim, TI_DATA)[27 * 512] ^= 1;
	sim_bad(l, sim_read(l, 24, 32), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 27);
	sim_lun_free(l);
}

static void read_error_is_located_to_the_data_devices_block(void **state)
{
	struct sim_lun_options o = { .logical_block_size = { 4096, 0 } };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_READ, 27 * 512, SIM_FOR_EVER);
	sim_bad(l, sim_read(l, 8, 48), -EIO, TI_CAUSE_DATA_IO, 24);
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aligned_memory_goes_to_the_device_itself),
		cmocka_unit_test(unaligned_memory_goes_through_a_bounce_buffer),
		cmocka_unit_test(blocks_in_odd_pieces_go_through_a_bounce_buffer),
		cmocka_unit_test(blocks_in_pieces_of_sectors_need_no_bounce_buffer),
		cmocka_unit_test(write_same_and_verify_use_bounce_buffers),
		cmocka_unit_test(write_same_repeats_several_blocks),
		cmocka_unit_test(write_same_of_what_does_not_fit_is_refused),
		cmocka_unit_test(unaligned_request_of_many_parts_keeps_its_order),
		cmocka_unit_test(request_that_is_aligned_in_parts_only_is_carried_out_whole),
		cmocka_unit_test(request_of_more_pieces_than_a_part_may_have_is_cut),
		cmocka_unit_test(request_of_more_pieces_than_an_io_may_have_is_cut),
		cmocka_unit_test(part_that_is_cut_for_its_pieces_ends_with_a_whole_block),
		cmocka_unit_test(empty_pieces_are_stepped_over),
		cmocka_unit_test(requests_wait_for_bounce_buffers_in_order),
		cmocka_unit_test(aligned_requests_do_not_wait_for_bounce_buffers),
		cmocka_unit_test(failed_request_gives_its_bounce_buffer_back),
		cmocka_unit_test(requests_are_multiples_of_the_data_devices_blocks),
		cmocka_unit_test(read_error_is_located_to_the_data_devices_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
