// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * EXTENDED COPY(LID1) and RECEIVE COPY RESULTS: blocks of this LUN are copied to others of it.
 * (SPC-4: EXTENDED COPY(LID1) command, CSCD descriptors, segment descriptors.)
 *
 * Another LUN is not reachable.  Whether the initiator may use it, is mapped to it or reserves it,
 * only the kernel knows, and a handler that copied all the same would let initiators read and write
 * each other's disks.
 *
 * What is wrong with the list as such is found before anything is done: ILLEGAL REQUEST.  What is
 * wrong with a segment, because of what it names, ends the copy at that segment: COPY ABORTED.
 *
 * A segment must not write what it, or one before it, reads.  The initiator repeats a command that
 * a killed tcmu-runner has left half done, without asking anybody (the kernel answers BUSY), and
 * the second time it would read what the first had written.
 */
#include "cdb.h"

#include <stdlib.h>
#include <string.h>

#include "libtcmu_common.h"

#include "copy.h"
#include "iov.h"
#include "sense.h"

#define HEADER_BYTES  16U
#define CSCD_BYTES    32U
#define SEGMENT_BYTES 28U

/* LIST ID USAGE, header byte 1. */
enum {
	HOLD = 0,
	RESERVED = 1,
	DISCARD = 2,
	NO_IDENTIFIER = 3,
};

/* Descriptor type codes. */
#define IDENTIFICATION 0xe4
#define BLOCK_TO_BLOCK 0x02

/* Of an identification descriptor CSCD: code set binary, associated with the LUN, NAA. */
#define CODE_SET_MASK	0x0f
#define CODE_SET_BINARY 0x01
#define KIND_MASK	0x3f
#define KIND_LUN_NAA	0x03
#define MAX_DESIGNATOR	20
#define TYPE_MASK	0x1f

/* Where a block to block segment has what. */
#define AT_LENGTH      2U
#define AT_SOURCE      4U
#define AT_DESTINATION 6U
#define AT_BLOCKS      10U
#define AT_FROM	       12U
#define AT_TO	       20U

#define SNLID 0x01 /* OPERATING PARAMETERS: lists need no identifier */

static int bad_list(struct ti_command *cmd, size_t byte, int bit)
{
	return ti_sense_set_field(cmd->sense, TI_ASC_INVALID_FIELD_IN_PARAMETERS, (unsigned)byte,
				  bit);
}

static int refuse(struct ti_command *cmd, enum ti_asc asc)
{
	return ti_sense_set(cmd->sense, TI_KEY_ILLEGAL_REQUEST, asc);
}

static size_t cscd_at(unsigned n)
{
	return HEADER_BYTES + (size_t)n * CSCD_BYTES;
}

static size_t segment_at(const struct ti_copy_order *order, unsigned n)
{
	return cscd_at(order->cscds) + (size_t)n * SEGMENT_BYTES;
}

/* The header: who asks, and how long the lists are. */
static int check_header(struct ti_command *cmd, size_t list, size_t *cscd_bytes,
			size_t *segment_bytes)
{
	struct ti_copy_order *order = &cmd->request.copy;
	uint8_t header[HEADER_BYTES];
	unsigned usage;

	if (list < HEADER_BYTES)
		return refuse(cmd, TI_ASC_PARAMETER_LIST_LENGTH);
	ti_list_bytes(cmd->iov, cmd->iov_count, 0, header, sizeof(header));
	usage = header[1] >> 3 & 0x3;
	*cscd_bytes = ti_be16(header + 2);
	*segment_bytes = ti_be32(header + 8);
	if (usage == RESERVED)
		return bad_list(cmd, 1, 4);
	if (usage == NO_IDENTIFIER && header[0] != 0)
		return bad_list(cmd, 0, -1);
	if (*cscd_bytes + *segment_bytes > list - HEADER_BYTES ||
	    *cscd_bytes + *segment_bytes > TI_COPY_LIST_BYTES)
		return refuse(cmd, TI_ASC_PARAMETER_LIST_LENGTH);
	if (ti_be32(header + 12) != 0)
		return refuse(cmd, TI_ASC_INLINE_DATA_LENGTH);
	order->list_id = header[0];
	order->named = usage != NO_IDENTIFIER;
	order->kept = usage == HOLD;
	return TCMU_STS_OK;
}

/* Which of the CSCD descriptors are this LUN? */
static int check_cscds(struct ti_command *cmd, const uint8_t naa[TI_NAA_BYTES], size_t bytes)
{
	struct ti_copy_order *order = &cmd->request.copy;

	if (bytes % CSCD_BYTES != 0)
		return bad_list(cmd, 2, -1);
	if (bytes / CSCD_BYTES > TI_COPY_CSCDS)
		return refuse(cmd, TI_ASC_TOO_MANY_CSCDS);
	order->cscds = (unsigned)(bytes / CSCD_BYTES);
	for (unsigned n = 0; n < order->cscds; n++) {
		uint8_t raw[CSCD_BYTES], mine = (uint8_t)(1U << n);
		uint32_t block_size;

		ti_list_bytes(cmd->iov, cmd->iov_count, cscd_at(n), raw, sizeof(raw));
		if (raw[0] != IDENTIFICATION)
			return refuse(cmd, TI_ASC_UNSUPPORTED_CSCD);
		if (raw[7] > MAX_DESIGNATOR)
			return bad_list(cmd, cscd_at(n) + 7, -1);
		if ((raw[4] & CODE_SET_MASK) != CODE_SET_BINARY ||
		    (raw[5] & KIND_MASK) != KIND_LUN_NAA || raw[7] != TI_NAA_BYTES ||
		    memcmp(raw + 8, naa, TI_NAA_BYTES) != 0)
			continue;
		order->own |= mine;
		if (raw[1] & TYPE_MASK) {
			order->no_disk |= mine;
			continue;
		}
		/* With blocks of another length it would mean others.  0: it does not say. */
		block_size = ti_be32(raw + 28) & 0xffffff;
		if (block_size != 0 && block_size != cmd->facts->block_size)
			return bad_list(cmd, cscd_at(n) + 29, -1);
	}
	return TCMU_STS_OK;
}

static int check_segment(struct ti_command *cmd, size_t at, size_t left)
{
	uint8_t raw[SEGMENT_BYTES] = { 0 };

	ti_list_bytes(cmd->iov, cmd->iov_count, at, raw, left < sizeof(raw) ? left : sizeof(raw));
	if (raw[0] != BLOCK_TO_BLOCK)
		return refuse(cmd, TI_ASC_UNSUPPORTED_SEGMENT);
	if (left < SEGMENT_BYTES)
		return refuse(cmd, TI_ASC_PARAMETER_LIST_LENGTH);
	if (ti_be16(raw + AT_LENGTH) != SEGMENT_BYTES - 4)
		return bad_list(cmd, at + AT_LENGTH, -1);
	if (ti_be16(raw + AT_BLOCKS) > TI_COPY_SEGMENT_BYTES / cmd->facts->block_size)
		return bad_list(cmd, at + AT_BLOCKS, -1);
	return TCMU_STS_OK;
}

/* What a segment's descriptor says. */
static struct ti_copy_segment parse(const uint8_t *raw)
{
	return (struct ti_copy_segment){ ti_be64(raw + AT_FROM), ti_be64(raw + AT_TO),
					 ti_be16(raw + AT_BLOCKS) };
}

static struct ti_copy_segment extents(const struct ti_command *cmd, unsigned n)
{
	uint8_t raw[SEGMENT_BYTES];

	ti_list_bytes(cmd->iov, cmd->iov_count, segment_at(&cmd->request.copy, n), raw,
		      sizeof(raw));
	return parse(raw);
}

/* Does @n write what @before, or itself, reads? */
static bool overwrites(const struct ti_command *cmd, unsigned n, unsigned before)
{
	struct ti_copy_segment a = extents(cmd, before), b = extents(cmd, n);

	if (a.blocks == 0 || b.blocks == 0)
		return false;
	return a.source >= b.destination ? a.source - b.destination < b.blocks
					 : b.destination - a.source < a.blocks;
}

static int check_segments(struct ti_command *cmd, size_t bytes)
{
	struct ti_copy_order *order = &cmd->request.copy;
	unsigned count = 0;
	size_t done = 0;

	for (; done < bytes; done += SEGMENT_BYTES, count++) {
		int status;

		if (count == TI_COPY_SEGMENTS)
			return refuse(cmd, TI_ASC_TOO_MANY_SEGMENTS);
		status = check_segment(cmd, cscd_at(order->cscds) + done, bytes - done);
		if (status != TCMU_STS_OK)
			return status;
	}
	for (unsigned n = 0; n < count; n++)
		for (unsigned before = 0; before <= n; before++)
			if (overwrites(cmd, n, before))
				return bad_list(cmd, segment_at(order, n) + AT_TO, -1);
	order->segments = count;
	return TCMU_STS_OK;
}

int ti_cmd_extended_copy(const struct ti_row *row, struct ti_command *cmd)
{
	const struct ti_scsi_facts *facts = cmd->facts;
	size_t list = ti_be32(cmd->cdb + 10), cscds = 0, segments = 0;
	uint8_t naa[TI_NAA_BYTES];
	char *serial;
	int status;

	(void)row;
	if (list == 0)
		return TCMU_STS_OK;
	if (ti_iov_length(cmd->iov, cmd->iov_count) < list)
		return refuse(cmd, TI_ASC_PARAMETER_LIST_LENGTH);
	status = check_header(cmd, list, &cscds, &segments);
	if (status != TCMU_STS_OK)
		return status;
	serial = facts->serial(facts->serial_ctx);
	if (!serial)
		return TCMU_STS_BUSY; /* configfs could not be read: try again */
	ti_naa_of(serial, naa);
	free(serial);
	status = check_cscds(cmd, naa, cscds);
	if (status == TCMU_STS_OK)
		status = check_segments(cmd, segments);
	if (status != TCMU_STS_OK || cmd->request.copy.segments == 0)
		return status;
	cmd->request.iov = cmd->iov;
	cmd->request.iov_count = cmd->iov_count;
	return TI_STS_REQUEST;
}

/* A segment's source or destination.  Returns TCMU_STS_OK or sense data. */
static int check_end(const struct ti_copy_order *order, unsigned n, unsigned at, unsigned cscd,
		     uint8_t *sense)
{
	if (cscd >= order->cscds) /* of the identifiers beyond the list none is known here */
		return ti_sense_set_copy(sense, TI_ASC_UNREACHABLE_COPY_TARGET, n, (int)at);
	if (!(order->own >> cscd & 1))
		return ti_sense_set_copy(sense, TI_ASC_COPY_TARGET_NOT_REACHABLE, n, (int)at);
	if (order->no_disk >> cscd & 1)
		return ti_sense_set_copy(sense, TI_ASC_INCORRECT_COPY_TARGET_TYPE, n, (int)at);
	return TCMU_STS_OK;
}

static bool fits(uint64_t lba, uint64_t blocks, uint64_t lun_blocks)
{
	return lba <= lun_blocks && blocks <= lun_blocks - lba;
}

int ti_copy_segment(const struct iovec *iov, size_t iov_count, const struct ti_copy_order *order,
		    unsigned n, uint64_t lun_blocks, struct ti_copy_segment *segment,
		    uint8_t *sense)
{
	uint8_t raw[SEGMENT_BYTES];
	int status;

	ti_list_bytes(iov, iov_count, segment_at(order, n), raw, sizeof(raw));
	status = check_end(order, n, AT_SOURCE, ti_be16(raw + AT_SOURCE), sense);
	if (status == TCMU_STS_OK)
		status = check_end(order, n, AT_DESTINATION, ti_be16(raw + AT_DESTINATION), sense);
	if (status != TCMU_STS_OK)
		return status;
	*segment = parse(raw);
	/* Neither of the devices has been asked for anything: so it has no code of its own. */
	if (!fits(segment->source, segment->blocks, lun_blocks))
		return ti_sense_set_copy(sense, TI_ASC_NONE, n, AT_FROM);
	if (!fits(segment->destination, segment->blocks, lun_blocks))
		return ti_sense_set_copy(sense, TI_ASC_NONE, n, AT_TO);
	return TCMU_STS_OK;
}

int ti_cmd_copy_status(const struct ti_row *row, struct ti_command *cmd)
{
	struct ti_copy_question question = { .list_id = cmd->cdb[2] };
	struct ti_copy_result result;
	uint8_t data[12] = { [3] = 8 };

	(void)row;
	if (!cmd->facts->copy_result(cmd->facts->disk, &question, &result))
		return ti_bad_field(cmd, 2, -1);
	data[4] = (uint8_t)result.state;
	ti_put_be16(data + 5, (uint16_t)result.segments);
	data[7] = 0; /* TRANSFER COUNT UNITS: bytes */
	ti_put_be32(data + 8, (uint32_t)result.bytes);
	return ti_answer(cmd, data, sizeof(data), ti_be32(cmd->cdb + 10));
}

int ti_cmd_copy_parameters(const struct ti_row *row, struct ti_command *cmd)
{
	uint8_t data[46] = { [3] = sizeof(data) - 4, [4] = SNLID };

	(void)row;
	ti_put_be16(data + 8, TI_COPY_CSCDS);
	ti_put_be16(data + 10, TI_COPY_SEGMENTS);
	ti_put_be32(data + 12, TI_COPY_LIST_BYTES);
	ti_put_be32(data + 16, TI_COPY_SEGMENT_BYTES);
	ti_put_be16(data + 34, TI_COPIES); /* in total */
	data[36] = TI_COPIES;		   /* with an identifier */
	data[37] = (uint8_t)__builtin_ctz(cmd->facts->block_size);
	data[43] = 2; /* descriptor types */
	data[44] = BLOCK_TO_BLOCK;
	data[45] = IDENTIFICATION;
	return ti_answer(cmd, data, sizeof(data), ti_be32(cmd->cdb + 10));
}

int ti_cmd_copy_failure(const struct ti_row *row, struct ti_command *cmd)
{
	struct ti_copy_question question = { .list_id = cmd->cdb[2],
					     .failure = true,
					     .allocation = ti_be32(cmd->cdb + 10) };
	uint8_t data[60 + TI_SENSE_BYTES] = { 0 };
	struct ti_copy_result result;
	size_t len = 4; /* of no failure there is nothing to tell */

	(void)row;
	if (cmd->facts->copy_result(cmd->facts->disk, &question, &result)) {
		len = ti_copy_failure_bytes(result.sense);
		data[56] = 0x02; /* CHECK CONDITION */
		ti_put_be16(data + 58, (uint16_t)(len - 60));
		memcpy(data + 60, result.sense, len - 60);
	}
	ti_put_be32(data, (uint32_t)(len - 4));
	return ti_answer(cmd, data, len, question.allocation);
}
