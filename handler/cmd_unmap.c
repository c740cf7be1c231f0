// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * UNMAP and GET LBA STATUS: what of the LUN is not needed any more, and what that is.
 *
 * A parameter list is checked as a whole before the first of its ranges is discarded.  The engine
 * gets one range after the other; see ti_unmap_next().  (SBC-4: UNMAP command.)
 */
#include "cdb.h"

#include "libtcmu_common.h"

#include "iov.h"
#include "sense.h"

#define ANCHOR		 0x01 /* CDB byte 1 */
#define HEADER_BYTES	 8U
#define DESCRIPTOR_BYTES 16U

#define MAPPED	    0x0
#define DEALLOCATED 0x1

static struct ti_extent descriptor(const struct iovec *iov, size_t iov_count, unsigned n)
{
	uint8_t raw[DESCRIPTOR_BYTES];

	ti_list_bytes(iov, iov_count, HEADER_BYTES + (size_t)n * DESCRIPTOR_BYTES, raw,
		      sizeof(raw));
	return (struct ti_extent){ ti_be64(raw), ti_be32(raw + 8) };
}

/* How many whole descriptors there are: the list may be cut anywhere behind its header. */
static unsigned count_descriptors(const struct iovec *iov, size_t iov_count, size_t list)
{
	uint8_t header[HEADER_BYTES];
	size_t said;

	ti_list_bytes(iov, iov_count, 0, header, sizeof(header));
	said = ti_be16(header + 2);
	if (said > list - HEADER_BYTES)
		said = list - HEADER_BYTES;
	return (unsigned)(said / DESCRIPTOR_BYTES);
}

static int bad_parameter(struct ti_command *cmd, unsigned byte)
{
	return ti_sense_set_field(cmd->sense, TI_ASC_INVALID_FIELD_IN_PARAMETERS, byte, -1);
}

static int check_descriptors(struct ti_command *cmd, unsigned count)
{
	uint64_t blocks = 0;

	if (count > TI_MAX_UNMAP_DESCRIPTORS)
		return bad_parameter(cmd, 2);
	for (unsigned n = 0; n < count; n++) {
		struct ti_extent extent = descriptor(cmd->iov, cmd->iov_count, n);
		int status = ti_check_extent(cmd, extent);

		if (status != TCMU_STS_OK)
			return status;
		blocks += extent.blocks;
		if (blocks > cmd->facts->max_unmap)
			return bad_parameter(cmd, HEADER_BYTES + n * DESCRIPTOR_BYTES + 8);
	}
	return TCMU_STS_OK;
}

bool ti_unmap_next(const struct iovec *iov, size_t iov_count, struct ti_unmap *unmap,
		   struct ti_extent *extent)
{
	while (unmap->next < unmap->count) {
		*extent = descriptor(iov, iov_count, unmap->next++);
		if (extent->blocks > 0)
			return true;
	}
	return false;
}

int ti_cmd_unmap(const struct ti_row *row, struct ti_command *cmd)
{
	size_t list = ti_be16(cmd->cdb + 7);
	struct ti_extent first;
	unsigned count;
	int status;

	if (!cmd->facts->discards)
		return ti_cmd_refuse(row, cmd);
	if (cmd->cdb[1] & ANCHOR)
		return ti_bad_field(cmd, 1, 0);
	if (list == 0)
		return TCMU_STS_OK;
	if (list < HEADER_BYTES || ti_iov_length(cmd->iov, cmd->iov_count) < list)
		return ti_sense_set(cmd->sense, TI_KEY_ILLEGAL_REQUEST,
				    TI_ASC_PARAMETER_LIST_LENGTH);
	count = count_descriptors(cmd->iov, cmd->iov_count, list);
	status = check_descriptors(cmd, count);
	if (status != TCMU_STS_OK)
		return status;
	cmd->request.unmap = (struct ti_unmap){ .count = count };
	if (!ti_unmap_next(cmd->iov, cmd->iov_count, &cmd->request.unmap, &first))
		return TCMU_STS_OK;
	ti_ask_engine(cmd, TI_REQ_DISCARD, first);
	cmd->request.iov_count = 0;
	return TI_STS_REQUEST;
}

/* One descriptor: SBC-4 asks for one at least, and an initiator goes on behind it. */
static void describe(uint8_t data[24], uint64_t lba, uint64_t blocks, uint8_t status)
{
	ti_put_be32(data, 24 - 4);
	ti_put_be64(data + 8, lba);
	ti_put_be32(data + 16, blocks < UINT32_MAX ? (uint32_t)blocks : UINT32_MAX);
	data[20] = status;
}

int ti_cmd_get_lba_status(const struct ti_row *row, struct ti_command *cmd)
{
	/* Once: a resize changes it meanwhile. */
	uint64_t lba = ti_be64(cmd->cdb + 2), blocks = cmd->facts->blocks, left;
	uint8_t data[24] = { 0 };

	(void)row;
	if (lba >= blocks)
		return ti_sense_set_lba(cmd->sense, TI_KEY_ILLEGAL_REQUEST, TI_ASC_LBA_OUT_OF_RANGE,
					lba);
	left = blocks - lba;
	if (cmd->facts->discards) {
		if (left > UINT32_MAX)
			left = UINT32_MAX;
		ti_ask_engine(cmd, TI_REQ_EXTENT, (struct ti_extent){ lba, left });
		cmd->request.iov_count = 0;
		return TI_STS_REQUEST;
	}
	describe(data, lba, left, MAPPED);
	return ti_answer(cmd, data, sizeof(data), ti_be32(cmd->cdb + 10));
}

int ti_answer_lba_status(struct ti_command *cmd, uint64_t blocks, bool discarded)
{
	uint8_t data[24] = { 0 };

	if (blocks == 0) { /* one of several integrity blocks, not alike: it is not discarded */
		blocks = 1;
		discarded = false;
	}
	describe(data, ti_be64(cmd->cdb + 2), blocks, discarded ? DEALLOCATED : MAPPED);
	return ti_answer(cmd, data, sizeof(data), ti_be32(cmd->cdb + 10));
}
