/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The kernel's keyed images after somebody has changed one bit, or comes with another key: each is
 * noticed, told as what it is, and nothing is written.
 */
#include "image.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "clock.h"
#include "journal_format.h"
#include "lun.h"
#include "pair.h"

static const struct ti_log silent;

/* Open the image with these keys, for writing, in both modes; it is refused in the same way. */
static void refused(const struct golden_pair *p, const struct ti_secret *hash_key,
		    const struct ti_seal_options *seal, int err, const char *says)
{
	for (int mode = TI_MODE_DIRECT; mode <= TI_MODE_JOURNAL; mode++) {
		const struct ti_pair_options pair = { .data_path = p->data_path,
						      .meta_path = p->meta_path };
		const struct ti_lun_options options = {
			.mode = (enum ti_mode)mode,
			.hash = p->image->hash,
			.hash_key = hash_key,
			.seal = *seal,
			.start_sector = p->image->start_sector,
		};
		struct ti_error e = { 0 };
		struct ti_lun *lun = NULL;
		struct ti_queue *q;

		if (ti_pair_open(&pair, &silent, &q, &e))
			fail_msg("%s", e.text);
		assert_int_equal(ti_lun_open(&options, q, &ti_clock_monotonic, &silent, &lun, &e),
				 err);
		if (!strstr(e.text, says))
			fail_msg("'%s' does not contain '%s'", e.text, says);
		ti_pair_close(q);
	}
}

static void flip(const char *path, uint64_t offset)
{
	FILE *f = fopen(path, "r+e");
	int byte;

	assert_non_null(f);
	assert_int_equal(fseek(f, (long)offset, SEEK_SET), 0);
	byte = fgetc(f);
	assert_true(byte != EOF);
	assert_int_equal(fseek(f, (long)offset, SEEK_SET), 0);
	fputc(byte ^ 0x10, f);
	fclose(f);
}

static void unchanged(const char *path, const uint8_t *bytes, size_t len)
{
	FILE *f = fopen(path, "re");
	uint8_t *found = malloc(len);

	assert_non_null(f);
	assert_non_null(found);
	assert_int_equal(fread(found, 1, len, f), len);
	assert_memory_equal(found, bytes, len);
	free(found);
	fclose(f);
}

/* One bit of the metadata device, there and back. */
static void changed(const struct golden_pair *p, uint64_t offset, int err, const char *says)
{
	flip(p->meta_path, offset);
	refused(p, p->hash_key, &p->seal, err, says);
	flip(p->meta_path, offset);
	unchanged(p->data_path, p->data, p->data_bytes);
	unchanged(p->meta_path, p->meta, p->meta_bytes);
}

static bool is_keyed(const struct golden_pair *p)
{
	return p->sb.flags & TI_SB_HAVE_JOURNAL_MAC;
}

static void superblock_is_covered_by_its_mac(void **state)
{
	const struct golden_pair *p = *state;
	uint64_t at = p->geo.start_sector * TI_SECTOR_BYTES;

	if (!is_keyed(p))
		return;
	changed(p, at + 48, -EILSEQ, "does not match its MAC"); /* the salt */
	changed(p, at + 12, -EILSEQ, "does not match its MAC"); /* journal_sections */
	changed(p, at + 300, -EILSEQ, "does not match its MAC");
	changed(p, at + 480, -EILSEQ, "does not match its MAC"); /* the MAC */
	changed(p, at + 511, -EILSEQ, "does not match its MAC");
}

static void other_keys_are_noticed(void **state)
{
	const struct golden_pair *p = *state;
	struct ti_seal_options seal = p->seal;

	if (!is_keyed(p)) {
		if (p->image->journal == NULL)
			return; /* refused for its bitmap first or last */
		seal.mac = "sha256";
		refused(p, p->hash_key, &seal, -EINVAL, "formatted without journal_mac");
		return;
	}
	refused(p, p->hash_key, &(struct ti_seal_options){ 0 }, -EINVAL, "flag journal_mac");
	seal.mac_key = p->hash_key;
	refused(p, p->hash_key, &seal, -EILSEQ, "does not match its MAC");
	seal = p->seal;
	seal.mac = "hmac(sha1)";
	refused(p, p->hash_key, &seal, -EILSEQ, "does not match its MAC");
	seal.mac_key = NULL;
	refused(p, p->hash_key, &seal, -ENOKEY, "needs a key");
	refused(p, NULL, &p->seal, -ENOKEY, "needs a key");
	seal = p->seal;
	seal.crypt = "cbc(aes)";
	seal.crypt_key = p->hash_key;
	refused(p, p->hash_key, &seal, -EUCLEAN, "journal_crypt");
	if (!strcmp(p->image->journal, "full_ring"))
		refused(p, p->mac_key, &p->seal, -EILSEQ, "does not match its tag");
	unchanged(p->meta_path, p->meta, p->meta_bytes);
}

static void journal_is_covered_by_mac_tags_and_ids(void **state)
{
	const struct golden_pair *p = *state;
	uint64_t section = p->geo.journal_offset;

	if (!is_keyed(p) || strcmp(p->image->journal, "full_ring"))
		return;
	/* A sector number of a used entry; and of an unused one, which counts, too. */
	changed(p, section + ti_journal_entry_offset(&p->geo, 3), -EILSEQ,
		"does not match its MAC");
	changed(p, section + ti_journal_entry_offset(&p->geo, p->geo.section_entries - 1), -EILSEQ,
		"does not match its MAC");
	/* Each of the eight pieces of the MAC. */
	for (unsigned k = 0; k < TI_JOURNAL_META_SECTORS; k++)
		changed(p, section + k * TI_SECTOR_BYTES + TI_JOURNAL_ENTRY_SPACE_MAC + k, -EILSEQ,
			"does not match its MAC");
	/* Data, what is displaced of it, and the tag. */
	changed(p, section + ti_journal_data_offset(&p->geo, 0) + 100, -EILSEQ,
		"does not match its tag");
	changed(p, section + ti_journal_entry_offset(&p->geo, 0) + 9, -EILSEQ,
		"does not match its tag");
	changed(p,
		section + ti_journal_entry_offset(&p->geo, 0) +
			ti_journal_entry_tag_offset(&p->geo) + 31,
		-EILSEQ, "does not match its tag");
	changed(p, section + ti_journal_id_offset(20), -EUCLEAN, "unknown commit id");
}

int main(void)
{
	static const char *const what[] = {
		"the superblock is covered by its MAC",
		"other keys are noticed",
		"the journal is covered by MAC, tags and ids",
	};
	static void (*const test[])(void **) = {
		superblock_is_covered_by_its_mac,
		other_keys_are_noticed,
		journal_is_covered_by_mac_tags_and_ids,
	};

	return golden_run_all("golden_seal", what, test, sizeof(test) / sizeof(test[0]));
}
