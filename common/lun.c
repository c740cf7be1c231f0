/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * See lun.h.  This file lets requests in and out: checks, slots, range locks, flushes, the run
 * loop. lun_open.c makes and unmakes a LUN; part.c and the policies do what lies between.
 *
 * A request's way: waiting (no slot free) -> slot -> range held -> parts -> [FUA: flush] ->
 * finished.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bitmap.h"
#include "journal.h"
#include "lun_internal.h"

/* Bytes of a tag in the log. */
#define TAG_SHOWN 8U

void ti_slot_ready(struct ti_slot *slot)
{
	assert(slot->pending > 0);
	if (--slot->pending == 0)
		STAILQ_INSERT_TAIL(&slot->lun->ready, slot, link);
}

void ti_slot_fail(struct ti_slot *slot, int err, enum ti_cause cause, uint64_t sector)
{
	if (slot->result.err == 0)
		slot->result = (struct ti_result){ .err = err, .cause = cause, .sector = sector };
}

static int64_t may_log(struct ti_lun *lun, struct ti_ratelimit *rl)
{
	return ti_ratelimit(rl, ti_clock_now(lun->clock));
}

/* " not_logged=N" if lines were left out since the last one: most lines stay short. */
static const char *left_out(int64_t skipped, char *text, size_t size)
{
	text[0] = '\0';
	if (skipped > 0)
		snprintf(text, size, " not_logged=%" PRId64, skipped);
	return text;
}

void ti_lun_io_error(struct ti_lun *lun, enum ti_device dev, const char *what, uint64_t sector,
		     int error)
{
	char rest[40];
	int64_t skipped;

	lun->stats.io_errors[dev]++;
	skipped = may_log(lun, &lun->error_log);
	if (skipped >= 0)
		ti_log(&lun->log, TI_LOG_ERR,
		       "I/O error op=%s device=%s sector=%" PRIu64 " error=%s%s", what,
		       lun->queue->dev[dev].name, sector, strerror(-error),
		       left_out(skipped, rest, sizeof(rest)));
}

void ti_lun_event(struct ti_lun *lun, const struct ti_event *event)
{
	if (lun->events.event != NULL)
		lun->events.event(lun->events.ctx, event);
}

/* The beginning of a tag, in hexadecimal. */
static const char *tag_text(const struct ti_lun *lun, const uint8_t *tag, char *text)
{
	size_t size = lun->geo.tag_size, shown = size < TAG_SHOWN ? size : TAG_SHOWN;

	for (size_t i = 0; i < shown; i++)
		sprintf(text + 2 * i, "%02x", tag[i]);
	strcpy(text + 2 * shown, shown < size ? ".." : "");
	return text;
}

/*
 * A keyed tag is not shown.  The one of the bytes that are there would be the right one for them:
 * who can write to the device and read the log could so have any block signed.
 */
void ti_lun_mismatch(struct ti_lun *lun, enum ti_event_source source, uint64_t sector,
		     size_t blocks, const uint8_t *stored, const uint8_t *computed)
{
	static const char *const where[] = { [TI_SOURCE_READ] = "read",
					     [TI_SOURCE_SCRUB] = "scrub",
					     [TI_SOURCE_RECALCULATION] = "recalculation" };
	const struct ti_event event = { .type = TI_EVENT_MISMATCH,
					.source = source,
					.sector = sector,
					.sectors = blocks * lun->geo.sectors_per_block };
	char expected[2 * TAG_SHOWN + 3], found[2 * TAG_SHOWN + 3], rest[40];
	bool keyed = lun->hash.ops->keyed;
	int64_t skipped;

	lun->stats.mismatches += blocks;
	ti_lun_event(lun, &event);
	skipped = may_log(lun, &lun->mismatch_log);
	if (skipped >= 0)
		ti_log(&lun->log, TI_LOG_ERR,
		       "tag mismatch on %s device=%s sector=%" PRIu64
		       " blocks=%zu expected=%s found=%s%s",
		       where[source], lun->queue->dev[TI_DATA].name, sector, blocks,
		       keyed ? "(keyed)" : tag_text(lun, stored, expected),
		       keyed ? "(keyed)" : tag_text(lun, computed, found),
		       left_out(skipped, rest, sizeof(rest)));
}

void ti_lun_tag_decayed(struct ti_lun *lun, uint64_t sector, size_t blocks, bool mended)
{
	char rest[40];
	int64_t skipped;

	lun->stats.tags_decayed += blocks;
	skipped = may_log(lun, &lun->mismatch_log);
	if (skipped >= 0)
		ti_log(&lun->log, TI_LOG_ERR,
		       "tag on the medium is bad and the one in memory is right, %s device=%s "
		       "sector=%" PRIu64 " blocks=%zu%s",
		       mended ? "it is written again" : "which is lost when the LUN is closed",
		       lun->queue->dev[TI_META].name, sector, blocks,
		       left_out(skipped, rest, sizeof(rest)));
}

/* Give a request back to the caller. */
static void count(struct ti_lun_stats *stats, const struct ti_request *req)
{
	const struct ti_op *op = &ti_ops[req->op];

	if (req->op == TI_REQ_FLUSH) {
		stats->flushes++;
	} else if (req->op == TI_REQ_DISCARD) {
		stats->discards++;
		stats->discarded_sectors += req->sectors;
	} else if (req->op == TI_REQ_EXTENT) {
		return; /* of no data */
	} else if (op->writes) {
		stats->writes++;
		stats->written_sectors += req->sectors;
	} else {
		stats->reads++;
		stats->read_sectors += req->sectors;
	}
	if (op->verifies) {
		stats->verifies++;
		stats->verified_sectors += req->sectors;
	}
}

static void count_failure(struct ti_lun_stats *stats, const struct ti_request *req)
{
	switch (req->result.cause) {
	case TI_CAUSE_TAG_MISMATCH:
	case TI_CAUSE_DATA_IO:
	case TI_CAUSE_META_IO:
		if (req->op == TI_REQ_DISCARD || req->op == TI_REQ_EXTENT)
			break; /* of no data */
		if (ti_ops[req->op].writes)
			stats->failed_writes++;
		else if (ti_ops[req->op].verifies)
			stats->failed_verifies++;
		else if (req->op != TI_REQ_FLUSH)
			stats->failed_reads++;
		break;
	default:
		break;
	}
}

static void finish(struct ti_lun *lun, struct ti_request *req, const struct ti_result *result)
{
	req->result = *result;
	if (result->err == 0)
		count(&lun->stats, req);
	else
		count_failure(&lun->stats, req);
	STAILQ_INSERT_TAIL(&lun->finished, req, link);
}

static void release(struct ti_slot *slot)
{
	struct ti_lun *lun = slot->lun;

	if (slot->range_held) {
		slot->range_held = false;
		ti_range_unlock(&lun->ranges, &slot->range);
	}
	finish(lun, slot->req, &slot->result);
	slot->req = NULL;
	STAILQ_INSERT_HEAD(&lun->free, slot, link);
	lun->slots_busy--;
}

static void flushed(struct ti_flush_waiter *waiter, const struct ti_result *result)
{
	struct ti_slot *slot = (struct ti_slot *)((char *)waiter - offsetof(struct ti_slot, flush));

	if (result->err != 0)
		ti_slot_fail(slot, result->err, result->cause, slot->req->sector);
	slot->step = release;
	slot->pending = 1;
	ti_slot_ready(slot);
}

static void flush(struct ti_slot *slot)
{
	slot->flush.done = flushed;
	slot->lun->policy->flush(slot->lun, &slot->flush);
}

static void flushed_for_read(struct ti_flush_waiter *waiter, const struct ti_result *result)
{
	struct ti_slot *slot = (struct ti_slot *)((char *)waiter - offsetof(struct ti_slot, flush));

	if (result->err != 0)
		ti_slot_fail(slot, result->err, result->cause, slot->req->sector);
	slot->step = result->err != 0 ? release : ti_part_first;
	slot->pending = 1;
	ti_slot_ready(slot);
}

/*
 * SBC-4: a read with FUA is of the medium, and what only a volatile cache holds goes to the medium
 * first.  The range is held: writes to it are complete or have not begun, so that the flush covers
 * all that is going to be read.
 */
void ti_request_flush_and_read(struct ti_slot *slot)
{
	slot->flush.done = flushed_for_read;
	slot->lun->policy->flush(slot->lun, &slot->flush);
}

void ti_request_done(struct ti_slot *slot)
{
	bool writes = ti_ops[slot->req->op].writes;

	/* A write that is to be durable lets its range go first: it is complete, and its flush need
	 * not keep others waiting. */
	ti_range_unlock(&slot->lun->ranges, &slot->range);
	slot->range_held = false;
	if (slot->result.err == 0 && writes && (slot->req->flags & TI_REQ_FUA))
		flush(slot);
	else
		release(slot);
}

static void granted(struct ti_range *range)
{
	struct ti_slot *slot = (struct ti_slot *)((char *)range - offsetof(struct ti_slot, range));

	ti_slot_ready(slot);
}

/* Put a request that has passed its checks into a slot. */
static void start(struct ti_lun *lun, struct ti_request *req)
{
	struct ti_slot *slot = STAILQ_FIRST(&lun->free);
	uint64_t sectors = req->sectors;

	STAILQ_REMOVE_HEAD(&lun->free, link);
	lun->slots_busy++;
	slot->req = req;
	slot->result = (struct ti_result){ 0 };
	slot->sectors = 0;
	slot->pass = 0;
	slot->bounce = NULL;
	slot->range_held = false;
	if (req->op == TI_REQ_FLUSH) {
		flush(slot);
		return;
	}
	/* It may be asked for all of the LUN, but must not keep all writers waiting. */
	if (req->op == TI_REQ_EXTENT)
		sectors = ti_extent_reach(lun, sectors);
	slot->range.first = req->sector;
	slot->range.end = req->sector + sectors;
	slot->range.exclusive = ti_ops[req->op].writes;
	slot->range.granted = granted;
	slot->range_held = true;
	slot->step = ti_pass_first;
	slot->pending = 1;
	if (ti_range_lock(&lun->ranges, &slot->range))
		ti_slot_ready(slot);
}

/* Is the request one that can be served?  Else *@result says why not. */
static bool acceptable(const struct ti_lun *lun, const struct ti_request *req,
		       struct ti_result *result)
{
	uint64_t align = lun->io_align / TI_SECTOR_BYTES;
	bool writes = ti_ops[req->op].writes;

	*result = (struct ti_result){ .sector = req->sector };
	if (req->op == TI_REQ_FLUSH)
		return true;
	if (req->sector > lun->geo.provided_sectors ||
	    req->sectors > lun->geo.provided_sectors - req->sector || req->sector % align != 0 ||
	    req->sectors % align != 0) {
		result->err = -EINVAL;
		result->cause = TI_CAUSE_RANGE;
		return false;
	}
	if (writes && lun->read_only) {
		result->err = -EROFS;
		result->cause = TI_CAUSE_READ_ONLY;
		return false;
	}
	if (!ti_pass_memory_fits(lun, req) || (req->op == TI_REQ_DISCARD && !lun->allow_discards) ||
	    ((req->flags & TI_REQ_ATOMIC) &&
	     (req->op != TI_REQ_WRITE || req->sectors > ti_lun_atomic_sectors(lun)))) {
		result->err = -EINVAL;
		result->cause = TI_CAUSE_INTERNAL;
		return false;
	}
	return true;
}

void ti_lun_submit(struct ti_lun *lun, struct ti_request *req)
{
	struct ti_result result;

	lun->submitted++;
	if (!acceptable(lun, req, &result) || (req->op != TI_REQ_FLUSH && req->sectors == 0))
		finish(lun, req, &result);
	else if (STAILQ_EMPTY(&lun->waiting) && !STAILQ_EMPTY(&lun->free))
		start(lun, req);
	else
		STAILQ_INSERT_TAIL(&lun->waiting, req, link);
}

static bool step_all(struct ti_lun *lun)
{
	struct ti_request *req;
	struct ti_slot *slot;
	bool any = false;

	for (;;) {
		if ((slot = STAILQ_FIRST(&lun->ready)) != NULL) {
			STAILQ_REMOVE_HEAD(&lun->ready, link);
			slot->step(slot);
		} else if ((req = STAILQ_FIRST(&lun->waiting)) != NULL &&
			   !STAILQ_EMPTY(&lun->free)) {
			STAILQ_REMOVE_HEAD(&lun->waiting, link);
			start(lun, req);
		} else {
			return any;
		}
		any = true;
	}
}

void ti_lun_run(struct ti_lun *lun, struct ti_request_list *out)
{
	bool moved;

	do {
		/* Flush rounds start only when nothing else can be done at once, so that all who
		 * are about to ask share the next one. */
		do {
			step_all(lun);
			moved = lun->policy->run(lun);
			moved |= ti_recalc_run(lun);
			moved |= ti_scrub_run(lun);
		} while (moved);
	} while (ti_queue_run(lun->queue) > 0);
	STAILQ_CONCAT(out, &lun->finished);
}

void ti_lun_tick(struct ti_lun *lun)
{
	uint64_t now = ti_clock_now(lun->clock);

	ti_recalc_tick(lun, now);
	ti_scrub_tick(lun, now);
	if (now < lun->deadline_ns)
		return;
	lun->deadline_ns = now + lun->tick_ns;
	lun->policy->tick(lun);
}

uint64_t ti_lun_deadline(const struct ti_lun *lun)
{
	uint64_t recalc = ti_recalc_deadline(lun), scrub = ti_scrub_deadline(lun);
	uint64_t first = recalc < scrub ? recalc : scrub;

	return first < lun->deadline_ns ? first : lun->deadline_ns;
}

void ti_lun_wait(struct ti_lun *lun, uint64_t deadline_ns)
{
	lun->queue->ops->wait(lun->queue, deadline_ns);
}

void ti_lun_wake(struct ti_lun *lun)
{
	lun->queue->ops->wake(lun->queue);
}

const struct ti_geometry *ti_lun_geometry(const struct ti_lun *lun)
{
	return &lun->geo;
}

bool ti_lun_read_only(const struct ti_lun *lun)
{
	return lun->read_only;
}

bool ti_lun_discards(const struct ti_lun *lun)
{
	return lun->allow_discards && !lun->read_only;
}

uint32_t ti_lun_io_align(const struct ti_lun *lun)
{
	return lun->io_align;
}

uint64_t ti_lun_fingerprint(const struct ti_lun *lun)
{
	uint64_t hash = 0xcbf29ce484222325ULL; /* FNV-1a */
	uint8_t facts[TI_SALT_BYTES + 3 * sizeof(uint64_t)];
	const uint64_t numbers[] = { lun->geo.provided_sectors, lun->geo.tag_offset,
				     (uint64_t)lun->geo.tag_size << 32 | lun->geo.block_size };

	memcpy(facts, lun->sb.salt, TI_SALT_BYTES);
	memcpy(facts + TI_SALT_BYTES, numbers, sizeof(numbers));
	for (size_t i = 0; i < sizeof(facts); i++)
		hash = (hash ^ facts[i]) * 0x100000001b3ULL;
	return hash;
}

uint16_t ti_lun_start_progress(const struct ti_lun *lun)
{
	return __atomic_load_n(&lun->start_progress, __ATOMIC_RELAXED);
}

uint64_t ti_lun_atomic_sectors(const struct ti_lun *lun)
{
	return lun->policy->atomic_sectors ? lun->policy->atomic_sectors(lun) : 0;
}

static void journal_stats(const struct ti_journal *j, struct ti_lun_stats *stats)
{
	stats->journal_sections = j->sections;
	stats->journal_free_sections = ti_journal_free_sections(j);
	stats->journal_entries = (uint64_t)j->sections * j->section_entries;
	stats->journal_used_entries = j->used_entries;
	stats->journal_commits = j->commits;
	stats->journal_writeouts = j->writeouts;
	stats->round_latency = j->watch.latency;
}

void ti_lun_get_stats(const struct ti_lun *lun, struct ti_lun_stats *stats)
{
	struct ti_tag_cache_stats cache;

	*stats = lun->stats;
	ti_tag_cache_get_stats(lun->cache, &cache);
	stats->tag_lines_read = cache.lines_read;
	stats->tag_lines_written = cache.lines_written;
	stats->tag_lines = cache.lines;
	stats->tag_lines_dirty = cache.dirty;
	stats->io_errors[TI_META] += cache.write_errors;
	stats->flush_rounds = lun->flusher.rounds;
	stats->round_latency = lun->flusher.round_watch.latency;
	for (enum ti_device dev = 0; dev < TI_DEVICES; dev++) {
		stats->device_flushes[dev] = lun->flusher.device_flushes[dev];
		stats->flush_failed[dev] = lun->flusher.broken[dev];
		stats->flush_latency[dev] = lun->flusher.watch[dev].latency;
	}
	stats->locked_memory = lun->locked_memory;
	stats->hash_helpers = ti_hash_crew_threads(lun->crew);
	stats->hash_pieces = ti_hash_crew_stats(lun->crew);
	stats->recalculating = lun->recalc.active;
	stats->recalc_rate = lun->recalc.active ? lun->recalc.rate : 0;
	stats->recalc_sector = lun->recalc.active ? lun->recalc.sector : lun->geo.provided_sectors;
	stats->recalc_end = lun->geo.provided_sectors;
	stats->recalculated_sectors = lun->recalc.done_sectors;
	stats->recalc_mismatches = lun->recalc.mismatches;
	stats->recalc_unreadable = lun->recalc.unreadable;
	if (lun->journal != NULL)
		journal_stats(lun->journal, stats);
	if (lun->bitmap == NULL)
		return;
	stats->bitmap_bits = lun->bitmap->bits;
	stats->bitmap_dirty = ti_bits_count(lun->bitmap->disk, lun->bitmap->bits);
	stats->bitmap_writes = lun->bitmap->rounds;
	stats->bitmap_clears = lun->bitmap->clears;
}
