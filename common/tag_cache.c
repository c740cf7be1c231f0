/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * See tag_cache.h for the idea and a line's life; tag_writeback.c has the way back to the device.
 *
 * Invariants, true whenever nobody is inside a function of this file:
 *  - a line is on the clean list exactly when it is VALID, not dirty, not being written, unpinned;
 *  - a line is on the dirty list exactly when it is dirty, oldest dirty_seq first;
 *  - VALID, LOADING and EMPTY lines are in the table, FREE and FAILED ones are not;
 *  - an EMPTY line has one pin, the one that is going to set all of it;
 *  - a waiting pin holds no line.
 */
#include "tag_cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "secret.h"
#include "tag_cache_internal.h"
#include "tag_store.h"

static struct ti_tag_line **bucket(struct ti_tag_cache *c, uint64_t index)
{
	return &c->table[(index * 0x9e3779b97f4a7c15ULL) >> c->table_shift];
}

struct ti_tag_line *ti_tag_line_find(struct ti_tag_cache *c, uint64_t index)
{
	struct ti_tag_line *line = *bucket(c, index);

	while (line != NULL && line->index != index)
		line = line->table_next;
	return line;
}

static void table_insert(struct ti_tag_cache *c, struct ti_tag_line *line)
{
	struct ti_tag_line **slot = bucket(c, line->index);

	line->table_next = *slot;
	*slot = line;
}

static void table_remove(struct ti_tag_cache *c, struct ti_tag_line *line)
{
	struct ti_tag_line **slot = bucket(c, line->index);

	while (*slot != line)
		slot = &(*slot)->table_next;
	*slot = line->table_next;
}

size_t ti_tag_line_bytes(const struct ti_tag_cache *c, uint64_t index)
{
	uint64_t left = c->area_on_disk - index * TI_LINE_BYTES;

	return left < TI_LINE_BYTES ? (size_t)left : TI_LINE_BYTES;
}

/* Put an unpinned line where it belongs. */
void ti_tag_line_park(struct ti_tag_cache *c, struct ti_tag_line *line)
{
	if (line->pins > 0)
		return;
	if (line->state == LINE_EMPTY)
		table_remove(c, line);
	if (line->state == LINE_EMPTY || line->state == LINE_FAILED) {
		line->state = LINE_FREE;
		TAILQ_INSERT_HEAD(&c->clean, line, lru);
		c->available++;
	} else if (line->state == LINE_VALID && !line->dirty && !line->writing) {
		TAILQ_INSERT_TAIL(&c->clean, line, lru);
		c->available++;
	}
}

/* Is the line on the clean list (which also holds the free ones, at its head)? */
static bool is_available(const struct ti_tag_line *line)
{
	return line->pins == 0 && line->state == LINE_VALID && !line->dirty && !line->writing;
}

static void hold(struct ti_tag_cache *c, struct ti_tag_line *line)
{
	if (is_available(line)) {
		TAILQ_REMOVE(&c->clean, line, lru);
		c->available--;
	}
	line->pins++;
}

/* Take the line that was unused for longest, for @index.  There is one. */
static struct ti_tag_line *claim(struct ti_tag_cache *c, uint64_t index)
{
	struct ti_tag_line *line = TAILQ_FIRST(&c->clean);

	assert(line != NULL);
	TAILQ_REMOVE(&c->clean, line, lru);
	c->available--;
	if (line->state == LINE_VALID)
		table_remove(c, line);
	line->index = index;
	line->pins = 1;
	table_insert(c, line);
	return line;
}

/* Does the pin set every tag byte of the line? */
static bool covers(const struct ti_tag_cache *c, const struct ti_tag_pin *pin, uint64_t index)
{
	uint64_t first = index * TI_LINE_BYTES;
	uint64_t end =
		first + TI_LINE_BYTES < c->area_bytes ? first + TI_LINE_BYTES : c->area_bytes;

	return pin->overwrite && pin->offset <= first && end <= pin->offset + pin->len;
}

/* @loaded: the @count neighbouring lines of one read, from line @first on. */
static void pins_loaded(struct ti_tag_cache *c, struct ti_tag_line *const *loaded, uint64_t first,
			unsigned count, int error)
{
	struct ti_tag_pin *pin, *next;

	for (pin = TAILQ_FIRST(&c->loading); pin != NULL; pin = next) {
		uint64_t from = pin->offset / TI_LINE_BYTES;
		uint64_t lo = from > first ? from : first;
		uint64_t hi = from + pin->lines < first + count ? from + pin->lines : first + count;
		unsigned arrived = 0;

		next = TAILQ_NEXT(pin, link);
		for (uint64_t i = lo; i < hi; i++) {
			/* After a failure another line may have the same place: not this pin's. */
			if (pin->line[i - from] != loaded[i - first])
				continue;
			arrived++;
			/* Reads of one pin fail in any order; it is told of the first line. */
			if (error != 0 &&
			    (pin->error == 0 || i * TI_LINE_BYTES < pin->error_offset)) {
				pin->error = error;
				pin->error_offset = i * TI_LINE_BYTES;
			}
		}
		assert(pin->loading >= arrived);
		pin->loading -= arrived;
		if (arrived > 0 && pin->loading == 0) {
			TAILQ_REMOVE(&c->loading, pin, link);
			pin->ready(pin);
		}
	}
}

static void load_done(struct ti_io *io)
{
	struct ti_tag_line *line = io->owner, *loaded[TI_PIN_LINES];
	struct ti_tag_cache *c = line->cache;
	uint64_t first = line->index;
	unsigned count = line->run;

	c->io_under_way--;
	if (io->result != 0)
		c->stats.read_errors++;
	for (unsigned i = 0; i < count; i++) {
		struct ti_tag_line *l = i == 0 ? line : ti_tag_line_find(c, first + i);

		assert(l->state == LINE_LOADING);
		loaded[i] = l;
		if (io->result == 0) {
			l->state = LINE_VALID;
		} else {
			/* Out of the table, so that the next one who asks reads it again. */
			table_remove(c, l);
			l->state = LINE_FAILED;
		}
	}
	pins_loaded(c, loaded, first, count, io->result);
}

/* Read lines [i, i + run) of the pin, which were just claimed, with one I/O. */
static void load_run(struct ti_tag_cache *c, struct ti_tag_pin *pin, unsigned i, unsigned run)
{
	struct ti_tag_line *line = pin->line[i];
	struct ti_io *io = &line->io;

	io->len = 0;
	for (unsigned k = i; k < i + run; k++) {
		pin->vec[k].iov_base = pin->line[k]->data;
		pin->vec[k].iov_len = ti_tag_line_bytes(c, pin->line[k]->index);
		io->len += pin->vec[k].iov_len;
	}
	line->run = run;
	io->op = TI_IO_READ;
	io->dev = TI_META;
	io->offset = c->area_offset + line->index * TI_LINE_BYTES;
	io->iov = &pin->vec[i];
	io->iov_count = run;
	io->fua = false;
	io->done = load_done;
	io->owner = line;
	c->stats.lines_read += run;
	c->io_under_way++;
	ti_queue_submit(c->queue, io);
}

static void load_missing(struct ti_tag_cache *c, struct ti_tag_pin *pin, uint32_t fresh)
{
	for (unsigned i = 0; i < pin->lines; i++) {
		unsigned run = 0;

		while (i + run < pin->lines && (fresh & (1U << (i + run))))
			run++;
		if (run > 0)
			load_run(c, pin, i, run);
		i += run;
	}
}

/*
 * Is one of the pin's lines EMPTY?  Nothing is in it until its pin has set it, and if that fails
 * (its data could not be written, or read), nothing ever will be: whoever had shared it would take
 * zeros for tags, or set a few and make the rest tags.  So others wait for it to be given back.
 */
static bool awaits_owner(struct ti_tag_cache *c, const struct ti_tag_pin *pin)
{
	uint64_t first = pin->offset / TI_LINE_BYTES;

	for (unsigned i = 0; i < pin->lines; i++) {
		const struct ti_tag_line *line = ti_tag_line_find(c, first + i);

		if (line != NULL && line->state == LINE_EMPTY)
			return true;
	}
	return false;
}

/* Hold every line of the pin, or none.  False if there is not room enough now, or if one is EMPTY.
 */
static bool acquire(struct ti_tag_cache *c, struct ti_tag_pin *pin)
{
	uint64_t first = pin->offset / TI_LINE_BYTES;
	unsigned missing = 0, parked = 0;
	uint32_t fresh = 0; /* lines that are to be read */

	for (unsigned i = 0; i < pin->lines; i++) {
		pin->line[i] = ti_tag_line_find(c, first + i);
		if (pin->line[i] == NULL)
			missing++;
		else if (pin->line[i]->state == LINE_EMPTY)
			return false;
		else if (is_available(pin->line[i]))
			parked++;
	}
	if (missing > 0 && missing > c->available - parked)
		return false;
	for (unsigned i = 0; i < pin->lines; i++)
		if (pin->line[i] != NULL)
			hold(c, pin->line[i]);
	for (unsigned i = 0; i < pin->lines; i++) {
		struct ti_tag_line *line = pin->line[i];

		if (line == NULL) {
			line = pin->line[i] = claim(c, first + i);
			if (covers(c, pin, first + i)) {
				line->state = LINE_EMPTY;
				memset(line->data, 0, TI_LINE_BYTES);
			} else {
				line->state = LINE_LOADING;
				fresh |= 1U << i;
			}
		}
		if (line->state == LINE_LOADING)
			pin->loading++;
	}
	if (pin->loading > 0)
		TAILQ_INSERT_TAIL(&c->loading, pin, link);
	load_missing(c, pin, fresh);
	return true;
}

bool ti_tag_cache_serve_waiting(struct ti_tag_cache *c)
{
	struct ti_tag_pin *pin;

	while ((pin = TAILQ_FIRST(&c->waiting)) != NULL) {
		/* acquire() links the pin elsewhere when it has to load. */
		TAILQ_REMOVE(&c->waiting, pin, link);
		if (!acquire(c, pin)) {
			TAILQ_INSERT_HEAD(&c->waiting, pin, link);
			return !awaits_owner(c, pin);
		}
		if (pin->loading == 0)
			pin->ready(pin);
	}
	return false;
}

void ti_tag_cache_fail_waiting(struct ti_tag_cache *c, int error)
{
	struct ti_tag_pin *pin;

	while ((pin = TAILQ_FIRST(&c->waiting)) != NULL) {
		TAILQ_REMOVE(&c->waiting, pin, link);
		pin->error = error;
		pin->error_offset = pin->offset;
		pin->lines = 0; /* it holds none */
		pin->ready(pin);
	}
}

bool ti_tag_cache_pin(struct ti_tag_cache *c, struct ti_tag_pin *pin)
{
	uint64_t first = pin->offset / TI_LINE_BYTES;

	assert(pin->len > 0 && pin->len <= c->area_bytes &&
	       pin->offset <= c->area_bytes - pin->len);
	pin->lines = (unsigned)((pin->offset + pin->len - 1) / TI_LINE_BYTES - first + 1);
	assert(pin->lines <= TI_PIN_LINES);
	pin->error = 0;
	pin->loading = 0;
	if (TAILQ_EMPTY(&c->waiting) && acquire(c, pin))
		return pin->loading == 0;
	TAILQ_INSERT_TAIL(&c->waiting, pin, link);
	if (!awaits_owner(c, TAILQ_FIRST(&c->waiting)))
		ti_tag_writeback_make_room(c);
	return false;
}

void ti_tag_cache_unpin(struct ti_tag_cache *c, struct ti_tag_pin *pin)
{
	for (unsigned i = 0; i < pin->lines; i++) {
		assert(pin->line[i]->pins > 0);
		if (--pin->line[i]->pins == 0)
			ti_tag_line_park(c, pin->line[i]);
	}
	pin->lines = 0;
	if (!TAILQ_EMPTY(&c->waiting) && ti_tag_cache_serve_waiting(c))
		ti_tag_writeback_make_room(c);
}

/* The part of the pin's byte range that lies in its line @i. */
static uint8_t *piece(const struct ti_tag_pin *pin, unsigned i, size_t *len)
{
	uint64_t line_start = (pin->offset / TI_LINE_BYTES + i) * TI_LINE_BYTES;
	uint64_t from = pin->offset > line_start ? pin->offset : line_start;
	uint64_t end = pin->offset + pin->len;

	if (end > line_start + TI_LINE_BYTES)
		end = line_start + TI_LINE_BYTES;
	*len = (size_t)(end - from);
	return pin->line[i]->data + (from - line_start);
}

/* The pinned bytes one after the other, across lines. */
struct walk {
	const struct ti_tag_pin *pin;
	unsigned line;
	const uint8_t *p;
	size_t left;
};

static struct walk walk_from(const struct ti_tag_pin *pin, size_t at)
{
	struct walk w = { .pin = pin };

	for (w.p = piece(pin, 0, &w.left); at >= w.left && at > 0;
	     w.p = piece(pin, ++w.line, &w.left))
		at -= w.left;
	w.p += at;
	w.left -= at;
	return w;
}

static uint8_t step(struct walk *w)
{
	if (w->left == 0)
		w->p = piece(w->pin, ++w->line, &w->left);
	w->left--;
	return *w->p++;
}

/* Slow way: which tags differ, byte by byte across lines. */
static size_t count_differences(const struct ti_tag_pin *pin, const uint8_t *tags, size_t tag_size,
				size_t count, size_t *first)
{
	bool filler_matches = pin->line[0]->cache->filler_tag_size == tag_size;
	struct walk w = walk_from(pin, 0);
	size_t differ = 0;

	for (size_t t = 0; t < count; t++) {
		bool same = true, filler = filler_matches;

		for (size_t b = 0; b < tag_size; b++) {
			uint8_t byte = step(&w);

			same &= byte == tags[t * tag_size + b];
			filler &= byte == TI_DISCARD_FILLER;
		}
		if (!same && !filler && differ++ == 0)
			*first = t;
	}
	return differ;
}

size_t ti_tag_cache_compare(const struct ti_tag_pin *pin, const uint8_t *tags, size_t tag_size,
			    size_t count, size_t *first)
{
	size_t at = 0, bytes = tag_size * count;

	assert(bytes <= pin->len);
	for (unsigned i = 0; at < bytes; i++) {
		size_t len;
		const uint8_t *p = piece(pin, i, &len);

		if (len > bytes - at)
			len = bytes - at;
		if (!ti_secret_equal(p, tags + at, len))
			return count_differences(pin, tags, tag_size, count, first);
		at += len;
	}
	return 0;
}

size_t ti_tag_cache_alike(const struct ti_tag_pin *pin, size_t tag_size, size_t from, bool *filler)
{
	size_t count = pin->len / tag_size, n;
	struct walk w = walk_from(pin, from * tag_size);

	assert(from < count);
	for (n = from; n < count; n++) {
		bool is = true;

		for (size_t b = 0; b < tag_size; b++)
			is &= step(&w) == TI_DISCARD_FILLER;
		if (n == from)
			*filler = is;
		else if (is != *filler)
			break;
	}
	return n - from;
}

/* What the line has just been given is newer than what the device has. */
static void stored(struct ti_tag_cache *c, struct ti_tag_line *line)
{
	assert(line->state == LINE_VALID || line->state == LINE_EMPTY);
	line->state = LINE_VALID; /* EMPTY: we set all of it */
	ti_tag_line_dirty(c, line);
}

void ti_tag_cache_fill(struct ti_tag_cache *c, struct ti_tag_pin *pin, uint8_t byte)
{
	for (unsigned i = 0; i < pin->lines; i++) {
		size_t len;
		uint8_t *p = piece(pin, i, &len);

		memset(p, byte, len);
		stored(c, pin->line[i]);
	}
	ti_tag_writeback_balance(c);
}

void ti_tag_cache_store(struct ti_tag_cache *c, struct ti_tag_pin *pin, const uint8_t *tags)
{
	size_t at = 0;

	for (unsigned i = 0; i < pin->lines; i++) {
		size_t len;
		uint8_t *p = piece(pin, i, &len);

		memcpy(p, tags + at, len);
		at += len;
		stored(c, pin->line[i]);
	}
	ti_tag_writeback_balance(c);
}

size_t ti_tag_cache_max_span(void)
{
	/* In the worst case the first and the last byte stand alone in their lines. */
	return (TI_PIN_LINES - 2) * (size_t)TI_LINE_BYTES;
}

bool ti_tag_cache_dirty(const struct ti_tag_cache *c)
{
	return c->dirty_lines > 0 || c->writes_under_way > 0;
}

bool ti_tag_cache_idle(const struct ti_tag_cache *c)
{
	return c->io_under_way == 0 && c->writes_under_way == 0;
}

void ti_tag_cache_get_stats(const struct ti_tag_cache *c, struct ti_tag_cache_stats *stats)
{
	*stats = c->stats;
	stats->lines = c->line_count;
	stats->dirty = c->dirty_lines;
}

static int allocate(struct ti_tag_cache *c, bool *locked)
{
	size_t buckets = 2;
	unsigned log2 = 1;

	while (buckets < 2 * c->line_count) {
		buckets *= 2;
		log2++;
	}
	c->table_shift = 64 - log2;
	c->table_bytes = buckets * sizeof(*c->table);
	c->table = ti_memory_get(c->table_bytes, locked);
	c->lines_bytes = c->line_count * sizeof(*c->lines);
	c->lines = ti_memory_get(c->lines_bytes, locked);
	c->data_bytes = c->line_count * TI_LINE_BYTES;
	c->data = c->store != NULL ? c->store->data : ti_memory_get(c->data_bytes, locked);
	if (c->table == NULL || c->lines == NULL || c->data == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < c->line_count; i++) {
		c->lines[i].cache = c;
		c->lines[i].data = c->data + i * TI_LINE_BYTES;
		c->lines[i].state = LINE_FREE;
		TAILQ_INSERT_TAIL(&c->clean, &c->lines[i], lru);
	}
	c->available = c->line_count;
	return ti_tag_writeback_open(c, locked);
}

size_t ti_tag_cache_lines(size_t cache_bytes, uint64_t area_bytes)
{
	uint64_t lines = (area_bytes + TI_LINE_BYTES - 1) / TI_LINE_BYTES;
	size_t count = cache_bytes / TI_LINE_BYTES;

	if (count < 2 * TI_PIN_LINES)
		count = 2 * TI_PIN_LINES;
	return count > lines ? (size_t)lines : count;
}

int ti_tag_cache_open(const struct ti_tag_cache_options *o, bool *locked,
		      struct ti_tag_cache **cache)
{
	const struct ti_device_info *meta = &o->queue->dev[TI_META];
	uint64_t align = meta->logical_block_size, room = meta->size - o->area_offset;
	struct ti_tag_cache *c;
	uint64_t lines;
	int err;

	if (o->area_offset > meta->size || o->area_bytes == 0 || o->area_offset % align != 0)
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	c->queue = o->queue;
	c->area_offset = o->area_offset;
	c->area_bytes = o->area_bytes;
	lines = (o->area_bytes + TI_LINE_BYTES - 1) / TI_LINE_BYTES;
	c->area_on_disk = lines * TI_LINE_BYTES;
	if (c->area_on_disk > room) /* the last line is cut where the device ends */
		c->area_on_disk = room - room % align;
	c->filler_tag_size = o->filler_tag_size;
	c->wrote = o->wrote;
	c->ctx = o->ctx;
	TAILQ_INIT(&c->clean);
	TAILQ_INIT(&c->dirty);
	TAILQ_INIT(&c->waiting);
	TAILQ_INIT(&c->loading);
	c->line_count = o->lines;
	c->store = o->store;
	assert(c->store == NULL || c->store->lines == c->line_count);
	err = c->area_on_disk < c->area_bytes ? -EINVAL : allocate(c, locked);
	if (err != 0) {
		ti_tag_cache_close(c);
		return err;
	}
	*cache = c;
	return 0;
}

void ti_tag_cache_close(struct ti_tag_cache *c)
{
	if (c == NULL)
		return;
	ti_tag_writeback_close(c);
	if (c->store == NULL)
		ti_memory_put(c->data, c->data_bytes);
	ti_memory_put(c->lines, c->lines_bytes);
	ti_memory_put(c->table, c->table_bytes);
	free(c);
}
