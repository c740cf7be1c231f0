/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The doctor's examinations, one file per part of the machine.
 *
 * Each looks without changing anything: no module is loaded, no service is started.
 */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include <stdarg.h>
#include <stddef.h>
#include <sys/types.h>

#include "print.h"

#define FINDINGS_MAX 32

struct doctor {
	struct finding finding[FINDINGS_MAX];
	size_t count;
	pid_t runner; /* tcmu-runner's process, 0 if it does not run or that is not known */
};

/** Record a finding; the text follows.  Returns it, for doctor_mend(). */
struct finding *doctor_add(struct doctor *doctor, const char *subject, enum finding_state state,
			   const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/** The command that mends it. */
void doctor_mend(struct finding *finding, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** root, kernel modules, configfs, the TCM-USER netlink family. */
void doctor_kernel(struct doctor *doctor);

/** Defaults file and profiles. */
void doctor_config(struct doctor *doctor);

/** targetcli, its directories, tcmu-runner, its version, our handler.  Sets doctor->runner. */
void doctor_runner(struct doctor *doctor);

/** io_uring, locked memory, PR_SET_IO_FLUSHER: of tcmu-runner's process where it runs. */
void doctor_process(struct doctor *doctor);

/** What the threads of tcmu-runner that carry our LUNs' I/O have got, where it serves any. */
void doctor_threads(struct doctor *doctor);

#endif
