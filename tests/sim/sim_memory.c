/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The engine's memory from the heap, in place of common/memory.c: a world opens LUNs by the hundred
 * thousand, and mapping and locking pages would take most of its time.  And the address sanitizer
 * sees what is used outside of its bounds or after its time.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "memory.h"

/* Of pieces that large little is ever touched: let the kernel zero what is. */
#define LARGE (600U << 10)

static bool is_mapped(size_t size)
{
#if defined(__SANITIZE_ADDRESS__)
	return false && size;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
	return false && size;
#else
	return size >= LARGE;
#endif
#else
	return size >= LARGE;
#endif
}

void *ti_memory_get(size_t size, bool *locked)
{
	void *p;

	*locked = false;
	if (is_mapped(size)) {
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		return p != MAP_FAILED ? p : NULL;
	}
	p = aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
	if (p != NULL)
		memset(p, 0, size);
	return p;
}

void ti_memory_put(void *p, size_t size)
{
	if (p != NULL && is_mapped(size))
		munmap(p, size);
	else
		free(p);
}
