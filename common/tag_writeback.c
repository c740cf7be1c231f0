/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The way of dirty tag lines back to the metadata device.
 *
 * Each change of a clean line takes the next number (dirty_seq); "everything dirty now" is thus
 * "every number up to the present one" (a target).  A sync is done when no dirty line and no write
 * under way carries a number up to its target.  Neighbouring dirty lines travel in one write.
 *
 * A line whose write fails is dirty again under its old number: the next sync tries it again, and
 * nothing is lost as long as the LUN is open.  After an error the sync under way stops, and so does
 * background writing until the next sync, tick or pin that needs room.
 */
#include "tag_cache_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "memory.h"
#include "tag_store.h"

int ti_tag_writeback_open(struct ti_tag_cache *c, bool *locked)
{
	TAILQ_INIT(&c->free_ops);
	TAILQ_INIT(&c->busy_ops);
	c->ops_bytes = WRITEBACK_OPS * sizeof(*c->ops);
	c->ops = ti_memory_get(c->ops_bytes, locked);
	c->pages_bytes = WRITEBACK_PAGES * (size_t)TI_LINE_BYTES;
	c->pages = ti_memory_get(c->pages_bytes, locked);
	c->free_page_bytes = WRITEBACK_PAGES * sizeof(*c->free_page);
	c->free_page = ti_memory_get(c->free_page_bytes, locked);
	if (c->ops == NULL || c->pages == NULL || c->free_page == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < WRITEBACK_OPS; i++) {
		c->ops[i].cache = c;
		TAILQ_INSERT_TAIL(&c->free_ops, &c->ops[i], link);
	}
	/* Taken from the end: hand out low addresses first. */
	for (unsigned i = WRITEBACK_PAGES; i-- > 0;)
		c->free_page[c->free_pages++] = c->pages + i * (size_t)TI_LINE_BYTES;
	return 0;
}

void ti_tag_writeback_close(struct ti_tag_cache *c)
{
	ti_memory_put(c->ops, c->ops_bytes);
	ti_memory_put(c->pages, c->pages_bytes);
	ti_memory_put(c->free_page, c->free_page_bytes);
}

/* Tell a successor where the line belongs, or that it is on the device. */
static void note_place(struct ti_tag_cache *c, const struct ti_tag_line *line, uint64_t place)
{
	if (c->store != NULL)
		__atomic_store_n(&c->store->place[line - c->lines], place, __ATOMIC_RELAXED);
}

void ti_tag_line_dirty(struct ti_tag_cache *c, struct ti_tag_line *line)
{
	if (line->dirty)
		return; /* its older number stands */
	line->dirty = true;
	line->dirty_seq = ++c->seq;
	note_place(c, line, line->index + 1);
	TAILQ_INSERT_TAIL(&c->dirty, line, dlink);
	c->dirty_lines++;
}

static void clean(struct ti_tag_cache *c, struct ti_tag_line *line)
{
	TAILQ_REMOVE(&c->dirty, line, dlink);
	line->dirty = false;
	c->dirty_lines--;
}

/* The write of a line failed: it is as dirty as it was before, whatever happened meanwhile. */
static void dirty_again(struct ti_tag_cache *c, struct ti_tag_line *line)
{
	struct ti_tag_line *younger;

	if (line->dirty)
		clean(c, line);
	line->dirty = true;
	line->dirty_seq = line->writing_seq;
	c->dirty_lines++;
	TAILQ_FOREACH (younger, &c->dirty, dlink)
		if (younger->dirty_seq > line->dirty_seq)
			break;
	if (younger != NULL)
		TAILQ_INSERT_BEFORE(younger, line, dlink);
	else
		TAILQ_INSERT_TAIL(&c->dirty, line, dlink);
}

static bool writable(const struct ti_tag_line *line)
{
	return line != NULL && line->dirty && !line->writing;
}

static bool sync_wants_more(const struct ti_tag_cache *c)
{
	return c->sync != NULL && c->sync->error == 0;
}

static void pump(struct ti_tag_cache *c);

static void finish_sync(struct ti_tag_cache *c)
{
	struct ti_tag_sync *sync = c->sync;
	const struct ti_tag_line *oldest = TAILQ_FIRST(&c->dirty);
	const struct writeback *op;

	if (sync == NULL)
		return;
	if (sync->error == 0 && oldest != NULL && oldest->dirty_seq <= sync->target)
		return;
	/* Also after an error: the caller may reuse the sync once done() was called, and what is
	 * still under way belongs to it. */
	TAILQ_FOREACH (op, &c->busy_ops, link)
		if (op->oldest_seq <= sync->target)
			return;
	c->sync = NULL;
	sync->active = false;
	sync->done(sync);
}

static void write_done(struct ti_io *io)
{
	struct writeback *op = io->owner;
	struct ti_tag_cache *c = op->cache;
	int result = io->result;

	for (unsigned i = 0; i < op->lines; i++) {
		struct ti_tag_line *line = op->line[i];

		c->free_page[c->free_pages++] = op->vec[i].iov_base;
		line->writing = false;
		if (result != 0)
			dirty_again(c, line);
		else if (!line->dirty)
			note_place(c, line, 0);
		ti_tag_line_park(c, line);
	}
	TAILQ_REMOVE(&c->busy_ops, op, link);
	TAILQ_INSERT_TAIL(&c->free_ops, op, link);
	c->writes_under_way--;
	if (!io->fua || result != 0)
		c->wrote(c->ctx, result);
	if (result != 0) {
		c->stats.write_errors++;
		c->background_target = 0;
		if (c->sync != NULL && c->sync->error == 0 && op->oldest_seq <= c->sync->target)
			c->sync->error = result;
	}
	if (!TAILQ_EMPTY(&c->waiting) && ti_tag_cache_serve_waiting(c)) {
		/* A pin that finds no room, while what takes the room cannot be written, must not
		 * wait for a device that may never come back: after an error nothing more is
		 * started, and if no other write under way makes room, the pins fail. */
		if (result == 0)
			c->background_target = c->seq;
		else if (c->writes_under_way == 0)
			ti_tag_cache_fail_waiting(c, result);
	}
	pump(c);
	finish_sync(c);
}

/* Add a line to a write: copy it, so that the device reads what does not change. */
static void add_line(struct ti_tag_cache *c, struct writeback *op, struct ti_tag_line *line)
{
	struct iovec *vec = &op->vec[op->lines];

	op->line[op->lines++] = line;
	vec->iov_base = c->free_page[--c->free_pages];
	vec->iov_len = ti_tag_line_bytes(c, line->index);
	memcpy(vec->iov_base, line->data, vec->iov_len);
	op->io.len += vec->iov_len;
	if (line->dirty_seq < op->oldest_seq)
		op->oldest_seq = line->dirty_seq;
	line->writing_seq = line->dirty_seq;
	line->writing = true;
	clean(c, line);
}

/*
 * Is the write that is being made all that the sync has to write and to wait for?  Then it may be
 * durable by itself.  One of several is not: each would be as dear as the one flush after all.
 */
static bool is_all_of_sync(const struct ti_tag_cache *c)
{
	const struct ti_tag_line *oldest = TAILQ_FIRST(&c->dirty);

	return sync_wants_more(c) && c->writes_under_way == 0 &&
	       (oldest == NULL || oldest->dirty_seq > c->sync->target);
}

/* Write @line and the dirty lines around it.  There is an op and a page. */
static void write_around(struct ti_tag_cache *c, struct ti_tag_line *line)
{
	struct writeback *op = TAILQ_FIRST(&c->free_ops);
	struct ti_tag_line *l;
	uint64_t first = line->index;
	unsigned back = 0;

	while (first > 0 && back < WRITEBACK_LINES - 1 && back < c->free_pages - 1 &&
	       writable(ti_tag_line_find(c, first - 1))) {
		first--;
		back++;
	}
	TAILQ_REMOVE(&c->free_ops, op, link);
	TAILQ_INSERT_TAIL(&c->busy_ops, op, link);
	op->lines = 0;
	op->oldest_seq = UINT64_MAX;
	op->io.len = 0;
	for (uint64_t i = first; op->lines < WRITEBACK_LINES && c->free_pages > 0; i++) {
		l = ti_tag_line_find(c, i);
		if (!writable(l))
			break;
		add_line(c, op, l);
	}
	op->io.op = TI_IO_WRITE;
	op->io.dev = TI_META;
	op->io.offset = c->area_offset + first * TI_LINE_BYTES;
	op->io.iov = op->vec;
	op->io.iov_count = op->lines;
	op->io.fua = ti_device_writes_through(&c->queue->dev[TI_META]) ||
		     (is_all_of_sync(c) && c->sync->fua);
	op->io.done = write_done;
	op->io.owner = op;
	c->stats.lines_written += op->lines;
	c->writes_under_way++;
	ti_queue_submit(c->queue, &op->io);
}

/* Write every line up to the highest target, as far as ops and pages go. */
static void pump(struct ti_tag_cache *c)
{
	uint64_t target = c->background_target;
	struct ti_tag_line *line = TAILQ_FIRST(&c->dirty);

	if (sync_wants_more(c) && c->sync->target > target)
		target = c->sync->target;
	while (line != NULL && line->dirty_seq <= target) {
		if (TAILQ_EMPTY(&c->free_ops) || c->free_pages == 0)
			return; /* a write's end calls again */
		if (line->writing) {
			line = TAILQ_NEXT(line, dlink);
			continue;
		}
		write_around(c, line); /* takes neighbours off the list, too */
		line = TAILQ_FIRST(&c->dirty);
	}
}

void ti_tag_writeback_make_room(struct ti_tag_cache *c)
{
	c->background_target = c->seq;
	pump(c);
}

void ti_tag_writeback_balance(struct ti_tag_cache *c)
{
	/* From half full on, so that room is made before it is needed. */
	if (c->line_count < (c->area_on_disk + TI_LINE_BYTES - 1) / TI_LINE_BYTES &&
	    c->dirty_lines > c->line_count / 2 && c->writes_under_way == 0)
		ti_tag_writeback_make_room(c);
}

bool ti_tag_cache_sync(struct ti_tag_cache *c, struct ti_tag_sync *sync)
{
	assert(c->sync == NULL);
	sync->error = 0;
	sync->target = c->seq;
	if (!ti_tag_cache_dirty(c))
		return false;
	sync->active = true;
	c->sync = sync;
	pump(c);
	return true;
}

void ti_tag_cache_tick(struct ti_tag_cache *c)
{
	c->background_target = c->tick_seq;
	c->tick_seq = c->seq;
	pump(c);
}
