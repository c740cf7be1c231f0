/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See sim_format.h. */
#include "sim_format.h"

#include <string.h>

#include "hash.h"
#include "journal_format.h"

void sim_format(struct sim_queue *sim, const struct ti_superblock *sb,
		const struct ti_geometry *geo)
{
	uint8_t *meta = sim_contents(sim, TI_META), zero[4096] = { 0 };
	struct ti_hash hash;

	for (uint32_t i = 0; i < geo->journal_sections; i++)
		ti_journal_format_section(
			geo, i, 0, meta + geo->journal_offset + i * ti_journal_section_bytes(geo));
	ti_superblock_write(sb, meta + geo->start_sector * TI_SECTOR_BYTES);
	if (sb->flags & TI_SB_RECALCULATING) {
		/* Nobody has written any. */
		memset(meta + geo->tag_offset, 0x5a, geo->tag_bytes);
		sim_settle(sim, TI_META);
		return;
	}
	ti_hash_init(&hash, &ti_hash_crc32c, geo->block_size, geo->tag_size,
		     sb->flags & TI_SB_FIXED_HMAC ? sb->salt : NULL);
	ti_hash_same(&hash, 0, zero, geo->provided_blocks, meta + geo->tag_offset);
	ti_hash_destroy(&hash);
	sim_settle(sim, TI_DATA);
	sim_settle(sim, TI_META);
}
