// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/* See device_identity.h. */
#include "device_identity.h"

#include <string.h>

#include <glib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* udev's database: a line S:NAME for each of the device's names, from /dev on. */
#define LINK "S:disk/by-id/"

/* The first of its names in the order of strcmp(), or NULL. */
static char *lasting_name(const char *udev, const char *path)
{
	g_autofree char *file = NULL, *text = NULL;
	g_auto(GStrv) lines = NULL;
	const char *first = NULL;
	struct stat st;

	if (stat(path, &st) || !S_ISBLK(st.st_mode))
		return NULL;
	file = g_strdup_printf("%s/b%u:%u", udev, major(st.st_rdev), minor(st.st_rdev));
	if (!g_file_get_contents(file, &text, NULL, NULL))
		return NULL;
	lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		if (g_str_has_prefix(*line, LINK) && (!first || strcmp(*line, first) < 0))
			first = *line;
	}
	return g_strdup(first);
}

uint64_t ti_device_identity(const char *udev, const char *data_path, const char *meta_path)
{
	const char *path[] = { data_path, meta_path };
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
	uint8_t digest[32];
	gsize len = sizeof(digest);
	uint64_t value;

	for (size_t i = 0; i < G_N_ELEMENTS(path); i++) {
		g_autofree char *name = lasting_name(udev, path[i]);
		const char *known_by = name ? name : path[i];

		/* With its end, so that no two pairs of names run into the same bytes. */
		g_checksum_update(sum, (const guchar *)known_by, (gssize)strlen(known_by) + 1);
	}
	g_checksum_get_digest(sum, digest, &len);
	memcpy(&value, digest, sizeof(value));
	return value;
}
