/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What happens to a LUN that somebody outside wants to know at once.
 *
 * The log has a line for the same events, for people; this is for programs.
 */
#ifndef TI_EVENT_H
#define TI_EVENT_H

#include <stdint.h>

#include "blockdev.h"

enum ti_event_type {
	TI_EVENT_MISMATCH,	/* sector, sectors, source */
	TI_EVENT_SCRUB_ENDED,	/* see struct ti_scrub_report */
	TI_EVENT_DEVICE_FAILED, /* a flush of dev has failed with error */
};

/** Who noticed. */
enum ti_event_source {
	TI_SOURCE_READ,
	TI_SOURCE_SCRUB,
	TI_SOURCE_RECALCULATION,
};

struct ti_event {
	enum ti_event_type type;
	enum ti_event_source source;
	enum ti_device dev;
	int error; /* negative errno */
	uint64_t sector, sectors;
};

struct ti_event_sink {
	/* Called from inside the engine, by whoever is there: copy it and return.  Must not call
	 * back, nor block, nor allocate.  NULL: nobody listens.  io path. */
	void (*event)(void *ctx, const struct ti_event *event);
	void *ctx;
};

#endif
