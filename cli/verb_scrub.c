/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * tcmu-integrity scrub: verify every tag of a LUN while it is served.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bus.h"
#include "cli.h"
#include "lun_work.h"
#include "print.h"
#include "rate.h"
#include "syntax.h"

struct options {
	const char *word[2]; /* what to do, and with which LUN */
	uint64_t rate;
	bool restart, wait, quiet, json;
};

static const struct syntax_option option_rows[] = {
	{ "rate", 0, "BYTES", SYNTAX_BYTES, offsetof(struct options, rate), TI_RATE_MIN,
	  TI_RATE_MAX, "start, rate: bytes/s at most, 64K to 1T", "no limit" },
	{ "restart", 0, NULL, SYNTAX_FLAG, offsetof(struct options, restart), 0, 0,
	  "start: from the beginning, not where it was stopped", NULL },
	{ "wait", 0, NULL, SYNTAX_FLAG, offsetof(struct options, wait), 0, 0,
	  "start, status: wait for its end, which stopping this is not", NULL },
	{ "batch-mode", 'q', NULL, SYNTAX_FLAG, offsetof(struct options, quiet), 0, 0,
	  "no progress bar", NULL },
	{ "json", 'j', NULL, SYNTAX_FLAG, offsetof(struct options, json), 0, 0,
	  "print a JSON object", NULL },
};

static const struct syntax syntax = {
	.verb = "scrub",
	.operands = "start|stop|rate|status LUN",
	.about = "start LUN   verifies every block against its tag on the medium, while the LUN is "
		 "served;\n"
		 "            one that was stopped goes on where it was, also after a restart\n"
		 "stop LUN    stops that\n"
		 "rate LUN    lets the one that runs go on at the rate that --rate gives\n"
		 "status LUN  says how far it is and what it has found\n\n"
		 "LUN is the name of its backstore. start --wait and status end with status 1 if "
		 "bad blocks\n"
		 "were found.",
	.options = option_rows,
	.option_count = sizeof(option_rows) / sizeof(option_rows[0]),
	.words_max = 2,
	.words_offset = offsetof(struct options, word),
};

static bool is_word(const struct options *options, const char *word)
{
	return !strcmp(options->word[0], word);
}

static bool runs(const struct bus_lun *lun)
{
	return !strcmp(bus_text(lun, "ScrubState"), "running");
}

/* It reads a file first. */
static bool is_unknown(const struct bus_lun *lun)
{
	return !strcmp(bus_text(lun, "ScrubState"), "never");
}

static const struct lun_work scrub = { .title = "scrub",
				       .runs = runs,
				       .unknown = is_unknown,
				       .done = "ScrubSector",
				       .end = "ScrubEndSector" };

static int failed(const struct options *options, const struct ti_error *error)
{
	return lun_work_failed(options->json, error);
}

static int run(GDBusConnection **bus, const struct options *options, GPtrArray **luns,
	       struct ti_error *error)
{
	const char *name = options->word[1];
	const struct bus_lun *lun = lun_look(*bus, name, luns, error);
	bool starts = is_word(options, "start"), stops = is_word(options, "stop");
	bool changes = is_word(options, "rate");
	struct report_scrub report;
	int err = 0;

	if (!lun)
		return failed(options, error);
	if (starts)
		err = bus_call(*bus, lun, "ScrubStart",
			       lun_work_options(options->rate, options->restart), error);
	else if (stops)
		err = bus_call(*bus, lun, "ScrubStop", NULL, error);
	else if (changes)
		err = bus_call(*bus, lun, "ScrubSetRate", g_variant_new("(t)", options->rate),
			       error);
	if (err)
		return failed(options, error);
	if (starts || stops || changes)
		lun = lun_look(*bus, name, luns, error);
	if (options->wait)
		lun = lun_wait(bus, &scrub, options->quiet, name, lun, luns, error);
	if (!lun)
		return failed(options, error);
	report = (struct report_scrub){ .lun = lun };
	printer_for(options->json)->scrub(&report);
	if (options->wait && runs(lun))
		return CLI_STOPPED;
	if (!strcmp(bus_text(lun, "ScrubState"), "failed"))
		return CLI_IO;
	if ((starts || stops || changes) && !options->wait)
		return CLI_CLEAN;
	return bus_number(lun, "ScrubBadSectors") ? CLI_DIFFERENT : CLI_CLEAN;
}

int cli_scrub(int argc, char **argv)
{
	struct options options = { .rate = 0 };
	g_autoptr(GDBusConnection) bus = NULL;
	g_autoptr(GPtrArray) luns = NULL;
	struct ti_error error = { 0 };
	int status;

	if (!syntax_parse(&syntax, argc, argv, &options, &status))
		return status;
	if (!options.word[0])
		return syntax_complain(syntax.verb,
				       "what to do is missing: start, stop, rate or status");
	if (!is_word(&options, "start") && !is_word(&options, "stop") &&
	    !is_word(&options, "rate") && !is_word(&options, "status"))
		return syntax_complain(syntax.verb, "'%s' is not start, stop, rate or status",
				       options.word[0]);
	if (!options.word[1])
		return syntax_complain(syntax.verb, "the name of the LUN is missing");
	if (options.rate && !is_word(&options, "start") && !is_word(&options, "rate"))
		return syntax_complain(syntax.verb, "--rate goes with start and rate only");
	if (options.restart && !is_word(&options, "start"))
		return syntax_complain(syntax.verb, "--restart goes with start only");
	if (options.wait && !is_word(&options, "start") && !is_word(&options, "status"))
		return syntax_complain(syntax.verb, "--wait goes with start and status only");
	if (bus_connect(&bus, &error))
		return failed(&options, &error);
	return run(&bus, &options, &luns, &error);
}
