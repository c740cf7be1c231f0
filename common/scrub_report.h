/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What a scrub has done and found so far.  It is also what a later scrub goes on from.
 *
 * What it tells as bad is what it has found and nobody has mended since: a block that is written,
 * discarded or recalculated has a tag that is right.  It is taken off, and counted as mended.
 */
#ifndef TI_SCRUB_REPORT_H
#define TI_SCRUB_REPORT_H

#include <stdint.h>

/** So many bad places are listed; all are counted. */
#define TI_SCRUB_BAD_MAX 128U

enum ti_scrub_state {
	TI_SCRUB_NEVER, /* since the open */
	TI_SCRUB_RUNNING,
	TI_SCRUB_STOPPED, /* by request: it can go on */
	TI_SCRUB_FINISHED,
	TI_SCRUB_FAILED, /* a device answered nothing but errors */
	TI_SCRUB_STATES,
};

enum ti_scrub_kind {
	TI_SCRUB_MISMATCH,	  /* block and tag differ */
	TI_SCRUB_TAG_DECAYED,	  /* the tag on the medium is bad, the one in memory was right */
	TI_SCRUB_DATA_UNREADABLE, /* the data device returned an error */
	TI_SCRUB_TAG_UNREADABLE,  /* the metadata device returned an error */
	TI_SCRUB_KINDS,
};

/** Neighbouring blocks of one kind, in ascending order. */
struct ti_scrub_bad {
	uint64_t sector, sectors;
	enum ti_scrub_kind kind;
};

struct ti_scrub_report {
	enum ti_scrub_state state;
	uint64_t sector; /* all before it has been gone through */
	uint64_t end;
	uint64_t rate_limit; /* bytes per second at most; 0: no limit but others' I/O */
	uint64_t rate;	     /* bytes per second lately; 0 unless it runs */
	uint64_t verified_sectors;
	uint64_t skipped_sectors; /* in the journal, or still to be recalculated */
	uint64_t bad_sectors[TI_SCRUB_KINDS];
	uint64_t mended_sectors; /* were bad; no longer among bad_sectors */
	uint64_t ranges;	 /* bad places, listed or not */
	uint32_t listed;
	struct ti_scrub_bad bad[TI_SCRUB_BAD_MAX];
};

/** "running", "finished", ... and "mismatch", "tag_decayed", ...: stable.  Never NULL. */
const char *ti_scrub_state_name(enum ti_scrub_state state);
const char *ti_scrub_kind_name(enum ti_scrub_kind kind);

/** All bad sectors, whatever their kind. */
uint64_t ti_scrub_all_bad(const struct ti_scrub_report *report);
/** Those of them whose block or tag could not be read. */
uint64_t ti_scrub_unreadable(const struct ti_scrub_report *report);

/**
 * These sectors are good now.  Of places that are not listed nobody knows where they are: they stay
 * until all sectors up to the end are good at once.  io path.
 */
void ti_scrub_mend(struct ti_scrub_report *report, uint64_t sector, uint64_t sectors);

#endif
