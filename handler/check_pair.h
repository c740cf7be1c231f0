/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Everything that can be known to be wrong before a LUN is opened.
 *
 * check_config() is the only place whose sentence an administrator sees in targetcli; what open()
 * finds later ends up in the log.  So all that open() does with the pair is done here, too, and
 * undone: locks and all, since "in use by ..." is the most frequent answer.  Nothing is written.
 */
#ifndef TI_CHECK_PAIR_H
#define TI_CHECK_PAIR_H

#include "config.h"
#include "error.h"

/**
 * Would the LUN of @config open?  Says no, naming the holder, while it is open.  Blocks.
 * Returns 0, or what ti_pair_open() or ti_lun_open() said; @error has the sentence.
 */
int ti_check_pair(const struct ti_config *config, struct ti_error *error);

#endif
