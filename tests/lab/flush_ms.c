/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * flush_ms [-n TIMES] DEVICE...: flush all devices at once, each TIMES times at once, and print how
 * many milliseconds lie between the start of the first flush and the end of the last.
 *
 * A SCSI disk gets one SYNCHRONIZE CACHE(10) per flush by SG_IO, past the initiator's block layer,
 * which would merge flushes that wait.  Any other block device gets fsync().  All threads start
 * from one barrier, so that the time to start processes, 50 ms each in the lab, is not measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <scsi/sg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define SYNCHRONIZE_CACHE_10 0x35
#define SG_TIMEOUT_MS	     60000
#define MAX_FLUSHES	     1024

struct flush {
	const char *path;
	int fd;
	bool is_scsi;
	int error;
	int64_t begin_ns;
	int64_t end_ns;
	pthread_t thread;
	pthread_barrier_t *start;
};

static int scsi_flush(int fd)
{
	uint8_t cdb[10] = { SYNCHRONIZE_CACHE_10 };
	uint8_t sense[32] = { 0 };
	struct sg_io_hdr io = {
		.interface_id = 'S',
		.dxfer_direction = SG_DXFER_NONE,
		.cmd_len = sizeof(cdb),
		.cmdp = cdb,
		.mx_sb_len = sizeof(sense),
		.sbp = sense,
		.timeout = SG_TIMEOUT_MS,
	};

	if (ioctl(fd, SG_IO, &io) < 0)
		return -errno;
	if (io.status || io.host_status || io.driver_status) {
		fprintf(stderr, "status %#x host %#x sense %02x %02x %02x\n", io.status,
			io.host_status, sense[2], sense[12], sense[13]);
		return -EIO;
	}
	return 0;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void *run_flush(void *arg)
{
	struct flush *flush = arg;

	pthread_barrier_wait(flush->start);
	flush->begin_ns = now_ns();
	if (flush->is_scsi)
		flush->error = scsi_flush(flush->fd);
	else
		flush->error = fsync(flush->fd) < 0 ? -errno : 0;
	flush->end_ns = now_ns();
	return NULL;
}

static void open_device(struct flush *flush, const char *path)
{
	int version;

	flush->path = path;
	flush->fd = open(path, O_RDWR | O_CLOEXEC);
	if (flush->fd < 0) {
		fprintf(stderr, "flush_ms: cannot open %s: %s\n", path, strerror(errno));
		exit(2);
	}
	flush->is_scsi = ioctl(flush->fd, SG_GET_VERSION_NUM, &version) == 0;
}

int main(int argc, char **argv)
{
	static struct flush flushes[MAX_FLUSHES];
	pthread_barrier_t start;
	unsigned int count = 0;
	long times = 1;
	int64_t begin_ns = INT64_MAX;
	int64_t end_ns = 0;
	int failed = 0;
	int opt;

	while ((opt = getopt(argc, argv, "n:")) != -1) {
		if (opt != 'n' || (times = atol(optarg)) < 1 || times > MAX_FLUSHES)
			exit(2);
	}
	if (optind == argc || (argc - optind) * times > MAX_FLUSHES) {
		fprintf(stderr, "usage: flush_ms [-n TIMES] DEVICE...\n");
		return 2;
	}

	pthread_barrier_init(&start, NULL, (unsigned int)((argc - optind) * times + 1));
	for (int i = optind; i < argc; i++) {
		for (long n = 0; n < times; n++, count++) {
			open_device(&flushes[count], argv[i]);
			flushes[count].start = &start;
			if (pthread_create(&flushes[count].thread, NULL, run_flush,
					   &flushes[count]))
				exit(2);
		}
	}

	pthread_barrier_wait(&start);
	for (unsigned int i = 0; i < count; i++) {
		pthread_join(flushes[i].thread, NULL);
		if (flushes[i].begin_ns < begin_ns)
			begin_ns = flushes[i].begin_ns;
		if (flushes[i].end_ns > end_ns)
			end_ns = flushes[i].end_ns;
		if (flushes[i].error) {
			fprintf(stderr, "flush_ms: flush of %s failed: %s\n", flushes[i].path,
				strerror(-flushes[i].error));
			failed = 1;
		}
	}
	printf("%lld\n", (long long)((end_ns - begin_ns) / 1000000));
	return failed;
}
