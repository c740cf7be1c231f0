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
#include <unistd.h>

#include "memory.h"
#include "tag_cache.h"

#define PAGE 4096U

static const char magic[16] = "ti-tag-store-1";

struct header {
	char magic[16];
	uint64_t lines;
};

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

int ti_tag_store_open(const char *path, size_t lines, bool *locked, struct ti_tag_store **store)
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
	/* Every page is there from the start: a full tmpfs shows here, not as SIGBUS in the I/O
	 * path. */
	if (s->path == NULL || fd < 0 || posix_fallocate(fd, 0, (off_t)file_bytes(lines)) != 0) {
		err = s->path == NULL ? -ENOMEM : fd < 0 ? -errno : -ENOSPC;
		goto out;
	}
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

/* Map a predecessor's file for reading.  False if there is none that makes sense. */
static bool map_old(const char *path, struct ti_tag_store *s)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct header h = { .lines = 0 };
	struct stat st;
	bool sane = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
		    pread(fd, &h, sizeof(h), 0) == (ssize_t)sizeof(h) &&
		    memcmp(h.magic, magic, sizeof(magic)) == 0 && h.lines > 0 &&
		    h.lines < SIZE_MAX / (2 * TI_LINE_BYTES) &&
		    (uint64_t)st.st_size == file_bytes((size_t)h.lines);
	void *map = MAP_FAILED;

	if (sane)
		map = mmap(NULL, file_bytes((size_t)h.lines), PROT_READ, MAP_PRIVATE, fd, 0);
	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED)
		return false;
	lay_out(s, map, (size_t)h.lines);
	return true;
}

/* What the rescue of a file works with. */
struct rescue {
	const struct ti_tag_store *old;
	struct ti_queue *queue;
	const struct ti_geometry *geo;
	const struct ti_hash *hash;
	uint64_t area_on_disk; /* bytes of the tag area in whole lines, or to the device's end */
	uint8_t *disk;	       /* two neighbouring lines of the device: tags may cross from one */
	uint8_t *kept;	       /* the same lines as the file has them */
	uint8_t *block;	       /* one block of data, or what the device reads at once */
	uint64_t rescued;
	int err;
	const char *what;
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

static const uint8_t *find_old(const struct rescue *r, uint64_t index)
{
	for (size_t i = 0; i < r->old->lines; i++)
		if (r->old->place[i] == index + 1)
			return r->old->data + i * TI_LINE_BYTES;
	return NULL;
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

/* Tag of the block as the data device has it. */
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
			if (!hash_block(r, block, tag))
				return false;
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
	uint64_t lines = (r->area_on_disk + TI_LINE_BYTES - 1) / TI_LINE_BYTES;

	for (size_t i = 0; i < r->old->lines; i++) {
		uint64_t place = r->old->place[i];

		if (place != 0 && place <= lines && !rescue_line(r, place - 1))
			return false;
	}
	return r->rescued == 0 || io(r, TI_IO_FLUSH, TI_META, 0, NULL, 0);
}

int ti_tag_store_rescue(const char *path, struct ti_queue *queue, const struct ti_geometry *geo,
			const struct ti_hash *hash, const struct ti_log *log,
			struct ti_error *error)
{
	const struct ti_device_info *meta = &queue->dev[TI_META];
	struct ti_tag_store old = { 0 };
	struct rescue r = { .old = &old, .queue = queue, .geo = geo, .hash = hash };
	size_t bytes = 5 * (size_t)TI_LINE_BYTES;
	uint64_t room = meta->size - geo->tag_offset;
	bool locked, good;

	if (queue->dev[TI_DATA].logical_block_size > TI_LINE_BYTES || !map_old(path, &old))
		return 0;
	r.area_on_disk = (geo->tag_bytes + TI_LINE_BYTES - 1) / TI_LINE_BYTES * TI_LINE_BYTES;
	if (r.area_on_disk > room)
		r.area_on_disk = room - room % meta->logical_block_size;
	r.disk = ti_memory_get(bytes, &locked);
	if (r.disk == NULL) {
		munmap(old.map, old.map_bytes);
		return ti_error_set(error, -ENOMEM, "out of memory to rescue tags");
	}
	r.kept = r.disk + 2 * (size_t)TI_LINE_BYTES;
	r.block = r.disk + 4 * (size_t)TI_LINE_BYTES;
	good = rescue_all(&r);
	ti_memory_put(r.disk, bytes);
	munmap(old.map, old.map_bytes);
	if (!good)
		return ti_error_set(
			error, r.err,
			"cannot bring the tags of the runner that died to their places: %s: "
			"%s; %s is kept for the next open",
			queue->dev[r.dev].name, strerror(-r.err), path);
	ti_log(log, TI_LOG_WARN,
	       "the runner before this one died with the LUN open; tags rescued blocks=%" PRIu64,
	       r.rescued);
	return 0;
}
