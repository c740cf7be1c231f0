/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See io_thread.h. */
#include "io_thread.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>

#include <sys/mman.h>
#include <sys/prctl.h>

/** The threads need little, and it is locked in memory. */
#define STACK_BYTES ((size_t)128 * 1024)

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

int ti_io_thread_become_flusher(void)
{
	return prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0 ? 0 : -errno;
}

int ti_io_thread_lock_stack(void)
{
	pthread_attr_t attr;
	size_t size;
	void *stack;
	int err = -pthread_getattr_np(pthread_self(), &attr);

	if (err)
		return err;
	err = -pthread_attr_getstack(&attr, &stack, &size);
	if (!err && mlock(stack, size) != 0)
		err = -errno;
	(void)pthread_attr_destroy(&attr);
	return err;
}

int ti_io_thread_start(pthread_t *thread, void *(*body)(void *arg), void *arg)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int err = pthread_attr_init(&attr);

	if (err)
		return -err;
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(thread, &attr, body, arg);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	return -err;
}

struct ti_io_threads ti_io_thread_prepare(const char *kind, unsigned number)
{
	struct ti_io_threads got = { .count = 1 };
	char name[16];

	got.io_flushers = ti_io_thread_become_flusher() == 0;
	got.locked_stacks = ti_io_thread_lock_stack() == 0;
	(void)snprintf(name, sizeof(name), "%s-%u", kind, number);
	(void)pthread_setname_np(pthread_self(), name);
	return got;
}

void ti_io_threads_add(struct ti_io_threads *all, const struct ti_io_threads *one)
{
	all->count += one->count;
	all->io_flushers += one->io_flushers;
	all->locked_stacks += one->locked_stacks;
}
