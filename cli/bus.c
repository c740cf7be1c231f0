/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See bus.h. */
#include "bus.h"

#include <errno.h>
#include <string.h>

#define NAME	  "org.tcmu_integrity1"
#define PATH	  "/org/tcmu_integrity1"
#define INTERFACE NAME ".Lun"

/* The answers are there at once; a flush takes as long as a slow disk's, and if whoever is asked
 * dies the bus says so. */
#define ANSWER_MS 10000
#define WORK_MS	  G_MAXINT

int bus_connect(GDBusConnection **bus, struct ti_error *error)
{
	g_autoptr(GError) why = NULL;
	g_autofree char *address = g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SYSTEM, NULL, &why);

	g_clear_object(bus);
	if (address)
		*bus = g_dbus_connection_new_for_address_sync(
			address,
			G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
				G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
			NULL, NULL, &why);
	if (!*bus)
		return ti_error_set(error, -ENOTCONN,
				    "there is no connection to the system bus (%s): start it, with "
				    "'systemctl start dbus'",
				    why->message);
	return 0;
}

/* What a failed call means, in the user's words. */
static int failed(GError *why, const char *what, struct ti_error *error)
{
	g_autofree char *name = NULL;
	bool device;

	if (g_error_matches(why, G_DBUS_ERROR, G_DBUS_ERROR_SERVICE_UNKNOWN) ||
	    g_error_matches(why, G_DBUS_ERROR, G_DBUS_ERROR_NAME_HAS_NO_OWNER))
		return ti_error_set(error, -ENOTCONN,
				    "tcmu-runner does not run, or has not loaded our handler: "
				    "'tcmu-integrity doctor' says what is missing");
	if (g_error_matches(why, G_IO_ERROR, G_IO_ERROR_CLOSED) ||
	    g_error_matches(why, G_DBUS_ERROR, G_DBUS_ERROR_DISCONNECTED))
		return ti_error_set(error, -ENOTCONN,
				    "the connection to the system bus was lost: start it, with "
				    "'systemctl start dbus'");
	if (g_error_matches(why, G_DBUS_ERROR, G_DBUS_ERROR_ACCESS_DENIED))
		return ti_error_set(error, -EACCES,
				    "only root may ask tcmu-runner: run this as "
				    "root");
	if (g_error_matches(why, G_DBUS_ERROR, G_DBUS_ERROR_NO_REPLY) ||
	    g_error_matches(why, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
		return ti_error_set(error, -EAGAIN,
				    "tcmu-runner does not answer: it is busy with "
				    "something, try again later");
	name = g_dbus_error_get_remote_error(why);
	device = name && (g_str_has_suffix(name, ".FlushFailed") ||
			  g_str_has_suffix(name, ".DeviceFailed"));
	g_dbus_error_strip_remote_error(why);
	return ti_error_set(error, device ? -EIO : -EPROTO, "%s: %s", what, why->message);
}

static void free_lun(gpointer data)
{
	struct bus_lun *lun = data;

	g_variant_unref(lun->values);
	g_free(lun->path);
	g_free(lun);
}

static gint by_name(gconstpointer a, gconstpointer b)
{
	const struct bus_lun *const *left = a, *const *right = b;

	return strcmp((*left)->name, (*right)->name);
}

static void add(GPtrArray *luns, const char *path, GVariant *values)
{
	struct bus_lun *lun = g_new0(struct bus_lun, 1);

	lun->path = g_strdup(path);
	lun->values = g_variant_ref(values);
	lun->name = bus_text(lun, "Name");
	/* One that was closed meanwhile has nothing to tell. */
	if (*lun->name)
		g_ptr_array_add(luns, lun);
	else
		free_lun(lun);
}

int bus_luns(GDBusConnection *bus, GPtrArray **luns, struct ti_error *error)
{
	g_autoptr(GVariant) answer = NULL, interfaces = NULL, values = NULL;
	g_autoptr(GVariantIter) objects = NULL;
	g_autoptr(GError) why = NULL;
	const char *path;

	answer = g_dbus_connection_call_sync(
		bus, NAME, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL,
		G_VARIANT_TYPE("(a{oa{sa{sv}}})"), G_DBUS_CALL_FLAGS_NO_AUTO_START, ANSWER_MS, NULL,
		&why);
	if (!answer)
		return failed(why, "the LUNs cannot be asked for", error);
	*luns = g_ptr_array_new_with_free_func(free_lun);
	g_variant_get(answer, "(a{oa{sa{sv}}})", &objects);
	while (g_variant_iter_loop(objects, "{&o@a{sa{sv}}}", &path, &interfaces)) {
		values = g_variant_lookup_value(interfaces, INTERFACE, G_VARIANT_TYPE_VARDICT);
		if (values)
			add(*luns, path, values);
		g_clear_pointer(&values, g_variant_unref);
	}
	interfaces = NULL; /* the iterator's own */
	g_ptr_array_sort(*luns, by_name);
	return 0;
}

/* Is the full name @full, user_N/NAME, that of a backstore @name? */
static bool is_called(const char *full, const char *name)
{
	size_t hba = strcspn(full, "/");

	return full[hba] && !strcmp(full + hba + 1, name);
}

const struct bus_lun *bus_find(GPtrArray *luns, const char *name, struct ti_error *error)
{
	g_autoptr(GString) names = g_string_new(NULL), twins = g_string_new(NULL);

	for (guint i = 0; i < luns->len; i++) {
		const struct bus_lun *lun = g_ptr_array_index(luns, i);
		const char *full = bus_text(lun, "FullName");

		if (!strcmp(lun->name, name) || !strcmp(full, name))
			return lun;
		g_string_append_printf(names, "%s%s", i ? ", " : "", lun->name);
		if (is_called(full, name))
			g_string_append_printf(twins, "%s%s", twins->len ? " or " : "", full);
	}
	if (twins->len)
		ti_error_set(error, -ENOTUNIQ, "more than one LUN is called '%s': say %s", name,
			     twins->str);
	else if (luns->len)
		ti_error_set(error, -ENOENT, "tcmu-runner serves no LUN '%s' of ours; it serves %s",
			     name, names->str);
	else
		ti_error_set(error, -ENOENT,
			     "tcmu-runner serves no LUN '%s', nor any other of ours", name);
	return NULL;
}

int bus_call(GDBusConnection *bus, const struct bus_lun *lun, const char *method,
	     GVariant *parameters, struct ti_error *error)
{
	g_autoptr(GError) why = NULL;
	g_autoptr(GVariant) answer = g_dbus_connection_call_sync(
		bus, NAME, lun->path, INTERFACE, method, parameters, NULL,
		G_DBUS_CALL_FLAGS_NO_AUTO_START, WORK_MS, NULL, &why);

	return answer ? 0 : failed(why, lun->name, error);
}

/* ---- properties ---- */

const char *bus_text(const struct bus_lun *lun, const char *property)
{
	const char *text = "";

	/* It lives as long as the values do. */
	g_variant_lookup(lun->values, property, "&s", &text);
	return text;
}

uint64_t bus_number(const struct bus_lun *lun, const char *property)
{
	guint64 large = 0;
	guint32 small = 0;

	if (g_variant_lookup(lun->values, property, "u", &small))
		return small;
	g_variant_lookup(lun->values, property, "t", &large);
	return large;
}

bool bus_flag(const struct bus_lun *lun, const char *property)
{
	gboolean flag = FALSE;

	g_variant_lookup(lun->values, property, "b", &flag);
	return flag;
}

uint64_t bus_counter(const struct bus_lun *lun, const char *counter)
{
	g_autoptr(GVariant) counters =
		g_variant_lookup_value(lun->values, "Counters", G_VARIANT_TYPE("a{st}"));
	guint64 value = 0;

	if (counters)
		g_variant_lookup(counters, counter, "t", &value);
	return value;
}

struct bus_latency bus_latency(const struct bus_lun *lun, const char *property)
{
	g_autoptr(GVariant) value =
		g_variant_lookup_value(lun->values, property, G_VARIANT_TYPE("(ttta(tt))"));
	g_autoptr(GVariantIter) list = NULL;
	struct bus_latency l = { 0 };
	guint64 bound, count;

	if (!value)
		return l;
	g_variant_get(value, "(ttta(tt))", &l.count, &l.total_ns, &l.max_ns, &list);
	while (l.buckets < G_N_ELEMENTS(l.bucket) &&
	       g_variant_iter_next(list, "(tt)", &bound, &count)) {
		l.bucket[l.buckets].bound_ns = bound;
		l.bucket[l.buckets++].count = count;
	}
	return l;
}

bool bus_needs_attention(const struct bus_lun *lun)
{
	return !strcmp(bus_text(lun, "State"), "failed") || bus_number(lun, "Mismatches") ||
	       bus_number(lun, "IoErrorsData") || bus_number(lun, "IoErrorsMetadata") ||
	       *bus_text(lun, "FlushFailedData") || *bus_text(lun, "FlushFailedMetadata") ||
	       bus_number(lun, "ScrubBadSectors") || !strcmp(bus_text(lun, "ScrubState"), "failed");
}
