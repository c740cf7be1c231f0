/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Sets the first part only of a stopped child's extended state, as User Mode Linux does on a CPU
 * whose state is larger than UML's buffer.  Prints "refused" where ptrace answers EFAULT; else
 * checks that the part was taken and that the rest is as before, and prints "set".
 */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* XSAVE: the legacy area holds XMM0 at byte 160; the header with the bits in use is at 512. */
#define XMM0_OFFSET   160
#define HEADER_OFFSET 512
#define X87_AND_SSE   3
#define PART	      576

static unsigned char before[65536], after[65536];

static void die(const char *what)
{
	fprintf(stderr, "xstate_test: %s: %s\n", what, strerror(errno));
	exit(1);
}

static size_t get_state(pid_t pid, unsigned char *state)
{
	struct iovec io = { .iov_base = state, .iov_len = sizeof(before) };

	if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, &io) < 0)
		die("cannot read the state");
	return io.iov_len;
}

int main(void)
{
	struct iovec part = { .iov_base = before, .iov_len = PART };
	size_t size;
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		die("no child");

	size = get_state(pid, before);
	if (size <= PART) {
		printf("too small\n");
		goto out;
	}
	memset(before + XMM0_OFFSET, 0x5a, 16);
	before[HEADER_OFFSET] |= X87_AND_SSE;

	if (ptrace(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, &part) < 0) {
		if (errno != EFAULT)
			die("cannot set the state");
		printf("refused\n");
		goto out;
	}
	if (get_state(pid, after) != size ||
	    memcmp(after + XMM0_OFFSET, before + XMM0_OFFSET, 16)) {
		fprintf(stderr, "xstate_test: the part was not set\n");
		return 1;
	}
	if (memcmp(after + PART, before + PART, size - PART)) {
		fprintf(stderr, "xstate_test: the rest changed\n");
		return 1;
	}
	printf("set\n");
out:
	kill(pid, SIGKILL);
	return 0;
}
