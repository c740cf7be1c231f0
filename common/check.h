/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Verifying every tag of a pair that nobody uses.
 *
 * A block that does not verify belongs to exactly one kind below.  Neighbouring blocks of one kind
 * are one range.  An unreadable place is found down to the block, recorded, and the check goes on.
 */
#ifndef TI_CHECK_H
#define TI_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockdev.h"
#include "error.h"
#include "geometry.h"
#include "hash.h"
#include "journal_overlay.h"
#include "progress.h"
#include "unsettled.h"

enum ti_check_kind {
	TI_CHECK_MISMATCH,	/* block and tag differ */
	TI_CHECK_NEVER_WRITTEN, /* they differ and the tag is all zero, as before the first write */
	TI_CHECK_DATA_UNREADABLE, /* the data device returned an error */
	TI_CHECK_TAG_UNREADABLE,  /* the metadata device returned an error */
	TI_CHECK_DISCARDED,	  /* they differ and the tag is the discard filler */
	TI_CHECK_UNSETTLED,	  /* the tag is still to be recalculated: it says nothing */
	TI_CHECK_KINDS,
};

struct ti_check_range {
	enum ti_check_kind kind;
	uint64_t sector; /* of the LUN */
	uint64_t sectors;
};

struct ti_check_options {
	const struct ti_hash_ops *hash;
	const struct ti_secret *hash_key; /* of a keyed digest, else NULL */
	const uint8_t *salt;		  /* of a salted pair, else NULL */
	/* Blocks whose newest version is in the journal and has been verified there: what the
	 * devices hold in their places does not count.  May be NULL. */
	const struct ti_journal_overlay *overlay;
	/* Discarded blocks are as good as others: they are counted, and not listed. */
	bool allow_discards;
	/* Blocks whose tags are still to be recalculated.  May be NULL. */
	const struct ti_unsettled *unsettled;
	struct ti_progress progress;
};

/** What was found.  The caller provides the list; counters go on when it is full. */
struct ti_check_report {
	struct ti_check_range *list; /* ascending; the caller's memory */
	size_t list_max;
	size_t listed;

	uint64_t checked_sectors; /* all of the LUN unless the check was stopped */
	uint64_t bad_sectors[TI_CHECK_KINDS];
	uint64_t ranges[TI_CHECK_KINDS]; /* listed or not */
};

/**
 * Verify all blocks of the LUN that @geo describes.  Writes to neither device.  Nobody else uses @q
 * meanwhile.
 * Sets all of @report but its list and list_max.  Blocks, for hours on large devices.
 * Returns 0 when all blocks were looked at, whatever was found; -ECANCELED when progress said so
 * (the report then covers the blocks before checked_sectors); -ENOMEM; -EINVAL or -EOPNOTSUPP for
 * devices that cannot be read in blocks of this geometry.
 */
int ti_check(struct ti_queue *q, const struct ti_geometry *geo,
	     const struct ti_check_options *options, struct ti_check_report *report,
	     struct ti_error *error);

#endif
