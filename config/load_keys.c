/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* The keys that a configuration names, from their places to the engine. */
#include "config.h"

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

const char *ti_config_exposed_key(const struct ti_config *config)
{
	const struct ti_key_source *const keys[] = { &config->hash_key, &config->journal_mac_key,
						     &config->journal_crypt_key };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (ti_key_is_exposed(keys[i]))
			return keys[i]->name;
	return NULL;
}

void ti_config_drop_keys(struct ti_config_keys *keys)
{
	ti_secret_free(keys->hash);
	ti_secret_free(keys->journal_mac);
	ti_secret_free(keys->journal_crypt);
	*keys = (struct ti_config_keys){ 0 };
}
