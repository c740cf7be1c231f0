/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See world_seal.h. */
#include "world_seal.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "journal_format.h"
#include "sim_format.h"

static const char *const hashes[] = { "crc32c", "hmac-sha256", "sha1", "hmac-blake2s-256" };
static const char *const ciphers[] = { NULL, "ctr-aes", "cbc-aes", "chacha20" };

static struct ti_secret *key(size_t len, uint8_t first)
{
	struct ti_secret *k;

	if (ti_secret_alloc(len, &k) != 0)
		abort();
	k->len = len;
	for (size_t i = 0; i < len; i++)
		k->bytes[i] = (uint8_t)(first + 7 * i);
	return k;
}

struct world_keys *world_keys_new(const struct world_shape *shape)
{
	struct world_keys *keys;

	if (shape->hash == 0 && shape->mac == 0 && shape->crypt == 0)
		return NULL;
	keys = calloc(1, sizeof(*keys));
	if (keys == NULL)
		abort();
	keys->hash = key(32, 3);
	keys->mac = key(40, 1);
	keys->crypt = key(32, 9);
	return keys;
}

void world_keys_free(struct world_keys *keys)
{
	if (keys == NULL)
		return;
	ti_secret_free(keys->hash);
	ti_secret_free(keys->mac);
	ti_secret_free(keys->crypt);
	free(keys);
}

static bool is_keyed(const struct world_shape *shape)
{
	return strncmp(hashes[shape->hash % 4], "hmac", 4) == 0;
}

void world_seal_options(const struct world_shape *shape, const struct world_keys *keys,
			struct ti_lun_options *options)
{
	if (keys == NULL)
		return;
	options->hash = hashes[shape->hash % 4];
	options->hash_key = is_keyed(shape) ? keys->hash : NULL;
	options->seal.mac = shape->mac ? "hmac-sha256" : NULL;
	options->seal.mac_key = shape->mac ? keys->mac : NULL;
	options->seal.crypt = ciphers[shape->crypt % 4];
	options->seal.crypt_key = shape->crypt % 4 != 0 ? keys->crypt : NULL;
	options->legacy_recalculate = true;
	options->tag_size = shape->tag_size;
}

static void make_tags(struct world *w, const struct ti_superblock *sb,
		      const struct ti_lun_options *o, uint8_t *tags)
{
	uint8_t zero[4096] = { 0 };
	struct ti_error error = { 0 };
	struct ti_hash hash;

	if (ti_hash_prepare(&hash, ti_hash_find(o->hash), o->hash_key, &w->geo,
			    sb->flags & TI_SB_FIXED_HMAC ? sb->salt : NULL, &error) != 0)
		violation("format: %s", error.text);
	ti_hash_same(&hash, 0, zero, w->geo.provided_blocks, tags);
	ti_hash_destroy(&hash);
}

void world_format(struct world *w, const struct ti_superblock *sb)
{
	struct ti_lun_options o = { 0 };
	struct ti_error error = { 0 };
	struct ti_seal *seal = NULL;
	uint8_t *meta = sim_contents(w->sim, TI_META);

	sim_format(w->sim, sb, &w->geo);
	if (w->keys == NULL)
		return;
	world_seal_options(&w->schedule->shape, w->keys, &o);
	if (ti_seal_open(&o.seal, &seal, &error) != 0 ||
	    (seal != NULL && ti_seal_start(seal, sb, &w->geo, &error) != 0))
		violation("format: %s", error.text);
	for (uint32_t i = 0; seal != NULL && i < w->geo.journal_sections; i++) {
		uint8_t *section =
			meta + w->geo.journal_offset + i * ti_journal_section_bytes(&w->geo);

		ti_seal_empty_section(seal, &w->geo, i, 0, section);
		ti_seal_encrypt(seal, i, section, section);
	}
	if (seal != NULL)
		ti_seal_superblock(seal, sb, meta + w->geo.start_sector * TI_SECTOR_BYTES);
	if (!(sb->flags & TI_SB_RECALCULATING))
		make_tags(w, sb, &o, meta + w->geo.tag_offset);
	ti_seal_close(seal);
	sim_settle(w->sim, TI_META);
}
