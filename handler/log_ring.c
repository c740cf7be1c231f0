// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/* See log_ring.h. */
#include "log_ring.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "libtcmu.h"

#include "clock.h"
#include "io_thread.h"
#include "memory.h"
#include "say.h"

/* Whoever closes a disk waits so long for a log that hangs. */
#define CLOSE_PATIENCE_S 2

/* The runner stamps a line when it is written.  One that is later than this says its own time. */
#define LATE_NS (1000U * TI_NS_PER_MS)

struct entry {
	uint64_t left_out; /* lines just before it that there was no room for */
	uint64_t said_ns;
	struct timespec said_at;
	enum ti_log_level level;
	char text[TI_LOG_LINE];
};

struct ti_log_ring {
	struct ti_voice voice;
	pthread_t thread;

	pthread_mutex_t lock; /* the innermost: nothing is called while it is held */
	pthread_cond_t changed;
	struct entry line[TI_LOG_RING_LINES];
	unsigned first, count;
	uint64_t left_out; /* since the newest line in the ring */
	bool closing;	   /* write what is left and end */
	bool ended;	   /* the thread touches nothing any more */
	bool forsaken;	   /* nobody waits for the thread: it frees the ring */
};

/* ---- in ---- */

void ti_log_ring_line(void *ctx, enum ti_log_level level, const char *text)
{
	struct ti_log_ring *ring = ctx;
	uint64_t now = ti_clock_now(&ti_clock_monotonic);
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	pthread_mutex_lock(&ring->lock);
	if (ring->count == TI_LOG_RING_LINES) {
		ring->left_out++;
	} else {
		struct entry *e = &ring->line[(ring->first + ring->count++) % TI_LOG_RING_LINES];

		e->left_out = ring->left_out;
		e->said_ns = now;
		e->said_at = at;
		e->level = level;
		snprintf(e->text, sizeof(e->text), "%s", text);
		ring->left_out = 0;
	}
	pthread_cond_broadcast(&ring->changed);
	pthread_mutex_unlock(&ring->lock);
}

void ti_log_ring_say(struct ti_log_ring *ring, enum ti_log_level level, const char *fmt, ...)
{
	char text[TI_LOG_LINE];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ti_log_ring_line(ring, level, text);
}

/* ---- out ---- */

static void write_left_out(const struct ti_log_ring *ring, uint64_t count)
{
	char text[80];

	snprintf(text, sizeof(text),
		 "lines are missing here, the log did not take them count=%" PRIu64, count);
	ti_say_line(&ring->voice, TI_LOG_WARN, text);
}

static void write_line(const struct ti_log_ring *ring, const struct entry *e)
{
	char text[TI_LOG_LINE + 48];
	size_t len = (size_t)snprintf(text, sizeof(text), "%s", e->text);
	struct tm tm;

	if (e->left_out)
		write_left_out(ring, e->left_out);
	if (ti_clock_now(&ti_clock_monotonic) - e->said_ns > LATE_NS &&
	    localtime_r(&e->said_at.tv_sec, &tm)) {
		len += strftime(text + len, sizeof(text) - len, " said_at=\"%F %T", &tm);
		snprintf(text + len, sizeof(text) - len, ".%03ld\"", e->said_at.tv_nsec / 1000000L);
	}
	ti_say_line(&ring->voice, e->level, text);
}

/* Wait for a line and take it out, or how many were left out at the end; false: it is over.  Under
 * the lock. */
static bool take(struct ti_log_ring *ring, struct entry *e, bool *is_line)
{
	while (ring->count == 0 && ring->left_out == 0 && !ring->closing)
		pthread_cond_wait(&ring->changed, &ring->lock);
	*is_line = ring->count > 0;
	if (*is_line) {
		*e = ring->line[ring->first];
		ring->first = (ring->first + 1) % TI_LOG_RING_LINES;
		ring->count--;
		return true;
	}
	e->left_out = ring->left_out;
	ring->left_out = 0;
	return e->left_out > 0;
}

static void destroy(struct ti_log_ring *ring)
{
	pthread_cond_destroy(&ring->changed);
	pthread_mutex_destroy(&ring->lock);
	ti_memory_put(ring, sizeof(*ring));
}

static void *write_lines(void *arg)
{
	struct ti_log_ring *ring = arg;
	struct entry e;
	bool is_line, forsaken;

	pthread_mutex_lock(&ring->lock);
	while (take(ring, &e, &is_line)) {
		pthread_mutex_unlock(&ring->lock);
		if (is_line)
			write_line(ring, &e);
		else
			write_left_out(ring, e.left_out);
		pthread_mutex_lock(&ring->lock);
	}
	ring->ended = true;
	forsaken = ring->forsaken;
	pthread_cond_broadcast(&ring->changed);
	pthread_mutex_unlock(&ring->lock);
	if (forsaken)
		destroy(ring);
	return NULL;
}

/* ---- making and unmaking ---- */

static int start(struct ti_log_ring *ring, struct tcmu_device *dev)
{
	char name[16];
	int err = ti_io_thread_start(&ring->thread, write_lines, ring);

	if (err)
		return err;
	snprintf(name, sizeof(name), "ti-log-%.8s", tcmu_dev_get_uio_name(dev));
	pthread_setname_np(ring->thread, name);
	return 0;
}

int ti_log_ring_open(struct tcmu_device *dev, bool *locked, struct ti_log_ring **out)
{
	struct ti_log_ring *ring = ti_memory_get(sizeof(*ring), locked);
	pthread_condattr_t attr;
	int err;

	if (!ring)
		return -ENOMEM;
	tzset(); /* reads files */
	ring->voice = ti_say_voice(dev);
	pthread_mutex_init(&ring->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ring->changed, &attr);
	pthread_condattr_destroy(&attr);
	err = start(ring, dev);
	if (err) {
		destroy(ring);
		return err;
	}
	*out = ring;
	return 0;
}

void ti_log_ring_close(struct ti_log_ring *ring)
{
	struct timespec until;
	bool ended;

	if (!ring)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += CLOSE_PATIENCE_S;
	pthread_mutex_lock(&ring->lock);
	ring->closing = true;
	pthread_cond_broadcast(&ring->changed);
	while (!ring->ended && pthread_cond_timedwait(&ring->changed, &ring->lock, &until) == 0)
		;
	ended = ring->ended;
	ring->forsaken = !ended;
	if (!ended)
		pthread_detach(ring->thread);
	pthread_mutex_unlock(&ring->lock);
	if (!ended)
		return;
	pthread_join(ring->thread, NULL);
	destroy(ring);
}
