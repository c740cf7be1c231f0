// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/* See store.h. */
#include "store.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include "store_file.h"

int ti_store_path(const struct ti_config *config, char *path, size_t size)
{
	struct statfs fs;

	if (mkdir(TI_STORE_DIR, 0700) != 0 && errno != EEXIST)
		return -errno;
	/* On a disk, each change of a tag could wait for that disk, and a reboot would keep the
	 * file. */
	if (statfs(TI_STORE_DIR, &fs) != 0)
		return -errno;
	if (fs.f_type != TMPFS_MAGIC)
		return -EMEDIUMTYPE;
	return ti_store_name(TI_STORE_DIR, config->meta_path, config->start_sectors, path, size);
}
