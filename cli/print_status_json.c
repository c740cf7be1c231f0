/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * LUNs for programs.  docs/schema/status.json and docs/schema/scrub.json describe what comes out.
 */
#include <string.h>

#include "print_json.h"
#include "print_status.h"

static const char *or_null(const char *text)
{
	return *text ? text : NULL;
}

static struct json_object *bad_list(const struct bus_lun *lun)
{
	g_autoptr(GVariant) list =
		g_variant_lookup_value(lun->values, "ScrubBad", G_VARIANT_TYPE("a(tts)"));
	struct json_object *out = json_object_new_array();
	guint64 sector, sectors;
	const char *kind;
	GVariantIter i;

	if (!list)
		return out;
	g_variant_iter_init(&i, list);
	while (g_variant_iter_loop(&i, "(tt&s)", &sector, &sectors, &kind)) {
		struct json_object *o = json_object_new_object();

		add_text(o, "kind", kind);
		add_number(o, "first_sector", sector);
		add_number(o, "length_sectors", sectors);
		json_object_array_add(out, o);
	}
	return out;
}

static void add_time(struct json_object *to, const char *key, uint64_t seconds)
{
	if (seconds)
		add_number(to, key, seconds);
	else
		add(to, key, NULL);
}

static struct json_object *scrub(const struct bus_lun *lun)
{
	struct json_object *o = json_object_new_object();

	add_text(o, "state", bus_text(lun, "ScrubState"));
	add_number(o, "sector", bus_number(lun, "ScrubSector"));
	add_number(o, "end_sector", bus_number(lun, "ScrubEndSector"));
	add_number(o, "rate_limit", bus_number(lun, "ScrubRateLimit"));
	add_number(o, "rate", bus_number(lun, "ScrubRate"));
	add_number(o, "verified_sectors", bus_number(lun, "ScrubVerifiedSectors"));
	add_number(o, "skipped_sectors", bus_number(lun, "ScrubSkippedSectors"));
	add_number(o, "bad_sectors", bus_number(lun, "ScrubBadSectors"));
	add_number(o, "mended_sectors", bus_number(lun, "ScrubMendedSectors"));
	add_number(o, "unreadable_sectors", bus_number(lun, "ScrubUnreadableSectors"));
	add_time(o, "started", bus_number(lun, "ScrubStarted"));
	add_time(o, "ended", bus_number(lun, "ScrubEnded"));
	add_number(o, "ranges_total", bus_number(lun, "ScrubBadRanges"));
	add(o, "ranges", bad_list(lun));
	return o;
}

static struct json_object *latency(const struct bus_lun *lun, const char *property)
{
	const struct bus_latency l = bus_latency(lun, property);
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	for (size_t i = 0; i < l.buckets; i++) {
		struct json_object *b = json_object_new_object();

		if (l.bucket[i].bound_ns == UINT64_MAX)
			add(b, "at_most_ns", NULL);
		else
			add_number(b, "at_most_ns", l.bucket[i].bound_ns);
		add_number(b, "count", l.bucket[i].count);
		json_object_array_add(list, b);
	}
	add_number(o, "count", l.count);
	add_number(o, "total_ns", l.total_ns);
	add_number(o, "max_ns", l.max_ns);
	add(o, "buckets", list);
	return o;
}

static struct json_object *counters(const struct bus_lun *lun)
{
	g_autoptr(GVariant) list =
		g_variant_lookup_value(lun->values, "Counters", G_VARIANT_TYPE("a{st}"));
	struct json_object *o = json_object_new_object();
	const char *name;
	guint64 value;
	GVariantIter i;

	if (!list)
		return o;
	g_variant_iter_init(&i, list);
	while (g_variant_iter_loop(&i, "{&st}", &name, &value))
		add_number(o, name, value);
	return o;
}

static struct json_object *journal(const struct bus_lun *lun)
{
	struct json_object *o;

	if (!bus_number(lun, "JournalEntries"))
		return NULL;
	o = json_object_new_object();
	add_number(o, "sections", bus_number(lun, "JournalSections"));
	add_number(o, "free_sections", bus_number(lun, "JournalFreeSections"));
	add_number(o, "entries", bus_number(lun, "JournalEntries"));
	add_number(o, "used_entries", bus_number(lun, "JournalUsedEntries"));
	return o;
}

static struct json_object *bitmap(const struct bus_lun *lun)
{
	struct json_object *o;

	if (!bus_number(lun, "BitmapBits"))
		return NULL;
	o = json_object_new_object();
	add_number(o, "regions", bus_number(lun, "BitmapBits"));
	add_number(o, "dirty_regions", bus_number(lun, "BitmapDirtyBits"));
	return o;
}

/* What is there once for each device. */
static struct json_object *errors(const struct bus_lun *lun)
{
	struct json_object *o = json_object_new_object();

	add_number(o, "mismatches", bus_number(lun, "Mismatches"));
	add_number(o, "io_errors_data", bus_number(lun, "IoErrorsData"));
	add_number(o, "io_errors_metadata", bus_number(lun, "IoErrorsMetadata"));
	add_text(o, "flush_failed_data", or_null(bus_text(lun, "FlushFailedData")));
	add_text(o, "flush_failed_metadata", or_null(bus_text(lun, "FlushFailedMetadata")));
	return o;
}

static struct json_object *recalculation(const struct bus_lun *lun)
{
	struct json_object *o = json_object_new_object();

	add_bool(o, "active", bus_flag(lun, "Recalculating"));
	add_number(o, "sector", bus_number(lun, "RecalcSector"));
	add_number(o, "end_sector", bus_number(lun, "RecalcEndSector"));
	add_number(o, "mismatches", bus_counter(lun, "recalc_mismatches"));
	add_number(o, "unreadable_sectors", bus_counter(lun, "recalc_unreadable_sectors"));
	return o;
}

static struct json_object *one(const struct bus_lun *lun)
{
	struct json_object *o = json_object_new_object(), *flush = json_object_new_object();

	add_text(o, "name", lun->name);
	add_text(o, "full_name", bus_text(lun, "FullName"));
	add_text(o, "state", bus_text(lun, "State"));
	add_text(o, "mode", bus_text(lun, "Mode"));
	add_bool(o, "read_only", bus_flag(lun, "ReadOnly"));
	add_text(o, "data_device", bus_text(lun, "DataDevice"));
	add_text(o, "metadata_device", bus_text(lun, "MetadataDevice"));
	add_number(o, "size", bus_number(lun, "SizeBytes"));
	add_number(o, "provided_size", bus_number(lun, "ProvidedBytes"));
	add_number(o, "block_size", bus_number(lun, "BlockSize"));
	add_number(o, "integrity_block_size", bus_number(lun, "IntegrityBlockSize"));
	add_text(o, "integrity", bus_text(lun, "Hash"));
	add_number(o, "tag_size", bus_number(lun, "TagSize"));
	add_text(o, "backend", bus_text(lun, "Backend"));
	add_bool(o, "locked_memory", bus_flag(lun, "LockedMemory"));
	add_bool(o, "needs_attention", bus_needs_attention(lun));
	add(o, "errors", errors(lun));
	add(o, "journal", journal(lun));
	add(o, "bitmap", bitmap(lun));
	add(o, "recalculation", recalculation(lun));
	add(o, "scrub", scrub(lun));
	add(flush, "data", latency(lun, "FlushLatencyData"));
	add(flush, "metadata", latency(lun, "FlushLatencyMetadata"));
	add(flush, "round", latency(lun, "FlushLatencyRound"));
	add(o, "flush_latency", flush);
	add(o, "counters", counters(lun));
	return o;
}

void print_status_json(const struct report_status *r)
{
	struct json_object *top = json_object_new_object(), *list = json_object_new_array();

	for (size_t i = 0; i < r->count; i++)
		json_object_array_add(list, one(r->lun[i]));
	add(top, "luns", list);
	add(top, "error", NULL);
	finish(top);
}

void print_scrub_json(const struct report_scrub *r)
{
	struct json_object *top = json_object_new_object();

	add_text(top, "name", r->lun->name);
	add(top, "scrub", scrub(r->lun));
	add(top, "error", NULL);
	finish(top);
}

void print_recalculate_json(const struct report_recalculate *r)
{
	struct json_object *top = json_object_new_object();

	add_text(top, "name", r->lun->name);
	add(top, "recalculation", recalculation(r->lun));
	add(top, "error", NULL);
	finish(top);
}

void print_flush_json(const struct report_flush *r)
{
	struct json_object *top = json_object_new_object();

	add_text(top, "name", r->lun->name);
	add(top, "error", NULL);
	finish(top);
}
