/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Sizes and times as people read them.
 */
#ifndef CLI_UNITS_H
#define CLI_UNITS_H

#include <stdint.h>

/** Room for either. */
struct units_text {
	char text[32];
};

/** "512 bytes", "64.0 MiB", "1.5 TiB": powers of 1024. */
struct units_text units_size(uint64_t bytes);

/** "0:08", "12:34", "1:02:03", "3 days": hours, minutes, seconds. */
struct units_text units_time(uint64_t seconds);

#endif
