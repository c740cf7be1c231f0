/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The tag cache by itself, over a simulated metadata device: pins, loads, syncs, room.
 */
#include "tag_cache.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim_queue.h"

#define AREA	   8192ULL
#define META_BYTES (2ULL << 20)
#define LEAST	   (2U * TI_PIN_LINES) /* lines of the smallest cache */

struct rig {
	struct sim_queue *sim;
	struct ti_tag_cache *cache;
	int fault; /* every I/O of this kind fails so */
	enum ti_io_op fault_op;
	unsigned wrote, wrote_badly, synced;
};

struct held {
	struct ti_tag_pin pin; /* first */
	unsigned ready;
};

static int fault(void *ctx, const struct ti_io *io)
{
	struct rig *r = ctx;

	return io->op == r->fault_op ? r->fault : 0;
}

static void wrote(void *ctx, int result)
{
	struct rig *r = ctx;

	r->wrote++;
	r->wrote_badly += result != 0;
}

static uint8_t device_byte(uint64_t at)
{
	return (uint8_t)(at * 31 + (at >> 8) * 7);
}

/* A cache over @lines lines of the area, whose bytes are device_byte(). */
static struct rig *rig_new(unsigned lines, size_t cache_bytes)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct sim_options so = { .seed = 3,
				  .bytes = { 512, META_BYTES },
				  .complete_percent = 100,
				  .fault = fault,
				  .ctx = r };
	struct ti_tag_cache_options o = { .area_offset = AREA,
					  .area_bytes = (uint64_t)lines * TI_LINE_BYTES,
					  .lines = ti_tag_cache_lines(
						  cache_bytes, (uint64_t)lines * TI_LINE_BYTES),
					  .wrote = wrote,
					  .ctx = r };
	bool locked = true;
	uint8_t *meta;

	assert_non_null(r);
	r->sim = sim_queue_new(&so);
	meta = sim_contents(r->sim, TI_META);
	for (uint64_t i = 0; i < o.area_bytes; i++)
		meta[AREA + i] = device_byte(i);
	sim_settle(r->sim, TI_META);
	o.queue = sim_as_queue(r->sim);
	assert_int_equal(ti_tag_cache_open(&o, &locked, &r->cache), 0);
	return r;
}

static void rig_free(struct rig *r)
{
	ti_tag_cache_close(r->cache);
	sim_queue_free(r->sim);
	free(r);
}

static void run(struct rig *r)
{
	while (ti_queue_run(sim_as_queue(r->sim)) > 0)
		;
}

static void ready(struct ti_tag_pin *pin)
{
	((struct held *)pin)->ready++;
}

/* Returns what ti_tag_cache_pin() says. */
static bool pin(struct rig *r, struct held *h, uint64_t offset, size_t len, bool overwrite)
{
	*h = (struct held){
		.pin = { .offset = offset, .len = len, .overwrite = overwrite, .ready = ready }
	};
	return ti_tag_cache_pin(r->cache, &h->pin);
}

static void pin_now(struct rig *r, struct held *h, uint64_t offset, size_t len, bool overwrite)
{
	bool now = pin(r, h, offset, len, overwrite);

	run(r);
	assert_int_equal(h->ready, !now);
	assert_int_equal(h->pin.error, 0);
}

static void unpin(struct rig *r, struct held *h)
{
	ti_tag_cache_unpin(r->cache, &h->pin);
}

/* Set bytes of the area to @value. */
static void store(struct rig *r, uint64_t offset, size_t len, uint8_t value)
{
	uint8_t *tags = malloc(len);
	struct held h;

	assert_non_null(tags);
	memset(tags, value, len);
	pin_now(r, &h, offset, len, true);
	ti_tag_cache_store(r->cache, &h.pin, tags);
	unpin(r, &h);
	free(tags);
}

/* Look at bytes, so that their lines are the ones used last. */
static void touch(struct rig *r, uint64_t offset, size_t len)
{
	struct held h;

	pin_now(r, &h, offset, len, false);
	unpin(r, &h);
}

static struct ti_tag_cache_stats stats(const struct rig *r)
{
	struct ti_tag_cache_stats s;

	ti_tag_cache_get_stats(r->cache, &s);
	return s;
}

static void synced(struct ti_tag_sync *sync)
{
	struct rig *r = sync->owner;

	r->synced++;
}

static bool start_sync(struct rig *r, struct ti_tag_sync *sync)
{
	*sync = (struct ti_tag_sync){ .done = synced, .owner = r };
	r->synced = 0;
	return ti_tag_cache_sync(r->cache, sync);
}

static uint8_t on_device(const struct rig *r, uint64_t offset)
{
	return sim_contents(r->sim, TI_META)[AREA + offset];
}

static void area_must_lie_on_the_device_in_whole_blocks(void **state)
{
	static const struct {
		uint64_t offset, bytes;
		int err;
	} area[] = {
		{ 0, META_BYTES, 0 },
		{ AREA, META_BYTES - AREA, 0 },
		{ AREA, META_BYTES - AREA + 1, -EINVAL },
		{ META_BYTES, 1, -EINVAL },
		{ META_BYTES + 4096, 1, -EINVAL },
		{ META_BYTES - 4096, 4096, 0 },
		{ 512, 4096, -EINVAL }, /* blocks of 4096 */
		{ AREA, 0, -EINVAL },
	};
	struct sim_options so = { .bytes = { 512, META_BYTES },
				  .logical_block_size = { 512, 4096 } };
	struct sim_queue *sim = sim_queue_new(&so);

	(void)state;
	for (unsigned i = 0; i < sizeof(area) / sizeof(area[0]); i++) {
		struct ti_tag_cache_options o = { .queue = sim_as_queue(sim),
						  .area_offset = area[i].offset,
						  .area_bytes = area[i].bytes,
						  .lines = ti_tag_cache_lines(0, area[i].bytes) };
		struct ti_tag_cache *cache = NULL;
		bool locked;

		assert_int_equal(ti_tag_cache_open(&o, &locked, &cache), area[i].err);
		ti_tag_cache_close(cache);
	}
	sim_queue_free(sim);
}

static void cache_holds_what_two_pins_need_and_no_more_than_the_area(void **state)
{
	struct rig *r = rig_new(200, 1);

	(void)state;
	assert_int_equal(stats(r).lines, LEAST);
	rig_free(r);
	r = rig_new(200, 100 * TI_LINE_BYTES + 1);
	assert_int_equal(stats(r).lines, 100);
	rig_free(r);
	r = rig_new(20, 1 << 20);
	assert_int_equal(stats(r).lines, 20);
	rig_free(r);
}

static void largest_span_fits_into_a_pin_wherever_it_starts(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	struct held h;

	(void)state;
	assert_true(ti_tag_cache_max_span() >= 16 * TI_LINE_BYTES);
	for (uint64_t offset = 0; offset <= TI_LINE_BYTES; offset++) {
		pin_now(r, &h, offset, ti_tag_cache_max_span(), false);
		unpin(r, &h);
	}
	rig_free(r);
}

static void first_pin_reads_its_lines_and_the_next_one_is_ready_at_once(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	struct held a, b;

	(void)state;
	assert_false(pin(r, &a, 4000, 5000, false));
	assert_int_equal(a.ready, 0);
	run(r);
	assert_int_equal(a.ready, 1);
	assert_true(pin(r, &b, 4096, 8192 - 4096 + 808, false));
	unpin(r, &a);
	assert_true(pin(r, &a, 0, 1, false));
	unpin(r, &a);
	unpin(r, &b);
	assert_int_equal(stats(r).lines_read, 3);
	rig_free(r);
}

static void pins_that_want_a_line_that_is_being_read_wait_for_it_together(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	struct held a, b, c;

	(void)state;
	assert_false(pin(r, &a, 0, 4096, false));
	assert_false(pin(r, &b, 0, 8192, false));
	assert_false(pin(r, &c, 100, 4, false));
	assert_int_equal(sim_under_way(r->sim), 2);
	assert_true(sim_complete_at(r->sim, TI_META, TI_IO_READ, AREA));
	assert_true(a.ready == 1 && b.ready == 0 && c.ready == 1);
	run(r);
	assert_int_equal(b.ready, 1);
	unpin(r, &a);
	unpin(r, &b);
	unpin(r, &c);
	rig_free(r);
}

static void compare_counts_the_tags_that_differ_and_names_the_first(void **state)
{
	(void)state;
	for (size_t tag_size = 1; tag_size <= 255; tag_size += 127) {
		struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
		size_t count = 3 * TI_LINE_BYTES / tag_size, first = 99;
		uint64_t from = 4096 - tag_size / 2; /* one tag lies in two lines */
		uint8_t *tags = malloc(count * tag_size);
		struct held h;

		assert_non_null(tags);
		for (size_t i = 0; i < count * tag_size; i++)
			tags[i] = device_byte(from + i);
		pin_now(r, &h, from, count * tag_size, false);
		assert_int_equal(ti_tag_cache_compare(&h.pin, tags, tag_size, count, &first), 0);
		for (size_t bad = 0; bad < count - 1; bad += count / 5) {
			tags[bad * tag_size + tag_size - 1] ^= 1;
			assert_int_equal(
				ti_tag_cache_compare(&h.pin, tags, tag_size, count, &first), 1);
			assert_int_equal(first, bad);
			tags[(count - 1) * tag_size] ^= 0x80;
			assert_int_equal(
				ti_tag_cache_compare(&h.pin, tags, tag_size, count, &first), 2);
			assert_int_equal(first, bad);
			tags[bad * tag_size + tag_size - 1] ^= 1;
			tags[(count - 1) * tag_size] ^= 0x80;
		}
		unpin(r, &h);
		free(tags);
		rig_free(r);
	}
}

static void stored_bytes_are_seen_at_once_and_written_by_the_sync(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	uint8_t tags[200];
	struct ti_tag_sync sync;
	struct held h;
	size_t first;

	(void)state;
	memset(tags, 0xab, sizeof(tags));
	store(r, 4000, 200, 0xab);
	pin_now(r, &h, 4000, 200, false);
	assert_int_equal(ti_tag_cache_compare(&h.pin, tags, 4, 50, &first), 0);
	unpin(r, &h);
	assert_int_equal(on_device(r, 4000), device_byte(4000));
	assert_true(ti_tag_cache_dirty(r->cache));
	assert_true(start_sync(r, &sync));
	assert_int_equal(r->synced, 0);
	run(r);
	assert_int_equal(r->synced, 1);
	assert_int_equal(sync.error, 0);
	assert_int_equal(r->wrote, 1);
	assert_false(ti_tag_cache_dirty(r->cache));
	assert_int_equal(on_device(r, 3999), device_byte(3999));
	assert_int_equal(on_device(r, 4000), 0xab);
	assert_int_equal(on_device(r, 4199), 0xab);
	assert_int_equal(on_device(r, 4200), device_byte(4200));
	rig_free(r);
}

static void sync_of_a_clean_cache_has_nothing_to_do(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	struct ti_tag_sync sync;

	(void)state;
	touch(r, 0, 9000);
	assert_false(start_sync(r, &sync));
	assert_int_equal(sim_under_way(r->sim), 0);
	rig_free(r);
}

static void sync_does_not_wait_for_what_becomes_dirty_after_it(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	struct ti_tag_sync sync;

	(void)state;
	touch(r, 0, 65536);
	store(r, 0, 4, 1);
	assert_true(start_sync(r, &sync));
	assert_int_equal(sim_under_way(r->sim), 1);
	/* Not run(): the write stays under way. */
	for (uint64_t line = 1; line < 9; line++) {
		uint8_t tags[4] = { 2, 2, 2, 2 };
		struct held h;

		assert_true(pin(r, &h, line * 4096, 4, true));
		ti_tag_cache_store(r->cache, &h.pin, tags);
		unpin(r, &h);
	}
	assert_true(sim_complete_one(r->sim, TI_META, TI_IO_WRITE));
	assert_int_equal(r->synced, 1);
	assert_true(ti_tag_cache_dirty(r->cache));
	assert_int_equal(sim_under_way(r->sim), 0);
	rig_free(r);
}

static void sync_waits_for_a_background_write_under_way(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	struct ti_tag_sync sync;

	(void)state;
	store(r, 0, 4, 1);
	ti_tag_cache_tick(r->cache);
	ti_tag_cache_tick(r->cache);
	assert_int_equal(sim_under_way(r->sim), 1);
	assert_int_equal(stats(r).dirty, 0);
	assert_true(start_sync(r, &sync));
	assert_int_equal(sim_under_way(r->sim), 1);
	assert_true(sim_complete_one(r->sim, TI_META, TI_IO_WRITE));
	assert_int_equal(r->synced, 1);
	rig_free(r);
}

/* A line that changed while it was written goes again, and takes a neighbour that is younger than
 * the sync with it. */
static void sync_waits_for_a_write_that_a_younger_line_has_joined(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	struct ti_tag_sync sync;

	(void)state;
	touch(r, 0, 2 * TI_LINE_BYTES);
	sim_hold(r->sim, true);
	store(r, 0, 4, 1);
	ti_tag_cache_tick(r->cache);
	ti_tag_cache_tick(r->cache);
	assert_int_equal(sim_under_way(r->sim), 1);
	store(r, 0, 4, 2);
	assert_true(start_sync(r, &sync));
	store(r, TI_LINE_BYTES, 4, 3);
	assert_true(sim_complete_one(r->sim, TI_META, TI_IO_WRITE));
	assert_int_equal(sim_under_way(r->sim), 1);
	assert_int_equal(stats(r).dirty, 0);
	assert_int_equal(r->synced, 0);
	assert_true(sim_complete_one(r->sim, TI_META, TI_IO_WRITE));
	assert_int_equal(r->synced, 1);
	assert_int_equal(on_device(r, 0), 2);
	rig_free(r);
}

/* All lines but one are held, and that one is the first of a pin of two. */
static void line_that_a_pin_has_is_no_room_for_its_others(void **state)
{
	struct rig *r = rig_new(64, LEAST * TI_LINE_BYTES);
	const uint64_t last = (LEAST - 1) * TI_LINE_BYTES;
	struct held a, b, both;

	(void)state;
	touch(r, last, 4);
	pin_now(r, &a, 0, TI_PIN_LINES * TI_LINE_BYTES, false);
	pin_now(r, &b, TI_PIN_LINES * TI_LINE_BYTES, (TI_PIN_LINES - 1) * TI_LINE_BYTES, false);
	assert_false(pin(r, &both, last, 2 * TI_LINE_BYTES, false));
	run(r);
	assert_int_equal(both.ready, 0);
	unpin(r, &a);
	run(r);
	assert_int_equal(both.ready, 1);
	unpin(r, &b);
	unpin(r, &both);
	rig_free(r);
}

static void sync_that_fails_leaves_the_line_dirty_for_the_next(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	struct ti_tag_sync sync;

	(void)state;
	store(r, 0, 4, 1);
	r->fault = -ENOSPC;
	r->fault_op = TI_IO_WRITE;
	assert_true(start_sync(r, &sync));
	run(r);
	assert_int_equal(r->synced, 1);
	assert_int_equal(sync.error, -ENOSPC);
	assert_int_equal(r->wrote_badly, 1);
	assert_int_equal(stats(r).dirty, 1);
	assert_int_equal(stats(r).write_errors, 1);
	assert_true(ti_tag_cache_idle(r->cache));
	r->fault = 0;
	assert_true(start_sync(r, &sync));
	run(r);
	assert_int_equal(sync.error, 0);
	assert_int_equal(on_device(r, 0), 1);
	assert_int_equal(stats(r).dirty, 0);
	rig_free(r);
}

static void sync_of_more_lines_than_may_be_under_way_writes_them_all(void **state)
{
	/* Every other line, so that each is a write of its own. */
	struct rig *r = rig_new(400, 400 * TI_LINE_BYTES);
	struct ti_tag_sync sync;

	(void)state;
	for (uint64_t line = 0; line < 400; line += 2)
		store(r, line * 4096 + 4, 4, (uint8_t)line);
	assert_int_equal(r->wrote, 0);
	assert_true(start_sync(r, &sync));
	assert_in_range(sim_under_way(r->sim), 2, 199);
	run(r);
	assert_int_equal(r->synced, 1);
	assert_int_equal(sync.error, 0);
	assert_false(ti_tag_cache_dirty(r->cache));
	for (uint64_t line = 0; line < 400; line += 2)
		assert_int_equal(on_device(r, line * 4096 + 4), (uint8_t)line);
	rig_free(r);
}

static void failed_read_is_told_to_all_who_wait_and_tried_again_by_the_next(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	struct held a, b, c;

	(void)state;
	r->fault = -EIO;
	r->fault_op = TI_IO_READ;
	assert_false(pin(r, &a, 5000, 9000, false));
	assert_false(pin(r, &b, 9000, 4, false));
	run(r);
	assert_int_equal(a.ready, 1);
	assert_int_equal(a.pin.error, -EIO);
	assert_int_equal(a.pin.error_offset, 4096);
	assert_int_equal(b.ready, 1);
	assert_int_equal(b.pin.error, -EIO);
	assert_int_equal(b.pin.error_offset, 8192);
	r->fault = 0;
	/* The failed lines are still pinned; the new ones take their places. */
	pin_now(r, &c, 5000, 9000, false);
	unpin(r, &a);
	unpin(r, &b);
	unpin(r, &c);
	touch(r, 5000, 9000);
	assert_int_equal(stats(r).lines_read, 6);
	assert_int_equal(stats(r).read_errors, 1);
	rig_free(r);
}

/* The pin that saw the failure still waits for another line; the second try is not its own. */
static void line_that_is_read_again_counts_for_the_second_pin_only(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	struct held a, b;

	(void)state;
	touch(r, 4096, 1); /* so that lines 0 and 2 are read apart */
	assert_false(pin(r, &a, 0, 3 * 4096, false));
	r->fault = -EIO;
	r->fault_op = TI_IO_READ;
	assert_true(sim_complete_at(r->sim, TI_META, TI_IO_READ, AREA));
	r->fault = 0;
	assert_int_equal(a.ready, 0);
	assert_false(pin(r, &b, 0, 4, false));
	assert_true(sim_complete_at(r->sim, TI_META, TI_IO_READ, AREA));
	assert_int_equal(b.ready, 1);
	assert_int_equal(b.pin.error, 0);
	assert_int_equal(a.ready, 0);
	run(r);
	assert_int_equal(a.ready, 1);
	assert_int_equal(a.pin.error, -EIO);
	assert_int_equal(a.pin.error_offset, 0);
	unpin(r, &a);
	unpin(r, &b);
	assert_true(ti_tag_cache_idle(r->cache));
	rig_free(r);
}

static void line_that_is_overwritten_whole_is_not_read(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	struct held h;

	(void)state;
	assert_true(pin(r, &h, 4096, 8192, true));
	unpin(r, &h); /* without a store: what it held is not the device's */
	touch(r, 4096, 8192);
	assert_int_equal(stats(r).lines_read, 2);
	/* The first and the last line have bytes of others in them. */
	assert_false(pin(r, &h, 20000, 12288, true));
	run(r);
	assert_int_equal(stats(r).lines_read, 4);
	unpin(r, &h);
	rig_free(r);
}

/* Nobody sees the zeros in a line that is about to be set, nor sets a part of it. */
static void line_that_is_being_overwritten_is_shared_only_when_it_has_been_set(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	struct held a, b, c;
	uint8_t tags[4096];

	(void)state;
	store(r, 50 * TI_LINE_BYTES, 8, 1);
	assert_int_equal(stats(r).lines_read, 1);
	assert_true(pin(r, &a, 4096, 4096, true));
	assert_false(pin(r, &b, 5000, 100, false));
	assert_false(pin(r, &c, 60 * TI_LINE_BYTES, 100, false)); /* they keep their order */
	run(r);
	assert_int_equal(b.ready, 0);
	assert_int_equal(c.ready, 0);
	/* It is not for room that they wait. */
	assert_int_equal(stats(r).lines_written, 0);
	unpin(r, &a); /* without a store */
	run(r);
	assert_int_equal(b.ready, 1);
	assert_int_equal(c.ready, 1);
	assert_int_equal(stats(r).lines_read, 3);
	for (unsigned i = 0; i < 100; i++)
		tags[i] = device_byte(5000 + i);
	assert_true(ti_tag_cache_holds(&b.pin, 0, tags, 100));
	unpin(r, &b);
	unpin(r, &c);

	assert_true(pin(r, &a, 8192, 4096, true));
	assert_false(pin(r, &b, 9000, 100, true));
	memset(tags, 0x77, sizeof(tags));
	ti_tag_cache_store(r->cache, &a.pin, tags);
	unpin(r, &a);
	assert_int_equal(b.ready, 1);
	assert_true(ti_tag_cache_holds(&b.pin, 0, tags, 100));
	unpin(r, &b);
	assert_int_equal(stats(r).lines_read, 3);
	rig_free(r);
}

static void write_back_that_fails_concerns_nobody_who_waits_for_no_room(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	struct ti_tag_sync sync;
	struct held a, b;

	(void)state;
	store(r, 50 * TI_LINE_BYTES, 8, 1);
	assert_true(pin(r, &a, 4096, 4096, true));
	assert_false(pin(r, &b, 5000, 100, false));
	r->fault = -EIO;
	r->fault_op = TI_IO_WRITE;
	assert_true(start_sync(r, &sync));
	run(r);
	assert_int_equal(sync.error, -EIO);
	assert_int_equal(b.ready, 0);
	unpin(r, &a);
	run(r);
	assert_int_equal(b.ready, 1);
	assert_int_equal(b.pin.error, 0);
	unpin(r, &b);
	rig_free(r);
}

static void line_used_longest_ago_makes_room(void **state)
{
	struct rig *r = rig_new(64, LEAST * TI_LINE_BYTES);

	(void)state;
	for (uint64_t line = 0; line < LEAST; line++)
		touch(r, line * 4096, 1);
	touch(r, 0, 1);
	assert_int_equal(stats(r).lines_read, LEAST);
	touch(r, LEAST * 4096, 1); /* takes line 1's place */
	touch(r, 0, 1);
	assert_int_equal(stats(r).lines_read, LEAST + 1);
	touch(r, 4096, 1);
	assert_int_equal(stats(r).lines_read, LEAST + 2);
	rig_free(r);
}

static void pins_that_find_no_room_are_served_in_order(void **state)
{
	struct rig *r = rig_new(200, 1);
	struct held h[5];
	size_t half = TI_PIN_LINES * (size_t)TI_LINE_BYTES - 4096;

	(void)state;
	/* 17 lines each: two of them leave two lines. */
	for (uint64_t i = 0; i < 4; i++)
		assert_false(pin(r, &h[i], i * 20 * 4096, half, false));
	/* This one would fit, but is not let past. */
	assert_false(pin(r, &h[4], 190 * 4096, 1, false));
	run(r);
	assert_true(h[0].ready && h[1].ready && !h[2].ready && !h[3].ready && !h[4].ready);
	unpin(r, &h[1]);
	run(r);
	assert_true(h[2].ready && !h[3].ready && !h[4].ready);
	unpin(r, &h[0]);
	run(r);
	assert_true(h[3].ready && h[4].ready);
	for (unsigned i = 2; i < 5; i++)
		unpin(r, &h[i]);
	rig_free(r);
}

static void pin_that_finds_only_dirty_lines_waits_until_they_are_written(void **state)
{
	struct rig *r = rig_new(200, 1);
	struct held h;

	(void)state;
	/* Nothing is written back while fewer than half of them are dirty... */
	for (uint64_t line = 0; line < LEAST / 2; line++)
		store(r, line * 4096, 4096, 1);
	assert_int_equal(r->wrote, 0);
	/* ...and then all of them in the background. */
	store(r, LEAST / 2 * 4096, 4096, 1);
	assert_int_equal(sim_under_way(r->sim), 1);
	for (uint64_t line = LEAST / 2 + 1; line < LEAST; line++) {
		uint8_t tags[4096] = { 1 };

		assert_true(pin(r, &h, line * 4096, 4096, true));
		ti_tag_cache_store(r->cache, &h.pin, tags);
		unpin(r, &h);
	}
	assert_false(pin(r, &h, 100 * 4096, 4096, true));
	assert_int_equal(h.ready, 0);
	run(r);
	assert_int_equal(h.ready, 1);
	assert_int_equal(h.pin.error, 0);
	assert_int_equal(on_device(r, LEAST / 2 * 4096), 1);
	unpin(r, &h);
	rig_free(r);
}

static void pin_fails_when_the_lines_in_its_way_cannot_be_written(void **state)
{
	struct rig *r = rig_new(200, 1);
	struct held h;

	(void)state;
	r->fault = -EIO;
	r->fault_op = TI_IO_WRITE;
	for (uint64_t line = 0; line < LEAST; line++)
		store(r, line * 4096, 4096, 1);
	run(r);
	assert_false(pin(r, &h, 100 * 4096 + 10, 50, false));
	run(r);
	assert_int_equal(h.ready, 1);
	assert_int_equal(h.pin.error, -EIO);
	assert_int_equal(h.pin.error_offset, 100 * 4096 + 10);
	unpin(r, &h);
	r->fault = 0;
	assert_false(pin(r, &h, 100 * 4096 + 10, 50, false));
	run(r);
	assert_int_equal(h.pin.error, 0);
	assert_int_equal(h.ready, 1);
	unpin(r, &h);
	rig_free(r);
}

static void every_write_back_is_told_whatever_became_of_it(void **state)
{
	struct rig *r = rig_new(64, 64 * TI_LINE_BYTES);
	struct ti_tag_sync sync;

	(void)state;
	store(r, 0, 4, 1);
	r->fault = -EIO;
	r->fault_op = TI_IO_WRITE;
	start_sync(r, &sync);
	run(r);
	r->fault = 0;
	start_sync(r, &sync);
	run(r);
	assert_int_equal(r->wrote, 2);
	assert_int_equal(r->wrote_badly, 1);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(area_must_lie_on_the_device_in_whole_blocks),
		cmocka_unit_test(cache_holds_what_two_pins_need_and_no_more_than_the_area),
		cmocka_unit_test(largest_span_fits_into_a_pin_wherever_it_starts),
		cmocka_unit_test(first_pin_reads_its_lines_and_the_next_one_is_ready_at_once),
		cmocka_unit_test(pins_that_want_a_line_that_is_being_read_wait_for_it_together),
		cmocka_unit_test(compare_counts_the_tags_that_differ_and_names_the_first),
		cmocka_unit_test(stored_bytes_are_seen_at_once_and_written_by_the_sync),
		cmocka_unit_test(sync_of_a_clean_cache_has_nothing_to_do),
		cmocka_unit_test(sync_does_not_wait_for_what_becomes_dirty_after_it),
		cmocka_unit_test(sync_waits_for_a_background_write_under_way),
		cmocka_unit_test(sync_that_fails_leaves_the_line_dirty_for_the_next),
		cmocka_unit_test(sync_of_more_lines_than_may_be_under_way_writes_them_all),
		cmocka_unit_test(failed_read_is_told_to_all_who_wait_and_tried_again_by_the_next),
		cmocka_unit_test(line_that_is_read_again_counts_for_the_second_pin_only),
		cmocka_unit_test(line_that_is_overwritten_whole_is_not_read),
		cmocka_unit_test(
			line_that_is_being_overwritten_is_shared_only_when_it_has_been_set),
		cmocka_unit_test(write_back_that_fails_concerns_nobody_who_waits_for_no_room),
		cmocka_unit_test(line_used_longest_ago_makes_room),
		cmocka_unit_test(pins_that_find_no_room_are_served_in_order),
		cmocka_unit_test(pin_that_finds_only_dirty_lines_waits_until_they_are_written),
		cmocka_unit_test(pin_fails_when_the_lines_in_its_way_cannot_be_written),
		cmocka_unit_test(every_write_back_is_told_whatever_became_of_it),
		cmocka_unit_test(sync_waits_for_a_write_that_a_younger_line_has_joined),
		cmocka_unit_test(line_that_a_pin_has_is_no_room_for_its_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
