/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What the threads of a running tcmu-runner that carry our LUNs' I/O have got: not what they may
 * do, but what they did.
 *
 * The kernel shows PR_SET_IO_FLUSHER of other processes' threads only as two of the flags in
 * /proc/PID/task/TID/stat.  Ours are known by name: "ti-uioN" completes the LUN behind /dev/uioN,
 * "ti-io-N" are the thread pool's, "ti-hash-N" help a LUN with its digest.  "cmdproc-uioN" is the
 * runner's own, which we make a flusher at its first command.  io_uring's workers are called
 * "iou-wrk-" and the thread that they work for.
 */
#include "doctor.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "units.h"

/* Linux's PF_MEMALLOC_NOIO and PF_LOCAL_THROTTLE, which PR_SET_IO_FLUSHER sets, since 5.6. */
#define FLUSHER_FLAGS 0x00180000UL
#define THREADS_MAX   4096
#define COMMAND	      "cmdproc-"
#define WORKER	      "iou-wrk-"

struct thread {
	long tid;
	char name[32];
	bool io_flusher;
};

struct threads {
	struct thread *thread;
	size_t count;
};

/* "TID (name) state ppid pgrp session tty tpgid flags ...". */
static bool read_thread(pid_t pid, const char *tid, struct thread *out)
{
	char path[64], line[512];
	unsigned long flags;
	const char *start, *end;
	FILE *file;
	bool good;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/stat", (int)pid, tid);
	file = fopen(path, "re");
	if (!file)
		return false;
	good = fgets(line, sizeof(line), file) != NULL;
	fclose(file);
	if (!good)
		return false;
	start = strchr(line, '(');
	end = strrchr(line, ')');
	if (!start || !end || sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %lu", &flags) != 1)
		return false;
	*out = (struct thread){ .tid = strtol(tid, NULL, 10),
				.io_flusher = (flags & FLUSHER_FLAGS) == FLUSHER_FLAGS };
	snprintf(out->name, sizeof(out->name), "%.*s", (int)(end - start - 1), start + 1);
	return true;
}

/* All threads of the process; none if it has gone. */
static struct threads list_threads(pid_t pid)
{
	struct threads list = { calloc(THREADS_MAX, sizeof(struct thread)), 0 };
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = list.thread ? opendir(path) : NULL;
	while (dir && list.count < THREADS_MAX && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.' &&
		    read_thread(pid, entry->d_name, &list.thread[list.count]))
			list.count++;
	}
	if (dir)
		closedir(dir);
	return list;
}

static bool begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

static const struct thread *find(const struct threads *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->thread[i].name, name) == 0)
			return &list->thread[i];
	return NULL;
}

/* Does the thread carry I/O of a LUN of ours? */
static bool is_ours(const struct threads *list, const struct thread *thread)
{
	char name[40];
	long tid;

	if (begins(thread->name, "ti-uio") || begins(thread->name, "ti-io-") ||
	    begins(thread->name, "ti-hash-"))
		return true;
	if (begins(thread->name, COMMAND)) {
		snprintf(name, sizeof(name), "ti-%s", thread->name + strlen(COMMAND));
		return find(list, name) != NULL;
	}
	if (!begins(thread->name, WORKER))
		return false;
	tid = strtol(thread->name + strlen(WORKER), NULL, 10);
	for (size_t i = 0; i < list->count; i++)
		if (list->thread[i].tid == tid && !begins(list->thread[i].name, WORKER))
			return is_ours(list, &list->thread[i]);
	return false;
}

static uint64_t locked_bytes(pid_t pid)
{
	uint64_t kib = 0;
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		(void)sscanf(line, "VmLck: %" SCNu64, &kib);
	if (file)
		fclose(file);
	return kib * 1024;
}

static void judge_flushers(struct doctor *doctor, const struct threads *list, size_t ours)
{
	size_t without = 0, idle = 0;
	char names[100] = "";

	for (size_t i = 0; i < list->count; i++) {
		const struct thread *t = &list->thread[i];
		size_t used = strlen(names);

		if (!is_ours(list, t) || t->io_flusher)
			continue;
		without++;
		idle += begins(t->name, COMMAND);
		if (used < sizeof(names) - sizeof(t->name))
			snprintf(names + used, sizeof(names) - used, "%s%s", used ? ", " : "",
				 t->name);
	}
	if (!without)
		doctor_add(doctor, "io_flusher_threads", FINDING_OK,
			   "all %zu threads that carry our LUNs' I/O have PR_SET_IO_FLUSHER", ours);
	else if (without == idle)
		doctor_add(doctor, "io_flusher_threads", FINDING_NOTE,
			   "%zu of %zu threads that carry our LUNs' I/O are without "
			   "PR_SET_IO_FLUSHER, which each gets with its LUN's first command: %s",
			   without, ours, names);
	else
		doctor_add(doctor, "io_flusher_threads", FINDING_NOTE,
			   "%zu of %zu threads that carry our LUNs' I/O are without "
			   "PR_SET_IO_FLUSHER, do not swap to these LUNs: %s",
			   without, ours, names);
}

void doctor_threads(struct doctor *doctor)
{
	struct threads list;
	size_t ours = 0, luns = 0;
	uint64_t locked;

	if (!doctor->runner)
		return;
	list = list_threads(doctor->runner);
	for (size_t i = 0; i < list.count; i++) {
		ours += is_ours(&list, &list.thread[i]);
		luns += begins(list.thread[i].name, "ti-uio");
	}
	if (luns) {
		locked = locked_bytes(doctor->runner);
		judge_flushers(doctor, &list, ours);
		doctor_add(doctor, "locked_by_luns", locked ? FINDING_OK : FINDING_NOTE,
			   "tcmu-runner has locked %s of memory for %zu LUNs of ours; its log says "
			   "for each whether that is all of it (locked_memory=yes)",
			   locked ? units_size(locked).text : "none", luns);
	}
	free(list.thread);
}
