/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What the kernel has to offer: the target stack's modules, configfs, and the netlink family over
 * which it tells tcmu-runner about LUNs.
 */
#include "doctor.h"

#include <errno.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <libkmod.h>
#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>

#define CONFIGFS "/sys/kernel/config"
#define FAMILY	 "TCM-USER"

static void examine_root(struct doctor *doctor)
{
	if (geteuid() == 0)
		doctor_add(doctor, "root", FINDING_OK, "running as root");
	else
		doctor_mend(doctor_add(doctor, "root", FINDING_MISSING,
				       "not running as root, which targets and devices need (and "
				       "some of what follows is only seen by root)"),
			    "sudo tcmu-integrity doctor");
}

/* ---- modules ---- */

enum module_state {
	MODULE_LOADED,
	MODULE_AVAILABLE,
	MODULE_ABSENT,
};

static bool in_sys_module(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	return !access(path, F_OK);
}

static enum module_state look_up(struct kmod_ctx *ctx, const char *name)
{
	enum module_state state = MODULE_ABSENT;
	struct kmod_list *list = NULL;
	struct kmod_module *module;

	/* Built-in modules without parameters are in neither place: kmod knows those. */
	if (in_sys_module(name))
		return MODULE_LOADED;
	if (!ctx || kmod_module_new_from_lookup(ctx, name, &list) < 0 || !list)
		return MODULE_ABSENT;
	module = kmod_module_get_module(list);
	switch (kmod_module_get_initstate(module)) {
	case KMOD_MODULE_BUILTIN:
	case KMOD_MODULE_LIVE:
		state = MODULE_LOADED;
		break;
	default:
		if (kmod_module_get_path(module))
			state = MODULE_AVAILABLE;
		break;
	}
	kmod_module_unref(module);
	kmod_module_unref_list(list);
	return state;
}

static void examine_module(struct doctor *doctor, struct kmod_ctx *ctx, const char *name,
			   const char *what_for, enum finding_state if_absent)
{
	struct utsname kernel;
	struct finding *f;

	switch (look_up(ctx, name)) {
	case MODULE_LOADED:
		doctor_add(doctor, name, FINDING_OK, "kernel module %s is loaded (%s)", name,
			   what_for);
		return;
	case MODULE_AVAILABLE:
		doctor_add(doctor, name, FINDING_OK,
			   "kernel module %s is available and will be loaded when needed (%s)",
			   name, what_for);
		return;
	case MODULE_ABSENT:
		break;
	}
	if (uname(&kernel))
		strcpy(kernel.release, "(unknown)");
	f = doctor_add(doctor, name, if_absent, "kernel module %s is missing from kernel %s (%s)",
		       name, kernel.release, what_for);
	/* Debian's cloud kernels leave the target stack out, its ordinary one has it. */
	doctor_mend(f, "apt-get install linux-image-amd64 && reboot");
}

static void examine_modules(struct doctor *doctor)
{
	struct kmod_ctx *ctx = kmod_new(NULL, NULL);

	examine_module(doctor, ctx, "configfs", "how targets are configured", FINDING_MISSING);
	examine_module(doctor, ctx, "target_core_mod", "LIO, the kernel's SCSI target",
		       FINDING_MISSING);
	examine_module(doctor, ctx, "target_core_user", "LUNs served by tcmu-runner",
		       FINDING_MISSING);
	examine_module(doctor, ctx, "iscsi_target_mod", "iSCSI targets", FINDING_MISSING);
	examine_module(doctor, ctx, "tcm_loop", "only for disks on this very machine",
		       FINDING_NOTE);
	kmod_unref(ctx);
}

/* ---- configfs ---- */

static bool configfs_is_mounted(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	const struct mntent *entry;
	bool found = false;

	if (!mounts)
		return false;
	while (!found && (entry = getmntent(mounts)))
		found = !strcmp(entry->mnt_type, "configfs") && !strcmp(entry->mnt_dir, CONFIGFS);
	endmntent(mounts);
	return found;
}

static void examine_configfs(struct doctor *doctor)
{
	if (configfs_is_mounted())
		doctor_add(doctor, "configfs_mounted", FINDING_OK, "configfs is mounted on %s",
			   CONFIGFS);
	else
		doctor_mend(doctor_add(doctor, "configfs_mounted", FINDING_MISSING,
				       "configfs is not mounted on %s", CONFIGFS),
			    "modprobe configfs && mount -t configfs configfs %s", CONFIGFS);
}

/* ---- netlink ---- */

/* Returns the family's number or a negative libnl error. */
static int resolve_family(void)
{
	struct nl_sock *sock = nl_socket_alloc();
	int rc = -NLE_NOMEM;

	if (!sock)
		return rc;
	rc = genl_connect(sock);
	if (!rc)
		rc = genl_ctrl_resolve(sock, FAMILY);
	nl_socket_free(sock);
	return rc;
}

static void examine_netlink(struct doctor *doctor)
{
	int rc = resolve_family();

	if (rc >= 0)
		doctor_add(doctor, "netlink_family", FINDING_OK,
			   "the kernel offers the netlink family %s", FAMILY);
	else
		doctor_mend(doctor_add(doctor, "netlink_family", FINDING_MISSING,
				       "the kernel does not offer the netlink family %s (%s)",
				       FAMILY, nl_geterror(rc)),
			    "modprobe target_core_user");
}

void doctor_kernel(struct doctor *doctor)
{
	examine_root(doctor);
	examine_modules(doctor);
	examine_configfs(doctor);
	examine_netlink(doctor);
}
