/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What README.md says about each image, for programs; and the images themselves, in memory.
 */
#ifndef TI_GOLDEN_IMAGE_H
#define TI_GOLDEN_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "geometry.h"
#include "hash.h"
#include "seal.h"
#include "superblock.h"

#define GOLDEN_MAX_SECTIONS 8
#define GOLDEN_PATH	    512

/** Sectors @first to @first + @count - 1 hold the pattern's generation @generation; 0: zeros. */
struct golden_run {
	uint32_t first, count;
	uint8_t generation;
};

struct golden_image {
	const char *name;

	/* How it was made: the table line. */
	const char *hash;
	uint64_t start_sector;
	uint64_t data_sectors, meta_sectors;
	struct ti_format_shape shape;

	/* What is in it. */
	uint8_t version;
	uint32_t flags;
	uint32_t journal_sections;
	uint8_t log2_blocks_per_bitmap_bit;
	const char *journal; /* the scan's state; NULL: a dirty bitmap lies there */
	uint8_t seq[GOLDEN_MAX_SECTIONS];
	uint64_t replay_entries;
	/* Blocks that neither the journal nor the bitmap covers. */
	uint64_t tags_ok, tags_never_written, tags_discarded;
	uint64_t dirty_blocks;
	const char *data_sha256;       /* the data device's after replay */
	const struct golden_run *runs; /* ends with count 0; the data device's after replay */
};

extern const struct golden_image golden_images[];
extern const size_t golden_image_count;

/** An image unpacked, in a directory of its own and in memory. */
struct golden_pair {
	const struct golden_image *image;
	char dir[GOLDEN_PATH];
	char data_path[GOLDEN_PATH + 64], meta_path[GOLDEN_PATH + 64];
	uint8_t *data, *meta;
	size_t data_bytes, meta_bytes;
	struct ti_superblock sb;
	struct ti_geometry geo;
	struct ti_secret *hash_key; /* README.md's K1 where the digest is keyed, else NULL */
	struct ti_secret *mac_key;  /* K2 where there is a journal MAC */
	struct ti_seal_options seal;
};

/** Unpack and load @image and read its superblock; fails the test if that does not work. */
struct golden_pair *golden_open(const struct golden_image *image);
void golden_close(struct golden_pair *pair);

/** The seal of the image's superblock and journal, or NULL; to be closed by the caller. */
struct ti_seal *golden_seal(const struct golden_pair *pair);

/** The digest that the image's tags are made with; to be destroyed by the caller. */
void golden_hash(const struct golden_pair *pair, struct ti_hash *hash);

/** Sector @n of generation @generation of the pattern. */
void golden_sector(uint32_t n, uint8_t generation, uint8_t *sector);

/** What the data device shall hold at @sector: a generation, or 0 for zeros. */
uint8_t golden_generation(const struct golden_image *image, uint64_t sector);

/** The SHA-256 of @len bytes as 64 hex digits and a terminator, by sha256sum. */
void golden_sha256(const struct golden_pair *pair, const uint8_t *bytes, size_t len, char hex[65]);

/**
 * Run @properties tests on each image, named "IMAGE: WHAT", each with a struct golden_pair of its
 * own as its state.  Returns what a cmocka group returns.
 */
int golden_run_all(const char *group, const char *const *what, void (*const *test)(void **state),
		   size_t properties);

#endif
