/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Opening a pair: both devices, then the back-end over them.
 *
 * Whether data and metadata are the same device is found out before either is opened: the second
 * open would only say that the first one holds it.
 */
#include "pair.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sys/sysmacros.h>

#include "blockdev_host.h"
#include "blockdev_threads.h"
#include "blockdev_uring.h"
#include "pair_device.h"

#define DEFAULT_THREADS 16U
#define MAX_THREADS	256U

static bool same_device(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) != S_ISBLK(b->st_mode))
		return false;
	if (S_ISBLK(a->st_mode))
		return a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Is the block device @loop a loop device over the file @file? */
static bool is_loop_over(const struct stat *loop, const struct stat *file)
{
	char path[128], backing[4096] = "";
	struct stat st;
	FILE *f;

	if (!S_ISBLK(loop->st_mode) || !S_ISREG(file->st_mode))
		return false;
	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/loop/backing_file",
		       major(loop->st_rdev), minor(loop->st_rdev));
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(backing, sizeof(backing), f))
		backing[0] = '\0';
	(void)fclose(f);
	backing[strcspn(backing, "\n")] = '\0';
	return stat(backing, &st) == 0 && same_device(&st, file);
}

static int check_distinct(const struct ti_pair_options *options, const struct stat seen[TI_DEVICES],
			  struct ti_error *error)
{
	const struct stat *data = &seen[TI_DATA], *meta = &seen[TI_META];

	if (!same_device(data, meta) && !is_loop_over(data, meta) && !is_loop_over(meta, data))
		return 0;
	return ti_error_set(error, -EBUSY,
			    "%s and %s are the same device: data and metadata need one each",
			    options->data_path, options->meta_path);
}

static int check_options(const struct ti_pair_options *options, struct ti_error *error)
{
	if (!options->meta_path)
		return ti_error_set(error, -EINVAL,
				    "no metadata device is named: give its path with the data "
				    "device's");
	if (options->no_lock && !options->read_only)
		return ti_error_set(error, -EINVAL,
				    "%s would be opened for writing without a lock: open it for "
				    "reading only, or lock it",
				    options->meta_path);
	return 0;
}

static int open_devices(const struct ti_pair_options *options, const struct ti_log *log,
			struct ti_host_device dev[TI_DEVICES], struct ti_error *error)
{
	const struct ti_device_request rq[TI_DEVICES] = {
		[TI_DATA] = { "data device", options->data_path, options->read_only,
			      options->no_lock, options->peek },
		[TI_META] = { "metadata device", options->meta_path, options->read_only,
			      options->no_lock, options->peek },
	};
	struct stat seen[TI_DEVICES];
	int err = 0;

	for (unsigned i = 0; i < TI_DEVICES && !err; i++) {
		if (rq[i].path)
			err = ti_device_look(&rq[i], &seen[i], error);
	}
	if (!err && options->data_path)
		err = check_distinct(options, seen, error);
	for (unsigned i = 0; i < TI_DEVICES && !err && options->peek; i++) {
		if (rq[i].path)
			err = ti_device_held(&rq[i], &seen[i], error);
	}
	for (unsigned i = 0; i < TI_DEVICES && !err; i++) {
		if (rq[i].path)
			err = ti_device_open(&rq[i], &seen[i], log, &dev[i], error);
	}
	return err;
}

static unsigned clamp(unsigned value, unsigned standard, unsigned least, unsigned most)
{
	if (value == 0)
		return standard;
	return value < least ? least : value > most ? most : value;
}

static int open_backend(const struct ti_pair_options *options, const struct ti_log *log,
			const struct ti_host_device dev[TI_DEVICES], struct ti_queue **queue,
			struct ti_error *error)
{
	unsigned depth =
		clamp(options->depth, TI_HOST_DEFAULT_DEPTH, TI_HOST_MIN_DEPTH, TI_HOST_MAX_DEPTH);
	unsigned threads = clamp(options->threads, DEFAULT_THREADS, 1, MAX_THREADS);
	const char *refused;
	int err;

	if (options->backend != TI_BACKEND_THREADS) {
		err = ti_uring_open(dev, depth, queue, &refused);
		if (!err)
			return 0;
		if (options->backend == TI_BACKEND_URING)
			return ti_error_set(error, err,
					    "io_uring cannot be used for %s: %s was refused (%s); "
					    "allow it (sysctl kernel.io_uring_disabled, seccomp), "
					    "or choose the thread pool",
					    options->meta_path, refused, strerror(-err));
		ti_log(log, TI_LOG_WARN,
		       "io_uring is refused here, using a thread pool, which is slower: refused=%s "
		       "reason=\"%s\" threads=%u",
		       refused, strerror(-err), threads);
	}
	err = ti_threads_open(dev, threads, queue);
	if (err)
		return ti_error_set(error, err,
				    "%u I/O threads for %s cannot be started (%s): lower their "
				    "number or raise the limit",
				    threads, options->meta_path, strerror(-err));
	return 0;
}

int ti_pair_open(const struct ti_pair_options *options, const struct ti_log *log,
		 struct ti_queue **queue, struct ti_error *error)
{
	struct ti_host_device dev[TI_DEVICES] = { TI_HOST_DEVICE_NONE, TI_HOST_DEVICE_NONE };
	int err = check_options(options, error);

	if (!err)
		err = open_devices(options, log, dev, error);
	if (!err)
		err = open_backend(options, log, dev, queue, error);
	if (err) {
		for (unsigned i = 0; i < TI_DEVICES; i++)
			ti_host_device_close(&dev[i]);
	}
	return err;
}

void ti_pair_close(struct ti_queue *queue)
{
	if (queue)
		queue->ops->close(queue);
}

int ti_pair_fd(const struct ti_queue *queue, enum ti_device dev)
{
	if (queue->ops != &ti_uring_ops && queue->ops != &ti_threads_ops)
		return -1;
	return ((const struct ti_host_queue *)queue)->dev[dev].fd;
}
