/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Mode recovery ('R'): what the data device holds, for reading only, and no questions asked.
 *
 * No tag is looked at, the journal is not replayed, a dirty bitmap stays as it is, nothing is ever
 * written.  What stands in an unreplayed journal is not seen.
 */
#include <errno.h>

#include "lun_internal.h"

static int start(struct ti_lun *lun, struct ti_error *error)
{
	(void)lun;
	(void)error;
	return 0;
}

static void begin_read(struct ti_slot *slot)
{
	ti_read_unchecked(slot);
}

/* lun.c lets no write pass: the LUN is read-only. */
static void begin_write(struct ti_slot *slot)
{
	slot->step = ti_part_done;
	slot->pending = 1;
	ti_slot_fail(slot, -EROFS, TI_CAUSE_READ_ONLY, slot->sector);
	ti_slot_ready(slot);
}

static void flush(struct ti_lun *lun, struct ti_flush_waiter *waiter)
{
	ti_flush_join(&lun->flusher, waiter);
}

static bool run(struct ti_lun *lun)
{
	return ti_flusher_run(&lun->flusher);
}

static void tick(struct ti_lun *lun)
{
	(void)lun;
}

const struct ti_policy_ops ti_policy_recovery = {
	.name = "recovery",
	.start = start,
	.begin_read = begin_read,
	.begin_write = begin_write,
	.flush = flush,
	.run = run,
	.tick = tick,
};
