/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * tcmu-integrity recalculate: make every tag of a LUN anew while it is served.
 *
 * What is bad becomes good by that, and nobody can tell afterwards.  So the user is told what is
 * known to be bad, and asked.
 */
#include <inttypes.h>
#include <stdio.h>

#include "bus.h"
#include "cli.h"
#include "lun_work.h"
#include "print.h"
#include "rate.h"
#include "syntax.h"

struct options {
	const char *name[1];
	uint64_t rate;
	bool wait, yes, quiet, json;
};

static const struct syntax_option option_rows[] = {
	{ "rate", 0, "BYTES", SYNTAX_BYTES, offsetof(struct options, rate), TI_RATE_MIN,
	  TI_RATE_MAX, "bytes/s at most, 64K to 1T", "no limit" },
	{ "wait", 0, NULL, SYNTAX_FLAG, offsetof(struct options, wait), 0, 0,
	  "wait for its end, which stopping this is not", NULL },
	{ "yes", 'y', NULL, SYNTAX_FLAG, offsetof(struct options, yes), 0, 0, "do not ask", NULL },
	{ "batch-mode", 'q', NULL, SYNTAX_FLAG, offsetof(struct options, quiet), 0, 0,
	  "do not ask, and no progress bar", NULL },
	{ "json", 'j', NULL, SYNTAX_FLAG, offsetof(struct options, json), 0, 0,
	  "print a JSON object", NULL },
};

static const struct syntax syntax = {
	.verb = "recalculate",
	.operands = "LUN",
	.about = "Makes every tag anew from the blocks that are there, while the LUN is served. "
		 "Whatever is\n"
		 "bad becomes good by that: look at it first, with scrub. Goes on after a "
		 "restart.\n"
		 "LUN is the name of its backstore.",
	.options = option_rows,
	.option_count = sizeof(option_rows) / sizeof(option_rows[0]),
	.words_max = 1,
	.words_offset = offsetof(struct options, name),
};

static bool runs(const struct bus_lun *lun)
{
	return bus_flag(lun, "Recalculating");
}

static const struct lun_work recalculation = {
	.title = "recalculate", .runs = runs, .done = "RecalcSector", .end = "RecalcEndSector"
};

/* What is known to be bad, and how well that is known. */
static void tell_bad(const struct bus_lun *lun)
{
	const char *state = bus_text(lun, "ScrubState");
	uint64_t bad = bus_number(lun, "ScrubBadSectors");

	if (!strcmp(state, "never")) {
		fputs("No scrub has looked for bad blocks yet: what is bad now, nobody will find "
		      "any more.\n",
		      stderr);
		return;
	}
	fprintf(stderr, "The %s %" PRIu64 " bad sectors%s\n",
		!strcmp(state, "running")    ? "scrub that runs has found, so far,"
		: !strcmp(state, "finished") ? "last scrub found"
					     : "last scrub, which did not come to the end, found",
		bad, bad ? ", which nobody will find any more." : ".");
}

static int agree(const struct bus_lun *lun, struct ti_error *error)
{
	fprintf(stderr, "All tags of %s are made anew; what is on %s now counts as good.\n",
		lun->name, bus_text(lun, "DataDevice"));
	tell_bad(lun);
	return cli_agree("recalculate", error);
}

static int failed(const struct options *options, const struct ti_error *error)
{
	return lun_work_failed(options->json, error);
}

static int run(GDBusConnection **bus, const struct options *options, GPtrArray **luns,
	       struct ti_error *error)
{
	const char *name = options->name[0];
	const struct bus_lun *lun = lun_look(*bus, name, luns, error);
	struct report_recalculate report;
	int status;

	if (!lun)
		return failed(options, error);
	if (!options->yes && !options->quiet) {
		status = agree(lun, error);
		if (status) {
			failed(options, error);
			return status;
		}
	}
	if (bus_call(*bus, lun, "Recalculate", lun_work_options(options->rate, false), error))
		return failed(options, error);
	lun = lun_look(*bus, name, luns, error);
	if (options->wait)
		lun = lun_wait(bus, &recalculation, options->quiet, name, lun, luns, error);
	if (!lun)
		return failed(options, error);
	report = (struct report_recalculate){ .lun = lun };
	printer_for(options->json)->recalculate(&report);
	if (options->wait && runs(lun))
		return CLI_STOPPED;
	return bus_counter(lun, "recalc_unreadable_sectors") != 0 ? CLI_IO : CLI_CLEAN;
}

int cli_recalculate(int argc, char **argv)
{
	struct options options = { .rate = 0 };
	g_autoptr(GDBusConnection) bus = NULL;
	g_autoptr(GPtrArray) luns = NULL;
	struct ti_error error = { 0 };
	int status;

	if (!syntax_parse(&syntax, argc, argv, &options, &status))
		return status;
	if (!options.name[0])
		return syntax_complain(syntax.verb, "the name of the LUN is missing");
	if (bus_connect(&bus, &error))
		return failed(&options, &error);
	return run(&bus, &options, &luns, &error);
}
