/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What can be configured, one row per key: its kind and limits, where it may stand, where the value
 * goes, and the texts that explain it.  Parser, "config show" and "config explain" all live by it.
 */
#ifndef TI_CONFIG_KEYS_H
#define TI_CONFIG_KEYS_H

#include "config.h"

enum ti_config_kind {
	TI_KIND_PATH,	    /* a char[TI_CONFIG_MAX + 1] */
	TI_KIND_NUMBER,	    /* a uint64_t */
	TI_KIND_WORD,	    /* an enum */
	TI_KIND_DIGEST,	    /* a const char *, the kernel's name */
	TI_KIND_CIPHER,	    /* likewise */
	TI_KIND_PLACE,	    /* a struct ti_key_source, in all ways of naming one */
	TI_KIND_PLACE_FILE, /* the same by a path; right behind its PLACE in the table */
	TI_KIND_PLACE_SIZE, /* its size */
};

/** A value of a TI_KIND_WORD key; the last one's text is NULL. */
struct ti_config_word {
	const char *text;
	int value;
};

/** Where a key may stand. */
#define TI_IN_DEFAULTS (1U << TI_LAYER_DEFAULTS)
#define TI_IN_PROFILE  (1U << TI_LAYER_PROFILE)
#define TI_IN_STRING   (1U << TI_LAYER_STRING)

struct ti_config_key {
	const char *name;
	enum ti_config_kind kind;
	unsigned where;
	size_t offset; /* in struct ti_config */
	uint64_t min, max;
	const char *unit;		    /* of a number, for messages */
	const struct ti_config_word *words; /* TI_KIND_WORD */
	const char *preset;		    /* the built-in value; NULL: none */
	const char *summary;		    /* a few words */
	const char *about;		    /* sentences */
};

/** The row at @index, NULL past the end. */
const struct ti_config_key *ti_config_key(size_t index);

/** The row of that name and its @index (may be NULL); NULL if there is none. */
const struct ti_config_key *ti_config_find_key(const char *name, size_t *index);

/** The key whose name is most like it, NULL if none is. */
const struct ti_config_key *ti_config_nearest_key(const char *name);

/**
 * Set it; messages name no place.  Returns 0, -EINVAL, -ENAMETOOLONG or -EOPNOTSUPP.  Values never
 * repeat what may be a secret.
 */
int ti_config_set_value(const struct ti_config_key *key, const char *value, struct ti_config *out,
			struct ti_error *error);

/** The value as one would write it, "" if there is none. */
void ti_config_value_text(const struct ti_config_key *key, const struct ti_config *config,
			  char *text, size_t size);

/** What values there are, e.g. "1 to 1024 requests". */
void ti_config_range_text(const struct ti_config_key *key, char *text, size_t size);

#endif
