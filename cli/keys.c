/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See keys.h. */
#include "keys.h"

#include <stdio.h>

#include "cli.h"

static int find_source(const char *what, const struct key_options *options,
		       struct ti_key_source *source, struct ti_error *error)
{
	source->size = (uint32_t)options->size;
	if (options->file)
		return ti_key_source_file(what, options->file, source, error);
	return ti_key_source_parse(what, options->source, source, error);
}

int keys_load(const char *verb, const char *option, const char *algorithm, bool keyed,
	      const struct key_options *options, struct ti_secret **key)
{
	struct ti_key_source source = { .kind = TI_KEY_NONE };
	struct ti_error error = { .err = 0 };
	char what[64];

	*key = NULL;
	if (!keyed && (options->file || options->source || options->size))
		return syntax_complain(verb, "%s %s takes no key: leave %s-key... out", option,
				       algorithm, option);
	if (!keyed)
		return 0;
	if (!options->file == !options->source)
		return syntax_complain(verb, "%s %s needs a key: give %s-key-file FILE%s", option,
				       algorithm, option,
				       options->file ? " or the other one, not both" : "");
	snprintf(what, sizeof(what), "%s-key%s", option, options->file ? "-file" : "");
	if (!find_source(what, options, &source, &error) &&
	    !ti_key_load(what, &source, key, &error))
		return 0;
	cli_complain_error(&error);
	return CLI_REFUSED;
}

void keys_free_secret(struct ti_secret **secret)
{
	ti_secret_free(*secret);
}
