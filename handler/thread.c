// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
#include "thread.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "disk.h"
#include "io_thread.h"
#include "log_ring.h"

/* A busy thread looks at the clock once in so many turns; an idle one each time. */
#define TURNS_PER_TICK 64U

/*
 * How long a command that libtcmu has skipped waits for its answer if no other follows.  Nothing
 * wakes us for it: the runner's thread reads the uio device, and whoever polls the same file beside
 * it misses what that has read first.
 */
#define SKIPPED_PATIENCE_NS (500U * TI_NS_PER_MS)

static void become_io_flusher(struct ti_disk *disk, const char *thread)
{
	int err = ti_io_thread_become_flusher();

	if (!err)
		ti_log_ring_say(disk->lines, TI_LOG_INFO, "io_flusher=yes thread=%s", thread);
	else
		ti_log_ring_say(disk->lines, TI_LOG_WARN,
				"io_flusher=no thread=%s reason=\"%s\": do not swap to this LUN",
				thread, strerror(-err));
}

void ti_thread_adopt(struct ti_disk *disk)
{
	become_io_flusher(disk, "command");
}

/* Let the engine do what is due by the clock.  Under the lock. */
static void tick(struct ti_disk *disk)
{
	uint64_t before = ti_lun_deadline(disk->lun);

	ti_lun_tick(disk->lun);
	if (ti_lun_deadline(disk->lun) == before)
		return;
	ti_disk_turn(disk);
	if (atomic_load(&disk->no_holding_back) > 0)
		atomic_fetch_sub(&disk->no_holding_back, 1);
}

/* Look for skipped commands if @due has come.  Returns when it does next. */
static uint64_t look_for_skipped(struct ti_disk *disk, uint64_t due)
{
	uint64_t now = ti_clock_now(&ti_clock_monotonic);

	if (now < due)
		return due;
	ti_skipped_answer(&disk->skipped);
	return now + SKIPPED_PATIENCE_NS;
}

static void *complete(void *arg)
{
	struct ti_disk *disk = arg;
	unsigned turns = 0;
	uint64_t look = 0;

	become_io_flusher(disk, "completion");
	ti_disk_start(disk);
	pthread_mutex_lock(&disk->lock);
	while (disk->state == TI_DISK_FAILED && !disk->stopping) {
		pthread_mutex_unlock(&disk->lock);
		look = look_for_skipped(disk, look);
		ti_lun_wait(disk->lun, look);
		pthread_mutex_lock(&disk->lock);
	}
	while (disk->state == TI_DISK_READY) {
		uint64_t deadline;

		if (!ti_disk_turn(disk) || ++turns >= TURNS_PER_TICK) {
			turns = 0;
			tick(disk);
		}
		if (disk->stopping && disk->contexts_used == 0)
			break;
		deadline = ti_lun_deadline(disk->lun);
		if (look < deadline)
			deadline = look;
		disk->asleep_until_ns = deadline;
		pthread_mutex_unlock(&disk->lock);
		ti_lun_wait(disk->lun, deadline);
		if (turns == 0) /* else it is busy */
			look = look_for_skipped(disk, look);
		pthread_mutex_lock(&disk->lock);
		disk->asleep_until_ns = 0;
	}
	pthread_mutex_unlock(&disk->lock);
	return NULL;
}

int ti_thread_start(struct ti_disk *disk)
{
	char name[16];
	sigset_t all, old;
	int err;

	/* The runner's main thread is the one for signals; a new thread inherits the mask. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&disk->thread, NULL, complete, disk);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -err;
	snprintf(name, sizeof(name), "ti-%.12s", tcmu_dev_get_uio_name(disk->dev));
	pthread_setname_np(disk->thread, name);
	return 0;
}

void ti_thread_stop(struct ti_disk *disk)
{
	pthread_mutex_lock(&disk->lock);
	disk->stopping = true;
	pthread_mutex_unlock(&disk->lock);
	ti_lun_wake(disk->lun);
	pthread_join(disk->thread, NULL);
}
