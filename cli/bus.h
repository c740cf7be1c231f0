/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Asking the handler inside tcmu-runner, over the system bus.  The interface is described in
 * handler/dbus/org.tcmu_integrity1.xml.
 */
#ifndef CLI_BUS_H
#define CLI_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include <gio/gio.h>

#include "error.h"

/** A LUN as it was when it was asked for. */
struct bus_lun {
	char *path;	  /* of its object */
	const char *name; /* of the backstore; in values */
	GVariant *values; /* its properties, a{sv} */
};

/**
 * Connect to the system bus, by a connection that nobody shares: one that was lost can be made
 * again.  *@bus is replaced.  Returns 0 or negative errno with a sentence.
 */
int bus_connect(GDBusConnection **bus, struct ti_error *error);

/** All LUNs, by name.  *@luns holds struct bus_lun and is freed with g_ptr_array_unref(). */
int bus_luns(GDBusConnection *bus, GPtrArray **luns, struct ti_error *error);

/** The one of this name, full or not, among them; or NULL with a sentence that names those there
 *  are.  A name that two have is nobody's: they have full ones, user_N/NAME. */
const struct bus_lun *bus_find(GPtrArray *luns, const char *name, struct ti_error *error);

/** Call a method of the LUN's without results; @parameters may be floating or NULL. */
int bus_call(GDBusConnection *bus, const struct bus_lun *lun, const char *method,
	     GVariant *parameters, struct ti_error *error);

/** One of its properties: "" or 0 if the service does not have it. */
const char *bus_text(const struct bus_lun *lun, const char *property);
uint64_t bus_number(const struct bus_lun *lun, const char *property);
bool bus_flag(const struct bus_lun *lun, const char *property);
/** One of the property Counters. */
uint64_t bus_counter(const struct bus_lun *lun, const char *counter);

/** How long flushes took: one of the properties FlushLatency... */
struct bus_latency {
	uint64_t count, total_ns, max_ns;
	struct {
		uint64_t bound_ns, count; /* UINT64_MAX: no bound; not cumulative */
	} bucket[32];
	size_t buckets;
};

struct bus_latency bus_latency(const struct bus_lun *lun, const char *property);

/** Does somebody have to look after it: bad blocks, device errors, a failed flush or start? */
bool bus_needs_attention(const struct bus_lun *lun);

#endif
