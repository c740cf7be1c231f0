/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Results for programs: one JSON object on stdout, whatever happens.
 */
#include "print.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "cli.h"
#include "print_config.h"
#include "print_status.h"
#include "print_json.h"

void add(struct json_object *to, const char *key, struct json_object *value)
{
	json_object_object_add(to, key, value);
}

void add_text(struct json_object *to, const char *key, const char *text)
{
	add(to, key, text ? json_object_new_string(text) : NULL);
}

void add_number(struct json_object *to, const char *key, uint64_t value)
{
	add(to, key, json_object_new_uint64(value));
}

void add_bool(struct json_object *to, const char *key, bool value)
{
	add(to, key, json_object_new_boolean(value));
}

/* Print and release. */
void finish(struct json_object *top)
{
	puts(json_object_to_json_string_ext(top, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
							 JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(top);
}

void add_error(struct json_object *to, const struct ti_error *error)
{
	struct json_object *o;

	if (!error->err) {
		add(to, "error", NULL);
		return;
	}
	o = json_object_new_object();
	add_text(o, "errno", strerrorname_np(-error->err));
	add_text(o, "message", error->text);
	add(to, "error", o);
}

/* ---- dump ---- */

static struct json_object *flag_names(uint32_t bits)
{
	struct json_object *list = json_object_new_array();

	for (uint32_t bit = 1; bit && bit <= bits; bit <<= 1) {
		const char *name = ti_superblock_flag_name(bit);

		if (bits & bit)
			json_object_array_add(list,
					      json_object_new_string(name ? name : "unknown"));
	}
	return list;
}

static struct json_object *superblock(const struct ti_superblock *sb)
{
	struct json_object *o = json_object_new_object();
	char salt[2 * TI_SALT_BYTES + 1];

	for (size_t i = 0; i < TI_SALT_BYTES; i++)
		snprintf(salt + 2 * i, 3, "%02x", sb->salt[i]);
	add_number(o, "version", sb->version);
	add_number(o, "log2_interleave_sectors", 0);
	add_number(o, "integrity_tag_size", sb->tag_size);
	add_number(o, "journal_sections", sb->journal_sections);
	add_number(o, "provided_data_sectors", sb->provided_sectors);
	add_number(o, "sector_size", TI_SECTOR_BYTES << sb->log2_sectors_per_block);
	add_number(o, "log2_blocks_per_bitmap", sb->log2_blocks_per_bitmap_bit);
	add_number(o, "bitmap_bit_sectors", print_sectors_per_bit(sb));
	add_number(o, "flags_value", sb->flags);
	add(o, "flags", flag_names(sb->flags));
	add_number(o, "recalc_sector", sb->recalc_sector);
	add_text(o, "salt", sb->flags & TI_SB_FIXED_HMAC ? salt : NULL);
	return o;
}

static struct json_object *geometry(const struct ti_geometry *g)
{
	struct json_object *o = json_object_new_object();

	add_number(o, "block_size", g->block_size);
	add_number(o, "provided_sectors", g->provided_sectors);
	add_number(o, "initial_sectors", g->initial_sectors);
	add_number(o, "journal_offset", g->journal_offset);
	add_number(o, "journal_bytes", g->journal_bytes);
	add_number(o, "journal_section_sectors", g->section_sectors);
	add_number(o, "journal_section_entries", g->section_entries);
	add_number(o, "journal_entry_size", g->entry_size);
	add_number(o, "tag_offset", g->tag_offset);
	add_number(o, "tag_bytes", g->tag_bytes);
	add_number(o, "buffer_sectors", 1ULL << g->log2_buffer_sectors);
	return o;
}

static struct json_object *journal(const struct report_dump *r)
{
	const struct ti_journal_summary *j = &r->journal;
	struct json_object *o = json_object_new_object();
	struct json_object *list = json_object_new_array();

	for (uint32_t i = 0; i < j->shown; i++)
		json_object_array_add(list, json_object_new_string(print_seq_name(j->seq[i])));
	add_text(o, "state", ti_journal_state_name(j->state));
	add_number(o, "sections", j->sections);
	add(o, "sequence", list);
	add_number(o, "used_entries", j->used_entries);
	if (r->has_macs)
		add_number(o, "bad_macs", j->bad_macs);
	if (j->bad_macs)
		add_number(o, "first_bad_mac", j->first_bad_mac);
	if (j->state != TI_JOURNAL_DAMAGED) {
		add_number(o, "replay_entries", j->replay_entries);
		add_number(o, "replay_sections", j->replay_sections);
		add_number(o, "replay_first", j->replay_first);
	} else if (j->bad_section != UINT32_MAX) {
		add_number(o, "bad_section", j->bad_section);
		add_number(o, "bad_sector", j->bad_sector);
	}
	return o;
}

static struct json_object *bitmap_state(const struct report_dump *r)
{
	struct json_object *o = json_object_new_object();

	add_text(o, "state", "bitmap");
	if (r->has_bitmap) {
		add_number(o, "bitmap_regions", r->bitmap_regions);
		add_number(o, "bitmap_dirty", r->bitmap_dirty);
	}
	return o;
}

static struct json_object *store_files(const struct ti_store_found *found)
{
	struct json_object *list = json_object_new_array();

	for (unsigned i = 0; i < found->count; i++)
		json_object_array_add(list, json_object_new_string(found->path[i]));
	return list;
}

static void dump(const struct report_dump *r)
{
	struct json_object *top = json_object_new_object();

	add_text(top, "metadata_device", r->meta);
	add_number(top, "start_sector", r->start_sector);
	add(top, "superblock", superblock(&r->sb));
	add(top, "geometry", r->has_geometry ? geometry(&r->geo) : NULL);
	if (r->has_journal)
		add(top, "journal", journal(r));
	else
		add(top, "journal", r->sb.flags & TI_SB_DIRTY_BITMAP ? bitmap_state(r) : NULL);
	add(top, "store_files", store_files(&r->store));
	add_error(top, &r->error);
	finish(top);
}

/* ---- check ---- */

static struct json_object *range_list(const struct ti_check_report *c)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < c->listed; i++) {
		struct json_object *o = json_object_new_object();

		add_text(o, "kind", print_kind_name(c->list[i].kind));
		add_number(o, "first_sector", c->list[i].sector);
		add_number(o, "length_sectors", c->list[i].sectors);
		add_number(o, "offset", c->list[i].sector * TI_SECTOR_BYTES);
		add_number(o, "length", c->list[i].sectors * TI_SECTOR_BYTES);
		json_object_array_add(list, o);
	}
	return list;
}

static void check(const struct report_check *r)
{
	struct json_object *top = json_object_new_object();
	uint64_t total = 0;

	add_text(top, "metadata_device", r->meta);
	add_text(top, "data_device", r->data);
	add_number(top, "start_sector", r->geo->start_sector);
	add_text(top, "integrity", r->hash);
	add_number(top, "block_size", r->geo->block_size);
	add_number(top, "tag_size", r->geo->tag_size);
	add_bool(top, "salted", r->sb->flags & TI_SB_FIXED_HMAC);
	add_number(top, "provided_sectors", r->geo->provided_sectors);
	add_number(top, "checked_sectors", r->result->checked_sectors);
	add_bool(top, "complete", r->complete);
	add_bool(top, "clean", print_check_is_clean(r));
	for (int i = 0; i < TI_CHECK_KINDS; i++) {
		char key[64];

		snprintf(key, sizeof(key), "%s_sectors", print_kind_name((enum ti_check_kind)i));
		add_number(top, key, r->result->bad_sectors[i]);
		total += r->result->ranges[i];
	}
	add_number(top, "ranges_total", total);
	add_number(top, "ranges_listed", r->result->listed);
	add(top, "ranges", range_list(r->result));
	add(top, "store_files", store_files(r->store));
	add(top, "seconds", json_object_new_double(r->seconds));
	add(top, "error", NULL);
	finish(top);
}

/* ---- doctor ---- */

static void doctor(const struct report_doctor *r)
{
	struct json_object *top = json_object_new_object();
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < r->count; i++) {
		struct json_object *o = json_object_new_object();

		add_text(o, "subject", r->finding[i].subject);
		add_text(o, "state", print_finding_state_name(r->finding[i].state));
		add_text(o, "text", r->finding[i].text);
		add_text(o, "mend", r->finding[i].mend[0] ? r->finding[i].mend : NULL);
		json_object_array_add(list, o);
	}
	add_bool(top, "ready", !r->missing);
	add_number(top, "missing", r->missing);
	add_number(top, "notes", r->notes);
	add(top, "findings", list);
	finish(top);
}

/* ---- others ---- */

static void version(const struct report_version *r)
{
	struct json_object *top = json_object_new_object();

	add_text(top, "version", r->version);
	add_text(top, "tcmu_runner", r->tcmu_runner);
	finish(top);
}

static void failure(const struct ti_error *error)
{
	struct json_object *top = json_object_new_object();

	add_error(top, error);
	finish(top);
}

const struct printer printer_json = {
	.dump = dump,
	.check = check,
	.config_check = print_config_check_json,
	.config_show = print_config_show_json,
	.config_explain = print_config_explain_json,
	.status = print_status_json,
	.scrub = print_scrub_json,
	.recalculate = print_recalculate_json,
	.flush = print_flush_json,
	.doctor = doctor,
	.version = version,
	.failure = failure,
};
