/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Our lines in tcmu-runner's log.
 *
 * The runner has 255 bytes for a message with what it puts in front of it.  What is longer is
 * written as several lines, broken at blanks; each but the last ends in "...", and each but the
 * first begins so.
 *
 * libtcmu writes to the log's file in the thread that calls it, under a lock that all LUNs share.
 * So these functions block for as long as that file does, and whoever is on the way of a request
 * says what he has to say with log_ring.h.
 */
#ifndef TI_SAY_H
#define TI_SAY_H

#include "backstore.h"
#include "log.h"

struct tcmu_device;

/** @dev may be NULL: not about one LUN.  Blocks.  No thread that serves I/O. */
void ti_say(struct tcmu_device *dev, enum ti_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** Who speaks.  It is not the device, which may be gone when a line gets its turn. */
struct ti_voice {
	char lun[sizeof("integrity/: ") + TI_BACKSTORE_NAME]; /* in front of each line; or "" */
};

/** Asks the kernel for the LUN's name.  @dev as for ti_say().  Any thread. */
struct ti_voice ti_say_voice(struct tcmu_device *dev);

/** Write one line, whose control characters become question marks: what is said may have been
 *  somebody's input, and a line of his own is not for him to have.  Blocks. */
void ti_say_line(const struct ti_voice *voice, enum ti_log_level level, char *text);

#endif
