/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* What scrub.c and scrub_piece.c share; nobody else includes this. */
#ifndef TI_SCRUB_INTERNAL_H
#define TI_SCRUB_INTERNAL_H

#include "scrub.h"

/* How a piece ended: looked at, or not readable as a whole. */
enum ti_scrub_verdict {
	TI_SCRUB_LOOKED_AT,
	TI_SCRUB_UNREADABLE,
};

/* scrub_piece.c: the range is held; what was read is there; so is the tag cache's opinion. */
void ti_scrub_read_piece(struct ti_scrub *s);
void ti_scrub_judge(struct ti_scrub *s);
void ti_scrub_judge_again(struct ti_scrub *s);

/* scrub.c */
void ti_scrub_end_piece(struct ti_scrub *s, enum ti_scrub_verdict verdict);

#endif
