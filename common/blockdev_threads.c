/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The back-end over a pool of threads.
 *
 * submit() stages I/O; run() moves it into the lanes, wakes one thread for each, and calls done()
 * for what has completed.  A lane is a first-in-first-out queue and the threads that serve it.  One
 * lane carries reads, writes and discards; each device has a lane and a thread of its own for its
 * flushes.  So the two flushes of a pair run side by side, however busy the other threads are.
 *
 * One lock guards all that threads share.  A thread wakes the sleeper in wait() only when the last
 * run() asked for it (`audible`), which run() does under the lock, having seen that nothing has
 * completed: a completion is either seen by run() or sees `audible`.  No thread touches an I/O
 * after putting it on the list of completed ones.
 *
 * Everything is allocated at open, the threads' own start-up included.
 */
#include "blockdev_threads.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "blockdev_waiter.h"
#include "clock.h"
#include "io_thread.h"
#include "memory.h"

/** -EAGAIN is not expected of a call that may block: tried again this often, after a pause. */
#define MAX_TRIES    8U
#define TRY_PAUSE_NS TI_NS_PER_MS

enum lane_number {
	LANE_FLUSH_DATA = TI_DATA,
	LANE_FLUSH_META = TI_META,
	LANE_TRANSFER = TI_DEVICES,
	LANES,
};

struct lane {
	struct ti_io_list queue;
	pthread_cond_t work;
};

struct threads;

struct worker {
	struct threads *pool;
	struct lane *lane;
	pthread_t thread;
	unsigned number;
};

struct threads {
	struct ti_host_queue host;
	struct ti_waiter waiter;
	size_t bytes; /* of this */

	/* Of the thread that is in submit() or run(). */
	struct ti_io_list staged;   /* not yet in a lane */
	struct ti_io_list finished; /* refused: done() not yet called */
	unsigned in_flight;	    /* staged, in a lane, with a thread or completed */
	bool running;

	pthread_mutex_t lock; /* of all below */
	struct lane lanes[LANES];
	struct ti_io_list completed;
	bool audible;	      /* the sleeper wants to be woken for a completion */
	bool stopping;	      /* threads end */
	pthread_cond_t ready; /* host.queue.threads has changed: one more is ready for work */

	unsigned worker_count; /* threads that exist */
	struct worker workers[];
};

static struct threads *threads(struct ti_queue *queue)
{
	return (struct threads *)queue;
}

/* io path */
static int sync_device(int fd)
{
	int err;

	do {
		/* Enough: see prepare() in blockdev_uring.c. */
		err = fdatasync(fd) == 0 ? 0 : -errno;
	} while (err == -EINTR);
	return err;
}

/* A device that has no command for zeroes that may be unmapped (dm-thin) may have one that says
 * nothing of what is left.  io path */
static int discard_plainly(int fd, const struct ti_io *io)
{
	uint64_t range[2] = { io->offset, io->len };

	if (ioctl(fd, BLKDISCARD, range) == 0)
		return 0;
	return errno == ENOTTY ? -EOPNOTSUPP : -errno;
}

/* io path */
static int discard(int fd, const struct ti_io *io)
{
	int err;

	do {
		err = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)io->offset,
				(off_t)io->len) == 0
			      ? 0
			      : -errno;
	} while (err == -EINTR);
	return err == -EOPNOTSUPP ? discard_plainly(fd, io) : err;
}

/* io path */
static int transfer(const struct ti_host_device *dev, struct ti_io *io)
{
	const struct timespec pause = { .tv_nsec = TRY_PAUSE_NS };
	bool write = io->op == TI_IO_WRITE;
	int flags = write && io->fua && dev->info.fua ? RWF_DSYNC : 0;
	unsigned tries = 0;

	while (io->progress < io->len) {
		off_t offset = (off_t)(io->offset + io->progress);
		const struct iovec *iov;
		int count = (int)ti_host_rest(io, &iov);
		ssize_t n = write ? pwritev2(dev->fd, iov, count, offset, flags)
				  : preadv2(dev->fd, iov, count, offset, flags);

		if (n > 0)
			io->progress += (uint64_t)n;
		else if (n == 0)
			return -EIO; /* the device has become shorter */
		else if (errno == EAGAIN && tries++ < MAX_TRIES)
			(void)nanosleep(&pause, NULL);
		else if (errno != EINTR)
			return -errno;
	}
	return write && io->fua && !dev->info.fua ? sync_device(dev->fd) : 0;
}

/* io path */
static int carry_out(const struct threads *t, struct ti_io *io)
{
	const struct ti_host_device *dev = &t->host.dev[io->dev];

	switch (io->op) {
	case TI_IO_FLUSH:
		return sync_device(dev->fd);
	case TI_IO_DISCARD:
		return discard(dev->fd, io);
	default:
		return transfer(dev, io);
	}
}

/* Make the thread fit for the I/O path and report it as started. */
static void prepare_thread(const struct worker *w)
{
	const struct ti_io_threads got = ti_io_thread_prepare("ti-io", w->number);

	pthread_mutex_lock(&w->pool->lock);
	ti_io_threads_add(&w->pool->host.queue.threads, &got);
	pthread_cond_signal(&w->pool->ready);
	pthread_mutex_unlock(&w->pool->lock);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct threads *t = w->pool;

	prepare_thread(w);
	pthread_mutex_lock(&t->lock);
	for (;;) {
		struct ti_io *io = ti_io_list_take(&w->lane->queue);
		bool wake;

		if (!io && t->stopping)
			break;
		if (!io) {
			pthread_cond_wait(&w->lane->work, &t->lock);
			continue;
		}
		pthread_mutex_unlock(&t->lock);
		io->result = carry_out(t, io);
		pthread_mutex_lock(&t->lock);
		ti_io_list_add(&t->completed, io);
		wake = t->audible;
		t->audible = false; /* one wake-up for any number of completions */
		if (wake) {
			pthread_mutex_unlock(&t->lock);
			ti_waiter_wake(&t->waiter);
			pthread_mutex_lock(&t->lock);
		}
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* io path */
static void threads_submit(struct ti_queue *queue, struct ti_io *io)
{
	struct threads *t = threads(queue);
	int verdict = ti_host_check(&t->host, io);

	io->progress = 0;
	if (verdict > 0) {
		ti_io_list_add(&t->staged, io);
		t->in_flight++;
	} else {
		io->result = verdict;
		ti_io_list_add(&t->finished, io);
	}
}

/* Give what is staged to the threads.  Under the lock.  io path. */
static void start_staged(struct threads *t)
{
	struct ti_io *io;

	while ((io = ti_io_list_take(&t->staged)) != NULL) {
		struct lane *lane =
			&t->lanes[io->op == TI_IO_FLUSH ? (unsigned)io->dev : LANE_TRANSFER];

		ti_io_list_add(&lane->queue, io);
		pthread_cond_signal(&lane->work);
	}
}

/* io path */
static unsigned threads_run(struct ti_queue *queue)
{
	struct threads *t = threads(queue);
	struct ti_io_list completed;
	unsigned count = 0;

	assert(!t->running);
	t->running = true;
	ti_io_list_init(&completed);
	while (t->in_flight > 0 || !ti_io_list_empty(&t->finished)) {
		struct ti_io *io;

		pthread_mutex_lock(&t->lock);
		start_staged(t);
		ti_io_list_move(&completed, &t->completed);
		t->audible = ti_io_list_empty(&completed) && ti_io_list_empty(&t->finished);
		if (t->audible) {
			pthread_mutex_unlock(&t->lock);
			break;
		}
		pthread_mutex_unlock(&t->lock);
		while ((io = ti_io_list_take(&completed)) != NULL) {
			t->in_flight--;
			count++;
			io->done(io);
		}
		while ((io = ti_io_list_take(&t->finished)) != NULL) {
			count++;
			io->done(io);
		}
	}
	t->running = false;
	return count;
}

static void threads_wait(struct ti_queue *queue, uint64_t deadline_ns)
{
	ti_waiter_wait(&threads(queue)->waiter, deadline_ns);
}

static void threads_wake(struct ti_queue *queue)
{
	ti_waiter_wake(&threads(queue)->waiter);
}

/* End the threads that exist and give everything back, except the devices. */
static void tear_down(struct threads *t)
{
	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	for (unsigned i = 0; i < LANES; i++)
		pthread_cond_broadcast(&t->lanes[i].work);
	pthread_mutex_unlock(&t->lock);
	for (unsigned i = 0; i < t->worker_count; i++)
		(void)pthread_join(t->workers[i].thread, NULL);
	for (unsigned i = 0; i < LANES; i++)
		(void)pthread_cond_destroy(&t->lanes[i].work);
	(void)pthread_cond_destroy(&t->ready);
	(void)pthread_mutex_destroy(&t->lock);
	ti_waiter_destroy(&t->waiter);
	ti_memory_put(t, t->bytes);
}

static void threads_close(struct ti_queue *queue)
{
	struct threads *t = threads(queue);
	struct ti_host_device dev[TI_DEVICES];

	assert(t->in_flight == 0 && ti_io_list_empty(&t->finished));
	for (unsigned i = 0; i < TI_DEVICES; i++)
		dev[i] = t->host.dev[i];
	tear_down(t);
	for (unsigned i = 0; i < TI_DEVICES; i++)
		ti_host_device_close(&dev[i]);
}

const struct ti_queue_ops ti_threads_ops = {
	.name = "threads",
	.submit = threads_submit,
	.run = threads_run,
	.wait = threads_wait,
	.wake = threads_wake,
	.close = threads_close,
};

/* Start a thread for each worker. */
static int start_threads(struct threads *t, unsigned count)
{
	int err = 0;

	while (!err && t->worker_count < count) {
		struct worker *w = &t->workers[t->worker_count];

		w->pool = t;
		w->number = t->worker_count;
		w->lane = &t->lanes[w->number < LANE_TRANSFER ? w->number : LANE_TRANSFER];
		err = ti_io_thread_start(&w->thread, work, w);
		if (!err)
			t->worker_count++;
	}
	return err;
}

/* Threads allocate when they start; from now on none of them does. */
static void await_threads(struct threads *t)
{
	pthread_mutex_lock(&t->lock);
	while (t->host.queue.threads.count < t->worker_count)
		pthread_cond_wait(&t->ready, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

int ti_threads_open(const struct ti_host_device dev[TI_DEVICES], unsigned count,
		    struct ti_queue **queue)
{
	unsigned workers = count + TI_DEVICES;
	size_t bytes = sizeof(struct threads) + workers * sizeof(struct worker);
	bool locked = true;
	struct threads *t = ti_memory_get(bytes, &locked);
	int err;

	if (!t)
		return -ENOMEM;
	t->bytes = bytes;
	ti_host_queue_init(&t->host, &ti_threads_ops, dev);
	t->host.queue.unlocked_memory = !locked;
	ti_io_list_init(&t->staged);
	ti_io_list_init(&t->finished);
	ti_io_list_init(&t->completed);
	/* With default attributes these cannot fail. */
	(void)pthread_mutex_init(&t->lock, NULL);
	(void)pthread_cond_init(&t->ready, NULL);
	for (unsigned i = 0; i < LANES; i++) {
		ti_io_list_init(&t->lanes[i].queue);
		(void)pthread_cond_init(&t->lanes[i].work, NULL);
	}
	err = ti_waiter_init(&t->waiter);
	if (!err)
		err = start_threads(t, workers);
	if (err) {
		tear_down(t);
		return err;
	}
	await_threads(t);
	*queue = &t->host.queue;
	return 0;
}
