/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * LUNs as OpenMetrics text, version 1.0.0.
 *
 * It keeps to what Prometheus' older text format can read as well, which node_exporter's textfile
 * collector wants: no metric of type info, stateset or unknown.
 */
#ifndef CLI_OPENMETRICS_H
#define CLI_OPENMETRICS_H

#include "bus.h"

/** What an HTTP answer with such a text says it is. */
#define OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/** The whole text, "# EOF" included.  @luns NULL: tcmu-runner cannot be asked. */
char *openmetrics_text(GPtrArray *luns);

#endif
