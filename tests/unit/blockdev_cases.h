/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What every host back-end must do, as one set of tests: each back-end's own test runs them, on two
 * files of its own, or on two devices that its command line names (their contents are lost).
 */
#ifndef TI_TEST_BLOCKDEV_CASES_H
#define TI_TEST_BLOCKDEV_CASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pair.h"

/** Size of each file, and least size of a device. */
#define CASES_BYTES (8ULL << 20)

/** Run the tests on @backend with @argv's devices, if any.  Returns what main() should. */
int blockdev_cases_run(enum ti_backend backend, int argc, char **argv);

/** Two files in a new directory, for tests of a back-end's own; removed by cases_files_end(). */
struct cases_files {
	char dir[64];
	char path[TI_DEVICES][96];
};
void cases_files_begin(struct cases_files *files);
void cases_files_end(struct cases_files *files);

/** The same in memory, where fdatasync() is quick; nothing is to be removed. */
struct cases_memory {
	struct cases_files files; /* paths below /proc/self/fd */
	int fd[TI_DEVICES];
};
void cases_memory_begin(struct cases_memory *memory);
void cases_memory_end(struct cases_memory *memory);

/** Open @files; fails the test, with the sentence, if that fails. */
struct ti_queue *cases_open(const struct cases_files *files, const struct ti_pair_options *options);

/** Aligned memory, filled with @fill.  Release with free(). */
void *cases_buffer(size_t size, int fill);

/** An I/O that counts its completions. */
struct counted_io {
	struct ti_io io;
	struct iovec iov;
	unsigned completions;
};
void counted_io_set(struct counted_io *c, enum ti_io_op op, enum ti_device dev, uint64_t offset,
		    void *buf, size_t len);

/** Run and wait until @c has completed; returns its result. */
int counted_io_finish(struct ti_queue *q, struct counted_io *c);

/** The line that was logged last by a queue from cases_open(), and how many there were. */
extern char cases_log_line[1024];
extern unsigned cases_log_warnings;

/**
 * Make system call @number fail with @err in this thread and those it starts, for good: use it in a
 * child.
 */
void cases_refuse_syscall(long number, int err);

/** Run @body in a child process; fails the test unless the child returns 0 from it. */
void cases_in_child(int (*body)(void *arg), void *arg);

#endif
