/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * tcmu-integrity status: how the LUNs are that tcmu-runner serves.
 */
#include <stdio.h>
#include <time.h>

#include "bus.h"
#include "cli.h"
#include "print.h"
#include "syntax.h"

struct options {
	const char *name[1]; /* NULL: all */
	bool watch;
	uint64_t interval;
	bool json;
};

static const struct syntax_option option_rows[] = {
	{ "watch", 0, NULL, SYNTAX_FLAG, offsetof(struct options, watch), 0, 0,
	  "print it again and again, until it is stopped", NULL },
	{ "interval", 0, "SECONDS", SYNTAX_NUMBER, offsetof(struct options, interval), 1, 3600,
	  "the time between two of --watch", "1" },
	{ "json", 'j', NULL, SYNTAX_FLAG, offsetof(struct options, json), 0, 0,
	  "print a JSON object", NULL },
};

static const struct syntax syntax = {
	.verb = "status",
	.operands = "[LUN]",
	.about = "Shows the LUNs that tcmu-runner serves with our handler, or all about one of "
		 "them.\n"
		 "LUN is the name of its backstore. Ends with status 1 if one needs attention.",
	.options = option_rows,
	.option_count = sizeof(option_rows) / sizeof(option_rows[0]),
	.words_max = 1,
	.words_offset = offsetof(struct options, name),
};

/* Back to the upper left corner, and away with what was there. */
static void clear_screen(void)
{
	char text[32];
	time_t now = time(NULL);
	struct tm tm;

	if (localtime_r(&now, &tm) && strftime(text, sizeof(text), "%H:%M:%S", &tm))
		printf("\033[H\033[J%s\n\n", text);
}

static int look(GDBusConnection *bus, const struct options *options, struct ti_error *error)
{
	g_autoptr(GPtrArray) luns = NULL;
	struct report_status report = { .one = options->name[0] != NULL };
	const struct bus_lun *one;
	bool attention = false;
	int err = bus_luns(bus, &luns, error);

	if (err)
		return err;
	report.lun = (const struct bus_lun *const *)luns->pdata;
	report.count = luns->len;
	if (report.one) {
		one = bus_find(luns, options->name[0], error);
		if (!one)
			return error->err;
		report.lun = &one;
		report.count = 1;
	}
	if (options->watch)
		clear_screen();
	printer_for(options->json)->status(&report);
	for (size_t i = 0; i < report.count; i++)
		attention |= bus_needs_attention(report.lun[i]);
	return attention ? CLI_DIFFERENT : CLI_CLEAN;
}

static int failed(const struct options *options, const struct ti_error *error)
{
	cli_complain_error(error);
	printer_for(options->json)->failure(error);
	return CLI_REFUSED;
}

int cli_status(int argc, char **argv)
{
	struct options options = { .interval = 1 };
	g_autoptr(GDBusConnection) bus = NULL;
	struct ti_error error = { 0 };
	int err;
	int status;

	if (!syntax_parse(&syntax, argc, argv, &options, &status))
		return status;
	if (options.watch && options.json)
		return syntax_complain(syntax.verb,
				       "--watch is for people: leave it or --json away");
	err = bus_connect(&bus, &error);
	if (err)
		return failed(&options, &error);
	if (options.watch)
		cli_catch_stop();
	for (;;) {
		struct timespec pause = { .tv_sec = (time_t)options.interval };

		err = look(bus, &options, &error);
		if (err < 0)
			return failed(&options, &error);
		if (!options.watch)
			return err;
		fflush(stdout);
		if (!cli_stop_wanted())
			nanosleep(&pause, NULL);
		if (cli_stop_wanted())
			return CLI_CLEAN;
	}
}
