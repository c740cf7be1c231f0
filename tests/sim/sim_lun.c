/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See sim_lun.h. */
#include "sim_lun.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim_format.h"
#include "tag_cache.h"

/* More turns than any test needs: a request that is not back by then never comes. */
#define PATIENCE 10000U

static int fault(void *ctx, const struct ti_io *io)
{
	struct sim_lun *l = ctx;

	if (l->vanishing && l->vanish_after == 0)
		return -ENODEV;
	if (l->vanishing)
		l->vanish_after--;
	for (unsigned i = 0; i < l->faults; i++) {
		struct sim_fault *f = &l->fault[i];
		bool here = f->offset == SIM_EVERYWHERE || io->op == TI_IO_FLUSH ||
			    (f->offset < io->offset + io->len && io->offset < f->offset + f->bytes);

		if (f->dev != io->dev || f->op != io->op || !here || f->times == 0)
			continue;
		if (f->after > 0) {
			f->after--;
			continue;
		}
		if (f->times != SIM_FOR_EVER)
			f->times--;
		return -EIO;
	}
	return 0;
}

static void watch(void *ctx, const struct ti_io *io, bool completed)
{
	struct sim_lun *l = ctx;

	if (l->events == SIM_LOG_EVENTS)
		fail_msg("more than %u I/Os without sim_forget()", SIM_LOG_EVENTS / 2);
	l->event[l->events++] = (struct sim_event){
		.dev = io->dev,
		.op = io->op,
		.offset = io->offset,
		.len = io->len,
		.memory = io->iov_count > 0 ? io->iov[0].iov_base : NULL,
		.completed = completed,
	};
}

static void log_line(void *ctx, enum ti_log_level level, const char *text)
{
	static const char *const name[] = { "err", "warn", "info", "dbg" };
	struct sim_lun *l = ctx;
	size_t used = strlen(l->text);

	(void)snprintf(l->text + used, sizeof(l->text) - used, "%s: %s\n", name[level], text);
}

static void *get(size_t n, size_t size)
{
	void *p = calloc(n, size);

	assert_non_null(p);
	return p;
}

struct sim_lun *sim_lun_make(const struct sim_lun_options *options)
{
	static const struct sim_lun_options defaults;
	const struct sim_lun_options *o = options != NULL ? options : &defaults;
	struct sim_lun *l = get(1, sizeof(*l));
	struct ti_format_shape shape = o->shape;
	uint64_t block_size = shape.block_size != 0 ? shape.block_size : 512;
	struct sim_options so = {
		.seed = 1,
		.bytes = { (o->blocks != 0 ? o->blocks : 4096) * block_size,
			   o->meta_bytes != 0 ? o->meta_bytes : 1U << 20 },
		.logical_block_size = { o->logical_block_size[0], o->logical_block_size[1] },
		.discards = !o->cannot_discard,
		.fua = { o->fua[0], o->fua[1] },
		.says_no_cache = { o->says_no_cache[0], o->says_no_cache[1] },
		.complete_percent = 100,
		.fault = fault,
		.watch = watch,
		.ctx = l,
	};
	struct ti_pair_sizes sizes = {
		.data_sectors = so.bytes[TI_DATA] / TI_SECTOR_BYTES,
		.meta_sectors = so.bytes[TI_META] / TI_SECTOR_BYTES,
		.data_name = "sim-data",
		.meta_name = "sim-meta",
	};

	if (shape.tag_size == 0)
		shape.tag_size = 4;
	l->sim = sim_queue_new(&so);
	if (ti_geometry_plan(&shape, &sizes, &l->sb, &l->geo, &l->error) != 0)
		fail_msg("%s", l->error.text);
	for (uint8_t i = 0; shape.salted && i < TI_SALT_BYTES; i++)
		l->sb.salt[i] = (uint8_t)(0xa0 + i);
	sim_format(l->sim, &l->sb, &l->geo);
	assert_int_equal(ti_hash_init(&l->hash, &ti_hash_crc32c, l->geo.block_size, l->geo.tag_size,
				      shape.salted ? l->sb.salt : NULL),
			 0);
	l->options = o->lun;
	l->options.start_sector = shape.start_sector;
	l->log = (struct ti_log){ .line = log_line, .ctx = l };
	return l;
}

struct sim_lun *sim_lun_new(const struct sim_lun_options *options)
{
	struct sim_lun *l = sim_lun_make(options);

	if (sim_lun_open(l) != 0)
		fail_msg("%s", l->error.text);
	sim_ok(l, sim_flush(l));
	ti_lun_get_stats(l->lun, &l->before);
	sim_forget(l);
	return l;
}

int sim_lun_open(struct sim_lun *l)
{
	memset(&l->error, 0, sizeof(l->error));
	return ti_lun_open(&l->options, sim_as_queue(l->sim), sim_as_clock(l->sim), &l->log,
			   &l->lun, &l->error);
}

int sim_lun_close(struct sim_lun *l)
{
	int err;

	sim_hold(l->sim, false);
	sim_finish(l);
	err = ti_lun_close(l->lun);
	l->lun = NULL;
	memset(&l->before, 0, sizeof(l->before));
	return err;
}

static void free_requests(struct sim_lun *l)
{
	struct sim_req *r;

	while ((r = l->reqs) != NULL) {
		l->reqs = r->next;
		free(r->iov);
		free(r->memory);
		free(r);
	}
}

/* The LUN is gone without a word; what is on the devices is there to be opened. */
static void come_back(struct sim_lun *l)
{
	ti_lun_abandon(l->lun);
	l->lun = NULL;
	memset(&l->before, 0, sizeof(l->before));
	free_requests(l);
	sim_hold(l->sim, false);
	if (sim_lun_open(l) != 0)
		fail_msg("cannot be opened again: %s", l->error.text);
	sim_forget(l);
}

void sim_lun_cut(struct sim_lun *l)
{
	sim_power_cut(l->sim);
	come_back(l);
}

void sim_lun_die(struct sim_lun *l)
{
	sim_kill(l->sim);
	come_back(l);
}

void sim_lun_free(struct sim_lun *l)
{
	if (l->lun != NULL) {
		sim_power_cut(l->sim);
		ti_lun_abandon(l->lun);
	}
	free_requests(l);
	ti_hash_destroy(&l->hash);
	sim_queue_free(l->sim);
	free(l);
}

void sim_content(const struct sim_lun *l, uint32_t block, uint32_t version, uint8_t *out)
{
	struct sim_random r = { .state = (uint64_t)version << 32 };

	if (!(version & SIM_SAME))
		r.state ^= block;
	memset(out, version == SIM_DISCARDED ? SIM_FORGOTTEN : 0, l->geo.block_size);
	if (version == SIM_DISCARDED)
		return;
	for (size_t at = 0; version != 0 && at < l->geo.block_size; at += 8) {
		uint64_t x = sim_random(&r);

		memcpy(out + at, &x, 8);
	}
}

static size_t memory_bytes(const struct sim_lun *l, const struct sim_req *r)
{
	switch (r->req.op) {
	case TI_REQ_READ:
	case TI_REQ_WRITE:
		return (size_t)r->count * l->geo.block_size;
	case TI_REQ_OR_WRITE:
	case TI_REQ_COMPARE:
	case TI_REQ_WRITE_AND_VERIFY:
	case TI_REQ_WRITE_AND_COMPARE:
		return (size_t)r->count * l->geo.block_size;
	case TI_REQ_COMPARE_AND_WRITE:
		return 2 * (size_t)r->count * l->geo.block_size;
	case TI_REQ_WRITE_SAME:
	case TI_REQ_COMPARE_SAME:
		return l->geo.block_size;
	case TI_REQ_VERIFY:
	case TI_REQ_FLUSH:
	case TI_REQ_DISCARD:
	case TI_REQ_EXTENT:
		break;
	}
	return 0;
}

struct sim_req *sim_prepare(struct sim_lun *l, enum ti_req_op op, uint32_t block, uint32_t count,
			    uint32_t version)
{
	struct sim_req *r = get(1, sizeof(*r));

	r->next = l->reqs;
	l->reqs = r;
	r->block = block;
	r->count = count;
	r->version = version;
	r->req = (struct ti_request){
		.op = op,
		.sector = (uint64_t)block * l->geo.sectors_per_block,
		.sectors = (uint64_t)count * l->geo.sectors_per_block,
		.owner = r,
	};
	if (memory_bytes(l, r) > 0) {
		r->iov = get(1, sizeof(*r->iov));
		r->iov[0].iov_len = memory_bytes(l, r);
		sim_scatter(r, r->iov[0].iov_len, 0);
	}
	return r;
}

void sim_scatter(struct sim_req *r, size_t piece, size_t shift)
{
	size_t len = 0, stride = (piece + shift + 1023) & ~(size_t)511, pieces;

	for (size_t i = 0; i < r->req.iov_count || i == 0; i++)
		len += r->iov[i].iov_len;
	pieces = (len + piece - 1) / piece;
	free(r->iov);
	free(r->memory);
	r->iov = get(pieces, sizeof(*r->iov));
	r->memory = aligned_alloc(4096, (pieces * stride + 4095) & ~(size_t)4095);
	assert_non_null(r->memory);
	memset(r->memory, 0xee, pieces * stride);
	for (size_t i = 0; i < pieces; i++) {
		r->iov[i].iov_base = r->memory + i * stride + shift;
		r->iov[i].iov_len = len < piece ? len : piece;
		len -= r->iov[i].iov_len;
	}
	r->req.iov = r->iov;
	r->req.iov_count = pieces;
}

struct sim_req *sim_submit(struct sim_lun *l, struct sim_req *r)
{
	bool same = r->req.op == TI_REQ_WRITE_SAME;
	struct ti_iov_cursor cursor = ti_iov_cursor(r->iov, r->req.iov_count);
	uint8_t block[4096];

	if (same || r->req.op == TI_REQ_WRITE) {
		for (uint32_t n = 0; n < (same ? 1 : r->count); n++) {
			sim_content(l, r->block + n, r->version | (same ? SIM_SAME : 0), block);
			ti_iov_copy_in(&cursor, block, l->geo.block_size);
		}
	}
	r->submitted = true;
	ti_lun_submit(l->lun, &r->req);
	assert_false(r->back); /* never from inside of submit */
	return r;
}

struct sim_req *sim_write(struct sim_lun *l, uint32_t block, uint32_t count, uint32_t version)
{
	return sim_submit(l, sim_prepare(l, TI_REQ_WRITE, block, count, version));
}

struct sim_req *sim_write_fua(struct sim_lun *l, uint32_t block, uint32_t count, uint32_t version)
{
	struct sim_req *r = sim_prepare(l, TI_REQ_WRITE, block, count, version);

	r->req.flags = TI_REQ_FUA;
	return sim_submit(l, r);
}

struct sim_req *sim_write_same(struct sim_lun *l, uint32_t block, uint32_t count, uint32_t version)
{
	return sim_submit(l, sim_prepare(l, TI_REQ_WRITE_SAME, block, count, version));
}

struct sim_req *sim_read(struct sim_lun *l, uint32_t block, uint32_t count)
{
	return sim_submit(l, sim_prepare(l, TI_REQ_READ, block, count, 0));
}

struct sim_req *sim_verify(struct sim_lun *l, uint32_t block, uint32_t count)
{
	return sim_submit(l, sim_prepare(l, TI_REQ_VERIFY, block, count, 0));
}

struct sim_req *sim_flush(struct sim_lun *l)
{
	return sim_submit(l, sim_prepare(l, TI_REQ_FLUSH, 0, 0, 0));
}

struct sim_req *sim_discard(struct sim_lun *l, uint32_t block, uint32_t count)
{
	return sim_submit(l, sim_prepare(l, TI_REQ_DISCARD, block, count, 0));
}

void sim_go(struct sim_lun *l)
{
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);
	struct ti_request *req;

	ti_lun_run(l->lun, &finished);
	while ((req = STAILQ_FIRST(&finished)) != NULL) {
		struct sim_req *r = req->owner;

		STAILQ_REMOVE_HEAD(&finished, link);
		assert_false(r->back);
		r->back = true;
		r->order = ++l->back;
	}
}

static bool all_back(const struct sim_lun *l)
{
	for (const struct sim_req *r = l->reqs; r != NULL; r = r->next)
		if (r->submitted && !r->back)
			return false;
	return true;
}

void sim_finish(struct sim_lun *l)
{
	sim_hold(l->sim, false);
	for (unsigned i = 0; i < PATIENCE; i++) {
		sim_go(l);
		if (all_back(l))
			return;
		if (sim_under_way(l->sim) == 0)
			fail_msg("a request waits for nothing");
		ti_lun_wait(l->lun, TI_CLOCK_NEVER);
	}
	fail_msg("a request never comes back");
}

void sim_age(struct sim_lun *l)
{
	for (unsigned ticks = 0; ticks < 2; ticks++) {
		uint64_t now = ti_clock_now(sim_as_clock(l->sim));

		sim_advance(l->sim, ti_lun_deadline(l->lun) - now);
		ti_lun_tick(l->lun);
	}
	sim_go(l);
}

bool sim_holds(const struct sim_lun *l, const struct sim_req *r, uint32_t version)
{
	return sim_holds_first(l, r, r->count, version);
}

bool sim_holds_first(const struct sim_lun *l, const struct sim_req *r, uint32_t count,
		     uint32_t version)
{
	struct ti_iov_cursor cursor = ti_iov_cursor(r->iov, r->req.iov_count);
	uint8_t block[4096], want[4096];

	for (uint32_t n = 0; n < count; n++) {
		ti_iov_copy_out(&cursor, block, l->geo.block_size);
		sim_content(l, r->block + n, version, want);
		if (memcmp(block, want, l->geo.block_size) != 0)
			return false;
	}
	return true;
}

bool sim_has_data(const struct sim_lun *l, const uint8_t *data, uint32_t block, uint32_t version)
{
	uint8_t want[4096];

	sim_content(l, block, version, want);
	return memcmp(data + (size_t)block * l->geo.block_size, want, l->geo.block_size) == 0;
}

bool sim_has_tag(const struct sim_lun *l, const uint8_t *meta, uint32_t block, uint32_t version)
{
	uint8_t content[4096], tag[256];

	sim_content(l, block, version, content);
	ti_hash_same(&l->hash, (uint64_t)block * l->geo.sectors_per_block, content, 1, tag);
	return memcmp(meta + l->geo.tag_offset + (uint64_t)block * l->geo.tag_size, tag,
		      l->geo.tag_size) == 0;
}

bool sim_has_filler(const struct sim_lun *l, const uint8_t *meta, uint32_t block)
{
	return ti_tag_is_filler(meta + l->geo.tag_offset + (uint64_t)block * l->geo.tag_size,
				l->geo.tag_size);
}

void sim_fail(struct sim_lun *l, enum ti_device dev, enum ti_io_op op, uint64_t offset,
	      uint32_t times)
{
	assert_true(l->faults < SIM_LUN_FAULTS);
	l->fault[l->faults++] = (struct sim_fault){
		.dev = dev, .op = op, .offset = offset, .bytes = 1, .times = times
	};
}

void sim_fail_after(struct sim_lun *l, enum ti_device dev, enum ti_io_op op, uint64_t offset,
		    uint32_t after)
{
	sim_fail(l, dev, op, offset, 1);
	l->fault[l->faults - 1].after = after;
}

void sim_fail_range(struct sim_lun *l, enum ti_device dev, enum ti_io_op op, uint64_t offset,
		    uint64_t bytes)
{
	sim_fail(l, dev, op, offset, SIM_FOR_EVER);
	l->fault[l->faults - 1].bytes = bytes;
}

void sim_mend(struct sim_lun *l)
{
	l->faults = 0;
}

void sim_vanish_after(struct sim_lun *l, uint32_t count)
{
	l->vanishing = count != SIM_FOR_EVER;
	l->vanish_after = count;
}

unsigned sim_started(const struct sim_lun *l, enum ti_device dev, enum ti_io_op op)
{
	unsigned count = 0;

	for (unsigned i = 0; i < l->events; i++)
		if (l->event[i].dev == dev && l->event[i].op == op && !l->event[i].completed)
			count++;
	return count;
}

void sim_forget(struct sim_lun *l)
{
	l->events = 0;
}

unsigned sim_logged(const struct sim_lun *l, const char *what)
{
	unsigned count = 0;

	for (const char *at = l->text; (at = strstr(at, what)) != NULL; at += strlen(what))
		count++;
	return count;
}

struct ti_lun_stats sim_stats(const struct sim_lun *l)
{
	struct ti_lun_stats stats;

	ti_lun_get_stats(l->lun, &stats);
	stats.flushes -= l->before.flushes;
	stats.flush_rounds -= l->before.flush_rounds;
	for (unsigned dev = 0; dev < TI_DEVICES; dev++)
		stats.device_flushes[dev] -= l->before.device_flushes[dev];
	return stats;
}

void sim_let_at_line(struct sim_lun *l, enum ti_device dev, enum ti_io_op op, const char *file,
		     int line)
{
	_assert_int_equal(sim_count(l->sim, dev, op), 1, file, line);
	sim_complete_one(l->sim, dev, op);
	sim_go(l);
}

void sim_ok_at_line(struct sim_lun *l, struct sim_req *r, const char *file, int line)
{
	sim_finish(l);
	if (r->req.result.err != 0)
		print_error("%s at sector %llu\n", ti_cause_name(r->req.result.cause),
			    (unsigned long long)r->req.result.sector);
	_assert_int_equal((uint64_t)r->req.result.err, 0, file, line);
	_assert_int_equal(r->req.result.cause, TI_CAUSE_NONE, file, line);
}

void sim_bad_at_line(struct sim_lun *l, struct sim_req *r, int err, enum ti_cause cause,
		     uint32_t block, const char *file, int line)
{
	sim_finish(l);
	_assert_string_equal(ti_cause_name(r->req.result.cause), ti_cause_name(cause), file, line);
	_assert_int_equal((uint64_t)r->req.result.err, (uint64_t)err, file, line);
	_assert_int_equal(r->req.result.sector, (uint64_t)block * l->geo.sectors_per_block, file,
			  line);
}

void sim_reads_at_line(struct sim_lun *l, uint32_t block, uint32_t count, uint32_t version,
		       const char *file, int line)
{
	struct sim_req *r = sim_read(l, block, count);

	sim_ok_at_line(l, r, file, line);
	_assert_true(sim_holds(l, r, version), "the blocks hold this version", file, line);
}
