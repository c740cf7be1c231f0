/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See openmetrics.h.  A table of families; each is printed with a sample for each LUN. */
#include "openmetrics.h"

#include <inttypes.h>
#include <string.h>

#define PREFIX "tcmu_integrity_"

enum type { GAUGE, COUNTER };

/* Where a sample's value comes from. */
enum source {
	NUMBER,	 /* a property */
	SECTORS, /* a property, printed in bytes */
	FLAG,	 /* a property */
	PRESENT, /* a property: 1 if its text is not empty */
	COUNTED, /* one of the property Counters */
	COUNTED_SECTORS,
	RATIO, /* one property divided by another */
};

struct sample {
	enum source source;
	const char *from, *divisor;
	const char *label; /* further ones: 'device="data"' */
};

/* @name without prefix, and without the _total of a counter; @unit is its ending. */
static const struct family {
	const char *name;
	enum type type;
	const char *unit;
	const char *help;
	struct sample sample[2];
} families[] = {
	{ "lun_size_bytes",
	  GAUGE,
	  "bytes",
	  "Size of the LUN.",
	  { { .source = NUMBER, .from = "SizeBytes" } } },
	{ "mismatched_blocks",
	  COUNTER,
	  NULL,
	  "Blocks found not to match their tags, each time that was noticed.",
	  { { .source = NUMBER, .from = "Mismatches" } } },
	{ "decayed_tags",
	  COUNTER,
	  NULL,
	  "Tags that were bad on the medium and right in memory.",
	  { { .source = COUNTED, .from = "tags_decayed" } } },
	{ "io_errors",
	  COUNTER,
	  NULL,
	  "Reads and writes that a device has failed.",
	  { { .source = NUMBER, .from = "IoErrorsData", .label = "device=\"data\"" },
	    { .source = NUMBER, .from = "IoErrorsMetadata", .label = "device=\"metadata\"" } } },
	{ "flush_failed",
	  GAUGE,
	  NULL,
	  "Whether a flush of the device has failed, so that all do until the LUN is opened again.",
	  { { .source = PRESENT, .from = "FlushFailedData", .label = "device=\"data\"" },
	    { .source = PRESENT,
	      .from = "FlushFailedMetadata",
	      .label = "device=\"metadata\"" } } },
	{ "locked_memory",
	  GAUGE,
	  NULL,
	  "Whether the memory of the I/O path is locked.",
	  { { .source = FLAG, .from = "LockedMemory" } } },
	{ "requests",
	  COUNTER,
	  NULL,
	  "Requests completed well.",
	  { { .source = COUNTED, .from = "reads", .label = "operation=\"read\"" },
	    { .source = COUNTED, .from = "writes", .label = "operation=\"write\"" } } },
	{ "flushes",
	  COUNTER,
	  NULL,
	  "Flushes completed well.",
	  { { .source = COUNTED, .from = "flushes" } } },
	{ "failed_requests",
	  COUNTER,
	  NULL,
	  "Requests that failed because of a device or a tag.",
	  { { .source = COUNTED, .from = "failed_reads", .label = "operation=\"read\"" },
	    { .source = COUNTED, .from = "failed_writes", .label = "operation=\"write\"" } } },
	{ "read_bytes",
	  COUNTER,
	  "bytes",
	  "Read.",
	  { { .source = COUNTED_SECTORS, .from = "read_sectors" } } },
	{ "written_bytes",
	  COUNTER,
	  "bytes",
	  "Written.",
	  { { .source = COUNTED_SECTORS, .from = "written_sectors" } } },
	{ "discarded_bytes",
	  COUNTER,
	  "bytes",
	  "Discarded.",
	  { { .source = COUNTED_SECTORS, .from = "discarded_sectors" } } },
	{ "device_flushes",
	  COUNTER,
	  NULL,
	  "Flushes sent to a device.",
	  { { .source = COUNTED, .from = "device_flushes_data", .label = "device=\"data\"" },
	    { .source = COUNTED,
	      .from = "device_flushes_metadata",
	      .label = "device=\"metadata\"" } } },
	{ "flush_rounds",
	  COUNTER,
	  NULL,
	  "Pairs of device flushes that any number of waiters share.",
	  { { .source = COUNTED, .from = "flush_rounds" } } },
	{ "tag_cache_lines",
	  COUNTER,
	  NULL,
	  "Lines of the tag cache that went from and to the metadata device.",
	  { { .source = COUNTED, .from = "tag_lines_read", .label = "operation=\"read\"" },
	    { .source = COUNTED, .from = "tag_lines_written", .label = "operation=\"write\"" } } },
	{ "bounced_parts",
	  COUNTER,
	  NULL,
	  "Transfers whose data had to be copied.",
	  { { .source = COUNTED, .from = "bounced_parts" } } },
	{ "journal_entries",
	  GAUGE,
	  NULL,
	  "Blocks that the journal can hold.",
	  { { .source = NUMBER, .from = "JournalEntries" } } },
	{ "journal_used_entries",
	  GAUGE,
	  NULL,
	  "Blocks in the journal.",
	  { { .source = NUMBER, .from = "JournalUsedEntries" } } },
	{ "journal_commits",
	  COUNTER,
	  NULL,
	  "Commits of the journal.",
	  { { .source = COUNTED, .from = "journal_commits" } } },
	{ "journal_writeouts",
	  COUNTER,
	  NULL,
	  "Times that committed sections went to their places.",
	  { { .source = COUNTED, .from = "journal_writeouts" } } },
	{ "bitmap_regions",
	  GAUGE,
	  NULL,
	  "Regions of the bitmap.",
	  { { .source = NUMBER, .from = "BitmapBits" } } },
	{ "bitmap_dirty_regions",
	  GAUGE,
	  NULL,
	  "Regions whose bit is set.",
	  { { .source = NUMBER, .from = "BitmapDirtyBits" } } },
	{ "recalculating",
	  GAUGE,
	  NULL,
	  "Whether tags are still to be recalculated.",
	  { { .source = FLAG, .from = "Recalculating" } } },
	{ "recalculated_ratio",
	  GAUGE,
	  "ratio",
	  "How far recalculation is.",
	  { { .source = RATIO, .from = "RecalcSector", .divisor = "RecalcEndSector" } } },
	{ "scrub_done_ratio",
	  GAUGE,
	  "ratio",
	  "How far the scrub under way, or the last one, is.",
	  { { .source = RATIO, .from = "ScrubSector", .divisor = "ScrubEndSector" } } },
	{ "scrub_verified_bytes",
	  GAUGE,
	  "bytes",
	  "What the scrub under way, or the last one, has verified.",
	  { { .source = SECTORS, .from = "ScrubVerifiedSectors" } } },
	{ "scrub_bad_bytes",
	  GAUGE,
	  "bytes",
	  "What the scrub under way, or the last one, has found to be bad and nobody has mended.",
	  { { .source = SECTORS, .from = "ScrubBadSectors" } } },
	{ "scrub_mended_bytes",
	  GAUGE,
	  "bytes",
	  "What it has found to be bad and has been written or recalculated since.",
	  { { .source = SECTORS, .from = "ScrubMendedSectors" } } },
	{ "scrub_started_timestamp_seconds",
	  GAUGE,
	  "seconds",
	  "When the last scrub was started; 0: never.",
	  { { .source = NUMBER, .from = "ScrubStarted" } } },
	{ "scrub_ended_timestamp_seconds",
	  GAUGE,
	  "seconds",
	  "When the last scrub ended; 0: it runs, or there was none.",
	  { { .source = NUMBER, .from = "ScrubEnded" } } },
	{ "scrubs",
	  COUNTER,
	  NULL,
	  "Scrubs that went to the end.",
	  { { .source = COUNTED, .from = "scrubs" } } },
};

/* A label's value; the text format escapes three characters. */
static void put_label(GString *out, const char *key, const char *value)
{
	g_string_append_printf(out, "%s=\"", key);
	for (const char *p = value; *p; p++) {
		if (*p == '\\' || *p == '"')
			g_string_append_c(out, '\\');
		if (*p == '\n')
			g_string_append(out, "\\n");
		else
			g_string_append_c(out, *p);
	}
	g_string_append_c(out, '"');
}

static void put_head(GString *out, const char *name, const char *type, const char *unit,
		     const char *help)
{
	g_string_append_printf(out, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, help,
			       name, type);
	if (unit)
		g_string_append_printf(out, "# UNIT " PREFIX "%s %s\n", name, unit);
}

/* Values are printed in the same way whatever the locale is. */
static void put_real(GString *out, double value)
{
	char text[G_ASCII_DTOSTR_BUF_SIZE];

	g_string_append(out, g_ascii_dtostr(text, sizeof(text), value));
}

static void put_value(GString *out, const struct bus_lun *lun, const struct sample *s)
{
	uint64_t value = 0, divisor;

	switch (s->source) {
	case NUMBER:
		value = bus_number(lun, s->from);
		break;
	case SECTORS:
		value = bus_number(lun, s->from) * 512;
		break;
	case FLAG:
		value = bus_flag(lun, s->from);
		break;
	case PRESENT:
		value = *bus_text(lun, s->from) != '\0';
		break;
	case COUNTED:
		value = bus_counter(lun, s->from);
		break;
	case COUNTED_SECTORS:
		value = bus_counter(lun, s->from) * 512;
		break;
	case RATIO:
		divisor = bus_number(lun, s->divisor);
		put_real(out, divisor ? (double)bus_number(lun, s->from) / (double)divisor : 0);
		return;
	}
	g_string_append_printf(out, "%" PRIu64, value);
}

static void put_family(GString *out, const struct family *f, GPtrArray *luns)
{
	put_head(out, f->name, f->type == COUNTER ? "counter" : "gauge", f->unit, f->help);
	for (guint i = 0; i < luns->len; i++) {
		const struct bus_lun *lun = g_ptr_array_index(luns, i);

		for (size_t n = 0; n < G_N_ELEMENTS(f->sample) && f->sample[n].from; n++) {
			g_string_append_printf(out, PREFIX "%s%s{", f->name,
					       f->type == COUNTER ? "_total" : "");
			put_label(out, "lun", lun->name);
			if (f->sample[n].label)
				g_string_append_printf(out, ",%s", f->sample[n].label);
			g_string_append(out, "} ");
			put_value(out, lun, &f->sample[n]);
			g_string_append_c(out, '\n');
		}
	}
}

/* ---- what is no plain number ---- */

static void put_info(GString *out, GPtrArray *luns)
{
	static const struct {
		const char *key, *property;
	} label[] = { { "lun", "Name" },
		      { "mode", "Mode" },
		      { "integrity", "Hash" },
		      { "data_device", "DataDevice" },
		      { "metadata_device", "MetadataDevice" },
		      { "backend", "Backend" } };

	put_head(out, "lun_info", "gauge", NULL, "What the LUN is; always 1.");
	for (guint i = 0; i < luns->len; i++) {
		g_string_append(out, PREFIX "lun_info{");
		for (size_t n = 0; n < G_N_ELEMENTS(label); n++) {
			g_string_append(out, n ? "," : "");
			put_label(out, label[n].key,
				  bus_text(g_ptr_array_index(luns, i), label[n].property));
		}
		g_string_append(out, "} 1\n");
	}
}

/* A gauge for each state that there may be: 1 for the one it is in. */
static void put_states(GString *out, GPtrArray *luns, const char *name, const char *property,
		       const char *help, const char *const *state)
{
	put_head(out, name, "gauge", NULL, help);
	for (guint i = 0; i < luns->len; i++) {
		const struct bus_lun *lun = g_ptr_array_index(luns, i);

		for (size_t n = 0; state[n]; n++) {
			g_string_append_printf(out, PREFIX "%s{", name);
			put_label(out, "lun", lun->name);
			g_string_append_printf(out, ",state=\"%s\"} %d\n", state[n],
					       !strcmp(bus_text(lun, property), state[n]));
		}
	}
}

static void put_histogram(GString *out, const struct bus_lun *lun, const char *property,
			  const char *device)
{
	const struct bus_latency l = bus_latency(lun, property);
	g_autoptr(GString) labels = g_string_new(NULL);
	uint64_t so_far = 0;

	put_label(labels, "lun", lun->name);
	g_string_append_printf(labels, ",device=\"%s\"", device);
	for (size_t i = 0; i < l.buckets; i++) {
		so_far += l.bucket[i].count;
		g_string_append_printf(out, PREFIX "flush_duration_seconds_bucket{%s,le=\"",
				       labels->str);
		if (l.bucket[i].bound_ns == UINT64_MAX)
			g_string_append(out, "+Inf");
		else
			put_real(out, (double)l.bucket[i].bound_ns / 1e9);
		g_string_append_printf(out, "\"} %" PRIu64 "\n", so_far);
	}
	g_string_append_printf(out,
			       PREFIX "flush_duration_seconds_count{%s} %" PRIu64 "\n" PREFIX
				      "flush_duration_seconds_sum{%s} ",
			       labels->str, l.count, labels->str);
	put_real(out, (double)l.total_ns / 1e9);
	g_string_append_c(out, '\n');
}

static void put_histograms(GString *out, GPtrArray *luns)
{
	put_head(out, "flush_duration_seconds", "histogram", "seconds",
		 "How long flushes took, as far as measured; both: what a SYNCHRONIZE CACHE waits "
		 "for.");
	for (guint i = 0; i < luns->len; i++) {
		const struct bus_lun *lun = g_ptr_array_index(luns, i);

		put_histogram(out, lun, "FlushLatencyData", "data");
		put_histogram(out, lun, "FlushLatencyMetadata", "metadata");
		put_histogram(out, lun, "FlushLatencyRound", "both");
	}
}

char *openmetrics_text(GPtrArray *luns)
{
	static const char *const lun_states[] = { "starting", "ready", "failed", NULL };
	static const char *const scrub_states[] = { "never",	"running", "stopped",
						    "finished", "failed",  NULL };
	GString *out = g_string_new(NULL);

	put_head(out, "up", "gauge", NULL, "Whether tcmu-runner could be asked.");
	g_string_append_printf(out, PREFIX "up %d\n", luns != NULL);
	if (luns) {
		put_info(out, luns);
		put_states(out, luns, "lun_state", "State", "How the LUN is.", lun_states);
		put_states(out, luns, "scrub_state", "ScrubState", "How the LUN's scrub is.",
			   scrub_states);
		for (size_t i = 0; i < G_N_ELEMENTS(families); i++)
			put_family(out, &families[i], luns);
		put_histograms(out, luns);
	}
	g_string_append(out, "# EOF\n");
	return g_string_free(out, FALSE);
}
