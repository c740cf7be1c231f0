/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Handing log lines to whoever listens.
 *
 * Lines are put together on the stack: a warning may come out of the I/O path, where nothing is
 * allocated.
 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>

void ti_log(const struct ti_log *log, enum ti_log_level level, const char *fmt, ...)
{
	char text[TI_LOG_LINE];
	size_t used = 0;
	va_list args;

	if (!log || !log->line)
		return;
	if (log->lun) {
		int n = snprintf(text, sizeof(text), "%s: ", log->lun);

		/* A name that fills the line leaves no room for the event: leave the name out. */
		if (n > 0 && (size_t)n < sizeof(text) / 2)
			used = (size_t)n;
	}
	va_start(args, fmt);
	(void)vsnprintf(text + used, sizeof(text) - used, fmt, args);
	va_end(args);
	log->line(log->ctx, level, text);
}

/* Also those beyond ASCII, U+0080 to U+009F, in UTF-8: terminals obey them. */
void ti_log_drop_controls(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
		if (*c < ' ' || *c == 0x7f)
			*c = '?';
		else if (*c == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f)
			c[0] = c[1] = '?';
	}
}

int64_t ti_ratelimit(struct ti_ratelimit *rl, uint64_t now_ns)
{
	uint64_t suppressed;

	if (now_ns - rl->window_start_ns >= TI_RATELIMIT_NS || !rl->in_window) {
		rl->window_start_ns = now_ns;
		rl->in_window = 0;
	}
	if (rl->in_window >= TI_RATELIMIT_BURST) {
		rl->suppressed++;
		return -1;
	}
	rl->in_window++;
	suppressed = rl->suppressed;
	rl->suppressed = 0;
	return suppressed > INT64_MAX ? INT64_MAX : (int64_t)suppressed;
}
