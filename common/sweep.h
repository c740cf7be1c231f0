/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Going once over all blocks of a pair: what format and check have in common.
 *
 * The blocks are taken in chunks of a few MiB, several chunks at once, each with several large
 * transfers under way on the data device and one on the metadata device.  A chunk's number of
 * blocks is such that its tags start and end at a logical block of the metadata device, so that
 * no chunk has to read what another writes.
 */
#ifndef TI_SWEEP_H
#define TI_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockdev.h"
#include "error.h"
#include "geometry.h"
#include "hash.h"
#include "progress.h"

enum ti_sweep_kind {
	TI_SWEEP_WIPE,	 /* zeros to the data device, the tags of zero blocks */
	TI_SWEEP_ADOPT,	 /* read the data device, write its tags */
	TI_SWEEP_VERIFY, /* read both devices, hand what was read to visit() */
};

/** Where a chunk lies and what it holds.  Lengths are multiples of the logical block sizes, so they
 *  may reach past the last block of the LUN. */
struct ti_sweep_chunk {
	uint64_t first_block;
	size_t blocks;
	uint64_t data_offset; /* bytes from the data device's start */
	size_t data_len;
	uint8_t *data;
	uint64_t tag_offset; /* bytes from the metadata device's start */
	size_t tag_len;
	uint8_t *tags;
	bool data_failed; /* at least one read of the data failed: its content is undefined */
	bool tags_failed; /* likewise */
};

struct ti_sweep_options {
	enum ti_sweep_kind kind;
	/* VERIFY: called for each chunk, in ascending order.  After a failed read no other I/O is
	 * under way, so that it may use ti_queue_sync().  An error ends the sweep. */
	int (*visit)(void *ctx, const struct ti_sweep_chunk *chunk);
	void *ctx;
	struct ti_progress progress;
};

/**
 * Can format and check do I/O to these devices with this geometry?  Refuses logical blocks larger
 * than TI_MAX_LOGICAL_BLOCK and a superblock that does not start at a logical block.
 * Returns 0, -EOPNOTSUPP or -EINVAL.
 */
int ti_sweep_check_devices(const struct ti_queue *q, const struct ti_geometry *geo,
			   struct ti_error *error);

/**
 * Most blocks of one chunk.  All chunks but the last have that many, and their tags end at a
 * logical block of the metadata device.
 */
size_t ti_sweep_chunk_blocks(const struct ti_queue *q, const struct ti_geometry *geo,
			     enum ti_sweep_kind kind);

/**
 * Go over all blocks.  Nobody else uses @q meanwhile.  Allocates its buffers (about 16 MiB, 70
 * MiB when tags are odd and logical blocks large) before the first I/O.  Nothing is flushed.
 * Blocks.  Returns 0; -ENOMEM; -ECANCELED when progress said so; the first error of a write, of an
 * ADOPT's read, or of visit().  No I/O is under way on return.
 */
int ti_sweep(struct ti_queue *q, const struct ti_geometry *geo, const struct ti_hash *hash,
	     const struct ti_sweep_options *options, struct ti_error *error);

#endif
