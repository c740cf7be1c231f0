/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* What the verb config prints, in both ways; see print.h. */
#ifndef CLI_PRINT_CONFIG_H
#define CLI_PRINT_CONFIG_H

#include "print.h"

void print_config_check_text(const struct report_config_check *report);
void print_config_show_text(const struct report_config_show *report);
void print_config_explain_text(const struct report_config_explain *report);

void print_config_check_json(const struct report_config_check *report);
void print_config_show_json(const struct report_config_show *report);
void print_config_explain_json(const struct report_config_explain *report);

#endif
