/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What other software has left on a device, as libblkid knows it: filesystems, partition tables,
 * RAID and volume members, encrypted containers.
 */
#ifndef CLI_SIGNATURES_H
#define CLI_SIGNATURES_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

/** As many as one device is described by; there rarely is a second. */
#define SIGNATURES_MAX 8

struct signature {
	char text[160]; /* "ext4, labelled 'backup'" or "dos partition table" */
	bool integrity; /* dm-integrity's own */
	uint64_t offset;
	uint64_t length;
};

struct signatures {
	struct signature list[SIGNATURES_MAX];
	unsigned count;
};

/** Find them.  Reads through a descriptor of its own.  Returns 0 or negative errno. */
int signatures_find(const char *path, struct signatures *found, struct ti_error *error);

/**
 * Make the signatures that end before @from bytes, and no others, stay; overwrite all others, and
 * flush.  Whoever calls this holds the device.  Returns 0 or negative errno.
 */
int signatures_wipe(const char *path, uint64_t from, struct ti_error *error);

#endif
