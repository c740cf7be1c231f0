/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * tcmu-integrity version
 */
#include "cli.h"
#include "print.h"
#include "syntax.h"

struct options {
	bool json;
};

static const struct syntax_option option_rows[] = {
	{ "json", 'j', NULL, SYNTAX_FLAG, offsetof(struct options, json), 0, 0,
	  "print a JSON object", NULL },
};

static const struct syntax syntax = {
	.verb = "version",
	.operands = "",
	.about = "Prints the version, and that of tcmu-runner which the handler was built for.",
	.options = option_rows,
	.option_count = sizeof(option_rows) / sizeof(option_rows[0]),
};

int cli_version(int argc, char **argv)
{
	static const struct report_version report = {
		.version = TI_VERSION,
		.tcmu_runner = TI_TCMU_VERSION,
	};
	struct options options = { .json = false };
	int status;

	if (!syntax_parse(&syntax, argc, argv, &options, &status))
		return status;
	printer_for(options.json)->version(&report);
	return CLI_CLEAN;
}
