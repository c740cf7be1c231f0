/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See journal_store.h.  The file: a page of header, the words, padding to a page, the sections. */
#include "journal_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal_format.h"
#include "memory.h"

static const char magic[TI_STORE_MAGIC_BYTES] = "ti-journal-1";

struct header {
	struct ti_store_head head;
	uint64_t begun; /* 1: there is a ring in it */
};

static size_t words_bytes(uint32_t sections)
{
	return (sections * sizeof(uint64_t) + TI_STORE_PAGE - 1) / TI_STORE_PAGE * TI_STORE_PAGE;
}

static struct header *header(const struct ti_journal_store *s)
{
	return (struct header *)(void *)s->file.map;
}

static void lay_out(struct ti_journal_store *s, uint8_t *words, uint32_t sections)
{
	s->word = (uint64_t *)(void *)words;
	s->memory = words + words_bytes(sections);
}

bool ti_journal_store_exists(const char *path)
{
	return path != NULL && access(path, F_OK) == 0;
}

/* A predecessor's ring.  Returns 0 also if there is none; then map is NULL. */
static int inherit(struct ti_journal_store *s, const char *path, const struct ti_store_pair *pair,
		   const struct ti_log *log, bool *locked, struct ti_error *error)
{
	uint32_t sections = pair->geo->journal_sections;
	size_t bytes = TI_STORE_PAGE + words_bytes(sections) + s->memory_bytes;
	int err = ti_store_file_map(path, magic, pair, s->scrap ? TI_STORE_SCRAP : TI_STORE_INHERIT,
				    locked, &s->file);

	if (err == 0 && s->file.bytes != bytes) {
		ti_store_file_close(&s->file, false);
		err = -ESTALE;
	}
	if (err == -ENOENT)
		return 0;
	if (err == -ESTALE) {
		ti_log(log, TI_LOG_WARN,
		       "uncommitted writes of another pair are left alone and dropped path=%s",
		       path);
		return 0;
	}
	if (err != 0)
		return ti_error_set(
			error, err,
			"cannot look at the writes that a killed tcmu-runner left in %s: %s; "
			"mend that, or delete the file if they are not needed",
			path, strerror(-err));
	if (header(s)->begun != 1) {
		ti_store_file_close(&s->file, false); /* it had not begun to serve */
		return 0;
	}
	s->inherited = true;
	lay_out(s, s->file.map + TI_STORE_PAGE, sections);
	return 0;
}

/* A fresh file, in the place of whatever is there. */
static int create(struct ti_journal_store *s, const char *path, const struct ti_store_pair *pair,
		  bool *locked)
{
	uint32_t sections = pair->geo->journal_sections;
	size_t bytes = TI_STORE_PAGE + words_bytes(sections) + s->memory_bytes;
	int err;

	/* Nothing in it counts, and its room may be needed. */
	unlink(path);
	err = ti_store_file_create(path, magic, pair, bytes, locked, &s->file);
	if (err != 0)
		return err;
	lay_out(s, s->file.map + TI_STORE_PAGE, sections);
	err = ti_store_file_publish(&s->file);
	if (err != 0)
		ti_store_file_close(&s->file, false);
	return err;
}

static int own(struct ti_journal_store *s, uint32_t sections, bool *locked)
{
	s->own_bytes = words_bytes(sections) + s->memory_bytes;
	s->own = ti_memory_get(s->own_bytes, locked);
	if (s->own == NULL)
		return -ENOMEM;
	lay_out(s, s->own, sections);
	return 0;
}

int ti_journal_store_open(const char *path, const struct ti_store_pair *pair, bool read_only,
			  const struct ti_log *log, bool *locked, struct ti_journal_store **store,
			  struct ti_error *error)
{
	uint32_t sections = pair->geo->journal_sections;
	struct ti_journal_store *s = calloc(1, sizeof(*s));
	int err = 0;

	if (s == NULL)
		return ti_error_set(error, -ENOMEM, "out of memory");
	s->memory_bytes = (size_t)sections * ti_journal_section_bytes(pair->geo);
	s->scrap = read_only;
	if (path != NULL)
		err = inherit(s, path, pair, log, locked, error);
	if (err == 0 && path != NULL && s->file.map == NULL && !read_only) {
		err = create(s, path, pair, locked);
		if (err != 0)
			ti_log(log, TI_LOG_WARN,
			       "uncommitted writes will not outlive this process path=%s error=%s",
			       path, strerror(-err));
		err = 0;
	}
	if (err == 0 && s->file.map == NULL && own(s, sections, locked) != 0)
		err = ti_error_set(error, -ENOMEM, "out of memory for a journal of %u sections",
				   sections);
	if (err != 0) {
		free(s);
		return err;
	}
	*store = s;
	return 0;
}

void ti_journal_store_begin(struct ti_journal_store *s)
{
	if (s->file.map != NULL && !s->scrap)
		ti_store_put(&header(s)->begun, 1);
}

void ti_journal_store_drop(struct ti_journal_store *s)
{
	s->inherited = false;
	if (s->file.map != NULL && !s->scrap)
		ti_store_put(&header(s)->begun, 0);
}

void ti_journal_store_close(struct ti_journal_store *s)
{
	if (s == NULL)
		return;
	if (s->file.map != NULL)
		ti_store_file_close(&s->file, !s->scrap && header(s)->begun == 0);
	ti_memory_put(s->own, s->own_bytes);
	free(s);
}
