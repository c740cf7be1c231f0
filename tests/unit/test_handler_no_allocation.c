/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * From handle_cmd() to tcmur_cmd_complete() nothing is allocated, on either thread, also when
 * commands wait for contexts: what the runner itself allocates per command is not counted.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "copy_list.h"
#include "disk.h"
#include "fake_tcmu.h"
#include "file_pair.h"

#define COMMANDS 80000U
#define DEPTH	 64U
#define BYTES	 (16U << 20)
#define MAX_LEN	 (64U << 10)

int handler_init(void);

static atomic_bool counting;
static atomic_uint allocations;

static void count(void)
{
	if (atomic_load_explicit(&counting, memory_order_relaxed) && !fake_is_inside())
		atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
}

/* glibc's own names behind the ones that are interposed here. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);

void *malloc(size_t size)
{
	count();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	count();
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	count();
	return __libc_realloc(p, size);
}

void *memalign(size_t align, size_t size);

void *memalign(size_t align, size_t size)
{
	count();
	return __libc_memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size)
{
	return memalign(align, size);
}

int posix_memalign(void **p, size_t align, size_t size)
{
	*p = memalign(align, size);
	return *p == NULL ? ENOMEM : 0;
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	count();
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, offset);
}

#define EXTENDED_COPY 0x83

/* From the first half of the LUN to the second, in several pieces at times, or beyond its end. */
static void random_copy(struct fake_command *c, unsigned *seed, uint64_t blocks)
{
	uint16_t n = (uint16_t)((unsigned)rand_r(seed) % (rand_r(seed) % 50 ? 64 : 1500));
	uint64_t from = (unsigned)rand_r(seed) % (blocks / 2 - n), to = from + blocks / 2;
	struct copy_list l;

	begin_list(&l, "00000000-0000-0000-0000-000000000001", 512, 1, (uint8_t)n, HOLD);
	add_segment(&l, from, to, n);
	if (rand_r(seed) % 100 == 0) {
		c->cdb[2] = 0xff;
		add_segment(&l, from, blocks, 1);
	}
	c->len = list_length(&l);
	memcpy(c->data, l.raw, c->len);
	ti_put_be32(c->cdb + 10, (uint32_t)c->len);
}

static void random_command(struct fake_command *c, unsigned *seed, uint64_t blocks)
{
	static const uint8_t opcodes[] = { 0x28, 0x28, 0x2a, 0x2a, 0x41, 0x35 };
	unsigned kind = (unsigned)rand_r(seed) % sizeof(opcodes);
	unsigned n = 1 + (unsigned)rand_r(seed) % (MAX_LEN / 512);
	uint32_t lba = (uint32_t)((unsigned)rand_r(seed) % (blocks - n));

	memset(c->cdb, 0, sizeof(c->cdb));
	c->cdb[0] = opcodes[kind];
	if (rand_r(seed) % 40 == 0) {
		c->cdb[0] = EXTENDED_COPY;
		random_copy(c, seed, blocks);
		return;
	}
	c->cdb[1] = rand_r(seed) % 50 == 0 && c->cdb[0] != 0x41 ? 0x0a : 0; /* FUA, IMMED */
	c->len = 0;
	if (c->cdb[0] == 0x35)
		return;
	ti_put_be32(c->cdb + 2, lba);
	ti_put_be16(c->cdb + 7, (uint16_t)n);
	c->len = c->cdb[0] == 0x41 ? 512 : n * 512;
	if (rand_r(seed) % 100 == 0)
		c->cdb[2] = 0xff; /* an error takes no memory, either */
}

static void commands_allocate_nothing(unsigned contexts, const char *options)
{
	struct fake_command *c = calloc(DEPTH, sizeof(*c));
	struct file_pair pair;
	struct tcmu_device *dev;
	struct ti_disk *disk;
	struct ti_config config;
	struct ti_error error = { 0 };
	unsigned seed = 1;

	file_pair_make(&pair, 512, BYTES, options);
	dev = fake_device(pair.config, 512, pair.bytes);
	assert_int_equal(ti_config_parse(pair.config, &config, &error), 0);
	if (ti_disk_open(dev, &config, contexts, &disk, &error))
		fail_msg("%s", error.text);
	tcmur_dev_set_private(dev, disk);
	for (unsigned i = 0; i < DEPTH; i++)
		c[i] = (struct fake_command){ .data = calloc(1, MAX_LEN), .done = true };
	/* The first command sets things up and logs. */
	c[0].cdb[0] = 0x35;
	assert_int_equal(fake_run(dev, &c[0]), TCMU_STS_OK);

	atomic_store(&counting, true);
	for (unsigned i = 0; i < COMMANDS; i++) {
		struct fake_command *x = &c[i % DEPTH];

		fake_wait(dev, x);
		/* With few contexts a copy finds none at times. */
		if (x->status != TCMU_STS_OK &&
		    (x->cdb[0] != EXTENDED_COPY || x->status != TCMU_STS_NO_RESOURCE))
			assert_int_equal(x->cdb[2], 0xff);
		random_command(x, &seed, pair.bytes / 512);
		fake_issue(dev, x);
	}
	for (unsigned i = 0; i < DEPTH; i++)
		fake_wait(dev, &c[i]);
	atomic_store(&counting, false);

	assert_int_equal(ti_disk_close(disk), 0);
	fake_device_free(dev);
	file_pair_remove(&pair);
	for (unsigned i = 0; i < DEPTH; i++)
		free(c[i].data);
	free(c);
	assert_int_equal(atomic_load(&allocations), 0);
}

static void with_contexts_for_all(void **state)
{
	(void)state;
	commands_allocate_nothing(0, ";cache_mb=1;mode=direct");
}

static void with_commands_waiting_for_contexts(void **state)
{
	(void)state;
	commands_allocate_nothing(2, ";backend=threads;mode=direct");
}

/* Nor do they wait for it: neither the one that has something to say, nor others. */
static void what_is_said_allocates_nothing_while_the_log_hangs(void **state)
{
	uint8_t block[512];
	struct fake_command bad = { .cdb = { 0x28, [5] = 8, [8] = 1 }, .data = block, .len = 512 };
	struct fake_command good = bad, flush = { .cdb = { 0x35 } };
	struct file_pair pair;
	struct tcmu_device *dev;
	struct ti_disk *disk;
	struct ti_config config;
	struct ti_error error = { 0 };

	(void)state;
	file_pair_make(&pair, 512, BYTES, ";mode=direct");
	dev = fake_device(pair.config, 512, pair.bytes);
	assert_int_equal(ti_config_parse(pair.config, &config, &error), 0);
	if (ti_disk_open(dev, &config, 0, &disk, &error))
		fail_msg("%s", error.text);
	tcmur_dev_set_private(dev, disk);
	good.cdb[5] = 9;
	assert_int_equal(fake_run(dev, &flush), TCMU_STS_OK);
	for (good.cdb[0] = 0x2a; good.cdb[5] > 7; good.cdb[5]--)
		assert_int_equal(fake_run(dev, &good), TCMU_STS_OK);
	good.cdb[0] = 0x28;
	file_pair_damage(pair.data, 8 * 512, 1);

	fake_log_hang(true);
	atomic_store(&counting, true);
	for (unsigned i = 0; i < 3 * TI_LOG_RING_LINES; i++) {
		assert_int_equal(fake_run(dev, &bad), TCMU_STS_PASSTHROUGH_ERR);
		assert_int_equal(fake_run(dev, &good), TCMU_STS_OK);
	}
	atomic_store(&counting, false);
	assert_false(fake_logged("tag mismatch"));
	fake_log_hang(false);
	assert_true(fake_will_log("tag mismatch on read"));
	assert_int_equal(ti_disk_close(disk), 0);
	assert_true(fake_logged("closed reads="));
	fake_device_free(dev);
	file_pair_remove(&pair);
	assert_int_equal(atomic_load(&allocations), 0);
}

static void the_counter_counts(void **state)
{
	(void)state;
	atomic_store(&counting, true);
	free(malloc(1));
	atomic_store(&counting, false);
	assert_int_equal(atomic_exchange(&allocations, 0), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_counter_counts),
		cmocka_unit_test(with_contexts_for_all),
		cmocka_unit_test(with_commands_waiting_for_contexts),
		cmocka_unit_test(what_is_said_allocates_nothing_while_the_log_hangs),
	};

	handler_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
