/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * All the media that a power cut at this moment could leave behind, one by one.
 *
 * Every unit of a device that is not certain has several contents that it may hold: the durable
 * one, those of completed writes that no flush has covered, those of writes under way.  Units are
 * independent, so the states are the product of the choices.  Where there are few they can be
 * counted through; where there are many they are sampled, with some that random choices would never
 * hit: all units old, all new, one device old and the other new, one unit unlike all others, each
 * write whole or absent.  The simulated devices themselves are not touched.
 */
#ifndef SIM_CRASH_H
#define SIM_CRASH_H

#include <stdint.h>

#include "sim_queue.h"

struct sim_crash;

/* Valid until anything is done to @sim. */
struct sim_crash *sim_crash_new(const struct sim_queue *sim);
void sim_crash_free(struct sim_crash *c);

/* How many there are; UINT64_MAX: more than that. */
uint64_t sim_crash_states(const struct sim_crash *c);

/* Make @to (of the same sizes and units) hold state @n, less than sim_crash_states(). */
void sim_crash_make(const struct sim_crash *c, uint64_t n, struct sim_queue *to);
/* Any one of them. */
void sim_crash_sample(const struct sim_crash *c, struct sim_random *random, struct sim_queue *to);

#endif
