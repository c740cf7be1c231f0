/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See blockdev_waiter.h. */
#include "blockdev_waiter.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "clock.h"

enum state {
	AWAKE,
	ASLEEP,
	WOKEN,
};

int ti_waiter_init(struct ti_waiter *waiter)
{
	atomic_init(&waiter->state, AWAKE);
	waiter->event_fd = eventfd(0, EFD_CLOEXEC);
	return waiter->event_fd < 0 ? -errno : 0;
}

void ti_waiter_destroy(struct ti_waiter *waiter)
{
	if (waiter->event_fd >= 0)
		(void)close(waiter->event_fd);
	waiter->event_fd = -1;
}

/* Is something in the eventfd before the deadline?  A signal counts as the deadline. */
static bool rings_before(int event_fd, uint64_t deadline_ns)
{
	uint64_t now = ti_clock_now(&ti_clock_monotonic);
	uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
	struct timespec timeout = {
		.tv_sec = (time_t)(left / TI_NS_PER_SEC),
		.tv_nsec = (long)(left % TI_NS_PER_SEC),
	};
	struct pollfd fd = { .fd = event_fd, .events = POLLIN };

	return ppoll(&fd, 1, &timeout, NULL) > 0;
}

void ti_waiter_wait(struct ti_waiter *waiter, uint64_t deadline_ns)
{
	int state = AWAKE;
	uint64_t count;

	if (atomic_compare_exchange_strong(&waiter->state, &state, ASLEEP)) {
		/*
		 * We are the only reader, so a read() after ppoll() does not block.  A read() that
		 * a signal ends early is an early return.
		 */
		if (deadline_ns == TI_CLOCK_NEVER || rings_before(waiter->event_fd, deadline_ns)) {
			ssize_t n = read(waiter->event_fd, &count, sizeof(count));

			(void)n;
		}
	}
	(void)atomic_exchange(&waiter->state, AWAKE);
}

void ti_waiter_wake(struct ti_waiter *waiter)
{
	const uint64_t one = 1;

	/*
	 * syscall(), not write(): the caller may hold a lock and be a thread that tcmu-runner
	 * cancels; syscall() is no cancellation point.  Nor does this block: the count is far from
	 * the 2^64 - 2 that an eventfd holds.
	 */
	if (atomic_exchange(&waiter->state, WOKEN) == ASLEEP)
		(void)syscall(SYS_write, waiter->event_fd, &one, sizeof(one));
}
