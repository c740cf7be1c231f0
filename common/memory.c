/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See memory.h. */
#include "memory.h"

#include <sys/mman.h>

void *ti_memory_get(size_t size, bool *locked)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (mlock(p, size) != 0)
		*locked = false;
	/* A fork()ed child has no use for it and must not make our pages copy on write. */
	madvise(p, size, MADV_DONTFORK);
	return p;
}

void ti_memory_put(void *p, size_t size)
{
	if (p != NULL)
		munmap(p, size);
}
