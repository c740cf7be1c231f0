/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The options that say where a key is, for every verb that needs one.
 */
#ifndef CLI_KEYS_H
#define CLI_KEYS_H

#include <stdint.h>

#include "hash.h"
#include "key.h"
#include "syntax.h"

/** What was given for one key. */
struct key_options {
	const char *source; /* --...-key: file:PATH, keyring:..., credential:..., fd:N */
	const char *file;   /* --...-key-file */
	uint64_t size;	    /* --...-key-size; 0: all of it */
};

/** The three rows of a verb's table: @name is "integrity", @field a struct key_options in @verb. */
#define KEY_ROWS(name, verb, field)                                                                \
	{ name "-key-file",	      0,   "FILE", SYNTAX_TEXT, offsetof(verb, field.file), 0, 0,  \
	  "the key: what is in FILE", NULL },                                                      \
		{ name "-key-size",                                                                \
		  0,                                                                               \
		  "BYTES",                                                                         \
		  SYNTAX_NUMBER,                                                                   \
		  offsetof(verb, field.size),                                                      \
		  1,                                                                               \
		  TI_KEY_MAX_BYTES,                                                                \
		  "the first BYTES of it",                                                         \
		  "all" },                                                                         \
	{                                                                                          \
		name "-key", 0, "PLACE", SYNTAX_TEXT, offsetof(verb, field.source), 0, 0,          \
			"or: keyring:user:NAME, credential:NAME, fd:NUMBER", NULL                  \
	}

/**
 * Get the key for a digest or cipher @algorithm, which @keyed says needs one; *@key is NULL if it
 * does not.  @option: "--integrity".  Returns 0, or an exit code after a complaint.
 */
int keys_load(const char *verb, const char *option, const char *algorithm, bool keyed,
	      const struct key_options *options, struct ti_secret **key);

#define cli_cleanup_secret __attribute__((cleanup(keys_free_secret)))
void keys_free_secret(struct ti_secret **secret);

#endif
