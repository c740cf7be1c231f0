/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* Between config.c and profile.c. */
#ifndef TI_CONFIG_INTERNAL_H
#define TI_CONFIG_INTERNAL_H

#include "config.h"

/**
 * Take one key and its value as they stand in a config string; the messages begin with
 * "config string: ".  @seen has a bit per key.
 */
int ti_config_set(const char *name, const char *value, uint32_t *seen, struct ti_config *out,
		  struct ti_error *error);

/** An absolute path of a device into @out (TI_CONFIG_MAX + 1 bytes). */
int ti_config_set_path(char *out, const char *what, const char *value, struct ti_error *error);

/** Read profile @name in directory @dir into @out, which holds the defaults. */
int ti_profile_load(const char *dir, const char *name, struct ti_config *out,
		    struct ti_error *error);

#endif
