/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The back-end over io_uring: one ring for both devices.
 *
 * submit() fills a submission entry, or queues the I/O when `depth` of them are under way.  run()
 * hands the batch to the kernel with one system call, reaps completions from shared memory without
 * any, and repeats while done() submitted more.  A run() with nothing to hand over makes no system
 * call at all.
 *
 * Who is woken for what.  Direct I/O often completes inside io_uring_enter(), and run() reaps that
 * itself: waking the thread in wait() for it would cost more than the I/O.  So the ring's eventfd
 * is silent while somebody is in run(), and rings only from the end of a run() that leaves I/O
 * under way.  See mute() and unmute() below for why no completion is missed.
 *
 * Completions are posted by the thread that submitted (task work), wherever it is then: the kernel
 * interrupts its system call, posts, and restarts the call.  read(), ppoll(), nanosleep() and
 * futex() are restarted unseen; epoll_wait() is not, it returns -EINTR.  tcmu-runner's command
 * thread waits in ppoll().  IORING_SETUP_COOP_TASKRUN must not be set: a submitter that stays in
 * user space would then keep completions from the thread that waits for them.
 *
 * A thread's requests end with it: the kernel waits for those that a device has and cancels those
 * that wait for a worker (-ECANCELED: reported as an error, never taken for success).  So a thread
 * may leave only when no request is under way.  tcmu-runner's command thread does: LIO removes a
 * device after its last command, and the engine drains before it lets the thread go.
 *
 * One flush of a device at a time.  Who asks while one is under way waits, and all of them share
 * the next.  Were two under way at once, the kernel would tell only one of them about pages of a
 * file that it failed to write back, and the other's success could be seen first.  So whoever is
 * told of success has been told of every failure before it.
 *
 * io-wq workers (flushes, discards, what would block) inherit the submitter's PR_SET_IO_FLUSHER.
 */
#include "blockdev_uring.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <sys/syscall.h>

#include <liburing.h>

#include "blockdev_waiter.h"
#include "clock.h"
#include "flush_gauge.h"
#include "memory.h"

/** io-wq workers: two flushes must not wait for workers that are busy with discards. */
#define WORKERS 32U

/** -EAGAIN and -EINTR are tried again by a worker, which may block; this often. */
#define MAX_TRIES 8U

/** Pause before entries that the kernel could not take (no memory) are offered again. */
#define STALL_NS TI_NS_PER_MS

/* One request in the submission ring or in the kernel. */
struct flight {
	struct ti_io *io; /* NULL: a worker's fdatasync() of `dev` */
	struct flight *next_free;
	unsigned tries;
	enum ti_device dev;
	uint64_t began_ns; /* of an fdatasync() that is measured; 0: it is not */
};

struct uring {
	struct ti_host_queue host;
	struct io_uring ring;
	struct ti_waiter waiter;
	size_t bytes; /* of this */

	unsigned depth;
	unsigned in_flight; /* flights in use, of all kinds */
	struct flight *free;
	bool running; /* somebody is in run() */
	bool audible; /* the eventfd rings for completions */
	/* Set by run(), taken by wait(): entries are left in the submission ring. */
	atomic_bool stalled;

	struct ti_io_list waiting;  /* no flight was free */
	struct ti_io_list finished; /* result set, done() not yet called */
	/* Flushes, and FUA writes whose data is written: those for which an fdatasync() is still to
	 * begin, and those that share the one that a worker carries out (empty: none does). */
	struct ti_io_list unsynced[TI_DEVICES], syncing[TI_DEVICES];
	struct flight sync[TI_DEVICES];
	struct ti_flush_gauge gauge[TI_DEVICES];

	struct flight flights[]; /* depth of them */
};

static struct uring *uring(struct ti_queue *queue)
{
	return (struct uring *)queue;
}

/* io path */
static void finish(struct uring *u, struct ti_io *io, int result)
{
	io->result = result;
	ti_io_list_add(&u->finished, io);
}

/* All of them have @result.  io path */
static void finish_all(struct uring *u, struct ti_io_list *list, int result)
{
	struct ti_io *io;

	while ((io = ti_io_list_take(list)) != NULL)
		finish(u, io, result);
}

/* A transfer has ended.  io path */
static void put_flight(struct uring *u, struct flight *flight)
{
	flight->next_free = u->free;
	u->free = flight;
	u->in_flight--;
}

/* What the flight was for has @result.  io path */
static void end_flight(struct uring *u, struct flight *flight, int result)
{
	struct ti_io *io = flight->io;

	if (io != NULL) {
		put_flight(u, flight);
		finish(u, io, result);
	} else {
		u->in_flight--;
		finish_all(u, &u->syncing[flight->dev], result);
	}
}

/*
 * Stop the eventfd.  A completion that comes while it stops is either seen by the reaping that
 * follows or announced needlessly.  io path.
 */
static void mute(struct uring *u)
{
	if (u->audible) {
		(void)io_uring_cq_eventfd_toggle(&u->ring, false);
		u->audible = false;
	}
}

/*
 * Let the eventfd ring again.  Completions may have been posted silently meanwhile: the caller
 * looks at the completion ring once more before it leaves.  Why none is missed:
 *
 * We:      write "enabled",     full barrier, read the completion ring's tail.
 * Kernel:  write the new tail,  full barrier, read "enabled".
 *
 * At least one of the two sees the other's write, so a completion is found in the ring or rings the
 * eventfd, which wait() reads.  Our barrier is __sync_synchronize(); it orders what liburing writes
 * with WRITE_ONCE.  The kernel's is in the wake-up of CQ waiters after the tail's release
 * (wq_has_sleeper(), since 6.3), before that in taking the completion lock between the two.  A
 * poster that leaves the signal to a later poster is covered by that one's barrier.  io path.
 */
static void unmute(struct uring *u)
{
	(void)io_uring_cq_eventfd_toggle(&u->ring, true);
	u->audible = true;
	__sync_synchronize();
}

/*
 * Fill a submission entry.  There is always one: the ring has as many as there are flights, and a
 * flight has at most one entry in it.  io path.
 */
static void prepare(struct uring *u, struct flight *flight)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	struct ti_io *io = flight->io;
	const struct iovec *iov;
	unsigned count;

	assert(sqe != NULL);
	flight->began_ns = 0;
	if (io == NULL) {
		/*
		 * fdatasync is enough.  On a block device the kernel writes back dirty pages and
		 * then always sends a cache flush, asked for data only or not, pages or not.  In a
		 * file it leaves out times, but not what is needed to find the data: extents that
		 * our writes allocated or converted are committed, and where nothing had to be
		 * committed the file system still flushes the device's cache.
		 */
		io_uring_prep_fsync(sqe, (int)flight->dev, IORING_FSYNC_DATASYNC);
		if (!u->gauge[flight->dev].never)
			flight->began_ns = ti_clock_now(&ti_clock_monotonic);
	} else if (io->op == TI_IO_DISCARD) {
		/*
		 * A hole in a file; on a block device the kernel makes it zeroes, by a command that
		 * the device has for that, or -EOPNOTSUPP.
		 */
		io_uring_prep_fallocate(sqe, (int)io->dev,
					FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)io->offset, (off_t)io->len);
	} else {
		bool write = io->op == TI_IO_WRITE;
		uint64_t offset = io->offset + io->progress;

		count = ti_host_rest(io, &iov);
		if (count == 1 && write)
			io_uring_prep_write(sqe, (int)io->dev, iov->iov_base,
					    (unsigned)iov->iov_len, offset);
		else if (count == 1)
			io_uring_prep_read(sqe, (int)io->dev, iov->iov_base, (unsigned)iov->iov_len,
					   offset);
		else if (write)
			io_uring_prep_writev(sqe, (int)io->dev, iov, count, offset);
		else
			io_uring_prep_readv(sqe, (int)io->dev, iov, count, offset);
		/*
		 * Only where the device does FUA itself or has no cache.  Elsewhere the kernel
		 * would flush for each such write, and on 6.1 twice: one fdatasync after the write
		 * is no worse.  Should the cache be switched on meanwhile, the kernel flushes.
		 */
		if (write && io->fua && u->host.queue.dev[io->dev].fua)
			sqe->rw_flags = RWF_DSYNC;
	}
	sqe->flags |= IOSQE_FIXED_FILE;
	if (flight->tries > 0)
		sqe->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data(sqe, flight);
}

/* Give the I/O a flight, if there is one.  io path. */
static bool start(struct uring *u, struct ti_io *io)
{
	struct flight *flight = u->free;

	if (flight == NULL)
		return false;
	u->free = flight->next_free;
	u->in_flight++;
	flight->io = io;
	flight->tries = 0;
	prepare(u, flight);
	return true;
}

/* May an fdatasync() of the device begin, and does somebody want one?  io path. */
static bool may_sync(const struct uring *u, unsigned dev)
{
	return !ti_io_list_empty(&u->unsynced[dev]) && ti_io_list_empty(&u->syncing[dev]);
}

/* Let a worker carry one out, for all who want it by now.  io path. */
static void start_sync(struct uring *u, unsigned dev)
{
	struct flight *flight = &u->sync[dev];

	ti_io_list_move(&u->syncing[dev], &u->unsynced[dev]);
	u->in_flight++;
	flight->tries = 0;
	prepare(u, flight);
}

/* io path */
static void uring_submit(struct ti_queue *queue, struct ti_io *io)
{
	struct uring *u = uring(queue);
	int verdict = ti_host_check(&u->host, io);

	io->progress = 0;
	if (verdict <= 0)
		finish(u, io, verdict);
	else if (io->op == TI_IO_FLUSH)
		ti_io_list_add(&u->unsynced[io->dev], io);
	else if (!ti_io_list_empty(&u->waiting) || !start(u, io))
		ti_io_list_add(&u->waiting, io);
}

/* io path */
static void start_waiting(struct uring *u)
{
	while (!ti_io_list_empty(&u->waiting) && start(u, u->waiting.first))
		ti_io_list_take(&u->waiting);
	for (unsigned dev = 0; dev < TI_DEVICES; dev++) {
		if (may_sync(u, dev) && !ti_flush_gauge_inline(&u->gauge[dev]))
			start_sync(u, dev);
	}
}

/*
 * io_uring_enter() fails for good, for instance because a seccomp filter was put in place after we
 * opened.  Take back what the kernel has not consumed and let it fail.  Nobody else looks at the
 * submission ring: the kernel reads it only inside io_uring_enter().  io path.
 */
static void take_back(struct uring *u, int err)
{
	struct io_uring_sq *sq = &u->ring.sq;
	unsigned head = *sq->khead;

	for (unsigned i = head; i != sq->sqe_tail; i++) {
		struct flight *flight =
			(struct flight *)(uintptr_t)sq->sqes[i & sq->ring_mask].user_data;

		end_flight(u, flight, err);
	}
	sq->sqe_head = head;
	sq->sqe_tail = head;
	*sq->ktail = head;
}

/* Hand the batch to the kernel.  Returns false when part of it has to wait.  io path. */
static bool enter(struct uring *u)
{
	while (io_uring_sq_ready(&u->ring) > 0) {
		int n = io_uring_submit(&u->ring);

		if (n == 0 || n == -EAGAIN || n == -EBUSY || n == -ENOMEM)
			return false;
		if (n < 0 && n != -EINTR)
			take_back(u, n);
	}
	return true;
}

/*
 * Flush a device without a volatile cache.  The kernel finds that there is nothing to send, so the
 * call is cheap and a worker for it would cost more.  It is made every time: the cache mode can be
 * changed at run time.  Should it take long, workers do it: see flush_gauge.h.
 *
 * All flushes of the device that were submitted share the call: it starts after the last of them.
 * syscall() is no cancellation point, fdatasync() is.  io path.
 */
static void flush_now(struct uring *u, enum ti_device dev)
{
	bool timed = ti_flush_gauge_measures(&u->gauge[dev]);
	uint64_t began_ns = timed ? ti_clock_now(&ti_clock_monotonic) : 0;
	int err;

	do {
		err = syscall(SYS_fdatasync, u->host.dev[dev].fd) == 0 ? 0 : -errno;
	} while (err == -EINTR);
	if (timed)
		ti_flush_gauge_inline_took(&u->gauge[dev],
					   ti_clock_now(&ti_clock_monotonic) - began_ns);
	finish_all(u, &u->unsynced[dev], err);
}

/* Is a FUA write, its data written, still to be made durable?  io path. */
static bool needs_sync(const struct uring *u, const struct ti_io *io)
{
	return io->op == TI_IO_WRITE && io->fua && !u->host.queue.dev[io->dev].fua;
}

/*
 * A transfer has moved @res bytes, perhaps fewer than it should: then the rest follows; none: the
 * device ends before our range does, it has become shorter.  io path.
 */
static void transferred(struct uring *u, struct flight *flight, int res)
{
	struct ti_io *io = flight->io;

	io->progress += (unsigned)res;
	if (res == 0) {
		end_flight(u, flight, -EIO);
	} else if (io->progress < io->len) {
		prepare(u, flight);
	} else if (needs_sync(u, io)) {
		put_flight(u, flight);
		ti_io_list_add(&u->unsynced[io->dev], io);
	} else {
		end_flight(u, flight, 0);
	}
}

/* A request has come back with @res.  io path. */
static void complete(struct uring *u, struct flight *flight, int res)
{
	const struct ti_io *io = flight->io;

	if (flight->began_ns != 0)
		ti_flush_gauge_worker_took(&u->gauge[flight->dev],
					   ti_clock_now(&ti_clock_monotonic) - flight->began_ns);
	if ((res == -EAGAIN || res == -EINTR) && flight->tries < MAX_TRIES) {
		flight->tries++;
		prepare(u, flight);
	} else if (res >= 0 && io != NULL && io->op != TI_IO_DISCARD) {
		transferred(u, flight, res);
	} else {
		end_flight(u, flight, res < 0 ? res : 0);
	}
}

/* io path */
static void reap(struct uring *u)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;

	io_uring_for_each_cqe(&u->ring, head, cqe)
	{
		complete(u, io_uring_cqe_get_data(cqe), cqe->res);
		count++;
	}
	io_uring_cq_advance(&u->ring, count);
}

/* io path */
static unsigned call_done(struct uring *u)
{
	struct ti_io *io;
	unsigned count = 0;

	while ((io = ti_io_list_take(&u->finished)) != NULL) {
		io->done(io);
		count++;
	}
	return count;
}

/* Is there anything that run() could do without waiting?  io path. */
static bool has_work(const struct uring *u)
{
	if (!ti_io_list_empty(&u->finished) || io_uring_cq_ready(&u->ring) > 0 ||
	    io_uring_sq_ready(&u->ring) > 0)
		return true;
	if (!ti_io_list_empty(&u->waiting) && u->free != NULL)
		return true;
	for (unsigned dev = 0; dev < TI_DEVICES; dev++) {
		if (may_sync(u, dev))
			return true;
	}
	return false;
}

/* io path */
static unsigned uring_run(struct ti_queue *queue)
{
	struct uring *u = uring(queue);
	unsigned count = 0;

	assert(!u->running);
	u->running = true;
	while (has_work(u)) {
		bool stalled;

		mute(u);
		start_waiting(u);
		stalled = !enter(u);
		for (unsigned dev = 0; dev < TI_DEVICES; dev++) {
			if (may_sync(u, dev) && ti_flush_gauge_inline(&u->gauge[dev]))
				flush_now(u, (enum ti_device)dev);
		}
		reap(u);
		count += call_done(u);
		/* What slipped in before the eventfd rang again is work for another round. */
		if (u->in_flight > 0 && (stalled || !has_work(u)))
			unmute(u);
		if (stalled && io_uring_cq_ready(&u->ring) == 0) {
			/* No completion may ever announce what the kernel could not take. */
			atomic_store(&u->stalled, true);
			ti_waiter_wake(&u->waiter);
			break;
		}
	}
	u->running = false;
	return count;
}

static void uring_wait(struct ti_queue *queue, uint64_t deadline_ns)
{
	const struct timespec pause = { .tv_nsec = STALL_NS };
	struct uring *u = uring(queue);

	if (atomic_exchange(&u->stalled, false))
		(void)nanosleep(&pause, NULL);
	else
		ti_waiter_wait(&u->waiter, deadline_ns);
}

static void uring_wake(struct ti_queue *queue)
{
	ti_waiter_wake(&uring(queue)->waiter);
}

static void uring_close(struct ti_queue *queue)
{
	struct uring *u = uring(queue);

	assert(u->in_flight == 0 && !has_work(u));
	/*
	 * A ring that is closed is taken apart later, by a kernel worker; unregistering waits.  So
	 * the locks and the O_EXCL are gone when we return, and the pair can be opened again.
	 */
	(void)io_uring_unregister_files(&u->ring);
	io_uring_queue_exit(&u->ring);
	ti_waiter_destroy(&u->waiter);
	for (unsigned dev = 0; dev < TI_DEVICES; dev++)
		ti_host_device_close(&u->host.dev[dev]);
	ti_memory_put(u, u->bytes);
}

const struct ti_queue_ops ti_uring_ops = {
	.name = "io_uring",
	.submit = uring_submit,
	.run = uring_run,
	.wait = uring_wait,
	.wake = uring_wake,
	.close = uring_close,
};

/* Does the kernel know all that we ask of a ring? */
static bool has_ops(struct io_uring *ring)
{
	static const int needed[] = { IORING_OP_READ,	IORING_OP_READV, IORING_OP_WRITE,
				      IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE };
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	bool all = probe != NULL;

	for (size_t i = 0; all && i < sizeof(needed) / sizeof(needed[0]); i++)
		all = io_uring_opcode_supported(probe, needed[i]);
	io_uring_free_probe(probe);
	return all;
}

/* A seccomp filter may allow a ring to be set up and refuse its use: try. */
static int try_nop(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int err;

	io_uring_prep_nop(io_uring_get_sqe(ring));
	err = io_uring_submit(ring);
	if (err < 0)
		return err;
	err = io_uring_wait_cqe(ring, &cqe);
	if (err < 0)
		return err;
	err = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return err < 0 ? err : 0;
}

/* Everything that the ring needs beyond being set up. */
static int prepare_ring(struct uring *u, const char **refused)
{
	unsigned workers[2] = { WORKERS, 0 };
	int fds[TI_DEVICES];
	int err;

	*refused = "an operation that is needed";
	if (!has_ops(&u->ring))
		return -EOPNOTSUPP;
	*refused = "io_uring_enter";
	err = try_nop(&u->ring);
	if (err)
		return err;
	*refused = "registering the devices";
	for (unsigned dev = 0; dev < TI_DEVICES; dev++)
		fds[dev] = u->host.dev[dev].fd;
	err = io_uring_register_files(&u->ring, fds, TI_DEVICES);
	if (err)
		return err;
	*refused = "switching notifications";
	err = io_uring_cq_eventfd_toggle(&u->ring, false);
	if (err)
		return err;
	*refused = "registering an eventfd";
	err = io_uring_register_eventfd(&u->ring, u->waiter.event_fd);
	if (err)
		return err;
	/* Kernels before 5.15 cannot be told; they have fewer workers then. */
	(void)io_uring_register_iowq_max_workers(&u->ring, workers);
	return 0;
}

static void init_lists(struct uring *u)
{
	ti_io_list_init(&u->waiting);
	ti_io_list_init(&u->finished);
	for (unsigned dev = 0; dev < TI_DEVICES; dev++) {
		ti_io_list_init(&u->unsynced[dev]);
		ti_io_list_init(&u->syncing[dev]);
		u->sync[dev].dev = (enum ti_device)dev;
		ti_flush_gauge_init(&u->gauge[dev], u->host.queue.dev[dev].has_volatile_cache,
				    &ti_clock_monotonic);
	}
	for (unsigned i = 0; i < u->depth; i++) {
		u->flights[i].next_free = u->free;
		u->free = &u->flights[i];
	}
}

int ti_uring_open(const struct ti_host_device dev[TI_DEVICES], unsigned depth,
		  struct ti_queue **queue, const char **refused)
{
	size_t bytes = sizeof(struct uring) + depth * sizeof(struct flight);
	bool locked = true;
	struct uring *u = ti_memory_get(bytes, &locked);
	int err;

	*refused = "memory";
	if (!u)
		return -ENOMEM;
	u->bytes = bytes;
	u->depth = depth;
	atomic_init(&u->stalled, false);
	ti_host_queue_init(&u->host, &ti_uring_ops, dev);
	u->host.queue.unlocked_memory = !locked;
	init_lists(u);

	*refused = "an eventfd";
	err = ti_waiter_init(&u->waiter);
	if (err)
		goto put_memory;
	*refused = "io_uring_setup";
	err = io_uring_queue_init(depth + TI_DEVICES, &u->ring, 0);
	if (err)
		goto destroy_waiter;
	err = prepare_ring(u, refused);
	if (err)
		goto exit_ring;
	*queue = &u->host.queue;
	return 0;

exit_ring:
	(void)io_uring_unregister_files(&u->ring);
	io_uring_queue_exit(&u->ring);
destroy_waiter:
	ti_waiter_destroy(&u->waiter);
put_memory:
	ti_memory_put(u, bytes);
	return err;
}
