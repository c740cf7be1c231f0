/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Planning a pair and writing it.
 *
 *     marker in the superblock's place, flush META
 *     journal; data and tags
 *     flush DATA and META side by side
 *     superblock, flush META
 *
 * The marker is neither a superblock nor zeros: a kernel formats by itself what it finds zeroed,
 * and would then offer a pair whose tags are only half there.
 */
#include "format.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"
#include "journal_format.h"
#include "memory.h"
#include "sweep.h"

#define JOURNAL_BUFFER_BYTES ((size_t)1 << 20)

static const char marker[] = "tcmu-integrity: this device is being formatted\n";

bool ti_format_is_unfinished(const uint8_t *buf)
{
	return !memcmp(buf, marker, sizeof(marker));
}

/* ---- planning ---- */

static int check_blocks(const struct ti_queue *q, const struct ti_geometry *geo,
			struct ti_error *error)
{
	uint32_t least = q->dev[TI_DATA].logical_block_size;

	if (geo->block_size >= least)
		return 0;
	return ti_error_set(error, -EINVAL,
			    "%s has logical blocks of %u bytes and cannot hold blocks of %u: give "
			    "--sector-size %u",
			    q->dev[TI_DATA].name, least, geo->block_size, least);
}

/* Before anything is written: a digest or a cipher without its key, or that this host refuses. */
static int check_hash(const struct ti_format_plan *plan, struct ti_error *error)
{
	struct ti_hash hash;
	struct ti_seal *seal;
	int err = ti_hash_prepare(&hash, plan->hash, plan->hash_key, &plan->geo, NULL, error);

	if (err)
		return err;
	ti_hash_destroy(&hash);
	err = ti_seal_open(&plan->seal, &seal, error);
	ti_seal_close(seal);
	return err;
}

static int get_salt(const uint8_t *given, uint8_t *salt, struct ti_error *error)
{
	if (given) {
		memcpy(salt, given, TI_SALT_BYTES);
		return 0;
	}
	/* Requests of up to 256 bytes are never cut short. */
	if (getrandom(salt, TI_SALT_BYTES, 0) != TI_SALT_BYTES) {
		int err = -errno;

		return ti_error_set(error, err, "no random salt can be had: %s", strerror(-err));
	}
	return 0;
}

int ti_format_plan(const struct ti_queue *q, const struct ti_format_options *options,
		   struct ti_format_plan *plan, struct ti_error *error)
{
	struct ti_format_shape shape = options->shape;
	const struct ti_pair_sizes sizes = {
		.data_sectors = q->dev[TI_DATA].size / TI_SECTOR_BYTES,
		.meta_sectors = q->dev[TI_META].size / TI_SECTOR_BYTES,
		.data_name = q->dev[TI_DATA].name,
		.meta_name = q->dev[TI_META].name,
	};
	int err;

	memset(plan, 0, sizeof(*plan));
	plan->hash = options->hash;
	plan->hash_key = options->hash_key;
	plan->seal = options->seal;
	plan->fill = options->fill;
	shape.journal_mac = options->seal.mac != NULL;
	if (!shape.tag_size)
		shape.tag_size = options->hash->digest_size;
	err = ti_geometry_plan(&shape, &sizes, &plan->sb, &plan->geo, error);
	if (!err && plan->fill == TI_FORMAT_RECALCULATE)
		plan->sb.flags |= TI_SB_RECALCULATING; /* from sector 0 on */
	if (err)
		return err;
	err = check_blocks(q, &plan->geo, error);
	if (err)
		return err;
	err = ti_sweep_check_devices(q, &plan->geo, error);
	if (err)
		return err;
	err = check_hash(plan, error);
	if (err || !shape.salted)
		return err;
	return get_salt(options->salt, plan->sb.salt, error);
}

/* ---- writing ---- */

static int write_meta(struct ti_queue *q, uint64_t offset, void *buf, size_t len, const char *what,
		      struct ti_error *error)
{
	int err = ti_queue_sync(q, TI_IO_WRITE, TI_META, offset, buf, len);

	if (!err)
		return 0;
	return ti_error_set(error, err, "writing the %s at sector %" PRIu64 " of %s failed: %s",
			    what, offset / TI_SECTOR_BYTES, q->dev[TI_META].name, strerror(-err));
}

static int flush_failed(const struct ti_queue *q, enum ti_device dev, int err,
			struct ti_error *error)
{
	return ti_error_set(error, err, "flushing %s failed: %s", q->dev[dev].name, strerror(-err));
}

static int flush_meta(struct ti_queue *q, struct ti_error *error)
{
	int err = ti_queue_sync(q, TI_IO_FLUSH, TI_META, 0, NULL, 0);

	return err ? flush_failed(q, TI_META, err, error) : 0;
}

static void flush_done(struct ti_io *io)
{
	bool *done = io->owner;

	*done = true;
}

/* Both at once: it takes as long as the slower one. */
static int flush_both(struct ti_queue *q, struct ti_error *error)
{
	bool done[TI_DEVICES] = { false };
	struct ti_io io[TI_DEVICES];

	for (int i = 0; i < TI_DEVICES; i++) {
		io[i] = (struct ti_io){
			.op = TI_IO_FLUSH,
			.dev = (enum ti_device)i,
			.done = flush_done,
			.owner = &done[i],
		};
		ti_queue_submit(q, &io[i]);
	}
	while (!done[TI_DATA] || !done[TI_META]) {
		if (!ti_queue_run(q))
			q->ops->wait(q, TI_CLOCK_NEVER);
	}
	for (int i = 0; i < TI_DEVICES; i++) {
		if (io[i].result)
			return flush_failed(q, (enum ti_device)i, io[i].result, error);
	}
	return 0;
}

int ti_format_journal(struct ti_queue *q, const struct ti_geometry *geo, const struct ti_seal *seal,
		      struct ti_error *error)
{
	size_t section_bytes = (size_t)geo->section_sectors * TI_SECTOR_BYTES;
	size_t batch = JOURNAL_BUFFER_BYTES / section_bytes;
	uint8_t *buf;
	bool locked;
	int err = 0;

	/* A section has at most 392 sectors. */
	assert(batch > 0);
	buf = ti_memory_get(JOURNAL_BUFFER_BYTES, &locked);
	if (!buf)
		return ti_error_set(error, -ENOMEM, "there is no memory for buffers");
	for (uint32_t section = 0; section < geo->journal_sections && !err;) {
		uint64_t offset = geo->journal_offset + section * (uint64_t)section_bytes;
		size_t len = 0;

		for (size_t n = 0; n < batch && section < geo->journal_sections; n++) {
			ti_seal_empty_section(seal, geo, section, 0, buf + len);
			ti_seal_encrypt(seal, section++, buf + len, buf + len);
			len += section_bytes;
		}
		err = write_meta(q, offset, buf, len, "empty journal", error);
	}
	ti_memory_put(buf, JOURNAL_BUFFER_BYTES);
	return err;
}

static int write_tags(struct ti_queue *q, const struct ti_format_plan *plan,
		      const struct ti_progress *progress, struct ti_error *error)
{
	const struct ti_sweep_options sweep = {
		.kind = plan->fill == TI_FORMAT_KEEP_DATA ? TI_SWEEP_ADOPT : TI_SWEEP_WIPE,
		.progress = *progress,
	};
	const bool salted = plan->sb.flags & TI_SB_FIXED_HMAC;
	struct ti_hash hash;
	int err;

	if (plan->fill == TI_FORMAT_NO_WIPE || plan->fill == TI_FORMAT_RECALCULATE)
		return 0;
	err = ti_hash_prepare(&hash, plan->hash, plan->hash_key, &plan->geo,
			      salted ? plan->sb.salt : NULL, error);
	if (err)
		return err;
	err = ti_sweep(q, &plan->geo, &hash, &sweep, error);
	ti_hash_destroy(&hash);
	return err;
}

int ti_format_write(struct ti_queue *q, const struct ti_format_plan *plan,
		    const struct ti_progress *progress, struct ti_error *error)
{
	const uint64_t sb_offset = plan->geo.start_sector * TI_SECTOR_BYTES;
	struct ti_seal *seal;
	uint8_t *buf;
	bool locked;
	int err = ti_seal_open(&plan->seal, &seal, error);

	if (!err)
		err = ti_seal_start(seal, &plan->sb, &plan->geo, error);
	buf = err ? NULL : ti_memory_get(TI_SB_BYTES, &locked);
	if (!buf) {
		ti_seal_close(seal);
		return ti_error_set(error, err ? err : -ENOMEM, "there is no memory for buffers");
	}

	/* A crash from here on leaves the marker, never an old superblock over new tags. */
	memcpy(buf, marker, sizeof(marker));
	err = write_meta(q, sb_offset, buf, TI_SB_BYTES, "marker of a new format", error);
	if (!err)
		err = flush_meta(q, error);
	if (!err)
		err = ti_format_journal(q, &plan->geo, seal, error);
	if (!err)
		err = write_tags(q, plan, progress, error);
	/* Durable before the superblock that vouches for them. */
	if (!err)
		err = flush_both(q, error);
	if (!err) {
		ti_superblock_write(&plan->sb, buf);
		ti_seal_superblock(seal, &plan->sb, buf);
		err = write_meta(q, sb_offset, buf, TI_SB_BYTES, "superblock", error);
	}
	if (!err)
		err = flush_meta(q, error);
	ti_memory_put(buf, TI_SB_BYTES);
	ti_seal_close(seal);
	return err;
}
