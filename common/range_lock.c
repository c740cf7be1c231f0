/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * See range_lock.h.  The invariant: range->blockers is the number of ranges before it in the list
 * that conflict with it; a range is held exactly when that is zero.
 */
#include "range_lock.h"

#include <assert.h>
#include <stddef.h>

static bool conflict(const struct ti_range *a, const struct ti_range *b)
{
	return (a->exclusive || b->exclusive) && a->first < b->end && b->first < a->end;
}

void ti_range_locks_init(struct ti_range_locks *locks)
{
	TAILQ_INIT(&locks->list);
}

bool ti_range_lock(struct ti_range_locks *locks, struct ti_range *range)
{
	struct ti_range *older;

	range->blockers = 0;
	TAILQ_FOREACH (older, &locks->list, link)
		if (conflict(older, range))
			range->blockers++;
	TAILQ_INSERT_TAIL(&locks->list, range, link);
	return range->blockers == 0;
}

void ti_range_unlock(struct ti_range_locks *locks, struct ti_range *range)
{
	struct ti_range *younger = TAILQ_NEXT(range, link), *next;

	assert(range->blockers == 0);
	TAILQ_REMOVE(&locks->list, range, link);
	for (; younger != NULL; younger = next) {
		next = TAILQ_NEXT(younger, link);
		if (!conflict(range, younger))
			continue;
		assert(younger->blockers > 0);
		if (--younger->blockers == 0)
			younger->granted(younger);
	}
}
