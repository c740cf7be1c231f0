/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* Where settings files are, for those who look at all of them. */
#ifndef CLI_CONFIG_FILES_H
#define CLI_CONFIG_FILES_H

#include <stddef.h>

/** Paths, the defaults file first if there is one, then profiles in the order of their names. */
struct config_files {
	char **path;
	size_t count;
};

/**
 * Find them.  Returns 0, or a negative errno if @profiles cannot be read; that it does not exist is
 * no error.  config_files_free() is to be called in any case.
 */
int config_files_find(const char *defaults, const char *profiles, struct config_files *files);
void config_files_free(struct config_files *files);

#endif
