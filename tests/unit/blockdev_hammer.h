/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A test that a queue loses no wake-up.
 */
#ifndef TI_TEST_BLOCKDEV_HAMMER_H
#define TI_TEST_BLOCKDEV_HAMMER_H

#include <stdint.h>

#include "blockdev.h"

/**
 * Carry out @limit I/Os, or as many as @time_ns allows, from several threads.  Overwrites blocks of
 * both devices.  Returns how many there were; hangs, to be ended by alarm(), if a wake-up is lost.
 */
unsigned blockdev_hammer(struct ti_queue *q, unsigned limit, uint64_t time_ns);

#endif
