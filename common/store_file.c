/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See store_file.h. */
#include "store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A file gets its name when it is whole. */
#define SUFFIX ".new"

static struct ti_store_identity identify(const struct ti_store_pair *pair)
{
	struct ti_store_identity id = {
		.data_bytes = pair->queue->dev[TI_DATA].size,
		.meta_bytes = pair->queue->dev[TI_META].size,
		.start_sector = pair->geo->start_sector,
		.tag_offset = pair->geo->tag_offset,
		.provided_sectors = pair->geo->provided_sectors,
		.block_size = pair->geo->block_size,
		.tag_size = pair->geo->tag_size,
		.journal_sections = pair->geo->journal_sections,
		.section_sectors = pair->geo->section_sectors,
	};

	memcpy(id.salt, pair->sb->salt, sizeof(id.salt));
	return id;
}

static char *new_name(const char *path)
{
	char *name;

	return asprintf(&name, "%s" SUFFIX, path) < 0 ? NULL : name;
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

static int map_file(int fd, int protection, int flags, bool *locked, struct ti_store_file *file)
{
	void *map = mmap(NULL, file->bytes, protection, flags, fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	file->map = map;
	if (locked != NULL && mlock(map, file->bytes) != 0)
		*locked = false;
	/* A fork()ed child has no use for it. */
	madvise(map, file->bytes, MADV_DONTFORK);
	return 0;
}

int ti_store_file_create(const char *path, const char *magic, const struct ti_store_pair *pair,
			 size_t bytes, bool *locked, struct ti_store_file *file)
{
	char *name = new_name(path);
	struct ti_store_head *head;
	int fd, err;

	*file = (struct ti_store_file){ .bytes = bytes, .path = strdup(path) };
	if (name == NULL || file->path == NULL) {
		free(name);
		ti_store_file_close(file, false);
		return -ENOMEM;
	}
	unlink(name);
	fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	err = fd < 0 ? -errno : reserve(fd, bytes);
	if (err == 0)
		err = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, locked, file);
	if (fd >= 0)
		close(fd);
	if (err != 0) {
		if (fd >= 0)
			unlink(name);
		free(name);
		ti_store_file_close(file, false);
		return err;
	}
	free(name);
	head = (struct ti_store_head *)(void *)file->map;
	memcpy(head->magic, magic, sizeof(head->magic));
	head->bytes = bytes;
	head->identity = identify(pair);
	return 0;
}

int ti_store_file_publish(const struct ti_store_file *file)
{
	char *name = new_name(file->path);
	int err;

	if (name == NULL)
		return -ENOMEM;
	err = rename(name, file->path) != 0 ? -errno : 0;
	if (err != 0)
		unlink(name);
	free(name);
	return err;
}

int ti_store_file_empty(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	int err = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0 || (st.st_size > TI_STORE_PAGE &&
				    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					      TI_STORE_PAGE, st.st_size - TI_STORE_PAGE) != 0))
		err = -errno;
	close(fd);
	return err;
}

void ti_store_file_discard(struct ti_store_file *file)
{
	char *name = new_name(file->path);

	if (name != NULL)
		unlink(name);
	free(name);
	ti_store_file_close(file, false);
}

/* The devices may have grown since, which makes it no other pair. */
static bool same_pair(const struct ti_store_identity *a, const struct ti_store_identity *b)
{
	size_t at = offsetof(struct ti_store_identity, start_sector);

	return memcmp((const uint8_t *)a + at, (const uint8_t *)b + at, sizeof(*a) - at) == 0;
}

/* Is it a file of this pair's? */
static int look(int fd, const char *magic, const struct ti_store_pair *pair, uint64_t *bytes)
{
	struct ti_store_identity ours = identify(pair);
	struct ti_store_head head;
	struct stat st;
	ssize_t got;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ESTALE;
	got = pread(fd, &head, sizeof(head), 0);
	if (got < 0)
		return -errno;
	*bytes = (uint64_t)st.st_size;
	if (got != (ssize_t)sizeof(head) || memcmp(head.magic, magic, sizeof(head.magic)) != 0 ||
	    !same_pair(&head.identity, &ours) || head.bytes != *bytes ||
	    head.bytes <= TI_STORE_PAGE || head.bytes > SIZE_MAX)
		return -ESTALE;
	return 0;
}

int ti_store_file_map(const char *path, const char *magic, const struct ti_store_pair *pair,
		      enum ti_store_map how, bool *locked, struct ti_store_file *file)
{
	bool shared = how == TI_STORE_INHERIT || how == TI_STORE_HEAD;
	int fd = open(path, (shared ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	uint64_t bytes;
	int err;

	*file = (struct ti_store_file){ 0 };
	if (fd < 0)
		return -errno;
	err = look(fd, magic, pair, &bytes);
	if (err == 0) {
		file->bytes = how == TI_STORE_HEAD ? TI_STORE_PAGE : (size_t)bytes;
		file->path = strdup(path);
		err = file->path == NULL ? -ENOMEM : 0;
	}
	/* No holes: they would be filled, or fail to be, when they are first touched. */
	if (err == 0 && how == TI_STORE_INHERIT)
		err = -posix_fallocate(fd, 0, (off_t)bytes);
	if (err == 0)
		err = map_file(fd, how == TI_STORE_LOOK ? PROT_READ : PROT_READ | PROT_WRITE,
			       shared ? MAP_SHARED | MAP_POPULATE : MAP_PRIVATE,
			       shared ? locked : NULL, file);
	close(fd);
	if (err != 0)
		ti_store_file_close(file, false);
	return err;
}

void ti_store_file_close(struct ti_store_file *file, bool remove)
{
	if (remove && file->path != NULL)
		unlink(file->path);
	if (file->map != NULL)
		munmap(file->map, file->bytes);
	free(file->path);
	*file = (struct ti_store_file){ 0 };
}

int ti_store_name(const char *dir, const char *meta_path, uint64_t start_sector, char *name,
		  size_t size)
{
	struct stat st;
	int len;

	if (stat(meta_path, &st) != 0)
		return -errno;
	if (S_ISBLK(st.st_mode))
		len = snprintf(name, size, "%s/block-%u-%u-%" PRIu64, dir, major(st.st_rdev),
			       minor(st.st_rdev), start_sector);
	else
		len = snprintf(name, size, "%s/file-%u-%u-%" PRIu64 "-%" PRIu64, dir,
			       major(st.st_dev), minor(st.st_dev), (uint64_t)st.st_ino,
			       start_sector);
	return len < 0 || (size_t)len >= size ? -ENAMETOOLONG : 0;
}

int ti_store_find(const char *dir, const char *meta_path, uint64_t start_sector,
		  struct ti_store_found *found)
{
	static const char *const suffix[] = { "", TI_STORE_JOURNAL };
	size_t room = sizeof(found->path[0]) - sizeof(TI_STORE_JOURNAL);
	char name[sizeof(found->path[0])];
	int err = ti_store_name(dir, meta_path, start_sector, name, room);

	found->count = 0;
	found->mode[0] = '\0';
	if (err != 0)
		return err;
	for (unsigned i = 0; i < 2; i++) {
		char *path = found->path[found->count];
		struct stat st;

		(void)snprintf(path, sizeof(found->path[0]), "%.*s%s", (int)room, name, suffix[i]);
		if (lstat(path, &st) == 0)
			found->count++;
		else if (errno != ENOENT && errno != ENOTDIR)
			return -errno;
	}
	(void)snprintf(found->mode, sizeof(found->mode), "%.*s" TI_STORE_MODE, (int)room, name);
	if (access(found->mode, F_OK) != 0)
		found->mode[0] = '\0';
	return 0;
}
