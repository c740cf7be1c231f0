/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A fresh pair laid on simulated devices, without I/O: superblock, empty journal, tags of zeros.
 */
#ifndef SIM_FORMAT_H
#define SIM_FORMAT_H

#include "geometry.h"
#include "sim_queue.h"

/* All of it is durable at once.  The devices are still zero, as they are after sim_queue_new(). */
void sim_format(struct sim_queue *sim, const struct ti_superblock *sb,
		const struct ti_geometry *geo);

#endif
