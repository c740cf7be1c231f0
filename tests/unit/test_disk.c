/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Commands through handle_cmd(), ->flush() and the core's callouts, over a real engine on files,
 * with the completion thread beside the command thread.  The fake runner aborts when a command is
 * completed twice or before it may be.
 */
#include "disk.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "disk_fixture.h"

#define MAX_DATA (256U * 512U)

static void what_is_written_is_read(void **state)
{
	struct fixture *f = opened(state, 0);
	uint8_t in[64 * 512], out[64 * 512];

	fill(in, sizeof(in), 1);
	assert_int_equal(run_rw(f, WRITE_10, 5, 64, in), TCMU_STS_OK);
	assert_int_equal(run_rw(f, READ_10, 5, 64, out), TCMU_STS_OK);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(run_rw(f, SYNC_10, 0, 0, NULL), TCMU_STS_OK);
	assert_int_equal(run_rw(f, READ_10, 5 + 64, 1, out), TCMU_STS_OK); /* formatted: zeroes */
	assert_int_equal(out[0] | out[511], 0);
	/* The core's own still reach it. */
	assert_int_equal(fake_run(f->dev, &(struct fake_command){ .cdb = { 0x00 } }), TCMU_STS_OK);
	assert_int_equal(fake_run(f->dev, &(struct fake_command){ .cdb = { 0xa3, 0x0a } }),
			 TCMU_STS_NOT_HANDLED);
}

static void compare_and_write_tells_where_it_differs(void **state)
{
	struct fixture *f = opened(state, 0);
	uint8_t data[2 * 3 * 512], out[3 * 512];
	struct fake_command c = { .cdb = { 0x89, [9] = 7, [13] = 3 },
				  .data = data,
				  .len = sizeof(data) };

	memset(data, 0, sizeof(data) / 2);
	fill(data + sizeof(data) / 2, sizeof(data) / 2, 1);
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
	assert_int_equal(run_rw(f, READ_10, 7, 3, out), TCMU_STS_OK);
	assert_memory_equal(out, data + sizeof(data) / 2, sizeof(out));
	memcpy(data, out, sizeof(out));
	data[1000] ^= 1;
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(c.sense[0], 0xf0);
	assert_int_equal(c.sense[2], 0x0e);
	assert_int_equal(c.sense[12] << 8 | c.sense[13], 0x1d00);
	assert_int_equal(ti_be32(c.sense + 3), 1000);
}

/* Several ranges, one command; and what GET LBA STATUS says of them, over the real engine. */
static void unmap_discards_range_after_range(void **state)
{
	struct fixture *f = *state;
	uint8_t in[64 * 512], list[8 + 3 * 16] = { 0 }, status[24];
	struct fake_command unmap = { .cdb = { 0x42, [8] = sizeof(list) },
				      .data = list,
				      .len = sizeof(list) };
	const char *before = backend_option;
	char option[64];

	(void)snprintf(option, sizeof(option), "%s;allow_discards=1", before);
	backend_option = option;
	(void)opened(state, 1); /* one context: the ranges get by with it */
	backend_option = before;
	fill(in, sizeof(in), 1);
	assert_int_equal(run_rw(f, WRITE_10, 0, 64, in), TCMU_STS_OK);
	ti_put_be16(list + 2, 3 * 16);
	for (unsigned n = 0; n < 3; n++) {
		ti_put_be64(list + 8 + 16 * n, 8 + 16 * n);
		ti_put_be32(list + 8 + 16 * n + 8, 8);
	}
	assert_int_equal(fake_run(f->dev, &unmap), TCMU_STS_OK);
	for (uint8_t lba = 0; lba < 48; lba += 8) {
		struct fake_command c = { .cdb = { 0x9e, 0x12, [9] = lba, [13] = 24 },
					  .data = status,
					  .len = sizeof(status) };

		assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
		assert_int_equal(ti_be64(status + 8), lba);
		assert_int_equal(ti_be32(status + 16), 8);
		assert_int_equal(status[20], lba / 8 % 2);
	}
	/* Whatever the file has, and no mismatch. */
	assert_int_equal(run_rw(f, READ_10, 0, 64, in), TCMU_STS_OK);
	/* A list with a bad range discards nothing. */
	ti_put_be64(list + 8 + 32, UINT32_MAX);
	assert_int_equal(fake_run(f->dev, &unmap), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(unmap.sense[12], 0x21);
}

static void d_sense_changes_the_format_of_all_sense_data(void **state)
{
	struct fixture *f = opened(state, 0);
	uint8_t list[16] = { [4] = 0x0a, 0x0a, 0x06, 0x10, 0, 0x40, 0, 0, 0xff, 0xff };
	struct fake_command c = { .cdb = { 0x15, 0x10, 0, 0, 16 }, .data = list, .len = 16 };
	uint8_t block[512];
	struct fake_command bad = { .cdb = { 0x28, [2] = 0xff, [8] = 1 },
				    .data = block,
				    .len = sizeof(block) };

	struct fake_command far = { .cdb = { 0x88, [13] = 1 }, .data = block, .len = 512 };

	assert_int_equal(fake_run(f->dev, &bad), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(bad.sense[0], 0xf0);
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
	assert_int_equal(fake_run(f->dev, &bad), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(bad.sense[0], 0x72);
	assert_int_equal(bad.sense[1], 5);
	assert_int_equal(bad.sense[2], 0x21);
	assert_int_equal(bad.sense[7], 12);
	assert_int_equal(ti_be32(bad.sense + 16), 0xff000000);
	/* Back; an address that does not fit is left out. */
	list[6] = 0x02;
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
	far.cdb[2] = 0xff;
	assert_int_equal(fake_run(f->dev, &far), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(far.sense[0], 0x70);
	assert_int_equal(far.sense[12], 0x21);
	assert_int_equal(ti_be32(far.sense + 3), 0);
	list[6] = 0x06;
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
	assert_int_equal(fake_run(f->dev, &far), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(far.sense[0], 0x72);
	assert_int_equal(far.sense[12], 0xff);
	bad.cdb[1] = 0x20; /* RDPROTECT: a field pointer instead */
	assert_int_equal(fake_run(f->dev, &bad), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(bad.sense[0], 0x72);
	assert_int_equal(bad.sense[7], 8);
	assert_int_equal(bad.sense[8], 2);
	assert_int_equal(bad.sense[12], 0xcf);
	assert_int_equal(bad.sense[14], 1);
}

static void software_write_protect_stops_writes(void **state)
{
	struct fixture *f = opened(state, 0);
	uint8_t list[16] = { [4] = 0x0a, 0x0a, 0x02, 0x10, 0x08, 0x40, 0, 0, 0xff, 0xff };
	struct fake_command c = { .cdb = { 0x15, 0x10, 0, 0, 16 }, .data = list, .len = 16 };
	uint8_t block[512] = { 1 }, sense[24];
	struct fake_command write = { .cdb = { 0x2a, [8] = 1 }, .data = block, .len = 512 };
	struct fake_command mode = { .cdb = { 0x1a, 0, 0x0a, 0, 24 }, .data = sense, .len = 24 };

	assert_int_equal(fake_run(f->dev, &write), TCMU_STS_OK);
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
	block[0] = 2;
	assert_int_equal(fake_run(f->dev, &write), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(write.sense[2], 7);
	assert_int_equal(write.sense[12] << 8 | write.sense[13], 0x2702);
	assert_int_equal(fake_run(f->dev, &mode), TCMU_STS_OK);
	assert_int_equal(sense[2], 0x90);
	assert_int_equal(run_rw(f, READ_10, 0, 1, block), TCMU_STS_OK);
	assert_int_equal(block[0], 1);
	assert_int_equal(run_rw(f, SYNC_10, 0, 0, NULL), TCMU_STS_OK);
	list[8] = 0;
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
	assert_int_equal(fake_run(f->dev, &write), TCMU_STS_OK);
}

static uint64_t flush_rounds(struct fixture *f)
{
	struct ti_lun_stats stats;

	pthread_mutex_lock(&f->disk->lock);
	ti_lun_get_stats(f->disk->lun, &stats);
	pthread_mutex_unlock(&f->disk->lock);
	return stats.flush_rounds;
}

/* Software write protect, which flushes when it is switched on. */
static void protect(struct fake_command *c, uint8_t list[16], bool on)
{
	const uint8_t page[16] = { [4] = 0x0a, 0x0a, 0x02, 0x10, on ? 0x08 : 0,
				   0x40,       0,    0,	   0xff, 0xff };

	memcpy(list, page, sizeof(page));
	*c = (struct fake_command){ .cdb = { 0x15, 0x10, 0, 0, 16 },
				    .data = list,
				    .len = sizeof(page) };
}

/* A command that comes first, or that waits for a context, is decoded twice. */
static void mode_select_flushes_also_when_it_comes_first(void **state)
{
	struct fixture *f = opened(state, 0);
	struct fake_command c;
	uint8_t list[16];

	protect(&c, list, true);
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
	assert_int_equal(flush_rounds(f), 1);
}

static void mode_select_flushes_also_when_it_has_waited(void **state)
{
	struct fixture *f = opened(state, 1);
	struct fake_command write[40], c;
	uint8_t block[512] = { 0 }, list[16];

	for (unsigned times = 0; times < 5; times++) {
		uint64_t before;

		protect(&c, list, false);
		assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
		before = flush_rounds(f);
		for (unsigned i = 0; i < 40; i++) {
			rw(&write[i], WRITE_10, i, 1, block, sizeof(block));
			fake_issue(f->dev, &write[i]);
		}
		protect(&c, list, true);
		assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
		assert_int_equal(flush_rounds(f), before + 1);
		for (unsigned i = 0; i < 40; i++)
			fake_wait(f->dev, &write[i]);
	}
}

/* CDBs of 6, 12 and 16 bytes: each kind as the first command, which learns, and as a later one. */
static void every_kind_of_cdb_may_come_first(void **state)
{
	static const uint8_t first[][16] = {
		{ 0x0a, 0, 0, 3, 1 },
		{ 0x2a, 0, 0, 0, 0, 3, 0, 0, 1 },
		{ 0xaa, 0, 0, 0, 0, 3, 0, 0, 0, 1 },
		{ 0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1 },
		{ 0x93, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1 },
		{ 0x41, 0, 0, 0, 0, 3, 0, 0, 1 },
	};
	struct fixture *f = *state;
	uint8_t in[512], out[512];

	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		for (unsigned again = 0; again < 2; again++) {
			struct fake_command c = { .data = in, .len = 512 };

			if (!again)
				open_with(f, 512, 512, 0);
			memcpy(c.cdb, first[i], 16);
			fill(in, sizeof(in), (unsigned)i * 2 + again);
			assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
			assert_int_equal(run_rw(f, READ_10, 3, 1, out), TCMU_STS_OK);
			assert_memory_equal(in, out, 512);
		}
		assert_int_equal(ti_disk_close(f->disk), 0);
		fake_device_free(f->dev);
		file_pair_remove(&f->pair);
		f->disk = NULL;
		f->dev = NULL;
	}
}

static void a_first_command_that_the_core_refuses_does_no_harm(void **state)
{
	struct fixture *f = opened(state, 0);
	uint8_t block[512] = { 1 };

	fake_fence(f->dev, true);
	assert_int_equal(run_rw(f, WRITE_10, 0, 1, block), TCMU_STS_FENCED);
	assert_int_equal(run_rw(f, WRITE_10, 0, 1, block), TCMU_STS_FENCED);
	fake_fence(f->dev, false);
	assert_int_equal(run_rw(f, READ_10, 0, 1, block), TCMU_STS_OK);
	assert_int_equal(block[0], 0);
	/* What has been learned stays. */
	fake_fence(f->dev, true);
	assert_int_equal(run_rw(f, READ_10, 0, 1, block), TCMU_STS_OK);
}

static void a_bad_first_command_teaches_nothing(void **state)
{
	struct fixture *f = opened(state, 0);
	struct fake_command c;
	uint8_t block[512];

	rw(&c, READ_10, 0xffffffff, 1, block, 512);
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(c.sense[12], 0x21);
	assert_null(f->disk->done);
	assert_int_equal(run_rw(f, READ_10, 0, 1, block), TCMU_STS_OK);
	assert_non_null(f->disk->done);
}

static void sense_data_are_clean_for_the_core(void **state)
{
	static const uint8_t zeros[SENSE_BUFFERSIZE];
	struct fixture *f = opened(state, 0);
	struct fake_command c = { .cdb = { 0x89 } }; /* COMPARE AND WRITE */

	fake_run(f->dev, &c);
	assert_memory_equal(c.sense, zeros, sizeof(zeros));
}

/* --- many at once --- */

#define DEPTH 64U

struct flight {
	struct fake_command c;
	uint8_t *data;
	unsigned op; /* of the four below */
	uint32_t lba;
	unsigned blocks;
};

/* Random commands, each slot in its own range, checked against what must be there. */
static void pound(struct fixture *f, unsigned rounds, unsigned seed)
{
	struct flight *all = calloc(DEPTH, sizeof(*all));
	uint8_t *model = calloc(1, BYTES);
	unsigned slice = (unsigned)(f->pair.bytes / f->block_size / DEPTH);

	for (unsigned i = 0; i < DEPTH; i++) {
		/* Zeroed: valgrind does not see what io_uring reads into it. */
		all[i].data = calloc(1, MAX_DATA);
		all[i].c.done = true;
	}
	for (unsigned n = 0; n < rounds + DEPTH; n++) {
		struct flight *x = &all[n % DEPTH];
		uint8_t *there;

		if (n >= DEPTH) {
			fake_wait(f->dev, &x->c);
			assert_int_equal(x->c.status, TCMU_STS_OK);
			there = model + (size_t)x->lba * f->block_size;
			if (x->op == 0 &&
			    memcmp(x->data, there, (size_t)x->blocks * f->block_size) != 0)
				fail_msg("round %u: wrong data at %u", n, x->lba);
		}
		if (n >= rounds)
			continue;
		x->op = (unsigned)rand_r(&seed) % 5;
		x->blocks = 1 + (unsigned)rand_r(&seed) % 16;
		x->lba = n % DEPTH * slice + (unsigned)rand_r(&seed) % (slice - x->blocks + 1);
		there = model + (size_t)x->lba * f->block_size;
		switch (x->op) {
		case 0:
			rw(&x->c, READ_10, x->lba, (uint16_t)x->blocks, x->data,
			   (size_t)x->blocks * f->block_size);
			if (n % 7 == 0)
				x->c.cdb[1] = 0x08; /* FUA */
			break;
		case 1:
		case 2:
			fill(x->data, (size_t)x->blocks * f->block_size, n);
			memcpy(there, x->data, (size_t)x->blocks * f->block_size);
			rw(&x->c, WRITE_10, x->lba, (uint16_t)x->blocks, x->data,
			   (size_t)x->blocks * f->block_size);
			if (n % 7 == 0)
				x->c.cdb[1] = 0x08; /* FUA */
			break;
		case 3:
			fill(x->data, f->block_size, n);
			for (unsigned i = 0; i < x->blocks; i++)
				memcpy(there + (size_t)i * f->block_size, x->data, f->block_size);
			rw(&x->c, 0x41, x->lba, (uint16_t)x->blocks, x->data, f->block_size);
			break;
		default:
			rw(&x->c, SYNC_10, 0, 0, NULL, 0);
			x->c.cdb[1] = n % 2 ? 0x02 : 0; /* IMMED */
			break;
		}
		fake_issue(f->dev, &x->c);
	}
	assert_int_equal(fake_outstanding(f->dev), 0);
	for (unsigned i = 0; i < DEPTH; i++)
		free(all[i].data);
	free(all);
	free(model);
}

static void each_command_is_completed_once(void **state)
{
	pound(opened(state, 0), 4000, 1);
}

static void commands_wait_for_contexts_in_line(void **state)
{
	pound(opened(state, 3), 3000, 2);
}

static void one_context_is_enough(void **state)
{
	pound(opened(state, 1), 1000, 3);
}

static void blocks_of_4096_work_alike(void **state)
{
	open_with(*state, 4096, 4096, 5);
	pound(*state, 1000, 4);
}

/* Also WRITE SAME of a block whose integrity blocks differ. */
static void blocks_of_several_integrity_blocks_work_alike(void **state)
{
	open_with(*state, 512, 4096, 5);
	pound(*state, 1000, 5);
}

static void a_waiting_command_may_find_the_lun_smaller(void **state)
{
	struct fixture *f = opened(state, 1);
	struct fake_command c[40];
	uint8_t block[512] = { 0 };
	struct ti_error error = { 0 };
	unsigned refused = 0;

	assert_int_equal(run_rw(f, READ_10, 0, 1, block), TCMU_STS_OK);
	for (unsigned i = 0; i < 40; i++) {
		rw(&c[i], WRITE_10, 4000 + i, 1, block, 512);
		fake_issue(f->dev, &c[i]);
		if (i == 20)
			assert_int_equal(ti_disk_resize(f->disk, 4000 * 512, &error), 0);
	}
	for (unsigned i = 0; i < 40; i++) {
		fake_wait(f->dev, &c[i]);
		if (c[i].status == TCMU_STS_PASSTHROUGH_ERR) {
			assert_int_equal(c[i].sense[12], 0x21);
			refused++;
		} else {
			assert_int_equal(c[i].status, TCMU_STS_OK);
			assert_true(i <= 20);
		}
	}
	assert_true(refused >= 19);
	assert_int_equal(ti_disk_resize(f->disk, f->pair.bytes, &error), 0);
}

/* --- IMMED --- */

static void immed_is_answered_at_once_and_close_waits_for_it(void **state)
{
	struct fixture *f = opened(state, 0);
	uint8_t block[512] = { 9 };
	struct fake_command c;

	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(run_rw(f, WRITE_10, i, 1, block), TCMU_STS_OK);
		rw(&c, SYNC_10, 0, 0, NULL, 0);
		c.cdb[1] = 0x02;
		fake_issue(f->dev, &c);
		assert_true(c.done); /* not a wait in between */
		assert_int_equal(c.status, TCMU_STS_OK);
	}
	assert_int_equal(ti_disk_close(f->disk), 0);
	f->disk = NULL;
}

/* --- the core's callouts --- */

static void compound_commands_need_no_stack(void **state)
{
	struct fixture *f = opened(state, 0);
	uint8_t block[1024];
	size_t depth;

	fill(block, sizeof(block), 5);
	assert_int_equal(run_rw(f, SYNC_10, 0, 0, NULL), TCMU_STS_OK);
	assert_int_equal(fake_compound(f->dev, block, sizeof(block), 2000, &depth), TCMU_STS_OK);
	if (depth > 64 * 1024)
		fail_msg("%zu bytes of stack after 4000 steps", depth);
	assert_int_equal(fake_core_flush(f->dev), TCMU_STS_OK);
}

static void callouts_without_a_context_are_put_off(void **state)
{
	struct fixture *f = opened(state, 1);
	struct ti_context *only;
	uint8_t block[512] = { 0 };
	size_t depth;

	pthread_mutex_lock(&f->disk->lock);
	only = SLIST_FIRST(&f->disk->free);
	SLIST_REMOVE_HEAD(&f->disk->free, link);
	pthread_mutex_unlock(&f->disk->lock);
	assert_int_equal(fake_compound(f->dev, block, 512, 1, &depth), TCMU_STS_NO_RESOURCE);
	pthread_mutex_lock(&f->disk->lock);
	SLIST_INSERT_HEAD(&f->disk->free, only, link);
	pthread_mutex_unlock(&f->disk->lock);
	assert_int_equal(fake_compound(f->dev, block, 512, 1, &depth), TCMU_STS_OK);
}

static void callouts_are_checked(void **state)
{
	struct fixture *f = opened(state, 0);
	uint8_t block[512] = { 0 };
	size_t depth;

	/* Not whole sectors. */
	assert_int_equal(fake_compound(f->dev, block, 100, 1, &depth), TCMU_STS_RANGE);
}

static void write_same_of_a_larger_block_is_tagged_right(void **state)
{
	struct fixture *f = *state;
	uint8_t in[4096], out[4 * 4096];
	struct fake_command c;

	open_with(f, 512, 4096, 0);
	memset(in, 0x77, sizeof(in));
	rw(&c, 0x41, 8, 4, in, sizeof(in));
	assert_int_equal(fake_run(f->dev, &c), TCMU_STS_OK);
	assert_int_equal(run_rw(f, READ_10, 8, 4, out), TCMU_STS_OK);
	for (unsigned i = 0; i < 4; i++)
		assert_memory_equal(out + i * 4096U, in, 4096);
}

/* --- end of life --- */

struct runner_thread {
	struct fixture *f;
	struct fake_command c[8];
	uint8_t block[8][512];
	unsigned issued;
};

/* As the runner's command thread, which ends by cancellation and closes in its cleanup. */
static void close_as_cleanup(void *arg)
{
	struct runner_thread *t = arg;

	for (unsigned i = 0; i < 8; i++)
		fake_wait(t->f->dev, &t->c[i]);
	fake_handler()->close(t->f->dev);
	t->f->disk = NULL;
}

static void *issue_until_cancelled(void *arg)
{
	struct runner_thread *t = arg;

	pthread_cleanup_push(close_as_cleanup, t);
	for (;;) {
		struct fake_command *c = &t->c[t->issued % 8];

		if (t->issued >= 8)
			fake_wait(t->f->dev, c);
		rw(c, t->issued % 3 ? WRITE_10 : SYNC_10, t->issued % 64, t->issued % 3 ? 1 : 0,
		   t->block[t->issued % 8], t->issued % 3 ? 512 : 0);
		fake_issue(t->f->dev, c);
		if (t->issued++ > 100)
			pthread_testcancel();
	}
	pthread_cleanup_pop(0);
	return NULL;
}

static void the_command_thread_may_be_cancelled_at_any_time(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 5; i++) {
		struct runner_thread t = { .f = f };
		pthread_t thread;

		open_with(f, 512, 512, 0);
		assert_int_equal(pthread_create(&thread, NULL, issue_until_cancelled, &t), 0);
		usleep(20000);
		pthread_cancel(thread);
		pthread_join(thread, NULL);
		assert_null(f->disk);
		fake_device_free(f->dev);
		f->dev = NULL;
		file_pair_remove(&f->pair);
	}
}

/* --- several commands in the ring --- */

/* A disk that has learned, with a block written and not flushed. */
static struct fixture *written_with_ring(void **state, unsigned contexts)
{
	static uint8_t data[512];
	struct fixture *f = *state;

	f->ring = true;
	open_with(f, 512, 512, contexts);
	assert_int_equal(run_rw(f, SYNC_10, 0, 0, NULL), TCMU_STS_OK);
	assert_int_equal(run_rw(f, WRITE_10, 7, 1, data), TCMU_STS_OK);
	return f;
}

/* Let the command thread process SYNCHRONIZE CACHE and, behind it, @cdb; how many rounds began? */
static uint64_t rounds_of_flush_and(struct fixture *f, const struct fake_command *behind)
{
	struct fake_command c[2] = { { .cdb = { SYNC_10 } }, *behind };
	uint64_t before = flush_rounds(f), rounds;

	fake_issue_all(f->dev, c, 2);
	rounds = flush_rounds(f) - before;
	fake_wait(f->dev, &c[0]);
	fake_wait(f->dev, &c[1]);
	assert_int_equal(c[0].status, TCMU_STS_OK);
	return rounds;
}

static void flushes_in_the_ring_share_a_round(void **state)
{
	struct fixture *f = written_with_ring(state, 0);

	for (unsigned times = 0; times < 20; times++) {
		struct fake_command c[8];
		uint64_t before = flush_rounds(f);

		for (unsigned i = 0; i < 8; i++)
			c[i] = (struct fake_command){ .cdb = { SYNC_10, i % 4 == 3 ? 2 : 0 } };
		fake_issue_all(f->dev, c, 8);
		assert_int_equal(flush_rounds(f) - before, 1);
		for (unsigned i = 0; i < 8; i++) {
			fake_wait(f->dev, &c[i]);
			assert_int_equal(c[i].status, TCMU_STS_OK);
		}
	}
}

/* Whatever comes behind it, a flush begins before the runner goes to sleep. */
static void flush_is_never_held_back_for_long(void **state)
{
	static const struct fake_command behind[] = {
		{ .cdb = { WRITE_10, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1 } }, /* out of range */
		{ .cdb = { WRITE_10, 0xe0 } },				     /* bad field */
		{ .cdb = { READ_10 } },					     /* no blocks */
		{ .cdb = { 0x00 } },					     /* TEST UNIT READY */
		{ .cdb = { 0x12 } },					     /* INQUIRY */
		{ .cdb = { 0xa3, 0x0c } },				     /* the core's */
		{ .cdb = { 0x06 } },					     /* nobody's */
	};
	struct fixture *f = written_with_ring(state, 0);

	for (size_t i = 0; i < sizeof(behind) / sizeof(behind[0]); i++)
		assert_int_equal(rounds_of_flush_and(f, &behind[i]), 1);
}

/* The core answers the command behind it for a unit attention, and no other ever comes. */
static void flush_after_a_resize_is_not_held_back(void **state)
{
	struct fixture *f = written_with_ring(state, 0);
	const struct fake_command behind = { .cdb = { SYNC_10 } };
	struct ti_error error;

	assert_int_equal(ti_disk_resize(f->disk, f->disk->facts.blocks * 512 - 512, &error), 0);
	fake_unit_attention(f->dev, 1);
	assert_int_equal(rounds_of_flush_and(f, &behind), 1);
}

static void flushes_without_a_context_are_not_held_back(void **state)
{
	struct fixture *f = written_with_ring(state, 2);
	struct fake_command c[8];
	uint64_t before = flush_rounds(f);

	for (unsigned i = 0; i < 8; i++)
		c[i] = (struct fake_command){ .cdb = { SYNC_10 } };
	fake_issue_all(f->dev, c, 8);
	assert_true(flush_rounds(f) > before);
	for (unsigned i = 0; i < 8; i++)
		fake_wait(f->dev, &c[i]);
}

/* --- commands that libtcmu skips --- */

static void expect_invalid(const struct fake_command *c)
{
	assert_int_equal(c->status, TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(c->sense[2], 5);
	assert_int_equal(c->sense[12], 0x20);
}

/* Nobody calls the handler for them. */
static void skipped_commands_are_answered(void **state)
{
	static const uint8_t opcodes[] = { 0x60, 0x7e, 0xc0, 0xff };
	struct fixture *f = written_with_ring(state, 0);
	struct fake_command c[4];

	for (unsigned i = 0; i < 4; i++)
		c[i] = (struct fake_command){ .cdb = { opcodes[i] } };
	fake_issue(f->dev, &c[0]);
	fake_wait(f->dev, &c[0]);
	fake_issue_all(f->dev, c + 1, 3);
	for (unsigned i = 0; i < 4; i++) {
		fake_wait(f->dev, &c[i]);
		expect_invalid(&c[i]);
	}
	/* What has been answered meanwhile is not looked at again. */
	assert_int_equal(rounds_of_flush_and(f, &(struct fake_command){ .cdb = { SYNC_10 } }), 1);
}

/* The next command answers them, before the runner goes to sleep. */
static void skipped_commands_among_others_are_answered_at_once(void **state)
{
	struct fixture *f = written_with_ring(state, 0);
	uint8_t block[512] = { 0 };
	struct fake_command c[8];

	for (unsigned times = 0; times < 200; times++) {
		for (unsigned i = 0; i < 8; i++) {
			if (i % 3 == times % 3 && i < 7)
				c[i] = (struct fake_command){ .cdb = { 0xc1 } };
			else
				rw(&c[i], i % 2 ? WRITE_10 : READ_10, i, 1, block, sizeof(block));
		}
		fake_issue_all(f->dev, c, 8);
		for (unsigned i = 0; i < 8; i++) {
			if (c[i].cdb[0] == 0xc1) {
				assert_true(c[i].done);
				expect_invalid(&c[i]);
				continue;
			}
			fake_wait(f->dev, &c[i]);
			assert_int_equal(c[i].status, TCMU_STS_OK);
		}
	}
}

/* Writes and flushes, all in the ring together: each flush comes back, and what it covers with it.
 */
static void mixed_commands_in_the_ring_all_come_back(void **state)
{
	struct fixture *f = written_with_ring(state, 0);
	static uint8_t in[10][512], out[512];

	for (unsigned times = 0; times < 50; times++) {
		struct fake_command c[10];

		for (unsigned i = 0; i < 10; i++) {
			fill(in[i], sizeof(in[i]), times * 10 + i);
			rw(&c[i], WRITE_10, i, 1, in[i], sizeof(in[i]));
			if ((times + i) % 3 == 0)
				c[i].cdb[1] = 0x08; /* FUA */
			if ((times + i) % 4 == 0)
				c[i] = (struct fake_command){ .cdb = { SYNC_10 } };
		}
		fake_issue_all(f->dev, c, 10);
		for (unsigned i = 0; i < 10; i++) {
			fake_wait(f->dev, &c[i]);
			assert_int_equal(c[i].status, TCMU_STS_OK);
			if (c[i].cdb[0] != WRITE_10)
				continue;
			assert_int_equal(run_rw(f, READ_10, i, 1, out), TCMU_STS_OK);
			assert_memory_equal(out, in[i], sizeof(out));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_is_read),
		TEST(compare_and_write_tells_where_it_differs),
		TEST(unmap_discards_range_after_range),
		TEST(d_sense_changes_the_format_of_all_sense_data),
		TEST(software_write_protect_stops_writes),
		TEST(mode_select_flushes_also_when_it_comes_first),
		TEST(mode_select_flushes_also_when_it_has_waited),
		TEST(every_kind_of_cdb_may_come_first),
		TEST(a_first_command_that_the_core_refuses_does_no_harm),
		TEST(a_bad_first_command_teaches_nothing),
		TEST(sense_data_are_clean_for_the_core),
		TEST(each_command_is_completed_once),
		TEST(commands_wait_for_contexts_in_line),
		TEST(one_context_is_enough),
		TEST(blocks_of_4096_work_alike),
		TEST(blocks_of_several_integrity_blocks_work_alike),
		TEST(a_waiting_command_may_find_the_lun_smaller),
		TEST(immed_is_answered_at_once_and_close_waits_for_it),
		TEST(compound_commands_need_no_stack),
		TEST(callouts_without_a_context_are_put_off),
		TEST(callouts_are_checked),
		TEST(write_same_of_a_larger_block_is_tagged_right),
		TEST(the_command_thread_may_be_cancelled_at_any_time),
		TEST(flushes_in_the_ring_share_a_round),
		TEST(flush_is_never_held_back_for_long),
		TEST(flush_after_a_resize_is_not_held_back),
		TEST(flushes_without_a_context_are_not_held_back),
		TEST(mixed_commands_in_the_ring_all_come_back),
		TEST(skipped_commands_are_answered),
		TEST(skipped_commands_among_others_are_answered_at_once),
	};

	return RUN_TESTS(tests);
}
