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
#define KEY_SPECIFIC_EXTRA 8  /* a sense key specific one */
#define SKSV		   0x80
#define SD		   0x20 /* the pointer points into the segment's descriptor */
#define FIXED_BYTES	   (8 + FIXED_EXTRA)
#define CHECK_CONDITION	   0x02
/* In COPY ABORTED's COMMAND-SPECIFIC INFORMATION: where a device's status and sense data begin. */
#define OF_SOURCE      8
#define OF_DESTINATION 9
#define OF_SEGMENT     10 /* its number */

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
	sense[15] = SKSV; /* the pointer is valid */
	if (asc == TI_ASC_INVALID_FIELD_IN_CDB)
		sense[15] |= 0x40;
	if (bit >= 0)
		sense[15] |= (uint8_t)(0x08 | (bit & 0x7));
	put_be(sense + 16, byte, 2);
	return TCMU_STS_PASSTHROUGH_ERR;
}

int ti_sense_set_progress(uint8_t *sense, uint16_t progress)
{
	ti_sense_set(sense, TI_KEY_NOT_READY, TI_ASC_BECOMING_READY);
	sense[15] = SKSV;
	put_be(sense + 16, progress, 2);
	return TCMU_STS_PASSTHROUGH_ERR;
}

int ti_sense_set_copy(uint8_t *sense, enum ti_asc asc, unsigned segment, int byte)
{
	ti_sense_set(sense, TI_KEY_COPY_ABORTED, asc);
	put_be(sense + OF_SEGMENT, segment, 2);
	if (byte >= 0) {
		sense[15] = SKSV | SD;
		put_be(sense + 16, (unsigned)byte, 2);
	}
	return TCMU_STS_PASSTHROUGH_ERR;
}

int ti_sense_to_copy(uint8_t *sense, unsigned segment, bool destination)
{
	uint8_t own[TI_SENSE_BYTES];
	size_t len;

	memcpy(own, sense, sizeof(own));
	len = 8U + own[7];
	if (len > TI_SENSE_BYTES - FIXED_BYTES - 1) /* never, of what is set here */
		len = TI_SENSE_BYTES - FIXED_BYTES - 1;
	ti_sense_set_copy(sense, TI_ASC_THIRD_PARTY_DEVICE_FAILURE, segment, -1);
	sense[destination ? OF_DESTINATION : OF_SOURCE] = FIXED_BYTES;
	sense[FIXED_BYTES] = CHECK_CONDITION;
	memcpy(sense + FIXED_BYTES + 1, own, len);
	sense[7] = (uint8_t)(FIXED_EXTRA + 1 + len);
	return TCMU_STS_PASSTHROUGH_ERR;
}

/*
 * What COPY ABORTED has besides.  There is a descriptor for a device's sense data, so that the
 * COMMAND-SPECIFIC INFORMATION need not say where it lies.  (SPC-4: forwarded sense data.)
 */
static uint8_t *describe_copy(uint8_t *p, const uint8_t *fixed)
{
	uint8_t begin = fixed[OF_SOURCE] ? fixed[OF_SOURCE] : fixed[OF_DESTINATION];
	size_t len = 8U + fixed[7];

	p[0] = 0x01; /* descriptor type: command-specific information */
	p[1] = INFORMATION_EXTRA - 2;
	memcpy(p + 4 + 2, fixed + OF_SEGMENT, 2); /* of its eight bytes the third and fourth */
	p += INFORMATION_EXTRA;
	if (begin == 0)
		return p;
	len -= begin;
	p[0] = 0x0c; /* forwarded sense data */
	p[1] = (uint8_t)(2 + len - 1);
	p[2] = fixed[OF_SOURCE] ? 1 : 2;   /* whose */
	memcpy(p + 3, fixed + begin, len); /* its status, then its sense data */
	return p + 3 + len;
}

void ti_sense_to_descriptors(uint8_t *sense)
{
	uint8_t fixed[TI_SENSE_BYTES], *p = sense + 8;

	if ((sense[0] & 0x7f) != FIXED_CURRENT)
		return;
	memcpy(fixed, sense, sizeof(fixed));
	memset(sense, 0, TI_SENSE_BYTES);
	sense[0] = DESCRIPTOR_CURRENT;
	sense[1] = fixed[2] & 0x0f;
	memcpy(sense + 2, fixed + 12, 2);
	if (fixed[0] & VALID) {
		p[0] = 0x00; /* descriptor type: information */
		p[1] = INFORMATION_EXTRA - 2;
		p[2] = VALID;
		memcpy(p + 8, fixed + 3, 4);
		p += INFORMATION_EXTRA;
	}
	if (fixed[15] & SKSV) {
		p[0] = 0x02; /* sense key specific */
		p[1] = KEY_SPECIFIC_EXTRA - 2;
		memcpy(p + 4, fixed + 15, 3);
		p += KEY_SPECIFIC_EXTRA;
	}
	if (sense[1] == TI_KEY_COPY_ABORTED)
		p = describe_copy(p, fixed);
	sense[7] = (uint8_t)(p - sense - 8);
}

/* Only ti_sense_set_lba() writes descriptors itself, for an address that does not fit. */
void ti_sense_to_fixed(uint8_t *sense)
{
	if (sense[0] == DESCRIPTOR_CURRENT)
		ti_sense_set(sense, (enum ti_sense_key)sense[1],
			     (enum ti_asc)(sense[2] << 8 | sense[3]));
}

void ti_sense_drop_information(uint8_t *sense)
{
	ti_sense_to_fixed(sense);
	if (sense[0] == (FIXED_CURRENT | VALID))
		ti_sense_set(sense, (enum ti_sense_key)sense[2],
			     (enum ti_asc)(sense[12] << 8 | sense[13]));
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
	return op != TI_REQ_FLUSH && !ti_req_writes(op);
}

bool ti_sense_may_name_block(const struct ti_request *request, bool sends)
{
	if (request->result.sector == request->sector ||
	    request->result.cause == TI_CAUSE_MISCOMPARE)
		return true;
	if (request->op == TI_REQ_READ)
		return sends;
	return !ti_req_writes(request->op) || !(request->flags & (TI_REQ_FUA | TI_REQ_ATOMIC));
}

/* SBC-4: COMPARE AND WRITE names the first byte of its buffer that differs, VERIFY the block. */
static int miscompare(uint8_t *sense, enum ti_req_op op, const struct ti_result *result,
		      uint32_t block_size)
{
	uint64_t where = op == TI_REQ_COMPARE_AND_WRITE ? result->offset
							: result->sector / (block_size / 512);

	return ti_sense_set_lba(sense, TI_KEY_MISCOMPARE, TI_ASC_MISCOMPARE, where);
}

int ti_sense_set_result(uint8_t *sense, enum ti_req_op op, const struct ti_result *result,
			uint32_t block_size)
{
	if (result->cause == TI_CAUSE_CLOSING)
		return TCMU_STS_BUSY;
	if (result->cause == TI_CAUSE_MISCOMPARE)
		return miscompare(sense, op, result, block_size);
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
