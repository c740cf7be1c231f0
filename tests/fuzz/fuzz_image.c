/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Whole pairs that somebody has changed, opened, replayed, read and written on simulated devices.
 *
 * Input: which image to begin with (one that the kernel made, or a small fresh one of any shape),
 * then steps: requests, power cuts, kills, closes, errors, and changes of any bytes of either
 * device.  Whatever lies there, the engine refuses it with a sentence or serves it: every request
 * comes back, and what was written since the open is what is read.
 */
#include <stdio.h>

#include "fuzz_input.h"
#include "lun.h"
#include "sim_format.h"
#include "sim_queue.h"

#define MAX_STEPS   64U
#define MAX_OPENS   12U
#define MAX_WAITING 6U
#define MAX_BYTES   (256U << 10) /* of one request */
#define PATIENCE    100000U	 /* turns: a request that is not back by then never comes */

struct image {
	const char *name, *hash;
	uint64_t start_sector;
	uint8_t *bytes[TI_DEVICES];
	uint64_t size[TI_DEVICES];
	struct sim_queue *sim;
};

static struct image images[] = {
	{ .name = "J_wrap.act", .hash = "crc32c" },
	{ .name = "c3.torn", .hash = "crc32c" },
	{ .name = "J_sha256_4k.act", .hash = "sha256" },
	{ .name = "D_crc32c_4k.clean", .hash = "crc32c" },
	{ .name = "c6.b", .hash = "crc32c" },
	{ .name = "B_crc32c_512.act", .hash = "crc32c" },
	{ .name = "c2.cid", .hash = "crc32c" },
};
#define IMAGES (sizeof(images) / sizeof(images[0]))

struct waiting {
	struct ti_request req;
	struct iovec iov;
	uint8_t *memory;
	bool back;
};

struct fuzz {
	struct sim_queue *sim;
	uint64_t size[TI_DEVICES]; /* as the engine is told */
	const char *hash;
	uint64_t start_sector;
	struct ti_lun *lun;
	bool journal, read_only;
	unsigned opens, step;
	struct waiting waiting[MAX_WAITING];
	unsigned waits;
	unsigned fail_after; /* I/Os; then so many fail */
	unsigned failing;
	bool faulty; /* something has failed since the open */
	uint8_t *shadow;
	bool *known; /* by sector: the shadow is what a read must see */
};

static struct fuzz *the_fuzz; /* for fault(): images' devices outlive an input */

static int fault(void *ctx, const struct ti_io *io)
{
	struct fuzz *f = the_fuzz;

	(void)ctx;
	(void)io;
	if (f == NULL || f->failing == 0)
		return 0;
	if (f->fail_after > 0) {
		f->fail_after--;
		return 0;
	}
	f->failing--;
	f->faulty = true;
	return -5;
}

static struct sim_queue *new_devices(const uint64_t *size)
{
	return sim_queue_new(&(struct sim_options){
		.bytes = { size[TI_DATA], size[TI_META] },
		.complete_percent = 80,
		.fault = fault,
	});
}

static void load_file(struct image *image, enum ti_device dev, const char *suffix)
{
	char path[500];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s.%s", TI_IMAGE_DIR, image->name, suffix);
	file = fopen(path, "rb");
	FUZZ_MUST(file != NULL);
	FUZZ_MUST(fseek(file, 0, SEEK_END) == 0);
	image->size[dev] = (uint64_t)ftell(file);
	rewind(file);
	image->bytes[dev] = malloc(image->size[dev]);
	FUZZ_MUST(image->bytes[dev] != NULL);
	FUZZ_MUST(fread(image->bytes[dev], 1, image->size[dev], file) == image->size[dev]);
	fclose(file);
	/* Nothing lies behind it, and it is copied for each input. */
	while (dev == TI_META && image->size[dev] > (64U << 10) &&
	       image->bytes[dev][image->size[dev] - 1] == 0)
		image->size[dev]--;
	image->size[dev] = (image->size[dev] + 0xffff) & ~(uint64_t)0xffff;
}

static void begin_with_image(struct fuzz *f, struct image *image)
{
	if (image->sim == NULL) {
		load_file(image, TI_DATA, "data");
		load_file(image, TI_META, "meta");
		image->sim = new_devices(image->size);
	}
	f->sim = image->sim;
	f->hash = image->hash;
	f->start_sector = image->start_sector;
	for (enum ti_device dev = 0; dev < TI_DEVICES; dev++) {
		f->size[dev] = image->size[dev];
		memcpy(sim_contents(f->sim, dev), image->bytes[dev], image->size[dev]);
		sim_settle(f->sim, dev);
	}
}

/* Returns false if there is no such pair. */
static bool begin_with_shape(struct fuzz *f, struct fuzz_input *in)
{
	static const char *const hash[] = { "crc32c", "crc32", "xxhash64", "sha256" };
	const struct ti_format_shape shape = {
		.block_size = 512U << (fuzz_take8(in) & 3),
		.tag_size = 1 + fuzz_take8(in) % TI_MAX_TAG_SIZE,
		.journal_sectors = fuzz_take8(in),
		.start_sector = fuzz_take8(in) % 32,
		.salted = fuzz_take8(in) & 1,
	};
	struct ti_pair_sizes sizes = {
		.data_sectors = 8 * (1 + fuzz_take8(in) % 32),
		.meta_sectors = 1024,
		.data_name = "sim-data",
		.meta_name = "sim-meta",
	};
	struct ti_superblock sb;
	struct ti_geometry geo;

	if (ti_geometry_plan(&shape, &sizes, &sb, &geo, NULL) != 0)
		return false;
	f->hash = hash[fuzz_take8(in) % 4];
	f->start_sector = shape.start_sector;
	f->size[TI_DATA] = sizes.data_sectors * TI_SECTOR_BYTES;
	f->size[TI_META] = sizes.meta_sectors * TI_SECTOR_BYTES;
	f->sim = new_devices(f->size);
	sim_format(f->sim, &sb, &geo);
	return true;
}

static void forget_shadow(struct fuzz *f)
{
	memset(f->known, 0, f->size[TI_DATA] / TI_SECTOR_BYTES * sizeof(*f->known));
}

static bool is_open(struct fuzz *f)
{
	struct ti_lun_options options = {
		.mode = f->journal ? TI_MODE_JOURNAL : TI_MODE_DIRECT,
		.hash = f->hash,
		.start_sector = f->start_sector,
		.cache_bytes = 1,
		.queue_depth = 4,
		.max_part_bytes = 64U << 10,
		.bounce_buffers = 1,
		.commit_time_ms = 2,
		.read_only = f->read_only,
	};
	struct ti_error error = { 0 };
	int err;

	if (f->lun != NULL)
		return true;
	if (f->opens++ == MAX_OPENS)
		return false;
	f->faulty = false;
	for (enum ti_device dev = 0; dev < TI_DEVICES; dev++)
		sim_as_queue(f->sim)->dev[dev].size = f->size[dev];
	err = ti_lun_open(&options, sim_as_queue(f->sim), sim_as_clock(f->sim), NULL, &f->lun,
			  &error);
	if (err != 0) {
		FUZZ_MUST(err < 0 && error.text[0] != '\0');
		f->lun = NULL;
	}
	return err == 0;
}

static void free_waiting(struct fuzz *f)
{
	while (f->waits > 0)
		free(f->waiting[--f->waits].memory);
}

static void drain(struct fuzz *f)
{
	unsigned turns = 0, back = 0;

	while (back < f->waits) {
		struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);
		struct ti_request *req;

		FUZZ_MUST(turns++ < PATIENCE);
		ti_lun_run(f->lun, &finished);
		while ((req = STAILQ_FIRST(&finished)) != NULL) {
			struct waiting *w = req->owner;

			STAILQ_REMOVE_HEAD(&finished, link);
			FUZZ_MUST(!w->back);
			w->back = true;
			back++;
		}
		if (back < f->waits && sim_under_way(f->sim) > 0)
			ti_lun_wait(f->lun, TI_CLOCK_NEVER);
		ti_lun_tick(f->lun);
	}
}

/* What the last request, alone on its way, has done to the shadow, or must have seen. */
static void judge(struct fuzz *f, const struct waiting *w)
{
	const struct ti_request *req = &w->req;
	uint64_t at = req->sector * TI_SECTOR_BYTES, len = req->sectors * TI_SECTOR_BYTES;
	uint32_t align = ti_lun_io_align(f->lun);
	bool all = at % align == 0 && len % align == 0;

	if (req->op == TI_REQ_FLUSH || at + len > f->size[TI_DATA] || at + len < at)
		return;
	for (uint64_t s = 0; s < req->sectors; s++)
		all = all && f->known[req->sector + s];
	if (req->op == TI_REQ_WRITE || req->op == TI_REQ_WRITE_SAME) {
		for (uint64_t s = 0; s < req->sectors; s++)
			f->known[req->sector + s] = req->result.err == 0;
		for (uint64_t n = 0; n < len; n += w->iov.iov_len)
			memcpy(f->shadow + at + n, w->memory,
			       w->iov.iov_len < len - n ? w->iov.iov_len : len - n);
	} else if (all && !f->faulty) {
		FUZZ_MUST(req->result.err == 0);
		FUZZ_MUST(req->op != TI_REQ_READ || !memcmp(w->memory, f->shadow + at, len));
	}
}

static void request(struct fuzz *f, enum ti_req_op op, struct fuzz_input *in)
{
	struct waiting *w;
	uint8_t how = fuzz_take8(in);
	uint64_t unit, count;

	if (!is_open(f))
		return;
	unit = how & 1 ? 1 : ti_lun_io_align(f->lun) / TI_SECTOR_BYTES;
	if (f->waits == MAX_WAITING) {
		drain(f);
		free_waiting(f);
	}
	w = &f->waiting[f->waits++];
	memset(w, 0, sizeof(*w));
	w->req.op = op;
	w->req.flags = how & 2 ? TI_REQ_FUA : 0;
	w->req.sector = fuzz_take16(in) % (f->size[TI_DATA] / TI_SECTOR_BYTES / unit + 2) * unit;
	count = fuzz_take8(in) % 64;
	w->req.sectors = count * unit;
	w->req.owner = w;
	w->iov.iov_len =
		op == TI_REQ_WRITE_SAME ? unit * TI_SECTOR_BYTES : w->req.sectors * TI_SECTOR_BYTES;
	FUZZ_MUST(w->iov.iov_len <= MAX_BYTES);
	w->memory = aligned_alloc(4096, (w->iov.iov_len + 8191) & ~(size_t)4095);
	FUZZ_MUST(w->memory != NULL);
	memset(w->memory, (int)(0x11 * (f->step + 1)), w->iov.iov_len);
	w->iov.iov_base = w->memory;
	if (op != TI_REQ_FLUSH && op != TI_REQ_VERIFY) {
		w->req.iov = &w->iov;
		w->req.iov_count = 1;
	}
	ti_lun_submit(f->lun, &w->req);
	if (how & 4) {
		forget_shadow(f); /* others come upon it */
		return;
	}
	if (f->waits == 1) {
		drain(f);
		judge(f, w);
	} else {
		drain(f);
		forget_shadow(f);
	}
	free_waiting(f);
}

static void end_without_a_word(struct fuzz *f, bool kill)
{
	if (kill)
		sim_kill(f->sim);
	else
		sim_power_cut(f->sim);
	ti_lun_abandon(f->lun);
	f->lun = NULL;
	free_waiting(f);
	forget_shadow(f);
	f->failing = 0;
}

static void close_lun(struct fuzz *f)
{
	int err;

	if (f->lun == NULL)
		return;
	drain(f);
	free_waiting(f);
	err = ti_lun_close(f->lun);
	FUZZ_MUST(err == 0 || f->faulty);
	f->lun = NULL;
	if (err != 0)
		forget_shadow(f);
}

static void change(struct fuzz *f, enum ti_device dev, struct fuzz_input *in)
{
	uint32_t at = fuzz_take32(in), len = 1 + fuzz_take8(in) % 16;
	uint64_t size = sim_as_queue(f->sim)->dev[dev].size;

	end_without_a_word(f, false);
	/* Half of them where the superblock is. */
	if (dev == TI_META && at & 0x80000000U)
		at = (uint32_t)(f->start_sector * TI_SECTOR_BYTES + (at & 63));
	at = (uint32_t)(at % (size - len));
	fuzz_take(in, sim_contents(f->sim, dev) + at, len);
	sim_settle(f->sim, dev);
}

static void carry_out(struct fuzz *f, struct fuzz_input *in)
{
	static const enum ti_req_op op[] = { TI_REQ_WRITE, TI_REQ_READ, TI_REQ_WRITE_SAME,
					     TI_REQ_VERIFY, TI_REQ_FLUSH };
	uint8_t what = fuzz_take8(in) % 16;

	switch (what) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
		request(f, op[what], in);
		break;
	case 5:
		request(f, TI_REQ_WRITE, in);
		break;
	case 6:
		request(f, TI_REQ_READ, in);
		break;
	case 7:
		sim_advance(f->sim, 2 * TI_NS_PER_MS);
		if (f->lun != NULL)
			ti_lun_tick(f->lun);
		break;
	case 8:
		end_without_a_word(f, false);
		break;
	case 9:
		end_without_a_word(f, true);
		break;
	case 10:
		close_lun(f);
		break;
	case 11:
		close_lun(f);
		f->journal = !f->journal;
		break;
	case 12:
		f->fail_after = fuzz_take8(in) % 32;
		f->failing = 1 + fuzz_take8(in) % 8;
		break;
	case 13:
		change(f, TI_DATA, in);
		break;
	default:
		change(f, TI_META, in);
		break;
	}
}

/* A device that is smaller than the superblock thinks. */
static void cut_short(struct fuzz *f, enum ti_device dev, uint16_t sectors)
{
	uint64_t bytes = (uint64_t)sectors * TI_SECTOR_BYTES;

	if (sectors != 0 && bytes < f->size[dev])
		f->size[dev] = bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .size = size };
	uint8_t which = fuzz_take8(&in), how = fuzz_take8(&in);
	struct fuzz f = { .journal = how & 1, .read_only = (how & 0x0e) == 0x0e };
	bool fresh = which % 16 >= IMAGES;

	if (!fresh)
		begin_with_image(&f, &images[which % 16]);
	else if (!begin_with_shape(&f, &in))
		return 0;
	the_fuzz = &f;
	sim_reseed(f.sim, fuzz_take32(&in));
	f.shadow = malloc(f.size[TI_DATA] + MAX_BYTES);
	f.known = calloc(f.size[TI_DATA] / TI_SECTOR_BYTES, sizeof(*f.known));
	FUZZ_MUST(f.shadow != NULL && f.known != NULL);
	if (how & 0x10) {
		cut_short(&f, TI_DATA, fuzz_take16(&in));
		cut_short(&f, TI_META, fuzz_take16(&in));
	}
	for (f.step = 0; f.step < MAX_STEPS && in.size > 0; f.step++)
		carry_out(&f, &in);
	if (how & 0x20)
		close_lun(&f);
	end_without_a_word(&f, false);
	free(f.shadow);
	free(f.known);
	if (fresh)
		sim_queue_free(f.sim);
	the_fuzz = NULL;
	return 0;
}
