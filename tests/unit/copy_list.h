/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Parameter lists of EXTENDED COPY(LID1), made by hand.
 */
#ifndef COPY_LIST_H
#define COPY_LIST_H

#include <stdint.h>
#include <string.h>

#include "cdb.h"

#define LIST_ROOM 1024U

struct copy_list {
	uint8_t raw[LIST_ROOM];
	unsigned cscds, segments;
};

/** LIST ID USAGE */
#define HOLD	      0U
#define DISCARD	      2U
#define NO_IDENTIFIER 3U

static inline size_t list_length(const struct copy_list *l)
{
	return 16 + 32 * (size_t)l->cscds + 28 * (size_t)l->segments;
}

static inline uint8_t *cscd_of(struct copy_list *l, unsigned n)
{
	return l->raw + 16 + 32 * (size_t)n;
}

static inline uint8_t *segment_of(struct copy_list *l, unsigned n)
{
	return l->raw + 16 + 32 * (size_t)l->cscds + 28 * (size_t)n;
}

/** A list with @cscds times the LUN that has this serial number, and no segments. */
static inline void begin_list(struct copy_list *l, const char *serial, uint32_t block_size,
			      unsigned cscds, uint8_t id, unsigned usage)
{
	memset(l, 0, sizeof(*l));
	l->cscds = cscds;
	l->raw[0] = id;
	l->raw[1] = (uint8_t)(usage << 3);
	ti_put_be16(l->raw + 2, (uint16_t)(32 * cscds));
	for (unsigned n = 0; n < cscds; n++) {
		uint8_t *p = cscd_of(l, n);

		p[0] = 0xe4;
		p[4] = 1;
		p[5] = 3;
		p[7] = 16;
		ti_naa_of(serial, p + 8);
		ti_put_be32(p + 28, block_size);
	}
}

static inline void add_segment(struct copy_list *l, uint64_t from, uint64_t to, uint16_t blocks)
{
	uint8_t *p = segment_of(l, l->segments++);

	p[0] = 0x02;
	ti_put_be16(p + 2, 24);
	ti_put_be16(p + 10, blocks);
	ti_put_be64(p + 12, from);
	ti_put_be64(p + 20, to);
	ti_put_be32(l->raw + 8, 28 * l->segments);
}

#endif
