/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* What the verbs status, scrub, recalculate and flush print, in both ways; see print.h. */
#ifndef CLI_PRINT_STATUS_H
#define CLI_PRINT_STATUS_H

#include "print.h"

void print_status_text(const struct report_status *report);
void print_scrub_text(const struct report_scrub *report);
void print_recalculate_text(const struct report_recalculate *report);
void print_flush_text(const struct report_flush *report);

void print_status_json(const struct report_status *report);
void print_scrub_json(const struct report_scrub *report);
void print_recalculate_json(const struct report_recalculate *report);
void print_flush_json(const struct report_flush *report);

#endif
