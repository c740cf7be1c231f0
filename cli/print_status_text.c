/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * LUNs for people: a table of many, all about one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "print_status.h"
#include "units.h"

#define BAR	  30
#define BAD_SHOWN 10

/* "[######........]  43%" */
static void print_bar(uint64_t done, uint64_t total)
{
	double part = total ? (double)done / (double)total : 1;
	char marks[BAR + 1];

	memset(marks, '.', BAR);
	memset(marks, '#', (size_t)(part * BAR));
	marks[BAR] = '\0';
	printf("[%s] %3u%%", marks, (unsigned)(part * 100));
}

static void head(const char *label)
{
	printf("  %-10s ", label);
}

static const char *time_text(uint64_t seconds, char *text, size_t size)
{
	time_t when = (time_t)seconds;
	struct tm tm;

	if (!localtime_r(&when, &tm) || !strftime(text, size, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(text, size, "?");
	return text;
}

/* Nanoseconds with three digits that count. */
static const char *duration(uint64_t ns, char *text, size_t size)
{
	if (ns >= 1000000000U)
		snprintf(text, size, "%.2f s", (double)ns / 1e9);
	else if (ns >= 1000000U)
		snprintf(text, size, "%.2f ms", (double)ns / 1e6);
	else
		snprintf(text, size, "%" PRIu64 " us", ns / 1000);
	return text;
}

/* ---- scrub ---- */

static void print_time_left(const struct bus_lun *lun)
{
	uint64_t rate = bus_number(lun, "ScrubRate");
	uint64_t left = bus_number(lun, "ScrubEndSector") - bus_number(lun, "ScrubSector");

	if (rate)
		printf("  %s/s  ETA %s", units_size(rate).text,
		       units_time(left * TI_SECTOR_BYTES / rate).text);
}

static void print_scrub_line(const struct bus_lun *lun)
{
	const char *state = bus_text(lun, "ScrubState");
	uint64_t ended = bus_number(lun, "ScrubEnded"), skipped;
	uint64_t unreadable = bus_number(lun, "ScrubUnreadableSectors");
	uint64_t mended = bus_number(lun, "ScrubMendedSectors");
	char when[32];

	head("scrub");
	if (!strcmp(state, "never")) {
		puts("none since the LUN was opened");
		return;
	}
	if (!strcmp(state, "finished")) {
		fputs(state, stdout);
	} else {
		printf("%s  ", state);
		print_bar(bus_number(lun, "ScrubSector"), bus_number(lun, "ScrubEndSector"));
	}
	if (!strcmp(state, "running"))
		print_time_left(lun);
	else if (ended)
		printf("  %s", time_text(ended, when, sizeof(when)));
	skipped = bus_number(lun, "ScrubSkippedSectors");
	printf("\n             verified %s%s%s, %" PRIu64 " bad sectors in %" PRIu64 " places",
	       units_size(bus_number(lun, "ScrubVerifiedSectors") * TI_SECTOR_BYTES).text,
	       skipped ? ", left out " : "",
	       skipped ? units_size(skipped * TI_SECTOR_BYTES).text : "",
	       bus_number(lun, "ScrubBadSectors"), bus_number(lun, "ScrubBadRanges"));
	if (unreadable)
		printf(", %" PRIu64 " of them unreadable", unreadable);
	if (mended)
		printf("; %" PRIu64 " more have been mended since", mended);
	putchar('\n');
}

static void print_bad(const struct bus_lun *lun, guint most)
{
	g_autoptr(GVariant) list =
		g_variant_lookup_value(lun->values, "ScrubBad", G_VARIANT_TYPE("a(tts)"));
	uint64_t total = bus_number(lun, "ScrubBadRanges");
	uint64_t per_block = bus_number(lun, "BlockSize") / TI_SECTOR_BYTES, sector, sectors;
	GVariantIter i;
	const char *kind;
	guint shown = 0;

	if (!list || !per_block)
		return;
	g_variant_iter_init(&i, list);
	while (shown < most && g_variant_iter_loop(&i, "(tt&s)", &sector, &sectors, &kind)) {
		head(shown++ ? "" : "bad");
		printf("LBA %" PRIu64 ", %" PRIu64 " sector%s: %s\n", sector / per_block, sectors,
		       sectors == 1 ? "" : "s", kind);
	}
	if (shown && shown < total) {
		head("");
		printf("and %" PRIu64 " more; --json lists the first 128\n", total - shown);
	}
}

void print_scrub_text(const struct report_scrub *r)
{
	printf("%s\n", r->lun->name);
	print_scrub_line(r->lun);
	print_bad(r->lun, 128);
}

/* ---- one LUN ---- */

static void print_errors(const struct bus_lun *lun)
{
	static const struct {
		const char *property, *device;
	} flush[] = { { "FlushFailedData", "DataDevice" },
		      { "FlushFailedMetadata", "MetadataDevice" } };

	head("errors");
	printf("%" PRIu64 " mismatches, %" PRIu64 " I/O errors of the data device, %" PRIu64
	       " of the metadata device\n",
	       bus_number(lun, "Mismatches"), bus_number(lun, "IoErrorsData"),
	       bus_number(lun, "IoErrorsMetadata"));
	for (size_t i = 0; i < G_N_ELEMENTS(flush); i++) {
		if (!*bus_text(lun, flush[i].property))
			continue;
		head("");
		printf("A FLUSH OF %s HAS FAILED (%s): all fail until the LUN is opened again\n",
		       bus_text(lun, flush[i].device), bus_text(lun, flush[i].property));
	}
}

static void print_flushes(const struct bus_lun *lun)
{
	static const struct {
		const char *label, *property;
	} of[] = { { "together", "FlushLatencyRound" },
		   { "data", "FlushLatencyData" },
		   { "metadata", "FlushLatencyMetadata" } };
	char mean[32], longest[32];

	for (size_t i = 0; i < G_N_ELEMENTS(of); i++) {
		const struct bus_latency l = bus_latency(lun, of[i].property);

		head(i ? "" : "flushes");
		if (l.count)
			printf("%-9s mean %s, longest %s, %" PRIu64 " measured\n", of[i].label,
			       duration(l.total_ns / l.count, mean, sizeof(mean)),
			       duration(l.max_ns, longest, sizeof(longest)), l.count);
		else
			printf("%-9s none measured yet\n", of[i].label);
	}
}

/* @unless_clean: nothing of one that has ended well, or that there was none. */
static void print_recalculation(const struct bus_lun *lun, bool unless_clean)
{
	uint64_t unreadable = bus_counter(lun, "recalc_unreadable_sectors");
	bool runs = bus_flag(lun, "Recalculating");

	if (!runs && !unreadable && unless_clean)
		return;
	head("recalc");
	if (runs)
		print_bar(bus_number(lun, "RecalcSector"), bus_number(lun, "RecalcEndSector"));
	if (unreadable)
		printf("%s%" PRIu64 " sectors could not be read and keep their old tags",
		       runs ? "  " : "finished: ", unreadable);
	else if (!runs)
		fputs("finished: every tag is of the block that is there", stdout);
	putchar('\n');
}

void print_recalculate_text(const struct report_recalculate *r)
{
	printf("%s\n", r->lun->name);
	print_recalculation(r->lun, false);
}

void print_flush_text(const struct report_flush *r)
{
	printf("%s: all that was acknowledged is durable\n", r->lun->name);
}

static void print_mode(const struct bus_lun *lun)
{
	uint64_t entries = bus_number(lun, "JournalEntries");
	uint64_t regions = bus_number(lun, "BitmapBits");

	if (entries) {
		head("journal");
		print_bar(bus_number(lun, "JournalUsedEntries"), entries);
		printf(" of %" PRIu64 " entries, %" PRIu64 " of %" PRIu64 " sections free\n",
		       entries, bus_number(lun, "JournalFreeSections"),
		       bus_number(lun, "JournalSections"));
	}
	if (regions) {
		head("bitmap");
		printf("%" PRIu64 " of %" PRIu64 " regions dirty\n",
		       bus_number(lun, "BitmapDirtyBits"), regions);
	}
	print_recalculation(lun, true);
}

static void print_lun(const struct bus_lun *lun)
{
	uint64_t size = bus_number(lun, "SizeBytes"), provided = bus_number(lun, "ProvidedBytes");

	printf("%s: mode %s, %s%s\n", lun->name, bus_text(lun, "Mode"), bus_text(lun, "State"),
	       bus_flag(lun, "ReadOnly") ? ", read-only" : "");
	head("size");
	printf("%s in blocks of %" PRIu64 " bytes", units_size(size).text,
	       bus_number(lun, "BlockSize"));
	if (provided != size)
		printf(", of the pair's %s", units_size(provided).text);
	putchar('\n');
	head("data");
	puts(bus_text(lun, "DataDevice"));
	head("metadata");
	puts(bus_text(lun, "MetadataDevice"));
	head("tags");
	printf("%s, %" PRIu64 " bytes for each %" PRIu64 "; %s, memory %slocked\n",
	       bus_text(lun, "Hash"), bus_number(lun, "TagSize"),
	       bus_number(lun, "IntegrityBlockSize"), bus_text(lun, "Backend"),
	       bus_flag(lun, "LockedMemory") ? "" : "NOT ");
	print_mode(lun);
	print_errors(lun);
	print_flushes(lun);
	print_scrub_line(lun);
	print_bad(lun, BAD_SHOWN);
}

/* ---- many ---- */

static void scrub_cell(const struct bus_lun *lun, char *text, size_t size)
{
	const char *state = bus_text(lun, "ScrubState");
	uint64_t end = bus_number(lun, "ScrubEndSector"), bad = bus_number(lun, "ScrubBadSectors");

	if (!strcmp(state, "running") && end)
		snprintf(text, size, "%u%%, %" PRIu64 " bad",
			 (unsigned)((double)bus_number(lun, "ScrubSector") * 100 / (double)end),
			 bad);
	else if (!strcmp(state, "never"))
		snprintf(text, size, "-");
	else
		snprintf(text, size, "%s, %" PRIu64 " bad", state, bad);
}

static void print_table(const struct report_status *r)
{
	size_t width = strlen("LUN");

	for (size_t i = 0; i < r->count; i++)
		if (strlen(r->lun[i]->name) > width)
			width = strlen(r->lun[i]->name);
	printf("%-*s  %-8s %-8s %10s %10s %10s  %s\n", (int)width, "LUN", "MODE", "STATE", "SIZE",
	       "MISMATCHES", "IO ERRORS", "SCRUB");
	for (size_t i = 0; i < r->count; i++) {
		const struct bus_lun *lun = r->lun[i];
		char scrub[64];

		scrub_cell(lun, scrub, sizeof(scrub));
		printf("%-*s  %-8s %-8s %10s %10" PRIu64 " %10" PRIu64 "  %s%s\n", (int)width,
		       lun->name, bus_text(lun, "Mode"), bus_text(lun, "State"),
		       units_size(bus_number(lun, "SizeBytes")).text, bus_number(lun, "Mismatches"),
		       bus_number(lun, "IoErrorsData") + bus_number(lun, "IoErrorsMetadata"), scrub,
		       *bus_text(lun, "FlushFailedData") || *bus_text(lun, "FlushFailedMetadata")
			       ? "  FLUSH FAILED"
			       : "");
	}
}

void print_status_text(const struct report_status *r)
{
	if (r->one)
		print_lun(r->lun[0]);
	else if (r->count)
		print_table(r);
	else
		puts("tcmu-runner serves no LUN of ours");
}
