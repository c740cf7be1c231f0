/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See world_doubt.h. */
#include "world_doubt.h"

#include "superblock.h"

/* The size of bits that an open in mode bitmap wants. */
static unsigned wanted(const struct world *w, const struct ti_superblock *sb,
		       const struct ti_lun_options *options)
{
	if (options->sectors_per_bit == 0)
		return sb->log2_blocks_per_bitmap_bit;
	return ti_geometry_bitmap_granularity(&w->geo, options->sectors_per_bit);
}

struct doubt {
	const uint8_t *bits; /* NULL: all blocks from @first on */
	unsigned log2_blocks;
	uint64_t first;
};

static struct doubt dirty_bitmap(const struct world *w, const struct ti_superblock *sb,
				 const struct ti_lun_options *options, const uint8_t *bits)
{
	unsigned log2 = sb->log2_blocks_per_bitmap_bit;
	struct doubt all = { .first = 0 }, d = { .bits = bits, .log2_blocks = log2 };
	uint64_t regions;

	/* Bits of a size that is not known, or that is to be another one, say nothing. */
	if (log2 >= 32 || !ti_geometry_bitmap_fits(&w->geo, log2) ||
	    wanted(w, sb, options) != log2 || options->reset_recalculate)
		return all;
	regions = ((w->geo.provided_blocks - 1) >> log2) + 1;
	for (uint64_t i = 0; i < regions; i++)
		if (bits[i / 8] >> i % 8 & 1)
			return d;
	/* Nothing is dirty: then recalc_sector counts. */
	all.first = UINT64_MAX;
	if (ti_superblock_recalculating(sb))
		all.first = sb->recalc_sector / w->geo.sectors_per_block;
	return all;
}

static struct doubt find(const struct world *w, const struct ti_superblock *sb,
			 const struct ti_lun_options *options, const uint8_t *bits)
{
	struct doubt d = { .first = UINT64_MAX };

	if (sb->flags & TI_SB_DIRTY_BITMAP)
		return dirty_bitmap(w, sb, options, bits);
	if (options->reset_recalculate ||
	    (options->recalculate && !(sb->flags & TI_SB_RECALCULATING)))
		d.first = 0;
	else if (ti_superblock_recalculating(sb))
		d.first = sb->recalc_sector / w->geo.sectors_per_block;
	return d;
}

bool world_doubt(const struct world *w, struct sim_queue *sim, const struct ti_lun_options *options,
		 bool *doubt)
{
	const uint8_t *meta = sim_contents(sim, TI_META);
	struct ti_superblock sb;
	struct ti_error error = { 0 };
	struct doubt d;
	bool any = false;

	if (ti_superblock_parse(meta + w->geo.start_sector * TI_SECTOR_BYTES, "sim-meta", &sb,
				&error) != 0)
		violation("%s", error.text);
	d = find(w, &sb, options, meta + w->geo.journal_offset);
	for (uint32_t n = 0; n < w->model.blocks; n++) {
		uint32_t region = n >> d.log2_blocks;

		doubt[n] = d.bits != NULL ? d.bits[region / 8] >> region % 8 & 1 : n >= d.first;
		any |= doubt[n];
	}
	return any;
}
