/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * How many signals of mismatches a LUN may have waiting for dbus-daemon.
 *
 * GDBus queues without bound what dbus-daemon does not take, and a medium that decays has a signal
 * for each place.  So each LUN may have TI_SIGNALS_MOST of them in that queue, whatever others have
 * there; the rest are left out and counted.  What comes seldom, a device that failed or the end of
 * a scrub, is not counted here and never left out.
 *
 * The queue tells of itself only that it has become empty: all that had been put in before somebody
 * asked has gone out by then, and no more than that.
 */
#ifndef TI_SIGNAL_BUDGET_H
#define TI_SIGNAL_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define TI_SIGNALS_MOST 256U

struct ti_signal_budget {
	unsigned waiting; /* in the queue, as far as is known */
	unsigned asked;	  /* as many of them when the queue was asked last */
	uint64_t left_out;
};

/** May one more go into the queue?  Then it is counted as waiting, else as left out. */
bool ti_signal_may_go(struct ti_signal_budget *budget);

/** The queue is being asked to tell when it is empty. */
void ti_signals_ask(struct ti_signal_budget *budget);

/** It has told.  Returns how many were left out since the last time. */
uint64_t ti_signals_are_out(struct ti_signal_budget *budget);

/** The queue is gone, with all that was in it. */
void ti_signals_gone(struct ti_signal_budget *budget);

#endif
