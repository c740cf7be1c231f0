/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * MODE SELECT while commands are under way.
 *
 * WCE=0: each write is durable before it is answered, also one that began before MODE SELECT.
 * Nobody would flush for it later: the initiator knows of no cache any more.  SWP=1: what changes
 * one range after the other does not go on.
 */
#include "disk_fixture.h"

#include <errno.h>

#include "copy_list.h"
#include "gate_queue.h"
#include "journal.h"
#include "lun_internal.h"

#define SERIAL	 "00000000-0000-0000-0000-000000000001" /* the fake's */
#define MAX_DATA (2U << 20)

static struct fixture *fixture; /* for what the gate calls */
static unsigned flushes, flushes_without_bit;

static void flush_begins(void)
{
	flushes++;
	if (!(ti_select_bits(&fixture->disk->mode) & TI_SELECT_DURABLE))
		flushes_without_bit++;
}

static struct fixture *cached_with(void **state, unsigned contexts)
{
	struct fixture *f = opened(state, contexts);

	fixture = f;
	f->disk->mode.kept = true; /* as if there were a file */
	/* The first flush covers what somebody else may have written. */
	assert_int_equal(run_rw(f, SYNC_10, 0, 0, NULL), TCMU_STS_OK);
	return f;
}

static struct fixture *cached(void **state)
{
	return cached_with(state, 0);
}

static void shut_gate_after(struct fixture *f, unsigned passes)
{
	pthread_mutex_lock(&f->disk->lock);
	gate.shut = true;
	gate.passes = passes;
	pthread_mutex_unlock(&f->disk->lock);
}

static void open_gate(struct fixture *f, bool flushes_fail)
{
	pthread_mutex_lock(&f->disk->lock);
	gate.shut = false;
	gate.flushes_fail = flushes_fail;
	pthread_mutex_unlock(&f->disk->lock);
	ti_lun_wake(f->disk->lun);
}

static int select_wce(struct fixture *f, bool on)
{
	uint8_t list[4 + 20] = { [4] = 8, 18, on ? 0x04 : 0 };
	struct fake_command c = { .cdb = { 0x15, 0x10, 0, 0, sizeof(list) },
				  .data = list,
				  .len = sizeof(list) };

	return fake_run(f->dev, &c);
}

static void swp_command(struct fake_command *c, uint8_t list[16], bool on)
{
	const uint8_t page[16] = { [4] = 0x0a, 0x0a, 0x02, 0x10, on ? 0x08 : 0,
				   0x40,       0,    0,	   0xff, 0xff };

	memcpy(list, page, sizeof(page));
	*c = (struct fake_command){ .cdb = { 0x15, 0x10, 0, 0, sizeof(page) },
				    .data = list,
				    .len = sizeof(page) };
}

static int select_swp(struct fixture *f, bool on)
{
	struct fake_command c;
	uint8_t list[16];

	swp_command(&c, list, on);
	return fake_run(f->dev, &c);
}

static void forget_wce(struct fixture *f)
{
	pthread_mutex_lock(&f->disk->lock);
	*f->disk->mode.bits = 0;
	pthread_mutex_unlock(&f->disk->lock);
}

/* While nothing is under way: would anything be lost with the devices' caches, or the memory? */
static bool is_volatile(struct fixture *f)
{
	const struct ti_lun *lun = f->disk->lun;
	const struct ti_journal *j = lun->journal;
	struct ti_lun_stats stats;
	bool anything;

	pthread_mutex_lock(&f->disk->lock);
	ti_lun_get_stats(lun, &stats);
	if (j != NULL) /* what has been committed, it keeps until it is durable elsewhere */
		anything = j->filled > 0 || j->committing > 0 ||
			   lun->flusher.discards > j->discards_flushed;
	else
		anything = gate.durable[TI_DATA] < gate.completed[TI_DATA] ||
			   gate.durable[TI_META] < gate.completed[TI_META] ||
			   stats.tag_lines_dirty > 0;
	pthread_mutex_unlock(&f->disk->lock);
	return anything;
}

/* --- commands that change something, each with blocks of its own --- */

static uint8_t data[MAX_DATA];
static struct copy_list copies;

static void write_10(struct fake_command *c)
{
	rw(c, WRITE_10, 0, 8, data, 8 * 512);
}

static void write_and_verify(struct fake_command *c)
{
	rw(c, 0x2e, 8, 8, data, 8 * 512);
}

static void write_same(struct fake_command *c)
{
	rw(c, 0x41, 16, 8, data, 512);
}

static void compare_and_write(struct fake_command *c)
{
	memset(data, 0, 512);
	*c = (struct fake_command){ .cdb = { 0x89, [9] = 24, [13] = 1 },
				    .data = data,
				    .len = 1024 };
}

static void or_write(struct fake_command *c)
{
	*c = (struct fake_command){ .cdb = { 0x8b, [9] = 32, [13] = 8 },
				    .data = data,
				    .len = 4096 };
}

static void unmap(struct fake_command *c)
{
	uint8_t *list = data;

	*c = (struct fake_command){ .cdb = { 0x42, [8] = 8 + 3 * 16 },
				    .data = list,
				    .len = 8 + 3 * 16 };
	memset(list, 0, c->len);
	ti_put_be16(list + 2, 3 * 16);
	for (unsigned n = 0; n < 3; n++) {
		ti_put_be64(list + 8 + 16 * n, 64 + 16 * n);
		ti_put_be32(list + 8 + 16 * n + 8, 8);
	}
}

static void write_same_unmap(struct fake_command *c)
{
	rw(c, 0x41, 128, 8, data, 512);
	c->cdb[1] = 0x08;
}

/* Three pieces in two segments. */
static void extended_copy(struct fake_command *c)
{
	begin_list(&copies, SERIAL, 512, 1, 3, HOLD);
	add_segment(&copies, 1000, 2000, 600);
	add_segment(&copies, 1000, 3000, 8);
	*c = (struct fake_command){ .cdb = { 0x83 },
				    .data = copies.raw,
				    .len = list_length(&copies) };
	ti_put_be32(c->cdb + 10, (uint32_t)c->len);
}

static const struct {
	const char *name;
	void (*make)(struct fake_command *c);
	unsigned passes; /* of the data device, before the one that is kept back */
	bool always;	 /* durable, whatever WCE is */
} commands[] = {
	{ "WRITE", write_10, 0, false },
	{ "WRITE AND VERIFY", write_and_verify, 0, true },
	{ "WRITE SAME", write_same, 0, false },
	{ "COMPARE AND WRITE", compare_and_write, 0, false },
	{ "COMPARE AND WRITE, while it writes", compare_and_write, 1, false },
	{ "ORWRITE", or_write, 0, false },
	{ "UNMAP", unmap, 0, false },
	{ "UNMAP, the second range", unmap, 1, false },
	{ "WRITE SAME, UNMAP", write_same_unmap, 0, false },
	{ "EXTENDED COPY, while it reads", extended_copy, 0, false },
	{ "EXTENDED COPY, while it writes", extended_copy, 1, false },
	{ "EXTENDED COPY, its last piece", extended_copy, 5, false },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* The data device keeps each of them until MODE SELECT has been answered.  In mode journal only
 * those stay under way that read it first, or discard; the others are covered by MODE SELECT. */
static void what_is_under_way_at_wce_0_is_durable_when_it_is_answered(void **state)
{
	struct fixture *f = cached(state);

	for (size_t i = 0; i < COMMANDS; i++) {
		for (unsigned wce = 2; wce-- > 0;) {
			struct fake_command c;
			bool waited;

			fill(data, sizeof(data), (unsigned)i);
			assert_int_equal(run_rw(f, WRITE_10, 24, 1, (uint8_t[512]){ 0 }),
					 TCMU_STS_OK);
			assert_int_equal(run_rw(f, SYNC_10, 0, 0, NULL), TCMU_STS_OK);
			shut_gate_after(f, commands[i].passes);
			commands[i].make(&c);
			fake_issue(f->dev, &c);
			if (!wce)
				assert_int_equal(select_wce(f, false), TCMU_STS_OK);
			waited = fake_outstanding(f->dev) > 0;
			open_gate(f, false);
			fake_wait(f->dev, &c);
			assert_int_equal(c.status, TCMU_STS_OK);
			if (!wce && is_volatile(f))
				fail_msg("%s is answered, and volatile", commands[i].name);
			/* Else the other has shown nothing. */
			if (wce && !commands[i].always && !is_volatile(f))
				fail_msg("%s is durable without WCE=0", commands[i].name);
			assert_true(waited || f->disk->lun->journal != NULL);
			forget_wce(f);
		}
	}
}

/* They wait for a range, or for a context behind others. */
static void what_waits_at_wce_0_is_durable_when_it_is_answered(void **state)
{
	struct fixture *f = cached(state);
	struct fake_command c[8];

	shut_gate_after(f, 0);
	for (unsigned i = 0; i < 8; i++) {
		/* ORWRITE: reads first, in every mode. */
		c[i] = (struct fake_command){ .cdb = { 0x8b, [9] = 8, [13] = 8 },
					      .data = data,
					      .len = 4096 };
		fake_issue(f->dev, &c[i]);
	}
	assert_int_equal(select_wce(f, false), TCMU_STS_OK);
	assert_int_equal(fake_outstanding(f->dev), 8);
	open_gate(f, false);
	for (unsigned i = 0; i < 8; i++) {
		fake_wait(f->dev, &c[i]);
		assert_int_equal(c[i].status, TCMU_STS_OK);
	}
	assert_false(is_volatile(f));
}

/* What had been answered is MODE SELECT's to flush, and nobody slips in between. */
static void mode_select_flushes_what_was_answered_with_the_bit_set(void **state)
{
	struct fixture *f = cached(state);

	fill(data, 4096, 1);
	assert_int_equal(run_rw(f, WRITE_10, 0, 8, data), TCMU_STS_OK);
	pthread_mutex_lock(&f->disk->lock);
	flushes = flushes_without_bit = 0;
	gate.flush_begins = flush_begins;
	pthread_mutex_unlock(&f->disk->lock);
	assert_int_equal(select_wce(f, false), TCMU_STS_OK);
	assert_false(is_volatile(f));
	assert_int_equal(flushes_without_bit, 0);
}

/* Once only: those that begin later are durable by themselves. */
static void writes_after_wce_0_are_flushed_once(void **state)
{
	struct fixture *f = cached(state);
	struct ti_lun_stats before, after;

	assert_int_equal(select_wce(f, false), TCMU_STS_OK);
	ti_disk_stats(f->disk, &before);
	assert_int_equal(run_rw(f, WRITE_10, 0, 8, data), TCMU_STS_OK);
	ti_disk_stats(f->disk, &after);
	assert_int_equal(after.flushes, before.flushes);
	assert_false(is_volatile(f));
}

/* The pair's caches have lost something, and its close says so. */
static void close_badly(struct fixture *f)
{
	assert_int_equal(ti_disk_close(f->disk), -EIO);
	f->disk = NULL;
}

static void a_flush_that_fails_fails_the_write(void **state)
{
	struct fixture *f = cached(state);
	struct fake_command c;

	shut_gate_after(f, 0);
	or_write(&c); /* reads first: under way in either mode */
	fake_issue(f->dev, &c);
	assert_int_equal(select_wce(f, false), TCMU_STS_OK);
	open_gate(f, true);
	fake_wait(f->dev, &c);
	assert_int_equal(c.status, TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(c.sense[0], 0x70); /* no address: nowhere in particular */
	assert_int_equal(c.sense[2], 0x04);
	assert_int_equal(c.sense[12] << 8 | c.sense[13], 0x4400);
	close_badly(f);
}

/* By its destination, with that sense key and that code. */
static void expect_copy_aborted(const struct fake_command *c, unsigned key, unsigned asc)
{
	assert_int_equal(c->status, TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(c->sense[2], 0x0a);
	assert_int_equal(c->sense[12] << 8 | c->sense[13], 0x0d01);
	assert_int_equal(c->sense[9], 18); /* the destination's */
	assert_int_equal(c->sense[21], key);
	assert_int_equal(c->sense[31] << 8 | c->sense[32], asc);
}

static void a_flush_that_fails_ends_the_copy(void **state)
{
	struct fixture *f = cached(state);
	struct fake_command c;

	shut_gate_after(f, 1);
	extended_copy(&c);
	fake_issue(f->dev, &c);
	assert_int_equal(select_wce(f, false), TCMU_STS_OK);
	assert_int_equal(fake_outstanding(f->dev), 1);
	open_gate(f, true);
	fake_wait(f->dev, &c);
	expect_copy_aborted(&c, 0x04, 0x4400);
	assert_int_equal(c.sense[18], 0x02);
	close_badly(f);
}

/* Mode direct.  Linux' sd takes what lies before the address for written, and so for durable. */
static void a_write_that_fails_after_wce_0_names_no_block_behind_its_first(void **state)
{
	struct fixture *f = cached(state);

	for (unsigned wce = 2; wce-- > 0;) {
		struct fake_command c;

		shut_gate_after(f, 0);
		gate.bad_offset = 3000 * 512;
		rw(&c, WRITE_10, 0, MAX_DATA / 512, data, MAX_DATA);
		fake_issue(f->dev, &c);
		if (!wce)
			assert_int_equal(select_wce(f, false), TCMU_STS_OK);
		open_gate(f, false);
		fake_wait(f->dev, &c);
		assert_int_equal(c.status, TCMU_STS_PASSTHROUGH_ERR);
		assert_int_equal(c.sense[2], 0x03);
		assert_int_equal(c.sense[12] << 8 | c.sense[13], 0x0c00);
		assert_int_equal(c.sense[0], wce ? 0xf0 : 0x70);
		assert_int_equal(ti_be32(c.sense + 3), wce ? 2048 : 0);
	}
}

static void expect_zeroes(struct fixture *f, uint32_t lba, uint16_t blocks)
{
	uint8_t seen[8 * 512];

	assert_int_equal(run_rw(f, READ_10, lba, blocks, seen), TCMU_STS_OK);
	for (size_t i = 0; i < (size_t)blocks * 512; i++)
		assert_int_equal(seen[i], 0);
}

static void swp_1_ends_a_copy_before_its_next_write(void **state)
{
	struct fixture *f = cached(state);
	struct fake_command c;

	fill(data, 600 * 512, 1);
	assert_int_equal(run_rw(f, WRITE_10, 1000, 600, data), TCMU_STS_OK);
	assert_int_equal(run_rw(f, SYNC_10, 0, 0, NULL), TCMU_STS_OK);
	shut_gate_after(f, 0);
	extended_copy(&c);
	fake_issue(f->dev, &c);
	assert_int_equal(select_swp(f, true), TCMU_STS_OK);
	assert_int_equal(fake_outstanding(f->dev), 1);
	open_gate(f, false);
	fake_wait(f->dev, &c);
	expect_copy_aborted(&c, 0x07, 0x2702);
	assert_int_equal(ti_be16(c.sense + 10), 0); /* the segment */
	expect_zeroes(f, 2000, 8);
	expect_zeroes(f, 3000, 8);
}

static void swp_1_ends_an_unmap_before_its_next_range(void **state)
{
	struct fixture *f = cached(state);
	uint8_t status[24];
	struct fake_command c, ask = { .cdb = { 0x9e, 0x12, [9] = 80, [13] = sizeof(status) },
				       .data = status,
				       .len = sizeof(status) };

	shut_gate_after(f, 0);
	unmap(&c);
	fake_issue(f->dev, &c);
	assert_int_equal(select_swp(f, true), TCMU_STS_OK);
	assert_int_equal(fake_outstanding(f->dev), 1);
	open_gate(f, false);
	fake_wait(f->dev, &c);
	assert_int_equal(c.status, TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(c.sense[2], 0x07);
	assert_int_equal(fake_run(f->dev, &ask), TCMU_STS_OK);
	assert_int_equal(status[20], 0); /* mapped */
	ask.cdb[9] = 64;
	assert_int_equal(fake_run(f->dev, &ask), TCMU_STS_OK);
	assert_int_equal(status[20], 1); /* the first range is gone */
}

/* It is decoded twice, and a later one is answered in between. */
static void a_mode_select_that_waits_takes_back_no_later_one(void **state)
{
	struct fixture *f = cached_with(state, 1);
	uint8_t list[16];
	struct fake_command c, first;

	shut_gate_after(f, 0);
	or_write(&c);
	fake_issue(f->dev, &c);
	swp_command(&first, list, true);
	fake_issue(f->dev, &first);
	assert_int_equal(fake_outstanding(f->dev), 2);
	assert_int_equal(select_swp(f, false), TCMU_STS_OK);
	open_gate(f, false);
	fake_wait(f->dev, &c);
	fake_wait(f->dev, &first);
	assert_int_equal(c.status, TCMU_STS_OK);
	assert_int_equal(first.status, TCMU_STS_OK);
	assert_int_equal(ti_select_bits(&f->disk->mode) & TI_SELECT_SWP, 0);
	write_10(&c);
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
}

int main(void)
{
	static const char *const modes[] = { ";mode=direct;allow_discards=1;commit_time=3600000",
					     ";mode=journal;allow_discards=1;commit_time=3600000" };
	const struct CMUnitTest tests[] = {
		TEST(what_is_under_way_at_wce_0_is_durable_when_it_is_answered),
		TEST(what_waits_at_wce_0_is_durable_when_it_is_answered),
		TEST(mode_select_flushes_what_was_answered_with_the_bit_set),
		TEST(writes_after_wce_0_are_flushed_once),
		TEST(a_flush_that_fails_fails_the_write),
		TEST(a_flush_that_fails_ends_the_copy),
		TEST(swp_1_ends_a_copy_before_its_next_write),
		TEST(swp_1_ends_an_unmap_before_its_next_range),
		TEST(a_mode_select_that_waits_takes_back_no_later_one),
	};
	const struct CMUnitTest direct[] = {
		TEST(a_write_that_fails_after_wce_0_names_no_block_behind_its_first),
	};
	int failed = 0;

	for (unsigned i = 0; i < 2; i++) {
		backend_option = modes[i];
		failed += cmocka_run_group_tests(tests, NULL, NULL);
	}
	backend_option = modes[0];
	failed += cmocka_run_group_tests(direct, NULL, NULL);
	return failed;
}
