/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * How long work tells its user how far it is, and is told to stop.
 */
#ifndef TI_PROGRESS_H
#define TI_PROGRESS_H

#include <stdint.h>

struct ti_progress {
	/* Called every few MiB with bytes of the data device: @done only grows and reaches @total
	 * at the end.  Returns 0 to go on; anything else stops the work, which then ends with
	 * -ECANCELED.  NULL: nobody wants to know. */
	int (*step)(void *ctx, uint64_t done, uint64_t total);
	void *ctx;
};

static inline int ti_progress_step(const struct ti_progress *p, uint64_t done, uint64_t total)
{
	return p->step ? p->step(p->ctx, done, total) : 0;
}

#endif
