/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A journal's beginning and end: load, replay, erase.
 *
 * Replay is ordinary write-out.  What the medium says was committed becomes the committed part of
 * the ring in memory, after every entry's tag has been verified; then it is written out as always:
 * the newest entry of each block, runs, both flushes.  Until the journal is erased or overwritten a
 * crash finds the same journal again, so replay can be cut and repeated at any point.
 *
 * dm-integrity: a ring of which every section was part of the replay is continued as it is; any
 * other is erased first, in an order in which every intermediate state counts as empty: the section
 * behind the newest one, then the others, last the newest one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "journal.h"
#include "journal_scan.h"

#define LOAD_BYTES  (1U << 20)
#define PROGRESS_NS (5000U * TI_NS_PER_MS)

static const char *meta_name(const struct ti_journal *j)
{
	return j->lun->queue->dev[TI_META].name;
}

static int load(struct ti_journal *j, struct ti_error *error)
{
	for (size_t at = 0; at < j->memory_bytes; at += LOAD_BYTES) {
		size_t len = j->memory_bytes - at < LOAD_BYTES ? j->memory_bytes - at : LOAD_BYTES;
		uint64_t offset = j->geo->journal_offset + at;
		int err = ti_queue_sync(j->lun->queue, TI_IO_READ, TI_META, offset, j->memory + at,
					len);

		if (err != 0)
			return ti_error_set(error, err,
					    "cannot read the journal of %s at sector %" PRIu64
					    ": %s",
					    meta_name(j), offset / TI_SECTOR_BYTES, strerror(-err));
	}
	return 0;
}

static int conclude(struct ti_journal *j, struct ti_journal_summary *summary,
		    struct ti_error *error)
{
	struct ti_journal_section *section = calloc(j->sections, sizeof(*section));

	if (section == NULL)
		return ti_error_set(error, -ENOMEM, "out of memory for the journal's sections");
	for (uint32_t i = 0; i < j->sections; i++) {
		ti_seal_decrypt(j->lun->seal, i, ti_journal_section(j, i));
		section[i] = ti_journal_look(j->geo, &j->ids, i, ti_journal_section(j, i));
	}
	ti_journal_conclude(section, j->sections, summary);
	free(section);
	if (summary->state != TI_JOURNAL_DAMAGED)
		return 0;
	if (summary->bad_section == UINT32_MAX)
		return ti_error_set(
			error, -EUCLEAN,
			"the journal on %s is damaged: its sections carry all four commit "
			"sequence numbers, so that none is the newest",
			meta_name(j));
	return ti_error_set(error, -EUCLEAN,
			    "the journal on %s has an unknown commit id in section %" PRIu32
			    ", sector %" PRIu32
			    ": it is damaged, or journal_crypt or its key is another "
			    "one",
			    meta_name(j), summary->bad_section, summary->bad_sector);
}

bool ti_journal_verify(struct ti_journal *j, uint32_t i, uint32_t n, uint64_t sector)
{
	const struct ti_geometry *geo = j->geo;
	uint8_t *section = ti_journal_section(j, i), tag[TI_MAX_TAG_SIZE];
	uint8_t *block = section + ti_journal_data_offset(geo, n);
	uint8_t ids[TI_MAX_BLOCK_BYTES / TI_SECTOR_BYTES][sizeof(struct ti_le64)];
	struct iovec piece = { .iov_base = block, .iov_len = geo->block_size };
	struct ti_iov_cursor cursor = ti_iov_cursor(&piece, 1);

	for (uint32_t s = 0; s < geo->sectors_per_block; s++)
		memcpy(ids[s], block + s * TI_SECTOR_BYTES + TI_JOURNAL_COMMIT_ID_OFFSET,
		       sizeof(ids[s]));
	ti_journal_restore(j, i, n);
	ti_hash_blocks(&j->lun->hash, sector, &cursor, 1, tag);
	/* The section stays as the medium has it. */
	for (uint32_t s = 0; s < geo->sectors_per_block; s++)
		memcpy(block + s * TI_SECTOR_BYTES + TI_JOURNAL_COMMIT_ID_OFFSET, ids[s],
		       sizeof(ids[s]));
	return ti_secret_equal(
		tag, section + ti_journal_entry_offset(geo, n) + ti_journal_entry_tag_offset(geo),
		geo->tag_size);
}

/* Make section @i's entries known.  Everything in them is checked. */
static int take_section(struct ti_journal *j, uint32_t i, struct ti_error *error)
{
	const struct ti_geometry *geo = j->geo;

	if (!ti_seal_mac_is_right(j->lun->seal, i, ti_journal_section(j, i)))
		return ti_error_set(
			error, -EILSEQ,
			"section %" PRIu32
			" of the journal on %s does not match its MAC: somebody has "
			"changed the sector numbers in it, or the key of the journal is "
			"another one; nothing was replayed",
			i, meta_name(j));
	for (uint32_t n = 0; n < j->section_entries; n++) {
		uint64_t sector = ti_journal_entry_sector(geo, ti_journal_section(j, i), n);

		if (ti_journal_sector_is_unused(sector))
			continue;
		if (sector % geo->sectors_per_block != 0)
			return ti_error_set(error, -EUCLEAN,
					    "the journal on %s names sector %" PRIu64
					    " in section %" PRIu32 ", entry %" PRIu32
					    ", which is no block's first: it is damaged",
					    meta_name(j), sector, i, n);
		/* dm-integrity: entries beyond the device are ignored (it has become smaller). */
		if (sector >= geo->provided_sectors)
			continue;
		if (!ti_journal_verify(j, i, n, sector)) {
			j->lun->stats.mismatches++;
			return ti_error_set(error, -EILSEQ,
					    "the journal on %s holds a block for sector %" PRIu64
					    " that does not match its tag (section %" PRIu32
					    ", entry %" PRIu32
					    "): wrong digest or key, or the journal is damaged; "
					    "nothing was replayed",
					    meta_name(j), sector, i, n);
		}
		ti_journal_link(j, i, n, sector / geo->sectors_per_block);
	}
	return 0;
}

/*
 * A replay has three steps, each of which goes over its sections: they are verified, written again
 * and written out.  Nothing depends on the number, so that its store needs no order.
 */
enum replay_step { VERIFIED, SECURED, WRITTEN_OUT, REPLAY_STEPS };

static void tell(struct ti_journal *j, enum replay_step step, uint32_t section, uint32_t sections)
{
	uint64_t done = (uint64_t)step * sections + section,
		 all = REPLAY_STEPS * (uint64_t)sections;
	uint64_t part = (done << 16) / all;

	__atomic_store_n(&j->lun->start_progress, part < UINT16_MAX ? (uint16_t)part : UINT16_MAX,
			 __ATOMIC_RELAXED);
}

/* Run the engine until @until() says so, and tell now and then how far a write-out is. */
static void run_until(struct ti_journal *j, bool (*until)(const struct ti_journal *j))
{
	struct ti_request_list none = STAILQ_HEAD_INITIALIZER(none);
	uint64_t tell_ns = ti_clock_now(j->lun->clock) + PROGRESS_NS;

	for (;;) {
		ti_lun_run(j->lun, &none);
		if (j->writing > 0)
			tell(j, WRITTEN_OUT, j->at_section, j->writing);
		if (until(j))
			return;
		ti_lun_wait(j->lun, tell_ns);
		if (ti_clock_now(j->lun->clock) < tell_ns)
			continue;
		tell_ns += PROGRESS_NS;
		ti_log(&j->lun->log, TI_LOG_INFO,
		       "the journal is being written out sections=%" PRIu32 " of=%" PRIu32,
		       j->at_section, j->writing);
	}
}

static bool written_out(const struct ti_journal *j)
{
	return !j->writeout_running && (j->committed == 0 || j->writeout_failed);
}

static int write_out(struct ti_journal *j)
{
	j->writeout_failed = false;
	j->writeout_all = true;
	run_until(j, written_out);
	j->writeout_all = false;
	return j->committed > 0 ? j->writeout_result.err : 0;
}

/* Write @count empty sections from @first on, durably. */
static int erase_range(struct ti_journal *j, uint32_t first, uint32_t count, unsigned seq)
{
	for (uint32_t k = 0; k < count; k++) {
		uint32_t i = (uint32_t)(((uint64_t)first + k) % j->sections);
		uint8_t *section = ti_journal_section(j, i);
		int err;

		ti_seal_empty_section(j->lun->seal, j->geo, i, seq, section);
		ti_seal_encrypt(j->lun->seal, i, section, ti_journal_sealed(j, i));
		err = ti_queue_sync(j->lun->queue, TI_IO_WRITE, TI_META,
				    j->geo->journal_offset + i * j->section_bytes,
				    ti_journal_sealed(j, i), j->section_bytes);
		if (err != 0)
			return err;
	}
	return count > 0 ? ti_lun_flush_meta(j->lun) : 0;
}

static int erase(struct ti_journal *j, uint32_t behind_newest, unsigned newest_seq)
{
	unsigned seq = (newest_seq + TI_JOURNAL_SEQS - 2) % TI_JOURNAL_SEQS;
	uint32_t n = j->sections;
	int err = erase_range(j, behind_newest, 1, seq);

	if (err == 0 && n > 2)
		err = erase_range(j, (behind_newest + 1) % n, n - 2, seq);
	if (err == 0 && n > 1)
		err = erase_range(j, (behind_newest + n - 1) % n, 1, seq);
	j->first = 0;
	j->seq = (uint8_t)((seq + 1) % TI_JOURNAL_SEQS);
	return err;
}

/*
 * Make what is going to be replayed durable before anything else is written because of it.
 *
 * A process that was killed may have left it in the device's cache only, and a flush is not enough:
 * if one has failed before the kill, the next may succeed and yet not cover what that one lost.
 * Then a crash would find an older journal below this one, and bring old blocks back.  So the same
 * bytes are written once more.
 */
static int secure(struct ti_journal *j, uint32_t sections)
{
	int err = 0;

	for (uint32_t k = 0; k < sections && err == 0; k++) {
		uint32_t i = ti_journal_ring(j, k);

		ti_seal_encrypt(j->lun->seal, i, ti_journal_section(j, i), ti_journal_sealed(j, i));
		err = ti_queue_sync(j->lun->queue, TI_IO_WRITE, TI_META,
				    j->geo->journal_offset + i * j->section_bytes,
				    ti_journal_sealed(j, i), j->section_bytes);
		tell(j, SECURED, k + 1, sections);
	}
	return err != 0 ? err : ti_lun_flush_meta(j->lun);
}

static int replay(struct ti_journal *j, const struct ti_journal_summary *s, struct ti_error *error)
{
	int err;

	ti_log(&j->lun->log, TI_LOG_INFO,
	       "journal replay begins sections=%" PRIu32 " entries=%" PRIu64, s->replay_sections,
	       s->replay_entries);
	j->first = s->replay_first;
	for (uint32_t k = 0; k < s->replay_sections; k++) {
		err = take_section(j, ti_journal_ring(j, k), error);
		if (err != 0)
			return err;
		tell(j, VERIFIED, k + 1, s->replay_sections);
	}
	err = secure(j, s->replay_sections);
	if (err != 0)
		return ti_error_set(error, err,
				    "cannot write the journal of %s again before it is replayed: "
				    "%s; it is kept, and replayed at the next open",
				    meta_name(j), strerror(-err));
	/* Only now: write-out may begin whenever the engine runs. */
	j->committed = s->replay_sections;
	err = write_out(j);
	if (err != 0)
		return ti_error_set(error, err,
				    "replaying the journal of %s failed at sector %" PRIu64
				    " (%s): it is kept, and replayed at the next open",
				    meta_name(j), j->writeout_result.sector,
				    ti_cause_name(j->writeout_result.cause));
	tell(j, WRITTEN_OUT, 1, 1);
	ti_log(&j->lun->log, TI_LOG_INFO, "journal replay ends");
	return 0;
}

/* The ring is as it lies on the medium, all of it clean: the store's words say so. */
static void begin(struct ti_journal *j)
{
	for (uint32_t k = 0; k < j->sections; k++) {
		uint32_t i = ti_journal_ring(j, k);
		/* Those from the first to the end are to get seq next, the others the one after. */
		unsigned seq = j->seq + (i >= j->first ? TI_JOURNAL_SEQS - 1U : 0);

		ti_section_set(j->store, i,
			       (struct ti_section_word){ .state = TI_SECTION_CLEAN,
							 .seq = (uint8_t)(seq % TI_JOURNAL_SEQS),
							 .turn = k + 1U });
		ti_journal_medium_set(j, i, ti_journal_section(j, i));
	}
	ti_journal_store_begin(j->store);
}

static bool all_committed(const struct ti_journal *j)
{
	return !j->commit_running && (j->filled == 0 || j->commit_failed);
}

/* What a killed predecessor had only acknowledged becomes durable. */
static int commit_all(struct ti_journal *j, struct ti_error *error)
{
	if (j->filled == 0)
		return 0;
	j->commit_wanted = true;
	run_until(j, all_committed);
	if (j->filled == 0)
		return 0;
	return ti_error_set(error, j->commit_result.err,
			    "cannot commit the writes that a killed tcmu-runner left for %s (%s): "
			    "they are kept for the next open",
			    meta_name(j), ti_cause_name(j->commit_result.cause));
}

/* A ring that was taken over, for a mode that has none: into its places, and erase it. */
static int settle(struct ti_journal *j, struct ti_error *error)
{
	unsigned newest;
	int err = write_out(j);

	if (err != 0)
		return ti_error_set(error, err,
				    "writing out the journal that a killed tcmu-runner left for %s "
				    "failed at sector %" PRIu64
				    " (%s): it is kept for the next open",
				    meta_name(j), j->writeout_result.sector,
				    ti_cause_name(j->writeout_result.cause));
	ti_journal_store_drop(j->store);
	newest = j->first == 0 ? j->seq + TI_JOURNAL_SEQS - 1U : j->seq;
	err = erase(j, j->first, newest % TI_JOURNAL_SEQS);
	if (err != 0)
		return ti_error_set(error, err, "cannot erase the journal of %s: %s", meta_name(j),
				    strerror(-err));
	return 0;
}

/* Read the journal and replay it. */
static int start_afresh(struct ti_journal *j, bool keep, struct ti_error *error)
{
	struct ti_journal_summary s;
	unsigned newest;
	bool any;
	int err = load(j, error);

	if (err == 0)
		err = conclude(j, &s, error);
	if (err != 0)
		return err;
	/* dm-integrity: an erase that was interrupted counts as empty, whatever entries are left.
	 */
	any = s.state != TI_JOURNAL_EMPTY && s.replay_entries > 0;
	if (j->lun->read_only)
		return !any ? 0
			    : ti_error_set(error, -EUCLEAN,
					   "the journal on %s holds %" PRIu64
					   " entries that must be replayed, which a read-only open "
					   "cannot "
					   "do: open it for writing first",
					   meta_name(j), s.replay_entries);
	if (any) {
		err = replay(j, &s, error);
		if (err != 0)
			return err;
	}
	/* The number of the newest section: the ring's oldest one carries the same only if it
	 * stands at 0, for the number steps on there. */
	newest = s.replay_first == 0 ? s.replay_seq : (s.replay_seq + 1U) % TI_JOURNAL_SEQS;
	if (s.replay_sections == j->sections && (keep || s.used_entries == 0)) {
		j->first = s.replay_first;
		j->seq = (uint8_t)((s.replay_seq + 1) % TI_JOURNAL_SEQS);
		j->entries = any;
		return 0;
	}
	err = erase(j, s.replay_first, newest);
	if (err != 0)
		return ti_error_set(error, err, "cannot erase the journal of %s: %s", meta_name(j),
				    strerror(-err));
	return 0;
}

int ti_journal_start(struct ti_journal *j, bool keep, struct ti_error *error)
{
	int err = ti_journal_check_device(j->lun->queue, j->geo, error);

	if (err == 0 && j->store->inherited)
		err = ti_journal_resume(j, error);
	if (err < 0)
		return err;
	if (err > 0) {
		err = commit_all(j, error);
		return err != 0 || keep ? err : settle(j, error);
	}
	err = start_afresh(j, keep, error);
	if (err == 0 && keep)
		begin(j);
	return err;
}

int ti_journal_stop(struct ti_journal *j)
{
	uint32_t first;
	int err;

	if (j->filled > 0 || j->committing > 0)
		return -EIO; /* the last flush has failed: what is committed is for the next open */
	err = write_out(j);
	if (err != 0)
		return err;
	ti_journal_store_drop(j->store);
	if (!j->entries)
		return 0;
	/* dm-integrity: an emptied ring goes on where it was: the sections up to the end with the
	 * number they would get next, those before with the one after.  (It does so only if it has
	 * committed something.)  That is the order in which commits would write them: whatever of
	 * it is on the medium, what else is replayed are the newest of the old sections, and they
	 * are in their places already. */
	first = j->first;
	err = erase_range(j, first, j->sections - first, j->seq);
	if (err == 0)
		err = erase_range(j, 0, first, (j->seq + 1U) % TI_JOURNAL_SEQS);
	return err;
}
