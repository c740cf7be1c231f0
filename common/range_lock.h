/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Range locks: overlapping requests run one after the other, in the order of their arrival.
 *
 * Every range that is held or waits stands in one list, oldest first, and counts the older ones
 * that it conflicts with (its blockers); at zero it is granted.  A newcomer thus never overtakes an
 * older waiter that it overlaps, so nothing starves.  Readers share.  The list is as long as the
 * queue is deep, so a walk is short; no allocation.
 */
#ifndef TI_RANGE_LOCK_H
#define TI_RANGE_LOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct ti_range {
	uint64_t first; /* in any unit, the same for all */
	uint64_t end;	/* first one that is not in it */
	bool exclusive;
	unsigned blockers;
	/* Called from the ti_range_unlock() that made way.  Not for a range granted at once. */
	void (*granted)(struct ti_range *range);
	TAILQ_ENTRY(ti_range) link;
};

TAILQ_HEAD(ti_range_list, ti_range);

struct ti_range_locks {
	struct ti_range_list list;
};

void ti_range_locks_init(struct ti_range_locks *locks);

/**
 * Ask for a range; first, end, exclusive and granted are set by the caller, who owns it until
 * ti_range_unlock().  Returns true if it is held now; false: granted() will be called.  io path.
 */
bool ti_range_lock(struct ti_range_locks *locks, struct ti_range *range);

/** Give a held range back; calls granted() of those that waited only for it.  io path. */
void ti_range_unlock(struct ti_range_locks *locks, struct ti_range *range);

#endif
