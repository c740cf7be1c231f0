// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
#include "mode_select.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <sys/mman.h>

#define KNOWN (TI_SELECT_WRITE_THROUGH | TI_SELECT_DURABLE | TI_SELECT_D_SENSE | TI_SELECT_SWP)

int ti_select_open(struct ti_select *mode, const char *name, uint64_t pair)
{
	struct ti_select_file *file = MAP_FAILED;
	int fd, err = 0;

	*mode = (struct ti_select){ .bits = &mode->own };
	if (!name)
		return -ENOENT;
	snprintf(mode->path, sizeof(mode->path), "%s" TI_STORE_MODE, name);
	fd = open(mode->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	/* The page is allocated now: a write to the map later on must not be the first. */
	err = -posix_fallocate(fd, 0, sizeof(*file));
	if (!err) {
		file = mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			    fd, 0);
		err = file == MAP_FAILED ? -errno : 0;
	}
	close(fd);
	if (err)
		return err;
	mlock(file, sizeof(*file)); /* best effort, as for all memory here */
	mode->bits = &file->bits;
	mode->kept = true;
	*mode->bits &= KNOWN;
	if (file->pair != 0 && file->pair != pair) {
		mode->dropped = *mode->bits;
		*mode->bits = 0; /* first: the next to look may be a successor */
	}
	file->pair = pair;
	return 0;
}

void ti_select_close(struct ti_select *mode)
{
	if (!mode->kept)
		return;
	if (*mode->bits == 0)
		unlink(mode->path);
	munmap((void *)mode->bits, sizeof(struct ti_select_file));
	mode->bits = &mode->own;
	mode->kept = false;
}

void ti_select_change(struct ti_select *mode, unsigned bits)
{
	unsigned now = *mode->bits;

	bits |= now & TI_SELECT_DURABLE;
	if (bits & TI_SELECT_WRITE_THROUGH)
		bits |= TI_SELECT_DURABLE;
	*mode->bits = (uint8_t)bits;
}
