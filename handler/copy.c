// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/* See copy.h. */
#include "copy.h"

#include <errno.h>
#include <string.h>

#include "libtcmu_common.h"

#include "memory.h"

/* Of each copy: one at a time need not wait for its devices' latency too often, and all together
 * leave room for others. */
#define BUFFER_BYTES (256U << 10)

int ti_copies_open(struct ti_copies *copies, bool *locked)
{
	memset(copies, 0, sizeof(*copies));
	copies->memory_bytes = (size_t)TI_COPIES * BUFFER_BYTES;
	copies->memory = ti_memory_get(copies->memory_bytes, locked);
	if (!copies->memory)
		return -ENOMEM;
	for (size_t i = 0; i < TI_COPIES; i++)
		copies->copy[i].buffer =
			(struct iovec){ (char *)copies->memory + i * BUFFER_BYTES, BUFFER_BYTES };
	return 0;
}

void ti_copies_close(struct ti_copies *copies)
{
	ti_memory_put(copies->memory, copies->memory_bytes);
}

static struct ti_copy_kept *find_kept(struct ti_copies *copies, uint8_t list_id)
{
	for (size_t i = 0; i < TI_COPIES; i++) {
		struct ti_copy_kept *kept = &copies->kept[i];

		if (kept->list_id == list_id && (kept->status || kept->failure))
			return kept;
	}
	return NULL;
}

static void forget(struct ti_copies *copies, uint8_t list_id)
{
	struct ti_copy_kept *kept = find_kept(copies, list_id);

	if (kept)
		kept->status = kept->failure = false;
}

struct ti_copy *ti_copies_begin(struct ti_copies *copies, const struct ti_command *command)
{
	for (size_t i = 0; i < TI_COPIES; i++) {
		struct ti_copy *copy = &copies->copy[i];

		if (copy->order.segments > 0)
			continue;
		*copy = (struct ti_copy){ .order = command->request.copy,
					  .list = command->iov,
					  .list_count = command->iov_count,
					  .buffer = copy->buffer };
		if (copy->order.named)
			forget(copies, copy->order.list_id);
		return copy;
	}
	return NULL;
}

/* What was read is written, what was written is done. */
static void account(struct ti_copy *copy, const struct ti_scsi_facts *facts)
{
	if (!copy->writes) {
		copy->writes = true;
		return;
	}
	copy->left.source += copy->piece;
	copy->left.destination += copy->piece;
	copy->left.blocks -= copy->piece;
	copy->bytes += copy->piece * facts->block_size;
	copy->writes = false;
	copy->piece = 0;
	if (copy->left.blocks == 0)
		copy->segment++;
}

int ti_copy_next(struct ti_copy *copy, const struct ti_scsi_facts *facts,
		 struct ti_request *request, uint8_t *sense)
{
	uint64_t sectors = facts->block_size / TI_SECTOR_BYTES, most, lba;

	if (copy->piece > 0)
		account(copy, facts);
	while (copy->left.blocks == 0) {
		int status;

		if (copy->segment == copy->order.segments)
			return TCMU_STS_OK;
		status = ti_copy_segment(copy->list, copy->list_count, &copy->order, copy->segment,
					 facts->blocks, &copy->left, sense);
		if (status != TCMU_STS_OK)
			return status;
		if (copy->left.blocks == 0) /* which is no error */
			copy->segment++;
	}
	if (!copy->writes) {
		most = copy->buffer.iov_len / facts->block_size;
		copy->piece = copy->left.blocks < most ? copy->left.blocks : most;
	}
	copy->iov = (struct iovec){ copy->buffer.iov_base, copy->piece * facts->block_size };
	lba = copy->writes ? copy->left.destination : copy->left.source;
	request->op = copy->writes ? TI_REQ_WRITE : TI_REQ_READ;
	request->flags = 0;
	request->sector = lba * sectors;
	request->sectors = copy->piece * sectors;
	request->iov = &copy->iov;
	request->iov_count = 1;
	return TI_STS_REQUEST;
}

int ti_copy_fail(const struct ti_copy *copy, const struct ti_scsi_facts *facts,
		 const struct ti_request *request, uint8_t *sense)
{
	int status = ti_sense_set_result(sense, request->op, &request->result, facts->block_size);

	if (status == TCMU_STS_PASSTHROUGH_ERR)
		ti_sense_to_copy(sense, copy->segment, copy->writes);
	return status;
}

static bool is_over(const struct ti_copy_kept *kept, uint64_t now_ns)
{
	return now_ns >= kept->until_ns;
}

void ti_copies_end(struct ti_copies *copies, struct ti_copy *copy, int status, const uint8_t *sense,
		   uint64_t now_ns)
{
	bool failed = status == TCMU_STS_PASSTHROUGH_ERR;
	struct ti_copy_kept *kept;

	/* One that is to be sent again has no outcome yet. */
	if (copy->order.kept && (status == TCMU_STS_OK || failed)) {
		forget(copies, copy->order.list_id); /* another's that had the same */
		kept = &copies->kept[copies->next++ % TI_COPIES];
		*kept = (struct ti_copy_kept){
			.list_id = copy->order.list_id,
			.status = true,
			.failure = failed,
			.until_ns = now_ns + TI_COPY_KEPT_NS,
			.result = { .state = failed ? TI_COPY_FAILED : TI_COPY_DONE,
				    .segments = copy->segment + failed,
				    .bytes = copy->bytes },
		};
		if (failed)
			memcpy(kept->result.sense, sense, sizeof(kept->result.sense));
	}
	copy->order.segments = 0;
}

size_t ti_copy_failure_bytes(const uint8_t *sense)
{
	return 60 + 8 + (size_t)sense[7];
}

static bool is_running(const struct ti_copies *copies, uint8_t list_id,
		       struct ti_copy_result *result)
{
	for (size_t i = 0; i < TI_COPIES; i++) {
		const struct ti_copy *copy = &copies->copy[i];

		if (copy->order.segments == 0 || !copy->order.named ||
		    copy->order.list_id != list_id)
			continue;
		*result = (struct ti_copy_result){ .state = TI_COPY_RUNNING,
						   .segments = copy->segment + 1,
						   .bytes = copy->bytes };
		return true;
	}
	return false;
}

bool ti_copies_ask(struct ti_copies *copies, const struct ti_copy_question *question,
		   uint64_t now_ns, struct ti_copy_result *result)
{
	struct ti_copy_kept *kept;

	if (!question->failure && is_running(copies, question->list_id, result))
		return true;
	kept = find_kept(copies, question->list_id);
	if (!kept || is_over(kept, now_ns) || !(question->failure ? kept->failure : kept->status))
		return false;
	*result = kept->result;
	/* It has been asked for, and is told this once. */
	if (!question->failure)
		kept->status = false;
	else if (question->allocation == 0 ||
		 question->allocation >= ti_copy_failure_bytes(kept->result.sense))
		kept->failure = false;
	return true;
}
