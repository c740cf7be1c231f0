/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See sim_bitmap.h. */
#include "sim_bitmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "bits.h"

#define PATIENCE 100000U

struct sim_lun *sim_bitmap_make(uint32_t blocks, uint32_t sectors_per_bit)
{
	const struct sim_lun_options o = {
		.shape = { .sectors_per_bit = sectors_per_bit },
		.blocks = blocks,
		.lun = { .mode = TI_MODE_BITMAP },
	};

	return sim_lun_make(&o);
}

struct sim_lun *sim_bitmap_new(void)
{
	const struct sim_lun_options o = {
		.shape = { .sectors_per_bit = SIM_REGION },
		.lun = { .mode = TI_MODE_BITMAP },
	};

	return sim_lun_new(&o);
}

bool sim_bit(struct sim_lun *l, uint32_t region)
{
	return ti_bit(sim_contents(l->sim, TI_META) + l->geo.journal_offset, region);
}

bool sim_bit_is_durable(struct sim_lun *l, uint32_t region)
{
	return ti_bit(sim_durable(l->sim, TI_META) + l->geo.journal_offset, region);
}

uint32_t sim_bits(struct sim_lun *l)
{
	uint64_t bits = ti_bits_needed(&l->geo, sim_superblock(l).log2_blocks_per_bitmap_bit);

	return (uint32_t)ti_bits_count(sim_contents(l->sim, TI_META) + l->geo.journal_offset, bits);
}

void sim_put_bit(struct sim_lun *l, uint32_t region, bool value)
{
	uint8_t *map = sim_contents(l->sim, TI_META) + l->geo.journal_offset;
	struct ti_bit_range range = { region, region + 1 };

	if (value)
		ti_bits_set(map, range);
	else
		ti_bits_clear(map, range);
	sim_settle(l->sim, TI_META);
}

void sim_clear(struct sim_lun *l)
{
	uint64_t now = ti_clock_now(sim_as_clock(l->sim)), at = ti_lun_deadline(l->lun);

	sim_advance(l->sim, at > now ? at - now : 0);
	ti_lun_tick(l->lun);
	sim_go(l);
}

struct ti_superblock sim_superblock(struct sim_lun *l)
{
	struct ti_superblock sb;

	if (ti_superblock_parse(sim_contents(l->sim, TI_META) +
					l->geo.start_sector * TI_SECTOR_BYTES,
				"sim-meta", &sb, &l->error) != 0)
		fail_msg("%s", l->error.text);
	return sb;
}

void sim_put_superblock(struct sim_lun *l, const struct ti_superblock *sb)
{
	ti_superblock_write(sb,
			    sim_contents(l->sim, TI_META) + l->geo.start_sector * TI_SECTOR_BYTES);
	sim_settle(l->sim, TI_META);
}

void sim_put_block(struct sim_lun *l, uint32_t block, uint32_t version)
{
	sim_content(l, block, version,
		    sim_contents(l->sim, TI_DATA) + (size_t)block * l->geo.block_size);
	sim_settle(l->sim, TI_DATA);
}

static void tag_of(struct sim_lun *l, uint32_t block, uint8_t *tag)
{
	ti_hash_same(&l->hash, (uint64_t)block * l->geo.sectors_per_block,
		     sim_contents(l->sim, TI_DATA) + (size_t)block * l->geo.block_size, 1, tag);
}

static uint8_t *place_of_tag(struct sim_lun *l, uint32_t block)
{
	return sim_contents(l->sim, TI_META) + l->geo.tag_offset + (size_t)block * l->geo.tag_size;
}

void sim_put_both(struct sim_lun *l, uint32_t block, uint32_t version)
{
	sim_put_block(l, block, version);
	tag_of(l, block, place_of_tag(l, block));
	sim_settle(l->sim, TI_META);
}

void sim_recalculate(struct sim_lun *l)
{
	struct ti_lun_stats stats;

	sim_hold(l->sim, false);
	for (unsigned i = 0; i < PATIENCE; i++) {
		sim_go(l);
		ti_lun_get_stats(l->lun, &stats);
		if (!stats.recalculating)
			return;
		ti_lun_wait(l->lun, ti_lun_deadline(l->lun));
		ti_lun_tick(l->lun);
	}
	fail_msg("recalculation does not end: sector %llu",
		 (unsigned long long)stats.recalc_sector);
}

void sim_recalculate_and_close(struct sim_lun *l)
{
	sim_recalculate(l);
	sim_clear(l);
	sim_finish(l);
	assert_int_equal(sim_lun_close(l), 0);
}

bool sim_matches(struct sim_lun *l, uint32_t block)
{
	uint8_t tag[256];

	tag_of(l, block, tag);
	return memcmp(tag, place_of_tag(l, block), l->geo.tag_size) == 0;
}

bool sim_all_match(struct sim_lun *l)
{
	for (uint32_t block = 0; block < l->geo.provided_blocks; block++)
		if (!sim_matches(l, block))
			return false;
	return true;
}
