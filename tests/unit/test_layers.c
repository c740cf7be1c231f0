/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Defaults file, profile and config string over each other: which counts, where each value comes
 * from, and that every mistake is told with its file and line.
 */
#include "config_keys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define STRING "integrity//dev/a;meta=/dev/b"

static char dir[] = "/tmp/ti-layers-XXXXXX";
static char defaults[64], profile[64];

static void write_bytes(const char *path, const char *text, size_t len)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	fclose(f);
}

/* NULL: there is no such file. */
static void have(const char *path, const char *text)
{
	unlink(path);
	if (text)
		write_bytes(path, text, strlen(text));
}

static int parse(const char *string, struct ti_config *config, struct ti_config_trace *trace,
		 struct ti_error *error)
{
	const struct ti_config_paths paths = { defaults, dir };

	*error = (struct ti_error){ 0 };
	return ti_config_parse_at(&paths, string, config, trace, error);
}

static void good(const char *string, struct ti_config *config, struct ti_config_trace *trace)
{
	struct ti_error error;

	if (parse(string, config, trace, &error))
		fail_msg("%s", error.text);
	if (trace)
		assert_int_equal(trace->problems, 0);
}

/* The one problem with the defaults file @text. */
static void refused(const char *text, const char *part)
{
	struct ti_config_trace trace;
	struct ti_config config;
	struct ti_error error;

	have(defaults, text);
	assert_true(parse(STRING, &config, NULL, &error) < 0);
	if (!strstr(error.text, part))
		fail_msg("'%s' does not contain '%s'", error.text, part);
	assert_true(parse(STRING, &config, &trace, &error) < 0);
	assert_int_equal(trace.problems, 1);
	assert_string_equal(trace.problem[0].text, error.text);
	assert_null(strstr(error.text, "5eC2eT"));
	have(defaults, NULL);
}

static void assert_from(const struct ti_config_trace *trace, const char *name,
			enum ti_config_layer layer, unsigned line)
{
	size_t row;

	assert_non_null(ti_config_find_key(name, &row));
	assert_int_equal(trace->from[row].layer, layer);
	assert_int_equal(trace->from[row].line, line);
}

static void each_layer_counts_more_than_those_below_it(void **state)
{
	struct ti_config_trace trace;
	struct ti_config c;

	(void)state;
	have(defaults, "# for all\n[lun]\ncache_mb=3\nqueue_depth = 5\ncommit_time=7\n");
	have(profile, "[lun]\ndata=/dev/a\nmeta=/dev/b\n\nqueue_depth=6\ncommit_time=8\n");
	good("integrity/profile=p;commit_time=9", &c, &trace);
	assert_int_equal(c.cache_mb, 3);
	assert_int_equal(c.queue_depth, 6);
	assert_int_equal(c.commit_time_ms, 9);
	assert_int_equal(c.journal_watermark, 0);
	assert_from(&trace, "cache_mb", TI_LAYER_DEFAULTS, 3);
	assert_from(&trace, "queue_depth", TI_LAYER_PROFILE, 5);
	assert_from(&trace, "commit_time", TI_LAYER_STRING, 0);
	assert_from(&trace, "journal_watermark", TI_LAYER_BUILT_IN, 0);
	assert_from(&trace, "data", TI_LAYER_PROFILE, 2);
	assert_string_equal(trace.defaults, defaults);
	assert_string_equal(trace.profile, profile);
	assert_string_equal(c.text, "integrity/profile=p;commit_time=9");
	/* Without a profile. */
	good(STRING, &c, &trace);
	assert_int_equal(c.queue_depth, 5);
	assert_from(&trace, "data", TI_LAYER_STRING, 0);
	assert_string_equal(trace.profile, "");
	have(defaults, NULL);
	good(STRING, &c, &trace);
	assert_int_equal(c.queue_depth, 0);
	assert_string_equal(trace.defaults, "");
}

static void defaults_may_be_empty_or_comments(void **state)
{
	struct ti_config c;

	(void)state;
	have(defaults, "");
	good(STRING, &c, NULL);
	have(defaults, "# nothing\n\n[lun]\n# cache_mb=3\r\n");
	good(STRING, &c, NULL);
	assert_int_equal(c.cache_mb, 0);
	have(defaults, NULL);
}

static void what_is_a_matter_of_a_pair_is_no_default(void **state)
{
	static const char *const lines[] = { "data=/dev/a",	      "meta=/dev/b",
					     "hash=sha256",	      "start=8",
					     "recalculate=1",	      "integrity_key=file:/5eC2eT",
					     "journal_crypt=cbc-aes", "legacy_recalculate=1" };

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char text[64];

		snprintf(text, sizeof(text), "[lun]\n%s\n", lines[i]);
		refused(text, "integrity.conf:2: ");
		refused(text, "is a matter of each pair");
	}
}

static void mistakes_are_told_with_file_and_line(void **state)
{
	char large[70000];

	(void)state;
	refused("cache_mb=3\n", "integrity.conf:1: there must be a line [lun] first");
	refused("# a\n[lun]\ncache_mb=3\n5eC2eT\n", "integrity.conf:4: this line is neither");
	refused("[lun\n", "integrity.conf:1: this line is neither");
	refused("[lun]\n\n[disk]\n", "integrity.conf:3: the file has one group, [lun]");
	refused("[lun]\ncache_mb=3\nmode=direct\ncache_mb=4\n",
		"integrity.conf:4: cache_mb is given twice, in line 2 before");
	refused("[lun]\ncache_mb=3\n[lun]\ncache_mb=4\n", "integrity.conf:4: cache_mb is given");
	refused("[lun]\ncach_mb=3\n", "integrity.conf:2: there is no key 'cach_mb'; did you mean");
	refused("[lun]\ncache_mb=\n", "integrity.conf:2: cache_mb has no value");
	refused("[lun]\ncache_mb=\xff\n",
		"integrity.conf:2: cache_mb has no value that can be read");
	refused("[lun]\ncache_mb=3\\n4\n", "integrity.conf:2: the value of cache_mb is more than");
	refused("[lun]\ncache_mb[de]=3\n", "integrity.conf:2: cache_mb[de] has no value");
	refused("[lun]\nallow_discards=yes\n", "integrity.conf:2: ");
	refused("[lun]\nprofile=p\n", "integrity.conf:2: a file does not lead to another one");
	refused("[lun]\ntcmur_cmd_time_out=3\n", "integrity.conf:2: tcmur_cmd_time_out is");
	memset(large, '#', sizeof(large));
	large[sizeof(large) - 1] = '\0';
	refused(large, "integrity.conf: it has more than 65536 bytes");
}

static void what_is_no_text_file_is_told(void **state)
{
	struct ti_config config;
	struct ti_error error;

	(void)state;
	write_bytes(defaults, "[lun]\n\0", 7);
	assert_int_equal(parse(STRING, &config, NULL, &error), -EINVAL);
	assert_non_null(strstr(error.text, "zero byte"));
	/* A pipe that nobody writes to must not stop a runner. */
	unlink(defaults);
	assert_int_equal(mkfifo(defaults, 0600), 0);
	assert_int_equal(parse(STRING, &config, NULL, &error), -EINVAL);
	assert_non_null(strstr(error.text, "no regular file"));
	unlink(defaults);
	assert_int_equal(mkdir(defaults, 0700), 0);
	assert_int_equal(parse(STRING, &config, NULL, &error), -EISDIR);
	rmdir(defaults);
	assert_int_equal(parse("integrity/profile=none", &config, NULL, &error), -ENOENT);
	assert_non_null(strstr(error.text, "none.conf: the file cannot be read"));
}

static void all_problems_are_listed_in_their_order(void **state)
{
	struct ti_config_trace trace;
	struct ti_config config;
	struct ti_error error;

	(void)state;
	have(defaults, "[lun]\ncache_mb=0\nhash=sha1\n");
	have(profile, "[lun]\ndata=/dev/a\nqueue=1\n");
	assert_true(parse("integrity/profile=p;mode=x;;cache_mb", &config, &trace, &error) < 0);
	assert_int_equal(trace.problems, 6);
	assert_non_null(strstr(trace.problem[0].text, "integrity.conf:2: cache_mb=0"));
	assert_non_null(strstr(trace.problem[1].text, "integrity.conf:3: hash"));
	assert_non_null(strstr(trace.problem[2].text, "p.conf:3: there is no key 'queue'"));
	assert_non_null(strstr(trace.problem[3].text, "config string: mode=x is unknown"));
	assert_non_null(strstr(trace.problem[4].text, "config string: there is an empty option"));
	assert_non_null(strstr(trace.problem[5].text, "'cache_mb' is not of the form"));
	assert_string_equal(error.text, trace.problem[0].text);
	have(defaults, NULL);
}

static void more_problems_than_fit_are_counted(void **state)
{
	struct ti_config_trace trace;
	struct ti_config config;
	struct ti_error error;
	char text[2000] = "[lun]\n";

	(void)state;
	for (int i = 0; i < 100; i++)
		snprintf(text + strlen(text), 20, "x%d=1\n", i);
	have(defaults, text);
	assert_true(parse(STRING, &config, &trace, &error) < 0);
	assert_int_equal(trace.problems, 100);
	assert_non_null(strstr(trace.problem[TI_CONFIG_PROBLEMS_MAX - 1].text, "'x31'"));
	have(defaults, NULL);
}

static void a_file_is_looked_at_alone(void **state)
{
	struct ti_config_trace trace;
	struct ti_config config;
	struct ti_error error = { 0 };

	(void)state;
	have(profile, "[lun]\ndata=/dev/a\n");
	assert_int_equal(ti_config_check_file(profile, TI_LAYER_PROFILE, &config, &trace, &error),
			 -EINVAL);
	assert_non_null(strstr(error.text, "p.conf: the metadata device is missing"));
	assert_int_equal(trace.problems, 1);
	have(defaults, "[lun]\nmode=bitmap\n");
	error = (struct ti_error){ 0 };
	assert_int_equal(ti_config_check_file(defaults, TI_LAYER_DEFAULTS, &config, &trace, &error),
			 0);
	assert_int_equal(config.mode, TI_MODE_BITMAP);
	have(defaults, NULL);
	assert_int_equal(ti_config_check_file(defaults, TI_LAYER_DEFAULTS, &config, &trace, &error),
			 -ENOENT);
}

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(defaults, sizeof(defaults), "%s/integrity.conf", dir);
	snprintf(profile, sizeof(profile), "%s/p.conf", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(defaults);
	unlink(profile);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_layer_counts_more_than_those_below_it),
		cmocka_unit_test(defaults_may_be_empty_or_comments),
		cmocka_unit_test(what_is_a_matter_of_a_pair_is_no_default),
		cmocka_unit_test(mistakes_are_told_with_file_and_line),
		cmocka_unit_test(what_is_no_text_file_is_told),
		cmocka_unit_test(all_problems_are_listed_in_their_order),
		cmocka_unit_test(more_problems_than_fit_are_counted),
		cmocka_unit_test(a_file_is_looked_at_alone),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
