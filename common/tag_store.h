/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Tags that outlive the process: the tag cache's memory in a file on tmpfs.
 *
 * A write is acknowledged when its tag is in the tag cache.  If the process is killed then, the
 * machine and the initiator live on, and the initiator's next flush is answered by a successor that
 * knows nothing of the tag: a flush that lies.  So the cache's lines lie in shared memory, each
 * with the place that it belongs to while it is newer than the device; the successor puts them
 * there.
 *
 * Little in the file is believed.  It must be of a pair of the same sizes, layout and salt, and a
 * tag is taken from it only if the one on the device does not match the block and the one in the
 * file does.  What remains: if somebody else writes to the pair between the kill and our next open,
 * and a device then loses such a write, the block that reappears may still have its tag here.  So a
 * pair whose runner was killed should be opened by a runner next.  After a reboot there is no file.
 */
#ifndef TI_TAG_STORE_H
#define TI_TAG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockdev.h"
#include "error.h"
#include "geometry.h"
#include "hash.h"
#include "log.h"

struct ti_tag_store {
	size_t lines;
	uint64_t *place; /* per line: its index in the tag area + 1 while it is dirty, else 0 */
	uint8_t *data;	 /* lines of TI_LINE_BYTES, page-aligned */

	void *map;
	size_t map_bytes;
	char *path;
};

/** The pair that a store belongs to. */
struct ti_tag_store_pair {
	struct ti_queue *queue;
	const struct ti_superblock *sb;
	const struct ti_geometry *geo;
	const struct ti_hash *hash;
};

/**
 * If a killed predecessor has left a file at @path, bring its tags to the metadata device, durably.
 * A file of another pair (other sizes, layout or salt) is none.  A block that cannot be read keeps
 * its old tag.  Allocates; blocks.  Returns 0 (also if there is no file), or what the metadata
 * device or the file system said: then the file is kept for the next try.
 */
int ti_tag_store_rescue(const char *path, const struct ti_tag_store_pair *pair,
			const struct ti_log *log, struct ti_error *error);

/**
 * Make a fresh file of @lines lines, mapped and locked (*@locked as in ti_memory_get()).  Whatever
 * was at @path is replaced.  Returns 0 or negative errno.
 */
int ti_tag_store_open(const char *path, const struct ti_tag_store_pair *pair, size_t lines,
		      bool *locked, struct ti_tag_store **store);

/** Unmap; @remove: nothing in it is needed any more, delete the file.  NULL is fine. */
void ti_tag_store_close(struct ti_tag_store *store, bool remove);

#endif
