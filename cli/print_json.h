/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* How the files that print JSON put an object together. */
#ifndef CLI_PRINT_JSON_H
#define CLI_PRINT_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

#include "error.h"

void add(struct json_object *to, const char *key, struct json_object *value);
/** NULL becomes null. */
void add_text(struct json_object *to, const char *key, const char *text);
void add_number(struct json_object *to, const char *key, uint64_t value);
void add_bool(struct json_object *to, const char *key, bool value);
/** The key "error": null if nothing failed. */
void add_error(struct json_object *to, const struct ti_error *error);

/** Print and release. */
void finish(struct json_object *top);

#endif
