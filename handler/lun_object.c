// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * org.tcmu_integrity1.Lun: methods and signals.  lun_property.c has the properties.
 *
 * GDBusInterfaceSkeleton wants a class of its own, which does nothing but hand over the description
 * that gdbus-codegen has made of the XML file, and the two functions below.
 */
#include <errno.h>
#include <string.h>

#include "lun_interface.h"
#include "lun_property.h"
#include "rate.h"
#include "service_lun.h"

#define ERROR_PREFIX TI_SERVICE_NAME ".Error."

typedef struct {
	GDBusInterfaceSkeleton parent;
	struct ti_service_lun *lun;
} TiLunObject;

typedef struct {
	GDBusInterfaceSkeletonClass parent;
} TiLunObjectClass;

static GType ti_lun_object_get_type(void);
G_DEFINE_TYPE(TiLunObject, ti_lun_object, G_TYPE_DBUS_INTERFACE_SKELETON)

static struct ti_service_lun *lun_of(gpointer object)
{
	return ((TiLunObject *)object)->lun;
}

/* ---- methods ---- */

/* One sentence for each way to fail.  @err 0: a method without results has done its work.
 *  @already: what -EALREADY means. */
static void answer(GDBusMethodInvocation *call, int err, const char *what, const char *already)
{
	const char *name = ERROR_PREFIX "Failed", *why = strerror(-err);

	switch (err) {
	case 0:
		g_dbus_method_invocation_return_value(call, NULL);
		return;
	case -EALREADY:
		name = ERROR_PREFIX "Already";
		why = already;
		break;
	case -EAGAIN:
		name = ERROR_PREFIX "NotReady";
		why = "the LUN is still starting, try again later";
		break;
	case -EIO:
		name = ERROR_PREFIX "NotReady";
		why = "the LUN could not be started, tcmu-runner's log says why";
		break;
	case -EOPNOTSUPP:
		name = ERROR_PREFIX "NotSupported";
		why = "the LUN's mode does not allow it, modes direct and journal do";
		break;
	case -EROFS:
		name = ERROR_PREFIX "NotSupported";
		why = "the LUN is read-only";
		break;
	case -EPERM:
		name = ERROR_PREFIX "NotSupported";
		why = "the tags or the journal have a key, which that would get around; "
		      "recalculate=1 "
		      "with legacy_recalculate=1 in the LUN's configuration does it all the same";
		break;
	case -ENODEV:
		name = ERROR_PREFIX "Closed";
		why = "the LUN is being closed";
		break;
	case -EINVAL:
		name = ERROR_PREFIX "BadOption";
		why = "an option is not known or of the wrong type";
		break;
	case -ERANGE:
		name = ERROR_PREFIX "BadOption";
		why = "a rate is from 64 KiB to 1 TiB per second, or 0: no limit";
		break;
	default:
		break;
	}
	g_autofree char *text = g_strdup_printf("%s: %s", what, why);

	g_dbus_method_invocation_return_dbus_error(call, name, text);
}

/* Options that a method may be given; what is not known is refused. */
static int take_options(GVariant *parameters, bool with_restart, uint64_t *rate, bool *restart)
{
	g_autoptr(GVariant) options = g_variant_get_child_value(parameters, 0);
	const char *key;
	GVariant *value;
	GVariantIter i;
	int err = 0;

	g_variant_iter_init(&i, options);
	while (g_variant_iter_loop(&i, "{&sv}", &key, &value)) {
		if (!strcmp(key, "rate") && g_variant_is_of_type(value, G_VARIANT_TYPE_UINT64))
			*rate = g_variant_get_uint64(value);
		else if (with_restart && !strcmp(key, "restart") &&
			 g_variant_is_of_type(value, G_VARIANT_TYPE_BOOLEAN))
			*restart = g_variant_get_boolean(value);
		else
			err = -EINVAL;
	}
	return err || ti_rate_is_good(*rate) ? err : -ERANGE;
}

static int scrub_set_rate(struct ti_disk *disk, GVariant *parameters)
{
	guint64 rate;

	g_variant_get(parameters, "(t)", &rate);
	return ti_rate_is_good(rate) ? ti_disk_scrub_set_rate(disk, rate) : -ERANGE;
}

static uint64_t now(void)
{
	return (uint64_t)(g_get_real_time() / G_USEC_PER_SEC);
}

/* The disk is borrowed. */
static int scrub_start(struct ti_service_lun *lun, struct ti_disk *disk, GVariant *parameters)
{
	struct ti_disk_view view;
	uint64_t rate = 0;
	bool restart = false;
	int err = take_options(parameters, true, &rate, &restart);

	if (err)
		return err;
	/* A thread still reads where the last one was cut short: this would begin at the beginning,
	 * and what is read then be dropped. */
	if (!restart && !lun->restored && ti_disk_state(disk) == TI_DISK_READY)
		return -EAGAIN;
	ti_disk_look(disk, &view);
	err = ti_disk_scrub_start(disk, !restart, rate);
	if (err)
		return err;
	if (restart || lun->started == 0 ||
	    (view.scrub.state != TI_SCRUB_STOPPED && view.scrub.state != TI_SCRUB_FAILED))
		lun->started = now();
	lun->ended = 0;
	/* From now on it is to be written down every few seconds. */
	ti_events_poke(&disk->events);
	return 0;
}

/* It is answered when the pair says that it is to be recalculated, or cannot be made to. */
static void recalculate(struct ti_service_lun *lun, GVariant *parameters,
			GDBusMethodInvocation *call)
{
	struct ti_disk *disk = ti_service_lun_borrow(lun);
	uint64_t rate = 0;
	int err = take_options(parameters, false, &rate, NULL);

	if (!disk)
		err = -ENODEV;
	else if (!err)
		err = ti_disk_recalculate(disk, rate);
	if (disk)
		ti_service_lun_give_back(lun);
	if (err)
		answer(call, err, "nothing is recalculated", "it runs already");
	else
		lun->recalculate = call;
}

void ti_lun_object_recalculating(struct ti_service_lun *lun, int err)
{
	GDBusMethodInvocation *call = g_steal_pointer(&lun->recalculate);

	if (!call)
		return;
	if (!err || err == -ENODEV)
		answer(call, err, "it may be recalculated when it is opened again, or not", "");
	else
		g_dbus_method_invocation_return_dbus_error(
			call, ERROR_PREFIX "DeviceFailed",
			"nothing is recalculated: the metadata device could not be made to say so, "
			"tcmu-runner's log says why; at the next start of the LUN it may say so");
}

/* The next flush, if somebody waits for one. */
static int flush_begin(struct ti_service_lun *lun)
{
	struct ti_disk *disk = ti_service_lun_borrow(lun);
	int err = disk ? ti_disk_flush_begin(disk) : -ENODEV;

	if (disk)
		ti_service_lun_give_back(lun);
	return err;
}

static void flush(struct ti_service_lun *lun, GDBusMethodInvocation *call)
{
	int err;

	if (lun->flush_now->len > 0) {
		/* The one under way may not cover what was written since it began. */
		g_ptr_array_add(lun->flush_next, call);
		return;
	}
	err = flush_begin(lun);
	if (err)
		answer(call, err, "the flush was not begun", "one is under way");
	else
		g_ptr_array_add(lun->flush_now, call);
}

void ti_lun_object_flushed(struct ti_service_lun *lun, const struct ti_result *result)
{
	int err = result ? result->err : -ENODEV;

	do {
		for (guint i = 0; i < lun->flush_now->len; i++) {
			GDBusMethodInvocation *call = g_ptr_array_index(lun->flush_now, i);

			if (result && err)
				g_dbus_method_invocation_return_dbus_error(
					call, ERROR_PREFIX "FlushFailed",
					"the flush failed: what was written since the last good "
					"one may be lost; tcmu-runner's log names the device");
			else
				answer(call, err, "the flush was not done", "one is under way");
		}
		g_ptr_array_set_size(lun->flush_now, 0);
		g_ptr_array_extend_and_steal(lun->flush_now, lun->flush_next);
		lun->flush_next = g_ptr_array_new();
		if (lun->flush_now->len == 0)
			return;
		result = NULL;
		err = flush_begin(lun);
	} while (err);
}

static void method_call(GDBusConnection *bus, const gchar *sender, const gchar *path,
			const gchar *interface, const gchar *method, GVariant *parameters,
			GDBusMethodInvocation *call, gpointer object)
{
	struct ti_service_lun *lun = lun_of(object);
	struct ti_disk *disk;
	int err;

	(void)bus;
	(void)sender;
	(void)path;
	(void)interface;
	if (!strcmp(method, "Flush")) {
		flush(lun, call);
		return;
	}
	if (!strcmp(method, "Recalculate")) {
		recalculate(lun, parameters, call);
		return;
	}
	/* A scrub that was cut short comes before any other. */
	if (!lun->restored)
		ti_scrub_keeper_restore(lun);
	disk = ti_service_lun_borrow(lun);
	if (!disk) {
		answer(call, -ENODEV, "nothing was done", "");
		return;
	}
	if (!strcmp(method, "ScrubStart"))
		err = scrub_start(lun, disk, parameters);
	else if (!strcmp(method, "ScrubSetRate"))
		err = scrub_set_rate(disk, parameters);
	else
		err = ti_disk_scrub_stop(disk);
	ti_service_lun_give_back(lun);
	if (!err)
		ti_scrub_keeper_save(lun);
	if (!strcmp(method, "ScrubStart"))
		answer(call, err, "the scrub was not started", "it runs already");
	else if (!strcmp(method, "ScrubSetRate"))
		answer(call, err, "the scrub's rate was not changed", "none runs");
	else
		answer(call, err, "the scrub was not stopped", "none runs");
}

/* ---- signals ---- */

static uint64_t to_blocks(const struct ti_disk *disk, uint64_t sectors, bool up)
{
	uint64_t per_block = disk->facts.block_size / TI_SECTOR_BYTES;

	return (sectors + (up ? per_block - 1 : 0)) / per_block;
}

static GVariant *mismatch(const struct ti_disk *disk, const struct ti_event *event)
{
	static const char *const source[] = { [TI_SOURCE_READ] = "read",
					      [TI_SOURCE_SCRUB] = "scrub",
					      [TI_SOURCE_RECALCULATION] = "recalculation" };
	uint64_t first = to_blocks(disk, event->sector, false);
	uint64_t end = to_blocks(disk, event->sector + event->sectors, true);

	return g_variant_new("(tts)", first, end - first, source[event->source]);
}

static GVariant *scrub_finished(struct ti_disk *disk)
{
	struct ti_disk_view view;

	ti_disk_look(disk, &view);
	return g_variant_new("(st)", ti_scrub_state_name(view.scrub.state),
			     ti_scrub_all_bad(&view.scrub));
}

void ti_lun_object_signal(struct ti_service_lun *lun, struct ti_disk *disk,
			  const struct ti_event *event)
{
	GDBusConnection *bus = g_dbus_interface_skeleton_get_connection(lun->skeleton);
	const char *path = g_dbus_interface_skeleton_get_object_path(lun->skeleton);
	g_autofree char *device = NULL;
	const char *name = NULL;
	GVariant *values = NULL;

	if (!bus || !path)
		return;
	switch (event->type) {
	case TI_EVENT_MISMATCH:
		name = "MismatchFound";
		values = mismatch(disk, event);
		break;
	case TI_EVENT_SCRUB_ENDED:
		name = "ScrubFinished";
		values = scrub_finished(disk);
		break;
	case TI_EVENT_DEVICE_FAILED:
		name = "DeviceFailed";
		device = g_utf8_make_valid(disk->queue->dev[event->dev].name, -1);
		values = g_variant_new("(sss)", event->dev == TI_DATA ? "data" : "metadata", device,
				       strerror(-event->error));
		break;
	}
	if (name)
		g_dbus_connection_emit_signal(bus, NULL, path, TI_SERVICE_NAME ".Lun", name, values,
					      NULL);
}

/* ---- the class ---- */

static GVariant *get_property(GDBusConnection *bus, const gchar *sender, const gchar *path,
			      const gchar *interface, const gchar *property, GError **error,
			      gpointer object)
{
	GVariant *value = ti_lun_property(lun_of(object), property);

	(void)bus;
	(void)sender;
	(void)path;
	(void)interface;
	if (!value)
		g_set_error_literal(error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT,
				    "the LUN is being closed");
	return value;
}

static GDBusInterfaceInfo *get_info(GDBusInterfaceSkeleton *object)
{
	(void)object;
	return (GDBusInterfaceInfo *)(uintptr_t)&org_tcmu_integrity1_lun_interface;
}

static GDBusInterfaceVTable *get_vtable(GDBusInterfaceSkeleton *object)
{
	static GDBusInterfaceVTable vtable = { .method_call = method_call,
					       .get_property = get_property };

	(void)object;
	return &vtable;
}

static GVariant *get_properties(GDBusInterfaceSkeleton *object)
{
	return ti_lun_properties(lun_of(object));
}

/* Nothing is held back: there is no PropertiesChanged. */
static void nothing_to_flush(GDBusInterfaceSkeleton *object)
{
	(void)object;
}

static void ti_lun_object_finalize(GObject *object)
{
	ti_service_lun_unref(lun_of(object));
	G_OBJECT_CLASS(ti_lun_object_parent_class)->finalize(object);
}

static void ti_lun_object_init(TiLunObject *object)
{
	(void)object;
}

static void ti_lun_object_class_init(TiLunObjectClass *class)
{
	GDBusInterfaceSkeletonClass *skeleton = G_DBUS_INTERFACE_SKELETON_CLASS(class);

	G_OBJECT_CLASS(class)->finalize = ti_lun_object_finalize;
	skeleton->get_info = get_info;
	skeleton->get_vtable = get_vtable;
	skeleton->get_properties = get_properties;
	skeleton->flush = nothing_to_flush;
}

GDBusInterfaceSkeleton *ti_lun_object_new(struct ti_service_lun *lun)
{
	TiLunObject *object = g_object_new(ti_lun_object_get_type(), NULL);

	object->lun = ti_service_lun_ref(lun);
	return G_DBUS_INTERFACE_SKELETON(object);
}
