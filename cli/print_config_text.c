/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The configuration, for people.
 */
#include "print_config.h"

#include <stdio.h>
#include <string.h>

#include "config_keys.h"

#define WIDTH 80

void print_config_check_text(const struct report_config_check *r)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct ti_config_trace *t = r->item[i].trace;
		unsigned listed =
			t->problems < TI_CONFIG_PROBLEMS_MAX ? t->problems : TI_CONFIG_PROBLEMS_MAX;

		if (!t->problems)
			printf("%s: good\n", r->item[i].what);
		for (unsigned p = 0; p < listed; p++)
			puts(t->problem[p].text);
		if (listed < t->problems)
			printf("%s: and %u more\n", r->item[i].what, t->problems - listed);
	}
	if (!r->count)
		puts("there is neither a defaults file nor a profile: built-in values count");
}

static void print_origin(const struct ti_config_trace *t, size_t row)
{
	switch (t->from[row].layer) {
	case TI_LAYER_BUILT_IN:
		puts("built in");
		break;
	case TI_LAYER_DEFAULTS:
		printf("%s:%u\n", t->defaults, t->from[row].line);
		break;
	case TI_LAYER_PROFILE:
		printf("%s:%u\n", t->profile, t->from[row].line);
		break;
	case TI_LAYER_STRING:
		puts("config string");
		break;
	}
}

void print_config_show_text(const struct report_config_show *r)
{
	const struct ti_config_key *key;
	char value[TI_KEY_NAME_MAX + 32];

	for (size_t i = 0; (key = ti_config_key(i)) != NULL; i++) {
		ti_config_value_text(key, r->config, value, sizeof(value));
		if (!value[0])
			continue;
		printf("%-22s  %-24s  ", key->name, value);
		print_origin(r->trace, i);
	}
}

/* @text in lines of WIDTH columns, each after @indent blanks. */
static void print_wrapped(const char *text, int indent)
{
	int column = 0;

	while (*text) {
		int len = (int)strcspn(text, " ");

		if (column && column + 1 + len > WIDTH) {
			putchar('\n');
			column = 0;
		}
		column += printf("%*s%.*s", column ? 1 : indent, "", len, text);
		text += len;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static void explain_one(const struct ti_config_key *key)
{
	static const struct {
		unsigned bit;
		const char *name;
	} places[] = {
		{ TI_IN_DEFAULTS, "the defaults file" },
		{ TI_IN_PROFILE, "profiles" },
		{ TI_IN_STRING, "config strings" },
	};
	const char *comma = "";
	char range[256];

	ti_config_range_text(key, range, sizeof(range));
	printf("%s: %s\n\n", key->name, key->summary);
	if (*key->about) {
		print_wrapped(key->about, 2);
		putchar('\n');
	}
	printf("  values:    %s\n", range);
	printf("  default:   %s\n", key->preset ? key->preset : "none");
	fputs("  stands in:", stdout);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (!(key->where & places[i].bit))
			continue;
		printf("%s %s", comma, places[i].name);
		comma = ",";
	}
	putchar('\n');
}

void print_config_explain_text(const struct report_config_explain *r)
{
	const struct ti_config_key *key;

	if (r->key) {
		explain_one(r->key);
		return;
	}
	for (size_t i = 0; (key = ti_config_key(i)) != NULL; i++) {
		printf("%-27s %s", key->name, key->summary);
		if (key->preset)
			printf(" (%s)", key->preset);
		putchar('\n');
	}
}
