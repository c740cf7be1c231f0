/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Sense data, byte for byte as SPC lays it out.
 */
#include "sense.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "libtcmu_common.h"

/* As malloc() may hand it over. */
static uint8_t sense[TI_SENSE_BYTES];

static int dirty(void **state)
{
	(void)state;
	memset(sense, 0xa5, sizeof(sense));
	return 0;
}

static void expect(const uint8_t *bytes, size_t len)
{
	static const uint8_t zeros[TI_SENSE_BYTES];

	assert_memory_equal(sense, bytes, len);
	assert_memory_equal(sense + len, zeros, sizeof(sense) - len);
}

static void fixed_format_without_information(void **state)
{
	static const uint8_t wanted[] = { 0x70, 0, 0x4, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x44, 0x00 };

	(void)state;
	assert_int_equal(ti_sense_set(sense, TI_KEY_HARDWARE_ERROR, TI_ASC_INTERNAL_TARGET_FAILURE),
			 TCMU_STS_PASSTHROUGH_ERR);
	expect(wanted, sizeof(wanted));
}

static void an_address_of_32_bits_is_in_fixed_format(void **state)
{
	static const uint8_t wanted[] = { 0xf0, 0, 0x3, 0xff, 0xff, 0xff, 0xff,
					  10,	0, 0,	0,    0,    0x11, 0x00 };

	(void)state;
	assert_int_equal(ti_sense_set_lba(sense, TI_KEY_MEDIUM_ERROR, TI_ASC_UNRECOVERED_READ_ERROR,
					  0xffffffff),
			 TCMU_STS_PASSTHROUGH_ERR);
	expect(wanted, sizeof(wanted));
}

static void a_longer_address_is_in_descriptor_format(void **state)
{
	static const uint8_t wanted[] = { 0x72, 0x3, 0x11, 0x00, 0, 0, 0, 12, 0x00, 0x0a,
					  0x80, 0,   0,	   0,	 0, 1, 2, 3,  4,    5 };

	(void)state;
	assert_int_equal(ti_sense_set_lba(sense, TI_KEY_MEDIUM_ERROR, TI_ASC_UNRECOVERED_READ_ERROR,
					  0x0102030405),
			 TCMU_STS_PASSTHROUGH_ERR);
	expect(wanted, sizeof(wanted));
}

static void a_field_pointer_names_byte_and_bit(void **state)
{
	static const uint8_t in_cdb[] = { 0x70, 0, 0x5, 0,    0,    0, 0,    10, 0,
					  0,	0, 0,	0x24, 0x00, 0, 0xcf, 0,	 1 };
	static const uint8_t in_list[] = { 0x70, 0, 0x5, 0,    0,    0, 0,    10,   0,
					   0,	 0, 0,	 0x26, 0x00, 0, 0x80, 0x01, 0x02 };

	(void)state;
	ti_sense_set_field(sense, TI_ASC_INVALID_FIELD_IN_CDB, 1, 7);
	expect(in_cdb, sizeof(in_cdb));
	dirty(NULL);
	ti_sense_set_field(sense, TI_ASC_INVALID_FIELD_IN_PARAMETERS, 0x102, -1);
	expect(in_list, sizeof(in_list));
}

struct mapped {
	enum ti_req_op op;
	enum ti_cause cause;
	int err;
	uint8_t key, asc, ascq;
	int lba; /* -1: none */
};

static void every_cause_has_its_sense_data(void **state)
{
	static const struct mapped all[] = {
		{ TI_REQ_READ, TI_CAUSE_TAG_MISMATCH, -EILSEQ, 3, 0x11, 0, 10 },
		{ TI_REQ_VERIFY, TI_CAUSE_TAG_MISMATCH, -EILSEQ, 3, 0x11, 0, 10 },
		{ TI_REQ_READ, TI_CAUSE_DATA_IO, -EIO, 3, 0x11, 0, 10 },
		{ TI_REQ_VERIFY, TI_CAUSE_DATA_IO, -EIO, 3, 0x11, 0, 10 },
		{ TI_REQ_WRITE, TI_CAUSE_DATA_IO, -EIO, 3, 0x0c, 0, 10 },
		{ TI_REQ_WRITE_SAME, TI_CAUSE_DATA_IO, -EIO, 3, 0x0c, 0, 10 },
		{ TI_REQ_READ, TI_CAUSE_META_IO, -EIO, 4, 0x44, 0, 10 },
		{ TI_REQ_WRITE, TI_CAUSE_META_IO, -EIO, 4, 0x44, 0, 10 },
		{ TI_REQ_FLUSH, TI_CAUSE_META_IO, -EIO, 4, 0x44, 0, -1 },
		{ TI_REQ_FLUSH, TI_CAUSE_DATA_FLUSH, -EIO, 4, 0x44, 0, -1 },
		{ TI_REQ_FLUSH, TI_CAUSE_META_FLUSH, -EIO, 4, 0x44, 0, -1 },
		{ TI_REQ_WRITE, TI_CAUSE_META_FLUSH, -EIO, 4, 0x44, 0, -1 },
		{ TI_REQ_WRITE, TI_CAUSE_RANGE, -EINVAL, 5, 0x21, 0, -1 },
		{ TI_REQ_WRITE, TI_CAUSE_READ_ONLY, -EROFS, 7, 0x27, 0, -1 },
		{ TI_REQ_WRITE, TI_CAUSE_INTERNAL, -EINVAL, 4, 0x44, 0, -1 },
		{ TI_REQ_WRITE, (enum ti_cause)99, -EIO, 4, 0x44, 0, -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const struct mapped *m = &all[i];
		struct ti_result result = { .err = m->err, .cause = m->cause, .sector = 80 };

		dirty(NULL);
		assert_int_equal(ti_sense_set_result(sense, m->op, &result, 4096),
				 TCMU_STS_PASSTHROUGH_ERR);
		assert_int_equal(sense[0], m->lba < 0 ? 0x70 : 0xf0);
		assert_int_equal(sense[2], m->key);
		assert_int_equal(sense[12], m->asc);
		assert_int_equal(sense[13], m->ascq);
		assert_int_equal(sense[6], m->lba < 0 ? 0 : m->lba);
	}
}

static void the_address_counts_blocks_of_the_lun(void **state)
{
	struct ti_result result = { .err = -EILSEQ,
				    .cause = TI_CAUSE_TAG_MISMATCH,
				    .sector = 0x1234 * 8 };

	(void)state;
	ti_sense_set_result(sense, TI_REQ_READ, &result, 512);
	assert_int_equal(sense[4] << 16 | sense[5] << 8 | sense[6], 0x1234 * 8);
	ti_sense_set_result(sense, TI_REQ_READ, &result, 4096);
	assert_int_equal(sense[4] << 16 | sense[5] << 8 | sense[6], 0x1234);
}

static void a_closing_lun_is_busy(void **state)
{
	struct ti_result result = { .err = -ESHUTDOWN, .cause = TI_CAUSE_CLOSING };

	(void)state;
	assert_int_equal(ti_sense_set_result(sense, TI_REQ_READ, &result, 512), TCMU_STS_BUSY);
}

static void a_block_is_named_only_if_those_before_it_are_done(void **state)
{
	struct ti_request r = { .op = TI_REQ_READ, .sector = 8, .result.sector = 9 };

	(void)state;
	r.result.cause = TI_CAUSE_DATA_IO;
	assert_true(ti_sense_may_name_block(&r, true));
	assert_false(ti_sense_may_name_block(&r, false));
	r.op = TI_REQ_VERIFY; /* no data */
	assert_true(ti_sense_may_name_block(&r, false));
	r.op = TI_REQ_WRITE;
	assert_true(ti_sense_may_name_block(&r, false));
	r.flags = TI_REQ_FUA;
	assert_false(ti_sense_may_name_block(&r, true));
	r.flags = TI_REQ_ATOMIC;
	assert_false(ti_sense_may_name_block(&r, true));
	r.op = TI_REQ_COMPARE_AND_WRITE;
	r.flags = TI_REQ_FUA;
	r.result.cause = TI_CAUSE_MISCOMPARE;
	assert_true(ti_sense_may_name_block(&r, true));
	r.op = TI_REQ_READ;
	r.result.cause = TI_CAUSE_TAG_MISMATCH;
	r.result.sector = 8; /* nothing is before it */
	assert_true(ti_sense_may_name_block(&r, false));
}

static void progress_is_told_in_both_formats(void **state)
{
	(void)state;
	assert_int_equal(ti_sense_set_progress(sense, 0x1234), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(sense[0], 0x70);
	assert_int_equal(sense[2], TI_KEY_NOT_READY);
	assert_int_equal(sense[7], 10);
	assert_int_equal(sense[12] << 8 | sense[13], 0x0401);
	assert_int_equal(sense[15], 0x80);
	assert_int_equal(sense[16] << 8 | sense[17], 0x1234);
	ti_sense_to_descriptors(sense);
	assert_int_equal(sense[0], 0x72);
	assert_int_equal(sense[1], TI_KEY_NOT_READY);
	assert_int_equal(sense[2] << 8 | sense[3], 0x0401);
	assert_int_equal(sense[7], 8);
	assert_int_equal(sense[8], 0x02); /* sense key specific */
	assert_int_equal(sense[9], 0x06);
	assert_int_equal(sense[12], 0x80);
	assert_int_equal(sense[13] << 8 | sense[14], 0x1234);
}

/* SPC-4: where a copy has stopped, and why, in fixed and in descriptor format. */
static void a_copy_tells_its_segment_and_field(void **state)
{
	static const uint8_t fixed[] = { 0x70, 0, 0x0a, 0,    0,    0, 0,    10, 0,
					 0,    1, 2,	0x0d, 0x02, 0, 0xa0, 0,	 6 };
	static const uint8_t described[] = { 0x72, 0x0a, 0x0d, 0x02, 0, 0, 0,	 20,   0x02, 6,
					     0,	   0,	 0xa0, 0,    6, 0, 0x01, 0x0a, 0,    0,
					     0,	   0,	 1,    2,    0, 0, 0,	 0 };

	(void)state;
	assert_int_equal(ti_sense_set_copy(sense, TI_ASC_COPY_TARGET_NOT_REACHABLE, 0x102, 6),
			 TCMU_STS_PASSTHROUGH_ERR);
	expect(fixed, sizeof(fixed));
	ti_sense_to_descriptors(sense);
	expect(described, sizeof(described));
	ti_sense_set_copy(sense, TI_ASC_NONE, 0, -1);
	assert_int_equal(sense[15], 0);
}

static void a_copy_forwards_what_its_device_said(void **state)
{
	static const uint8_t fixed[] = {
		0x70, 0, 0x0a, 0, 0,	0, 0, 29, 18, 0, 0, 3, 0x0d, 0x01,
		0,    0, 0,    0, 0x02, /* CHECK CONDITION */
		0xf0, 0, 3,    0, 0,	0, 9, 10, 0,  0, 0, 0, 0x11, 0x00
	};
	static const uint8_t described[] = { 0x72, 0x0a, 0x0d, 0x01, 0,	   0, 0,    34,	 0x01, 0x0a,
					     0,	   0,	 0,    0,    0,	   3, 0,    0,	 0,    0,
					     0x0c, 20,	 1,    0x02, 0xf0, 0, 3,    0,	 0,    0,
					     9,	   10,	 0,    0,    0,	   0, 0x11, 0x00 };

	(void)state;
	ti_sense_set_lba(sense, TI_KEY_MEDIUM_ERROR, TI_ASC_UNRECOVERED_READ_ERROR, 9);
	assert_int_equal(ti_sense_to_copy(sense, 3, false), TCMU_STS_PASSTHROUGH_ERR);
	expect(fixed, sizeof(fixed));
	ti_sense_to_descriptors(sense);
	expect(described, sizeof(described));
	/* The destination's, and with an address that needs descriptors. */
	ti_sense_set_lba(sense, TI_KEY_MEDIUM_ERROR, TI_ASC_WRITE_ERROR, 1ULL << 40);
	ti_sense_to_copy(sense, 3, true);
	assert_int_equal(sense[7], 10 + 1 + 20);
	assert_int_equal(sense[8], 0);
	assert_int_equal(sense[9], 18);
	assert_int_equal(sense[19], 0x72);
	assert_int_equal(sense[19 + 8 + 6], 1); /* of the address */
	ti_sense_to_descriptors(sense);
	assert_int_equal(sense[20], 0x0c);
	assert_int_equal(sense[21], 22);
	assert_int_equal(sense[22], 2);
	assert_int_equal(sense[7], 12 + 4 + 20);
}

static void an_address_can_be_taken_out(void **state)
{
	(void)state;
	for (unsigned far = 0; far < 2; far++) {
		ti_sense_set_lba(sense, TI_KEY_MEDIUM_ERROR, TI_ASC_WRITE_ERROR,
				 far ? UINT64_C(1) << 40 : 77);
		ti_sense_drop_information(sense);
		assert_int_equal(sense[0], 0x70);
		assert_int_equal(sense[2], TI_KEY_MEDIUM_ERROR);
		assert_int_equal(sense[12] << 8 | sense[13], TI_ASC_WRITE_ERROR);
		assert_int_equal(sense[3] | sense[4] | sense[5] | sense[6], 0);
	}
	ti_sense_set_field(sense, TI_ASC_INVALID_FIELD_IN_CDB, 3, 4);
	ti_sense_drop_information(sense);
	assert_int_equal(sense[17], 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(fixed_format_without_information, dirty),
		cmocka_unit_test_setup(an_address_of_32_bits_is_in_fixed_format, dirty),
		cmocka_unit_test_setup(a_longer_address_is_in_descriptor_format, dirty),
		cmocka_unit_test_setup(a_copy_tells_its_segment_and_field, dirty),
		cmocka_unit_test_setup(a_copy_forwards_what_its_device_said, dirty),
		cmocka_unit_test_setup(a_field_pointer_names_byte_and_bit, dirty),
		cmocka_unit_test_setup(every_cause_has_its_sense_data, dirty),
		cmocka_unit_test_setup(the_address_counts_blocks_of_the_lun, dirty),
		cmocka_unit_test_setup(a_closing_lun_is_busy, dirty),
		cmocka_unit_test_setup(a_block_is_named_only_if_those_before_it_are_done, dirty),
		cmocka_unit_test_setup(an_address_can_be_taken_out, dirty),
		cmocka_unit_test_setup(progress_is_told_in_both_formats, dirty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
