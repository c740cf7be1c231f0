/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What a process may do here that serves LUNs: io_uring, memory that is never swapped out, and
 * allocations that do not wait for the LUN's own writes.
 *
 * The limits are those of tcmu-runner where it runs, else this process's, which are the best guess.
 */
#include "doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <liburing.h>

#include "units.h"

/* Where additions to tcmu-runner's unit go. */
#define UNIT_DIR "/etc/systemd/system/tcmu-runner.service.d"

/* The engine's default: tag cache, bounce buffers, requests. */
#define LOCKED_PER_LUN ((uint64_t)32 << 20)

/* ---- io_uring ---- */

static long read_number(const char *path)
{
	FILE *file = fopen(path, "re");
	long value = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%ld", &value) != 1)
		value = -1;
	fclose(file);
	return value;
}

static void examine_io_uring(struct doctor *doctor)
{
	struct io_uring ring;
	int err = io_uring_queue_init(8, &ring, 0);
	struct finding *f;

	if (!err) {
		io_uring_queue_exit(&ring);
		doctor_add(doctor, "io_uring", FINDING_OK, "io_uring works");
		return;
	}
	/* Threads do its work where it is refused. */
	if (read_number("/proc/sys/kernel/io_uring_disabled") > 0) {
		f = doctor_add(doctor, "io_uring", FINDING_NOTE,
			       "io_uring is switched off by kernel.io_uring_disabled: slower "
			       "threads are used instead");
		doctor_mend(f, "sysctl kernel.io_uring_disabled=0");
	} else if (err == -ENOSYS) {
		doctor_add(doctor, "io_uring", FINDING_NOTE,
			   "this kernel has no io_uring: slower threads are used instead");
	} else {
		doctor_add(doctor, "io_uring", FINDING_NOTE,
			   "io_uring is refused (%s), perhaps by seccomp: slower threads are used "
			   "instead",
			   strerror(-err));
	}
}

/* ---- capabilities and limits ---- */

/* Of process @pid, 0 for this one. */
static bool has_capability(pid_t pid, unsigned capability)
{
	uint64_t effective = 0;
	char path[64], line[256];
	FILE *file;

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	else
		strcpy(path, "/proc/self/status");
	file = fopen(path, "re");
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, "CapEff:", 7))
			effective = strtoull(line + 7, NULL, 16);
	}
	fclose(file);
	return effective >> capability & 1;
}

static const char *whose(const struct doctor *doctor)
{
	return doctor->runner ? "tcmu-runner" : "this process";
}

static void examine_locked_memory(struct doctor *doctor)
{
	struct rlimit limit;
	struct finding *f;

	if (has_capability(doctor->runner, CAP_IPC_LOCK)) {
		doctor_add(doctor, "locked_memory", FINDING_OK,
			   "%s may lock as much memory as it likes (CAP_IPC_LOCK)", whose(doctor));
		return;
	}
	if (prlimit(doctor->runner, RLIMIT_MEMLOCK, NULL, &limit)) {
		f = doctor_add(doctor, "locked_memory", FINDING_NOTE,
			       "how much memory %s may lock cannot be seen (%s)", whose(doctor),
			       strerror(errno));
		doctor_mend(f, "sudo tcmu-integrity doctor");
		return;
	}
	if (limit.rlim_cur >= LOCKED_PER_LUN) {
		doctor_add(doctor, "locked_memory", FINDING_OK, "%s may lock %s of memory",
			   whose(doctor),
			   limit.rlim_cur == RLIM_INFINITY ? "any amount"
							   : units_size(limit.rlim_cur).text);
		return;
	}
	f = doctor_add(doctor, "locked_memory", FINDING_NOTE,
		       "%s may lock only %s of memory, a LUN wants %s: its buffers may be swapped "
		       "out",
		       whose(doctor), units_size(limit.rlim_cur).text,
		       units_size(LOCKED_PER_LUN).text);
	doctor_mend(
		f,
		"mkdir -p %s && printf '[Service]\\nLimitMEMLOCK=infinity\\n' > %s/memlock.conf "
		"&& systemctl daemon-reload && systemctl restart tcmu-runner",
		UNIT_DIR, UNIT_DIR);
}

/* Only the state of this thread can be tried; it is put back. */
static bool can_become_io_flusher(void)
{
	int before = prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0);

	if (before < 0 || prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		return false;
	if (!before)
		prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
	return true;
}

static void examine_io_flusher(struct doctor *doctor)
{
	bool may = doctor->runner ? has_capability(doctor->runner, CAP_SYS_RESOURCE)
				  : can_become_io_flusher();

	if (may)
		doctor_add(doctor, "io_flusher", FINDING_OK,
			   "%s may use PR_SET_IO_FLUSHER: its allocations do not wait for its own "
			   "LUNs",
			   whose(doctor));
	else
		/* A container's owner grants that; there is no command for it here. */
		doctor_add(doctor, "io_flusher", FINDING_NOTE,
			   "%s may not use PR_SET_IO_FLUSHER, which needs CAP_SYS_RESOURCE and "
			   "Linux 5.6: do not swap to its LUNs on this machine",
			   whose(doctor));
}

void doctor_process(struct doctor *doctor)
{
	examine_io_uring(doctor);
	examine_locked_memory(doctor);
	examine_io_flusher(doctor);
}
