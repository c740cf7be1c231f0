/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Random requests, errors and power cuts against mode direct, checked by a model.
 *
 * The model keeps, for each block, its versions since the last one that is known durable.  From the
 * API's promises follows what may be seen:
 *  - a read returns exactly the version of the last overlapping write submitted before it, unless
 *    that write failed; then an older one, or a tag mismatch at a block where that is so;
 *  - after a power cut a block holds the durable version or a later one, or its tag does not match;
 *    it is exact if nothing was written to it after the last flush that covered it;
 *  - after a failed flush no flush succeeds; no request hangs; no write error vanishes.
 *
 * Usage: sim_direct [--seed N] [--seeds COUNT] [--steps N] [--seconds N] [-v]
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lun.h"
#include "sim_format.h"
#include "sim_queue.h"

#define MAX_BLOCKS    1500U
#define MAX_IN_FLIGHT 40U

enum status { IN_FLIGHT, DONE, FAILED, BAD /* data and tag apart since a cut */ };

struct version {
	uint32_t id; /* 0: as formatted */
	enum status status;
	bool fua; /* lets its range go before it comes back */
};

struct block {
	struct version *v; /* v[0] is durable */
	unsigned count, room;
};

struct op {
	struct ti_request req;
	bool busy;
	uint32_t id; /* of a write; for a read, the newest version it may see */
	bool same;
	uint8_t *memory, *buf;
	struct iovec iov[64];
	uint32_t snapshot[MAX_BLOCKS]; /* flush: newest DONE version of each block */
};

struct world {
	uint64_t seed;
	unsigned step;
	struct sim_random random;
	struct sim_queue *sim;
	struct ti_lun *lun;
	struct ti_lun_options lun_options;
	struct ti_format_shape shape;
	uint32_t spb, blocks;
	struct block block[MAX_BLOCKS];
	uint8_t *same; /* [id]: was it a WRITE SAME? */
	size_t same_room;
	uint32_t next_id;
	struct op op[MAX_IN_FLIGHT];
	unsigned in_flight, max_in_flight;

	unsigned fault_percent[TI_DEVICES][4]; /* by ti_io_op */
	bool faults_on;
	unsigned vanish_after; /* I/Os until both devices are gone; 0: they stay */
	bool journal;	       /* mode journal */
	unsigned data_write_faults, data_write_failures, meta_read_faults, meta_read_failures;
	bool flush_broken; /* a flush has failed since the LUN was opened */
	bool was_broken;   /* before the run that is being judged */
	bool verbose;
	char store[64]; /* file of unwritten tags, or none */

	uint64_t cuts, kills, reads, writes, flushes, mismatches, faults;
};

static struct world *the_world; /* for violation(): which run was it? */

static void violation(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

static void violation(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fprintf(stderr, "sim_direct: VIOLATION at seed %" PRIu64 " step %u: ", the_world->seed,
		the_world->step);
	vfprintf(stderr, fmt, args);
	fprintf(stderr, "\nrepeat: sim_direct --seed %" PRIu64 " --seeds 1 -v\n", the_world->seed);
	va_end(args);
	exit(1);
}

static void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (p == NULL)
		abort();
	return p;
}

static void content(const struct world *w, uint32_t block, uint32_t id, uint8_t *out)
{
	size_t size = w->shape.block_size;
	struct sim_random r = { .state = ((uint64_t)id << 32) ^
					 (w->same[id] ? 0xffffffffU : block) };

	if (id == 0) {
		memset(out, 0, size);
		return;
	}
	for (size_t at = 0; at < size; at += 8) {
		uint64_t x = sim_random(&r);

		memcpy(out + at, &x, 8);
	}
}

static bool holds(const struct world *w, const uint8_t *data, uint32_t block, uint32_t id)
{
	uint8_t expect[4096];

	content(w, block, id, expect);
	return memcmp(data, expect, w->shape.block_size) == 0;
}

static void add_version(struct block *b, uint32_t id, enum status status, bool fua)
{
	if (b->count == b->room) {
		b->room = b->room ? b->room * 2 : 4;
		b->v = realloc(b->v, b->room * sizeof(*b->v));
		if (b->v == NULL)
			abort();
	}
	b->v[b->count++] = (struct version){ .id = id, .status = status, .fua = fua };
}

static void set_versions(struct block *b, uint32_t id, enum status status)
{
	b->count = 0;
	add_version(b, id, status, false);
}

static void set_status(struct world *w, const struct op *op, enum status status)
{
	uint32_t first = (uint32_t)(op->req.sector / w->spb);

	for (uint32_t n = 0; n < op->req.sectors / w->spb; n++) {
		struct block *b = &w->block[first + n];

		for (unsigned i = 0; i < b->count; i++)
			if (b->v[i].id == op->id)
				b->v[i].status = status;
	}
}

/* Version @id of a block is durable: forget what is older. */
static void durable(struct block *b, uint32_t id)
{
	for (unsigned i = 0; i < b->count; i++) {
		if (b->v[i].id != id)
			continue;
		memmove(b->v, b->v + i, (b->count - i) * sizeof(*b->v));
		b->count -= i;
		return;
	}
	/* Not there: an even newer one is durable already. */
}

static int fault(void *ctx, const struct ti_io *io)
{
	struct world *w = ctx;

	if (w->vanish_after > 0 && (w->vanish_after == 1 || --w->vanish_after == 1))
		return -ENODEV;
	if (!w->faults_on || !sim_chance(&w->random, w->fault_percent[io->dev][io->op]))
		return 0;
	w->faults++;
	if (io->dev == TI_DATA && io->op == TI_IO_WRITE)
		w->data_write_faults++;
	if (io->dev == TI_META && io->op == TI_IO_READ)
		w->meta_read_faults++;
	if (io->op == TI_IO_FLUSH)
		w->flush_broken = true;
	return -EIO;
}

static void make_memory(struct world *w, struct op *op, size_t len)
{
	size_t off = sim_chance(&w->random, 15) ? 1 + sim_below(&w->random, 300) : 0, at = 0;
	size_t unit = w->shape.block_size > 512 && off == 0 ? w->shape.block_size : 512;
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

static uint32_t new_version(struct world *w, bool same)
{
	if (w->next_id + 1 >= w->same_room) {
		w->same_room *= 2;
		w->same = realloc(w->same, w->same_room);
		if (w->same == NULL)
			abort();
	}
	w->same[++w->next_id] = same;
	return w->next_id;
}

static void submit_write(struct world *w, struct op *op, uint32_t first, uint32_t count)
{
	op->same = sim_chance(&w->random, 15);
	op->req.op = op->same ? TI_REQ_WRITE_SAME : TI_REQ_WRITE;
	op->req.flags = sim_chance(&w->random, 15) ? TI_REQ_FUA : 0;
	op->id = new_version(w, op->same);
	make_memory(w, op, (size_t)(op->same ? 1 : count) * w->shape.block_size);
	for (uint32_t n = 0; n < count; n++) {
		if (!op->same || n == 0)
			content(w, first + n, op->id, op->buf + (size_t)n * w->shape.block_size);
		add_version(&w->block[first + n], op->id, IN_FLIGHT, op->req.flags != 0);
	}
}

static void submit_flush(struct world *w, struct op *op)
{
	op->req.op = TI_REQ_FLUSH;
	op->req.sectors = 0;
	for (uint32_t n = 0; n < w->blocks; n++) {
		const struct block *b = &w->block[n];

		op->snapshot[n] = UINT32_MAX;
		for (unsigned i = 0; i < b->count; i++)
			if (b->v[i].status == DONE)
				op->snapshot[n] = b->v[i].id;
	}
}

/* There is one: max_in_flight is not more than there are. */
static struct op *new_op(struct world *w)
{
	struct op *op = w->op;

	while (op->busy)
		op++;
	memset(&op->req, 0, sizeof(op->req));
	op->busy = true;
	op->memory = NULL;
	op->req.owner = op;
	w->in_flight++;
	return op;
}

static void submit_random(struct world *w)
{
	unsigned dice = (unsigned)sim_below(&w->random, 100);
	uint32_t max = sim_chance(&w->random, 20) ? w->blocks : 8;
	uint32_t first = (uint32_t)sim_below(&w->random, w->blocks);
	uint32_t count = 1 + (uint32_t)sim_below(&w->random, max);
	struct op *op = new_op(w);

	if (count > w->blocks - first)
		count = w->blocks - first;
	op->req.sector = (uint64_t)first * w->spb;
	op->req.sectors = (uint64_t)count * w->spb;
	op->id = w->next_id;
	if (dice < 45) {
		submit_write(w, op, first, count);
	} else if (dice < 80) {
		op->req.op = TI_REQ_READ;
		make_memory(w, op, (size_t)count * w->shape.block_size);
	} else if (dice < 88) {
		op->req.op = TI_REQ_VERIFY;
	} else {
		submit_flush(w, op);
	}
	ti_lun_submit(w->lun, &op->req);
}

/*
 * Judge block @n as seen by a read that may see versions up to @newest.  @data NULL: the read said
 * that the tag does not match.
 */
static void judge(struct world *w, uint32_t n, uint32_t newest, const uint8_t *data)
{
	const struct block *b = &w->block[n];
	int i = (int)b->count - 1;

	while (i >= 0 && b->v[i].id > newest)
		i--;
	if (i < 0)
		return; /* a newer write is durable already and older ones forgotten: cannot be */
	for (; i >= 0; i--) {
		if (b->v[i].status == IN_FLIGHT && !b->v[i].fua)
			violation("block %u: read overtook write %u", n, b->v[i].id);
		if (b->v[i].status == BAD) {
			if (data == NULL)
				return;
			violation("block %u is good though its tag was wrong", n);
		}
		if (data == NULL && b->v[i].status == FAILED)
			return;
		if (data != NULL && holds(w, data, n, b->v[i].id))
			return;
		if (b->v[i].status != FAILED)
			break;
	}
	violation("block %u: %s, newest version %u", n,
		  data ? "wrong data without an error" : "tag mismatch without a reason", newest);
}

static void check_read(struct world *w, struct op *op)
{
	uint32_t first = (uint32_t)(op->req.sector / w->spb);
	const struct ti_result *res = &op->req.result;

	w->reads++;
	if (res->err == 0) {
		for (uint32_t n = 0; op->req.op == TI_REQ_READ && n < op->req.sectors / w->spb; n++)
			judge(w, first + n, op->id, op->buf + (size_t)n * w->shape.block_size);
		return;
	}
	if (res->sector < op->req.sector || res->sector >= op->req.sector + op->req.sectors)
		violation("error at sector %" PRIu64 " outside of the request", res->sector);
	if (res->cause == TI_CAUSE_TAG_MISMATCH) {
		w->mismatches++;
		if (w->journal)
			violation("tag mismatch at sector %" PRIu64 " in mode journal",
				  res->sector);
		judge(w, (uint32_t)(res->sector / w->spb), op->id, NULL);
	} else if (!w->faults_on) {
		violation("read failed without a fault: %s", ti_cause_name(res->cause));
	}
	w->meta_read_failures++; /* both devices may have failed: any cause will do */
}

static void check_write(struct world *w, struct op *op)
{
	uint32_t first = (uint32_t)(op->req.sector / w->spb);
	const struct ti_result *res = &op->req.result;
	bool flush_failed = res->cause == TI_CAUSE_DATA_FLUSH || res->cause == TI_CAUSE_META_FLUSH;

	w->writes++;
	if (res->err != 0 && !w->faults_on && !w->flush_broken)
		violation("write failed without a fault: %s", ti_cause_name(res->cause));
	if (res->cause == TI_CAUSE_DATA_IO)
		w->data_write_failures++;
	if (res->err != 0)
		w->meta_read_failures++;
	/* A write whose flush failed is complete, but not durable.  META_IO may be either. */
	set_status(w, op, res->err == 0 || (flush_failed && !w->journal) ? DONE : FAILED);
	if (res->err != 0 || !(op->req.flags & TI_REQ_FUA))
		return;
	if (w->was_broken)
		violation("FUA write succeeded after a failed flush");
	for (uint32_t n = 0; n < op->req.sectors / w->spb; n++)
		durable(&w->block[first + n], op->id);
}

static void check_flush(struct world *w, struct op *op)
{
	w->flushes++;
	if (op->req.result.err != 0) {
		if (!w->faults_on && !w->flush_broken)
			violation("flush failed without a fault");
		return;
	}
	if (w->was_broken)
		violation("flush succeeded after a failed one");
	for (uint32_t n = 0; n < w->blocks; n++)
		if (op->snapshot[n] != UINT32_MAX)
			durable(&w->block[n], op->snapshot[n]);
}

static void reap(struct world *w)
{
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);
	struct ti_request *req;

	w->was_broken = w->flush_broken;
	ti_lun_run(w->lun, &finished);
	while ((req = STAILQ_FIRST(&finished)) != NULL) {
		struct op *op = req->owner;

		STAILQ_REMOVE_HEAD(&finished, link);
		if (!op->busy)
			violation("a request came back twice");
		op->busy = false;
		w->in_flight--;
		if (req->op == TI_REQ_FLUSH)
			check_flush(w, op);
		else if (req->op == TI_REQ_READ || req->op == TI_REQ_VERIFY)
			check_read(w, op);
		else
			check_write(w, op);
		free(op->memory);
		op->memory = NULL;
	}
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

static int try_open(struct world *w, struct ti_error *error)
{
	/* Only a store remembers a flush that has failed. */
	if (w->lun_options.store_path == NULL || access(w->lun_options.store_path, F_OK) != 0)
		w->flush_broken = false;
	w->data_write_faults = w->data_write_failures = 0;
	w->meta_read_faults = w->meta_read_failures = 0;
	*error = (struct ti_error){ 0 };
	return ti_lun_open(&w->lun_options, sim_as_queue(w->sim), sim_as_clock(w->sim), NULL,
			   &w->lun, error);
}

/* Nobody asks for anything, and the ticks write out what is old; then, perhaps, somebody flushes.
 */
static void quiet_time(struct world *w)
{
	struct op *op;

	drain(w);
	for (unsigned ticks = 0; ticks < 3; ticks++) {
		while (sim_under_way(w->sim) > 0) {
			ti_lun_wait(w->lun, TI_CLOCK_NEVER);
			reap(w);
		}
		sim_advance(w->sim, w->lun_options.commit_time_ms * TI_NS_PER_MS);
		ti_lun_tick(w->lun);
		reap(w);
	}
	if (sim_chance(&w->random, 50)) {
		op = new_op(w);
		submit_flush(w, op);
		ti_lun_submit(w->lun, &op->req);
		drain(w);
	}
}

static void open_lun(struct world *w)
{
	struct ti_error error;

	/* First, perhaps, one or two opens that the power does not last for: replay is cut. */
	while (w->journal && sim_chance(&w->random, 40)) {
		w->vanish_after = 2 + (unsigned)sim_below(&w->random, 40);
		if (try_open(w, &error) != 0)
			w->lun = NULL;
		w->vanish_after = 0;
		sim_power_cut(w->sim);
		ti_lun_abandon(w->lun);
	}
	if (try_open(w, &error) != 0)
		violation("open: %s", error.text);
}

/* Read one block at rest.  Returns 0 or the request's error. */
static struct ti_result read_block(struct world *w, uint32_t n, uint8_t *buf)
{
	struct iovec iov = { .iov_base = buf, .iov_len = w->shape.block_size };
	struct ti_request req = { .op = TI_REQ_READ,
				  .sector = (uint64_t)n * w->spb,
				  .sectors = w->spb,
				  .iov = &iov,
				  .iov_count = 1 };
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);

	ti_lun_submit(w->lun, &req);
	for (ti_lun_run(w->lun, &finished); STAILQ_EMPTY(&finished); ti_lun_run(w->lun, &finished))
		ti_lun_wait(w->lun, TI_CLOCK_NEVER);
	return req.result;
}

/* After a cut or a close: every block is one that it may be; what is there now is the durable one.
 */
static void check_medium(struct world *w)
{
	uint8_t *buf = aligned_alloc(4096, 4096);

	if (buf == NULL)
		abort();
	for (uint32_t n = 0; n < w->blocks; n++) {
		struct block *b = &w->block[n];
		bool exact = b->count == 1;
		struct ti_result res = read_block(w, n, buf);
		unsigned i = b->count;

		if (res.err != 0 && res.cause != TI_CAUSE_TAG_MISMATCH)
			violation("block %u cannot be read after a cut: %s", n,
				  ti_cause_name(res.cause));
		if (res.err != 0 && w->journal)
			violation("block %u: tag mismatch in mode journal", n);
		if (res.err != 0) {
			if (exact && b->v[0].status != BAD)
				violation("block %u: durable version %u does not match its tag", n,
					  b->v[0].id);
			w->mismatches++;
			set_versions(b, b->v[0].id, BAD);
			continue;
		}
		while (i > 0 && !(holds(w, buf, n, b->v[i - 1].id) && b->v[i - 1].status != BAD))
			i--;
		if (i == 0)
			violation("block %u: none of the %u versions since %u, and no error", n,
				  b->count, b->v[0].id);
		set_versions(b, b->v[i - 1].id, DONE);
	}
	free(buf);
}

static void forget_requests(struct world *w)
{
	for (unsigned i = 0; i < MAX_IN_FLIGHT; i++) {
		w->op[i].busy = false;
		free(w->op[i].memory);
		w->op[i].memory = NULL;
	}
	w->in_flight = 0;
}

static void power_cut(struct world *w)
{
	w->cuts++;
	sim_power_cut(w->sim);
	forget_requests(w);
	ti_lun_abandon(w->lun);
	/* The store is gone with the machine's memory.  A stale one must do no harm, though. */
	if (w->lun_options.store_path != NULL && sim_chance(&w->random, 50))
		unlink(w->lun_options.store_path);
	w->faults_on = false;
	open_lun(w);
	check_medium(w);
}

/*
 * The runner is killed; machine and devices live on.  Every write that was acknowledged must be
 * there, with its tag, flushed or not: the initiator knows nothing of the kill, and its next flush
 * will be answered.  Only blocks of writes under way may be of any version, or not match.
 *
 * In mode journal the process's memory is the volatile cache, and a kill is like a power cut: what
 * was flushed is there, what was only acknowledged may be gone, and every tag matches.
 */
static void runner_killed(struct world *w)
{
	uint8_t *buf = aligned_alloc(4096, 4096);

	if (buf == NULL)
		abort();
	w->kills++;
	sim_kill(w->sim);
	forget_requests(w);
	ti_lun_abandon(w->lun);
	w->faults_on = false;
	open_lun(w);
	if (w->journal) {
		check_medium(w);
		free(buf);
		return;
	}
	for (uint32_t n = 0; n < w->blocks; n++) {
		struct block *b = &w->block[n];
		struct ti_result res = read_block(w, n, buf);
		unsigned i = b->count;

		if (res.err != 0 && res.cause != TI_CAUSE_TAG_MISMATCH)
			violation("block %u cannot be read after a kill: %s", n,
				  ti_cause_name(res.cause));
		if (res.err != 0 && b->v[i - 1].status == DONE)
			violation("block %u: the tag of acknowledged version %u is lost", n,
				  b->v[i - 1].id);
		/* From the newest version back to the newest acknowledged one. */
		while (res.err == 0 &&
		       (b->v[i - 1].status == BAD || !holds(w, buf, n, b->v[i - 1].id)))
			if (b->v[--i].status == DONE || i == 0)
				violation("block %u: acknowledged version %u is lost", n,
					  b->v[i].id);
		/* Not durable: the devices' caches may hold it still. */
		if (res.err != 0)
			add_version(b, b->v[b->count - 1].id, BAD, false);
	}
	free(buf);
	for (uint32_t n = 0; n < w->blocks; n++)
		for (unsigned i = 0; i < w->block[n].count; i++)
			if (w->block[n].v[i].status == IN_FLIGHT)
				w->block[n].v[i].status = FAILED;
}

static void close_and_open(struct world *w)
{
	int err;

	drain(w);
	if (!w->journal && w->data_write_faults != w->data_write_failures)
		violation("%u write errors, %u failed writes", w->data_write_faults,
			  w->data_write_failures);
	if (!w->journal && w->meta_read_faults > 0 && w->meta_read_failures == 0)
		violation("tag read errors vanished");
	w->faults_on = false;
	err = ti_lun_close(w->lun);
	if (err == 0 && w->flush_broken)
		violation("close succeeded after a failed flush");
	if (err != 0 && !w->flush_broken)
		violation("close failed without a reason: %d", err);
	for (uint32_t n = 0; err == 0 && n < w->blocks; n++) {
		struct block *b = &w->block[n];

		for (unsigned i = b->count; i-- > 0;) {
			if (b->v[i].status == DONE) {
				durable(b, b->v[i].id);
				break;
			}
		}
	}
	w->flush_broken = false; /* who closes is told */
	sim_power_cut(w->sim);
	open_lun(w);
	check_medium(w);
}

static void set_faults(struct world *w)
{
	memset(w->fault_percent, 0, sizeof(w->fault_percent));
	w->faults_on = sim_chance(&w->random, 50);
	for (int dev = 0; dev < TI_DEVICES; dev++)
		for (int op = 0; op < 3; op++)
			if (sim_chance(&w->random, 30))
				w->fault_percent[dev][op] =
					sim_chance(&w->random, 20)
						? 100
						: (unsigned)1 + (unsigned)sim_below(&w->random, 30);
}

static void make_world(struct world *w, uint64_t seed, char mode)
{
	static const uint32_t block_size[] = { 512, 512, 1024, 2048, 4096, 4096 };
	static const uint32_t tag_size[] = { 4, 4, 4, 7, 8, 20, 40 };
	static const uint64_t start[] = { 0, 0, 8, 24 };
	struct sim_options o = { .seed = seed ^ 0x5eed, .fault = fault, .ctx = w };
	struct ti_pair_sizes sizes = { .data_name = "sim-data", .meta_name = "sim-meta" };
	struct ti_superblock sb;
	struct ti_geometry geo;
	struct ti_error error = { 0 };

	memset(w, 0, sizeof(*w));
	the_world = w;
	w->seed = seed;
	w->random.state = seed;
	w->same_room = 1024;
	w->same = xcalloc(1, w->same_room);
	w->shape.block_size = block_size[sim_below(&w->random, 6)];
	w->shape.tag_size = tag_size[sim_below(&w->random, 7)];
	w->shape.salted = sim_chance(&w->random, 50);
	w->shape.start_sector = start[sim_below(&w->random, 4)];
	w->journal = mode == 'J' || (mode == 0 && sim_chance(&w->random, 50));
	w->shape.journal_sectors = sim_below(&w->random, 1000);
	w->blocks = 16 + (uint32_t)sim_below(&w->random, 500);
	if (sim_chance(&w->random, 40)) {
		/* A tag area of more lines than the smallest cache has: lines come and go. */
		w->shape.tag_size = 100 + (uint32_t)sim_below(&w->random, 156);
		w->blocks = MAX_BLOCKS;
		if (w->shape.block_size > 1024)
			w->shape.block_size = 512;
	}
	w->spb = w->shape.block_size / TI_SECTOR_BYTES;
	o.bytes[TI_DATA] = (uint64_t)w->blocks * w->shape.block_size;
	o.bytes[TI_META] = 2U << 20;
	o.complete_percent = 5 + (unsigned)sim_below(&w->random, 95);
	if (w->shape.block_size >= 4096 && w->shape.start_sector % 8 == 0 &&
	    sim_chance(&w->random, 30))
		o.logical_block_size[TI_META] = 4096;
	w->sim = sim_queue_new(&o);
	sizes.data_sectors = o.bytes[TI_DATA] / TI_SECTOR_BYTES;
	sizes.meta_sectors = o.bytes[TI_META] / TI_SECTOR_BYTES;
	if (ti_geometry_plan(&w->shape, &sizes, &sb, &geo, &error) != 0)
		violation("plan: %s", error.text);
	if (w->shape.salted)
		for (int i = 0; i < TI_SALT_BYTES; i++)
			sb.salt[i] = (uint8_t)sim_random(&w->random);
	sim_format(w->sim, &sb, &geo);
	w->lun_options = (struct ti_lun_options){
		.mode = w->journal ? TI_MODE_JOURNAL : TI_MODE_DIRECT,
		.journal_watermark = 1 + (unsigned)sim_below(&w->random, 99),
		.start_sector = w->shape.start_sector,
		.cache_bytes = 1,
		.queue_depth = 1 + (unsigned)sim_below(&w->random, 32),
		.max_part_bytes = w->shape.block_size << sim_below(&w->random, 6),
		.bounce_buffers = 1 + (unsigned)sim_below(&w->random, 3),
		.commit_time_ms = 1 + (unsigned)sim_below(&w->random, 3),
	};
	if (sim_chance(&w->random, 60)) {
		snprintf(w->store, sizeof(w->store), "./sim-store-%d", (int)getpid());
		unlink(w->store);
		w->lun_options.store_path = w->store;
	}
	w->max_in_flight = 1 + (unsigned)sim_below(&w->random, MAX_IN_FLIGHT);
	for (uint32_t n = 0; n < w->blocks; n++)
		set_versions(&w->block[n], 0, DONE);
	open_lun(w);
}

static void run_world(struct world *w, unsigned steps)
{
	for (w->step = 0; w->step < steps; w->step++) {
		if (w->in_flight < w->max_in_flight && sim_chance(&w->random, 70))
			submit_random(w);
		if (sim_chance(&w->random, 50))
			reap(w);
		if (sim_chance(&w->random, 30)) {
			if (w->in_flight > 0 && sim_under_way(w->sim) > 0)
				ti_lun_wait(w->lun, TI_CLOCK_NEVER);
			ti_lun_tick(w->lun);
		}
		if (sim_chance(&w->random, 1)) {
			/* Errors of before must not be taken for errors without a fault. */
			drain(w);
			while (sim_under_way(w->sim) > 0) {
				ti_lun_wait(w->lun, TI_CLOCK_NEVER);
				reap(w);
			}
			set_faults(w);
		}
		if (sim_below(&w->random, 250) == 0)
			quiet_time(w);
		if (sim_below(&w->random, 100) == 0)
			power_cut(w);
		if (w->lun_options.store_path != NULL && sim_below(&w->random, 250) == 0)
			runner_killed(w);
		if (sim_below(&w->random, 500) == 0)
			close_and_open(w);
	}
	close_and_open(w);
	drain(w);
	if (ti_lun_close(w->lun) != 0)
		violation("last close failed");
}

static void free_world(struct world *w)
{
	for (uint32_t n = 0; n < MAX_BLOCKS; n++)
		free(w->block[n].v);
	free(w->same);
	if (w->lun_options.store_path != NULL)
		unlink(w->lun_options.store_path);
	sim_queue_free(w->sim);
}

int main(int argc, char **argv)
{
	static struct world w;
	uint64_t seed = 1, seeds = 100, cuts = 0, kills = 0, reads = 0, writes = 0, flushes = 0,
		 bad = 0, faults = 0, done = 0;
	unsigned steps = 2000, seconds = 0;
	bool verbose = false;
	char mode = 0;
	time_t start = time(NULL);

	for (int i = 1; i < argc; i++) {
		bool more = i + 1 < argc;

		if (strcmp(argv[i], "--seed") == 0 && more)
			seed = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--seeds") == 0 && more)
			seeds = strtoull(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--steps") == 0 && more)
			steps = (unsigned)strtoul(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--seconds") == 0 && more)
			seconds = (unsigned)strtoul(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--mode") == 0 && more)
			mode = argv[++i][0];
		else if (strcmp(argv[i], "-v") == 0)
			verbose = true;
		else {
			fprintf(stderr, "usage: sim_direct [--seed N] [--seeds COUNT] [--steps N] "
					"[--seconds N] [-v]\n");
			return 2;
		}
	}
	printf("first seed %" PRIu64 "\n", seed);
	for (; seconds ? time(NULL) - start < (time_t)seconds : done < seeds; seed++, done++) {
		make_world(&w, seed, mode);
		w.verbose = verbose;
		if (verbose)
			printf("seed %" PRIu64 ": blocks %u of %u bytes, tags of %u\n", seed,
			       w.blocks, w.shape.block_size, w.shape.tag_size);
		run_world(&w, steps);
		cuts += w.cuts;
		kills += w.kills;
		reads += w.reads;
		writes += w.writes;
		flushes += w.flushes;
		bad += w.mismatches;
		faults += w.faults;
		free_world(&w);
	}
	printf("%" PRIu64 " worlds, %" PRIu64 " power cuts, %" PRIu64 " kills, %" PRIu64
	       " reads, %" PRIu64 " writes, %" PRIu64 " flushes, %" PRIu64
	       " errors injected, %" PRIu64 " permitted mismatches\n",
	       done, cuts, kills, reads, writes, flushes, faults, bad);
	return 0;
}
