/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The metadata device while a LUN is opened or closed: superblock, flushes, and what to do after a
 * flush that has failed.  All block.
 *
 * After a failed flush a read may give what only the device's cache holds, and the next flush may
 * succeed without covering it.  Then a crash brings back what lay below: a superblock that says
 * "bitmap" though the journal has taken its place, a journal that was emptied, a bitmap without the
 * bits that were set.  Each of them would undo what the next open builds upon what it has read.  So
 * the file that outlives the process remembers the failure, and the next open writes all of this
 * once more, as it has found it, before it does anything else.  (For what is read from the data
 * device see recalc.h.)
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lun_internal.h"
#include "memory.h"
#include "tag_store.h"

#define REWRITE_BYTES (1U << 20)

int ti_lun_flush_meta(struct ti_lun *lun)
{
	int err = ti_queue_sync(lun->queue, TI_IO_FLUSH, TI_META, 0, NULL, 0);

	if (err != 0)
		ti_flusher_failed(&lun->flusher, TI_META, err);
	return err;
}

int ti_lun_store_superblock(struct ti_lun *lun, const struct ti_superblock *sb,
			    struct ti_error *error)
{
	const struct ti_geometry *geo = &lun->geo;
	bool locked;
	uint8_t *buf = ti_memory_get(TI_SB_BYTES, &locked);
	int err;

	if (buf == NULL)
		return ti_error_set(error, -ENOMEM, "out of memory");
	ti_superblock_write(sb, buf);
	ti_seal_superblock(lun->seal, sb, buf);
	err = ti_queue_sync(lun->queue, TI_IO_WRITE, TI_META, geo->start_sector * TI_SECTOR_BYTES,
			    buf, TI_SB_BYTES);
	if (err == 0)
		err = ti_lun_flush_meta(lun);
	ti_memory_put(buf, TI_SB_BYTES);
	if (err != 0)
		return ti_error_set(
			error, err, "cannot write the superblock of %s at sector %" PRIu64 ": %s",
			lun->queue->dev[TI_META].name, geo->start_sector, strerror(-err));
	return 0;
}

/* From the superblock to the end of the journal's place, as it is. */
static int rewrite(struct ti_lun *lun, uint8_t *buf)
{
	uint64_t at = lun->geo.journal_offset - TI_SB_BYTES, end = lun->geo.tag_offset;
	int err = 0;

	while (at < end && err == 0) {
		size_t len = end - at < REWRITE_BYTES ? (size_t)(end - at) : REWRITE_BYTES;

		err = ti_queue_sync(lun->queue, TI_IO_READ, TI_META, at, buf, len);
		if (err == 0)
			err = ti_queue_sync(lun->queue, TI_IO_WRITE, TI_META, at, buf, len);
		at += len;
	}
	return err != 0 ? err : ti_lun_flush_meta(lun);
}

int ti_lun_rewrite_meta(struct ti_lun *lun, struct ti_error *error)
{
	const char *name = lun->queue->dev[TI_META].name;
	bool locked;
	uint8_t *buf = ti_memory_get(REWRITE_BYTES, &locked);
	int err;

	if (buf == NULL)
		return ti_error_set(error, -ENOMEM, "out of memory");
	err = rewrite(lun, buf);
	ti_memory_put(buf, REWRITE_BYTES);
	if (err != 0)
		return ti_error_set(error, err,
				    "a flush of %s has failed when the pair was used last, and its "
				    "superblock and journal cannot be written once more: %s; the "
				    "next open tries again",
				    name, strerror(-err));
	ti_tag_store_doubt(lun->store, TI_META, false);
	ti_log(&lun->log, TI_LOG_WARN,
	       "a flush failed when the pair was used last: superblock and journal were written "
	       "once more, as they were found device=%s",
	       name);
	return 0;
}
