/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The journals of the kernel's images: the scan says what is in them, an empty one is what we would
 * write, and playing one back in memory gives the data that the kernel came to.
 */
#include "image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hash.h"
#include "journal_format.h"
#include "journal_scan.h"
#include "pair.h"

static struct ti_journal_summary scan(const struct golden_pair *p)
{
	struct ti_pair_options options = {
		.data_path = p->data_path,
		.meta_path = p->meta_path,
		.read_only = true,
		.backend = TI_BACKEND_THREADS,
		.threads = 1,
	};
	const struct ti_log silent = { 0 };
	struct ti_journal_summary summary = { 0 };
	struct ti_queue *q = NULL;
	struct ti_error e = { 0 };

	if (ti_pair_open(&options, &silent, &q, &e) || ti_journal_scan(q, &p->geo, &summary, &e))
		fail_msg("%s", e.text);
	ti_pair_close(q);
	return summary;
}

static void scan_says_what_the_readme_says(void **state)
{
	const struct golden_pair *p = *state;
	struct ti_journal_summary s;

	/* A bitmap in the journal's place need not look damaged; only the flag tells it apart. */
	if (!p->image->journal) {
		assert_true(p->sb.flags & TI_SB_DIRTY_BITMAP);
		assert_true(ti_superblock_check_settled(&p->sb, p->meta_path, NULL) < 0);
		return;
	}
	s = scan(p);
	assert_string_equal(ti_journal_state_name(s.state), p->image->journal);
	assert_int_equal(s.sections, p->image->journal_sections);
	assert_int_equal(s.shown, p->image->journal_sections);
	assert_memory_equal(s.seq, p->image->seq, s.shown);
	assert_int_equal(s.replay_entries, p->image->replay_entries);
}

static void empty_sections_are_what_we_would_write(void **state)
{
	const struct golden_pair *p = *state;
	size_t bytes = ti_journal_section_bytes(&p->geo);
	struct ti_seal *seal = golden_seal(p);
	uint8_t *ours = malloc(bytes);

	assert_non_null(ours);
	for (uint32_t i = 0; i < p->sb.journal_sections; i++) {
		const uint8_t *section = p->meta + p->geo.journal_offset + i * bytes;

		/* Emptied by the kernel, or never used since it was formatted. */
		if (!p->image->journal || p->image->seq[i] > 3 ||
		    (strcmp(p->image->journal, "empty") && p->image->seq[i]))
			continue;
		ti_seal_empty_section(seal, &p->geo, i, p->image->seq[i], ours);
		assert_memory_equal(ours, section, bytes);
	}
	ti_seal_close(seal);
	free(ours);
}

/* Put entry @n of a section in its place in the data and check its tag. */
static void play_entry(struct golden_pair *p, const uint8_t *section, uint32_t n,
		       const struct ti_hash *h)
{
	uint64_t sector = ti_journal_entry_sector(&p->geo, section, n);
	const uint8_t *entry = section + ti_journal_entry_offset(&p->geo, n);
	const uint8_t *from = section + ti_journal_data_offset(&p->geo, n);
	uint8_t *to, tag[TI_MAX_TAG_SIZE];

	if (ti_journal_sector_is_unused(sector))
		return;
	assert_true(sector < p->sb.provided_sectors);
	assert_int_equal(sector % p->geo.sectors_per_block, 0);
	to = p->data + sector * TI_SECTOR_BYTES;
	memcpy(to, from, p->geo.block_size);
	for (uint32_t s = 0; s < p->geo.sectors_per_block; s++)
		memcpy(to + s * TI_SECTOR_BYTES + TI_JOURNAL_COMMIT_ID_OFFSET,
		       entry + ti_journal_last_bytes_offset(s), 8);
	ti_hash_same(h, sector, to, 1, tag);
	assert_memory_equal(tag, entry + ti_journal_entry_tag_offset(&p->geo), p->geo.tag_size);
}

static void replay_in_memory_gives_the_kernels_data(void **state)
{
	struct golden_pair *p = *state;
	uint8_t sector[TI_SECTOR_BYTES];
	struct ti_journal_summary s = { 0 };
	struct ti_hash h;
	char hex[65];

	golden_hash(p, &h);
	if (p->image->journal)
		s = scan(p);
	for (uint32_t i = 0; i < s.replay_sections; i++) {
		uint32_t section = (s.replay_first + i) % s.sections;

		for (uint32_t n = 0; n < p->geo.section_entries; n++)
			play_entry(p,
				   p->meta + p->geo.journal_offset +
					   section * ti_journal_section_bytes(&p->geo),
				   n, &h);
	}
	ti_hash_destroy(&h);
	for (uint64_t n = 0; n < p->sb.provided_sectors; n++) {
		uint8_t generation = golden_generation(p->image, n);

		memset(sector, 0, sizeof(sector));
		if (generation)
			golden_sector((uint32_t)n, generation, sector);
		assert_memory_equal(p->data + n * TI_SECTOR_BYTES, sector, sizeof(sector));
	}
	golden_sha256(p, p->data, p->data_bytes, hex);
	assert_string_equal(hex, p->image->data_sha256);
}

int main(void)
{
	static const char *const what[] = {
		"the scan says what the README says",
		"empty sections are what we would write",
		"replay in memory gives the kernel's data",
	};
	static void (*const test[])(void **) = {
		scan_says_what_the_readme_says,
		empty_sections_are_what_we_would_write,
		replay_in_memory_gives_the_kernels_data,
	};

	return golden_run_all("golden_journal", what, test, sizeof(test) / sizeof(test[0]));
}
