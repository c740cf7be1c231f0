/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Profiles: what is too long, or too delicate, for a config string.
 *
 *     /etc/tcmu/integrity.d/NAME.conf
 *
 *     [lun]
 *     data=/dev/disk/by-id/...
 *     meta=/dev/disk/by-id/...
 *     hash=hmac-sha256
 *     integrity_key_file=/etc/tcmu/keys/NAME.key
 *
 * One group, with the keys of a config string, data, and the places of keys.  A key file of GLib's
 * (not ours: the word has two meanings) may hold ':' and ',' and any length.
 */
#include "config_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <glib.h>

#define GROUP "lun"

struct place_key {
	const char *name;
	size_t offset; /* of the struct ti_key_source in struct ti_config */
};

static const struct place_key places[] = {
	{ "integrity_key", offsetof(struct ti_config, hash_key) },
	{ "journal_integrity_key", offsetof(struct ti_config, journal_mac_key) },
	{ "journal_crypt_key", offsetof(struct ti_config, journal_crypt_key) },
};

#define PLACES (sizeof(places) / sizeof(places[0]))

static int set_size(const char *name, const char *value, struct ti_key_source *source,
		    struct ti_error *error)
{
	guint64 number;

	if (!g_ascii_string_to_unsigned(value, 10, 1, TI_KEY_MAX_BYTES, &number, NULL))
		return ti_error_set(error, -EINVAL, "%s=%s is not a number from 1 to %u (bytes)",
				    name, value, TI_KEY_MAX_BYTES);
	source->size = (uint32_t)number;
	return 0;
}

static int set_source(const char *name, const char *value, bool is_file,
		      struct ti_key_source *source, struct ti_error *error)
{
	int err;

	if (source->kind != TI_KEY_NONE)
		return ti_error_set(error, -EINVAL, "%s is a second place for the same key", name);
	if (is_file && value[0] != '/')
		return ti_error_set(error, -EINVAL, "%s is not an absolute path", name);
	err = is_file ? ti_key_source_file(name, value, source, error)
		      : ti_key_source_parse(name, value, source, error);
	if (!err && source->kind == TI_KEY_FD)
		return ti_error_set(error, -EINVAL,
				    "%s: tcmu-runner has no descriptors for keys; fd: is for "
				    "command lines",
				    name);
	if (!err && source->kind == TI_KEY_FILE && source->name[0] != '/')
		return ti_error_set(error, -EINVAL, "%s is not an absolute path", name);
	return err;
}

/* Returns 0, a failure, or 1 if @name is none of those keys. */
static int set_place(const char *name, const char *value, struct ti_config *out,
		     struct ti_error *error)
{
	for (size_t i = 0; i < PLACES; i++) {
		size_t len = strlen(places[i].name);
		struct ti_key_source *source =
			(struct ti_key_source *)(void *)((char *)out + places[i].offset);

		if (strncmp(name, places[i].name, len) != 0)
			continue;
		if (!name[len])
			return set_source(name, value, false, source, error);
		if (!strcmp(name + len, "_file"))
			return set_source(name, value, true, source, error);
		if (!strcmp(name + len, "_size"))
			return set_size(name, value, source, error);
	}
	return 1;
}

static int set_mac(const char *value, struct ti_config *out, struct ti_error *error)
{
	const struct ti_hash_ops *ops = ti_hash_find(value);

	if (!ops)
		return ti_error_set(error, -EINVAL,
				    "journal_integrity=%s is unknown; it can be what hash can be",
				    value);
	out->journal_mac = ops->name;
	return 0;
}

static int set_cipher(const char *value, struct ti_config *out, struct ti_error *error)
{
	if (!ti_seal_cipher_is_known(value))
		return ti_error_set(error, -EINVAL,
				    "journal_crypt=%s is unknown; it can be " TI_SEAL_CIPHER_NAMES,
				    value);
	out->journal_crypt = ti_seal_cipher_name(value);
	return 0;
}

static int set_one(const char *name, const char *value, uint32_t *seen, struct ti_config *out,
		   struct ti_error *error)
{
	int err = set_place(name, value, out, error);

	if (err <= 0)
		return err;
	if (!strcmp(name, "data"))
		return ti_config_set_path(out->data_path, "data device", value, error);
	if (!strcmp(name, "journal_integrity"))
		return set_mac(value, out, error);
	if (!strcmp(name, "journal_crypt"))
		return set_cipher(value, out, error);
	if (!strcmp(name, "profile"))
		return ti_error_set(error, -EINVAL, "a profile does not lead to another one");
	return ti_config_set(name, value, seen, out, error);
}

/* A key that nothing needs is a mistake somewhere. */
static void check_keys(const struct ti_config *c, struct ti_error *error)
{
	if (c->journal_mac && ti_hash_find(c->journal_mac)->keyed &&
	    c->journal_mac_key.kind == TI_KEY_NONE)
		ti_error_set(
			error, -EINVAL,
			"journal_integrity=%s needs a key; add journal_integrity_key_file=PATH",
			c->journal_mac);
	if (!(c->journal_mac && ti_hash_find(c->journal_mac)->keyed) &&
	    c->journal_mac_key.kind != TI_KEY_NONE)
		ti_error_set(error, -EINVAL,
			     "journal_integrity_key is there for no keyed "
			     "journal_integrity; leave it out");
	if (c->journal_crypt && c->journal_crypt_key.kind == TI_KEY_NONE)
		ti_error_set(error, -EINVAL,
			     "journal_crypt=%s needs a key; add journal_crypt_key_file=PATH",
			     c->journal_crypt);
	if (!c->journal_crypt && c->journal_crypt_key.kind != TI_KEY_NONE)
		ti_error_set(error, -EINVAL,
			     "journal_crypt_key is there without journal_crypt; leave it out");
}

/* All keys of the group.  @where: the file's path. */
static int set_all(GKeyFile *file, const char *where, struct ti_config *out, struct ti_error *error)
{
	static const char prefix[] = "config string: ";
	char **names = g_key_file_get_keys(file, GROUP, NULL, NULL);
	struct ti_error e = { 0 };
	uint32_t seen = 0;
	const char *text;

	for (char **name = names; *name && !e.err; name++) {
		char *value = g_key_file_get_string(file, GROUP, *name, NULL);

		if (!value || !value[0])
			ti_error_set(&e, -EINVAL, "%s has no value that can be read", *name);
		else
			set_one(*name, value, &seen, out, &e);
		g_free(value);
	}
	g_strfreev(names);
	if (!e.err)
		check_keys(out, &e);
	if (!e.err)
		return 0;
	text = !strncmp(e.text, prefix, strlen(prefix)) ? e.text + strlen(prefix) : e.text;
	return ti_error_set(error, e.err, "profile %s: %s", where, text);
}

static int check_name(const char *name, struct ti_error *error)
{
	if (!name[0])
		return ti_error_set(error, -EINVAL, "config string: profile has no name");
	if (name[0] == '.' || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789._-") != strlen(name))
		return ti_error_set(error, -EINVAL,
				    "config string: a profile's name has letters, digits, '.', '_' "
				    "and '-' only and does not begin with '.', not '%s'",
				    name);
	return 0;
}

static int check_groups(GKeyFile *file, const char *where, struct ti_error *error)
{
	gsize count;
	char **groups = g_key_file_get_groups(file, &count);
	int err = 0;

	if (count != 1 || strcmp(groups[0], GROUP) != 0)
		err = ti_error_set(error, -EINVAL,
				   "profile %s: it must have one group, [" GROUP "]", where);
	g_strfreev(groups);
	return err;
}

int ti_profile_load(const char *dir, const char *name, struct ti_config *out,
		    struct ti_error *error)
{
	GError *why = NULL;
	GKeyFile *file;
	char path[1024];
	int err = check_name(name, error);

	if (err)
		return err;
	if ((size_t)snprintf(path, sizeof(path), "%s/%s.conf", dir, name) >= sizeof(path))
		return ti_error_set(error, -ENAMETOOLONG, "the profile's path is too long");
	file = g_key_file_new();
	if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &why)) {
		err = ti_error_set(error,
				   g_error_matches(why, G_FILE_ERROR, G_FILE_ERROR_NOENT) ? -ENOENT
											  : -EINVAL,
				   "profile %s cannot be read: %s", path, why->message);
		g_error_free(why);
	} else {
		err = check_groups(file, path, error);
		if (!err)
			err = set_all(file, path, out, error);
	}
	g_key_file_free(file);
	return err;
}

int ti_config_load_keys(const struct ti_config *config, struct ti_config_keys *keys,
			struct ti_lun_options *lun, struct ti_error *error)
{
	int err;

	*keys = (struct ti_config_keys){ 0 };
	err = ti_key_load("integrity_key", &config->hash_key, &keys->hash, error);
	if (!err)
		err = ti_key_load("journal_integrity_key", &config->journal_mac_key,
				  &keys->journal_mac, error);
	if (!err)
		err = ti_key_load("journal_crypt_key", &config->journal_crypt_key,
				  &keys->journal_crypt, error);
	lun->hash_key = keys->hash;
	lun->seal.mac_key = keys->journal_mac;
	lun->seal.crypt_key = keys->journal_crypt;
	return err;
}

void ti_config_drop_keys(struct ti_config_keys *keys)
{
	ti_secret_free(keys->hash);
	ti_secret_free(keys->journal_mac);
	ti_secret_free(keys->journal_crypt);
	*keys = (struct ti_config_keys){ 0 };
}
