/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See lun_work.h. */
#include "lun_work.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "clock.h"
#include "geometry.h"
#include "print.h"
#include "progress_bar.h"

#define LOOK_AGAIN_NS 200000000L

/* How long what hinders a look may last.  A handler whose bus was away looks for it at least every
 * minute; a LUN's start may replay a large journal on slow devices. */
#define AWAY_SECONDS  120
#define START_SECONDS 600
#define GONE_SECONDS  5

const struct bus_lun *lun_look(GDBusConnection *bus, const char *name, GPtrArray **luns,
			       struct ti_error *error)
{
	g_clear_pointer(luns, g_ptr_array_unref);
	return bus_luns(bus, luns, error) ? NULL : bus_find(*luns, name, error);
}

/* ---- waiting ---- */

struct wait {
	const struct lun_work *work;
	const char *name;
	struct progress_bar bar;
	struct ti_progress progress;
	bool interrupted;   /* a new tcmu-runner may still have to take the work up */
	const char *reason; /* why the work cannot be seen now; NULL: it can */
	uint64_t since_ns;
};

static bool is_starting(const struct bus_lun *lun)
{
	return !strcmp(bus_text(lun, "State"), "starting");
}

/* What is to be waited for before the work can be seen, and for how many seconds at most. */
static const char *obstacle(const struct wait *w, const struct bus_lun *lun,
			    const struct ti_error *error, unsigned *seconds)
{
	*seconds = AWAY_SECONDS;
	if (lun && is_starting(lun)) {
		*seconds = START_SECONDS;
		return "the start of the LUN";
	}
	if (lun)
		return w->interrupted && w->work->unknown && w->work->unknown(lun)
			       ? "tcmu-runner to go on with it"
			       : NULL;
	if (error->err == -ENOTCONN || error->err == -EAGAIN)
		return "tcmu-runner";
	/* It was deleted, or a new tcmu-runner has not come to it yet. */
	*seconds = error->err == -ENOENT ? GONE_SECONDS : 0;
	return "the LUN";
}

/* True: the work cannot be seen, look again.  @error: why there is no @lun, or set when it has
 * lasted too long. */
static bool is_hindered(struct wait *w, const struct bus_lun *lun, struct ti_error *error)
{
	uint64_t now = ti_clock_now(&ti_clock_monotonic);
	unsigned seconds;
	const char *reason = obstacle(w, lun, error, &seconds);
	bool again = reason && w->reason && !strcmp(reason, w->reason);

	w->reason = reason;
	w->interrupted = reason != NULL;
	if (!reason)
		return false;
	if (!again)
		w->since_ns = now;
	if (now - w->since_ns >= seconds * TI_NS_PER_SEC) {
		ti_error_set(error, -ETIMEDOUT,
			     "%s: waiting for %s has lasted %u s: tcmu-runner's log may say why",
			     w->name, reason, seconds);
		return false;
	}
	if (!again) {
		progress_bar_end(&w->bar);
		cli_complain("%s: waiting for %s, %u s at most%s%s", w->name, reason, seconds,
			     lun ? "" : ": ", lun ? "" : error->text);
	}
	return true;
}

/* True: it runs, and nobody wants to stop looking at it. */
static bool goes_on(struct wait *w, const struct bus_lun *lun)
{
	uint64_t end = bus_number(lun, w->work->end);

	return w->work->runs(lun) &&
	       !w->progress.step(w->progress.ctx, bus_number(lun, w->work->done) * TI_SECTOR_BYTES,
				 (end ? end : 1) * TI_SECTOR_BYTES);
}

static const struct bus_lun *look_again(struct wait *w, GDBusConnection **bus, GPtrArray **luns,
					struct ti_error *error)
{
	const struct timespec pause = { .tv_nsec = LOOK_AGAIN_NS };

	nanosleep(&pause, NULL);
	*error = (struct ti_error){ 0 };
	if ((!*bus || g_dbus_connection_is_closed(*bus)) && bus_connect(bus, error))
		return NULL;
	return lun_look(*bus, w->name, luns, error);
}

const struct bus_lun *lun_wait(GDBusConnection **bus, const struct lun_work *work, bool quiet,
			       const char *name, const struct bus_lun *lun, GPtrArray **luns,
			       struct ti_error *error)
{
	struct wait w = { .work = work, .name = name };

	w.progress = progress_bar_begin(&w.bar, work->title, !quiet);
	for (;;) {
		if (is_hindered(&w, lun, error)) {
			if (cli_stop_wanted()) {
				*error = (struct ti_error){ 0 };
				ti_error_set(error, -ECANCELED, "%s: stopped while waiting for %s",
					     name, w.reason);
				break;
			}
		} else if (error->err || !goes_on(&w, lun)) {
			break;
		}
		lun = look_again(&w, bus, luns, error);
	}
	progress_bar_end(&w.bar);
	if (lun && !strcmp(bus_text(lun, "State"), "failed"))
		ti_error_set(error, -EREMOTEIO,
			     "%s: the LUN could not be started, tcmu-runner's log says why", name);
	return error->err ? NULL : lun;
}

int lun_work_failed(bool json, const struct ti_error *error)
{
	cli_complain_error(error);
	printer_for(json)->failure(error);
	if (error->err == -ECANCELED && cli_stop_wanted())
		return CLI_STOPPED;
	return error->err == -EIO ? CLI_IO : CLI_REFUSED;
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
