// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/* See service_lun.h. */
#include "service_lun.h"

#include <string.h>

#include "backstore.h"

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

struct ti_service_lun *ti_service_lun_new(struct ti_disk *disk)
{
	struct ti_service_lun *lun = g_new0(struct ti_service_lun, 1);
	struct ti_backstore backstore;

	g_atomic_ref_count_init(&lun->refs);
	g_mutex_init(&lun->lock);
	ti_backstore_find(disk->dev, &backstore);
	lun->backstore = g_strdup(backstore.name);
	lun->full_name =
		g_strdup_printf("%s%s%s", backstore.hba, *backstore.hba ? "/" : "", backstore.name);
	lun->name = lun->backstore;
	lun->file = escape(lun->backstore);
	lun->disk = disk;
	lun->flush_now = g_ptr_array_new();
	lun->flush_next = g_ptr_array_new();
	return lun;
}

const char *ti_service_lun_called(const struct ti_service_lun *lun, GPtrArray *all)
{
	for (guint i = 0; i < all->len; i++) {
		const struct ti_service_lun *other = g_ptr_array_index(all, i);

		if (other != lun && !strcmp(other->backstore, lun->backstore))
			return lun->full_name;
	}
	return lun->backstore;
}

char *ti_service_lun_path(const struct ti_service_lun *lun)
{
	g_autofree char *escaped = escape(lun->name);

	return g_strdup_printf(TI_SERVICE_LUNS "/%s", escaped);
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
	g_free(lun->backstore);
	g_free(lun->full_name);
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
