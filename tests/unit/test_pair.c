/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* Opening a pair: what is refused, how it is said, and who is kept out. */
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
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
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "clock.h"
#include "io_support.h"

#define NOBODY 65534

/* Expect ti_pair_open() to fail with @err and a sentence that has all of the words in it. */
static void expect_refused(const struct ti_pair_options *options, int err, const char *words[])
{
	struct ti_error error = { 0 };
	struct ti_queue *q = NULL;

	assert_int_equal(ti_pair_open(options, NULL, &q, &error), err);
	assert_null(q);
	assert_int_equal(error.err, err);
	for (; *words; words++) {
		if (!strstr(error.text, *words))
			fail_msg("no \"%s\" in: %s", *words, error.text);
	}
}

#define EXPECT_REFUSED(options, err, ...)                                                          \
	expect_refused(options, err, (const char *[]){ __VA_ARGS__, NULL })

/* The pair can be opened and closed: nothing of an earlier attempt holds it. */
static void expect_opens(const struct ti_pair_options *options)
{
	struct ti_error error = { 0 };
	struct ti_queue *q = NULL;

	if (ti_pair_open(options, NULL, &q, &error) != 0)
		fail_msg("%s", error.text);
	ti_pair_close(q);
}

static struct ti_pair_options pair_of(const struct testio_files *files)
{
	return (struct ti_pair_options){ .data_path = files->path[TI_DATA],
					 .meta_path = files->path[TI_META] };
}

/* ---- what is no pair ---- */

static void missing_device_is_named_and_not_created(void **state)
{
	struct ti_pair_options options = pair_of(*state);

	options.meta_path = "no-such-file";
	EXPECT_REFUSED(&options, -ENOENT, "metadata device no-such-file", "does not exist");
	assert_int_not_equal(access("no-such-file", F_OK), 0);
	options.meta_path = options.data_path;
	options.data_path = "no-such-directory/file";
	EXPECT_REFUSED(&options, -ENOENT, "data device no-such-directory/file", "does not exist");
}

static void what_holds_no_blocks_is_refused(void **state)
{
	const struct testio_files *files = *state;
	struct ti_pair_options options = pair_of(files);
	char fifo[96];

	options.data_path = files->dir;
	EXPECT_REFUSED(&options, -EISDIR, "data device", "a directory");
	options.data_path = "/dev/null";
	EXPECT_REFUSED(&options, -ENOTBLK, "/dev/null", "a character device");
	(void)snprintf(fifo, sizeof(fifo), "%s/fifo", files->dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	options.data_path = fifo;
	/* Opening it would wait for a writer. */
	EXPECT_REFUSED(&options, -ENOTBLK, "neither a block device nor a file");
	assert_int_equal(unlink(fifo), 0);
}

static void one_device_under_two_names_is_refused(void **state)
{
	const struct testio_files *files = *state;
	struct ti_pair_options options = pair_of(files);
	char other[96];

	options.data_path = options.meta_path;
	EXPECT_REFUSED(&options, -EBUSY, "are the same device");
	(void)snprintf(other, sizeof(other), "%s/other", files->dir);
	options.data_path = other;
	assert_int_equal(symlink("meta", other), 0);
	EXPECT_REFUSED(&options, -EBUSY, other, "are the same device");
	assert_int_equal(unlink(other), 0);
	assert_int_equal(link(options.meta_path, other), 0);
	EXPECT_REFUSED(&options, -EBUSY, other, "are the same device");
	assert_int_equal(unlink(other), 0);
}

static void options_that_contradict_are_refused(void **state)
{
	struct ti_pair_options options = pair_of(*state);

	options.no_lock = true;
	EXPECT_REFUSED(&options, -EINVAL, "without a lock");
	options = pair_of(*state);
	options.meta_path = NULL;
	EXPECT_REFUSED(&options, -EINVAL, "no metadata device");
}

static int refuse_nobody(void *arg)
{
	const struct ti_pair_options *options = arg;

	/* Root may do everything: become somebody else. */
	if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) != 0)
		return 2;
	EXPECT_REFUSED(options, -EACCES, options->data_path);
	return 0;
}

static void file_without_permission_is_refused(void **state)
{
	struct ti_pair_options options = pair_of(*state);

	assert_int_equal(chmod(options.data_path, 0444), 0);
	testio_in_child(refuse_nobody, &options);
	assert_int_equal(chmod(options.data_path, 0600), 0);
	expect_opens(&options);
}

static void failed_open_of_one_device_releases_the_other(void **state)
{
	struct ti_pair_options options = pair_of(*state);
	const char *meta = options.meta_path;

	options.meta_path = "no-such-file";
	EXPECT_REFUSED(&options, -ENOENT, "no-such-file");
	options.meta_path = meta;
	assert_int_equal(truncate(meta, 0), 0);
	EXPECT_REFUSED(&options, -EINVAL, meta, "is empty");
	assert_int_equal(truncate(meta, 511), 0);
	EXPECT_REFUSED(&options, -EINVAL, meta, "is empty");
	assert_int_equal(truncate(meta, (off_t)TESTIO_BYTES), 0);
	expect_opens(&options);
}

/* ---- what is learnt of a pair ---- */

static void size_is_in_whole_sectors(void **state)
{
	const struct testio_files *files = *state;
	const struct ti_pair_options any = { .backend = TI_BACKEND_AUTO };
	struct ti_queue *q;

	assert_int_equal(truncate(files->path[TI_DATA], 1000 * 512 + 511), 0);
	q = testio_open(files, &any);
	assert_int_equal(q->dev[TI_DATA].size, 1000 * 512);
	assert_int_equal(q->dev[TI_META].size, TESTIO_BYTES);
	assert_string_equal(q->dev[TI_DATA].name, files->path[TI_DATA]);
	assert_string_equal(q->dev[TI_META].name, files->path[TI_META]);
	assert_true(q->dev[TI_DATA].has_volatile_cache);
	assert_false(q->dev[TI_DATA].read_only);
	ti_pair_close(q);
	assert_int_equal(truncate(files->path[TI_DATA], (off_t)TESTIO_BYTES), 0);
}

/* What the queue says of alignment is enough for the I/O that keeps to it. */
static void stated_alignment_is_enough(void **state)
{
	const struct ti_pair_options any = { .backend = TI_BACKEND_AUTO };
	struct ti_queue *q = testio_open(*state, &any);
	const struct ti_device_info *info = &q->dev[TI_META];
	char *buf = testio_buffer(2 * 65536, 0);

	assert_true(info->logical_block_size >= 512 && info->memory_align >= 1);
	assert_int_equal(ti_queue_sync(q, TI_IO_WRITE, TI_META, info->logical_block_size,
				       buf + info->memory_align, info->logical_block_size),
			 0);
	assert_int_equal(ti_queue_sync(q, TI_IO_READ, TI_META, info->logical_block_size,
				       buf + 3 * info->memory_align, info->logical_block_size),
			 0);
	ti_pair_close(q);
	free(buf);
}

/* A file system that refuses O_DIRECT: the page cache it is, and one line for each file. */
static int open_without_direct_io(void *arg)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_DIRECT, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };
	const struct ti_pair_options any = { .backend = TI_BACKEND_AUTO };
	struct ti_queue *q;
	char in[100] = { 0 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		return 2;
	q = testio_open(arg, &any);
	if (testio_logged("without direct I/O") != 2)
		return 3;
	if (q->dev[TI_DATA].memory_align != 1 || q->dev[TI_DATA].logical_block_size != 512)
		return 4;
	/* And not aligned at all. */
	if (ti_queue_sync(q, TI_IO_WRITE, TI_DATA, 3, (char[]){ "any address" }, 11) != 0 ||
	    ti_queue_sync(q, TI_IO_FLUSH, TI_DATA, 0, NULL, 0) != 0 ||
	    ti_queue_sync(q, TI_IO_READ, TI_DATA, 1, in + 1, 50) != 0)
		return 5;
	ti_pair_close(q);
	return memcmp(in + 3, "any address", 11) == 0 ? 0 : 6;
}

static void without_direct_io_the_page_cache_is_used(void **state)
{
	testio_in_child(open_without_direct_io, *state);
}

/* ---- who is kept out ---- */

static void open_pair_is_locked_against_a_second_opener(void **state)
{
	struct ti_pair_options options = pair_of(*state), reader = options;
	const struct ti_pair_options any = { .backend = TI_BACKEND_AUTO };
	struct ti_queue *q = testio_open(*state, &any);
	char pid[16];

	(void)snprintf(pid, sizeof(pid), "%d", getpid());
	EXPECT_REFUSED(&options, -EBUSY, options.data_path, "this very process", pid, "stop that");
	reader.read_only = true;
	EXPECT_REFUSED(&reader, -EBUSY, reader.data_path, "locked by");
	ti_pair_close(q);
	expect_opens(&options);
}

static void readers_share_files_and_keep_writers_out(void **state)
{
	struct ti_pair_options writer = pair_of(*state), reader = writer;
	const struct ti_pair_options read_only = { .read_only = true };
	struct ti_queue *q = testio_open(*state, &read_only);

	reader.read_only = true;
	expect_opens(&reader);
	EXPECT_REFUSED(&writer, -EBUSY, "locked by");
	ti_pair_close(q);
	expect_opens(&writer);
}

static void reader_without_lock_sees_a_pair_in_use(void **state)
{
	struct ti_pair_options options = pair_of(*state);
	const struct ti_pair_options any = { .backend = TI_BACKEND_AUTO };
	struct ti_queue *q = testio_open(*state, &any);

	options.read_only = true;
	options.no_lock = true;
	expect_opens(&options);
	/* Which has not let go of the other's lock. */
	options = pair_of(*state);
	EXPECT_REFUSED(&options, -EBUSY, "locked by");
	ti_pair_close(q);
}

static void peek_locks_nothing_and_sees_who_holds_a_pair(void **state)
{
	struct ti_pair_options options = pair_of(*state), peek = options;
	struct ti_error error = { 0 };
	struct ti_queue *q;

	peek.peek = true;
	assert_int_equal(ti_pair_open(&peek, &testio_log, &q, &error), 0);
	expect_opens(&options);
	assert_int_equal(fcntl(ti_pair_fd(q, TI_DATA), F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(ti_pair_fd(q, TI_META), F_GETFL) & O_ACCMODE, O_RDONLY);
	ti_pair_close(q);
	q = testio_open(*state, &(const struct ti_pair_options){ .backend = TI_BACKEND_AUTO });
	EXPECT_REFUSED(&peek, -EBUSY, "locked by this very process");
	ti_pair_close(q);
	expect_opens(&peek);
}

/* A child that holds a lock on @path until it is killed; it has written to @ready by then. */
static pid_t start_holder(const char *path)
{
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		(void)prctl(PR_SET_NAME, "lock-holder", 0, 0, 0);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		if (fd < 0 || flock(fd, LOCK_EX) != 0 || write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(close(ready[0]), 0);
	assert_int_equal(close(ready[1]), 0);
	return pid;
}

static void holder_of_a_lock_is_named_at_once(void **state)
{
	struct ti_pair_options options = pair_of(*state);
	pid_t holder = start_holder(options.meta_path);
	uint64_t began = ti_clock_now(&ti_clock_monotonic);
	char who[64];

	(void)snprintf(who, sizeof(who), "process %d (lock-holder)", holder);
	EXPECT_REFUSED(&options, -EBUSY, "metadata device", options.meta_path, who, "stop that");
	/* A holder that lives is not waited for. */
	assert_true(ti_clock_now(&ti_clock_monotonic) - began < TI_NS_PER_SEC);
	assert_int_equal(kill(holder, SIGKILL), 0);
	assert_int_equal(waitpid(holder, NULL, 0), holder);
	expect_opens(&options);
}

/*
 * A lock without a process: its file descriptor is on its way through a socket, and who sent it has
 * ended.  This is how it looks while the kernel takes apart the io_uring of a killed process.
 */
static int orphan_a_lock(const char *path)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)),
				  .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { .iov_base = (char[]){ "x" }, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	int sockets[2], status;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || flock(fd, LOCK_EX) != 0)
			_exit(1);
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		_exit(sendmsg(sockets[1], &message, 0) == 1 ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(close(sockets[1]), 0);
	return sockets[0];
}

static void *close_later(void *arg)
{
	const struct timespec pause = { .tv_nsec = 200 * 1000 * 1000 };
	int *fd = arg;

	(void)nanosleep(&pause, NULL);
	(void)close(*fd);
	return NULL;
}

static void lock_of_a_dead_process_is_waited_for(void **state)
{
	struct ti_pair_options options = pair_of(*state);
	int orphan = orphan_a_lock(options.data_path);
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, close_later, &orphan), 0);
	expect_opens(&options);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void lock_of_nobody_is_not_waited_for_for_ever(void **state)
{
	struct ti_pair_options options = pair_of(*state);
	int orphan = orphan_a_lock(options.data_path);

	EXPECT_REFUSED(&options, -EBUSY, options.data_path, "cannot be seen");
	assert_int_equal(close(orphan), 0);
	expect_opens(&options);
}

static void closing_nothing_is_fine(void **state)
{
	(void)state;
	ti_pair_close(NULL);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(missing_device_is_named_and_not_created),
		cmocka_unit_test(what_holds_no_blocks_is_refused),
		cmocka_unit_test(one_device_under_two_names_is_refused),
		cmocka_unit_test(options_that_contradict_are_refused),
		cmocka_unit_test(peek_locks_nothing_and_sees_who_holds_a_pair),
		cmocka_unit_test(file_without_permission_is_refused),
		cmocka_unit_test(failed_open_of_one_device_releases_the_other),
		cmocka_unit_test(size_is_in_whole_sectors),
		cmocka_unit_test(stated_alignment_is_enough),
		cmocka_unit_test(without_direct_io_the_page_cache_is_used),
		cmocka_unit_test(open_pair_is_locked_against_a_second_opener),
		cmocka_unit_test(readers_share_files_and_keep_writers_out),
		cmocka_unit_test(reader_without_lock_sees_a_pair_in_use),
		cmocka_unit_test(holder_of_a_lock_is_named_at_once),
		cmocka_unit_test(lock_of_a_dead_process_is_waited_for),
		cmocka_unit_test(lock_of_nobody_is_not_waited_for_for_ever),
		cmocka_unit_test(closing_nothing_is_fine),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
