/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * tcmu-integrity metrics: the LUNs' numbers for Prometheus and its like.
 */
#include <errno.h>
#include <stdio.h>

#include "bus.h"
#include "cli.h"
#include "metrics_server.h"
#include "openmetrics.h"
#include "syntax.h"

struct options {
	const char *output;
	uint64_t port;
};

static const struct syntax_option option_rows[] = {
	{ "output", 0, "FILE", SYNTAX_TEXT, offsetof(struct options, output), 0, 0,
	  "into this file, which is replaced as a whole", NULL },
	{ "listen", 0, "PORT", SYNTAX_NUMBER, offsetof(struct options, port), 1, 65535,
	  "answer GET /metrics at this port, loopback only", NULL },
};

static const struct syntax syntax = {
	.verb = "metrics",
	.operands = "",
	.about = "Prints the numbers of all LUNs that tcmu-runner serves with our handler as "
		 "OpenMetrics text,\n"
		 "once, or whenever they are asked for. --output is for node_exporter's textfile "
		 "collector.\n"
		 "If tcmu-runner cannot be asked the text says so (tcmu_integrity_up is 0).",
	.options = option_rows,
	.option_count = sizeof(option_rows) / sizeof(option_rows[0]),
};

static int print(const char *text, const char *file, struct ti_error *error)
{
	g_autoptr(GError) why = NULL;

	if (!file) {
		fputs(text, stdout);
		return 0;
	}
	/* A new file beside it takes its place, so that nobody ever reads half of one. */
	if (g_file_set_contents_full(file, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644, &why))
		return 0;
	return ti_error_set(error, -EIO, "%s cannot be written: %s", file, why->message);
}

int cli_metrics(int argc, char **argv)
{
	struct options options = { .output = NULL };
	g_autoptr(GDBusConnection) bus = NULL;
	g_autoptr(GPtrArray) luns = NULL;
	g_autofree char *text = NULL;
	struct ti_error error = { 0 }, write_error = { 0 };
	int status;

	if (!syntax_parse(&syntax, argc, argv, &options, &status))
		return status;
	if (options.port && options.output)
		return syntax_complain(syntax.verb, "--output and --listen do not go together");
	if (options.port) {
		if (bus_connect(&bus, &error) || metrics_serve((uint16_t)options.port, &error))
			cli_complain_error(&error);
		return error.err ? CLI_REFUSED : CLI_CLEAN;
	}
	if (bus_connect(&bus, &error) || bus_luns(bus, &luns, &error))
		cli_complain_error(&error);
	text = openmetrics_text(luns);
	if (print(text, options.output, &write_error)) {
		cli_complain_error(&write_error);
		return CLI_IO;
	}
	return error.err ? CLI_REFUSED : CLI_CLEAN;
}
