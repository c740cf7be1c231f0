/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A LUN as the service knows it.
 *
 * It outlives its disk: a close comes on another thread while the main thread may be looking.  So
 * whoever uses the disk borrows it; a close waits until it is given back, which is soon.
 */
#ifndef TI_SERVICE_LUN_H
#define TI_SERVICE_LUN_H

#include <gio/gio.h>

#include "disk_admin.h"
#include "scrub_state.h"
#include "signal_budget.h"

#define TI_SERVICE_NAME "org.tcmu_integrity1"
#define TI_SERVICE_PATH "/org/tcmu_integrity1"
#define TI_SERVICE_LUNS TI_SERVICE_PATH "/lun"

struct ti_service_lun {
	gatomicrefcount refs;
	char *backstore; /* its name */
	char *full_name; /* user_N/NAME, as in configfs */
	char *file;	 /* the beginning of the name of its file, which has the pair in it, too */

	GMutex lock;
	struct ti_disk *disk; /* NULL: closed.  Under the lock. */

	/* The main thread's. */
	const char *name; /* one of the two above: the full one while it has a twin */
	struct ti_signal_budget signals;
	GDBusObjectSkeleton *object; /* NULL: not on the bus */
	GDBusInterfaceSkeleton *skeleton;
	GPtrArray *flush_now, *flush_next;  /* method invocations that wait */
	GDBusMethodInvocation *recalculate; /* likewise; NULL: none */
	bool restoring, restored;	    /* what an earlier process knew of a scrub */
	bool saving;			    /* a file is being written */
	bool save_again;
	bool recalculating;	 /* as was asked for, as far as is known: its rate is to be kept */
	bool kept;		 /* there is a file */
	uint64_t kept_mended;	 /* as it says */
	int save_err;		 /* of the last time that it was written, which was told */
	uint64_t devices;	 /* ti_device_identity(); known when `restored` */
	uint64_t started, ended; /* of the scrub; seconds since 1970 */
};

struct ti_service_lun *ti_service_lun_new(struct ti_disk *disk);
struct ti_service_lun *ti_service_lun_ref(struct ti_service_lun *lun);
void ti_service_lun_unref(struct ti_service_lun *lun);

/** How it is called while the LUNs @all, struct ti_service_lun, are open: by the name of its
 *  backstore, unless another one has that, too. */
const char *ti_service_lun_called(const struct ti_service_lun *lun, GPtrArray *all);

/** The path of its object: from its name, and so like it unique at any moment. */
char *ti_service_lun_path(const struct ti_service_lun *lun);

/** The disk, or NULL if it is closed.  Give back what was not NULL, soon: a close waits. */
struct ti_disk *ti_service_lun_borrow(struct ti_service_lun *lun);
void ti_service_lun_give_back(struct ti_service_lun *lun);

/** Closed: wait for who has borrowed it. Any thread. */
void ti_service_lun_close(struct ti_service_lun *lun);

/* lun_object.c */

/** The object's interface.  Its methods and properties go to @lun, which it keeps a reference of.
 */
GDBusInterfaceSkeleton *ti_lun_object_new(struct ti_service_lun *lun);

/** Tell who waits for a recalculation to be granted.  @err: 0 or negative errno; -ENODEV: the LUN
 *  is closed. */
void ti_lun_object_recalculating(struct ti_service_lun *lun, int err);

/** Tell who waits for a flush, and begin the next one.  @result NULL: the LUN is closed. */
void ti_lun_object_flushed(struct ti_service_lun *lun, const struct ti_result *result);

/** Send one signal.  Main thread, while it is on the bus and @disk is borrowed. */
void ti_lun_object_signal(struct ti_service_lun *lun, struct ti_disk *disk,
			  const struct ti_event *event);

/* scrub_keeper.c */

/** If the disk is ready: let it know of the last scrub, and go on with one that was cut short, when
 *  a thread of GLib's has read what is known of it.  Does that once. */
void ti_scrub_keeper_restore(struct ti_service_lun *lun);

/** Write down where the scrub is, in a thread of GLib's. */
void ti_scrub_keeper_save(struct ti_service_lun *lun);

/** To be called every few seconds: write down what has changed by itself.  Returns false when
 *  nothing can until the next event. */
bool ti_scrub_keeper_keep(struct ti_service_lun *lun);

#endif
