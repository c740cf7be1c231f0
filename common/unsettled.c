/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See unsettled.h. */
#include "unsettled.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bits.h"
#include "memory.h"

#define LOAD_BYTES (1U << 20)

int ti_unsettled_load(struct ti_queue *q, const struct ti_superblock *sb,
		      const struct ti_geometry *geo, struct ti_unsettled *u, struct ti_error *error)
{
	unsigned log2 = sb->log2_blocks_per_bitmap_bit;
	bool locked;
	int err = 0;

	*u = (struct ti_unsettled){ .from_block = UINT64_MAX };
	if (!(sb->flags & TI_SB_DIRTY_BITMAP)) {
		if (ti_superblock_recalculating(sb))
			u->from_block = sb->recalc_sector / geo->sectors_per_block;
		return 0;
	}
	if (!ti_geometry_bitmap_fits(geo, log2)) {
		u->from_block = 0; /* what lies there is no bitmap: everything is dirty */
		return 0;
	}
	u->log2_blocks = log2;
	u->regions = ti_bits_needed(geo, log2);
	u->map_bytes = ti_bits_bytes(u->regions);
	u->map = ti_memory_get(u->map_bytes, &locked);
	if (u->map == NULL)
		return ti_error_set(error, -ENOMEM, "out of memory for the dirty bitmap");
	for (size_t at = 0; at < u->map_bytes && err == 0; at += LOAD_BYTES) {
		size_t len = u->map_bytes - at < LOAD_BYTES ? u->map_bytes - at : LOAD_BYTES;

		err = ti_queue_sync(q, TI_IO_READ, TI_META, geo->journal_offset + at, u->map + at,
				    len);
	}
	if (err != 0) {
		ti_unsettled_free(u);
		return ti_error_set(error, err,
				    "cannot read the dirty bitmap of %s at sector %" PRIu64 ": %s",
				    q->dev[TI_META].name, geo->journal_offset / TI_SECTOR_BYTES,
				    strerror(-err));
	}
	u->dirty = ti_bits_count(u->map, u->regions);
	return 0;
}

void ti_unsettled_free(struct ti_unsettled *u)
{
	ti_memory_put(u->map, u->map_bytes);
	u->map = NULL;
}

bool ti_unsettled_has(const struct ti_unsettled *u, uint64_t block)
{
	if (u->map != NULL)
		return ti_bit(u->map, block >> u->log2_blocks);
	return block >= u->from_block;
}
