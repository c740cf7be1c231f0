/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The progress line.  The rate is the mean since the beginning: it settles quickly, and devices
 * that slow down towards their end do so slowly.
 */
#include "progress_bar.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "units.h"

#define DRAW_EVERY_NS (200 * TI_NS_PER_MS)
#define BAR_MAX	      40
#define WIDTH_DEFAULT 80

/* Kept for the text, so that the bar does not change its length: "1023.9 GiB" twice, rate, time. */
#define TEXT_ROOM 58

/* A rate from less than this is noise. */
#define RATE_AFTER_NS (500 * TI_NS_PER_MS)

static unsigned terminal_width(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col)
		return WIDTH_DEFAULT;
	return size.ws_col;
}

static void describe(const struct progress_bar *bar, uint64_t now, uint64_t done, uint64_t total,
		     char *text, size_t room)
{
	uint64_t elapsed = now - bar->start_ns;
	int used = snprintf(text, room, " %3u%%  %s of %s",
			    (unsigned)((double)done * 100 / (double)total), units_size(done).text,
			    units_size(total).text);
	double per_second;

	if (elapsed < RATE_AFTER_NS || done <= bar->base || used < 0 || (size_t)used >= room)
		return;
	per_second = (double)(done - bar->base) / ((double)elapsed / (double)TI_NS_PER_SEC);
	snprintf(text + used, room - (size_t)used, "  %s/s  ETA %s",
		 units_size((uint64_t)per_second).text,
		 units_time((uint64_t)((double)(total - done) / per_second + 0.5)).text);
}

static void draw(struct progress_bar *bar, uint64_t now, uint64_t done, uint64_t total)
{
	char text[128];
	char filled[BAR_MAX + 1];
	size_t width = terminal_width();
	size_t fixed, length, marks;

	describe(bar, now, done, total, text, sizeof(text));
	fixed = strlen(bar->label) + TEXT_ROOM + 4;
	length = width > fixed ? width - fixed : 0;
	if (length > BAR_MAX)
		length = BAR_MAX;
	marks = (size_t)((double)length * (double)done / (double)total);
	memset(filled, '.', length);
	memset(filled, '#', marks);
	filled[length] = '\0';
	/* Back to the line's beginning, and away with what was longer before. */
	if (length)
		fprintf(stderr, "\r%s [%s]%s\033[K", bar->label, filled, text);
	else
		fprintf(stderr, "\r%s%s\033[K", bar->label, text);
	fflush(stderr);
	bar->drawn = true;
	bar->last_ns = now;
}

static int step(void *ctx, uint64_t done, uint64_t total)
{
	struct progress_bar *bar = ctx;

	if (bar->visible) {
		uint64_t now = ti_clock_now(&ti_clock_monotonic);

		/* Work that goes on where another has left it has not done that part. */
		if (!bar->drawn)
			bar->base = done;
		if (!bar->drawn || done == total || now - bar->last_ns >= DRAW_EVERY_NS)
			draw(bar, now, done, total);
	}
	return cli_stop_wanted();
}

struct ti_progress progress_bar_begin(struct progress_bar *bar, const char *label, bool wanted)
{
	*bar = (struct progress_bar){
		.label = label,
		.visible = wanted && isatty(STDERR_FILENO),
		.start_ns = ti_clock_now(&ti_clock_monotonic),
	};
	cli_catch_stop();
	return (struct ti_progress){ .step = step, .ctx = bar };
}

void progress_bar_end(struct progress_bar *bar)
{
	if (!bar->drawn)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	bar->drawn = false;
}

double progress_bar_seconds(const struct progress_bar *bar)
{
	uint64_t now = ti_clock_now(&ti_clock_monotonic);

	return (double)(now - bar->start_ns) / (double)TI_NS_PER_SEC;
}
