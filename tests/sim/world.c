/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See world.h. */
#include "store_file.h"
#include "world.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim_format.h"
#include "world_doubt.h"
#include "world_seal.h"

#define META_BYTES (2U << 20)

static int fault(void *ctx, const struct ti_io *io)
{
	struct world *w = ctx;
	bool vanishing = w->faults.vanishing;
	int err = faults_hit(&w->faults, &w->random, io,
			     sim_as_clock(w->sim)->now_ns(sim_as_clock(w->sim)));

	/* A successor remembers a flush of its start that failed, if it has a store. */
	if (err != 0 && io->op == TI_IO_FLUSH && (!vanishing || w->schedule->shape.store))
		w->flush_broken = w->flush_was_broken = true;
	if (err == 0 || vanishing)
		return err;
	w->counts->faults++;
	if (io->dev == TI_DATA && io->op == TI_IO_WRITE)
		w->data_write_faults++;
	if (io->dev == TI_META && io->op == TI_IO_READ)
		w->meta_read_faults++;
	return err;
}

static void watch(void *ctx, const struct ti_io *io, bool completed)
{
	struct world *w = ctx;

	(void)io;
	if (!completed)
		world_death_place(&w->death);
}

/* --- requests --- */

/* Memory in pieces, some of them where the device cannot use them. */
static void make_memory(struct world *w, struct op *op, size_t len)
{
	uint32_t block_size = w->model.block_size;
	size_t off = sim_chance(&w->random, 15) ? 1 + sim_below(&w->random, 300) : 0, at = 0;
	size_t unit = block_size > 512 && off == 0 ? block_size : 512;
	size_t pieces = 0;

	op->memory = aligned_alloc(4096, (len + off + 8191) & ~(size_t)4095);
	if (op->memory == NULL)
		abort();
	op->buf = op->memory + off;
	if (off != 0 && sim_chance(&w->random, 50))
		unit = 8; /* blocks broken into odd pieces */
	while (at < len && pieces < 63) {
		size_t piece = unit * (1 + sim_below(&w->random, 9));

		if (piece > len - at)
			piece = len - at;
		op->iov[pieces].iov_base = op->buf + at;
		op->iov[pieces++].iov_len = piece;
		at += piece;
	}
	if (at < len) {
		op->iov[pieces].iov_base = op->buf + at;
		op->iov[pieces++].iov_len = len - at;
	}
	op->req.iov = op->iov;
	op->req.iov_count = pieces;
}

/* What the range holds, if that is certain. */
static bool known(const struct world *w, const struct step *step, uint8_t *out)
{
	for (uint32_t n = 0; n < step->count; n++)
		if (!model_known(&w->model, step->block + n, out + n * w->model.block_size))
			return false;
	return true;
}

/* Let a comparison find a difference, or none. */
static void spoil(struct world *w, struct op *op, uint32_t blocks)
{
	op->differs = NONE;
	if (!sim_chance(&w->random, 40))
		return;
	op->differs = sim_below(&w->random, (uint64_t)blocks * w->model.block_size);
	op->buf[op->differs] ^= 0x10;
}

/*
 * COMPARE with fewer blocks that are repeated, where the range is alike.  Takes @known's place:
 * what all of the range holds.
 */
static bool make_comparison_same(struct world *w, struct op *op, const struct step *step,
				 const uint8_t *known)
{
	size_t size = w->model.block_size, bytes = step->count * size;
	uint32_t period = 1;

	while (period < step->count &&
	       (step->count % period != 0 ||
		memcmp(known, known + period * size, bytes - period * size) != 0))
		period++;
	if (period == step->count && period > 1)
		return false;
	make_memory(w, op, period * size);
	memcpy(op->buf, known, period * size);
	op->req.op = TI_REQ_COMPARE_SAME;
	op->req.flags = step->fua ? TI_REQ_FUA : 0;
	spoil(w, op, period);
	w->counts->compares_same++;
	return true;
}

/* COMPARE, and the one half of COMPARE AND WRITE: false if nobody knows what to compare with. */
static bool make_comparison(struct world *w, struct op *op, const struct step *step)
{
	size_t bytes = (size_t)step->count * w->model.block_size;
	bool write = step->op == STEP_WRITE;

	make_memory(w, op, write ? 2 * bytes : bytes);
	if (!known(w, step, op->buf)) {
		free(op->memory);
		return false;
	}
	if (!write && step->seed >> 40 & 1) {
		uint8_t *known = op->memory;

		if (make_comparison_same(w, op, step, op->buf)) {
			free(known);
			return true;
		}
	}
	op->req.op = write ? TI_REQ_COMPARE_AND_WRITE : TI_REQ_COMPARE;
	op->req.flags = step->fua ? TI_REQ_FUA : 0;
	spoil(w, op, step->count);
	if (!write)
		return true;
	for (uint32_t n = 0; n < step->count; n++)
		model_content(&w->model, step->block + n, step->id,
			      op->buf + bytes + n * w->model.block_size);
	/* Where it is to find a difference nothing is ever written. */
	if (op->differs == NONE)
		model_submitted(&w->model, step, w->mode);
	return true;
}

/* The new version is what was there, and more bits. */
static bool make_or(struct world *w, struct op *op, const struct step *step)
{
	size_t size = w->model.block_size, bytes = step->count * size;
	uint8_t *was = malloc(bytes);
	bool sure = was != NULL && known(w, step, was);

	if (!sure) {
		free(was);
		return false;
	}
	op->req.op = TI_REQ_OR_WRITE;
	op->req.flags = step->fua ? TI_REQ_FUA : 0;
	make_memory(w, op, bytes);
	for (uint32_t n = 0; n < step->count; n++)
		model_content(&w->model, step->block + n, step->id, op->buf + n * size);
	for (size_t at = 0; at < bytes; at++)
		was[at] |= op->buf[at];
	model_submitted(&w->model, step, w->mode);
	for (uint32_t n = 0; n < step->count; n++)
		model_set_bytes(&w->model, step->block + n, step->id, was + n * size);
	free(was);
	return true;
}

static bool make_compound(struct world *w, struct op *op, const struct step *step)
{
	if (!w->schedule->shape.passes || step->op != STEP_WRITE)
		return false;
	switch (step->seed >> 32 & 31) {
	case 0:
	case 1:
	case 2:
		return make_comparison(w, op, step);
	case 3:
	case 4:
		return make_or(w, op, step);
	case 5:
		op->req.op = TI_REQ_WRITE_AND_VERIFY;
		return false; /* else like a write */
	case 6:
		op->req.op = TI_REQ_WRITE_AND_COMPARE;
		return false;
	default:
		return false;
	}
}

static void make_write(struct world *w, struct op *op, const struct step *step)
{
	uint32_t blocks = step->op == STEP_WRITE_SAME ? step_period(step) : step->count;
	size_t size = w->model.block_size;

	op->req.op = step->op == STEP_WRITE_SAME ? TI_REQ_WRITE_SAME : TI_REQ_WRITE;
	if (make_compound(w, op, step))
		return;
	op->req.flags = step->fua ? TI_REQ_FUA : 0;
	if (op->req.op == TI_REQ_WRITE && step->seed % 3 == 0 &&
	    op->req.sectors <= ti_lun_atomic_sectors(w->lun)) {
		op->req.flags |= TI_REQ_ATOMIC;
		w->model.written[step->id].atomic = true;
	}
	make_memory(w, op, blocks * size);
	for (uint32_t n = 0; n < blocks; n++)
		model_content(&w->model, step->block + n, step->id, op->buf + n * size);
	model_submitted(&w->model, step, w->mode);
}

static void submit(struct world *w, const struct step *step, enum step_op what)
{
	struct op *op = w->op;

	if (w->in_flight == w->schedule->shape.max_in_flight)
		return;
	while (op->step != NULL)
		op++;
	memset(&op->req, 0, sizeof(op->req));
	op->step = step;
	op->memory = NULL;
	op->newest = step->id;
	op->differs = NONE;
	op->was_broken = w->flush_broken;
	op->req.owner = op;
	op->req.sector = (uint64_t)step->block * w->sectors_per_block;
	op->req.sectors = (uint64_t)step->count * w->sectors_per_block;
	w->in_flight++;
	if (what == STEP_WRITE || what == STEP_WRITE_SAME) {
		make_write(w, op, step);
	} else if (what == STEP_READ) {
		op->req.op = TI_REQ_READ;
		op->req.flags = step->fua ? TI_REQ_FUA : 0;
		make_memory(w, op, (size_t)step->count * w->model.block_size);
	} else if (what == STEP_DISCARD) {
		op->req.op = TI_REQ_DISCARD;
		model_submitted(&w->model, step, w->mode);
	} else if (what == STEP_VERIFY && w->schedule->shape.passes && step->seed % 3 == 0 &&
		   make_comparison(w, op, step)) {
		/* Made. */
	} else if (what == STEP_VERIFY) {
		op->memory = NULL;
		op->req.iov = NULL;
		op->req.iov_count = 0;
		op->req.op = TI_REQ_VERIFY;
		op->req.flags = step->fua ? TI_REQ_FUA : 0;
	} else {
		op->req.op = TI_REQ_FLUSH;
		op->req.sectors = 0;
		model_acknowledged(&w->model, op->acknowledged);
	}
	ti_lun_submit(w->lun, &op->req);
}

/* --- what comes back --- */

/* The first @count blocks that a read has got. */
static void check_blocks(struct world *w, const struct op *op, uint64_t count)
{
	const struct step *step = op->step;
	bool fua = op->req.flags & TI_REQ_FUA;

	if (op->req.op != TI_REQ_READ)
		return;
	for (uint32_t n = 0; n < count; n++) {
		uint32_t seen = model_judge_read(&w->model, step->block + n, op->newest,
						 op->buf + (size_t)n * w->model.block_size);

		if (fua)
			model_durable_seen(&w->model, step->block + n, seen);
	}
}

/* Nothing is said of a read that failed but this: what lies before the place that it names is good.
 * A flush has no place, and names the first. */
static void check_before(struct world *w, const struct op *op)
{
	const struct ti_result *res = &op->req.result;

	switch (res->cause) {
	case TI_CAUSE_TAG_MISMATCH:
	case TI_CAUSE_DATA_IO:
	case TI_CAUSE_META_IO:
		check_blocks(w, op, (res->sector - op->req.sector) / w->sectors_per_block);
		break;
	default:
		break;
	}
}

/* A comparison that has come back with a verdict. */
static void check_comparison(const struct op *op)
{
	const struct ti_result *res = &op->req.result;
	bool miscompares = res->cause == TI_CAUSE_MISCOMPARE;

	if (op->req.op != TI_REQ_COMPARE && op->req.op != TI_REQ_COMPARE_SAME &&
	    op->req.op != TI_REQ_COMPARE_AND_WRITE) {
		if (miscompares)
			violation("miscompare of what has just been written");
		return;
	}
	if (res->err == 0 && op->differs != NONE)
		violation("no miscompare at byte %" PRIu64, op->differs);
	if (miscompares && res->offset != op->differs)
		violation("miscompare at byte %" PRIu64 ", not %" PRIu64, res->offset, op->differs);
}

static void check_read(struct world *w, const struct op *op)
{
	const struct ti_result *res = &op->req.result;
	bool fua = op->req.flags & TI_REQ_FUA;

	w->counts->reads++;
	check_comparison(op);
	if (res->cause == TI_CAUSE_MISCOMPARE)
		return;
	if (res->err == 0) {
		/* Its flush comes first: one that fails later does not concern it. */
		if (fua && op->was_broken)
			violation("FUA read succeeded after a failed flush");
		check_blocks(w, op, op->step->count);
		return;
	}
	w->read_failures++; /* both devices may have failed: any cause will do */
	if (res->cause != TI_CAUSE_TAG_MISMATCH && !w->faults_on && !(fua && w->flush_broken))
		violation("read failed without a fault: %s", ti_cause_name(res->cause));
	if (fua && res->cause != TI_CAUSE_TAG_MISMATCH)
		return; /* its flush may have failed, which is no sector's fault */
	if (res->sector < op->req.sector || res->sector >= op->req.sector + op->req.sectors)
		violation("error at sector %" PRIu64 " outside of the request", res->sector);
	check_before(w, op);
	if (res->cause == TI_CAUSE_TAG_MISMATCH) {
		w->counts->mismatches++;
		(void)model_judge_read(&w->model, (uint32_t)(res->sector / w->sectors_per_block),
				       op->newest, NULL);
	}
}

static void check_write(struct world *w, const struct op *op)
{
	const struct ti_result *res = &op->req.result;
	const struct step *step = op->step;
	bool flush_failed = res->cause == TI_CAUSE_DATA_FLUSH || res->cause == TI_CAUSE_META_FLUSH;
	/* A flush may also be that of the mark without which a write does not begin. */
	bool complete = res->err == 0 ||
			(flush_failed && w->mode->write_errors_reach_writes && !w->mode->marks);

	bool durable = step->fua || op->req.op == TI_REQ_WRITE_AND_VERIFY ||
		       op->req.op == TI_REQ_WRITE_AND_COMPARE;

	w->counts->writes++;
	check_comparison(op);
	if (res->cause == TI_CAUSE_MISCOMPARE)
		return;
	if (op->req.op != TI_REQ_WRITE && op->req.op != TI_REQ_WRITE_SAME && res->err != 0)
		w->reads_and_writes = true;
	if (res->err != 0 && !w->faults_on && !w->flush_broken)
		violation("write failed without a fault: %s", ti_cause_name(res->cause));
	if (res->cause == TI_CAUSE_DATA_IO)
		w->data_write_failures++;
	if (res->err != 0)
		w->read_failures++;
	/* A write whose flush failed is complete, but not durable.  META_IO may be either. */
	model_came_back(&w->model, step, complete ? DONE : FAILED);
	if (res->err != 0 || !durable)
		return;
	/* What is verified has been flushed before: a flush that fails later does not concern it.
	 */
	if (step->fua ? w->was_broken : op->was_broken)
		violation("FUA write succeeded after a failed flush");
	model_durable(&w->model, step->block, step->count, step->id);
}

static void check_discard(struct world *w, const struct op *op)
{
	const struct ti_result *res = &op->req.result;

	w->counts->discards++;
	if (res->err != 0 && !w->faults_on && !w->flush_broken)
		violation("discard failed without a fault: %s", ti_cause_name(res->cause));
	if (res->err != 0)
		w->read_failures++;
	model_came_back(&w->model, op->step, res->err == 0 ? DONE : FAILED);
}

static void check_flush(struct world *w, const struct op *op)
{
	w->counts->flushes++;
	if (op->req.result.err != 0) {
		if (!w->faults_on && !w->flush_broken)
			violation("flush failed without a fault");
		return;
	}
	if (w->was_broken)
		violation("flush succeeded after a failed one");
	model_flushed(&w->model, op->acknowledged);
}

/* What a recalculation has done may change what is to be seen. */
static void look_at_recalculation(struct world *w)
{
	struct ti_lun_stats stats;

	if (!w->any_doubt)
		return;
	ti_lun_get_stats(w->lun, &stats);
	if (stats.recalc_unreadable > w->unread)
		model_unreadable(&w->model);
	w->unread = stats.recalc_unreadable;
	if (stats.recalculating)
		return;
	w->counts->recalculations++;
	w->any_doubt = model_recalculated(&w->model);
}

/* What the scrub has found since the last look, and, when it has ended, the next one. */
static void scrub_along(struct world *w)
{
	struct ti_scrub_report r;

	if (!w->schedule->shape.scrub)
		return;
	ti_lun_scrub_get(w->lun, &r);
	/* Also those of earlier looks: what has been mended since may not be among them. */
	for (uint32_t i = 0; i < r.listed; i++) {
		const struct ti_scrub_bad *bad = &r.bad[i];
		uint64_t end = bad->sector + bad->sectors;

		if (bad->kind == TI_SCRUB_TAG_DECAYED)
			violation("sector %" PRIu64 ": a tag has decayed", bad->sector);
		if (bad->kind != TI_SCRUB_MISMATCH)
			continue;
		for (uint64_t s = bad->sector; s < end; s += w->sectors_per_block) {
			w->counts->scrub_mismatches += s >= w->scrub_seen;
			model_judge_scrub(&w->model, (uint32_t)(s / w->sectors_per_block),
					  w->faults_on);
		}
		if (end > w->scrub_seen)
			w->scrub_seen = end;
	}
	if (r.state == TI_SCRUB_RUNNING)
		return;
	w->counts->scrubs += r.state == TI_SCRUB_FINISHED;
	w->scrub_seen = 0;
	if (ti_lun_scrub_start(w->lun, NULL, 0) != 0)
		violation("a scrub could not be started");
}

static void reap(struct world *w)
{
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);
	struct ti_request *req;

	w->was_broken = w->flush_broken;
	ti_lun_run(w->lun, &finished);
	/* Before what came back: it may have come after the scrub's piece. */
	scrub_along(w);
	while ((req = STAILQ_FIRST(&finished)) != NULL) {
		struct op *op = req->owner;

		STAILQ_REMOVE_HEAD(&finished, link);
		if (op->step == NULL)
			violation("a request came back twice");
		if (w->verbose)
			printf("  of step %" PRIu32 ": %s\n", op->step->id,
			       req->result.err == 0 ? "good" : ti_cause_name(req->result.cause));
		if (req->op == TI_REQ_FLUSH)
			check_flush(w, op);
		else if (req->op == TI_REQ_READ || req->op == TI_REQ_VERIFY ||
			 req->op == TI_REQ_COMPARE || req->op == TI_REQ_COMPARE_SAME)
			check_read(w, op);
		else if (req->op == TI_REQ_DISCARD)
			check_discard(w, op);
		else
			check_write(w, op);
		op->step = NULL;
		w->in_flight--;
		free(op->memory);
		op->memory = NULL;
	}
	look_at_recalculation(w);
}

static void drain(struct world *w)
{
	while (w->in_flight > 0) {
		reap(w);
		if (w->in_flight == 0)
			break;
		if (sim_under_way(w->sim) == 0)
			violation("%u requests wait for nothing", w->in_flight);
		ti_lun_wait(w->lun, TI_CLOCK_NEVER);
	}
}

/* Also of what no request waits for. */
static void wait_for_devices(struct world *w)
{
	while (sim_under_way(w->sim) > 0) {
		ti_lun_wait(w->lun, TI_CLOCK_NEVER);
		reap(w);
	}
}

static void forget_requests(struct world *w)
{
	for (unsigned i = 0; i < MAX_IN_FLIGHT; i++) {
		w->op[i].step = NULL;
		free(w->op[i].memory);
		w->op[i].memory = NULL;
	}
	w->in_flight = 0;
}

/* --- open and read --- */

const struct world_mode *world_mode_or(const struct world *w, char letter)
{
	const struct world_mode *mode = world_mode_find(letter);

	/* An encrypted journal and a bitmap do not go together. */
	return mode->marks && w->schedule->shape.crypt != 0 ? w->mode : mode;
}

struct ti_lun_options world_lun_options(const struct world *w, const struct world_mode *mode,
					const char *store, uint64_t seed)
{
	const struct world_shape *shape = &w->schedule->shape;
	struct ti_lun_options options = {
		.mode = mode->mode,
		.journal_watermark = shape->watermark,
		.start_sector = shape->start_sector,
		.cache_bytes = 1,
		.queue_depth = shape->queue_depth,
		.max_part_bytes = shape->block_size * shape->max_part_blocks,
		.bounce_buffers = shape->bounce_buffers,
		.commit_time_ms = shape->commit_time_ms,
		.bitmap_flush_interval_ms = shape->commit_time_ms,
		.sectors_per_bit = seed % 8 == 3 ? shape->sectors_per_bit * 2 : 0,
		.recalculate = seed % 16 == 2,
		.reset_recalculate = seed % 32 == 1,
		.recalculate_rate = shape->recalculate_rate * 1000ULL,
		.store_path = shape->store ? store : NULL,
		.allow_discards = shape->discards > 0,
	};

	world_seal_options(shape, w->keys, &options);
	world_crew_options(&w->crew, shape, &options.crew);
	return options;
}

void world_drop_store(const char *store)
{
	char journal[256];

	(void)snprintf(journal, sizeof(journal), "%s" TI_STORE_JOURNAL, store);
	unlink(store);
	unlink(journal);
}

static int try_open(struct world *w, struct ti_error *error)
{
	struct ti_lun_options options =
		world_lun_options(w, w->mode, w->store, w->step != NULL ? w->step->seed : 0);
	int err;

	/* Only a store remembers a flush that has failed. */
	if (options.store_path == NULL || access(options.store_path, F_OK) != 0)
		w->flush_broken = w->flush_was_broken = false;
	w->data_write_faults = w->data_write_failures = 0;
	w->meta_read_faults = w->read_failures = 0;
	w->had_doubt = w->any_doubt = world_doubt(w, w->sim, &options, w->doubt);
	w->counts->doubts += w->any_doubt;
	w->unread = 0;
	w->reads_and_writes = false;
	*error = (struct ti_error){ 0 };
	err = ti_lun_open(&options, sim_as_queue(w->sim), sim_as_clock(w->sim), NULL, &w->lun,
			  error);
	if (err != 0)
		w->lun = NULL;
	return err;
}

static void open_lun(struct world *w, char mode)
{
	struct ti_error error;

	w->faults_on = false;
	faults_none(&w->faults);
	w->mode = world_mode_or(w, mode);
	/* First, perhaps, one or two opens that the power does not last for: replay is cut. */
	while (sim_chance(&w->random, 40)) {
		faults_vanish_after(&w->faults, 1 + (unsigned)sim_below(&w->random, 40),
				    w->schedule->shape.store);
		(void)try_open(w, &error);
		faults_none(&w->faults);
		sim_power_cut(w->sim);
		ti_lun_abandon(w->lun);
		world_drop_store(w->store);
	}
	if (try_open(w, &error) != 0)
		violation("open in mode %c: %s", mode, error.text);
}

void world_ask(struct ti_lun *lun, struct ti_request *req)
{
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);

	ti_lun_submit(lun, req);
	for (ti_lun_run(lun, &finished); STAILQ_EMPTY(&finished); ti_lun_run(lun, &finished))
		ti_lun_wait(lun, TI_CLOCK_NEVER);
}

/* Read some blocks.  Returns 0 or the request's error. */
static struct ti_result read_blocks(const struct world *w, struct ti_lun *lun, uint32_t block,
				    uint32_t count, uint8_t *buf)
{
	struct iovec iov = { .iov_base = buf, .iov_len = (size_t)count * w->model.block_size };
	struct ti_request req = { .op = TI_REQ_READ,
				  .sector = (uint64_t)block * w->sectors_per_block,
				  .sectors = (uint64_t)count * w->sectors_per_block,
				  .iov = &iov,
				  .iov_count = 1 };

	world_ask(lun, &req);
	return req.result;
}

void world_read_all(const struct world *w, struct ti_lun *lun,
		    void (*fn)(void *ctx, uint32_t n, const uint8_t *data), void *ctx)
{
	const uint32_t some = 16, size = w->model.block_size;
	uint8_t *buf = aligned_alloc(4096, some * 4096);

	if (buf == NULL)
		abort();
	for (uint32_t n = 0; n < w->model.blocks; n += some) {
		uint32_t count = w->model.blocks - n < some ? w->model.blocks - n : some;
		bool together = read_blocks(w, lun, n, count, buf).err == 0;

		for (uint32_t i = 0; i < count; i++) {
			struct ti_result res = { 0 };

			if (!together)
				res = read_blocks(w, lun, n + i, 1, buf + i * size);
			if (res.err != 0 && res.cause != TI_CAUSE_TAG_MISMATCH)
				violation("block %u cannot be read: %s", n + i,
					  ti_cause_name(res.cause));
			fn(ctx, n + i, res.err == 0 ? buf + i * size : NULL);
		}
	}
	free(buf);
}

bool world_recalculate(struct ti_lun *lun, unsigned turns)
{
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);
	struct ti_lun_stats stats;

	for (;;) {
		ti_lun_run(lun, &finished);
		ti_lun_get_stats(lun, &stats);
		if (!stats.recalculating || turns-- == 0)
			return !stats.recalculating;
		ti_lun_wait(lun, ti_lun_deadline(lun));
		ti_lun_tick(lun);
	}
}

/* --- the steps --- */

static const uint8_t *on_device(const struct world *w, uint32_t n)
{
	return sim_contents(w->sim, TI_DATA) + (size_t)n * w->model.block_size;
}

static void settle_cut(void *ctx, uint32_t n, const uint8_t *data)
{
	struct world *w = ctx;

	w->counts->mismatches += data == NULL;
	model_settle_cut(&w->model, n, model_judge_cut(&w->model, n, data, w->doubt[n]),
			 data != NULL ? data : on_device(w, n), w->doubt[n], w->step->id);
}

static void settle_kill(void *ctx, uint32_t n, const uint8_t *data)
{
	struct world *w = ctx;

	w->counts->mismatches += data == NULL;
	model_settle_kill(&w->model, n, model_judge_kill(&w->model, n, data, w->doubt[n]),
			  data != NULL ? data : on_device(w, n), w->doubt[n], w->step->id);
}

/* A close that failed promises nothing but what was durable before. */
static void settle_close(void *ctx, uint32_t n, const uint8_t *data)
{
	struct world *w = ctx;

	w->counts->mismatches += data == NULL;
	model_settle_kill(&w->model, n, model_judge_cut(&w->model, n, data, w->doubt[n]),
			  data != NULL ? data : on_device(w, n), w->doubt[n], w->step->id);
}

static void power_cut(struct world *w, char mode)
{
	w->counts->cuts++;
	w->lived_on = false;
	sim_power_cut(w->sim);
	forget_requests(w);
	ti_lun_abandon(w->lun);
	/* The store is gone with the machine's memory.  A stale one must do no harm, though. */
	if (w->schedule->shape.store && sim_chance(&w->random, 50))
		world_drop_store(w->store);
	open_lun(w, mode);
	world_read_all(w, w->lun, settle_cut, w);
}

/*
 * The process dies; machine and devices live on.  The initiator knows nothing of it, and its next
 * flush is answered by the successor.
 */
static void kill_process(struct world *w, char mode)
{
	struct ti_error error;

	/* Nobody else remembers what was acknowledged, nor a flush that has failed. */
	if (!w->schedule->shape.store && (w->mode->needs_store || w->flush_broken))
		return;
	w->counts->kills++;
	if (!w->dead)
		sim_kill(w->sim);
	w->dead = false;
	forget_requests(w);
	ti_lun_abandon(w->lun);
	w->faults_on = false;
	faults_none(&w->faults);
	w->mode = world_mode_or(w, mode);
	/* First, perhaps, successors that are killed while they open. */
	while (sim_chance(&w->random, 30)) {
		faults_vanish_after(&w->faults, 1 + (unsigned)sim_below(&w->random, 40),
				    w->schedule->shape.store);
		(void)try_open(w, &error);
		faults_none(&w->faults);
		sim_kill(w->sim);
		ti_lun_abandon(w->lun);
	}
	if (try_open(w, &error) != 0)
		violation("open in mode %c after a kill: %s", mode, error.text);
	world_read_all(w, w->lun, settle_kill, w);
}

/*
 * Whoever has closed it was told that a flush has failed, and opens it again: the machine lives on.
 * The devices' caches hold what was written, and may never get it onto the medium.  The same after
 * a close that went well, while the devices' caches may still hold what was lost before.
 */
static void live_on(struct world *w, char mode, bool told)
{
	struct ti_error error;

	w->counts->lived_on++;
	w->lived_on = true;
	w->mode = world_mode_or(w, mode);
	/* First, perhaps, opens that are killed.  Without a file none of them has a predecessor. */
	while (access(w->store, F_OK) == 0 && sim_chance(&w->random, 30)) {
		faults_vanish_after(&w->faults, 1 + (unsigned)sim_below(&w->random, 40), true);
		(void)try_open(w, &error);
		faults_none(&w->faults);
		sim_kill(w->sim);
		ti_lun_abandon(w->lun);
	}
	if (try_open(w, &error) != 0)
		violation("open in mode %c after a close: %s", mode, error.text);
	world_read_all(w, w->lun, told ? settle_close : settle_kill, w);
	if (told)
		model_lost(&w->model);
}

static void reopen(struct world *w, char mode)
{
	/* Of its own, so that the seeds of before it was there mean what they meant. */
	struct sim_random own = { .state = ~w->step->seed };
	uint32_t *acknowledged = w->op[0].acknowledged;
	int err;

	drain(w);
	/* Nobody has asked for what a recalculation writes back after a flush that failed, also one
	 * of before that the store remembers. */
	if (w->mode->write_errors_reach_writes && !w->reads_and_writes &&
	    !(w->had_doubt && w->flush_was_broken) &&
	    w->data_write_faults != w->data_write_failures)
		violation("%u write errors, %u failed writes", w->data_write_faults,
			  w->data_write_failures);
	/* A recalculation or a scrub may be all that met them. */
	if (w->mode->write_errors_reach_writes && w->meta_read_faults > 0 &&
	    w->read_failures == 0 && !w->had_doubt && !w->schedule->shape.scrub)
		violation("tag read errors vanished");
	w->faults_on = false;
	faults_none(&w->faults);
	w->counts->reopens++;
	err = ti_lun_close(w->lun);
	if (err == 0 && w->flush_broken)
		violation("close succeeded after a failed flush");
	if (err != 0 && !w->flush_broken)
		violation("close failed without a reason: %d", err);
	if (err == 0) {
		model_acknowledged(&w->model, acknowledged);
		model_flushed(&w->model, acknowledged);
	}
	w->flush_broken = false; /* who closes is told */
	/* Without a store nobody remembers. */
	if ((err != 0 || w->lived_on) && w->schedule->shape.store && sim_chance(&own, 50)) {
		live_on(w, mode, err != 0);
		return;
	}
	w->lived_on = false;
	sim_power_cut(w->sim);
	open_lun(w, mode);
	world_read_all(w, w->lun, settle_cut, w);
}

/*
 * Nobody asks for anything, and the ticks write out what is old; then, perhaps, somebody flushes.
 * In some of these times the flush comes at once when something is being written, and nothing else
 * comes after it.
 */
static void quiet_time(struct world *w, const struct step *step)
{
	bool at_once = step->seed % 4 == 0;

	drain(w);
	for (unsigned ticks = 0; ticks < 3; ticks++) {
		wait_for_devices(w);
		sim_advance(w->sim, w->schedule->shape.commit_time_ms * TI_NS_PER_MS);
		ti_lun_tick(w->lun);
		reap(w);
		if (at_once && sim_under_way(w->sim) > 0)
			break;
	}
	if (at_once) {
		submit(w, step, STEP_FLUSH);
		drain(w);
		world_death_off(&w->death);
		world_look(w);
		return;
	}
	/* A recalculation saves how far it is every ten seconds. */
	if (sim_chance(&w->random, 20)) {
		sim_advance(w->sim, 11 * TI_NS_PER_SEC);
		ti_lun_tick(w->lun);
		reap(w);
	}
	if (sim_chance(&w->random, 50)) {
		submit(w, step, STEP_FLUSH);
		drain(w);
	}
}

/*
 * The process dies at some later place.  The step after that is its successor's open, so that what
 * that one finds, and is known by the step's number, is not taken for what the step has written.
 */
static bool die_later(struct world *w, const struct step *step)
{
	/* Of its own, so that the seeds of before it was there mean what they meant. */
	struct sim_random own = { .state = ~step->seed };

	if (!w->schedule->shape.store || !sim_chance(&own, 40))
		return false;
	w->death.in = 1 + (unsigned)sim_below(&own, 60);
	return true;
}

static void choose_faults(struct world *w)
{
	/* Errors of before must not be taken for errors without a fault. */
	drain(w);
	wait_for_devices(w);
	faults_choose(&w->faults, &w->random, w->bytes, ti_clock_now(sim_as_clock(w->sim)));
	w->faults_on = w->faults.rules > 0;
}

static void carry_out(struct world *w, const struct step *step)
{
	switch (step->op) {
	case STEP_WRITE:
	case STEP_WRITE_SAME:
	case STEP_READ:
	case STEP_VERIFY:
	case STEP_FLUSH:
	case STEP_DISCARD:
		submit(w, step, step->op);
		break;
	case STEP_RUN:
		reap(w);
		break;
	case STEP_WAIT:
		if (w->in_flight > 0 && sim_under_way(w->sim) > 0)
			ti_lun_wait(w->lun, ti_lun_deadline(w->lun));
		ti_lun_tick(w->lun);
		break;
	case STEP_QUIET:
		quiet_time(w, step);
		break;
	case STEP_LEAK:
		sim_leak(w->sim, step->fua ? TI_META : TI_DATA,
			 (unsigned)sim_below(&w->random, 101));
		break;
	case STEP_FAULTS:
		choose_faults(w);
		break;
	case STEP_LOOK:
		world_look(w);
		break;
	case STEP_CUT:
		power_cut(w, step->mode);
		break;
	case STEP_KILL:
		if (!die_later(w, step))
			kill_process(w, step->mode);
		break;
	case STEP_REOPEN:
		reopen(w, step->mode);
		break;
	case STEP_OPS:
		abort();
	}
}

static void carry_out_step(void *ctx)
{
	struct world *w = ctx;

	carry_out(w, w->step);
}

/* There, or on the way, the LUN is closed, or others are opened. */
static bool is_no_place_to_die(const struct world *w)
{
	const struct step *last = &w->schedule->step[w->schedule->steps - 1];

	return w->step == last || w->step->op == STEP_LOOK || w->step->op == STEP_CUT ||
	       w->step->op == STEP_KILL || w->step->op == STEP_REOPEN;
}

static void live_or_die(struct world *w)
{
	if (w->dead) {
		kill_process(w, w->step->mode);
		return;
	}
	if (is_no_place_to_die(w))
		world_death_off(&w->death);
	if (!world_death_try(&w->death, carry_out_step, w))
		return;
	w->counts->deaths++;
	w->dead = true;
	sim_kill(w->sim);
}

/* --- beginning and end --- */

static void make_devices(struct world *w)
{
	const struct world_shape *s = &w->schedule->shape;
	const struct ti_format_shape shape = {
		.block_size = s->block_size,
		.tag_size = s->tag_size,
		.salted = s->salted != 0,
		.start_sector = s->start_sector,
		.journal_sectors = s->journal_sectors,
		.sectors_per_bit = s->sectors_per_bit,
		.journal_mac = s->mac != 0,
	};
	struct ti_pair_sizes sizes = {
		.data_sectors = (uint64_t)s->blocks * s->block_size / TI_SECTOR_BYTES,
		.meta_sectors = META_BYTES / TI_SECTOR_BYTES,
		.data_name = "sim-data",
		.meta_name = "sim-meta",
	};
	struct ti_superblock sb;
	struct ti_geometry *geo = &w->geo;
	struct ti_error error = { 0 };
	uint64_t used;

	if (ti_geometry_plan(&shape, &sizes, &sb, geo, &error) != 0)
		violation("plan: %s", error.text);
	if (s->recalculate)
		sb.flags |= TI_SB_RECALCULATING;
	for (uint8_t i = 0; s->salted && i < TI_SALT_BYTES; i++)
		sb.salt[i] = (uint8_t)(i * 37 + 11);
	/* No larger than it must be, for it is copied for each crash state. */
	used = geo->tag_offset + geo->tag_bytes;
	used = (used + (TI_SECTOR_BYTES << geo->log2_buffer_sectors) - 1) & ~(uint64_t)4095;
	used += 4096;
	w->bytes[TI_DATA] = sizes.data_sectors * TI_SECTOR_BYTES;
	w->bytes[TI_META] = used < META_BYTES ? used : META_BYTES;
	w->sim = sim_queue_new(&(struct sim_options){
		.bytes = { w->bytes[TI_DATA], w->bytes[TI_META] },
		.logical_block_size = { s->data_logical, s->meta_logical },
		.unit_bytes = { s->data_unit },
		.fua = { [TI_META] = s->meta_fua != 0 },
		.says_no_cache = { s->data_no_cache != 0, s->meta_no_cache != 0 },
		.discards = s->discards > 1,
		.complete_percent = s->complete_percent,
		.slow_percent = s->slow_percent,
		.fault = fault,
		.watch = watch,
		.ctx = w,
	});
	w->keys = world_keys_new(s);
	world_crew_begin(&w->crew, s);
	world_format(w, &sb);
}

static void begin(struct world *w)
{
	const struct world_shape *s = &w->schedule->shape;

	w->sectors_per_block = s->block_size / TI_SECTOR_BYTES;
	model_init(&w->model, w->schedule);
	for (unsigned i = 0; i < MAX_IN_FLIGHT; i++) {
		w->op[i].acknowledged = calloc(s->blocks, sizeof(uint32_t));
		if (w->op[i].acknowledged == NULL)
			abort();
	}
	w->doubt = calloc(s->blocks, sizeof(*w->doubt));
	if (w->doubt == NULL)
		abort();
	make_devices(w);
	world_drop_store(w->store);
	open_lun(w, s->mode);
	for (uint32_t n = 0; n < s->blocks; n++)
		w->model.block[n].doubt = w->doubt[n];
}

static void end(struct world *w)
{
	reopen(w, w->mode->letter);
	/* A flush of the open may have failed, too. */
	if ((ti_lun_close(w->lun) != 0) != w->flush_broken)
		violation("last close %s", w->flush_broken ? "succeeded" : "failed");
	forget_requests(w);
	for (unsigned i = 0; i < MAX_IN_FLIGHT; i++)
		free(w->op[i].acknowledged);
	free(w->doubt);
	world_keys_free(w->keys);
	model_free(&w->model);
	sim_queue_free(w->sim);
	world_drop_store(w->store);
}

void world_run(const struct schedule *s, const char *store, bool verbose,
	       struct world_counts *counts)
{
	struct world *w = calloc(1, sizeof(*w));
	char text[200];

	if (w == NULL)
		abort();
	w->schedule = s;
	w->store = store;
	w->verbose = verbose;
	w->counts = counts;
	begin(w);
	for (unsigned i = 0; i < s->steps; i++) {
		w->step = &s->step[i];
		if (verbose) {
			step_text(w->step, text, sizeof(text));
			printf("%s\n", text);
		}
		world_at_step(w->step->id);
		w->random.state = w->step->seed;
		sim_reseed(w->sim, ~w->step->seed);
		live_or_die(w);
	}
	world_at_step(UINT32_MAX);
	end(w);
	counts->worlds++;
	free(w);
}
