/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Opening one device: keep others out, then ask it what I/O it takes.
 *
 * Block devices are claimed with O_EXCL, readers too: there is no shared claim.  Files are locked
 * with flock().  When the holder is a process that has just died, its claim lives until the kernel
 * has taken its io_uring apart; so we try for a while before we give up, unless a living holder is
 * known.  That lets a restarted tcmu-runner have its devices back.
 *
 * Nothing is ever created and nothing is written.
 */
#include "pair_device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "clock.h"
#include "pair_holder.h"

#define SECTOR_BYTES 512U

/** How long a dying holder is waited for, and how often it is looked at. */
#define HOLDER_WAIT_NS	(2 * TI_NS_PER_SEC)
#define HOLDER_PAUSE_NS (20 * TI_NS_PER_MS)

/** The largest logical block that direct I/O on a file is tried with. */
#define MAX_PROBE_BYTES 4096U

int ti_device_look(const struct ti_device_request *rq, struct stat *st, struct ti_error *error)
{
	if (stat(rq->path, st) != 0) {
		int err = -errno;

		if (err == -ENOENT || err == -ENOTDIR)
			return ti_error_set(error, err,
					    "the %s %s does not exist: check the name, nothing is "
					    "created by opening it",
					    rq->role, rq->path);
		return ti_error_set(error, err,
				    "the %s %s cannot be looked at (%s): check the name and the "
				    "permissions on the way to it",
				    rq->role, rq->path, strerror(-err));
	}
	if (S_ISBLK(st->st_mode) || S_ISREG(st->st_mode))
		return 0;
	return ti_error_set(error, S_ISDIR(st->st_mode) ? -EISDIR : -ENOTBLK,
			    "the %s %s is %s: name a block device or a file", rq->role, rq->path,
			    S_ISDIR(st->st_mode)   ? "a directory"
			    : S_ISCHR(st->st_mode) ? "a character device"
						   : "neither a block device nor a file");
}

/* /sys/dev/block/M:m/@name as a line; @name may begin with "../".  Empty if it is not there. */
static void read_sys(dev_t rdev, const char *name, char *line, size_t size)
{
	ssize_t n = -1;
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(rdev), minor(rdev),
		       name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, line, size - 1);
		(void)close(fd);
	}
	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
}

/* A queue attribute; a partition's queue is its disk's. */
static void read_queue(dev_t rdev, const char *name, char *line, size_t size)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "queue/%s", name);
	read_sys(rdev, path, line, size);
	if (line[0])
		return;
	(void)snprintf(path, sizeof(path), "../queue/%s", name);
	read_sys(rdev, path, line, size);
}

static int say_read_only(const struct ti_device_request *rq, struct ti_error *error)
{
	return ti_error_set(error, -EROFS,
			    "the %s %s is read-only: make it writable, or open the pair for "
			    "reading only",
			    rq->role, rq->path);
}

static int say_open_failed(const struct ti_device_request *rq, const struct stat *seen, int err,
			   struct ti_error *error)
{
	char ro[8];

	if (S_ISBLK(seen->st_mode)) {
		read_sys(seen->st_rdev, "ro", ro, sizeof(ro));
		/* Drivers and kernels differ in how they refuse writers of a read-only device. */
		if (!rq->read_only && strcmp(ro, "1") == 0)
			return say_read_only(rq, error);
	}
	if (err == -EROFS)
		return say_read_only(rq, error);
	if (err == -EACCES || err == -EPERM)
		return ti_error_set(
			error, err,
			"the %s %s may not be opened for %s (%s): run as root or change "
			"its permissions",
			rq->role, rq->path, rq->read_only ? "reading" : "reading and writing",
			strerror(-err));
	if (err == -ENXIO || err == -ENODEV || err == -ENOMEDIUM)
		return ti_error_set(error, err,
				    "the %s %s has no device behind it (%s): attach it first",
				    rq->role, rq->path, strerror(-err));
	return ti_error_set(error, err, "the %s %s cannot be opened (%s): check the device",
			    rq->role, rq->path, strerror(-err));
}

static int say_held(const struct ti_device_request *rq, const struct stat *seen, const char *text,
		    struct ti_error *error)
{
	return ti_error_set(error, -EBUSY, "the %s %s is %s by %s", rq->role, rq->path,
			    S_ISBLK(seen->st_mode) ? "in use" : "locked", text);
}

static enum ti_holder holder_of(const struct stat *seen, char text[TI_HOLDER_TEXT])
{
	return S_ISBLK(seen->st_mode) ? ti_holder_of_block(seen, text)
				      : ti_holder_of_file(seen, text);
}

int ti_device_held(const struct ti_device_request *rq, const struct stat *seen,
		   struct ti_error *error)
{
	char text[TI_HOLDER_TEXT];
	enum ti_holder holder = holder_of(seen, text);

	/* A process that has it open may do no more than look at it.  This one has a LUN there. */
	if (holder == TI_HOLDER_CERTAIN ||
	    (holder == TI_HOLDER_LIKELY && strstr(text, TI_HOLDER_SELF)))
		return say_held(rq, seen, text, error);
	return 0;
}

/* Shall a refused claim be tried again?  If not, @error says why. */
static bool try_again(const struct ti_device_request *rq, const struct stat *seen,
		      uint64_t give_up_ns, struct ti_error *error)
{
	const struct timespec pause = { .tv_nsec = HOLDER_PAUSE_NS };
	char text[TI_HOLDER_TEXT];
	enum ti_holder holder = holder_of(seen, text);

	if (holder != TI_HOLDER_CERTAIN && ti_clock_now(&ti_clock_monotonic) < give_up_ns) {
		(void)nanosleep(&pause, NULL);
		return true;
	}
	(void)say_held(rq, seen, text, error);
	return false;
}

static uint64_t give_up_at(void)
{
	return ti_clock_now(&ti_clock_monotonic) + HOLDER_WAIT_NS;
}

/* Open a block device.  Returns a file descriptor or negative errno with a sentence. */
static int open_block(const struct ti_device_request *rq, const struct stat *seen,
		      struct ti_error *error)
{
	int flags = O_CLOEXEC | O_DIRECT | (rq->read_only || rq->peek ? O_RDONLY : O_RDWR) |
		    (rq->no_lock || rq->peek ? 0 : O_EXCL);
	uint64_t give_up_ns = give_up_at();

	for (;;) {
		int fd = open(rq->path, flags);

		if (fd >= 0)
			return fd;
		if (errno != EBUSY)
			return say_open_failed(rq, seen, -errno, error);
		if (!try_again(rq, seen, give_up_ns, error))
			return -EBUSY;
	}
}

/* Open a file, *@direct says how.  Returns a file descriptor or negative errno with a sentence. */
static int open_file(const struct ti_device_request *rq, const struct stat *seen, bool *direct,
		     struct ti_error *error)
{
	int flags = O_CLOEXEC | (rq->read_only || rq->peek ? O_RDONLY : O_RDWR);
	int fd;

	if (rq->peek && !rq->read_only && access(rq->path, W_OK) != 0)
		return say_open_failed(rq, seen, -errno, error);
	fd = open(rq->path, flags | O_DIRECT);
	*direct = fd >= 0;
	if (fd < 0 && errno == EINVAL)
		fd = open(rq->path, flags);
	if (fd < 0)
		return say_open_failed(rq, seen, -errno, error);
	return fd;
}

static int lock_file(const struct ti_device_request *rq, const struct stat *seen, int fd,
		     struct ti_error *error)
{
	int how = (rq->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB;
	uint64_t give_up_ns = give_up_at();

	if (rq->no_lock || rq->peek)
		return 0;
	while (flock(fd, how) != 0) {
		if (errno != EWOULDBLOCK)
			return ti_error_set(error, -errno,
					    "the %s %s cannot be locked (%s): move it to a file "
					    "system that has flock()",
					    rq->role, rq->path, strerror(errno));
		if (!try_again(rq, seen, give_up_ns, error))
			return -EBUSY;
	}
	return 0;
}

/* What the kernel says direct I/O must be aligned to; *@memory 0: it does not say. */
static void ask_alignment(int fd, uint32_t *memory, uint32_t *offset, bool *refused)
{
	*memory = *offset = 0;
	*refused = false;
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    (stx.stx_mask & STATX_DIOALIGN)) {
		*memory = stx.stx_dio_mem_align;
		*offset = stx.stx_dio_offset_align;
		*refused = stx.stx_dio_offset_align == 0;
	}
#else
	(void)fd;
#endif
}

/* Find by reading what direct I/O on a file must be aligned to.  0: not possible at all. */
static uint32_t probe_alignment(int fd)
{
	uint32_t bytes = 0;
	void *buf;

	if (posix_memalign(&buf, MAX_PROBE_BYTES, MAX_PROBE_BYTES) != 0)
		return 0;
	for (uint32_t n = SECTOR_BYTES; !bytes && n <= MAX_PROBE_BYTES; n *= 2) {
		if (pread(fd, buf, n, n) >= 0 || errno != EINVAL)
			bytes = n;
	}
	free(buf);
	return bytes;
}

static uint32_t at_least(uint32_t value, uint32_t least)
{
	return value > least ? value : least;
}

/* What lies behind the last whole block cannot be reached. */
static uint64_t whole_blocks(uint64_t size, uint32_t block)
{
	return size - size % block;
}

static int learn_block(const struct ti_device_request *rq, const struct stat *st,
		       struct ti_host_device *dev, struct ti_error *error)
{
	struct ti_device_info *info = &dev->info;
	int logical = 0, read_only = 0;
	uint32_t memory, offset;
	uint64_t size = 0;
	char line[32];
	bool refused;

	if (ioctl(dev->fd, BLKGETSIZE64, &size) != 0 || ioctl(dev->fd, BLKSSZGET, &logical) != 0 ||
	    ioctl(dev->fd, BLKROGET, &read_only) != 0)
		return ti_error_set(error, -errno,
				    "the %s %s does not tell its size (%s): check the device",
				    rq->role, rq->path, strerror(errno));
	if (read_only && !rq->read_only)
		return say_read_only(rq, error);
	info->logical_block_size = at_least((uint32_t)logical, SECTOR_BYTES);
	info->size = whole_blocks(size, info->logical_block_size);
	ask_alignment(dev->fd, &memory, &offset, &refused);
	/* Some drivers claim to take less than they do. */
	info->memory_align = at_least(memory ? memory : info->logical_block_size, SECTOR_BYTES);
	/* What is not known counts as a volatile cache: then flushes are taken seriously. */
	read_queue(st->st_rdev, "write_cache", line, sizeof(line));
	info->has_volatile_cache = strcmp(line, "write through") != 0;
	read_queue(st->st_rdev, "fua", line, sizeof(line));
	info->fua = strcmp(line, "1") == 0 || !info->has_volatile_cache;
	return 0;
}

static int learn_file(const struct ti_device_request *rq, const struct stat *st, bool direct,
		      const struct ti_log *log, struct ti_host_device *dev, struct ti_error *error)
{
	struct ti_device_info *info = &dev->info;
	uint32_t memory = 0, offset = 0;
	bool refused = false;

	if (direct)
		ask_alignment(dev->fd, &memory, &offset, &refused);
	if (direct && !refused && !offset)
		offset = probe_alignment(dev->fd);
	if (direct && (refused || !offset)) {
		/* O_DIRECT was taken, and would be ignored or every request refused. */
		direct = false;
		if (fcntl(dev->fd, F_SETFL, fcntl(dev->fd, F_GETFL) & ~O_DIRECT) != 0)
			return ti_error_set(error, -errno,
					    "the %s %s cannot be switched to buffered I/O (%s): "
					    "use another file system",
					    rq->role, rq->path, strerror(errno));
	}
	if (!direct)
		ti_log(log, TI_LOG_WARN,
		       "the %s %s is on a file system without direct I/O: it goes through the page "
		       "cache, which takes memory and time",
		       rq->role, rq->path);
	info->logical_block_size = direct ? at_least(offset, SECTOR_BYTES) : SECTOR_BYTES;
	info->size = whole_blocks((uint64_t)st->st_size, info->logical_block_size);
	info->memory_align = !direct ? 1 : memory ? memory : info->logical_block_size;
	/* Whatever is below the file system: its fdatasync() knows. */
	info->has_volatile_cache = true;
	info->fua = false;
	return 0;
}

/* Is what we opened what we looked at?  A path may have been given to something else since. */
static int check_same(const struct ti_device_request *rq, const struct stat *seen, int fd,
		      struct stat *st, struct ti_error *error)
{
	if (fstat(fd, st) != 0)
		return ti_error_set(error, -errno, "the %s %s cannot be looked at (%s): try again",
				    rq->role, rq->path, strerror(errno));
	if ((st->st_mode & S_IFMT) != (seen->st_mode & S_IFMT) || st->st_dev != seen->st_dev ||
	    st->st_ino != seen->st_ino || st->st_rdev != seen->st_rdev)
		return ti_error_set(error, -EAGAIN,
				    "the %s %s was replaced while it was opened: try again",
				    rq->role, rq->path);
	return 0;
}

static int learn(const struct ti_device_request *rq, const struct stat *seen, bool direct,
		 const struct ti_log *log, struct ti_host_device *dev, struct ti_error *error)
{
	struct stat st;
	int err = check_same(rq, seen, dev->fd, &st, error);

	if (err)
		return err;
	if (S_ISBLK(st.st_mode))
		err = learn_block(rq, &st, dev, error);
	else
		err = learn_file(rq, &st, direct, log, dev, error);
	if (!err && dev->info.size == 0)
		err = ti_error_set(error, -EINVAL,
				   "the %s %s is empty: give it a size or attach a medium",
				   rq->role, rq->path);
	return err;
}

int ti_device_open(const struct ti_device_request *rq, const struct stat *seen,
		   const struct ti_log *log, struct ti_host_device *dev, struct ti_error *error)
{
	bool block = S_ISBLK(seen->st_mode), direct = true;
	int err = 0;

	*dev = (struct ti_host_device)TI_HOST_DEVICE_NONE;
	dev->path = strdup(rq->path);
	if (!dev->path)
		return ti_error_set(error, -ENOMEM,
				    "no memory is left to open the %s %s: free some", rq->role,
				    rq->path);
	dev->info.name = dev->path;
	dev->info.read_only = rq->read_only;
	dev->fd = block ? open_block(rq, seen, error) : open_file(rq, seen, &direct, error);
	if (dev->fd < 0)
		err = dev->fd;
	if (!err && !block)
		err = lock_file(rq, seen, dev->fd, error);
	if (!err)
		err = learn(rq, seen, direct, log, dev, error);
	if (err)
		ti_host_device_close(dev);
	return err;
}
