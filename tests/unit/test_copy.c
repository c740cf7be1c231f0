/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * EXTENDED COPY and RECEIVE COPY RESULTS: parameter lists, what the LUN says of itself, and what is
 * kept of copies.
 */
#include "cdb_fixture.h"

#include "copy.h"
#include "copy_list.h"

#define SERIAL "11112222-3333-4444-5555-666677778888"

static int extended_copy(struct fixture *f, const uint8_t *list, size_t len, size_t said)
{
	uint8_t cdb[16] = { 0x83 };

	ti_put_be32(cdb + 10, (uint32_t)said);
	return run(f, cdb, sizeof(cdb), list, len);
}

static int send(struct fixture *f, const struct copy_list *l)
{
	return extended_copy(f, l->raw, list_length(l), list_length(l));
}

/* One segment, of this LUN to this LUN. */
static struct copy_list *good(struct copy_list *l)
{
	begin_list(l, SERIAL, 512, 2, 7, HOLD);
	add_segment(l, 10, 500, 20);
	l->raw[16 + 64 + 7] = 1; /* to the second CSCD */
	return l;
}

static void expect_copy(const struct fixture *f, unsigned segments)
{
	if (f->status != TI_STS_REQUEST)
		fail_msg("status %d, sense %x/%x/%x at byte %d", f->status, f->sense[2],
			 f->sense[12], f->sense[13], f->sense[17]);
	assert_int_equal(f->command.request.copy.segments, segments);
}

/* INVALID FIELD IN PARAMETER LIST, at @byte. */
static void expect_bad_list(struct fixture *f, unsigned byte)
{
	expect_sense(f, 5, 0x2600);
	assert_int_equal(f->sense[15] & 0xc0, 0x80);
	assert_int_equal(f->sense[16] << 8 | f->sense[17], byte);
}

/* How the copy's segment @n begins: TCMU_STS_OK, or with this additional sense code at @byte. */
static void expect_segment(struct fixture *f, unsigned n, uint16_t asc, unsigned byte)
{
	struct ti_copy_segment s;
	int status = ti_copy_segment(f->iov, 2, &f->command.request.copy, n, f->facts.blocks, &s,
				     f->sense);

	assert_int_equal(status, TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(f->sense[2], 0x0a);
	assert_int_equal(f->sense[12] << 8 | f->sense[13], asc);
	assert_int_equal(f->sense[8] | f->sense[9], 0);
	assert_int_equal(f->sense[10] << 8 | f->sense[11], n);
	assert_int_equal(f->sense[15], 0xa0); /* in the segment's descriptor */
	assert_int_equal(f->sense[16] << 8 | f->sense[17], byte);
}

static void expect_extents(struct fixture *f, unsigned n, uint64_t from, uint64_t to,
			   uint64_t blocks)
{
	struct ti_copy_segment s;

	assert_int_equal(ti_copy_segment(f->iov, 2, &f->command.request.copy, n, f->facts.blocks,
					 &s, f->sense),
			 TCMU_STS_OK);
	assert_int_equal(s.source, from);
	assert_int_equal(s.destination, to);
	assert_int_equal(s.blocks, blocks);
}

static void a_list_is_understood(void **state)
{
	struct fixture *f = *state;
	struct copy_list l;

	send(f, good(&l));
	expect_copy(f, 1);
	expect_extents(f, 0, 10, 500, 20);
	assert_int_equal(f->command.request.copy.own, 3);
	assert_int_equal(f->command.request.copy.list_id, 7);
	assert_true(f->command.request.copy.named && f->command.request.copy.kept);
	/* What has no meaning here: STR, PRIORITY, LU ID TYPE, NUL, the port, CAT and DC, PAD. */
	l.raw[1] |= 0x27;
	l.raw[17] = 0xe0;
	l.raw[18] = 1;
	l.raw[16 + 28] = 0x04;
	segment_of(&l, 0)[1] = 0x03;
	send(f, &l);
	expect_copy(f, 1);
	expect_extents(f, 0, 10, 500, 20);
	/* Bytes behind the lists are nobody's. */
	extended_copy(f, l.raw, list_length(&l) + 9, list_length(&l) + 9);
	expect_copy(f, 1);
	/* As many as there may be. */
	for (uint16_t n = 1; n < TI_COPY_SEGMENTS; n++)
		add_segment(&l, 10, 600U + 20U * n, n);
	send(f, &l);
	expect_copy(f, TI_COPY_SEGMENTS);
	expect_extents(f, 3, 10, 660, 3);
}

static void a_list_without_work_is_done_at_once(void **state)
{
	struct fixture *f = *state;
	struct copy_list l;

	assert_int_equal(extended_copy(f, NULL, 0, 0), TCMU_STS_OK);
	begin_list(&l, SERIAL, 512, 0, 7, HOLD);
	assert_int_equal(send(f, &l), TCMU_STS_OK);
	begin_list(&l, SERIAL, 512, 2, 7, HOLD);
	assert_int_equal(send(f, &l), TCMU_STS_OK);
}

/* SPC-4: truncation of header, CSCD or segment descriptor, by whatever length. */
static void a_list_that_is_cut_is_refused(void **state)
{
	struct fixture *f = *state;
	struct copy_list l;
	size_t len = list_length(good(&l));

	for (size_t said = 1; said < len; said++) {
		extended_copy(f, l.raw, len, said);
		expect_sense(f, 5, 0x1a00);
		extended_copy(f, l.raw, said, len); /* the buffer is */
		expect_sense(f, 5, 0x1a00);
	}
	ti_put_be32(l.raw + 8, 27);
	send(f, &l);
	expect_sense(f, 5, 0x1a00);
	ti_put_be32(l.raw + 8, UINT32_MAX);
	send(f, &l);
	expect_sense(f, 5, 0x1a00);
	good(&l);
	ti_put_be16(l.raw + 2, 63);
	send(f, &l);
	expect_bad_list(f, 2);
}

static void list_identifiers_are_checked(void **state)
{
	struct fixture *f = *state;
	struct copy_list l;

	good(&l)->raw[1] = DISCARD << 3;
	send(f, &l);
	expect_copy(f, 1);
	assert_true(f->command.request.copy.named && !f->command.request.copy.kept);
	l.raw[1] = 1 << 3;
	send(f, &l);
	expect_bad_list(f, 1);
	assert_int_equal(f->sense[15], 0x8c);
	l.raw[1] = NO_IDENTIFIER << 3;
	send(f, &l);
	expect_bad_list(f, 0);
	l.raw[0] = 0;
	send(f, &l);
	expect_copy(f, 1);
	assert_false(f->command.request.copy.named || f->command.request.copy.kept);
}

static void limits_are_kept(void **state)
{
	struct fixture *f = *state;
	struct copy_list l;

	f->facts.blocks = 1U << 20;
	begin_list(&l, SERIAL, 512, TI_COPY_CSCDS + 1, 0, HOLD);
	add_segment(&l, 0, 500, 1);
	send(f, &l);
	expect_sense(f, 5, 0x2606);
	begin_list(&l, SERIAL, 512, TI_COPY_CSCDS, 0, HOLD);
	for (unsigned n = 0; n < TI_COPY_SEGMENTS; n++)
		add_segment(&l, 0, 500, 1);
	send(f, &l);
	expect_copy(f, TI_COPY_SEGMENTS);
	assert_int_equal(f->command.request.copy.own, 0xff);
	add_segment(&l, 0, 500, 1);
	send(f, &l);
	expect_sense(f, 5, 0x1a00); /* all descriptors together */
	begin_list(&l, SERIAL, 512, 1, 0, HOLD);
	for (unsigned n = 0; n <= TI_COPY_SEGMENTS; n++)
		add_segment(&l, 0, 500, 1);
	send(f, &l);
	expect_sense(f, 5, 0x2608);
	begin_list(&l, SERIAL, 512, 1, 0, HOLD);
	add_segment(&l, 0, 1U << 18, 32768);
	send(f, &l);
	expect_copy(f, 1);
	ti_put_be16(segment_of(&l, 0) + 10, 32769);
	send(f, &l);
	expect_bad_list(f, 16 + 32 + 10);
	ti_put_be32(l.raw + 12, 1);
	send(f, &l);
	expect_sense(f, 5, 0x260b);
}

static void descriptors_of_other_kinds_are_refused(void **state)
{
	struct fixture *f = *state;
	struct copy_list l;

	good(&l)->raw[16] = 0xe0;
	send(f, &l);
	expect_sense(f, 5, 0x2607);
	good(&l);
	segment_of(&l, 0)[0] = 0x03;
	send(f, &l);
	expect_sense(f, 5, 0x2609);
	good(&l);
	ti_put_be16(segment_of(&l, 0) + 2, 20);
	send(f, &l);
	expect_bad_list(f, 16 + 64 + 2);
	good(&l)->raw[16 + 32 + 7] = 21;
	send(f, &l);
	expect_bad_list(f, 16 + 32 + 7);
	/* Blocks of another length; of none. */
	ti_put_be32(good(&l)->raw + 16 + 32 + 28, 4096);
	send(f, &l);
	expect_bad_list(f, 16 + 32 + 29);
	ti_put_be32(l.raw + 16 + 32 + 28, 0);
	send(f, &l);
	expect_copy(f, 1);
}

/* An error of a segment's is told at its turn: those before it are done then. */
static void a_copy_stops_at_the_segment_that_cannot_be(void **state)
{
	static const struct {
		unsigned byte;
		uint8_t value;
	} strangers[] = { { 4, 2 }, { 5, 1 }, { 5, 0x13 }, { 7, 15 }, { 8, 0x50 }, { 23, 0xff } };
	struct fixture *f = *state;
	struct copy_list l;

	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		good(&l);
		cscd_of(&l, 1)[strangers[i].byte] = strangers[i].value;
		send(f, &l);
		expect_copy(f, 1);
		assert_int_equal(f->command.request.copy.own, 1);
		expect_segment(f, 0, 0x0d02, 6);
		segment_of(&l, 0)[7] = 0;
		send(f, &l);
		expect_copy(f, 1);
		expect_extents(f, 0, 10, 500, 20);
		segment_of(&l, 0)[5] = 1;
		send(f, &l);
		expect_segment(f, 0, 0x0d02, 4);
	}
	good(&l);
	cscd_of(&l, 1)[1] = 0x01;
	send(f, &l);
	expect_segment(f, 0, 0x0d03, 6);
	good(&l);
	segment_of(&l, 0)[7] = 2; /* there are two */
	send(f, &l);
	expect_segment(f, 0, 0x0804, 6);
	ti_put_be16(segment_of(&l, 0) + 6, 0xffff);
	send(f, &l);
	expect_segment(f, 0, 0x0804, 6);
	good(&l);
	add_segment(&l, BLOCKS - 5, 600, 6);
	add_segment(&l, 0, BLOCKS + 1, 6);
	add_segment(&l, UINT64_MAX, 600, 0);
	send(f, &l);
	expect_copy(f, 4);
	expect_extents(f, 0, 10, 500, 20);
	expect_segment(f, 1, 0, 12);
	expect_segment(f, 2, 0, 20);
	expect_segment(f, 3, 0, 12);
	begin_list(&l, SERIAL, 512, 1, 7, HOLD);
	add_segment(&l, BLOCKS - 5, 600, 5);
	add_segment(&l, 0, 700, 5);
	add_segment(&l, 0, UINT64_MAX, 1);
	send(f, &l);
	expect_extents(f, 0, BLOCKS - 5, 600, 5);
	expect_segment(f, 2, 0, 20);
	ti_put_be64(segment_of(&l, 0) + 12, 10);
	ti_put_be64(segment_of(&l, 1) + 20, BLOCKS - 5);
	ti_put_be64(segment_of(&l, 2) + 20, BLOCKS - 4);
	ti_put_be16(segment_of(&l, 2) + 10, 5);
	send(f, &l);
	expect_extents(f, 1, 0, BLOCKS - 5, 5);
	expect_segment(f, 2, 0, 20);
}

/* Carried out a second time, such a list would give something else. */
static void a_copy_over_its_own_source_is_refused(void **state)
{
	struct fixture *f = *state;
	struct copy_list l;

	for (int distance = -12; distance <= 12; distance++) {
		begin_list(&l, SERIAL, 512, 1, 0, HOLD);
		add_segment(&l, 100, (uint64_t)(100 + distance), 10);
		send(f, &l);
		if (distance > -10 && distance < 10)
			expect_bad_list(f, 16 + 32 + 20);
		else
			expect_copy(f, 1);
	}
	/* What an earlier one has read; but what an earlier one has written may be read. */
	begin_list(&l, SERIAL, 512, 1, 0, HOLD);
	add_segment(&l, 100, 200, 10);
	add_segment(&l, 300, 109, 10);
	send(f, &l);
	expect_bad_list(f, 16 + 32 + 28 + 20);
	ti_put_be64(segment_of(&l, 1) + 20, 110);
	send(f, &l);
	expect_copy(f, 2);
	ti_put_be64(segment_of(&l, 1) + 12, 200);
	ti_put_be64(segment_of(&l, 1) + 20, 300);
	send(f, &l);
	expect_copy(f, 2);
	/* Nothing overlaps nothing, and numbers do not wrap. */
	begin_list(&l, SERIAL, 512, 1, 0, HOLD);
	add_segment(&l, 100, 100, 0);
	add_segment(&l, UINT64_MAX - 1, 0, 10);
	send(f, &l);
	expect_copy(f, 2);
}

static void the_serial_number_is_needed(void **state)
{
	struct fixture *f = *state;
	struct copy_list l;

	f->facts.serial_ctx = NULL;
	assert_int_equal(send(f, good(&l)), TCMU_STS_BUSY);
	f->facts.serial_ctx = (void *)(uintptr_t) "1";
	send(f, &l);
	assert_int_equal(f->command.request.copy.own, 0);
}

static void the_lun_says_what_it_copies(void **state)
{
	static const uint8_t commands[] = { 0, 1, 0, 12, 8, 0x83, 1, 0, 0x84, 3, 0, 3, 4 };
	struct fixture *f = *state;
	uint8_t *p;

	run(f, CDB(0x84, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 256);
	assert_int_equal(f->status, TCMU_STS_OK);
	assert_int_equal(f->command.answer, 46);
	assert_int_equal(ti_be32(f->data), 42);
	assert_int_equal(f->data[4], 1);
	assert_int_equal(ti_be16(f->data + 8), TI_COPY_CSCDS);
	assert_int_equal(ti_be16(f->data + 10), TI_COPY_SEGMENTS);
	assert_int_equal(ti_be32(f->data + 12), 8 * 32 + 4 * 28);
	assert_int_equal(ti_be32(f->data + 16), 16 << 20);
	assert_int_equal(ti_be64(f->data + 20) | ti_be32(f->data + 28), 0);
	assert_int_equal(ti_be16(f->data + 34), TI_COPIES);
	assert_int_equal(f->data[36], TI_COPIES);
	assert_int_equal(f->data[37], 9);
	assert_memory_equal(f->data + 43, ((const uint8_t[]){ 2, 0x02, 0xe4 }), 3);

	run(f, CDB(0x12, 1, 0x8f, 2, 0, 0), NULL, 512);
	assert_int_equal(f->status, TCMU_STS_OK);
	p = f->data + 4;
	assert_memory_equal(p, commands, sizeof(commands));
	for (unsigned i = 0; i < 5; i++) {
		static const uint16_t kinds[] = { 0x0001, 0x0004, 0x0008, 0x000c, 0x8001 };

		assert_int_equal(ti_be16(p), kinds[i]);
		assert_int_equal(ti_be16(p + 2) % 4, 0);
		if (i == 1)
			assert_int_equal(ti_be32(p + 12), 8 * 32 + 4 * 28);
		if (i == 4)
			assert_int_equal(ti_be32(p + 12), 16 << 20);
		p += 4 + ti_be16(p + 2);
	}
	assert_int_equal(p - f->data, 4 + ti_be16(f->data + 2));
	/* No held data, no list identifiers of four bytes, no tokens. */
	for (unsigned action = 1; action < 32; action++) {
		const uint8_t copies[16] = { 0x83, (uint8_t)action };
		const uint8_t asks[16] = { 0x84, (uint8_t)action };

		assert_int_equal(ti_row_find(copies)->cdb_len, 0);
		if (action != 3 && action != 4)
			assert_int_equal(ti_row_find(asks)->cdb_len, 0);
	}
}

/* --- what is kept --- */

#define NOW 1000000000ULL

static struct ti_copy *begin(struct ti_copies *copies, uint8_t id, unsigned usage)
{
	struct ti_command c = { .request.copy = { .segments = 3,
						  .cscds = 1,
						  .own = 1,
						  .list_id = id,
						  .named = usage != NO_IDENTIFIER,
						  .kept = usage == HOLD } };
	struct ti_copy *copy = ti_copies_begin(copies, &c);

	if (copy) {
		copy->segment = 1;
		copy->bytes = 4096;
	}
	return copy;
}

static bool ask(struct ti_copies *copies, uint8_t id, bool failure, size_t allocation, uint64_t now,
		struct ti_copy_result *r)
{
	struct ti_copy_question q = { id, failure, allocation };

	return ti_copies_ask(copies, &q, now, r);
}

static void as_many_copies_as_there_is_memory_for(void **state)
{
	struct ti_copies copies;
	struct ti_copy *copy[TI_COPIES];
	bool locked = true;

	(void)state;
	assert_int_equal(ti_copies_open(&copies, &locked), 0);
	for (unsigned i = 0; i < TI_COPIES; i++) {
		copy[i] = begin(&copies, 1, HOLD);
		assert_non_null(copy[i]);
		memset(copy[i]->buffer.iov_base, (int)i, copy[i]->buffer.iov_len);
	}
	assert_null(begin(&copies, 1, HOLD));
	for (unsigned i = 0; i < TI_COPIES; i++)
		assert_int_equal(*(uint8_t *)copy[i]->buffer.iov_base, i);
	ti_copies_end(&copies, copy[5], TCMU_STS_OK, NULL, NOW);
	assert_ptr_equal(begin(&copies, 2, HOLD), copy[5]);
	ti_copies_close(&copies);
}

static void an_outcome_is_told_once_and_not_too_late(void **state)
{
	static const uint8_t sense[TI_SENSE_BYTES] = { 0x70, [2] = 0x0a, [7] = 29, [36] = 0x55 };
	struct ti_copies copies;
	struct ti_copy_result r;
	struct ti_copy *copy;
	bool locked = true;

	(void)state;
	assert_int_equal(ti_copies_open(&copies, &locked), 0);
	assert_false(ask(&copies, 7, false, 0, NOW, &r));
	copy = begin(&copies, 7, HOLD);
	for (unsigned i = 0; i < 2; i++) { /* as often as one likes */
		assert_true(ask(&copies, 7, false, 0, NOW, &r));
		assert_int_equal(r.state, TI_COPY_RUNNING);
		assert_int_equal(r.segments, 2);
		assert_int_equal(r.bytes, 4096);
	}
	assert_false(ask(&copies, 8, false, 0, NOW, &r));
	assert_false(ask(&copies, 7, true, 0, NOW, &r));
	copy->segment = 3;
	ti_copies_end(&copies, copy, TCMU_STS_OK, NULL, NOW);
	assert_true(ask(&copies, 7, false, 0, NOW + TI_COPY_KEPT_NS - 1, &r));
	assert_int_equal(r.state, TI_COPY_DONE);
	assert_int_equal(r.segments, 3);
	assert_false(ask(&copies, 7, false, 0, NOW, &r));
	ti_copies_end(&copies, begin(&copies, 7, HOLD), TCMU_STS_OK, NULL, NOW);
	assert_false(ask(&copies, 7, false, 0, NOW + TI_COPY_KEPT_NS, &r));

	/* A failure: status and details, each for itself. */
	ti_copies_end(&copies, begin(&copies, 9, HOLD), TCMU_STS_PASSTHROUGH_ERR, sense, NOW);
	assert_true(ask(&copies, 9, false, 0, NOW, &r));
	assert_int_equal(r.state, TI_COPY_FAILED);
	assert_int_equal(r.segments, 2);
	assert_true(ask(&copies, 9, true, 96, NOW, &r)); /* not all of it */
	assert_true(ask(&copies, 9, true, 97, NOW, &r));
	assert_memory_equal(r.sense, sense, sizeof(sense));
	assert_false(ask(&copies, 9, true, 97, NOW, &r));
	ti_copies_end(&copies, begin(&copies, 9, HOLD), TCMU_STS_PASSTHROUGH_ERR, sense, NOW);
	assert_true(ask(&copies, 9, true, 0, NOW, &r)); /* that is to drop it */
	assert_false(ask(&copies, 9, true, 97, NOW, &r));
	assert_true(ask(&copies, 9, false, 0, NOW, &r));

	/* Another with the same identifier takes its place, and one that is to be repeated leaves
	 * nothing; nor does one that need not. */
	ti_copies_end(&copies, begin(&copies, 9, HOLD), TCMU_STS_OK, NULL, NOW);
	ti_copies_end(&copies, begin(&copies, 9, HOLD), TCMU_STS_BUSY, NULL, NOW);
	assert_false(ask(&copies, 9, false, 0, NOW, &r));
	ti_copies_end(&copies, begin(&copies, 9, DISCARD), TCMU_STS_OK, NULL, NOW);
	assert_false(ask(&copies, 9, false, 0, NOW, &r));
	copy = begin(&copies, 0, NO_IDENTIFIER);
	assert_false(ask(&copies, 0, false, 0, NOW, &r));
	ti_copies_end(&copies, copy, TCMU_STS_OK, NULL, NOW);
	assert_false(ask(&copies, 0, false, 0, NOW, &r));
	/* The oldest makes room. */
	for (unsigned id = 0; id <= TI_COPIES; id++)
		ti_copies_end(&copies, begin(&copies, (uint8_t)id, HOLD), TCMU_STS_OK, NULL, NOW);
	assert_false(ask(&copies, 0, false, 0, NOW, &r));
	for (unsigned id = 1; id <= TI_COPIES; id++)
		assert_true(ask(&copies, (uint8_t)id, false, 0, NOW, &r));
	ti_copies_close(&copies);
}

static bool known;
static struct ti_copy_question asked;

static bool result(void *ctx, const struct ti_copy_question *question, struct ti_copy_result *r)
{
	(void)ctx;
	asked = *question;
	*r = (struct ti_copy_result){ .state = TI_COPY_FAILED,
				      .segments = 2,
				      .bytes = 0x12345,
				      .sense = { 0x70, [7] = 2, [9] = 9 } };
	return known;
}

static void receive_copy_results_tells_what_is_kept(void **state)
{
	struct fixture *f = *state;

	f->facts.copy_result = result;
	known = true;
	run(f, CDB(0x84, 0, 33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 256);
	assert_int_equal(f->status, TCMU_STS_OK);
	assert_int_equal(asked.list_id, 33);
	assert_false(asked.failure);
	assert_int_equal(f->command.answer, 12);
	assert_memory_equal(f->data,
			    ((const uint8_t[]){ 0, 0, 0, 8, 2, 0, 2, 0, 0, 1, 0x23, 0x45 }), 12);
	run(f, CDB(0x84, 4, 33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 256);
	assert_true(asked.failure);
	assert_int_equal(asked.allocation, 256);
	assert_int_equal(f->command.answer, 70);
	assert_int_equal(ti_be32(f->data), 66);
	assert_int_equal(f->data[56], 2);
	assert_int_equal(ti_be16(f->data + 58), 10);
	assert_int_equal(f->data[60], 0x70);
	assert_int_equal(f->data[69], 9);
	known = false;
	run(f, CDB(0x84, 0, 33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 256);
	expect_bad_field(f, 2);
	run(f, CDB(0x84, 4, 33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 256);
	assert_int_equal(f->status, TCMU_STS_OK);
	assert_int_equal(f->command.answer, 4);
	assert_int_equal(ti_be32(f->data), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_list_is_understood),
		TEST(a_list_without_work_is_done_at_once),
		TEST(a_list_that_is_cut_is_refused),
		TEST(list_identifiers_are_checked),
		TEST(limits_are_kept),
		TEST(descriptors_of_other_kinds_are_refused),
		TEST(a_copy_stops_at_the_segment_that_cannot_be),
		TEST(a_copy_over_its_own_source_is_refused),
		TEST(the_serial_number_is_needed),
		TEST(the_lun_says_what_it_copies),
		TEST(as_many_copies_as_there_is_memory_for),
		TEST(an_outcome_is_told_once_and_not_too_late),
		TEST(receive_copy_results_tells_what_is_kept),
	};

	return cmocka_run_group_tests_name("copy", tests, NULL, NULL);
}
