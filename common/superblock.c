/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Reading, judging and writing dm-integrity's superblock.
 *
 * The bytes are hostile, the kernel is the measure: what a kernel writes for a device with external
 * metadata, or accepts when it opens one, is accepted here; what cannot be right is refused with a
 * sentence of its own.  The kernel neither looks at the padding nor compares the version with the
 * flags, so neither does this file.
 */
#include "superblock.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "geometry.h"

static const uint8_t magic[8] = { 'i', 'n', 't', 'e', 'g', 'r', 't', '\0' };

/* The newest superblock version that Linux 6.1 opens. */
#define VERSION_NEWEST	      5
#define VERSION_INLINE	      6
#define VERSION_DISCARD_KEYED 7

#define RECREATE                                                                                   \
	"restore the metadata device from a copy, or format the pair anew if its data is not "     \
	"needed"

enum ti_sb_state ti_superblock_probe(const uint8_t *buf)
{
	if (!memcmp(buf, magic, sizeof(magic)))
		return TI_SB_PRESENT;
	for (size_t i = 0; i < TI_SB_BYTES; i++)
		if (buf[i])
			return TI_SB_ABSENT_OTHER;
	return TI_SB_ABSENT_ZERO;
}

static int check_presence(const uint8_t *buf, const char *where, struct ti_error *error)
{
	switch (ti_superblock_probe(buf)) {
	case TI_SB_PRESENT:
		return 0;
	case TI_SB_ABSENT_ZERO:
		return ti_error_set(error, -ENODATA,
				    "%s holds no dm-integrity superblock, only zeros in its place: "
				    "format the pair with 'tcmu-integrity format', or give the "
				    "start sector that it was formatted with",
				    where);
	case TI_SB_ABSENT_OTHER:
		break;
	}
	return ti_error_set(error, -ENODATA,
			    "%s holds other data where a dm-integrity superblock would be: check "
			    "that this is the metadata device and that the start sector is the one "
			    "it was formatted with",
			    where);
}

static int check_version(unsigned version, const char *where, struct ti_error *error)
{
	if (version >= 1 && version <= VERSION_NEWEST)
		return 0;
	if (version == VERSION_INLINE)
		return ti_error_set(error, -EOPNOTSUPP,
				    "%s has a superblock of version 6 (inline tags), which keeps "
				    "its tags in the data device's own sectors: open it with the "
				    "kernel's dm-integrity in mode I",
				    where);
	if (version == VERSION_DISCARD_KEYED)
		return ti_error_set(error, -EOPNOTSUPP,
				    "%s has a superblock of version 7 (keyed discards), which is "
				    "not supported: open it with a kernel that knows "
				    "allow_discards_keyed",
				    where);
	if (!version)
		return ti_error_set(error, -EINVAL,
				    "%s has superblock version 0, which does not exist: " RECREATE,
				    where);
	return ti_error_set(error, -EOPNOTSUPP,
			    "%s has superblock version %u, newer than any known here (1 to %u): "
			    "open it with the software that made it",
			    where, version, VERSION_NEWEST);
}

static int check_layout(const struct ti_superblock_disk *d, const char *where,
			struct ti_error *error)
{
	uint32_t tag_size = ti_le16_get(&d->integrity_tag_size);

	if (d->log2_interleave_sectors)
		return ti_error_set(
			error, -EOPNOTSUPP,
			"%s has log2_interleave_sectors %u, so it holds its data itself "
			"(dm-integrity without meta_device): open it with integritysetup "
			"and no --data-device",
			where, d->log2_interleave_sectors);
	if (!tag_size)
		return ti_error_set(
			error, -EINVAL,
			"%s has integrity_tag_size 0, so it could hold no tags: " RECREATE, where);
	if (tag_size > TI_MAX_TAG_SIZE)
		return ti_error_set(error, -EINVAL,
				    "%s has integrity_tag_size %" PRIu32
				    ", more than the largest tag of %u bytes: " RECREATE,
				    where, tag_size, TI_MAX_TAG_SIZE);
	if (!ti_le32_get(&d->journal_sections))
		return ti_error_set(error, -EINVAL,
				    "%s has journal_sections 0, but every device with external "
				    "metadata has a journal area: " RECREATE,
				    where);
	return 0;
}

static int check_sizes(const struct ti_superblock_disk *d, const char *where,
		       struct ti_error *error)
{
	uint64_t provided = ti_le64_get(&d->provided_data_sectors);
	unsigned spb;

	if (d->log2_sectors_per_block > 3)
		return ti_error_set(error, -EINVAL,
				    "%s has log2_sectors_per_block %u, but blocks have 512 to 4096 "
				    "bytes (0 to 3): " RECREATE,
				    where, d->log2_sectors_per_block);
	spb = 1U << d->log2_sectors_per_block;
	if (!provided)
		return ti_error_set(error, -EINVAL,
				    "%s has provided_data_sectors 0, a device without a single "
				    "block: " RECREATE,
				    where);
	if (provided % spb)
		return ti_error_set(error, -EINVAL,
				    "%s has provided_data_sectors %" PRIu64
				    ", not a multiple of its block of %u sectors: " RECREATE,
				    where, provided, spb);
	if (provided > INT64_MAX / TI_SECTOR_BYTES)
		return ti_error_set(error, -EINVAL,
				    "%s has provided_data_sectors %" PRIu64
				    ", more than any device holds: " RECREATE,
				    where, provided);
	/* A bit that stands for 2^64 sectors or more: no kernel can have computed that. */
	if (d->log2_blocks_per_bitmap_bit + d->log2_sectors_per_block >= 64)
		return ti_error_set(error, -EINVAL,
				    "%s has log2_blocks_per_bitmap_bit %u, more than any device "
				    "needs: " RECREATE,
				    where, d->log2_blocks_per_bitmap_bit);
	return 0;
}

int ti_superblock_parse(const uint8_t *buf, const char *where, struct ti_superblock *sb,
			struct ti_error *error)
{
	struct ti_superblock_disk d;
	uint32_t flags;
	int err;

	memcpy(&d, buf, sizeof(d));
	flags = ti_le32_get(&d.flags);
	err = check_presence(buf, where, error);
	/* The version first: what the other fields mean depends on it. */
	if (!err)
		err = check_version(d.version, where, error);
	if (!err && (flags & ~TI_SB_KNOWN_FLAGS))
		err = ti_error_set(error, -EOPNOTSUPP,
				   "%s has the unknown superblock flags 0x%" PRIx32
				   " (flags is 0x%" PRIx32 "): open it with the software that made "
				   "it",
				   where, flags & ~TI_SB_KNOWN_FLAGS, flags);
	if (!err)
		err = check_layout(&d, where, error);
	if (!err)
		err = check_sizes(&d, where, error);
	if (err)
		return err;

	*sb = (struct ti_superblock){
		.version = d.version,
		.tag_size = ti_le16_get(&d.integrity_tag_size),
		.journal_sections = ti_le32_get(&d.journal_sections),
		.provided_sectors = ti_le64_get(&d.provided_data_sectors),
		.flags = flags,
		.log2_sectors_per_block = d.log2_sectors_per_block,
		.log2_blocks_per_bitmap_bit = d.log2_blocks_per_bitmap_bit,
		.recalc_sector = ti_le64_get(&d.recalc_sector),
	};
	memcpy(sb->salt, d.salt, sizeof(sb->salt));
	return 0;
}

int ti_superblock_check_supported(const struct ti_superblock *sb, const char *where,
				  struct ti_error *error)
{
	if (sb->flags & TI_SB_INLINE)
		return ti_error_set(
			error, -EOPNOTSUPP,
			"%s has the flag inline (tags in the data device's own sectors), "
			"which rules out a metadata device: open it with the kernel's "
			"dm-integrity in mode I",
			where);
	if (sb->flags & TI_SB_DISCARD_KEYED)
		return ti_error_set(
			error, -EOPNOTSUPP,
			"%s has the flag discard_keyed, which is not supported: open it "
			"with a kernel that knows allow_discards_keyed",
			where);
	return 0;
}

int ti_superblock_check_settled(const struct ti_superblock *sb, const char *where,
				struct ti_error *error)
{
	if (sb->flags & TI_SB_DIRTY_BITMAP)
		return ti_error_set(
			error, -EUCLEAN,
			"%s has the flag dirty_bitmap: it was in use in bitmap mode and not "
			"closed; "
			"serve it in mode bitmap and let it recalculate, or open it with "
			"integritysetup and --integrity-bitmap-mode, and close it",
			where);
	if (ti_superblock_recalculating(sb))
		return ti_error_set(error, -EUCLEAN,
				    "%s has the flag recalculating, and its tags are right only up "
				    "to sector %" PRIu64 " of %" PRIu64
				    ": serve it, or open it with integritysetup, and wait until it "
				    "has recalculated the rest",
				    where, sb->recalc_sector, sb->provided_sectors);
	return 0;
}

uint8_t ti_superblock_version(uint32_t flags)
{
	if (flags & TI_SB_DISCARD_KEYED)
		return VERSION_DISCARD_KEYED;
	if (flags & TI_SB_INLINE)
		return VERSION_INLINE;
	if (flags & TI_SB_FIXED_HMAC)
		return 5;
	if (flags & TI_SB_FIXED_PADDING)
		return 4;
	if (flags & TI_SB_DIRTY_BITMAP)
		return 3;
	/* dm-integrity: version 1 is for devices that hold their data themselves. */
	return 2;
}

void ti_superblock_write(const struct ti_superblock *sb, uint8_t *buf)
{
	struct ti_superblock_disk d = {
		.version = ti_superblock_version(sb->flags),
		.log2_sectors_per_block = sb->log2_sectors_per_block,
		.log2_blocks_per_bitmap_bit = sb->log2_blocks_per_bitmap_bit,
	};

	/* dm-integrity: whoever is in mode bitmap writes 3, also when it clears the flag at its
	 * end. */
	if (sb->bitmap_mode && d.version < 3)
		d.version = 3;
	memcpy(d.magic, magic, sizeof(d.magic));
	ti_le16_set(&d.integrity_tag_size, sb->tag_size);
	ti_le32_set(&d.journal_sections, sb->journal_sections);
	ti_le64_set(&d.provided_data_sectors, sb->provided_sectors);
	ti_le32_set(&d.flags, sb->flags);
	ti_le64_set(&d.recalc_sector, sb->recalc_sector);
	memcpy(d.salt, sb->salt, sizeof(d.salt));

	memset(buf, 0, TI_SB_BYTES);
	memcpy(buf, &d, sizeof(d));
}

const char *ti_superblock_flag_name(uint32_t bit)
{
	switch (bit) {
	case TI_SB_HAVE_JOURNAL_MAC:
		return "journal_mac";
	case TI_SB_RECALCULATING:
		return "recalculating";
	case TI_SB_DIRTY_BITMAP:
		return "dirty_bitmap";
	case TI_SB_FIXED_PADDING:
		return "fix_padding";
	case TI_SB_FIXED_HMAC:
		return "fix_hmac";
	case TI_SB_INLINE:
		return "inline";
	case TI_SB_DISCARD_KEYED:
		return "discard_keyed";
	default:
		return NULL;
	}
}
