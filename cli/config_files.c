/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
#include "config_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int is_profile(const struct dirent *entry)
{
	const char *suffix = strrchr(entry->d_name, '.');

	return entry->d_name[0] != '.' && suffix && !strcmp(suffix, ".conf");
}

int config_files_find(const char *defaults, const char *profiles, struct config_files *files)
{
	struct dirent **entry = NULL;
	struct stat st;
	int n = scandir(profiles, &entry, is_profile, alphasort);
	int err = n < 0 && errno != ENOENT ? -errno : 0;

	*files = (struct config_files){ 0 };
	files->path = calloc((size_t)(n > 0 ? n : 0) + 1, sizeof(*files->path));
	if (!files->path)
		abort();
	/* One that cannot be looked at is one that is there. */
	if (!stat(defaults, &st) || errno != ENOENT)
		files->path[files->count++] = strdup(defaults);
	for (int i = 0; i < n; i++) {
		if (asprintf(&files->path[files->count++], "%s/%s", profiles, entry[i]->d_name) < 0)
			abort();
		free(entry[i]);
	}
	free(entry);
	return err;
}

void config_files_free(struct config_files *files)
{
	for (size_t i = 0; i < files->count; i++)
		free(files->path[i]);
	free(files->path);
}
