/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Sense data: how an initiator learns what went wrong, and where.
 *
 * Setters write fixed format, or descriptor format where a block address does not fit into the
 * former's 32 bits; what is sent is in the format that D_SENSE wants (ti_sense_to_...()).  Every
 * setter clears all TI_SENSE_BYTES first (the runner hands over uninitialised memory and sends all
 * of it to the kernel) and returns the status that makes the runner send it, so that "return
 * ti_sense_set(...)" reads well.
 */
#ifndef TI_SENSE_H
#define TI_SENSE_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "lun.h"

#define TI_SENSE_BYTES 96

enum ti_sense_key {
	TI_KEY_NO_SENSE = 0x0,
	TI_KEY_RECOVERED_ERROR = 0x1,
	TI_KEY_NOT_READY = 0x2,
	TI_KEY_MEDIUM_ERROR = 0x3,
	TI_KEY_HARDWARE_ERROR = 0x4,
	TI_KEY_ILLEGAL_REQUEST = 0x5,
	TI_KEY_DATA_PROTECT = 0x7,
	TI_KEY_COPY_ABORTED = 0xa,
	TI_KEY_MISCOMPARE = 0xe,
};

/** Additional sense code in the upper byte, its qualifier in the lower. */
enum ti_asc {
	TI_ASC_NONE = 0x0000,
	TI_ASC_BECOMING_READY = 0x0401,
	TI_ASC_UNREACHABLE_COPY_TARGET = 0x0804,
	TI_ASC_WRITE_ERROR = 0x0c00,
	TI_ASC_THIRD_PARTY_DEVICE_FAILURE = 0x0d01,
	TI_ASC_COPY_TARGET_NOT_REACHABLE = 0x0d02,
	TI_ASC_INCORRECT_COPY_TARGET_TYPE = 0x0d03,
	TI_ASC_INVALID_FIELD_IN_INFORMATION_UNIT = 0x0e03,
	TI_ASC_UNRECOVERED_READ_ERROR = 0x1100,
	TI_ASC_MISCOMPARE = 0x1d00,
	TI_ASC_PARAMETER_LIST_LENGTH = 0x1a00,
	TI_ASC_INVALID_OPERATION_CODE = 0x2000,
	TI_ASC_LBA_OUT_OF_RANGE = 0x2100,
	TI_ASC_INVALID_FIELD_IN_CDB = 0x2400,
	TI_ASC_INVALID_FIELD_IN_PARAMETERS = 0x2600,
	TI_ASC_TOO_MANY_CSCDS = 0x2606,
	TI_ASC_UNSUPPORTED_CSCD = 0x2607,
	TI_ASC_TOO_MANY_SEGMENTS = 0x2608,
	TI_ASC_UNSUPPORTED_SEGMENT = 0x2609,
	TI_ASC_INLINE_DATA_LENGTH = 0x260b,
	TI_ASC_WRITE_PROTECTED = 0x2700,
	TI_ASC_SOFTWARE_WRITE_PROTECTED = 0x2702,
	TI_ASC_SAVING_NOT_SUPPORTED = 0x3900,
	TI_ASC_INTERNAL_TARGET_FAILURE = 0x4400,
};

/** No INFORMATION field.  @sense: TI_SENSE_BYTES bytes. */
int ti_sense_set(uint8_t *sense, enum ti_sense_key key, enum ti_asc asc);

/** @lba, in blocks of the LUN, goes into the INFORMATION field. */
int ti_sense_set_lba(uint8_t *sense, enum ti_sense_key key, enum ti_asc asc, uint64_t lba);

/**
 * ILLEGAL REQUEST, with a field pointer to @byte and, if it is not negative, @bit (7: the leftmost)
 * of the CDB, or of the parameter list for TI_ASC_INVALID_FIELD_IN_PARAMETERS.
 */
int ti_sense_set_field(uint8_t *sense, enum ti_asc asc, unsigned byte, int bit);

/**
 * COPY ABORTED at segment @segment of an EXTENDED COPY: all before it are done.  @byte: of its
 * descriptor, the field to blame, or -1.  (SPC-4: segment pointer sense key specific data; the
 * segment's number is in the COMMAND-SPECIFIC INFORMATION field.)
 */
int ti_sense_set_copy(uint8_t *sense, enum ti_asc asc, unsigned segment, int byte);

/**
 * The device that a copy reads from, or writes to, has failed with what is in @sense: that becomes
 * COPY ABORTED, THIRD PARTY DEVICE FAILURE, with the device's own sense data in it.
 */
int ti_sense_to_copy(uint8_t *sense, unsigned segment, bool destination);

/**
 * May the sense data of a request that failed name the bad block?  Initiators take what lies before
 * it for done (Linux' sd completes that part of the request).  A read's must then be sent along,
 * which @sends says; a write that was to be durable, or all or nothing, is never done in part.
 */
bool ti_sense_may_name_block(const struct ti_request *request, bool sends);

/** Take the address out of what ti_sense_set_lba() has written. */
void ti_sense_drop_information(uint8_t *sense);

/** NOT READY, becoming ready, and how far that is: @progress 65536ths. */
int ti_sense_set_progress(uint8_t *sense, uint16_t progress);

/** From fixed to descriptor format, with all that it holds; nothing happens to the latter. */
void ti_sense_to_descriptors(uint8_t *sense);

/** The other way round; an address that does not fit is left out. */
void ti_sense_to_fixed(uint8_t *sense);

/**
 * Sense data for a request that the engine failed; returns the status to complete the command with,
 * which needs no sense data when it is BUSY.  @block_size: bytes of a LUN block.
 */
int ti_sense_set_result(uint8_t *sense, enum ti_req_op op, const struct ti_result *result,
			uint32_t block_size);

#endif
