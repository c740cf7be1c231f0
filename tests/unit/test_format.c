/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Format: what is written where, what is left alone, and in which order it becomes durable.
 */
#include "format.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "inspect.h"
#include "journal_format.h"
#include "spy_queue.h"

#define MIB (1024ULL * 1024)

static const struct ti_progress quiet = { .step = NULL };

static struct ti_format_options options(uint32_t block, uint32_t tag, enum ti_format_fill fill)
{
	return (struct ti_format_options){
		.hash = &ti_hash_crc32c,
		.shape = { .block_size = block,
			   .tag_size = tag,
			   .journal_sectors = UINT64_MAX,
			   .salted = true },
		.fill = fill,
	};
}

static void set_logical_blocks(struct mem_queue *mq, uint32_t data, uint32_t meta)
{
	mq->q.dev[TI_DATA].logical_block_size = data;
	mq->q.dev[TI_DATA].memory_align = data;
	mq->q.dev[TI_META].logical_block_size = meta;
	mq->q.dev[TI_META].memory_align = meta;
}

/* @len is a multiple of 8. */
static void fill(uint8_t *bytes, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i += 8) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		memcpy(bytes + i, &seed, 8);
	}
}

/* CRC-32C bit by bit, so that nothing of the program's own digest is used to judge it. */
static uint32_t slow_crc32c(uint32_t crc, const uint8_t *p, size_t len)
{
	while (len--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78U : 0);
	}
	return crc;
}

static void expect_tag(const struct mem_queue *mq, const struct ti_format_plan *plan,
		       uint64_t block)
{
	const uint8_t *data = mq->bytes[TI_DATA] + block * plan->geo.block_size;
	const uint8_t *tag = mq->bytes[TI_META] + plan->geo.tag_offset + block * plan->geo.tag_size;
	uint8_t expected[TI_MAX_TAG_SIZE] = { 0 };
	struct ti_le64 sector;
	uint32_t crc = ~0U;

	ti_le64_set(&sector, block * plan->geo.sectors_per_block);
	if (plan->sb.flags & TI_SB_FIXED_HMAC)
		crc = slow_crc32c(crc, plan->sb.salt, TI_SALT_BYTES);
	crc = slow_crc32c(crc, sector.bytes, sizeof(sector.bytes));
	crc = ~slow_crc32c(crc, data, plan->geo.block_size);
	ti_le32_set((struct ti_le32 *)expected, crc);
	assert_memory_equal(tag, expected, plan->geo.tag_size);
}

static void plan_and_write(struct ti_queue *q, const struct ti_format_options *o,
			   struct ti_format_plan *plan)
{
	struct ti_error error = { .err = 0 };

	if (ti_format_plan(q, o, plan, &error) || ti_format_write(q, plan, &quiet, &error))
		fail_msg("%s", error.text);
}

/* ---- planning ---- */

static void a_plan_has_the_digests_tag_size_and_a_fresh_salt(void **state)
{
	struct mem_queue *mq = mem_queue_new(MIB, MIB);
	const struct ti_format_options o = options(512, 0, TI_FORMAT_WIPE);
	static const uint8_t none[TI_SALT_BYTES];
	struct ti_format_plan one, two;

	(void)state;
	assert_int_equal(ti_format_plan(&mq->q, &o, &one, NULL), 0);
	assert_int_equal(ti_format_plan(&mq->q, &o, &two, NULL), 0);
	assert_int_equal(one.geo.tag_size, 4);
	assert_int_equal(one.sb.flags, TI_SB_FIXED_HMAC);
	assert_memory_not_equal(one.sb.salt, two.sb.salt, TI_SALT_BYTES);
	assert_memory_not_equal(one.sb.salt, none, TI_SALT_BYTES);
	assert_int_equal(mq->reads + mq->writes + mq->flushes, 0);
	mem_queue_free(mq);
}

static void a_plan_without_salt_has_a_zero_one(void **state)
{
	struct mem_queue *mq = mem_queue_new(MIB, MIB);
	struct ti_format_options o = options(512, 0, TI_FORMAT_WIPE);
	static const uint8_t none[TI_SALT_BYTES];
	struct ti_format_plan plan;

	(void)state;
	o.shape.salted = false;
	assert_int_equal(ti_format_plan(&mq->q, &o, &plan, NULL), 0);
	assert_int_equal(plan.sb.flags, 0);
	assert_memory_equal(plan.sb.salt, none, TI_SALT_BYTES);
	mem_queue_free(mq);
}

static void refused(struct ti_queue *q, const struct ti_format_options *o, int err,
		    const char *words)
{
	struct ti_error error = { .err = 0 };
	struct ti_format_plan plan;

	assert_int_equal(ti_format_plan(q, o, &plan, &error), err);
	assert_int_equal(error.err, err);
	if (!strstr(error.text, words))
		fail_msg("'%s' does not say '%s'", error.text, words);
}

static void what_does_not_fit_the_devices_is_refused(void **state)
{
	struct mem_queue *mq = mem_queue_new(MIB, MIB);
	struct ti_format_options o = options(512, 0, TI_FORMAT_WIPE);

	(void)state;
	set_logical_blocks(mq, 4096, 512);
	refused(&mq->q, &o, -EINVAL, "--sector-size 4096");
	set_logical_blocks(mq, 512, 4096);
	o.shape.start_sector = 9;
	refused(&mq->q, &o, -EINVAL, "multiple of 8");
	set_logical_blocks(mq, 512, 65536);
	o.shape.start_sector = 0;
	refused(&mq->q, &o, -EOPNOTSUPP, "65536");
	set_logical_blocks(mq, 512, 512);
	o.shape.start_sector = 2048;
	refused(&mq->q, &o, -EINVAL, "META");
	assert_int_equal(mq->reads + mq->writes + mq->flushes, 0);
	mem_queue_free(mq);
}

/* ---- what is written ---- */

struct shape {
	uint64_t data_size;
	uint32_t block, tag;
	uint64_t start;
	bool salted;
	uint32_t logical; /* of both devices */
};

static const struct shape shapes[] = {
	{ 512, 512, 4, 0, true, 512 },
	{ 4096, 4096, 4, 0, true, 512 },
	{ MIB, 512, 4, 0, false, 512 },
	{ 5 * MIB + 512, 512, 4, 8, true, 512 },
	{ 5 * MIB + 3072, 1024, 7, 24, true, 512 },
	{ 5 * MIB + 6144, 2048, 2, 0, false, 512 },
	{ 17 * MIB + 4096, 4096, 1, 8, true, 512 },
	{ 17 * MIB + 4096, 4096, 40, 0, true, 4096 },
	{ 17 * MIB + 4096, 4096, 7, 8, true, 4096 },
	{ 17 * MIB + 4096, 4096, 255, 0, false, 4096 },
	{ 9 * MIB, 512, 255, 16, true, 512 },
};

#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/* Room for all tags, a small journal and something behind. */
static struct mem_queue *devices_for(const struct shape *s)
{
	uint64_t tags = s->data_size / s->block * s->tag;
	struct mem_queue *mq =
		mem_queue_new(s->data_size, (tags + 2 * MIB + s->start * 512) / 4096 * 4096);

	set_logical_blocks(mq, s->logical, s->logical);
	fill(mq->bytes[TI_DATA], mq->q.dev[TI_DATA].size, 1);
	fill(mq->bytes[TI_META], mq->q.dev[TI_META].size, 2);
	return mq;
}

static struct ti_format_options options_for(const struct shape *s, enum ti_format_fill fill)
{
	struct ti_format_options o = options(s->block, s->tag, fill);

	o.shape.salted = s->salted;
	o.shape.start_sector = s->start;
	o.shape.journal_sectors = 700;
	return o;
}

static void expect_superblock(struct mem_queue *mq, const struct ti_format_plan *plan)
{
	struct ti_superblock sb;
	struct ti_geometry geo;
	struct ti_error error = { .err = 0 };

	if (ti_inspect_superblock(&mq->q, plan->geo.start_sector, &sb, &error) ||
	    ti_inspect_geometry(&mq->q, &sb, plan->geo.start_sector, &geo, &error) ||
	    ti_inspect_settled(&mq->q, &sb, &geo, &error))
		fail_msg("%s", error.text);
	assert_int_equal(sb.tag_size, plan->sb.tag_size);
	assert_int_equal(sb.provided_sectors, plan->sb.provided_sectors);
	assert_int_equal(sb.journal_sections, plan->sb.journal_sections);
	assert_int_equal(sb.flags, plan->sb.flags);
	assert_int_equal(sb.version, sb.flags ? 5 : 2);
	assert_memory_equal(sb.salt, plan->sb.salt, TI_SALT_BYTES);
	assert_int_equal(geo.tag_offset, plan->geo.tag_offset);
}

static void expect_all_tags(const struct mem_queue *mq, const struct ti_format_plan *plan)
{
	/* All of the small ones; the first, the last and a sample of the large ones. */
	uint64_t last = plan->geo.provided_blocks - 1;

	for (uint64_t block = 0; block < last; block += 1 + last / 97)
		expect_tag(mq, plan, block);
	expect_tag(mq, plan, last);
}

/* Nothing before the superblock and nothing behind the last tag's logical block is touched. */
static void expect_rest_untouched(const struct mem_queue *mq, const struct ti_format_plan *plan,
				  const uint8_t *before)
{
	uint64_t start = plan->geo.start_sector * 512;
	uint32_t logical = mq->q.dev[TI_META].logical_block_size;
	uint64_t end = plan->geo.tag_offset + plan->geo.tag_bytes;

	if (plan->fill == TI_FORMAT_NO_WIPE)
		end = plan->geo.tag_offset;
	for (; end % logical; end++)
		assert_int_equal(mq->bytes[TI_META][end], 0);
	assert_true(end <= mq->q.dev[TI_META].size);
	assert_memory_equal(mq->bytes[TI_META], before, start);
	assert_memory_equal(mq->bytes[TI_META] + end, before + end, mq->q.dev[TI_META].size - end);
}

static uint8_t *copy_of(const struct mem_queue *mq, enum ti_device dev)
{
	uint8_t *copy = malloc(mq->q.dev[dev].size);

	assert_non_null(copy);
	memcpy(copy, mq->bytes[dev], mq->q.dev[dev].size);
	return copy;
}

static void wiping_zeroes_all_blocks_and_writes_their_tags(void **state)
{
	(void)state;
	for (size_t i = 0; i < SHAPES; i++) {
		struct mem_queue *mq = devices_for(&shapes[i]);
		struct spy_queue *spy = spy_queue_new(mq, i);
		const struct ti_format_options o = options_for(&shapes[i], TI_FORMAT_WIPE);
		uint8_t *meta = copy_of(mq, TI_META);
		struct ti_format_plan plan;
		uint8_t *zeros = calloc(1, shapes[i].data_size);

		plan_and_write(&spy->q, &o, &plan);
		assert_memory_equal(mq->bytes[TI_DATA], zeros, shapes[i].data_size);
		expect_superblock(mq, &plan);
		expect_all_tags(mq, &plan);
		expect_rest_untouched(mq, &plan, meta);
		free(zeros);
		free(meta);
		spy_queue_free(spy);
		mem_queue_free(mq);
	}
}

static void keeping_data_writes_the_tags_of_what_is_there(void **state)
{
	(void)state;
	for (size_t i = 0; i < SHAPES; i++) {
		struct mem_queue *mq = devices_for(&shapes[i]);
		struct spy_queue *spy = spy_queue_new(mq, i + 100);
		const struct ti_format_options o = options_for(&shapes[i], TI_FORMAT_KEEP_DATA);
		uint8_t *meta = copy_of(mq, TI_META);
		uint8_t *data = copy_of(mq, TI_DATA);
		struct ti_format_plan plan;

		plan_and_write(&spy->q, &o, &plan);
		assert_memory_equal(mq->bytes[TI_DATA], data, shapes[i].data_size);
		expect_superblock(mq, &plan);
		expect_all_tags(mq, &plan);
		expect_rest_untouched(mq, &plan, meta);
		free(data);
		free(meta);
		spy_queue_free(spy);
		mem_queue_free(mq);
	}
}

static void without_wiping_neither_data_nor_tags_are_touched(void **state)
{
	(void)state;
	for (size_t i = 0; i < SHAPES; i++) {
		struct mem_queue *mq = devices_for(&shapes[i]);
		const struct ti_format_options o = options_for(&shapes[i], TI_FORMAT_NO_WIPE);
		uint8_t *meta = copy_of(mq, TI_META);
		uint8_t *data = copy_of(mq, TI_DATA);
		struct ti_format_plan plan;

		plan_and_write(&mq->q, &o, &plan);
		assert_memory_equal(mq->bytes[TI_DATA], data, shapes[i].data_size);
		expect_superblock(mq, &plan);
		expect_rest_untouched(mq, &plan, meta);
		free(data);
		free(meta);
		mem_queue_free(mq);
	}
}

static void the_journal_is_formatted_with_sequence_0_everywhere(void **state)
{
	struct mem_queue *mq = mem_queue_new(64 * MIB, 16 * MIB);
	struct ti_format_options o = options(512, 0, TI_FORMAT_NO_WIPE);
	struct ti_journal_summary journal;
	struct ti_format_plan plan;
	uint8_t *section;

	(void)state;
	/* More than one buffer's worth of sections, and not a multiple of it. */
	o.shape.journal_sectors = 176 * 27;
	fill(mq->bytes[TI_META], mq->q.dev[TI_META].size, 3);
	plan_and_write(&mq->q, &o, &plan);
	assert_int_equal(plan.geo.journal_sections, 27);
	section = malloc(ti_journal_section_bytes(&plan.geo));
	for (uint32_t i = 0; i < plan.geo.journal_sections; i++) {
		ti_journal_format_section(&plan.geo, i, 0, section);
		assert_memory_equal(mq->bytes[TI_META] + plan.geo.journal_offset +
					    i * ti_journal_section_bytes(&plan.geo),
				    section, ti_journal_section_bytes(&plan.geo));
	}
	free(section);
	assert_int_equal(ti_journal_scan(&mq->q, &plan.geo, &journal, NULL), 0);
	assert_int_equal(journal.state, TI_JOURNAL_EMPTY);
	assert_int_equal(journal.used_entries, 0);
	for (uint32_t i = 0; i < journal.shown; i++)
		assert_int_equal(journal.seq[i], 0);
	mem_queue_free(mq);
}

/* Byte for byte, by hand from the format's description: section 1 of a small journal. */
static void an_empty_section_is_as_described(void **state)
{
	struct mem_queue *mq = mem_queue_new(MIB, MIB);
	struct ti_format_options o = options(512, 4, TI_FORMAT_WIPE);
	static const uint8_t unused[8] = { 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff };
	/* 0x3333333333333333 ^ (1 << 32) ^ 175 */
	static const uint8_t last_id[8] = { 0x9c, 0x33, 0x33, 0x33, 0x32, 0x33, 0x33, 0x33 };
	static const uint8_t zeros[504];
	struct ti_format_plan plan;
	uint8_t section[176 * 512];

	(void)state;
	assert_int_equal(ti_format_plan(&mq->q, &o, &plan, NULL), 0);
	assert_int_equal(plan.geo.section_sectors, 176);
	ti_journal_format_section(&plan.geo, 1, 2, section);
	for (int sector = 0; sector < 8; sector++) {
		for (int n = 0; n < 21; n++) {
			assert_memory_equal(section + sector * 512 + n * 24, unused, 8);
			assert_memory_equal(section + sector * 512 + n * 24 + 8, zeros, 16);
		}
	}
	for (int sector = 8; sector < 176; sector++)
		assert_memory_equal(section + sector * 512, zeros, 504);
	assert_memory_equal(section + 175 * 512 + 504, last_id, 8);
	mem_queue_free(mq);
}

/* ---- order ---- */

static bool is_superblock_write(const struct spy_event *e, const struct ti_format_plan *plan)
{
	return e->op == TI_IO_WRITE && e->dev == TI_META &&
	       e->offset == plan->geo.start_sector * 512;
}

/* From the log: what was durable when? */
static void check_order(const struct spy_queue *spy, const struct ti_format_plan *plan)
{
	size_t writes_under_way[TI_DEVICES] = { 0 };
	bool dirty[TI_DEVICES] = { false };   /* completed writes since the last flush began */
	bool covered[TI_DEVICES] = { false }; /* the flush under way covers what was dirty */
	unsigned superblock_writes = 0;
	bool marker_durable = false;

	for (size_t i = 0; i < spy->events; i++) {
		const struct spy_event *e = &spy->log[i];

		if (e->op == TI_IO_WRITE && !e->done) {
			if (is_superblock_write(e, plan)) {
				superblock_writes++;
				/* The last one: everything else is durable before it starts. */
				if (superblock_writes == 2) {
					for (int d = 0; d < TI_DEVICES; d++)
						assert_false(dirty[d] || covered[d] ||
							     writes_under_way[d]);
				}
			} else {
				assert_true(marker_durable);
				assert_int_equal(superblock_writes, 1);
			}
			writes_under_way[e->dev]++;
		} else if (e->op == TI_IO_WRITE) {
			writes_under_way[e->dev]--;
			dirty[e->dev] = true;
		} else if (e->op == TI_IO_FLUSH && !e->done) {
			assert_int_equal(writes_under_way[e->dev], 0);
			covered[e->dev] = dirty[e->dev];
			dirty[e->dev] = false;
		} else if (e->op == TI_IO_FLUSH) {
			if (e->dev == TI_META && superblock_writes == 1)
				marker_durable = true;
			covered[e->dev] = false;
		}
	}
	assert_int_equal(superblock_writes, 2);
	assert_false(dirty[TI_META] || covered[TI_META]);
	assert_int_equal(spy->pending_count, 0);
}

static void the_superblock_comes_last_and_the_marker_first(void **state)
{
	static const enum ti_format_fill fills[] = { TI_FORMAT_WIPE, TI_FORMAT_KEEP_DATA,
						     TI_FORMAT_NO_WIPE };

	(void)state;
	for (size_t i = 0; i < 3 * 5; i++) {
		struct mem_queue *mq = mem_queue_new(20 * MIB, 2 * MIB);
		struct spy_queue *spy = spy_queue_new(mq, i);
		const struct ti_format_options o = options(4096, 0, fills[i % 3]);
		struct ti_format_plan plan;

		plan_and_write(&spy->q, &o, &plan);
		check_order(spy, &plan);
		spy_queue_free(spy);
		mem_queue_free(mq);
	}
}

static void both_devices_are_flushed_side_by_side(void **state)
{
	struct mem_queue *mq = mem_queue_new(MIB, MIB);
	struct spy_queue *spy = spy_queue_new(mq, 5);
	const struct ti_format_options o = options(512, 0, TI_FORMAT_WIPE);
	struct ti_format_plan plan;
	unsigned under_way = 0, most = 0;

	(void)state;
	plan_and_write(&spy->q, &o, &plan);
	for (size_t i = 0; i < spy->events; i++) {
		if (spy->log[i].op != TI_IO_FLUSH)
			continue;
		under_way += spy->log[i].done ? -1U : 1U;
		if (under_way > most)
			most = under_way;
	}
	assert_int_equal(most, 2);
	spy_queue_free(spy);
	mem_queue_free(mq);
}

static void large_transfers_are_under_way_at_once(void **state)
{
	struct mem_queue *mq = mem_queue_new(40 * MIB, 2 * MIB);
	struct spy_queue *spy = spy_queue_new(mq, 6);
	const struct ti_format_options o = options(4096, 0, TI_FORMAT_WIPE);
	struct ti_format_plan plan;
	unsigned of_a_mib = 0;

	(void)state;
	plan_and_write(&spy->q, &o, &plan);
	for (size_t i = 0; i < spy->events; i++)
		of_a_mib +=
			spy->log[i].dev == TI_DATA && !spy->log[i].done && spy->log[i].len == MIB;
	assert_int_equal(of_a_mib, 40);
	assert_in_range(spy->most_pending, 16, 256);
	spy_queue_free(spy);
	mem_queue_free(mq);
}

/* ---- when it does not go well ---- */

/* Every I/O in turn fails: the error comes back and there never is a superblock. */
static void after_a_failed_io_there_is_no_superblock(void **state)
{
	const enum ti_format_fill fills[] = { TI_FORMAT_WIPE, TI_FORMAT_KEEP_DATA };
	size_t tried = 0;

	(void)state;
	for (size_t f = 0; f < 2; f++) {
		for (size_t fail_at = 0;; fail_at++) {
			struct mem_queue *mq = mem_queue_new(9 * MIB, MIB);
			struct spy_queue *spy = spy_queue_new(mq, fail_at);
			const struct ti_format_options o = options(4096, 0, fills[f]);
			struct ti_error error = { .err = 0 };
			struct ti_format_plan plan;
			enum ti_place place;
			int err;

			assert_int_equal(ti_format_plan(&spy->q, &o, &plan, &error), 0);
			spy->fail_at = fail_at;
			err = ti_format_write(&spy->q, &plan, &quiet, &error);
			assert_int_equal(spy->pending_count, 0);
			if (spy->ios <= fail_at) {
				assert_int_equal(err, 0);
				spy_queue_free(spy);
				mem_queue_free(mq);
				break;
			}
			assert_int_equal(err, -EIO);
			assert_int_equal(error.err, -EIO);
			assert_non_null(strstr(error.text, "DATA") ? strstr(error.text, "DATA")
								   : strstr(error.text, "META"));
			assert_int_equal(ti_inspect_place(&mq->q, 0, &place, NULL), 0);
			/* The last flush fails after the superblock was written. */
			if (fail_at + 1 < spy->ios || spy->log[spy->events - 1].op != TI_IO_FLUSH ||
			    place != TI_PLACE_SUPERBLOCK)
				assert_int_equal(place,
						 fail_at ? TI_PLACE_UNFINISHED : TI_PLACE_ZERO);
			tried++;
			spy_queue_free(spy);
			mem_queue_free(mq);
		}
	}
	assert_true(tried > 30);
}

static int stop_at(void *ctx, uint64_t done, uint64_t total)
{
	(void)total;
	return done >= *(const uint64_t *)ctx;
}

static void a_stopped_format_leaves_the_marker(void **state)
{
	struct mem_queue *mq = mem_queue_new(100 * MIB, 2 * MIB);
	const struct ti_format_options o = options(4096, 0, TI_FORMAT_WIPE);
	uint64_t limit = 32 * MIB;
	const struct ti_progress progress = { .step = stop_at, .ctx = &limit };
	struct ti_error error = { .err = 0 };
	struct ti_superblock sb;
	struct ti_format_plan plan;

	(void)state;
	fill(mq->bytes[TI_DATA], mq->q.dev[TI_DATA].size, 4);
	assert_int_equal(ti_format_plan(&mq->q, &o, &plan, &error), 0);
	assert_int_equal(ti_format_write(&mq->q, &plan, &progress, &error), -ECANCELED);
	error.err = 0;
	assert_int_equal(ti_inspect_superblock(&mq->q, 0, &sb, &error), -ENODATA);
	assert_non_null(strstr(error.text, "not finished"));
	/* The end was never reached. */
	assert_int_not_equal(mq->bytes[TI_DATA][100 * MIB - 1] | mq->bytes[TI_DATA][100 * MIB - 2],
			     0);
	mem_queue_free(mq);
}

struct seen {
	uint64_t last, total;
	unsigned calls;
};

static int see(void *ctx, uint64_t done, uint64_t total)
{
	struct seen *seen = ctx;

	assert_true(done > seen->last);
	seen->last = done;
	seen->total = total;
	seen->calls++;
	return 0;
}

static void progress_grows_to_the_total(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 3; seed++) {
		struct mem_queue *mq = mem_queue_new(33 * MIB + 512, 2 * MIB);
		struct spy_queue *spy = spy_queue_new(mq, seed);
		const struct ti_format_options o = options(512, 0, TI_FORMAT_WIPE);
		struct seen seen = { .last = 0 };
		const struct ti_progress progress = { .step = see, .ctx = &seen };
		struct ti_format_plan plan;

		assert_int_equal(ti_format_plan(&spy->q, &o, &plan, NULL), 0);
		assert_int_equal(ti_format_write(&spy->q, &plan, &progress, NULL), 0);
		assert_int_equal(seen.last, 33 * MIB + 512);
		assert_int_equal(seen.total, 33 * MIB + 512);
		assert_true(seen.calls == 3);
		spy_queue_free(spy);
		mem_queue_free(mq);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plan_has_the_digests_tag_size_and_a_fresh_salt),
		cmocka_unit_test(a_plan_without_salt_has_a_zero_one),
		cmocka_unit_test(what_does_not_fit_the_devices_is_refused),
		cmocka_unit_test(wiping_zeroes_all_blocks_and_writes_their_tags),
		cmocka_unit_test(keeping_data_writes_the_tags_of_what_is_there),
		cmocka_unit_test(without_wiping_neither_data_nor_tags_are_touched),
		cmocka_unit_test(the_journal_is_formatted_with_sequence_0_everywhere),
		cmocka_unit_test(an_empty_section_is_as_described),
		cmocka_unit_test(the_superblock_comes_last_and_the_marker_first),
		cmocka_unit_test(both_devices_are_flushed_side_by_side),
		cmocka_unit_test(large_transfers_are_under_way_at_once),
		cmocka_unit_test(after_a_failed_io_there_is_no_superblock),
		cmocka_unit_test(a_stopped_format_leaves_the_marker),
		cmocka_unit_test(progress_grows_to_the_total),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
