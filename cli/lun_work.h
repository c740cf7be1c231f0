/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Work that a LUN does in the background, seen from outside: a scrub, a recalculation.
 */
#ifndef CLI_LUN_WORK_H
#define CLI_LUN_WORK_H

#include "bus.h"

struct lun_work {
	const char *title; /* of the progress bar */
	bool (*runs)(const struct bus_lun *lun);
	bool (*unknown)(const struct bus_lun *lun); /* a new tcmu-runner has not taken it up yet */
	const char *done, *end;			    /* properties, in sectors */
};

/** The LUN of this name as it is now, or NULL with a sentence.  *@luns owns it, and is replaced. */
const struct bus_lun *lun_look(GDBusConnection *bus, const char *name, GPtrArray **luns,
			       struct ti_error *error);

/**
 * Wait until the work ends or SIGINT or SIGTERM comes, with a progress bar unless @quiet.  @lun and
 * the result are as of lun_look().  The work outlives tcmu-runner, the bus, and the LUN's start: so
 * does the wait, for some time, and says on stderr what it waits for; *@bus may be replaced.
 */
const struct bus_lun *lun_wait(GDBusConnection **bus, const struct lun_work *work, bool quiet,
			       const char *name, const struct bus_lun *lun, GPtrArray **luns,
			       struct ti_error *error);

/** The exit code for @error, which this tells on stderr and, with @json, on stdout. */
int lun_work_failed(bool json, const struct ti_error *error);

/** Options of the D-Bus methods that begin work; @rate in bytes per second, 0: not given. */
GVariant *lun_work_options(uint64_t rate, bool restart);

#endif
