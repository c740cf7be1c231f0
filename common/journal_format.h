/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The journal's bytes: what lies where in a section, and how it is read and marked.
 *
 *     section i, sector j = 0..7     entries [0..495], MAC [496..503], commit id [504..511]
 *     section i, sector j = 8..      block data [0..503], commit id [504..511]
 *
 * Without a journal MAC the entries may use its 8 bytes too.  Entry n lies in sector n % 8; its
 * block in the sectors from 8 + n * sectors_per_block on, whose last 8 bytes each, displaced by the
 * commit id, are kept in the entry.
 *
 *     entry = le64 sector, 8 last bytes of each sector of the block, tag, padding to 8
 *
 * (Format: journal.)
 *
 * All functions work on one section in memory, in plain text.  A journal_crypt would decrypt before
 * and encrypt after them, and a stream cipher would bring commit ids of its own; that is why the
 * ids are a parameter.
 */
#ifndef TI_JOURNAL_FORMAT_H
#define TI_JOURNAL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "geometry.h"
#include "le.h"

/** Sectors of entries at each section's beginning. */
#define TI_JOURNAL_META_SECTORS 8U

/** Bytes of a sector that hold entries, without and with a journal MAC. */
#define TI_JOURNAL_ENTRY_SPACE	   504U
#define TI_JOURNAL_ENTRY_SPACE_MAC 496U

/** Where the commit id lies in every sector of the journal, and so how much data fits before. */
#define TI_JOURNAL_COMMIT_ID_OFFSET 504U

/** Most entries of a section: those with blocks of one sector and the shortest tags. */
#define TI_JOURNAL_MAX_ENTRIES 168U

/** Commit ids carry one of this many sequence numbers, which follow each other in a circle. */
#define TI_JOURNAL_SEQS 4U

struct ti_journal_ids {
	uint64_t id[TI_JOURNAL_SEQS];
};

/** The sector field of an entry that has not been used since its section was formatted. */
#define TI_JOURNAL_UNUSED 0xffffffff00000000ULL

/** The commit ids of a journal without journal_crypt, or with a block cipher. */
static inline struct ti_journal_ids ti_journal_plain_ids(void)
{
	return (struct ti_journal_ids){ .id = { 0x1111111111111111ULL, 0x2222222222222222ULL,
						0x3333333333333333ULL, 0x4444444444444444ULL } };
}

/** The commit id of sector @j of section @i when it was written with sequence number @seq. */
static inline uint64_t ti_journal_commit_id(const struct ti_journal_ids *ids, uint32_t i,
					    uint32_t j, unsigned seq)
{
	return ids->id[seq] ^ ((uint64_t)i << 32) ^ j;
}

/** The sequence number that @id has in sector @j of section @i, or -1 if it is none of ours. */
static inline int ti_journal_seq_of(const struct ti_journal_ids *ids, uint32_t i, uint32_t j,
				    uint64_t id)
{
	for (unsigned seq = 0; seq < TI_JOURNAL_SEQS; seq++)
		if (ti_journal_commit_id(ids, i, j, seq) == id)
			return (int)seq;
	return -1;
}

/** Bytes of one section. */
static inline size_t ti_journal_section_bytes(const struct ti_geometry *geo)
{
	return (size_t)geo->section_sectors * TI_SECTOR_BYTES;
}

/** Byte of sector @j's commit id, from the section's start. */
static inline size_t ti_journal_id_offset(uint32_t j)
{
	return (size_t)j * TI_SECTOR_BYTES + TI_JOURNAL_COMMIT_ID_OFFSET;
}

/** Byte of entry @n, from the section's start. */
static inline size_t ti_journal_entry_offset(const struct ti_geometry *geo, uint32_t n)
{
	return (size_t)(n % TI_JOURNAL_META_SECTORS) * TI_SECTOR_BYTES +
	       (size_t)(n / TI_JOURNAL_META_SECTORS) * geo->entry_size;
}

/** Byte of the first sector of entry @n's block, from the section's start. */
static inline size_t ti_journal_data_offset(const struct ti_geometry *geo, uint32_t n)
{
	return (size_t)(TI_JOURNAL_META_SECTORS + n * geo->sectors_per_block) * TI_SECTOR_BYTES;
}

/** Byte of the displaced end of sector @s of the block, from the entry's start. */
static inline size_t ti_journal_last_bytes_offset(uint32_t s)
{
	return sizeof(struct ti_le64) * (1 + (size_t)s);
}

/** Byte of the tag, from the entry's start. */
static inline size_t ti_journal_entry_tag_offset(const struct ti_geometry *geo)
{
	return ti_journal_last_bytes_offset(geo->sectors_per_block);
}

/** Entry @n's sector field: of the LUN, or an unused entry's mark. */
static inline uint64_t ti_journal_entry_sector(const struct ti_geometry *geo,
					       const uint8_t *section, uint32_t n)
{
	return ti_le64_get((const struct ti_le64 *)(section + ti_journal_entry_offset(geo, n)));
}

static inline void ti_journal_entry_set_sector(const struct ti_geometry *geo, uint8_t *section,
					       uint32_t n, uint64_t sector)
{
	ti_le64_set((struct ti_le64 *)(section + ti_journal_entry_offset(geo, n)), sector);
}

/** Is this what the sector field of an unused entry holds? */
static inline bool ti_journal_sector_is_unused(uint64_t sector)
{
	/* dm-integrity: the low word of an unused entry is whatever it was before. */
	return sector >> 32 == TI_JOURNAL_UNUSED >> 32;
}

static inline uint64_t ti_journal_get_id(const uint8_t *section, uint32_t j)
{
	return ti_le64_get((const struct ti_le64 *)(section + ti_journal_id_offset(j)));
}

static inline void ti_journal_set_id(uint8_t *section, uint32_t j, uint64_t id)
{
	ti_le64_set((struct ti_le64 *)(section + ti_journal_id_offset(j)), id);
}

/**
 * Make section @section of a fresh journal in @buf, ti_journal_section_bytes() long: no entry used,
 * all commit ids with sequence number @seq.  Any thread.
 */
void ti_journal_format_section(const struct ti_geometry *geo, uint32_t section, unsigned seq,
			       uint8_t *buf);

#endif
