/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Sizes and times as people read them.
 */
#include "units.h"

#include <inttypes.h>
#include <stdio.h>

#define SECONDS_PER_DAY 86400

struct units_text units_size(uint64_t bytes)
{
	static const char *const unit[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	struct units_text out;
	double value = (double)bytes / 1024;
	unsigned i = 0;

	if (bytes < 1024) {
		snprintf(out.text, sizeof(out.text), "%" PRIu64 " bytes", bytes);
		return out;
	}
	/* 1023.95 and more would be printed as 1024.0. */
	while (value >= 1023.95 && i + 1 < sizeof(unit) / sizeof(unit[0])) {
		value /= 1024;
		i++;
	}
	snprintf(out.text, sizeof(out.text), "%.1f %s", value, unit[i]);
	return out;
}

struct units_text units_time(uint64_t seconds)
{
	struct units_text out;

	if (seconds >= 2 * SECONDS_PER_DAY)
		snprintf(out.text, sizeof(out.text), "%" PRIu64 " days", seconds / SECONDS_PER_DAY);
	else if (seconds >= 3600)
		snprintf(out.text, sizeof(out.text), "%u:%02u:%02u", (unsigned)(seconds / 3600),
			 (unsigned)(seconds / 60 % 60), (unsigned)(seconds % 60));
	else
		snprintf(out.text, sizeof(out.text), "%u:%02u", (unsigned)(seconds / 60),
			 (unsigned)(seconds % 60));
	return out;
}
