/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * See tag_store.h.  The file: a page of header, the places, padding to a page, the lines.
 */
#include "tag_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"
#include "secret.h"
#include "tag_cache.h"

static const char magic[TI_STORE_MAGIC_BYTES] = "ti-tag-store-3";

struct header {
	struct ti_store_head head;
	uint64_t lines;
	uint64_t broken[TI_DEVICES];
	uint64_t doubt;
};

static size_t places_bytes(size_t lines)
{
	return (lines * sizeof(uint64_t) + TI_STORE_PAGE - 1) / TI_STORE_PAGE * TI_STORE_PAGE;
}

static size_t file_bytes(size_t lines)
{
	return TI_STORE_PAGE + places_bytes(lines) + lines * TI_LINE_BYTES;
}

static struct header *header(const struct ti_tag_store *s)
{
	return (struct header *)(void *)s->file.map;
}

static void lay_out(struct ti_tag_store *s, size_t lines)
{
	s->lines = lines;
	s->broken = header(s)->broken;
	s->doubt = &header(s)->doubt;
	s->place = (uint64_t *)(void *)(s->file.map + TI_STORE_PAGE);
	s->data = s->file.map + TI_STORE_PAGE + places_bytes(lines);
}

int ti_tag_store_open(const char *path, const struct ti_store_pair *pair, size_t lines,
		      bool *locked, struct ti_tag_store **store)
{
	struct ti_tag_store *s = calloc(1, sizeof(*s));
	int err;

	if (s == NULL)
		return -ENOMEM;
	err = ti_store_file_create(path, magic, pair, file_bytes(lines), locked, &s->file);
	if (err != 0) {
		free(s);
		return err;
	}
	header(s)->lines = lines;
	lay_out(s, lines);
	*store = s;
	return 0;
}

int ti_tag_store_keep(const char *path, const struct ti_store_pair *pair, bool *locked,
		      struct ti_tag_store **store)
{
	struct ti_tag_store *s = calloc(1, sizeof(*s));
	int err;

	if (s == NULL)
		return -ENOMEM;
	err = ti_store_file_map(path, magic, pair, TI_STORE_HEAD, locked, &s->file);
	if (err != 0) {
		free(s);
		return err;
	}
	lay_out(s, 0);
	s->published = true;
	*store = s;
	return 0;
}

static bool says_anything(const struct ti_inheritance *inherited)
{
	for (enum ti_device dev = 0; dev < TI_DEVICES; dev++)
		if (inherited->doubt[dev] || inherited->broken[dev] != 0)
			return true;
	return false;
}

/* In the file's word. */
static uint64_t doubt_bit(enum ti_device dev)
{
	return dev == TI_META ? 1 : 2;
}

int ti_tag_store_publish(struct ti_tag_store *s, const struct ti_inheritance *inherited)
{
	int err;

	if (s->published) {
		/* It says all but this, which may follow from what it says. */
		for (enum ti_device dev = 0; dev < TI_DEVICES; dev++)
			if (inherited->doubt[dev])
				ti_tag_store_doubt(s, dev, true);
		return 0;
	}
	for (enum ti_device dev = 0; dev < TI_DEVICES; dev++) {
		ti_tag_store_broken(s, dev, inherited->broken[dev]);
		ti_tag_store_doubt(s, dev, inherited->doubt[dev]);
	}
	err = ti_store_file_publish(&s->file);
	s->published = err == 0;
	if (err != 0 && !says_anything(inherited))
		unlink(s->file.path);
	return err;
}

void ti_tag_store_broken(struct ti_tag_store *s, enum ti_device dev, int error)
{
	if (s != NULL)
		ti_store_put(&s->broken[dev], (uint64_t)-error);
}

void ti_tag_store_doubt(struct ti_tag_store *s, enum ti_device dev, bool doubt)
{
	if (s != NULL)
		ti_store_put(s->doubt,
			     (*s->doubt & ~doubt_bit(dev)) | (doubt ? doubt_bit(dev) : 0));
}

void ti_tag_store_close(struct ti_tag_store *s, bool remove)
{
	if (s == NULL)
		return;
	if (s->published)
		ti_store_file_close(&s->file, remove);
	else
		ti_store_file_discard(&s->file);
	free(s);
}

/* Map a predecessor's file for reading; errors as ti_store_file_map(). */
static int map_old(const char *path, const struct ti_store_pair *pair, struct ti_tag_store *s)
{
	int err = ti_store_file_map(path, magic, pair, TI_STORE_LOOK, NULL, &s->file);
	uint64_t lines;

	if (err != 0)
		return err;
	lines = header(s)->lines;
	if (lines == 0 || lines > s->file.bytes / TI_LINE_BYTES ||
	    s->file.bytes != file_bytes((size_t)lines)) {
		ti_store_file_close(&s->file, false);
		return -ESTALE;
	}
	lay_out(s, (size_t)lines);
	return 0;
}

/* A line of the file and the place it belongs to. */
struct kept_line {
	uint64_t place;
	size_t line;
};

/* Blocks that are read at once. */
#define RUN_BYTES ((size_t)256 << 10)

/* What the rescue of a file works with. */
struct rescue {
	const struct ti_tag_store *old;
	struct kept_line *index; /* of the lines that have a place, by place */
	size_t index_lines;
	struct ti_queue *queue;
	const struct ti_geometry *geo;
	const struct ti_hash *hash;
	uint64_t area_on_disk; /* bytes of the tag area in whole lines, or to the device's end */
	uint8_t *disk;	       /* two neighbouring lines of the device: tags may cross from one */
	uint8_t *kept;	       /* the same lines as the file has them */
	uint8_t *data;	       /* a run of blocks, in what the device reads at once */
	uint8_t *tags;	       /* of these blocks */
	uint32_t run_blocks;   /* longest run */
	uint64_t rescued, unreadable, unmatched; /* blocks whose tags were taken */
	bool flush_failed;
	int err;
	enum ti_device dev;
};

static size_t line_bytes(const struct rescue *r, uint64_t index)
{
	uint64_t left = r->area_on_disk - index * TI_LINE_BYTES;

	return left < TI_LINE_BYTES ? (size_t)left : TI_LINE_BYTES;
}

static bool io(struct rescue *r, enum ti_io_op op, enum ti_device dev, uint64_t offset, void *buf,
	       size_t len)
{
	r->err = ti_queue_sync(r->queue, op, dev, offset, buf, len);
	r->dev = dev;
	return r->err == 0;
}

static int by_place(const void *a, const void *b)
{
	uint64_t x = ((const struct kept_line *)a)->place, y = ((const struct kept_line *)b)->place;

	return x < y ? -1 : x > y;
}

/* Sort the lines that have a place on the device. */
static int make_index(struct rescue *r)
{
	uint64_t lines = (r->area_on_disk + TI_LINE_BYTES - 1) / TI_LINE_BYTES;

	r->index = calloc(r->old->lines, sizeof(*r->index));
	if (r->index == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < r->old->lines; i++)
		if (r->old->place[i] != 0 && r->old->place[i] <= lines)
			r->index[r->index_lines++] =
				(struct kept_line){ .place = r->old->place[i], .line = i };
	qsort(r->index, r->index_lines, sizeof(*r->index), by_place);
	return 0;
}

static const uint8_t *find_old(const struct rescue *r, uint64_t index)
{
	struct kept_line key = { .place = index + 1 };
	const struct kept_line *found =
		bsearch(&key, r->index, r->index_lines, sizeof(key), by_place);

	return found != NULL ? r->old->data + found->line * TI_LINE_BYTES : NULL;
}

/* Read line @index into slot @slot of both views. */
static bool view(struct rescue *r, uint64_t index, unsigned slot)
{
	uint8_t *disk = r->disk + slot * TI_LINE_BYTES, *kept = r->kept + slot * TI_LINE_BYTES;
	const uint8_t *old = find_old(r, index);

	if (index * TI_LINE_BYTES >= r->area_on_disk)
		return true; /* no tag reaches there */
	if (!io(r, TI_IO_READ, TI_META, r->geo->tag_offset + index * TI_LINE_BYTES, disk,
		line_bytes(r, index)))
		return false;
	memcpy(kept, old != NULL ? old : disk, line_bytes(r, index));
	return true;
}

/* Tags of @n blocks as the data device has them.  False if they cannot be read. */
static bool hash_run(struct rescue *r, uint64_t block, uint32_t n)
{
	uint32_t size = r->geo->block_size, unit = r->queue->dev[TI_DATA].logical_block_size;
	uint64_t offset = block * size, start = offset - offset % unit;
	size_t bytes = (size_t)(offset - start) + (size_t)n * size;
	struct iovec piece = { .iov_base = r->data + (offset - start),
			       .iov_len = (size_t)n * size };
	struct ti_iov_cursor cursor = ti_iov_cursor(&piece, 1);

	bytes = (bytes + unit - 1) / unit * unit;
	if (!io(r, TI_IO_READ, TI_DATA, start, r->data, bytes))
		return false;
	ti_hash_blocks(r->hash, block * r->geo->sectors_per_block, &cursor, n, r->tags);
	return true;
}

/* Where a tag begins in the views whose first line is @base. */
static size_t tag_at(const struct rescue *r, uint64_t base, uint64_t block)
{
	return (size_t)(block * r->geo->tag_size - base * TI_LINE_BYTES);
}

/* How many blocks from @block on have tags that begin in line @base and differ in the two views? */
static uint32_t count_different(const struct rescue *r, uint64_t base, uint64_t block)
{
	uint32_t n = 0, size = r->geo->tag_size;

	for (; n < r->run_blocks && block < r->geo->provided_blocks; n++, block++) {
		size_t at = tag_at(r, base, block);

		if (at >= TI_LINE_BYTES || ti_secret_equal(r->disk + at, r->kept + at, size))
			break;
	}
	return n;
}

/*
 * @tag is the block's.  The device's stays if that is it, for then the file's is older: somebody
 * else has written the block since.  Else the file's is taken.  If it is not the block's either (or
 * the discard filler, which stands for whatever a block holds), a write was under way, or the
 * digest or its key is the wrong one: then the file's is what is right one day.
 */
static bool take_tag(struct rescue *r, uint64_t base, uint64_t block, const uint8_t *tag)
{
	size_t at = tag_at(r, base, block), size = r->geo->tag_size;
	const uint8_t *kept = r->kept + at;

	if (ti_secret_equal(tag, r->disk + at, size))
		return false;
	if (ti_secret_equal(tag, kept, size) || ti_tag_is_filler(kept, size))
		r->rescued++;
	else
		r->unmatched++;
	memcpy(r->disk + at, kept, size);
	return true;
}

/* The block cannot be read now.  It may be one day, and the file's tag is that of what was
 * acknowledged last: an outage costs no block its tag. */
static void take_unseen(struct rescue *r, uint64_t base, uint64_t block)
{
	size_t at = tag_at(r, base, block);

	memcpy(r->disk + at, r->kept + at, r->geo->tag_size);
	r->unreadable++;
}

/* A run of blocks whose tags differ.  True if any was taken. */
static bool rescue_run(struct rescue *r, uint64_t base, uint64_t block, uint32_t n)
{
	bool taken = false, whole = hash_run(r, block, n);

	for (uint32_t i = 0; i < n; i++) {
		if (whole || hash_run(r, block + i, 1)) {
			taken |= take_tag(r, base, block + i,
					  r->tags + (whole ? (size_t)i * r->geo->tag_size : 0));
		} else {
			take_unseen(r, base, block + i);
			taken = true;
		}
	}
	return taken;
}

/* The tags that start or end in line @index, from the file's view to the device's. */
static bool rescue_line(struct rescue *r, uint64_t index)
{
	uint32_t size = r->geo->tag_size;
	uint64_t from = index * TI_LINE_BYTES, first = from / size, block;
	uint64_t base = first * size / TI_LINE_BYTES; /* the line that the first tag starts in */

	/* Two views of two lines: if the first tag starts before our line, begin there. */
	for (; base <= index; base++) {
		bool changed = false;
		uint32_t n;

		if (!view(r, base, 0) || !view(r, base + 1, 1))
			return false;
		block = (base * TI_LINE_BYTES + size - 1) / size;
		for (; block < r->geo->provided_blocks && block * size / TI_LINE_BYTES == base;
		     block += n > 0 ? n : 1) {
			n = count_different(r, base, block);
			if (n > 0)
				changed |= rescue_run(r, base, block, n);
		}
		/* The file's own lines also if nothing changes: an earlier rescue may have written
		 * them, and the flush that was to cover them failed. */
		for (unsigned slot = 0; slot < 2; slot++)
			if ((changed || find_old(r, base + slot) != NULL) &&
			    (base + slot) * TI_LINE_BYTES < r->area_on_disk &&
			    !io(r, TI_IO_WRITE, TI_META,
				r->geo->tag_offset + (base + slot) * TI_LINE_BYTES,
				r->disk + slot * TI_LINE_BYTES, line_bytes(r, base + slot)))
				return false;
	}
	return true;
}

static bool rescue_all(struct rescue *r)
{
	for (size_t i = 0; i < r->index_lines; i++)
		if (!rescue_line(r, r->index[i].place - 1))
			return false;

	if (r->index_lines == 0)
		return true;
	r->flush_failed = !io(r, TI_IO_FLUSH, TI_META, 0, NULL, 0);
	return !r->flush_failed;
}

static int rescue(struct rescue *r)
{
	size_t lines = 4 * (size_t)TI_LINE_BYTES, unit = r->queue->dev[TI_DATA].logical_block_size;
	size_t data = RUN_BYTES + (2 * unit + TI_LINE_BYTES - 1) / TI_LINE_BYTES * TI_LINE_BYTES;
	size_t bytes;
	bool locked, good;
	int err = make_index(r);

	if (err != 0)
		return err;
	r->run_blocks = RUN_BYTES / r->geo->block_size;
	bytes = lines + data + (size_t)r->run_blocks * r->geo->tag_size;
	r->disk = ti_memory_get(bytes, &locked);
	if (r->disk == NULL) {
		free(r->index);
		return -ENOMEM;
	}
	r->kept = r->disk + 2 * (size_t)TI_LINE_BYTES;
	r->data = r->disk + lines;
	r->tags = r->data + data;
	good = rescue_all(r);
	ti_memory_put(r->disk, bytes);
	free(r->index);
	return good ? 0 : r->err;
}

static void inherit(const struct ti_tag_store *old, struct ti_inheritance *inherited)
{
	inherited->found = true;
	for (enum ti_device dev = 0; dev < TI_DEVICES; dev++) {
		/* It may have died between the two notes of a failure. */
		inherited->doubt[dev] =
			(*old->doubt & doubt_bit(dev)) != 0 || old->broken[dev] != 0;
		if (old->broken[dev] == 0)
			continue;
		/* Whatever number stands there, it says that a flush has failed. */
		inherited->broken[dev] = old->broken[dev] < 4096 ? -(int)old->broken[dev] : -EIO;
	}
}

/*
 * The flush that failed may have lost what the predecessor had acknowledged, and the next one may
 * succeed: its file remembers.  It is mapped for reading only.
 */
static void keep_broken(const char *path, enum ti_device dev, int error)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	uint64_t word = (uint64_t)-error;

	if (fd < 0)
		return;
	/* What is on tmpfs already does not need room. */
	(void)!pwrite(fd, &word, sizeof(word),
		      (off_t)(offsetof(struct header, broken) + dev * sizeof(word)));
	close(fd);
}

int ti_tag_store_found(const char *path, const struct ti_store_pair *pair)
{
	struct ti_tag_store old = { 0 };
	int err = map_old(path, pair, &old);

	ti_store_file_close(&old.file, false);
	if (err == 0)
		return 1;
	return err == -ENOENT || err == -ESTALE ? 0 : err;
}

int ti_tag_store_rescue(const char *path, const struct ti_store_pair *pair,
			const struct ti_log *log, struct ti_inheritance *inherited,
			struct ti_error *error)
{
	const struct ti_device_info *meta = &pair->queue->dev[TI_META];
	struct ti_tag_store old = { 0 };
	struct rescue r = { .old = &old,
			    .queue = pair->queue,
			    .geo = pair->geo,
			    .hash = pair->hash,
			    .dev = TI_META };
	uint64_t room = meta->size - pair->geo->tag_offset;
	int err = map_old(path, pair, &old);

	if (err == -ENOENT)
		return 0;
	if (err == -ESTALE) {
		ti_log(log, TI_LOG_WARN,
		       "unwritten tags of another pair are left alone and dropped path=%s", path);
		return 0;
	}
	if (err != 0)
		return ti_error_set(
			error, err,
			"cannot look at the tags that a killed tcmu-runner left in %s: %s; "
			"mend that, or delete the file if they are not needed",
			path, strerror(-err));
	inherit(&old, inherited);
	r.area_on_disk = (pair->geo->tag_bytes + TI_LINE_BYTES - 1) / TI_LINE_BYTES * TI_LINE_BYTES;
	if (r.area_on_disk > room)
		r.area_on_disk = room - room % meta->logical_block_size;
	err = rescue(&r);
	if (r.flush_failed)
		keep_broken(path, TI_META, err);
	ti_store_file_close(&old.file, false);
	if (err != 0)
		return ti_error_set(
			error, err,
			"cannot bring the tags that a killed tcmu-runner left in %s to %s: %s; "
			"the file is kept for the next open",
			path, meta->name, strerror(-err));
	ti_log(log, TI_LOG_WARN,
	       "the tcmu-runner before this one died with the LUN open; tags rescued "
	       "blocks=%" PRIu64 " unreadable=%" PRIu64 " unmatched=%" PRIu64,
	       r.rescued, r.unreadable, r.unmatched);
	return 0;
}
