/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Passes: what each operation does to its range, and what a reading pass does with what it gets.
 *
 * All passes of a request run under one range lock, so that nobody sees or changes the range in
 * between: that is what makes COMPARE AND WRITE and ORWRITE indivisible.  The lock may be held
 * while a flush is waited for, for a flush waits for devices only.  A bounce buffer is given back
 * between two passes, since the next one may wait for room in the journal.
 */
#include "lun_internal.h"

#include <errno.h>
#include <string.h>

const struct ti_op ti_ops[] = {
	[TI_REQ_READ] = { .pass = { TI_PASS_READ } },
	[TI_REQ_WRITE] = { .writes = true, .pass = { TI_PASS_WRITE } },
	[TI_REQ_WRITE_SAME] = { .writes = true, .repeats = true, .pass = { TI_PASS_WRITE } },
	[TI_REQ_VERIFY] = { .verifies = true, .no_memory = true, .pass = { TI_PASS_VERIFY } },
	[TI_REQ_FLUSH] = { .no_memory = true },
	[TI_REQ_COMPARE] = { .verifies = true, .pass = { TI_PASS_COMPARE } },
	[TI_REQ_COMPARE_SAME] = { .verifies = true, .repeats = true, .pass = { TI_PASS_COMPARE } },
	[TI_REQ_COMPARE_AND_WRITE] = { .writes = true,
				       .twice = true,
				       .pass = { TI_PASS_COMPARE, TI_PASS_WRITE } },
	[TI_REQ_OR_WRITE] = { .writes = true, .pass = { TI_PASS_OR, TI_PASS_WRITE } },
	[TI_REQ_WRITE_AND_VERIFY] = { .writes = true,
				      .verifies = true,
				      .pass = { TI_PASS_WRITE, TI_PASS_VERIFY } },
	[TI_REQ_WRITE_AND_COMPARE] = { .writes = true,
				       .verifies = true,
				       .pass = { TI_PASS_WRITE, TI_PASS_COMPARE } },
	[TI_REQ_DISCARD] = { .writes = true,
			     .no_memory = true,
			     .pass = { TI_PASS_FORGET, TI_PASS_DISCARD } },
	[TI_REQ_EXTENT] = { .no_memory = true, .pass = { TI_PASS_LOOK } },
};

bool ti_req_writes(enum ti_req_op op)
{
	return ti_ops[op].writes;
}

bool ti_pass_memory_fits(const struct ti_lun *lun, const struct ti_request *req)
{
	const struct ti_op *op = &ti_ops[req->op];
	uint64_t bytes = req->sectors * TI_SECTOR_BYTES, have;

	if (op->no_memory)
		return true;
	have = ti_iov_length(req->iov, req->iov_count);
	if (op->repeats)
		return have != 0 && have % lun->geo.block_size == 0 && bytes % have == 0;
	return op->twice ? have / 2 == bytes && have % 2 == 0 : have == bytes;
}

void ti_pass_first(struct ti_slot *slot)
{
	const struct ti_policy_ops *policy = slot->lun->policy;

	if (slot->req->op == TI_REQ_DISCARD && policy->clear != NULL)
		policy->clear(slot);
	else if (!ti_ops[slot->req->op].writes && (slot->req->flags & TI_REQ_FUA))
		ti_request_flush_and_read(slot);
	else
		ti_part_first(slot);
}

void ti_pass_next(struct ti_slot *slot)
{
	const struct ti_op *op = &ti_ops[slot->req->op];
	bool wrote = op->pass[slot->pass] == TI_PASS_WRITE;
	bool forgot = op->pass[slot->pass] == TI_PASS_FORGET;

	if (slot->result.err != 0 || op->pass[slot->pass + 1] == TI_PASS_END) {
		ti_request_done(slot);
		return;
	}
	slot->pass++;
	if (wrote)
		ti_request_flush_and_read(slot);
	else if (forgot && slot->lun->policy->filler_first)
		ti_discard_settle(slot);
	else
		ti_part_first(slot);
}

/* @at bytes into the data that the pass has just got lies a difference. */
static void miscompare(struct ti_slot *slot, uint32_t n, size_t at)
{
	const struct ti_request *req = slot->req;
	uint32_t block = slot->lun->geo.block_size;
	uint64_t offset = (slot->sector - req->sector) * TI_SECTOR_BYTES + (uint64_t)n * block + at;

	if (slot->result.err != 0)
		return;
	ti_slot_fail(slot, -EBADMSG, TI_CAUSE_MISCOMPARE,
		     req->sector + offset / block * (block / TI_SECTOR_BYTES));
	slot->result.offset = offset;
}

static void compare(struct ti_slot *slot, uint32_t n, const uint8_t *data, size_t len)
{
	size_t same = ti_iov_compare(&slot->cursor, data, len);

	if (same < len)
		miscompare(slot, n, same);
}

/* Every block with its part of the request's memory. */
static void compare_same(struct ti_slot *slot, uint32_t n, const uint8_t *data, size_t len)
{
	size_t block = slot->lun->geo.block_size;

	for (size_t at = 0; at < len; at += block, n++) {
		struct ti_iov_cursor cursor = ti_part_same(slot, n);
		size_t same = ti_iov_compare(&cursor, data + at, block);

		if (same < block) {
			miscompare(slot, n, same);
			return;
		}
	}
}

void ti_pass_take(struct ti_slot *slot, uint32_t n, const uint8_t *data, size_t len)
{
	switch (ti_slot_pass(slot)) {
	case TI_PASS_READ:
		ti_iov_copy_in(&slot->cursor, data, len);
		break;
	case TI_PASS_COMPARE:
		if (ti_ops[slot->req->op].repeats)
			compare_same(slot, n, data, len);
		else
			compare(slot, n, data, len);
		break;
	case TI_PASS_OR:
		ti_iov_or(&slot->cursor, data, len);
		break;
	case TI_PASS_VERIFY:
	case TI_PASS_WRITE:
	case TI_PASS_FORGET:
	case TI_PASS_DISCARD:
	case TI_PASS_LOOK:
	case TI_PASS_END:
		break;
	}
}
