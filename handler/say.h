/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Our lines in tcmu-runner's log.
 *
 * The runner puts file, line and the LUN's name before each message and cuts everything off at 255
 * bytes, so a long sentence is written as several lines; each but the last ends in "...".
 */
#ifndef TI_SAY_H
#define TI_SAY_H

#include "log.h"

struct tcmu_device;

/** @dev may be NULL: not about one LUN.  Any thread. */
void ti_say(struct tcmu_device *dev, enum ti_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** The engine's log for a LUN, to be passed as struct ti_log.line with the device as ctx. */
void ti_say_line(void *dev, enum ti_log_level level, const char *text);

#endif
