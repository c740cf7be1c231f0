/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * From devices, engine and the runner's settings to what the command table may claim.
 */
#ifndef TI_FACTS_H
#define TI_FACTS_H

#include <stdint.h>

#include "blockdev.h"
#include "cdb.h"
#include "error.h"
#include "lun.h"

struct tcmu_device;

/**
 * Check that the LUN which the runner wants (size, block size) can be served by @lun, and fill
 * @facts.  Returns 0 or -EINVAL with a sentence.
 */
int ti_facts_fill(struct tcmu_device *dev, const struct ti_queue *queue, const struct ti_lun *lun,
		  struct ti_scsi_facts *facts, struct ti_error *error);

/** A new size of @bytes, of at most @provided_sectors.  Returns 0 or -EINVAL with a sentence. */
int ti_facts_resize(struct ti_scsi_facts *facts, uint64_t provided_sectors, uint64_t bytes,
		    struct ti_error *error);

/** Tell the runner's core what it has to know about the LUN. */
void ti_facts_tell(struct tcmu_device *dev, const struct ti_scsi_facts *facts);

#endif
