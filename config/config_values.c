/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Values of keys: from text, by their kind, and back.
 */
#include "config_keys.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Words are stored as their enums. */
_Static_assert(sizeof(enum ti_mode) == sizeof(int) && sizeof(enum ti_backend) == sizeof(int),
	       "an enum is an int");

static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *number)
{
	*number = 0;
	if (!text[0])
		return false;
	for (const char *p = text; *p != '\0'; p++) {
		if (*p < '0' || *p > '9' || __builtin_mul_overflow(*number, 10, number) ||
		    __builtin_add_overflow(*number, (uint64_t)(*p - '0'), number))
			return false;
	}
	return *number >= min && *number <= max;
}

static int set_path(const struct ti_config_key *key, const char *value, char *out,
		    struct ti_error *error)
{
	if (value[0] != '/')
		return ti_error_set(error, -EINVAL,
				    "the %s '%s' is not an absolute path; it must start with '/'",
				    /* "the data device" */
				    key->summary + strlen("the "), value);
	if (strlen(value) > TI_CONFIG_MAX)
		return ti_error_set(error, -ENAMETOOLONG,
				    "the path of %s is longer than %d bytes; use a link with a "
				    "shorter one",
				    key->summary, TI_CONFIG_MAX);
	snprintf(out, TI_CONFIG_MAX + 1, "%s", value);
	return 0;
}

static int not_a_number(const struct ti_config_key *key, const char *value, struct ti_error *error)
{
	return ti_error_set(error, -EINVAL,
			    "%s=%s is not a number from %" PRIu64 " to %" PRIu64 " (%s)", key->name,
			    value, key->min, key->max, key->unit);
}

static int set_word(const struct ti_config_key *key, const char *value, int *out,
		    struct ti_error *error)
{
	char known[128] = "";

	for (const struct ti_config_word *w = key->words; w->text; w++) {
		size_t used = strlen(known);

		if (strcmp(w->text, value) == 0) {
			*out = w->value;
			return 0;
		}
		snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "", w->text);
	}
	return ti_error_set(error, -EINVAL, "%s=%s is unknown; it can be: %s", key->name, value,
			    known);
}

static int set_digest(const struct ti_config_key *key, const char *value, const char **out,
		      struct ti_error *error)
{
	const struct ti_hash_ops *ops = ti_hash_find(value);

	if (!ops)
		return ti_error_set(error, -EINVAL, "%s=%s is unknown; it can be: " TI_HASH_NAMES,
				    key->name, value);
	*out = ops->name;
	return 0;
}

static int set_cipher(const struct ti_config_key *key, const char *value, const char **out,
		      struct ti_error *error)
{
	if (!ti_seal_cipher_is_known(value))
		return ti_error_set(error, -EINVAL,
				    "%s=%s is unknown; it can be " TI_SEAL_CIPHER_NAMES, key->name,
				    value);
	*out = ti_seal_cipher_name(value);
	return 0;
}

static int set_place(const struct ti_config_key *key, const char *value,
		     struct ti_key_source *source, struct ti_error *error)
{
	bool is_file = key->kind == TI_KIND_PLACE_FILE;
	int err;

	if (source->kind != TI_KEY_NONE)
		return ti_error_set(error, -EINVAL, "%s is a second place for the same key",
				    key->name);
	if (is_file && value[0] != '/')
		return ti_error_set(error, -EINVAL, "%s is not an absolute path", key->name);
	err = is_file ? ti_key_source_file(key->name, value, source, error)
		      : ti_key_source_parse(key->name, value, source, error);
	if (!err && source->kind == TI_KEY_FD)
		return ti_error_set(error, -EINVAL,
				    "%s: tcmu-runner has no descriptors for keys; fd: is for "
				    "command lines",
				    key->name);
	if (!err && source->kind == TI_KEY_FILE && source->name[0] != '/')
		return ti_error_set(error, -EINVAL, "%s is not an absolute path", key->name);
	return err;
}

int ti_config_set_value(const struct ti_config_key *key, const char *value, struct ti_config *out,
			struct ti_error *error)
{
	void *at = (char *)out + key->offset;
	uint64_t number;

	switch (key->kind) {
	case TI_KIND_PATH:
		return set_path(key, value, at, error);
	case TI_KIND_NUMBER:
		if (!parse_number(value, key->min, key->max, &number))
			return not_a_number(key, value, error);
		memcpy(at, &number, sizeof(number));
		return 0;
	case TI_KIND_WORD:
		return set_word(key, value, at, error);
	case TI_KIND_DIGEST:
		return set_digest(key, value, at, error);
	case TI_KIND_CIPHER:
		return set_cipher(key, value, at, error);
	case TI_KIND_PLACE:
	case TI_KIND_PLACE_FILE:
		return set_place(key, value, at, error);
	case TI_KIND_PLACE_SIZE:
		if (!parse_number(value, key->min, key->max, &number))
			return not_a_number(key, value, error);
		((struct ti_key_source *)at)->size = (uint32_t)number;
		return 0;
	}
	return -EINVAL; /* there is no other kind */
}

static void place_text(const struct ti_key_source *source, char *text, size_t size)
{
	static const char *const kinds[] = {
		[TI_KEY_FILE] = "file:",
		[TI_KEY_KEYRING] = "keyring:user:",
		[TI_KEY_CREDENTIAL] = "credential:",
	};

	if (source->kind != TI_KEY_NONE && source->kind != TI_KEY_FD)
		snprintf(text, size, "%s%s", kinds[source->kind], source->name);
}

void ti_config_value_text(const struct ti_config_key *key, const struct ti_config *config,
			  char *text, size_t size)
{
	const void *at = (const char *)config + key->offset;
	const struct ti_key_source *source = at;
	const char *name;
	uint64_t number;

	snprintf(text, size, "%s", "");
	switch (key->kind) {
	case TI_KIND_PATH:
		snprintf(text, size, "%s", (const char *)at);
		break;
	case TI_KIND_NUMBER:
		memcpy(&number, at, sizeof(number));
		if (number)
			snprintf(text, size, "%" PRIu64, number);
		else
			snprintf(text, size, "%s", key->preset ? key->preset : "");
		break;
	case TI_KIND_WORD:
		for (const struct ti_config_word *w = key->words; w->text; w++) {
			if (w->value == *(const int *)at)
				snprintf(text, size, "%s", w->text);
		}
		break;
	case TI_KIND_DIGEST:
	case TI_KIND_CIPHER:
		memcpy(&name, at, sizeof(name));
		snprintf(text, size, "%s", name ? name : "");
		break;
	case TI_KIND_PLACE:
		place_text(source, text, size);
		break;
	case TI_KIND_PLACE_SIZE:
		if (source->size)
			snprintf(text, size, "%" PRIu32, source->size);
		break;
	case TI_KIND_PLACE_FILE: /* PLACE shows it */
		break;
	}
}

static void words_text(const struct ti_config_word *words, char *text, size_t size)
{
	for (const struct ti_config_word *w = words; w->text; w++) {
		size_t used = strlen(text);

		snprintf(text + used, size - used, "%s%s", used ? ", " : "", w->text);
	}
}

void ti_config_range_text(const struct ti_config_key *key, char *text, size_t size)
{
	snprintf(text, size, "%s", "");
	switch (key->kind) {
	case TI_KIND_PATH:
	case TI_KIND_PLACE_FILE:
		snprintf(text, size, "an absolute path");
		break;
	case TI_KIND_NUMBER:
	case TI_KIND_PLACE_SIZE:
		snprintf(text, size, "%" PRIu64 " to %" PRIu64 " (%s)", key->min, key->max,
			 key->unit);
		break;
	case TI_KIND_WORD:
		words_text(key->words, text, size);
		break;
	case TI_KIND_DIGEST:
		snprintf(text, size, "%s", TI_HASH_NAMES);
		break;
	case TI_KIND_CIPHER:
		snprintf(text, size, "%s", TI_SEAL_CIPHER_NAMES);
		break;
	case TI_KIND_PLACE:
		snprintf(text, size, "file:PATH, keyring:user:DESCRIPTION, credential:NAME");
		break;
	}
}
