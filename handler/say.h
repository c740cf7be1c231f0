/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Our lines in tcmu-runner's log.
 *
 * The runner has 255 bytes for a message with what it puts in front of it: function, line, and the
 * LUN's name.  What is longer is written as several lines, broken at blanks; each but the last ends
 * in "...", and each but the first begins so.
 */
#ifndef TI_SAY_H
#define TI_SAY_H

#include <stddef.h>

#include "log.h"

struct tcmu_device;

/** @dev may be NULL: not about one LUN.  Any thread. */
void ti_say(struct tcmu_device *dev, enum ti_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** Who speaks: a LUN, and how much fits into one of its lines. */
struct ti_voice {
	struct tcmu_device *dev;
	size_t room;
};

/** Asks the kernel for the LUN's name.  Any thread. */
struct ti_voice ti_say_voice(struct tcmu_device *dev);

/** The engine's log for a LUN, to be passed as struct ti_log.line with its voice as ctx.  io path.
 */
void ti_say_line(void *voice, enum ti_log_level level, const char *text);

#endif
