/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Which blocks of a pair at rest have tags that nobody vouches for: those of a dirty bitmap's
 * regions, those that a recalculation has not reached.
 */
#ifndef TI_UNSETTLED_H
#define TI_UNSETTLED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockdev.h"
#include "error.h"
#include "geometry.h"
#include "superblock.h"

struct ti_unsettled {
	uint64_t from_block; /* without a map: every block from here on; UINT64_MAX: none */
	uint8_t *map;	     /* or the dirty regions', if there is one */
	size_t map_bytes;
	unsigned log2_blocks;
	uint64_t regions, dirty; /* of the map */
};

/** Look.  Blocks; writes nothing.  Returns 0, -ENOMEM, or what the metadata device said. */
int ti_unsettled_load(struct ti_queue *q, const struct ti_superblock *sb,
		      const struct ti_geometry *geo, struct ti_unsettled *u,
		      struct ti_error *error);
void ti_unsettled_free(struct ti_unsettled *u);

static inline bool ti_unsettled_any(const struct ti_unsettled *u)
{
	return u->map != NULL ? u->dirty > 0 : u->from_block != UINT64_MAX;
}

bool ti_unsettled_has(const struct ti_unsettled *u, uint64_t block);

#endif
