/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * tcmu-integrity format: make a pair.
 *
 * Nothing is written before everything is known: the devices are held, searched for what is on
 * them, the layout is planned, it is shown, and the user has agreed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "format.h"
#include "inspect.h"
#include "keys.h"
#include "leftover.h"
#include "pair.h"
#include "progress_bar.h"
#include "signatures.h"
#include "syntax.h"
#include "units.h"

struct options {
	const char *meta;
	const char *data;
	struct keyed_options keyed;
	uint64_t tag_size;
	uint64_t sector_size;
	uint64_t journal_size;
	uint64_t buffer_sectors;
	uint64_t bitmap_sectors_per_bit;
	uint64_t start_sector;
	bool integrity_legacy_hmac;
	bool no_wipe;
	bool keep_data;
	bool recalculate;
	bool force;
	bool yes;
	bool batch_mode;
	bool verbose;
};

#define ROW(name, letter, value, type, field, min, max, help, preset)                              \
	{                                                                                          \
		name, letter, value, type, offsetof(struct options, field), min, max, help, preset \
	}

#define FLAG(name, letter, field, help)                                                            \
	ROW(name, letter, NULL, SYNTAX_FLAG, field, 0, 0, help, NULL)

static const struct syntax_option option_rows[] = {
	ROW("data-device", 0, "DATA", SYNTAX_TEXT, data, 0, 0, "the data device (always needed)",
	    NULL),
	ROW("integrity", 0, "NAME", SYNTAX_TEXT, keyed.integrity, 0, 0,
	    "the digest that makes the tags", "crc32c"),
	KEY_ROWS("integrity", struct options, keyed.integrity_key),
	JOURNAL_KEY_ROWS(struct options, keyed),
	ROW("tag-size", 0, "BYTES", SYNTAX_NUMBER, tag_size, 1, TI_MAX_TAG_SIZE,
	    "bytes of each tag", "the digest's size, 4 for crc32c"),
	ROW("sector-size", 0, "BYTES", SYNTAX_NUMBER, sector_size, 512, 4096,
	    "block size: 512, 1024, 2048 or 4096", "512"),
	ROW("journal-size", 0, "BYTES", SYNTAX_BYTES, journal_size, TI_SECTOR_BYTES, INT64_MAX,
	    "room for the journal", "1/128 of DATA, at most 64M"),
	ROW("buffer-sectors", 0, "SECTORS", SYNTAX_NUMBER, buffer_sectors, 1, 1 << 22,
	    "what the kernel will read and write tags in", "128"),
	ROW("bitmap-sectors-per-bit", 0, "SECTORS", SYNTAX_NUMBER, bitmap_sectors_per_bit, 1,
	    1U << 31, "granularity of the bitmap, a power of two", "32768"),
	ROW("start", 0, "SECTORS", SYNTAX_NUMBER, start_sector, 0, INT64_MAX / TI_SECTOR_BYTES,
	    "sectors to leave alone at META's beginning", "0"),
	FLAG("integrity-legacy-hmac", 0, integrity_legacy_hmac,
	     "no salt in the tags, for old kernels"),
	FLAG("no-wipe", 0, no_wipe, "write no data and no tags: unwritten blocks are unreadable"),
	FLAG("keep-data", 0, keep_data, "leave DATA as it is and write the tags of what is there"),
	FLAG("recalculate", 0, recalculate,
	     "leave DATA as it is; a LUN makes the tags in the background"),
	FLAG("force", 0, force, "format devices on which something was found"),
	FLAG("yes", 'y', yes, "do not ask"),
	FLAG("batch-mode", 'q', batch_mode, "do not ask, tell only failures"),
	FLAG("verbose", 'v', verbose, "tell on stderr what is done"),
};

static const struct syntax syntax = {
	.verb = "format",
	.operands = "META --data-device DATA",
	.about = "Makes a pair: the data device DATA will hold the LUN's blocks, the metadata "
		 "device META\n"
		 "a superblock, a journal and the tags. DATA is filled with zeros, unless "
		 "--keep-data,\n"
		 "--no-wipe or --recalculate is given. What META held from --start on is lost.",
	.options = option_rows,
	.option_count = sizeof(option_rows) / sizeof(option_rows[0]),
	.takes_device = true,
	.device_offset = offsetof(struct options, meta),
};

/* ---- options that depend on each other ---- */

static bool power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* Returns 0 or CLI_USAGE. */
static int check_options(const struct options *o)
{
	if (!o->data)
		return syntax_complain(syntax.verb, "--data-device DATA is missing");
	if (o->keep_data && o->no_wipe)
		return syntax_complain(syntax.verb,
				       "--keep-data writes tags and --no-wipe writes none: give "
				       "one of them");
	if (o->recalculate && (o->keep_data || o->no_wipe))
		return syntax_complain(syntax.verb,
				       "--recalculate makes the tags later, %s: give one of them",
				       o->keep_data ? "--keep-data now" : "--no-wipe never");
	if (!power_of_two(o->sector_size))
		return syntax_complain(
			syntax.verb, "--sector-size must be 512, 1024, 2048 or 4096, not %" PRIu64,
			o->sector_size);
	if (o->bitmap_sectors_per_bit && !power_of_two(o->bitmap_sectors_per_bit))
		return syntax_complain(
			syntax.verb,
			"--bitmap-sectors-per-bit must be a power of two, not %" PRIu64,
			o->bitmap_sectors_per_bit);
	return 0;
}

static struct ti_format_options format_options(const struct options *o, const struct keyed *keyed)
{
	struct ti_format_options f = {
		.hash = keyed->hash,
		.hash_key = keyed->hash_key,
		.seal = keyed->seal,
		.shape = {
			.block_size = (uint32_t)o->sector_size,
			.tag_size = (uint32_t)o->tag_size,
			.journal_sectors = o->journal_size ? o->journal_size / TI_SECTOR_BYTES :
							     UINT64_MAX,
			.buffer_sectors = (uint32_t)o->buffer_sectors,
			.sectors_per_bit = (uint32_t)o->bitmap_sectors_per_bit,
			.start_sector = o->start_sector,
			/* integritysetup salts even a plain digest, so that is the habit. */
			.salted = !o->integrity_legacy_hmac,
		},
		.fill = TI_FORMAT_WIPE,
	};

	if (o->keep_data)
		f.fill = TI_FORMAT_KEEP_DATA;
	else if (o->no_wipe)
		f.fill = TI_FORMAT_NO_WIPE;
	else if (o->recalculate)
		f.fill = TI_FORMAT_RECALCULATE;
	return f;
}

/* ---- what is on the devices now ---- */

struct contents {
	struct signatures found[TI_DEVICES];
	enum ti_place place; /* where the superblock will be */
	struct ti_store_found store;
};

static int look(const struct options *o, struct ti_queue *queue, struct contents *contents,
		struct ti_error *error)
{
	int err;

	err = signatures_find(o->data, &contents->found[TI_DATA], error);
	if (!err)
		err = signatures_find(o->meta, &contents->found[TI_META], error);
	if (!err)
		err = ti_inspect_place(queue, o->start_sector, &contents->place, error);
	contents->store = leftover_find(o->meta, o->start_sector);
	return err;
}

/* Would formatting lose what was found on the data device, or was it mistaken for another? */
static const struct signature *worry_about_data(const struct options *o,
						const struct signatures *found)
{
	for (unsigned i = 0; i < found->count; i++) {
		/* What is kept is not lost; but a pair's metadata is nobody's data. */
		if ((!o->keep_data && !o->recalculate) || found->list[i].integrity)
			return &found->list[i];
	}
	return NULL;
}

static int refuse(const char *path, const char *what, struct ti_error *error)
{
	return ti_error_set(error, -EEXIST,
			    "%s holds %s: nothing was changed; check the device names, and give "
			    "--force if it may be overwritten",
			    path, what);
}

static int refuse_contents(const struct options *o, const struct contents *contents,
			   struct ti_error *error)
{
	const struct signature *worry = worry_about_data(o, &contents->found[TI_DATA]);

	if (o->force)
		return 0;
	if (contents->found[TI_META].count)
		return refuse(o->meta, contents->found[TI_META].list[0].text, error);
	if (contents->place == TI_PLACE_SUPERBLOCK)
		return refuse(o->meta, "a dm-integrity superblock", error);
	if (worry)
		return refuse(o->data, worry->text, error);
	return 0;
}

/* ---- asking ---- */

static void show_device(const char *role, const struct ti_device_info *device,
			const struct signatures *found, const char *fate)
{
	fprintf(stderr, "  %-9s %s, %s", role, device->name, units_size(device->size).text);
	for (unsigned i = 0; i < found->count; i++)
		fprintf(stderr, "%s%s", i ? ", " : "; holds ", found->list[i].text);
	fprintf(stderr, ": %s\n", fate);
}

static void show_plan(const struct options *o, const struct ti_queue *queue,
		      const struct contents *contents, const struct ti_format_plan *plan)
{
	static const char *const fate[] = {
		[TI_FORMAT_WIPE] = "will be filled with zeros",
		[TI_FORMAT_KEEP_DATA] = "will be read, not written",
		[TI_FORMAT_NO_WIPE] = "will not be written, but is unreadable without tags",
		[TI_FORMAT_RECALCULATE] =
			"will not be written; its tags are made when it is in use",
	};
	struct signatures meta = contents->found[TI_META];

	/* libblkid finds it only at the device's beginning. */
	if (contents->place == TI_PLACE_SUPERBLOCK && !meta.count)
		snprintf(meta.list[meta.count++].text, sizeof(meta.list[0].text),
			 "a dm-integrity superblock");
	fprintf(stderr, "A pair will be made of\n");
	show_device("data", &queue->dev[TI_DATA], &contents->found[TI_DATA], fate[plan->fill]);
	show_device("metadata", &queue->dev[TI_META], &meta,
		    o->start_sector ? "will be overwritten behind --start" : "will be overwritten");
	fprintf(stderr,
		"  LUN       %s in blocks of %" PRIu32 " bytes, %s tags of %" PRIu32
		" bytes%s, journal %s\n",
		units_size(plan->geo.provided_sectors * TI_SECTOR_BYTES).text, plan->geo.block_size,
		plan->hash->name, plan->geo.tag_size,
		plan->sb.flags & TI_SB_FIXED_HMAC ? " (salted)" : "",
		units_size(plan->geo.journal_bytes).text);
	for (unsigned i = 0; i < contents->store.count; i++)
		fprintf(stderr, "  %s, which a killed tcmu-runner left, will be deleted\n",
			contents->store.path[i]);
}

/* ---- the work ---- */

/* Old signatures would make others see a filesystem or a RAID member where now tags are. */
static int wipe_signatures(const struct options *o, const struct contents *contents,
			   struct ti_error *error)
{
	if (!contents->found[TI_META].count)
		return 0;
	return signatures_wipe(o->meta, o->start_sector * TI_SECTOR_BYTES, error);
}

static int write_pair(const struct options *o, const struct ti_log *log, struct ti_queue *queue,
		      const struct contents *contents, const struct ti_format_plan *plan,
		      struct ti_error *error)
{
	struct progress_bar bar;
	struct ti_progress progress = progress_bar_begin(
		&bar, plan->fill == TI_FORMAT_KEEP_DATA ? "reading" : "wiping", !o->batch_mode);
	int err;

	err = leftover_delete(&contents->store, error);
	if (!err)
		err = wipe_signatures(o, contents, error);
	if (!err)
		err = ti_format_write(queue, plan, &progress, error);
	if (!err && (plan->fill == TI_FORMAT_WIPE || plan->fill == TI_FORMAT_KEEP_DATA))
		cli_tell_rate(log, plan->fill == TI_FORMAT_WIPE ? "wiped" : "read",
			      plan->geo.provided_sectors * TI_SECTOR_BYTES,
			      progress_bar_seconds(&bar));
	progress_bar_end(&bar);
	if (err)
		cli_complain("%s; %s is not formatted", error->text, o->meta);
	else if (!o->batch_mode)
		printf("formatted %s with %s: %" PRIu64 " bytes for the LUN, in blocks of %" PRIu32
		       "\n",
		       o->meta, o->data, plan->geo.provided_sectors * TI_SECTOR_BYTES,
		       plan->geo.block_size);
	if (err == -ECANCELED)
		return CLI_STOPPED;
	return err ? CLI_IO : CLI_CLEAN;
}

static int format(const struct options *o, const struct keyed *keyed)
{
	const struct ti_log log = cli_log(o->verbose);
	const struct ti_pair_options pair = { .data_path = o->data, .meta_path = o->meta };
	const struct ti_format_options how = format_options(o, keyed);
	struct ti_error error = { .err = 0 };
	struct ti_format_plan plan;
	struct contents contents;
	cli_cleanup_pair struct ti_queue *queue = NULL;
	int status;

	if (ti_pair_open(&pair, &log, &queue, &error) || look(o, queue, &contents, &error) ||
	    refuse_contents(o, &contents, &error) || ti_format_plan(queue, &how, &plan, &error)) {
		cli_complain_error(&error);
		return queue ? cli_exit_of(error.err) : CLI_REFUSED;
	}
	cli_tell_pair(&log, queue);
	if (!o->batch_mode)
		show_plan(o, queue, &contents, &plan);
	if (!o->yes && !o->batch_mode) {
		status = cli_agree("format", &error);
		if (status) {
			cli_complain_error(&error);
			return status;
		}
	}
	return write_pair(o, &log, queue, &contents, &plan, &error);
}

int cli_format(int argc, char **argv)
{
	struct options options = { .keyed.integrity = "crc32c", .sector_size = TI_SECTOR_BYTES };
	cli_cleanup_keyed struct keyed keyed = { .hash = NULL };
	int status;

	if (!syntax_parse(&syntax, argc, argv, &options, &status))
		return status;
	status = check_options(&options);
	if (!status)
		status = keyed_load(syntax.verb, &options.keyed, &keyed);
	return status ? status : format(&options, &keyed);
}
