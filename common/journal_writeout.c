/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Write-out: committed entries go to their places, both devices are flushed, the sections are free.
 *
 * One batch at a time: all sections that are committed when it begins.  Entries are taken in ring
 * order; one that has a newer committed entry is left out, for that one goes in the same batch or a
 * later one; one whose newer entry is not committed is not, for a crash would bring back what is
 * older than both.  Neighbouring blocks travel in one run: one write to the data device, one pin of
 * tags.
 *
 * The order between a block's data and its tag, and between the two flushes, does not matter: until
 * the section is freed, replay would write both again.  A run that fails leaves the whole batch
 * committed, to be tried again later.
 */
#include <stddef.h>
#include <string.h>

#include "journal.h"

static void fail(struct ti_journal *j, int err, enum ti_cause cause, uint64_t sector)
{
	if (j->writeout_result.err == 0)
		j->writeout_result =
			(struct ti_result){ .err = err, .cause = cause, .sector = sector };
}

static void end(struct ti_journal *j)
{
	bool failed = j->writeout_result.err != 0;

	j->writeout_running = false;
	j->writeout_failed = failed;
	if (!failed)
		ti_journal_release(j, j->writing);
	j->writing = 0;
	j->clear_look = true;
	if (failed) {
		ti_journal_fail_want(j, &j->writeout_result);
		ti_journal_fail_clear(j, &j->writeout_result);
	} else {
		ti_journal_serve_want(j);
	}
}

static void flushed(struct ti_flush_waiter *waiter, const struct ti_result *result)
{
	struct ti_journal *j =
		(struct ti_journal *)((char *)waiter - offsetof(struct ti_journal, writeout_flush));

	if (result->err != 0)
		fail(j, result->err, result->cause, 0);
	end(j);
}

/* The entries of the batch have all been looked at, or the batch has failed: start no more runs. */
static bool exhausted(const struct ti_journal *j)
{
	return j->at_section == j->writing || j->writeout_result.err != 0;
}

/* An op's device and its tags are both there.  May be called from inside the tag cache. */
static void arrived(struct ti_journal_op *op)
{
	if (--op->pending == 0)
		STAILQ_INSERT_TAIL(&op->journal->done_ops, op, link);
}

static void run_written(struct ti_io *io)
{
	arrived(io->owner);
}

static void run_pinned(struct ti_tag_pin *pin)
{
	arrived(pin->owner);
}

static void settle(struct ti_journal *j, struct ti_journal_op *op)
{
	struct ti_lun *lun = j->lun;
	uint64_t sector = op->block * j->geo->sectors_per_block;

	if (!op->io.fua || op->io.result != 0)
		ti_flusher_wrote(&lun->flusher, TI_DATA);
	if (op->io.result != 0) {
		ti_lun_io_error(lun, TI_DATA, "write-out", sector, op->io.result);
		fail(j, op->io.result, TI_CAUSE_DATA_IO, sector);
	} else if (op->pin.error != 0) {
		ti_lun_io_error(lun, TI_META, "tags", sector, op->pin.error);
		fail(j, op->pin.error, TI_CAUSE_META_IO, sector);
	} else {
		ti_tag_cache_store(lun->cache, &op->pin, op->tags);
		ti_flusher_completed_write(&lun->flusher);
	}
	ti_tag_cache_unpin(lun->cache, &op->pin);
	j->ops_busy--;
	STAILQ_INSERT_HEAD(&j->free_ops, op, link);
}

/* The entry to look at next, or NULL at the batch's end. */
static struct ti_journal_entry *look(const struct ti_journal *j, uint32_t *i, uint32_t *n)
{
	if (j->at_section == j->writing)
		return NULL;
	*i = ti_journal_ring(j, j->at_section);
	*n = j->at_entry;
	return &j->entry[(size_t)*i * j->section_entries + *n];
}

static void step_over(struct ti_journal *j)
{
	if (++j->at_entry == j->section_entries) {
		j->at_entry = 0;
		j->at_section++;
	}
}

/* Find the next entry that is to be written. */
static struct ti_journal_entry *next_due(struct ti_journal *j, uint32_t *i, uint32_t *n)
{
	struct ti_journal_entry *e;

	while ((e = look(j, i, n)) != NULL) {
		if (e->used && !ti_journal_superseded(j, e))
			return e;
		step_over(j);
	}
	return NULL;
}

/* Add an entry's block to the run.  False if its memory would be one piece too many. */
static bool add_block(struct ti_journal_op *op, uint32_t i, uint32_t n)
{
	struct ti_journal *j = op->journal;
	const struct ti_geometry *geo = j->geo;
	uint8_t *section = ti_journal_section(j, i);
	uint8_t *data = section + ti_journal_data_offset(geo, n);
	struct iovec *last = op->pieces > 0 ? &op->iov[op->pieces - 1] : NULL;

	if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == data) {
		last->iov_len += geo->block_size;
	} else if (op->pieces < TI_JOURNAL_PIECES) {
		op->iov[op->pieces++] =
			(struct iovec){ .iov_base = data, .iov_len = geo->block_size };
	} else {
		return false;
	}
	ti_journal_restore(j, i, n);
	memcpy(op->tags + (size_t)op->blocks * geo->tag_size,
	       section + ti_journal_entry_offset(geo, n) + ti_journal_entry_tag_offset(geo),
	       geo->tag_size);
	op->blocks++;
	return true;
}

static void send(struct ti_journal_op *op)
{
	struct ti_journal *j = op->journal;
	const struct ti_geometry *geo = j->geo;

	j->ops_busy++;
	op->pending = 2;
	op->io = (struct ti_io){ .op = TI_IO_WRITE,
				 .dev = TI_DATA,
				 .offset = op->block * geo->block_size,
				 .len = (size_t)op->blocks * geo->block_size,
				 .iov = op->iov,
				 .iov_count = op->pieces,
				 .fua = ti_device_writes_through(&j->lun->queue->dev[TI_DATA]),
				 .done = run_written,
				 .owner = op };
	ti_queue_submit(j->lun->queue, &op->io);
	op->pin.offset = op->block * geo->tag_size;
	op->pin.len = (size_t)op->blocks * geo->tag_size;
	op->pin.overwrite = true;
	op->pin.ready = run_pinned;
	op->pin.owner = op;
	if (ti_tag_cache_pin(j->lun->cache, &op->pin))
		arrived(op);
}

static void pump(struct ti_journal *j)
{
	struct ti_journal_entry *e;
	uint32_t i, n;

	while (!exhausted(j) && !STAILQ_EMPTY(&j->free_ops) && (e = next_due(j, &i, &n)) != NULL) {
		struct ti_journal_op *op = STAILQ_FIRST(&j->free_ops);

		STAILQ_REMOVE_HEAD(&j->free_ops, link);
		op->block = e->block;
		op->blocks = 0;
		op->pieces = 0;
		do {
			if (!add_block(op, i, n))
				break;
			step_over(j);
			e = op->blocks < j->run_blocks ? next_due(j, &i, &n) : NULL;
		} while (e != NULL && e->block == op->block + op->blocks);
		send(op);
	}
}

static bool may_start(const struct ti_journal *j)
{
	if (j->writeout_running || j->committed == 0 || ti_recalc_holds(&j->lun->recalc))
		return false;
	/* After a failure only a slot that waits for it is reason enough, until a tick. */
	if (!STAILQ_EMPTY(&j->want) || j->draining)
		return true;
	return !j->writeout_failed &&
	       (j->writeout_all || ti_journal_free_entries(j) <= j->threshold);
}

bool ti_journal_writeout_run(struct ti_journal *j)
{
	struct ti_journal_op *op;
	bool any = false;

	if (may_start(j)) {
		j->writeout_running = true;
		j->writeout_flushing = false;
		j->writeout_result = (struct ti_result){ 0 };
		j->writing = j->committed;
		j->at_section = 0;
		j->at_entry = 0;
		j->writeouts++;
		any = true;
	}
	if (!j->writeout_running || j->writeout_flushing)
		return any;
	while ((op = STAILQ_FIRST(&j->done_ops)) != NULL) {
		STAILQ_REMOVE_HEAD(&j->done_ops, link);
		settle(j, op);
		any = true;
	}
	pump(j);
	if (j->ops_busy > 0 || !exhausted(j))
		return any;
	if (j->writeout_result.err != 0) {
		end(j);
	} else {
		/* All runs are done: make them durable. */
		j->writeout_flushing = true;
		j->writeout_flush.done = flushed;
		ti_flush_join(&j->lun->flusher, &j->writeout_flush);
	}
	return true;
}
