/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What the initiator gets of its buffer: answers that are shorter, and of a read that failed what
 * lies before the bad block.  The fake kernel takes lengths and ids from the ring, as the real one.
 */
#include "disk_fixture.h"

static struct fixture *with_ring(void **state, unsigned contexts)
{
	struct fixture *f = *state;

	f->ring = true;
	open_with(f, 512, 512, contexts);
	return f;
}

static void a_damaged_block_is_reported_by_its_address(void **state)
{
	struct fixture *f = with_ring(state, 0);
	uint8_t data[32 * 512], good[32 * 512];
	struct fake_command c;

	fill(good, sizeof(good), 6);
	assert_int_equal(run_rw(f, WRITE_10, 100, 32, good), TCMU_STS_OK);
	assert_int_equal(run_rw(f, SYNC_10, 0, 0, NULL), TCMU_STS_OK);
	file_pair_damage(f->pair.data, 117 * 512 + 3, 1);
	for (unsigned i = 0; i < 2; i++) {
		memset(data, 0, sizeof(data));
		rw(&c, READ_10, 100, 32, data, sizeof(data));
		assert_int_equal(fake_run(f->dev, &c), TCMU_STS_PASSTHROUGH_ERR);
		assert_int_equal(c.sense[0], 0xf0);
		assert_int_equal(c.sense[2], 3);
		assert_int_equal(ti_be32(c.sense + 3), 117);
		assert_int_equal(c.sense[12], 0x11);
		/* The initiator takes these for good. */
		assert_int_equal(c.answer, 17 * 512);
		assert_memory_equal(data, good, 17 * 512);
	}
	rw(&c, READ_10, 117, 15, data, 15 * 512);
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(ti_be32(c.sense + 3), 117);
	assert_int_equal(c.answer, 0);
	/* The LUN goes on, and writing mends. */
	assert_int_equal(run_rw(f, READ_10, 100, 17, data), TCMU_STS_OK);
	assert_int_equal(run_rw(f, READ_10, 118, 14, data), TCMU_STS_OK);
	assert_int_equal(run_rw(f, WRITE_10, 117, 1, data), TCMU_STS_OK);
	assert_int_equal(run_rw(f, READ_10, 100, 32, data), TCMU_STS_OK);
	assert_true(fake_will_log("tag mismatch"));
}

static void addresses_in_sense_data_count_blocks_of_the_lun(void **state)
{
	struct fixture *f = *state;
	uint8_t data[4 * 4096];
	struct fake_command c;

	f->ring = true;
	open_with(f, 512, 4096, 0);
	fill(data, sizeof(data), 7);
	assert_int_equal(run_rw(f, WRITE_10, 8, 4, data), TCMU_STS_OK);
	file_pair_damage(f->pair.data, 10 * 4096 + 512 * 5, 1);
	rw(&c, READ_10, 8, 4, data, sizeof(data));
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(ti_be32(c.sense + 3), 10);
	assert_int_equal(c.answer, 2 * 4096);
}

/* Linux' sd would take what was in its memory for the blocks before the bad one. */
static void no_address_is_named_if_the_blocks_before_it_cannot_be_sent(void **state)
{
	struct fixture *f = opened(state, 0); /* without a ring nothing can be told */
	uint8_t data[32 * 512];
	struct fake_command c;

	fill(data, sizeof(data), 5);
	assert_int_equal(run_rw(f, WRITE_10, 100, 32, data), TCMU_STS_OK);
	file_pair_damage(f->pair.data, 117 * 512 + 3, 1);
	rw(&c, READ_10, 100, 32, data, sizeof(data));
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(c.sense[0], 0x70);
	assert_int_equal(c.sense[2], 3);
	assert_int_equal(ti_be32(c.sense + 3), 0);
	assert_int_equal(c.sense[12], 0x11);
	rw(&c, READ_10, 117, 1, data, 512);
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(c.sense[0], 0xf0);
	assert_int_equal(ti_be32(c.sense + 3), 117);
}

static void the_initiator_is_told_how_much_of_its_buffer_is_filled(void **state)
{
	struct fixture *f = with_ring(state, 0);
	uint8_t data[4096], in[512];
	struct fake_command inquiry = { .cdb = { 0x12, [4] = 255 }, .data = data, .len = 255 };
	struct fake_command c;

	assert_int_equal(fake_run(f->dev, &inquiry), TCMU_STS_OK);
	assert_int_equal(inquiry.answer, 5 + data[4]);
	fill(in, sizeof(in), 8);
	assert_int_equal(run_rw(f, WRITE_10, 9, 1, in), TCMU_STS_OK);
	for (size_t len = 612; len <= sizeof(data); len += 100) {
		memset(data, 0x77, sizeof(data));
		rw(&c, READ_10, 9, 1, data, len);
		assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
		assert_int_equal(c.answer, 512);
		assert_memory_equal(data, in, 512);
		assert_int_equal(data[512], 0x77);
	}
}

static void commands_without_data_leave_nothing_of_others_in_the_buffer(void **state)
{
	struct fixture *f = with_ring(state, 0);
	uint8_t data[512];
	/* TEST UNIT READY, PRE-FETCH, SYNCHRONIZE CACHE, VERIFY */
	static const uint8_t cdbs[][10] = { { 0x00 }, { 0x34 }, { 0x35 }, { 0x2f, [8] = 4 } };

	for (unsigned i = 0; i < sizeof(cdbs) / sizeof(cdbs[0]); i++) {
		struct fake_command c = { .data = data, .len = sizeof(data) };

		memcpy(c.cdb, cdbs[i], sizeof(cdbs[i]));
		memset(data, 0x77, sizeof(data));
		assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
		for (size_t at = 0; at < sizeof(data); at++)
			assert_int_equal(data[at], 0);
	}
}

static void the_first_command_may_have_a_longer_buffer(void **state)
{
	struct fixture *f = with_ring(state, 0);
	uint8_t data[1000];
	struct fake_command c;

	rw(&c, READ_10, 0, 1, data, sizeof(data));
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
	assert_int_equal(c.answer, 512);
}

/* Each response says its own command's length, whoever completes it and in whichever entry. */
static void lengths_stay_with_their_commands(void **state)
{
	struct fixture *f = with_ring(state, 3); /* few contexts: commands wait, too */
	static uint8_t data[FAKE_ISSUE_MAX][4096];
	struct fake_command c[FAKE_ISSUE_MAX];
	unsigned seed = 9;

	for (unsigned round = 0; round < 1000; round++) {
		size_t expected[FAKE_ISSUE_MAX];

		for (unsigned i = 0; i < FAKE_ISSUE_MAX; i++) {
			expected[i] = (i % 3 + 1) * 512U;
			rw(&c[i], READ_10, i, (uint16_t)(i % 3 + 1), data[i], expected[i]);
			switch (rand_r(&seed) % 4) {
			case 0:
				c[i].len = sizeof(data[i]);
				break;
			case 1:
				c[i] = (struct fake_command){ .cdb = { 0x12, [4] = 10 },
							      .data = data[i],
							      .len = 20 };
				expected[i] = 10;
				break;
			case 2:
				c[i].cdb[0] = WRITE_10;
				break;
			}
		}
		fake_issue_all(f->dev, c, FAKE_ISSUE_MAX);
		for (unsigned i = 0; i < FAKE_ISSUE_MAX; i++) {
			fake_wait(f->dev, &c[i]);
			assert_int_equal(c[i].status, TCMU_STS_OK);
			assert_int_equal(c[i].answer, expected[i]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_damaged_block_is_reported_by_its_address),
		TEST(addresses_in_sense_data_count_blocks_of_the_lun),
		TEST(no_address_is_named_if_the_blocks_before_it_cannot_be_sent),
		TEST(the_initiator_is_told_how_much_of_its_buffer_is_filled),
		TEST(commands_without_data_leave_nothing_of_others_in_the_buffer),
		TEST(the_first_command_may_have_a_longer_buffer),
		TEST(lengths_stay_with_their_commands),
	};

	return RUN_TESTS(tests);
}
