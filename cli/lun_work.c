/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See lun_work.h. */
#include "lun_work.h"

#include <time.h>

#include "geometry.h"
#include "progress_bar.h"

#define LOOK_AGAIN_NS 200000000L

const struct bus_lun *lun_look(GDBusConnection *bus, const char *name, GPtrArray **luns,
			       struct ti_error *error)
{
	g_clear_pointer(luns, g_ptr_array_unref);
	return bus_luns(bus, luns, error) ? NULL : bus_find(*luns, name, error);
}

const struct bus_lun *lun_wait(GDBusConnection *bus, const struct lun_work *work, bool quiet,
			       const char *name, const struct bus_lun *lun, GPtrArray **luns,
			       struct ti_error *error)
{
	const struct timespec pause = { .tv_nsec = LOOK_AGAIN_NS };
	struct progress_bar bar;
	struct ti_progress progress = progress_bar_begin(&bar, work->title, !quiet);

	while (lun && work->runs(lun)) {
		uint64_t end = bus_number(lun, work->end);

		if (progress.step(progress.ctx, bus_number(lun, work->done) * TI_SECTOR_BYTES,
				  (end ? end : 1) * TI_SECTOR_BYTES))
			break;
		nanosleep(&pause, NULL);
		lun = lun_look(bus, name, luns, error);
	}
	progress_bar_end(&bar);
	return lun;
}

GVariant *lun_work_options(uint64_t rate, bool restart)
{
	GVariantBuilder values;

	g_variant_builder_init(&values, G_VARIANT_TYPE_VARDICT);
	if (rate)
		g_variant_builder_add(&values, "{sv}", "rate", g_variant_new_uint64(rate));
	if (restart)
		g_variant_builder_add(&values, "{sv}", "restart", g_variant_new_boolean(TRUE));
	return g_variant_new("(a{sv})", &values);
}
