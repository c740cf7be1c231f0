/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See world_crew.h. */
#include "world_crew.h"

static void chance(void *ctx, struct ti_hash_crew *crew)
{
	struct world_crew *c = ctx;

	while (sim_chance(&c->random, 55))
		(void)ti_hash_helper_step(crew, (unsigned)sim_below(&c->random, c->helpers));
}

void world_crew_begin(struct world_crew *crew, const struct world_shape *shape)
{
	crew->script = (struct ti_hash_crew_script){ .chance = chance, .ctx = crew };
	crew->random.state = shape->blocks;
	crew->helpers = shape->helpers;
}

void world_crew_options(const struct world_crew *crew, const struct world_shape *shape,
			struct ti_hash_crew_options *options)
{
	options->helpers = crew->helpers;
	options->piece_bytes = shape->block_size;
	options->share_bytes = 2 * (size_t)shape->block_size;
	options->script = &crew->script;
}
