/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Making a thread fit for the I/O path of a LUN that the machine itself may swap to.
 *
 * What is not permitted is done without; the caller says so where people can see it.
 */
#ifndef TI_IO_THREAD_H
#define TI_IO_THREAD_H

#include <pthread.h>

/** Threads of one kind, and what they have got for themselves. */
struct ti_io_threads {
	unsigned count; /* 0: there are none */
	unsigned io_flushers;
	unsigned locked_stacks;
};

/**
 * PR_SET_IO_FLUSHER for the calling thread: memory that the kernel takes on its behalf must not
 * wait for I/O that may be to us.  Threads that it creates inherit it, io_uring's workers included.
 * Returns 0 or negative errno.
 */
int ti_io_thread_become_flusher(void);

/** Lock the calling thread's whole stack in memory.  Allocates.  Returns 0 or negative errno. */
int ti_io_thread_lock_stack(void);

/**
 * Start a thread with a small stack; the process's signals are not for it.  To be joined.  Returns
 * 0 or negative errno.
 */
int ti_io_thread_start(pthread_t *thread, void *(*body)(void *arg), void *arg);

/**
 * The first thing that such a thread does: it takes the name @kind-@number, becomes a flusher and
 * locks its stack.  Returns one thread and what it has got.  Allocates.
 */
struct ti_io_threads ti_io_thread_prepare(const char *kind, unsigned number);

/** One more. */
void ti_io_threads_add(struct ti_io_threads *all, const struct ti_io_threads *one);

#endif
