/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A LUN in mode journal, and its journal seen and made from outside of the engine.
 *
 * Sections are small: 8 entries, so that a handful of blocks fills one.
 */
#ifndef SIM_JOURNAL_H
#define SIM_JOURNAL_H

#include <stdint.h>

#include "journal_scan.h"
#include "sim_lun.h"

#define SIM_SECTION_ENTRIES 8U

/* 1000 blocks of 512, tags of 255, @sections sections; open in mode journal.  @watermark 0: 50. */
struct sim_lun *sim_journal_new(uint32_t sections, unsigned watermark);
/* The same, not open. */
struct sim_lun *sim_journal_make(uint32_t sections, unsigned watermark);

/* Section @i as a reader sees it now: its bytes, and what is to be said of them. */
uint8_t *sim_journal_bytes(struct sim_lun *l, uint32_t i);
struct ti_journal_section sim_journal_section(struct sim_lun *l, uint32_t i);
/* The whole journal as a reader sees it now. */
struct ti_journal_summary sim_journal_look(struct sim_lun *l);

/* Put an entry into the journal on the medium.  The section keeps its sequence number. */
void sim_journal_entry(struct sim_lun *l, uint32_t i, uint32_t n, uint32_t block, uint32_t version);
/* Give section @i another sequence number. */
void sim_journal_seq(struct sim_lun *l, uint32_t i, unsigned seq);

/* I/Os of a kind that touch this byte and were submitted since sim_forget(). */
unsigned sim_started_at(const struct sim_lun *l, enum ti_device dev, enum ti_io_op op,
			uint64_t offset);

#endif
