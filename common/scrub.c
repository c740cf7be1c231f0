/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See scrub.h.  This file goes on from piece to piece; scrub_piece.c judges one. */
#include "scrub.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "lun_internal.h"
#include "memory.h"
#include "scrub_internal.h"

#define PIECE_BYTES (256U << 10)
/* While others work, so much time is spent on resting for each part that a piece takes. */
#define REST_FACTOR 3U
#define REST_MAX_NS (200 * TI_NS_PER_MS)
/* How often a scrub that waits for a recalculation looks again. */
#define WAIT_NS (1000 * TI_NS_PER_MS)
#define RATE_NS (2000 * TI_NS_PER_MS)
/* From less than this a rate is noise. */
#define RATE_FIRST_NS (500 * TI_NS_PER_MS)
/* So many unreadable units in a row: the device is gone, and each further one may take seconds. */
#define FAILURES_MAX 64U

static uint64_t unit_sectors(const struct ti_lun *lun)
{
	return lun->io_align / TI_SECTOR_BYTES;
}

static bool is_running(const struct ti_scrub *s)
{
	return s->report.state == TI_SCRUB_RUNNING;
}

static void end(struct ti_scrub *s, enum ti_scrub_state state)
{
	struct ti_lun *lun = s->lun;
	const struct ti_event event = { .type = TI_EVENT_SCRUB_ENDED, .source = TI_SOURCE_SCRUB };
	uint64_t bad = ti_scrub_all_bad(&s->report);

	lun->stats.scrubs += state == TI_SCRUB_FINISHED;
	s->report.state = state;
	s->report.rate = 0;
	s->stopping = false;
	s->rest_until_ns = 0;
	ti_log(&lun->log, bad > 0 || state == TI_SCRUB_FAILED ? TI_LOG_WARN : TI_LOG_INFO,
	       "scrub %s sector=%" PRIu64 " of=%" PRIu64 " verified_sectors=%" PRIu64
	       " skipped_sectors=%" PRIu64 " bad_sectors=%" PRIu64,
	       ti_scrub_state_name(state), s->report.sector, s->report.end,
	       s->report.verified_sectors, s->report.skipped_sectors, bad);
	ti_lun_event(lun, &event);
}

/* ---- from piece to piece ---- */

/* Give way to others, and keep to the rate. */
static void rest(struct ti_scrub *s, uint64_t now)
{
	struct ti_lun *lun = s->lun;
	uint64_t took = now - s->piece_began_ns, ns = 0, due;

	if (lun->submitted != s->submitted_before || lun->slots_busy > 0)
		ns = took * REST_FACTOR < REST_MAX_NS ? took * REST_FACTOR : REST_MAX_NS;
	if (s->report.rate_limit != 0) {
		due = s->piece_sectors * TI_SECTOR_BYTES * TI_NS_PER_SEC / s->report.rate_limit;
		if (due > took && due - took > ns)
			ns = due - took;
	}
	/* Also if it is not to rest: the next piece waits for a tick. */
	s->rest_until_ns = now + ns + 1;
}

static void measure(struct ti_scrub *s, uint64_t now)
{
	uint64_t ns = now - s->rate_began_ns;

	s->rate_sectors += s->piece_sectors;
	if (ns < (s->report.rate == 0 ? RATE_FIRST_NS : RATE_NS))
		return;
	s->report.rate = (uint64_t)((double)(s->rate_sectors * TI_SECTOR_BYTES) *
				    (double)TI_NS_PER_SEC / (double)ns);
	if (ns < RATE_NS)
		return;
	s->rate_began_ns = now;
	s->rate_sectors = 0;
}

void ti_scrub_end_piece(struct ti_scrub *s, enum ti_scrub_verdict verdict)
{
	struct ti_lun *lun = s->lun;
	uint64_t now = ti_clock_now(lun->clock), unit = unit_sectors(lun);

	ti_range_unlock(&lun->ranges, &s->range);
	s->step = TI_SCRUB_IDLE;
	rest(s, now);
	if (verdict == TI_SCRUB_UNREADABLE && s->piece_sectors > unit) {
		/* In small pieces, so that a bad one hides nothing but itself. */
		s->small_until = s->report.sector + s->piece_sectors;
		return;
	}
	s->failures = verdict == TI_SCRUB_UNREADABLE ? s->failures + 1 : 0;
	measure(s, now);
	s->report.sector += s->piece_sectors;
	if (s->failures >= FAILURES_MAX)
		end(s, TI_SCRUB_FAILED);
	else if (s->report.sector >= s->report.end)
		end(s, TI_SCRUB_FINISHED);
	else if (s->stopping)
		end(s, TI_SCRUB_STOPPED);
}

static void granted(struct ti_range *range)
{
	struct ti_scrub *s = (struct ti_scrub *)((char *)range - offsetof(struct ti_scrub, range));

	s->step = TI_SCRUB_LOCKED;
}

static void begin_piece(struct ti_scrub *s)
{
	uint64_t most = s->report.end - s->report.sector;
	bool trusted;

	if (most > s->piece_max)
		most = s->piece_max;
	if (s->report.sector < s->small_until)
		most = unit_sectors(s->lun);
	s->piece_sectors = ti_recalc_alike(s->lun, s->report.sector, most, &trusted);
	s->unchecked = !trusted;
	s->range = (struct ti_range){ .first = s->report.sector,
				      .end = s->report.sector + s->piece_sectors,
				      .granted = granted };
	s->step = TI_SCRUB_LOCKING;
	if (ti_range_lock(&s->lun->ranges, &s->range))
		s->step = TI_SCRUB_LOCKED;
}

static bool begin(struct ti_scrub *s)
{
	if (s->halted || s->rest_until_ns != 0)
		return false;
	if (s->stopping) {
		end(s, TI_SCRUB_STOPPED);
		return true;
	}
	if (s->lun->recalc.running) {
		s->rest_until_ns = ti_clock_now(s->lun->clock) + WAIT_NS;
		return false;
	}
	begin_piece(s);
	return true;
}

bool ti_scrub_run(struct ti_lun *lun)
{
	struct ti_scrub *s = &lun->scrub;

	if (!is_running(s))
		return false;
	switch (s->step) {
	case TI_SCRUB_IDLE:
		return begin(s);
	case TI_SCRUB_LOCKED:
		ti_scrub_read_piece(s);
		return true;
	case TI_SCRUB_READ:
		ti_scrub_judge(s);
		return true;
	case TI_SCRUB_PINNED:
		ti_scrub_judge_again(s);
		return true;
	case TI_SCRUB_LOCKING:
	case TI_SCRUB_ON_DEVICE:
	case TI_SCRUB_PINNING:
		break;
	}
	return false;
}

void ti_scrub_mended(struct ti_lun *lun, uint64_t sector, uint64_t sectors)
{
	struct ti_scrub *s = &lun->scrub;

	if (s->report.ranges == 0)
		return;
	ti_scrub_mend(&s->report, sector, sectors);
	/* The place that may still grow has become another. */
	if (sector < s->last.sector + s->last.sectors && sector + sectors > s->last.sector)
		s->counting = false;
}

uint64_t ti_scrub_deadline(const struct ti_lun *lun)
{
	const struct ti_scrub *s = &lun->scrub;

	return is_running(s) && s->rest_until_ns != 0 ? s->rest_until_ns : TI_CLOCK_NEVER;
}

void ti_scrub_tick(struct ti_lun *lun, uint64_t now)
{
	struct ti_scrub *s = &lun->scrub;

	if (s->rest_until_ns != 0 && now >= s->rest_until_ns)
		s->rest_until_ns = 0;
}

/* ---- the outside ---- */

int ti_lun_scrub_start(struct ti_lun *lun, const struct ti_scrub_report *from, uint64_t rate_limit)
{
	struct ti_scrub *s = &lun->scrub;
	uint64_t unit = unit_sectors(lun);

	if (lun->policy == &ti_policy_recovery)
		return -EOPNOTSUPP;
	if (is_running(s))
		return -EALREADY;
	if (from != NULL)
		s->report = *from;
	else
		s->report = (struct ti_scrub_report){ .state = TI_SCRUB_NEVER };
	s->report.end = lun->geo.provided_sectors - lun->geo.provided_sectors % unit;
	if (s->report.sector >= s->report.end || s->report.sector % unit != 0 ||
	    s->report.listed > TI_SCRUB_BAD_MAX)
		s->report = (struct ti_scrub_report){ .end = s->report.end };
	s->report.state = TI_SCRUB_RUNNING;
	s->report.rate_limit = rate_limit;
	s->report.rate = 0;
	s->stopping = false;
	s->counting = false;
	s->failures = 0;
	s->small_until = 0;
	s->rate_began_ns = ti_clock_now(lun->clock);
	s->rate_sectors = 0;
	/* The next tick begins. */
	s->rest_until_ns = s->rate_began_ns + 1;
	ti_log(&lun->log, TI_LOG_INFO,
	       "scrub begins sector=%" PRIu64 " of=%" PRIu64 " rate_limit=%" PRIu64,
	       s->report.sector, s->report.end, rate_limit);
	return 0;
}

int ti_lun_scrub_set_rate(struct ti_lun *lun, uint64_t rate_limit)
{
	struct ti_scrub *s = &lun->scrub;
	uint64_t now;

	if (!is_running(s))
		return -EALREADY;
	now = ti_clock_now(lun->clock);
	s->report.rate_limit = rate_limit;
	/* What was measured says nothing any more. */
	s->report.rate = 0;
	s->rate_began_ns = now;
	s->rate_sectors = 0;
	/* Not after a rest that the old rate has made long. */
	if (s->rest_until_ns != 0)
		s->rest_until_ns = now + 1;
	ti_log(&lun->log, TI_LOG_INFO,
	       "scrub goes on at another rate sector=%" PRIu64 " rate_limit=%" PRIu64,
	       s->report.sector, rate_limit);
	return 0;
}

int ti_lun_scrub_stop(struct ti_lun *lun)
{
	struct ti_scrub *s = &lun->scrub;

	if (!is_running(s))
		return -EALREADY;
	s->stopping = true;
	/* Not after its rest. */
	if (s->rest_until_ns != 0)
		s->rest_until_ns = ti_clock_now(lun->clock) + 1;
	return 0;
}

int ti_lun_scrub_restore(struct ti_lun *lun, const struct ti_scrub_report *report)
{
	if (is_running(&lun->scrub))
		return -EALREADY;
	lun->scrub.report = *report;
	/* It has not waited for that report. */
	ti_recalc_mended(lun);
	return 0;
}

void ti_lun_scrub_get(const struct ti_lun *lun, struct ti_scrub_report *report)
{
	*report = lun->scrub.report;
}

int ti_scrub_open(struct ti_lun *lun, struct ti_error *error)
{
	struct ti_scrub *s = &lun->scrub;
	const struct ti_geometry *geo = &lun->geo;
	uint64_t unit = unit_sectors(lun);
	size_t blocks;

	s->lun = lun;
	if (lun->policy == &ti_policy_recovery)
		return 0;
	s->piece_max = PIECE_BYTES / TI_SECTOR_BYTES;
	if (s->piece_max > lun->part_sectors)
		s->piece_max = lun->part_sectors;
	s->piece_max -= s->piece_max % unit;
	if (s->piece_max == 0)
		s->piece_max = unit;
	blocks = (size_t)(s->piece_max / geo->sectors_per_block);
	s->data_bytes = (size_t)s->piece_max * TI_SECTOR_BYTES;
	s->tags_bytes = blocks * geo->tag_size;
	/* The first and the last tag may lie within logical blocks of the device. */
	s->medium_bytes = s->tags_bytes + 2 * (size_t)lun->queue->dev[TI_META].logical_block_size;
	s->skip_bytes = (blocks + 7) / 8;
	s->data = ti_memory_get(s->data_bytes, &lun->locked_memory);
	s->medium = ti_memory_get(s->medium_bytes, &lun->locked_memory);
	s->tags = ti_memory_get(s->tags_bytes, &lun->locked_memory);
	s->skip = ti_memory_get(s->skip_bytes, &lun->locked_memory);
	if (s->data == NULL || s->medium == NULL || s->tags == NULL || s->skip == NULL)
		return ti_error_set(error, -ENOMEM, "out of memory for the scrub");
	return 0;
}

void ti_scrub_free(struct ti_lun *lun)
{
	struct ti_scrub *s = &lun->scrub;

	ti_memory_put(s->data, s->data_bytes);
	ti_memory_put(s->medium, s->medium_bytes);
	ti_memory_put(s->tags, s->tags_bytes);
	ti_memory_put(s->skip, s->skip_bytes);
	memset(s, 0, sizeof(*s));
}
