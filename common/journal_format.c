/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Empty journal sections: what format leaves everywhere, and what an emptied journal returns to.
 */
#include "journal_format.h"

#include <assert.h>
#include <string.h>

void ti_journal_format_section(const struct ti_geometry *geo, uint32_t section, unsigned seq,
			       uint8_t *buf)
{
	const struct ti_journal_ids ids = ti_journal_plain_ids();

	assert(seq < TI_JOURNAL_SEQS);
	memset(buf, 0, ti_journal_section_bytes(geo));
	for (uint32_t n = 0; n < geo->section_entries; n++)
		ti_journal_entry_set_sector(geo, buf, n, TI_JOURNAL_UNUSED);
	for (uint32_t j = 0; j < geo->section_sectors; j++)
		ti_journal_set_id(buf, j, ti_journal_commit_id(&ids, section, j, seq));
}
