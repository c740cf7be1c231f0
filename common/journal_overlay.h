/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What a replay would write, without writing: the blocks whose newest committed version lies in the
 * journal.
 */
#ifndef TI_JOURNAL_OVERLAY_H
#define TI_JOURNAL_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockdev.h"
#include "error.h"
#include "geometry.h"
#include "hash.h"
#include "seal.h"

struct ti_journal_overlay {
	uint64_t *block; /* ascending, each once */
	size_t count;
	size_t room;
};

/**
 * Read the journal and verify every entry that a replay would apply.  Writes nothing; nobody else
 * uses @q meanwhile.  Allocates 8 bytes per entry, which ti_journal_overlay_free() gives back, also
 * after an error.  Blocks.
 * Returns 0; -EUCLEAN if the journal is damaged, a section does not match its MAC or an entry its
 * tag; -ENOMEM; or what the device said.
 */
int ti_journal_overlay_load(struct ti_queue *q, const struct ti_geometry *geo,
			    const struct ti_seal *seal, const struct ti_hash *hash,
			    struct ti_journal_overlay *overlay, struct ti_error *error);

/** Is the block's newest version in the journal?  Any thread. */
bool ti_journal_overlay_has(const struct ti_journal_overlay *overlay, uint64_t block);

void ti_journal_overlay_free(struct ti_journal_overlay *overlay);

#endif
