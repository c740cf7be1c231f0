/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The process dies in the middle of something.
 *
 * Other kills come between two runs of the engine, when it is at rest.  This one comes while it is
 * at work: when it is about to make tags, of which each entry of a journal's section needs some, or
 * to submit I/O.  What it has on its stack is gone; what lies in shared memory, and what devices
 * have under way, stays as it is at that moment.
 */
#ifndef WORLD_DEATH_H
#define WORLD_DEATH_H

#include <setjmp.h>
#include <stdbool.h>

struct world_death {
	unsigned in; /* it dies at the so manieth place from now on; 0: it does not */
	jmp_buf to;
	bool may; /* `to` is set */
};

/* fn(ctx), in which the process may die.  Returns whether it has. */
bool world_death_try(struct world_death *death, void (*fn)(void *ctx), void *ctx);

/* It does not die any more. */
void world_death_off(struct world_death *death);

/* A place at which it may die. */
void world_death_place(struct world_death *death);

#endif
