/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Where the engine's log lines go.
 *
 * The engine knows no logging library: its user passes one function.  One line per event, facts as
 * key=value at the end.  Nothing in the I/O path logs below TI_LOG_WARN, and repeated warnings are
 * counted, not printed one by one (struct ti_ratelimit).
 */
#ifndef TI_LOG_H
#define TI_LOG_H

#include <stdint.h>

enum ti_log_level {
	TI_LOG_ERR,  /* data at risk, or a request failed for our reason */
	TI_LOG_WARN, /* works, but worse */
	TI_LOG_INFO, /* open, close and the like */
	TI_LOG_DBG,
};

/** A line has fewer bytes than this: room for two long paths; what is longer is cut. */
#define TI_LOG_LINE 1024U

struct ti_log {
	/* Write one line (no newline at its end).  May be called from any thread that is inside the
	 * engine, also from the I/O path: must not block, nor call back into it.  NULL: nobody
	 * listens. */
	void (*line)(void *ctx, enum ti_log_level level, const char *text);
	void *ctx;
	const char *lun; /* name put before each line; NULL: none */
};

void ti_log(const struct ti_log *log, enum ti_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** Let control characters in @text be question marks.  A message may repeat what somebody has sent
 *  or named: it must not make lines of its own, nor give orders to a terminal. */
void ti_log_drop_controls(char *text);

/** At most @TI_RATELIMIT_BURST lines per @TI_RATELIMIT_NS; the rest is counted. */
#define TI_RATELIMIT_BURST 10
#define TI_RATELIMIT_NS	   (5ULL * 1000 * 1000 * 1000)

struct ti_ratelimit {
	uint64_t window_start_ns;
	unsigned in_window;
	uint64_t suppressed;
};

/**
 * May a line be written at @now_ns?  Returns the number of lines left out since the last one
 * that was written (0 or more), or -1 for "not now".
 */
int64_t ti_ratelimit(struct ti_ratelimit *rl, uint64_t now_ns);

#endif
