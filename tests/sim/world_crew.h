/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Helpers for the digest, in worlds: they do their steps when the dice say so, often too late.
 */
#ifndef WORLD_CREW_H
#define WORLD_CREW_H

#include "hash_crew.h"
#include "sim_queue.h"
#include "world_schedule.h"

struct world_crew {
	struct ti_hash_crew_script script;
	struct sim_random random; /* its own: what else happens stays as it is */
	unsigned helpers;
};

void world_crew_begin(struct world_crew *crew, const struct world_shape *shape);

/* What the shape says of helpers goes into the options of an open. */
void world_crew_options(const struct world_crew *crew, const struct world_shape *shape,
			struct ti_hash_crew_options *options);

#endif
