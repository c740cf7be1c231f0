/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Who holds a device: the kernel's refusal says only "busy", the rest is detective work in /sys and
 * /proc.
 *
 * Stacked devices, mounts and swap are certain.  A process that has a block device open need not be
 * the one that opened it with O_EXCL, the kernel does not show that.  A kernel user without a
 * holders/ entry (an LIO backstore) and a process in another PID namespace cannot be seen.
 * A flock() is shown in /proc/locks with the process that took it; that process counts only if it
 * still has the file open, for a lock outlives its process while the kernel takes apart an
 * io_uring.
 */
#include "pair_holder.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/sysmacros.h>

/** A disk, its partitions, and the disk that a partition is on: held together, all of them busy. */
#define MAX_DEVICES 256

struct dev_set {
	dev_t dev[MAX_DEVICES];
	unsigned count;
};

/* What a process is searched for: the block devices in `set`, or, without one, the file `st`. */
struct target {
	const struct dev_set *set;
	const struct stat *st;
};

static void add_dev(struct dev_set *set, dev_t dev)
{
	if (set->count < MAX_DEVICES)
		set->dev[set->count++] = dev;
}

static bool in_set(const struct dev_set *set, dev_t dev)
{
	for (unsigned i = 0; i < set->count; i++) {
		if (set->dev[i] == dev)
			return true;
	}
	return false;
}

/* The first line of a small file, without its newline.  Empty if there is none. */
static void read_line(const char *path, char *line, size_t size)
{
	FILE *file = fopen(path, "re");

	line[0] = '\0';
	if (!file)
		return;
	if (fgets(line, (int)size, file))
		line[strcspn(line, "\n")] = '\0';
	else
		line[0] = '\0';
	(void)fclose(file);
}

/* Add the device whose "dev" file is at @path. */
static void add_sys_dev(struct dev_set *set, const char *path)
{
	unsigned major, minor;
	char line[32];

	read_line(path, line, sizeof(line));
	if (sscanf(line, "%u:%u", &major, &minor) == 2)
		add_dev(set, makedev(major, minor));
}

static void collect_relatives(struct dev_set *set, dev_t rdev)
{
	char sys[64], path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	set->count = 0;
	add_dev(set, rdev);
	(void)snprintf(sys, sizeof(sys), "/sys/dev/block/%u:%u", major(rdev), minor(rdev));
	(void)snprintf(path, sizeof(path), "%s/partition", sys);
	if (access(path, F_OK) == 0) {
		(void)snprintf(path, sizeof(path), "%s/../dev", sys);
		add_sys_dev(set, path);
	}
	dir = opendir(sys);
	if (!dir)
		return;
	while ((entry = readdir(dir)) != NULL) {
		(void)snprintf(path, sizeof(path), "%s/%s/partition", sys, entry->d_name);
		if (access(path, F_OK) != 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s/dev", sys, entry->d_name);
		add_sys_dev(set, path);
	}
	(void)closedir(dir);
}

/* A device that is stacked on one of the set: device-mapper, md, bcache, … */
static bool find_stacked(const struct dev_set *set, char text[TI_HOLDER_TEXT])
{
	char path[PATH_MAX], name[128];
	bool found = false;

	for (unsigned i = 0; i < set->count && !found; i++) {
		struct dirent *entry;
		DIR *dir;

		(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders",
			       major(set->dev[i]), minor(set->dev[i]));
		dir = opendir(path);
		if (!dir)
			continue;
		while (!found && (entry = readdir(dir)) != NULL) {
			if (entry->d_name[0] == '.')
				continue;
			found = true;
			(void)snprintf(path, sizeof(path), "/sys/block/%s/dm/name", entry->d_name);
			read_line(path, name, sizeof(name));
			if (name[0])
				(void)snprintf(text, TI_HOLDER_TEXT,
					       "the device-mapper device '%s' (%.32s): remove that "
					       "first (dmsetup remove %s)",
					       name, entry->d_name, name);
			else
				(void)snprintf(
					text, TI_HOLDER_TEXT,
					"the device %.32s, which is stacked on it: stop that "
					"first",
					entry->d_name);
		}
		(void)closedir(dir);
	}
	return found;
}

static bool find_mount(const struct dev_set *set, char text[TI_HOLDER_TEXT])
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	bool found = false;
	char *line = NULL;
	size_t size = 0;

	if (!file)
		return false;
	while (!found && getline(&line, &size, file) > 0) {
		char *where = NULL, *source = NULL, *tail = strstr(line, " - ");
		unsigned major, minor;
		struct stat st;

		if (sscanf(line, "%*d %*d %u:%u %*s %ms", &major, &minor, &where) == 3)
			found = in_set(set, makedev(major, minor));
		/* btrfs and others show a device number of their own: look at the source. */
		if (!found && where && tail && sscanf(tail, " - %*s %ms", &source) == 1 &&
		    source[0] == '/' && stat(source, &st) == 0 && S_ISBLK(st.st_mode))
			found = in_set(set, st.st_rdev);
		if (found)
			(void)snprintf(text, TI_HOLDER_TEXT,
				       "a file system that is mounted on %s: unmount it first",
				       where);
		free(source);
		free(where);
	}
	free(line);
	(void)fclose(file);
	return found;
}

static bool find_swap(const struct dev_set *set, char text[TI_HOLDER_TEXT])
{
	FILE *file = fopen("/proc/swaps", "re");
	bool found = false;
	char *line = NULL;
	size_t size = 0;

	if (!file)
		return false;
	while (!found && getline(&line, &size, file) > 0) {
		char *path = NULL;
		struct stat st;

		if (sscanf(line, "%ms", &path) == 1 && path[0] == '/' && stat(path, &st) == 0 &&
		    S_ISBLK(st.st_mode) && in_set(set, st.st_rdev)) {
			found = true;
			(void)snprintf(text, TI_HOLDER_TEXT, "swap: swapoff %s first", path);
		}
		free(path);
	}
	free(line);
	(void)fclose(file);
	return found;
}

static bool is_target(const struct target *target, const struct stat *st)
{
	if (target->set)
		return S_ISBLK(st->st_mode) && in_set(target->set, st->st_rdev);
	return st->st_dev == target->st->st_dev && st->st_ino == target->st->st_ino;
}

/* Can the descriptor read or write?  One with O_PATH stands for a name only, and keeps nobody out.
 * The mode of the link says so. */
static bool is_of_use(int dir, const char *name)
{
	struct stat link;

	return fstatat(dir, name, &link, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (link.st_mode & (S_IRUSR | S_IWUSR)) != 0;
}

/* Has the process the target open?  1, 0, or negative errno when that cannot be seen. */
static int has_open(const char *pid, const struct target *target)
{
	struct dirent *entry;
	struct stat st;
	char path[64];
	int found = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while (!found && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.' && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0)
			found = is_target(target, &st) && is_of_use(dirfd(dir), entry->d_name);
	}
	(void)closedir(dir);
	return found;
}

/* Append "process 123 (comm)" to a list. */
static void add_process(char text[TI_HOLDER_TEXT], const char *pid)
{
	size_t used = strlen(text);
	char path[64], comm[32];

	(void)snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	read_line(path, comm, sizeof(comm));
	(void)snprintf(text + used, TI_HOLDER_TEXT - used, "%s%sprocess %s (%s)", used ? ", " : "",
		       strtol(pid, NULL, 10) == getpid() ? TI_HOLDER_SELF : "", pid,
		       comm[0] ? comm : "?");
}

static void say_stop_that(char text[TI_HOLDER_TEXT])
{
	size_t used = strlen(text);

	(void)snprintf(text + used, TI_HOLDER_TEXT - used, ": stop that first");
}

/* Processes that have one of the block devices open; three are enough to go by. */
static bool find_processes(const struct target *target, char text[TI_HOLDER_TEXT])
{
	struct dirent *entry;
	unsigned found = 0;
	DIR *dir = opendir("/proc");

	text[0] = '\0';
	if (!dir)
		return false;
	while (found < 3 && (entry = readdir(dir)) != NULL) {
		if (isdigit((unsigned char)entry->d_name[0]) &&
		    has_open(entry->d_name, target) == 1) {
			add_process(text, entry->d_name);
			found++;
		}
	}
	(void)closedir(dir);
	if (found)
		say_stop_that(text);
	return found > 0;
}

static enum ti_holder say_unknown(char text[TI_HOLDER_TEXT], const char *who)
{
	(void)snprintf(text, TI_HOLDER_TEXT, "%s: look for it, or choose another device", who);
	return TI_HOLDER_UNKNOWN;
}

enum ti_holder ti_holder_of_block(const struct stat *st, char text[TI_HOLDER_TEXT])
{
	struct dev_set set;
	const struct target target = { .set = &set };

	collect_relatives(&set, st->st_rdev);
	if (find_stacked(&set, text) || find_mount(&set, text) || find_swap(&set, text))
		return TI_HOLDER_CERTAIN;
	if (find_processes(&target, text))
		return TI_HOLDER_LIKELY;
	return say_unknown(text, "somebody who cannot be seen from here, perhaps a kernel target "
				 "(targetcli ls) or a process in a container");
}

enum ti_holder ti_holder_of_file(const struct stat *st, char text[TI_HOLDER_TEXT])
{
	const struct target target = { .st = st };
	FILE *file = fopen("/proc/locks", "re");
	unsigned long long inode;
	unsigned major, minor;
	bool found = false;
	char *line = NULL, pid[16];
	size_t size = 0;

	text[0] = '\0';
	while (file && !found && getline(&line, &size, file) > 0) {
		/* "1: FLOCK  ADVISORY  WRITE 4711 fe:00:12345 0 EOF"; waiters have "->" there. */
		if (sscanf(line, "%*d: FLOCK %*s %*s %15s %x:%x:%llu", pid, &major, &minor,
			   &inode) != 4 ||
		    inode != st->st_ino)
			continue;
		switch (has_open(pid, &target)) {
		case 0:
			break;
		case 1:
			found = true;
			break;
		default:
			/* Not ours to look into; some file systems have two device numbers. */
			found = makedev(major, minor) == st->st_dev;
		}
	}
	free(line);
	if (file)
		(void)fclose(file);
	if (!found)
		return say_unknown(text, "somebody who cannot be seen from here, perhaps a process "
					 "in a container or on another host");
	add_process(text, pid);
	say_stop_that(text);
	return TI_HOLDER_CERTAIN;
}
