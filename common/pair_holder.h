/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Who holds a device that we were refused.  For pair_device.c.
 */
#ifndef TI_PAIR_HOLDER_H
#define TI_PAIR_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/** Room for a holder's description. */
#define TI_HOLDER_TEXT 400

/** Stands in it before the process that asks. */
#define TI_HOLDER_SELF "this very "

enum ti_holder {
	TI_HOLDER_UNKNOWN, /* nobody who can be seen; @text says so */
	TI_HOLDER_LIKELY,  /* has the device open: others may have, too */
	TI_HOLDER_CERTAIN, /* holds it, without doubt */
};

/**
 * Who keeps the block device @st from being opened with O_EXCL?  Looks at stacked devices, mounts,
 * swap and processes, also of its partitions and of the disk it is a partition of.  @text becomes
 * the rest of a sentence: "it is in use by …: do this".
 */
enum ti_holder ti_holder_of_block(const struct stat *st, char text[TI_HOLDER_TEXT]);

/** Who has locked the file @st with flock()?  @text as above. */
enum ti_holder ti_holder_of_file(const struct stat *st, char text[TI_HOLDER_TEXT]);

#endif
