/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Memory for keys and for what is computed from them.
 *
 * It is never swapped out, in no core dump, not inherited by children, and wiped before it goes.
 * Whoever copies from it wipes the copy.
 */
#ifndef TI_SECRET_H
#define TI_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ti_secret {
	size_t len;  /* bytes in use; the holder sets it */
	size_t room; /* bytes that there are */
	uint8_t bytes[];
};

/**
 * Zeroed secret memory for @room bytes; the caller's, to be given to ti_secret_free().  Returns 0;
 * -ENOMEM if there is none, or none that may be locked.  Any thread.
 */
int ti_secret_alloc(size_t room, struct ti_secret **secret);

/** A copy of @from in secret memory of its own.  As ti_secret_alloc(). */
int ti_secret_copy(const struct ti_secret *from, struct ti_secret **secret);

/** Wipe and release; NULL is fine. */
void ti_secret_free(struct ti_secret *secret);

/**
 * Wipe what functions that have been called and have returned left on this thread's stack: of the
 * libraries' some leave pieces of what they worked on.  For whoever has handed a key to one, in the
 * function that has.  Any thread with so much stack left (16 KiB).
 */
void ti_secret_wipe_stack(void);

/**
 * Do both hold the same @len bytes?  Takes as long whatever they hold, so that nobody who can try
 * tags or MACs learns how much of a guess was right.  All tags are compared by it.  io path.
 */
bool ti_secret_equal(const void *a, const void *b, size_t len);

#endif
