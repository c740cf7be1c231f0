/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Answers that fill less than the initiator's buffer.
 *
 * The kernel hands over the whole buffer and reports no residual, unless the response in the ring
 * says READ_LEN: then the initiator gets that many bytes and is told how many are missing, also
 * with CHECK CONDITION, whose data is not sent at all otherwise.  libtcmu never says so.  (Linux'
 * sd takes what lies before the address in the sense data for good, as a disk would have sent it.
 * Without READ_LEN nothing was sent, and it hands out what happened to be in memory.)
 *
 * We put the mark into the entry that is about to become the response.  That is the first command's
 * from the mailbox's cmd_tail on, whichever command completes (libtcmu changes the entry's id), so
 * nobody else may complete one in between.  Completions come from the runner's core on the command
 * thread and from us on any; all of them move the tail in tcmur_tcmulib_cmd_complete() under one
 * spin lock, struct tcmur_device's `lock`.  We hold that lock, mark, and do under it what that
 * function does.  Nothing else is held; the kernel zeroes an entry when it puts a command there, so
 * that no mark outlives its command.
 *
 * Of the runner's own structs, which its version fixes (abi.h), this knows: the lock, the list of
 * commands, and the count of those that the core waits for before it closes a device.
 */
#ifndef TI_SHORT_ANSWER_H
#define TI_SHORT_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

struct tcmu_device;
struct tcmu_mailbox;
struct tcmur_cmd;
struct tcmur_device;

struct ti_short_answer {
	struct tcmu_mailbox *mailbox; /* NULL: it cannot be said */
	struct tcmur_device *runner;
};

/** At open. */
void ti_short_answer_find(struct tcmu_device *dev, struct ti_short_answer *out);

static inline bool ti_short_answer_possible(const struct ti_short_answer *s)
{
	return s->mailbox;
}

/**
 * Complete a command that handle_cmd() answers with TCMU_STS_ASYNC_HANDLED, or a callout of the
 * core's with OK: @status, TCMU_STS_*, and the first @bytes, not 0, of the buffer.  @cmd is gone.
 * Any thread, no locks of ours held.  io path.
 */
void ti_short_answer_complete(const struct ti_short_answer *s, struct tcmu_device *dev,
			      struct tcmur_cmd *cmd, int status, uint32_t bytes);

#endif
