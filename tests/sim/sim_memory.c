/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The engine's memory from the heap, in place of common/memory.c: a world opens LUNs by the hundred
 * thousand, and mapping and locking pages would take most of its time.  And the address sanitizer
 * sees what is used outside of its bounds or after its time.
 */
#include <stdlib.h>
#include <string.h>

#include "memory.h"

void *ti_memory_get(size_t size, bool *locked)
{
	void *p = aligned_alloc(4096, (size + 4095) & ~(size_t)4095);

	*locked = false;
	if (p != NULL)
		memset(p, 0, size);
	return p;
}

void ti_memory_put(void *p, size_t size)
{
	(void)size;
	free(p);
}
