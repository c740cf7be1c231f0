/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* Between config.c and file.c. */
#ifndef TI_CONFIG_INTERNAL_H
#define TI_CONFIG_INTERNAL_H

#include "config_keys.h"

/** One layer being put over those below it. */
struct ti_config_load {
	struct ti_config *out;
	struct ti_config_trace *trace; /* NULL: stop at the first problem */
	struct ti_error *error;	       /* the first problem */
	enum ti_config_layer layer;
	const char *path; /* of the layer's file, NULL: the config string */
	unsigned line;	  /* in it, 0: the file as a whole */
	uint64_t seen;	  /* a bit per row: given in this layer */
	unsigned seen_line[TI_CONFIG_KEYS_MAX];
};

/**
 * Note a problem: the sentence gets the name of the file and the line, or "config string: ", in
 * front.  Returns @err.
 */
int ti_config_problem(struct ti_config_load *load, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * May a sentence repeat what stands before a '='?  A line of a file may be a key that somebody put
 * there, in base64 with its '=' at the end; a name of ours is neither long nor full of digits.  The
 * config string is everybody's.
 */
bool ti_config_may_repeat(const struct ti_config_load *load, const char *name);

/** Go on after @err?  Yes if there was none, or if somebody wants to see all. */
static inline bool ti_config_goes_on(const struct ti_config_load *load, int err)
{
	return !err || load->trace;
}

/** Take one key and its value.  Returns 0 or what was wrong. */
int ti_config_take(struct ti_config_load *load, const char *name, const char *value);

/**
 * Read the file @path as the layer that @load says.  Returns 0, -ENOENT (without a sentence, if
 * @may_miss), or what was wrong.  Blocks only as a disk does.
 */
int ti_config_read_file(struct ti_config_load *load, const char *path, bool may_miss);

#endif
