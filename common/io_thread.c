/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See io_thread.h. */
#include "io_thread.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>

#include <sys/mman.h>
#include <sys/prctl.h>

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
