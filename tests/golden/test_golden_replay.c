/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The kernel's journals, replayed by the engine in both modes: the data device is byte for byte
 * what README.md says, every tag that was written matches, and the journal is left as the kernel
 * leaves it.  What is damaged is refused and stays as it is.
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
#include "hash.h"
#include "journal_scan.h"
#include "lun.h"
#include "pair.h"

static const struct ti_log silent;

static bool is(const struct golden_pair *p, const char *state)
{
	return p->image->journal && !strcmp(p->image->journal, state);
}

static bool is_to_be_replayed(const struct golden_pair *p)
{
	return is(p, "full_ring") || is(p, "partial_ring");
}

static uint8_t *load(const char *path, size_t len)
{
	FILE *f = fopen(path, "re");
	uint8_t *bytes = malloc(len);

	assert_non_null(f);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 1, len, f), len);
	fclose(f);
	return bytes;
}

static struct ti_queue *open_pair(const struct golden_pair *p)
{
	const struct ti_pair_options options = {
		.data_path = p->data_path,
		.meta_path = p->meta_path,
		.backend = TI_BACKEND_AUTO,
	};
	struct ti_error e = { 0 };
	struct ti_queue *q = NULL;

	if (ti_pair_open(&options, &silent, &q, &e))
		fail_msg("%s", e.text);
	return q;
}

static int open_lun(const struct golden_pair *p, enum ti_mode mode, struct ti_queue *q,
		    struct ti_lun **lun, struct ti_error *error)
{
	const struct ti_lun_options options = {
		.mode = mode,
		.hash = p->image->hash,
		.hash_key = p->hash_key,
		.seal = p->seal,
		.start_sector = p->image->start_sector,
	};

	return ti_lun_open(&options, q, &ti_clock_monotonic, &silent, lun, error);
}

static void open_and_close(const struct golden_pair *p, enum ti_mode mode)
{
	struct ti_queue *q = open_pair(p);
	struct ti_error e = { 0 };
	struct ti_lun *lun;

	if (open_lun(p, mode, q, &lun, &e))
		fail_msg("%s", e.text);
	assert_int_equal(ti_lun_close(lun), 0);
	ti_pair_close(q);
}

static struct ti_journal_summary scan(const struct golden_pair *p)
{
	struct ti_queue *q = open_pair(p);
	struct ti_journal_summary s;
	struct ti_error e = { 0 };

	if (ti_journal_scan(q, &p->geo, &s, &e))
		fail_msg("%s", e.text);
	ti_pair_close(q);
	return s;
}

/* Every block that was ever written matches its tag. */
static void every_tag_matches(const struct golden_pair *p, const uint8_t *data, const uint8_t *meta)
{
	static const uint8_t never[256];
	struct ti_hash hash;

	golden_hash(p, &hash);
	for (uint64_t block = 0; block < p->geo.provided_blocks; block++) {
		uint64_t sector = block * p->geo.sectors_per_block;
		const uint8_t *tag = meta + p->geo.tag_offset + block * p->geo.tag_size;
		uint8_t want[256];

		if (golden_generation(p->image, sector) == 0 &&
		    !memcmp(tag, never, p->geo.tag_size))
			continue;
		ti_hash_same(&hash, sector, data + block * p->geo.block_size, 1, want);
		assert_memory_equal(tag, want, p->geo.tag_size);
	}
	ti_hash_destroy(&hash);
}

static void is_as_the_kernel_would_leave_it(const struct golden_pair *p)
{
	uint8_t *data = load(p->data_path, p->data_bytes),
		*meta = load(p->meta_path, p->meta_bytes);
	char hex[65];

	golden_sha256(p, data, p->data_bytes, hex);
	assert_string_equal(hex, p->image->data_sha256);
	every_tag_matches(p, data, meta);
	free(data);
	free(meta);
}

static void replay_in_mode_journal_gives_what_the_kernel_gives(void **state)
{
	const struct golden_pair *p = *state;
	struct ti_journal_summary s;

	if (!is_to_be_replayed(p))
		return;
	open_and_close(p, TI_MODE_JOURNAL);
	is_as_the_kernel_would_leave_it(p);
	s = scan(p);
	assert_int_equal(s.state, TI_JOURNAL_EMPTY);
	assert_int_equal(s.used_entries, 0);
	/* A full ring went on at the open, and was emptied at the close: all numbers step on. */
	for (uint32_t i = 0; i < s.sections; i++)
		assert_int_equal(s.seq[i],
				 is(p, "full_ring") ? (p->image->seq[i] + 1) % TI_JOURNAL_SEQS : 3);
	open_and_close(p, TI_MODE_JOURNAL);
	is_as_the_kernel_would_leave_it(p);
}

static void replay_in_mode_direct_gives_the_same_and_erases_the_journal(void **state)
{
	const struct golden_pair *p = *state;
	struct ti_journal_summary s;

	if (!is_to_be_replayed(p))
		return;
	open_and_close(p, TI_MODE_DIRECT);
	is_as_the_kernel_would_leave_it(p);
	s = scan(p);
	assert_int_equal(s.state, TI_JOURNAL_EMPTY);
	assert_int_equal(s.used_entries, 0);
	/* Two behind the newest number, which is in all images the first section's. */
	for (uint32_t i = 0; i < s.sections; i++)
		assert_int_equal(s.seq[i], (p->image->seq[0] + 2) % 4);
}

static void damaged_journal_is_refused_in_both_modes_and_left_alone(void **state)
{
	const struct golden_pair *p = *state;

	if (!is(p, "damaged"))
		return;
	for (int mode = TI_MODE_DIRECT; mode <= TI_MODE_JOURNAL; mode++) {
		struct ti_queue *q = open_pair(p);
		struct ti_error e = { 0 };
		struct ti_lun *lun = NULL;
		uint8_t *found;

		assert_int_equal(open_lun(p, (enum ti_mode)mode, q, &lun, &e), -EUCLEAN);
		print_message("%s\n", e.text);
		ti_pair_close(q);
		found = load(p->data_path, p->data_bytes);
		assert_memory_equal(found, p->data, p->data_bytes);
		free(found);
		found = load(p->meta_path, p->meta_bytes);
		assert_memory_equal(found, p->meta, p->meta_bytes);
		free(found);
	}
}

static void request(struct ti_lun *lun, enum ti_req_op op, uint64_t sector, struct iovec *iov)
{
	struct ti_request req = { .op = op,
				  .sector = sector,
				  .sectors = iov ? iov->iov_len / TI_SECTOR_BYTES : 0,
				  .iov = iov,
				  .iov_count = iov ? 1 : 0 };
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);

	ti_lun_submit(lun, &req);
	for (ti_lun_run(lun, &finished); STAILQ_EMPTY(&finished); ti_lun_run(lun, &finished))
		ti_lun_wait(lun, ti_lun_deadline(lun));
	assert_int_equal(req.result.err, 0);
}

/* The numbers go on where the kernel's ended. */
static void written_and_closed_in_mode_journal_reopens_empty(void **state)
{
	const struct golden_pair *p = *state;
	static uint8_t memory[16 * 4096] __attribute__((aligned(4096)));
	struct iovec iov = { .iov_base = memory };
	struct ti_journal_summary before, after;
	struct ti_queue *q;
	struct ti_error e = { 0 };
	struct ti_lun *lun;

	if (!is(p, "empty"))
		return;
	before = scan(p);
	q = open_pair(p);
	if (open_lun(p, TI_MODE_JOURNAL, q, &lun, &e))
		fail_msg("%s", e.text);
	iov.iov_len = sizeof(memory);
	memset(memory, 0xa5, sizeof(memory));
	request(lun, TI_REQ_WRITE, 512, &iov);
	request(lun, TI_REQ_FLUSH, 0, NULL);
	assert_int_equal(ti_lun_close(lun), 0);
	ti_pair_close(q);
	after = scan(p);
	assert_int_equal(after.state, TI_JOURNAL_EMPTY);
	assert_int_equal(after.used_entries, 0);
	assert_int_equal(after.replay_sections, after.sections); /* whole, nothing torn */
	assert_true(before.sections != 3 || before.seq[0] != after.seq[0] ||
		    before.seq[1] != after.seq[1] || before.seq[2] != after.seq[2]);

	q = open_pair(p);
	if (open_lun(p, TI_MODE_JOURNAL, q, &lun, &e))
		fail_msg("%s", e.text);
	memset(memory, 0, sizeof(memory));
	request(lun, TI_REQ_READ, 512, &iov);
	for (size_t i = 0; i < sizeof(memory); i++)
		assert_int_equal(memory[i], 0xa5);
	assert_int_equal(ti_lun_close(lun), 0);
	ti_pair_close(q);
}

int main(void)
{
	static const char *const what[] = {
		"replay in mode journal gives what the kernel gives",
		"replay in mode direct gives the same and erases the journal",
		"a damaged journal is refused in both modes and left alone",
		"written and closed in mode journal reopens empty",
	};
	static void (*const test[])(void **) = {
		replay_in_mode_journal_gives_what_the_kernel_gives,
		replay_in_mode_direct_gives_the_same_and_erases_the_journal,
		damaged_journal_is_refused_in_both_modes_and_left_alone,
		written_and_closed_in_mode_journal_reopens_empty,
	};

	return golden_run_all("golden_replay", what, test, sizeof(test) / sizeof(test[0]));
}
