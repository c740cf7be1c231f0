// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * What an initiator does with the codes decides which ones are used.  Linux fails a MEDIUM ERROR at
 * once only if its ASC is 11h, 13h or 14h and tries again up to five times with any other; HARDWARE
 * ERROR fails at once and is not tried on another path.  So: what cannot be read is 11/00, a write
 * that the data device refused is WRITE ERROR (trying again can help: drives reallocate), and
 * trouble with the metadata device or a flush, where this device itself is what failed, is a
 * HARDWARE ERROR.
 */
#include "sense.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "libtcmu_common.h"

#define FIXED_CURRENT	   0x70
#define DESCRIPTOR_CURRENT 0x72
#define VALID		   0x80
#define FIXED_EXTRA	   10 /* bytes behind the first 8 */
#define INFORMATION_EXTRA  12 /* an information descriptor */

static void put_be(uint8_t *p, uint64_t value, unsigned bytes)
{
	while (bytes-- > 0) {
		p[bytes] = (uint8_t)value;
		value >>= 8;
	}
}

int ti_sense_set(uint8_t *sense, enum ti_sense_key key, enum ti_asc asc)
{
	memset(sense, 0, TI_SENSE_BYTES);
	sense[0] = FIXED_CURRENT;
	sense[2] = (uint8_t)key;
	sense[7] = FIXED_EXTRA;
	put_be(sense + 12, asc, 2);
	return TCMU_STS_PASSTHROUGH_ERR;
}

int ti_sense_set_lba(uint8_t *sense, enum ti_sense_key key, enum ti_asc asc, uint64_t lba)
{
	if (lba <= UINT32_MAX) {
		ti_sense_set(sense, key, asc);
		sense[0] |= VALID;
		put_be(sense + 3, lba, 4);
		return TCMU_STS_PASSTHROUGH_ERR;
	}
	memset(sense, 0, TI_SENSE_BYTES);
	sense[0] = DESCRIPTOR_CURRENT;
	sense[1] = (uint8_t)key;
	put_be(sense + 2, asc, 2);
	sense[7] = INFORMATION_EXTRA;
	sense[8] = 0x00; /* descriptor type: information */
	sense[9] = 0x0a;
	sense[10] = VALID;
	put_be(sense + 12, lba, 8);
	return TCMU_STS_PASSTHROUGH_ERR;
}

int ti_sense_set_field(uint8_t *sense, enum ti_asc asc, unsigned byte, int bit)
{
	ti_sense_set(sense, TI_KEY_ILLEGAL_REQUEST, asc);
	sense[15] = 0x80; /* the pointer is valid */
	if (asc == TI_ASC_INVALID_FIELD_IN_CDB)
		sense[15] |= 0x40;
	if (bit >= 0)
		sense[15] |= (uint8_t)(0x08 | (bit & 0x7));
	put_be(sense + 16, byte, 2);
	return TCMU_STS_PASSTHROUGH_ERR;
}

/* One row per cause, or two where it depends on what was asked for. */
struct mapping {
	enum ti_cause cause;
	enum { ANY, READS, WRITES } when;
	enum ti_sense_key key;
	enum ti_asc asc;
	bool has_lba;
};

static const struct mapping mappings[] = {
	{ TI_CAUSE_TAG_MISMATCH, ANY, TI_KEY_MEDIUM_ERROR, TI_ASC_UNRECOVERED_READ_ERROR, true },
	{ TI_CAUSE_DATA_IO, READS, TI_KEY_MEDIUM_ERROR, TI_ASC_UNRECOVERED_READ_ERROR, true },
	{ TI_CAUSE_DATA_IO, WRITES, TI_KEY_MEDIUM_ERROR, TI_ASC_WRITE_ERROR, true },
	{ TI_CAUSE_META_IO, ANY, TI_KEY_HARDWARE_ERROR, TI_ASC_INTERNAL_TARGET_FAILURE, true },
	{ TI_CAUSE_DATA_FLUSH, ANY, TI_KEY_HARDWARE_ERROR, TI_ASC_INTERNAL_TARGET_FAILURE, false },
	{ TI_CAUSE_META_FLUSH, ANY, TI_KEY_HARDWARE_ERROR, TI_ASC_INTERNAL_TARGET_FAILURE, false },
	{ TI_CAUSE_RANGE, ANY, TI_KEY_ILLEGAL_REQUEST, TI_ASC_LBA_OUT_OF_RANGE, false },
	{ TI_CAUSE_READ_ONLY, ANY, TI_KEY_DATA_PROTECT, TI_ASC_WRITE_PROTECTED, false },
};

static bool reads(enum ti_req_op op)
{
	return op == TI_REQ_READ || op == TI_REQ_VERIFY;
}

int ti_sense_set_result(uint8_t *sense, enum ti_req_op op, const struct ti_result *result,
			uint32_t block_size)
{
	if (result->cause == TI_CAUSE_CLOSING)
		return TCMU_STS_BUSY;
	for (size_t i = 0; i < sizeof(mappings) / sizeof(mappings[0]); i++) {
		const struct mapping *m = &mappings[i];

		if (m->cause != result->cause || (m->when == READS && !reads(op)) ||
		    (m->when == WRITES && reads(op)))
			continue;
		/* A flush that failed did so nowhere in particular. */
		if (m->has_lba && op != TI_REQ_FLUSH)
			return ti_sense_set_lba(sense, m->key, m->asc,
						result->sector / (block_size / 512));
		return ti_sense_set(sense, m->key, m->asc);
	}
	/* TI_CAUSE_INTERNAL, and whatever nobody thought of: it must surface. */
	return ti_sense_set(sense, TI_KEY_HARDWARE_ERROR, TI_ASC_INTERNAL_TARGET_FAILURE);
}
