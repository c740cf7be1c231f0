// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/* See disk_admin.h. */
#include "disk_admin.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static int not_ready(const struct ti_disk *disk)
{
	switch (ti_disk_state(disk)) {
	case TI_DISK_READY:
		return 0;
	case TI_DISK_STARTING:
		return -EAGAIN;
	case TI_DISK_FAILED:
		break;
	}
	return -EIO;
}

void ti_disk_look(struct ti_disk *disk, struct ti_disk_view *view)
{
	memset(view, 0, sizeof(*view));
	view->state = ti_disk_state(disk);
	if (view->state == TI_DISK_STARTING)
		return;
	pthread_mutex_lock(&disk->lock);
	ti_lun_get_stats(disk->lun, &view->stats);
	ti_lun_scrub_get(disk->lun, &view->scrub);
	pthread_mutex_unlock(&disk->lock);
}

int ti_disk_scrub_start(struct ti_disk *disk, bool resume, uint64_t rate)
{
	struct ti_scrub_report last;
	int err = not_ready(disk);

	if (err)
		return err;
	pthread_mutex_lock(&disk->lock);
	ti_lun_scrub_get(disk->lun, &last);
	resume = resume && last.state != TI_SCRUB_FINISHED;
	err = ti_lun_scrub_start(disk->lun, resume ? &last : NULL, rate);
	pthread_mutex_unlock(&disk->lock);
	ti_lun_wake(disk->lun);
	return err;
}

int ti_disk_scrub_stop(struct ti_disk *disk)
{
	int err = not_ready(disk);

	if (err)
		return err;
	pthread_mutex_lock(&disk->lock);
	err = ti_lun_scrub_stop(disk->lun);
	pthread_mutex_unlock(&disk->lock);
	ti_lun_wake(disk->lun);
	return err;
}

static int set_rate(struct ti_disk *disk, int (*set)(struct ti_lun *lun, uint64_t rate),
		    uint64_t rate)
{
	int err = not_ready(disk);

	if (err)
		return err;
	pthread_mutex_lock(&disk->lock);
	err = set(disk->lun, rate);
	pthread_mutex_unlock(&disk->lock);
	ti_lun_wake(disk->lun);
	return err;
}

int ti_disk_scrub_set_rate(struct ti_disk *disk, uint64_t rate)
{
	return set_rate(disk, ti_lun_scrub_set_rate, rate);
}

int ti_disk_recalculate_set_rate(struct ti_disk *disk, uint64_t rate)
{
	return set_rate(disk, ti_lun_recalculate_set_rate, rate);
}

/* Under the lock. */
static void wish_answered(struct ti_recalc_wish *wish, int err)
{
	struct ti_disk *disk = (struct ti_disk *)((char *)wish - offsetof(struct ti_disk, wish));

	disk->wish_back = true;
	disk->wish_err = err;
	ti_events_poke(&disk->events);
}

int ti_disk_recalculate(struct ti_disk *disk, uint64_t rate)
{
	int err = not_ready(disk);

	if (err)
		return err;
	pthread_mutex_lock(&disk->lock);
	/* The last one's answer may not have been taken yet. */
	err = disk->wish_busy ? -EALREADY : 0;
	if (!err) {
		disk->wish.done = wish_answered;
		err = ti_lun_recalculate(disk->lun, rate, &disk->wish);
		disk->wish_busy = !err;
	}
	pthread_mutex_unlock(&disk->lock);
	ti_lun_wake(disk->lun);
	return err;
}

bool ti_disk_recalculate_answered(struct ti_disk *disk, int *err)
{
	bool answered;

	pthread_mutex_lock(&disk->lock);
	answered = disk->wish_back;
	if (answered) {
		*err = disk->wish_err;
		disk->wish_busy = disk->wish_back = false;
	}
	pthread_mutex_unlock(&disk->lock);
	return answered;
}

int ti_disk_scrub_restore(struct ti_disk *disk, const struct ti_scrub_report *report)
{
	int err = not_ready(disk);

	if (err)
		return err;
	pthread_mutex_lock(&disk->lock);
	err = ti_lun_scrub_restore(disk->lun, report);
	pthread_mutex_unlock(&disk->lock);
	return err;
}

int ti_disk_flush_begin(struct ti_disk *disk)
{
	int err = not_ready(disk);

	if (err)
		return err;
	pthread_mutex_lock(&disk->lock);
	if (disk->own_busy) {
		err = -EALREADY;
	} else {
		disk->own_busy = true;
		disk->own_back = false;
		disk->own.request.op = TI_REQ_FLUSH;
		disk->own.request.flags = 0;
		disk->own.request.owner = &disk->own;
		disk->contexts_used++;
		ti_lun_submit(disk->lun, &disk->own.request);
	}
	pthread_mutex_unlock(&disk->lock);
	ti_lun_wake(disk->lun);
	return err;
}

void ti_disk_flush_back(struct ti_disk *disk)
{
	disk->contexts_used--;
	disk->own_back = true;
	ti_events_poke(&disk->events);
}

bool ti_disk_flush_ended(struct ti_disk *disk, struct ti_result *result)
{
	bool ended;

	pthread_mutex_lock(&disk->lock);
	ended = disk->own_busy && disk->own_back;
	if (ended) {
		*result = disk->own.request.result;
		disk->own_busy = false;
	}
	pthread_mutex_unlock(&disk->lock);
	return ended;
}

uint64_t ti_disk_fingerprint(const struct ti_disk *disk)
{
	return ti_lun_fingerprint(disk->lun);
}
