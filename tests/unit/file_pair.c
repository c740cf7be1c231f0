/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
#include "file_pair.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "format.h"
#include "hash.h"
#include "log.h"
#include "pair.h"

#define META_BYTES (1U << 20)

static void make_file(const char *path, uint64_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	close(fd);
}

void file_pair_make(struct file_pair *pair, uint32_t block_size, uint64_t bytes,
		    const char *options)
{
	const char *tmp = getenv("TMPDIR");
	struct ti_format_options format = {
		.hash = &ti_hash_crc32c,
		.shape = { .block_size = block_size, .journal_sectors = 64, .salted = true },
	};
	struct ti_pair_options open_options = { .backend = TI_BACKEND_THREADS, .threads = 2 };
	static const struct ti_log nobody;
	static const struct ti_progress silent;
	struct ti_format_plan plan;
	struct ti_error error = { 0 };
	struct ti_queue *queue;

	snprintf(pair->dir, sizeof(pair->dir), "%.40s/ti-pair.XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(pair->dir));
	snprintf(pair->data, sizeof(pair->data), "%s/data", pair->dir);
	snprintf(pair->meta, sizeof(pair->meta), "%s/meta", pair->dir);
	snprintf(pair->config, sizeof(pair->config), "integrity/%s;meta=%s%.60s", pair->data,
		 pair->meta, options);
	make_file(pair->data, bytes);
	make_file(pair->meta, META_BYTES);
	open_options.data_path = pair->data;
	open_options.meta_path = pair->meta;
	if (ti_pair_open(&open_options, &nobody, &queue, &error) ||
	    ti_format_plan(queue, &format, &plan, &error) ||
	    ti_format_write(queue, &plan, &silent, &error))
		fail_msg("%s", error.text);
	pair->bytes = plan.geo.provided_sectors * 512;
	ti_pair_close(queue);
}

void file_pair_remove(struct file_pair *pair)
{
	unlink(pair->data);
	unlink(pair->meta);
	rmdir(pair->dir);
}

void file_pair_damage(const char *path, uint64_t offset, size_t len)
{
	int fd = open(path, O_RDWR);
	uint8_t byte;

	assert_true(fd >= 0);
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(pread(fd, &byte, 1, (off_t)(offset + i)), 1);
		byte ^= 0xff;
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)(offset + i)), 1);
	}
	close(fd);
}
