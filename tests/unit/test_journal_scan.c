/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Journals: fresh, used, torn at every sector, damaged.
 *
 * A journal is written here the way the kernel writes it, commit by commit, and cut short; what the
 * scan says must be what was written.
 */
#include "journal_scan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mem_queue.h"

static const uint64_t seq_id[4] = { 0x1111111111111111ULL, 0x2222222222222222ULL,
				    0x3333333333333333ULL, 0x4444444444444444ULL };

struct journal {
	struct mem_queue *mq;
	struct ti_geometry geo;
	uint8_t *area;
	/* The writer's state. */
	uint32_t next;
	unsigned seq;
};

static void put64(uint8_t *at, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		at[i] = (uint8_t)(v >> (8 * i));
}

static void put_id(struct journal *j, uint32_t section, uint32_t sector, unsigned seq)
{
	uint8_t *at = j->area + ((size_t)section * j->geo.section_sectors + sector) * 512;

	put64(at + 504, seq_id[seq] ^ ((uint64_t)section << 32 ^ sector));
}

/* A fresh journal of @sections sections behind superblock sector @start. */
static struct journal journal_new(uint32_t block, uint32_t sections, uint64_t start)
{
	struct ti_superblock sb = {
		.tag_size = 32,
		.journal_sections = sections,
		.provided_sectors = 64,
		.log2_sectors_per_block = (uint8_t)__builtin_ctz(block / 512),
	};
	uint64_t meta = 100 + start + sections * 600ULL;
	struct ti_pair_sizes sizes = {
		.data_sectors = 64, .meta_sectors = meta, .data_name = "", .meta_name = ""
	};
	struct journal j = { .seq = 1 };

	assert_int_equal(ti_geometry_load(&sb, &sizes, start, 0, &j.geo, NULL), 0);
	j.mq = mem_queue_new(64 * 512, meta * 512);
	j.area = j.mq->bytes[TI_META] + j.geo.journal_offset;
	for (uint32_t s = 0; s < sections; s++) {
		for (uint32_t n = 0; n < j.geo.section_entries; n++)
			put64(j.area + (size_t)s * j.geo.section_sectors * 512 + n % 8 * 512 +
				      n / 8 * j.geo.entry_size,
			      0xffffffff00000000ULL);
		for (uint32_t sector = 0; sector < j.geo.section_sectors; sector++)
			put_id(&j, s, sector, 0);
	}
	return j;
}

static void journal_free(struct journal *j)
{
	mem_queue_free(j->mq);
}

/* Mark the first @used entries of a section as used. */
static void use_entries(struct journal *j, uint32_t section, uint32_t used)
{
	for (uint32_t n = 0; n < used; n++)
		put64(j->area + (size_t)section * j->geo.section_sectors * 512 + n % 8 * 512 +
			      n / 8 * j->geo.entry_size,
		      n % 64);
}

/* Commit one section of @used entries, of which only the first @landed sectors reach the disk. */
static void commit(struct journal *j, uint32_t used, uint32_t landed)
{
	use_entries(j, j->next, used);
	for (uint32_t sector = 0; sector < landed; sector++)
		put_id(j, j->next, sector, j->seq);
	if (++j->next == j->geo.journal_sections) {
		j->next = 0;
		j->seq = (j->seq + 1) % 4;
	}
}

static struct ti_journal_summary scan(struct journal *j)
{
	struct ti_journal_summary summary;
	struct ti_error e = { 0 };

	memset(&summary, 0x77, sizeof(summary));
	assert_int_equal(ti_journal_scan(&j->mq->q, &j->geo, &summary, &e), 0);
	assert_int_equal(e.err, 0);
	return summary;
}

static void fresh_journal_is_empty_and_only_read(void **state)
{
	(void)state;
	for (uint32_t sections = 1; sections < 20; sections++) {
		struct journal j = journal_new(512, sections, 16);
		struct ti_journal_summary s = scan(&j);

		assert_int_equal(s.state, TI_JOURNAL_EMPTY);
		assert_int_equal(s.sections, sections);
		assert_int_equal(s.used_entries, 0);
		assert_int_equal(s.replay_entries, 0);
		assert_int_equal(s.shown, sections);
		for (uint32_t i = 0; i < sections; i++)
			assert_int_equal(s.seq[i], 0);
		assert_true(j.mq->reads > 0);
		assert_int_equal(j.mq->writes, 0);
		journal_free(&j);
	}
}

static void fresh_section_is_what_format_section_makes(void **state)
{
	(void)state;
	for (uint32_t block = 512; block <= 4096; block *= 2) {
		struct journal j = journal_new(block, 2, 0);
		size_t bytes = ti_journal_section_bytes(&j.geo);
		uint8_t *made = malloc(bytes);

		assert_non_null(made);
		for (uint32_t i = 0; i < 2; i++) {
			memset(made, 0xcc, bytes);
			ti_journal_format_section(&j.geo, i, 0, made);
			assert_memory_equal(made, j.area + i * bytes, bytes);
		}
		free(made);
		journal_free(&j);
	}
}

static void whole_ring_is_replayed_from_its_oldest_section(void **state)
{
	(void)state;
	for (uint32_t sections = 1; sections <= 6; sections++) {
		struct journal j = journal_new(512, sections, 0);

		/* Through all four sequence numbers and round again. */
		for (uint32_t commits = 1; commits < 6 * sections; commits++) {
			struct ti_journal_summary s;

			commit(&j, 1 + commits % 5, j.geo.section_sectors);
			s = scan(&j);
			assert_int_equal(s.state, TI_JOURNAL_FULL);
			assert_int_equal(s.replay_sections, sections);
			assert_int_equal(s.replay_first, commits % sections);
			assert_int_equal(s.replay_entries, s.used_entries);
			assert_true(s.used_entries > 0);
		}
		journal_free(&j);
	}
}

static void torn_commit_is_left_out_wherever_it_tore(void **state)
{
	(void)state;
	for (uint32_t sections = 1; sections <= 4; sections++) {
		for (uint32_t whole = 0; whole < 5 * sections; whole++) {
			struct journal j = journal_new(4096, sections, 8);
			uint32_t torn, landed = 1 + whole * 37 % (j.geo.section_sectors - 1);
			struct ti_journal_summary s;

			for (uint32_t i = 0; i < whole; i++)
				commit(&j, 3, j.geo.section_sectors);
			torn = j.next;
			commit(&j, 4, landed);
			s = scan(&j);
			assert_int_equal(s.state, TI_JOURNAL_PARTIAL);
			assert_int_equal(s.replay_sections, sections - 1);
			assert_int_equal(s.replay_first, (torn + 1) % sections);
			assert_int_equal(s.seq[torn], TI_JOURNAL_SEQ_MIXED);
			assert_int_equal(s.used_entries - s.replay_entries, 4);
			journal_free(&j);
		}
	}
}

static void sequence_numbers_of_the_whole_are_told(void **state)
{
	struct journal j = journal_new(512, 3, 0);
	struct ti_journal_summary s;

	(void)state;
	for (int i = 0; i < 5; i++)
		commit(&j, 7, j.geo.section_sectors);
	s = scan(&j);
	assert_int_equal(s.shown, 3);
	assert_int_equal(s.seq[0], 2);
	assert_int_equal(s.seq[1], 2);
	assert_int_equal(s.seq[2], 1);
	assert_int_equal(s.replay_seq, 1);
	assert_int_equal(s.used_entries, 21);
	journal_free(&j);
}

static void emptied_journal_is_empty_whatever_its_numbers(void **state)
{
	struct journal j = journal_new(512, 3, 0);
	struct ti_journal_summary s;

	(void)state;
	/* What a clean close after some commits leaves: unused entries, numbers 3, 3, 2. */
	for (int i = 0; i < 8; i++)
		commit(&j, 0, j.geo.section_sectors);
	s = scan(&j);
	assert_int_equal(s.state, TI_JOURNAL_EMPTY);
	assert_int_equal(s.seq[0], 3);
	assert_int_equal(s.seq[1], 3);
	assert_int_equal(s.seq[2], 2);
	journal_free(&j);
}

/* The kernel erases from its newest number minus 2; a power cut leaves two numbers with a gap. */
static void interrupted_erase_leaves_nothing_to_replay(void **state)
{
	struct journal j = journal_new(512, 4, 0);
	struct ti_journal_summary s;

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		use_entries(&j, i, 5);
		for (uint32_t sector = 0; sector < j.geo.section_sectors; sector++)
			put_id(&j, i, sector, i < 2 ? 0 : 2);
	}
	s = scan(&j);
	assert_int_equal(s.state, TI_JOURNAL_EMPTY);
	assert_int_equal(s.used_entries, 20);
	journal_free(&j);
}

static void unused_mark_is_its_high_word_alone(void **state)
{
	struct journal j = journal_new(512, 1, 0);
	struct ti_journal_summary s;

	(void)state;
	put64(j.area, 0xffffffff12345678ULL);
	s = scan(&j);
	assert_int_equal(s.used_entries, 0);
	put64(j.area, 0xfffffffe00000000ULL);
	s = scan(&j);
	assert_int_equal(s.used_entries, 1);
	assert_int_equal(s.state, TI_JOURNAL_FULL);
	journal_free(&j);
}

static void any_changed_commit_id_is_found(void **state)
{
	struct journal j = journal_new(512, 3, 0);

	(void)state;
	for (uint32_t section = 0; section < 3; section++) {
		for (uint32_t sector = 0; sector < j.geo.section_sectors; sector++) {
			uint8_t *at = j.area +
				      ((size_t)section * j.geo.section_sectors + sector) * 512 +
				      504 + sector % 8;
			struct ti_journal_summary s;

			*at ^= 0x40;
			s = scan(&j);
			assert_int_equal(s.state, TI_JOURNAL_DAMAGED);
			assert_int_equal(s.bad_section, section);
			assert_int_equal(s.bad_sector, sector);
			assert_int_equal(s.seq[section], TI_JOURNAL_SEQ_BAD);
			assert_int_equal(s.seq[(section + 1) % 3], 0);
			assert_int_equal(s.replay_entries, 0);
			*at ^= 0x40;
		}
	}
	assert_int_equal(scan(&j).state, TI_JOURNAL_EMPTY);
	journal_free(&j);
}

static void sections_in_the_wrong_place_are_damage(void **state)
{
	struct journal j = journal_new(512, 2, 0);
	size_t bytes = ti_journal_section_bytes(&j.geo);
	struct ti_journal_summary s;

	(void)state;
	memcpy(j.area + bytes, j.area, bytes);
	s = scan(&j);
	assert_int_equal(s.state, TI_JOURNAL_DAMAGED);
	assert_int_equal(s.bad_section, 1);
	assert_int_equal(s.bad_sector, 0);
	journal_free(&j);
}

static void four_sequence_numbers_at_once_are_damage(void **state)
{
	struct journal j = journal_new(512, 4, 0);
	struct ti_journal_summary s;

	(void)state;
	for (uint32_t i = 0; i < 4; i++)
		for (uint32_t sector = 0; sector < j.geo.section_sectors; sector++)
			put_id(&j, i, sector, i);
	s = scan(&j);
	assert_int_equal(s.state, TI_JOURNAL_DAMAGED);
	assert_int_equal(s.bad_section, UINT32_MAX);
	assert_int_equal(s.bad_sector, UINT32_MAX);
	for (uint8_t i = 0; i < 4; i++)
		assert_int_equal(s.seq[i], i);
	journal_free(&j);
}

static void summary_shows_no_more_sections_than_it_holds(void **state)
{
	struct journal j = journal_new(512, TI_JOURNAL_SUMMARY_SECTIONS + 30, 0);
	struct ti_journal_summary s;

	(void)state;
	for (uint32_t i = 0; i < TI_JOURNAL_SUMMARY_SECTIONS + 20; i++)
		commit(&j, 2, j.geo.section_sectors);
	s = scan(&j);
	assert_int_equal(s.shown, TI_JOURNAL_SUMMARY_SECTIONS);
	assert_int_equal(s.sections, TI_JOURNAL_SUMMARY_SECTIONS + 30);
	assert_int_equal(s.used_entries, 2 * (TI_JOURNAL_SUMMARY_SECTIONS + 20));
	assert_int_equal(s.state, TI_JOURNAL_FULL);
	journal_free(&j);
}

static void read_error_is_told_with_device_and_sector(void **state)
{
	struct journal j = journal_new(512, 40, 16);
	struct ti_journal_summary summary;
	struct ti_error e = { 0 };
	char sector[32];

	(void)state;
	/* In the second chunk: 23 sections of 45056 bytes are read at once. */
	j.mq->fault_offset[TI_META] = j.geo.journal_offset + 30 * ti_journal_section_bytes(&j.geo);
	assert_int_equal(ti_journal_scan(&j.mq->q, &j.geo, &summary, &e), -EIO);
	print_message("%s\n", e.text);
	(void)snprintf(sector, sizeof(sector), "sector %u:", 24 + 23 * 88);
	assert_non_null(strstr(e.text, sector));
	assert_non_null(strstr(e.text, "META"));
	journal_free(&j);
}

static void blocks_that_do_not_match_the_start_sector_are_refused(void **state)
{
	struct journal j = journal_new(512, 2, 12);
	struct ti_journal_summary summary;
	struct ti_error e = { 0 };

	(void)state;
	j.mq->q.dev[TI_META].logical_block_size = 4096;
	assert_int_equal(ti_journal_scan(&j.mq->q, &j.geo, &summary, &e), -EINVAL);
	print_message("%s\n", e.text);
	assert_non_null(strstr(e.text, "sector 20"));
	journal_free(&j);

	j = journal_new(512, 2, 16);
	j.mq->q.dev[TI_META].logical_block_size = 4096;
	j.mq->q.dev[TI_META].memory_align = 4096;
	assert_int_equal(scan(&j).state, TI_JOURNAL_EMPTY);
	journal_free(&j);
}

static void states_have_names(void **state)
{
	(void)state;
	assert_string_equal(ti_journal_state_name(TI_JOURNAL_EMPTY), "empty");
	assert_string_equal(ti_journal_state_name(TI_JOURNAL_FULL), "full_ring");
	assert_string_equal(ti_journal_state_name(TI_JOURNAL_PARTIAL), "partial_ring");
	assert_string_equal(ti_journal_state_name(TI_JOURNAL_DAMAGED), "damaged");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fresh_journal_is_empty_and_only_read),
		cmocka_unit_test(fresh_section_is_what_format_section_makes),
		cmocka_unit_test(whole_ring_is_replayed_from_its_oldest_section),
		cmocka_unit_test(torn_commit_is_left_out_wherever_it_tore),
		cmocka_unit_test(sequence_numbers_of_the_whole_are_told),
		cmocka_unit_test(emptied_journal_is_empty_whatever_its_numbers),
		cmocka_unit_test(interrupted_erase_leaves_nothing_to_replay),
		cmocka_unit_test(unused_mark_is_its_high_word_alone),
		cmocka_unit_test(any_changed_commit_id_is_found),
		cmocka_unit_test(sections_in_the_wrong_place_are_damage),
		cmocka_unit_test(four_sequence_numbers_at_once_are_damage),
		cmocka_unit_test(summary_shows_no_more_sections_than_it_holds),
		cmocka_unit_test(read_error_is_told_with_device_and_sector),
		cmocka_unit_test(blocks_that_do_not_match_the_start_sector_are_refused),
		cmocka_unit_test(states_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
