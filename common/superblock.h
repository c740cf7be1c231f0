/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * dm-integrity's superblock: 64 bytes of facts in the first sector of a metadata device.
 *
 * struct ti_superblock_disk is the layout on disk; struct ti_superblock is what the program works
 * with.  ti_superblock_parse() is the only way from one to the other and checks what can be checked
 * without knowing the devices; ti_geometry_load() checks the rest.  The on-disk bytes are hostile.
 */
#ifndef TI_SUPERBLOCK_H
#define TI_SUPERBLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "le.h"

/** The superblock is read and written as one unit of this many bytes (8 sectors). */
#define TI_SB_BYTES   4096
#define TI_SB_SECTORS 8
#define TI_SALT_BYTES 16

/** Superblock flags (format: superblock, flags). */
#define TI_SB_HAVE_JOURNAL_MAC 0x01U
#define TI_SB_RECALCULATING    0x02U
#define TI_SB_DIRTY_BITMAP     0x04U
#define TI_SB_FIXED_PADDING    0x08U
#define TI_SB_FIXED_HMAC       0x10U
#define TI_SB_INLINE	       0x20U
#define TI_SB_DISCARD_KEYED    0x40U
#define TI_SB_KNOWN_FLAGS      0x7fU

struct ti_superblock_disk {
	uint8_t magic[8];
	uint8_t version;
	uint8_t log2_interleave_sectors;
	struct ti_le16 integrity_tag_size;
	struct ti_le32 journal_sections;
	struct ti_le64 provided_data_sectors;
	struct ti_le32 flags;
	uint8_t log2_sectors_per_block;
	uint8_t log2_blocks_per_bitmap_bit;
	uint8_t pad1[2];
	struct ti_le64 recalc_sector;
	uint8_t pad2[8];
	uint8_t salt[TI_SALT_BYTES];
};

_Static_assert(sizeof(struct ti_superblock_disk) == 64, "the superblock has 64 bytes");
_Static_assert(offsetof(struct ti_superblock_disk, journal_sections) == 12, "layout");
_Static_assert(offsetof(struct ti_superblock_disk, flags) == 24, "layout");
_Static_assert(offsetof(struct ti_superblock_disk, recalc_sector) == 32, "layout");
_Static_assert(offsetof(struct ti_superblock_disk, salt) == 48, "layout");

struct ti_superblock {
	uint8_t version; /* as found; ti_superblock_write() computes its own */
	uint16_t tag_size;
	uint32_t journal_sections;
	uint64_t provided_sectors;
	uint32_t flags;
	uint8_t log2_sectors_per_block; /* 0..3: blocks of 512..4096 bytes */
	uint8_t log2_blocks_per_bitmap_bit;
	uint64_t recalc_sector;
	uint8_t salt[TI_SALT_BYTES];
	/* Not on disk: who writes it serves the pair in mode bitmap, which counts for the version.
	 */
	bool bitmap_mode;
};

/** What lies at the superblock's place. */
enum ti_sb_state {
	TI_SB_ABSENT_ZERO,  /* all TI_SB_BYTES are zero: the kernel would format here */
	TI_SB_ABSENT_OTHER, /* something else is there */
	TI_SB_PRESENT,	    /* the magic is there */
};

/** Look at @buf (TI_SB_BYTES bytes) without judging it. */
enum ti_sb_state ti_superblock_probe(const uint8_t *buf);

/**
 * Read and check a superblock.
 * @buf: TI_SB_BYTES bytes from the metadata device; @where: the device's name for messages.
 * Returns 0; -ENODATA if none is there; -EINVAL if a field cannot be right; -EOPNOTSUPP if it is
 * valid but of a kind that has no metadata device or is unknown (foreign layout, newer version).
 * Flags that this program understands but an open cannot serve yet are not refused here but by
 * ti_superblock_check_supported(), so that dump shows them.
 */
int ti_superblock_parse(const uint8_t *buf, const char *where, struct ti_superblock *sb,
			struct ti_error *error);

/**
 * Refuse, by name, what cannot be served at all: journal MAC, keyed discards, inline.  Returns 0 or
 * -EOPNOTSUPP.
 */
int ti_superblock_check_supported(const struct ti_superblock *sb, const char *where,
				  struct ti_error *error);

/** Is a part of the tags still to be computed, because of the flag RECALCULATING? */
static inline bool ti_superblock_recalculating(const struct ti_superblock *sb)
{
	return (sb->flags & TI_SB_RECALCULATING) && sb->recalc_sector < sb->provided_sectors;
}

/**
 * Refuse what has tags that nobody vouches for: a dirty bitmap, an unfinished recalculation.
 * Returns 0 or -EUCLEAN.
 */
int ti_superblock_check_settled(const struct ti_superblock *sb, const char *where,
				struct ti_error *error);

/**
 * Lay a superblock out for writing.  @buf: TI_SB_BYTES bytes, all are set.  The version is computed
 * from the flags at every write, as the kernel does (format: superblock, version).
 */
void ti_superblock_write(const struct ti_superblock *sb, uint8_t *buf);

/**
 * The version that a superblock with these flags gets on a metadata device: 2, 3, 4, 5, 6 or 7.
 * (Mode bitmap makes a 3 of a 2 also when the flag is off.)
 */
uint8_t ti_superblock_version(uint32_t flags);

/** Name of one flag bit ("fix_hmac", "journal_mac", …), or NULL for an unknown bit. */
const char *ti_superblock_flag_name(uint32_t bit);

#endif
