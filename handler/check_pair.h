/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Everything that can be known to be wrong before a LUN is opened.
 *
 * check_config() is the only place whose sentence an administrator sees in targetcli; what open()
 * finds later ends up in the log.  So all that open() does with the pair is done here, too, and
 * undone.  Nothing is written.
 *
 * But anybody may ask, over D-Bus, with whatever string, in a loop, and tcmu-runner answers as
 * root.  So a check claims and locks nothing and waits for nobody: devices could not be formatted
 * or mounted meanwhile, and the runner's main thread has more to do.  A holder that shows only when
 * the device is claimed, such as another process, is found by open().  No key is used on a metadata
 * device that its profile does not name.  What somebody may not look at himself he is not told.
 *
 * Whoever asks may exchange what a path leads to while it is looked at.  So paths are looked up
 * once, as a user without rights would, and what they led to then is what is checked.
 */
#ifndef TI_CHECK_PAIR_H
#define TI_CHECK_PAIR_H

#include <stdbool.h>

#include "config.h"
#include "error.h"

/**
 * Would the LUN of @config open?  Says no, naming the holder, while it is open.  Blocks.
 * Returns 0, or what ti_pair_open() or ti_lun_open() said; @error has the sentence.  *@secret: that
 * is not for everybody, since a user without any rights cannot see whether the devices' paths
 * exist.  The runner's main thread, whose rights on file systems it lays down for a moment.
 */
int ti_check_pair(const struct ti_config *config, bool *secret, struct ti_error *error);

#endif
