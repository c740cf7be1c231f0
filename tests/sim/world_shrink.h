/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Make a schedule that fails shorter: leave out steps as long as it still fails.
 */
#ifndef WORLD_SHRINK_H
#define WORLD_SHRINK_H

#include "world_schedule.h"

/*
 * @keep[i] says whether step i is still there; on return, which ones are needed.  fails() says
 * whether a schedule fails, and is asked at most @tries times.
 */
void schedule_shrink(const struct schedule *s, bool *keep,
		     bool (*fails)(void *ctx, const struct schedule *s), void *ctx, unsigned tries);

#endif
