// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
#include "say.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libtcmu_log.h"

#include "error.h"

/* What is left of 255 bytes behind the longest LUN name (127) and the rest of the prefix. */
#define PIECE 100

static void say_piece(struct tcmu_device *dev, enum ti_log_level level, int len, const char *text,
		      const char *end)
{
	static const char who[] = "ti";

	switch (level) {
	case TI_LOG_ERR:
		tcmu_err_message(dev, who, 0, "%.*s%s\n", len, text, end);
		break;
	case TI_LOG_WARN:
		tcmu_warn_message(dev, who, 0, "%.*s%s\n", len, text, end);
		break;
	case TI_LOG_INFO:
		tcmu_info_message(dev, who, 0, "%.*s%s\n", len, text, end);
		break;
	case TI_LOG_DBG:
		tcmu_dbg_message(dev, who, 0, "%.*s%s\n", len, text, end);
		break;
	}
}

/* Bytes of @text for one line: all, or up to the last blank that fits. */
static size_t piece_len(const char *text)
{
	size_t len = strlen(text);

	if (len <= PIECE)
		return len;
	for (len = PIECE; len > PIECE / 2; len--) {
		if (text[len] == ' ')
			return len;
	}
	return PIECE;
}

void ti_say_line(void *dev, enum ti_log_level level, const char *text)
{
	for (;;) {
		size_t len = piece_len(text);
		bool last = text[len] == '\0';

		say_piece(dev, level, (int)len, text, last ? "" : " ...");
		if (last)
			return;
		text += len;
		text += *text == ' ';
	}
}

void ti_say(struct tcmu_device *dev, enum ti_log_level level, const char *fmt, ...)
{
	char text[TI_ERROR_TEXT + 128];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ti_say_line(dev, level, text);
}
