/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Options from a table: getopt_long() finds them, this file knows their types.
 */
#include "syntax.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define MAX_OPTIONS 40
#define HELP_COLUMN 34

/* getopt_long() returns this plus the row's number; letters stay below. */
#define ROW_BASE 1000

static const struct syntax_option help_row = { .name = "help",
					       .letter = 'h',
					       .help = "print this and stop" };

int syntax_complain(const char *verb, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "tcmu-integrity %s: ", verb);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "; 'tcmu-integrity %s --help' lists the options\n", verb);
	return CLI_USAGE;
}

/* ---- help ---- */

static void print_row(const struct syntax_option *row)
{
	char left[80];
	int used;

	used = snprintf(left, sizeof(left), "  %c%c%c --%s%s%s", row->letter ? '-' : ' ',
			row->letter ? row->letter : ' ', row->letter ? ',' : ' ', row->name,
			row->value ? " " : "", row->value ? row->value : "");
	assert(used > 0 && (size_t)used < sizeof(left));
	printf("%-*s", HELP_COLUMN, left);
	if (used >= HELP_COLUMN)
		printf("\n%*s", HELP_COLUMN, "");
	printf("%s", row->help);
	if (row->preset)
		printf(" (default: %s)", row->preset);
	putchar('\n');
}

void syntax_help(const struct syntax *syntax)
{
	printf("usage: tcmu-integrity %s [OPTION...]%s%s\n\n%s\n\noptions:\n", syntax->verb,
	       *syntax->operands ? " " : "", syntax->operands, syntax->about);
	for (size_t i = 0; i < syntax->option_count; i++)
		print_row(&syntax->options[i]);
	print_row(&help_row);
}

/* ---- values ---- */

/* The factor a size's suffix stands for, 0 if it is none. */
static uint64_t suffix_factor(const char *suffix)
{
	static const char letters[] = "KMGT";
	const char *found;

	if (!*suffix)
		return 1;
	found = strchr(letters, toupper((unsigned char)*suffix));
	/* "KB" is 1000 to some and 1024 to others: not accepted. */
	if (!found || (suffix[1] && strcmp(suffix + 1, "iB") != 0))
		return 0;
	return 1ULL << (10 * (found - letters + 1));
}

static int parse_number(const struct syntax *syntax, const struct syntax_option *row,
			const char *text, uint64_t *value)
{
	uint64_t factor;
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	factor = row->type == SYNTAX_BYTES ? suffix_factor(end) : !*end;
	if (!isdigit((unsigned char)*text) || !factor)
		return syntax_complain(syntax->verb, "--%s takes a %s, not '%s'", row->name,
				       row->type == SYNTAX_BYTES
					       ? "number of bytes, which may end in K, M, G or T"
					       : "number",
				       text);
	if (errno || __builtin_mul_overflow(*value, factor, value) || *value < row->min ||
	    *value > row->max)
		return syntax_complain(syntax->verb,
				       "--%s must be from %" PRIu64 " to %" PRIu64 ", not %s",
				       row->name, row->min, row->max, text);
	return 0;
}

static int set_value(const struct syntax *syntax, const struct syntax_option *row, char *text,
		     void *into)
{
	void *place = (char *)into + row->offset;

	switch (row->type) {
	case SYNTAX_FLAG:
		*(bool *)place = true;
		return 0;
	case SYNTAX_TEXT:
		if (!*text)
			return syntax_complain(syntax->verb, "--%s has an empty value", row->name);
		*(const char **)place = text;
		return 0;
	case SYNTAX_NUMBER:
	case SYNTAX_BYTES:
		return parse_number(syntax, row, text, place);
	}
	abort();
}

/* ---- parsing ---- */

struct getopt_tables {
	struct option options[MAX_OPTIONS + 2];
	char letters[3 * MAX_OPTIONS + 3];
};

static void add_row(struct getopt_tables *t, size_t i, const struct syntax_option *row)
{
	size_t at = strlen(t->letters);

	t->options[i] = (struct option){
		.name = row->name,
		.has_arg = row->value ? required_argument : no_argument,
		.val = ROW_BASE + (int)i,
	};
	if (row->letter)
		snprintf(t->letters + at, sizeof(t->letters) - at, "%c%s", row->letter,
			 row->value ? ":" : "");
}

static void make_tables(const struct syntax *syntax, struct getopt_tables *t)
{
	assert(syntax->option_count <= MAX_OPTIONS);
	memset(t, 0, sizeof(*t));
	/* ':' first: a missing value is told apart from an unknown option. */
	strcpy(t->letters, ":");
	for (size_t i = 0; i < syntax->option_count; i++)
		add_row(t, i, &syntax->options[i]);
	add_row(t, syntax->option_count, &help_row);
}

static const struct syntax_option *row_of(const struct syntax *syntax, int found)
{
	if (found >= ROW_BASE)
		return (size_t)(found - ROW_BASE) == syntax->option_count
			       ? &help_row
			       : &syntax->options[found - ROW_BASE];
	if (found == help_row.letter)
		return &help_row;
	for (size_t i = 0; i < syntax->option_count; i++) {
		if (syntax->options[i].letter == found)
			return &syntax->options[i];
	}
	return NULL;
}

/* Returns 0 or CLI_USAGE. */
static int take_operands(const struct syntax *syntax, int count, char **operand, void *into)
{
	int wanted = syntax->takes_device ? 1 : (int)syntax->words_max;
	const char **words = (const char **)(void *)((char *)into + syntax->words_offset);

	if (syntax->takes_device && count < wanted)
		return syntax_complain(syntax->verb, "the metadata device META is missing");
	if (count > wanted)
		return syntax_complain(syntax->verb, "'%s' is one operand too many",
				       operand[wanted]);
	if (syntax->takes_device)
		*(const char **)(void *)((char *)into + syntax->device_offset) = operand[0];
	for (int i = 0; syntax->words_max && i < count; i++)
		words[i] = operand[i];
	return 0;
}

/* How many long options begin like @word, a "--name" or "--name=value". */
static size_t count_beginning_like(const struct getopt_tables *t, const char *word)
{
	size_t len = strcspn(word + 2, "=");
	size_t count = 0;

	for (const struct option *o = t->options; o->name; o++)
		count += !strncmp(o->name, word + 2, len);
	return count;
}

/* getopt_long() said '?' or ':' (@found): name what is wrong in the user's words. */
static void complain_about_option(const struct syntax *syntax, const struct getopt_tables *t,
				  int found, const char *word)
{
	const struct syntax_option *row = optopt ? row_of(syntax, optopt) : NULL;

	if (found == ':' && row)
		syntax_complain(syntax->verb, "--%s needs a value: --%s %s", row->name, row->name,
				row->value);
	else if (row)
		syntax_complain(syntax->verb, "--%s takes no value", row->name);
	else if (optopt)
		syntax_complain(syntax->verb, "there is no option -%c", optopt);
	else if (count_beginning_like(t, word) > 1)
		syntax_complain(syntax->verb, "%s could be any of several options", word);
	else
		syntax_complain(syntax->verb, "there is no option %s", word);
}

bool syntax_parse(const struct syntax *syntax, int argc, char **argv, void *into, int *status)
{
	struct getopt_tables t;
	int found;

	make_tables(syntax, &t);
	optind = 1;
	opterr = 0;
	*status = CLI_USAGE;
	while ((found = getopt_long(argc, argv, t.letters, t.options, NULL)) != -1) {
		const struct syntax_option *row;

		if (found == '?' || found == ':') {
			complain_about_option(syntax, &t, found, argv[optind - 1]);
			return false;
		}
		row = row_of(syntax, found);
		if (row == &help_row) {
			syntax_help(syntax);
			*status = CLI_CLEAN;
			return false;
		}
		if (set_value(syntax, row, optarg, into))
			return false;
	}
	*status = take_operands(syntax, argc - optind, argv + optind, into);
	return *status == 0;
}
