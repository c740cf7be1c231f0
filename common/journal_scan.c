/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Reading the journal section by section and drawing the conclusion.
 *
 * The chunk that is read holds whole sections.  Nothing here trusts a byte: a section is judged by
 * its commit ids alone, and a journal that is damaged or encrypted shows as ids that are not ours.
 */
#include "journal_scan.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define CHUNK_BYTES (1024U * 1024)
#define ALL_SEEN    ((1U << TI_JOURNAL_SEQS) - 1)

const char *ti_journal_state_name(enum ti_journal_state state)
{
	switch (state) {
	case TI_JOURNAL_EMPTY:
		return "empty";
	case TI_JOURNAL_FULL:
		return "full_ring";
	case TI_JOURNAL_PARTIAL:
		return "partial_ring";
	case TI_JOURNAL_DAMAGED:
		return "damaged";
	}
	return "unknown";
}

int ti_journal_check_device(const struct ti_queue *q, const struct ti_geometry *geo,
			    struct ti_error *error)
{
	const struct ti_device_info *meta = &q->dev[TI_META];

	/* A section is a multiple of 4096 bytes, so its length says what its offset may be. */
	if (!(geo->journal_offset % meta->logical_block_size) &&
	    !(ti_journal_section_bytes(geo) % meta->logical_block_size))
		return 0;
	return ti_error_set(error, -EINVAL,
			    "metadata device %s has logical blocks of %" PRIu32
			    " bytes, which the journal at sector %" PRIu64
			    " does not match: use a device with smaller blocks",
			    meta->name, meta->logical_block_size,
			    geo->journal_offset / TI_SECTOR_BYTES);
}

struct ti_journal_section ti_journal_look(const struct ti_geometry *geo,
					  const struct ti_journal_ids *ids, uint32_t i,
					  const uint8_t *buf)
{
	struct ti_journal_section found = { .seq = TI_JOURNAL_SEQ_MIXED };
	bool bad = false;

	for (uint32_t j = 0; j < geo->section_sectors; j++) {
		int seq = ti_journal_seq_of(ids, i, j, ti_journal_get_id(buf, j));

		if (seq >= 0) {
			found.seen = (uint8_t)(found.seen | 1U << seq);
		} else if (!bad) {
			bad = true;
			found.first = j;
		}
	}
	for (uint32_t n = 0; n < geo->section_entries; n++)
		if (!ti_journal_sector_is_unused(ti_journal_entry_sector(geo, buf, n)))
			found.used++;

	if (bad)
		found.seq = TI_JOURNAL_SEQ_BAD;
	else if (!(found.seen & (found.seen - 1)))
		found.seq = (uint8_t)__builtin_ctz(found.seen);
	return found;
}

static unsigned seq_before(unsigned seq)
{
	return (seq + TI_JOURNAL_SEQS - 1) % TI_JOURNAL_SEQS;
}

static unsigned seq_after(unsigned seq)
{
	return (seq + 1) % TI_JOURNAL_SEQS;
}

/*
 * The number that the next commit after the newest would take: one that no sector carries.  At
 * most two follow each other in an intact ring, so one is free.
 */
static unsigned first_free_seq(unsigned seen)
{
	unsigned seq;

	if (!(seen & 1U << (TI_JOURNAL_SEQS - 1))) {
		/* 3 is free; so may be those before it, and the first of them follows the newest.
		 */
		seq = TI_JOURNAL_SEQS - 1;
		while (seq && !(seen & 1U << (seq - 1)))
			seq--;
		return seq;
	}
	for (seq = 0; seen & 1U << seq; seq++)
		;
	return seq;
}

/* Take note of every section; returns the sequence numbers that occur. */
static unsigned sum_up(const struct ti_journal_section *section, uint32_t n,
		       struct ti_journal_summary *summary)
{
	unsigned seen = 0;

	for (uint32_t i = 0; i < n; i++) {
		seen |= section[i].seen;
		summary->used_entries += section[i].used;
		if (section[i].seq == TI_JOURNAL_SEQ_BAD && summary->bad_section == UINT32_MAX) {
			summary->bad_section = i;
			summary->bad_sector = section[i].first;
		}
		if (section[i].bad_mac && summary->bad_macs++ == 0)
			summary->first_bad_mac = i;
		if (i < TI_JOURNAL_SUMMARY_SECTIONS)
			summary->seq[summary->shown++] = section[i].seq;
	}
	return seen;
}

/* The section behind the last one that carries @seq at all; @n: behind the end. */
static uint32_t section_behind(const struct ti_journal_section *section, uint32_t n, unsigned seq)
{
	while (n && !(section[n - 1].seen & 1U << seq))
		n--;
	return n;
}

/* Walk the ring from the oldest section on, as far as it is whole. */
static void walk_ring(const struct ti_journal_section *section, uint32_t n,
		      struct ti_journal_summary *summary)
{
	unsigned want = summary->replay_seq;
	uint32_t i = summary->replay_first;

	while (summary->replay_sections < n && section[i].seq == want) {
		summary->replay_sections++;
		summary->replay_entries += section[i].used;
		if (++i == n) {
			i = 0;
			want = seq_after(want);
		}
	}
}

void ti_journal_conclude(const struct ti_journal_section *section, uint32_t n,
			 struct ti_journal_summary *summary)
{
	unsigned seen, newest, want;
	bool erasing;
	uint32_t first;

	assert(n);
	*summary = (struct ti_journal_summary){
		.sections = n,
		.bad_section = UINT32_MAX,
		.bad_sector = UINT32_MAX,
		.first_bad_mac = UINT32_MAX,
	};
	seen = sum_up(section, n, summary);
	if (summary->bad_section != UINT32_MAX || seen == ALL_SEEN) {
		summary->state = TI_JOURNAL_DAMAGED;
		return;
	}

	newest = seq_before(first_free_seq(seen));
	want = seq_before(newest);
	/* dm-integrity: a gap of one number is an erase that was interrupted; its entries are old.
	 */
	erasing = !(seen & 1U << want) && (seen & 1U << seq_before(want));
	first = section_behind(section, n, newest);
	if (first == n) {
		first = 0;
		want = seq_after(want);
	}
	summary->replay_first = first;
	summary->replay_seq = (uint8_t)want;
	walk_ring(section, n, summary);

	if (!summary->used_entries || erasing)
		summary->state = TI_JOURNAL_EMPTY;
	else if (summary->replay_sections == n)
		summary->state = TI_JOURNAL_FULL;
	else
		summary->state = TI_JOURNAL_PARTIAL;
}

/* Read all sections through @buf, which holds @chunk of them. */
static int read_sections(struct ti_queue *q, const struct ti_geometry *geo,
			 const struct ti_seal *seal, uint8_t *buf, uint32_t chunk,
			 struct ti_journal_section *section, struct ti_error *error)
{
	const struct ti_journal_ids ids = ti_seal_ids(seal);
	size_t bytes = ti_journal_section_bytes(geo);

	for (uint32_t i = 0; i < geo->journal_sections; i += chunk) {
		uint64_t offset = geo->journal_offset + (uint64_t)i * bytes;
		uint32_t n = geo->journal_sections - i;
		int err;

		if (n > chunk)
			n = chunk;
		err = ti_queue_sync(q, TI_IO_READ, TI_META, offset, buf, n * bytes);
		if (err)
			return ti_error_set(error, err,
					    "cannot read the journal on %s at sector %" PRIu64
					    ": %s; check the device",
					    q->dev[TI_META].name, offset / TI_SECTOR_BYTES,
					    strerror(-err));
		for (uint32_t k = 0; k < n; k++) {
			uint8_t *at = buf + k * bytes;

			ti_seal_decrypt(seal, i + k, at);
			section[i + k] = ti_journal_look(geo, &ids, i + k, at);
			/* A torn commit may have left any. */
			section[i + k].bad_mac = section[i + k].seq < TI_JOURNAL_SEQS &&
						 !ti_seal_mac_is_right(seal, i + k, at);
		}
	}
	return 0;
}

int ti_journal_scan_sealed(struct ti_queue *q, const struct ti_geometry *geo,
			   const struct ti_seal *seal, struct ti_journal_summary *summary,
			   struct ti_error *error)
{
	size_t bytes = ti_journal_section_bytes(geo);
	uint32_t chunk = bytes < CHUNK_BYTES ? (uint32_t)(CHUNK_BYTES / bytes) : 1;
	struct ti_journal_section *section;
	bool locked;
	void *buf;
	int err = ti_journal_check_device(q, geo, error);

	if (err)
		return err;
	section = calloc(geo->journal_sections, sizeof(*section));
	/* Zeroed: valgrind does not see that io_uring fills it. */
	buf = ti_memory_get(chunk * bytes, &locked);
	if (!section || !buf) {
		ti_memory_put(buf, chunk * bytes);
		free(section);
		return ti_error_set(error, -ENOMEM, "no memory to read the journal on %s",
				    q->dev[TI_META].name);
	}
	err = read_sections(q, geo, seal, buf, chunk, section, error);
	if (!err)
		ti_journal_conclude(section, geo->journal_sections, summary);
	ti_memory_put(buf, chunk * bytes);
	free(section);
	return err;
}

int ti_journal_scan(struct ti_queue *q, const struct ti_geometry *geo,
		    struct ti_journal_summary *summary, struct ti_error *error)
{
	return ti_journal_scan_sealed(q, geo, NULL, summary, error);
}
