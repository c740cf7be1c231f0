/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * tcmu-integrity doctor: is everything here that serving LUNs needs?
 */
#include <assert.h>
#include <stdio.h>

#include "cli.h"
#include "doctor.h"
#include "syntax.h"

struct options {
	bool json;
};

static const struct syntax_option option_rows[] = {
	{ "json", 'j', NULL, SYNTAX_FLAG, offsetof(struct options, json), 0, 0,
	  "print a JSON object", NULL },
};

static const struct syntax syntax = {
	.verb = "doctor",
	.operands = "",
	.about = "Looks for everything that tcmu-runner needs here to serve LUNs with our handler, "
		 "and\n"
		 "gives the command that mends what is missing. Nothing is changed.",
	.options = option_rows,
	.option_count = sizeof(option_rows) / sizeof(option_rows[0]),
};

struct finding *doctor_add(struct doctor *doctor, const char *subject, enum finding_state state,
			   const char *fmt, ...)
{
	struct finding *f = &doctor->finding[doctor->count];
	va_list args;

	assert(doctor->count < FINDINGS_MAX);
	doctor->count++;
	f->subject = subject;
	f->state = state;
	f->mend[0] = '\0';
	va_start(args, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, args);
	va_end(args);
	return f;
}

void doctor_mend(struct finding *finding, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(finding->mend, sizeof(finding->mend), fmt, args);
	va_end(args);
}

int cli_doctor(int argc, char **argv)
{
	struct options options = { .json = false };
	struct doctor doctor = { .count = 0 };
	struct report_doctor report = { .finding = doctor.finding };
	int status;

	if (!syntax_parse(&syntax, argc, argv, &options, &status))
		return status;
	doctor_kernel(&doctor);
	doctor_config(&doctor);
	doctor_runner(&doctor);
	doctor_process(&doctor);
	doctor_threads(&doctor);
	report.count = doctor.count;
	for (size_t i = 0; i < doctor.count; i++) {
		report.missing += doctor.finding[i].state == FINDING_MISSING;
		report.notes += doctor.finding[i].state == FINDING_NOTE;
	}
	printer_for(options.json)->doctor(&report);
	return report.missing ? CLI_DIFFERENT : CLI_CLEAN;
}
