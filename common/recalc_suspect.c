/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Blocks that a recalculation cannot read: are they bad, or does the device not answer?
 *
 * A block that is bad keeps its tag and is passed by.  To pass by what an outage has hidden would
 * turn all of it into mismatches when the device is back.  One look cannot tell: an outage may
 * begin and end between any two reads.  So units that cannot be read are suspects, and nothing is
 * passed by, nor is any bit cleared, until a second look.  Each look goes on from unit to unit, up
 * to SUSPECTS_MAX, until one can be read; if none can, it tries one that lies elsewhere.
 *
 *	fails ... answers | a second of rest | fails ... answers	they are bad
 *	fails ... fails elsewhere, too					an outage: from the
 *									beginning, in a second
 *
 * Reads of the suspects go on being answered without a look at their tags.
 */
#include <inttypes.h>
#include <string.h>

#include "lun_internal.h"
#include "recalc.h"

#define SUSPECTS_MAX 64U
#define RETRY_NS     (1000 * TI_NS_PER_MS)

static uint64_t unit_sectors(const struct ti_recalc *r)
{
	return r->lun->io_align / TI_SECTOR_BYTES;
}

/* Which one lies elsewhere: one after the other, far from each other, until one answers. */
static uint64_t elsewhere(const struct ti_recalc *r)
{
	uint64_t units = r->end / unit_sectors(r);

	return (r->places * 0x9e3779b97f4a7c15ULL >> 16) % units * unit_sectors(r);
}

static bool look_goes_on(const struct ti_recalc *r, uint64_t *next)
{
	uint64_t limit = r->end;

	if (r->bits != NULL && r->chunk_end < limit)
		limit = r->chunk_end;
	*next = r->sector + r->suspects * unit_sectors(r);
	/* While the device is away two reads a second are enough. */
	return !r->away && r->suspects < SUSPECTS_MAX && *next < limit;
}

uint64_t ti_recalc_look_at(const struct ti_recalc *r)
{
	uint64_t next;

	return look_goes_on(r, &next) ? next : elsewhere(r);
}

void ti_recalc_suspect(struct ti_recalc *r)
{
	r->suspects++;
	r->suspect_error = r->io.result;
	if (r->small_until < r->sector + unit_sectors(r))
		r->small_until = r->sector + unit_sectors(r);
}

static void goes_away(struct ti_recalc *r, uint64_t now_ns)
{
	if (!r->away) {
		r->lun->stats.io_errors[TI_DATA]++;
		ti_log(&r->lun->log, TI_LOG_WARN,
		       "recalculation waits: the data device cannot be read device=%s "
		       "sector=%" PRIu64 " error=%s",
		       r->lun->queue->dev[TI_DATA].name, r->sector, strerror(-r->io.result));
	}
	r->away = true;
	r->places++;
	r->suspects = r->suspects_before = 0;
	r->rest_until_ns = now_ns + RETRY_NS;
}

static void answers(struct ti_recalc *r)
{
	if (r->away)
		ti_log(&r->lun->log, TI_LOG_INFO,
		       "recalculation: the data device can be read again device=%s",
		       r->lun->queue->dev[TI_DATA].name);
	r->away = false;
}

void ti_recalc_no_suspect(struct ti_recalc *r)
{
	answers(r);
	r->suspects = r->suspects_before = 0;
}

unsigned ti_recalc_looked(struct ti_recalc *r, uint64_t now_ns)
{
	unsigned bad = r->suspects < r->suspects_before ? r->suspects : r->suspects_before;
	uint64_t next;

	if (r->io.result != 0) {
		if (look_goes_on(r, &next))
			ti_recalc_suspect(r);
		else
			goes_away(r, now_ns);
		return 0;
	}
	answers(r);
	if (bad == 0) {
		r->suspects_before = r->suspects;
		r->rest_until_ns = now_ns + RETRY_NS;
	} else {
		r->suspects_before = 0;
	}
	r->suspects = 0;
	return bad;
}
