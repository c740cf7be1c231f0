/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Where a LUN keeps what must outlive the runner but not the machine: files in /run for each
 * metadata device, so that whoever opens the pair next finds what a killed runner left.
 */
#ifndef TI_STORE_H
#define TI_STORE_H

#include <stddef.h>

#include "config.h"

/**
 * The name of the files for @config's metadata device, in @path.  Makes their directory.  Main
 * thread.
 * Returns 0 or negative errno; -EMEDIUMTYPE if the directory is not on tmpfs.
 */
int ti_store_path(const struct ti_config *config, char *path, size_t size);

#endif
