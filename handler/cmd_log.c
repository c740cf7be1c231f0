// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * LOG SENSE and READ DEFECT DATA: what has happened to this LUN since it was opened.
 *
 * Counters cannot be set, have no thresholds and are not saved (TSD), so only the cumulative values
 * are there.  An uncorrected error is a command that failed because of a tag or a device.  There is
 * no Temperature page: nobody here knows one.
 */
#include "cdb.h"

#include <time.h>

#include "libtcmu_common.h"

#include "sense.h"

#define SAVE_PARAMETERS 0x01 /* byte 1 */
#define CUMULATIVE	0x01 /* page control */
#define ALL_SUBPAGES	0xff
#define SUBPAGE_FORMAT	0x40
#define HEADER		4
/* Bad blocks that the page of background scans names. */
#define MAX_SCANNED 128
/* The largest page: that one. */
#define MAX_PAGE (HEADER + 16 + MAX_SCANNED * 24)

#define NOT_SAVED   0x20 /* TSD */
#define BINARY_LIST 0x03
#define BYTES_DONE  0x0005
#define UNCORRECTED 0x0006

/* SBC-4, background scan results: status, and what became of a block. */
#define SCAN_NONE	  0
#define SCAN_RUNS	  1
#define SCAN_FATAL	  3
#define SCAN_HALTED	  6
#define WANTS_WRITE	  1
#define MENDED_BY_REWRITE 5

struct counters {
	struct ti_lun_stats stats;
	struct ti_scrub_report scrub;
	uint32_t block_size;
	uint64_t minutes;
};

static uint8_t *put_parameter(uint8_t *p, uint16_t code, uint8_t control, uint8_t len)
{
	ti_put_be16(p, code);
	p[2] = (uint8_t)(NOT_SAVED | control);
	p[3] = len;
	return p + 4;
}

static size_t error_counters(uint8_t *page, uint64_t sectors, uint64_t failed)
{
	uint8_t *p = put_parameter(page, BYTES_DONE, 0, 8);

	ti_put_be64(p, sectors * TI_SECTOR_BYTES);
	p = put_parameter(p + 8, UNCORRECTED, 0, 8);
	ti_put_be64(p, failed);
	return (size_t)(p + 8 - page);
}

static size_t write_errors(const struct counters *c, uint8_t *page)
{
	return error_counters(page, c->stats.written_sectors, c->stats.failed_writes);
}

static size_t read_errors(const struct counters *c, uint8_t *page)
{
	/* One that verifies is a read, too, for the engine. */
	uint64_t sectors = c->stats.read_sectors > c->stats.verified_sectors
				   ? c->stats.read_sectors - c->stats.verified_sectors
				   : 0;

	return error_counters(page, sectors, c->stats.failed_reads);
}

static size_t verify_errors(const struct counters *c, uint8_t *page)
{
	return error_counters(page, c->stats.verified_sectors, c->stats.failed_verifies);
}

static uint8_t scan_status(enum ti_scrub_state state)
{
	switch (state) {
	case TI_SCRUB_RUNNING:
		return SCAN_RUNS;
	case TI_SCRUB_STOPPED:
		return SCAN_HALTED;
	case TI_SCRUB_FAILED:
		return SCAN_FATAL;
	case TI_SCRUB_NEVER:
	case TI_SCRUB_FINISHED:
	case TI_SCRUB_STATES:
		break;
	}
	return SCAN_NONE;
}

/* What the scrub has found at one block of the LUN. */
static uint8_t *scanned_block(uint8_t *p, uint16_t code, uint64_t lba, enum ti_scrub_kind kind)
{
	static const struct {
		uint8_t reassign, key, asc, ascq;
	} found[] = {
		/* Unrecovered read error; writing the block mends it. */
		[TI_SCRUB_MISMATCH] = { WANTS_WRITE, TI_KEY_MEDIUM_ERROR, 0x11, 0x00 },
		[TI_SCRUB_DATA_UNREADABLE] = { WANTS_WRITE, TI_KEY_MEDIUM_ERROR, 0x11, 0x00 },
		/* Internal target failure. */
		[TI_SCRUB_TAG_UNREADABLE] = { WANTS_WRITE, TI_KEY_HARDWARE_ERROR, 0x44, 0x00 },
		/* Recovered data without ECC, data rewritten. */
		[TI_SCRUB_TAG_DECAYED] = { MENDED_BY_REWRITE, TI_KEY_RECOVERED_ERROR, 0x17, 0x09 },
	};

	/* The time of each is not known: 0 minutes. */
	p = put_parameter(p, code, BINARY_LIST, 20);
	p[4] = (uint8_t)(found[kind].reassign << 4 | found[kind].key);
	p[5] = found[kind].asc;
	p[6] = found[kind].ascq;
	ti_put_be64(p + 12, lba);
	return p + 20;
}

static size_t background_scan(const struct counters *c, uint8_t *page)
{
	const struct ti_scrub_report *r = &c->scrub;
	uint64_t per_block = c->block_size / TI_SECTOR_BYTES;
	uint16_t scans = (uint16_t)(c->stats.scrubs > UINT16_MAX ? UINT16_MAX : c->stats.scrubs);
	uint8_t *p = put_parameter(page, 0, BINARY_LIST, 12);
	uint16_t code = 0;

	ti_put_be32(p, (uint32_t)c->minutes);
	p[5] = scan_status(r->state);
	ti_put_be16(p + 6, scans);
	/* Of 65536; 0 unless it is under way. */
	if (r->state == TI_SCRUB_RUNNING && r->end != 0)
		ti_put_be16(p + 8, (uint16_t)((double)r->sector * 65535 / (double)r->end));
	ti_put_be16(p + 10, scans);
	p += 12;
	for (uint32_t i = 0; i < r->listed; i++) {
		uint64_t lba = r->bad[i].sector / per_block;
		uint64_t end = (r->bad[i].sector + r->bad[i].sectors + per_block - 1) / per_block;

		for (; lba < end && code < MAX_SCANNED; lba++)
			p = scanned_block(p, ++code, lba, r->bad[i].kind);
	}
	return (size_t)(p - page);
}

/* As the mode page says: they are disabled. */
static size_t informational_exceptions(const struct counters *c, uint8_t *page)
{
	uint8_t *p = put_parameter(page, 0, BINARY_LIST, 4);

	(void)c;
	p[2] = 0xff; /* temperature: not known */
	return (size_t)(p + 4 - page);
}

static size_t supported_pages(const struct counters *c, uint8_t *page);
static size_t supported_subpages(const struct counters *c, uint8_t *page);

static const struct page {
	uint8_t code, subpage;
	/* Fills the zeroed page behind its header; returns the bytes there. */
	size_t (*fill)(const struct counters *c, uint8_t *page);
} pages[] = {
	{ 0x00, 0x00, supported_pages },
	{ 0x00, ALL_SUBPAGES, supported_subpages },
	{ 0x02, 0x00, write_errors },
	{ 0x03, 0x00, read_errors },
	{ 0x05, 0x00, verify_errors },
	{ 0x15, 0x00, background_scan },
	{ 0x2f, 0x00, informational_exceptions },
};

#define PAGES (sizeof(pages) / sizeof(pages[0]))

static size_t supported_pages(const struct counters *c, uint8_t *page)
{
	size_t len = 0;

	(void)c;
	for (size_t i = 0; i < PAGES; i++)
		if (pages[i].subpage == 0)
			page[len++] = pages[i].code;
	return len;
}

static size_t supported_subpages(const struct counters *c, uint8_t *page)
{
	size_t len = 0;

	(void)c;
	for (size_t i = 0; i < PAGES; i++) {
		page[len++] = pages[i].code;
		page[len++] = pages[i].subpage;
	}
	return len;
}

static void look(const struct ti_scsi_facts *facts, struct counters *c)
{
	struct timespec now;

	facts->stats(facts->disk, &c->stats);
	facts->scrub(facts->disk, &c->scrub);
	c->block_size = facts->block_size;
	clock_gettime(CLOCK_MONOTONIC, &now);
	c->minutes = ((uint64_t)now.tv_sec - facts->opened_ns / 1000000000U) / 60;
}

/* Drop the parameters before @pointer.  0: there is none from there on. */
static size_t parameters_from(uint8_t *page, size_t len, uint16_t pointer)
{
	size_t at = HEADER;

	while (at < len && ti_be16(page + at) < pointer)
		at += 4U + page[at + 3];
	if (at >= len)
		return 0;
	for (size_t i = 0; i < len - at; i++)
		page[HEADER + i] = page[at + i];
	return HEADER + len - at;
}

int ti_cmd_log_sense(const struct ti_row *row, struct ti_command *cmd)
{
	const uint8_t *cdb = cmd->cdb;
	uint8_t code = cdb[2] & 0x3f, subpage = cdb[3], data[MAX_PAGE] = { 0 };
	uint16_t pointer = ti_be16(cdb + 5);
	const struct page *page = NULL;
	struct counters counters;
	size_t len;

	(void)row;
	if (cdb[1] & SAVE_PARAMETERS)
		return ti_bad_field(cmd, 1, 0);
	for (size_t i = 0; i < PAGES; i++)
		if (pages[i].code == code && pages[i].subpage == subpage)
			page = &pages[i];
	if (!page)
		return ti_bad_field(cmd, subpage ? 3 : 2, subpage ? -1 : 5);
	/* A list of pages has neither kinds of values nor parameters. */
	if (code != 0 && cdb[2] >> 6 != CUMULATIVE)
		return ti_bad_field(cmd, 2, 7);
	look(cmd->facts, &counters);
	len = HEADER + page->fill(&counters, data + HEADER);
	if (code != 0 && pointer != 0)
		len = parameters_from(data, len, pointer);
	else if (pointer != 0)
		len = 0;
	if (len == 0)
		return ti_bad_field(cmd, 5, -1);
	data[0] = (uint8_t)(code | (subpage ? SUBPAGE_FORMAT : 0));
	data[1] = subpage;
	ti_put_be16(data + 2, (uint16_t)(len - HEADER));
	return ti_answer(cmd, data, len, ti_be16(cdb + 7));
}

/* Both lists are empty: blocks are not remapped. */
int ti_cmd_read_defect_data(const struct ti_row *row, struct ti_command *cmd)
{
	const uint8_t *cdb = cmd->cdb;
	uint8_t data[8] = { 0 };

	if (row->cdb_len == 10) {
		data[1] = cdb[2] & 0x1f; /* lists and format, as asked for */
		return ti_answer(cmd, data, 4, ti_be16(cdb + 7));
	}
	data[1] = cdb[1] & 0x1f;
	return ti_answer(cmd, data, 8, ti_be32(cdb + 6));
}
