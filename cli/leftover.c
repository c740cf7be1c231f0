/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See leftover.h. */
#include "leftover.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

struct ti_store_found leftover_find(const char *meta, uint64_t start_sector)
{
	struct ti_store_found found;

	if (ti_store_find(TI_STORE_DIR, meta, start_sector, &found)) {
		found.count = 0;
		found.mode[0] = '\0';
	}
	return found;
}

void leftover_warn(const char *meta, const struct ti_store_found *found)
{
	for (unsigned i = 0; i < found->count; i++)
		cli_complain(
			"warning: a tcmu-runner that served %s was killed or failed to write, "
			"and what is missing on the devices is in %s: start tcmu-runner and let "
			"it open the pair first",
			meta, found->path[i]);
}

int leftover_refuse(const char *meta, const struct ti_store_found *found, struct ti_error *error)
{
	if (found->count == 0)
		return 0;
	return ti_error_set(
		error, -EBUSY,
		"%s is served by a tcmu-runner, or was when that was killed, and what it "
		"has not yet written is in %s: nothing was changed; let tcmu-runner open "
		"and close the pair first",
		meta, found->path[0]);
}

static int delete (const char *path, struct ti_error *error)
{
	if (unlink(path) == 0 || errno == ENOENT)
		return 0;
	return ti_error_set(error, -errno,
			    "%s, which a tcmu-runner left, cannot be deleted "
			    "(%s): delete it, then format again",
			    path, strerror(errno));
}

int leftover_delete(const struct ti_store_found *found, struct ti_error *error)
{
	int err = found->mode[0] ? delete (found->mode, error) : 0;

	for (unsigned i = 0; !err && i < found->count; i++)
		err = delete (found->path[i], error);
	return err;
}
