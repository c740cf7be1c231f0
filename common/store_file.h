/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Files on tmpfs in which a LUN's memory outlives the process, but not the machine.
 *
 * tcmu-runner may be killed while the machine and the initiators live on.  What it has acknowledged
 * must then be there for its successor, also what was only in memory.  So that memory lies in
 * files, mapped shared: a reboot removes them, a kill does not.
 *
 *	NAME		tags that are newer than the device	tag_store.h
 *	NAME.journal	the journal's ring			journal_store.h
 *
 * Each begins with a page that says of which pair it is.  A file of another pair (other layout, LUN
 * or salt) is no file.  Integers are the machine's own: the file never leaves its memory.
 *
 * The kernel kills a process between two instructions, each thread's stores are in the file in the
 * order of its instructions.  So a writer needs a compiler barrier where a reader relies on an
 * order (ti_store_put()), and no more.
 */
#ifndef TI_STORE_FILE_H
#define TI_STORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockdev.h"
#include "geometry.h"
#include "hash.h"

/** Where the handler keeps them. */
#define TI_STORE_DIR "/run/tcmu-integrity"

/** What follows the name of the file of tags. */
#define TI_STORE_JOURNAL ".journal"
/** The handler's, of what MODE SELECT has changed.  It holds nothing that the devices lack. */
#define TI_STORE_MODE ".mode"

/** The first page holds struct ti_store_head and what the file's kind adds. */
#define TI_STORE_PAGE 4096U

#define TI_STORE_MAGIC_BYTES 16U
#define TI_STORE_PATH_BYTES  128U

/** The pair that a store belongs to. */
struct ti_store_pair {
	struct ti_queue *queue;
	const struct ti_superblock *sb;
	const struct ti_geometry *geo;
	const struct ti_hash *hash;
};

/** Which pair.  Compared as bytes: no padding. */
struct ti_store_identity {
	uint64_t data_bytes, meta_bytes; /* for people: not compared, a device may grow */
	uint64_t start_sector, tag_offset, provided_sectors;
	uint32_t block_size, tag_size;
	uint32_t journal_sections, section_sectors;
	uint8_t salt[TI_SALT_BYTES];
};

_Static_assert(sizeof(struct ti_store_identity) == 56 + TI_SALT_BYTES, "no padding");

struct ti_store_head {
	char magic[TI_STORE_MAGIC_BYTES];
	uint64_t bytes; /* of the file */
	struct ti_store_identity identity;
};

struct ti_store_file {
	uint8_t *map; /* begins with struct ti_store_head */
	size_t bytes;
	char *path;
};

/** How a file that exists is mapped. */
enum ti_store_map {
	TI_STORE_LOOK,	  /* for reading */
	TI_STORE_SCRAP,	  /* changes stay in this process */
	TI_STORE_INHERIT, /* shared, and locked in memory */
	TI_STORE_HEAD	  /* the same, its first page only: for that there is always room */
};

/**
 * Make a file of @bytes, all present, locked (*@locked as in ti_memory_get()), zeroed but for its
 * head.  It is not yet under its name: ti_store_file_publish().  Returns 0 or negative errno:
 * -ENOSPC also if it would take more than half of what the file system has left.
 */
int ti_store_file_create(const char *path, const char *magic, const struct ti_store_pair *pair,
			 size_t bytes, bool *locked, struct ti_store_file *file);

/** Put it in the place of whatever has its name now.  Returns 0 or negative errno. */
int ti_store_file_publish(const struct ti_store_file *file);

/**
 * Map an existing file.  Its head is right and its size is what the head says, more than a page;
 * nothing else has been checked.  @locked may be NULL unless it is inherited.
 * Returns 0, -ENOENT if there is none, -ESTALE if it is none of this pair's, or the error because
 * of which it cannot be looked at.
 */
int ti_store_file_map(const char *path, const char *magic, const struct ti_store_pair *pair,
		      enum ti_store_map how, bool *locked, struct ti_store_file *file);

/**
 * Give back the room of all but the first page of the file at @path: it keeps its size, and what it
 * held is zero.  At once for whoever maps it then.  Returns 0 or negative errno.
 */
int ti_store_file_empty(const char *path);

/** Unmap and delete one that was created and not published.  What has its name stays. */
void ti_store_file_discard(struct ti_store_file *file);

/** Unmap; @remove: delete the file, too.  One that was never mapped is fine. */
void ti_store_file_close(struct ti_store_file *file, bool remove);

/** Store a word that a successor relies on: nothing is moved across it. */
static inline void ti_store_put(uint64_t *word, uint64_t value)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/**
 * The NAME of a pair's files in @dir, for the metadata device at @meta_path and the sector of its
 * superblock.  The device's number or the file's inode names it, so every path to it leads to the
 * same name.  Creates nothing.  Any thread.  Returns 0 or negative errno.
 */
int ti_store_name(const char *dir, const char *meta_path, uint64_t start_sector, char *name,
		  size_t size);

/** The files of a pair that are there. */
struct ti_store_found {
	unsigned count; /* 0 to 2 */
	char path[2][TI_STORE_PATH_BYTES];
	char mode[TI_STORE_PATH_BYTES]; /* TI_STORE_MODE, or "": not counted */
};

/**
 * Find the files that a tcmu-runner which serves the pair, or died while it did, has in @dir
 * (usually TI_STORE_DIR).  For check, which says that they are there, and for format, after which
 * they are worth nothing: unlink() them while the pair is held exclusively.  Any thread.  Returns 0
 * or negative errno; no directory means that there are none.
 */
int ti_store_find(const char *dir, const char *meta_path, uint64_t start_sector,
		  struct ti_store_found *found);

#endif
