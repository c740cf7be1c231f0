/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * merged_reads DISK BLOCKS BYTE: reads so many blocks of 4096 bytes from the disk's beginning, each
 * as a read of its own, submitted together so that the block layer makes one command of them.  All
 * bytes are supposed to be BYTE.  Prints a line per block: right, wrong (read without an error,
 * other bytes) or the error.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 4096U
#define MAX   64U

static const char *verdict(const unsigned char *data, int res, int byte)
{
	if (res < 0)
		return strerror(-res);
	for (unsigned i = 0; i < BLOCK; i++)
		if (data[i] != byte)
			return "wrong";
	return "right";
}

int main(int argc, char **argv)
{
	unsigned blocks = argc == 4 ? (unsigned)atoi(argv[2]) : 0;
	int fd = argc == 4 ? open(argv[1], O_RDONLY | O_DIRECT) : -1;
	struct io_uring ring;
	unsigned char *data;
	int res[MAX];

	if (fd < 0 || blocks > MAX || io_uring_queue_init(MAX, &ring, 0) < 0 ||
	    posix_memalign((void **)&data, BLOCK, (size_t)MAX * BLOCK) != 0) {
		fprintf(stderr, "merged_reads: cannot begin: %s\n", strerror(errno));
		return 2;
	}
	memset(data, 0xee, (size_t)MAX * BLOCK);
	for (unsigned i = 0; i < blocks; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

		io_uring_prep_read(sqe, fd, data + (size_t)i * BLOCK, BLOCK, (__u64)i * BLOCK);
		sqe->user_data = i;
	}
	io_uring_submit(&ring);
	for (unsigned i = 0; i < blocks; i++) {
		struct io_uring_cqe *cqe;

		if (io_uring_wait_cqe(&ring, &cqe) < 0)
			return 2;
		res[cqe->user_data] = cqe->res;
		io_uring_cqe_seen(&ring, cqe);
	}
	for (unsigned i = 0; i < blocks; i++)
		printf("%u %s\n", i, verdict(data + (size_t)i * BLOCK, res[i], atoi(argv[3])));
	return 0;
}
