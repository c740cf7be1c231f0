/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Making a pair: superblock, empty journal, and a tag for every block.
 *
 * Two steps.  Planning decides everything and writes nothing, so that its user can show what would
 * happen and ask.  Writing carries the plan out in an order in which a half-formatted pair is never
 * taken for a good one: first a marker takes the superblock's place, last the superblock takes the
 * marker's.
 */
#ifndef TI_FORMAT_H
#define TI_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "blockdev.h"
#include "error.h"
#include "geometry.h"
#include "hash.h"
#include "progress.h"
#include "seal.h"
#include "superblock.h"

/** What becomes of the data device and of the tags. */
enum ti_format_fill {
	TI_FORMAT_WIPE,	     /* zeros everywhere, with their tags */
	TI_FORMAT_KEEP_DATA, /* the data stays and gets its tags */
	TI_FORMAT_NO_WIPE,   /* neither is written: a block is unreadable until it is written */
	/* Neither is written; whoever opens the pair makes the tags of what is there, meanwhile it
	 * can be read (flag RECALCULATING). */
	TI_FORMAT_RECALCULATE,
};

struct ti_format_options {
	const struct ti_hash_ops *hash;
	const struct ti_secret *hash_key; /* of a keyed digest, else NULL; in use until written */
	struct ti_seal_options seal;	  /* journal_mac, journal_crypt; keys likewise */
	struct ti_format_shape shape;	  /* tag_size 0: the digest's size */
	enum ti_format_fill fill;
	const uint8_t *salt; /* TI_SALT_BYTES for a salted pair; NULL: random ones */
};

struct ti_format_plan {
	const struct ti_hash_ops *hash;
	const struct ti_secret *hash_key; /* the caller's */
	struct ti_seal_options seal;	  /* the caller's */
	enum ti_format_fill fill;
	struct ti_superblock sb;
	struct ti_geometry geo;
};

/**
 * Decide how the two devices of @q will be laid out.  Writes nothing.  Any thread that owns @q.
 * Returns 0; -EINVAL or -EOPNOTSUPP when the shape does not fit the devices; what getrandom() said.
 */
int ti_format_plan(const struct ti_queue *q, const struct ti_format_options *options,
		   struct ti_format_plan *plan, struct ti_error *error);

/**
 * Carry the plan out; both devices are flushed before the superblock is written, and the metadata
 * device after it.  Nobody else uses @q meanwhile.  Blocks, for hours on large devices.
 * Returns 0; -ECANCELED when @progress said so; -ENOMEM; what a device said.  After an error the
 * pair is not formatted and its old contents are gone as far as the work had got.
 */
int ti_format_write(struct ti_queue *q, const struct ti_format_plan *plan,
		    const struct ti_progress *progress, struct ti_error *error);

/**
 * Write an empty journal as a new pair has it, all sections with sequence number 0.  Not flushed.
 * Blocks.  Returns 0, -ENOMEM, or what the device said.
 */
int ti_format_journal(struct ti_queue *q, const struct ti_geometry *geo, const struct ti_seal *seal,
		      struct ti_error *error);

/** Does @buf (TI_SB_BYTES from the superblock's place) hold the marker of an unfinished format? */
bool ti_format_is_unfinished(const uint8_t *buf);

#endif
