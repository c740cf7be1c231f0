/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Where a scrub is, and at what rate a recalculation was asked for: kept over the end of
 * tcmu-runner and of the machine in a key file for each LUN, pair and pair of devices: nothing
 * keeps two backstores from having one name, or two pairs, one of which is a copy, from looking the
 * same.
 *
 * It lies beside the pair, not in it: dm-integrity's format has no place for it, and nothing of the
 * pair depends on it.  A file that is lost, or of another pair, costs a scrub its beginning.
 */
#ifndef TI_SCRUB_STATE_H
#define TI_SCRUB_STATE_H

#include <stdbool.h>

#include "scrub_report.h"

#define TI_SCRUB_STATE_DIR "/var/lib/tcmu-integrity/scrub"

struct ti_scrub_saved {
	uint64_t pair;	  /* ti_lun_fingerprint() */
	uint64_t devices; /* ti_device_identity() */
	struct ti_scrub_report report;
	uint64_t started, ended; /* seconds since 1970; 0: not */
	/* A recalculation that was asked for is under way, at so many bytes per second at most. */
	bool recalculating;
	uint64_t recalc_rate;
};

/**
 * Write it into DIR/NAME.PAIR-DEVICES.state, which is replaced as a whole; the directory is made if
 * need be.  Blocks: not on the main thread.  Returns 0 or negative errno.
 */
int ti_scrub_state_save(const char *dir, const char *name, const struct ti_scrub_saved *saved);

/**
 * Read it.  If there is none, a file of an earlier version, NAME.PAIR.state or NAME.state, gets its
 * name if it is of this pair.  Blocks.  Returns 0; -ENOENT if there is none; -EINVAL if it makes no
 * sense; -ESTALE if it is of another pair than saved->pair, which is set by the caller, as is
 * saved->devices.
 */
int ti_scrub_state_load(const char *dir, const char *name, struct ti_scrub_saved *saved);

#endif
