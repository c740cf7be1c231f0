/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Geometry: the numbers that real kernels came to, the rules in a second, slower form, and sizes
 * that lie.
 */
#include "geometry.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GIB_SECTORS (2ULL * 1024 * 1024)

static struct ti_pair_sizes sizes(uint64_t data, uint64_t meta)
{
	return (struct ti_pair_sizes){
		.data_sectors = data,
		.meta_sectors = meta,
		.data_name = "/dev/data",
		.meta_name = "/dev/meta",
	};
}

static struct ti_format_shape shape(uint32_t block, uint32_t tag, uint64_t journal)
{
	return (struct ti_format_shape){
		.block_size = block,
		.tag_size = tag,
		.journal_sectors = journal,
	};
}

static void sections_have_the_kernels_shape(void **state)
{
	static const struct {
		uint32_t block, tag, flags;
		uint32_t entry_size, per_sector, entries, sectors;
	} seen[] = {
		{ 512, 4, 0, 24, 21, 168, 176 },
		{ 512, 32, 0, 48, 10, 80, 88 },
		{ 4096, 32, 0, 104, 4, 32, 264 },
		{ 4096, 4, 0, 80, 6, 48, 392 },
		{ 512, 32, TI_SB_HAVE_JOURNAL_MAC, 48, 10, 80, 88 },
		/* 21 entries of 24 bytes fill 504 bytes to the last; a MAC costs one of them. */
		{ 512, 4, TI_SB_HAVE_JOURNAL_MAC, 24, 20, 160, 168 },
		{ 4096, 255, 0, 328, 1, 8, 72 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++) {
		struct ti_pair_sizes sz = sizes(GIB_SECTORS, GIB_SECTORS * 2);
		struct ti_superblock sb = {
			.tag_size = (uint16_t)seen[i].tag,
			.journal_sections = 2,
			.provided_sectors = GIB_SECTORS,
			.flags = seen[i].flags,
			.log2_sectors_per_block = (uint8_t)__builtin_ctz(seen[i].block / 512),
		};
		struct ti_geometry geo;
		struct ti_error e = { 0 };

		assert_int_equal(ti_geometry_load(&sb, &sz, 0, 0, &geo, &e), 0);
		assert_int_equal(geo.block_size, seen[i].block);
		assert_int_equal(geo.tag_size, seen[i].tag);
		assert_int_equal(geo.entry_size, seen[i].entry_size);
		assert_int_equal(geo.entries_per_sector, seen[i].per_sector);
		assert_int_equal(geo.section_entries, seen[i].entries);
		assert_int_equal(geo.section_sectors, seen[i].sectors);
		assert_int_equal(geo.initial_sectors, 8 + 2 * seen[i].sectors);
	}
}

static void areas_follow_each_other_from_the_start_sector(void **state)
{
	struct ti_pair_sizes sz = sizes(2048, 4096);
	struct ti_superblock sb = {
		.tag_size = 32,
		.journal_sections = 5,
		.provided_sectors = 2048,
		.log2_blocks_per_bitmap_bit = 15,
	};
	struct ti_geometry geo;

	(void)state;
	assert_int_equal(ti_geometry_load(&sb, &sz, 16, 0, &geo, NULL), 0);
	assert_int_equal(geo.start_sector, 16);
	assert_int_equal(geo.journal_offset, (16 + 8) * 512);
	assert_int_equal(geo.journal_bytes, 5 * 88 * 512);
	assert_int_equal(geo.initial_sectors, 8 + 440);
	assert_int_equal(geo.tag_offset, (16 + 448) * 512);
	assert_int_equal(geo.tag_bytes, 2048 * 32);
	assert_int_equal(geo.provided_blocks, 2048);
	assert_int_equal(geo.log2_blocks_per_bitmap_bit, 15);
	assert_int_equal(geo.log2_buffer_sectors, 7);
}

/* Seen on kernels: 200 sectors force buffers of 16, 184 are too few. */
static void buffers_shrink_until_the_tags_fit(void **state)
{
	struct ti_format_shape sh = shape(512, 4, 64);
	struct ti_superblock sb;
	struct ti_geometry geo;
	struct ti_error e = { 0 };
	struct ti_pair_sizes sz = sizes(2048, 200);

	(void)state;
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, &e), 0);
	assert_int_equal(geo.log2_buffer_sectors, 4);
	assert_int_equal(sb.journal_sections, 1);
	sz.meta_sectors = 184;
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, &e), -EINVAL);
	print_message("%s\n", e.text);
	assert_non_null(strstr(e.text, "184 sectors"));
	assert_non_null(strstr(e.text, " 200 are needed"));
	assert_non_null(strstr(e.text, "/dev/meta"));
}

static void buffer_option_rounds_down_and_is_capped(void **state)
{
	static const struct {
		uint32_t option, log2;
	} seen[] = { { 0, 7 },	{ 128, 7 },	  { 255, 7 },	     { 256, 8 },
		     { 64, 6 }, { 9, 3 },	  { 4, 2 },	     { 1, 0 },
		     { 3U, 1 }, { 1U << 22, 22 }, { UINT32_MAX, 22 } };
	struct ti_pair_sizes sz = sizes(GIB_SECTORS, 64 * GIB_SECTORS);

	(void)state;
	for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++) {
		struct ti_format_shape sh = shape(4096, 4, UINT64_MAX);
		struct ti_superblock sb;
		struct ti_geometry geo;

		sh.buffer_sectors = seen[i].option;
		assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, NULL), 0);
		assert_int_equal(geo.log2_buffer_sectors, seen[i].log2);
	}
}

static void buffers_never_reach_past_the_end_behind_a_start_sector(void **state)
{
	/* 184 + 16 sectors fit exactly; counted from sector 8 they end at 208. */
	struct ti_superblock sb = { .tag_size = 4,
				    .journal_sections = 1,
				    .provided_sectors = 2048 };
	struct ti_pair_sizes sz = sizes(2048, 208);
	struct ti_geometry geo;
	struct ti_error e = { 0 };

	(void)state;
	assert_int_equal(ti_geometry_load(&sb, &sz, 8, 0, &geo, &e), 0);
	assert_int_equal(geo.tag_offset + geo.tag_bytes, 208 * 512);
	assert_int_equal(geo.log2_buffer_sectors, 4);
	/* A kernel would accept 207: it leaves the start sector out.  The last tags would be lost.
	 */
	sz.meta_sectors = 207;
	assert_int_equal(ti_geometry_load(&sb, &sz, 8, 0, &geo, &e), -EINVAL);
	assert_non_null(strstr(e.text, "need 208"));
	assert_non_null(strstr(e.text, "has 207 sectors"));
}

/* Only the rounding to whole buffers misses the end; the tags themselves are inside. */
static void rounding_alone_does_not_refuse_what_a_kernel_accepts(void **state)
{
	struct ti_superblock sb = { .tag_size = 4,
				    .journal_sections = 1,
				    .provided_sectors = 1920 };
	struct ti_pair_sizes sz = sizes(1920, 207);
	struct ti_geometry geo;

	(void)state;
	/* 15 sectors of tags: 8 + 184 + 15 = 207; with buffers of 8 they would end at 208. */
	assert_int_equal(ti_geometry_load(&sb, &sz, 8, 0, &geo, NULL), 0);
	assert_int_equal(geo.tag_offset + geo.tag_bytes, 207 * 512);
	assert_int_equal(geo.log2_buffer_sectors, 0);
}

static void default_journal_is_a_128th_and_at_most_64_mib(void **state)
{
	struct ti_format_shape sh = shape(512, 4, UINT64_MAX);
	struct ti_superblock sb;
	struct ti_geometry geo;
	struct ti_pair_sizes sz = sizes(GIB_SECTORS, GIB_SECTORS);

	(void)state;
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, NULL), 0);
	assert_int_equal(sb.journal_sections, GIB_SECTORS / 128 / 176);
	sz = sizes(64 * GIB_SECTORS, GIB_SECTORS);
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, NULL), 0);
	assert_int_equal(sb.journal_sections, 131072 / 176);
	/* A device too small for a default gets one section. */
	sz = sizes(2048, 2048);
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, NULL), 0);
	assert_int_equal(sb.journal_sections, 1);
	/* integritysetup --journal-size 1 MiB with 4096-byte blocks. */
	sh = shape(4096, 4, 2048);
	sz = sizes(GIB_SECTORS, GIB_SECTORS);
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, NULL), 0);
	assert_int_equal(sb.journal_sections, 5);
	/* Zero counts as one section. */
	sh = shape(4096, 4, 0);
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, NULL), 0);
	assert_int_equal(sb.journal_sections, 1);
}

static void bitmap_granularity_grows_until_the_bitmap_fits(void **state)
{
	struct ti_format_shape sh = shape(512, 4, 176);
	struct ti_superblock sb;
	struct ti_geometry geo;
	struct ti_pair_sizes sz = sizes(800000, 100000);

	(void)state;
	/* Seen on a kernel: 1 became 2, because 176 sectors hold 720896 bits. */
	sh.sectors_per_bit = 1;
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, NULL), 0);
	assert_int_equal(sb.log2_blocks_per_bitmap_bit, 1);
	sh.sectors_per_bit = 65;
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, NULL), 0);
	assert_int_equal(sb.log2_blocks_per_bitmap_bit, 6);
	/* The default of 32768 sectors is counted in blocks. */
	sh = shape(4096, 4, 176);
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, NULL), 0);
	assert_int_equal(sb.log2_blocks_per_bitmap_bit, 12);
	sh.sectors_per_bit = 1;
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, NULL), 0);
	assert_int_equal(sb.log2_blocks_per_bitmap_bit, 0);
}

static void bitmap_has_a_bit_for_the_last_piece_too(void **state)
{
	struct ti_format_shape sh = shape(512, 4, 176);
	struct ti_superblock sb;
	struct ti_geometry geo;
	struct ti_pair_sizes sz = sizes(176 * 4096, 100000);

	(void)state;
	sh.sectors_per_bit = 1;
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, NULL), 0);
	assert_int_equal(sb.log2_blocks_per_bitmap_bit, 0);
	sz.data_sectors++;
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, NULL), 0);
	assert_int_equal(sb.log2_blocks_per_bitmap_bit, 1);
	/* A journal with room for 2^33 bits: the kernel counts them in 32 bits. */
	sh.journal_sectors = 1ULL << 21;
	sz = sizes((1ULL << 33) - 512 * 1024, 1ULL << 34);
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, NULL), 0);
	assert_int_equal(sb.log2_blocks_per_bitmap_bit, 1);
	sz.data_sectors = (1ULL << 33) - 1;
	assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, NULL), 0);
	assert_int_equal(sb.log2_blocks_per_bitmap_bit, 2);
}

static void padding_counts_where_the_tags_are_shorter(void **state)
{
	/* 184 sectors and 8 of tags; but more than 8 of padding must follow the 184. */
	struct ti_superblock sb = { .tag_size = 4,
				    .journal_sections = 1,
				    .provided_sectors = 1000 };
	struct ti_pair_sizes sz = sizes(1000, 193);
	struct ti_geometry geo;

	(void)state;
	assert_int_equal(ti_geometry_load(&sb, &sz, 0, 0, &geo, NULL), 0);
	sz.meta_sectors = 192;
	assert_int_equal(ti_geometry_load(&sb, &sz, 0, 0, &geo, NULL), -EINVAL);
}

static void data_device_that_shrank_is_refused_with_both_numbers(void **state)
{
	struct ti_superblock sb = { .tag_size = 4,
				    .journal_sections = 1,
				    .provided_sectors = 2048 };
	struct ti_pair_sizes sz = sizes(2047, 4096);
	struct ti_geometry geo;
	struct ti_error e = { 0 };

	(void)state;
	assert_int_equal(ti_geometry_load(&sb, &sz, 0, 0, &geo, &e), -EINVAL);
	print_message("%s\n", e.text);
	assert_non_null(strstr(e.text, "/dev/data"));
	assert_non_null(strstr(e.text, "2047"));
	assert_non_null(strstr(e.text, "2048"));
	/* A larger one is fine, and the superblock's number counts. */
	sz.data_sectors = 1ULL << 40;
	assert_int_equal(ti_geometry_load(&sb, &sz, 0, 0, &geo, NULL), 0);
	assert_int_equal(geo.provided_sectors, 2048);
}

static void truncated_metadata_device_is_refused_at_every_length(void **state)
{
	struct ti_superblock sb = { .tag_size = 4,
				    .journal_sections = 3,
				    .provided_sectors = 2048 };
	struct ti_pair_sizes sz = sizes(2048, 0);
	struct ti_geometry geo;

	(void)state;
	/* 8 + 528 sectors, then 16 of tags. */
	for (sz.meta_sectors = 0; sz.meta_sectors < 600; sz.meta_sectors++) {
		struct ti_error e = { 0 };
		int err = ti_geometry_load(&sb, &sz, 0, 0, &geo, &e);

		assert_int_equal(err, sz.meta_sectors < 552 ? -EINVAL : 0);
		if (err)
			assert_non_null(strstr(e.text, "need 552"));
	}
}

static void numbers_that_overflow_are_refused(void **state)
{
	static const uint64_t starts[] = { UINT64_MAX,	     UINT64_MAX - 7,
					   UINT64_MAX / 512, (uint64_t)INT64_MAX / 512,
					   1ULL << 55,	     1ULL << 63 };
	struct ti_superblock sb = { .tag_size = 255,
				    .journal_sections = 1,
				    .provided_sectors = 2048 };
	struct ti_pair_sizes sz = sizes(UINT64_MAX, UINT64_MAX);
	struct ti_geometry geo;

	(void)state;
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		struct ti_format_shape sh = shape(512, 4, UINT64_MAX);
		struct ti_superblock planned;
		struct ti_error e = { 0 }, e2 = { 0 };

		assert_int_equal(ti_geometry_load(&sb, &sz, starts[i], 0, &geo, &e), -EINVAL);
		assert_non_null(strstr(e.text, "more sectors than any device holds"));
		sh.start_sector = starts[i];
		sz.data_sectors = 2048;
		assert_int_equal(ti_geometry_plan(&sh, &sz, &planned, &geo, &e2), -EINVAL);
		assert_non_null(strstr(e2.text, "smaller start sector"));
		sz.data_sectors = UINT64_MAX;
	}

	sb.journal_sections = UINT32_MAX;
	assert_int_equal(ti_geometry_load(&sb, &sz, 0, 0, &geo, NULL), -EINVAL);
	sb.journal_sections = 1;
	sb.provided_sectors = UINT64_MAX;
	assert_int_equal(ti_geometry_load(&sb, &sz, 0, 0, &geo, NULL), -EINVAL);
	/* The largest data device there is: its tags fit, all offsets are positive. */
	sb.provided_sectors = (uint64_t)INT64_MAX / 512;
	sb.tag_size = 4;
	assert_int_equal(ti_geometry_load(&sb, &sz, 0, 0, &geo, NULL), 0);
	assert_true(geo.tag_offset + geo.tag_bytes <= INT64_MAX);
	/* 512-byte blocks with tags of 255 bytes need half as much again: still fine. */
	sb.tag_size = 255;
	assert_int_equal(ti_geometry_load(&sb, &sz, 0, 0, &geo, NULL), 0);
	assert_true(geo.tag_offset + geo.tag_bytes <= INT64_MAX);
}

static void wrong_shapes_are_refused_with_their_value(void **state)
{
	static const struct {
		uint32_t block, tag;
		uint64_t journal, data;
		const char *says;
	} wrong[] = {
		{ 513, 4, 0, 2048, "block size of 513" },
		{ 256, 4, 0, 2048, "block size of 256" },
		{ 8192, 4, 0, 2048, "block size of 8192" },
		{ 512, 0, 0, 2048, "tag size of 0" },
		{ 512, 256, 0, 2048, "tag size of 256" },
		{ 512, 4, 1ULL << 32, 2048, "4294967296 sectors" },
		{ 4096, 4, 0, 7, "7 sectors" },
		{ 512, 4, 0, 0, "0 sectors" },
		{ 512, 4, 0, UINT64_MAX, "more than any device holds" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct ti_format_shape sh = shape(wrong[i].block, wrong[i].tag, wrong[i].journal);
		struct ti_pair_sizes sz = sizes(wrong[i].data, 4096);
		struct ti_superblock sb;
		struct ti_geometry geo;
		struct ti_error e = { 0 };

		assert_int_equal(ti_geometry_plan(&sh, &sz, &sb, &geo, &e), -EINVAL);
		print_message("%s\n", e.text);
		assert_non_null(strstr(e.text, wrong[i].says));
	}
}

/* xorshift: the same numbers in every run. */
static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* The kernel's test for one number of sections, without any of the code under test. */
static bool kernel_fits(uint64_t sections, uint64_t section_sectors, uint64_t tag_bytes,
			uint64_t buffer_sectors, uint64_t meta)
{
	uint64_t initial = 8 + sections * section_sectors;
	uint64_t buffers = tag_bytes / (buffer_sectors * 512);

	if (tag_bytes % (buffer_sectors * 512))
		buffers++;
	return initial + 8 < meta && initial + buffers * buffer_sectors <= meta;
}

static void plan_takes_as_many_sections_as_the_kernels_rule_allows(void **state)
{
	uint64_t x = 0x1234567;
	unsigned planned = 0, refused = 0;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct ti_format_shape sh =
			shape(512U << (next_random(&x) % 4),
			      (uint32_t)(1 + next_random(&x) % (round % 2 ? 255 : 32)),
			      next_random(&x) % 20000);
		uint64_t data = 8 + next_random(&x) % 100000;
		struct ti_pair_sizes sz = sizes(data, 0);
		uint64_t spb = sh.block_size / 512;
		uint64_t entry = (8 + 8 * spb + sh.tag_size + 7) / 8 * 8;
		uint64_t section = 8 + 8 * (504 / entry) * spb;
		uint64_t tag_bytes = data / spb * sh.tag_size;
		uint64_t want = sh.journal_sectors / section, best = 0;
		unsigned lb = 7;
		struct ti_superblock sb;
		struct ti_geometry geo;
		struct ti_error e = { 0 };
		int err;

		/* Around what is needed, so that both answers occur. */
		sz.meta_sectors = tag_bytes / 512 + next_random(&x) % (section * 4);
		if (!want)
			want = 1;
		for (; !best; lb--) {
			for (uint64_t n = 1; n <= want; n++)
				if (kernel_fits(n, section, tag_bytes, 1U << lb, sz.meta_sectors))
					best = n;
			if (lb == 3)
				break;
		}

		err = ti_geometry_plan(&sh, &sz, &sb, &geo, &e);
		if (!best) {
			assert_int_equal(err, -EINVAL);
			refused++;
			continue;
		}
		assert_int_equal(err, 0);
		planned++;
		assert_int_equal(sb.journal_sections, best);
		assert_int_equal(sb.provided_sectors, data / spb * spb);
		assert_int_equal(geo.tag_bytes, tag_bytes);
		assert_true(geo.tag_offset + geo.tag_bytes <= sz.meta_sectors * 512);
	}
	/* The rule has been tried from both sides. */
	assert_true(planned > 1000);
	assert_true(refused > 1000);
}

static void plan_with_a_start_sector_keeps_the_tags_inside(void **state)
{
	uint64_t x = 0x7654321;
	unsigned planned = 0;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct ti_format_shape sh =
			shape(512U << (next_random(&x) % 4), (uint32_t)(1 + next_random(&x) % 64),
			      next_random(&x) % 4000);
		struct ti_pair_sizes sz =
			sizes(8 + next_random(&x) % 20000, 200 + next_random(&x) % 6000);
		struct ti_superblock sb;
		struct ti_geometry geo, without;
		int err;

		sh.start_sector = next_random(&x) % 100;
		sh.salted = round % 2;
		err = ti_geometry_plan(&sh, &sz, &sb, &geo, NULL);
		if (err)
			continue;
		planned++;
		assert_true(geo.tag_offset + geo.tag_bytes <= sz.meta_sectors * 512);
		assert_int_equal(geo.tag_offset, (sh.start_sector + geo.initial_sectors) * 512);
		assert_int_equal(sb.flags, round % 2 ? TI_SB_FIXED_HMAC : 0);
		/* The kernel, which leaves the start out, must be able to open it as well. */
		assert_int_equal(ti_geometry_load(&sb, &sz, 0, 0, &without, NULL), 0);
		assert_int_equal(without.journal_sections, geo.journal_sections);
	}
	assert_true(planned > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sections_have_the_kernels_shape),
		cmocka_unit_test(areas_follow_each_other_from_the_start_sector),
		cmocka_unit_test(buffers_shrink_until_the_tags_fit),
		cmocka_unit_test(buffer_option_rounds_down_and_is_capped),
		cmocka_unit_test(buffers_never_reach_past_the_end_behind_a_start_sector),
		cmocka_unit_test(rounding_alone_does_not_refuse_what_a_kernel_accepts),
		cmocka_unit_test(default_journal_is_a_128th_and_at_most_64_mib),
		cmocka_unit_test(bitmap_granularity_grows_until_the_bitmap_fits),
		cmocka_unit_test(bitmap_has_a_bit_for_the_last_piece_too),
		cmocka_unit_test(padding_counts_where_the_tags_are_shorter),
		cmocka_unit_test(data_device_that_shrank_is_refused_with_both_numbers),
		cmocka_unit_test(truncated_metadata_device_is_refused_at_every_length),
		cmocka_unit_test(numbers_that_overflow_are_refused),
		cmocka_unit_test(wrong_shapes_are_refused_with_their_value),
		cmocka_unit_test(plan_takes_as_many_sections_as_the_kernels_rule_allows),
		cmocka_unit_test(plan_with_a_start_sector_keeps_the_tags_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
