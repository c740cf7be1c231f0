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
 * The file also says whether a device's flush has failed, which must not be forgotten either: in
 * every mode, for every LUN has a tag cache.
 *
 * Little in the file is believed.  It must be of a pair of the same layout and salt, and a
 * tag is taken from it only if the one on the device does not match the block.  (If the file's does
 * not either, a write was under way, or the digest is the wrong one.  A block that cannot be read
 * counts as one that does not match: an outage must not cost it its tag.)  What
 * remains: if somebody else writes to the pair between the kill and our next open, and a device
 * then loses such a write, the block that reappears may still have its tag here.  So a pair whose
 * runner was killed should be opened by a runner next.  After a reboot there is no file.
 */
#ifndef TI_TAG_STORE_H
#define TI_TAG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "log.h"
#include "store_file.h"

/** What a predecessor has left, beside tags. */
struct ti_inheritance {
	bool found;		/* a file of this pair */
	bool doubt[TI_DEVICES]; /* see ti_tag_store_doubt() */
	int broken[TI_DEVICES]; /* 0, or the negative errno of a flush that has failed */
};

struct ti_tag_store {
	size_t lines;	  /* 0: a file that is only kept for what it says of flushes */
	uint64_t *broken; /* per device: errno of its first failed flush, positive; 0: none */
	uint64_t *doubt;  /* a bit per device; see ti_tag_store_doubt() */
	uint64_t *place;  /* per line: its index in the tag area + 1 while it is dirty, else 0 */
	uint8_t *data;	  /* lines of TI_LINE_BYTES, page-aligned */
	struct ti_store_file file;
	bool published; /* the file is at its path */
};

/**
 * If a predecessor has left a file at @path, because it was killed or could not write everything,
 * bring its tags to the metadata device, durably; @inherited gets what else it says.  A file of
 * another pair is none.  A block that cannot be read gets the file's tag.  If the flush fails, the
 * file says so from now on.  Allocates; blocks.
 * Returns 0 (also if there is no file), or what the metadata device or the file system said: then
 * the file is kept for the next try.
 */
int ti_tag_store_rescue(const char *path, const struct ti_store_pair *pair,
			const struct ti_log *log, struct ti_inheritance *inherited,
			struct ti_error *error);

/**
 * Has a predecessor left a file of this pair at @path?  For who will not bring its tags home.
 * Changes nothing; blocks.  Returns 1, 0, or the negative errno of a file that cannot be looked at.
 */
int ti_tag_store_found(const char *path, const struct ti_store_pair *pair);

/**
 * Make a fresh file of @lines lines, mapped and locked (*@locked as in ti_memory_get()).  It is not
 * yet at @path, where a predecessor's may be.  Returns 0 or negative errno.
 */
int ti_tag_store_open(const char *path, const struct ti_store_pair *pair, size_t lines,
		      bool *locked, struct ti_tag_store **store);

/**
 * Where there is no room for one: keep the predecessor's, which was rescued, for what it says, and
 * for what is to be said of flushes from now on.  It holds no lines.  Before, its room is given
 * back (ti_store_file_empty()), which may be all that was missing.  Returns 0 or negative errno.
 */
int ti_tag_store_keep(const char *path, const struct ti_store_pair *pair, bool *locked,
		      struct ti_tag_store **store);

/**
 * Let it say what was @inherited, and put it in the place of what is at its path, at once.  One
 * that was kept is there already.  Returns 0 or negative errno; then nothing is left there, but
 * a predecessor's file that says that a flush has failed, and the memory is still good.
 */
int ti_tag_store_publish(struct ti_tag_store *store, const struct ti_inheritance *inherited);

/** Note that a flush of @dev has failed with @error (negative errno); 0: that it is forgotten.
 * NULL is fine.  io path. */
void ti_tag_store_broken(struct ti_tag_store *store, enum ti_device dev, int error);

/**
 * Note that what is read from @dev may be in its cache only, and stay there whatever its next flush
 * says; or that all of it that matters has been written again.  Closing the LUN does not change
 * that.  NULL is fine.  io path.
 */
void ti_tag_store_doubt(struct ti_tag_store *store, enum ti_device dev, bool doubt);

/** Unmap; @remove: nothing in it is needed any more, delete the file.  One that was not published
 * is deleted, and what is at its path is left alone.  NULL is fine. */
void ti_tag_store_close(struct ti_tag_store *store, bool remove);

#endif
