/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What a metadata device says of the tags on it: which blocks does nobody vouch for?
 *
 * Read from the image itself, by the format's rules and not by the engine's code that opens it: a
 * dirty bitmap's bits, or RECALCULATING with recalc_sector.
 */
#ifndef WORLD_DOUBT_H
#define WORLD_DOUBT_H

#include "world.h"

/* @doubt[block], as an open with @options finds it, which may ask for all tags to be made anew.
 * Returns whether there is any. */
bool world_doubt(const struct world *w, struct sim_queue *sim, const struct ti_lun_options *options,
		 bool *doubt);

#endif
