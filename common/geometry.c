/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Computing where everything lies on a metadata device.
 *
 * Two readers must come to the same numbers: the kernel's dm-integrity and this file.  So its rules
 * are followed to the letter, oddities included: the padding that is counted but not used, and a
 * buffer size that is halved until the tag area, rounded up to it, fits.  The kernel leaves the
 * start sector out of its test; here it counts as well, so that no tag lies past the device's end.
 *
 * Sizes come from the disk or from the user: every sum and product is checked for overflow.
 */
#include "geometry.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "journal_format.h"

/* What a signed 64-bit byte offset reaches. */
#define MAX_SECTORS ((uint64_t)INT64_MAX / TI_SECTOR_BYTES)

/* dm-integrity: sectors counted as padding behind the journal, though nothing is put there. */
#define PADDING_SECTORS 8U

/* Bits of a bitmap in one sector. */
#define BITS_PER_SECTOR (TI_SECTOR_BYTES * 8U)

#define MAX_LOG2_BUFFER	   22U
#define SHRUNK_LOG2_BUFFER 3U

#define DEFAULT_JOURNAL_SECTORS	     131072U
#define DEFAULT_LOG2_SECTORS_PER_BIT 15U

static uint32_t log2_floor(uint32_t v)
{
	return v ? 31U - (uint32_t)__builtin_clz(v) : 0;
}

static uint32_t log2_of_buffer(uint32_t buffer_sectors)
{
	uint32_t lb = log2_floor(buffer_sectors ? buffer_sectors : TI_DEFAULT_BUFFER_SECTORS);

	return lb < MAX_LOG2_BUFFER ? lb : MAX_LOG2_BUFFER;
}

/* What follows from block size, tag size and flags alone. */
static void shape_sections(const struct ti_superblock *sb, struct ti_geometry *geo)
{
	uint32_t space = sb->flags & TI_SB_HAVE_JOURNAL_MAC ? TI_JOURNAL_ENTRY_SPACE_MAC
							    : TI_JOURNAL_ENTRY_SPACE;
	uint32_t spb = 1U << sb->log2_sectors_per_block;
	uint32_t raw = 8 + 8 * spb + sb->tag_size;

	/* ti_superblock_parse() and check_shape() let nothing else through. */
	assert(sb->log2_sectors_per_block <= 3);
	assert(sb->tag_size && sb->tag_size <= TI_MAX_TAG_SIZE);

	geo->sectors_per_block = spb;
	geo->block_size = spb * TI_SECTOR_BYTES;
	geo->tag_size = sb->tag_size;
	geo->entry_size = (raw + 7) & ~7U;
	geo->entries_per_sector = space / geo->entry_size;
	geo->section_entries = TI_JOURNAL_META_SECTORS * geo->entries_per_sector;
	geo->section_sectors = TI_JOURNAL_META_SECTORS + geo->section_entries * spb;
}

static uint64_t initial_sectors(const struct ti_geometry *geo, uint32_t sections)
{
	return TI_SB_SECTORS + (uint64_t)geo->section_sectors * sections;
}

/* Sectors of the tag area, rounded up to whole buffers.  UINT64_MAX: no device is that large. */
static uint64_t tag_sectors(const struct ti_geometry *geo, uint32_t log2_buffer)
{
	uint64_t buffer_bytes = (uint64_t)TI_SECTOR_BYTES << log2_buffer;
	uint64_t bytes, rounded;

	if (__builtin_mul_overflow(geo->provided_blocks, (uint64_t)geo->tag_size, &bytes) ||
	    __builtin_add_overflow(bytes, buffer_bytes - 1, &rounded))
		return UINT64_MAX;
	return rounded / buffer_bytes * (buffer_bytes / TI_SECTOR_BYTES);
}

/*
 * How many sectors a metadata device must have.  UINT64_MAX: more than exist.
 * Two demands: the kernel's, which counts from 0 and in whole buffers, and our own, which counts
 * from the start sector to the last tag.
 */
static uint64_t sectors_needed(const struct ti_geometry *geo, uint32_t sections,
			       uint32_t log2_buffer, uint64_t start)
{
	uint64_t initial = initial_sectors(geo, sections);
	uint64_t padded = initial + PADDING_SECTORS + 1;
	uint64_t kernel, own;

	/* dm-integrity: the tag area's first sector is kept in 32 bits. */
	if (initial > UINT32_MAX ||
	    __builtin_add_overflow(initial, tag_sectors(geo, log2_buffer), &kernel) ||
	    __builtin_add_overflow(initial, tag_sectors(geo, 0), &own) ||
	    __builtin_add_overflow(own, start, &own))
		return UINT64_MAX;
	if (kernel < padded)
		kernel = padded;
	return kernel > own ? kernel : own;
}

static bool fits(const struct ti_geometry *geo, uint32_t sections, uint32_t log2_buffer,
		 uint64_t start, uint64_t meta_sectors)
{
	uint64_t needed = sectors_needed(geo, sections, log2_buffer, start);

	return needed <= meta_sectors && needed <= MAX_SECTORS;
}

static void set_provided(struct ti_geometry *geo, uint64_t sectors)
{
	geo->provided_blocks = sectors / geo->sectors_per_block;
	geo->provided_sectors = geo->provided_blocks * geo->sectors_per_block;
}

static int check_data_size(const struct ti_superblock *sb, const struct ti_pair_sizes *sizes,
			   struct ti_error *error)
{
	if (sb->provided_sectors > MAX_SECTORS)
		return ti_error_set(
			error, -EINVAL,
			"%s says that %" PRIu64
			" sectors are provided, more than any device holds: restore the "
			"metadata device from a copy",
			sizes->meta_name, sb->provided_sectors);
	if (sb->provided_sectors > sizes->data_sectors)
		return ti_error_set(
			error, -EINVAL,
			"data device %s has %" PRIu64 " sectors, but %s was formatted "
			"for %" PRIu64
			": give the data device that belongs to it, or enlarge this one "
			"to at least that size",
			sizes->data_name, sizes->data_sectors, sizes->meta_name,
			sb->provided_sectors);
	return 0;
}

int ti_geometry_load(const struct ti_superblock *sb, const struct ti_pair_sizes *sizes,
		     uint64_t start_sector, uint32_t buffer_sectors, struct ti_geometry *geo,
		     struct ti_error *error)
{
	uint32_t lb = log2_of_buffer(buffer_sectors);
	uint32_t sections = sb->journal_sections;
	int err = check_data_size(sb, sizes, error);

	if (err)
		return err;
	memset(geo, 0, sizeof(*geo));
	shape_sections(sb, geo);
	set_provided(geo, sb->provided_sectors);

	if (sectors_needed(geo, sections, 0, start_sector) > MAX_SECTORS)
		return ti_error_set(error, -EINVAL,
				    "metadata device %s would need more sectors than any device "
				    "holds for %" PRIu32 " journal sections behind sector %" PRIu64
				    ": restore it from a copy, or check the start sector",
				    sizes->meta_name, sections, start_sector);
	while (!fits(geo, sections, lb, start_sector, sizes->meta_sectors)) {
		if (lb <= SHRUNK_LOG2_BUFFER)
			return ti_error_set(
				error, -EINVAL,
				"metadata device %s has %" PRIu64
				" sectors, but the superblock at sector %" PRIu64 ", %" PRIu32
				" journal sections of %" PRIu32 " sectors and the tags of %" PRIu64
				" blocks need %" PRIu64
				": give the whole device that was formatted, or check the start "
				"sector",
				sizes->meta_name, sizes->meta_sectors, start_sector, sections,
				geo->section_sectors, geo->provided_blocks,
				sectors_needed(geo, sections, lb, start_sector));
		lb--;
	}

	geo->start_sector = start_sector;
	geo->journal_sections = sections;
	geo->journal_offset = (start_sector + TI_SB_SECTORS) * TI_SECTOR_BYTES;
	geo->journal_bytes = (uint64_t)geo->section_sectors * sections * TI_SECTOR_BYTES;
	geo->initial_sectors = initial_sectors(geo, sections);
	geo->tag_offset = (start_sector + geo->initial_sectors) * TI_SECTOR_BYTES;
	geo->tag_bytes = geo->provided_blocks * geo->tag_size;
	geo->log2_blocks_per_bitmap_bit = sb->log2_blocks_per_bitmap_bit;
	/* Counted from the start sector the last buffer may still reach past the end. */
	while (lb && geo->tag_offset / TI_SECTOR_BYTES + tag_sectors(geo, lb) > sizes->meta_sectors)
		lb--;
	geo->log2_buffer_sectors = lb;
	return 0;
}

static int check_shape(const struct ti_format_shape *shape, const struct ti_pair_sizes *sizes,
		       struct ti_error *error)
{
	uint32_t block = shape->block_size ? shape->block_size : TI_SECTOR_BYTES;

	if (block != 512 && block != 1024 && block != 2048 && block != 4096)
		return ti_error_set(error, -EINVAL,
				    "a block size of %" PRIu32
				    " bytes does not exist: choose 512, 1024, 2048 or 4096",
				    shape->block_size);
	if (!shape->tag_size || shape->tag_size > TI_MAX_TAG_SIZE)
		return ti_error_set(error, -EINVAL,
				    "a tag size of %" PRIu32
				    " bytes does not exist: choose 1 to %u",
				    shape->tag_size, TI_MAX_TAG_SIZE);
	/* dm-integrity: the option journal_sectors has 32 bits. */
	if (shape->journal_sectors > UINT32_MAX && shape->journal_sectors != UINT64_MAX)
		return ti_error_set(error, -EINVAL,
				    "a journal of %" PRIu64
				    " sectors of 512 bytes is too large: choose at most %" PRIu32
				    " sectors, just under 2 TiB",
				    shape->journal_sectors, UINT32_MAX);
	if (sizes->data_sectors > MAX_SECTORS)
		return ti_error_set(error, -EINVAL,
				    "data device %s claims %" PRIu64
				    " sectors, more than any device holds: check the device",
				    sizes->data_name, sizes->data_sectors);
	if (sizes->data_sectors < block / TI_SECTOR_BYTES)
		return ti_error_set(error, -EINVAL,
				    "data device %s has %" PRIu64 " sectors, too few for one block "
				    "of %" PRIu32 " bytes: give a larger device",
				    sizes->data_name, sizes->data_sectors, block);
	return 0;
}

/* The journal's sections as wished for; without a wish the kernel takes 1/128 of the data device.
 */
static uint32_t sections_wanted(const struct ti_format_shape *shape, uint64_t data_sectors,
				const struct ti_geometry *geo)
{
	uint64_t sectors = shape->journal_sectors;
	uint64_t sections;

	if (sectors == UINT64_MAX) {
		sectors = data_sectors >> 7;
		if (sectors > DEFAULT_JOURNAL_SECTORS)
			sectors = DEFAULT_JOURNAL_SECTORS;
	}
	sections = sectors / geo->section_sectors;
	return sections ? (uint32_t)sections : 1;
}

/* The largest number of sections up to @want that fits, built from its top bit down; 0: none. */
static uint32_t sections_fitting(const struct ti_geometry *geo, uint32_t want, uint32_t log2_buffer,
				 uint64_t start, uint64_t meta_sectors)
{
	uint32_t sections = 0;

	for (uint32_t bit = 1U << log2_floor(want); bit; bit >>= 1) {
		uint32_t test = sections | bit;

		if (test <= want && fits(geo, test, log2_buffer, start, meta_sectors))
			sections = test;
	}
	return sections;
}

bool ti_geometry_bitmap_fits(const struct ti_geometry *geo, unsigned log2_blocks_per_bit)
{
	uint64_t bits = (uint64_t)geo->section_sectors * geo->journal_sections * BITS_PER_SECTOR;
	unsigned l = log2_blocks_per_bit + log2_floor(geo->sectors_per_block);

	if (bits > UINT32_MAX)
		bits = UINT32_MAX;
	return l < 63 && bits >= (geo->provided_sectors + (1ULL << l) - 1) >> l;
}

uint8_t ti_geometry_bitmap_granularity(const struct ti_geometry *geo, uint32_t sectors_per_bit)
{
	uint32_t spb = log2_floor(geo->sectors_per_block);
	uint32_t l = sectors_per_bit ? log2_floor(sectors_per_bit) : DEFAULT_LOG2_SECTORS_PER_BIT;

	if (l < spb)
		l = spb;
	/* dm-integrity: the bitmap takes the journal's place, so its bits must cover the device. */
	while (!ti_geometry_bitmap_fits(geo, l - spb))
		l++;
	return (uint8_t)(l - spb);
}

int ti_geometry_plan(const struct ti_format_shape *shape, const struct ti_pair_sizes *sizes,
		     struct ti_superblock *sb, struct ti_geometry *geo, struct ti_error *error)
{
	uint32_t block = shape->block_size ? shape->block_size : TI_SECTOR_BYTES;
	uint32_t lb = log2_of_buffer(shape->buffer_sectors);
	uint32_t want, sections;
	int err = check_shape(shape, sizes, error);

	if (err)
		return err;
	*sb = (struct ti_superblock){
		.tag_size = (uint16_t)shape->tag_size,
		.flags = (shape->salted ? TI_SB_FIXED_HMAC : 0) |
			 (shape->journal_mac ? TI_SB_HAVE_JOURNAL_MAC : 0),
		.log2_sectors_per_block = (uint8_t)log2_floor(block / TI_SECTOR_BYTES),
	};
	memset(geo, 0, sizeof(*geo));
	shape_sections(sb, geo);
	set_provided(geo, sizes->data_sectors);

	want = sections_wanted(shape, sizes->data_sectors, geo);
	for (;;) {
		sections =
			sections_fitting(geo, want, lb, shape->start_sector, sizes->meta_sectors);
		if (sections || lb <= SHRUNK_LOG2_BUFFER)
			break;
		lb--;
	}
	if (!sections && sectors_needed(geo, 1, lb, shape->start_sector) > MAX_SECTORS)
		return ti_error_set(error, -EINVAL,
				    "start sector %" PRIu64 " and %" PRIu64 " tags of %" PRIu32
				    " bytes reach past what any metadata device holds: choose a "
				    "smaller start sector",
				    shape->start_sector, geo->provided_blocks, geo->tag_size);
	if (!sections)
		return ti_error_set(
			error, -EINVAL,
			"metadata device %s has %" PRIu64 " sectors, but %" PRIu64
			" are needed for a superblock at sector %" PRIu64
			", one journal section of %" PRIu32 " sectors and %" PRIu64
			" tags of %" PRIu32 " bytes: give a larger device or smaller tags",
			sizes->meta_name, sizes->meta_sectors,
			sectors_needed(geo, 1, lb, shape->start_sector), shape->start_sector,
			geo->section_sectors, geo->provided_blocks, geo->tag_size);

	sb->provided_sectors = geo->provided_sectors;
	sb->journal_sections = sections;
	geo->journal_sections = sections;
	sb->log2_blocks_per_bitmap_bit =
		ti_geometry_bitmap_granularity(geo, shape->sectors_per_bit);
	sb->version = ti_superblock_version(sb->flags);
	return ti_geometry_load(sb, sizes, shape->start_sector, shape->buffer_sectors, geo, error);
}
