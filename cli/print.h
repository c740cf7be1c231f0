/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Results, apart from how they look: one printer for people, one for programs.
 *
 * Verbs fill a struct report_* and hand it to the printer that --json chose.  Both printers write
 * to stdout and tell the same facts.  JSON keys are stable; integers are bytes unless the key says
 * _sectors or _sector.
 */
#ifndef CLI_PRINT_H
#define CLI_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus.h"
#include "check.h"
#include "error.h"
#include "geometry.h"
#include "journal_scan.h"
#include "store_file.h"
#include "superblock.h"

struct report_dump {
	const char *meta;
	uint64_t start_sector;
	struct ti_superblock sb;
	bool has_geometry;
	struct ti_geometry geo;
	bool has_journal;
	struct ti_journal_summary journal;
	bool has_macs;	 /* those of the journal were looked at */
	bool has_bitmap; /* of a size that can be */
	uint64_t bitmap_regions, bitmap_dirty;
	struct ti_store_found store; /* of a tcmu-runner that serves the pair, or died so */
	/* What kept geometry or journal from being known; err 0: nothing did. */
	struct ti_error error;
};

struct report_check {
	const char *meta;
	const char *data;
	const char *hash;
	const struct ti_superblock *sb;
	const struct ti_geometry *geo;
	const struct ti_check_report *result;
	const struct ti_store_found *store; /* of a tcmu-runner that was killed */
	bool complete;			    /* false: stopped before the end */
	double seconds;
};

enum finding_state {
	FINDING_OK,
	FINDING_NOTE,	 /* works, but worse or unknown */
	FINDING_MISSING, /* the main job does not work without it */
};

struct finding {
	const char *subject; /* stable, snake_case */
	enum finding_state state;
	char text[256];
	char mend[320]; /* a command, "" if there is none to give */
};

struct report_doctor {
	const struct finding *finding;
	size_t count;
	size_t missing;
	size_t notes;
};

struct report_version {
	const char *version;
	const char *tcmu_runner; /* what the handler was built for */
};

struct ti_config;
struct ti_config_key;
struct ti_config_trace;

/* One file or config string that was looked at. */
struct config_item {
	const char *what;
	const char *kind; /* ti_config_layer_name() */
	struct ti_config_trace *trace;
};

struct report_config_check {
	const struct config_item *item;
	size_t count;
	size_t bad; /* items with problems */
};

struct report_config_show {
	const char *config_string;
	const struct ti_config *config;
	const struct ti_config_trace *trace;
};

struct report_config_explain {
	const struct ti_config_key *key; /* NULL: all of them */
};

struct report_status {
	const struct bus_lun *const *lun;
	size_t count;
	bool one; /* somebody asked for this one */
};

struct report_scrub {
	const struct bus_lun *lun;
};

struct report_recalculate {
	const struct bus_lun *lun;
};

struct report_flush {
	const struct bus_lun *lun; /* as it was before */
};

struct printer {
	void (*dump)(const struct report_dump *report);
	void (*check)(const struct report_check *report);
	void (*config_check)(const struct report_config_check *report);
	void (*config_show)(const struct report_config_show *report);
	void (*config_explain)(const struct report_config_explain *report);
	void (*status)(const struct report_status *report);
	void (*scrub)(const struct report_scrub *report);
	void (*recalculate)(const struct report_recalculate *report);
	void (*flush)(const struct report_flush *report);
	void (*doctor)(const struct report_doctor *report);
	void (*version)(const struct report_version *report);
	/* The verb failed before there was anything to report.  stderr has the sentence already. */
	void (*failure)(const struct ti_error *error);
};

extern const struct printer printer_text;
extern const struct printer printer_json;

static inline const struct printer *printer_for(bool json)
{
	return json ? &printer_json : &printer_text;
}

/** Stable names, for both printers. */
const char *print_kind_name(enum ti_check_kind kind);
const char *print_finding_state_name(enum finding_state state);

/** A journal section's sequence number: "0" to "3", "mixed" or "bad". */
const char *print_seq_name(uint8_t seq);

/** All blocks were looked at, and all match their tags. */
bool print_check_is_clean(const struct report_check *report);

/** Sectors per bit of the bitmap; 0 if that does not fit in 64 bits. */
uint64_t print_sectors_per_bit(const struct ti_superblock *sb);

#endif
