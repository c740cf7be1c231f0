/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A ring of slots, each with one chunk.
 *
 * Chunks are started in ascending order and retired in ascending order; between the two a slot is
 *
 *     READING  its reads are under way (ADOPT: data, VERIFY: data and tags)
 *     WRITING  its writes are under way (ADOPT: tags, WIPE: data and tags)
 *     DONE     waits for the older ones to be retired
 *
 * After the first error nothing new is started; what is under way is waited for.
 */
#include "sweep.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "memory.h"

/* One transfer on the data device. */
#define PART_BYTES ((size_t)1 << 20)

/* Enough parts for the largest chunk: 4096 blocks of 4096 bytes. */
#define MAX_PARTS 16

/* What a chunk has at least, if the LUN has that much. */
#define READ_CHUNK_BYTES ((size_t)4 << 20)
#define WIPE_CHUNK_BYTES ((size_t)16 << 20)

#define SLOTS 4

enum slot_state {
	SLOT_FREE,
	SLOT_READING,
	SLOT_WRITING,
	SLOT_DONE,
};

struct sweep;

struct slot {
	struct sweep *sweep;
	enum slot_state state;
	unsigned pending; /* I/Os under way */
	struct ti_sweep_chunk chunk;
	struct ti_io data_io[MAX_PARTS];
	struct iovec data_iov[MAX_PARTS];
	struct ti_io tag_io;
	struct iovec tag_iov;
};

struct sweep {
	struct ti_queue *q;
	const struct ti_geometry *geo;
	const struct ti_hash *hash;
	const struct ti_sweep_options *options;
	struct ti_error *error;
	int err;	     /* the first error; nothing new is started after it */
	size_t chunk_blocks; /* of every chunk but the last */
	uint64_t next_block; /* of the next chunk to start */
	size_t data_bytes;   /* of a slot's buffers */
	size_t tag_bytes;
	unsigned slots;
	uint64_t started; /* chunks; chunk n is in slot n % slots */
	uint64_t retired;
	uint8_t *zeros; /* WIPE: PART_BYTES zeros, which all writes share */
	struct slot slot[SLOTS];
};

static size_t round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

int ti_sweep_check_devices(const struct ti_queue *q, const struct ti_geometry *geo,
			   struct ti_error *error)
{
	int err = ti_queue_check_blocks(q, error);

	if (err)
		return err;
	if (geo->start_sector * TI_SECTOR_BYTES % q->dev[TI_META].logical_block_size)
		return ti_error_set(error, -EINVAL,
				    "the superblock cannot start at sector %" PRIu64
				    " of %s, whose logical blocks have %u bytes: give a --start "
				    "that is a multiple of %u",
				    geo->start_sector, q->dev[TI_META].name,
				    q->dev[TI_META].logical_block_size,
				    q->dev[TI_META].logical_block_size / TI_SECTOR_BYTES);
	return 0;
}

/* ---- errors ---- */

static void io_failed(struct sweep *s, const struct ti_io *io)
{
	const char *what = io->op == TI_IO_READ ? "reading" : "writing";

	if (s->err)
		return;
	s->err = ti_error_set(s->error, io->result,
			      "%s %s failed in the %zu sectors from sector %" PRIu64 " on: %s",
			      what, s->q->dev[io->dev].name, io->len / TI_SECTOR_BYTES,
			      io->offset / TI_SECTOR_BYTES, strerror(-io->result));
}

static void io_done(struct ti_io *io)
{
	struct slot *slot = io->owner;

	assert(slot->pending > 0);
	slot->pending--;
	if (!io->result)
		return;
	/* Only a verification can live with a failed read: it is what it looks for. */
	if (slot->sweep->options->kind != TI_SWEEP_VERIFY)
		io_failed(slot->sweep, io);
	else if (io->dev == TI_DATA)
		slot->chunk.data_failed = true;
	else
		slot->chunk.tags_failed = true;
}

/* ---- one chunk ---- */

static void submit(struct slot *slot, struct ti_io *io, struct iovec *iov, enum ti_io_op op,
		   enum ti_device dev, uint64_t offset, void *buf, size_t len)
{
	*iov = (struct iovec){ .iov_base = buf, .iov_len = len };
	*io = (struct ti_io){
		.op = op,
		.dev = dev,
		.offset = offset,
		.len = len,
		.iov = iov,
		.iov_count = 1,
		.done = io_done,
		.owner = slot,
	};
	slot->pending++;
	ti_queue_submit(slot->sweep->q, io);
}

static void submit_data(struct slot *slot, enum ti_io_op op)
{
	const struct ti_sweep_chunk *c = &slot->chunk;
	uint8_t *zeros = slot->sweep->zeros;
	size_t part = 0;

	for (size_t at = 0; at < c->data_len; at += PART_BYTES, part++) {
		size_t len = c->data_len - at < PART_BYTES ? c->data_len - at : PART_BYTES;

		assert(part < MAX_PARTS);
		submit(slot, &slot->data_io[part], &slot->data_iov[part], op, TI_DATA,
		       c->data_offset + at, zeros ? zeros : c->data + at, len);
	}
}

static void submit_tags(struct slot *slot, enum ti_io_op op)
{
	const struct ti_sweep_chunk *c = &slot->chunk;

	submit(slot, &slot->tag_io, &slot->tag_iov, op, TI_META, c->tag_offset, c->tags,
	       c->tag_len);
}

static uint64_t first_sector(const struct slot *slot)
{
	return slot->chunk.first_block * slot->sweep->geo->sectors_per_block;
}

/* The bytes behind the last tag are part of the transfer: write zeros there, not old memory. */
static void clear_tail(struct slot *slot)
{
	struct ti_sweep_chunk *c = &slot->chunk;
	size_t used = c->blocks * slot->sweep->geo->tag_size;

	memset(c->tags + used, 0, c->tag_len - used);
}

static void start_chunk(struct sweep *s)
{
	struct slot *slot = &s->slot[s->started % s->slots];
	struct ti_sweep_chunk *c = &slot->chunk;
	uint64_t left = s->geo->provided_blocks - s->next_block;

	assert(slot->state == SLOT_FREE && !slot->pending);
	c->first_block = s->next_block;
	c->blocks = left < s->chunk_blocks ? (size_t)left : s->chunk_blocks;
	c->data_offset = c->first_block * s->geo->block_size;
	c->data_len =
		round_up(c->blocks * s->geo->block_size, s->q->dev[TI_DATA].logical_block_size);
	c->tag_offset = s->geo->tag_offset + c->first_block * s->geo->tag_size;
	c->tag_len = round_up(c->blocks * s->geo->tag_size, s->q->dev[TI_META].logical_block_size);
	c->data_failed = false;
	c->tags_failed = false;
	s->next_block += c->blocks;
	s->started++;

	switch (s->options->kind) {
	case TI_SWEEP_VERIFY:
		slot->state = SLOT_READING;
		submit_data(slot, TI_IO_READ);
		submit_tags(slot, TI_IO_READ);
		break;
	case TI_SWEEP_ADOPT:
		slot->state = SLOT_READING;
		submit_data(slot, TI_IO_READ);
		break;
	case TI_SWEEP_WIPE:
		slot->state = SLOT_WRITING;
		ti_hash_same(s->hash, first_sector(slot), s->zeros, c->blocks, c->tags);
		clear_tail(slot);
		submit_data(slot, TI_IO_WRITE);
		submit_tags(slot, TI_IO_WRITE);
		break;
	}
}

/* Everything that the slot waited for is there: what comes next? */
static void advance(struct sweep *s, struct slot *slot)
{
	struct ti_sweep_chunk *c = &slot->chunk;

	if (slot->state == SLOT_READING && s->options->kind == TI_SWEEP_ADOPT && !s->err) {
		struct iovec flat = { .iov_base = c->data,
				      .iov_len = c->blocks * s->geo->block_size };
		struct ti_iov_cursor cursor = ti_iov_cursor(&flat, 1);

		ti_hash_blocks(s->hash, first_sector(slot), &cursor, c->blocks, c->tags);
		clear_tail(slot);
		slot->state = SLOT_WRITING;
		submit_tags(slot, TI_IO_WRITE);
	} else {
		slot->state = SLOT_DONE;
	}
}

static bool io_under_way(const struct sweep *s)
{
	for (unsigned i = 0; i < s->slots; i++) {
		if (s->slot[i].pending)
			return true;
	}
	return false;
}

/* Retire finished chunks from the oldest on. */
static void retire(struct sweep *s)
{
	while (s->retired < s->started) {
		struct slot *slot = &s->slot[s->retired % s->slots];
		struct ti_sweep_chunk *c = &slot->chunk;
		uint64_t done;

		if (slot->state != SLOT_DONE)
			return;
		if (s->options->kind == TI_SWEEP_VERIFY && !s->err) {
			/* visit() may want to read again, alone on the queue. */
			if ((c->data_failed || c->tags_failed) && io_under_way(s))
				return;
			s->err = s->options->visit(s->options->ctx, c);
		}
		slot->state = SLOT_FREE;
		s->retired++;
		done = (c->first_block + c->blocks) * s->geo->block_size;
		if (!s->err && ti_progress_step(&s->options->progress, done,
						s->geo->provided_blocks * s->geo->block_size))
			s->err = ti_error_set(s->error, -ECANCELED,
					      "stopped at sector %" PRIu64 " of %" PRIu64,
					      done / TI_SECTOR_BYTES, s->geo->provided_sectors);
	}
}

/* Is the oldest chunk waiting for the queue to become empty? */
static bool held_back(const struct sweep *s)
{
	const struct slot *slot = &s->slot[s->retired % s->slots];

	return s->retired < s->started && slot->state == SLOT_DONE;
}

static void run(struct sweep *s)
{
	for (;;) {
		while (!s->err && !held_back(s) && s->started - s->retired < s->slots &&
		       s->next_block < s->geo->provided_blocks)
			start_chunk(s);
		if (s->retired == s->started)
			return;
		if (!ti_queue_run(s->q) && io_under_way(s)) {
			s->q->ops->wait(s->q, TI_CLOCK_NEVER);
			continue;
		}
		for (uint64_t n = s->retired; n < s->started; n++) {
			struct slot *slot = &s->slot[n % s->slots];

			if (!slot->pending && slot->state != SLOT_DONE)
				advance(s, slot);
		}
		retire(s);
	}
}

/* ---- set-up ---- */

size_t ti_sweep_chunk_blocks(const struct ti_queue *q, const struct ti_geometry *geo,
			     enum ti_sweep_kind kind)
{
	/* All of these but the tag size are powers of two. */
	size_t least = kind == TI_SWEEP_WIPE ? WIPE_CHUNK_BYTES : READ_CHUNK_BYTES;
	size_t blocks = least / geo->block_size;
	size_t meta_block = q->dev[TI_META].logical_block_size;
	size_t tag_power = geo->tag_size & (~geo->tag_size + 1); /* its largest power of two */

	if (tag_power < meta_block && blocks < meta_block / tag_power)
		blocks = meta_block / tag_power;
	return blocks < geo->provided_blocks ? blocks : (size_t)geo->provided_blocks;
}

static int get_buffers(struct sweep *s)
{
	/* Swapped out buffers would only be slow here. */
	bool locked;

	s->tag_bytes =
		round_up(s->chunk_blocks * s->geo->tag_size, s->q->dev[TI_META].logical_block_size);
	s->data_bytes = round_up(s->chunk_blocks * s->geo->block_size,
				 s->q->dev[TI_DATA].logical_block_size);
	if (s->options->kind == TI_SWEEP_WIPE) {
		s->zeros = ti_memory_get(PART_BYTES, &locked);
		if (!s->zeros)
			return -ENOMEM;
	}
	for (unsigned i = 0; i < s->slots; i++) {
		struct slot *slot = &s->slot[i];

		slot->sweep = s;
		slot->chunk.tags = ti_memory_get(s->tag_bytes, &locked);
		if (!slot->chunk.tags)
			return -ENOMEM;
		if (s->zeros)
			continue;
		slot->chunk.data = ti_memory_get(s->data_bytes, &locked);
		if (!slot->chunk.data)
			return -ENOMEM;
	}
	return 0;
}

static void put_buffers(struct sweep *s)
{
	for (unsigned i = 0; i < s->slots; i++) {
		ti_memory_put(s->slot[i].chunk.data, s->data_bytes);
		ti_memory_put(s->slot[i].chunk.tags, s->tag_bytes);
	}
	ti_memory_put(s->zeros, PART_BYTES);
}

int ti_sweep(struct ti_queue *q, const struct ti_geometry *geo, const struct ti_hash *hash,
	     const struct ti_sweep_options *options, struct ti_error *error)
{
	struct sweep *s;
	uint64_t chunks;
	int err;

	err = ti_sweep_check_devices(q, geo, error);
	if (err)
		return err;
	assert(geo->provided_blocks > 0);
	s = calloc(1, sizeof(*s));
	if (!s)
		return ti_error_set(error, -ENOMEM, "there is no memory for buffers");
	s->q = q;
	s->geo = geo;
	s->hash = hash;
	s->options = options;
	s->error = error;
	s->chunk_blocks = ti_sweep_chunk_blocks(q, geo, options->kind);
	chunks = (geo->provided_blocks + s->chunk_blocks - 1) / s->chunk_blocks;
	s->slots = chunks < SLOTS ? (unsigned)chunks : SLOTS;

	err = get_buffers(s);
	if (err) {
		ti_error_set(error, err, "there is no memory for buffers");
	} else {
		run(s);
		err = s->err;
	}
	put_buffers(s);
	free(s);
	return err;
}
