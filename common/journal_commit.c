/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Commit: what stands in filled sections becomes durable on the metadata device.
 *
 *	metadata device:  WRITE the sections (two writes where the ring wraps), then FLUSH
 *	data device:	  FLUSH at the same time, if it holds unflushed writes
 *
 * One write to a metadata device that has FUA writes is one of those, and needs no flush.
 *
 * One commit at a time.  Who asks while one is under way joins it if nothing was inserted since it
 * began; else the next one, which all others share that ask meanwhile.
 *
 * A torn commit is harmless: its sections do not carry the sequence number throughout, so replay
 * ignores them, and nobody was told that they are durable.  After an error the sections are filled
 * ones again, and the next commit writes them anew, with the same numbers.
 *
 * dm-integrity: all sectors of a section carry its commit id, the unused ones too, so a commit
 * always writes whole sections; the sequence number steps on when the ring begins anew.
 */
#include <assert.h>
#include <stddef.h>

#include "journal.h"

static void tell(struct ti_journal *j)
{
	struct ti_flush_waiters told = STAILQ_HEAD_INITIALIZER(told);
	struct ti_result result = j->commit_result;
	struct ti_flush_waiter *waiter;

	STAILQ_CONCAT(&told, &j->now);
	while ((waiter = STAILQ_FIRST(&told)) != NULL) {
		STAILQ_REMOVE_HEAD(&told, link);
		waiter->done(waiter, &result);
	}
}

/* The section is on the medium for certain. */
static void note_committed(struct ti_journal *j, uint32_t i)
{
	struct ti_section_word word = ti_section_word(j->store, i);

	word.state = TI_SECTION_COMMITTED;
	word.seq = (uint8_t)((word.seq + 1U) % TI_JOURNAL_SEQS);
	ti_section_set(j->store, i, word);
	ti_journal_medium_set(j, i, ti_journal_section(j, i));
}

static void part_done(struct ti_journal *j)
{
	const int *broken = j->lun->flusher.broken;

	assert(j->commit_pending > 0);
	if (--j->commit_pending > 0)
		return;
	j->commit_running = false;
	ti_stopwatch_end(&j->watch);
	for (uint32_t k = 0; k < j->committing && !j->commit_sections_failed; k++)
		note_committed(j, ti_journal_ring(j, j->committed + k));
	if (j->commit_sections_failed) {
		/* They are next again, under their old numbers; none of them is open. */
		if (j->filled == 0)
			j->fill = j->section_entries;
		j->filled += j->committing;
		j->seq = j->commit_seq;
	} else {
		j->committed += j->committing;
	}
	j->commit_failed = j->commit_sections_failed;
	j->committing = 0;
	/* A flush that failed earlier is not forgotten. */
	for (int dev = 0; dev < TI_DEVICES; dev++)
		if (broken[dev] != 0 && j->commit_result.err == 0)
			j->commit_result =
				(struct ti_result){ .err = broken[dev],
						    .cause = dev == TI_DATA ? TI_CAUSE_DATA_FLUSH
									    : TI_CAUSE_META_FLUSH };
	tell(j);
	j->clear_look = true;
	if (j->commit_failed) {
		ti_journal_fail_want(j, &j->commit_result);
		ti_journal_fail_clear(j, &j->commit_result);
	}
}

static void fail(struct ti_journal *j, int err, enum ti_cause cause)
{
	if (j->commit_result.err == 0)
		j->commit_result = (struct ti_result){ .err = err, .cause = cause };
}

static void device_flushed(struct ti_io *io)
{
	struct ti_journal *j = io->owner;

	ti_flusher_flush_ended(&j->lun->flusher, io->dev, io->result);
	if (io->result != 0)
		fail(j, io->result, io->dev == TI_DATA ? TI_CAUSE_DATA_FLUSH : TI_CAUSE_META_FLUSH);
	else if (io->dev == TI_DATA)
		j->discards_flushed = j->discards_flushing;
	/* Another's flush that has failed meanwhile may have lost the sections, whatever ours says:
	 * what is believed to be committed goes to its place. */
	if (io->dev == TI_META && j->lun->flusher.broken[TI_META] != 0)
		j->commit_sections_failed = true;
	part_done(j);
}

static void flush_device(struct ti_journal *j, enum ti_device dev)
{
	struct ti_io *io = &j->commit_flush[dev];

	ti_flusher_flush_started(&j->lun->flusher, dev);
	*io = (struct ti_io){ .op = TI_IO_FLUSH, .dev = dev, .done = device_flushed, .owner = j };
	ti_queue_submit(j->lun->queue, io);
}

static void sections_written(struct ti_io *io)
{
	struct ti_journal *j = io->owner;

	if (!io->fua || io->result != 0)
		ti_flusher_wrote(&j->lun->flusher, TI_META);
	if (io->result != 0) {
		ti_lun_io_error(j->lun, TI_META, "journal", io->offset / TI_SECTOR_BYTES,
				io->result);
		fail(j, io->result, TI_CAUSE_META_IO);
		j->commit_sections_failed = true;
	}
	if (--j->commit_writes > 0)
		return;
	if (j->commit_sections_failed || io->fua)
		part_done(j);
	else
		flush_device(j, TI_META);
}

static void write_sections(struct ti_journal *j, unsigned which, uint32_t first, uint32_t count,
			   bool fua)
{
	struct ti_io *io = &j->commit_io[which];
	struct iovec *iov = &j->commit_iov[which];

	iov->iov_base = ti_journal_sealed(j, first);
	iov->iov_len = count * j->section_bytes;
	*io = (struct ti_io){ .op = TI_IO_WRITE,
			      .dev = TI_META,
			      .offset = j->geo->journal_offset + first * j->section_bytes,
			      .len = iov->iov_len,
			      .iov = iov,
			      .iov_count = 1,
			      .fua = fua,
			      .done = sections_written,
			      .owner = j };
	j->commit_writes++;
	ti_queue_submit(j->lun->queue, io);
}

/* Put commit ids and MACs into the sections that are to be written, and close them for ever. */
static void stamp(struct ti_journal *j)
{
	for (uint32_t k = 0; k < j->committing; k++) {
		uint32_t i = ti_journal_ring(j, j->committed + k);
		uint8_t *section = ti_journal_section(j, i);

		ti_section_set_state(j->store, i, TI_SECTION_TRIED);
		for (uint32_t s = 0; s < j->geo->section_sectors; s++)
			ti_journal_set_id(section, s, ti_journal_commit_id(&j->ids, i, s, j->seq));
		/* The MAC is of sector numbers, which are final now, and goes in before the cipher.
		 */
		ti_seal_mac(j->lun->seal, i, section);
		ti_seal_encrypt(j->lun->seal, i, section, ti_journal_sealed(j, i));
		if (i == j->sections - 1)
			j->seq = (uint8_t)((j->seq + 1) % TI_JOURNAL_SEQS);
	}
}

static void start(struct ti_journal *j)
{
	uint32_t first = ti_journal_ring(j, j->committed), count, wrapped = 0;
	bool fua;

	j->commit_running = true;
	j->commit_wanted = false;
	j->commit_result = (struct ti_result){ 0 };
	j->commit_sections_failed = false;
	j->commit_writes = 0;
	j->commit_seq = j->seq;
	j->committing = j->filled;
	j->filled = 0;
	j->fill = j->section_entries;
	if (j->committing > 0)
		j->entries = true;
	STAILQ_CONCAT(&j->now, &j->next);
	if (!STAILQ_EMPTY(&j->now))
		ti_stopwatch_begin(&j->watch);
	j->commit_pending = 1; /* until all has been started */
	if (j->committing > 0) {
		j->commits++;
		j->commit_pending++;
		stamp(j);
		count = j->committing;
		if (first + count > j->sections) {
			wrapped = first + count - j->sections;
			count -= wrapped;
		}
		fua = (wrapped == 0 || ti_device_writes_through(&j->lun->queue->dev[TI_META])) &&
		      ti_flusher_fua_pays(&j->lun->flusher, TI_META);
		write_sections(j, 0, first, count, fua);
		if (wrapped > 0)
			write_sections(j, 1, 0, wrapped, fua);
	}
	/* A discard is not in the journal: the data device must have it.  Nor is what a predecessor
	 * in mode direct has left.  A flush of somebody else's that is under way may be too early.
	 */
	j->discards_flushing = j->discards_flushed;
	if (!STAILQ_EMPTY(&j->now) &&
	    (j->lun->flusher.dirty[TI_DATA] || j->lun->flusher.past[TI_DATA] ||
	     j->lun->flusher.discards != j->discards_flushed)) {
		j->discards_flushing = j->lun->flusher.discards;
		j->commit_pending++;
		flush_device(j, TI_DATA);
	}
	/* Tags that were written before the open, in mode direct, may need a flush: once. */
	if (!STAILQ_EMPTY(&j->now) && j->committing == 0 && j->lun->flusher.past[TI_META]) {
		j->commit_pending++;
		flush_device(j, TI_META);
	}
	part_done(j);
}

void ti_journal_commit_join(struct ti_journal *j, struct ti_flush_waiter *waiter)
{
	/* A data flush that the commit under way has or hasn't sent makes no difference for what
	 * the journal holds; but it does for discards, and for what a predecessor in mode direct
	 * has left. */
	if (j->commit_running && j->filled == 0 && j->commit_result.err == 0 &&
	    j->lun->flusher.discards == j->discards_flushing && !j->lun->flusher.past[TI_DATA])
		STAILQ_INSERT_TAIL(&j->now, waiter, link);
	else
		STAILQ_INSERT_TAIL(&j->next, waiter, link);
}

bool ti_journal_commit_run(struct ti_journal *j)
{
	bool low = ti_journal_free_entries(j) <= j->threshold && !j->commit_failed;

	if (j->commit_running)
		return false;
	if (STAILQ_EMPTY(&j->next) &&
	    (j->filled == 0 || (STAILQ_EMPTY(&j->want) && !j->commit_wanted && !low)))
		return false;
	start(j);
	return !j->commit_running;
}
