/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What both printers say in the same words.
 */
#include "print.h"

const char *print_kind_name(enum ti_check_kind kind)
{
	switch (kind) {
	case TI_CHECK_MISMATCH:
		return "mismatch";
	case TI_CHECK_NEVER_WRITTEN:
		return "never_written";
	case TI_CHECK_DATA_UNREADABLE:
		return "data_unreadable";
	case TI_CHECK_TAG_UNREADABLE:
		return "tag_unreadable";
	case TI_CHECK_DISCARDED:
		return "discarded";
	case TI_CHECK_UNSETTLED:
		return "unsettled";
	case TI_CHECK_KINDS:
		break;
	}
	return "unknown";
}

const char *print_finding_state_name(enum finding_state state)
{
	switch (state) {
	case FINDING_OK:
		return "ok";
	case FINDING_NOTE:
		return "note";
	case FINDING_MISSING:
		return "missing";
	}
	return "unknown";
}

const char *print_seq_name(uint8_t seq)
{
	static const char *const name[] = { "0", "1", "2", "3", "mixed", "bad" };

	return seq < sizeof(name) / sizeof(name[0]) ? name[seq] : "unknown";
}

bool print_check_is_clean(const struct report_check *report)
{
	for (int i = 0; i < TI_CHECK_KINDS; i++) {
		/* Discarded blocks that are allowed are in no range. */
		if (report->result->ranges[i])
			return false;
	}
	return report->complete;
}

uint64_t print_sectors_per_bit(const struct ti_superblock *sb)
{
	unsigned shift = (unsigned)sb->log2_blocks_per_bitmap_bit + sb->log2_sectors_per_block;

	return shift < 64 ? 1ULL << shift : 0;
}
