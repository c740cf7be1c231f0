/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Results for people.  The superblock's fields carry the names that integritysetup dump gives them.
 */
#include "print.h"

#include "print_config.h"
#include "print_status.h"

#include <inttypes.h>
#include <stdio.h>

#include "units.h"

#define COLUMN "%-28s"

/* ---- dump ---- */

static void number(const char *name, uint64_t value)
{
	printf(COLUMN "%" PRIu64 "\n", name, value);
}

static void size(const char *name, uint64_t bytes)
{
	printf(COLUMN "%" PRIu64 " (%s)\n", name, bytes, units_size(bytes).text);
}

static void flags(uint32_t bits)
{
	printf(COLUMN, "flags");
	if (!bits)
		printf("none");
	for (uint32_t bit = 1; bit && bit <= bits; bit <<= 1) {
		const char *name = ti_superblock_flag_name(bit);

		if ((bits & bit) && name)
			printf("%s ", name);
		else if (bits & bit)
			printf("0x%" PRIx32 " ", bit);
	}
	putchar('\n');
}

static void salt(const struct ti_superblock *sb)
{
	printf(COLUMN, "salt");
	for (int i = 0; i < TI_SALT_BYTES; i++)
		printf("%02x", sb->salt[i]);
	putchar('\n');
}

static void dump_superblock(const struct report_dump *r)
{
	const struct ti_superblock *sb = &r->sb;
	uint64_t sectors_per_bit = print_sectors_per_bit(sb);

	printf("superblock of %s at sector %" PRIu64 "\n", r->meta, r->start_sector);
	number("superblock_version", sb->version);
	number("log2_interleave_sectors", 0);
	number("integrity_tag_size", sb->tag_size);
	number("journal_sections", sb->journal_sections);
	printf(COLUMN "%" PRIu64 " (%s)\n", "provided_data_sectors", sb->provided_sectors,
	       units_size(sb->provided_sectors * TI_SECTOR_BYTES).text);
	number("sector_size", TI_SECTOR_BYTES << sb->log2_sectors_per_block);
	printf(COLUMN "%u", "log2_blocks_per_bitmap", sb->log2_blocks_per_bitmap_bit);
	if (sectors_per_bit)
		printf(" (%" PRIu64 " sectors per bit)", sectors_per_bit);
	putchar('\n');
	flags(sb->flags);
	number("recalc_sector", sb->recalc_sector);
	if (sb->flags & TI_SB_FIXED_HMAC)
		salt(sb);
}

static void dump_geometry(const struct ti_geometry *g)
{
	printf("\nwhere things lie on it, in bytes\n");
	size("journal_offset", g->journal_offset);
	size("journal_bytes", g->journal_bytes);
	number("journal_section_sectors", g->section_sectors);
	number("journal_section_entries", g->section_entries);
	number("journal_entry_size", g->entry_size);
	size("tag_offset", g->tag_offset);
	size("tag_bytes", g->tag_bytes);
	number("buffer_sectors", 1ULL << g->log2_buffer_sectors);
}

static void dump_sequences(const struct ti_journal_summary *j)
{
	printf(COLUMN, "journal_sequence");
	for (uint32_t i = 0; i < j->shown; i++)
		printf("%s%s", i ? "," : "", print_seq_name(j->seq[i]));
	printf("%s\n", j->shown < j->sections ? ",..." : "");
}

static void dump_macs(const struct ti_journal_summary *j)
{
	number("journal_bad_macs", j->bad_macs);
	if (j->bad_macs)
		number("journal_first_bad_mac", j->first_bad_mac);
}

static void dump_journal(const struct report_dump *r)
{
	const struct ti_journal_summary *j = &r->journal;

	printf("\nwhat is in the journal\n");
	printf(COLUMN "%s\n", "journal_state", ti_journal_state_name(j->state));
	dump_sequences(j);
	number("journal_used_entries", j->used_entries);
	if (r->has_macs)
		dump_macs(j);
	if (j->state == TI_JOURNAL_DAMAGED) {
		if (j->bad_section != UINT32_MAX)
			printf(COLUMN "section %" PRIu32 ", sector %" PRIu32 "\n",
			       "journal_first_bad_sector", j->bad_section, j->bad_sector);
		return;
	}
	if (j->state == TI_JOURNAL_EMPTY)
		return;
	number("journal_replay_entries", j->replay_entries);
	number("journal_replay_sections", j->replay_sections);
	number("journal_replay_first", j->replay_first);
}

static void dump(const struct report_dump *r)
{
	dump_superblock(r);
	if (r->has_geometry)
		dump_geometry(&r->geo);
	if (r->has_journal)
		dump_journal(r);
	else if (r->sb.flags & TI_SB_DIRTY_BITMAP)
		printf("\nwhat is in the journal\n" COLUMN "%s\n", "journal_state", "bitmap");
	if (r->has_bitmap) {
		number("bitmap_regions", r->bitmap_regions);
		number("bitmap_dirty", r->bitmap_dirty);
	}
	if (r->store.count)
		printf("\nwhat a tcmu-runner has not yet written that serves the pair, or was "
		       "killed "
		       "while it did\n");
	for (unsigned i = 0; i < r->store.count; i++)
		printf(COLUMN "%s\n", "store_file", r->store.path[i]);
}

/* ---- check ---- */

static const char *kind_text(enum ti_check_kind kind)
{
	switch (kind) {
	case TI_CHECK_MISMATCH:
		return "block and tag differ";
	case TI_CHECK_NEVER_WRITTEN:
		return "tag never written";
	case TI_CHECK_DATA_UNREADABLE:
		return "data device unreadable";
	case TI_CHECK_TAG_UNREADABLE:
		return "tag unreadable";
	case TI_CHECK_DISCARDED:
		return "discarded";
	case TI_CHECK_UNSETTLED:
		return "tag still to be recalculated";
	case TI_CHECK_KINDS:
		break;
	}
	return "unknown";
}

static void check_ranges(const struct ti_check_report *c)
{
	uint64_t total = 0;

	for (size_t i = 0; i < c->listed; i++) {
		const struct ti_check_range *range = &c->list[i];

		if (range->sectors == 1)
			printf("sector %" PRIu64, range->sector);
		else
			printf("sectors %" PRIu64 " to %" PRIu64, range->sector,
			       range->sector + range->sectors - 1);
		printf(" (bytes %" PRIu64 " to %" PRIu64 "): %s\n", range->sector * TI_SECTOR_BYTES,
		       (range->sector + range->sectors) * TI_SECTOR_BYTES - 1,
		       kind_text(range->kind));
	}
	for (int kind = 0; kind < TI_CHECK_KINDS; kind++)
		total += c->ranges[kind];
	if (total > c->listed)
		printf("and %" PRIu64 " more, which --max-ranges can list\n", total - c->listed);
}

static void check_counts(const struct ti_check_report *c)
{
	for (int kind = 0; kind < TI_CHECK_KINDS; kind++) {
		if (c->bad_sectors[kind] && c->ranges[kind] == 0)
			printf("%s: %" PRIu64 " %s (%s)\n", kind_text((enum ti_check_kind)kind),
			       c->bad_sectors[kind],
			       c->bad_sectors[kind] == 1 ? "sector" : "sectors",
			       units_size(c->bad_sectors[kind] * TI_SECTOR_BYTES).text);
		else if (c->bad_sectors[kind])
			printf("%s: %" PRIu64 " %s (%s) in %" PRIu64 " %s\n",
			       kind_text((enum ti_check_kind)kind), c->bad_sectors[kind],
			       c->bad_sectors[kind] == 1 ? "sector" : "sectors",
			       units_size(c->bad_sectors[kind] * TI_SECTOR_BYTES).text,
			       c->ranges[kind], c->ranges[kind] == 1 ? "range" : "ranges");
	}
}

static void check(const struct report_check *r)
{
	const struct ti_check_report *c = r->result;

	printf("%s with tags on %s: blocks of %" PRIu32 " bytes, %s tags of %" PRIu32
	       " bytes, %s\n",
	       r->data, r->meta, r->geo->block_size, r->hash, r->geo->tag_size,
	       r->sb->flags & TI_SB_FIXED_HMAC ? "salted" : "not salted");
	check_ranges(c);
	check_counts(c);
	if (!r->complete)
		printf("stopped after %" PRIu64 " of %" PRIu64 " sectors\n", c->checked_sectors,
		       r->geo->provided_sectors);
	else if (print_check_is_clean(r))
		printf("clean: all %" PRIu64 " sectors (%s) match their tags%s\n",
		       c->checked_sectors, units_size(c->checked_sectors * TI_SECTOR_BYTES).text,
		       c->bad_sectors[TI_CHECK_DISCARDED] ? " or are discarded" : "");
	else
		printf("checked all %" PRIu64 " sectors (%s)\n", c->checked_sectors,
		       units_size(c->checked_sectors * TI_SECTOR_BYTES).text);
}

/* ---- doctor ---- */

static void doctor(const struct report_doctor *r)
{
	static const char *const mark[] = {
		[FINDING_OK] = "ok",
		[FINDING_NOTE] = "note",
		[FINDING_MISSING] = "MISSING",
	};

	for (size_t i = 0; i < r->count; i++) {
		const struct finding *f = &r->finding[i];

		printf("%-8s %s\n", mark[f->state], f->text);
		if (f->state != FINDING_OK && f->mend[0])
			printf("         mend it with: %s\n", f->mend);
	}
	if (r->missing)
		printf("\n%zu of %zu things are missing\n", r->missing, r->count);
	else
		printf("\nall that is needed is here\n");
}

/* ---- others ---- */

static void version(const struct report_version *r)
{
	printf("tcmu-integrity %s, for tcmu-runner %s\n", r->version, r->tcmu_runner);
}

static void failure(const struct ti_error *error)
{
	(void)error;
}

const struct printer printer_text = {
	.dump = dump,
	.check = check,
	.config_check = print_config_check_text,
	.config_show = print_config_show_text,
	.config_explain = print_config_explain_text,
	.status = print_status_text,
	.scrub = print_scrub_text,
	.recalculate = print_recalculate_text,
	.flush = print_flush_text,
	.doctor = doctor,
	.version = version,
	.failure = failure,
};
