/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The config string: everything that may stand in it, and a sentence for everything that may not.
 */
#include "config_keys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SHORTEST "integrity//dev/a;meta=/dev/b"

static struct ti_config good(const char *s)
{
	struct ti_error error = { 0 };
	struct ti_config config;
	int err = ti_config_parse(s, &config, &error);

	if (err)
		fail_msg("'%s' is refused: %s", s, error.text);
	assert_int_equal(error.err, 0);
	return config;
}

/* @s must be refused with @err and a sentence that contains @part. */
static void refused(const char *s, int err, const char *part)
{
	struct ti_error error = { 0 };
	struct ti_config config;
	int seen = ti_config_parse(s, &config, &error);

	if (seen != err || error.err != err)
		fail_msg("'%s': %d instead of %d (%s)", s, seen, err, error.text);
	if (!strstr(error.text, part))
		fail_msg("'%s': '%s' does not contain '%s'", s, error.text, part);
	if (strchr(error.text, '\n'))
		fail_msg("'%s': '%s' is more than a sentence", s, error.text);
}

static void two_devices_are_enough(void **state)
{
	struct ti_config config = good(SHORTEST);

	(void)state;
	assert_string_equal(config.data_path, "/dev/a");
	assert_string_equal(config.meta_path, "/dev/b");
	assert_int_equal(config.mode, TI_MODE_JOURNAL);
	assert_string_equal(config.hash, "crc32c");
	assert_int_equal(config.backend, TI_BACKEND_AUTO);
	assert_int_equal(config.start_sectors, 0);
	assert_int_equal(config.cache_mb, 0);
	assert_int_equal(config.queue_depth, 0);
	assert_int_equal(config.commit_time_ms, 0);
	assert_int_equal(config.buffer_sectors, 0);
	assert_int_equal(config.hash_helpers, TI_CONFIG_AUTO);
}

static void every_key_is_taken_in_any_order(void **state)
{
	struct ti_config config =
		good("integrity//dev/disk/by-id/x=y?;backend=threads;cache_mb=65536;mode=direct;"
		     "commit_time=1;queue_depth=1024;hash=crc32c;start=8;buffer_sectors=64;"
		     "tcmur_cmd_time_out=30;meta=/srv/m e t a.img");

	(void)state;
	assert_string_equal(config.data_path, "/dev/disk/by-id/x=y?");
	assert_string_equal(config.meta_path, "/srv/m e t a.img");
	assert_int_equal(config.backend, TI_BACKEND_THREADS);
	assert_int_equal(config.cache_mb, 65536);
	assert_int_equal(config.commit_time_ms, 1);
	assert_int_equal(config.queue_depth, 1024);
	assert_int_equal(config.start_sectors, 8);
	assert_int_equal(config.buffer_sectors, 64);
	assert_int_equal(good(SHORTEST ";backend=uring").backend, TI_BACKEND_URING);
	assert_int_equal(good(SHORTEST ";backend=auto").backend, TI_BACKEND_AUTO);
}

static void the_prefix_must_be_whole(void **state)
{
	(void)state;
	refused("", -EINVAL, "does not start with 'integrity/'");
	refused("integ//dev/a;meta=/dev/b", -EINVAL, "does not start with");
	refused("integrity", -EINVAL, "does not start with");
	refused("Integrity//dev/a;meta=/dev/b", -EINVAL, "does not start with");
	refused("integrity2//dev/a;meta=/dev/b", -EINVAL, "does not start with");
	refused("/dev/a;meta=/dev/b", -EINVAL, "does not start with");
}

static void both_devices_must_be_named_by_absolute_paths(void **state)
{
	(void)state;
	refused("integrity/", -EINVAL, "the data device is missing");
	refused("integrity/;meta=/dev/b", -EINVAL, "the data device is missing");
	refused("integrity/sda;meta=/dev/b", -EINVAL, "'sda' is not an absolute path");
	refused("integrity/meta=/dev/b", -EINVAL, "not an absolute path");
	refused("integrity//dev/a", -EINVAL, "the metadata device is missing");
	refused("integrity//dev/a;mode=direct", -EINVAL, "the metadata device is missing");
	refused("integrity//dev/a;meta=", -EINVAL, "meta has no value");
	refused("integrity//dev/a;meta=sdb", -EINVAL, "'sdb' is not an absolute path");
	refused("integrity//dev/a;meta=/dev/a", -EINVAL, "two devices");
}

static void unknown_keys_get_a_hint(void **state)
{
	(void)state;
	refused(SHORTEST ";mod=direct", -EINVAL, "did you mean 'mode'?");
	refused(SHORTEST ";cachemb=3", -EINVAL, "did you mean 'cache_mb'?");
	refused(SHORTEST ";queue-depth=3", -EINVAL, "did you mean 'queue_depth'?");
	refused("integrity//dev/a;Meta=/dev/b", -EINVAL, "did you mean 'meta'?");
	refused(SHORTEST ";colour=green", -EINVAL, "'tcmu-integrity config explain' lists them");
	refused(SHORTEST ";=green", -EINVAL, "there is no key ''");
}

static void options_must_be_well_formed(void **state)
{
	(void)state;
	refused(SHORTEST ";", -EINVAL, "empty option");
	refused("integrity//dev/a;;meta=/dev/b", -EINVAL, "empty option");
	refused(SHORTEST ";direct", -EINVAL, "'direct' is not of the form key=value");
	refused(SHORTEST ";mode=direct;mode=direct", -EINVAL, "mode is given twice");
	refused(SHORTEST ";meta=/dev/c", -EINVAL, "meta is given twice");
	refused(SHORTEST ";mode=", -EINVAL, "mode has no value");
}

static void numbers_have_limits(void **state)
{
	static const char *const bad[] = { "cache_mb=0",
					   "cache_mb=65537",
					   "cache_mb=18446744073709551617",
					   "cache_mb=-1",
					   "cache_mb=+1",
					   "cache_mb= 1",
					   "cache_mb=1 ",
					   "cache_mb=1M",
					   "cache_mb=0x10",
					   "queue_depth=0",
					   "queue_depth=1025",
					   "commit_time=0",
					   "commit_time=3600001",
					   "buffer_sectors=0",
					   "start=18014398509481985",
					   "start=99999999999999999999999999999999",
					   "tcmur_cmd_time_out=2147483648" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char s[256];

		snprintf(s, sizeof(s), "%s;%s", SHORTEST, bad[i]);
		refused(s, -EINVAL, "is not a number from");
	}
	assert_int_equal(good(SHORTEST ";start=18014398509481984").start_sectors, 1ULL << 54);
	assert_int_equal(good(SHORTEST ";cache_mb=007").cache_mb, 7);
}

static void words_are_known_unknown_or_not_yet(void **state)
{
	(void)state;
	assert_int_equal(good(SHORTEST ";mode=bitmap").mode, TI_MODE_BITMAP);
	assert_int_equal(good(SHORTEST ";mode=recovery").mode, TI_MODE_RECOVERY);
	refused(SHORTEST ";mode=D", -EINVAL, "it can be: journal, direct, bitmap, recovery");
	refused(SHORTEST ";recalculate=2", -EINVAL, "from 0 to 1");
	refused(SHORTEST ";sectors_per_bit=0", -EINVAL, "is not a number from 1");
	assert_string_equal(good(SHORTEST ";hash=sha3-256").hash, "sha3-256");
	refused(SHORTEST ";hash=hmac-sha256", -EINVAL, "needs a key; name it in a profile");
	refused(SHORTEST ";integrity_key=00112233", -EINVAL, "it names no keys");
	refused(SHORTEST ";hash=md5", -EINVAL, "it can be: crc32c");
	refused(SHORTEST ";backend=kernel", -EINVAL, "it can be: auto, uring, threads");
	assert_int_equal(good(SHORTEST ";allow_discards=1").allow_discards, 1);
	refused(SHORTEST ";allow_discards=2", -EINVAL, "from 0 to 1");
	assert_int_equal(good(SHORTEST ";hash_helpers=8").hash_helpers, 8);
	refused(SHORTEST ";hash_helpers=9", -EINVAL, "it can be: auto, 0, 1, 2");
	refused(SHORTEST ";hash_helpers=-1", -EINVAL, "it can be: auto, 0, 1, 2");
	refused(SHORTEST ";journal_watermark=0", -EINVAL, "from 1 to 99");
	refused(SHORTEST ";journal_watermark=100", -EINVAL, "from 1 to 99");
	refused("integrity/profile=no-such-profile", -ENOENT, "cannot be read");
	refused("integrity/profile=", -EINVAL, "no name");
	refused("integrity/profile=../etc/passwd", -EINVAL, "letters");
	refused("integrity/profile=.hidden", -EINVAL, "letters");
	refused(SHORTEST ";profile=db1", -EINVAL, "profile= stands first");
}

static void what_would_not_survive_the_way_is_refused(void **state)
{
	char s[300];

	(void)state;
	refused("integrity//dev/a:1;meta=/dev/b", -EINVAL, "contains a ':'");
	refused("integrity//dev/a,b;meta=/dev/b", -EINVAL, "contains a ','");
	refused("integrity//dev/a\n;meta=/dev/b", -EINVAL, "byte 17 is the control character 0x0a");
	refused("integrity//dev/a\x7f;meta=/dev/b", -EINVAL, "control character 0x7f");
	refused("x\n[ERROR] forged", -EINVAL, "byte 2 is the control character 0x0a");
	good("integrity//dev/\xc3\xa4;meta=/dev/\xff");

	/* 254 bytes can be used; 255 may be what is left of more. */
	for (size_t len = 253; len < sizeof(s); len++) {
		memset(s, 'x', len);
		memcpy(s, "integrity//", 11);
		memcpy(s + 200, ";meta=/", 7);
		s[len] = '\0';
		if (len <= TI_CONFIG_MAX)
			assert_int_equal(strlen(good(s).meta_path), len - 206);
		else
			refused(s, -ENAMETOOLONG, "may have 254");
	}
}

static void two_strings_for_one_lun_are_equal(void **state)
{
	static const char *const others[] = {
		"integrity//dev/c;meta=/dev/b", "integrity//dev/a;meta=/dev/c",
		SHORTEST ";cache_mb=16",	SHORTEST ";start=8",
		SHORTEST ";backend=threads",	SHORTEST ";queue_depth=9",
		SHORTEST ";commit_time=9",	SHORTEST ";buffer_sectors=9",
		SHORTEST ";mode=direct",	SHORTEST ";journal_watermark=9",
		SHORTEST ";recalculate=1",	SHORTEST ";bitmap_flush_interval=9",
		SHORTEST ";sectors_per_bit=8",	SHORTEST ";recalculate_rate=8",
		SHORTEST ";hash_helpers=0",
	};
	struct ti_config a = good(SHORTEST);
	struct ti_config b = good("integrity//dev/a;mode=journal;tcmur_cmd_time_out=7;meta=/dev/b");

	(void)state;
	assert_true(ti_config_equal(&a, &b));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		b = good(others[i]);
		assert_false(ti_config_equal(&a, &b));
	}
}

static void options_reach_devices_and_engine(void **state)
{
	struct ti_config config = good(SHORTEST ";cache_mb=3;start=16;queue_depth=7;commit_time=9;"
						"backend=threads;buffer_sectors=32;"
						"mode=direct;journal_watermark=70");
	struct ti_pair_options pair;
	struct ti_lun_options lun;

	(void)state;
	ti_config_options(&config, &pair, &lun);
	assert_ptr_equal(pair.data_path, config.data_path);
	assert_ptr_equal(pair.meta_path, config.meta_path);
	assert_int_equal(pair.backend, TI_BACKEND_THREADS);
	assert_false(pair.read_only);
	assert_false(pair.no_lock);
	assert_int_equal(lun.cache_bytes, 3 << 20);
	assert_int_equal(lun.start_sector, 16);
	assert_int_equal(lun.buffer_sectors, 32);
	assert_int_equal(lun.queue_depth, 7);
	assert_int_equal(lun.commit_time_ms, 9);
	assert_int_equal(lun.mode, TI_MODE_DIRECT);
	assert_int_equal(lun.journal_watermark, 70);
	assert_string_equal(lun.hash, "crc32c");
	assert_int_equal(lun.crew.helpers, ti_hash_crew_suits());
	assert_false(lun.read_only);
	config = good(SHORTEST ";hash_helpers=0");
	ti_config_options(&config, &pair, &lun);
	assert_int_equal(lun.crew.helpers, 0);
	config = good(SHORTEST ";hash_helpers=4");
	ti_config_options(&config, &pair, &lun);
	assert_int_equal(lun.crew.helpers, 4);
}

static void the_description_names_every_key_of_a_string(void **state)
{
	const char *text = ti_config_describe();
	const struct ti_config_key *key;

	(void)state;
	for (size_t i = 0; (key = ti_config_key(i)) != NULL; i++) {
		bool wanted = key->where & TI_IN_STRING;
		const char *found;
		char s[64];

		/* At a line's beginning, or behind the data device. */
		snprintf(s, sizeof(s), strcmp(key->name, "meta") ? "\n  %s=" : ";%s=", key->name);
		found = strstr(text, s);
		if (!found != !wanted)
			fail_msg("'%s' is%s described", key->name, found ? "" : " not");
		if (!wanted || !key->preset)
			continue;
		/* mode= and others say it in words. */
		snprintf(s, sizeof(s), "(%s)", key->preset);
		if (!strstr(found, s) && !strstr(found, "(the default)"))
			fail_msg("the default of '%s' is not described", key->name);
	}
}

static void every_key_is_explained(void **state)
{
	const struct ti_config_key *key;
	char text[256];

	(void)state;
	for (size_t i = 0; (key = ti_config_key(i)) != NULL; i++) {
		size_t row;

		assert_ptr_equal(ti_config_find_key(key->name, &row), key);
		assert_int_equal(row, i);
		assert_true(key->where != 0 && key->summary && key->about);
		ti_config_range_text(key, text, sizeof(text));
		assert_true(text[0]);
		assert_true(strlen(key->about) > strlen("."));
		/* The place stands in front of its other way. */
		if (key->kind == TI_KIND_PLACE_FILE)
			assert_int_equal(ti_config_key(i - 1)->kind, TI_KIND_PLACE);
	}
}

static void a_value_reads_back_as_it_was_written(void **state)
{
	static const char *const values[] = {
		[TI_KIND_PATH] = "/dev/x",
		[TI_KIND_WORD] = NULL,
		[TI_KIND_DIGEST] = "sha256",
		[TI_KIND_CIPHER] = "cbc(aes)",
		[TI_KIND_PLACE] = "keyring:user:disk",
		[TI_KIND_PLACE_SIZE] = "32",
	};
	const struct ti_config_key *key;

	(void)state;
	for (size_t i = 0; (key = ti_config_key(i)) != NULL; i++) {
		struct ti_config config = good(SHORTEST);
		struct ti_error error = { 0 };
		char wrote[32], text[64];
		const char *value = wrote;

		if (key->kind == TI_KIND_PLACE_FILE)
			continue;
		if (key->kind == TI_KIND_NUMBER)
			snprintf(wrote, sizeof(wrote), "%llu", (unsigned long long)key->max);
		else if (key->kind == TI_KIND_WORD)
			value = key->words[1].text;
		else
			value = values[key->kind];
		assert_int_equal(ti_config_set_value(key, value, &config, &error), 0);
		ti_config_value_text(key, &config, text, sizeof(text));
		assert_string_equal(text, value);
	}
}

static void built_in_values_are_those_that_are_told(void **state)
{
	struct ti_config config = good(SHORTEST);
	const struct ti_config_key *key;
	char text[64];

	(void)state;
	for (size_t i = 0; (key = ti_config_key(i)) != NULL; i++) {
		ti_config_value_text(key, &config, text, sizeof(text));
		if (key->kind != TI_KIND_PATH)
			assert_string_equal(text, key->preset ? key->preset : "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_devices_are_enough),
		cmocka_unit_test(every_key_is_taken_in_any_order),
		cmocka_unit_test(the_prefix_must_be_whole),
		cmocka_unit_test(both_devices_must_be_named_by_absolute_paths),
		cmocka_unit_test(unknown_keys_get_a_hint),
		cmocka_unit_test(options_must_be_well_formed),
		cmocka_unit_test(numbers_have_limits),
		cmocka_unit_test(words_are_known_unknown_or_not_yet),
		cmocka_unit_test(what_would_not_survive_the_way_is_refused),
		cmocka_unit_test(two_strings_for_one_lun_are_equal),
		cmocka_unit_test(options_reach_devices_and_engine),
		cmocka_unit_test(the_description_names_every_key_of_a_string),
		cmocka_unit_test(every_key_is_explained),
		cmocka_unit_test(a_value_reads_back_as_it_was_written),
		cmocka_unit_test(built_in_values_are_those_that_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
