/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Looking at a metadata device: superblock, geometry, journal.  Nothing is written.
 */
#ifndef TI_INSPECT_H
#define TI_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "blockdev.h"
#include "error.h"
#include "geometry.h"
#include "journal_scan.h"
#include "superblock.h"

/** What lies where a superblock would be. */
enum ti_place {
	TI_PLACE_ZERO,
	TI_PLACE_OTHER,
	TI_PLACE_UNFINISHED, /* the marker of a format that did not end */
	TI_PLACE_SUPERBLOCK,
	TI_PLACE_OUTSIDE, /* the device ends before it */
};

/**
 * Look at the superblock's place without judging it.  Blocks.  Returns 0, -ENOMEM, -EINVAL (the
 * start sector is not at a logical block), or what the device said.
 */
int ti_inspect_place(struct ti_queue *q, uint64_t start_sector, enum ti_place *place,
		     struct ti_error *error);

/**
 * Read and check the superblock.  Blocks.
 * Returns 0; -ENODATA, -EINVAL or -EOPNOTSUPP as ti_superblock_parse() does; -EINVAL if the start
 * sector cannot be read from; -EIO and the like if the device said so.
 */
int ti_inspect_superblock(struct ti_queue *q, uint64_t start_sector, struct ti_superblock *sb,
			  struct ti_error *error);

/**
 * Read the superblock once more and check it against journal_mac (ti_seal_check_superblock()). What
 * was checked, and nothing that was read before, is in *@sb afterwards.  Blocks.
 * Returns as ti_inspect_superblock(); -EINVAL; -EUCLEAN if the MAC is not right.
 */
int ti_inspect_seal(struct ti_queue *q, uint64_t start_sector, struct ti_superblock *sb,
		    const struct ti_seal *seal, struct ti_error *error);

/**
 * Compute the geometry for the devices that @q has.  Without a data device its size is taken for
 * sufficient.  Returns as ti_geometry_load().
 */
int ti_inspect_geometry(const struct ti_queue *q, const struct ti_superblock *sb,
			uint64_t start_sector, struct ti_geometry *geo, struct ti_error *error);

/**
 * May the tags be judged by what the two devices hold?  Not when the superblock says something
 * that cannot be served (ti_superblock_check_supported()) or that tags are still to be computed,
 * nor when the journal holds entries, which are newer.  Blocks. Returns 0; -EOPNOTSUPP; -EUCLEAN
 * if tags are to be computed, or the journal is not empty or damaged; or what the device said.
 */
int ti_inspect_settled(struct ti_queue *q, const struct ti_superblock *sb,
		       const struct ti_geometry *geo, struct ti_error *error);

#endif
