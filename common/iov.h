/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Walking scattered memory.
 *
 * A cursor stands somewhere in an iovec array and is moved forward; the array itself is never
 * changed, so the caller's copy stays valid for completion and retry.
 */
#ifndef TI_IOV_H
#define TI_IOV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct ti_iov_cursor {
	const struct iovec *iov;
	size_t count; /* elements left, the current one included */
	size_t skip;  /* bytes of iov[0] already consumed */
};

static inline struct ti_iov_cursor ti_iov_cursor(const struct iovec *iov, size_t count)
{
	return (struct ti_iov_cursor){ .iov = iov, .count = count, .skip = 0 };
}

/** Bytes in all elements together. */
size_t ti_iov_length(const struct iovec *iov, size_t count);

/**
 * Take the next @len bytes as at most @max pieces.  Returns the number of pieces; the cursor moves
 * past what they hold, which is less than @len if the memory ends or @max is reached (*@taken).
 */
size_t ti_iov_take(struct ti_iov_cursor *c, size_t len, struct iovec *pieces, size_t max,
		   size_t *taken);

/** Copy between flat memory and the cursor, which moves.  Returns the bytes copied. */
size_t ti_iov_copy_out(struct ti_iov_cursor *c, void *dst, size_t len);
size_t ti_iov_copy_in(struct ti_iov_cursor *c, const void *src, size_t len);

/** Compare with the next @len bytes.  Returns how many are the same before the first that is not;
 * the cursor moves by @len, or to somewhere in the piece that differs. */
size_t ti_iov_compare(struct ti_iov_cursor *c, const void *with, size_t len);

/** Add the bits of @len bytes at @src to the next ones; the cursor moves.  Returns the bytes. */
size_t ti_iov_or(struct ti_iov_cursor *c, const void *src, size_t len);

/** Fill the next @len bytes with zeros; the cursor moves.  Returns the bytes filled. */
size_t ti_iov_zero(struct ti_iov_cursor *c, size_t len);

/** Is every piece's base a multiple of @mem_align and its length one of @len_align (powers of 2)?
 */
bool ti_iov_aligned(const struct iovec *iov, size_t count, size_t mem_align, size_t len_align);

#endif
