/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The journal at run time: a ring of sections, all of it in memory and on the metadata device.
 *
 * The ring, from the oldest section on:
 *
 *	[committed: on the medium; the first `writing` of them on their way to their places]
 *	[committing: being written to the journal]
 *	[filled: in memory only; new entries go into the last one while it is open]
 *	[free]
 *
 * A write is complete when its blocks stand in entries.  A commit makes the filled sections
 *durable; write-out carries committed ones to the data device and the tag area, flushes both, and
 *only then frees them.  Until a section is free its bytes on the medium are what a crash needs, so
 *nothing else is written over it.
 *
 * Files: journal_ring.c entries and sections, journal_commit.c, journal_writeout.c,
 *journal_clear.c (discards), journal_replay.c (load, replay, erase), policy_journal.c (the policy
 *that puts them together); journal_store.c (the memory, which outlives the process),
 *journal_resume.c (its successor).
 */
#ifndef TI_JOURNAL_H
#define TI_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "journal_format.h"
#include "journal_store.h"
#include "lun_internal.h"

#define TI_JOURNAL_OPS	  64U	      /* runs on their way out at once */
#define TI_JOURNAL_TAGS	  (16U << 10) /* bytes of tags in one run */
#define TI_JOURNAL_PIECES 256U	      /* pieces of memory of one run */

/* One block in the journal.  References are entry numbers + 1; 0: none. */
struct ti_journal_entry {
	uint64_t block;
	uint32_t newer; /* the next newer entry of the same block */
	uint32_t next;	/* in the table's chain */
	bool used;
};

/* A run of neighbouring blocks on its way to its place. */
struct ti_journal_op {
	struct ti_journal *journal;
	uint64_t block;
	uint32_t blocks;
	unsigned pieces;
	unsigned pending;
	struct ti_io io;
	struct ti_tag_pin pin;
	uint8_t *tags; /* TI_JOURNAL_TAGS */
	struct iovec iov[TI_JOURNAL_PIECES];
	STAILQ_ENTRY(ti_journal_op) link;
};

STAILQ_HEAD(ti_journal_ops, ti_journal_op);

/* The least and the largest of some blocks; first > last: there are none. */
struct ti_journal_span {
	uint64_t first, last;
};

struct ti_journal {
	struct ti_lun *lun;
	const struct ti_geometry *geo;
	struct ti_journal_ids ids;
	size_t section_bytes;
	uint32_t sections;	  /* N */
	uint32_t section_entries; /* E */

	struct ti_journal_store *store;
	uint8_t *memory; /* the store's: all sections, in plain text */
	uint8_t *sealed; /* encrypted, as they lie on the medium; NULL: as in memory */
	size_t memory_bytes, sealed_bytes;
	struct ti_journal_entry *entry;
	size_t entry_bytes;
	uint32_t *table; /* newest entry of each block */
	size_t table_bytes;
	unsigned table_shift;
	uint32_t used_entries;

	/* The ring. */
	uint32_t first; /* oldest section that is not free */
	uint32_t committed, committing, filled;
	uint32_t writing;   /* of the committed ones, the first */
	uint32_t fill;	    /* entries taken in the last filled section; E: it is closed */
	uint64_t threshold; /* free entries at which the journal is emptied */
	uint8_t seq;	    /* commit sequence number of the next section to be committed */
	bool entries;	    /* the journal on the medium may hold some */

	/* Slots that wait for entries, in the order of their turns. */
	struct ti_slot_list want;
	uint64_t turns;

	/* Discards.  Which block each entry on the medium names, also in sections that are free, or
	 * filled again and not yet committed; UINT64_MAX: none.  NULL: there are no discards. */
	uint64_t *medium;
	struct ti_journal_span *span; /* of each section, what these lie between */
	size_t medium_bytes, span_bytes;
	struct ti_slot_list clear;  /* discards that wait for their ranges to be cleared */
	bool clear_look;	    /* something has happened that may help one of them */
	bool draining;		    /* one of them needs a write-out */
	uint64_t discards_flushed;  /* of flusher.discards: durable */
	uint64_t discards_flushing; /* durable when the commit under way ends well */

	/* Commit. */
	bool commit_running;
	bool commit_wanted; /* by time, or to make room */
	uint8_t commit_seq; /* seq when the commit under way began */
	bool commit_failed; /* the last one: wait for a reason to try again */
	bool commit_sections_failed;
	unsigned commit_pending, commit_writes;
	struct ti_result commit_result;
	struct ti_io commit_io[2], commit_flush[TI_DEVICES];
	struct iovec commit_iov[2];
	struct ti_flush_waiters now, next;
	bool tick_filled; /* something was filled at the last tick */
	uint64_t insertions;

	/* Write-out. */
	bool writeout_running;
	bool writeout_all; /* whatever the threshold says: close, replay */
	uint32_t at_section,
		at_entry; /* the next entry to look at, from the ring's first section */
	unsigned ops_busy;
	struct ti_result writeout_result;
	bool writeout_flushing; /* all runs are done */
	bool writeout_failed;	/* the last one: wait for a reason to try again */
	struct ti_flush_waiter writeout_flush;
	struct ti_journal_op *ops;
	size_t ops_bytes;
	uint8_t *tags;
	size_t tags_bytes;
	struct ti_journal_ops free_ops, done_ops;
	uint32_t run_blocks; /* most blocks of a run */

	uint64_t commits, writeouts;
	struct ti_stopwatch watch; /* commits that somebody waits for */
};

/* journal_ring.c */
/** @path: of the file for its memory, or NULL.  lun->locked_memory as in ti_memory_get(). */
int ti_journal_alloc(struct ti_lun *lun, const char *path, struct ti_journal **journal,
		     struct ti_error *error);
void ti_journal_free(struct ti_journal *j);

static inline uint8_t *ti_journal_section(const struct ti_journal *j, uint32_t i)
{
	return j->memory + (size_t)i * j->section_bytes;
}

/** Where section @i lies as it goes to the medium; ti_seal_encrypt() puts it there. */
static inline uint8_t *ti_journal_sealed(const struct ti_journal *j, uint32_t i)
{
	return (j->sealed != NULL ? j->sealed : j->memory) + (size_t)i * j->section_bytes;
}

static inline uint32_t ti_journal_ring(const struct ti_journal *j, uint32_t n)
{
	return (uint32_t)(((uint64_t)j->first + n) % j->sections);
}

static inline uint32_t ti_journal_free_sections(const struct ti_journal *j)
{
	return j->sections - j->committed - j->committing - j->filled;
}

uint64_t ti_journal_free_entries(const struct ti_journal *j);

/** The newest entry of a block, or NULL.  Its place. */
struct ti_journal_entry *ti_journal_find(const struct ti_journal *j, uint64_t block);
/** The block's bytes in an entry: @size bytes to @out. */
void ti_journal_copy(const struct ti_journal *j, const struct ti_journal_entry *e, uint8_t *out);

/**
 * Make sure that the next @blocks new entries will be in one section, of which an open one's rest
 * may be left unused.  False: there is no room for them now.
 */
bool ti_journal_make_room(struct ti_journal *j, uint32_t blocks);

/**
 * Put a block into the journal, in a new entry.  There is a free one.  The cursor moves.  Returns
 * where the block is now, from which its tag is made: what is hashed is what is written.  The entry
 * then gets the tag and is published, before anything else happens.
 */
uint8_t *ti_journal_insert(struct ti_journal *j, uint64_t block, struct ti_iov_cursor *data);

/** The tag of the newest entry of the block, which is published then, or later. */
void ti_journal_tag(struct ti_journal *j, uint64_t block, const uint8_t *tag, bool publish);

/**
 * Publish the newest entry of the block.  If the process is killed before, a successor finds
 * neither it nor those behind it in its section.
 */
void ti_journal_publish(struct ti_journal *j, uint64_t block);

/** Entry @n of section @i is used by @block: into the table, older ones are superseded. */
void ti_journal_link(struct ti_journal *j, uint32_t i, uint32_t n, uint64_t block);

/** Put the displaced last bytes of an entry's sectors back into place, in memory. */
void ti_journal_restore(struct ti_journal *j, uint32_t i, uint32_t n);

/** Has the entry a newer one that is committed? */
bool ti_journal_superseded(const struct ti_journal *j, const struct ti_journal_entry *e);

/** The first @count sections of the ring are free. */
void ti_journal_release(struct ti_journal *j, uint32_t count);

/** The next section of the ring begins to be filled; an open one stays as it is.  One is free. */
void ti_journal_open_section(struct ti_journal *j);

/** No I/O of the journal's is under way. */
bool ti_journal_idle(const struct ti_journal *j);

/**
 * The slot waits for entries.  One whose request has got a part of what it needs stays before those
 * that came later, so that requests end in the order of their arrival.
 */
void ti_journal_want(struct ti_journal *j, struct ti_slot *slot);

/** Give waiting slots entries as far as there are some; or let them all fail. */
void ti_journal_serve_want(struct ti_journal *j);
void ti_journal_fail_want(struct ti_journal *j, const struct ti_result *result);

/* journal_commit.c */
void ti_journal_commit_join(struct ti_journal *j, struct ti_flush_waiter *waiter);
/** Start a commit if somebody wants one and none is under way.  True if waiters were told. */
bool ti_journal_commit_run(struct ti_journal *j);

/* journal_writeout.c */

/** Start a write-out if there is a reason, carry on the one under way.  True if anything moved. */
bool ti_journal_writeout_run(struct ti_journal *j);

/* journal_clear.c */

/** Make room for what the medium's entries name; every one is unused.  Returns 0 or -ENOMEM. */
int ti_journal_medium_alloc(struct ti_journal *j, bool *locked);
void ti_journal_medium_free(struct ti_journal *j);
/** The medium has section @i as it is at @section, in plain text. */
void ti_journal_medium_set(struct ti_journal *j, uint32_t i, const uint8_t *section);

/** The slot's discard waits until nothing can write to its range any more. */
void ti_journal_clear(struct ti_journal *j, struct ti_slot *slot);
/** See what discards wait for.  True if anything moved. */
bool ti_journal_clear_run(struct ti_journal *j);
/** Let them all fail. */
void ti_journal_fail_clear(struct ti_journal *j, const struct ti_result *result);

/* journal_replay.c */

/**
 * Go on with the ring of a predecessor that was killed, if there is one.  Else read the journal;
 * verify what is to be replayed; make it the ring's committed part and write it out; then leave a
 * ring that can be continued: as it is if all of it was whole and @keep, else erased.  Not @keep:
 * everything is in its place and the journal is empty.  Blocks.
 */
int ti_journal_start(struct ti_journal *j, bool keep, struct ti_error *error);

/** Write everything out and leave an empty journal behind.  Blocks. */
int ti_journal_stop(struct ti_journal *j);

/** Does entry @n of section @i, for @sector, match its tag?  Its last bytes are restored. */
bool ti_journal_verify(struct ti_journal *j, uint32_t i, uint32_t n, uint64_t sector);

/* journal_resume.c */

/**
 * Take over the ring that the store has inherited, if it is sound and the medium still is what it
 * says; else nothing of it is believed, and the store is dropped.  Writes nothing: the caller
 * commits what was not.  Blocks.
 * Returns 1 if the ring is taken over, 0 if it is not, or negative errno with a sentence in @error:
 * what the metadata device said, -EUCLEAN if the open is read-only and the ring holds writes,
 * -EILSEQ or -EUCLEAN if digest or keys are perhaps not its own; then the store is as it was.
 */
int ti_journal_resume(struct ti_journal *j, struct ti_error *error);

#endif
