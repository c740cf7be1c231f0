/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The software above the kernel: targetcli, tcmu-runner, and our handler in it.
 *
 * tcmu-runner is asked over D-Bus, which never starts it here: a call that may activate a service
 * would change what is being looked at.
 */
#include "doctor.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <gio/gio.h>

#include "store_file.h"

#define SERVICE	  "org.kernel.TCMUService1"
#define OBJECTS	  "/org/kernel/TCMUService1"
#define HANDLER	  "/org/kernel/TCMUService1/integrity"
#define WAIT_MS	  3000
#define STATE_DIR "/etc/rtslib-fb-target"

/* ---- programs and files ---- */

/* Also where root's PATH may not lead. */
static char *find_program(const char *name)
{
	static const char *const more[] = { "/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin" };
	char *path = g_find_program_in_path(name);

	for (size_t i = 0; !path && i < G_N_ELEMENTS(more); i++) {
		path = g_build_filename(more[i], name, NULL);
		if (access(path, X_OK))
			g_clear_pointer(&path, g_free);
	}
	return path;
}

static void examine_targetcli(struct doctor *doctor)
{
	char *path = find_program("targetcli");

	if (path)
		doctor_add(doctor, "targetcli", FINDING_OK, "targetcli is installed (%s)", path);
	else
		doctor_mend(doctor_add(doctor, "targetcli", FINDING_MISSING,
				       "targetcli is not installed"),
			    "apt-get install targetcli-fb");
	g_free(path);

	if (!access(STATE_DIR "/pr", W_OK))
		doctor_add(doctor, "reservations_directory", FINDING_OK, "%s exists",
			   STATE_DIR "/pr");
	else
		/* The kernel writes a file there and fails the command when it cannot. */
		doctor_mend(doctor_add(doctor, "reservations_directory", FINDING_MISSING,
				       "%s does not exist or is not writable: persistent "
				       "reservations that outlive a reboot fail",
				       STATE_DIR "/pr"),
			    "mkdir -p %s/pr %s/alua", STATE_DIR, STATE_DIR);
}

/* ---- tcmu-runner ---- */

/* The handler refuses any other than its own; see abi.h there. */
static void judge_version(struct doctor *doctor, const char *version)
{
	if (!strcmp(version, TI_TCMU_VERSION))
		doctor_add(doctor, "tcmu_runner_version", FINDING_OK,
			   "tcmu-runner %s is installed, and the handler is built for %s", version,
			   TI_TCMU_VERSION);
	else
		doctor_mend(doctor_add(doctor, "tcmu_runner_version", FINDING_MISSING,
				       "tcmu-runner %s is installed, but the handler is built for "
				       "%s: they would not work together",
				       version, TI_TCMU_VERSION),
			    "build tcmu-integrity anew on this machine");
}

/* What follows "tcmu-runner " in @text, cut off at its end; NULL if that is not in there. */
static const char *version_in(char *text)
{
	static const char before[] = "tcmu-runner ";
	char *found = strstr(text, before);

	if (!found)
		return NULL;
	found += sizeof(before) - 1;
	found[strcspn(found, " \t\r\n")] = '\0';
	return *found ? found : NULL;
}

static void examine_version(struct doctor *doctor)
{
	char *path = find_program("tcmu-runner");
	char *argv[] = { path, (char *)"-V", NULL };
	char *output = NULL, *errors = NULL;
	const char *version = NULL;

	if (!path) {
		doctor_mend(doctor_add(doctor, "tcmu_runner_version", FINDING_MISSING,
				       "tcmu-runner is not installed"),
			    "apt-get install tcmu-runner");
		return;
	}
	/* It logs its version, and the log goes to stderr. */
	if (g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &output, &errors, NULL,
			 NULL)) {
		version = version_in(output);
		if (!version)
			version = version_in(errors);
	}
	if (version)
		judge_version(doctor, version);
	else
		doctor_add(doctor, "tcmu_runner_version", FINDING_NOTE,
			   "%s -V does not tell its version; the handler is built for %s", path,
			   TI_TCMU_VERSION);
	g_free(errors);
	g_free(output);
	g_free(path);
}

/* ---- D-Bus ---- */

static GVariant *ask_bus(GDBusConnection *bus, const char *method, const char *reply)
{
	return g_dbus_connection_call_sync(bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
					   "org.freedesktop.DBus", method,
					   g_variant_new("(s)", SERVICE), G_VARIANT_TYPE(reply),
					   G_DBUS_CALL_FLAGS_NO_AUTO_START, WAIT_MS, NULL, NULL);
}

static bool runner_is_running(GDBusConnection *bus)
{
	GVariant *reply = ask_bus(bus, "NameHasOwner", "(b)");
	gboolean owned = FALSE;

	if (reply) {
		g_variant_get(reply, "(b)", &owned);
		g_variant_unref(reply);
	}
	return owned;
}

static pid_t runner_pid(GDBusConnection *bus)
{
	GVariant *reply = ask_bus(bus, "GetConnectionUnixProcessID", "(u)");
	guint32 pid = 0;

	if (reply) {
		g_variant_get(reply, "(u)", &pid);
		g_variant_unref(reply);
	}
	return (pid_t)pid;
}

/* Is our object among those that tcmu-runner manages?  @why: the failure, if there was one. */
static bool handler_is_registered(GDBusConnection *bus, GError **why)
{
	GVariant *reply, *objects, *interfaces;
	bool found;

	reply = g_dbus_connection_call_sync(
		bus, SERVICE, OBJECTS, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects",
		NULL, G_VARIANT_TYPE("(a{oa{sa{sv}}})"), G_DBUS_CALL_FLAGS_NO_AUTO_START, WAIT_MS,
		NULL, why);
	if (!reply)
		return false;
	objects = g_variant_get_child_value(reply, 0);
	interfaces = g_variant_lookup_value(objects, HANDLER, NULL);
	found = interfaces != NULL;
	g_clear_pointer(&interfaces, g_variant_unref);
	g_variant_unref(objects);
	g_variant_unref(reply);
	return found;
}

static void examine_handler(struct doctor *doctor, GDBusConnection *bus)
{
	GError *why = NULL;
	struct finding *f;

	if (handler_is_registered(bus, &why)) {
		doctor_add(doctor, "handler", FINDING_OK,
			   "the handler 'integrity' is registered with tcmu-runner");
	} else if (why) {
		f = doctor_add(doctor, "handler", FINDING_MISSING,
			       "tcmu-runner does not answer which handlers it has (%s)",
			       why->message);
		doctor_mend(f, "systemctl restart tcmu-runner");
	} else {
		f = doctor_add(doctor, "handler", FINDING_MISSING,
			       "tcmu-runner runs without the handler 'integrity'");
		doctor_mend(f,
			    "install -m 644 handler_integrity.so %s/ && systemctl restart "
			    "tcmu-runner",
			    TI_HANDLER_DIR);
	}
	g_clear_error(&why);
}

/* tcmu-runner does not run: whatever lies there was left by one that was killed. */
static void examine_leftovers(struct doctor *doctor)
{
	GDir *dir = g_dir_open(TI_STORE_DIR, 0, NULL);
	const char *name;
	unsigned files = 0;

	while (dir && (name = g_dir_read_name(dir)) != NULL)
		files += !g_str_has_suffix(name, TI_STORE_MODE); /* nothing is missing then */
	if (dir)
		g_dir_close(dir);
	if (files)
		doctor_mend(doctor_add(doctor, "leftover_files", FINDING_NOTE,
				       "in %s there %s left by a tcmu-runner that was killed, with "
				       "what is "
				       "missing on its LUNs' devices: do not use these before a "
				       "new one has opened them",
				       TI_STORE_DIR, files == 1 ? "is a file" : "are files"),
			    "systemctl start tcmu-runner");
}

static void examine_service(struct doctor *doctor)
{
	GError *why = NULL;
	GDBusConnection *bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, &why);

	if (!bus) {
		doctor_mend(doctor_add(doctor, "dbus", FINDING_MISSING,
				       "the system bus of D-Bus cannot be reached, over which "
				       "targetcli finds tcmu-runner (%s)",
				       why->message),
			    "apt-get install dbus && systemctl start dbus");
		g_clear_error(&why);
		return;
	}
	doctor_add(doctor, "dbus", FINDING_OK, "the system bus of D-Bus is there");
	if (runner_is_running(bus)) {
		doctor->runner = runner_pid(bus);
		doctor_add(doctor, "tcmu_runner", FINDING_OK, "tcmu-runner is running (process %d)",
			   (int)doctor->runner);
		examine_handler(doctor, bus);
	} else {
		doctor_mend(doctor_add(doctor, "tcmu_runner", FINDING_MISSING,
				       "tcmu-runner is not running"),
			    "systemctl start tcmu-runner");
		examine_leftovers(doctor);
	}
	g_object_unref(bus);
}

void doctor_runner(struct doctor *doctor)
{
	examine_targetcli(doctor);
	examine_version(doctor);
	examine_service(doctor);
}
