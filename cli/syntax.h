/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A verb's options as a table, from which they are parsed and its help is printed.
 *
 * Every row says where its value goes in the verb's own options struct, so a verb has no switch
 * over letters and its help cannot disagree with what it accepts.
 */
#ifndef CLI_SYNTAX_H
#define CLI_SYNTAX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum syntax_type {
	SYNTAX_FLAG,   /* bool */
	SYNTAX_TEXT,   /* const char * into argv */
	SYNTAX_NUMBER, /* uint64_t, plain */
	SYNTAX_BYTES,  /* uint64_t, may end in K, M, G or T (powers of 1024) */
};

struct syntax_option {
	const char *name;  /* without the dashes */
	char letter;	   /* 0: long only */
	const char *value; /* what stands for it in the help; NULL for flags */
	enum syntax_type type;
	size_t offset; /* of the value in the verb's struct */
	uint64_t min, max;
	const char *help; /* one line; the default goes into preset */
	const char *preset;
};

struct syntax {
	const char *verb;
	const char *operands; /* as in the usage line, "" for none */
	const char *about;    /* a few lines */
	const struct syntax_option *options;
	size_t option_count;
	bool takes_device;    /* exactly one operand, the metadata device */
	size_t device_offset; /* of its const char * in the verb's struct */
	size_t words_max;     /* else: at most so many operands, */
	size_t words_offset;  /* and where their const char *[] is */
};

/**
 * Fill the verb's struct @into, which holds the defaults, from @argv (argv[0] is the verb).
 * Options and operands may be mixed; "--" ends the options; -h and --help print the help.
 * True: the verb is to run.  False: its exit code is *@status, CLI_CLEAN when the help was printed,
 * CLI_USAGE when a mistake was named on stderr.
 */
bool syntax_parse(const struct syntax *syntax, int argc, char **argv, void *into, int *status);

/** Print the verb's help to stdout. */
void syntax_help(const struct syntax *syntax);

/** Name a mistake of the user's and where to read on.  Returns CLI_USAGE. */
int syntax_complain(const char *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
