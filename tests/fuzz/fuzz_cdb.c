/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A command from a stranger: block sizes, where the buffer is cut in two, a CDB of 16 bytes, the
 * buffer.
 */
#include "cdb.h"
#include "copy.h"
#include "fuzz_input.h"
#include "libtcmu_common.h"
#include "sense.h"

#define BLOCKS 1000U

static char *serial(void *ctx)
{
	(void)ctx;
	return strdup("11112222-3333-4444-5555-666677778888");
}

static int ready(void *ctx, uint8_t *sense)
{
	(void)ctx;
	(void)sense;
	return TCMU_STS_OK;
}

static void stats(void *ctx, struct ti_lun_stats *out)
{
	(void)ctx;
	*out = (struct ti_lun_stats){ 0 };
}

/* One that has found more than fits. */
static void scrub(void *ctx, struct ti_scrub_report *out)
{
	(void)ctx;
	*out = (struct ti_scrub_report){ .state = TI_SCRUB_RUNNING,
					 .end = 1000,
					 .sector = 500,
					 .listed = 2,
					 .bad = { { 1, 100, TI_SCRUB_MISMATCH },
						  { 300, 100, TI_SCRUB_TAG_DECAYED } } };
}

static bool copy_result(void *ctx, const struct ti_copy_question *question,
			struct ti_copy_result *result)
{
	(void)ctx;
	*result = (struct ti_copy_result){ .state = TI_COPY_FAILED,
					   .sense = { 0x70, [7] = TI_SENSE_BYTES - 8 } };
	return question->list_id & 1;
}

/* CDB and buffer in memory of their own, so that a step beyond either is seen. */
static uint8_t *piece(const uint8_t *from, size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	FUZZ_MUST(p);
	memcpy(p, from, len);
	return p;
}

/* All ranges were looked at before the first is discarded. */
static void check_unmap(const struct ti_command *cmd)
{
	struct ti_unmap unmap = cmd->request.unmap;
	uint64_t blocks = cmd->request.blocks;
	struct ti_extent extent;

	while (ti_unmap_next(cmd->iov, cmd->iov_count, &unmap, &extent)) {
		FUZZ_MUST(extent.blocks > 0 && extent.blocks <= BLOCKS);
		FUZZ_MUST(extent.lba <= BLOCKS - extent.blocks);
		blocks += extent.blocks;
	}
	FUZZ_MUST(unmap.count <= TI_MAX_UNMAP_DESCRIPTORS && blocks <= cmd->facts->max_unmap);
}

/* A copy may end at any segment; one that begins lies on the LUN, and spares what was read. */
static void check_copy(const struct ti_command *cmd)
{
	const struct ti_copy_order *order = &cmd->request.copy;
	struct ti_copy_segment s[TI_COPY_SEGMENTS];

	FUZZ_MUST(order->segments <= TI_COPY_SEGMENTS && order->cscds <= TI_COPY_CSCDS);
	for (unsigned n = 0; n < order->segments; n++) {
		if (ti_copy_segment(cmd->request.iov, cmd->request.iov_count, order, n, BLOCKS,
				    &s[n], cmd->sense) != TCMU_STS_OK) {
			FUZZ_MUST(cmd->sense[2] == TI_KEY_COPY_ABORTED && cmd->sense[11] == n);
			return;
		}
		FUZZ_MUST(order->own != 0);
		FUZZ_MUST(s[n].blocks <= BLOCKS && s[n].source <= BLOCKS - s[n].blocks);
		FUZZ_MUST(s[n].destination <= BLOCKS - s[n].blocks);
		for (unsigned i = 0; i <= n; i++)
			FUZZ_MUST(s[i].source + s[i].blocks <= s[n].destination ||
				  s[n].destination + s[n].blocks <= s[i].source ||
				  s[i].blocks == 0 || s[n].blocks == 0);
	}
}

static void check(const struct ti_command *cmd, int status, size_t len)
{
	uint32_t size = cmd->facts->block_size;

	if (status == TCMU_STS_PASSTHROUGH_ERR)
		FUZZ_MUST((cmd->sense[0] & 0x70) == 0x70);
	if (status != TI_STS_REQUEST || cmd->request.op == TI_REQ_FLUSH)
		return;
	if (cmd->request.copy.segments > 0) {
		check_copy(cmd);
		return;
	}
	FUZZ_MUST(cmd->request.blocks > 0 && cmd->request.blocks <= BLOCKS);
	FUZZ_MUST(cmd->request.lba <= BLOCKS - cmd->request.blocks);
	FUZZ_MUST(cmd->request.iov_count > 0 || cmd->request.op == TI_REQ_DISCARD ||
		  cmd->request.op == TI_REQ_EXTENT);
	switch (cmd->request.op) {
	case TI_REQ_WRITE_SAME:
		FUZZ_MUST(cmd->request.iov != cmd->iov || len == size);
		break;
	case TI_REQ_COMPARE_SAME:
		FUZZ_MUST(len == size);
		break;
	case TI_REQ_DISCARD:
		check_unmap(cmd);
		break;
	case TI_REQ_VERIFY:
	case TI_REQ_EXTENT:
		break;
	case TI_REQ_COMPARE_AND_WRITE:
		FUZZ_MUST(len == 2 * cmd->request.blocks * size);
		break;
	default:
		FUZZ_MUST(len == cmd->request.blocks * size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ti_select mode;
	struct ti_scsi_facts facts = {
		.blocks = BLOCKS,
		.max_transfer = 2048,
		.max_write_same = 500,
		.max_verify = 600,
		.max_atomic = 100,
		.discards = true,
		.max_unmap = 700,
		.unmap_granularity = 1,
		.serial = serial,
		.ready = ready,
		.stats = stats,
		.scrub = scrub,
		.copy_result = copy_result,
		.mode = &mode,
	};
	uint8_t sense[TI_SENSE_BYTES] = { 0 };
	const struct ti_row *row;
	struct ti_command cmd;
	struct iovec iov[2];
	size_t len, cut;
	uint8_t *cdb;
	int status;

	if (size < 18)
		return 0;
	ti_select_open(&mode, NULL, 0);
	mode.kept = data[0] & 0x10; /* never closed */
	facts.block_size = 512U << (data[0] & 3);
	facts.integrity_block = 512U << (data[0] >> 2 & 3);
	if (facts.integrity_block > facts.block_size)
		return 0;
	row = ti_row_find(data + 2);
	if (!row)
		return 0;
	len = size - 18;
	cut = len * data[1] / 255;
	cdb = piece(data + 2, row->cdb_len);
	iov[0] = (struct iovec){ piece(data + 18, cut), cut };
	iov[1] = (struct iovec){ piece(data + 18 + cut, len - cut), len - cut };
	cmd = (struct ti_command){
		.cdb = cdb, .facts = &facts, .iov = iov, .iov_count = 2, .sense = sense
	};
	status = ti_row_run(row, &cmd);
	check(&cmd, status, len);
	free(cdb);
	free(iov[0].iov_base);
	free(iov[1].iov_base);
	return 0;
}
