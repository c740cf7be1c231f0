/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * io_uring: what every back-end must do, and what only this one can get wrong.
 *
 * test_blockdev_uring [DATA META [MS]]: on these two devices, whose contents are lost.  With MS:
 * only that flushes run side by side; each device takes so many ms for one, and DATA longer for a
 * write.
 */
#include "blockdev_uring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cmocka.h>
#include <liburing.h>

#include "blockdev_cases.h"
#include "clock.h"
#include "flush_gauge.h"
#include "io_support.h"

#define BLOCK 4096U

/** ctest's exit status for "skipped". */
#define SKIPPED 77

static const struct ti_pair_options use_uring = { .backend = TI_BACKEND_URING };
static const struct ti_pair_options use_any = { .backend = TI_BACKEND_AUTO };

static void back_end_is_the_one_asked_for(void **state)
{
	struct ti_queue *q = testio_open(*state, &use_uring);

	assert_string_equal(q->ops->name, "io_uring");
	ti_pair_close(q);
	q = testio_open(*state, &use_any);
	assert_string_equal(q->ops->name, "io_uring");
	assert_int_equal(testio_logged("io_uring"), 0);
	ti_pair_close(q);
}

/* ---- who is woken ---- */

static void sleep_inside_run(struct ti_io *io)
{
	const struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };
	struct counted_io *c = io->owner;

	(void)nanosleep(&pause, NULL);
	c->completions++;
}

/* One flush in memory, which a worker does.  Returns whether run() left it to the eventfd. */
static bool flush_rings(struct ti_queue *q)
{
	struct counted_io flush;
	bool rings;

	counted_io_set(&flush, TI_IO_FLUSH, TI_DATA, 0, NULL, 0);
	ti_queue_submit(q, &flush.io);
	rings = ti_queue_run(q) == 0;
	assert_int_equal(counted_io_finish(q, &flush), 0);
	return rings;
}

/* The same, while run() is busy with something else.  Returns whether that run() reaped it. */
static bool flush_is_reaped(struct ti_queue *q)
{
	struct counted_io flush, busy;
	unsigned reaped;

	counted_io_set(&flush, TI_IO_FLUSH, TI_DATA, 0, NULL, 0);
	counted_io_set(&busy, TI_IO_READ, TI_DATA, 0, NULL, 0);
	busy.io.done = sleep_inside_run;
	ti_queue_submit(q, &flush.io);
	ti_queue_submit(q, &busy.io);
	reaped = ti_queue_run(q);
	assert_int_equal(counted_io_finish(q, &flush), 0);
	return reaped == 2;
}

/*
 * After a run() that left a completion to the eventfd, another run() reaps one itself: the eventfd
 * must not ring for that.  How fast the worker is decides which of the two it is: try until it was
 * as wanted.  With one CPU, workers may be so fast that nothing is ever left to the eventfd.
 */
static void reaped_completions_do_not_end_wait(void **state)
{
	struct testio_memory memory;
	bool rang = false, reaped = false;
	struct ti_queue *q;
	uint64_t began;

	(void)state;
	testio_memory_begin(&memory);
	q = testio_open(&memory.files, &use_uring);
	for (unsigned i = 0; i < 5000 && !rang; i++)
		rang = flush_rings(q);
	assert_true(rang || sysconf(_SC_NPROCESSORS_ONLN) == 1);
	for (unsigned i = 0; i < 100 && !reaped; i++) {
		/* If run() was faster than the eventfd, that has yet to be emptied. */
		q->ops->wait(q, ti_clock_now(&ti_clock_monotonic) + 5 * TI_NS_PER_MS);
		reaped = flush_is_reaped(q);
	}
	assert_true(reaped);
	began = ti_clock_now(&ti_clock_monotonic);
	q->ops->wait(q, began + 20 * TI_NS_PER_MS);
	assert_true(ti_clock_now(&ti_clock_monotonic) >= began + 20 * TI_NS_PER_MS);
	ti_pair_close(q);
	testio_memory_end(&memory);
}

/* The submitter sees neither its I/O's completion nor EINTR: it sleeps in ppoll(), as the runner.
 */
static void submitter_asleep_in_ppoll_is_not_disturbed(void **state)
{
	struct ti_queue *q = testio_open(*state, &use_uring);
	char *buf = testio_buffer(BLOCK, 0);
	struct counted_io c;
	unsigned asleep = 0;

	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(
			ti_queue_sync(q, TI_IO_WRITE, TI_DATA, (uint64_t)i * BLOCK, buf, BLOCK), 0);
	for (unsigned i = 0; i < 200; i++) {
		const struct timespec pause = { .tv_nsec = 2 * 1000 * 1000 };

		counted_io_set(&c, TI_IO_READ, TI_DATA, (uint64_t)i * BLOCK, buf, BLOCK);
		ti_queue_submit(q, &c.io);
		asleep += ti_queue_run(q) == 0;
		assert_int_equal(ppoll(NULL, 0, &pause, NULL), 0);
		assert_int_equal(counted_io_finish(q, &c), 0);
	}
	print_message("             %u of 200 completed during ppoll\n", asleep);
	ti_pair_close(q);
	free(buf);
}

/* ---- what is refused ---- */

static int fall_back(const struct testio_files *files, long number, int err)
{
	struct ti_queue *q;

	testio_refuse_syscall(number, err);
	q = testio_open(files, &use_any);
	if (strcmp(q->ops->name, "threads") != 0 || testio_logged("io_uring is refused") != 1)
		return 2;
	if (testio_logged(strerror(err)) != 1)
		return 3;
	if (ti_queue_sync(q, TI_IO_FLUSH, TI_DATA, 0, NULL, 0) != 0)
		return 4;
	ti_pair_close(q);
	return 0;
}

static int no_setup_enosys(void *files)
{
	return fall_back(files, SYS_io_uring_setup, ENOSYS);
}

static int no_setup_eperm(void *files)
{
	return fall_back(files, SYS_io_uring_setup, EPERM);
}

static int no_setup_enomem(void *files)
{
	return fall_back(files, SYS_io_uring_setup, ENOMEM);
}

static int no_enter(void *files)
{
	return fall_back(files, SYS_io_uring_enter, EPERM);
}

static void refused_io_uring_falls_back_to_threads(void **state)
{
	testio_in_child(no_setup_enosys, *state);
	testio_in_child(no_setup_eperm, *state);
	testio_in_child(no_setup_enomem, *state);
	testio_in_child(no_enter, *state);
}

/* Without register() we cannot even ask what the kernel can do. */
static int no_register(void *arg)
{
	struct ti_queue *q;

	testio_refuse_syscall(SYS_io_uring_register, EPERM);
	q = testio_open(arg, &use_any);
	if (strcmp(q->ops->name, "threads") != 0 || testio_logged("io_uring is refused") != 1)
		return 2;
	ti_pair_close(q);
	return 0;
}

static void unusable_io_uring_falls_back_to_threads(void **state)
{
	testio_in_child(no_register, *state);
}

static int insist(void *arg)
{
	const struct testio_files *files = arg;
	const struct ti_pair_options options = { .data_path = files->path[TI_DATA],
						 .meta_path = files->path[TI_META],
						 .backend = TI_BACKEND_URING };
	struct ti_error error = { 0 };
	struct ti_queue *q = NULL;

	testio_refuse_syscall(SYS_io_uring_setup, EPERM);
	if (ti_pair_open(&options, NULL, &q, &error) != -EPERM || q)
		return 2;
	return strstr(error.text, "io_uring_disabled") ? 0 : 3;
}

static void refused_io_uring_is_an_error_when_asked_for(void **state)
{
	testio_in_child(insist, *state);
}

/* The ring is taken away while we use it: I/O fails, it does not hang. */
static int lose_enter(void *arg)
{
	struct ti_queue *q = testio_open(arg, &use_uring);
	char *buf = testio_buffer(BLOCK, 0);
	struct counted_io c[600];

	testio_refuse_syscall(SYS_io_uring_enter, EACCES);
	for (unsigned i = 0; i < 600; i++) {
		counted_io_set(&c[i], TI_IO_READ, TI_DATA, 0, buf, BLOCK);
		ti_queue_submit(q, &c[i].io);
	}
	if (ti_queue_run(q) != 600)
		return 2;
	for (unsigned i = 0; i < 600; i++) {
		if (c[i].completions != 1 || c[i].io.result != -EACCES)
			return 3;
	}
	ti_pair_close(q);
	free(buf);
	return 0;
}

static void io_fails_when_the_ring_is_taken_away(void **state)
{
	testio_in_child(lose_enter, *state);
}

/*
 * The kernel takes no request for now, for want of memory: run() does not spin, and whoever waits
 * comes back.  Only this thread is refused, so the main thread's run() then succeeds.
 */
static void *submit_in_vain(void *arg)
{
	struct ti_queue *q = arg;

	testio_refuse_syscall(SYS_io_uring_enter, EAGAIN);
	for (unsigned i = 0; i < 3; i++) {
		if (ti_queue_run(q) != 0)
			_exit(5);
	}
	return NULL;
}

static int stall(void *arg)
{
	struct ti_queue *q = testio_open(arg, &use_uring);
	char *buf = testio_buffer(BLOCK, 0);
	struct counted_io c;
	pthread_t thread;

	counted_io_set(&c, TI_IO_READ, TI_DATA, 0, buf, BLOCK);
	ti_queue_submit(q, &c.io);
	if (pthread_create(&thread, NULL, submit_in_vain, q) != 0 ||
	    pthread_join(thread, NULL) != 0)
		return 2;
	/* Would sleep for ever if the stall had not been announced. */
	q->ops->wait(q, TI_CLOCK_NEVER);
	if (c.completions != 0 || counted_io_finish(q, &c) != 0)
		return 3;
	ti_pair_close(q);
	free(buf);
	return 0;
}

static void stalled_submission_is_tried_again(void **state)
{
	testio_in_child(stall, *state);
}

/* Nothing submitted, nothing completed: no system call.  One would end the process. */
static int run_idle(void *arg)
{
	static const long forbidden[] = { SYS_io_uring_enter, SYS_io_uring_register, SYS_fdatasync,
					  SYS_ppoll };
	struct ti_queue *q = testio_open(arg, &use_uring);

	if (ti_queue_sync(q, TI_IO_FLUSH, TI_META, 0, NULL, 0) != 0)
		return 2;
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		struct sock_filter code[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)forbidden[i], 0, 1),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		};
		struct sock_fprog program = { .len = 4, .filter = code };

		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
			return 99;
	}
	for (unsigned i = 0; i < 1000; i++) {
		if (ti_queue_run(q) != 0)
			return 3;
	}
	_exit(0); /* closing would need the ring's system calls */
}

static void idle_run_makes_no_system_call(void **state)
{
	testio_in_child(run_idle, *state);
}

/* ---- flushes of devices without a volatile cache ---- */

/* Two files in memory as if they were such devices; @fua: and as if they took FUA writes. */
static struct ti_queue *open_write_through(const struct testio_files *files, bool fua)
{
	struct ti_host_device dev[TI_DEVICES];
	struct ti_queue *q = NULL;
	const char *refused;

	for (unsigned i = 0; i < TI_DEVICES; i++) {
		dev[i] = (struct ti_host_device){
			.fd = open(files->path[i], O_RDWR | O_CLOEXEC),
			.path = strdup(files->path[i]),
			.info = { .name = "write through",
				  .size = TESTIO_BYTES,
				  .logical_block_size = 512,
				  .memory_align = 1,
				  .has_volatile_cache = false,
				  .fua = fua },
		};
		if (dev[i].fd < 0)
			_exit(98);
	}
	if (ti_uring_open(dev, 4, &q, &refused) != 0)
		_exit(97);
	return q;
}

static int write_fua(struct ti_queue *q, void *buf)
{
	struct counted_io c;

	counted_io_set(&c, TI_IO_WRITE, TI_DATA, 0, buf, BLOCK);
	c.io.fua = true;
	ti_queue_submit(q, &c.io);
	return counted_io_finish(q, &c);
}

/* A clock by which nothing takes long: what is inline stays inline. */
static uint64_t standing_now_ns(struct ti_clock *clock)
{
	(void)clock;
	return 1;
}

/* A clock by which everything takes long. */
static uint64_t jumping_now_ns(struct ti_clock *clock)
{
	static uint64_t now_ns;

	(void)clock;
	return now_ns += 5 * TI_NS_PER_MS;
}

/* The call is made, and its failure reaches every flush and FUA write that it was for. */
static int fail_inline_flushes(void *arg)
{
	struct ti_queue *q = open_write_through(arg, false);
	char *buf = testio_buffer(BLOCK, 0);
	struct counted_io c[5];

	ti_clock_monotonic.now_ns = standing_now_ns;
	if (ti_queue_sync(q, TI_IO_FLUSH, TI_DATA, 0, NULL, 0) != 0 || write_fua(q, buf) != 0)
		return 2;
	testio_refuse_syscall(SYS_fdatasync, EIO);
	for (unsigned i = 0; i < 5; i++) {
		counted_io_set(&c[i], TI_IO_FLUSH, i % 2 ? TI_META : TI_DATA, 0, NULL, 0);
		ti_queue_submit(q, &c[i].io);
	}
	if (ti_queue_run(q) != 5)
		return 3;
	for (unsigned i = 0; i < 5; i++) {
		if (c[i].completions != 1 || c[i].io.result != -EIO)
			return 4;
	}
	if (write_fua(q, buf) != -EIO)
		return 5;
	ti_pair_close(q);
	/* A device that takes FUA writes needs no flush after one. */
	q = open_write_through(arg, true);
	if (write_fua(q, buf) != 0)
		return 6;
	ti_pair_close(q);
	free(buf);
	return 0;
}

static void failed_inline_flush_is_reported(void **state)
{
	struct testio_memory memory;

	(void)state;
	testio_memory_begin(&memory);
	testio_in_child(fail_inline_flushes, &memory.files);
	testio_memory_end(&memory);
}

/*
 * An inline flush took long: workers do the next ones, which no longer get fdatasync()'s error; the
 * other device's flushes are inline still, and so are the first one's again after its probation.
 */
static int flush_slow_device(void *arg)
{
	struct ti_queue *q = open_write_through(arg, false);

	ti_clock_monotonic.now_ns = jumping_now_ns;
	if (ti_queue_sync(q, TI_IO_FLUSH, TI_DATA, 0, NULL, 0) != 0)
		return 2;
	ti_clock_monotonic.now_ns = standing_now_ns;
	testio_refuse_syscall(SYS_fdatasync, EIO);
	for (unsigned i = 0; i < TI_FLUSH_PROBATION; i++) {
		if (ti_queue_sync(q, TI_IO_FLUSH, TI_DATA, 0, NULL, 0) != 0)
			return 3;
		if (ti_queue_sync(q, TI_IO_FLUSH, TI_META, 0, NULL, 0) != -EIO)
			return 4;
	}
	if (ti_queue_sync(q, TI_IO_FLUSH, TI_DATA, 0, NULL, 0) != -EIO)
		return 5;
	ti_pair_close(q);
	return 0;
}

static void slow_inline_flushes_are_given_to_workers(void **state)
{
	struct testio_memory memory;

	(void)state;
	testio_memory_begin(&memory);
	testio_in_child(flush_slow_device, &memory.files);
	testio_memory_end(&memory);
}

/* ---- one flush of a device at a time ---- */

int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);

/* While it is not NULL, and has not come back, another flush of META that is handed in is one too
 * many. */
static const struct counted_io *first_flush;
static unsigned handed_in, too_many;

int __wrap_io_uring_submit(struct io_uring *ring)
{
	const struct io_uring_sq *sq = &ring->sq;

	for (unsigned i = *sq->khead; first_flush != NULL && i != sq->sqe_tail; i++) {
		const struct io_uring_sqe *sqe = &sq->sqes[i & sq->ring_mask];

		if (sqe->opcode != IORING_OP_FSYNC || sqe->fd != TI_META)
			continue;
		too_many += handed_in > 0 && first_flush->completions == 0;
		handed_in++;
	}
	return __real_io_uring_submit(ring);
}

/* A later one's success must not be seen before an earlier one's failure.  Those that are handed in
 * together share a call, those that come while it is made share the next. */
static void flushes_of_one_device_are_never_under_way_together(void **state)
{
	struct ti_queue *q = testio_open(*state, &use_uring);
	char *buf = testio_buffer(BLOCK, 0);
	struct counted_io c[5];

	first_flush = &c[0];
	handed_in = too_many = 0;
	for (unsigned i = 0; i < 5; i++)
		counted_io_set(&c[i], TI_IO_FLUSH, i == 4 ? TI_DATA : TI_META, 0, NULL, 0);
	/* A FUA write to a file is a write and a flush. */
	counted_io_set(&c[3], TI_IO_WRITE, TI_META, 0, buf, BLOCK);
	c[3].io.fua = true;
	ti_queue_submit(q, &c[0].io);
	ti_queue_submit(q, &c[1].io);
	(void)ti_queue_run(q);
	for (unsigned i = 2; i < 5; i++)
		ti_queue_submit(q, &c[i].io);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(counted_io_finish(q, &c[i]), 0);
		assert_int_equal(c[i].completions, 1);
	}
	first_flush = NULL;
	assert_int_equal(too_many, 0);
	assert_in_range(handed_in, 2, 3);
	ti_pair_close(q);
	free(buf);
}

/* ---- */

static bool have_io_uring(void)
{
	struct io_uring ring;
	int err = io_uring_queue_init(4, &ring, 0);

	if (err) {
		print_message("skipped: io_uring is refused here (%s)\n", strerror(-err));
		return false;
	}
	io_uring_queue_exit(&ring);
	return true;
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
		cmocka_unit_test(reaped_completions_do_not_end_wait),
		cmocka_unit_test(submitter_asleep_in_ppoll_is_not_disturbed),
		cmocka_unit_test(refused_io_uring_falls_back_to_threads),
		cmocka_unit_test(unusable_io_uring_falls_back_to_threads),
		cmocka_unit_test(refused_io_uring_is_an_error_when_asked_for),
		cmocka_unit_test(io_fails_when_the_ring_is_taken_away),
		cmocka_unit_test(stalled_submission_is_tried_again),
		cmocka_unit_test(idle_run_makes_no_system_call),
		cmocka_unit_test(failed_inline_flush_is_reported),
		cmocka_unit_test(slow_inline_flushes_are_given_to_workers),
		cmocka_unit_test(flushes_of_one_device_are_never_under_way_together),
	};
	int failed;

	if (!have_io_uring())
		return SKIPPED;
	failed = blockdev_cases_run(TI_BACKEND_URING, argc, argv);
	if (argc > 1)
		return failed;
	return failed + cmocka_run_group_tests_name("io_uring", tests, begin, end);
}
