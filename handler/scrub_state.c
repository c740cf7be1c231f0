// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/* See scrub_state.h. */
#include "scrub_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <glib.h>
#include <glib/gstdio.h>

#include "rate.h"

#define GROUP	"scrub"
#define VERSION 1

static char *path_of(const char *dir, const char *name, const struct ti_scrub_saved *saved)
{
	return g_strdup_printf("%s/%s.%016" PRIx64 "-%016" PRIx64 ".state", dir, name, saved->pair,
			       saved->devices);
}

static bool is_of_pair(GKeyFile *file, uint64_t pair)
{
	g_autofree char *wanted = g_strdup_printf("%016" PRIx64, pair), *is = NULL;

	is = g_key_file_get_string(file, GROUP, "pair", NULL);
	return !g_strcmp0(wanted, is);
}

/* Earlier versions' names said less of whose it is.  The first LUN that it fits takes it. */
static void take_over(const char *dir, const char *name, const struct ti_scrub_saved *saved,
		      const char *path)
{
	g_autofree char *with_pair =
		g_strdup_printf("%s/%s.%016" PRIx64 ".state", dir, name, saved->pair);
	g_autofree char *plain = g_strdup_printf("%s/%s.state", dir, name);
	const char *old[] = { with_pair, plain };

	for (size_t i = 0; i < G_N_ELEMENTS(old); i++) {
		g_autoptr(GKeyFile) file = g_key_file_new();

		if (g_key_file_load_from_file(file, old[i], G_KEY_FILE_NONE, NULL) &&
		    is_of_pair(file, saved->pair) && g_rename(old[i], path) == 0)
			return;
	}
}

/* The bad places, as "sector length kind" each. */
static void put_bad(GKeyFile *file, const struct ti_scrub_report *r)
{
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);

	for (uint32_t i = 0; i < r->listed; i++)
		g_ptr_array_add(list, g_strdup_printf("%" PRIu64 " %" PRIu64 " %s",
						      r->bad[i].sector, r->bad[i].sectors,
						      ti_scrub_kind_name(r->bad[i].kind)));
	g_key_file_set_string_list(file, GROUP, "bad", (const gchar *const *)list->pdata,
				   list->len);
}

int ti_scrub_state_save(const char *dir, const char *name, const struct ti_scrub_saved *saved)
{
	const struct ti_scrub_report *r = &saved->report;
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autofree char *path = path_of(dir, name, saved), *pair = NULL;
	g_autoptr(GError) error = NULL;

	if (g_mkdir_with_parents(dir, 0700) != 0)
		return -errno;
	pair = g_strdup_printf("%016" PRIx64, saved->pair);
	g_key_file_set_integer(file, GROUP, "version", VERSION);
	g_key_file_set_string(file, GROUP, "pair", pair);
	g_key_file_set_string(file, GROUP, "state", ti_scrub_state_name(r->state));
	g_key_file_set_uint64(file, GROUP, "sector", r->sector);
	g_key_file_set_uint64(file, GROUP, "end", r->end);
	g_key_file_set_uint64(file, GROUP, "rate_limit", r->rate_limit);
	g_key_file_set_uint64(file, GROUP, "verified_sectors", r->verified_sectors);
	g_key_file_set_uint64(file, GROUP, "skipped_sectors", r->skipped_sectors);
	for (int kind = 0; kind < TI_SCRUB_KINDS; kind++)
		g_key_file_set_uint64(file, GROUP, ti_scrub_kind_name((enum ti_scrub_kind)kind),
				      r->bad_sectors[kind]);
	g_key_file_set_uint64(file, GROUP, "mended_sectors", r->mended_sectors);
	g_key_file_set_uint64(file, GROUP, "ranges", r->ranges);
	put_bad(file, r);
	g_key_file_set_uint64(file, GROUP, "started", saved->started);
	g_key_file_set_uint64(file, GROUP, "ended", saved->ended);
	if (saved->recalculating)
		g_key_file_set_uint64(file, GROUP, "recalculate_rate", saved->recalc_rate);
	return g_key_file_save_to_file(file, path, &error) ? 0 : -EIO;
}

static bool take_kind(const char *name, enum ti_scrub_kind *kind)
{
	for (int i = 0; i < TI_SCRUB_KINDS; i++) {
		*kind = (enum ti_scrub_kind)i;
		if (!g_strcmp0(ti_scrub_kind_name(*kind), name))
			return true;
	}
	return false;
}

static bool take_bad(GKeyFile *file, struct ti_scrub_report *r)
{
	g_auto(GStrv) list = g_key_file_get_string_list(file, GROUP, "bad", NULL, NULL);

	uint64_t unlisted[TI_SCRUB_KINDS];

	memcpy(unlisted, r->bad_sectors, sizeof(unlisted));
	for (r->listed = 0; list && list[r->listed]; r->listed++) {
		struct ti_scrub_bad *bad;
		char kind[32];

		if (r->listed == TI_SCRUB_BAD_MAX)
			return false;
		bad = &r->bad[r->listed];
		if (sscanf(list[r->listed], "%" SCNu64 " %" SCNu64 " %31s", &bad->sector,
			   &bad->sectors, kind) != 3 ||
		    !take_kind(kind, &bad->kind) || bad->sectors > r->end ||
		    bad->sector > r->end - bad->sectors || bad->sectors > unlisted[bad->kind])
			return false;
		unlisted[bad->kind] -= bad->sectors;
	}
	return true;
}

static bool take_state(GKeyFile *file, enum ti_scrub_state *state)
{
	g_autofree char *name = g_key_file_get_string(file, GROUP, "state", NULL);

	for (int i = 0; i < TI_SCRUB_STATES; i++) {
		*state = (enum ti_scrub_state)i;
		if (!g_strcmp0(ti_scrub_state_name(*state), name))
			return true;
	}
	return false;
}

/* A number that is missing or none is an error of the whole file. */
static uint64_t number(GKeyFile *file, const char *key, bool *good)
{
	g_autoptr(GError) error = NULL;
	uint64_t value = g_key_file_get_uint64(file, GROUP, key, &error);

	if (error)
		*good = false;
	return value;
}

static bool parse(GKeyFile *file, struct ti_scrub_saved *saved)
{
	struct ti_scrub_report *r = &saved->report;
	bool good = g_key_file_get_integer(file, GROUP, "version", NULL) == VERSION &&
		    take_state(file, &r->state);

	r->sector = number(file, "sector", &good);
	r->end = number(file, "end", &good);
	r->rate_limit = number(file, "rate_limit", &good);
	r->verified_sectors = number(file, "verified_sectors", &good);
	r->skipped_sectors = number(file, "skipped_sectors", &good);
	for (int kind = 0; kind < TI_SCRUB_KINDS; kind++)
		r->bad_sectors[kind] =
			number(file, ti_scrub_kind_name((enum ti_scrub_kind)kind), &good);
	/* Earlier versions did not write it. */
	r->mended_sectors = g_key_file_get_uint64(file, GROUP, "mended_sectors", NULL);
	r->ranges = number(file, "ranges", &good);
	saved->started = number(file, "started", &good);
	saved->ended = number(file, "ended", &good);
	saved->recalculating = g_key_file_has_key(file, GROUP, "recalculate_rate", NULL);
	if (saved->recalculating)
		saved->recalc_rate = number(file, "recalculate_rate", &good);
	return good && ti_rate_is_good(saved->recalc_rate) && r->sector <= r->end &&
	       take_bad(file, r) && r->ranges >= r->listed;
}

int ti_scrub_state_load(const char *dir, const char *name, struct ti_scrub_saved *saved)
{
	const struct ti_scrub_saved none = { .pair = saved->pair, .devices = saved->devices };
	g_autofree char *path = path_of(dir, name, saved);
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autoptr(GError) error = NULL;

	*saved = none;
	if (!g_file_test(path, G_FILE_TEST_EXISTS))
		take_over(dir, name, saved, path);
	if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &error))
		return g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT) ? -ENOENT : -EINVAL;
	if (!is_of_pair(file, none.pair))
		return -ESTALE;
	if (parse(file, saved))
		return 0;
	*saved = none;
	return -EINVAL;
}
