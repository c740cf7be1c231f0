/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What is left of a scrub's bad places when some of it has been mended: compared with a map that
 * has a mark for each sector.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "scrub_report.h"

#define SECTORS 4000U

/* Every @step sectors a place of @length. */
static struct ti_scrub_report report_with(uint64_t step, uint64_t length)
{
	struct ti_scrub_report r = { .state = TI_SCRUB_FINISHED,
				     .sector = SECTORS,
				     .end = SECTORS };

	for (uint64_t at = 0; at + step <= SECTORS; at += step) {
		enum ti_scrub_kind kind = (enum ti_scrub_kind)(at / step % TI_SCRUB_KINDS);

		r.bad_sectors[kind] += length;
		r.ranges++;
		if (r.listed < TI_SCRUB_BAD_MAX)
			r.bad[r.listed++] = (struct ti_scrub_bad){ at, length, kind };
	}
	return r;
}

/* Marks what is listed with its kind + 1. */
static void draw(const struct ti_scrub_report *r, uint8_t *map)
{
	memset(map, 0, SECTORS);
	for (uint32_t i = 0; i < r->listed; i++) {
		const struct ti_scrub_bad *bad = &r->bad[i];

		assert_true(bad->sectors > 0);
		assert_true(i == 0 || bad->sector >= bad[-1].sector + bad[-1].sectors);
		assert_true(bad->sector + bad->sectors <= SECTORS);
		memset(map + bad->sector, (int)bad->kind + 1, bad->sectors);
	}
}

static void whatever_is_mended_goes_and_nothing_else(void **state)
{
	uint8_t wanted[SECTORS], is[SECTORS];
	uint32_t seed = 12345;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		struct ti_scrub_report r = report_with(70 + round, 30);
		uint64_t all = ti_scrub_all_bad(&r);

		assert_int_equal(r.ranges, r.listed);
		draw(&r, wanted);
		for (unsigned i = 0; i < 40; i++) {
			uint64_t sector, sectors, left = 0;

			seed = seed * 1664525 + 1013904223;
			sector = (seed >> 8) % SECTORS;
			sectors = 1 + (seed >> 4) % 60;
			if (sector + sectors > SECTORS)
				sectors = SECTORS - sector;
			ti_scrub_mend(&r, sector, sectors);
			memset(wanted + sector, 0, sectors);
			draw(&r, is);
			assert_memory_equal(is, wanted, SECTORS);
			for (unsigned s = 0; s < SECTORS; s++)
				left += is[s] != 0;
			assert_int_equal(ti_scrub_all_bad(&r), left);
			assert_int_equal(r.mended_sectors, all - left);
			assert_int_equal(r.ranges, r.listed);
		}
	}
}

/* 500 places, 128 of them listed. */
static void full_list_loses_its_last_place_for_one_that_becomes_two(void **state)
{
	struct ti_scrub_report r = report_with(8, 4);

	(void)state;
	ti_scrub_mend(&r, 1, 1);
	assert_int_equal(r.listed, TI_SCRUB_BAD_MAX);
	assert_int_equal(r.ranges, 501);
	assert_int_equal(r.bad[0].sectors, 1);
	assert_int_equal(r.bad[1].sector, 2);
	assert_int_equal(r.bad[1].sectors, 2);
	assert_int_equal(r.bad[2].sector, 8);
	assert_int_equal(r.bad[127].sector, 126 * 8);
	/* The last of all: its second half is the one that is not listed. */
	ti_scrub_mend(&r, 126 * 8 + 1, 1);
	assert_int_equal(r.listed, TI_SCRUB_BAD_MAX);
	assert_int_equal(r.ranges, 502);
	assert_int_equal(r.bad[127].sectors, 1);
	assert_int_equal(ti_scrub_all_bad(&r), 2000 - 2);
}

static void places_that_are_not_listed_are_mended_by_all_sectors_at_once(void **state)
{
	struct ti_scrub_report r = report_with(8, 4);

	(void)state;
	ti_scrub_mend(&r, 0, SECTORS - 1);
	assert_int_equal(r.listed, 0);
	assert_int_equal(r.ranges, 500 - 128);
	assert_int_equal(r.mended_sectors, 4 * 128);
	ti_scrub_mend(&r, 1, SECTORS - 1);
	assert_int_equal(r.ranges, 500 - 128);
	ti_scrub_mend(&r, 0, SECTORS);
	assert_int_equal(r.ranges, 0);
	assert_int_equal(ti_scrub_all_bad(&r), 0);
	assert_int_equal(r.mended_sectors, 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_is_mended_goes_and_nothing_else),
		cmocka_unit_test(full_list_loses_its_last_place_for_one_that_becomes_two),
		cmocka_unit_test(places_that_are_not_listed_are_mended_by_all_sectors_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
