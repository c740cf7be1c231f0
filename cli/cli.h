/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What all verbs of tcmu-integrity share.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "log.h"

/** How the program ends. */
enum cli_exit {
	CLI_CLEAN = 0,
	CLI_DIFFERENT = 1, /* check: mismatches; doctor: something is missing */
	CLI_USAGE = 2,
	CLI_REFUSED = 3, /* cannot open, not our format, or refused */
	CLI_IO = 4,
	CLI_STOPPED = 130, /* by SIGINT or SIGTERM, as shells count */
};

struct cli_verb {
	const char *name;
	const char *summary; /* one line for the list of verbs */
	/* @argv[0] is the verb.  Returns an enum cli_exit. */
	int (*run)(int argc, char **argv);
};

int cli_format(int argc, char **argv);
int cli_dump(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_config(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_scrub(int argc, char **argv);
int cli_recalculate(int argc, char **argv);
int cli_flush(int argc, char **argv);
int cli_metrics(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_version(int argc, char **argv);

/** Say on stderr what went wrong; one sentence without a full stop at its end. */
void cli_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** The same for a failure from the engine. */
void cli_complain_error(const struct ti_error *error);

/** Ask the user on the terminal whether to @verb.  Returns 0, or the exit code if the answer is no
 * or nobody can be asked; then @error has a sentence, which nobody has been told yet. */
int cli_agree(const char *verb, struct ti_error *error);

/** The exit code for a failure of reading a device (@io) or of anything else. */
int cli_exit_of(int err);

/** A log that goes to stderr: warnings and errors, with @verbose everything but debug lines. */
struct ti_log cli_log(bool verbose);

/** Has SIGINT or SIGTERM come?  Both are only noted from the first call of cli_catch_stop() on. */
void cli_catch_stop(void);
bool cli_stop_wanted(void);

#define cli_cleanup_free __attribute__((cleanup(cli_free_pointer)))
void cli_free_pointer(void *pointer_to_pointer);

struct ti_queue;

/** Tell the log what was opened and which back-end carries the I/O. */
void cli_tell_pair(const struct ti_log *log, const struct ti_queue *queue);

/** Tell the log how fast @bytes were gone through. */
void cli_tell_rate(const struct ti_log *log, const char *what, uint64_t bytes, double seconds);

#define cli_cleanup_pair __attribute__((cleanup(cli_close_pair)))
void cli_close_pair(struct ti_queue **queue);

#endif
