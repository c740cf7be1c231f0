/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The sentence that explains a failure, and the names of causes.
 *
 * The first sentence wins: whoever saw the cause knows most, and those above may add without
 * looking whether something is there already.
 */
#include "error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

int ti_error_set(struct ti_error *e, int err, const char *fmt, ...)
{
	va_list args;

	assert(err < 0);
	if (!e || e->err)
		return err;
	e->err = err;
	va_start(args, fmt);
	/* A sentence that is too long loses its end, never its terminator. */
	(void)vsnprintf(e->text, sizeof(e->text), fmt, args);
	va_end(args);
	return err;
}

const char *ti_cause_name(enum ti_cause cause)
{
	/* No default: the compiler names a cause that is missing here. */
	switch (cause) {
	case TI_CAUSE_NONE:
		return "none";
	case TI_CAUSE_TAG_MISMATCH:
		return "tag mismatch";
	case TI_CAUSE_DATA_IO:
		return "data device I/O error";
	case TI_CAUSE_META_IO:
		return "metadata device I/O error";
	case TI_CAUSE_DATA_FLUSH:
		return "data device flush failed";
	case TI_CAUSE_META_FLUSH:
		return "metadata device flush failed";
	case TI_CAUSE_RANGE:
		return "out of range";
	case TI_CAUSE_READ_ONLY:
		return "read-only";
	case TI_CAUSE_MISCOMPARE:
		return "miscompare";
	case TI_CAUSE_CLOSING:
		return "closing";
	case TI_CAUSE_INTERNAL:
		return "internal error";
	}
	return "unknown cause";
}
