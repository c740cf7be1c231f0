/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A pair of devices in memory, as a queue.
 *
 * I/O completes in the order of submission, from run(), as the seam demands.  It refuses what a
 * real device refuses: I/O past its end, or not aligned to its logical blocks or memory.
 */
#ifndef TI_TEST_MEM_QUEUE_H
#define TI_TEST_MEM_QUEUE_H

#include <stdint.h>

#include "blockdev.h"

#define MEM_QUEUE_NO_FAULT UINT64_MAX

struct mem_queue {
	struct ti_queue q; /* first */
	uint8_t *bytes[TI_DEVICES];
	struct ti_io *head, **tail;
	unsigned reads, writes, flushes;
	uint64_t fault_offset[TI_DEVICES]; /* an I/O that touches this byte gets -EIO */
};

/** Two zeroed devices of these sizes, a multiple of 512.  Release with mem_queue_free(). */
struct mem_queue *mem_queue_new(uint64_t data_size, uint64_t meta_size);
void mem_queue_free(struct mem_queue *mq);

#endif
