/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What a tcmu-runner that was killed has left of a pair: see store_file.h.
 *
 * Its successor brings it to the devices when it opens the pair.  Until then the pair lacks writes
 * that were acknowledged, so whoever looks at it is told; and when the pair is formatted, what was
 * left is of no use to anybody.
 */
#ifndef CLI_LEFTOVER_H
#define CLI_LEFTOVER_H

#include <stdint.h>

#include "error.h"
#include "store_file.h"

/** Find the files.  None if they cannot be looked for: that is somebody else's to report. */
struct ti_store_found leftover_find(const char *meta, uint64_t start_sector);

/** Say on stderr that they are there, if they are.  The pair is not in use. */
void leftover_warn(const char *meta, const struct ti_store_found *found);

/** Before writing to the pair: an error if they are there.  Returns 0 or -EBUSY. */
int leftover_refuse(const char *meta, const struct ti_store_found *found, struct ti_error *error);

/** Delete them.  The pair is held exclusively.  Returns 0 or negative errno with a sentence. */
int leftover_delete(const struct ti_store_found *found, struct ti_error *error);

#endif
