/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Memory for the I/O path: taken at open, present and locked from then on.
 *
 * A machine may swap to this very LUN.  Memory that the I/O path touches must therefore never have
 * to be read back from swap, nor be found only when it is first touched.
 */
#ifndef TI_MEMORY_H
#define TI_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/**
 * Page-aligned, zeroed, present memory of @size bytes, locked if that is permitted; *@locked is set
 * to false when it is not (and left alone otherwise).  NULL when there is none.
 */
void *ti_memory_get(size_t size, bool *locked);

/** Give it back; @p may be NULL. */
void ti_memory_put(void *p, size_t size);

#endif
