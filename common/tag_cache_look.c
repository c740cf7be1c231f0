/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Looking at single tags of the cache: what a scrub and a log line want to know.
 */
#include <assert.h>
#include <string.h>

#include "geometry.h"
#include "secret.h"
#include "tag_cache_internal.h"

void ti_tag_cache_fetch(const struct ti_tag_pin *pin, size_t offset, size_t len, uint8_t *out)
{
	uint64_t from = pin->offset + offset, first = pin->offset / TI_LINE_BYTES;

	assert(offset <= pin->len && len <= pin->len - offset);
	while (len > 0) {
		const struct ti_tag_line *line = pin->line[from / TI_LINE_BYTES - first];
		size_t at = (size_t)(from % TI_LINE_BYTES);
		size_t part = len < TI_LINE_BYTES - at ? len : TI_LINE_BYTES - at;

		memcpy(out, line->data + at, part);
		from += part;
		out += part;
		len -= part;
	}
}

bool ti_tag_cache_holds(const struct ti_tag_pin *pin, size_t offset, const uint8_t *tag, size_t len)
{
	uint8_t here[TI_MAX_TAG_SIZE];

	assert(len <= sizeof(here));
	ti_tag_cache_fetch(pin, offset, len, here);
	return ti_secret_equal(here, tag, len);
}

bool ti_tag_cache_settled(struct ti_tag_cache *c, uint64_t offset, size_t len)
{
	for (uint64_t i = offset / TI_LINE_BYTES; i <= (offset + len - 1) / TI_LINE_BYTES; i++) {
		const struct ti_tag_line *line = ti_tag_line_find(c, i);

		if (line != NULL && (line->dirty || line->writing))
			return false;
	}
	return true;
}

void ti_tag_cache_rewrite(struct ti_tag_cache *c, struct ti_tag_pin *pin)
{
	for (unsigned i = 0; i < pin->lines; i++) {
		assert(pin->line[i]->state == LINE_VALID);
		ti_tag_line_dirty(c, pin->line[i]);
	}
	ti_tag_writeback_balance(c);
}
