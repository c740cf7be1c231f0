// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * EXTENDED COPY on its way through a disk: one context, one request after the other.
 */
#include "disk.h"

#include "libtcmu_common.h"

#include "clock.h"
#include "sense.h"

int ti_disk_copy_step(struct ti_disk *disk, struct ti_context *context)
{
	struct ti_request *request = &context->request;
	uint8_t *sense = context->cmd->lib_cmd->sense_buf;
	int status = ti_copy_next(context->copy, &disk->facts, request, sense);

	/* Write protected since it has begun. */
	if (status == TI_STS_REQUEST && ti_req_writes(request->op) &&
	    (ti_select_bits(&disk->mode) & TI_SELECT_SWP)) {
		ti_sense_set(sense, TI_KEY_DATA_PROTECT, TI_ASC_SOFTWARE_WRITE_PROTECTED);
		status = ti_sense_to_copy(sense, context->copy->segment, true);
	}
	if (status == TI_STS_REQUEST) {
		request->flags = ti_disk_flags(disk, request->op, 0);
		ti_lun_submit(disk->lun, request);
	}
	context->copy->status = status;
	return status;
}

int ti_disk_copy_end(struct ti_disk *disk, struct ti_context *context)
{
	uint8_t *sense = context->cmd->lib_cmd->sense_buf;
	struct ti_copy *copy = context->copy;
	int status = copy->status;

	if (status == TI_STS_REQUEST)
		status = ti_copy_fail(copy, &disk->facts, &context->request, sense);
	status = ti_disk_told(disk, context->cmd, status);
	ti_copies_end(&disk->copies, copy, status, sense, ti_clock_now(&ti_clock_monotonic));
	context->copy = NULL;
	return status;
}

int ti_disk_copy_begin(struct ti_disk *disk, struct ti_context *context,
		       const struct ti_command *command)
{
	context->answer = 0;
	context->core = false;
	context->unmap = (struct ti_unmap){ 0 };
	context->copy = ti_copies_begin(&disk->copies, command);
	if (!context->copy)
		return TCMU_STS_NO_RESOURCE; /* TASK SET FULL: the initiator tries again */
	if (ti_disk_copy_step(disk, context) == TI_STS_REQUEST)
		return TI_STS_REQUEST;
	return ti_disk_copy_end(disk, context);
}

bool ti_disk_copy_result(void *ctx, const struct ti_copy_question *question,
			 struct ti_copy_result *result)
{
	uint64_t now = ti_clock_now(&ti_clock_monotonic);
	struct ti_disk *disk = ctx;
	bool known;

	pthread_mutex_lock(&disk->lock);
	known = ti_copies_ask(&disk->copies, question, now, result);
	pthread_mutex_unlock(&disk->lock);
	return known;
}
