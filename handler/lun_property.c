// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/* See lun_property.h.  A table with a row for each property, and what fills it. */
#include "lun_property.h"

#include <string.h>

/* What the rows are made of. */
struct look {
	const struct ti_service_lun *lun;
	const struct ti_disk *disk;
	const struct ti_geometry *geo;
	struct ti_disk_view view;
};

enum kind {
	TEXT, /* const char *(*)(look) */
	FLAG,
	SMALL,	/* u */
	NUMBER, /* t */
	OTHER,
};

static const char *name(const struct look *l)
{
	return l->lun->name;
}

static const char *full_name(const struct look *l)
{
	return l->lun->full_name;
}

static const char *state(const struct look *l)
{
	static const char *const text[] = { [TI_DISK_STARTING] = "starting",
					    [TI_DISK_READY] = "ready",
					    [TI_DISK_FAILED] = "failed" };

	return text[l->view.state];
}

static const char *mode(const struct look *l)
{
	static const char *const text[] = { [TI_MODE_DIRECT] = "direct",
					    [TI_MODE_JOURNAL] = "journal",
					    [TI_MODE_BITMAP] = "bitmap",
					    [TI_MODE_RECOVERY] = "recovery" };

	return text[l->disk->config.mode];
}

static const char *data_device(const struct look *l)
{
	return l->disk->queue->dev[TI_DATA].name;
}

static const char *metadata_device(const struct look *l)
{
	return l->disk->queue->dev[TI_META].name;
}

static const char *hash(const struct look *l)
{
	return l->disk->config.hash ? l->disk->config.hash : "crc32c";
}

static const char *backend(const struct look *l)
{
	return l->disk->queue->ops->name;
}

static const char *failed(const struct look *l, enum ti_device dev)
{
	int err = l->view.stats.flush_failed[dev];

	return err ? strerror(-err) : "";
}

static const char *flush_failed_data(const struct look *l)
{
	return failed(l, TI_DATA);
}

static const char *flush_failed_metadata(const struct look *l)
{
	return failed(l, TI_META);
}

static const char *scrub_state(const struct look *l)
{
	return ti_scrub_state_name(l->view.scrub.state);
}

static bool read_only(const struct look *l)
{
	return l->disk->facts.write_protected || (ti_select_bits(&l->disk->mode) & TI_SELECT_SWP);
}

static bool locked_memory(const struct look *l)
{
	return l->view.stats.locked_memory && l->disk->locked_memory &&
	       !l->disk->queue->unlocked_memory;
}

static uint64_t size_bytes(const struct look *l)
{
	return l->disk->facts.blocks * l->disk->facts.block_size;
}

static uint64_t provided_bytes(const struct look *l)
{
	return l->geo->provided_sectors * TI_SECTOR_BYTES;
}

static uint64_t scrub_bad_sectors(const struct look *l)
{
	return ti_scrub_all_bad(&l->view.scrub);
}

static uint64_t scrub_unreadable_sectors(const struct look *l)
{
	return ti_scrub_unreadable(&l->view.scrub);
}

static GVariant *latency(const struct ti_latency *latency)
{
	GVariantBuilder list;

	g_variant_builder_init(&list, G_VARIANT_TYPE("a(tt)"));
	for (unsigned i = 0; i < TI_LATENCY_BUCKETS; i++)
		g_variant_builder_add(&list, "(tt)", ti_latency_bound_ns(i), latency->bucket[i]);
	return g_variant_new("(ttta(tt))", latency->count, latency->sum_ns, latency->max_ns, &list);
}

static GVariant *latency_data(const struct look *l)
{
	return latency(&l->view.stats.flush_latency[TI_DATA]);
}

static GVariant *latency_metadata(const struct look *l)
{
	return latency(&l->view.stats.flush_latency[TI_META]);
}

static GVariant *latency_round(const struct look *l)
{
	return latency(&l->view.stats.round_latency);
}

static GVariant *scrub_bad(const struct look *l)
{
	const struct ti_scrub_report *r = &l->view.scrub;
	GVariantBuilder list;

	g_variant_builder_init(&list, G_VARIANT_TYPE("a(tts)"));
	for (uint32_t i = 0; i < r->listed; i++)
		g_variant_builder_add(&list, "(tts)", r->bad[i].sector, r->bad[i].sectors,
				      ti_scrub_kind_name(r->bad[i].kind));
	return g_variant_builder_end(&list);
}

#define STAT(member) offsetof(struct ti_lun_stats, member)

/* Names are stable. */
static const struct {
	const char *name;
	size_t offset;
} counter_rows[] = {
	{ "reads", STAT(reads) },
	{ "writes", STAT(writes) },
	{ "flushes", STAT(flushes) },
	{ "verifies", STAT(verifies) },
	{ "read_sectors", STAT(read_sectors) },
	{ "written_sectors", STAT(written_sectors) },
	{ "verified_sectors", STAT(verified_sectors) },
	{ "discards", STAT(discards) },
	{ "discarded_sectors", STAT(discarded_sectors) },
	{ "failed_reads", STAT(failed_reads) },
	{ "failed_writes", STAT(failed_writes) },
	{ "failed_verifies", STAT(failed_verifies) },
	{ "mismatches", STAT(mismatches) },
	{ "tags_decayed", STAT(tags_decayed) },
	{ "io_errors_data", STAT(io_errors[TI_DATA]) },
	{ "io_errors_metadata", STAT(io_errors[TI_META]) },
	{ "device_flushes_data", STAT(device_flushes[TI_DATA]) },
	{ "device_flushes_metadata", STAT(device_flushes[TI_META]) },
	{ "flush_rounds", STAT(flush_rounds) },
	{ "tag_lines_read", STAT(tag_lines_read) },
	{ "tag_lines_written", STAT(tag_lines_written) },
	{ "bounced_parts", STAT(bounced_parts) },
	{ "journal_commits", STAT(journal_commits) },
	{ "journal_writeouts", STAT(journal_writeouts) },
	{ "bitmap_writes", STAT(bitmap_writes) },
	{ "bitmap_clears", STAT(bitmap_clears) },
	{ "recalculated_sectors", STAT(recalculated_sectors) },
	{ "recalc_mismatches", STAT(recalc_mismatches) },
	{ "recalc_unreadable_sectors", STAT(recalc_unreadable) },
	{ "scrubs", STAT(scrubs) },
};

static GVariant *counters(const struct look *l)
{
	GVariantBuilder list;

	g_variant_builder_init(&list, G_VARIANT_TYPE("a{st}"));
	for (size_t i = 0; i < G_N_ELEMENTS(counter_rows); i++) {
		uint64_t value;

		memcpy(&value, (const char *)&l->view.stats + counter_rows[i].offset,
		       sizeof(value));
		g_variant_builder_add(&list, "{st}", counter_rows[i].name, value);
	}
	return g_variant_builder_end(&list);
}

static uint64_t recalculating(const struct look *l)
{
	return l->view.stats.recalculating;
}

static uint64_t block_size(const struct look *l)
{
	return l->disk->facts.block_size;
}

static uint64_t integrity_block_size(const struct look *l)
{
	return l->geo->block_size;
}

static uint64_t tag_size(const struct look *l)
{
	return l->geo->tag_size;
}

static uint64_t started(const struct look *l)
{
	return l->lun->started;
}

static uint64_t ended(const struct look *l)
{
	return l->lun->ended;
}

/* One of the functions; or, if there is none, a uint64_t of the view. */
static const struct row {
	const char *name;
	enum kind kind;
	size_t offset; /* in struct ti_disk_view */
	const char *(*text)(const struct look *l);
	bool (*flag)(const struct look *l);
	uint64_t (*number)(const struct look *l);
	GVariant *(*other)(const struct look *l);
} rows[] = {
#define V(member) .kind = NUMBER, .offset = offsetof(struct ti_disk_view, member)
	{ "Name", TEXT, .text = name },
	{ "FullName", TEXT, .text = full_name },
	{ "State", TEXT, .text = state },
	{ "Mode", TEXT, .text = mode },
	{ "ReadOnly", FLAG, .flag = read_only },
	{ "DataDevice", TEXT, .text = data_device },
	{ "MetadataDevice", TEXT, .text = metadata_device },
	{ "SizeBytes", NUMBER, .number = size_bytes },
	{ "ProvidedBytes", NUMBER, .number = provided_bytes },
	{ "BlockSize", SMALL, .number = block_size },
	{ "IntegrityBlockSize", SMALL, .number = integrity_block_size },
	{ "Hash", TEXT, .text = hash },
	{ "TagSize", SMALL, .number = tag_size },
	{ "Backend", TEXT, .text = backend },
	{ "LockedMemory", FLAG, .flag = locked_memory },
	{ "Mismatches", V(stats.mismatches) },
	{ "IoErrorsData", V(stats.io_errors[TI_DATA]) },
	{ "IoErrorsMetadata", V(stats.io_errors[TI_META]) },
	{ "FlushFailedData", TEXT, .text = flush_failed_data },
	{ "FlushFailedMetadata", TEXT, .text = flush_failed_metadata },
	{ "JournalSections", V(stats.journal_sections) },
	{ "JournalFreeSections", V(stats.journal_free_sections) },
	{ "JournalEntries", V(stats.journal_entries) },
	{ "JournalUsedEntries", V(stats.journal_used_entries) },
	{ "BitmapBits", V(stats.bitmap_bits) },
	{ "BitmapDirtyBits", V(stats.bitmap_dirty) },
	{ "Recalculating", FLAG, .number = recalculating },
	{ "RecalcSector", V(stats.recalc_sector) },
	{ "RecalcEndSector", V(stats.recalc_end) },
	{ "ScrubState", TEXT, .text = scrub_state },
	{ "ScrubSector", V(scrub.sector) },
	{ "ScrubEndSector", V(scrub.end) },
	{ "ScrubRateLimit", V(scrub.rate_limit) },
	{ "ScrubRate", V(scrub.rate) },
	{ "ScrubVerifiedSectors", V(scrub.verified_sectors) },
	{ "ScrubSkippedSectors", V(scrub.skipped_sectors) },
	{ "ScrubBadSectors", NUMBER, .number = scrub_bad_sectors },
	{ "ScrubMendedSectors", V(scrub.mended_sectors) },
	{ "ScrubUnreadableSectors", NUMBER, .number = scrub_unreadable_sectors },
	{ "ScrubStarted", NUMBER, .number = started },
	{ "ScrubEnded", NUMBER, .number = ended },
	{ "ScrubBad", OTHER, .other = scrub_bad },
	{ "ScrubBadRanges", V(scrub.ranges) },
	{ "FlushLatencyData", OTHER, .other = latency_data },
	{ "FlushLatencyMetadata", OTHER, .other = latency_metadata },
	{ "FlushLatencyRound", OTHER, .other = latency_round },
	{ "Counters", OTHER, .other = counters },
#undef V
};

static bool look(struct ti_service_lun *lun, struct look *l)
{
	struct ti_disk *disk = ti_service_lun_borrow(lun);

	if (!disk)
		return false;
	ti_disk_look(disk, &l->view);
	l->lun = lun;
	l->disk = disk;
	l->geo = ti_lun_geometry(disk->lun);
	return true;
}

static uint64_t number_of(const struct row *row, const struct look *l)
{
	uint64_t value;

	if (row->number)
		return row->number(l);
	memcpy(&value, (const char *)&l->view + row->offset, sizeof(value));
	return value;
}

static GVariant *value_of(const struct row *row, const struct look *l)
{
	switch (row->kind) {
	case TEXT:
		/* A path may hold any bytes, the bus takes UTF-8. */
		{
			g_autofree char *text = g_utf8_make_valid(row->text(l), -1);

			return g_variant_new_string(text);
		}
	case FLAG:
		return g_variant_new_boolean(row->flag ? row->flag(l) : row->number(l) != 0);
	case SMALL:
		return g_variant_new_uint32((guint32)row->number(l));
	case NUMBER:
		return g_variant_new_uint64(number_of(row, l));
	case OTHER:
		break;
	}
	return row->other(l);
}

GVariant *ti_lun_property(struct ti_service_lun *lun, const char *wanted)
{
	GVariant *value = NULL;
	struct look l;

	if (!look(lun, &l))
		return NULL;
	for (size_t i = 0; i < G_N_ELEMENTS(rows) && !value; i++)
		if (!strcmp(rows[i].name, wanted))
			value = value_of(&rows[i], &l);
	ti_service_lun_give_back(lun);
	return value;
}

GVariant *ti_lun_properties(struct ti_service_lun *lun)
{
	GVariantBuilder list;
	struct look l;

	g_variant_builder_init(&list, G_VARIANT_TYPE_VARDICT);
	if (look(lun, &l)) {
		for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
			g_variant_builder_add(&list, "{sv}", rows[i].name, value_of(&rows[i], &l));
		ti_service_lun_give_back(lun);
	}
	return g_variant_builder_end(&list);
}
