/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
#include "memory_search.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define AREAS 512U

struct area {
	const uint8_t *start, *end;
	bool dumped;
};

/* It is nowhere in memory as a whole: each byte is made when it is compared. */
static bool holds(const uint8_t *p, const uint8_t *end, uint8_t first, uint8_t step)
{
	static const uint8_t pads[] = { 0, 0x36, 0x5c };

	for (size_t pad = 0; pad < sizeof(pads); pad++) {
		const uint8_t *at = p, begin = first ^ pads[pad];

		for (; at + 8 <= end && (at = memchr(at, begin, (size_t)(end - at) - 7)); at++) {
			unsigned i = 1;

			while (i < 8 && (uint8_t)(at[i] ^ pads[pad]) == (uint8_t)(first + i * step))
				i++;
			if (i == 8)
				return true;
		}
	}
	return false;
}

bool bytes_hold_a_run(const uint8_t *p, size_t len, uint8_t step)
{
	static const uint8_t pads[] = { 0, 0x36, 0x5c };
	const uint8_t steps[] = { step, (uint8_t)-step };

	for (size_t at = 0; at + 8 <= len; at++)
		for (unsigned v = 0; v < 6; v++) {
			uint8_t pad = pads[v / 2], by = steps[v % 2];
			unsigned i = 1;

			while (i < 8 && (uint8_t)((p[at + i] ^ pad) - (p[at + i - 1] ^ pad)) == by)
				i++;
			if (i == 8)
				return true;
		}
	return false;
}

static bool holds_inverse(const uint8_t *p, const uint8_t *end, const uint8_t *inverted)
{
	const uint8_t begin = inverted[0] ^ 0xff;

	for (; p + 8 <= end && (p = memchr(p, begin, (size_t)(end - p) - 7)); p++) {
		unsigned i = 1;

		while (i < 8 && (p[i] ^ inverted[i]) == 0xff)
			i++;
		if (i == 8)
			return true;
	}
	return false;
}

static size_t find_areas(struct area *area, size_t room)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	bool wanted = false;
	char line[512];
	size_t n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		uintptr_t start, end;
		char flags[5];

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &start, &end, flags) == 3) {
			wanted = !strncmp(flags, "rw-p", 4) && !strstr(line, "[v");
			if (!wanted)
				continue;
			assert_true(n < room);
			area[n++] =
				(struct area){ (const uint8_t *)start, (const uint8_t *)end, true };
		} else if (wanted && !strncmp(line, "VmFlags:", 8)) {
			area[n - 1].dumped = !strstr(line, " dd");
		}
	}
	fclose(f);
	return n;
}

unsigned memory_holds(uint8_t first, uint8_t step, bool only_dumped)
{
	static struct area area[AREAS];
	size_t n = find_areas(area, AREAS);
	unsigned found = 0;

	for (size_t i = 0; i < n; i++)
		if ((!only_dumped || area[i].dumped) &&
		    holds(area[i].start, area[i].end, first, step))
			found++;
	return found;
}

unsigned memory_holds_inverse(const uint8_t *inverted)
{
	static struct area area[AREAS];
	size_t n = find_areas(area, AREAS);
	unsigned found = 0;

	for (size_t i = 0; i < n; i++)
		found += holds_inverse(area[i].start, area[i].end, inverted);
	return found;
}

size_t memory_not_dumped(void)
{
	static struct area area[AREAS];
	size_t n = find_areas(area, AREAS), bytes = 0;

	for (size_t i = 0; i < n; i++)
		if (!area[i].dumped)
			bytes += (size_t)(area[i].end - area[i].start);
	return bytes;
}
