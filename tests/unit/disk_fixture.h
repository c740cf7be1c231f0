/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A disk over a real engine on files, and a fake runner before it.
 */
#ifndef TI_DISK_FIXTURE_H
#define TI_DISK_FIXTURE_H

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "disk.h"
#include "fake_tcmu.h"
#include "file_pair.h"

int handler_init(void);

#define BYTES (4U << 20)

/* Set by main() before each group. */
static const char *backend_option;

struct fixture {
	struct file_pair pair;
	struct tcmu_device *dev;
	struct ti_disk *disk;
	uint32_t block_size;
	bool ring; /* there is one to look into */
};

static inline void open_with(struct fixture *f, uint32_t integrity_block, uint32_t block_size,
			     unsigned contexts)
{
	struct ti_error error = { 0 };
	struct ti_config config;

	file_pair_make(&f->pair, integrity_block, BYTES, backend_option);
	f->block_size = block_size;
	f->dev = fake_device(f->pair.config, block_size, f->pair.bytes);
	if (f->ring)
		fake_ring(f->dev);
	assert_int_equal(ti_config_parse(f->pair.config, &config, &error), 0);
	if (ti_disk_open(f->dev, &config, contexts, &f->disk, &error))
		fail_msg("%s", error.text);
	/* On a busy machine the engine takes longer than open waits for it. */
	while (ti_disk_state(f->disk) == TI_DISK_STARTING)
		sched_yield();
	tcmur_dev_set_private(f->dev, f->disk);
}

static inline int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!fake_handler())
		assert_int_equal(handler_init(), 0);
	fake_log_clear();
	*state = f;
	return 0;
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->disk)
		assert_int_equal(ti_disk_close(f->disk), 0);
	if (f->dev)
		fake_device_free(f->dev);
	file_pair_remove(&f->pair);
	free(f);
	return 0;
}

static inline struct fixture *opened(void **state, unsigned contexts)
{
	struct fixture *f = *state;

	open_with(f, 512, 512, contexts);
	return f;
}

static inline void rw(struct fake_command *c, uint8_t opcode, uint32_t lba, uint16_t blocks,
		      void *data, size_t len)
{
	*c = (struct fake_command){ .cdb = { opcode }, .data = data, .len = len };
	ti_put_be32(c->cdb + 2, lba);
	ti_put_be16(c->cdb + 7, blocks);
}

static inline int run_rw(struct fixture *f, uint8_t opcode, uint32_t lba, uint16_t blocks,
			 void *data)
{
	struct fake_command c;

	rw(&c, opcode, lba, blocks, data, (size_t)blocks * f->block_size);
	return fake_run(f->dev, &c);
}

#define READ_10	 0x28
#define WRITE_10 0x2a
#define SYNC_10	 0x35

static inline void fill(uint8_t *data, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(rand_r(&seed) >> 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* All of them with each way to do I/O.  Mode direct, for some damage a block that they have
 * written.
 */
#define RUN_TESTS(tests)                                                                           \
	({                                                                                         \
		int failed_ = 0;                                                                   \
		backend_option = ";backend=threads;mode=direct";                                   \
		failed_ += cmocka_run_group_tests(tests, NULL, NULL);                              \
		backend_option = ";backend=auto;mode=direct";                                      \
		failed_ += cmocka_run_group_tests(tests, NULL, NULL);                              \
		failed_;                                                                           \
	})

#endif
