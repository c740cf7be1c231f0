/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Is the tcmu-runner that has loaded us the one that we were built for?
 *
 * The runner itself does not ask, and its structs changed between 1.4 and 1.5: with the wrong one
 * the handler would write over foreign memory.
 */
#ifndef TI_ABI_H
#define TI_ABI_H

#include "error.h"

/** The library's file that goes with the headers of tcmu-runner 1.5. */
#define TI_LIBTCMU "libtcmu.so.2.2"

/** Returns 0, or -ELIBBAD with a sentence. */
int ti_abi_check(struct ti_error *error);

/** The same for the library file at @path, links followed. */
int ti_abi_check_file(const char *path, struct ti_error *error);

#endif
