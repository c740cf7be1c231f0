/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Looking at a journal without touching it: is there anything to replay?
 *
 * The ring's sections were written one after the other, each sector with a commit id that names its
 * section, its sector and one of four sequence numbers; the number steps on when the ring begins
 * anew.  From the numbers alone follows where the newest section ends and how far back the ring is
 * whole.  (Format: replay at open, steps 1 to 5.)
 */
#ifndef TI_JOURNAL_SCAN_H
#define TI_JOURNAL_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "blockdev.h"
#include "error.h"
#include "geometry.h"
#include "journal_format.h"
#include "seal.h"

/** What a section's sectors carry: a sequence number 0 to 3, or one of these. */
#define TI_JOURNAL_SEQ_MIXED 4 /* different numbers: a torn commit */
#define TI_JOURNAL_SEQ_BAD   5 /* at least one commit id that is none of ours */

/** One section, as found. */
struct ti_journal_section {
	uint8_t seq;	/* 0 to 3, TI_JOURNAL_SEQ_MIXED or TI_JOURNAL_SEQ_BAD */
	uint8_t seen;	/* bit n: at least one sector carries sequence number n */
	uint16_t used;	/* entries */
	bool bad_mac;	/* all of its sectors are of one commit, and the MAC is not right */
	uint32_t first; /* SEQ_BAD: the first sector with a bad id */
};

enum ti_journal_state {
	TI_JOURNAL_EMPTY,   /* nothing to replay */
	TI_JOURNAL_FULL,    /* entries; all sections are whole */
	TI_JOURNAL_PARTIAL, /* entries; the newest commit is torn */
	TI_JOURNAL_DAMAGED, /* a commit id is none of ours, or the numbers make no sense */
};

/** How many sections' sequence numbers a summary holds. */
#define TI_JOURNAL_SUMMARY_SECTIONS 64

struct ti_journal_summary {
	enum ti_journal_state state;
	uint32_t sections;
	uint64_t used_entries; /* in all sections, in those that are not replayed too */

	/* EMPTY, FULL, PARTIAL: replay would take replay_sections, from replay_first on, in
	 * a circle; the first of them carries replay_seq.  Their used entries. */
	uint32_t replay_first;
	uint32_t replay_sections;
	uint8_t replay_seq;
	uint64_t replay_entries;

	/* DAMAGED: the first bad sector, or UINT32_MAX twice: all ids are ours, but all four
	 * sequence numbers occur. */
	uint32_t bad_section;
	uint32_t bad_sector;

	/* Sections with a MAC that is not right, whether or not they would be replayed; the first
	 * of them.  0 and UINT32_MAX without journal_mac. */
	uint32_t bad_macs, first_bad_mac;

	uint32_t shown; /* how many of seq[] are set */
	uint8_t seq[TI_JOURNAL_SUMMARY_SECTIONS];
};

/**
 * Read the whole journal and say what is in it.  Writes nothing.  Allocates up to about 1 MiB and
 * 12 bytes per section for the time of the call.  A damaged journal is a state, not an error, and
 * so is one with a wrong MAC. A journal area that serves as dirty bitmap (TI_SB_DIRTY_BITMAP) must
 * not be scanned: one with few bits can look like an empty journal. Nobody else uses @q meanwhile.
 * Blocks. Returns 0, -ENOMEM, -EINVAL (start sector and logical block size do not match), or what
 * the device said.
 */
int ti_journal_scan_sealed(struct ti_queue *q, const struct ti_geometry *geo,
			   const struct ti_seal *seal, struct ti_journal_summary *summary,
			   struct ti_error *error);

/** The same for a journal that is not encrypted, and no MAC is looked at. */
int ti_journal_scan(struct ti_queue *q, const struct ti_geometry *geo,
		    struct ti_journal_summary *summary, struct ti_error *error);

/** The name of a state as it stands in reports: "empty", "full_ring", "partial_ring", "damaged". */
const char *ti_journal_state_name(enum ti_journal_state state);

/** Can the journal be read and written in whole sections on this device?  Returns 0 or -EINVAL. */
int ti_journal_check_device(const struct ti_queue *q, const struct ti_geometry *geo,
			    struct ti_error *error);

/*
 * The two steps, for those who have the sections in memory.
 */

/** Look at section @i, whose bytes are @buf; not at its MAC. */
struct ti_journal_section ti_journal_look(const struct ti_geometry *geo,
					  const struct ti_journal_ids *ids, uint32_t i,
					  const uint8_t *buf);

/** Conclude from all @n sections (at least one); sets all of @summary. */
void ti_journal_conclude(const struct ti_journal_section *section, uint32_t n,
			 struct ti_journal_summary *summary);

#endif
