/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * tcmu-integrity: the table of verbs, and the way to one of them.
 */
#include <stdio.h>
#include <string.h>

#include "cli.h"

static const struct cli_verb verbs[] = {
	{ "format", "make a pair of devices: superblock, journal and tags", cli_format },
	{ "dump", "show a metadata device's superblock, layout and journal", cli_dump },
	{ "check", "verify every tag of a pair that is not in use", cli_check },
	{ "config", "check, show and explain the configuration of LUNs", cli_config },
	{ "status", "show the LUNs that tcmu-runner serves", cli_status },
	{ "scrub", "verify every tag of a LUN while it is served", cli_scrub },
	{ "recalculate", "make every tag of a LUN anew while it is served", cli_recalculate },
	{ "flush", "make durable what a LUN has acknowledged", cli_flush },
	{ "metrics", "print the LUNs' numbers as OpenMetrics text", cli_metrics },
	{ "doctor", "is everything here that serving LUNs needs?", cli_doctor },
	{ "version", "print the version", cli_version },
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void print_help(void)
{
	puts("usage: tcmu-integrity VERB [OPTION...] [OPERAND...]\n\n"
	     "Looks after pairs of devices in dm-integrity's format: a data device and a metadata\n"
	     "device, META below, which holds an integrity tag for each block.\n\nverbs:");
	for (size_t i = 0; i < VERBS; i++)
		printf("  %-11s %s\n", verbs[i].name, verbs[i].summary);
	puts("\noptions:\n"
	     "  -h, --help    print this and stop; after a verb: that verb's options\n"
	     "      --version print the version and stop\n\n"
	     "exit status: 0 done and clean; 1 differences found or something missing; 2 usage;\n"
	     "3 cannot open, not this format, or refused; 4 I/O error; 130 stopped");
}

/* Nothing that was printed may be lost without a word: a full disk, a closed pipe. */
static int finish(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	cli_complain("writing the results to stdout failed");
	return status == CLI_CLEAN ? CLI_IO : status;
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;

	if (!word) {
		cli_complain("a verb is missing; 'tcmu-integrity --help' lists them");
		return CLI_USAGE;
	}
	if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
		print_help();
		return finish(CLI_CLEAN);
	}
	if (!strcmp(word, "--version")) {
		char *just_version[] = { "version", NULL };

		return finish(cli_version(1, just_version));
	}
	for (size_t i = 0; i < VERBS; i++) {
		if (!strcmp(word, verbs[i].name))
			return finish(verbs[i].run(argc - 1, argv + 1));
	}
	cli_complain("there is no verb '%s'; 'tcmu-integrity --help' lists them", word);
	return CLI_USAGE;
}
