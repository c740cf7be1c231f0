// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * Making and unmaking a disk: devices, engine, facts for the command table, contexts, thread.
 */
#include "disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "disk_admin.h"
#include "facts.h"
#include "memory.h"
#include "pair.h"
#include "store.h"
#include "store_file.h"
#include "thread.h"

/* A journal of usual size without entries is read in this time, so that a LUN is ready when it
 * appears, and one whose journal is damaged is refused; a replay goes on alone. */
#define START_PATIENCE_MS 250U

/* For commands, and for what is copied. */
static int open_contexts(struct ti_disk *disk, unsigned count, struct ti_error *error)
{
	disk->contexts_bytes = count * sizeof(struct ti_context);
	disk->contexts = ti_memory_get(disk->contexts_bytes, &disk->locked_memory);
	if (!disk->contexts)
		return ti_error_set(error, -ENOMEM, "there is no memory for %u commands", count);
	if (ti_copies_open(&disk->copies, &disk->locked_memory)) {
		ti_memory_put(disk->contexts, disk->contexts_bytes);
		return ti_error_set(error, -ENOMEM, "there is no memory for %u copies", TI_COPIES);
	}
	SLIST_INIT(&disk->free);
	for (unsigned i = 0; i < count; i++) {
		disk->contexts[i].request.owner = &disk->contexts[i];
		SLIST_INSERT_HEAD(&disk->free, &disk->contexts[i], link);
	}
	return 0;
}

static void close_contexts(struct ti_disk *disk)
{
	ti_copies_close(&disk->copies);
	ti_memory_put(disk->contexts, disk->contexts_bytes);
}

/* Threads that the LUN has besides its own, if there are any. */
static void log_threads(struct ti_disk *disk, const char *kind, const struct ti_io_threads *t)
{
	bool all = t->io_flushers == t->count && t->locked_stacks == t->count;

	if (t->count == 0)
		return;
	ti_log_ring_say(disk->lines, all ? TI_LOG_INFO : TI_LOG_WARN,
			"io_flusher=%s thread=%s threads=%u io_flushers=%u locked_stacks=%u%s",
			t->io_flushers == t->count ? "yes" : "no", kind, t->count, t->io_flushers,
			t->locked_stacks, all ? "" : ": do not swap to this LUN");
}

static void log_open(struct ti_disk *disk)
{
	const char *exposed = ti_config_exposed_key(&disk->config);
	const struct ti_device_info *dev = disk->queue->dev;
	struct ti_lun_stats stats;

	ti_lun_get_stats(disk->lun, &stats);
	ti_log_ring_say(disk->lines, TI_LOG_INFO,
			"open data=%s meta=%s blocks=%" PRIu64 " block_size=%" PRIu32
			" integrity_block=%" PRIu32 " backend=%s locked_memory=%s",
			dev[TI_DATA].name, dev[TI_META].name, disk->facts.blocks,
			disk->facts.block_size, disk->facts.integrity_block, disk->queue->ops->name,
			stats.locked_memory && disk->locked_memory && !disk->queue->unlocked_memory
				? "yes"
				: "no");
	if (exposed)
		ti_log_ring_say(disk->lines, TI_LOG_WARN,
				"everybody may read, or change, a key of this LUN: chmod 600 it "
				"path=%s",
				exposed);
	log_threads(disk, "pool", &disk->queue->threads);
	log_threads(disk, "hash", &stats.hash_helpers);
}

void ti_disk_start(struct ti_disk *disk)
{
	struct ti_error error = { 0 };
	int err = ti_lun_start(disk->lun, &error);

	if (err)
		ti_log_ring_say(disk->lines, TI_LOG_ERR,
				"start failed, the LUN answers all I/O with errors: %s",
				error.text);
	pthread_mutex_lock(&disk->lock);
	disk->start_error = error;
	__atomic_store_n(&disk->state, err ? TI_DISK_FAILED : TI_DISK_READY, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&disk->started);
	pthread_mutex_unlock(&disk->lock);
	ti_events_poke(&disk->events);
}

/* Wait a moment for the engine.  Returns its error if it has failed by then. */
static int await_start(struct ti_disk *disk, struct ti_error *error)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)(START_PATIENCE_MS * TI_NS_PER_MS);
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	pthread_mutex_lock(&disk->lock);
	while (disk->state == TI_DISK_STARTING &&
	       pthread_cond_timedwait(&disk->started, &disk->lock, &until) == 0)
		;
	if (disk->state == TI_DISK_FAILED) {
		*error = disk->start_error;
		err = disk->start_error.err;
	}
	pthread_mutex_unlock(&disk->lock);
	return err;
}

/* The lock, and the condition that goes with it. */
static int make_lock(struct ti_disk *disk)
{
	pthread_condattr_t attr;
	int err = ti_events_init(&disk->events);

	if (err)
		return err;
	err = -pthread_mutex_init(&disk->lock, NULL);
	if (err) {
		ti_events_destroy(&disk->events);
		return err;
	}
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	err = -pthread_cond_init(&disk->started, &attr);
	pthread_condattr_destroy(&attr);
	if (err) {
		pthread_mutex_destroy(&disk->lock);
		ti_events_destroy(&disk->events);
	}
	return err;
}

static void destroy_lock(struct ti_disk *disk)
{
	pthread_cond_destroy(&disk->started);
	pthread_mutex_destroy(&disk->lock);
	ti_events_destroy(&disk->events);
}

/* What MODE SELECT changed before this process: nobody sees it in a configuration. */
static void say_mode(struct ti_disk *disk)
{
	unsigned bits = ti_select_bits(&disk->mode);

	if (disk->mode.dropped)
		ti_log_ring_say(disk->lines, TI_LOG_WARN,
				"what MODE SELECT has changed of another pair with this metadata "
				"device is dropped write_cache=%s write_protect=%s",
				disk->mode.dropped & TI_SELECT_DURABLE ? "off" : "on",
				disk->mode.dropped & TI_SELECT_SWP ? "on" : "off");
	if (bits)
		ti_log_ring_say(disk->lines, bits & TI_SELECT_SWP ? TI_LOG_WARN : TI_LOG_INFO,
				"as MODE SELECT has left it write_cache=%s write_protect=%s "
				"d_sense=%s",
				bits & TI_SELECT_DURABLE ? "off" : "on",
				bits & TI_SELECT_SWP ? "on" : "off",
				bits & TI_SELECT_D_SENSE ? "changed" : "default");
}

int ti_disk_open(struct tcmu_device *dev, const struct ti_config *config, unsigned contexts,
		 struct ti_disk **out, struct ti_error *error)
{
	struct ti_pair_options pair;
	struct ti_lun_options lun;
	struct ti_config_keys keys;
	char store[TI_STORE_PATH_BYTES];
	struct ti_disk *disk = calloc(1, sizeof(*disk));
	int err;

	if (!disk)
		return ti_error_set(error, -ENOMEM, "there is no memory for another LUN");
	disk->dev = dev;
	disk->locked_memory = true;
	err = ti_log_ring_open(dev, &disk->locked_memory, &disk->lines);
	if (err) {
		ti_error_set(error, err, "the way to the log could not be made: %s",
			     strerror(-err));
		goto free_disk;
	}
	disk->log = (struct ti_log){ .line = ti_log_ring_line, .ctx = disk->lines };
	ti_ring_find(dev, &disk->ring);
	ti_short_answer_find(dev, &disk->short_answer);
	ti_skipped_find(dev, &disk->skipped);
	disk->config = *config;
	ti_select_open(&disk->mode, NULL, 0);
	ti_config_options(&disk->config, &pair, &lun);
	lun.defer_start = true;
	lun.events = (struct ti_event_sink){ .event = ti_events_put, .ctx = &disk->events };
	err = make_lock(disk);
	if (err) {
		ti_error_set(error, err, "a lock could not be made: %s", strerror(-err));
		goto close_lines;
	}
	err = ti_pair_open(&pair, &disk->log, &disk->queue, error);
	if (err)
		goto destroy_lock;
	err = ti_store_path(config, store, sizeof(store));
	if (err)
		ti_log_ring_say(disk->lines, TI_LOG_WARN,
				"acknowledged writes will not outlive a kill of tcmu-runner "
				"dir=" TI_STORE_DIR " error=%s",
				strerror(-err));
	else
		lun.store_path = store;
	err = ti_config_load_keys(config, &keys, &lun, error);
	if (!err)
		err = ti_lun_open(&lun, disk->queue, &ti_clock_monotonic, &disk->log, &disk->lun,
				  error);
	ti_config_drop_keys(&keys);
	if (err)
		goto close_pair;
	err = ti_facts_fill(dev, disk->queue, disk->lun, &disk->facts, error);
	if (err)
		goto abandon_lun;
	/* The pair is ours: so is the file. */
	err = ti_select_open(&disk->mode, lun.store_path, ti_lun_fingerprint(disk->lun));
	if (err)
		ti_log_ring_say(disk->lines, TI_LOG_WARN,
				"the write cache cannot be switched off error=%s", strerror(-err));
	say_mode(disk);
	disk->facts.tells_length = ti_short_answer_possible(&disk->short_answer);
	disk->facts.ready = ti_disk_ready;
	disk->facts.stats = ti_disk_stats;
	disk->facts.scrub = ti_disk_scrub;
	disk->facts.copy_result = ti_disk_copy_result;
	disk->facts.disk = disk;
	disk->facts.mode = &disk->mode;
	disk->facts.opened_ns = ti_clock_now(&ti_clock_monotonic);
	err = open_contexts(disk, contexts ? contexts : TI_DISK_CONTEXTS, error);
	if (err)
		goto abandon_lun;
	log_open(disk);
	err = ti_thread_start(disk);
	if (err) {
		ti_error_set(error, err, "the completion thread could not be started: %s",
			     strerror(-err));
		goto close_contexts;
	}
	err = await_start(disk, error);
	if (err)
		goto stop_thread;
	*out = disk;
	return 0;

stop_thread:
	ti_thread_stop(disk);
close_contexts:
	close_contexts(disk);
abandon_lun:
	ti_lun_close(disk->lun); /* not started, or in vain: nothing is written */
close_pair:
	ti_pair_close(disk->queue);
destroy_lock:
	ti_select_close(&disk->mode);
	destroy_lock(disk);
close_lines:
	ti_log_ring_close(disk->lines);
free_disk:
	free(disk);
	return err;
}

int ti_disk_close(struct ti_disk *disk)
{
	struct ti_lun_stats stats;
	int err;

	ti_thread_stop(disk);
	ti_lun_get_stats(disk->lun, &stats);
	err = ti_lun_close(disk->lun);
	if (err)
		ti_log_ring_say(disk->lines, TI_LOG_ERR,
				"close failed (%s): what was written to %s and %s since the last "
				"good flush "
				"may be lost; check the pair before it is used again",
				strerror(-err), disk->config.data_path, disk->config.meta_path);
	ti_log_ring_say(disk->lines, TI_LOG_INFO,
			"closed reads=%" PRIu64 " writes=%" PRIu64 " flushes=%" PRIu64
			" flush_rounds=%" PRIu64 " mismatches=%" PRIu64 " bounced=%" PRIu64,
			stats.reads, stats.writes, stats.flushes, stats.flush_rounds,
			stats.mismatches, stats.bounced_parts);
	if (stats.hash_helpers.count)
		ti_log_ring_say(disk->lines, TI_LOG_INFO,
				"hash_helpers=%u from_bytes=%zu pieces_helped=%" PRIu64
				" pieces_repeated=%" PRIu64,
				stats.hash_helpers.count, stats.hash_pieces.share_bytes,
				stats.hash_pieces.helped, stats.hash_pieces.repeated);
	ti_select_close(&disk->mode);
	ti_pair_close(disk->queue);
	close_contexts(disk);
	destroy_lock(disk);
	ti_log_ring_close(disk->lines);
	free(disk);
	return err;
}

void ti_disk_stats(void *ctx, struct ti_lun_stats *stats)
{
	struct ti_disk_view view;

	ti_disk_look(ctx, &view);
	*stats = view.stats;
}

void ti_disk_scrub(void *ctx, struct ti_scrub_report *report)
{
	struct ti_disk_view view;

	ti_disk_look(ctx, &view);
	*report = view.scrub;
}

int ti_disk_resize(struct ti_disk *disk, uint64_t bytes, struct ti_error *error)
{
	/* The core raises a unit attention when we have returned, at once.  Two ticks are one at
	 * least. */
	atomic_store(&disk->no_holding_back, 2);
	return ti_facts_resize(&disk->facts, ti_lun_geometry(disk->lun)->provided_sectors, bytes,
			       error);
}
