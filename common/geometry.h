/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Where everything lies on a metadata device, computed from the superblock and the two sizes.
 *
 *     start                      superblock, 8 sectors
 *     start + 8                  journal: sections * section_sectors
 *     start + initial_sectors    tags, packed: block b's tag is at byte b * tag_size
 *
 * The data device holds the LUN's blocks one to one.  (Format: devices; sizes.)
 */
#ifndef TI_GEOMETRY_H
#define TI_GEOMETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "superblock.h"

#define TI_SECTOR_SHIFT 9
#define TI_SECTOR_BYTES 512U

/** dm-integrity's default for buffer_sectors; it only shapes the fit test. */
#define TI_DEFAULT_BUFFER_SECTORS 128U

/** Largest tag that a kernel accepts (6.1: 255). */
#define TI_MAX_TAG_SIZE 255U

struct ti_geometry {
	uint32_t block_size;	    /* bytes: 512, 1024, 2048 or 4096 */
	uint32_t sectors_per_block; /* 1, 2, 4 or 8 */
	uint32_t tag_size;	    /* bytes */
	uint64_t provided_sectors;  /* what the LUN may offer at most */
	uint64_t provided_blocks;
	uint64_t start_sector; /* of the superblock on the metadata device */
	uint32_t journal_sections;
	uint32_t entry_size; /* bytes of one journal entry */
	uint32_t entries_per_sector;
	uint32_t section_entries;
	uint32_t section_sectors;
	uint64_t journal_offset; /* bytes from the metadata device's start */
	uint64_t journal_bytes;
	uint64_t initial_sectors;     /* superblock + journal */
	uint64_t tag_offset;	      /* bytes from the metadata device's start */
	uint64_t tag_bytes;	      /* provided_blocks * tag_size, not rounded */
	uint32_t log2_buffer_sectors; /* after shrinking until the tag area fits */
	uint32_t log2_blocks_per_bitmap_bit;
};

/** The sizes a geometry is computed for, in sectors, and names for messages. */
struct ti_pair_sizes {
	uint64_t data_sectors;
	uint64_t meta_sectors;
	const char *data_name;
	const char *meta_name;
};

/**
 * Compute the geometry of an existing superblock and check that everything lies within both
 * devices.  @buffer_sectors: 0 for the default.
 * Returns 0 or -EINVAL (does not fit, data device smaller than provided_data_sectors, overflow).
 */
int ti_geometry_load(const struct ti_superblock *sb, const struct ti_pair_sizes *sizes,
		     uint64_t start_sector, uint32_t buffer_sectors, struct ti_geometry *geo,
		     struct ti_error *error);

/**
 * log2 of the blocks that one bit of the bitmap stands for, if @sectors_per_bit (0: the default) is
 * asked for: more, if else the bits would not fit into the journal's place, which the bitmap takes.
 */
uint8_t ti_geometry_bitmap_granularity(const struct ti_geometry *geo, uint32_t sectors_per_bit);

/** Would a bitmap of this granularity fit into the journal's place? */
bool ti_geometry_bitmap_fits(const struct ti_geometry *geo, unsigned log2_blocks_per_bit);

/** What a new pair shall look like. */
struct ti_format_shape {
	uint32_t block_size;	  /* bytes; 0: 512 */
	uint32_t tag_size;	  /* bytes; must be set */
	uint64_t journal_sectors; /* wanted; UINT64_MAX: the kernel's default */
	uint32_t buffer_sectors;  /* 0: the default */
	uint32_t sectors_per_bit; /* bitmap granularity; 0: the default, 32768 */
	uint64_t start_sector;	  /* of the superblock */
	bool salted;		  /* fix_hmac */
	bool journal_mac;	  /* leaves room for MACs in the journal */
};

/**
 * Compute the superblock (salt left zero) and the geometry of a new pair, as the kernel would
 * choose them: the journal gets as many sections of those wanted as fit.  Returns 0 or -EINVAL.
 */
int ti_geometry_plan(const struct ti_format_shape *shape, const struct ti_pair_sizes *sizes,
		     struct ti_superblock *sb, struct ti_geometry *geo, struct ti_error *error);

#endif
