// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/* See store.h. */
#include "store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <linux/magic.h>

int ti_store_path(const struct ti_config *config, char *path, size_t size)
{
	struct statfs fs;
	struct stat st;
	int len;

	if (mkdir(TI_STORE_DIR, 0700) != 0 && errno != EEXIST)
		return -errno;
	/* On a disk, each change of a tag could wait for that disk, and a reboot would keep the
	 * file. */
	if (statfs(TI_STORE_DIR, &fs) != 0)
		return -errno;
	if (fs.f_type != TMPFS_MAGIC)
		return -EMEDIUMTYPE;
	if (stat(config->meta_path, &st) != 0)
		return -errno;
	if (S_ISBLK(st.st_mode))
		len = snprintf(path, size, TI_STORE_DIR "/block-%u-%u-%" PRIu64, major(st.st_rdev),
			       minor(st.st_rdev), (uint64_t)config->start_sectors);
	else
		len = snprintf(path, size, TI_STORE_DIR "/file-%u-%u-%" PRIu64 "-%" PRIu64,
			       major(st.st_dev), minor(st.st_dev), (uint64_t)st.st_ino,
			       (uint64_t)config->start_sectors);
	return len < 0 || (size_t)len >= size ? -ENAMETOOLONG : 0;
}
