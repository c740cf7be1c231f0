/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The way of events out of the engine: a ring of bounded size, and an eventfd that says "look".
 *
 * The engine puts in from the I/O path: nothing is allocated, and the lock is held for a copy of
 * some bytes on both sides.  When the ring is full the newest are lost and counted.  Mismatches, of
 * which there may be any number, leave some places to the others, of which there are few.  The main
 * thread takes out.
 */
#ifndef TI_EVENTS_H
#define TI_EVENTS_H

#include <pthread.h>

#include "event.h"

#define TI_EVENTS 64U
/** As many of them may be mismatches. */
#define TI_EVENTS_MISMATCHES 56U

struct ti_events {
	pthread_mutex_t lock; /* the innermost: nothing is called while it is held */
	struct ti_event ring[TI_EVENTS];
	unsigned first, count;
	uint64_t lost;
	int fd; /* -1: nobody looks */
};

/** Returns 0 or negative errno. */
int ti_events_init(struct ti_events *events);
void ti_events_destroy(struct ti_events *events);

/** From now on @fd is written to when there is something to look at; -1: no more.  Any thread. */
void ti_events_watch(struct ti_events *events, int fd);

/** For struct ti_event_sink; @events is a struct ti_events.  Any thread.  io path. */
void ti_events_put(void *events, const struct ti_event *event);

/** Somebody may want to look at other things than the ring.  Any thread.  io path. */
void ti_events_poke(struct ti_events *events);

/** Take out up to TI_EVENTS, oldest first; *@lost: how many there was no room for since the last
 *  time.  Returns how many. */
unsigned ti_events_take(struct ti_events *events, struct ti_event *out, uint64_t *lost);

#endif
