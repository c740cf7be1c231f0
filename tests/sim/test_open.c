/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What ti_lun_open() refuses, and with which words.  Whatever it says, it writes to no device, and
 * the pair can be opened once the reason is gone.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "journal_format.h"
#include "sim_lun.h"

static void assert_nothing_was_written(const struct sim_lun *l)
{
	for (unsigned i = 0; i < l->events; i++)
		assert_int_equal(l->event[i].op, TI_IO_READ);
}

/* The open fails with @err and a sentence that holds @word (and names the device @device). */
static void refuses(struct sim_lun *l, int err, const char *device, const char *word)
{
	sim_forget(l);
	assert_int_equal(sim_lun_open(l), err);
	assert_int_equal(l->error.err, err);
	print_message("%s\n", l->error.text);
	if (strstr(l->error.text, device) == NULL || strstr(l->error.text, word) == NULL)
		fail_msg("no '%s' or no '%s' in: %s", device, word, l->error.text);
	assert_nothing_was_written(l);
}

static void opens(struct sim_lun *l)
{
	sim_forget(l);
	if (sim_lun_open(l) != 0)
		fail_msg("%s", l->error.text);
	assert_nothing_was_written(l);
	sim_reads(l, 0, 8, 0);
}

/* In a superblock: behind the magic. */
#define VERSION_OFFSET 8U

static void write_superblock(struct sim_lun *l, const struct ti_superblock *sb)
{
	ti_superblock_write(sb, sim_contents(l->sim, TI_META) + l->geo.start_sector * 512);
}

static void flags_that_no_mode_can_serve_are_refused_by_name(void **state)
{
	static const struct {
		uint32_t flags;
		const char *word;
	} refused[] = {
		{ TI_SB_INLINE, "inline" },
		{ TI_SB_DISCARD_KEYED, "" },
	};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sim_lun *l = sim_lun_make(NULL);
		struct ti_superblock sb = l->sb;

		sb.flags |= refused[i].flags;
		sb.recalc_sector = sb.provided_sectors - 1;
		write_superblock(l, &sb);
		refuses(l, -EOPNOTSUPP, "sim-meta", refused[i].word);
		/* Of a version that has no such flag. */
		sim_contents(l->sim, TI_META)[l->geo.start_sector * 512 + VERSION_OFFSET] = 5;
		refuses(l, -EOPNOTSUPP, "sim-meta", refused[i].word);
		write_superblock(l, &l->sb);
		opens(l);
		sim_lun_free(l);
	}
}

static void finished_recalculation_is_no_obstacle(void **state)
{
	struct sim_lun *l = sim_lun_make(NULL);

	(void)state;
	l->sb.flags |= TI_SB_RECALCULATING;
	l->sb.recalc_sector = l->sb.provided_sectors;
	write_superblock(l, &l->sb);
	opens(l);
	sim_lun_free(l);
}

/* What cannot be replayed: five entries whose blocks match no tag. */
static void journal_with_wrong_entries_is_refused_with_the_place(void **state)
{
	struct sim_lun *l = sim_lun_make(NULL);
	uint8_t *section = sim_contents(l->sim, TI_META) + l->geo.journal_offset;

	(void)state;
	for (uint32_t n = 0; n < 5; n++)
		ti_journal_entry_set_sector(&l->geo, section, n, 100 + n);
	refuses(l, -EILSEQ, "sim-meta", "section 0, entry 0");
	l->options.read_only = true;
	refuses(l, -EUCLEAN, "sim-meta", "holds 5 entries");
	l->options.read_only = false;
	ti_journal_format_section(&l->geo, 0, 0, section);
	opens(l);
	sim_lun_free(l);
}

static void damaged_journal_is_refused_with_the_place(void **state)
{
	struct sim_lun *l = sim_lun_make(NULL);
	uint8_t *section = sim_contents(l->sim, TI_META) + l->geo.journal_offset;

	(void)state;
	section[ti_journal_id_offset(3)] ^= 1;
	refuses(l, -EUCLEAN, "sim-meta", "section 0, sector 3");
	section[ti_journal_id_offset(3)] ^= 1;
	opens(l);
	sim_lun_free(l);
}

static void journal_of_all_four_sequence_numbers_is_refused(void **state)
{
	struct sim_lun *l =
		sim_lun_make(&(struct sim_lun_options){ .shape.journal_sectors = 4 * 176 });
	uint8_t *journal = sim_contents(l->sim, TI_META) + l->geo.journal_offset;

	(void)state;
	assert_int_equal(l->geo.journal_sections, 4);
	for (uint32_t i = 0; i < 4; i++)
		ti_journal_format_section(&l->geo, i, i,
					  journal + i * ti_journal_section_bytes(&l->geo));
	refuses(l, -EUCLEAN, "sim-meta", "all four commit sequence numbers");
	sim_lun_free(l);
}

static void unknown_digest_is_refused_by_its_name(void **state)
{
	struct sim_lun *l = sim_lun_make(NULL);

	(void)state;
	l->options.hash = "crc33d";
	refuses(l, -EOPNOTSUPP, "crc33d", "not known");
	l->options.hash = "crc32c";
	opens(l);
	sim_lun_free(l);
}

static void read_only_device_is_refused_for_writing(void **state)
{
	static const char *const name[TI_DEVICES] = { "sim-data", "sim-meta" };

	(void)state;
	for (unsigned dev = 0; dev < TI_DEVICES; dev++) {
		struct sim_lun *l = sim_lun_make(NULL);

		sim_as_queue(l->sim)->dev[dev].read_only = true;
		refuses(l, -EROFS, name[dev], "read-only");
		l->options.read_only = true;
		opens(l);
		sim_lun_free(l);
	}
}

static void data_device_that_is_too_small_is_refused(void **state)
{
	struct sim_lun *l = sim_lun_make(NULL);
	struct ti_device_info *data = &sim_as_queue(l->sim)->dev[TI_DATA];

	(void)state;
	data->size -= 512;
	refuses(l, -EINVAL, "sim-data", "4095 sectors");
	data->size += 512;
	opens(l);
	sim_lun_free(l);
}

static void metadata_device_that_is_too_small_is_refused(void **state)
{
	struct sim_lun *l = sim_lun_make(NULL);
	struct ti_device_info *meta = &sim_as_queue(l->sim)->dev[TI_META];
	uint64_t size = meta->size;

	(void)state;
	meta->size = l->geo.tag_offset + l->geo.tag_bytes - 512;
	refuses(l, -EINVAL, "sim-meta", "the tags of 4096 blocks need");
	meta->size = 7 * 512;
	refuses(l, -EINVAL, "sim-meta", "ends before the superblock's place");
	meta->size = 0;
	refuses(l, -EINVAL, "sim-meta", "ends before the superblock's place");
	meta->size = size;
	opens(l);
	sim_lun_free(l);
}

static void metadata_device_without_a_superblock_is_refused(void **state)
{
	struct sim_lun *l = sim_lun_make(NULL);
	uint8_t *meta = sim_contents(l->sim, TI_META);

	(void)state;
	memset(meta, 0, TI_SB_BYTES);
	refuses(l, -ENODATA, "sim-meta", "only zeros");
	memset(meta, 0x77, TI_SB_BYTES);
	refuses(l, -ENODATA, "sim-meta", "other data");
	write_superblock(l, &l->sb);
	opens(l);
	sim_lun_free(l);
}

static void wrong_start_is_refused(void **state)
{
	struct sim_lun *l = sim_lun_make(&(struct sim_lun_options){ .shape.start_sector = 8 });

	(void)state;
	l->options.start_sector = 0;
	refuses(l, -ENODATA, "sim-meta", "only zeros");
	l->options.start_sector = 2041;
	refuses(l, -EINVAL, "sim-meta", "sector 2041");
	l->options.start_sector = UINT64_MAX;
	refuses(l, -EINVAL, "sim-meta", "ends before");
	l->options.start_sector = UINT64_MAX / 512 + 9; /* * 512 is 4096 again */
	refuses(l, -EINVAL, "sim-meta", "ends before");
	l->options.start_sector = 8;
	opens(l);
	sim_lun_free(l);
}

static void start_off_the_metadata_devices_blocks_is_refused(void **state)
{
	struct sim_lun *l = sim_lun_make(
		&(struct sim_lun_options){ .shape = { .start_sector = 12, .block_size = 4096 },
					   .logical_block_size = { 512, 4096 } });

	(void)state;
	refuses(l, -EINVAL, "sim-meta", "start=12");
	sim_lun_free(l);
}

/* Blocks of the pair would be a part of what the device writes at once. */
static void devices_with_larger_blocks_than_the_formats_are_refused(void **state)
{
	struct sim_lun *l = sim_lun_make(NULL);

	(void)state;
	for (int i = 0; i < TI_DEVICES; i++) {
		struct ti_device_info *dev = &sim_as_queue(l->sim)->dev[i];

		dev->logical_block_size = 8192;
		refuses(l, -EOPNOTSUPP, dev->name, "logical blocks of 8192 bytes");
		dev->logical_block_size = 512;
	}
	opens(l);
	sim_lun_free(l);
}

static void unreadable_superblock_is_told_with_its_sector(void **state)
{
	struct sim_lun *l = sim_lun_make(&(struct sim_lun_options){ .shape.start_sector = 16 });

	(void)state;
	sim_fail(l, TI_META, TI_IO_READ, 16 * 512, 1);
	refuses(l, -EIO, "sim-meta", "sector 16");
	opens(l);
	sim_lun_free(l);
}

static void unreadable_journal_is_told_with_its_sector(void **state)
{
	struct sim_lun *l = sim_lun_make(NULL);

	(void)state;
	sim_fail(l, TI_META, TI_IO_READ, 20 * 512, SIM_FOR_EVER);
	refuses(l, -EIO, "sim-meta", "sector 8:");
	sim_mend(l);
	opens(l);
	sim_lun_free(l);
}

/* Salted, odd tags, all block sizes: opened, written, closed, opened again. */
static void every_supported_shape_opens(void **state)
{
	static const uint32_t tag_size[] = { 1, 3, 4, 7, 20, 32, 64, 255 };

	(void)state;
	for (uint32_t block_size = 512; block_size <= 4096; block_size *= 2) {
		for (unsigned i = 0; i < 16; i++) {
			struct sim_lun *l = sim_lun_make(
				&(struct sim_lun_options){ .shape = { .block_size = block_size,
								      .tag_size = tag_size[i / 2],
								      .salted = i % 2 != 0 },
							   .blocks = 100 });

			opens(l);
			sim_ok(l, sim_write(l, 10, 80, 1));
			assert_int_equal(sim_lun_close(l), 0);
			assert_int_equal(sim_lun_open(l), 0);
			sim_reads(l, 10, 80, 1);
			sim_reads(l, 90, 10, 0);
			sim_lun_free(l);
		}
	}
}

static void salt_of_another_pair_matches_nothing(void **state)
{
	struct sim_lun *l = sim_lun_make(&(struct sim_lun_options){ .shape.salted = true });

	(void)state;
	l->sb.salt[15] ^= 1;
	write_superblock(l, &l->sb);
	assert_int_equal(sim_lun_open(l), 0);
	sim_bad(l, sim_read(l, 0, 8), -EILSEQ, TI_CAUSE_TAG_MISMATCH, 0);
	assert_int_equal(sim_stats(l).mismatches, 8);
	sim_lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_that_no_mode_can_serve_are_refused_by_name),
		cmocka_unit_test(finished_recalculation_is_no_obstacle),
		cmocka_unit_test(journal_with_wrong_entries_is_refused_with_the_place),
		cmocka_unit_test(damaged_journal_is_refused_with_the_place),
		cmocka_unit_test(journal_of_all_four_sequence_numbers_is_refused),
		cmocka_unit_test(unknown_digest_is_refused_by_its_name),
		cmocka_unit_test(read_only_device_is_refused_for_writing),
		cmocka_unit_test(data_device_that_is_too_small_is_refused),
		cmocka_unit_test(metadata_device_that_is_too_small_is_refused),
		cmocka_unit_test(metadata_device_without_a_superblock_is_refused),
		cmocka_unit_test(wrong_start_is_refused),
		cmocka_unit_test(start_off_the_metadata_devices_blocks_is_refused),
		cmocka_unit_test(devices_with_larger_blocks_than_the_formats_are_refused),
		cmocka_unit_test(unreadable_superblock_is_told_with_its_sector),
		cmocka_unit_test(unreadable_journal_is_told_with_its_sector),
		cmocka_unit_test(every_supported_shape_opens),
		cmocka_unit_test(salt_of_another_pair_matches_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
