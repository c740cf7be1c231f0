// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * Keeping a scrub over the end of the process: what is written down when, and what is made of it.
 *
 * The file is read when the LUN is ready, and written when a scrub begins and ends and every few
 * seconds in between, and later when a bad place has been mended, by a thread of GLib's: it may lie
 * on this very LUN, or on a disk that hangs.  For the same reason a close writes nothing: the next
 * process goes on from the last file, and does some seconds' work again, or tells as bad what was
 * mended in the last seconds.
 */
#include "service_lun.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "device_identity.h"
#include "say.h"

bool ti_scrub_keeper_keep(struct ti_service_lun *lun)
{
	struct ti_disk *disk = ti_service_lun_borrow(lun);
	struct ti_disk_view view;
	bool runs, is_new;

	if (!disk)
		return false;
	ti_disk_look(disk, &view);
	ti_service_lun_give_back(lun);
	is_new = view.scrub.mended_sectors != lun->kept_mended;
	/* Its rate is of no use any more. */
	is_new |= lun->recalculating && !view.stats.recalculating;
	lun->recalculating &= view.stats.recalculating;
	runs = view.scrub.state == TI_SCRUB_RUNNING;
	if (runs || is_new)
		ti_scrub_keeper_save(lun);
	return runs || is_new || view.scrub.ranges > 0 || lun->recalculating;
}

/* ---- writing ---- */

/* What is to be written; false: there is nothing to tell.  The disk is borrowed. */
static bool collect(struct ti_service_lun *lun, struct ti_disk *disk, struct ti_scrub_saved *saved)
{
	struct ti_disk_view view;

	ti_disk_look(disk, &view);
	if (view.scrub.state == TI_SCRUB_NEVER && !lun->recalculating && !lun->kept)
		return false;
	*saved = (struct ti_scrub_saved){ .pair = ti_disk_fingerprint(disk),
					  .devices = lun->devices,
					  .report = view.scrub,
					  .started = lun->started,
					  .ended = lun->ended,
					  .recalculating = lun->recalculating,
					  .recalc_rate = view.stats.recalc_rate };
	return true;
}

/* It is tried again every few seconds: told is what is new. */
static void tell_saved(struct ti_service_lun *lun, int err)
{
	if (err == lun->save_err)
		return;
	if (err)
		ti_say(NULL, TI_LOG_WARN,
		       "where the scrub of %s is cannot be written to " TI_SCRUB_STATE_DIR
		       ": after a restart it goes on from further back error=%s",
		       lun->name, strerror(-err));
	else
		ti_say(NULL, TI_LOG_INFO,
		       "where the scrub of %s is can be written to " TI_SCRUB_STATE_DIR " again",
		       lun->name);
	lun->save_err = err;
}

struct job {
	struct ti_service_lun *lun;
	struct ti_scrub_saved saved;
	char *path[TI_DEVICES]; /* to be read: where the pair is */
};

static void free_job(gpointer data)
{
	struct job *job = data;

	ti_service_lun_unref(job->lun);
	for (int dev = 0; dev < TI_DEVICES; dev++)
		g_free(job->path[dev]);
	g_free(job);
}

static void written(GObject *source, GAsyncResult *result, gpointer data)
{
	struct ti_service_lun *lun = data;
	const struct job *job = g_task_get_task_data(G_TASK(result));
	gssize err = g_task_propagate_int(G_TASK(result), NULL);

	(void)source;
	lun->saving = false;
	tell_saved(lun, (int)err);
	if (!err) {
		lun->kept = true;
		lun->kept_mended = job->saved.report.mended_sectors;
	}
	if (lun->save_again)
		ti_scrub_keeper_save(lun);
	ti_service_lun_unref(lun);
}

static void write_job(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	struct job *job = data;

	(void)source;
	(void)cancellable;
	g_task_return_int(task,
			  ti_scrub_state_save(TI_SCRUB_STATE_DIR, job->lun->file, &job->saved));
}

void ti_scrub_keeper_save(struct ti_service_lun *lun)
{
	struct ti_disk *disk;
	struct job *job;
	GTask *task;
	bool any;

	/* One at a time, so that the newest is the last. */
	lun->save_again = lun->saving || !lun->restored;
	if (lun->save_again)
		return;
	disk = ti_service_lun_borrow(lun);
	if (!disk)
		return;
	job = g_new0(struct job, 1);
	job->lun = ti_service_lun_ref(lun);
	any = collect(lun, disk, &job->saved);
	ti_service_lun_give_back(lun);
	if (!any) {
		free_job(job);
		return;
	}
	lun->saving = true;
	task = g_task_new(NULL, NULL, written, ti_service_lun_ref(lun));
	g_task_set_task_data(task, job, free_job);
	g_task_run_in_thread(task, write_job);
	g_object_unref(task);
}

/* ---- reading ---- */

/* What was read becomes the LUN's last scrub.  The disk is borrowed. */
static void take_up(struct ti_service_lun *lun, struct ti_disk *disk, struct ti_scrub_saved *saved)
{
	bool running = saved->report.state == TI_SCRUB_RUNNING;

	/* Unless it has ended, or another one was asked for meanwhile. */
	if (saved->recalculating && !lun->recalculating)
		lun->recalculating = !ti_disk_recalculate_set_rate(disk, saved->recalc_rate);
	if (running)
		saved->report.state = TI_SCRUB_STOPPED;
	/* Refused when one has been started meanwhile: then it is that one's times that count. */
	if (ti_disk_scrub_restore(disk, &saved->report))
		return;
	lun->kept_mended = saved->report.mended_sectors;
	lun->started = saved->started;
	lun->ended = saved->ended;
	if (running)
		ti_disk_scrub_start(disk, true, saved->report.rate_limit);
}

static void was_read(GObject *source, GAsyncResult *result, gpointer data)
{
	struct ti_service_lun *lun = data;
	struct job *job = g_task_get_task_data(G_TASK(result));
	gssize err = g_task_propagate_int(G_TASK(result), NULL);
	struct ti_disk *disk = ti_service_lun_borrow(lun);

	(void)source;
	lun->restored = true;
	lun->devices = job->saved.devices;
	lun->kept = !err;
	if (err == -EINVAL)
		ti_say(NULL, TI_LOG_WARN,
		       "what is known of the last scrub of %s cannot be read: the next one begins "
		       "at the beginning file=" TI_SCRUB_STATE_DIR "/%s.%016" PRIx64 "-%016" PRIx64
		       ".state",
		       lun->name, lun->file, job->saved.pair, job->saved.devices);
	if (disk) {
		if (!err)
			take_up(lun, disk, &job->saved);
		/* One that runs now is to be written down. */
		ti_events_poke(&disk->events);
		ti_service_lun_give_back(lun);
	}
	if (lun->save_again)
		ti_scrub_keeper_save(lun);
	ti_service_lun_unref(lun);
}

static void read_job(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	struct job *job = data;

	(void)source;
	(void)cancellable;
	job->saved.devices =
		ti_device_identity(TI_UDEV_DATA, job->path[TI_DATA], job->path[TI_META]);
	g_task_return_int(task,
			  ti_scrub_state_load(TI_SCRUB_STATE_DIR, job->lun->file, &job->saved));
}

void ti_scrub_keeper_restore(struct ti_service_lun *lun)
{
	struct ti_disk *disk;
	struct job *job;
	GTask *task;

	if (lun->restoring)
		return;
	disk = ti_service_lun_borrow(lun);
	if (!disk)
		return;
	lun->restoring = ti_disk_state(disk) == TI_DISK_READY;
	if (!lun->restoring) {
		ti_service_lun_give_back(lun);
		return;
	}
	job = g_new0(struct job, 1);
	job->lun = ti_service_lun_ref(lun);
	job->saved.pair = ti_disk_fingerprint(disk);
	for (int dev = 0; dev < TI_DEVICES; dev++)
		job->path[dev] = g_strdup(disk->queue->dev[dev].name);
	ti_service_lun_give_back(lun);
	task = g_task_new(NULL, NULL, was_read, ti_service_lun_ref(lun));
	g_task_set_task_data(task, job, free_job);
	g_task_run_in_thread(task, read_job);
	g_object_unref(task);
}
