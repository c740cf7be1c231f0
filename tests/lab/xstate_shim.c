/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A preloaded ptrace() for User Mode Linux.
 *
 * UML sets the registers of its guest processes from a buffer of a fixed size.  The host takes the
 * extended state (NT_X86_XSTATE) only in its full size, which on a CPU with AMX is larger than that
 * buffer, and answers EFAULT: the guest's first process dies.  Here such a call is made again
 * with the thread's own full state whose beginning is replaced by what UML passed.
 *
 * Where the first call succeeds, nothing is changed.  UML makes these calls from one thread and is
 * not preempted in them, so one static buffer is enough; UML's own stacks are too small for it.
 */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#define FULL_STATE_MAX 65536

typedef long ptrace_fn(enum __ptrace_request, pid_t, void *, void *);

static long set_full_state(ptrace_fn *real, pid_t pid, void *kind, const struct iovec *head)
{
	static unsigned char state[FULL_STATE_MAX] __attribute__((aligned(64)));
	struct iovec full = { .iov_base = state, .iov_len = sizeof(state) };

	if (real(PTRACE_GETREGSET, pid, kind, &full) < 0)
		return -1;
	if (head->iov_len > full.iov_len) {
		errno = EFAULT;
		return -1;
	}
	memcpy(state, head->iov_base, head->iov_len);
	return real(PTRACE_SETREGSET, pid, kind, &full);
}

long ptrace(enum __ptrace_request request, ...)
{
	static ptrace_fn *real;
	va_list args;
	pid_t pid;
	void *addr;
	void *data;
	long ret;

	if (!real)
		real = (ptrace_fn *)dlsym(RTLD_NEXT, "ptrace");

	va_start(args, request);
	pid = va_arg(args, pid_t);
	addr = va_arg(args, void *);
	data = va_arg(args, void *);
	va_end(args);

	ret = real(request, pid, addr, data);
	if (ret < 0 && errno == EFAULT && request == PTRACE_SETREGSET &&
	    (uintptr_t)addr == NT_X86_XSTATE)
		ret = set_full_state(real, pid, addr, data);
	return ret;
}
