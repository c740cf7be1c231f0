/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What MODE SELECT has changed.
 *
 * WCE=0 makes every write durable before it is answered.  It is a promise to all initiators, also
 * to those that only read it: we cannot tell them (UNIT ATTENTION, MODE PARAMETERS CHANGED) when
 * another one takes it back, for the kernel does not say who sent a command.  So it is never taken
 * back: WCE may be set again, and is shown, but writes stay durable until the machine or its
 * metadata device is set up anew.  For the same reason a restart of tcmu-runner, which initiators
 * do not notice, must not forget it: the bits lie in a file in /run.  Where that cannot be made,
 * WCE cannot be changed.  The file says of which pair it is: another one that has got the device's
 * number, or the same devices formatted anew, begins without it.
 */
#ifndef TI_MODE_SELECT_H
#define TI_MODE_SELECT_H

#include <stdbool.h>
#include <stdint.h>

#include "store_file.h"

#define TI_SELECT_PATH_BYTES (TI_STORE_PATH_BYTES + 8U)

/** WCE is 0. */
#define TI_SELECT_WRITE_THROUGH 0x1U
/** Somebody may know that WCE was 0: every write is durable. */
#define TI_SELECT_DURABLE 0x2U
/** D_SENSE, sense data in descriptor format, is the inverse of its default. */
#define TI_SELECT_D_SENSE 0x4U
/** SWP, software write protect, is 1. */
#define TI_SELECT_SWP 0x8U

/** The file.  Integers are the machine's own. */
struct ti_select_file {
	_Atomic uint8_t bits;
	uint8_t unused[7];
	uint64_t pair; /* ti_lun_fingerprint(); 0: of a version that did not say so */
};

struct ti_select {
	_Atomic uint8_t *bits; /* own, or in the file */
	_Atomic uint8_t own;
	bool kept;	  /* in the file */
	unsigned dropped; /* bits that were in a file of another pair's */
	char path[TI_SELECT_PATH_BYTES];
};

/**
 * @name: of the pair's files, see store_file.h, or NULL.  @pair: ti_lun_fingerprint().  Returns 0,
 * or negative errno: the bits are not kept.  Main thread.
 */
int ti_select_open(struct ti_select *mode, const char *name, uint64_t pair);
/** The file goes if there is nothing in it.  Any number of times. */
void ti_select_close(struct ti_select *mode);

/** Any thread. */
static inline unsigned ti_select_bits(const struct ti_select *mode)
{
	return *mode->bits;
}

/** Command thread, and no other: what is there is read, then written.  io path. */
void ti_select_change(struct ti_select *mode, unsigned bits);

#endif
