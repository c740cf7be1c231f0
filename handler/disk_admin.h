/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What an administrator asks of a disk, besides its commands.  Each of these holds the disk's lock
 * for as long as a copy takes, and blocks for nothing else.  Any thread, while the disk is open.
 */
#ifndef TI_DISK_ADMIN_H
#define TI_DISK_ADMIN_H

#include "disk.h"

/** All that can be said of a disk at one moment.  Counters are 0 while it starts. */
struct ti_disk_view {
	enum ti_disk_state state;
	struct ti_lun_stats stats;
	struct ti_scrub_report scrub;
};

void ti_disk_look(struct ti_disk *disk, struct ti_disk_view *view);

/**
 * Begin a scrub, or go on with the last one if @resume says so and it is not finished.  @rate:
 * bytes per second, 0: no limit.  Returns 0, -EALREADY, -EOPNOTSUPP in mode recovery, -EAGAIN while
 * the disk starts, -EIO if that has failed.
 */
int ti_disk_scrub_start(struct ti_disk *disk, bool resume, uint64_t rate);

/** Returns 0, or -EALREADY if none runs, -EAGAIN and -EIO as above. */
int ti_disk_scrub_stop(struct ti_disk *disk);

/** The one that runs goes on at this rate.  Likewise. */
int ti_disk_scrub_set_rate(struct ti_disk *disk, uint64_t rate);

/**
 * Begin to make all tags anew; when that is granted, or not, the events are poked.  Returns 0 and
 * errors as ti_lun_recalculate(), -EAGAIN and -EIO as above.
 */
int ti_disk_recalculate(struct ti_disk *disk, uint64_t rate);

/** The recalculation that runs goes on at this rate.  Returns 0, or -EALREADY if none runs, -EAGAIN
 *  and -EIO as above. */
int ti_disk_recalculate_set_rate(struct ti_disk *disk, uint64_t rate);

/** Has it been granted, or not?  Then *@err, once: 0 or the device's negative errno. */
bool ti_disk_recalculate_answered(struct ti_disk *disk, int *err);

/** What an earlier process knew of a scrub: let it be this one's last.  Errors as above. */
int ti_disk_scrub_restore(struct ti_disk *disk, const struct ti_scrub_report *report);

/**
 * Begin to make all completed writes durable; when that is done the events are poked.  Returns 0,
 * -EALREADY if one is under way (it may not cover the latest writes), -EAGAIN and -EIO as above.
 */
int ti_disk_flush_begin(struct ti_disk *disk);

/** Has it ended?  Then *@result, once.  */
bool ti_disk_flush_ended(struct ti_disk *disk, struct ti_result *result);

/** The engine has finished with the request of ti_disk_flush_begin().  Under the lock.  io path. */
void ti_disk_flush_back(struct ti_disk *disk);

/** Which pair is it?  See ti_lun_fingerprint(). */
uint64_t ti_disk_fingerprint(const struct ti_disk *disk);

#endif
