/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The kernel's images through the engine: it opens those that mode direct can serve, reads every
 * block or reports its tag, and refuses the others with the right reason.  Nothing is changed.
 */
#include "image.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "clock.h"
#include "lun.h"
#include "pair.h"

static const struct ti_log silent;

static struct ti_queue *open_pair(const struct golden_pair *p, bool read_only)
{
	const struct ti_pair_options options = {
		.data_path = p->data_path,
		.meta_path = p->meta_path,
		.read_only = read_only,
		.backend = TI_BACKEND_AUTO,
	};
	struct ti_error e = { 0 };
	struct ti_queue *q = NULL;

	if (ti_pair_open(&options, &silent, &q, &e))
		fail_msg("%s", e.text);
	return q;
}

static int open_lun(const struct golden_pair *p, struct ti_queue *q, struct ti_lun **lun,
		    struct ti_error *error)
{
	const struct ti_lun_options options = {
		.mode = TI_MODE_DIRECT,
		.hash = p->image->hash,
		.hash_key = p->hash_key,
		.seal = p->seal,
		.start_sector = p->image->start_sector,
		.read_only = q->dev[TI_META].read_only,
	};

	return ti_lun_open(&options, q, &ti_clock_monotonic, &silent, lun, error);
}

static int expected_open(const struct golden_pair *p)
{
	if (p->sb.flags & TI_SB_DIRTY_BITMAP)
		return 0;
	return strcmp(p->image->journal, "empty") ? -EUCLEAN : 0;
}

/* Read-only where an open for writing would change the pair (test_golden_replay.c, _bitmap.c). */
static bool is_to_be_replayed(const struct golden_pair *p)
{
	return !p->image->journal || strstr(p->image->journal, "_ring");
}

static void what_mode_direct_can_serve_opens(void **state)
{
	const struct golden_pair *p = *state;
	struct ti_queue *q = open_pair(p, is_to_be_replayed(p));
	struct ti_lun *lun = NULL;
	struct ti_error e = { 0 };
	int err = open_lun(p, q, &lun, &e);

	assert_int_equal(err, expected_open(p));
	if (err) {
		print_message("%s\n", e.text);
		assert_true(strlen(e.text) > 0);
	} else {
		assert_int_equal(ti_lun_geometry(lun)->provided_sectors, p->image->data_sectors);
		assert_int_equal(ti_lun_close(lun), 0);
	}
	ti_pair_close(q);
}

static bool file_holds(const char *path, const uint8_t *bytes, size_t len)
{
	FILE *f = fopen(path, "re");
	uint8_t *found = malloc(len + 1);
	bool same;

	assert_non_null(f);
	assert_non_null(found);
	same = fread(found, 1, len + 1, f) == len && !memcmp(found, bytes, len);
	free(found);
	fclose(f);
	return same;
}

static void read_one(struct ti_lun *lun, uint64_t sector, const struct iovec *iov,
		     struct ti_result *result)
{
	struct ti_request req = {
		.op = TI_REQ_READ,
		.sector = sector,
		.sectors = iov->iov_len / TI_SECTOR_BYTES,
		.iov = iov,
		.iov_count = 1,
	};
	struct ti_request_list finished;

	STAILQ_INIT(&finished);
	ti_lun_submit(lun, &req);
	for (;;) {
		ti_lun_run(lun, &finished);
		if (!STAILQ_EMPTY(&finished))
			break;
		ti_lun_wait(lun, ti_lun_deadline(lun));
	}
	assert_ptr_equal(STAILQ_FIRST(&finished), &req);
	*result = req.result;
}

static bool tag_was_written(const struct golden_pair *p, uint64_t block)
{
	const uint8_t *tag = p->meta + p->geo.tag_offset + block * p->geo.tag_size;

	for (uint32_t i = 0; i < p->geo.tag_size; i++)
		if (tag[i] && tag[i] != 0xf6)
			return true;
	return false;
}

/* Returns the number of blocks that could be read. */
static uint64_t read_every_block(const struct golden_pair *p, struct ti_lun *lun)
{
	struct iovec iov = { .iov_base = aligned_alloc(4096, 4096), .iov_len = p->geo.block_size };
	uint64_t good = 0;

	assert_non_null(iov.iov_base);
	for (uint64_t block = 0; block < p->geo.provided_blocks; block++) {
		uint64_t sector = block * p->geo.sectors_per_block;
		struct ti_result result;

		memset(iov.iov_base, 0x99, iov.iov_len);
		read_one(lun, sector, &iov, &result);
		if (!tag_was_written(p, block)) {
			assert_int_equal(result.cause, TI_CAUSE_TAG_MISMATCH);
			assert_int_equal(result.sector, sector);
			assert_true(result.err < 0);
			continue;
		}
		assert_int_equal(result.err, 0);
		assert_int_equal(result.cause, TI_CAUSE_NONE);
		assert_memory_equal(iov.iov_base, p->data + sector * TI_SECTOR_BYTES, iov.iov_len);
		good++;
	}
	free(iov.iov_base);
	return good;
}

static void every_block_reads_or_reports_its_tag_and_nothing_changes(void **state)
{
	const struct golden_pair *p = *state;
	struct ti_lun_stats stats;
	struct ti_queue *q;
	struct ti_lun *lun;
	struct ti_error e = { 0 };

	/* A dirty bitmap is test_golden_bitmap.c's. */
	if (expected_open(p) == 0 && p->image->journal) {
		q = open_pair(p, false);
		if (open_lun(p, q, &lun, &e))
			fail_msg("%s", e.text);
		assert_int_equal(read_every_block(p, lun), p->image->tags_ok);
		ti_lun_get_stats(lun, &stats);
		assert_int_equal(stats.mismatches,
				 p->image->tags_never_written + p->image->tags_discarded);
		assert_int_equal(ti_lun_close(lun), 0);
		ti_pair_close(q);
	}
	assert_true(file_holds(p->data_path, p->data, p->data_bytes));
	assert_true(file_holds(p->meta_path, p->meta, p->meta_bytes));
}

static void large_read_names_the_first_bad_block(void **state)
{
	const struct golden_pair *p = *state;
	uint64_t first_bad = 0;
	struct ti_result result;
	struct ti_queue *q;
	struct ti_lun *lun;
	struct ti_error e = { 0 };
	struct iovec iov;

	if (expected_open(p) || !p->image->journal)
		return;
	while (tag_was_written(p, first_bad))
		first_bad++;
	first_bad *= p->geo.sectors_per_block;
	iov.iov_len = p->data_bytes;
	iov.iov_base = aligned_alloc(4096, iov.iov_len);
	assert_non_null(iov.iov_base);
	q = open_pair(p, true);
	if (open_lun(p, q, &lun, &e))
		fail_msg("%s", e.text);

	read_one(lun, 0, &iov, &result);
	assert_int_equal(result.cause, TI_CAUSE_TAG_MISMATCH);
	assert_int_equal(result.sector, first_bad);
	/* Up to there all is well. */
	iov.iov_len = first_bad * TI_SECTOR_BYTES;
	read_one(lun, 0, &iov, &result);
	assert_int_equal(result.err, 0);
	assert_memory_equal(iov.iov_base, p->data, iov.iov_len);

	assert_int_equal(ti_lun_close(lun), 0);
	ti_pair_close(q);
	free(iov.iov_base);
}

int main(void)
{
	static const char *const what[] = {
		"what mode direct can serve opens",
		"every block reads or reports its tag and nothing changes",
		"a large read names the first bad block",
	};
	static void (*const test[])(void **) = {
		what_mode_direct_can_serve_opens,
		every_block_reads_or_reports_its_tag_and_nothing_changes,
		large_read_names_the_first_bad_block,
	};

	return golden_run_all("golden_engine", what, test, sizeof(test) / sizeof(test[0]));
}
