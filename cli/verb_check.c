/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * tcmu-integrity check: does every block match its tag?
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "check.h"
#include "clock.h"
#include "cli.h"
#include "inspect.h"
#include "journal_overlay.h"
#include "keys.h"
#include "leftover.h"
#include "lun.h"
#include "pair.h"
#include "print.h"
#include "progress_bar.h"
#include "syntax.h"

#define RANGES_DEFAULT 100
#define RANGES_MAX     1000000

struct options {
	const char *meta;
	const char *data;
	struct keyed_options keyed;
	uint64_t tag_size;
	uint64_t start_sector;
	uint64_t max_ranges;
	bool json;
	bool batch_mode;
	bool replay;
	bool allow_discards;
	bool verbose;
};

static const struct syntax_option option_rows[] = {
	{ "data-device", 0, "DATA", SYNTAX_TEXT, offsetof(struct options, data), 0, 0,
	  "the data device (always needed)", NULL },
	{ "integrity", 0, "NAME", SYNTAX_TEXT, offsetof(struct options, keyed.integrity), 0, 0,
	  "the digest that the pair was formatted with", "crc32c" },
	KEY_ROWS("integrity", struct options, keyed.integrity_key),
	JOURNAL_KEY_ROWS(struct options, keyed),
	{ "tag-size", 0, "BYTES", SYNTAX_NUMBER, offsetof(struct options, tag_size), 1,
	  TI_MAX_TAG_SIZE, "as the pair was formatted", "what META says" },
	{ "start", 0, "SECTORS", SYNTAX_NUMBER, offsetof(struct options, start_sector), 0,
	  INT64_MAX / TI_SECTOR_BYTES, "sector of META where the superblock is", "0" },
	{ "max-ranges", 0, "N", SYNTAX_NUMBER, offsetof(struct options, max_ranges), 0, RANGES_MAX,
	  "list at most N ranges; all are counted", "100" },
	{ "allow-discards", 0, NULL, SYNTAX_FLAG, offsetof(struct options, allow_discards), 0, 0,
	  "discarded blocks are no difference", NULL },
	{ "replay", 0, NULL, SYNTAX_FLAG, offsetof(struct options, replay), 0, 0,
	  "replay and erase the journal first: this writes", NULL },
	{ "json", 'j', NULL, SYNTAX_FLAG, offsetof(struct options, json), 0, 0,
	  "print a JSON object", NULL },
	{ "batch-mode", 'q', NULL, SYNTAX_FLAG, offsetof(struct options, batch_mode), 0, 0,
	  "draw no progress bar", NULL },
	{ "verbose", 'v', NULL, SYNTAX_FLAG, offsetof(struct options, verbose), 0, 0,
	  "tell on stderr what is done", NULL },
};

static const struct syntax syntax = {
	.verb = "check",
	.operands = "META --data-device DATA",
	.about = "Verifies the tag of every block of the pair and lists the ranges that do not "
		 "match or\n"
		 "cannot be read. The newest version of a block counts, also where it is in the\n"
		 "journal. The pair must not be in use; without --replay nothing is written.",
	.options = option_rows,
	.option_count = sizeof(option_rows) / sizeof(option_rows[0]),
	.takes_device = true,
	.device_offset = offsetof(struct options, meta),
};

/* Open the pair and make sure that its tags can be judged. */
static int open_pair(const struct options *options, const struct keyed *keyed,
		     const struct ti_log *log, struct ti_queue **queue, struct ti_seal **seal,
		     struct ti_superblock *sb, struct ti_geometry *geo, struct ti_error *error)
{
	const struct ti_pair_options pair = {
		.data_path = options->data,
		.meta_path = options->meta,
		.read_only = true,
	};
	int err;

	err = ti_pair_open(&pair, log, queue, error);
	if (err)
		return err;
	cli_tell_pair(log, *queue);
	err = ti_seal_open(&keyed->seal, seal, error);
	if (!err)
		err = ti_inspect_superblock(*queue, options->start_sector, sb, error);
	if (!err)
		err = ti_inspect_seal(*queue, options->start_sector, sb, *seal, error);
	if (!err)
		err = ti_seal_check_tag_size(*seal, sb, keyed->hash, (uint32_t)options->tag_size,
					     (*queue)->dev[TI_META].name, error);
	if (!err)
		err = ti_inspect_geometry(*queue, sb, options->start_sector, geo, error);
	if (!err)
		err = ti_superblock_check_supported(sb, (*queue)->dev[TI_META].name, error);
	if (!err)
		err = ti_seal_start(*seal, sb, geo, error);
	return err;
}

/* Open the pair for writing in mode direct, which replays and erases the journal, and close it. */
static int replay(const struct options *options, const struct keyed *keyed,
		  const struct ti_log *log, struct ti_error *error)
{
	const struct ti_pair_options pair = {
		.data_path = options->data,
		.meta_path = options->meta,
	};
	const struct ti_lun_options lun_options = {
		.mode = TI_MODE_DIRECT,
		.hash = keyed->hash->name,
		.hash_key = keyed->hash_key,
		.seal = keyed->seal,
		.tag_size = (uint32_t)options->tag_size,
		.start_sector = options->start_sector,
	};
	cli_cleanup_pair struct ti_queue *queue = NULL;
	struct ti_superblock sb;
	struct ti_lun *lun;
	int err = ti_pair_open(&pair, log, &queue, error);

	if (!err)
		err = ti_inspect_superblock(queue, options->start_sector, &sb, error);
	/* In the journal's place lies a bitmap: nothing to replay, and mode direct would drop it.
	 */
	if (!err && (sb.flags & TI_SB_DIRTY_BITMAP))
		return 0;
	if (!err)
		err = ti_lun_open(&lun_options, queue, &ti_clock_monotonic, log, &lun, error);
	if (!err)
		err = ti_lun_close(lun);
	if (err == -EILSEQ) { /* no error of a device: an entry that does not match its tag */
		error->err = -EUCLEAN;
		return -EUCLEAN;
	}
	return err ? ti_error_set(error, err, "the journal of %s could not be replayed",
				  options->meta)
		   : 0;
}

/* What the journal holds and the check is to count. */
static int load_journal(struct ti_queue *queue, const struct ti_superblock *sb,
			const struct ti_geometry *geo, const struct ti_seal *seal,
			const struct ti_check_options *options, struct ti_journal_overlay *overlay,
			struct ti_error *error)
{
	struct ti_hash hash;
	int err;

	if (sb->flags & TI_SB_DIRTY_BITMAP)
		return 0; /* a bitmap lies in its place */
	err = ti_hash_prepare(&hash, options->hash, options->hash_key, geo, options->salt, error);

	if (err)
		return err;
	err = ti_journal_overlay_load(queue, geo, seal, &hash, overlay, error);
	ti_hash_destroy(&hash);
	return err;
}

/* Rot does not hit every block: then it is the question that is wrong. */
static void doubt_the_digest(const struct report_check *report)
{
	const uint64_t *bad = report->result->bad_sectors;
	uint64_t all = 0;

	for (int i = 0; i < TI_CHECK_KINDS; i++)
		all += bad[i];
	if (bad[TI_CHECK_MISMATCH] && all == report->result->checked_sectors)
		cli_complain("no block at all matches its tag: was the pair formatted with %s, and "
			     "with this "
			     "key if it has one? The superblock does not tell; see --integrity",
			     report->hash);
}

static int exit_of_result(const struct report_check *report)
{
	const uint64_t *bad = report->result->bad_sectors;

	if (!report->complete)
		return CLI_STOPPED;
	if (bad[TI_CHECK_DATA_UNREADABLE] || bad[TI_CHECK_TAG_UNREADABLE])
		return CLI_IO;
	return print_check_is_clean(report) ? CLI_CLEAN : CLI_DIFFERENT;
}

static int failed(const struct printer *print, const struct ti_error *error, int status)
{
	cli_complain_error(error);
	print->failure(error);
	return status;
}

static int check(const struct options *options, const struct keyed *keyed,
		 const struct printer *print)
{
	const struct ti_log log = cli_log(options->verbose);
	struct ti_error error = { .err = 0 };
	struct ti_superblock sb;
	struct ti_geometry geo;
	struct ti_check_options check_options = { .hash = keyed->hash,
						  .hash_key = keyed->hash_key,
						  .allow_discards = options->allow_discards };
	struct ti_check_report result = { .list_max = (size_t)options->max_ranges };
	const struct ti_store_found store = leftover_find(options->meta, options->start_sector);
	struct report_check report = {
		.meta = options->meta,
		.data = options->data,
		.hash = keyed->hash->name,
		.sb = &sb,
		.geo = &geo,
		.result = &result,
		.store = &store,
	};
	cli_cleanup_free struct ti_check_range *list = NULL;
	cli_cleanup_pair struct ti_queue *queue = NULL;
	cli_cleanup_seal struct ti_seal *seal = NULL;
	struct ti_journal_overlay overlay = { 0 };
	struct ti_unsettled unsettled;
	struct progress_bar bar;
	int err;

	if (options->replay && (leftover_refuse(options->meta, &store, &error) ||
				replay(options, keyed, &log, &error)))
		return failed(print, &error, cli_exit_of(error.err));
	if (open_pair(options, keyed, &log, &queue, &seal, &sb, &geo, &error))
		return failed(print, &error, queue ? cli_exit_of(error.err) : CLI_REFUSED);
	leftover_warn(options->meta, &store); /* the pair is held: nobody serves it */
	list = calloc(result.list_max + 1, sizeof(*list));
	if (!list) {
		ti_error_set(&error, -ENOMEM, "there is no memory for the list of ranges");
		return failed(print, &error, CLI_IO);
	}
	result.list = list;
	if (sb.flags & TI_SB_FIXED_HMAC)
		check_options.salt = sb.salt;
	if (load_journal(queue, &sb, &geo, seal, &check_options, &overlay, &error) ||
	    ti_unsettled_load(queue, &sb, &geo, &unsettled, &error)) {
		ti_journal_overlay_free(&overlay);
		return failed(print, &error, cli_exit_of(error.err));
	}
	if (overlay.count > 0)
		ti_log(&log, TI_LOG_INFO, "%zu blocks are counted from the journal", overlay.count);
	check_options.overlay = &overlay;
	check_options.unsettled = &unsettled;

	check_options.progress = progress_bar_begin(&bar, "checking", !options->batch_mode);
	err = ti_check(queue, &geo, &check_options, &result, &error);
	report.seconds = progress_bar_seconds(&bar);
	progress_bar_end(&bar);
	ti_journal_overlay_free(&overlay);
	ti_unsettled_free(&unsettled);
	cli_tell_rate(&log, "checked", result.checked_sectors * TI_SECTOR_BYTES, report.seconds);
	if (err && err != -ECANCELED)
		return failed(print, &error, CLI_IO);
	report.complete = !err;
	print->check(&report);
	doubt_the_digest(&report);
	return exit_of_result(&report);
}

int cli_check(int argc, char **argv)
{
	struct options options = { .keyed.integrity = "crc32c", .max_ranges = RANGES_DEFAULT };
	cli_cleanup_keyed struct keyed keyed = { .hash = NULL };
	int status;

	if (!syntax_parse(&syntax, argc, argv, &options, &status))
		return status;
	if (!options.data)
		return syntax_complain(syntax.verb, "--data-device DATA is missing");
	status = keyed_load(syntax.verb, &options.keyed, &keyed);
	return status ? status : check(&options, &keyed, printer_for(options.json));
}
