/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A crew: helper threads that make some of the tags of a large request, for digests that are slow.
 *
 * The request's own thread cuts the request into pieces.  It copies some of them into the crew's
 * own memory and offers them there; a helper that has nothing to do takes one.  The others it makes
 * itself, from the front on.  In the end it takes back what no helper has begun, and what a helper
 * has begun and not ended it makes once more instead of waiting: a helper that is not scheduled
 * costs the request the time of one piece, not the milliseconds until it is.
 *
 * So a helper may be late by any time, and nobody cares:
 *
 * - It reads nothing but its piece in the crew's memory.  The request's own memory may be anything
 *   by then; with tcmu the kernel may even have taken the pages away, and a read would be SIGBUS.
 *   Copying costs a few percent of what the slowest digests that are shared cost.
 * - It writes nothing but the piece's tags in the crew's memory.  The request's thread copies them
 *   when the piece is done, and only then.
 * - A piece's memory is not offered again before the helper has let go of it.  There are more
 *   pieces than helpers, so that late ones do not keep the others idle.
 *
 * A piece's state is one word; all that goes from thread to thread goes by it.  No thread ever
 * waits for another one, but a helper for an offer.
 */
#ifndef TI_HASH_CREW_H
#define TI_HASH_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hash.h"
#include "io_thread.h"
#include "iov.h"
#include "secret.h"

/** The most helpers that a crew may have. */
#define TI_HASH_CREW_MAX 16U

struct ti_hash_crew;

/**
 * For tests, in the place of threads: chance() is called, in the request's own thread, wherever a
 * helper might get on.  It may call ti_hash_helper_step() for any of them, as often as it likes.
 */
struct ti_hash_crew_script {
	void (*chance)(void *ctx, struct ti_hash_crew *crew);
	void *ctx;
};

struct ti_hash_crew_options {
	unsigned helpers;   /* 0: there is no crew */
	size_t piece_bytes; /* 0: 16 KiB; at least a block */
	size_t share_bytes; /* requests from this size on are shared; 0: measured */
	const struct ti_hash_crew_script *script; /* NULL: threads */
};

/** So many helpers are right for this machine: one less than there are processors, at most 3. */
unsigned ti_hash_crew_suits(void);

/**
 * Start a crew that makes the same tags as @own does.  @key and @salt: as @own has got them, not
 * needed afterwards.  @own is the request's thread's, and stays where it is.  All memory is taken
 * here.  Returns 0, with *@crew NULL if none is wanted or, unless share_bytes says
 * otherwise, the digest is a fast one; negative errno
 * if not even one helper can be had.  *@locked is set to false if memory could not be locked.
 */
int ti_hash_crew_open(const struct ti_hash_crew_options *options, const struct ti_hash *own,
		      const struct ti_secret *key, const uint8_t *salt, bool *locked,
		      struct ti_hash_crew **crew);

/** End the helpers and wait for them; wipe and release.  NULL is fine. */
void ti_hash_crew_close(struct ti_hash_crew *crew);

/** What the helpers are and have got. */
struct ti_io_threads ti_hash_crew_threads(const struct ti_hash_crew *crew);

/** Would the tags of so many blocks be made together?  @crew may be NULL.  io path. */
bool ti_hash_crew_shares(const struct ti_hash_crew *crew, size_t blocks);

/**
 * As ti_hash_blocks(), with the helpers' help.  One thread at a time, the one that may use the
 * crew's own digest.  Allocates nothing, blocks on nothing.  io path.
 */
void ti_hash_crew_blocks(struct ti_hash_crew *crew, uint64_t sector, struct ti_iov_cursor *data,
			 size_t n, uint8_t *tags);

/** Pieces that helpers have made and that were taken, ever; and those that were made once more. */
struct ti_hash_crew_stats {
	uint64_t helped, repeated;
	size_t share_bytes; /* requests from this size on are shared */
};
struct ti_hash_crew_stats ti_hash_crew_stats(const struct ti_hash_crew *crew);

/**
 * A helper's next step, for its thread or a script: take a piece that is offered; make its tags;
 * hand it in, or let go of it if nobody waits for it any more.  False: there is nothing to do.  io
 * path.
 */
bool ti_hash_helper_step(struct ti_hash_crew *crew, unsigned helper);

#endif
