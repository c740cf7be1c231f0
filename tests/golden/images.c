/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* README.md's tables. */
#include "image.h"

#define DEFAULT UINT64_MAX

/* J_*, B_* and D_*: writes of three generations, one over the other. */
static const struct golden_run three_generations[] = {
	{ 0, 104, 1 },	 { 104, 8, 2 },	  { 112, 192, 1 }, { 1000, 8, 1 },
	{ 1008, 16, 3 }, { 1024, 16, 1 }, { 2032, 16, 3 }, { 0, 0, 0 },
};

static const struct golden_run nothing_written_out[] = { { 0, 0, 0 } };

static const struct golden_run newest_commit_torn[] = {
	{ 0, 100, 1 },
	{ 100, 50, 2 },
	{ 0, 0, 0 },
};

static const struct golden_run partly_discarded[] = {
	{ 0, 10, 1 },
	{ 30, 70, 1 },
	{ 0, 0, 0 },
};

#define THREE_GENERATIONS                                                                          \
	.runs = three_generations,                                                                 \
	.data_sha256 = "d0ffcb765adc1d5480eab2c80451900b292de52aa941754ac684dfff928edd35"

#define B_CRC32C_512                                                                               \
	.hash = "crc32c", .data_sectors = 2048, .meta_sectors = 2048, .version = 3,                \
	.shape = { .block_size = 512,                                                              \
		   .tag_size = 4,                                                                  \
		   .journal_sectors = 64,                                                          \
		   .sectors_per_bit = 64 },                                                        \
	.journal_sections = 1, .log2_blocks_per_bitmap_bit = 6, THREE_GENERATIONS

#define J_HMAC_FIX                                                                                 \
	.hash = "hmac(sha256)", .start_sector = 16, .data_sectors = 2048, .meta_sectors = 4096,    \
	.version = 5, .flags = TI_SB_FIXED_HMAC | TI_SB_HAVE_JOURNAL_MAC,                          \
	.shape = { .block_size = 512,                                                              \
		   .tag_size = 32,                                                                 \
		   .journal_sectors = 440,                                                         \
		   .start_sector = 16,                                                             \
		   .salted = true,                                                                 \
		   .journal_mac = true },                                                          \
	.journal_sections = 5, .log2_blocks_per_bitmap_bit = 15, THREE_GENERATIONS

#define J_SHA256_4K                                                                                \
	.hash = "sha256", .data_sectors = 2048, .meta_sectors = 4096, .version = 2,                \
	.shape = { .block_size = 4096, .tag_size = 32, .journal_sectors = 1320 },                  \
	.journal_sections = 5, .log2_blocks_per_bitmap_bit = 12, THREE_GENERATIONS

#define J_WRAP                                                                                     \
	.hash = "crc32c", .data_sectors = 2048, .meta_sectors = 4096, .version = 2,                \
	.shape = { .block_size = 512, .tag_size = 4, .journal_sectors = 528 },                     \
	.journal_sections = 3, .log2_blocks_per_bitmap_bit = 15, THREE_GENERATIONS

const struct golden_image golden_images[] = {
	{
		.name = "B_crc32c_512.act",
		B_CRC32C_512,
		.flags = TI_SB_DIRTY_BITMAP,
		.tags_ok = 320,
		.tags_never_written = 1600,
		.dirty_blocks = 128,
	},
	{
		.name = "B_crc32c_512.clean",
		B_CRC32C_512,
		.journal = "empty",
		.seq = { 0 },
		.tags_ok = 360,
		.tags_never_written = 1688,
	},
	{
		.name = "D_crc32c_4k.clean",
		.hash = "crc32c",
		.data_sectors = 2048,
		.meta_sectors = 4096,
		.version = 2,
		.shape = { .block_size = 4096, .tag_size = 4, .journal_sectors = DEFAULT },
		.journal_sections = 1,
		.log2_blocks_per_bitmap_bit = 12,
		.journal = "empty",
		.seq = { 0 },
		.tags_ok = 45,
		.tags_never_written = 211,
		THREE_GENERATIONS,
	},
	{
		.name = "J_hmac_fix.act",
		J_HMAC_FIX,
		.journal = "full_ring",
		.seq = { 2, 2, 2, 2, 1 },
		.replay_entries = 112,
		.tags_ok = 272,
		.tags_never_written = 1688,
	},
	{
		.name = "J_hmac_fix.clean",
		J_HMAC_FIX,
		.journal = "empty",
		.seq = { 3, 3, 3, 3, 2 },
		.tags_ok = 360,
		.tags_never_written = 1688,
	},
	{
		.name = "J_sha256_4k.act",
		J_SHA256_4K,
		.journal = "full_ring",
		.seq = { 1, 1, 1, 1, 1 },
		.replay_entries = 49,
		.tags_ok = 0,
		.tags_never_written = 211,
	},
	{
		.name = "J_sha256_4k.clean",
		J_SHA256_4K,
		.journal = "empty",
		.seq = { 2, 2, 2, 2, 2 },
		.tags_ok = 45,
		.tags_never_written = 211,
	},
	{
		.name = "J_wrap.act",
		J_WRAP,
		.journal = "full_ring",
		.seq = { 2, 2, 1 },
		.replay_entries = 88,
		.tags_ok = 296,
		.tags_never_written = 1688,
	},
	{
		.name = "J_wrap.clean",
		J_WRAP,
		.journal = "empty",
		.seq = { 3, 3, 2 },
		.tags_ok = 360,
		.tags_never_written = 1688,
	},
	{
		.name = "c2.cid",
		.hash = "crc32c",
		.data_sectors = 2048,
		.meta_sectors = 2048,
		.version = 2,
		.shape = { .block_size = 512, .tag_size = 4, .journal_sectors = 528 },
		.journal_sections = 3,
		.log2_blocks_per_bitmap_bit = 15,
		.journal = "damaged",
		.seq = { 5, 0, 0 },
		.tags_never_written = 2048,
		.runs = nothing_written_out,
		.data_sha256 = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58",
	},
	{
		.name = "c3.torn",
		.hash = "crc32c",
		.data_sectors = 2048,
		.meta_sectors = 2048,
		.version = 2,
		.shape = { .block_size = 512, .tag_size = 4, .journal_sectors = 704 },
		.journal_sections = 4,
		.log2_blocks_per_bitmap_bit = 15,
		.journal = "partial_ring",
		.seq = { 1, 4, 0, 0 },
		.replay_entries = 100,
		.tags_ok = 50,
		.tags_never_written = 1898,
		.runs = newest_commit_torn,
		.data_sha256 = "6d713133348d72c3ee898ad2176422f43370dfb6a6716da67513e4a73db03ab9",
	},
	{
		.name = "c6.b",
		.hash = "crc32c",
		.data_sectors = 4096,
		.meta_sectors = 2048,
		.version = 2,
		.shape = { .block_size = 512, .tag_size = 4, .journal_sectors = 528 },
		.journal_sections = 3,
		.log2_blocks_per_bitmap_bit = 15,
		.journal = "empty",
		.seq = { 0, 0, 0 },
		.tags_ok = 4056,
		.tags_discarded = 40,
		.runs = partly_discarded,
		.data_sha256 = "29046263701322b5e926d7888b04c784e46cb5516f87d535f107a4b52e67e507",
	},
};

const size_t golden_image_count = sizeof(golden_images) / sizeof(golden_images[0]);
