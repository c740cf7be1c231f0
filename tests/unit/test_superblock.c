/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The superblock: what a kernel writes or accepts is accepted, everything else refused by name.
 *
 * The bytes under test are put together here by hand, not by ti_superblock_write().
 */
#include "superblock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WHERE "/dev/meta"

/* A superblock as the kernel writes it: crc32c, 4096-byte blocks, 5 sections, 1 GiB. */
static void good_bytes(uint8_t *buf)
{
	static const uint8_t head[64] = {
		'i',  'n',  't',  'e',	'g',  'r',  't',  0,	/* magic */
		5,    0,    4,	  0,	5,    0,    0,	  0,	/* version, tag size, sections */
		0x00, 0x00, 0x20, 0x00, 0,    0,    0,	  0,	/* provided: 2097152 */
		0x10, 0,    0,	  0,	3,    12,   0,	  0,	/* flags, block, bitmap */
		0,    0,    0,	  0,	0,    0,    0,	  0,	/* recalc_sector */
		0,    0,    0,	  0,	0,    0,    0,	  0,	/* padding */
		0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, /* salt */
		0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
	};

	memset(buf, 0, TI_SB_BYTES);
	memcpy(buf, head, sizeof(head));
}

static void fields_are_read_from_their_places(void **state)
{
	uint8_t buf[TI_SB_BYTES];
	struct ti_superblock sb;
	struct ti_error e = { 0 };

	(void)state;
	good_bytes(buf);
	buf[32] = 0x78;
	buf[38] = 0x01;
	assert_int_equal(ti_superblock_parse(buf, WHERE, &sb, &e), 0);
	assert_int_equal(e.err, 0);
	assert_int_equal(sb.version, 5);
	assert_int_equal(sb.tag_size, 4);
	assert_int_equal(sb.journal_sections, 5);
	assert_int_equal(sb.provided_sectors, 2097152);
	assert_int_equal(sb.flags, TI_SB_FIXED_HMAC);
	assert_int_equal(sb.log2_sectors_per_block, 3);
	assert_int_equal(sb.log2_blocks_per_bitmap_bit, 12);
	assert_int_equal(sb.recalc_sector, 0x0001000000000078ULL);
	assert_memory_equal(sb.salt, buf + 48, TI_SALT_BYTES);
}

static void writing_gives_back_the_same_bytes(void **state)
{
	uint8_t buf[TI_SB_BYTES], out[TI_SB_BYTES];
	struct ti_superblock sb;

	(void)state;
	good_bytes(buf);
	memset(out, 0x55, sizeof(out));
	assert_int_equal(ti_superblock_parse(buf, WHERE, &sb, NULL), 0);
	ti_superblock_write(&sb, out);
	assert_memory_equal(out, buf, TI_SB_BYTES);
}

static void probe_tells_zero_from_other_from_present(void **state)
{
	uint8_t buf[TI_SB_BYTES] = { 0 };
	struct ti_superblock sb;
	struct ti_error zero = { 0 }, other = { 0 };

	(void)state;
	assert_int_equal(ti_superblock_probe(buf), TI_SB_ABSENT_ZERO);
	assert_int_equal(ti_superblock_parse(buf, WHERE, &sb, &zero), -ENODATA);
	buf[TI_SB_BYTES - 1] = 1;
	assert_int_equal(ti_superblock_probe(buf), TI_SB_ABSENT_OTHER);
	assert_int_equal(ti_superblock_parse(buf, WHERE, &sb, &other), -ENODATA);
	assert_non_null(strstr(zero.text, WHERE));
	assert_non_null(strstr(other.text, WHERE));
	assert_string_not_equal(zero.text, other.text);
	good_bytes(buf);
	assert_int_equal(ti_superblock_probe(buf), TI_SB_PRESENT);
}

/* One field set to one value that is refused. */
struct refusal {
	const char *what;
	unsigned offset, len;
	uint64_t value;
	int err;
	const char *says; /* words that the sentence must hold */
};

static const struct refusal refusals[] = {
	{ "magic", 6, 1, 'T', -ENODATA, "holds other data" },
	{ "magic end", 7, 1, 1, -ENODATA, "holds other data" },
	{ "version 0", 8, 1, 0, -EINVAL, "version 0" },
	{ "version 6", 8, 1, 6, -EOPNOTSUPP, "version 6 (inline" },
	{ "version 7", 8, 1, 7, -EOPNOTSUPP, "version 7 (keyed discards" },
	{ "version 8", 8, 1, 8, -EOPNOTSUPP, "version 8, newer" },
	{ "version 255", 8, 1, 255, -EOPNOTSUPP, "version 255, newer" },
	{ "interleave", 9, 1, 15, -EOPNOTSUPP, "log2_interleave_sectors 15" },
	{ "tag size 0", 10, 2, 0, -EINVAL, "integrity_tag_size 0" },
	{ "tag size 256", 10, 2, 256, -EINVAL, "integrity_tag_size 256" },
	{ "tag size 65535", 10, 2, 65535, -EINVAL, "integrity_tag_size 65535" },
	{ "sections 0", 12, 4, 0, -EINVAL, "journal_sections 0" },
	{ "provided 0", 16, 8, 0, -EINVAL, "provided_data_sectors 0" },
	{ "provided odd", 16, 8, 2097153, -EINVAL, "provided_data_sectors 2097153" },
	{ "provided huge", 16, 8, 1ULL << 60, -EINVAL, "more than any device holds" },
	{ "flags 0x80", 24, 4, 0x90, -EOPNOTSUPP, "flags 0x80 " },
	{ "flags high", 24, 4, 0x80000010U, -EOPNOTSUPP, "flags 0x80000000 " },
	{ "block 4", 28, 1, 4, -EINVAL, "log2_sectors_per_block 4" },
	{ "block 255", 28, 1, 255, -EINVAL, "log2_sectors_per_block 255" },
	{ "bitmap bit 61", 29, 1, 61, -EINVAL, "log2_blocks_per_bitmap_bit 61" },
	{ "bitmap bit 255", 29, 1, 255, -EINVAL, "log2_blocks_per_bitmap_bit 255" },
};

#define REFUSALS (sizeof(refusals) / sizeof(refusals[0]))

static void put(uint8_t *buf, const struct refusal *r)
{
	for (unsigned i = 0; i < r->len; i++)
		buf[r->offset + i] = (uint8_t)(r->value >> (8 * i));
}

static void every_wrong_field_is_refused_by_name_and_value(void **state)
{
	(void)state;
	for (size_t i = 0; i < REFUSALS; i++) {
		uint8_t buf[TI_SB_BYTES];
		struct ti_superblock sb, untouched;
		struct ti_error e = { 0 };

		memset(&sb, 0x5a, sizeof(sb));
		memset(&untouched, 0x5a, sizeof(untouched));
		good_bytes(buf);
		put(buf, &refusals[i]);
		print_message("%s: ", refusals[i].what);
		assert_int_equal(ti_superblock_parse(buf, WHERE, &sb, &e), refusals[i].err);
		print_message("%s\n", e.text);
		assert_int_equal(e.err, refusals[i].err);
		assert_non_null(strstr(e.text, WHERE));
		assert_non_null(strstr(e.text, refusals[i].says));
		/* What to do follows a colon. */
		assert_non_null(strstr(e.text, ": "));
		assert_true(strlen(e.text) < TI_ERROR_TEXT - 1);
		assert_memory_equal(&sb, &untouched, sizeof(sb));
	}
}

static void refusals_differ_from_each_other(void **state)
{
	static char texts[REFUSALS][TI_ERROR_TEXT];

	(void)state;
	for (size_t i = 0; i < REFUSALS; i++) {
		uint8_t buf[TI_SB_BYTES];
		struct ti_superblock sb;
		struct ti_error e = { 0 };

		good_bytes(buf);
		put(buf, &refusals[i]);
		ti_superblock_parse(buf, WHERE, &sb, &e);
		strcpy(texts[i], e.text);
		/* The first two are the same case: no magic. */
		for (size_t k = 1; k < i; k++)
			assert_string_not_equal(texts[i], texts[k]);
	}
}

static void what_a_kernel_accepts_is_accepted(void **state)
{
	static const struct refusal accepted[] = {
		{ .what = "version 1", .offset = 8, .len = 1, .value = 1 },
		{ .what = "version 2 with fix_hmac", .offset = 8, .len = 1, .value = 2 },
		{ .what = "version 3", .offset = 8, .len = 1, .value = 3 },
		{ .what = "version 4", .offset = 8, .len = 1, .value = 4 },
		{ .what = "tag size 1", .offset = 10, .len = 2, .value = 1 },
		{ .what = "tag size 255", .offset = 10, .len = 2, .value = 255 },
		{ .what = "sections 1", .offset = 12, .len = 4, .value = 1 },
		{ .what = "provided one block", .offset = 16, .len = 8, .value = 8 },
		{ .what = "no flags", .offset = 24, .len = 4, .value = 0 },
		{ .what = "fix_padding", .offset = 24, .len = 4, .value = 0x18 },
		{ .what = "all known flags", .offset = 24, .len = 4, .value = 0x7f },
		{ .what = "512-byte blocks", .offset = 28, .len = 1, .value = 0 },
		{ .what = "bitmap bit 0", .offset = 29, .len = 1, .value = 0 },
		{ .what = "bitmap bit 60", .offset = 29, .len = 1, .value = 60 },
		{ .what = "first padding", .offset = 30, .len = 2, .value = 0xffff },
		{ .what = "recalc_sector", .offset = 32, .len = 8, .value = UINT64_MAX },
		{ .what = "second padding", .offset = 40, .len = 8, .value = UINT64_MAX },
		{ .what = "behind the fields", .offset = 64, .len = 8, .value = UINT64_MAX },
		{ .what = "where a MAC lies", .offset = 504, .len = 8, .value = UINT64_MAX },
		{ .what = "last bytes", .offset = 4088, .len = 8, .value = UINT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
		uint8_t buf[TI_SB_BYTES];
		struct ti_superblock sb;
		struct ti_error e = { 0 };

		good_bytes(buf);
		put(buf, &accepted[i]);
		if (ti_superblock_parse(buf, WHERE, &sb, &e))
			fail_msg("%s: %s", accepted[i].what, e.text);
	}
}

static void any_value_of_any_byte_is_judged_cleanly(void **state)
{
	uint8_t good[TI_SB_BYTES], buf[TI_SB_BYTES], out[TI_SB_BYTES];

	(void)state;
	good_bytes(good);
	for (unsigned at = 0; at < sizeof(struct ti_superblock_disk); at++) {
		for (unsigned value = 0; value < 256; value++) {
			struct ti_superblock sb, again;
			struct ti_error e = { 0 };
			int err;

			memcpy(buf, good, sizeof(buf));
			buf[at] = (uint8_t)value;
			err = ti_superblock_parse(buf, WHERE, &sb, &e);
			assert_int_equal(e.err, err);
			if (err) {
				assert_true(err == -ENODATA || err == -EINVAL ||
					    err == -EOPNOTSUPP);
				assert_non_null(strstr(e.text, WHERE));
				continue;
			}
			/* Apart from the version, which follows from the flags, nothing is lost. */
			ti_superblock_write(&sb, out);
			if (ti_superblock_version(sb.flags) > 5)
				continue;
			assert_int_equal(ti_superblock_parse(out, WHERE, &again, &e), 0);
			again.version = sb.version;
			assert_int_equal(again.tag_size, sb.tag_size);
			assert_int_equal(again.journal_sections, sb.journal_sections);
			assert_int_equal(again.provided_sectors, sb.provided_sectors);
			assert_int_equal(again.flags, sb.flags);
			assert_int_equal(again.recalc_sector, sb.recalc_sector);
			assert_memory_equal(again.salt, sb.salt, sizeof(sb.salt));
		}
	}
}

static struct ti_superblock supported(void)
{
	uint8_t buf[TI_SB_BYTES];
	struct ti_superblock sb;

	good_bytes(buf);
	assert_int_equal(ti_superblock_parse(buf, WHERE, &sb, NULL), 0);
	return sb;
}

static void unsupported_flags_are_refused_by_name(void **state)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} unsupported[] = {
		{ TI_SB_INLINE, "inline" },
		{ TI_SB_DISCARD_KEYED, "discard_keyed" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++) {
		struct ti_superblock sb = supported();
		struct ti_error e = { 0 };

		sb.flags |= unsupported[i].flag;
		assert_int_equal(ti_superblock_check_supported(&sb, WHERE, &e), -EOPNOTSUPP);
		print_message("%s\n", e.text);
		assert_non_null(strstr(e.text, unsupported[i].name));
		assert_non_null(strstr(e.text, WHERE));
		assert_string_equal(ti_superblock_flag_name(unsupported[i].flag),
				    unsupported[i].name);
	}
}

static void supported_flags_pass(void **state)
{
	struct ti_superblock sb = supported();

	(void)state;
	assert_int_equal(ti_superblock_check_supported(&sb, WHERE, NULL), 0);
	sb.flags = 0;
	assert_int_equal(ti_superblock_check_supported(&sb, WHERE, NULL), 0);
	sb.flags = TI_SB_FIXED_PADDING | TI_SB_FIXED_HMAC;
	assert_int_equal(ti_superblock_check_supported(&sb, WHERE, NULL), 0);
	/* Whether it is given is the seal's business. */
	sb.flags = TI_SB_HAVE_JOURNAL_MAC;
	assert_int_equal(ti_superblock_check_supported(&sb, WHERE, NULL), 0);
}

static void only_an_unfinished_recalculation_is_unsettled(void **state)
{
	struct ti_superblock sb = supported();
	struct ti_error e = { 0 };

	(void)state;
	sb.flags |= TI_SB_RECALCULATING;
	sb.recalc_sector = sb.provided_sectors;
	assert_int_equal(ti_superblock_check_settled(&sb, WHERE, &e), 0);
	sb.recalc_sector = UINT64_MAX;
	assert_int_equal(ti_superblock_check_settled(&sb, WHERE, &e), 0);
	sb.recalc_sector = sb.provided_sectors - 8;
	assert_int_equal(ti_superblock_check_settled(&sb, WHERE, &e), -EUCLEAN);
	assert_non_null(strstr(e.text, "2097144 of 2097152"));
	/* Without the flag the field means nothing. */
	sb.flags &= ~TI_SB_RECALCULATING;
	assert_int_equal(ti_superblock_check_settled(&sb, WHERE, NULL), 0);
}

static void dirty_bitmap_is_unsettled(void **state)
{
	struct ti_superblock sb = supported();
	struct ti_error e = { 0 };

	(void)state;
	sb.flags |= TI_SB_DIRTY_BITMAP;
	assert_int_equal(ti_superblock_check_supported(&sb, WHERE, NULL), 0);
	assert_int_equal(ti_superblock_check_settled(&sb, WHERE, &e), -EUCLEAN);
	assert_non_null(strstr(e.text, "dirty_bitmap"));
}

static void mode_bitmap_makes_a_3_of_a_2_and_of_nothing_else(void **state)
{
	struct ti_superblock sb = supported();
	uint8_t buf[TI_SB_BYTES];

	(void)state;
	sb.bitmap_mode = true;
	sb.flags = 0;
	ti_superblock_write(&sb, buf);
	assert_int_equal(buf[8], 3);
	sb.flags = TI_SB_FIXED_HMAC;
	ti_superblock_write(&sb, buf);
	assert_int_equal(buf[8], 5);
	sb.bitmap_mode = false;
	sb.flags = 0;
	ti_superblock_write(&sb, buf);
	assert_int_equal(buf[8], 2);
}

static void version_follows_from_the_flags_first_match_wins(void **state)
{
	(void)state;
	assert_int_equal(ti_superblock_version(0), 2);
	assert_int_equal(ti_superblock_version(TI_SB_HAVE_JOURNAL_MAC), 2);
	assert_int_equal(ti_superblock_version(TI_SB_RECALCULATING), 2);
	assert_int_equal(ti_superblock_version(TI_SB_DIRTY_BITMAP), 3);
	assert_int_equal(ti_superblock_version(TI_SB_DIRTY_BITMAP | TI_SB_FIXED_PADDING), 4);
	assert_int_equal(ti_superblock_version(TI_SB_DIRTY_BITMAP | TI_SB_FIXED_HMAC), 5);
	assert_int_equal(ti_superblock_version(TI_SB_FIXED_PADDING | TI_SB_FIXED_HMAC), 5);
	assert_int_equal(ti_superblock_version(TI_SB_INLINE | TI_SB_FIXED_HMAC), 6);
	assert_int_equal(ti_superblock_version(TI_SB_KNOWN_FLAGS), 7);
}

static void known_flags_and_only_they_have_names(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 32; bit++) {
		const char *name = ti_superblock_flag_name(1U << bit);

		if (TI_SB_KNOWN_FLAGS & 1U << bit)
			assert_non_null(name);
		else
			assert_null(name);
	}
	assert_null(ti_superblock_flag_name(0));
	assert_string_equal(ti_superblock_flag_name(TI_SB_FIXED_HMAC), "fix_hmac");
	assert_string_equal(ti_superblock_flag_name(TI_SB_FIXED_PADDING), "fix_padding");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_are_read_from_their_places),
		cmocka_unit_test(writing_gives_back_the_same_bytes),
		cmocka_unit_test(probe_tells_zero_from_other_from_present),
		cmocka_unit_test(every_wrong_field_is_refused_by_name_and_value),
		cmocka_unit_test(refusals_differ_from_each_other),
		cmocka_unit_test(what_a_kernel_accepts_is_accepted),
		cmocka_unit_test(any_value_of_any_byte_is_judged_cleanly),
		cmocka_unit_test(unsupported_flags_are_refused_by_name),
		cmocka_unit_test(supported_flags_pass),
		cmocka_unit_test(only_an_unfinished_recalculation_is_unsettled),
		cmocka_unit_test(dirty_bitmap_is_unsettled),
		cmocka_unit_test(mode_bitmap_makes_a_3_of_a_2_and_of_nothing_else),
		cmocka_unit_test(version_follows_from_the_flags_first_match_wins),
		cmocka_unit_test(known_flags_and_only_they_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
