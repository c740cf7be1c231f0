/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See io_support.h. */
#include "io_support.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "clock.h"

#define BLOCK 4096U

/** A child that takes longer hangs. */
#define HANG_SECONDS 90U

/* Lines of the last open, with their newlines; what does not fit is cut. */
static char log_text[4096];

static void keep_line(void *ctx, enum ti_log_level level, const char *text)
{
	(void)ctx;
	if (level <= TI_LOG_WARN) {
		size_t used = strlen(log_text);

		(void)snprintf(log_text + used, sizeof(log_text) - used, "%s\n", text);
	}
}

const struct ti_log testio_log = { .line = keep_line };

void testio_files_begin(struct testio_files *files)
{
	(void)snprintf(files->dir, sizeof(files->dir), "blockdev-test-XXXXXX");
	assert_non_null(mkdtemp(files->dir));
	for (unsigned i = 0; i < TI_DEVICES; i++) {
		int fd;

		(void)snprintf(files->path[i], sizeof(files->path[i]), "%s/%s", files->dir,
			       i == TI_DATA ? "data" : "meta");
		fd = open(files->path[i], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
		assert_int_equal(ftruncate(fd, (off_t)TESTIO_BYTES), 0);
		assert_int_equal(close(fd), 0);
	}
}

void testio_files_end(struct testio_files *files)
{
	for (unsigned i = 0; i < TI_DEVICES; i++)
		(void)unlink(files->path[i]);
	(void)rmdir(files->dir);
}

void testio_memory_begin(struct testio_memory *memory)
{
	memory->files.dir[0] = '\0';
	for (unsigned i = 0; i < TI_DEVICES; i++) {
		int fd = memfd_create("pair", MFD_CLOEXEC);

		assert_true(fd >= 0);
		assert_int_equal(ftruncate(fd, (off_t)TESTIO_BYTES), 0);
		(void)snprintf(memory->files.path[i], sizeof(memory->files.path[i]),
			       "/proc/self/fd/%d", fd);
		memory->fd[i] = fd;
	}
}

void testio_memory_end(struct testio_memory *memory)
{
	for (unsigned i = 0; i < TI_DEVICES; i++)
		assert_int_equal(close(memory->fd[i]), 0);
}

struct ti_queue *testio_open(const struct testio_files *files,
			     const struct ti_pair_options *options)
{
	struct ti_pair_options all = *options;
	struct ti_error error = { 0 };
	struct ti_queue *q = NULL;

	all.data_path = files->path[TI_DATA];
	all.meta_path = files->path[TI_META];
	log_text[0] = '\0';
	if (ti_pair_open(&all, &testio_log, &q, &error) != 0)
		fail_msg("%s", error.text);
	assert_non_null(q);
	return q;
}

unsigned testio_logged(const char *words)
{
	unsigned count = 0;

	for (const char *line = log_text; *line; line = strchr(line, '\n') + 1) {
		const char *found = strstr(line, words);

		count += found && found < strchr(line, '\n');
	}
	return count;
}

void *testio_buffer(size_t size, int fill)
{
	void *p = NULL;

	assert_int_equal(posix_memalign(&p, BLOCK, size), 0);
	memset(p, fill, size);
	return p;
}

static void count_completion(struct ti_io *io)
{
	struct counted_io *c = io->owner;

	c->completions++;
}

void counted_io_set(struct counted_io *c, enum ti_io_op op, enum ti_device dev, uint64_t offset,
		    void *buf, size_t len)
{
	memset(c, 0, sizeof(*c));
	c->iov = (struct iovec){ .iov_base = buf, .iov_len = len };
	c->io = (struct ti_io){
		.op = op,
		.dev = dev,
		.offset = offset,
		.len = len,
		.iov = &c->iov,
		.iov_count = 1,
		.done = count_completion,
		.owner = c,
		.result = 1, /* no result */
	};
}

int counted_io_finish(struct ti_queue *q, struct counted_io *c)
{
	ti_queue_run(q);
	while (c->completions == 0) {
		q->ops->wait(q, TI_CLOCK_NEVER);
		ti_queue_run(q);
	}
	assert_int_equal(c->completions, 1);
	return c->io.result;
}

void testio_refuse_syscall(long number, int err)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
		perror("seccomp");
		_exit(99);
	}
}

void testio_in_child(int (*body)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(HANG_SECONDS);
		/* A failure in the child must end it, not make it go on with the next test. */
		(void)setenv("CMOCKA_TEST_ABORT", "1", 1);
		exit(body(arg));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}
