/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
#include "sim_seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct ti_secret *sim_key(size_t len, uint8_t first)
{
	struct ti_secret *key;

	assert_int_equal(ti_secret_alloc(len, &key), 0);
	key->len = len;
	for (size_t i = 0; i < len; i++)
		key->bytes[i] = (uint8_t)(first + SIM_KEY_STEP * i);
	return key;
}

struct ti_seal *sim_sealed_seal(struct sim_sealed *w)
{
	struct ti_error e = { 0 };
	struct ti_seal *seal;

	if (ti_seal_open(&w->l->options.seal, &seal, &e) ||
	    ti_seal_start(seal, &w->l->sb, &w->l->geo, &e))
		fail_msg("%s", e.text);
	return seal;
}

struct sim_sealed sim_sealed_make(const char *crypt, bool salted)
{
	struct sim_lun_options o = {
		.shape = { .tag_size = 255,
			   .journal_sectors = SIM_SEALED_SECTIONS * SIM_SEALED_SECTION_SECTORS,
			   .salted = salted,
			   .journal_mac = true },
		.blocks = 1000,
		.lun = { .mode = TI_MODE_JOURNAL },
	};
	struct sim_sealed w = { .mac_key = sim_key(40, 1), .crypt_key = sim_key(32, 9) };
	struct ti_seal *seal;
	uint8_t *meta;

	o.lun.seal = (struct ti_seal_options){ .mac = "hmac-sha256",
					       .mac_key = w.mac_key,
					       .crypt = crypt,
					       .crypt_key = crypt ? w.crypt_key : NULL };
	w.l = sim_lun_make(&o);
	assert_int_equal(w.l->geo.journal_sections, SIM_SEALED_SECTIONS);
	assert_int_equal(w.l->geo.section_entries, SIM_SECTION_ENTRIES);
	seal = sim_sealed_seal(&w);
	meta = sim_contents(w.l->sim, TI_META);
	ti_seal_superblock(seal, &w.l->sb, meta);
	for (uint32_t i = 0; i < SIM_SEALED_SECTIONS; i++) {
		uint8_t *section = sim_journal_bytes(w.l, i);

		ti_seal_empty_section(seal, &w.l->geo, i, 0, section);
		ti_seal_encrypt(seal, i, section, section);
	}
	ti_seal_close(seal);
	sim_settle(w.l->sim, TI_META);
	return w;
}

void sim_sealed_drop(struct sim_sealed *w)
{
	sim_lun_free(w->l);
	ti_secret_free(w->mac_key);
	ti_secret_free(w->crypt_key);
}
