/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See world_death.h.  The two functions that make tags are called by way of here: the linker is
 * told so. */
#include "world_death.h"

#include <stddef.h>

#include "hash.h"

/* That of the world under way, for a digest knows of none.  One world a process. */
static struct world_death *current;

bool world_death_try(struct world_death *death, void (*fn)(void *ctx), void *ctx)
{
	bool dies = setjmp(death->to) != 0;

	if (!dies) {
		death->may = death->in > 0;
		current = death;
		fn(ctx);
	}
	death->may = false;
	current = NULL;
	return dies;
}

void world_death_off(struct world_death *death)
{
	death->in = 0;
	death->may = false;
}

void world_death_place(struct world_death *death)
{
	if (death->may && --death->in == 0)
		longjmp(death->to, 1);
}

void __real_ti_hash_blocks(const struct ti_hash *h, uint64_t sector, struct ti_iov_cursor *data,
			   size_t n, uint8_t *tags);
void __wrap_ti_hash_blocks(const struct ti_hash *h, uint64_t sector, struct ti_iov_cursor *data,
			   size_t n, uint8_t *tags);

void __wrap_ti_hash_blocks(const struct ti_hash *h, uint64_t sector, struct ti_iov_cursor *data,
			   size_t n, uint8_t *tags)
{
	if (current != NULL)
		world_death_place(current);
	__real_ti_hash_blocks(h, sector, data, n, tags);
}

void __real_ti_hash_same(const struct ti_hash *h, uint64_t sector, const void *block, size_t n,
			 uint8_t *tags);
void __wrap_ti_hash_same(const struct ti_hash *h, uint64_t sector, const void *block, size_t n,
			 uint8_t *tags);

void __wrap_ti_hash_same(const struct ti_hash *h, uint64_t sector, const void *block, size_t n,
			 uint8_t *tags)
{
	if (current != NULL)
		world_death_place(current);
	__real_ti_hash_same(h, sector, block, n, tags);
}
