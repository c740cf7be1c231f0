/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * How failures are told: a sentence for a person, and a cause for a program.
 *
 * Functions that run at open, format or check time fill a struct ti_error: the first function that
 * knows the cause writes one sentence (what failed, on which device, at which sector, what to do),
 * everyone above passes it on.  The I/O path never formats text: it reports a struct ti_result.
 */
#ifndef TI_ERROR_H
#define TI_ERROR_H

#include <stdint.h>

/** Room for one sentence with two long paths in it. */
#define TI_ERROR_TEXT 640

struct ti_error {
	int err; /* negative errno, 0 while nothing failed */
	char text[TI_ERROR_TEXT];
};

/**
 * Record a failure.  Keeps the first one: a later call on the same object changes nothing, so a
 * caller may add a vaguer sentence without hiding the exact one.
 * @e may be NULL (the caller wants only the code).  @err is a negative errno.  Any thread that
 * owns @e.  Returns @err, so that "return ti_error_set(...)" reads well.
 */
int ti_error_set(struct ti_error *e, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** Why a request failed, where errno says too little.  handler/ turns these into sense data. */
enum ti_cause {
	TI_CAUSE_NONE = 0,
	TI_CAUSE_TAG_MISMATCH, /* block and tag differ: result.sector is the first bad block's */
	TI_CAUSE_DATA_IO,      /* the data device returned an error for a read or write */
	TI_CAUSE_META_IO,      /* the metadata device returned an error for a tag read or write */
	TI_CAUSE_DATA_FLUSH,   /* the data device's flush failed, now or earlier */
	TI_CAUSE_META_FLUSH,   /* the metadata device's flush failed, now or earlier */
	TI_CAUSE_RANGE,	       /* beyond the end, or not aligned to the block size */
	TI_CAUSE_READ_ONLY,    /* a write to a LUN that was opened for reading */
	TI_CAUSE_MISCOMPARE,   /* the LUN holds other bytes than those it was compared with */
	TI_CAUSE_CLOSING,      /* the LUN is being closed */
	TI_CAUSE_INTERNAL,     /* an invariant of ours does not hold */
};

/** The name of a cause as it stands in logs, e.g. "tag mismatch".  Never NULL. */
const char *ti_cause_name(enum ti_cause cause);

/** What became of a request. */
struct ti_result {
	int err;	     /* 0 or negative errno */
	enum ti_cause cause; /* TI_CAUSE_NONE exactly when err is 0 */
	uint64_t sector;     /* TAG_MISMATCH, DATA_IO, META_IO, MISCOMPARE: LUN sector (512) of
			      * the first block that is affected */
	uint64_t offset;     /* MISCOMPARE: the first byte that differs, from the request's start */
};

#endif
