/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * See world_shrink.h.  Delta debugging: leave out halves, then quarters, then eighths and so on of
 * what is left; what can be left out stays out; begin anew until no single step can be.
 */
#include "world_shrink.h"

#include <stdlib.h>
#include <string.h>

struct shrinking {
	const struct schedule *whole;
	bool *keep;
	bool (*fails)(void *ctx, const struct schedule *s);
	void *ctx;
	unsigned tries;
};

static bool still_fails(struct shrinking *s, const bool *keep)
{
	struct schedule shorter;
	bool fails;

	if (s->tries == 0)
		return false;
	s->tries--;
	schedule_keep(&shorter, s->whole, keep);
	fails = s->fails(s->ctx, &shorter);
	schedule_free(&shorter);
	return fails;
}

/* Leave out those of the steps still there that are number @first to @first + @count - 1. */
static bool leave_out(struct shrinking *s, unsigned first, unsigned count)
{
	size_t bytes = s->whole->steps * sizeof(bool);
	bool *keep = malloc(bytes + 1), fails;
	unsigned number = 0;

	if (keep == NULL)
		abort();
	memcpy(keep, s->keep, bytes);
	for (unsigned i = 0; i < s->whole->steps; i++) {
		if (!s->keep[i])
			continue;
		if (number >= first && number < first + count)
			keep[i] = false;
		number++;
	}
	fails = still_fails(s, keep);
	if (fails)
		memcpy(s->keep, keep, bytes);
	free(keep);
	return fails;
}

static unsigned kept(const struct shrinking *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->whole->steps; i++)
		n += s->keep[i];
	return n;
}

void schedule_shrink(const struct schedule *whole, bool *keep,
		     bool (*fails)(void *ctx, const struct schedule *s), void *ctx, unsigned tries)
{
	struct shrinking s = { whole, keep, fails, ctx, tries };
	unsigned piece = (kept(&s) + 1) / 2;

	while (piece > 0 && s.tries > 0) {
		bool any = false;
		/* From the end: later steps are seldom the cause of earlier ones. */
		unsigned at = kept(&s);

		while (at > 0) {
			unsigned count = at < piece ? at : piece;

			at -= count;
			any |= leave_out(&s, at, count);
		}
		if (!any || piece > 1)
			piece = piece == 1 ? 0 : piece / 2;
	}
}
