/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * One sleeper, many who may wake it: what is behind ->wait() and ->wake() of the host back-ends.
 *
 * The sleeper sleeps on an eventfd, because the kernel's completions can ring that too.  System
 * calls are spared where they can be: a wake-up for somebody who is not asleep writes nothing, and
 * sleeping without a deadline is one read().
 *
 * Why no wake-up is lost.  `state` is AWAKE, ASLEEP or WOKEN.  wake() exchanges WOKEN in, and
 * writes to the eventfd if it took ASLEEP out.  The sleeper goes AWAKE -> ASLEEP by
 * compare-and-exchange before it reads the eventfd, and exchanges AWAKE in before it returns.  All
 * of these are one total order on one variable:
 *  - a wake() before the sleeper's compare-and-exchange makes that fail: it returns at once;
 *  - a wake() after it takes ASLEEP out and writes; the read() returns, now or once the write is
 *    there, for an eventfd keeps its count;
 *  - a wake() that finds WOKEN comes after another that wrote or made the compare-and-exchange
 *    fail, and before the sleeper's return; that return acquires what this wake() released.
 * A write may stay in the eventfd when the sleeper left by its deadline: the next wait returns
 * early once.  wait() may always return early.
 */
#ifndef TI_BLOCKDEV_WAITER_H
#define TI_BLOCKDEV_WAITER_H

#include <stdatomic.h>
#include <stdint.h>

struct ti_waiter {
	int event_fd; /* blocking; -1: none */
	atomic_int state;
};

/** Make the eventfd.  Returns 0 or negative errno. */
int ti_waiter_init(struct ti_waiter *waiter);

/** Close the eventfd; fine after a failed init. */
void ti_waiter_destroy(struct ti_waiter *waiter);

/**
 * Sleep until woken, until somebody else (the kernel) rings the eventfd, or until CLOCK_MONOTONIC
 * is @deadline_ns (TI_CLOCK_NEVER: no limit).  May return early.  One thread at a time.
 */
void ti_waiter_wait(struct ti_waiter *waiter, uint64_t deadline_ns);

/** Make the wait under way, or the next one, return.  Any thread; no cancellation point. */
void ti_waiter_wake(struct ti_waiter *waiter);

#endif
