// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * See service.h.  The bus name, an object for each LUN, and the eventfd through which the I/O path
 * wakes the main thread.
 */
#include "service.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <glib-unix.h>
#include <sys/eventfd.h>

#include "say.h"
#include "service_lun.h"

/* How often a scrub that runs is written down, or what of its bad places has been mended. */
#define KEEP_SECONDS 5

/* A bus that is not there is looked for again, at first soon. */
#define RETRY_SECONDS_FIRST 1
#define RETRY_SECONDS_MOST  60

struct service {
	int fd;				   /* eventfd */
	GDBusConnection *bus;		   /* NULL: not connected */
	GDBusObjectManagerServer *manager; /* goes with it */
	guint owning;			   /* the name, or the wish for it */
	guint retry_seconds;
	bool told;     /* that the name cannot be had */
	guint keeping; /* the timer's source; 0: nothing is to be written down */

	bool draining; /* until all signals so far have gone out */

	GMutex lock;
	GPtrArray *luns; /* open ones; a reference each.  Under the lock. */
	GPtrArray *gone; /* closed ones that are still on the bus.  Likewise. */
};

/* The one there is: the runner gives its callouts nothing to tell services apart by. */
static struct service *the_service;

/* All open LUNs, each with a reference. */
static GPtrArray *all_luns(struct service *s)
{
	GPtrArray *luns = g_ptr_array_new_with_free_func((GDestroyNotify)ti_service_lun_unref);

	g_mutex_lock(&s->lock);
	for (guint i = 0; i < s->luns->len; i++)
		g_ptr_array_add(luns, ti_service_lun_ref(g_ptr_array_index(s->luns, i)));
	g_mutex_unlock(&s->lock);
	return luns;
}

/* ---- objects ---- */

static void export(struct service *s, struct ti_service_lun *lun)
{
	g_autofree char *path = NULL;

	if (!s->manager || lun->object)
		return;
	path = ti_service_lun_path(lun);
	lun->object = g_dbus_object_skeleton_new(path);
	lun->skeleton = ti_lun_object_new(lun);
	g_dbus_object_skeleton_add_interface(lun->object, lun->skeleton);
	g_dbus_object_manager_server_export_uniquely(s->manager, lun->object);
}

static void unexport(struct service *s, struct ti_service_lun *lun)
{
	if (!lun->object)
		return;
	g_dbus_object_manager_server_unexport(
		s->manager, g_dbus_object_get_object_path(G_DBUS_OBJECT(lun->object)));
	g_clear_object(&lun->object);
	g_clear_object(&lun->skeleton);
}

/* A LUN has come, or is gone: give to each the name, and the object, that it should have now.
 * Which of two came first makes no difference. */
static void name_all(struct service *s)
{
	g_autoptr(GPtrArray) luns = all_luns(s);

	for (guint i = 0; i < luns->len; i++) {
		struct ti_service_lun *lun = g_ptr_array_index(luns, i);
		const char *name = ti_service_lun_called(lun, luns);

		if (name == lun->name)
			continue;
		unexport(s, lun);
		lun->name = name;
	}
	for (guint i = 0; i < luns->len; i++)
		export(s, g_ptr_array_index(luns, i));
}

static void forget_gone(struct service *s)
{
	GPtrArray *gone;
	guint count;

	g_mutex_lock(&s->lock);
	gone = s->gone;
	s->gone = g_ptr_array_new_with_free_func((GDestroyNotify)ti_service_lun_unref);
	g_mutex_unlock(&s->lock);
	for (guint i = 0; i < gone->len; i++) {
		struct ti_service_lun *lun = g_ptr_array_index(gone, i);

		ti_lun_object_flushed(lun, NULL);
		ti_lun_object_recalculating(lun, -ENODEV);
		unexport(s, lun);
	}
	count = gone->len;
	g_ptr_array_unref(gone);
	if (count)
		name_all(s);
}

/* ---- what the I/O path tells ---- */

static void drain_signals(struct service *s);

static gboolean keep(gpointer data)
{
	struct service *s = data;
	g_autoptr(GPtrArray) luns = all_luns(s);
	bool any = false;

	for (guint i = 0; i < luns->len; i++) {
		struct ti_service_lun *lun = g_ptr_array_index(luns, i);

		any |= ti_scrub_keeper_keep(lun);
	}
	if (any)
		return G_SOURCE_CONTINUE;
	s->keeping = 0;
	return G_SOURCE_REMOVE;
}

static void tell_left_out(struct ti_service_lun *lun, uint64_t count)
{
	struct ti_disk *disk = count ? ti_service_lun_borrow(lun) : NULL;

	if (!disk)
		return;
	ti_log_ring_say(disk->lines, TI_LOG_WARN,
			"mismatches were not signalled on D-Bus, dbus-daemon did not take them "
			"count=%" PRIu64,
			count);
	ti_service_lun_give_back(lun);
}

static void signals_are_out(GObject *source, GAsyncResult *result, gpointer data)
{
	struct service *s = data;
	g_autoptr(GPtrArray) luns = all_luns(s);

	/* Its failure is that of the connection, which tells by itself. */
	g_dbus_connection_flush_finish(G_DBUS_CONNECTION(source), result, NULL);
	/* The answer of a connection that is gone says nothing of this one's queue. */
	if (G_DBUS_CONNECTION(source) != s->bus)
		return;
	s->draining = false;
	for (guint i = 0; i < luns->len; i++) {
		struct ti_service_lun *lun = g_ptr_array_index(luns, i);

		tell_left_out(lun, ti_signals_are_out(&lun->signals));
	}
	drain_signals(s);
}

static void drain_signals(struct service *s)
{
	g_autoptr(GPtrArray) luns = all_luns(s);
	bool any = false;

	if (!s->bus || s->draining)
		return;
	for (guint i = 0; i < luns->len; i++) {
		struct ti_service_lun *lun = g_ptr_array_index(luns, i);

		any |= lun->signals.waiting > 0;
		ti_signals_ask(&lun->signals);
	}
	if (!any)
		return;
	s->draining = true;
	g_dbus_connection_flush(s->bus, NULL, signals_are_out, s);
}

static void take_events(struct ti_service_lun *lun)
{
	struct ti_event event[TI_EVENTS];
	struct ti_disk *disk = ti_service_lun_borrow(lun);
	struct ti_result result;
	bool flushed, granted, ended = false;
	int err = 0;
	uint64_t lost;
	unsigned count;

	if (!disk)
		return;
	count = ti_events_take(&disk->events, event, &lost);
	if (lost)
		ti_log_ring_say(
			disk->lines, TI_LOG_WARN,
			"mismatches were not signalled on D-Bus, too many at once count=%" PRIu64,
			lost);
	for (unsigned i = 0; i < count; i++) {
		if (event[i].type == TI_EVENT_SCRUB_ENDED) {
			lun->ended = (uint64_t)(g_get_real_time() / G_USEC_PER_SEC);
			ended = true;
		}
		if (lun->skeleton &&
		    (event[i].type != TI_EVENT_MISMATCH || ti_signal_may_go(&lun->signals)))
			ti_lun_object_signal(lun, disk, &event[i]);
	}
	flushed = ti_disk_flush_ended(disk, &result);
	granted = ti_disk_recalculate_answered(disk, &err);
	ti_service_lun_give_back(lun);
	if (flushed)
		ti_lun_object_flushed(lun, &result);
	if (granted)
		ti_lun_object_recalculating(lun, err);
	if (granted && !err) {
		lun->recalculating = true;
		ti_scrub_keeper_save(lun);
	}
	ti_scrub_keeper_restore(lun);
	if (ended)
		ti_scrub_keeper_save(lun);
}

static gboolean woken(gint fd, GIOCondition condition, gpointer data)
{
	struct service *s = data;
	g_autoptr(GPtrArray) luns = NULL;
	uint64_t times;

	(void)condition;
	if (read(fd, &times, sizeof(times)) < 0)
		return G_SOURCE_CONTINUE;
	forget_gone(s);
	luns = all_luns(s);
	for (guint i = 0; i < luns->len; i++)
		take_events(g_ptr_array_index(luns, i));
	drain_signals(s);
	if (s->keeping == 0)
		s->keeping = g_timeout_add_seconds(KEEP_SECONDS, keep, s);
	return G_SOURCE_CONTINUE;
}

/* ---- the bus ---- */

static gboolean connect_bus(gpointer data);

static void no_name(struct service *s, const char *why)
{
	/* Once for each time that it is lost. */
	if (s->told)
		return;
	s->told = true;
	ti_say(NULL, TI_LOG_WARN,
	       "the bus name " TI_SERVICE_NAME " cannot be had (%s): LUNs are served, but "
	       "'tcmu-integrity status', scrub and metrics do not reach them",
	       why);
}

static void look_again(struct service *s)
{
	g_timeout_add_seconds(s->retry_seconds, connect_bus, s);
	s->retry_seconds = MIN(s->retry_seconds * 2, RETRY_SECONDS_MOST);
}

static void name_acquired(GDBusConnection *bus, const gchar *name, gpointer data)
{
	struct service *s = data;

	(void)bus;
	(void)name;
	if (s->told)
		ti_say(NULL, TI_LOG_INFO, "the bus name " TI_SERVICE_NAME " is ours");
	s->told = false;
	s->retry_seconds = RETRY_SECONDS_FIRST;
}

static void name_lost(GDBusConnection *bus, const gchar *name, gpointer data)
{
	(void)name;
	/* GLib asks for it again when its owner goes, and says so too when the connection is gone:
	 * then bus_closed() has the word. */
	if (bus && !g_dbus_connection_is_closed(bus))
		no_name(data, "refused, or somebody has it");
}

/* dbus-daemon has ended.  What was on the bus is made anew on the next connection. */
static void bus_closed(GDBusConnection *bus, gboolean remote, GError *error, gpointer data)
{
	struct service *s = data;
	g_autoptr(GPtrArray) luns = all_luns(s);

	(void)remote;
	(void)error;
	g_signal_handlers_disconnect_by_data(bus, s);
	g_bus_unown_name(s->owning);
	g_dbus_object_manager_server_set_connection(s->manager, NULL);
	forget_gone(s);
	for (guint i = 0; i < luns->len; i++) {
		struct ti_service_lun *lun = g_ptr_array_index(luns, i);

		unexport(s, lun);
		ti_signals_gone(&lun->signals);
	}
	s->draining = false;
	g_clear_object(&s->manager);
	g_clear_object(&s->bus);
	no_name(s, "the connection to the system bus was lost");
	look_again(s);
}

static void connected(GObject *source, GAsyncResult *result, gpointer data)
{
	struct service *s = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) luns = NULL;

	(void)source;
	s->bus = g_dbus_connection_new_for_address_finish(result, &error);
	if (!s->bus) {
		no_name(s, error->message);
		look_again(s);
		return;
	}
	g_signal_connect(s->bus, "closed", G_CALLBACK(bus_closed), s);
	if (g_dbus_connection_is_closed(s->bus)) {
		/* Before anybody listened: its signal may not come any more. */
		g_signal_handlers_disconnect_by_data(s->bus, s);
		g_clear_object(&s->bus);
		no_name(s, "the connection to the system bus was lost at once");
		look_again(s);
		return;
	}
	s->manager = g_dbus_object_manager_server_new(TI_SERVICE_PATH);
	luns = all_luns(s);
	for (guint i = 0; i < luns->len; i++)
		export(s, g_ptr_array_index(luns, i));
	g_dbus_object_manager_server_set_connection(s->manager, s->bus);
	s->owning =
		g_bus_own_name_on_connection(s->bus, TI_SERVICE_NAME, G_BUS_NAME_OWNER_FLAGS_NONE,
					     name_acquired, name_lost, s, NULL);
}

/* A bus that goes away must not take the LUNs with it, as GLib would have it. */
static void outlive_bus(GObject *source, GAsyncResult *result, gpointer data)
{
	g_autoptr(GDBusConnection) bus = g_bus_get_finish(result, NULL);

	(void)source;
	(void)data;
	if (bus)
		g_dbus_connection_set_exit_on_close(bus, FALSE);
}

/*
 * Not on the runner's own connection.  dbus-daemon lets a message pass that may go to any of the
 * names of the connection that receives it; the runner's policy lets everybody talk to its name,
 * and so everybody could talk to ours.
 */
static gboolean connect_bus(gpointer data)
{
	struct service *s = data;
	g_autoptr(GError) error = NULL;
	g_autofree char *address = g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SYSTEM, NULL, &error);

	if (address) {
		g_dbus_connection_new_for_address(
			address,
			G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
				G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
			NULL, NULL, connected, data);
	} else {
		no_name(s, error->message);
		look_again(s);
	}
	return G_SOURCE_REMOVE;
}

static gboolean begin(gpointer data)
{
	g_bus_get(G_BUS_TYPE_SYSTEM, NULL, outlive_bus, NULL);
	return connect_bus(data);
}

void ti_service_start(void)
{
	struct service *s;

	if (the_service)
		return;
	s = g_new0(struct service, 1);
	g_mutex_init(&s->lock);
	s->luns = g_ptr_array_new_with_free_func((GDestroyNotify)ti_service_lun_unref);
	s->gone = g_ptr_array_new_with_free_func((GDestroyNotify)ti_service_lun_unref);
	s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->fd < 0)
		ti_say(NULL, TI_LOG_WARN,
		       "no eventfd: there are no signals on D-Bus, and scrubs do not go on after a "
		       "restart error=%s",
		       strerror(errno));
	else
		g_unix_fd_add(s->fd, G_IO_IN, woken, s);
	s->retry_seconds = RETRY_SECONDS_FIRST;
	g_idle_add(begin, s);
	the_service = s;
}

void ti_service_add(struct ti_disk *disk)
{
	struct service *s = the_service;
	struct ti_service_lun *lun;

	if (!s)
		return;
	/* One of this name that was closed just now has its path no longer. */
	forget_gone(s);
	lun = ti_service_lun_new(disk);
	g_mutex_lock(&s->lock);
	g_ptr_array_add(s->luns, lun);
	g_mutex_unlock(&s->lock);
	name_all(s);
	ti_events_watch(&disk->events, s->fd);
	ti_events_poke(&disk->events);
}

static struct ti_service_lun *find(struct service *s, const struct ti_disk *disk)
{
	for (guint i = 0; i < s->luns->len; i++) {
		struct ti_service_lun *lun = g_ptr_array_index(s->luns, i);

		if (lun->disk == disk)
			return lun;
	}
	return NULL;
}

void ti_service_remove(struct ti_disk *disk)
{
	struct service *s = the_service;
	struct ti_service_lun *lun;

	if (!s)
		return;
	g_mutex_lock(&s->lock);
	lun = find(s, disk);
	if (lun) {
		ti_service_lun_ref(lun);
		g_ptr_array_add(s->gone, ti_service_lun_ref(lun));
		g_ptr_array_remove(s->luns, lun);
	}
	g_mutex_unlock(&s->lock);
	if (!lun)
		return;
	ti_service_lun_close(lun);
	ti_events_poke(&disk->events);
	ti_events_watch(&disk->events, -1);
	ti_service_lun_unref(lun);
}
