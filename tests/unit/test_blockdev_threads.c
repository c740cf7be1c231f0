/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The thread pool: what every back-end must do, and what only this one can get wrong.
 *
 * test_blockdev_threads [DATA META [MS]]: on these two devices, whose contents are lost.  With MS:
 * only that flushes run side by side; each device takes so many ms for one, and DATA longer for a
 * write.
 */
#include "blockdev_threads.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "blockdev_cases.h"
#include "io_support.h"
#include "io_thread.h"

#define BLOCK 4096U

static struct ti_queue *open_threads(const struct testio_files *files, unsigned threads)
{
	return testio_open(files, &(struct ti_pair_options){ .backend = TI_BACKEND_THREADS,
							     .threads = threads });
}

static void back_end_is_the_one_asked_for(void **state)
{
	struct ti_queue *q = open_threads(*state, 0);

	assert_string_equal(q->ops->name, "threads");
	assert_int_equal(testio_logged("io_uring"), 0);
	ti_pair_close(q);
}

/* One thread for transfers, and it is kept busy: flushes are not behind it, nor each other. */
static void one_thread_serves_everything(void **state)
{
	enum { COUNT = 64 };
	struct ti_queue *q = open_threads(*state, 1);
	struct counted_io c[COUNT], flush[TI_DEVICES];
	char *buf = testio_buffer(16 * BLOCK, 0x31);

	for (unsigned i = 0; i < COUNT; i++) {
		counted_io_set(&c[i], TI_IO_WRITE, i % 2 ? TI_META : TI_DATA,
			       (uint64_t)i * 16 * BLOCK, buf, 16 * BLOCK);
		ti_queue_submit(q, &c[i].io);
	}
	for (enum ti_device dev = TI_DATA; dev < TI_DEVICES; dev++) {
		counted_io_set(&flush[dev], TI_IO_FLUSH, dev, 0, NULL, 0);
		ti_queue_submit(q, &flush[dev].io);
	}
	for (enum ti_device dev = TI_DATA; dev < TI_DEVICES; dev++)
		assert_int_equal(counted_io_finish(q, &flush[dev]), 0);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(counted_io_finish(q, &c[i]), 0);
	ti_pair_close(q);
	free(buf);
}

/* fdatasync() fails: the flush says so, and so does a FUA write; a plain write does not. */
static int fail_flushes(void *arg)
{
	const struct testio_files *files = arg;
	char *buf = testio_buffer(BLOCK, 0);
	struct counted_io c;
	struct ti_queue *q;
	int fua;

	testio_refuse_syscall(SYS_fdatasync, EIO);
	q = open_threads(files, 2);
	if (ti_queue_sync(q, TI_IO_FLUSH, TI_DATA, 0, NULL, 0) != -EIO ||
	    ti_queue_sync(q, TI_IO_FLUSH, TI_META, 0, NULL, 0) != -EIO)
		return 2;
	counted_io_set(&c, TI_IO_WRITE, TI_DATA, 0, buf, BLOCK);
	c.io.fua = true;
	ti_queue_submit(q, &c.io);
	fua = counted_io_finish(q, &c);
	if (fua != -EIO)
		return 3;
	if (ti_queue_sync(q, TI_IO_WRITE, TI_DATA, 0, buf, BLOCK) != 0)
		return 4;
	ti_pair_close(q);
	free(buf);
	return 0;
}

static void failed_flush_is_reported(void **state)
{
	testio_in_child(fail_flushes, *state);
}

/* The pool's threads take no signal that is meant for the process. */
static int signal_the_process(void *arg)
{
	sigset_t usr1, before;
	struct timespec second = { .tv_sec = 5 };
	struct ti_queue *q;

	(void)pthread_sigmask(SIG_SETMASK, NULL, &before);
	q = open_threads(arg, 4);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	(void)pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	/* Default action: it would end us if a thread of the pool had it unblocked. */
	(void)kill(getpid(), SIGUSR1);
	if (sigtimedwait(&usr1, NULL, &second) != SIGUSR1)
		return 2;
	ti_pair_close(q);
	/* And opening the pool has left our own mask alone. */
	return sigismember(&before, SIGUSR1) == 0 ? 0 : 3;
}

static void pool_takes_no_signals(void **state)
{
	testio_in_child(signal_the_process, *state);
}

/* What each thread has got for itself is counted, and what it was refused is not. */
static int count_what_threads_get(void *arg)
{
	bool may = ti_io_thread_become_flusher() == 0;
	struct ti_queue *q = open_threads(arg, 4);
	bool refused = false;

	if (q->threads.count != 6 || q->threads.io_flushers != (may ? 6 : 0) ||
	    q->threads.locked_stacks != 6)
		return 2;
	ti_pair_close(q);
	testio_refuse_syscall(SYS_mlock, EPERM);
	testio_refuse_syscall(SYS_prctl, EPERM);
	/* The address sanitizer has an mlock() of its own, which does nothing and says so. */
	refused = mlock(&refused, sizeof(refused)) != 0;
	q = open_threads(arg, 4);
	if (q->threads.count != 6 || q->threads.io_flushers != 0 ||
	    q->threads.locked_stacks != (refused ? 0 : 6) || q->unlocked_memory != refused)
		return 3;
	ti_pair_close(q);
	return 0;
}

static void what_threads_get_is_counted(void **state)
{
	testio_in_child(count_what_threads_get, *state);
}

/* Threads that cannot be started: an error, and what was started is gone. */
static int start_no_threads(void *arg)
{
	const struct testio_files *files = arg;
	const struct ti_pair_options options = { .data_path = files->path[TI_DATA],
						 .meta_path = files->path[TI_META],
						 .backend = TI_BACKEND_THREADS };
	struct ti_error error = { 0 };
	struct ti_queue *q = NULL;

	testio_refuse_syscall(SYS_clone3, EAGAIN);
	testio_refuse_syscall(SYS_clone, EAGAIN);
	if (ti_pair_open(&options, NULL, &q, &error) != -EAGAIN || q)
		return 2;
	/* LeakSanitizer would want to start a thread on a proper exit. */
	_exit(strstr(error.text, "threads") ? 0 : 3);
}

static void refused_threads_are_an_error(void **state)
{
	testio_in_child(start_no_threads, *state);
}

static int begin(void **state)
{
	static struct testio_files files;

	testio_files_begin(&files);
	*state = &files;
	(void)alarm(60);
	return 0;
}

static int end(void **state)
{
	(void)alarm(0);
	testio_files_end(*state);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(back_end_is_the_one_asked_for),
		cmocka_unit_test(one_thread_serves_everything),
		cmocka_unit_test(failed_flush_is_reported),
		cmocka_unit_test(pool_takes_no_signals),
		cmocka_unit_test(what_threads_get_is_counted),
		cmocka_unit_test(refused_threads_are_an_error),
	};
	int failed = blockdev_cases_run(TI_BACKEND_THREADS, argc, argv);

	if (argc > 1)
		return failed;
	return failed + cmocka_run_group_tests_name("the thread pool", tests, begin, end);
}
