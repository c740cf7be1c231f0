/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Defaults file and profiles: what is too long, or too delicate, for a config string, and what
 * several LUNs share.
 *
 *     [lun]
 *     data=/dev/disk/by-id/...
 *     meta=/dev/disk/by-id/...
 *     hash=hmac-sha256
 *     integrity_key_file=/etc/tcmu/keys/NAME.key
 *
 * One group, with the keys of config_keys.c.  A key file of GLib's (not ours: the word has two
 * meanings) may hold ':' and ',' and any length.  GLib reads it, but tells no lines and lets the
 * last of two equal keys win; so the lines are walked through once more here, for their numbers.
 */
#include "config_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#define GROUP "lun"

/* A file of settings that is longer is none. */
#define MAX_BYTES (64U << 10)

/* All of the file into *@text, which is the caller's.  A device or a pipe must not stop a runner.
 */
static int slurp(const char *path, char **text, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	}
	*text = g_malloc(MAX_BYTES + 1);
	for (*len = 0; *len <= MAX_BYTES; *len += (size_t)n) {
		n = read(fd, *text + *len, MAX_BYTES + 1 - *len);
		if (n <= 0)
			break;
	}
	close(fd);
	if (n < 0 || *len > MAX_BYTES) {
		g_free(*text);
		return n < 0 ? -EIO : -EFBIG;
	}
	(*text)[*len] = '\0';
	return 0;
}

static bool parses(const char *text, size_t len)
{
	GKeyFile *file = g_key_file_new();
	bool good = g_key_file_load_from_data(file, text, len, G_KEY_FILE_NONE, NULL);

	g_key_file_free(file);
	return good;
}

/* How long the first @lines lines are. */
static size_t length_of(const char *text, unsigned lines)
{
	size_t len = 0;

	while (lines-- && text[len]) {
		len += strcspn(text + len, "\n");
		len += text[len] != '\0';
	}
	return len;
}

/* The line that GLib stumbles over: without it the text parses, with it it does not. */
static unsigned first_bad_line(const char *text)
{
	unsigned good = 0, bad = 1;

	for (const char *p = text; *p; p++)
		bad += *p == '\n';
	while (bad - good > 1) {
		unsigned middle = good + (bad - good) / 2;

		if (parses(text, length_of(text, middle)))
			good = middle;
		else
			bad = middle;
	}
	return bad;
}

/* What GLib says, without what it repeats of the file: a line may be a key in the wrong place. */
static int bad_syntax(struct ti_config_load *load, const char *text, const GError *why)
{
	load->line = first_bad_line(text);
	if (g_error_matches(why, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_GROUP_NOT_FOUND))
		return ti_config_problem(load, -EINVAL, "there must be a line [" GROUP "] first");
	return ti_config_problem(load, -EINVAL,
				 "this line is neither a comment (#), nor [" GROUP
				 "], nor of the form key=value");
}

static int take_group(struct ti_config_load *load, const char *line, bool *found)
{
	const char *end = strchr(line, ']');

	if (end && (size_t)(end - line - 1) == strlen(GROUP) &&
	    !strncmp(line + 1, GROUP, strlen(GROUP))) {
		*found = true;
		return 0;
	}
	return ti_config_problem(load, -EINVAL,
				 "the file has one group, [" GROUP "], and no other");
}

static int take_key(struct ti_config_load *load, GKeyFile *file, char *line)
{
	char *equals = strchr(line, '=');
	char *value;
	int err;

	/* GLib has let the line pass. */
	*equals = '\0';
	g_strchomp(line);
	value = g_key_file_get_string(file, GROUP, line, NULL);
	if (!ti_config_may_repeat(load, line))
		err = ti_config_take(load, line, ""); /* says so, and repeats no value */
	else if (!value || !value[0])
		err = ti_config_problem(load, -EINVAL, "%.60s has no value that can be read", line);
	else if (strpbrk(value, "\n\r\t"))
		err = ti_config_problem(load, -EINVAL, "the value of %.60s is more than a line",
					line);
	else
		err = ti_config_take(load, line, value);
	g_free(value);
	return err;
}

static int take_lines(struct ti_config_load *load, GKeyFile *file, char *text)
{
	bool found = false;
	int first = 0;
	char *rest = text;

	load->line = 0;
	while (rest) {
		char *line = g_strstrip(strsep(&rest, "\n"));
		int err = 0;

		load->line++;
		if (line[0] == '[')
			err = take_group(load, line, &found);
		else if (line[0] && line[0] != '#')
			err = take_key(load, file, line);
		if (!first)
			first = err;
		if (!ti_config_goes_on(load, err))
			return first;
	}
	/* Whoever makes a profile wants to say something; defaults may all be comments. */
	if (!found && !first && load->layer == TI_LAYER_PROFILE) {
		load->line = 0;
		first = ti_config_problem(load, -EINVAL, "it must have one group, [" GROUP "]");
	}
	return first;
}

static int read_text(struct ti_config_load *load, char *text, size_t len)
{
	GKeyFile *file;
	GError *why = NULL;
	int err;

	if (strlen(text) != len)
		return ti_config_problem(load, -EINVAL, "it holds a zero byte and is no text");
	file = g_key_file_new();
	if (g_key_file_load_from_data(file, text, len, G_KEY_FILE_NONE, &why)) {
		err = take_lines(load, file, text);
	} else {
		err = bad_syntax(load, text, why);
		g_error_free(why);
	}
	g_key_file_free(file);
	return err;
}

int ti_config_read_file(struct ti_config_load *load, const char *path, bool may_miss)
{
	char *text = NULL;
	size_t len = 0;
	int err = slurp(path, &text, &len);

	load->path = path;
	load->line = 0;
	load->seen = 0;
	if (err == -ENOENT && may_miss)
		return err;
	if (err == -EFBIG)
		return ti_config_problem(load, -EINVAL, "it has more than %u bytes", MAX_BYTES);
	if (err)
		return ti_config_problem(load, err, "the file cannot be read: %s",
					 err == -EINVAL ? "it is no regular file" : strerror(-err));
	if (load->trace)
		g_strlcpy(load->layer == TI_LAYER_PROFILE ? load->trace->profile
							  : load->trace->defaults,
			  path, sizeof(load->trace->profile));
	err = read_text(load, text, len);
	g_free(text);
	return err;
}
