/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What all verbs share: messages, exit codes, signals, cleanup.
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pair.h"
#include "units.h"

/* The only state of the program that is not a verb's own: a signal handler can reach nothing else.
 */
static volatile sig_atomic_t stop_signal;

void cli_complain(const char *fmt, ...)
{
	char text[2048];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ti_log_drop_controls(text);
	fprintf(stderr, "tcmu-integrity: %s\n", text);
}

void cli_complain_error(const struct ti_error *error)
{
	size_t length = strlen(error->text);

	/* Some sentences come with their full stop, ours all go without. */
	if (length && error->text[length - 1] == '.')
		length--;
	cli_complain("%.*s", (int)length, error->text);
}

int cli_agree(const char *verb, struct ti_error *error)
{
	char answer[16];

	if (!isatty(STDIN_FILENO)) {
		ti_error_set(error, -ENOTTY,
			     "nobody can be asked, stdin is no terminal: nothing was changed; give "
			     "--yes to %s",
			     verb);
		return CLI_USAGE;
	}
	fprintf(stderr, "Are you sure? Type YES, in capital letters: ");
	if (fgets(answer, sizeof(answer), stdin) && !strcmp(answer, "YES\n"))
		return 0;
	ti_error_set(error, -ECANCELED, "nothing was changed");
	return CLI_REFUSED;
}

int cli_exit_of(int err)
{
	switch (err) {
	case 0:
		return CLI_CLEAN;
	case -ECANCELED:
		return CLI_STOPPED;
	case -EIO:
	case -ENOSPC:
	case -ENOMEM:
	case -EILSEQ:
	case -ENODEV:
	case -ENXIO:
	case -EREMOTEIO:
	case -ETIMEDOUT:
		return CLI_IO;
	default:
		return CLI_REFUSED;
	}
}

static void log_line(void *ctx, enum ti_log_level level, const char *text)
{
	static const char *const prefix[] = {
		[TI_LOG_ERR] = "error: ",
		[TI_LOG_WARN] = "warning: ",
		[TI_LOG_INFO] = "",
		[TI_LOG_DBG] = "",
	};
	const bool *verbose = ctx;

	if (level <= TI_LOG_WARN || (*verbose && level <= TI_LOG_INFO))
		cli_complain("%s%s", prefix[level], text);
}

struct ti_log cli_log(bool verbose)
{
	static const bool yes = true, no = false;

	/* The log only reads it. */
	return (struct ti_log){ .line = log_line, .ctx = (void *)(verbose ? &yes : &no) };
}

void cli_tell_pair(const struct ti_log *log, const struct ti_queue *queue)
{
	for (int i = 0; i < TI_DEVICES; i++) {
		const struct ti_device_info *d = &queue->dev[i];

		if (d->size)
			ti_log(log, TI_LOG_INFO,
			       "opened %s bytes=%" PRIu64 " logical_block_size=%" PRIu32
			       " backend=%s",
			       d->name, d->size, d->logical_block_size, queue->ops->name);
	}
}

void cli_tell_rate(const struct ti_log *log, const char *what, uint64_t bytes, double seconds)
{
	/* A clock that has not moved would make it infinite. */
	double rate = (double)bytes / (seconds > 0.001 ? seconds : 0.001);

	ti_log(log, TI_LOG_INFO, "%s %s in %.1f s, %s/s", what, units_size(bytes).text, seconds,
	       units_size((uint64_t)rate).text);
}

static void note_stop(int signal)
{
	stop_signal = signal;
}

void cli_catch_stop(void)
{
	struct sigaction action = { .sa_handler = note_stop, .sa_flags = SA_RESTART };

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool cli_stop_wanted(void)
{
	return stop_signal != 0;
}

void cli_free_pointer(void *pointer_to_pointer)
{
	free(*(void **)pointer_to_pointer);
}

void cli_close_pair(struct ti_queue **queue)
{
	ti_pair_close(*queue);
}
