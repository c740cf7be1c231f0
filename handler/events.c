// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/* See events.h. */
#include "events.h"

#include <unistd.h>

int ti_events_init(struct ti_events *e)
{
	*e = (struct ti_events){ .fd = -1 };
	return -pthread_mutex_init(&e->lock, NULL);
}

void ti_events_destroy(struct ti_events *e)
{
	pthread_mutex_destroy(&e->lock);
}

void ti_events_watch(struct ti_events *e, int fd)
{
	pthread_mutex_lock(&e->lock);
	e->fd = fd;
	pthread_mutex_unlock(&e->lock);
}

/* It does not block: the eventfd is so, and a full one is as good as a write.  Under the lock, so
 * that nobody writes to a descriptor that is no longer ours. */
static void wake(const struct ti_events *e)
{
	const uint64_t one = 1;

	if (e->fd >= 0 && write(e->fd, &one, sizeof(one)) < 0)
		return;
}

void ti_events_poke(struct ti_events *e)
{
	pthread_mutex_lock(&e->lock);
	wake(e);
	pthread_mutex_unlock(&e->lock);
}

void ti_events_put(void *events, const struct ti_event *event)
{
	struct ti_events *e = events;
	unsigned room = event->type == TI_EVENT_MISMATCH ? TI_EVENTS_MISMATCHES : TI_EVENTS;

	pthread_mutex_lock(&e->lock);
	if (e->count >= room)
		e->lost++;
	else
		e->ring[(e->first + e->count++) % TI_EVENTS] = *event;
	wake(e);
	pthread_mutex_unlock(&e->lock);
}

unsigned ti_events_take(struct ti_events *e, struct ti_event *out, uint64_t *lost)
{
	unsigned count;

	pthread_mutex_lock(&e->lock);
	count = e->count;
	for (unsigned i = 0; i < count; i++)
		out[i] = e->ring[(e->first + i) % TI_EVENTS];
	e->first = (e->first + count) % TI_EVENTS;
	e->count = 0;
	*lost = e->lost;
	e->lost = 0;
	pthread_mutex_unlock(&e->lock);
	return count;
}
