/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See scrub_report.h. */
#include "scrub_report.h"

#include <string.h>

const char *ti_scrub_state_name(enum ti_scrub_state state)
{
	static const char *const name[] = {
		[TI_SCRUB_NEVER] = "never",	[TI_SCRUB_RUNNING] = "running",
		[TI_SCRUB_STOPPED] = "stopped", [TI_SCRUB_FINISHED] = "finished",
		[TI_SCRUB_FAILED] = "failed",
	};

	return state < TI_SCRUB_STATES ? name[state] : "unknown";
}

const char *ti_scrub_kind_name(enum ti_scrub_kind kind)
{
	static const char *const name[] = {
		[TI_SCRUB_MISMATCH] = "mismatch",
		[TI_SCRUB_TAG_DECAYED] = "tag_decayed",
		[TI_SCRUB_DATA_UNREADABLE] = "data_unreadable",
		[TI_SCRUB_TAG_UNREADABLE] = "tag_unreadable",
	};

	return kind < TI_SCRUB_KINDS ? name[kind] : "unknown";
}

uint64_t ti_scrub_all_bad(const struct ti_scrub_report *report)
{
	uint64_t sectors = 0;

	for (int kind = 0; kind < TI_SCRUB_KINDS; kind++)
		sectors += report->bad_sectors[kind];
	return sectors;
}

uint64_t ti_scrub_unreadable(const struct ti_scrub_report *report)
{
	return report->bad_sectors[TI_SCRUB_DATA_UNREADABLE] +
	       report->bad_sectors[TI_SCRUB_TAG_UNREADABLE];
}

static void take_off(struct ti_scrub_report *r, uint32_t i)
{
	r->ranges--;
	r->listed--;
	memmove(&r->bad[i], &r->bad[i + 1], (r->listed - i) * sizeof(r->bad[0]));
}

/* Behind the listed place @i comes another.  If there is no room for it the last one of all is
 * counted, but no longer listed. */
static void insert(struct ti_scrub_report *r, uint32_t i, struct ti_scrub_bad place)
{
	r->ranges++;
	if (r->listed < TI_SCRUB_BAD_MAX)
		r->listed++;
	else if (i + 1 == TI_SCRUB_BAD_MAX)
		return;
	memmove(&r->bad[i + 2], &r->bad[i + 1], (r->listed - i - 2) * sizeof(r->bad[0]));
	r->bad[i + 1] = place;
}

/* Of the listed place @i these sectors are good now. */
static void cut(struct ti_scrub_report *r, uint32_t i, uint64_t from, uint64_t to)
{
	struct ti_scrub_bad *bad = &r->bad[i], behind = *bad;

	r->bad_sectors[bad->kind] -= to - from;
	r->mended_sectors += to - from;
	behind.sectors -= to - bad->sector;
	behind.sector = to;
	bad->sectors = from - bad->sector;
	if (bad->sectors > 0 && behind.sectors > 0)
		insert(r, i, behind);
	else if (behind.sectors > 0)
		*bad = behind;
	else if (bad->sectors == 0)
		take_off(r, i);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void ti_scrub_mend(struct ti_scrub_report *r, uint64_t sector, uint64_t sectors)
{
	uint64_t end = sector + sectors;

	/* From the last to the first, so that whatever a cut moves has been looked at. */
	for (uint32_t i = r->listed; i-- > 0;) {
		const struct ti_scrub_bad *bad = &r->bad[i];
		uint64_t bad_end = bad->sector + bad->sectors;

		if (bad->sector < end && bad_end > sector)
			cut(r, i, bad->sector > sector ? bad->sector : sector, least(bad_end, end));
	}
	if (sector != 0 || end < r->end)
		return;
	r->mended_sectors += ti_scrub_all_bad(r);
	memset(r->bad_sectors, 0, sizeof(r->bad_sectors));
	r->ranges = 0;
}
