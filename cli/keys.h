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
#include "seal.h"
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

/** Everything that a verb is told about digests, ciphers and their keys. */
struct keyed_options {
	const char *integrity;
	const char *journal_integrity;
	const char *journal_crypt;
	struct key_options integrity_key, journal_integrity_key, journal_crypt_key;
};

/** The rows for the journal, @field a struct keyed_options in @verb. */
#define JOURNAL_KEY_ROWS(verb, field)                                                              \
	{ "journal-integrity",                                                                     \
	  0,                                                                                       \
	  "NAME",                                                                                  \
	  SYNTAX_TEXT,                                                                             \
	  offsetof(verb, field.journal_integrity),                                                 \
	  0,                                                                                       \
	  0,                                                                                       \
	  "a digest that protects superblock and journal",                                         \
	  "none" },                                                                                \
		KEY_ROWS("journal-integrity", verb, field.journal_integrity_key),                  \
		{ "journal-crypt",                                                                 \
		  0,                                                                               \
		  "NAME",                                                                          \
		  SYNTAX_TEXT,                                                                     \
		  offsetof(verb, field.journal_crypt),                                             \
		  0,                                                                               \
		  0,                                                                               \
		  "a cipher that encrypts the journal",                                            \
		  "none" },                                                                        \
		KEY_ROWS("journal-crypt", verb, field.journal_crypt_key)

/** What they come to. */
struct keyed {
	const struct ti_hash_ops *hash; /* NULL if no name was given */
	struct ti_secret *hash_key;
	struct ti_seal_options seal;
	struct ti_secret *mac_key, *crypt_key; /* the seal's */
};

/** Returns 0, or an exit code after a complaint.  keyed_free() wipes the keys, whatever it was. */
int keyed_load(const char *verb, const struct keyed_options *options, struct keyed *keyed);

#define cli_cleanup_keyed __attribute__((cleanup(keyed_free)))
void keyed_free(struct keyed *keyed);

#define cli_cleanup_seal __attribute__((cleanup(keys_close_seal)))
void keys_close_seal(struct ti_seal **seal);

#endif
