/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * EXTENDED COPY, carried out: over a real engine on files, piece after piece.
 */
#include "disk_fixture.h"

#include "copy_list.h"

#define SERIAL "00000000-0000-0000-0000-000000000001" /* the fake's */

static struct fake_command *copy_command(struct fake_command *c, struct copy_list *l)
{
	*c = (struct fake_command){ .cdb = { 0x83 }, .data = l->raw, .len = list_length(l) };
	ti_put_be32(c->cdb + 10, (uint32_t)c->len);
	return c;
}

static int copy(struct fixture *f, struct copy_list *l, struct fake_command *c)
{
	return fake_run(f->dev, copy_command(c, l));
}

static void expect_blocks(struct fixture *f, uint32_t lba, const uint8_t *wanted, size_t len)
{
	uint8_t seen[64 * 512];

	for (size_t done = 0; done < len;) {
		size_t part = len - done < sizeof(seen) ? len - done : sizeof(seen);

		assert_int_equal(run_rw(f, READ_10, lba + (uint32_t)(done / f->block_size),
					(uint16_t)(part / f->block_size), seen),
				 TCMU_STS_OK);
		assert_memory_equal(seen, wanted + done, part);
		done += part;
	}
}

/* RECEIVE COPY STATUS: returns whether it is known, and then what. */
static bool status_of(struct fixture *f, uint8_t id, uint8_t data[12])
{
	struct fake_command c = { .cdb = { 0x84, 0, id, [13] = 12 }, .data = data, .len = 12 };

	return fake_run(f->dev, &c) == TCMU_STS_OK;
}

#define MANY (1500U * 512U) /* several pieces, the last of another length */

/* Also as the very first command, which teaches the disk, and with no context but its own. */
static void what_is_copied_is_there(void **state)
{
	static uint8_t in[MANY], before[512];
	struct fixture *f = opened(state, 1);
	struct fake_command c;
	struct copy_list l;
	uint8_t status[12];

	begin_list(&l, SERIAL, 512, 2, 7, HOLD);
	add_segment(&l, 0, 4000, 1);
	assert_int_equal(copy(f, &l, &c), TCMU_STS_OK);
	fill(in, sizeof(in), 1);
	fill(before, sizeof(before), 2);
	assert_int_equal(run_rw(f, WRITE_10, 10, 1500, in), TCMU_STS_OK);
	assert_int_equal(run_rw(f, WRITE_10, 2999, 1, before), TCMU_STS_OK);
	assert_int_equal(run_rw(f, WRITE_10, 4500, 1, before), TCMU_STS_OK);
	begin_list(&l, SERIAL, 512, 2, 7, HOLD);
	add_segment(&l, 10, 3000, 1500);
	add_segment(&l, 5, 5, 0);
	add_segment(&l, 3000, 6000, 3);
	assert_int_equal(copy(f, &l, &c), TCMU_STS_OK);
	expect_blocks(f, 3000, in, sizeof(in));
	expect_blocks(f, 10, in, sizeof(in));
	expect_blocks(f, 6000, in, (size_t)3 * 512);
	expect_blocks(f, 2999, before, 512);
	expect_blocks(f, 4500, before, 512);
	assert_true(status_of(f, 7, status));
	assert_memory_equal(status, ((const uint8_t[]){ 0, 0, 0, 8, 1, 0, 3 }), 7);
	assert_int_equal(ti_be32(status + 8), 1503 * 512);
	assert_false(status_of(f, 7, status));
}

static void copies_of_larger_blocks_count_them(void **state)
{
	static uint8_t in[100 * 4096];
	struct fixture *f = *state;
	struct fake_command c;
	struct copy_list l;

	open_with(f, 512, 4096, 0);
	fill(in, sizeof(in), 3);
	assert_int_equal(run_rw(f, WRITE_10, 1, 100, in), TCMU_STS_OK);
	begin_list(&l, SERIAL, 4096, 1, 0, NO_IDENTIFIER);
	add_segment(&l, 1, 300, 100);
	assert_int_equal(copy(f, &l, &c), TCMU_STS_OK);
	for (uint32_t at = 0; at < 100; at += 4)
		expect_blocks(f, 300 + at, in + at * 4096, (size_t)4 * 4096);
}

static void expect_aborted(const struct fake_command *c, unsigned segment, uint16_t asc)
{
	assert_int_equal(c->status, TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(c->sense[0], 0x70);
	assert_int_equal(c->sense[2], 0x0a);
	assert_int_equal(c->sense[12] << 8 | c->sense[13], asc);
	assert_int_equal(ti_be16(c->sense + 10), segment);
}

/* A tag that does not match is not carried away with the data. */
static void a_bad_block_ends_the_copy_and_is_not_copied(void **state)
{
	static uint8_t in[MANY], zeros[512];
	struct fixture *f = opened(state, 0);
	uint8_t details[256], status[12];
	struct fake_command c,
		ask = { .cdb = { 0x84, 4, 9, [12] = 1 }, .data = details, .len = sizeof(details) };
	struct copy_list l;

	fill(in, sizeof(in), 4);
	assert_int_equal(run_rw(f, WRITE_10, 10, 1500, in), TCMU_STS_OK);
	assert_int_equal(run_rw(f, SYNC_10, 0, 0, NULL), TCMU_STS_OK);
	file_pair_damage(f->pair.data, 1300 * 512 + 3, 1);
	begin_list(&l, SERIAL, 512, 1, 9, HOLD);
	add_segment(&l, 10, 2000, 4);
	add_segment(&l, 10, 3000, 1500);
	add_segment(&l, 10, 5000, 4);
	copy(f, &l, &c);
	expect_aborted(&c, 1, 0x0d01);
	assert_int_equal(c.sense[8], 18); /* the source's */
	assert_int_equal(c.sense[9], 0);
	assert_int_equal(c.sense[18], 0x02);
	assert_int_equal(c.sense[19], 0xf0);
	assert_int_equal(c.sense[21], 3);
	assert_int_equal(ti_be32(c.sense + 22), 1300);
	assert_int_equal(c.sense[31], 0x11);
	/* What was before it is done, it is not, and what comes behind has not begun. */
	expect_blocks(f, 2000, in, (size_t)4 * 512);
	expect_blocks(f, 3000, in, (size_t)1024 * 512);
	expect_blocks(f, 3000 + 1290, zeros, 512);
	expect_blocks(f, 5000, zeros, 512);
	assert_true(status_of(f, 9, status));
	assert_memory_equal(status, ((const uint8_t[]){ 0, 0, 0, 8, 2, 0, 2 }), 7);
	assert_int_equal(ti_be32(status + 8), (4 + 1024) * 512);
	assert_int_equal(fake_run(f->dev, &ask), TCMU_STS_OK);
	assert_int_equal(ti_be32(details), 56 + 37);
	assert_int_equal(details[56], 0x02);
	assert_memory_equal(details + 60, c.sense, 37);
}

static void a_copy_beyond_the_end_stops_there(void **state)
{
	static uint8_t in[512];
	struct fixture *f = opened(state, 0);
	uint64_t blocks = f->disk->facts.blocks;
	struct fake_command c;
	struct copy_list l;
	uint8_t status[12];

	fill(in, sizeof(in), 5);
	assert_int_equal(run_rw(f, WRITE_10, 0, 1, in), TCMU_STS_OK);
	begin_list(&l, SERIAL, 512, 1, 3, HOLD);
	add_segment(&l, 0, blocks - 1, 1);
	add_segment(&l, 0, blocks, 1);
	for (unsigned first = 0; first < 2; first++) {
		copy(f, &l, &c);
		expect_aborted(&c, 1 - first, 0);
		assert_true(status_of(f, 3, status));
		assert_int_equal(status[4], 2);
		/* At once, without a request. */
		begin_list(&l, SERIAL, 512, 1, 3, HOLD);
		add_segment(&l, 0, blocks, 1);
	}
	expect_blocks(f, (uint32_t)blocks - 1, in, 512);
	/* Nobody else is reached. */
	cscd_of(&l, 0)[20] ^= 1;
	copy(f, &l, &c);
	expect_aborted(&c, 0, 0x0d02);
	/* Contexts and memory have come back. */
	begin_list(&l, SERIAL, 512, 1, 3, HOLD);
	add_segment(&l, 0, 5, 1);
	for (unsigned i = 0; i < 3 * TI_COPIES; i++)
		assert_int_equal(copy(f, &l, &c), TCMU_STS_OK);
}

static void sense_data_of_a_copy_come_in_the_chosen_format(void **state)
{
	struct fixture *f = opened(state, 0);
	uint8_t list[16] = { [4] = 0x0a, 0x0a, 0x06, 0x10, 0, 0x40, 0, 0, 0xff, 0xff };
	struct fake_command c = { .cdb = { 0x15, 0x10, 0, 0, 16 }, .data = list, .len = 16 };
	struct copy_list l;
	uint8_t block[512] = { 1 };

	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
	assert_int_equal(run_rw(f, WRITE_10, 100, 1, block), TCMU_STS_OK);
	assert_int_equal(run_rw(f, SYNC_10, 0, 0, NULL), TCMU_STS_OK);
	file_pair_damage(f->pair.data, 100 * 512, 1);
	begin_list(&l, SERIAL, 512, 1, 3, DISCARD);
	add_segment(&l, 0, 200, 1);
	add_segment(&l, 100, 300, 1);
	copy(f, &l, &c);
	assert_int_equal(c.status, TCMU_STS_PASSTHROUGH_ERR);
	assert_memory_equal(c.sense, ((const uint8_t[]){ 0x72, 0x0a, 0x0d, 0x01 }), 4);
	assert_int_equal(c.sense[8], 0x01);
	assert_int_equal(c.sense[15], 1); /* segment */
	assert_int_equal(c.sense[20], 0x0c);
	assert_int_equal(c.sense[22], 1);
}

static void a_protected_lun_is_not_copied_to(void **state)
{
	struct fixture *f = opened(state, 0);
	uint8_t list[16] = { [4] = 0x0a, 0x0a, 0x02, 0x10, 0x08, 0x40, 0, 0, 0xff, 0xff };
	struct fake_command c = { .cdb = { 0x15, 0x10, 0, 0, 16 }, .data = list, .len = 16 };
	static uint8_t zeros[512], block[512] = { 1 };
	struct copy_list l;

	assert_int_equal(run_rw(f, WRITE_10, 0, 1, block), TCMU_STS_OK);
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
	begin_list(&l, SERIAL, 512, 1, 3, HOLD);
	add_segment(&l, 0, 200, 1);
	copy(f, &l, &c);
	assert_int_equal(c.status, TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(c.sense[2], 7);
	expect_blocks(f, 200, zeros, 512);
}

/* WCE=0: a copy is durable when it is answered. */
static void a_copy_is_durable_without_a_write_cache(void **state)
{
	struct fixture *f = opened(state, 0);
	uint8_t list[4 + 20] = { [4] = 8, 18 };
	struct fake_command c = { .cdb = { 0x15, 0x10, 0, 0, 24 }, .data = list, .len = 24 };
	struct ti_lun_stats before, after;
	struct copy_list l;

	f->disk->mode.kept = true; /* as if there were a file */
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
	ti_disk_stats(f->disk, &before);
	begin_list(&l, SERIAL, 512, 1, 3, HOLD);
	add_segment(&l, 0, 200, 100);
	assert_int_equal(copy(f, &l, &c), TCMU_STS_OK);
	ti_disk_stats(f->disk, &after);
	assert_true(after.flush_rounds > before.flush_rounds);
}

/* --- several at once --- */

static void copies_and_writes_go_on_side_by_side(void **state)
{
	static uint8_t in[512 * 512], other[8][512];
	struct fixture *f = opened(state, 0);
	struct copy_list l[TI_COPIES];
	struct fake_command c[TI_COPIES], w[8];

	fill(in, sizeof(in), 6);
	assert_int_equal(run_rw(f, WRITE_10, 0, 512, in), TCMU_STS_OK);
	for (unsigned times = 0; times < 20; times++) {
		for (unsigned i = 0; i < TI_COPIES; i++) {
			begin_list(&l[i], SERIAL, 512, 1, (uint8_t)i, HOLD);
			add_segment(&l[i], 0, 600 + 600 * i, 512);
			fake_issue(f->dev, copy_command(&c[i], &l[i]));
		}
		for (unsigned i = 0; i < 8; i++) {
			fill(other[i], 512, times * 8 + i);
			rw(&w[i], WRITE_10, 600 + 600 * i + 512, 1, other[i], 512);
			fake_issue(f->dev, &w[i]);
		}
		for (unsigned i = 0; i < 8; i++) {
			fake_wait(f->dev, &w[i]);
			assert_int_equal(w[i].status, TCMU_STS_OK);
		}
		for (unsigned i = 0; i < TI_COPIES; i++) {
			fake_wait(f->dev, &c[i]);
			assert_int_equal(c[i].status, TCMU_STS_OK);
			expect_blocks(f, 600 + 600 * i, in, sizeof(in));
			expect_blocks(f, 600 + 600 * i + 512, other[i], 512);
		}
	}
}

/* More than there is memory for are sent back, to be tried again; all others are carried out. */
static void too_many_copies_are_told_to_wait(void **state)
{
	static uint8_t in[2000 * 512];
	struct fixture *f = opened(state, 0);
	struct copy_list l[TI_COPIES + 1];
	struct fake_command c[TI_COPIES + 1];
	unsigned refused = 0;

	fill(in, sizeof(in), 7);
	assert_int_equal(run_rw(f, WRITE_10, 0, 2000, in), TCMU_STS_OK);
	/* The monitor is ours meanwhile, and no copy gets ahead. */
	for (unsigned i = 0; i < TI_COPIES; i++)
		f->disk->copies.copy[i].order.segments = 1;
	begin_list(&l[0], SERIAL, 512, 1, 0, HOLD);
	add_segment(&l[0], 0, 3000, 2000);
	assert_int_equal(copy(f, &l[0], &c[0]), TCMU_STS_NO_RESOURCE);
	for (unsigned i = 0; i < TI_COPIES; i++)
		f->disk->copies.copy[i].order.segments = 0;
	for (unsigned i = 0; i <= TI_COPIES; i++) {
		begin_list(&l[i], SERIAL, 512, 1, 0, HOLD);
		add_segment(&l[i], 0, 3000, 2000);
		fake_issue(f->dev, copy_command(&c[i], &l[i]));
	}
	for (unsigned i = 0; i <= TI_COPIES; i++) {
		fake_wait(f->dev, &c[i]);
		if (c[i].status == TCMU_STS_NO_RESOURCE)
			refused++;
		else
			assert_int_equal(c[i].status, TCMU_STS_OK);
	}
	assert_true(refused <= 1);
	expect_blocks(f, 3000, in, sizeof(in));
}

/* Commands in line before it: it does not wait among them. */
static void a_copy_without_a_context_is_told_to_wait(void **state)
{
	static uint8_t data[40][512];
	struct fixture *f = opened(state, 1);
	struct fake_command w[40], c;
	struct copy_list l;
	unsigned refused = 0;

	begin_list(&l, SERIAL, 512, 1, 0, HOLD);
	add_segment(&l, 100, 3000, 1);
	for (unsigned times = 0; times < 50; times++) {
		for (unsigned i = 0; i < 40; i++) {
			rw(&w[i], WRITE_10, i, 1, data[i], 512);
			fake_issue(f->dev, &w[i]);
		}
		if (copy(f, &l, &c) == TCMU_STS_NO_RESOURCE)
			refused++;
		else
			assert_int_equal(c.status, TCMU_STS_OK);
		for (unsigned i = 0; i < 40; i++) {
			fake_wait(f->dev, &w[i]);
			assert_int_equal(w[i].status, TCMU_STS_OK);
		}
	}
	assert_true(refused > 0);
	assert_int_equal(copy(f, &l, &c), TCMU_STS_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_copied_is_there),
		TEST(copies_of_larger_blocks_count_them),
		TEST(a_bad_block_ends_the_copy_and_is_not_copied),
		TEST(a_copy_beyond_the_end_stops_there),
		TEST(sense_data_of_a_copy_come_in_the_chosen_format),
		TEST(a_protected_lun_is_not_copied_to),
		TEST(a_copy_is_durable_without_a_write_cache),
		TEST(copies_and_writes_go_on_side_by_side),
		TEST(too_many_copies_are_told_to_wait),
		TEST(a_copy_without_a_context_is_told_to_wait),
	};

	return RUN_TESTS(tests);
}
