/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Reading what a metadata device says about itself, for dump, check and format.
 */
#include "inspect.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "format.h"
#include "memory.h"

/* Read the superblock's place into new memory of TI_SB_BYTES, the caller's on success. */
static int read_place(struct ti_queue *q, uint64_t start_sector, uint8_t **out,
		      struct ti_error *error)
{
	const struct ti_device_info *meta = &q->dev[TI_META];
	uint64_t sectors = meta->size / TI_SECTOR_BYTES;
	uint8_t *buf;
	bool locked;
	int err;

	*out = NULL;
	if (sectors < TI_SB_SECTORS || start_sector > sectors - TI_SB_SECTORS)
		return ti_error_set(error, -EINVAL,
				    "%s ends at sector %" PRIu64
				    ", before a superblock at sector %" PRIu64
				    " would: check that this is the metadata device and that the "
				    "start sector is the one it was formatted with",
				    meta->name, sectors, start_sector);
	if (start_sector * TI_SECTOR_BYTES % meta->logical_block_size)
		return ti_error_set(error, -EINVAL,
				    "%s has logical blocks of %u bytes, and sector %" PRIu64
				    " is not at the beginning of one: give a start sector that is "
				    "a multiple of %u",
				    meta->name, meta->logical_block_size, start_sector,
				    meta->logical_block_size / TI_SECTOR_BYTES);
	buf = ti_memory_get(TI_SB_BYTES, &locked);
	if (!buf)
		return ti_error_set(error, -ENOMEM, "there is no memory for buffers");
	err = ti_queue_sync(q, TI_IO_READ, TI_META, start_sector * TI_SECTOR_BYTES, buf,
			    TI_SB_BYTES);
	if (err) {
		ti_memory_put(buf, TI_SB_BYTES);
		return ti_error_set(error, err,
				    "reading the superblock at sector %" PRIu64 " of %s failed: %s",
				    start_sector, meta->name, strerror(-err));
	}
	*out = buf;
	return 0;
}

int ti_inspect_place(struct ti_queue *q, uint64_t start_sector, enum ti_place *place,
		     struct ti_error *error)
{
	uint64_t sectors = q->dev[TI_META].size / TI_SECTOR_BYTES;
	uint8_t *buf;
	int err;

	if (sectors < TI_SB_SECTORS || start_sector > sectors - TI_SB_SECTORS) {
		*place = TI_PLACE_OUTSIDE;
		return 0;
	}
	err = read_place(q, start_sector, &buf, error);
	if (err)
		return err;
	switch (ti_superblock_probe(buf)) {
	case TI_SB_ABSENT_ZERO:
		*place = TI_PLACE_ZERO;
		break;
	case TI_SB_ABSENT_OTHER:
		*place = ti_format_is_unfinished(buf) ? TI_PLACE_UNFINISHED : TI_PLACE_OTHER;
		break;
	case TI_SB_PRESENT:
		*place = TI_PLACE_SUPERBLOCK;
		break;
	}
	ti_memory_put(buf, TI_SB_BYTES);
	return 0;
}

int ti_inspect_superblock(struct ti_queue *q, uint64_t start_sector, struct ti_superblock *sb,
			  struct ti_error *error)
{
	const char *name = q->dev[TI_META].name;
	uint8_t *buf;
	int err;

	err = read_place(q, start_sector, &buf, error);
	if (err)
		return err;
	if (ti_format_is_unfinished(buf))
		err = ti_error_set(error, -ENODATA,
				   "%s was being formatted and that was not finished: format the "
				   "pair again",
				   name);
	else
		err = ti_superblock_parse(buf, name, sb, error);
	ti_memory_put(buf, TI_SB_BYTES);
	return err;
}

int ti_inspect_seal(struct ti_queue *q, uint64_t start_sector, struct ti_superblock *sb,
		    const struct ti_seal *seal, struct ti_error *error)
{
	const char *name = q->dev[TI_META].name;
	struct ti_superblock found;
	uint8_t *buf;
	int err = read_place(q, start_sector, &buf, error);

	if (err)
		return err;
	/* A device may answer the second time what it has not the first time. */
	err = ti_superblock_parse(buf, name, &found, error);
	if (!err)
		err = ti_seal_check_superblock(seal, buf, &found, name, error);
	if (!err)
		*sb = found;
	if (err == -EILSEQ)
		error->err = err = -EUCLEAN; /* no error of a device */
	ti_memory_put(buf, TI_SB_BYTES);
	return err;
}

int ti_inspect_geometry(const struct ti_queue *q, const struct ti_superblock *sb,
			uint64_t start_sector, struct ti_geometry *geo, struct ti_error *error)
{
	const struct ti_pair_sizes sizes = {
		.data_sectors = q->dev[TI_DATA].size ? q->dev[TI_DATA].size / TI_SECTOR_BYTES
						     : sb->provided_sectors,
		.meta_sectors = q->dev[TI_META].size / TI_SECTOR_BYTES,
		.data_name = q->dev[TI_DATA].name,
		.meta_name = q->dev[TI_META].name,
	};

	return ti_geometry_load(sb, &sizes, start_sector, 0, geo, error);
}

static int damaged(const char *name, const struct ti_journal_summary *journal,
		   struct ti_error *error)
{
	if (journal->bad_section == UINT32_MAX)
		return ti_error_set(error, -EUCLEAN,
				    "%s has a damaged journal (all four sequence numbers occur in "
				    "it), so nobody can say which blocks it would change: restore "
				    "the metadata device from a copy",
				    name);
	return ti_error_set(error, -EUCLEAN,
			    "%s has a damaged or encrypted journal (an unknown commit id in "
			    "section %" PRIu32 ", sector %" PRIu32
			    "), so nobody can say which blocks it would change: restore the "
			    "metadata device from a copy, or open it with its journal's key",
			    name, journal->bad_section, journal->bad_sector);
}

int ti_inspect_settled(struct ti_queue *q, const struct ti_superblock *sb,
		       const struct ti_geometry *geo, struct ti_error *error)
{
	const char *name = q->dev[TI_META].name;
	struct ti_journal_summary journal;
	int err;

	err = ti_superblock_check_supported(sb, name, error);
	if (!err)
		err = ti_superblock_check_settled(sb, name, error);
	if (err)
		return err;
	err = ti_journal_scan(q, geo, &journal, error);
	if (err || journal.state == TI_JOURNAL_EMPTY)
		return err;
	if (journal.state == TI_JOURNAL_DAMAGED)
		return damaged(name, &journal, error);
	return ti_error_set(error, -EUCLEAN,
			    "%s has %" PRIu64
			    " entries in its journal that are newer than the blocks and tags on "
			    "the devices: replay them first, by opening and closing the pair with "
			    "'integritysetup open --integrity-no-journal'",
			    name, journal.replay_entries);
}
