/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The configuration, for programs.
 */
#include "print_config.h"

#include <stdlib.h>
#include <string.h>

#include "config_keys.h"
#include "print_json.h"

static const struct ti_error no_error;

static struct json_object *problems(const struct ti_config_trace *t)
{
	struct json_object *list = json_object_new_array();

	for (unsigned i = 0; i < t->problems && i < TI_CONFIG_PROBLEMS_MAX; i++) {
		struct json_object *o = json_object_new_object();

		/* The same form as the error of a verb that failed. */
		add_error(o, &t->problem[i]);
		json_object_array_add(list, json_object_get(json_object_object_get(o, "error")));
		json_object_put(o);
	}
	return list;
}

void print_config_check_json(const struct report_config_check *r)
{
	struct json_object *top = json_object_new_object();
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < r->count; i++) {
		struct json_object *o = json_object_new_object();

		add_text(o, "what", r->item[i].what);
		add_text(o, "kind", r->item[i].kind);
		add_number(o, "problems_total", r->item[i].trace->problems);
		add(o, "problems", problems(r->item[i].trace));
		json_object_array_add(list, o);
	}
	add_bool(top, "good", !r->bad);
	add(top, "checked", list);
	add_error(top, &no_error);
	finish(top);
}

/* Numbers as numbers. */
static void add_value(struct json_object *to, const char *name, const struct ti_config_key *key,
		      const char *text)
{
	bool is_number = key->kind == TI_KIND_NUMBER || key->kind == TI_KIND_PLACE_SIZE;

	if (text && *text && is_number)
		add_number(to, name, strtoull(text, NULL, 10));
	else
		add_text(to, name, text && *text ? text : NULL);
}

static struct json_object *one_value(const struct report_config_show *r, size_t row)
{
	const struct ti_config_key *key = ti_config_key(row);
	const struct ti_config_trace *t = r->trace;
	struct json_object *o = json_object_new_object();
	char text[TI_KEY_NAME_MAX + 32];

	ti_config_value_text(key, r->config, text, sizeof(text));
	add_text(o, "key", key->name);
	add_value(o, "value", key, text);
	add_text(o, "from", ti_config_layer_name(t->from[row].layer));
	add_text(o, "file",
		 t->from[row].layer == TI_LAYER_DEFAULTS  ? t->defaults
		 : t->from[row].layer == TI_LAYER_PROFILE ? t->profile
							  : NULL);
	add(o, "line",
	    t->from[row].line ? json_object_new_int64((int64_t)t->from[row].line) : NULL);
	return o;
}

void print_config_show_json(const struct report_config_show *r)
{
	struct json_object *top = json_object_new_object();
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; ti_config_key(i); i++) {
		/* Shown by the row in front of it. */
		if (ti_config_key(i)->kind != TI_KIND_PLACE_FILE)
			json_object_array_add(list, one_value(r, i));
	}
	add_text(top, "config_string", r->config_string);
	add_text(top, "defaults_file", *r->trace->defaults ? r->trace->defaults : NULL);
	add_text(top, "profile_file", *r->trace->profile ? r->trace->profile : NULL);
	add(top, "values", list);
	add_error(top, &no_error);
	finish(top);
}

static struct json_object *words(const struct ti_config_key *key)
{
	struct json_object *list = json_object_new_array();

	for (const struct ti_config_word *w = key->words; w->text; w++)
		json_object_array_add(list, json_object_new_string(w->text));
	return list;
}

static struct json_object *places(const struct ti_config_key *key)
{
	struct json_object *list = json_object_new_array();

	for (int layer = TI_LAYER_DEFAULTS; layer <= TI_LAYER_STRING; layer++) {
		if (key->where & (1U << layer))
			json_object_array_add(list, json_object_new_string(ti_config_layer_name(
							    (enum ti_config_layer)layer)));
	}
	return list;
}

static struct json_object *explained(const struct ti_config_key *key)
{
	bool is_number = key->kind == TI_KIND_NUMBER || key->kind == TI_KIND_PLACE_SIZE;
	struct json_object *o = json_object_new_object();
	char range[256];

	ti_config_range_text(key, range, sizeof(range));
	add_text(o, "key", key->name);
	add_text(o, "summary", key->summary);
	add_text(o, "about", key->about);
	add_text(o, "range", range);
	add(o, "min", is_number ? json_object_new_uint64(key->min) : NULL);
	add(o, "max", is_number ? json_object_new_uint64(key->max) : NULL);
	add_text(o, "unit", key->unit);
	add(o, "words", key->words ? words(key) : NULL);
	add_value(o, "default", key, key->preset);
	add(o, "stands_in", places(key));
	return o;
}

void print_config_explain_json(const struct report_config_explain *r)
{
	struct json_object *top = json_object_new_object();
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; ti_config_key(i); i++) {
		if (!r->key || r->key == ti_config_key(i))
			json_object_array_add(list, explained(ti_config_key(i)));
	}
	add(top, "keys", list);
	add_error(top, &no_error);
	finish(top);
}
