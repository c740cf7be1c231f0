/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A LUN in mode bitmap, and its bitmap and superblock seen and made from outside of the engine.
 *
 * 4096 blocks of 512 bytes; a bit stands for 64 of them unless the test says otherwise.
 */
#ifndef SIM_BITMAP_H
#define SIM_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "sim_lun.h"

#define SIM_REGION 64U

/* Open in mode bitmap; clearing is left to sim_clear(). */
struct sim_lun *sim_bitmap_new(void);
/* The same, not open; @blocks 0: 4096. */
struct sim_lun *sim_bitmap_make(uint32_t blocks, uint32_t sectors_per_bit);

/* Is the region's bit set as a reader sees it now, and on the medium for certain? */
bool sim_bit(struct sim_lun *l, uint32_t region);
bool sim_bit_is_durable(struct sim_lun *l, uint32_t region);
/* How many regions' bits a reader sees set. */
uint32_t sim_bits(struct sim_lun *l);
/* Set or clear a bit on the medium while the LUN is closed. */
void sim_put_bit(struct sim_lun *l, uint32_t region, bool value);

/* The interval is over: let the engine begin a clearing step. */
void sim_clear(struct sim_lun *l);

/* The superblock as a reader sees it now; put another one there while the LUN is closed. */
struct ti_superblock sim_superblock(struct sim_lun *l);
void sim_put_superblock(struct sim_lun *l, const struct ti_superblock *sb);

/* While the LUN is closed, another version of the block appears on the device; its tag does not. */
void sim_put_block(struct sim_lun *l, uint32_t block, uint32_t version);
/* The same with the tag. */
void sim_put_both(struct sim_lun *l, uint32_t block, uint32_t version);

/* Run until no recalculation is under way, or no more comes of it. */
void sim_recalculate(struct sim_lun *l);

/* The same, then let all that is due be done, and close the LUN well. */
void sim_recalculate_and_close(struct sim_lun *l);

/* Does every block of the closed LUN match its tag? */
bool sim_all_match(struct sim_lun *l);
/* Does the block, whatever it holds? */
bool sim_matches(struct sim_lun *l, uint32_t block);

#endif
