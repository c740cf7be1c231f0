/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Walking scattered memory.
 *
 * Empty elements are legal anywhere; a cursor steps over them.  All functions are part of the I/O
 * path: they allocate nothing.
 */
#include "iov.h"

#include <string.h>

size_t ti_iov_length(const struct iovec *iov, size_t count)
{
	size_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* The rest of the current element, cut to @len.  An empty piece: the memory has ended. */
static struct iovec next_piece(struct ti_iov_cursor *c, size_t len)
{
	struct iovec piece = { .iov_base = NULL, .iov_len = 0 };

	while (c->count && c->skip == c->iov->iov_len) {
		c->iov++;
		c->count--;
		c->skip = 0;
	}
	if (!c->count || !len)
		return piece;
	piece.iov_base = (uint8_t *)c->iov->iov_base + c->skip;
	piece.iov_len = c->iov->iov_len - c->skip;
	if (piece.iov_len > len)
		piece.iov_len = len;
	c->skip += piece.iov_len;
	return piece;
}

size_t ti_iov_take(struct ti_iov_cursor *c, size_t len, struct iovec *pieces, size_t max,
		   size_t *taken)
{
	size_t n = 0, sum = 0;

	while (n < max && sum < len) {
		struct iovec piece = next_piece(c, len - sum);

		if (!piece.iov_len)
			break;
		pieces[n++] = piece;
		sum += piece.iov_len;
	}
	*taken = sum;
	return n;
}

size_t ti_iov_copy_out(struct ti_iov_cursor *c, void *dst, size_t len)
{
	size_t done = 0;

	while (done < len) {
		struct iovec piece = next_piece(c, len - done);

		if (!piece.iov_len)
			break;
		memcpy((uint8_t *)dst + done, piece.iov_base, piece.iov_len);
		done += piece.iov_len;
	}
	return done;
}

size_t ti_iov_copy_in(struct ti_iov_cursor *c, const void *src, size_t len)
{
	size_t done = 0;

	while (done < len) {
		struct iovec piece = next_piece(c, len - done);

		if (!piece.iov_len)
			break;
		memcpy(piece.iov_base, (const uint8_t *)src + done, piece.iov_len);
		done += piece.iov_len;
	}
	return done;
}

size_t ti_iov_compare(struct ti_iov_cursor *c, const void *with, size_t len)
{
	size_t done = 0;

	while (done < len) {
		struct iovec piece = next_piece(c, len - done);
		const uint8_t *a = piece.iov_base, *b = (const uint8_t *)with + done;

		if (!piece.iov_len)
			break;
		if (memcmp(a, b, piece.iov_len) != 0) {
			while (*a == *b) {
				a++;
				b++;
				done++;
			}
			break;
		}
		done += piece.iov_len;
	}
	return done;
}

size_t ti_iov_or(struct ti_iov_cursor *c, const void *src, size_t len)
{
	size_t done = 0;

	while (done < len) {
		struct iovec piece = next_piece(c, len - done);
		uint8_t *to = piece.iov_base;
		const uint8_t *from = (const uint8_t *)src + done;

		if (!piece.iov_len)
			break;
		for (size_t i = 0; i < piece.iov_len; i++)
			to[i] |= from[i];
		done += piece.iov_len;
	}
	return done;
}

size_t ti_iov_zero(struct ti_iov_cursor *c, size_t len)
{
	size_t done = 0;

	while (done < len) {
		struct iovec piece = next_piece(c, len - done);

		if (!piece.iov_len)
			break;
		memset(piece.iov_base, 0, piece.iov_len);
		done += piece.iov_len;
	}
	return done;
}

bool ti_iov_aligned(const struct iovec *iov, size_t count, size_t mem_align, size_t len_align)
{
	uintptr_t base = 0, len = 0;

	/* One test at the end: a misaligned bit of any piece survives the OR. */
	for (size_t i = 0; i < count; i++) {
		base |= (uintptr_t)iov[i].iov_base;
		len |= iov[i].iov_len;
	}
	return !(base & (mem_align - 1)) && !(len & (len_align - 1));
}
