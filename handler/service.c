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

/* How often a scrub that runs is written down. */
#define KEEP_SECONDS 5

struct service {
	int fd; /* eventfd */
	GDBusObjectManagerServer *manager;
	guint keeping; /* the timer's source; 0: no scrub runs */

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
	g_autofree char *path = g_strdup_printf(TI_SERVICE_LUNS "/%s", lun->escaped);

	if (!s->manager || lun->object)
		return;
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

static void forget_gone(struct service *s)
{
	GPtrArray *gone;

	g_mutex_lock(&s->lock);
	gone = s->gone;
	s->gone = g_ptr_array_new_with_free_func((GDestroyNotify)ti_service_lun_unref);
	g_mutex_unlock(&s->lock);
	for (guint i = 0; i < gone->len; i++) {
		struct ti_service_lun *lun = g_ptr_array_index(gone, i);

		ti_lun_object_flushed(lun, NULL);
		unexport(s, lun);
	}
	g_ptr_array_unref(gone);
}

/* ---- what the I/O path tells ---- */

static gboolean keep(gpointer data)
{
	struct service *s = data;
	g_autoptr(GPtrArray) luns = all_luns(s);
	bool any = false;

	for (guint i = 0; i < luns->len; i++) {
		struct ti_service_lun *lun = g_ptr_array_index(luns, i);

		if (!ti_scrub_keeper_runs(lun))
			continue;
		any = true;
		ti_scrub_keeper_save(lun);
	}
	if (any)
		return G_SOURCE_CONTINUE;
	s->keeping = 0;
	return G_SOURCE_REMOVE;
}

static void take_events(struct ti_service_lun *lun)
{
	struct ti_event event[TI_EVENTS];
	struct ti_disk *disk = ti_service_lun_borrow(lun);
	struct ti_result result;
	bool flushed, ended = false;
	uint64_t lost;
	unsigned count;

	if (!disk)
		return;
	count = ti_events_take(&disk->events, event, &lost);
	if (lost)
		ti_say(disk->dev, TI_LOG_WARN, "signals on D-Bus were left out count=%" PRIu64,
		       lost);
	for (unsigned i = 0; i < count; i++) {
		if (event[i].type == TI_EVENT_SCRUB_ENDED) {
			lun->ended = (uint64_t)(g_get_real_time() / G_USEC_PER_SEC);
			ended = true;
		}
		if (lun->skeleton)
			ti_lun_object_signal(lun, disk, &event[i]);
	}
	flushed = ti_disk_flush_ended(disk, &result);
	ti_service_lun_give_back(lun);
	if (flushed)
		ti_lun_object_flushed(lun, &result);
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
	if (s->keeping == 0)
		s->keeping = g_timeout_add_seconds(KEEP_SECONDS, keep, s);
	return G_SOURCE_CONTINUE;
}

/* ---- the bus ---- */

static void no_name(const char *why)
{
	ti_say(NULL, TI_LOG_WARN,
	       "the bus name " TI_SERVICE_NAME " cannot be had (%s): LUNs are served, but "
	       "'tcmu-integrity status', scrub and metrics do not reach them",
	       why);
}

static void name_lost(GDBusConnection *bus, const gchar *name, gpointer data)
{
	(void)name;
	(void)data;
	no_name(g_dbus_connection_is_closed(bus) ? "no connection to the system bus"
						 : "refused, or somebody has it");
}

static void connected(GObject *source, GAsyncResult *result, gpointer data)
{
	struct service *s = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) luns = NULL;
	GDBusConnection *bus = g_dbus_connection_new_for_address_finish(result, &error);

	(void)source;
	if (!bus) {
		no_name(error->message);
		return;
	}
	s->manager = g_dbus_object_manager_server_new(TI_SERVICE_PATH);
	luns = all_luns(s);
	for (guint i = 0; i < luns->len; i++)
		export(s, g_ptr_array_index(luns, i));
	g_dbus_object_manager_server_set_connection(s->manager, bus);
	g_bus_own_name_on_connection(bus, TI_SERVICE_NAME, G_BUS_NAME_OWNER_FLAGS_NONE, NULL,
				     name_lost, s, NULL);
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
	g_autoptr(GError) error = NULL;
	g_autofree char *address = g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SYSTEM, NULL, &error);

	g_bus_get(G_BUS_TYPE_SYSTEM, NULL, outlive_bus, NULL);
	if (address)
		g_dbus_connection_new_for_address(
			address,
			G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
				G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
			NULL, NULL, connected, data);
	else
		no_name(error->message);
	return G_SOURCE_REMOVE;
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
	g_idle_add(connect_bus, s);
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
	export(s, lun);
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
