/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* Metrics over HTTP, on the loopback interface only. */
#ifndef CLI_METRICS_SERVER_H
#define CLI_METRICS_SERVER_H

#include "bus.h"

/**
 * Answer GET /metrics at 127.0.0.1 and ::1 until SIGINT or SIGTERM.  Port 0: any free one; which it
 * is goes to stderr.  Returns 0 or negative errno with a sentence.
 */
int metrics_serve(uint16_t port, struct ti_error *error);

#endif
