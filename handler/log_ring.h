/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The way of a disk's lines to tcmu-runner's log: a ring of bounded size, and a thread that writes.
 *
 * libtcmu writes to a file in the caller's thread (say.h), and a file system may hang: because its
 * disk does, because somebody has frozen it, because it lies on this very LUN.  A read must not
 * hang with it, nor the monitor, nor the runner's main thread.  So who has something to say copies
 * it into the ring, all of whose memory is taken at open.  The lock is held for that copy, on both
 * sides.  When the ring is full the newest lines are left out, and a line in their place says how
 * many.  A line that is written late says when it was said.
 *
 * The ring outlives its disk if the log hangs while that is closed: the thread goes on by itself,
 * and frees the ring when all has been written.
 */
#ifndef TI_LOG_RING_H
#define TI_LOG_RING_H

#include <stdbool.h>

#include "log.h"

struct tcmu_device;
struct ti_log_ring;

/** Lines that wait. */
#define TI_LOG_RING_LINES 64U

/**
 * A ring for the lines of @dev, which is asked for its name and not needed again.  *@locked becomes
 * false if its memory could not be locked.  Returns 0 or negative errno.
 */
int ti_log_ring_open(struct tcmu_device *dev, bool *locked, struct ti_log_ring **ring);

/** Wait until all lines have been written, but no longer than two seconds: those that are left then
 *  are written when the log takes them.  Nobody puts in any more.  @ring may be NULL. */
void ti_log_ring_close(struct ti_log_ring *ring);

/** For struct ti_log; @ring is a struct ti_log_ring.  Any thread.  io path. */
void ti_log_ring_line(void *ring, enum ti_log_level level, const char *text);

/** Likewise.  What is longer than TI_LOG_LINE is cut.  Any thread.  io path. */
void ti_log_ring_say(struct ti_log_ring *ring, enum ti_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
