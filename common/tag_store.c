/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * See tag_store.h.  The file: a page of header, the places, padding to a page, the lines.  It never
 * leaves this machine's memory, so its integers are the machine's own.
 */
#include "tag_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "memory.h"
#include "tag_cache.h"

#define PAGE 4096U

static const char magic[16] = "ti-tag-store-1";

/* Whose tags these are.  Compared as bytes: no padding. */
struct identity {
	uint64_t data_bytes, meta_bytes;
	uint64_t start_sector, tag_offset, provided_sectors;
	uint32_t block_size, tag_size;
	uint8_t salt[TI_SALT_BYTES];
};

_Static_assert(sizeof(struct identity) == 48 + TI_SALT_BYTES, "no padding");

struct header {
	char magic[16];
	uint64_t lines;
	struct identity identity;
};

static struct identity identify(const struct ti_tag_store_pair *pair)
{
	struct identity id = {
		.data_bytes = pair->queue->dev[TI_DATA].size,
		.meta_bytes = pair->queue->dev[TI_META].size,
		.start_sector = pair->geo->start_sector,
		.tag_offset = pair->geo->tag_offset,
		.provided_sectors = pair->geo->provided_sectors,
		.block_size = pair->geo->block_size,
		.tag_size = pair->geo->tag_size,
	};

	memcpy(id.salt, pair->sb->salt, sizeof(id.salt));
	return id;
}

static size_t places_bytes(size_t lines)
{
	return (lines * sizeof(uint64_t) + PAGE - 1) / PAGE * PAGE;
}

static size_t file_bytes(size_t lines)
{
	return PAGE + places_bytes(lines) + lines * TI_LINE_BYTES;
}

static void lay_out(struct ti_tag_store *s, void *map, size_t lines)
{
	s->map = map;
	s->map_bytes = file_bytes(lines);
	s->lines = lines;
	s->place = (uint64_t *)(void *)((uint8_t *)map + PAGE);
	s->data = (uint8_t *)map + PAGE + places_bytes(lines);
}

/* A full /run breaks the whole machine: take at most half of what is free. */
static int reserve(int fd, size_t bytes)
{
	struct statvfs fs;

	if (fstatvfs(fd, &fs) != 0)
		return -errno;
	if ((uint64_t)fs.f_bavail * fs.f_frsize / 2 < bytes)
		return -ENOSPC;
	/* Every page is there from the start: a lack of them shows here, not in the I/O path. */
	return -posix_fallocate(fd, 0, (off_t)bytes);
}

int ti_tag_store_open(const char *path, const struct ti_tag_store_pair *pair, size_t lines,
		      bool *locked, struct ti_tag_store **store)
{
	struct ti_tag_store *s = calloc(1, sizeof(*s));
	struct header *h;
	void *map;
	int fd, err = 0;

	if (s == NULL)
		return -ENOMEM;
	s->path = strdup(path);
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	err = s->path == NULL ? -ENOMEM : fd < 0 ? -errno : reserve(fd, file_bytes(lines));
	if (err != 0)
		goto out;
	map = mmap(NULL, file_bytes(lines), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		   0);
	if (map == MAP_FAILED) {
		err = -errno;
		goto out;
	}
	if (mlock(map, file_bytes(lines)) != 0)
		*locked = false;
	lay_out(s, map, lines);
	h = map;
	h->lines = lines;
	h->identity = identify(pair);
	memcpy(h->magic, magic, sizeof(magic));
out:
	if (fd >= 0)
		close(fd);
	if (err != 0) {
		if (fd >= 0)
			unlink(path);
		free(s->path);
		free(s);
		return err;
	}
	*store = s;
	return 0;
}

void ti_tag_store_close(struct ti_tag_store *s, bool remove)
{
	if (s == NULL)
		return;
	if (remove)
		unlink(s->path);
	munmap(s->map, s->map_bytes);
	free(s->path);
	free(s);
}

/*
 * Map a predecessor's file for reading.  Returns 0, -ENOENT if there is none, -ESTALE if it is none
 * of this pair's, or the error because of which it cannot be looked at.
 */
static int map_old(const char *path, const struct ti_tag_store_pair *pair, struct ti_tag_store *s)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), err = 0;
	struct identity ours = identify(pair);
	struct header h = { .lines = 0 };
	struct stat st;
	void *map;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0 || pread(fd, &h, sizeof(h), 0) < 0)
		err = -errno;
	else if (memcmp(h.magic, magic, sizeof(magic)) != 0 ||
		 memcmp(&h.identity, &ours, sizeof(ours)) != 0 || h.lines == 0 ||
		 h.lines >= SIZE_MAX / (2 * TI_LINE_BYTES) ||
		 (uint64_t)st.st_size != file_bytes((size_t)h.lines))
		err = -ESTALE;
	if (err == 0) {
		map = mmap(NULL, file_bytes((size_t)h.lines), PROT_READ, MAP_PRIVATE, fd, 0);
		if (map == MAP_FAILED)
			err = -errno;
		else
			lay_out(s, map, (size_t)h.lines);
	}
	close(fd);
	return err;
}

/* A line of the file and the place it belongs to. */
struct kept_line {
	uint64_t place;
	size_t line;
};

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
	uint8_t *block;	       /* one block of data, or what the device reads at once */
	uint64_t rescued, unreadable;
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

/* Tag of the block as the data device has it.  False if it cannot be read: nor can it be by
 * anybody. */
static bool hash_block(struct rescue *r, uint64_t block, uint8_t *tag)
{
	uint32_t size = r->geo->block_size, unit = r->queue->dev[TI_DATA].logical_block_size;
	uint64_t offset = block * size, start;
	struct iovec piece;
	struct ti_iov_cursor cursor;

	unit = unit > size ? unit : size;
	start = offset - offset % unit;
	if (!io(r, TI_IO_READ, TI_DATA, start, r->block, unit))
		return false;
	piece.iov_base = r->block + (offset - start);
	piece.iov_len = size;
	cursor = ti_iov_cursor(&piece, 1);
	ti_hash_blocks(r->hash, block * r->geo->sectors_per_block, &cursor, 1, tag);
	return true;
}

/* The tags that start or end in line @index, from the file's view to the device's. */
static bool rescue_line(struct rescue *r, uint64_t index)
{
	uint32_t size = r->geo->tag_size;
	uint64_t from = index * TI_LINE_BYTES, first = from / size, block;
	uint64_t base = first * size / TI_LINE_BYTES; /* the line that the first tag starts in */
	uint8_t tag[TI_MAX_TAG_SIZE];
	bool changed = false;

	/* Two views of two lines: if the first tag starts before our line, begin there. */
	for (; base <= index; base++) {
		if (!view(r, base, 0) || !view(r, base + 1, 1))
			return false;
		changed = false;
		block = (base * TI_LINE_BYTES + size - 1) / size;
		for (; block < r->geo->provided_blocks && block * size / TI_LINE_BYTES == base;
		     block++) {
			size_t at = (size_t)(block * size - base * TI_LINE_BYTES);

			if (memcmp(r->disk + at, r->kept + at, size) == 0)
				continue;
			if (!hash_block(r, block, tag)) {
				r->unreadable++;
				continue;
			}
			if (memcmp(tag, r->disk + at, size) == 0 ||
			    memcmp(tag, r->kept + at, size) != 0)
				continue;
			memcpy(r->disk + at, tag, size);
			changed = true;
			r->rescued++;
		}
		for (unsigned slot = 0; changed && slot < 2; slot++)
			if ((base + slot) * TI_LINE_BYTES < r->area_on_disk &&
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
	/* Also if nothing was to be done: an earlier rescue may have failed to flush. */
	return r->index_lines == 0 || io(r, TI_IO_FLUSH, TI_META, 0, NULL, 0);
}

static int rescue(struct rescue *r)
{
	size_t bytes = 4 * (size_t)TI_LINE_BYTES, unit = r->queue->dev[TI_DATA].logical_block_size;
	bool locked, good;
	int err = make_index(r);

	if (err != 0)
		return err;
	bytes += unit > TI_LINE_BYTES ? unit : TI_LINE_BYTES;
	r->disk = ti_memory_get(bytes, &locked);
	if (r->disk == NULL) {
		free(r->index);
		return -ENOMEM;
	}
	r->kept = r->disk + 2 * (size_t)TI_LINE_BYTES;
	r->block = r->disk + 4 * (size_t)TI_LINE_BYTES;
	good = rescue_all(r);
	ti_memory_put(r->disk, bytes);
	free(r->index);
	return good ? 0 : r->err;
}

int ti_tag_store_rescue(const char *path, const struct ti_tag_store_pair *pair,
			const struct ti_log *log, struct ti_error *error)
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
	r.area_on_disk = (pair->geo->tag_bytes + TI_LINE_BYTES - 1) / TI_LINE_BYTES * TI_LINE_BYTES;
	if (r.area_on_disk > room)
		r.area_on_disk = room - room % meta->logical_block_size;
	err = rescue(&r);
	munmap(old.map, old.map_bytes);
	if (err != 0)
		return ti_error_set(
			error, err,
			"cannot bring the tags that a killed tcmu-runner left in %s to %s: %s; "
			"the file is kept for the next open",
			path, meta->name, strerror(-err));
	ti_log(log, TI_LOG_WARN,
	       "the tcmu-runner before this one died with the LUN open; tags rescued "
	       "blocks=%" PRIu64 " unreadable=%" PRIu64,
	       r.rescued, r.unreadable);
	return 0;
}
