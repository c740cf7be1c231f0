/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* What must hold for a geometry, wherever it came from. */
#ifndef TI_FUZZ_CHECK_GEOMETRY_H
#define TI_FUZZ_CHECK_GEOMETRY_H

#include "fuzz_input.h"
#include "geometry.h"

static inline void check_geometry(const struct ti_superblock *sb, const struct ti_pair_sizes *sizes,
				  const struct ti_geometry *geo)
{
	uint64_t meta_end;

	FUZZ_MUST(geo->block_size == geo->sectors_per_block * TI_SECTOR_BYTES);
	FUZZ_MUST(geo->block_size >= 512 && geo->block_size <= 4096);
	FUZZ_MUST(geo->tag_size >= 1 && geo->tag_size <= TI_MAX_TAG_SIZE);
	FUZZ_MUST(geo->provided_sectors == sb->provided_sectors);
	FUZZ_MUST(geo->provided_blocks * geo->sectors_per_block == geo->provided_sectors);
	FUZZ_MUST(geo->provided_sectors <= sizes->data_sectors);
	FUZZ_MUST(geo->provided_sectors <= INT64_MAX / TI_SECTOR_BYTES);

	FUZZ_MUST(geo->journal_sections == sb->journal_sections && geo->journal_sections);
	FUZZ_MUST(geo->entries_per_sector * geo->entry_size <= 504);
	FUZZ_MUST(geo->section_entries && geo->section_sectors % 8 == 0);

	/* Superblock, journal and tags follow each other and end inside the device. */
	FUZZ_MUST(geo->journal_offset == (geo->start_sector + 8) * TI_SECTOR_BYTES);
	FUZZ_MUST(geo->tag_offset == geo->journal_offset + geo->journal_bytes);
	FUZZ_MUST(geo->tag_offset == (geo->start_sector + geo->initial_sectors) * TI_SECTOR_BYTES);
	FUZZ_MUST(geo->tag_bytes == geo->provided_blocks * geo->tag_size);
	FUZZ_MUST(geo->tag_offset < INT64_MAX && geo->tag_bytes < INT64_MAX);
	meta_end = geo->tag_offset + geo->tag_bytes;
	FUZZ_MUST(meta_end <= INT64_MAX);
	FUZZ_MUST((meta_end + TI_SECTOR_BYTES - 1) / TI_SECTOR_BYTES <= sizes->meta_sectors);
	FUZZ_MUST(geo->log2_buffer_sectors <= 22);
}

#endif
