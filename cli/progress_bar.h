/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * One line on a terminal that tells how far long work is, how fast, and when it will be done.
 *
 * It goes to stderr, and only if that is a terminal.  It also is where SIGINT stops the work.
 */
#ifndef CLI_PROGRESS_BAR_H
#define CLI_PROGRESS_BAR_H

#include <stdbool.h>
#include <stdint.h>

#include "progress.h"

struct progress_bar {
	const char *label; /* what is being done, one word */
	bool visible;
	bool drawn;
	uint64_t start_ns;
	uint64_t last_ns; /* when it was drawn */
	uint64_t base;	  /* what had been done when it was drawn first */
};

/** Begin; @wanted is false in batch mode.  Signals that stop the work are caught from here on. */
struct ti_progress progress_bar_begin(struct progress_bar *bar, const char *label, bool wanted);

/** Take the line off the screen. */
void progress_bar_end(struct progress_bar *bar);

/** Seconds since the beginning. */
double progress_bar_seconds(const struct progress_bar *bar);

#endif
