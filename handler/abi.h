/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Is the tcmu-runner that has loaded us the one that we were built for?
 *
 * The runner itself does not ask, and with the wrong one the handler would write over foreign
 * memory: its structs changed between 1.4 and 1.5, in 1.5.3 and, struct tcmur_device, in 1.6.0.
 * Its library has been libtcmu.so.2.2 since 1.5.0 and says too little, so the runner's own version
 * must be the one of our headers.
 */
#ifndef TI_ABI_H
#define TI_ABI_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

/** The library's file that goes with the headers of tcmu-runner 1.5. */
#define TI_LIBTCMU "libtcmu.so.2.2"

/** Returns 0, or -ELIBBAD with a sentence. */
int ti_abi_check(struct ti_error *error);

/** The same for the library file at @path, links followed. */
int ti_abi_check_file(const char *path, struct ti_error *error);

/** Is the version that we were built for among the strings in @text, which is @len bytes long? */
bool ti_abi_names_version(const char *text, size_t len);

#endif
