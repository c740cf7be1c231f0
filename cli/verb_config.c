/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * tcmu-integrity config: what LUNs are told to be, before they are opened.
 *
 * Nothing but the settings files is opened: whether the devices are there and hold a pair is for
 * the handler to say.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "config_files.h"
#include "config_keys.h"
#include "print.h"
#include "syntax.h"

#define MAX_WORDS 64

struct options {
	const char *word[MAX_WORDS]; /* what to do, and with what */
	const char *defaults;
	const char *profiles;
	bool json;
};

static const struct syntax_option option_rows[] = {
	{ "defaults-file", 0, "FILE", SYNTAX_TEXT, offsetof(struct options, defaults), 0, 0,
	  "the defaults of all LUNs", TI_DEFAULTS_FILE },
	{ "profile-dir", 0, "DIR", SYNTAX_TEXT, offsetof(struct options, profiles), 0, 0,
	  "where profiles are, as NAME.conf", TI_PROFILE_DIR },
	{ "json", 'j', NULL, SYNTAX_FLAG, offsetof(struct options, json), 0, 0,
	  "print a JSON object", NULL },
};

static const struct syntax syntax = {
	.verb = "config",
	.operands = "check|show|explain [WORD...]",
	.about = "check [FILE|STRING...]  names everything that is wrong with these settings files "
		 "and config\n"
		 "                        strings; without any, with the defaults file and all "
		 "profiles\n"
		 "show STRING             shows the values that count for a LUN with this config "
		 "string, and\n"
		 "                        who says so\n"
		 "explain [KEY]           says what a key means, or lists them all",
	.options = option_rows,
	.option_count = sizeof(option_rows) / sizeof(option_rows[0]),
	.words_max = MAX_WORDS,
	.words_offset = offsetof(struct options, word),
};

/* ---- check ---- */

struct items {
	struct config_item *item;
	size_t count, bad;
};

static void free_items(struct items *items)
{
	for (size_t i = 0; i < items->count; i++)
		free(items->item[i].trace);
	free(items->item);
}

static bool is_string(const char *word)
{
	return !strncmp(word, TI_CONFIG_PREFIX, strlen(TI_CONFIG_PREFIX)) ||
	       !strncmp(word, "profile=", strlen("profile=")) || strchr(word, ';');
}

static bool is_defaults_file(const struct options *options, const char *path)
{
	const char *base = strrchr(path, '/');

	return !strcmp(path, options->defaults) ||
	       !strcmp(base ? base + 1 : path, strrchr(TI_DEFAULTS_FILE, '/') + 1);
}

/* As targetcli's cfgstring=, which leaves the prefix away, or whole.  The caller's to free. */
static char *whole_string(const char *word)
{
	bool has_prefix = !strncmp(word, TI_CONFIG_PREFIX, strlen(TI_CONFIG_PREFIX));
	char *whole;

	if (asprintf(&whole, "%s%s", has_prefix ? "" : TI_CONFIG_PREFIX, word) < 0)
		abort();
	return whole;
}

static void look_at(const struct options *options, const char *what, struct items *items)
{
	const struct ti_config_paths paths = { options->defaults, options->profiles };
	struct config_item *item = &items->item[items->count++];
	struct ti_error error = { 0 };
	struct ti_config config;
	enum ti_config_layer layer = TI_LAYER_STRING;

	item->what = what;
	item->trace = calloc(1, sizeof(*item->trace));
	if (!item->trace)
		abort();
	if (is_string(what)) {
		cli_cleanup_free char *string = whole_string(what);

		ti_config_parse_at(&paths, string, &config, item->trace, &error);
	} else {
		layer = is_defaults_file(options, what) ? TI_LAYER_DEFAULTS : TI_LAYER_PROFILE;
		ti_config_check_file(what, layer, &config, item->trace, &error);
	}
	item->kind = ti_config_layer_name(layer);
	items->bad += item->trace->problems > 0;
}

static int check(const struct options *options, const struct printer *print)
{
	struct report_config_check report = { 0 };
	struct config_files files = { 0 };
	struct items items = { 0 };
	struct ti_error error = { 0 };
	int err = 0;

	if (!options->word[1])
		err = config_files_find(options->defaults, options->profiles, &files);
	if (err) {
		ti_error_set(&error, err, "the directory %s cannot be read: %s", options->profiles,
			     strerror(-err));
		cli_complain_error(&error);
		print->failure(&error);
		config_files_free(&files);
		return CLI_REFUSED;
	}
	items.item = calloc(files.count + MAX_WORDS, sizeof(*items.item));
	if (!items.item)
		abort();
	for (size_t i = 0; i < files.count; i++)
		look_at(options, files.path[i], &items);
	for (size_t i = 1; i < MAX_WORDS && options->word[i]; i++)
		look_at(options, options->word[i], &items);
	report.item = items.item;
	report.count = items.count;
	report.bad = items.bad;
	print->config_check(&report);
	free_items(&items);
	config_files_free(&files);
	return report.bad ? CLI_DIFFERENT : CLI_CLEAN;
}

/* ---- the others ---- */

static int show(const struct options *options, const struct printer *print)
{
	const struct ti_config_paths paths = { options->defaults, options->profiles };
	cli_cleanup_free struct ti_config_trace *trace = calloc(1, sizeof(*trace));
	struct report_config_show report = { .trace = trace };
	struct ti_error error = { 0 };
	struct ti_config config;
	cli_cleanup_free char *string = NULL;

	if (!options->word[1] || options->word[2])
		return syntax_complain(syntax.verb, "show takes one config string");
	if (!trace)
		abort();
	string = whole_string(options->word[1]);
	report.config_string = string;
	report.config = &config;
	if (ti_config_parse_at(&paths, string, &config, trace, &error)) {
		cli_complain_error(&error);
		print->failure(&error);
		return CLI_REFUSED;
	}
	print->config_show(&report);
	return CLI_CLEAN;
}

static int explain(const struct options *options, const struct printer *print)
{
	struct report_config_explain report = { NULL };
	const char *name = options->word[1];

	if (name && options->word[2])
		return syntax_complain(syntax.verb, "explain takes one key, or none");
	if (name) {
		const struct ti_config_key *nearest = ti_config_nearest_key(name);

		report.key = ti_config_find_key(name, NULL);
		if (!report.key && nearest)
			return syntax_complain(syntax.verb,
					       "there is no key '%s'; did you mean '%s'?", name,
					       nearest->name);
		if (!report.key)
			return syntax_complain(syntax.verb, "there is no key '%s'", name);
	}
	print->config_explain(&report);
	return CLI_CLEAN;
}

int cli_config(int argc, char **argv)
{
	struct options options = { .defaults = TI_DEFAULTS_FILE, .profiles = TI_PROFILE_DIR };
	const struct printer *print;
	int status;

	if (!syntax_parse(&syntax, argc, argv, &options, &status))
		return status;
	print = printer_for(options.json);
	if (!options.word[0])
		return syntax_complain(syntax.verb, "one of check, show and explain is missing");
	if (!strcmp(options.word[0], "check"))
		return check(&options, print);
	if (!strcmp(options.word[0], "show"))
		return show(&options, print);
	if (!strcmp(options.word[0], "explain"))
		return explain(&options, print);
	return syntax_complain(syntax.verb, "there is no 'config %s'", options.word[0]);
}
