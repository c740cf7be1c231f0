// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * Making and unmaking a disk: devices, engine, facts for the command table, contexts, thread.
 */
#include "disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "facts.h"
#include "memory.h"
#include "pair.h"
#include "say.h"
#include "store.h"
#include "thread.h"

static int open_contexts(struct ti_disk *disk, unsigned count, struct ti_error *error)
{
	disk->contexts_bytes = count * sizeof(struct ti_context);
	disk->locked_memory = true;
	disk->contexts = ti_memory_get(disk->contexts_bytes, &disk->locked_memory);
	if (!disk->contexts)
		return ti_error_set(error, -ENOMEM, "there is no memory for %u commands", count);
	SLIST_INIT(&disk->free);
	for (unsigned i = 0; i < count; i++) {
		disk->contexts[i].request.owner = &disk->contexts[i];
		SLIST_INSERT_HEAD(&disk->free, &disk->contexts[i], link);
	}
	return 0;
}

static void log_open(struct ti_disk *disk)
{
	const struct ti_device_info *dev = disk->queue->dev;
	struct ti_lun_stats stats;

	ti_lun_get_stats(disk->lun, &stats);
	ti_say(disk->dev, TI_LOG_INFO,
	       "open data=%s meta=%s blocks=%" PRIu64 " block_size=%" PRIu32
	       " integrity_block=%" PRIu32 " backend=%s locked_memory=%s",
	       dev[TI_DATA].name, dev[TI_META].name, disk->facts.blocks, disk->facts.block_size,
	       disk->facts.integrity_block, disk->queue->ops->name,
	       stats.locked_memory && disk->locked_memory ? "yes" : "no");
}

int ti_disk_open(struct tcmu_device *dev, const struct ti_config *config, unsigned contexts,
		 struct ti_disk **out, struct ti_error *error)
{
	struct ti_pair_options pair;
	struct ti_lun_options lun;
	char store[128];
	struct ti_disk *disk = calloc(1, sizeof(*disk));
	int err;

	if (!disk)
		return ti_error_set(error, -ENOMEM, "there is no memory for another LUN");
	disk->dev = dev;
	disk->config = *config;
	disk->log = (struct ti_log){ .line = ti_say_line, .ctx = dev };
	ti_config_options(&disk->config, &pair, &lun);
	err = -pthread_mutex_init(&disk->lock, NULL);
	if (err) {
		ti_error_set(error, err, "a lock could not be made: %s", strerror(-err));
		goto free_disk;
	}
	err = ti_pair_open(&pair, &disk->log, &disk->queue, error);
	if (err)
		goto destroy_lock;
	err = ti_store_path(config, store, sizeof(store));
	if (err)
		ti_say(dev, TI_LOG_WARN,
		       "unwritten tags will not outlive tcmu-runner dir=" TI_STORE_DIR " error=%s",
		       strerror(-err));
	else
		lun.store_path = store;
	err = ti_lun_open(&lun, disk->queue, &ti_clock_monotonic, &disk->log, &disk->lun, error);
	if (err)
		goto close_pair;
	err = ti_facts_fill(dev, disk->queue, disk->lun, &disk->facts, error);
	if (err)
		goto abandon_lun;
	err = open_contexts(disk, contexts ? contexts : TI_DISK_CONTEXTS, error);
	if (err)
		goto abandon_lun;
	err = ti_thread_start(disk);
	if (err) {
		ti_error_set(error, err, "the completion thread could not be started: %s",
			     strerror(-err));
		goto put_contexts;
	}
	log_open(disk);
	*out = disk;
	return 0;

put_contexts:
	ti_memory_put(disk->contexts, disk->contexts_bytes);
abandon_lun:
	ti_lun_abandon(disk->lun); /* nothing has been written */
close_pair:
	ti_pair_close(disk->queue);
destroy_lock:
	pthread_mutex_destroy(&disk->lock);
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
		ti_say(disk->dev, TI_LOG_ERR,
		       "close failed (%s): what was written to %s and %s since the last good flush "
		       "may be lost; check the pair before it is used again",
		       strerror(-err), disk->config.data_path, disk->config.meta_path);
	ti_say(disk->dev, TI_LOG_INFO,
	       "closed reads=%" PRIu64 " writes=%" PRIu64 " flushes=%" PRIu64
	       " flush_rounds=%" PRIu64 " mismatches=%" PRIu64,
	       stats.reads, stats.writes, stats.flushes, stats.flush_rounds, stats.mismatches);
	ti_pair_close(disk->queue);
	ti_memory_put(disk->contexts, disk->contexts_bytes);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
	return err;
}

int ti_disk_resize(struct ti_disk *disk, uint64_t bytes, struct ti_error *error)
{
	return ti_facts_resize(&disk->facts, ti_lun_geometry(disk->lun)->provided_sectors, bytes,
			       error);
}
