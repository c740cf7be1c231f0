/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See superblock_io.h. */
#include "superblock_io.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "memory.h"

int ti_superblock_store(struct ti_queue *q, const struct ti_geometry *geo,
			const struct ti_seal *seal, const struct ti_superblock *sb,
			struct ti_error *error)
{
	bool locked;
	uint8_t *buf = ti_memory_get(TI_SB_BYTES, &locked);
	int err;

	if (buf == NULL)
		return ti_error_set(error, -ENOMEM, "out of memory");
	ti_superblock_write(sb, buf);
	ti_seal_superblock(seal, sb, buf);
	err = ti_queue_sync(q, TI_IO_WRITE, TI_META, geo->start_sector * TI_SECTOR_BYTES, buf,
			    TI_SB_BYTES);
	if (err == 0)
		err = ti_queue_sync(q, TI_IO_FLUSH, TI_META, 0, NULL, 0);
	ti_memory_put(buf, TI_SB_BYTES);
	if (err != 0)
		return ti_error_set(error, err,
				    "cannot write the superblock of %s at sector %" PRIu64 ": %s",
				    q->dev[TI_META].name, geo->start_sector, strerror(-err));
	return 0;
}
