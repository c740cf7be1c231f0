/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Making and unmaking a LUN: read the superblock, check it against both devices, allocate all
 * memory that requests will ever need, have the journal replayed.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bitmap.h"
#include "journal.h"
#include "journal_scan.h"
#include "lun_internal.h"
#include "memory.h"
#include "tag_store.h"

#define DEFAULT_CACHE_BYTES    (16U << 20)
#define DEFAULT_QUEUE_DEPTH    128U
#define MAX_QUEUE_DEPTH	       4096U
#define DEFAULT_PART_BYTES     (1U << 20)
#define DEFAULT_BOUNCE_BUFFERS 4U
#define DEFAULT_COMMIT_MS      10000U
#define DEFAULT_BITMAP_MS      10000U

static int read_superblock(struct ti_lun *lun, uint64_t start_sector, struct ti_error *error)
{
	const struct ti_device_info *meta = &lun->queue->dev[TI_META];
	bool locked;
	uint64_t offset;
	void *buf;
	int err;

	if (__builtin_mul_overflow(start_sector, (uint64_t)TI_SECTOR_BYTES, &offset) ||
	    meta->size < TI_SB_BYTES || offset > meta->size - TI_SB_BYTES)
		return ti_error_set(error, -EINVAL,
				    "%s ends before the superblock's place at sector %" PRIu64
				    ": check the start option and the device",
				    meta->name, start_sector);
	if (offset % meta->logical_block_size != 0)
		return ti_error_set(error, -EINVAL,
				    "start=%" PRIu64 " is not a multiple of %s's %" PRIu32
				    "-byte sectors",
				    start_sector, meta->name, meta->logical_block_size);
	buf = ti_memory_get(TI_SB_BYTES, &locked);
	if (buf == NULL)
		return ti_error_set(error, -ENOMEM, "out of memory");
	err = ti_queue_sync(lun->queue, TI_IO_READ, TI_META, offset, buf, TI_SB_BYTES);
	if (err != 0)
		ti_error_set(error, err,
			     "cannot read the superblock of %s at sector %" PRIu64 ": %s",
			     meta->name, start_sector, strerror(-err));
	else
		err = ti_superblock_parse(buf, meta->name, &lun->sb, error);
	/* Mode recovery asks no questions. */
	if (err == 0 && lun->policy != &ti_policy_recovery)
		err = ti_seal_check_superblock(lun->seal, buf, &lun->sb, meta->name, error);
	ti_memory_put(buf, TI_SB_BYTES);
	return err;
}

static int empty_journal(struct ti_lun *lun, const char *path, struct ti_error *error)
{
	const struct ti_policy_ops *policy = lun->policy;
	int err = ti_journal_alloc(lun, path, &lun->journal, error);

	if (err != 0)
		return err;
	lun->policy = &ti_policy_journal; /* it runs the engine */
	err = ti_journal_start(lun->journal, false, error);
	if (err != 0)
		return err; /* the caller waits for what is under way, and frees all */
	lun->policy->close(lun);
	lun->policy = policy;
	return 0;
}

int ti_lun_ring_path(const struct ti_lun *lun, char **path, struct ti_error *error)
{
	*path = NULL;
	if (lun->store_path != NULL && asprintf(path, "%s" TI_STORE_JOURNAL, lun->store_path) < 0)
		return ti_error_set(error, -ENOMEM, "out of memory");
	return 0;
}

int ti_lun_empty_journal(struct ti_lun *lun, struct ti_error *error)
{
	struct ti_journal_summary summary;
	char *path;
	int err = ti_lun_ring_path(lun, &path, error);

	if (err != 0)
		return err;
	if (ti_journal_store_exists(path)) {
		/* A runner was killed that served the pair in mode journal. */
		err = empty_journal(lun, path, error);
	} else {
		err = ti_journal_scan_sealed(lun->queue, &lun->geo, lun->seal, &summary, error);
		if (err == 0 && summary.state != TI_JOURNAL_EMPTY)
			err = empty_journal(lun, NULL, error);
	}
	free(path);
	return err;
}

static int open_hash(struct ti_lun *lun, const char *name, const struct ti_secret *key,
		     struct ti_error *error)
{
	const struct ti_hash_ops *ops = ti_hash_find(name);

	if (ops == NULL)
		return ti_error_set(error, -EOPNOTSUPP,
				    "the digest '%s' is not known; " TI_HASH_NAMES
				    " and hmac-... of the cryptographic ones are",
				    name);
	return ti_hash_prepare(&lun->hash, ops, key, &lun->geo,
			       lun->sb.flags & TI_SB_FIXED_HMAC ? lun->sb.salt : NULL, error);
}

/* A LUN that is slower is better than none. */
static void open_crew(struct ti_lun *lun, const struct ti_lun_options *o)
{
	int err = ti_hash_crew_open(&o->crew, &lun->hash, o->hash_key,
				    lun->sb.flags & TI_SB_FIXED_HMAC ? lun->sb.salt : NULL,
				    &lun->locked_memory, &lun->crew);

	if (err != 0)
		ti_log(&lun->log, TI_LOG_WARN,
		       "there are no helper threads for the digest: large requests take longer "
		       "hash=%s error=%s",
		       lun->hash.ops->name, strerror(-err));
}

/* Somebody asks for new tags: the caller, or the superblock. */
static int check_recalculate(const struct ti_lun *lun, const struct ti_lun_options *o,
			     struct ti_error *error)
{
	if (lun->read_only ||
	    (!o->recalculate && !o->reset_recalculate && !ti_superblock_recalculating(&lun->sb)))
		return 0;
	return ti_seal_check_recalculate(lun->seal, &lun->sb, lun->hash.ops, o->legacy_recalculate,
					 lun->queue->dev[TI_META].name, error);
}

/*
 * Stricter than dm-integrity: a flag that anybody can set who can write to the metadata device
 * would have tags made for whatever he has put on the data device, without a word, in modes that
 * leave no dirty bitmap behind.  Where the pair is served in mode bitmap one is what a crash
 * leaves.
 */
static int check_dirty_bitmap(const struct ti_lun *lun, const struct ti_lun_options *o,
			      struct ti_error *error)
{
	const char *name = lun->queue->dev[TI_META].name;
	struct ti_error ignored = { 0 };
	int err;

	if (lun->read_only || !(lun->sb.flags & TI_SB_DIRTY_BITMAP) || o->mode == TI_MODE_BITMAP)
		return 0;
	err = ti_seal_check_recalculate(lun->seal, &lun->sb, lun->hash.ops, o->legacy_recalculate,
					name, &ignored);
	if (err == 0)
		return 0;
	return ti_error_set(
		error, err,
		"%s has a dirty bitmap, by which tags would be made anew, also for what "
		"somebody without the key has put on the data device: open it in mode "
		"bitmap if it was served in that, or give legacy_recalculate if the "
		"data is to be trusted as it is",
		name);
}

static void cache_wrote(void *ctx, int result)
{
	struct ti_lun *lun = ctx;
	int64_t skipped;

	ti_flusher_wrote(&lun->flusher, TI_META);
	if (result == 0)
		return;
	skipped = ti_ratelimit(&lun->error_log, ti_clock_now(lun->clock));
	if (skipped >= 0)
		ti_log(&lun->log, TI_LOG_ERR,
		       "tags could not be written, they are kept and tried again device=%s "
		       "error=%s "
		       "not_logged=%" PRId64,
		       lun->queue->dev[TI_META].name, strerror(-result), skipped);
}

static void flush_failed(void *ctx, enum ti_device dev, int error)
{
	const struct ti_event event = { .type = TI_EVENT_DEVICE_FAILED,
					.dev = dev,
					.error = error };
	struct ti_lun *lun = ctx;

	ti_log(&lun->log, TI_LOG_ERR,
	       "flush failed: what was written since the last good flush may be lost, and every "
	       "flush fails until the LUN is opened again device=%s error=%s",
	       lun->queue->dev[dev].name, strerror(-error));
	ti_lun_event(lun, &event);
	/* A start that failed acknowledged nothing, and the next one does all of it again.  Not so
	 * for what a killed predecessor had acknowledged: it may be lost with this flush. */
	if (lun->started || lun->inherited.found)
		ti_tag_store_broken(lun->store, dev, error);
	/* But the next start must not believe what it reads. */
	ti_tag_store_doubt(lun->store, dev, true);
}

/* The largest part: what the option says, what the tag scratch and a pin can take. */
static uint32_t part_sectors(const struct ti_lun *lun, uint32_t max_bytes)
{
	uint32_t blocks = (uint32_t)(ti_tag_cache_max_span() / lun->geo.tag_size);
	uint32_t unit = lun->io_align / lun->geo.block_size;

	if (blocks > max_bytes / lun->geo.block_size)
		blocks = max_bytes / lun->geo.block_size;
	blocks -= blocks % unit;
	return (blocks > 0 ? blocks : unit) * lun->geo.sectors_per_block;
}

/* One piece of memory for all slots, their scratch, and the bounce buffers. */
static int allocate(struct ti_lun *lun, unsigned depth, unsigned bounces)
{
	size_t part = (size_t)lun->part_sectors * TI_SECTOR_BYTES;
	size_t tags = (size_t)(lun->part_sectors / lun->geo.sectors_per_block) * lun->geo.tag_size;
	size_t iovs = TI_PART_IOVS * sizeof(struct iovec);
	size_t per_slot, slots_bytes, list_bytes;
	uint8_t *p;

	part = (part + 4095) & ~(size_t)4095;
	tags = (tags + 63) & ~(size_t)63;
	per_slot = iovs + tags;
	slots_bytes = (depth * sizeof(struct ti_slot) + 63) & ~(size_t)63;
	list_bytes = bounces * sizeof(uint8_t *);
	lun->pool_bytes = bounces * part + slots_bytes + depth * per_slot + list_bytes;
	lun->pool = p = ti_memory_get(lun->pool_bytes, &lun->locked_memory);
	if (p == NULL)
		return -ENOMEM;
	/* Bounce buffers first: they need the alignment. */
	lun->bounce = (uint8_t **)(void *)(p + bounces * part + slots_bytes + depth * per_slot);
	for (unsigned i = 0; i < bounces; i++)
		lun->bounce[lun->bounce_free++] = p + i * part;
	lun->bounce_count = bounces;
	lun->slots = (struct ti_slot *)(void *)(p + bounces * part);
	lun->slot_count = depth;
	p += bounces * part + slots_bytes;
	for (unsigned i = 0; i < depth; i++, p += per_slot) {
		lun->slots[i].lun = lun;
		lun->slots[i].iov_room = (struct iovec *)(void *)p;
		lun->slots[i].tags = p + iovs;
		STAILQ_INSERT_TAIL(&lun->free, &lun->slots[i], link);
	}
	return 0;
}

struct ti_store_pair ti_lun_store_pair(struct ti_lun *lun)
{
	return (struct ti_store_pair){
		.queue = lun->queue, .sb = &lun->sb, .geo = &lun->geo, .hash = &lun->hash
	};
}

/* What a predecessor left in its file goes to the metadata device.  Once.  Blocks. */
static int bring_home(struct ti_lun *lun, struct ti_error *error)
{
	const struct ti_store_pair pair = ti_lun_store_pair(lun);
	int err = 0;

	if (lun->store_path != NULL && !lun->read_only && !lun->brought_home)
		err = ti_tag_store_rescue(lun->store_path, &pair, &lun->log, &lun->inherited,
					  error);
	lun->brought_home = err == 0;
	return err;
}

/*
 * Make room for what we may leave.  A predecessor's file is left alone until the start, unless its
 * own room is needed.
 */
static int open_store(struct ti_lun *lun, size_t lines, struct ti_error *error)
{
	const struct ti_store_pair pair = ti_lun_store_pair(lun);
	const char *path = lun->store_path;
	int err;

	if (path == NULL || lun->read_only)
		return 0;
	if (ti_tag_store_open(path, &pair, lines, &lun->locked_memory, &lun->store) == 0)
		return 0;
	err = bring_home(lun, error);
	if (err != 0)
		return err;
	/* What it says of flushes is nowhere else until ours is published: it stays till then. */
	if (lun->inherited.found)
		(void)ti_store_file_empty(path);
	else
		unlink(path);
	err = ti_tag_store_open(path, &pair, lines, &lun->locked_memory, &lun->store);
	if (err == 0)
		return 0;
	ti_log(&lun->log, TI_LOG_WARN,
	       "unwritten tags will not outlive this process path=%s error=%s", path,
	       strerror(-err));
	if (!lun->inherited.found)
		return 0;
	err = ti_tag_store_keep(path, &pair, &lun->locked_memory, &lun->store);
	if (err != 0)
		return ti_error_set(error, err,
				    "cannot keep what a killed tcmu-runner left in %s: %s; mend "
				    "that, or delete the file if it is not needed",
				    path, strerror(-err));
	return 0;
}

/* From here on the file at the path is ours. */
static int start_store(struct ti_lun *lun, struct ti_error *error)
{
	int err = bring_home(lun, error);

	if (err != 0 || lun->store == NULL)
		return err;
	err = ti_tag_store_publish(lun->store, &lun->inherited);
	if (err != 0)
		ti_log(&lun->log, TI_LOG_WARN,
		       "unwritten tags will not outlive this process path=%s error=%s",
		       lun->store_path, strerror(-err));
	return 0;
}

/*
 * Who only reads cannot bring home what a killed predecessor had acknowledged, nor flush what it
 * left in the devices' caches.  Mode recovery, which asks no questions, reads all the same, and
 * flushes fail: their initiators have perhaps lived on.
 */
static int check_left_behind(struct ti_lun *lun, struct ti_error *error)
{
	const struct ti_store_pair pair = ti_lun_store_pair(lun);
	const char *name = lun->queue->dev[TI_META].name;
	int found = 0;

	if (lun->read_only && lun->store_path != NULL)
		found = ti_tag_store_found(lun->store_path, &pair);
	if (found == 0)
		return 0;
	if (lun->policy != &ti_policy_recovery)
		return ti_error_set(error, found < 0 ? found : -EUCLEAN,
				    "a tcmu-runner was killed that has left writes for %s in %s, "
				    "which a read-only open cannot bring home: open it for writing "
				    "first",
				    name, lun->store_path);
	lun->flusher.broken[TI_META] = -EUCLEAN;
	ti_log(&lun->log, TI_LOG_WARN,
	       "a tcmu-runner was killed that has left writes for %s in %s, which mode recovery "
	       "does "
	       "not bring home: flushes fail until it is opened in another mode",
	       name, lun->store_path);
	return 0;
}

static int open_memory(struct ti_lun *lun, const struct ti_lun_options *o, struct ti_error *error)
{
	const struct ti_device_info *meta = &lun->queue->dev[TI_META];
	struct ti_tag_cache_options cache = {
		.queue = lun->queue,
		.area_offset = lun->geo.tag_offset,
		.area_bytes = lun->geo.tag_bytes,
		.lines = ti_tag_cache_lines(o->cache_bytes != 0 ? o->cache_bytes
								: DEFAULT_CACHE_BYTES,
					    lun->geo.tag_bytes),
		.filler_tag_size = lun->allow_discards ? lun->geo.tag_size : 0,
		.wrote = cache_wrote,
		.ctx = lun,
	};
	uint32_t max_part = o->max_part_bytes != 0 ? o->max_part_bytes : DEFAULT_PART_BYTES;
	unsigned depth = o->queue_depth != 0 ? o->queue_depth : DEFAULT_QUEUE_DEPTH;
	int err;

	if (depth > MAX_QUEUE_DEPTH)
		depth = MAX_QUEUE_DEPTH;
	lun->part_sectors = part_sectors(lun, max_part);
	err = open_store(lun, cache.lines, error);
	if (err != 0)
		return err;
	if (lun->store != NULL && lun->store->lines > 0)
		cache.store = lun->store;
	err = ti_tag_cache_open(&cache, &lun->locked_memory, &lun->cache);
	if (err == -EINVAL)
		return ti_error_set(error, err,
				    "the tags on %s do not lie on its %" PRIu32
				    "-byte sectors: format "
				    "the pair with another start, or use another device",
				    meta->name, meta->logical_block_size);
	if (err == 0)
		err = allocate(lun, depth,
			       o->bounce_buffers != 0 ? o->bounce_buffers : DEFAULT_BOUNCE_BUFFERS);
	if (err != 0)
		return ti_error_set(error, err, "out of memory for the tag cache and the queue");
	return 0;
}

static int open_layout(struct ti_lun *lun, const struct ti_lun_options *o, struct ti_error *error)
{
	const struct ti_device_info *data = &lun->queue->dev[TI_DATA];
	const struct ti_device_info *meta = &lun->queue->dev[TI_META];
	struct ti_pair_sizes sizes = {
		.data_sectors = data->size / TI_SECTOR_BYTES,
		.meta_sectors = meta->size / TI_SECTOR_BYTES,
		.data_name = data->name,
		.meta_name = meta->name,
	};
	const struct ti_device_info *read_only = data->read_only   ? data
						 : meta->read_only ? meta
								   : NULL;
	int err = ti_queue_check_blocks(lun->queue, error);

	if (err == 0)
		err = read_superblock(lun, o->start_sector, error);
	if (err != 0)
		return err;
	if (!lun->read_only && read_only != NULL)
		return ti_error_set(error, -EROFS, "%s is read-only", read_only->name);
	err = ti_geometry_load(&lun->sb, &sizes, o->start_sector, o->buffer_sectors, &lun->geo,
			       error);
	if (err != 0)
		return err;
	lun->io_align = data->logical_block_size > lun->geo.block_size ? data->logical_block_size
								       : lun->geo.block_size;
	return 0;
}

/* @clean: nothing that the tag store holds is missing on the devices. */
static void release(struct ti_lun *lun, bool clean)
{
	ti_hash_crew_close(lun->crew);
	ti_scrub_free(lun);
	ti_recalc_free(lun);
	if (lun->policy->close != NULL)
		lun->policy->close(lun);
	/* A start in mode bitmap that failed in the journal was left with the journal's policy. */
	ti_bitmap_free(lun->bitmap);
	ti_tag_cache_close(lun->cache);
	ti_tag_store_close(lun->store, clean);
	free(lun->store_path);
	ti_memory_put(lun->pool, lun->pool_bytes);
	ti_hash_destroy(&lun->hash);
	ti_seal_close(lun->seal);
	free(lun);
}

/* Does the tag store say that a flush has failed, so that the next open must know? */
static bool is_broken(const struct ti_lun *lun)
{
	return lun->store != NULL && (lun->store->broken[TI_DATA] != 0 ||
				      lun->store->broken[TI_META] != 0 || *lun->store->doubt != 0);
}

/* No I/O of the engine's is under way: its memory may go. */
static bool idle(const struct ti_lun *lun)
{
	return (lun->cache == NULL || ti_tag_cache_idle(lun->cache)) && !lun->flusher.running &&
	       (lun->journal == NULL || ti_journal_idle(lun->journal)) &&
	       (lun->bitmap == NULL || ti_bitmap_idle(lun->bitmap)) && ti_recalc_idle(lun) &&
	       ti_scrub_idle(&lun->scrub);
}

/* A flush round that a close waits for. */
struct closing_round {
	struct ti_flush_waiter waiter; /* first */
	bool done;
	int err;
};

/* Wait for what is under way, whatever becomes of it. */
static void quiesce(struct ti_lun *lun, struct ti_request_list *finished)
{
	for (;;) {
		ti_lun_run(lun, finished);
		if (idle(lun))
			return;
		ti_lun_wait(lun, TI_CLOCK_NEVER);
	}
}

/* Free a LUN that could not be started.  What a replay that failed has left behind, the journal has
 * all of it. */
static void give_up(struct ti_lun *lun)
{
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);

	quiesce(lun, &finished);
	/* The next open is to know of the predecessor, too. */
	release(lun, !is_broken(lun) && !lun->inherited.found);
}

static const struct ti_policy_ops *policy_of(enum ti_mode mode)
{
	switch (mode) {
	case TI_MODE_JOURNAL:
		return &ti_policy_journal;
	case TI_MODE_BITMAP:
		return &ti_policy_bitmap;
	case TI_MODE_RECOVERY:
		return &ti_policy_recovery;
	case TI_MODE_DIRECT:
		break;
	}
	return &ti_policy_direct;
}

static void take_options(struct ti_lun *lun, const struct ti_lun_options *o)
{
	unsigned commit_ms = o->commit_time_ms != 0 ? o->commit_time_ms : DEFAULT_COMMIT_MS;
	unsigned bitmap_ms =
		o->bitmap_flush_interval_ms != 0 ? o->bitmap_flush_interval_ms : DEFAULT_BITMAP_MS;

	lun->policy = policy_of(o->mode);
	lun->journal_watermark = o->journal_watermark != 0 ? o->journal_watermark : 50;
	lun->sectors_per_bit = o->sectors_per_bit;
	lun->recalculate = o->recalculate;
	lun->reset_recalculate = o->reset_recalculate;
	lun->recalc.rate = o->recalculate_rate;
	lun->events = o->events;
	lun->allow_discards = o->allow_discards;
	lun->read_only = o->read_only || o->mode == TI_MODE_RECOVERY;
	/* Half of it: what became dirty between two ticks is written at the second. */
	lun->tick_ns =
		o->mode == TI_MODE_BITMAP ? bitmap_ms * TI_NS_PER_MS : commit_ms * TI_NS_PER_MS / 2;
}

int ti_lun_open(const struct ti_lun_options *o, struct ti_queue *queue, struct ti_clock *clock,
		const struct ti_log *log, struct ti_lun **out, struct ti_error *error)
{
	struct ti_lun *lun = calloc(1, sizeof(*lun));
	int err;

	if (lun == NULL)
		return ti_error_set(error, -ENOMEM, "out of memory");
	take_options(lun, o);
	lun->queue = queue;
	lun->clock = clock;
	if (log != NULL)
		lun->log = *log;
	lun->locked_memory = true;
	if (o->store_path != NULL) {
		lun->store_path = strdup(o->store_path);
		if (lun->store_path == NULL) {
			free(lun);
			return ti_error_set(error, -ENOMEM, "out of memory");
		}
	}
	ti_range_locks_init(&lun->ranges);
	STAILQ_INIT(&lun->free);
	STAILQ_INIT(&lun->ready);
	STAILQ_INIT(&lun->want_bounce);
	STAILQ_INIT(&lun->waiting);
	STAILQ_INIT(&lun->finished);
	err = ti_seal_open(&o->seal, &lun->seal, error);
	if (err == 0)
		err = open_layout(lun, o, error);
	if (err == 0)
		err = open_hash(lun, o->hash != NULL ? o->hash : "crc32c", o->hash_key, error);
	if (err == 0 && lun->policy != &ti_policy_recovery)
		err = ti_seal_check_tag_size(lun->seal, &lun->sb, lun->hash.ops, o->tag_size,
					     queue->dev[TI_META].name, error);
	if (err == 0)
		err = check_recalculate(lun, o, error);
	if (err == 0)
		err = check_dirty_bitmap(lun, o, error);
	if (err == 0)
		err = ti_superblock_check_supported(&lun->sb, queue->dev[TI_META].name, error);
	if (err == 0)
		err = ti_seal_start(lun->seal, &lun->sb, &lun->geo, error);
	if (err == 0)
		err = open_memory(lun, o, error);
	if (err == 0)
		err = ti_scrub_open(lun, error);
	if (err == 0)
		open_crew(lun, o);
	ti_flusher_init(&lun->flusher, queue, lun->cache, clock, lun->read_only, flush_failed, lun);
	if (err == 0)
		err = check_left_behind(lun, error);
	if (err == 0 && lun->policy->open != NULL)
		err = lun->policy->open(lun, error);
	if (err != 0) {
		/* As in give_up(). */
		release(lun, !is_broken(lun) && !lun->inherited.found);
		return err;
	}
	lun->deadline_ns = ti_clock_now(clock) + lun->tick_ns;
	if (!lun->locked_memory)
		ti_log(&lun->log, TI_LOG_WARN,
		       "memory of the I/O path could not be locked: do not swap to this LUN");
	err = o->defer_start ? 0 : ti_lun_start(lun, error);
	if (err != 0) {
		give_up(lun);
		return err;
	}
	*out = lun;
	return 0;
}

int ti_lun_start(struct ti_lun *lun, struct ti_error *error)
{
	int err = start_store(lun, error);

	if (err == 0 && lun->inherited.doubt[TI_META])
		err = ti_lun_rewrite_meta(lun, error);
	if (err == 0)
		err = ti_lun_settle(lun, error);
	/* A bitmap lies in the journal's place: nothing to replay, and nothing may be written. */
	if (err == 0 && !(lun->read_only && (lun->sb.flags & TI_SB_DIRTY_BITMAP)))
		err = lun->policy->start(lun, error);
	if (err == 0)
		err = ti_recalc_open(lun, error);
	if (err != 0)
		return err;
	lun->started = true;
	/* Only now: what the start itself has written, its own flushes have covered. */
	for (enum ti_device dev = 0; dev < TI_DEVICES; dev++) {
		if (lun->inherited.broken[dev] == 0)
			continue;
		lun->flusher.broken[dev] = lun->inherited.broken[dev];
		ti_log(&lun->log, TI_LOG_ERR,
		       "a flush failed before tcmu-runner was killed: every flush fails until the "
		       "LUN is closed and opened again device=%s error=%s",
		       lun->queue->dev[dev].name, strerror(-lun->inherited.broken[dev]));
	}
	return 0;
}

static void round_done(struct ti_flush_waiter *waiter, const struct ti_result *result)
{
	struct closing_round *c = (struct closing_round *)waiter;

	c->done = true;
	c->err = result->err;
}

/*
 * A flush in mode journal does not write the tags: what a recalculation has made, what a scrub has
 * mended.  Keep how far the recalculation is, too.  (Mode bitmap does it when it stops.)
 */
static int close_tags(struct ti_lun *lun, struct ti_request_list *finished)
{
	struct closing_round round = { .waiter.done = round_done };
	struct ti_error error = { 0 };

	if (lun->read_only || lun->bitmap != NULL)
		return 0;
	if (lun->recalc.running || ti_tag_cache_dirty(lun->cache) || lun->flusher.dirty[TI_META]) {
		ti_flush_join(&lun->flusher, &round.waiter);
		while (!round.done)
			quiesce(lun, finished);
	}
	if (!lun->recalc.running)
		return round.err;
	ti_recalc_note(lun);
	return round.err != 0 ? round.err : ti_lun_store_superblock(lun, &lun->sb, &error);
}

int ti_lun_close(struct ti_lun *lun)
{
	struct ti_request req = { .op = TI_REQ_FLUSH };
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);
	int err;

	if (!lun->started) {
		give_up(lun);
		return 0;
	}
	assert(lun->slots_busy == 0 && STAILQ_EMPTY(&lun->waiting));
	/* First, so that the flush covers the tags of the last piece. */
	ti_recalc_stop(lun);
	ti_scrub_halt(&lun->scrub);
	quiesce(lun, &finished);
	ti_lun_submit(lun, &req);
	do {
		quiesce(lun, &finished);
	} while (STAILQ_EMPTY(&finished));
	/* Who has written nothing leaves nothing behind. */
	err = lun->read_only ? 0 : req.result.err;
	if (err == 0)
		err = close_tags(lun, &finished);
	if (lun->policy->stop != NULL && !lun->read_only) {
		int stopped = lun->policy->stop(lun);

		err = err != 0 ? err : stopped;
		quiesce(lun, &finished);
	}
	/* Whoever closes the LUN is told of a flush that has failed: the next open is a new start.
	 * But one that does not believe everything it reads. */
	for (enum ti_device dev = 0; dev < TI_DEVICES; dev++) {
		/* One of ours may have failed after one that was inherited. */
		if (lun->flusher.broken[dev] != 0)
			ti_tag_store_doubt(lun->store, dev, true);
		ti_tag_store_broken(lun->store, dev, 0);
	}
	release(lun, err == 0 && !is_broken(lun));
	return err;
}

void ti_lun_abandon(struct ti_lun *lun)
{
	if (lun == NULL)
		return;
	release(lun, false);
}
