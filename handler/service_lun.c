// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/* See service_lun.h. */
#include "service_lun.h"

#include <stdio.h>
#include <string.h>

#include "libtcmu_common.h"

/*
 * The name that the administrator gave to the backstore, and its HBA's number.  libtcmu keeps them
 * to itself; the kernel has them in the name of the UIO device,
 * tcm-user/<number>/<name>/<config string>.
 */
static char *backstore_name(struct tcmu_device *dev, char **hba)
{
	const char *uio = tcmu_dev_get_uio_name(dev);
	g_autofree char *path = g_strdup_printf("/sys/class/uio/%s/name", uio), *text = NULL;
	g_auto(GStrv) part = NULL;

	*hba = NULL;
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return g_strdup(uio);
	part = g_strsplit(g_strstrip(text), "/", 4);
	if (g_strv_length(part) < 3)
		return g_strdup(uio);
	*hba = g_strdup(part[1]);
	return g_strdup(part[2]);
}

static bool is_taken(const char *name, GPtrArray *others)
{
	for (guint i = 0; i < others->len; i++) {
		const struct ti_service_lun *other = g_ptr_array_index(others, i);

		if (!strcmp(other->name, name))
			return true;
	}
	return false;
}

/* Whatever an object's path may not hold, and '_', as _xx. */
static char *escape(const char *name)
{
	GString *out = g_string_new(NULL);

	for (const char *p = name; *p; p++) {
		if (g_ascii_isalnum(*p))
			g_string_append_c(out, *p);
		else
			g_string_append_printf(out, "_%02x", (unsigned char)*p);
	}
	return g_string_free(out, FALSE);
}

struct ti_service_lun *ti_service_lun_new(struct ti_disk *disk, GPtrArray *others)
{
	struct ti_service_lun *lun = g_new0(struct ti_service_lun, 1);
	g_autofree char *name = NULL, *hba = NULL;

	g_atomic_ref_count_init(&lun->refs);
	g_mutex_init(&lun->lock);
	name = backstore_name(disk->dev, &hba);
	lun->file = escape(name);
	lun->name = is_taken(name, others) ? g_strdup_printf("user_%s/%s", hba, name)
					   : g_steal_pointer(&name);
	lun->escaped = escape(lun->name);
	lun->disk = disk;
	lun->flush_now = g_ptr_array_new();
	lun->flush_next = g_ptr_array_new();
	return lun;
}

struct ti_service_lun *ti_service_lun_ref(struct ti_service_lun *lun)
{
	g_atomic_ref_count_inc(&lun->refs);
	return lun;
}

void ti_service_lun_unref(struct ti_service_lun *lun)
{
	if (!g_atomic_ref_count_dec(&lun->refs))
		return;
	g_ptr_array_unref(lun->flush_now);
	g_ptr_array_unref(lun->flush_next);
	g_mutex_clear(&lun->lock);
	g_free(lun->name);
	g_free(lun->escaped);
	g_free(lun->file);
	g_free(lun);
}

struct ti_disk *ti_service_lun_borrow(struct ti_service_lun *lun)
{
	struct ti_disk *disk;

	g_mutex_lock(&lun->lock);
	disk = lun->disk;
	if (!disk)
		g_mutex_unlock(&lun->lock);
	return disk;
}

void ti_service_lun_give_back(struct ti_service_lun *lun)
{
	g_mutex_unlock(&lun->lock);
}

void ti_service_lun_close(struct ti_service_lun *lun)
{
	g_mutex_lock(&lun->lock);
	lun->disk = NULL;
	g_mutex_unlock(&lun->lock);
}
