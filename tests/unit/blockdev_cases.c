/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See blockdev_cases.h. */
#include "blockdev_cases.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "blockdev_hammer.h"
#include "clock.h"
#include "io_support.h"

#define BLOCK 4096U

/** A wait that should have ended by itself has not: the test is killed. */
#define HANG_SECONDS 90U

/* What the tests run on. */
static struct {
	enum ti_backend backend;
	struct testio_files files;
	bool devices;		/* named by the user: no files of ours */
	uint64_t slow_flush_ns; /* each of the devices takes this long for a flush */
} on;

static struct ti_queue *open_on(unsigned depth)
{
	return testio_open(&on.files,
			   &(struct ti_pair_options){ .backend = on.backend, .depth = depth });
}

static int queue_setup(void **state)
{
	*state = open_on(0);
	return 0;
}

static int queue_teardown(void **state)
{
	ti_pair_close(*state);
	return 0;
}

/* ---- one I/O ---- */

static void written_blocks_read_back(void **state)
{
	struct ti_queue *q = *state;
	char *out = testio_buffer(16 * BLOCK, 0), *in = testio_buffer(16 * BLOCK, 0);

	for (unsigned i = 0; i < 16 * BLOCK; i++)
		out[i] = (char)(i * 7 + i / BLOCK);
	for (enum ti_device dev = TI_DATA; dev < TI_DEVICES; dev++) {
		assert_int_equal(ti_queue_sync(q, TI_IO_WRITE, dev, 5 * BLOCK, out, 16 * BLOCK), 0);
		memset(in, 0, 16 * BLOCK);
		assert_int_equal(ti_queue_sync(q, TI_IO_READ, dev, 5 * BLOCK, in, 16 * BLOCK), 0);
		assert_memory_equal(in, out, 16 * BLOCK);
	}
	free(out);
	free(in);
}

/* Many elements, of different lengths, scattered in memory. */
static void scattered_memory_is_gathered_in_order(void **state)
{
	const unsigned count = 200;
	struct ti_queue *q = *state;
	char *out = testio_buffer(4 * count * BLOCK, 0), *in;
	struct iovec iov[200];
	struct counted_io c;
	size_t len = 0;

	for (unsigned i = 0; i < count; i++) {
		iov[i].iov_base = out + (size_t)4 * (count - 1 - i) * BLOCK;
		iov[i].iov_len = (1 + i % 3) * BLOCK;
		memset(iov[i].iov_base, (int)i + 1, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	counted_io_set(&c, TI_IO_WRITE, TI_DATA, 0, NULL, len);
	c.io.iov = iov;
	c.io.iov_count = count;
	ti_queue_submit(q, &c.io);
	assert_int_equal(counted_io_finish(q, &c), 0);

	in = testio_buffer(len, 0);
	assert_int_equal(ti_queue_sync(q, TI_IO_READ, TI_DATA, 0, in, len), 0);
	for (size_t i = 0, at = 0; i < count; at += iov[i].iov_len, i++)
		assert_memory_equal(in + at, iov[i].iov_base, iov[i].iov_len);
	free(out);
	free(in);
}

static void flushes_of_both_devices_complete(void **state)
{
	struct ti_queue *q = *state;
	struct counted_io c[TI_DEVICES];

	for (enum ti_device dev = TI_DATA; dev < TI_DEVICES; dev++) {
		counted_io_set(&c[dev], TI_IO_FLUSH, dev, 0, NULL, 0);
		ti_queue_submit(q, &c[dev].io);
	}
	for (enum ti_device dev = TI_DATA; dev < TI_DEVICES; dev++)
		assert_int_equal(counted_io_finish(q, &c[dev]), 0);
}

static void fua_write_completes(void **state)
{
	struct ti_queue *q = *state;
	char *out = testio_buffer(BLOCK, 0x42), *in = testio_buffer(BLOCK, 0);
	struct counted_io c;

	counted_io_set(&c, TI_IO_WRITE, TI_META, 3 * BLOCK, out, BLOCK);
	c.io.fua = true;
	ti_queue_submit(q, &c.io);
	assert_int_equal(counted_io_finish(q, &c), 0);
	assert_int_equal(ti_queue_sync(q, TI_IO_READ, TI_META, 3 * BLOCK, in, BLOCK), 0);
	assert_memory_equal(in, out, BLOCK);
	free(out);
	free(in);
}

/* A discard either zeroes the range, and nothing else, or says that it cannot and changes nothing.
 */
static void discard_zeroes_or_is_not_supported(void **state)
{
	struct ti_queue *q = *state;
	char *out = testio_buffer(4 * BLOCK, 0x11), *in = testio_buffer(4 * BLOCK, 0);
	int result;

	assert_int_equal(ti_queue_sync(q, TI_IO_WRITE, TI_DATA, 0, out, 4 * BLOCK), 0);
	result = ti_queue_sync(q, TI_IO_DISCARD, TI_DATA, BLOCK, NULL, 2 * BLOCK);
	assert_true(result == 0 || result == -EOPNOTSUPP);
	if (result == 0)
		memset(out + BLOCK, 0, 2 * BLOCK);
	assert_int_equal(ti_queue_sync(q, TI_IO_READ, TI_DATA, 0, in, 4 * BLOCK), 0);
	assert_memory_equal(in, out, 4 * BLOCK);
	free(out);
	free(in);
}

static void empty_transfer_completes(void **state)
{
	struct ti_queue *q = *state;

	assert_int_equal(ti_queue_sync(q, TI_IO_READ, TI_DATA, 0, NULL, 0), 0);
	assert_int_equal(ti_queue_sync(q, TI_IO_WRITE, TI_META, q->dev[TI_META].size, NULL, 0), 0);
	assert_int_equal(ti_queue_sync(q, TI_IO_DISCARD, TI_DATA, 0, NULL, 0), 0);
}

static void io_beyond_the_end_is_refused(void **state)
{
	struct ti_queue *q = *state;
	uint64_t size = q->dev[TI_DATA].size;
	char *buf = testio_buffer(2 * BLOCK, 0);
	struct stat st;

	assert_int_equal(ti_queue_sync(q, TI_IO_WRITE, TI_DATA, size, buf, BLOCK), -EINVAL);
	assert_int_equal(ti_queue_sync(q, TI_IO_WRITE, TI_DATA, size - BLOCK, buf, 2 * BLOCK),
			 -EINVAL);
	assert_int_equal(ti_queue_sync(q, TI_IO_READ, TI_DATA, UINT64_MAX, buf, BLOCK), -EINVAL);
	assert_int_equal(ti_queue_sync(q, TI_IO_DISCARD, TI_DATA, size, NULL, BLOCK), -EINVAL);
	assert_int_equal(ti_queue_sync(q, TI_IO_READ, TI_DATA, size - BLOCK, buf, BLOCK), 0);
	assert_int_equal(fstat(ti_pair_fd(q, TI_DATA), &st), 0);
	if (S_ISREG(st.st_mode))
		assert_int_equal(st.st_size, size);
	free(buf);
}

static void done_is_called_by_run_only(void **state)
{
	struct ti_queue *q = *state;
	struct counted_io good, refused;
	char *buf = testio_buffer(BLOCK, 0);

	counted_io_set(&good, TI_IO_READ, TI_DATA, 0, buf, BLOCK);
	counted_io_set(&refused, TI_IO_READ, TI_DATA, q->dev[TI_DATA].size, buf, BLOCK);
	ti_queue_submit(q, &refused.io);
	ti_queue_submit(q, &good.io);
	assert_int_equal(refused.completions + good.completions, 0);
	assert_true(ti_queue_run(q) >= 1);
	assert_int_equal(refused.completions, 1);
	assert_int_equal(counted_io_finish(q, &good), 0);
	assert_int_equal(ti_queue_run(q), 0);
	free(buf);
}

/* ---- files that change, and devices that are not what one thinks ---- */

static void shrunk_file_is_an_io_error(void **state)
{
	struct ti_queue *q = *state;
	char *buf = testio_buffer(4 * BLOCK, 0);

	assert_int_equal(truncate(on.files.path[TI_META], 6 * BLOCK), 0);
	/* All of it is gone; then the first half is there. */
	assert_int_equal(ti_queue_sync(q, TI_IO_READ, TI_META, 8 * BLOCK, buf, 4 * BLOCK), -EIO);
	assert_int_equal(ti_queue_sync(q, TI_IO_READ, TI_META, 4 * BLOCK, buf, 4 * BLOCK), -EIO);
	assert_int_equal(ti_queue_sync(q, TI_IO_READ, TI_META, 2 * BLOCK, buf, 4 * BLOCK), 0);
	assert_int_equal(truncate(on.files.path[TI_META], (off_t)TESTIO_BYTES), 0);
	free(buf);
}

/*
 * The file size limit stops a write half way: what could be written is, and then the resumed write
 * gets the error.  In a child, for the limit is the process's.
 */
static int write_across_the_limit(void *arg)
{
	struct rlimit limit = { .rlim_cur = 4 * BLOCK, .rlim_max = RLIM_INFINITY };
	char *buf = testio_buffer(8 * BLOCK, 0x77), *in = testio_buffer(BLOCK, 0);
	struct ti_queue *q;
	int result;

	(void)arg;
	(void)signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
		return 2;
	q = open_on(0);
	result = ti_queue_sync(q, TI_IO_WRITE, TI_DATA, BLOCK, buf, 8 * BLOCK);
	if (ti_queue_sync(q, TI_IO_READ, TI_DATA, 3 * BLOCK, in, BLOCK) != 0)
		return 3;
	ti_pair_close(q);
	if (memcmp(in, buf, BLOCK) != 0)
		return 4;
	free(buf);
	free(in);
	return result == -EFBIG ? 0 : 5;
}

static void short_write_is_resumed_and_its_error_reported(void **state)
{
	(void)state;
	testio_in_child(write_across_the_limit, NULL);
}

/* One read() moves at most 2 GiB less a page: the rest has to be asked for. */
static void short_read_is_resumed(void **state)
{
	enum { COUNT = 1024 };
	const size_t element = 2U << 20, len = COUNT * element;
	char *buf = testio_buffer(element, 0), *last = testio_buffer(element, 0), *out;
	struct iovec iov[COUNT];
	struct counted_io c;
	struct ti_queue *q;

	(void)state;
	assert_int_equal(truncate(on.files.path[TI_DATA], (off_t)len), 0);
	q = open_on(0);
	out = testio_buffer(BLOCK, 0x5c);
	assert_int_equal(ti_queue_sync(q, TI_IO_WRITE, TI_DATA, len - BLOCK, out, BLOCK), 0);
	for (unsigned i = 0; i < COUNT; i++)
		iov[i] = (struct iovec){ .iov_base = i == COUNT - 1 ? last : buf,
					 .iov_len = element };
	counted_io_set(&c, TI_IO_READ, TI_DATA, 0, NULL, len);
	c.io.iov = iov;
	c.io.iov_count = COUNT;
	ti_queue_submit(q, &c.io);
	assert_int_equal(counted_io_finish(q, &c), 0);
	assert_int_equal(c.io.progress, len);
	assert_memory_equal(last + element - BLOCK, out, BLOCK);
	assert_int_equal(last[element - BLOCK - 1], 0);
	ti_pair_close(q);
	assert_int_equal(truncate(on.files.path[TI_DATA], (off_t)TESTIO_BYTES), 0);
	free(out);
	free(last);
	free(buf);
}

static void read_only_pair_refuses_writes(void **state)
{
	struct ti_queue *q;
	char *buf = testio_buffer(BLOCK, 0x99);

	(void)state;
	q = testio_open(&on.files,
			&(struct ti_pair_options){ .backend = on.backend, .read_only = true });
	assert_true(q->dev[TI_DATA].read_only && q->dev[TI_META].read_only);
	assert_int_equal(ti_queue_sync(q, TI_IO_WRITE, TI_DATA, 0, buf, BLOCK), -EROFS);
	assert_int_equal(ti_queue_sync(q, TI_IO_DISCARD, TI_META, 0, NULL, BLOCK), -EROFS);
	assert_int_equal(ti_queue_sync(q, TI_IO_READ, TI_DATA, 0, buf, BLOCK), 0);
	assert_int_equal(ti_queue_sync(q, TI_IO_FLUSH, TI_DATA, 0, NULL, 0), 0);
	ti_pair_close(q);
	free(buf);
}

static void absent_data_device_is_no_device(void **state)
{
	const struct ti_pair_options options = { .meta_path = on.files.path[TI_META],
						 .backend = on.backend,
						 .read_only = true };
	struct ti_error error = { 0 };
	struct ti_queue *q = NULL;
	char *buf = testio_buffer(BLOCK, 0);

	(void)state;
	assert_int_equal(ti_pair_open(&options, &testio_log, &q, &error), 0);
	assert_string_equal(q->dev[TI_DATA].name, "");
	assert_int_equal(q->dev[TI_DATA].size, 0);
	assert_int_equal(ti_pair_fd(q, TI_DATA), -1);
	assert_true(ti_pair_fd(q, TI_META) >= 0);
	assert_int_equal(ti_queue_sync(q, TI_IO_READ, TI_DATA, 0, buf, BLOCK), -ENODEV);
	assert_int_equal(ti_queue_sync(q, TI_IO_FLUSH, TI_DATA, 0, NULL, 0), -ENODEV);
	assert_int_equal(ti_queue_sync(q, TI_IO_READ, TI_META, 0, buf, BLOCK), 0);
	ti_pair_close(q);
	free(buf);
}

/* ---- many I/Os ---- */

/* Each block tells where it is; flushes are among the writes, and wait behind none for ever. */
static void more_than_the_depth_all_complete_once(void **state)
{
	enum { COUNT = 1000 };
	struct ti_queue *q = open_on(4);
	struct counted_io *c = calloc(COUNT + 10, sizeof(*c));
	char *bufs = testio_buffer((size_t)COUNT * BLOCK, 0);
	unsigned runs = 0, done = 0;

	(void)state;
	assert_non_null(c);
	for (unsigned i = 0; i < COUNT; i++) {
		memcpy(bufs + (size_t)i * BLOCK, &i, sizeof(i));
		counted_io_set(&c[i], TI_IO_WRITE, i % 2 ? TI_META : TI_DATA, (uint64_t)i * BLOCK,
			       bufs + (size_t)i * BLOCK, BLOCK);
		ti_queue_submit(q, &c[i].io);
		if (i % 100 == 50) {
			counted_io_set(&c[COUNT + i / 100], TI_IO_FLUSH,
				       i % 200 == 50 ? TI_META : TI_DATA, 0, NULL, 0);
			ti_queue_submit(q, &c[COUNT + i / 100].io);
		}
	}
	for (; done < COUNT + 10; runs++) {
		done += ti_queue_run(q);
		if (done < COUNT + 10)
			q->ops->wait(q, TI_CLOCK_NEVER);
	}
	assert_int_equal(done, COUNT + 10);
	for (unsigned i = 0; i < COUNT + 10; i++) {
		assert_int_equal(c[i].completions, 1);
		assert_int_equal(c[i].io.result, 0);
	}
	for (unsigned i = 0; i < COUNT; i++) {
		unsigned found;

		assert_int_equal(ti_queue_sync(q, TI_IO_READ, i % 2 ? TI_META : TI_DATA,
					       (uint64_t)i * BLOCK, bufs, BLOCK),
				 0);
		memcpy(&found, bufs, sizeof(found));
		assert_int_equal(found, i);
	}
	ti_pair_close(q);
	free(bufs);
	free(c);
}

struct chain {
	struct ti_queue *q;
	struct counted_io c;
	unsigned left;
};

static void submit_again(struct ti_io *io)
{
	struct chain *chain = io->owner;

	assert_int_equal(io->result, 0);
	if (--chain->left == 0)
		return;
	io->op = chain->left % 2 ? TI_IO_WRITE : TI_IO_READ;
	io->dev = chain->left % 3 ? TI_META : TI_DATA;
	/* Now and then one that completes without the kernel. */
	io->len = chain->left % 5 ? BLOCK : 0;
	ti_queue_submit(chain->q, io);
}

static void done_may_submit_more(void **state)
{
	struct chain chain = { .q = *state, .left = 2000 };
	char *buf = testio_buffer(BLOCK, 0);

	counted_io_set(&chain.c, TI_IO_READ, TI_DATA, 0, buf, BLOCK);
	chain.c.io.done = submit_again;
	chain.c.io.owner = &chain;
	ti_queue_submit(chain.q, &chain.c.io);
	while (ti_queue_run(chain.q), chain.left > 0)
		chain.q->ops->wait(chain.q, TI_CLOCK_NEVER);
	free(buf);
}

/* ---- wait and wake ---- */

static uint64_t now_ns(void)
{
	return ti_clock_now(&ti_clock_monotonic);
}

static void wait_ends_at_its_deadline(void **state)
{
	struct ti_queue *q = *state;
	uint64_t began = now_ns();

	q->ops->wait(q, began + 30 * TI_NS_PER_MS);
	assert_true(now_ns() >= began + 30 * TI_NS_PER_MS);
	/* A deadline in the past. */
	q->ops->wait(q, began);
	q->ops->wait(q, 0);
}

static void wake_before_wait_ends_it(void **state)
{
	struct ti_queue *q = *state;
	uint64_t began = now_ns();

	q->ops->wake(q);
	q->ops->wake(q);
	q->ops->wait(q, TI_CLOCK_NEVER);
	/* Two wakes end one wait: the next lasts until its deadline. */
	q->ops->wait(q, began + 30 * TI_NS_PER_MS);
	assert_true(now_ns() >= began + 30 * TI_NS_PER_MS);
}

static void *wake_later(void *arg)
{
	const struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };
	struct ti_queue *q = arg;

	(void)nanosleep(&pause, NULL);
	q->ops->wake(q);
	return NULL;
}

static void wake_ends_a_wait_under_way(void **state)
{
	struct ti_queue *q = *state;
	pthread_t thread;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t deadline = i ? now_ns() + 3600 * TI_NS_PER_SEC : TI_CLOCK_NEVER;

		assert_int_equal(pthread_create(&thread, NULL, wake_later, q), 0);
		q->ops->wait(q, deadline);
		assert_int_equal(pthread_join(thread, NULL), 0);
	}
}

/* On the files or devices: what they take in two seconds. */
static void no_wake_up_is_lost(void **state)
{
	assert_true(blockdev_hammer(*state, 100000, 2 * TI_NS_PER_SEC) > 100);
}

/* On memory, where nothing limits the pace: discards are carried out by workers, reads at once. */
static void no_wake_up_is_lost_in_memory(void **state)
{
	struct testio_memory memory;
	struct ti_queue *q;

	(void)state;
	testio_memory_begin(&memory);
	q = testio_open(&memory.files, &(struct ti_pair_options){ .backend = on.backend });
	assert_true(blockdev_hammer(q, 100000, 10 * TI_NS_PER_SEC) > 1000);
	ti_pair_close(q);
	testio_memory_end(&memory);
}

/* ---- */

/* The devices are free again when close returns. */
static void closed_pair_can_be_opened_at_once(void **state)
{
	char *buf = testio_buffer(BLOCK, 1);

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		uint64_t began = now_ns();
		struct ti_queue *q = open_on(8);

		/* It was not the patience with dying holders that let us in. */
		assert_true(now_ns() - began < TI_NS_PER_SEC);
		assert_int_equal(ti_queue_sync(q, TI_IO_WRITE, TI_DATA, 0, buf, BLOCK), 0);
		ti_pair_close(q);
	}
	free(buf);
}

static int begin(void **state)
{
	(void)state;
	if (!on.devices)
		testio_files_begin(&on.files);
	/* A hang is a failure: SIGALRM ends the process. */
	(void)alarm(HANG_SECONDS);
	return 0;
}

static int end(void **state)
{
	(void)state;
	(void)alarm(0);
	if (!on.devices)
		testio_files_end(&on.files);
	return 0;
}

/*
 * Writes take the whole depth, or the only thread, and take long.  The two flushes are neither
 * behind them nor behind each other.
 */
static void slow_flushes_run_side_by_side(void **state)
{
	enum { WRITES = 4 };
	struct ti_queue *q = testio_open(&on.files, &(struct ti_pair_options){
							    .backend = on.backend,
							    .depth = 2,
							    .threads = 1,
						    });
	struct counted_io write[WRITES], flush[TI_DEVICES];
	char *buf = testio_buffer(BLOCK, 0);
	uint64_t began = now_ns(), took;
	unsigned written = 0;

	(void)state;
	for (unsigned i = 0; i < WRITES; i++) {
		counted_io_set(&write[i], TI_IO_WRITE, TI_DATA, (uint64_t)i * BLOCK, buf, BLOCK);
		ti_queue_submit(q, &write[i].io);
	}
	for (enum ti_device dev = TI_DATA; dev < TI_DEVICES; dev++) {
		counted_io_set(&flush[dev], TI_IO_FLUSH, dev, 0, NULL, 0);
		ti_queue_submit(q, &flush[dev].io);
	}
	for (enum ti_device dev = TI_DATA; dev < TI_DEVICES; dev++)
		assert_int_equal(counted_io_finish(q, &flush[dev]), 0);
	took = now_ns() - began;
	for (unsigned i = 0; i < WRITES; i++)
		written += write[i].completions;
	for (unsigned i = 0; i < WRITES; i++)
		assert_int_equal(counted_io_finish(q, &write[i]), 0);
	assert_true(took >= on.slow_flush_ns);
	assert_true(took < on.slow_flush_ns * 9 / 5);
	assert_true(written < WRITES);
	ti_pair_close(q);
	free(buf);
}

#define WITH_QUEUE(test) cmocka_unit_test_setup_teardown(test, queue_setup, queue_teardown)

int blockdev_cases_run(enum ti_backend backend, int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		WITH_QUEUE(written_blocks_read_back),
		WITH_QUEUE(scattered_memory_is_gathered_in_order),
		WITH_QUEUE(flushes_of_both_devices_complete),
		WITH_QUEUE(fua_write_completes),
		WITH_QUEUE(discard_zeroes_or_is_not_supported),
		WITH_QUEUE(empty_transfer_completes),
		WITH_QUEUE(io_beyond_the_end_is_refused),
		WITH_QUEUE(done_is_called_by_run_only),
		cmocka_unit_test(read_only_pair_refuses_writes),
		cmocka_unit_test(absent_data_device_is_no_device),
		cmocka_unit_test(more_than_the_depth_all_complete_once),
		WITH_QUEUE(done_may_submit_more),
		WITH_QUEUE(wait_ends_at_its_deadline),
		WITH_QUEUE(wake_before_wait_ends_it),
		WITH_QUEUE(wake_ends_a_wait_under_way),
		WITH_QUEUE(no_wake_up_is_lost),
		cmocka_unit_test(closed_pair_can_be_opened_at_once),
	};
	const struct CMUnitTest on_files[] = {
		WITH_QUEUE(shrunk_file_is_an_io_error),
		cmocka_unit_test(short_write_is_resumed_and_its_error_reported),
		cmocka_unit_test(short_read_is_resumed),
		cmocka_unit_test(no_wake_up_is_lost_in_memory),
	};
	const struct CMUnitTest on_slow_devices[] = {
		cmocka_unit_test(slow_flushes_run_side_by_side),
	};
	int failed = 0;

	on.backend = backend;
	on.devices = argc >= 3;
	if (on.devices) {
		for (unsigned i = 0; i < TI_DEVICES; i++)
			(void)snprintf(on.files.path[i], sizeof(on.files.path[i]), "%s",
				       argv[i + 1]);
	} else {
		failed = cmocka_run_group_tests_name("a back-end on files", on_files, begin, end);
	}
	if (argc == 4) {
		on.slow_flush_ns = strtoull(argv[3], NULL, 10) * TI_NS_PER_MS;
		return cmocka_run_group_tests_name("slow devices", on_slow_devices, begin, end);
	}
	return failed + cmocka_run_group_tests_name("a back-end", tests, begin, end);
}
