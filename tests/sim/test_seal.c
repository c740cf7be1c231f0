/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A journal with MAC and cipher: power cuts, erasing and closing leave what the next open needs,
 * and nothing of it is plain on the medium.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "inspect.h"
#include "seal.h"
#include "store_file.h"
#include "sim_bitmap.h"
#include "sim_seal.h"

#define SECTIONS	SIM_SEALED_SECTIONS
#define SECTION_SECTORS SIM_SEALED_SECTION_SECTORS

static const char *const ciphers[] = { NULL, "ctr-aes", "chacha20", "cbc-aes", "ecb-aes" };

#define CIPHERS (sizeof(ciphers) / sizeof(ciphers[0]))

static void opens(struct sim_sealed *w)
{
	if (sim_lun_open(w->l) != 0)
		fail_msg("%s", w->l->error.text);
}

/* What the medium holds, seen with the keys: every section is whole and its MAC right. */
static struct ti_journal_summary look(struct sim_sealed *w)
{
	struct ti_journal_section section[SECTIONS];
	struct ti_journal_summary summary;
	struct ti_seal *seal = sim_sealed_seal(w);
	const struct ti_journal_ids ids = ti_seal_ids(seal);
	size_t bytes = ti_journal_section_bytes(&w->l->geo);
	uint8_t copy[SECTION_SECTORS * 512];

	for (uint32_t i = 0; i < SECTIONS; i++) {
		memcpy(copy, sim_journal_bytes(w->l, i), bytes);
		ti_seal_decrypt(seal, i, copy);
		section[i] = ti_journal_look(&w->l->geo, &ids, i, copy);
		if (section[i].seq < TI_JOURNAL_SEQS)
			assert_true(ti_seal_mac_is_right(seal, i, copy));
	}
	ti_journal_conclude(section, SECTIONS, &summary);
	ti_seal_close(seal);
	return summary;
}

/* Does the journal on the medium hold 16 bytes in a row of the block? */
static bool journal_shows(struct sim_sealed *w, uint32_t block, uint32_t version)
{
	const uint8_t *at = sim_journal_bytes(w->l, 0);
	uint8_t content[512];

	sim_content(w->l, block, version, content);
	return memmem(at, w->l->geo.journal_bytes, content + 64, 16) != NULL;
}

/* Commits under way when the process is killed: each sector arrives or does not. */
static void acknowledged_writes_outlive_the_process(void **state)
{
	static const char path[] = "./ti-seal-store", ring[] = "./ti-seal-store" TI_STORE_JOURNAL;

	(void)state;
	for (size_t c = 0; c < CIPHERS; c++) {
		for (unsigned n = 0; n < 8; n++) {
			struct sim_sealed w = sim_sealed_make(ciphers[c], n % 2 != 0);

			unlink(path);
			unlink(ring);
			w.l->options.store_path = path;
			w.l->options.journal_watermark = 99;
			opens(&w);
			for (unsigned i = 0; i < n; i++)
				(void)sim_random(sim_queue_random(w.l->sim));
			sim_ok(w.l, sim_write(w.l, 0, 3, 1));
			sim_ok(w.l, sim_flush(w.l));
			sim_ok(w.l, sim_write(w.l, 2, 4, 2));
			sim_hold(w.l->sim, true);
			sim_flush(w.l);
			sim_go(w.l);
			sim_write(w.l, 5, 3, 3);
			sim_go(w.l);
			sim_lun_die(w.l);
			assert_int_equal(sim_logged(w.l, "is continued"), 1);
			for (unsigned again = 0; again < 2; again++) {
				sim_reads(w.l, 0, 2, 1);
				sim_reads(w.l, 2, 3, 2);
				sim_reads(w.l, 5, 3, 3);
				/* And what was taken over is a journal like any other. */
				unlink(ring);
				sim_lun_cut(w.l);
			}
			assert_int_equal(sim_lun_close(w.l), 0);
			sim_sealed_drop(&w);
		}
	}
	unlink(path);
	unlink(ring);
}

static void flushed_writes_survive_a_power_cut(void **state)
{
	(void)state;
	for (size_t c = 0; c < CIPHERS; c++) {
		for (int salted = 0; salted < 2; salted++) {
			struct sim_sealed w = sim_sealed_make(ciphers[c], salted);

			opens(&w);
			/* More than the journal holds: it wraps, with another number. */
			for (uint32_t version = 1; version <= 9; version++) {
				sim_ok(w.l, sim_write(w.l, 10 * version, 5, version));
				sim_ok(w.l, sim_write(w.l, 500, 2, version));
				sim_ok(w.l, sim_flush(w.l));
			}
			assert_int_equal(look(&w).state == TI_JOURNAL_DAMAGED, 0);
			assert_true(look(&w).used_entries > 0);
			assert_int_equal(journal_shows(&w, 90, 9), ciphers[c] == NULL);
			sim_lun_cut(w.l);
			for (uint32_t version = 1; version <= 9; version++)
				sim_reads(w.l, 10 * version, 5, version);
			sim_reads(w.l, 500, 2, 9);
			sim_sealed_drop(&w);
		}
	}
}

static void clean_close_leaves_an_empty_journal_with_macs(void **state)
{
	(void)state;
	for (size_t c = 0; c < CIPHERS; c++) {
		struct sim_sealed w = sim_sealed_make(ciphers[c], true);

		opens(&w);
		sim_ok(w.l, sim_write(w.l, 3, 9, 1));
		assert_int_equal(sim_lun_close(w.l), 0);
		assert_int_equal(look(&w).state, TI_JOURNAL_EMPTY);
		assert_int_equal(look(&w).used_entries, 0);
		assert_int_equal(look(&w).replay_sections, SECTIONS);
		opens(&w);
		sim_reads(w.l, 3, 9, 1);
		sim_sealed_drop(&w);
	}
}

/* The crash image of mode journal, opened in mode direct: replayed, erased, and erased as it was
 * formatted, with MACs and cipher. */
static void mode_direct_replays_and_erases(void **state)
{
	(void)state;
	for (size_t c = 0; c < CIPHERS; c++) {
		struct sim_sealed w = sim_sealed_make(ciphers[c], true);

		opens(&w);
		sim_ok(w.l, sim_write(w.l, 3, 9, 1));
		sim_ok(w.l, sim_flush(w.l));
		w.l->options.mode = TI_MODE_DIRECT;
		sim_lun_cut(w.l);
		sim_reads(w.l, 3, 9, 1);
		assert_int_equal(look(&w).state, TI_JOURNAL_EMPTY);
		assert_int_equal(look(&w).used_entries, 0);
		sim_sealed_drop(&w);
	}
}

static void tampering_is_refused(void **state)
{
	(void)state;
	for (size_t c = 0; c < CIPHERS; c++) {
		struct sim_sealed w = sim_sealed_make(ciphers[c], true);
		uint8_t *section;

		opens(&w);
		sim_ok(w.l, sim_write(w.l, 3, 8, 1));
		sim_ok(w.l, sim_flush(w.l));
		ti_lun_abandon(w.l->lun);
		w.l->lun = NULL;
		section = sim_journal_bytes(w.l, 0);
		/* The low byte of the first entry's sector number. */
		section[0] ^= 1;
		assert_true(sim_lun_open(w.l) < 0);
		assert_non_null(strstr(w.l->error.text, "does not match its MAC"));
		section[0] ^= 1;
		/* Another key altogether. */
		w.mac_key->bytes[0] ^= 1;
		assert_int_equal(sim_lun_open(w.l), -EILSEQ);
		assert_non_null(strstr(w.l->error.text, "superblock"));
		w.mac_key->bytes[0] ^= 1;
		if (ciphers[c]) {
			w.crypt_key->bytes[0] ^= 1;
			assert_int_equal(sim_lun_open(w.l), -EUCLEAN);
			w.crypt_key->bytes[0] ^= 1;
		}
		opens(&w);
		sim_reads(w.l, 3, 8, 1);
		sim_sealed_drop(&w);
	}
}

/* The ring of a killed process is in plain text, the medium is not. */
static void killed_processs_ring_is_taken_over(void **state)
{
	char directory[] = "./ti-seal-XXXXXX", path[64], ring[80];

	(void)state;
	assert_non_null(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/store", directory);
	(void)snprintf(ring, sizeof(ring), "%s.journal", path);
	for (size_t c = 0; c < CIPHERS; c++) {
		struct sim_sealed w = sim_sealed_make(ciphers[c], true);

		w.l->options.store_path = path;
		opens(&w);
		sim_ok(w.l, sim_write(w.l, 3, 8, 1));
		sim_ok(w.l, sim_flush(w.l));
		sim_ok(w.l, sim_write(w.l, 20, 3, 2)); /* acknowledged, and in no commit */
		sim_kill(w.l->sim);
		ti_lun_abandon(w.l->lun);
		w.l->lun = NULL;
		if (ciphers[c]) { /* with another key the medium is nobody's journal */
			w.crypt_key->bytes[0] ^= 1;
			assert_int_equal(sim_lun_open(w.l), -EUCLEAN);
			w.crypt_key->bytes[0] ^= 1;
		}
		opens(&w);
		assert_int_equal(sim_logged(w.l, "its journal is continued"), 1);
		sim_reads(w.l, 3, 8, 1);
		sim_reads(w.l, 20, 3, 2);
		sim_ok(w.l, sim_flush(w.l));
		sim_lun_cut(w.l);
		sim_reads(w.l, 20, 3, 2);
		assert_int_equal(sim_lun_close(w.l), 0);
		assert_int_equal(look(&w).state, TI_JOURNAL_EMPTY);
		sim_sealed_drop(&w);
	}
	unlink(path);
	unlink(ring);
	assert_int_equal(rmdir(directory), 0);
}

/* A device that somebody else has in his hands answers differently each time. */
static void inspected_superblock_is_the_one_whose_mac_is_right(void **state)
{
	struct sim_sealed w = sim_sealed_make(NULL, true);
	struct ti_queue *q = sim_as_queue(w.l->sim);
	uint8_t *meta = sim_contents(w.l->sim, TI_META);
	struct ti_seal *seal = sim_sealed_seal(&w);
	struct ti_error error = { 0 };
	struct ti_superblock sb;

	(void)state;
	meta[offsetof(struct ti_superblock_disk, recalc_sector)] ^= 8;
	assert_int_equal(ti_inspect_superblock(q, 0, &sb, &error), 0);
	assert_int_equal(sb.recalc_sector, 8);
	assert_int_equal(ti_inspect_seal(q, 0, &sb, seal, &error), -EUCLEAN);
	assert_int_equal(error.err, -EUCLEAN);
	assert_non_null(strstr(error.text, "does not match its MAC"));
	assert_int_equal(sb.recalc_sector, 8);
	meta[offsetof(struct ti_superblock_disk, recalc_sector)] ^= 8;
	error.err = 0;
	assert_int_equal(ti_inspect_seal(q, 0, &sb, seal, &error), 0);
	assert_int_equal(sb.recalc_sector, 0);
	ti_seal_close(seal);
	sim_sealed_drop(&w);
}

static void scan_looks_at_the_macs_of_all_sections(void **state)
{
	struct sim_sealed w = sim_sealed_make(NULL, false);
	struct ti_queue *q = sim_as_queue(w.l->sim);
	struct ti_journal_summary s;
	struct ti_seal *seal;

	(void)state;
	for (unsigned wrong = 0; wrong < 3; wrong++) {
		sim_journal_bytes(w.l, 2)[0] ^= wrong == 1; /* a sector number; it stays so */
		w.mac_key->bytes[0] ^= wrong == 2;
		seal = sim_sealed_seal(&w);
		assert_int_equal(
			ti_journal_scan_sealed(q, &w.l->geo, seal, &s, &(struct ti_error){ 0 }), 0);
		ti_seal_close(seal);
		assert_int_equal(s.state, TI_JOURNAL_EMPTY);
		assert_int_equal(s.bad_macs, wrong == 0 ? 0 : wrong == 1 ? 1 : SECTIONS);
		assert_int_equal(s.first_bad_mac, wrong == 0 ? UINT32_MAX : wrong == 1 ? 2 : 0);
	}
	sim_sealed_drop(&w);
}

/* As the kernel does with a keyed journal_mac: whoever asks, the option or the superblock. */
static void recalculation_is_refused_without_a_salt(void **state)
{
	(void)state;
	for (int salted = 0; salted < 2; salted++) {
		for (int asked = 0; asked < 2; asked++) {
			struct sim_sealed w = sim_sealed_make(NULL, salted);
			struct ti_seal *seal;
			uint8_t *meta = sim_contents(w.l->sim, TI_META);

			if (asked) {
				w.l->options.recalculate = true;
			} else {
				w.l->sb.flags |= TI_SB_RECALCULATING;
				seal = sim_sealed_seal(&w);
				ti_superblock_write(&w.l->sb, meta);
				ti_seal_superblock(seal, &w.l->sb, meta);
				ti_seal_close(seal);
				sim_settle(w.l->sim, TI_META);
			}
			if (!salted) {
				assert_int_equal(sim_lun_open(w.l), -EOPNOTSUPP);
				assert_non_null(strstr(w.l->error.text, "legacy_recalculate"));
				w.l->options.legacy_recalculate = true;
			}
			opens(&w);
			sim_sealed_drop(&w);
		}
	}
}

/* Somebody without the key has shortened the tags, in a superblock without a MAC or with one. */
static void keyed_tags_are_as_long_as_they_were(void **state)
{
	struct ti_secret *key = sim_key(32, 5);

	(void)state;
	for (int mac = 0; mac < 2; mac++) {
		for (int salted = 0; salted < 2; salted++) {
			struct sim_sealed w = sim_sealed_make(NULL, salted);
			struct ti_lun_options *o = &w.l->options;
			uint8_t *meta = sim_contents(w.l->sim, TI_META);
			bool sealed = mac && salted;

			o->hash = "hmac-sha512";
			o->hash_key = key;
			if (!mac) {
				w.l->sb.flags &= ~TI_SB_HAVE_JOURNAL_MAC;
				o->seal = (struct ti_seal_options){ 0 };
			}
			w.l->sb.tag_size = 63;
			ti_superblock_write(&w.l->sb, meta);
			if (mac) {
				struct ti_seal *seal = sim_sealed_seal(&w);

				ti_seal_superblock(seal, &w.l->sb, meta);
				ti_seal_close(seal);
			}
			sim_settle(w.l->sim, TI_META);
			o->mode = TI_MODE_RECOVERY; /* asks no questions */
			opens(&w);
			assert_int_equal(sim_lun_close(w.l), 0);
			o->mode = TI_MODE_DIRECT;
			if (!sealed) {
				assert_int_equal(sim_lun_open(w.l), -EINVAL);
				assert_non_null(strstr(w.l->error.text, "can be guessed"));
			}
			o->tag_size = 64;
			assert_int_equal(sim_lun_open(w.l), -EINVAL);
			assert_non_null(strstr(w.l->error.text, "63 bytes, and 64"));
			o->tag_size = sealed ? 0 : 63;
			(void)sim_lun_open(w.l); /* the journal is of other entries; but not refused
						    for its tags */
			assert_null(strstr(w.l->error.text, "tags of"));
			sim_sealed_drop(&w);
		}
	}
	ti_secret_free(key);
}

/* Somebody without the key has put a block on the data device, and a flag into the superblock. */
static void flag_of_a_dirty_bitmap_gets_around_no_key(void **state)
{
	static const enum ti_mode modes[] = { TI_MODE_JOURNAL, TI_MODE_DIRECT, TI_MODE_BITMAP };
	struct ti_secret *key = sim_key(32, 5);

	(void)state;
	for (size_t m = 0; m < 3; m++) {
		struct sim_lun *l = sim_bitmap_make(0, SIM_REGION);
		struct ti_superblock sb;

		l->options.mode = modes[m];
		l->options.hash = "hmac-sha256";
		l->options.hash_key = key;
		l->options.tag_size = 4;
		assert_int_equal(sim_lun_open(l), 0);
		sim_ok(l, sim_write(l, 3, 1, 1));
		assert_int_equal(sim_lun_close(l), 0);
		sb = sim_superblock(l);
		sb.flags |= TI_SB_DIRTY_BITMAP;
		sim_put_superblock(l, &sb);
		sim_put_bit(l, 0, true);
		sim_put_block(l, 3, 2);
		sim_forget(l);
		if (modes[m] == TI_MODE_BITMAP) {
			/* As the kernel does: it may be what a crash has left. */
			assert_int_equal(sim_lun_open(l), 0);
		} else {
			assert_int_equal(sim_lun_open(l), -EOPNOTSUPP);
			assert_non_null(strstr(l->error.text, "legacy_recalculate"));
			assert_int_equal(sim_started(l, TI_META, TI_IO_WRITE), 0);
			l->options.legacy_recalculate = true;
			assert_int_equal(sim_lun_open(l), 0);
		}
		sim_recalculate(l);
		sim_reads(l, 3, 1, 2);
		sim_lun_free(l);
	}
	ti_secret_free(key);
}

/* The kernel writes garbage there, and reads it back as a bitmap. */
static void dirty_bitmap_and_encrypted_journal_are_refused(void **state)
{
	(void)state;
	for (size_t c = 0; c < CIPHERS; c++) {
		struct sim_sealed w = sim_sealed_make(ciphers[c], true);

		w.l->options.mode = TI_MODE_BITMAP;
		sim_forget(w.l);
		if (ciphers[c] == NULL) {
			opens(&w);
			sim_ok(w.l, sim_write(w.l, 3, 9, 1));
			sim_ok(w.l, sim_flush(w.l));
			sim_lun_cut(w.l);
			sim_reads(w.l, 3, 9, 1);
		} else {
			assert_int_equal(sim_lun_open(w.l), -EINVAL);
			assert_non_null(
				strstr(w.l->error.text, "which mode bitmap cannot be used with"));
			assert_int_equal(sim_started(w.l, TI_META, TI_IO_WRITE), 0);
		}
		sim_sealed_drop(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(acknowledged_writes_outlive_the_process),
		cmocka_unit_test(flushed_writes_survive_a_power_cut),
		cmocka_unit_test(clean_close_leaves_an_empty_journal_with_macs),
		cmocka_unit_test(mode_direct_replays_and_erases),
		cmocka_unit_test(tampering_is_refused),
		cmocka_unit_test(inspected_superblock_is_the_one_whose_mac_is_right),
		cmocka_unit_test(scan_looks_at_the_macs_of_all_sections),
		cmocka_unit_test(recalculation_is_refused_without_a_salt),
		cmocka_unit_test(keyed_tags_are_as_long_as_they_were),
		cmocka_unit_test(flag_of_a_dirty_bitmap_gets_around_no_key),
		cmocka_unit_test(dirty_bitmap_and_encrypted_journal_are_refused),
		cmocka_unit_test(killed_processs_ring_is_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
