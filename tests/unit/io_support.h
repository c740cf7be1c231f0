/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Helpers for the tests of pairs and back-ends: two files or pieces of memory to open, I/Os that
 * count, children that are refused system calls.
 */
#ifndef TI_TEST_IO_SUPPORT_H
#define TI_TEST_IO_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pair.h"

/** Size of each file. */
#define TESTIO_BYTES (8ULL << 20)

/** Two files in a new directory, for tests of a back-end's own; removed by testio_files_end(). */
struct testio_files {
	char dir[64];
	char path[TI_DEVICES][96];
};
void testio_files_begin(struct testio_files *files);
void testio_files_end(struct testio_files *files);

/** The same in memory, where fdatasync() is quick; nothing is to be removed. */
struct testio_memory {
	struct testio_files files; /* paths below /proc/self/fd */
	int fd[TI_DEVICES];
};
void testio_memory_begin(struct testio_memory *memory);
void testio_memory_end(struct testio_memory *memory);

/** Open @files; fails the test, with the sentence, if that fails. */
struct ti_queue *testio_open(const struct testio_files *files,
			     const struct ti_pair_options *options);

/** Aligned memory, filled with @fill.  Release with free(). */
void *testio_buffer(size_t size, int fill);

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

/** Where queues from testio_open() log; for other opens, too. */
extern const struct ti_log testio_log;

/** How many warnings and errors with these words have been logged since the last testio_open(). */
unsigned testio_logged(const char *words);

/**
 * Make system call @number fail with @err in this thread and those it starts, for good: use it in a
 * child.
 */
void testio_refuse_syscall(long number, int err);

/** Run @body in a child process; fails the test unless the child returns 0 from it. */
void testio_in_child(int (*body)(void *arg), void *arg);

#endif
