/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A look into the command ring: is another command waiting behind the one at hand?
 *
 * The runner tells the kernel of commands that handle_cmd() has finished when the ring is empty,
 * and then sleeps.  A command that completes itself with tcmur_cmd_complete() tells the kernel at
 * once, and the initiator's next command is often there before the runner looks again: it need not
 * sleep (two system calls saved).  For the last command in the ring the latter is better, for those
 * before it the former.
 *
 * A flush need not be started while another command is behind it that enters the engine, too: then
 * the two may share what it costs.  For that we look at the next command's CDB.
 *
 * Where the runner is in the ring, libtcmu's struct tcmu_device says, which the runner's version
 * fixes (abi.h).  (An entry's id would not: the kernel uses it again for the next command, when one
 * that libtcmu has skipped was answered.)  Reading only: what lies behind that place is as the
 * kernel wrote it.  When in doubt the answer is "yes", which is never wrong, only slower.
 */
#ifndef TI_RING_H
#define TI_RING_H

#include <stdbool.h>
#include <stdint.h>

struct tcmu_device;
struct tcmu_cmd_entry;
struct tcmu_mailbox;

struct ti_ring {
	const struct tcmu_mailbox *mailbox; /* NULL: never look */
	const uint32_t *place;		    /* where libtcmu is, bytes from the ring's start */
	uint32_t tail;			    /* behind the command at hand */
	bool passed_others; /* before it: commands that were not handed to us; see skipped.h */
};

/**
 * The entry that lies @tail bytes from the ring's start, and its length; NULL where there can be
 * none: a mailbox that makes no sense has no end.  Any thread.
 */
const struct tcmu_cmd_entry *ti_ring_entry(const struct tcmu_mailbox *mailbox, uint32_t tail,
					   uint32_t *len);

/** At open, when the ring is empty. */
void ti_ring_find(struct tcmu_device *dev, struct ti_ring *ring);

/**
 * Does a command wait behind the one at hand, which the runner has just taken out?  To be called
 * for every command, in order.  Command thread.  io path.
 */
bool ti_ring_has_more(struct ti_ring *ring);

/**
 * The CDB of the command that the runner takes out next, after the one that ti_ring_has_more() was
 * asked about.  NULL: there is none, or nobody knows.  Command thread.  io path.
 */
const uint8_t *ti_ring_next(const struct ti_ring *ring);

#endif
