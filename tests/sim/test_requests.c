/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* Requests on their way through the engine: what is refused, what waits for what, in which order.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim_lun.h"

/* Submit a request that must be refused, and reach no device. */
static void refused(struct sim_lun *l, struct sim_req *r, int err, enum ti_cause cause)
{
	sim_forget(l);
	ti_lun_submit(l->lun, &r->req);
	assert_false(r->back);
	sim_go(l);
	assert_true(r->back);
	assert_int_equal(r->req.result.err, err);
	assert_string_equal(ti_cause_name(r->req.result.cause), ti_cause_name(cause));
	assert_int_equal(r->req.result.sector, r->req.sector);
	assert_int_equal(l->events, 0);
}

static void refused_range(struct sim_lun *l, enum ti_req_op op, uint64_t sector, uint64_t sectors)
{
	struct sim_req *r = sim_prepare(l, op, 0, 1, 1);

	r->req.sector = sector;
	r->req.sectors = sectors;
	refused(l, r, -EINVAL, TI_CAUSE_RANGE);
}

static const enum ti_req_op transfers[] = { TI_REQ_READ, TI_REQ_WRITE, TI_REQ_WRITE_SAME,
					    TI_REQ_VERIFY };

static void requests_beyond_the_end_are_refused(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		refused_range(l, transfers[i], 4096, 1);
		refused_range(l, transfers[i], 4095, 2);
		refused_range(l, transfers[i], 4097, 0);
		refused_range(l, transfers[i], 0, 4097);
		refused_range(l, transfers[i], 1, UINT64_MAX);
		refused_range(l, transfers[i], UINT64_MAX, 1);
		refused_range(l, transfers[i], UINT64_MAX, UINT64_MAX);
	}
	sim_ok(l, sim_write(l, 4095, 1, 1));
	sim_reads(l, 4095, 1, 1);
	sim_lun_free(l);
}

static void requests_off_the_blocks_are_refused(void **state)
{
	struct sim_lun *l =
		sim_lun_new(&(struct sim_lun_options){ .shape.block_size = 4096, .blocks = 64 });

	(void)state;
	assert_int_equal(ti_lun_io_align(l->lun), 4096);
	for (unsigned i = 0; i < 4; i++) {
		for (uint64_t off = 1; off < 8; off++) {
			refused_range(l, transfers[i], off, 8);
			refused_range(l, transfers[i], 0, off);
			refused_range(l, transfers[i], 8, 8 + off);
		}
	}
	sim_lun_free(l);
}

static void memory_of_the_wrong_size_is_refused(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		for (int more = -1; more <= 1; more += 2) {
			struct sim_req *r = sim_prepare(l, transfers[i], 8, 8, 1);

			r->iov[0].iov_len += (size_t)more;
			refused(l, r, -EINVAL, TI_CAUSE_INTERNAL);
		}
	}
	sim_lun_free(l);
}

static void writes_to_a_read_only_lun_are_refused(void **state)
{
	struct sim_lun_options o = { .lun.read_only = true };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	refused(l, sim_prepare(l, TI_REQ_WRITE, 8, 8, 1), -EROFS, TI_CAUSE_READ_ONLY);
	refused(l, sim_prepare(l, TI_REQ_WRITE_SAME, 8, 8, 1), -EROFS, TI_CAUSE_READ_ONLY);
	sim_reads(l, 8, 8, 0);
	sim_ok(l, sim_verify(l, 8, 8));
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_FLUSH), 0);
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 0);
	sim_lun_free(l);
}

static void request_of_no_sectors_does_nothing(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct sim_req *r = sim_prepare(l, transfers[i], 4096, 0, 1);

		sim_forget(l);
		sim_submit(l, r);
		sim_go(l);
		assert_true(r->back);
		sim_ok(l, r);
		assert_int_equal(l->events, 0);
	}
	sim_lun_free(l);
}

static void request_that_needs_no_waiting_is_back_after_the_next_run(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct sim_req *write, *read;

	(void)state;
	write = sim_write(l, 0, 8, 1);
	sim_go(l);
	assert_true(write->back);
	read = sim_read(l, 0, 8);
	sim_go(l);
	assert_true(read->back);
	sim_lun_free(l);
}

static void requests_beyond_the_queue_depth_are_served_in_order(void **state)
{
	struct sim_lun_options o = { .lun.queue_depth = 3 };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	sim_reads(l, 0, 1, 0);
	sim_hold(l->sim, true);
	for (uint32_t block = 0; block < 10; block++)
		sim_write(l, block, 1, 1);
	sim_go(l);
	for (uint32_t block = 0; block < 10; block++) {
		unsigned left = 10 - block;

		assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_WRITE), left < 3 ? left : 3);
		/* The oldest is among those under way. */
		assert_true(sim_complete_at(l->sim, TI_DATA, TI_IO_WRITE, block * 512));
		sim_go(l);
	}
	sim_lun_free(l);
}

static void flush_that_waits_for_a_slot_covers_all_writes_before_it(void **state)
{
	struct sim_lun_options o = { .lun.queue_depth = 1 };
	struct sim_lun *l = sim_lun_new(&o);
	struct sim_req *write = sim_write(l, 0, 1, 1), *flush = sim_flush(l);

	(void)state;
	sim_finish(l);
	assert_true(write->order < flush->order);
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 0, 1));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 0, 1));
	sim_lun_free(l);
}

static void overlapping_writes_are_carried_out_in_the_order_of_arrival(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct sim_req *first, *second, *read;

	(void)state;
	sim_reads(l, 0, 1, 0);
	sim_hold(l->sim, true);
	first = sim_write(l, 0, 4, 1);
	second = sim_write(l, 2, 4, 2);
	read = sim_read(l, 5, 2);
	sim_go(l);
	assert_int_equal(sim_under_way(l->sim), 1);
	assert_true(sim_complete_at(l->sim, TI_DATA, TI_IO_WRITE, 0));
	sim_go(l);
	assert_true(first->back);
	assert_int_equal(sim_under_way(l->sim), 1);
	assert_true(sim_complete_at(l->sim, TI_DATA, TI_IO_WRITE, 2 * 512));
	sim_go(l);
	assert_true(second->back);
	sim_let(l, TI_DATA, TI_IO_READ);
	assert_true(read->back);
	sim_reads(l, 0, 2, 1);
	sim_reads(l, 2, 4, 2);
	sim_reads(l, 6, 1, 0);
	sim_lun_free(l);
}

static void write_waits_for_the_readers_of_its_blocks(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct sim_req *read;

	(void)state;
	sim_reads(l, 0, 1, 0);
	sim_hold(l->sim, true);
	read = sim_read(l, 0, 4);
	sim_write(l, 3, 1, 1);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_WRITE), 0);
	sim_let(l, TI_DATA, TI_IO_READ);
	assert_true(sim_holds(l, read, 0));
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_WRITE), 1);
	sim_lun_free(l);
}

static void readers_of_the_same_blocks_run_side_by_side(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_reads(l, 0, 1, 0);
	sim_hold(l->sim, true);
	sim_read(l, 0, 8);
	sim_read(l, 4, 8);
	sim_verify(l, 0, 12);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), 3);
	sim_lun_free(l);
}

static void requests_for_different_blocks_run_side_by_side(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_reads(l, 0, 1, 0);
	sim_hold(l->sim, true);
	sim_write(l, 0, 4, 1);
	sim_write(l, 4, 4, 2);
	sim_write_same(l, 8, 4, 3);
	sim_read(l, 12, 4);
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_WRITE), 3);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), 1);
	sim_lun_free(l);
}

static void failed_write_lets_its_range_go(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct sim_req *bad, *good;

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	bad = sim_write(l, 0, 4, 1);
	good = sim_write(l, 0, 4, 2);
	sim_bad(l, bad, -EIO, TI_CAUSE_DATA_IO, 0);
	sim_ok(l, good);
	sim_reads(l, 0, 4, 2);
	sim_lun_free(l);
}

/* One request as large as the LUN, in parts; then the same block by block. */
static void request_larger_than_a_part_is_carried_out_in_parts(void **state)
{
	struct sim_lun_options o = { .blocks = 1000, .lun.max_part_bytes = 10000 };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	sim_ok(l, sim_write(l, 0, 1000, 1));
	/* 19 blocks each. */
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 53);
	for (unsigned i = 0; i < l->events; i++)
		assert_true(l->event[i].len <= 10000);
	sim_reads(l, 0, 1000, 1);
	sim_forget(l);
	for (uint32_t block = 0; block < 1000; block++)
		sim_reads(l, block, 1, 1);
	sim_lun_free(l);
}

static void parts_of_large_tags_fit_into_a_pin(void **state)
{
	struct sim_lun *l =
		sim_lun_new(&(struct sim_lun_options){ .shape.tag_size = 255, .blocks = 2000 });

	(void)state;
	for (uint32_t first = 0; first < 40; first++) {
		sim_ok(l, sim_write(l, first, 1900, first + 1));
		sim_reads(l, first, 1900, first + 1);
		sim_forget(l);
	}
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_lun_open(l), 0);
	sim_reads(l, 39, 1900, 40);
	for (uint32_t block = 0; block < 39; block++)
		sim_reads(l, block, 1, block + 1);
	sim_lun_free(l);
}

static void write_same_fills_every_block_of_its_range(void **state)
{
	struct sim_lun_options o = { .lun.max_part_bytes = 4096 };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	sim_ok(l, sim_write(l, 0, 128, 1));
	sim_ok(l, sim_write_same(l, 13, 100, 2));
	sim_reads(l, 0, 13, 1);
	sim_reads(l, 13, 100, 2 | SIM_SAME);
	sim_reads(l, 113, 15, 1);
	sim_lun_free(l);
}

static void verify_reads_all_and_needs_no_memory(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 0, 64, 1));
	sim_forget(l);
	sim_ok(l, sim_verify(l, 0, 64));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_READ), 1);
	assert_int_equal(l->event[0].len, 64 * 512);
	sim_lun_free(l);
}

/* So many tags of 255 bytes as fit into a pin are not so many as eight of our blocks have. */
static void parts_are_of_whole_blocks_of_the_device(void **state)
{
	struct sim_lun *l = sim_lun_new(&(struct sim_lun_options){
		.shape = { .tag_size = 255 },
		.blocks = 1000,
		.logical_block_size = { 4096, 512 },
	});

	(void)state;
	sim_ok(l, sim_write(l, 8, 800, 1));
	assert_true(sim_started(l, TI_DATA, TI_IO_WRITE) > 1);
	sim_reads(l, 8, 800, 1);
	for (unsigned i = 0; i < l->events; i++) {
		if (l->event[i].dev != TI_DATA || l->event[i].op == TI_IO_FLUSH)
			continue;
		assert_int_equal(l->event[i].offset % 4096, 0);
		assert_int_equal(l->event[i].len % 4096, 0);
	}
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_beyond_the_end_are_refused),
		cmocka_unit_test(requests_off_the_blocks_are_refused),
		cmocka_unit_test(memory_of_the_wrong_size_is_refused),
		cmocka_unit_test(writes_to_a_read_only_lun_are_refused),
		cmocka_unit_test(request_of_no_sectors_does_nothing),
		cmocka_unit_test(request_that_needs_no_waiting_is_back_after_the_next_run),
		cmocka_unit_test(requests_beyond_the_queue_depth_are_served_in_order),
		cmocka_unit_test(flush_that_waits_for_a_slot_covers_all_writes_before_it),
		cmocka_unit_test(overlapping_writes_are_carried_out_in_the_order_of_arrival),
		cmocka_unit_test(write_waits_for_the_readers_of_its_blocks),
		cmocka_unit_test(readers_of_the_same_blocks_run_side_by_side),
		cmocka_unit_test(requests_for_different_blocks_run_side_by_side),
		cmocka_unit_test(failed_write_lets_its_range_go),
		cmocka_unit_test(request_larger_than_a_part_is_carried_out_in_parts),
		cmocka_unit_test(parts_of_large_tags_fit_into_a_pin),
		cmocka_unit_test(write_same_fills_every_block_of_its_range),
		cmocka_unit_test(verify_reads_all_and_needs_no_memory),
		cmocka_unit_test(parts_are_of_whole_blocks_of_the_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
