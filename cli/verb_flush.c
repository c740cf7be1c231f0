/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * tcmu-integrity flush: make durable what a LUN has acknowledged, as SYNCHRONIZE CACHE does.
 */
#include <stdio.h>

#include "bus.h"
#include "cli.h"
#include "lun_work.h"
#include "print.h"
#include "syntax.h"

struct options {
	const char *name[1];
	bool json;
};

static const struct syntax_option option_rows[] = {
	{ "json", 'j', NULL, SYNTAX_FLAG, offsetof(struct options, json), 0, 0,
	  "print a JSON object", NULL },
};

static const struct syntax syntax = {
	.verb = "flush",
	.operands = "LUN",
	.about = "Flushes both devices of a LUN that is served, as an initiator's SYNCHRONIZE "
		 "CACHE does, and\n"
		 "waits for that. LUN is the name of its backstore.",
	.options = option_rows,
	.option_count = sizeof(option_rows) / sizeof(option_rows[0]),
	.words_max = 1,
	.words_offset = offsetof(struct options, name),
};

int cli_flush(int argc, char **argv)
{
	struct options options = { .json = false };
	g_autoptr(GDBusConnection) bus = NULL;
	g_autoptr(GPtrArray) luns = NULL;
	const struct bus_lun *lun = NULL;
	struct ti_error error = { 0 };
	int status;

	if (!syntax_parse(&syntax, argc, argv, &options, &status))
		return status;
	if (!options.name[0])
		return syntax_complain(syntax.verb, "the name of the LUN is missing");
	if (!bus_connect(&bus, &error))
		lun = lun_look(bus, options.name[0], &luns, &error);
	if (lun)
		bus_call(bus, lun, "Flush", NULL, &error);
	if (error.err)
		return lun_work_failed(options.json, &error);
	printer_for(options.json)->flush(&(struct report_flush){ .lun = lun });
	return CLI_CLEAN;
}
