/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* Writing the superblock of a pair that exists, durably. */
#ifndef TI_SUPERBLOCK_IO_H
#define TI_SUPERBLOCK_IO_H

#include "blockdev.h"
#include "error.h"
#include "geometry.h"
#include "seal.h"
#include "superblock.h"

/**
 * Write @sb, sealed, and flush the metadata device.  Nobody else uses @q.  Blocks.  Returns 0,
 * -ENOMEM, or what the device said.
 */
int ti_superblock_store(struct ti_queue *q, const struct ti_geometry *geo,
			const struct ti_seal *seal, const struct ti_superblock *sb,
			struct ti_error *error);

#endif
