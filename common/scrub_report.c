/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See scrub_report.h. */
#include "scrub_report.h"

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
