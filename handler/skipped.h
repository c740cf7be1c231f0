/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Commands that libtcmu skips.
 *
 * Operation codes 60h to 7Eh (reserved) and C0h to FFh (vendor's) are of groups whose CDBs have no
 * known length.  libtcmu steps over such a command in the ring, and nobody answers it: the
 * initiator waits for the kernel's time-out (30 s), the kernel's side of the ring never gets empty,
 * and a tcmu-runner that is told to end waits for that for ever.
 *
 * So we look for them and answer: INVALID COMMAND OPERATION CODE.  libtcmu's place in the ring
 * (struct tcmu_device's cmd_tail, of a struct that the runner's version fixes, see abi.h) tells
 * what it has stepped over.  What lies between the mailbox's cmd_tail, where the next response
 * goes, and that place is as the kernel wrote it, for responses are put there one after the other,
 * whichever command they are for.  The runner's spin lock keeps responses away meanwhile.  A
 * command that is answered while its own entry stays is marked there: its CDB becomes a TEST UNIT
 * READY's; the kernel does not look at it again.
 *
 * One is lost if the core answers a later command, by itself, before anybody looks (a unit
 * attention after a resize).  Then it is as without us.
 */
#ifndef TI_SKIPPED_H
#define TI_SKIPPED_H

#include <stdint.h>

struct tcmu_device;
struct tcmu_mailbox;
struct tcmur_device;

struct ti_skipped {
	struct tcmu_mailbox *mailbox; /* NULL: never look */
	uint64_t bytes;		      /* of the memory that it begins */
	struct tcmu_device *dev;
	struct tcmur_device *runner;
};

/** At open. */
void ti_skipped_find(struct tcmu_device *dev, struct ti_skipped *out);

/**
 * Answer all that have been skipped by now.  Costs a look at the commands under way, and takes
 * memory only if there is one to answer.  Any thread, no locks of ours held.
 */
void ti_skipped_answer(const struct ti_skipped *skipped);

#endif
