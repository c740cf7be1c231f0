/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* Errors, log lines and the rate limit. */
#include "error.h"
#include "log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void first_sentence_wins(void **state)
{
	struct ti_error e = { 0 };

	(void)state;
	assert_int_equal(ti_error_set(&e, -EIO, "sector %d of %s", 7, "META"), -EIO);
	assert_int_equal(ti_error_set(&e, -EINVAL, "vague"), -EINVAL);
	assert_int_equal(e.err, -EIO);
	assert_string_equal(e.text, "sector 7 of META");
}

static void code_is_returned_without_an_error_object(void **state)
{
	(void)state;
	assert_int_equal(ti_error_set(NULL, -ENODATA, "nobody reads %s", "this"), -ENODATA);
}

static void sentence_that_is_too_long_is_cut_and_terminated(void **state)
{
	struct ti_error e = { 0 };
	char path[TI_ERROR_TEXT * 2];

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	ti_error_set(&e, -EIO, "%s", path);
	assert_int_equal(strlen(e.text), TI_ERROR_TEXT - 1);
}

static void every_cause_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int a = TI_CAUSE_NONE; a <= TI_CAUSE_INTERNAL; a++) {
		assert_true(strlen(ti_cause_name((enum ti_cause)a)) > 0);
		assert_string_not_equal(ti_cause_name((enum ti_cause)a), "unknown cause");
		for (int b = TI_CAUSE_NONE; b < a; b++)
			assert_string_not_equal(ti_cause_name((enum ti_cause)a),
						ti_cause_name((enum ti_cause)b));
	}
	assert_string_equal(ti_cause_name(TI_CAUSE_TAG_MISMATCH), "tag mismatch");
	assert_string_equal(ti_cause_name((enum ti_cause)99), "unknown cause");
}

struct heard {
	unsigned lines;
	enum ti_log_level level;
	char text[4096];
};

static void hear(void *ctx, enum ti_log_level level, const char *text)
{
	struct heard *h = ctx;

	h->lines++;
	h->level = level;
	assert_true(strlen(text) < sizeof(h->text));
	strcpy(h->text, text);
}

static void line_carries_level_name_and_text(void **state)
{
	struct heard h = { 0 };
	struct ti_log log = { .line = hear, .ctx = &h, .lun = "disk1" };

	(void)state;
	ti_log(&log, TI_LOG_WARN, "slow flush ms=%d", 40);
	assert_int_equal(h.lines, 1);
	assert_int_equal(h.level, TI_LOG_WARN);
	assert_string_equal(h.text, "disk1: slow flush ms=40");

	log.lun = NULL;
	ti_log(&log, TI_LOG_INFO, "opened");
	assert_int_equal(h.level, TI_LOG_INFO);
	assert_string_equal(h.text, "opened");
}

static void nobody_listening_is_fine(void **state)
{
	struct ti_log silent = { 0 };

	(void)state;
	ti_log(NULL, TI_LOG_ERR, "lost %d", 1);
	ti_log(&silent, TI_LOG_ERR, "lost %d", 2);
}

static void long_lines_and_names_are_cut(void **state)
{
	struct heard h = { 0 };
	char longest[3000];
	struct ti_log log = { .line = hear, .ctx = &h, .lun = longest };

	(void)state;
	memset(longest, 'n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	/* A name that leaves no room is left out: the event matters more. */
	ti_log(&log, TI_LOG_ERR, "flush failed");
	assert_string_equal(h.text, "flush failed");

	log.lun = "a";
	ti_log(&log, TI_LOG_ERR, "%s", longest);
	assert_true(strlen(h.text) < sizeof(longest));
	assert_memory_equal(h.text, "a: nnnn", 7);
}

static void burst_passes_and_the_rest_is_counted(void **state)
{
	struct ti_ratelimit rl = { 0 };
	uint64_t now = 77;

	(void)state;
	for (int i = 0; i < TI_RATELIMIT_BURST; i++)
		assert_int_equal(ti_ratelimit(&rl, now + (uint64_t)i), 0);
	for (int i = 0; i < 25; i++)
		assert_int_equal(ti_ratelimit(&rl, now + 100), -1);
	assert_int_equal(ti_ratelimit(&rl, now + TI_RATELIMIT_NS - 1), -1);
	/* A new window: the first line tells how many were left out, the second none. */
	assert_int_equal(ti_ratelimit(&rl, now + TI_RATELIMIT_NS), 26);
	assert_int_equal(ti_ratelimit(&rl, now + TI_RATELIMIT_NS), 0);
}

static void window_begins_with_its_first_line(void **state)
{
	struct ti_ratelimit rl = { 0 };
	uint64_t now = 3 * TI_RATELIMIT_NS;

	(void)state;
	for (int i = 0; i < TI_RATELIMIT_BURST; i++)
		assert_int_equal(ti_ratelimit(&rl, now), 0);
	assert_int_equal(ti_ratelimit(&rl, now + TI_RATELIMIT_NS / 2), -1);
	assert_int_equal(ti_ratelimit(&rl, now + TI_RATELIMIT_NS), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_sentence_wins),
		cmocka_unit_test(code_is_returned_without_an_error_object),
		cmocka_unit_test(sentence_that_is_too_long_is_cut_and_terminated),
		cmocka_unit_test(every_cause_has_a_name_of_its_own),
		cmocka_unit_test(line_carries_level_name_and_text),
		cmocka_unit_test(nobody_listening_is_fine),
		cmocka_unit_test(long_lines_and_names_are_cut),
		cmocka_unit_test(burst_passes_and_the_rest_is_counted),
		cmocka_unit_test(window_begins_with_its_first_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
