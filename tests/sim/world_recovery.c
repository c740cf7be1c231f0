/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See world_recovery.h. */
#include "world_recovery.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct recovery {
	const struct world *world;
	struct sim_queue *sim;
	struct ti_lun *lun;
};

static void watch(void *ctx, const struct ti_io *io, bool completed)
{
	const struct recovery *r = ctx;

	if (completed)
		return;
	if (io->op != TI_IO_READ)
		violation("mode recovery: an I/O that is no read, at byte %" PRIu64, io->offset);
	if (io->dev == TI_META && io->offset + io->len > r->world->geo.tag_offset)
		violation("mode recovery: a tag is read");
}

static void must_be_the_devices(void *ctx, uint32_t n, const uint8_t *data)
{
	const struct recovery *r = ctx;
	size_t size = r->world->model.block_size;

	if (data == NULL)
		violation("mode recovery: block %u is said not to match its tag", n);
	if (memcmp(data, sim_contents(r->sim, TI_DATA) + n * size, size) != 0)
		violation("mode recovery: block %u is not what the device holds", n);
}

/* One request; returns its error. */
static int ask(struct recovery *r, enum ti_req_op op, uint64_t seed)
{
	const struct world *w = r->world;
	uint8_t *buf = aligned_alloc(4096, 2 * 4096);
	struct iovec iov = { .iov_base = buf, .iov_len = w->model.block_size };
	struct ti_request req = { .op = op,
				  .flags = seed % 2 == 0 ? TI_REQ_FUA : 0,
				  .sector = seed % w->model.blocks * w->sectors_per_block,
				  .sectors = w->sectors_per_block,
				  .iov = &iov,
				  .iov_count = 1 };

	if (buf == NULL)
		abort();
	memset(buf, 0x5a, 2 * 4096);
	if (op == TI_REQ_COMPARE_AND_WRITE)
		iov.iov_len *= 2;
	world_ask(r->lun, &req);
	free(buf);
	return req.result.err;
}

static void ask_for_what_it_refuses(struct recovery *r, bool left_behind, uint64_t seed)
{
	static const enum ti_req_op op[] = { TI_REQ_WRITE,    TI_REQ_WRITE_SAME,
					     TI_REQ_OR_WRITE, TI_REQ_COMPARE_AND_WRITE,
					     TI_REQ_DISCARD,  TI_REQ_WRITE_AND_VERIFY };
	int err = ask(r, op[seed % 6], seed / 6), flushed;

	if (err != -EROFS)
		violation("mode recovery: operation %d ended with %d", (int)op[seed % 6], err);
	if (ti_lun_scrub_start(r->lun, NULL, 0) != -EOPNOTSUPP)
		violation("mode recovery: a scrub");
	flushed = ask(r, TI_REQ_FLUSH, 1);
	if (flushed != (left_behind ? -EUCLEAN : 0))
		violation("mode recovery: a flush after %s ended with %d",
			  left_behind ? "a kill" : "a power cut", flushed);
}

/* The time of its last change, or of none. */
static struct timespec changed(const char *path)
{
	struct stat st;

	return path != NULL && stat(path, &st) == 0 ? st.st_mtim : (struct timespec){ 0 };
}

void world_recovery(const struct world *w, struct sim_queue *sim, const char *store, uint64_t seed)
{
	const struct world_shape *s = &w->schedule->shape;
	const struct world_mode mode = { .letter = 'R', .mode = TI_MODE_RECOVERY };
	struct ti_lun_options options = world_lun_options(w, &mode, store, seed);
	struct timespec before = changed(store), after;
	struct ti_error error = { 0 };
	struct recovery r = { .world = w };

	r.sim = sim_queue_new(&(struct sim_options){
		.seed = seed,
		.bytes = { w->bytes[TI_DATA], w->bytes[TI_META] },
		.logical_block_size = { s->data_logical, s->meta_logical },
		.unit_bytes = { s->data_unit },
		.discards = s->discards > 1,
		.complete_percent = s->complete_percent,
		.watch = watch,
		.ctx = &r,
	});
	sim_copy(r.sim, sim);
	sim_kill(r.sim);
	if (ti_lun_open(&options, sim_as_queue(r.sim), sim_as_clock(r.sim), NULL, &r.lun, &error) !=
	    0)
		violation("open in mode recovery: %s", error.text);
	ask_for_what_it_refuses(&r, store != NULL && access(store, F_OK) == 0, seed);
	world_read_all(w, r.lun, must_be_the_devices, &r);
	if (ti_lun_close(r.lun) != 0)
		violation("close in mode recovery");
	for (enum ti_device dev = 0; dev < TI_DEVICES; dev++)
		if (memcmp(sim_contents(r.sim, dev), sim_contents(sim, dev), w->bytes[dev]) != 0)
			violation("mode recovery has changed a device");
	after = changed(store);
	if (before.tv_sec != after.tv_sec || before.tv_nsec != after.tv_nsec)
		violation("mode recovery has changed the store");
	sim_queue_free(r.sim);
	w->counts->recoveries++;
}
