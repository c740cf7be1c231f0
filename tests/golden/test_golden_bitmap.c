/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The kernel's images of mode bitmap through the engine: one that died with dirty regions is
 * recalculated in every mode, and only there; one that was closed is closed by us the same way,
 * byte for byte.
 */
#include "image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bits.h"
#include "clock.h"
#include "hash.h"
#include "lun.h"
#include "pair.h"

static const struct ti_log silent;

static bool is_bitmap(const struct golden_pair *p, bool dirty)
{
	return p->sb.version == 3 && dirty == !!(p->sb.flags & TI_SB_DIRTY_BITMAP);
}

static uint8_t *load(const char *path, size_t len)
{
	FILE *f = fopen(path, "re");
	uint8_t *bytes = malloc(len);

	assert_non_null(f);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 1, len, f), len);
	fclose(f);
	return bytes;
}

/* Open, let it recalculate, close. */
static struct ti_lun_stats serve(const struct golden_pair *p, enum ti_mode mode)
{
	const struct ti_pair_options pair = { .data_path = p->data_path,
					      .meta_path = p->meta_path };
	const struct ti_lun_options options = { .mode = mode,
						.hash = p->image->hash,
						.bitmap_flush_interval_ms = 20 };
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);
	struct ti_lun_stats stats;
	struct ti_queue *q = NULL;
	struct ti_lun *lun = NULL;
	struct ti_error e = { 0 };

	if (ti_pair_open(&pair, &silent, &q, &e) ||
	    ti_lun_open(&options, q, &ti_clock_monotonic, &silent, &lun, &e))
		fail_msg("%s", e.text);
	do {
		ti_lun_run(lun, &finished);
		ti_lun_get_stats(lun, &stats);
		if (stats.recalculating)
			ti_lun_wait(lun, ti_lun_deadline(lun));
		ti_lun_tick(lun);
	} while (stats.recalculating);
	assert_int_equal(ti_lun_close(lun), 0);
	ti_pair_close(q);
	return stats;
}

/* Tags of the dirty regions match; all others are as they were; so is the data. */
static void is_recalculated(const struct golden_pair *p, const uint8_t *data, const uint8_t *meta)
{
	const uint8_t *map = p->meta + p->geo.journal_offset;
	struct ti_hash hash;

	assert_memory_equal(data, p->data, p->data_bytes);
	assert_int_equal(ti_hash_init(&hash, ti_hash_find("crc32c"), p->geo.block_size,
				      p->geo.tag_size, NULL),
			 0);
	for (uint64_t block = 0; block < p->geo.provided_blocks; block++) {
		const uint8_t *tag = meta + p->geo.tag_offset + block * p->geo.tag_size;
		const uint8_t *old = p->meta + p->geo.tag_offset + block * p->geo.tag_size;
		uint8_t want[256];

		ti_hash_same(&hash, block, data + block * p->geo.block_size, 1, want);
		if (ti_bit(map, block >> p->sb.log2_blocks_per_bitmap_bit))
			assert_memory_equal(tag, want, p->geo.tag_size);
		else
			assert_memory_equal(tag, old, p->geo.tag_size);
	}
	ti_hash_destroy(&hash);
}

static void dirty_regions_are_recalculated_in_every_mode(void **state)
{
	const struct golden_pair *p = *state;
	static const enum ti_mode mode[] = { TI_MODE_BITMAP, TI_MODE_DIRECT, TI_MODE_JOURNAL };
	struct ti_superblock sb;

	if (!is_bitmap(p, true))
		return;
	for (unsigned i = 0; i < 3; i++) {
		struct ti_lun_stats stats;
		uint8_t *data, *meta;
		FILE *f = fopen(p->meta_path, "wbe");

		/* The image, as it came. */
		assert_non_null(f);
		assert_int_equal(fwrite(p->meta, 1, p->meta_bytes, f), p->meta_bytes);
		fclose(f);
		stats = serve(p, mode[i]);
		assert_int_equal(stats.recalculated_sectors, p->image->dirty_blocks);
		/* The blocks that were never written have no tags, and none are made. */
		assert_true(stats.recalc_mismatches > 0);
		data = load(p->data_path, p->data_bytes);
		meta = load(p->meta_path, p->meta_bytes);
		is_recalculated(p, data, meta);
		assert_int_equal(ti_superblock_parse(meta, "meta", &sb, NULL), 0);
		assert_int_equal(sb.flags, TI_SB_RECALCULATING);
		assert_int_equal(sb.recalc_sector, sb.provided_sectors);
		free(data);
		free(meta);
	}
}

static void recovery_leaves_all_of_it_alone(void **state)
{
	const struct golden_pair *p = *state;
	uint8_t *meta;

	if (!is_bitmap(p, true))
		return;
	serve(p, TI_MODE_RECOVERY);
	meta = load(p->meta_path, p->meta_bytes);
	assert_memory_equal(meta, p->meta, p->meta_bytes);
	free(meta);
}

static void opened_and_closed_in_mode_bitmap_it_is_the_kernels_bytes(void **state)
{
	const struct golden_pair *p = *state;
	uint8_t *meta;

	if (!is_bitmap(p, false))
		return;
	serve(p, TI_MODE_BITMAP);
	meta = load(p->meta_path, p->meta_bytes);
	assert_memory_equal(meta, p->meta, p->meta_bytes);
	free(meta);
}

int main(void)
{
	static const char *const what[] = {
		"dirty regions are recalculated in every mode",
		"recovery leaves all of it alone",
		"opened and closed in mode bitmap it is the kernel's bytes",
	};
	static void (*const test[])(void **) = {
		dirty_regions_are_recalculated_in_every_mode,
		recovery_leaves_all_of_it_alone,
		opened_and_closed_in_mode_bitmap_it_is_the_kernels_bytes,
	};

	return golden_run_all("golden_bitmap", what, test, sizeof(test) / sizeof(test[0]));
}
