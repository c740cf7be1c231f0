/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * tcmu-integrity dump: what a metadata device says about itself.
 *
 * The device may be in use: it is opened without lock and only read.  What can be read is shown
 * even when the rest cannot be: a superblock that does not fit its device is just what one dumps
 * for.
 */
#include <inttypes.h>

#include "cli.h"
#include "inspect.h"
#include "keys.h"
#include "leftover.h"
#include "pair.h"
#include "print.h"
#include "syntax.h"
#include "unsettled.h"

struct options {
	const char *meta;
	uint64_t start_sector;
	struct keyed_options keyed;
	bool json;
	bool verbose;
};

static const struct syntax_option option_rows[] = {
	{ "start", 0, "SECTORS", SYNTAX_NUMBER, offsetof(struct options, start_sector), 0,
	  INT64_MAX / TI_SECTOR_BYTES, "sector of META where the superblock is", "0" },
	JOURNAL_KEY_ROWS(struct options, keyed),
	{ "json", 'j', NULL, SYNTAX_FLAG, offsetof(struct options, json), 0, 0,
	  "print a JSON object", NULL },
	{ "verbose", 'v', NULL, SYNTAX_FLAG, offsetof(struct options, verbose), 0, 0,
	  "tell on stderr what is done", NULL },
};

static const struct syntax syntax = {
	.verb = "dump",
	.operands = "META",
	.about = "Shows the superblock of the metadata device META, where things lie on it, and "
		 "what is\n"
		 "in its journal. META may be in use; nothing is written.",
	.options = option_rows,
	.option_count = sizeof(option_rows) / sizeof(option_rows[0]),
	.takes_device = true,
	.device_offset = offsetof(struct options, meta),
};

static void count_dirty(struct ti_queue *queue, struct report_dump *report)
{
	struct ti_unsettled u;

	if (ti_unsettled_load(queue, &report->sb, &report->geo, &u, &report->error))
		return;
	report->has_bitmap = u.map != NULL;
	report->bitmap_regions = u.regions;
	report->bitmap_dirty = u.dirty;
	ti_unsettled_free(&u);
}

/* Geometry and journal, as far as they can be had; why not goes into report->error. */
static void look_further(struct ti_queue *queue, const struct keyed *keyed,
			 struct report_dump *report)
{
	cli_cleanup_seal struct ti_seal *seal = NULL;

	if (ti_inspect_geometry(queue, &report->sb, report->start_sector, &report->geo,
				&report->error))
		return;
	report->has_geometry = true;
	/* The dirty bitmap lies where the journal would be. */
	if (report->sb.flags & TI_SB_DIRTY_BITMAP) {
		count_dirty(queue, report);
		return;
	}
	/* The superblock was shown as it is; what its MAC says belongs to the journal. */
	report->has_macs = keyed->seal.mac != NULL;
	report->has_journal =
		!ti_seal_open(&keyed->seal, &seal, &report->error) &&
		(!keyed->seal.mac || !ti_inspect_seal(queue, report->start_sector, &report->sb,
						      seal, &report->error)) &&
		!ti_seal_start(seal, &report->sb, &report->geo, &report->error) &&
		!ti_journal_scan_sealed(queue, &report->geo, seal, &report->journal,
					&report->error);
}

static int dump(const struct options *options, const struct keyed *keyed,
		const struct printer *print)
{
	const struct ti_log log = cli_log(options->verbose);
	const struct ti_pair_options pair = {
		.meta_path = options->meta,
		.read_only = true,
		.no_lock = true,
	};
	struct report_dump report = { .meta = options->meta,
				      .start_sector = options->start_sector };
	cli_cleanup_pair struct ti_queue *queue = NULL;
	int err;

	err = ti_pair_open(&pair, &log, &queue, &report.error);
	if (!err) {
		cli_tell_pair(&log, queue);
		err = ti_inspect_superblock(queue, options->start_sector, &report.sb,
					    &report.error);
	}
	if (err) {
		cli_complain_error(&report.error);
		print->failure(&report.error);
		return queue ? cli_exit_of(err) : CLI_REFUSED;
	}
	look_further(queue, keyed, &report);
	report.store = leftover_find(options->meta, options->start_sector);
	print->dump(&report);
	if (report.error.err)
		cli_complain_error(&report.error);
	return cli_exit_of(report.error.err);
}

int cli_dump(int argc, char **argv)
{
	struct options options = { .start_sector = 0 };
	cli_cleanup_keyed struct keyed keyed = { .hash = NULL };
	int status;

	if (!syntax_parse(&syntax, argc, argv, &options, &status))
		return status;
	status = keyed_load(syntax.verb, &options.keyed, &keyed);
	return status ? status : dump(&options, &keyed, printer_for(options.json));
}
