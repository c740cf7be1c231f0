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
	source->waits = true; /* <(command) is a pipe, and nobody else waits for us */
	if (options->file)
		return ti_key_source_file(what, options->file, source, error);
	return ti_key_source_parse(what, options->source, source, error);
}

/* The key for @algorithm, which @keyed says needs one. */
static int load_key(const char *verb, const char *option, const char *algorithm, bool keyed,
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
	    !ti_key_load(what, &source, key, &error)) {
		if (ti_key_is_exposed(&source))
			cli_complain("warning: everybody may read, or change, the key in %s: "
				     "chmod 600 it",
				     source.name);
		return 0;
	}
	cli_complain_error(&error);
	return CLI_REFUSED;
}

static int find_hash(const char *verb, const char *name, const struct ti_hash_ops **ops)
{
	*ops = ti_hash_find(name);
	if (*ops)
		return 0;
	return syntax_complain(verb,
			       "the digest '%s' is not known here; " TI_HASH_NAMES
			       " and hmac-... of the last nine are",
			       name);
}

static int load_mac(const char *verb, const struct keyed_options *o, struct keyed *k)
{
	const struct ti_hash_ops *ops = NULL;
	int status = o->journal_integrity ? find_hash(verb, o->journal_integrity, &ops) : 0;

	if (status)
		return status;
	k->seal.mac = ops ? ops->name : NULL;
	status = load_key(verb, "--journal-integrity", o->journal_integrity ? ops->name : "none",
			  ops && ops->keyed, &o->journal_integrity_key, &k->mac_key);
	k->seal.mac_key = k->mac_key;
	return status;
}

static int load_crypt(const char *verb, const struct keyed_options *o, struct keyed *k)
{
	int status;

	if (o->journal_crypt && !ti_seal_cipher_is_known(o->journal_crypt))
		return syntax_complain(
			verb, "the cipher '%s' is not known here; " TI_SEAL_CIPHER_NAMES " are",
			o->journal_crypt);
	k->seal.crypt = o->journal_crypt;
	status = load_key(verb, "--journal-crypt", o->journal_crypt ? o->journal_crypt : "none",
			  o->journal_crypt != NULL, &o->journal_crypt_key, &k->crypt_key);
	k->seal.crypt_key = k->crypt_key;
	return status;
}

int keyed_load(const char *verb, const struct keyed_options *o, struct keyed *k)
{
	int status = 0;

	*k = (struct keyed){ .hash = NULL };
	if (o->integrity) {
		status = find_hash(verb, o->integrity, &k->hash);
		if (!status)
			status = load_key(verb, "--integrity", o->integrity, k->hash->keyed,
					  &o->integrity_key, &k->hash_key);
	}
	if (!status)
		status = load_mac(verb, o, k);
	return status ? status : load_crypt(verb, o, k);
}

void keyed_free(struct keyed *k)
{
	ti_secret_free(k->hash_key);
	ti_secret_free(k->mac_key);
	ti_secret_free(k->crypt_key);
}

void keys_close_seal(struct ti_seal **seal)
{
	ti_seal_close(*seal);
}
