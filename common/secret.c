/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See secret.h.  A mapping of its own for each: what is locked and left out of dumps are pages. */
#include "secret.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int ti_secret_alloc(size_t room, struct ti_secret **out)
{
	struct ti_secret *secret;
	size_t bytes;

	if (__builtin_add_overflow(room, sizeof(*secret), &bytes))
		return -ENOMEM;
	secret = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (secret == MAP_FAILED)
		return -ENOMEM;
	/* Each of them before the first byte of a secret is there. */
	if (mlock(secret, bytes) || madvise(secret, bytes, MADV_DONTDUMP) ||
	    madvise(secret, bytes, MADV_DONTFORK)) {
		munmap(secret, bytes);
		return -ENOMEM;
	}
	secret->room = room;
	*out = secret;
	return 0;
}

int ti_secret_copy(const struct ti_secret *from, struct ti_secret **out)
{
	int err = ti_secret_alloc(from->len, out);

	if (err)
		return err;
	(*out)->len = from->len;
	memcpy((*out)->bytes, from->bytes, from->len);
	return 0;
}

void ti_secret_free(struct ti_secret *secret)
{
	size_t bytes;

	if (!secret)
		return;
	bytes = sizeof(*secret) + secret->room;
	explicit_bzero(secret, bytes);
	munmap(secret, bytes);
}

/* No library's function needs as much. */
#define STACK_BYTES ((size_t)16 << 10)

/* A frame of its own, in the place of theirs. */
void __attribute__((noinline)) ti_secret_wipe_stack(void)
{
	uint8_t left[STACK_BYTES];

	explicit_bzero(left, sizeof(left));
}

/* What the compiler knows about @x ends here, so it cannot leave the loop once a bit is set. */
static inline uint64_t opaque(uint64_t x)
{
	__asm__("" : "+r"(x));
	return x;
}

bool ti_secret_equal(const void *a, const void *b, size_t len)
{
	const uint8_t *p = a, *q = b;
	uint64_t differ = 0, x, y;

	for (; len >= sizeof(x); len -= sizeof(x), p += sizeof(x), q += sizeof(x)) {
		memcpy(&x, p, sizeof(x));
		memcpy(&y, q, sizeof(y));
		differ = opaque(differ | (x ^ y));
	}
	for (; len > 0; len--)
		differ = opaque(differ | (uint64_t)(*p++ ^ *q++));
	return differ == 0;
}
