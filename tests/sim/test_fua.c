/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* FUA writes: durable, data and tag, before they come back, and in nobody's way meanwhile. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim_lun.h"

/* A LUN that has the tags' first line in memory and nothing dirty, held. */
static struct sim_lun *tags_loaded(void)
{
	struct sim_lun *l = sim_lun_new(NULL);

	sim_reads(l, 0, 1, 0);
	sim_forget(l);
	sim_hold(l->sim, true);
	return l;
}

static void fua_write_completes_only_after_both_flushes(void **state)
{
	(void)state;
	for (enum ti_device last = TI_DATA; last < TI_DEVICES; last++) {
		struct sim_lun *l = tags_loaded();
		struct sim_req *fua = sim_write_fua(l, 2, 1, 1);

		sim_go(l);
		sim_let(l, TI_DATA, TI_IO_WRITE);
		sim_let(l, TI_META, TI_IO_WRITE);
		sim_let(l, last == TI_DATA ? TI_META : TI_DATA, TI_IO_FLUSH);
		assert_false(fua->back);
		sim_let(l, last, TI_IO_FLUSH);
		assert_true(fua->back);
		sim_ok(l, fua);
		assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 2, 1));
		assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 2, 1));
		sim_lun_free(l);
	}
}

static void fua_write_lets_its_range_go_before_its_flush_ends(void **state)
{
	struct sim_lun *l = tags_loaded();
	struct sim_req *fua = sim_write_fua(l, 2, 1, 1), *read = sim_read(l, 2, 1);

	(void)state;
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_WRITE);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 1);
	sim_let(l, TI_DATA, TI_IO_READ);
	assert_true(read->back);
	assert_true(sim_holds(l, read, 1));
	assert_false(fua->back);
	sim_lun_free(l);
}

static void fua_write_of_many_parts_is_flushed_once_at_its_end(void **state)
{
	struct sim_lun_options o = { .lun.max_part_bytes = 2048 };
	struct sim_lun *l = sim_lun_new(&o);

	(void)state;
	sim_ok(l, sim_write_fua(l, 0, 32, 1));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 8);
	assert_int_equal(sim_stats(l).flush_rounds, 1);
	for (uint32_t block = 0; block < 32; block++) {
		assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), block, 1));
		assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), block, 1));
	}
	sim_lun_free(l);
}

static void fua_write_same_is_durable(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);
	struct sim_req *r = sim_prepare(l, TI_REQ_WRITE_SAME, 10, 20, 1);

	(void)state;
	r->req.flags = TI_REQ_FUA;
	sim_ok(l, sim_submit(l, r));
	for (uint32_t block = 10; block < 30; block++) {
		assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), block, 1 | SIM_SAME));
		assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), block, 1 | SIM_SAME));
	}
	sim_lun_free(l);
}

static void fua_writes_that_complete_together_share_one_round(void **state)
{
	struct sim_lun *l = tags_loaded();

	(void)state;
	for (uint32_t block = 0; block < 8; block++)
		sim_write_fua(l, block, 1, 1);
	sim_go(l);
	for (uint32_t block = 0; block < 8; block++)
		assert_true(sim_complete_one(l->sim, TI_DATA, TI_IO_WRITE));
	sim_finish(l);
	assert_int_equal(sim_stats(l).flush_rounds, 1);
	for (uint32_t block = 0; block < 8; block++)
		assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), block, 1));
	sim_lun_free(l);
}

static void fua_write_that_completes_during_a_round_waits_for_the_next(void **state)
{
	struct sim_lun *l = tags_loaded();
	struct sim_req *early = sim_write_fua(l, 0, 1, 1), *late = sim_write_fua(l, 1, 1, 2);

	(void)state;
	sim_go(l);
	assert_true(sim_complete_at(l->sim, TI_DATA, TI_IO_WRITE, 0));
	sim_go(l);
	sim_let(l, TI_DATA, TI_IO_WRITE);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(early->back);
	assert_false(late->back);
	sim_ok(l, late);
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 1, 2));
	sim_lun_free(l);
}

static void fua_write_that_failed_is_not_flushed(void **state)
{
	struct sim_lun *l = tags_loaded();

	(void)state;
	sim_fail(l, TI_DATA, TI_IO_WRITE, SIM_EVERYWHERE, 1);
	sim_bad(l, sim_write_fua(l, 2, 1, 1), -EIO, TI_CAUSE_DATA_IO, 2);
	assert_int_equal(sim_stats(l).flush_rounds, 0);
	sim_lun_free(l);
}

static void plain_write_is_not_flushed(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 2, 1, 1));
	assert_int_equal(sim_stats(l).flush_rounds, 0);
	assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 0);
	sim_lun_free(l);
}

static struct sim_req *with_fua(struct sim_lun *l, enum ti_req_op op, uint32_t block,
				uint32_t count)
{
	struct sim_req *r = sim_prepare(l, op, block, count, 0);

	r->req.flags = TI_REQ_FUA;
	return sim_submit(l, r);
}

static void fua_read_is_of_what_is_durable(void **state)
{
	static const enum ti_req_op ops[] = { TI_REQ_READ, TI_REQ_VERIFY };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sim_lun *l = sim_lun_new(NULL);
		struct sim_req *read;

		sim_ok(l, sim_write(l, 2, 1, 1));
		sim_hold(l->sim, true);
		read = with_fua(l, ops[i], 2, 1);
		sim_go(l);
		sim_let(l, TI_DATA, TI_IO_FLUSH);
		sim_let(l, TI_META, TI_IO_WRITE);
		assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_READ), 0);
		sim_let(l, TI_META, TI_IO_FLUSH);
		assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 2, 1));
		assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), 2, 1));
		assert_false(read->back);
		sim_let(l, TI_DATA, TI_IO_READ);
		sim_ok(l, read);
		assert_true(ops[i] == TI_REQ_VERIFY || sim_holds(l, read, 1));
		sim_lun_free(l);
	}
}

static void fua_read_in_mode_journal_is_of_what_is_committed(void **state)
{
	struct sim_lun_options o = { .lun.mode = TI_MODE_JOURNAL };
	struct sim_lun *l = sim_lun_new(&o);
	struct sim_req *read;

	(void)state;
	sim_ok(l, sim_write(l, 2, 1, 1));
	sim_hold(l->sim, true);
	read = with_fua(l, TI_REQ_READ, 2, 1);
	sim_go(l);
	sim_let(l, TI_META, TI_IO_WRITE);
	assert_false(read->back);
	sim_let(l, TI_META, TI_IO_FLUSH);
	sim_ok(l, read);
	assert_true(sim_holds(l, read, 1));
	sim_lun_cut(l);
	sim_reads(l, 2, 1, 1);
	sim_lun_free(l);
}

/* Else it could read what completes between the flush and the read. */
static void fua_read_flushes_only_when_it_holds_its_range(void **state)
{
	struct sim_lun *l = tags_loaded();
	struct sim_req *write = sim_write(l, 2, 1, 1), *read = with_fua(l, TI_REQ_READ, 2, 1);

	(void)state;
	sim_go(l);
	assert_int_equal(sim_count(l->sim, TI_DATA, TI_IO_FLUSH), 0);
	sim_let(l, TI_DATA, TI_IO_WRITE);
	assert_true(write->back);
	sim_let(l, TI_DATA, TI_IO_FLUSH);
	sim_let(l, TI_META, TI_IO_WRITE);
	sim_let(l, TI_META, TI_IO_FLUSH);
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), 2, 1));
	sim_ok(l, read);
	assert_true(sim_holds(l, read, 1));
	sim_lun_free(l);
}

static void fua_read_of_a_clean_pair_flushes_nothing(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write_fua(l, 2, 1, 1));
	sim_forget(l);
	sim_ok(l, with_fua(l, TI_REQ_READ, 2, 1));
	assert_int_equal(sim_started(l, TI_DATA, TI_IO_FLUSH), 0);
	assert_int_equal(sim_started(l, TI_META, TI_IO_FLUSH), 0);
	sim_lun_free(l);
}

static void fua_read_fails_if_its_flush_does(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 2, 1, 1));
	sim_fail(l, TI_DATA, TI_IO_FLUSH, SIM_EVERYWHERE, 1);
	sim_bad(l, with_fua(l, TI_REQ_READ, 2, 1), -EIO, TI_CAUSE_DATA_FLUSH, 2);
	/* Without FUA it is readable all the same, and nobody is kept from writing. */
	sim_reads(l, 2, 1, 1);
	sim_ok(l, sim_write(l, 2, 1, 3));
	sim_lun_free(l);
}

static void plain_read_is_not_flushed(void **state)
{
	struct sim_lun *l = sim_lun_new(NULL);

	(void)state;
	sim_ok(l, sim_write(l, 2, 1, 1));
	sim_reads(l, 2, 1, 1);
	assert_int_equal(sim_stats(l).flush_rounds, 0);
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fua_write_completes_only_after_both_flushes),
		cmocka_unit_test(fua_write_lets_its_range_go_before_its_flush_ends),
		cmocka_unit_test(fua_write_of_many_parts_is_flushed_once_at_its_end),
		cmocka_unit_test(fua_write_same_is_durable),
		cmocka_unit_test(fua_writes_that_complete_together_share_one_round),
		cmocka_unit_test(fua_write_that_completes_during_a_round_waits_for_the_next),
		cmocka_unit_test(fua_write_that_failed_is_not_flushed),
		cmocka_unit_test(plain_write_is_not_flushed),
		cmocka_unit_test(fua_read_is_of_what_is_durable),
		cmocka_unit_test(fua_read_in_mode_journal_is_of_what_is_committed),
		cmocka_unit_test(fua_read_flushes_only_when_it_holds_its_range),
		cmocka_unit_test(fua_read_of_a_clean_pair_flushes_nothing),
		cmocka_unit_test(fua_read_fails_if_its_flush_does),
		cmocka_unit_test(plain_read_is_not_flushed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
