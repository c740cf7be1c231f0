// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/* See signal_budget.h. */
#include "signal_budget.h"

bool ti_signal_may_go(struct ti_signal_budget *b)
{
	if (b->waiting == TI_SIGNALS_MOST) {
		b->left_out++;
		return false;
	}
	b->waiting++;
	return true;
}

void ti_signals_ask(struct ti_signal_budget *b)
{
	b->asked = b->waiting;
}

uint64_t ti_signals_are_out(struct ti_signal_budget *b)
{
	uint64_t left_out = b->left_out;

	/* Those that came after the question may still be there. */
	b->waiting -= b->asked;
	b->asked = 0;
	b->left_out = 0;
	return left_out;
}

void ti_signals_gone(struct ti_signal_budget *b)
{
	b->waiting = 0;
	b->asked = 0;
}
