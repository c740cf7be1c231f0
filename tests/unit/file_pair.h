/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A formatted pair in two files of a new directory.
 */
#ifndef FILE_PAIR_H
#define FILE_PAIR_H

#include <stddef.h>
#include <stdint.h>

struct file_pair {
	char dir[64];
	char data[80], meta[80];
	char config[254]; /* integrity/DATA;meta=META */
	uint64_t bytes;	  /* that it provides */
};

/** @options is appended to the config string, "" or ";key=value". */
void file_pair_make(struct file_pair *pair, uint32_t block_size, uint64_t bytes,
		    const char *options);
void file_pair_remove(struct file_pair *pair);

/** Change bytes of the data or metadata file behind everybody's back. */
void file_pair_damage(const char *path, uint64_t offset, size_t len);

#endif
