/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * One LUN of which only the facts exist, and one command at a time.
 */
#ifndef TI_CDB_FIXTURE_H
#define TI_CDB_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libtcmu_common.h"

#include "cdb.h"
#include "iov.h"
#include "sense.h"

#define BLOCKS 1000U

/* One LUN, one command with a buffer in two pieces that end where memory ends (for ASan). */
struct fixture {
	struct ti_scsi_facts facts;
	struct ti_select mode;
	struct ti_lun_stats stats;
	struct ti_scrub_report scrub;
	int ready; /* what ->ready() returns */
	struct ti_command command;
	uint8_t sense[TI_SENSE_BYTES];
	uint8_t *cdb;
	struct iovec iov[2];
	uint8_t *data; /* the two pieces after the command, in one */
	size_t len;
	int status;
};

static inline char *serial(void *ctx)
{
	return ctx ? strdup(ctx) : NULL;
}

static inline int ready(void *ctx, uint8_t *sense)
{
	struct fixture *f = ctx;

	return f->ready == TCMU_STS_OK
		       ? TCMU_STS_OK
		       : ti_sense_set(sense, TI_KEY_NOT_READY, TI_ASC_BECOMING_READY);
}

static inline void stats(void *ctx, struct ti_lun_stats *out)
{
	struct fixture *f = ctx;

	*out = f->stats;
}

static inline void scrub(void *ctx, struct ti_scrub_report *out)
{
	struct fixture *f = ctx;

	*out = f->scrub;
}

/* No copy has been made. */
static inline bool copy_result(void *ctx, const struct ti_copy_question *question,
			       struct ti_copy_result *out)
{
	(void)ctx;
	(void)question;
	(void)out;
	return false;
}

static inline void lun(struct fixture *f, uint32_t block_size)
{
	ti_select_open(&f->mode, NULL, 0);
	f->mode.kept = true; /* as if there were a file */
	f->facts = (struct ti_scsi_facts){
		.block_size = block_size,
		.integrity_block = block_size,
		.blocks = BLOCKS,
		.max_transfer = 2048,
		.max_write_same = 500,
		.max_verify = 600,
		.max_atomic = 40,
		.serial = serial,
		.serial_ctx = (void *)(uintptr_t) "11112222-3333-4444-5555-666677778888",
		.ready = ready,
		.stats = stats,
		.scrub = scrub,
		.copy_result = copy_result,
		.disk = f,
		.mode = &f->mode,
	};
}

static inline int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	lun(f, 512);
	*state = f;
	return 0;
}

static inline void forget(struct fixture *f)
{
	free(f->cdb);
	free(f->iov[0].iov_base);
	free(f->iov[1].iov_base);
	free(f->data);
	f->cdb = f->data = NULL;
	memset(f->iov, 0, sizeof(f->iov));
}

static inline int tear_down(void **state)
{
	forget(*state);
	free(*state);
	return 0;
}

static inline void *copy_of(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	memset(copy, 0x5a, len);
	if (bytes)
		memcpy(copy, bytes, len);
	return copy;
}

/* Run @cdb with a buffer of @len bytes, holding @data if that is given. */
static inline int run(struct fixture *f, const uint8_t *cdb, size_t cdb_len, const uint8_t *data,
		      size_t len)
{
	const struct ti_row *row;
	size_t first = len / 3;
	struct ti_iov_cursor cursor;

	forget(f);
	f->cdb = copy_of(cdb, cdb_len);
	f->iov[0] = (struct iovec){ copy_of(data, first), first };
	f->iov[1] = (struct iovec){ copy_of(data ? data + first : NULL, len - first), len - first };
	memset(f->sense, 0, sizeof(f->sense));
	f->command = (struct ti_command){
		.cdb = f->cdb, .facts = &f->facts, .iov = f->iov, .iov_count = 2, .sense = f->sense
	};
	row = ti_row_find(f->cdb);
	assert_non_null(row);
	assert_int_equal(row->cdb_len, cdb_len);
	f->status = ti_row_run(row, &f->command);
	f->data = malloc(len ? len : 1);
	f->len = len;
	cursor = ti_iov_cursor(f->iov, 2);
	ti_iov_copy_out(&cursor, f->data, len);
	return f->status;
}

#define CDB(...) ((const uint8_t[]){ __VA_ARGS__ }), sizeof((const uint8_t[]){ __VA_ARGS__ })

/* The engine is asked for this. */
static inline void expect_request(struct fixture *f, enum ti_req_op op, unsigned flags,
				  uint64_t lba, uint64_t blocks)
{
	if (f->status != TI_STS_REQUEST)
		fail_msg("status %d, sense %x/%x/%x at byte %d", f->status, f->sense[2],
			 f->sense[12], f->sense[13], f->sense[17]);
	assert_int_equal(f->command.request.op, op);
	assert_int_equal(f->command.request.flags, flags);
	assert_int_equal(f->command.request.lba, lba);
	assert_int_equal(f->command.request.blocks, blocks);
}

static inline void expect_sense(struct fixture *f, uint8_t key, uint16_t asc)
{
	assert_int_equal(f->status, TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(f->sense[2], key);
	assert_int_equal(f->sense[12] << 8 | f->sense[13], asc);
}

/* The buffer is not as long as the CDB says. */
static inline void expect_bad_buffer(struct fixture *f)
{
	expect_sense(f, 5, 0x0e03);
}

/* ILLEGAL REQUEST, INVALID FIELD IN CDB, pointing at @byte. */
static inline void expect_bad_field(struct fixture *f, unsigned byte)
{
	expect_sense(f, 5, 0x2400);
	assert_int_equal(f->sense[15] & 0xc0, 0xc0);
	assert_int_equal(f->sense[16] << 8 | f->sense[17], byte);
}

static inline void expect_out_of_range(struct fixture *f, uint32_t lba)
{
	expect_sense(f, 5, 0x2100);
	assert_int_equal(f->sense[0], 0xf0);
	assert_int_equal(ti_be32(f->sense + 3), lba);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
