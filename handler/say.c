// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
#include "say.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "libtcmu_log.h"

#include "error.h"

/* libtcmu's LOG_MSG_LEN, without the byte that ends it. */
#define LINE 254U
/* What it puts in front: "who:0: ". */
#define WHO	"ti"
#define FRONT	(sizeof(WHO ":0: ") - 1)
#define NEWLINE 1U

/* The mark of a line that goes on, or has gone on, elsewhere. */
#define MORE	 "..."
#define MORE_LEN (sizeof(MORE " ") - 1)

static void say_piece(const struct ti_voice *voice, enum ti_log_level level, bool first, int len,
		      const char *text, bool last)
{
	const char *lun = voice->lun, *begin = first ? "" : MORE " ", *end = last ? "" : " " MORE;

	switch (level) {
	case TI_LOG_ERR:
		tcmu_err_message(NULL, WHO, 0, "%s%s%.*s%s\n", lun, begin, len, text, end);
		break;
	case TI_LOG_WARN:
		tcmu_warn_message(NULL, WHO, 0, "%s%s%.*s%s\n", lun, begin, len, text, end);
		break;
	case TI_LOG_INFO:
		tcmu_info_message(NULL, WHO, 0, "%s%s%.*s%s\n", lun, begin, len, text, end);
		break;
	case TI_LOG_DBG:
		tcmu_dbg_message(NULL, WHO, 0, "%s%s%.*s%s\n", lun, begin, len, text, end);
		break;
	}
}

/* Bytes of @text for a line that has room for so many: all, or up to the last blank that leaves
 * room for the mark, or, of a very long word, what fits. */
static size_t piece_len(const char *text, size_t room)
{
	size_t len = strlen(text), most = room - MORE_LEN;

	if (len <= room)
		return len;
	for (len = most; len > most / 2; len--) {
		if (text[len] == ' ')
			return len;
	}
	return most;
}

struct ti_voice ti_say_voice(struct tcmu_device *dev)
{
	struct ti_voice voice = { .lun = "" };
	struct ti_backstore backstore;

	if (!dev)
		return voice;
	ti_backstore_find(dev, &backstore);
	snprintf(voice.lun, sizeof(voice.lun), "integrity/%s: ", backstore.name);
	ti_log_drop_controls(voice.lun);
	return voice;
}

void ti_say_line(const struct ti_voice *voice, enum ti_log_level level, char *text)
{
	size_t room = LINE - FRONT - strlen(voice->lun) - NEWLINE;
	bool first = true;

	ti_log_drop_controls(text);
	for (;;) {
		size_t len = piece_len(text, room);
		bool last = text[len] == '\0';

		say_piece(voice, level, first, (int)len, text, last);
		if (last)
			return;
		text += len;
		text += *text == ' ';
		if (first)
			room -= MORE_LEN;
		first = false;
	}
}

void ti_say(struct tcmu_device *dev, enum ti_log_level level, const char *fmt, ...)
{
	struct ti_voice voice = ti_say_voice(dev);
	char text[TI_ERROR_TEXT + 128];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ti_say_line(&voice, level, text);
}
