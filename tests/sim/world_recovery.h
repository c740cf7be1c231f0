/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Mode recovery in a world: a pair that a crash has left is opened in it before it is mended.
 *
 * What mode recovery promises needs no model: each block is what the data device holds, whatever
 * tags, journal and bitmap say; no tag is read; nothing is written, not by the open, not by the
 * close, and a predecessor's store is left alone.
 */
#ifndef WORLD_RECOVERY_H
#define WORLD_RECOVERY_H

#include "world.h"

/* Open a copy of @sim, at which nothing is under way, and judge it.  @seed: decides what is asked
 * for besides.  Neither the world nor @sim notices. */
void world_recovery(const struct world *w, struct sim_queue *sim, const char *store, uint64_t seed);

#endif
