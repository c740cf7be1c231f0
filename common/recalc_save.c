/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * How far a recalculation is, in the superblock: so that a crash costs what was done since the last
 * save only.
 *
 * A save is a flush round, in which the tags up to there become durable, then the superblock, then
 * a flush of the metadata device.  The last save says that all is done; only then are the blocks'
 * tags vouched for, and mode bitmap may clear what is left of the bits.
 *
 * The flag RECALCULATING is never cleared: dm-integrity knows by the sector that nothing is left.
 *
 * A request is such a save, too, of sector 0.  No block is read, nor is a tag made, before it is
 * durable: whoever has asked is told then, and a crash from there on finds it.
 */
#include <inttypes.h>
#include <stddef.h>

#include "bitmap.h"
#include "lun_internal.h"
#include "recalc.h"
#include "tag_store.h"

#define SAVE_SECTORS (256ULL << 11) /* the kernel's: every 256 MiB */
#define SAVE_NS	     (10000 * TI_NS_PER_MS)
#define RETRY_NS     (1000 * TI_NS_PER_MS)

static void finish(struct ti_recalc *r)
{
	struct ti_lun *lun = r->lun;

	r->active = false;
	r->running = false;
	if (r->bits != NULL)
		ti_bits_clear(r->bits, (struct ti_bit_range){ 0, r->bits_bytes * 8 });
	if (lun->bitmap != NULL)
		ti_bitmap_clear(lun->bitmap);
	if (r->rewrite)
		ti_tag_store_doubt(lun->store, TI_DATA, false);
	r->rewrite = false;
	ti_recalc_mended(lun);
	ti_log(&lun->log, r->unreadable > 0 || r->mismatches > 0 ? TI_LOG_WARN : TI_LOG_INFO,
	       "recalculation ends recalculated_sectors=%" PRIu64 " mismatches=%" PRIu64
	       " unreadable_sectors=%" PRIu64,
	       r->done_sectors, r->mismatches, r->unreadable);
}

/* The save that makes a request durable has ended, well or not. */
static void announced(struct ti_recalc *r, int err)
{
	struct ti_recalc_wish *wish = r->wish;

	r->wish = NULL;
	if (err == 0) {
		ti_recalc_begin(r);
	} else {
		r->lun->sb.flags = r->old_flags;
		r->lun->sb.recalc_sector = r->old_sector;
	}
	wish->done(wish, err);
}

/* A save has ended, well or not. */
static void saved(struct ti_recalc *r, int err)
{
	r->saving = false;
	if (r->wish != NULL) {
		announced(r, err);
		return;
	}
	r->saved_ns = ti_clock_now(r->lun->clock);
	if (err != 0) {
		/* Try again: not at once, the device may be gone. */
		if (r->finishing)
			r->rest_until_ns = r->saved_ns + RETRY_NS;
		return;
	}
	r->saved_sector = r->save_sector;
	if (r->finishing)
		finish(r);
}

static void superblock_flushed(struct ti_io *io)
{
	struct ti_recalc *r = io->owner;
	struct ti_flusher *f = &r->lun->flusher;

	ti_flusher_flush_ended(f, TI_META, io->result);
	/* Another's flush that has failed meanwhile may have lost the superblock, whatever ours
	 * says. */
	saved(r, f->broken[TI_META]);
}

static void superblock_written(struct ti_io *io)
{
	struct ti_recalc *r = io->owner;

	ti_flusher_wrote(&r->lun->flusher, TI_META);
	if (io->result != 0) {
		ti_lun_io_error(r->lun, TI_META, "superblock", r->lun->geo.start_sector,
				io->result);
		saved(r, io->result);
		return;
	}
	ti_flusher_flush_started(&r->lun->flusher, TI_META);
	r->save_flush = (struct ti_io){
		.op = TI_IO_FLUSH, .dev = TI_META, .done = superblock_flushed, .owner = r
	};
	ti_queue_submit(r->lun->queue, &r->save_flush);
}

static void tags_flushed(struct ti_flush_waiter *waiter, const struct ti_result *result)
{
	struct ti_recalc *r =
		(struct ti_recalc *)((char *)waiter - offsetof(struct ti_recalc, waiter));
	struct ti_lun *lun = r->lun;

	if (result->err != 0) {
		saved(r, result->err);
		return;
	}
	if (r->wish != NULL)
		lun->sb.flags |= TI_SB_RECALCULATING;
	lun->sb.recalc_sector = r->save_sector;
	ti_superblock_write(&lun->sb, r->save_buf);
	ti_seal_superblock(lun->seal, &lun->sb, r->save_buf);
	r->save_iov = (struct iovec){ .iov_base = r->save_buf, .iov_len = TI_SB_BYTES };
	r->save_io = (struct ti_io){ .op = TI_IO_WRITE,
				     .dev = TI_META,
				     .offset = lun->geo.start_sector * TI_SECTOR_BYTES,
				     .len = TI_SB_BYTES,
				     .iov = &r->save_iov,
				     .iov_count = 1,
				     .done = superblock_written,
				     .owner = r };
	ti_queue_submit(lun->queue, &r->save_io);
}

static void save(struct ti_recalc *r)
{
	r->saving = true;
	r->waiter.done = tags_flushed;
	ti_flush_join(&r->lun->flusher, &r->waiter);
}

void ti_recalc_announce(struct ti_recalc *r)
{
	r->old_flags = r->lun->sb.flags;
	r->old_sector = r->lun->sb.recalc_sector;
	r->finishing = false;
	r->save_sector = 0;
	save(r);
}

bool ti_recalc_save_run(struct ti_recalc *r, uint64_t now_ns)
{
	bool at_end = r->sector >= r->end;

	if (r->saving || r->stopping)
		return false;
	if (!at_end && r->sector < r->saved_sector + SAVE_SECTORS &&
	    (now_ns < r->saved_ns + SAVE_NS || r->sector == r->saved_sector))
		return false;
	r->finishing = at_end;
	/* What is left over of a unit at the LUN's end counts as done: nobody can ask for it. */
	r->save_sector = at_end ? r->lun->geo.provided_sectors : r->sector;
	save(r);
	return true;
}
