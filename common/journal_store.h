/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The journal's memory, in a file on tmpfs: a successor goes on where a killed process was.
 *
 * In mode journal a write is acknowledged when its blocks stand in entries in memory.  The file
 * holds all sections, and for each one a word: what has become of it, with which sequence number it
 * lies on the medium, and its turn in the ring.  That is all that the ring is made of, so it is
 * taken over as it is: nothing is copied, replayed or written, and a kill of the successor, at
 * whatever moment, leaves the same kind of file again.
 *
 *	CLEAN	  may be filled; what is in memory is on the medium
 *	OPENING	  may be filled; its entries are being cleared: what is in memory means nothing
 *	FILLED	  entries that no commit has tried to write; the medium holds what it held before
 *	TRIED	  a commit of it has begun: each sector on the medium is the old one or this one
 *	COMMITTED on the medium for certain; not yet, or not for certain, in its place
 *
 *	CLEAN -> OPENING -> FILLED -> TRIED -> COMMITTED -> CLEAN
 *
 * Each step is one store of one word, and what it says is true before and after it; what it says of
 * the section's entries is true before it (OPENING, FILLED: none of them is used).  An entry is
 * used from the store of its sector number on, which comes last.  A section that has been TRIED
 * never changes, and an entry never changes: a newer one of the same block counts.
 *
 * Where there is no tmpfs the memory is the process's own, and dies with it.
 */
#ifndef TI_JOURNAL_STORE_H
#define TI_JOURNAL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "log.h"
#include "store_file.h"

enum ti_section_state {
	TI_SECTION_CLEAN = 1, /* 0 is none */
	TI_SECTION_OPENING,
	TI_SECTION_FILLED,
	TI_SECTION_TRIED,
	TI_SECTION_COMMITTED,
};

struct ti_journal_store {
	uint8_t *memory; /* the sections, page-aligned */
	size_t memory_bytes;
	uint64_t *word; /* one for each section */
	bool inherited; /* there is a predecessor's ring in it, not looked at yet */

	struct ti_store_file file; /* map NULL: memory of our own */
	void *own;
	size_t own_bytes;
	bool scrap; /* read-only: the file stays as it is */
};

/** What a section's word says. */
struct ti_section_word {
	enum ti_section_state state;
	uint8_t seq;   /* on the medium; TRIED: or the next number */
	uint64_t turn; /* sections are filled in this order */
};

/* A word: check (12 bits), turn (47), state (3), seq (2). */
#define TI_SECTION_MAX_TURN ((1ULL << 47) - 1)

static inline uint64_t ti_section_check(uint32_t i, uint64_t word)
{
	word &= (1ULL << 52) - 1;
	return (word + i + 1) * 0x9e3779b97f4a7c15ULL >> 52 << 52;
}

/** A word that nobody has set like this has state 0. */
static inline struct ti_section_word ti_section_word(const struct ti_journal_store *s, uint32_t i)
{
	uint64_t word = __atomic_load_n(&s->word[i], __ATOMIC_RELAXED);

	if (ti_section_check(i, word) != word >> 52 << 52)
		return (struct ti_section_word){ .state = (enum ti_section_state)0 };
	return (struct ti_section_word){ .state = (enum ti_section_state)(word >> 2 & 7),
					 .seq = (uint8_t)(word & 3),
					 .turn = word >> 5 & TI_SECTION_MAX_TURN };
}

/** io path. */
static inline void ti_section_set(struct ti_journal_store *s, uint32_t i, struct ti_section_word w)
{
	uint64_t word = (w.turn & TI_SECTION_MAX_TURN) << 5 | (uint64_t)w.state << 2 | (w.seq & 3);

	ti_store_put(&s->word[i], ti_section_check(i, word) | word);
}

static inline void ti_section_set_state(struct ti_journal_store *s, uint32_t i,
					enum ti_section_state state)
{
	struct ti_section_word w = ti_section_word(s, i);

	w.state = state;
	ti_section_set(s, i, w);
}

/** Is there a file at @path that holds a journal's ring, of whichever pair? */
bool ti_journal_store_exists(const char *path);

/**
 * Memory for a ring of @sections sections: a predecessor's if there is one at @path, else a fresh
 * file's, else (a warning says so, unless @path is NULL) the process's own.  @read_only: look at a
 * predecessor's, change nothing, make nothing.  *@locked as in ti_memory_get().
 * Returns 0 or negative errno with a sentence in @error.
 */
int ti_journal_store_open(const char *path, const struct ti_store_pair *pair, bool read_only,
			  const struct ti_log *log, bool *locked, struct ti_journal_store **store,
			  struct ti_error *error);

/** From now on the ring in it is what a successor takes over; all words are set. */
void ti_journal_store_begin(struct ti_journal_store *s);

/** Nothing in it is needed any more, or may be believed. */
void ti_journal_store_drop(struct ti_journal_store *s);

/** Unmap; a file that holds no ring (never begun, or dropped) is deleted.  NULL is fine. */
void ti_journal_store_close(struct ti_journal_store *s);

#endif
