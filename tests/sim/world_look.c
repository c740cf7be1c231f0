/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What could a power cut, or a kill, at this very moment leave behind?
 *
 * Each state is made on devices of its own, opened by an engine of its own, and judged in full by
 * the world's model; the world itself notices nothing of it and goes on.  Some are cut again while
 * they are opened, up to several times.  What was seen must then last: through another cut, through
 * a clean close, and in any mode.
 */
#include "store_file.h"
#include "world.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim_crash.h"
#include "world_doubt.h"
#include "world_recovery.h"

/* Where there are not more states than this they are counted through. */
#define EXHAUSTIVE 96U

struct look {
	struct world *world;
	struct sim_queue *sim;
	struct faults faults;
	struct ti_lun *lun;
	uint64_t states; /* looked at */
	char store[200];
	bool broken; /* the store says that a flush has failed */
	bool has_store;
	bool flush_failed;
	uint32_t *seen; /* by block: a version's id or SEEN_... */
	uint64_t *sum;	/* by block, of what was seen: it need not be a version's */
	bool *doubt;	/* by block: what the medium said before it was opened */
	bool *settled;	/* by block: what was in doubt at the kill, and is not any more */
};

static int fault(void *ctx, const struct ti_io *io)
{
	struct look *l = ctx;
	int error = faults_hit(&l->faults, &l->world->random, io, 0);

	l->flush_failed |= error != 0 && io->op == TI_IO_FLUSH;
	return error;
}

/* Returns whether there was one. */
static bool copy_file(const char *from_path, const char *to_path)
{
	int from = open(from_path, O_RDONLY | O_CLOEXEC), to;
	uint8_t buf[65536];
	ssize_t n;

	if (from < 0)
		return false;
	to = open(to_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	while (to >= 0 && (n = read(from, buf, sizeof(buf))) > 0)
		if (write(to, buf, (size_t)n) != n)
			abort();
	if (to < 0)
		abort();
	close(from);
	close(to);
	return true;
}

/* Unless it is a kill: the files die with the machine's memory.  Stale ones must do no harm. */
static void copy_store(struct look *l, bool must)
{
	struct world *w = l->world;
	char from[256], to[256];

	world_drop_store(l->store);
	l->has_store = false;
	l->flush_failed = false;
	l->broken = false;
	if (!w->schedule->shape.store || !(must || sim_chance(&w->random, 50)))
		return;
	(void)snprintf(from, sizeof(from), "%s" TI_STORE_JOURNAL, w->store);
	(void)snprintf(to, sizeof(to), "%s" TI_STORE_JOURNAL, l->store);
	(void)copy_file(from, to);
	l->has_store = copy_file(w->store, l->store);
	l->broken = l->has_store && w->flush_broken;
}

static int try_open(struct look *l, const struct world_mode *mode, struct ti_error *error)
{
	struct ti_lun_options options =
		world_lun_options(l->world, mode, l->store, sim_random(&l->world->random));
	int err;

	l->world->counts->doubts += world_doubt(l->world, l->sim, &options, l->doubt);
	*error = (struct ti_error){ 0 };
	err = ti_lun_open(&options, sim_as_queue(l->sim), sim_as_clock(l->sim), NULL, &l->lun,
			  error);
	if (err != 0)
		l->lun = NULL;
	return err;
}

static void cut(struct look *l)
{
	sim_power_cut(l->sim);
	ti_lun_abandon(l->lun);
	l->lun = NULL;
}

static void open_lun(struct look *l, const struct world_mode *mode, const char *when)
{
	struct ti_error error;

	if (try_open(l, mode, &error) != 0)
		violation("open in mode %c %s: %s", mode->letter, when, error.text);
}

static const struct world_mode *any_mode(struct look *l)
{
	const struct world *w = l->world;

	if (sim_chance(&l->world->random, 85))
		return w->mode;
	return world_mode_or(w, world_modes[sim_below(&l->world->random, world_mode_count)].letter);
}

static bool any_doubt(const struct look *l)
{
	return memchr(l->doubt, true, l->world->model.blocks * sizeof(*l->doubt)) != NULL;
}

static uint64_t sum_of(const struct look *l, const uint8_t *data)
{
	uint64_t sum = 0, word;

	for (size_t at = 0; data != NULL && at < l->world->model.block_size; at += sizeof(word)) {
		memcpy(&word, data + at, sizeof(word));
		sum = (sum ^ word) * 0x9e3779b97f4a7c15ULL;
	}
	return sum;
}

static void see(struct look *l, uint32_t n, const uint8_t *data, uint32_t seen)
{
	l->seen[n] = seen;
	l->sum[n] = sum_of(l, data);
}

static void judge_cut(void *ctx, uint32_t n, const uint8_t *data)
{
	struct look *l = ctx;

	see(l, n, data, model_judge_cut(&l->world->model, n, data, l->doubt[n]));
}

static void judge_kill(void *ctx, uint32_t n, const uint8_t *data)
{
	struct look *l = ctx;

	see(l, n, data, model_judge_kill(&l->world->model, n, data, l->doubt[n]));
}

static bool is_as_seen(const struct look *l, uint32_t n, const uint8_t *data)
{
	return data == NULL ? l->seen[n] == SEEN_MISMATCH
			    : l->seen[n] != SEEN_MISMATCH && sum_of(l, data) == l->sum[n];
}

static void judge_same(void *ctx, uint32_t n, const uint8_t *data)
{
	struct look *l = ctx;

	if (is_as_seen(l, n, data))
		return;
	/* Where all tags are to be made anew, so is that one. */
	if (data != NULL && l->seen[n] == SEEN_MISMATCH && l->doubt[n]) {
		see(l, n, data, SEEN_TORN);
		return;
	}
	if (l->seen[n] == SEEN_MISMATCH)
		violation("block %u did not match its tag after a crash, and later it does", n);
	violation("block %u held version %u after a crash, and later %s", n, l->seen[n],
		  data ? "something else" : "its tag does not match");
}

/* The same after a flush, which does not cover what one of before had lost: that may come back, or
 * stay as it was seen, with a tag that has been made of it since. */
static void judge_flushed(void *ctx, uint32_t n, const uint8_t *data)
{
	struct look *l = ctx;

	if (model_is_lost(&l->world->model, n, l->seen[n]) && !is_as_seen(l, n, data))
		judge_cut(ctx, n, data);
	else
		judge_same(ctx, n, data);
}

/* After a kill and a power cut.  Where the doubt has gone meanwhile, what was seen is durable. */
static void judge_cut_after_kill(void *ctx, uint32_t n, const uint8_t *data)
{
	struct look *l = ctx;

	if (l->settled[n] && !l->doubt[n])
		judge_flushed(ctx, n, data);
	else
		judge_cut(ctx, n, data);
}

/* Time passes, and bits that are not needed any more go. */
static void let_bits_go(struct look *l)
{
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);

	for (unsigned ticks = 0; ticks < 3; ticks++) {
		sim_advance(l->sim, l->world->schedule->shape.commit_time_ms * TI_NS_PER_MS);
		ti_lun_tick(l->lun);
		ti_lun_run(l->lun, &finished);
		while (sim_under_way(l->sim) > 0) {
			ti_lun_wait(l->lun, TI_CLOCK_NEVER);
			ti_lun_run(l->lun, &finished);
		}
	}
}

/*
 * Recalculation goes on for a while; if it ends, every tag is looked at, and after that no doubt is
 * left, not even after a power cut.  It changes nothing that a read returns.
 */
static void recalculate(struct look *l, const struct world_mode *mode)
{
	struct world *w = l->world;
	bool whole = sim_chance(&w->random, 50);
	const struct ti_lun_options plain = world_lun_options(w, mode, NULL, 0);

	if (!world_recalculate(l->lun, whole ? 100000 : (unsigned)sim_below(&w->random, 30))) {
		if (whole && !l->broken)
			violation("recalculation does not end");
		return;
	}
	w->counts->recalculations++;
	world_read_all(w, l->lun, judge_same, l);
	if (l->broken)
		return;
	if (mode->marks)
		let_bits_go(l);
	cut(l);
	if (world_doubt(w, l->sim, &plain, l->doubt))
		violation("all is recalculated in mode %c, and the medium does not say so",
			  mode->letter);
	open_lun(l, any_mode(l), "after a recalculation and a cut");
	world_read_all(w, l->lun, judge_same, l);
}

/* What was seen lasts. */
static void see_again(struct look *l)
{
	struct world *w = l->world;

	w->counts->opened_again++;
	if (sim_chance(&w->random, 50)) {
		cut(l);
		open_lun(l, any_mode(l), "after two cuts");
	} else {
		if ((ti_lun_close(l->lun) != 0) != l->broken)
			violation("close after a crash: %s",
				  l->broken ? "a failed flush is forgotten" : "failed");
		sim_power_cut(l->sim);
		open_lun(l, any_mode(l), "after a crash and a close");
	}
	world_read_all(w, l->lun, judge_same, l);
}

/* Some are looked at in mode recovery first.  It takes no random number of the world's. */
static void recover(struct look *l)
{
	const struct world *w = l->world;
	uint64_t seed = w->step->seed + l->states++;

	if (seed % 8 == 0)
		world_recovery(w, l->sim, l->has_store ? l->store : NULL, seed / 8);
}

static void count_state(struct look *l, const struct world_mode *mode)
{
	l->world->counts->states++;
	l->world->counts->states_by_mode[mode - world_modes]++;
}

/* l->sim is as a power cut left it. */
static void check_cut(struct look *l)
{
	struct world *w = l->world;
	const struct world_mode *mode = any_mode(l);
	struct ti_error error;

	copy_store(l, false);
	recover(l);
	while (sim_chance(&w->random, 25)) {
		faults_vanish_after(&l->faults, 1 + (unsigned)sim_below(&w->random, 40),
				    l->has_store);
		(void)try_open(l, mode, &error);
		faults_none(&l->faults);
		cut(l);
		world_drop_store(l->store);
		l->broken = false;
		w->counts->cut_again++;
	}
	open_lun(l, mode, "after a power cut");
	world_read_all(w, l->lun, judge_cut, l);
	model_judge_atomic(&w->model, l->seen);
	if (any_doubt(l) && sim_chance(&w->random, 60))
		recalculate(l, mode);
	if (sim_chance(&w->random, 25))
		see_again(l);
	cut(l);
	count_state(l, mode);
}

/* Returns whether it succeeded.  A flush that has failed is not forgotten by the successor. */
static bool flush(struct look *l)
{
	struct ti_request req = { .op = TI_REQ_FLUSH };

	world_ask(l->lun, &req);
	if (req.result.err != 0 && !l->broken)
		violation("flush after a kill failed: %s", ti_cause_name(req.result.cause));
	if (req.result.err == 0 && l->broken)
		violation("flush after a kill succeeded, and one before it had failed");
	return req.result.err == 0;
}

/* The process dies, its successor answers the initiator's flush or not, then the power goes. */
static void check_kill(struct look *l)
{
	struct world *w = l->world;
	const struct world_mode *mode = any_mode(l);
	bool flushed = sim_chance(&w->random, 60);

	sim_copy(l->sim, w->sim);
	sim_reseed(l->sim, sim_random(&w->random));
	sim_kill(l->sim);
	copy_store(l, true);
	recover(l);
	while (sim_chance(&w->random, 25)) {
		struct ti_error error;

		faults_vanish_after(&l->faults, 1 + (unsigned)sim_below(&w->random, 40),
				    l->has_store);
		(void)try_open(l, any_mode(l), &error);
		faults_none(&l->faults);
		sim_kill(l->sim);
		ti_lun_abandon(l->lun);
		l->lun = NULL;
	}
	/* A flush of the successor's may have lost what the dead one had acknowledged. */
	l->broken |= l->has_store && l->flush_failed;
	open_lun(l, mode, "after a kill");
	world_read_all(w, l->lun, judge_kill, l);
	model_judge_atomic(&w->model, l->seen);
	if (any_doubt(l) && sim_chance(&w->random, 50))
		world_recalculate(l->lun, (unsigned)sim_below(&w->random, 30));
	flushed = flushed && flush(l);
	memcpy(l->settled, l->doubt, w->model.blocks * sizeof(*l->doubt));
	cut(l);
	world_drop_store(l->store);
	l->broken = false;
	open_lun(l, mode, "after a kill and a power cut");
	world_read_all(w, l->lun, flushed ? judge_flushed : judge_cut_after_kill, l);
	cut(l);
	count_state(l, mode);
}

static void look_at_cuts(struct look *l)
{
	struct world *w = l->world;
	struct sim_crash *crash = sim_crash_new(w->sim);
	uint64_t states = sim_crash_states(crash);
	uint32_t looks = w->schedule->shape.looks;

	if (states <= EXHAUSTIVE && looks * 4 >= states) {
		w->counts->exhaustive++;
		for (uint64_t n = 0; n < states; n++) {
			sim_crash_make(crash, n, l->sim);
			check_cut(l);
		}
	} else {
		for (uint32_t n = 0; n < looks; n++) {
			sim_crash_sample(crash, &w->random, l->sim);
			check_cut(l);
		}
	}
	sim_crash_free(crash);
}

void world_look(struct world *w)
{
	const struct world_shape *s = &w->schedule->shape;
	struct look l = { .world = w };

	w->counts->looks++;
	(void)snprintf(l.store, sizeof(l.store), "%s-look", w->store);
	l.seen = calloc(w->model.blocks, sizeof(*l.seen));
	l.sum = calloc(w->model.blocks, sizeof(*l.sum));
	l.doubt = calloc(w->model.blocks, sizeof(*l.doubt));
	l.settled = calloc(w->model.blocks, sizeof(*l.settled));
	if (!l.seen || !l.sum || !l.doubt || !l.settled)
		abort();
	l.sim = sim_queue_new(&(struct sim_options){
		.seed = w->step->seed,
		.bytes = { w->bytes[TI_DATA], w->bytes[TI_META] },
		.logical_block_size = { s->data_logical, s->meta_logical },
		.unit_bytes = { s->data_unit },
		.fua = { [TI_META] = s->meta_fua != 0 },
		.says_no_cache = { s->data_no_cache != 0, s->meta_no_cache != 0 },
		.discards = s->discards > 1,
		.complete_percent = s->complete_percent,
		.fault = fault,
		.ctx = &l,
	});
	look_at_cuts(&l);
	/* Without a store nobody remembers a flush that has failed. */
	if (s->store || (!w->flush_broken && !w->mode->needs_store))
		for (uint32_t n = 0; n < (s->looks + 3) / 4; n++)
			check_kill(&l);
	world_drop_store(l.store);
	sim_queue_free(l.sim);
	free(l.seen);
	free(l.sum);
	free(l.doubt);
	free(l.settled);
}
