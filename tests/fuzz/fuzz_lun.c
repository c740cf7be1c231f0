/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Commands from a stranger, carried out: the command table over the engine over simulated devices,
 * beside a model that knows what SBC-4 says of the commands that write or compare, and nothing of
 * the table.  After every command the LUN holds what the model holds: never a wrong write.  What a
 * discarded block reads as is the device's business, but no other block changes.
 *
 * The input: the mode and block sizes, then commands: which, hints on how to make it a likely one,
 * the CDB, the length of the buffer and a seed for what is in it.
 */
#include "cdb.h"
#include "copy.h"
#include "fuzz_input.h"
#include "iov.h"
#include "libtcmu_common.h"
#include "sense.h"
#include "sim_format.h"
#include "sim_queue.h"

#define LUN_BYTES  (32U << 10)
#define META_BYTES (256U << 10)
#define MAX_BUFFER (LUN_BYTES + 4096U)
#define COMMANDS   24U

/* Hints: */
#define NEAR	  0x01U /* address and count are small */
#define FITS	  0x02U /* the buffer is as long as the CDB says */
#define TRUE_DATA 0x04U /* it holds what the LUN holds, */
#define ONE_OTHER 0x08U /* but for one byte */
#define PLAIN	  0x10U /* no bits in CDB byte 1 but BYTCHK and FUA, no control byte */

struct world {
	struct sim_queue *sim;
	struct ti_lun *lun;
	struct ti_scsi_facts facts;
	struct ti_select mode;
	struct ti_copies *copies;
	uint8_t model[LUN_BYTES];
	uint32_t size; /* of a block */
};

/* What a CDB means, read by hand. */
struct meaning {
	enum {
		OTHER,
		READ,
		WRITE,
		WRITE_SAME,
		WRITE_ZEROES,
		COMPARE,
		COMPARE_SAME,
		SWAP,
		OR,
		DISCARD,
		UNMAP,
		COPY
	} what;
	uint64_t at, len; /* bytes */
};

static char *serial(void *ctx)
{
	(void)ctx;
	return strdup("11112222-3333-4444-5555-666677778888");
}

static int ready(void *ctx, uint8_t *sense)
{
	(void)ctx;
	(void)sense;
	return TCMU_STS_OK;
}

static void stats(void *ctx, struct ti_lun_stats *out)
{
	ti_lun_get_stats(((struct world *)ctx)->lun, out);
}

static void scrub(void *ctx, struct ti_scrub_report *out)
{
	ti_lun_scrub_get(((struct world *)ctx)->lun, out);
}

static struct meaning read_by_hand(const struct world *w, const uint8_t *cdb)
{
	struct meaning m = { OTHER, 0, 0 };
	unsigned bytchk = cdb[1] >> 1 & 3;

	switch (cdb[0]) {
	case 0x08:
	case 0x28:
	case 0xa8:
	case 0x88:
		m.what = READ;
		break;
	case 0x0a:
	case 0x2a:
	case 0xaa:
	case 0x8a:
	case 0x9c:
	case 0x2e:
	case 0xae:
	case 0x8e:
		m.what = WRITE;
		break;
	case 0x41:
		m.what = WRITE_SAME;
		break;
	case 0x93:
		m.what = cdb[1] & 1 ? WRITE_ZEROES : WRITE_SAME;
		break;
	case 0x42:
		m.what = UNMAP;
		break;
	case 0x83:
		m.what = (cdb[1] & 0x1f) == 0 ? COPY : OTHER;
		break;
	case 0x2f:
	case 0xaf:
	case 0x8f:
		m.what = bytchk == 1 ? COMPARE : bytchk == 3 ? COMPARE_SAME : OTHER;
		break;
	case 0x89:
		m.what = SWAP;
		break;
	case 0x8b:
		m.what = OR;
		break;
	}
	if ((cdb[0] == 0x41 || cdb[0] == 0x93) && (cdb[1] & 8))
		m.what = DISCARD;
	switch (cdb[0] >> 5) {
	case 0:
		m.at = (uint64_t)(cdb[1] & 0x1f) << 16 | ti_be16(cdb + 2);
		m.len = cdb[4] ? cdb[4] : 256;
		break;
	case 1:
	case 2:
		m.at = ti_be32(cdb + 2);
		m.len = ti_be16(cdb + 7);
		break;
	case 5:
		m.at = ti_be32(cdb + 2);
		m.len = ti_be32(cdb + 6);
		break;
	default:
		m.at = ti_be64(cdb + 2);
		m.len = cdb[0] == 0x89	 ? cdb[13]
			: cdb[0] == 0x9c ? ti_be16(cdb + 12)
					 : ti_be32(cdb + 10);
	}
	m.at *= w->size;
	m.len *= w->size;
	if (m.len == 0 && (m.what == WRITE_SAME || m.what == WRITE_ZEROES || m.what == DISCARD) &&
	    m.at < LUN_BYTES) /* to the end */
		m.len = LUN_BYTES - m.at;
	return m;
}

static size_t buffer_of(const struct world *w, const struct meaning *m)
{
	switch (m->what) {
	case OTHER:
	case WRITE_ZEROES:
		return 0;
	case UNMAP:
	case COPY:
		return m->len / w->size; /* bytes there, not blocks */
	case WRITE_SAME:
	case COMPARE_SAME:
	case DISCARD:
		return w->size;
	case SWAP:
		return 2 * m->len;
	default:
		return m->len;
	}
}

static bool all_same(const struct world *w, const struct meaning *m, const uint8_t *block)
{
	for (uint64_t i = 0; i < m->len; i++)
		if (w->model[m->at + i] != block[i % w->size])
			return false;
	return true;
}

static struct ti_result carry_out(struct world *w, enum ti_req_op op, unsigned flags, uint64_t at,
				  uint64_t len, const struct iovec *iov, size_t iov_count);

/* The model learns what the blocks read as now. */
static void forget(struct world *w, uint64_t at, uint64_t len)
{
	struct iovec iov = { w->model + at, len };

	FUZZ_MUST(at <= LUN_BYTES && len <= LUN_BYTES - at);
	FUZZ_MUST(len == 0 || carry_out(w, TI_REQ_READ, 0, at, len, &iov, 1).err == 0);
}

static void forget_list(struct world *w, const uint8_t *list, size_t len)
{
	size_t bytes;

	if (len < 8)
		return;
	bytes = ti_be16(list + 2) < len - 8 ? ti_be16(list + 2) : len - 8;
	for (size_t at = 8; at + 16 <= 8 + bytes; at += 16) {
		uint64_t lba = ti_be64(list + at), blocks = ti_be32(list + at + 8);

		FUZZ_MUST(lba <= LUN_BYTES / w->size);
		forget(w, lba * w->size, blocks * w->size);
	}
}

static bool copy_result(void *ctx, const struct ti_copy_question *question,
			struct ti_copy_result *result)
{
	return ti_copies_ask(((struct world *)ctx)->copies, question, 0, result);
}

/* The LUN's name, for CSCD descriptors. */
static const uint8_t naa[] = { 0x60, 0x01, 0x40, 0x51, 0x11, 0x12, 0x22, 0x23,
			       0x33, 0x34, 0x44, 0x45, 0x55, 0x56, 0x66, 0x67 };

/* Is the list's CSCD descriptor @n this LUN, as a disk? */
static bool is_here(const uint8_t *list, unsigned n)
{
	const uint8_t *p = list + 16 + 32 * (size_t)n;

	return n < ti_be16(list + 2) / 32U && (p[1] & 0x1f) == 0 && (p[4] & 15) == 1 &&
	       (p[5] & 0x3f) == 3 && p[7] == 16 && memcmp(p + 8, naa, sizeof(naa)) == 0;
}

/*
 * A copy has done these segments; all there are, or those before the one that it names, and that
 * one could not be.
 */
static void apply_copy(struct world *w, const uint8_t *list, size_t len, const uint8_t *sense)
{
	uint64_t blocks = LUN_BYTES / w->size, done = 0;
	bool was_read[LUN_BYTES / 512] = { false };
	size_t at, end;

	if (len == 0)
		return;
	FUZZ_MUST(len >= 16);
	at = 16U + ti_be16(list + 2);
	end = at + ti_be32(list + 8);
	FUZZ_MUST(end <= len);
	for (; at < end; at += 28, done++) {
		const uint8_t *p = list + at;
		uint64_t from = ti_be64(p + 12), to = ti_be64(p + 20), n = ti_be16(p + 10);
		bool possible = is_here(list, ti_be16(p + 4)) && is_here(list, ti_be16(p + 6)) &&
				from <= blocks && to <= blocks && n <= blocks - from &&
				n <= blocks - to;

		FUZZ_MUST(p[0] == 0x02 && at + 28 <= end);
		if (sense && ti_be16(sense + 10) == done) {
			FUZZ_MUST(!possible);
			return;
		}
		FUZZ_MUST(possible);
		for (uint64_t i = 0; i < n; i++)
			was_read[from + i] = true;
		for (uint64_t i = 0; i < n; i++) /* or it could not be repeated */
			FUZZ_MUST(!was_read[to + i]);
		memcpy(w->model + to * w->size, w->model + from * w->size, n * w->size);
	}
	FUZZ_MUST(!sense);
}

/* A command has succeeded: so it was one that could, and this is what it has done. */
static void apply(struct world *w, const struct meaning *m, const uint8_t *data, size_t len,
		  const uint8_t *after)
{
	if (m->what == OTHER || m->len == 0)
		return;
	if (m->what == COPY) {
		apply_copy(w, data, m->len / w->size, NULL);
		return;
	}
	if (m->what == UNMAP) {
		FUZZ_MUST(w->facts.discards);
		forget_list(w, data, m->len / w->size < len ? m->len / w->size : len);
		return;
	}
	FUZZ_MUST(m->at <= LUN_BYTES && m->len <= LUN_BYTES - m->at);
	FUZZ_MUST(m->what == WRITE_ZEROES || m->what == DISCARD || len == buffer_of(w, m));
	switch (m->what) {
	case READ:
		FUZZ_MUST(memcmp(after, w->model + m->at, m->len) == 0);
		break;
	case WRITE:
		memcpy(w->model + m->at, data, m->len);
		break;
	case WRITE_SAME:
		for (uint64_t i = 0; i < m->len; i++)
			w->model[m->at + i] = data[i % w->size];
		break;
	case WRITE_ZEROES:
		memset(w->model + m->at, 0, m->len);
		break;
	case COMPARE:
	case COMPARE_SAME:
		FUZZ_MUST(m->what == COMPARE ? !memcmp(data, w->model + m->at, m->len)
					     : all_same(w, m, data));
		break;
	case SWAP:
		FUZZ_MUST(memcmp(data, w->model + m->at, m->len) == 0);
		memcpy(w->model + m->at, data + m->len, m->len);
		break;
	case OR:
		for (uint64_t i = 0; i < m->len; i++)
			w->model[m->at + i] |= data[i];
		break;
	case DISCARD:
		FUZZ_MUST(w->facts.discards);
		forget(w, m->at, m->len);
		break;
	case OTHER:
	case UNMAP:
	case COPY:
		break;
	}
}

/* Sense data that says MISCOMPARE: there is a difference, and this is where. */
static void check_miscompare(const struct world *w, const struct meaning *m, const uint8_t *sense,
			     const uint8_t *data)
{
	uint64_t first = 0;

	FUZZ_MUST(m->what == COMPARE || m->what == COMPARE_SAME || m->what == SWAP);
	while (first < m->len &&
	       w->model[m->at + first] == data[m->what == COMPARE_SAME ? first % w->size : first])
		first++;
	FUZZ_MUST(first < m->len && sense[0] == 0xf0);
	FUZZ_MUST(ti_be32(sense + 3) == (m->what == SWAP ? first : (m->at + first) / w->size));
}

static void wait_for(struct world *w, struct ti_request *req)
{
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);

	ti_lun_submit(w->lun, req);
	for (unsigned i = 0; STAILQ_EMPTY(&finished); i++) {
		FUZZ_MUST(i < 10000);
		ti_lun_run(w->lun, &finished);
	}
	FUZZ_MUST(STAILQ_FIRST(&finished) == req);
}

static struct ti_result carry_out(struct world *w, enum ti_req_op op, unsigned flags, uint64_t at,
				  uint64_t len, const struct iovec *iov, size_t iov_count)
{
	struct ti_request req = { .op = op,
				  .flags = flags,
				  .sector = at / 512,
				  .sectors = len / 512,
				  .iov = iov,
				  .iov_count = iov_count };

	wait_for(w, &req);
	return req.result;
}

static void compare_lun(struct world *w)
{
	static uint8_t seen[LUN_BYTES];
	struct iovec iov = { seen, sizeof(seen) };

	FUZZ_MUST(carry_out(w, TI_REQ_READ, 0, 0, LUN_BYTES, &iov, 1).err == 0);
	FUZZ_MUST(memcmp(seen, w->model, LUN_BYTES) == 0);
}

static int run_copy(struct world *w, const struct ti_command *cmd)
{
	struct ti_copy *copy = ti_copies_begin(w->copies, cmd);
	int status;

	FUZZ_MUST(copy);
	for (;;) {
		struct ti_request req = { 0 };

		status = ti_copy_next(copy, &w->facts, &req, cmd->sense);
		if (status != TI_STS_REQUEST)
			break;
		wait_for(w, &req);
		FUZZ_MUST(req.result.err == 0);
	}
	ti_copies_end(w->copies, copy, status, cmd->sense, 0);
	return status;
}

static int run_command(struct world *w, struct ti_command *cmd, const struct ti_row *row)
{
	struct ti_extent extent;
	struct ti_result result;
	int status = ti_row_run(row, cmd);

	if (status != TI_STS_REQUEST)
		return status;
	if (cmd->request.copy.segments > 0)
		return run_copy(w, cmd);
	result = carry_out(w, cmd->request.op, cmd->request.flags, cmd->request.lba * w->size,
			   cmd->request.blocks * w->size, cmd->request.iov, cmd->request.iov_count);
	while (result.err == 0 &&
	       ti_unmap_next(cmd->iov, cmd->iov_count, &cmd->request.unmap, &extent))
		result = carry_out(w, TI_REQ_DISCARD, 0, extent.lba * w->size,
				   extent.blocks * w->size, NULL, 0);
	/* The devices never fail: all else was to be refused before. */
	FUZZ_MUST(result.err == 0 || result.cause == TI_CAUSE_MISCOMPARE);
	return result.err ? ti_sense_set_result(cmd->sense, cmd->request.op, &result, w->size)
			  : TCMU_STS_OK;
}

static void likely(const struct world *w, uint8_t *cdb, unsigned hints)
{
	unsigned len = cdb[0] >> 5 == 0 ? 6 : cdb[0] >> 5 < 3 ? 10 : cdb[0] >> 5 == 5 ? 12 : 16;

	if ((hints & PLAIN) && len > 6)
		cdb[1] &= cdb[0] == 0x93 || cdb[0] == 0x41 ? 9 : cdb[0] == 0x42 ? 0 : 0x1e;
	if (hints & PLAIN)
		cdb[len - 1] = 0;
	if (!(hints & NEAR))
		return;
	if (len == 6) {
		cdb[1] = cdb[2] = 0;
	} else {
		memset(cdb + 2, 0, len == 16 ? 6 : 2);
		if (len == 16)
			memset(cdb + 10, 0, 3);
		else if (len == 12)
			memset(cdb + 6, 0, 3);
		else
			cdb[7] = 0;
		cdb[len == 16 ? 8 : 4] = 0;
	}
	cdb[len == 6	? 4
	    : len == 10 ? 8
	    : len == 12 ? 9
			: 13] %= (uint8_t)(LUN_BYTES / w->size / 2);
}

/* A parameter list of UNMAP that may be good. */
static void likely_list(const struct world *w, uint8_t *list, size_t len, unsigned seed)
{
	memset(list, 0, len);
	if (len < 8)
		return;
	ti_put_be16(list + 2, (uint16_t)(len - 8 + seed % 3));
	for (size_t at = 8; at + 16 <= len; at += 16, seed = seed * 7 + 3) {
		list[at + 7] = (uint8_t)(seed % (LUN_BYTES / w->size));
		list[at + 11] = (uint8_t)(seed % 5);
	}
}

/* One of EXTENDED COPY; returns its length. */
static size_t likely_copies(const struct world *w, uint8_t *list, unsigned seed)
{
	unsigned cscds = 1 + seed % 2, segments = 1 + seed / 2 % 4;
	size_t at = 16;

	memset(list, 0, at + (size_t)cscds * 32 + (size_t)segments * 28);
	list[0] = (uint8_t)seed;
	ti_put_be16(list + 2, (uint16_t)(32 * cscds));
	ti_put_be32(list + 8, 28 * segments);
	for (; cscds > 0; cscds--, at += 32) {
		list[at] = 0xe4;
		list[at + 4] = 1;
		list[at + 5] = 3;
		list[at + 7] = 16;
		memcpy(list + at + 8, naa, sizeof(naa));
		ti_put_be32(list + at + 28, w->size);
	}
	for (; segments > 0; segments--, at += 28, seed = seed * 7 + 3) {
		list[at] = 0x02;
		list[at + 3] = 24;
		list[at + 5] = seed % 5 == 4;
		list[at + 7] = seed % 7 == 6;
		list[at + 11] = (uint8_t)(seed % 9);
		list[at + 19] = (uint8_t)(seed / 9 % (LUN_BYTES / w->size));
		list[at + 27] = (uint8_t)(seed / 5 % (LUN_BYTES / w->size));
	}
	return at;
}

static void one(struct world *w, struct fuzz_input *in, size_t rows)
{
	static uint8_t data[2 * MAX_BUFFER], before[2 * MAX_BUFFER];
	const struct ti_row *row = ti_row_at(fuzz_take8(in) % rows);
	unsigned hints = fuzz_take8(in), seed;
	uint8_t cdb[16], sense[TI_SENSE_BYTES] = { 0 };
	struct iovec iov[2];
	struct meaning m;
	struct ti_command cmd;
	size_t len, cut;
	int status;

	fuzz_take(in, cdb, sizeof(cdb));
	len = fuzz_take16(in);
	seed = fuzz_take8(in);
	cdb[0] = row->opcode;
	if (row->service_action >= 0)
		cdb[1] = (uint8_t)row->service_action;
	else
		likely(w, cdb, hints);
	row = ti_row_find(cdb);
	if (!row)
		return;
	if (cdb[0] == 0x83 && (hints & TRUE_DATA)) {
		len = likely_copies(w, data, seed);
		ti_put_be32(cdb + 10, (uint32_t)len);
		cdb[15] = 0;
	}
	m = read_by_hand(w, cdb);
	if ((hints & FITS) && buffer_of(w, &m) < sizeof(data))
		len = buffer_of(w, &m);
	for (size_t i = 0; i < len && !(m.what == COPY && (hints & TRUE_DATA)); i++)
		data[i] = (uint8_t)(seed + i * 7 + i / w->size);
	if ((hints & TRUE_DATA) && m.what == COPY) {
		if (hints & ONE_OTHER)
			data[seed * 31U % len] ^= 0x40;
	} else if ((hints & TRUE_DATA) && m.at < LUN_BYTES) {
		memcpy(data, w->model + m.at, len < LUN_BYTES - m.at ? len : LUN_BYTES - m.at);
		if ((hints & ONE_OTHER) && len)
			data[seed * 31U % len] ^= 0x40;
	}
	if (cdb[0] == 0x42 && (hints & TRUE_DATA))
		likely_list(w, data, len, seed);
	memcpy(before, data, len);
	cut = len * (seed % 5) / 4 & ~(size_t)(seed % 2 ? 0 : 511);
	iov[0] = (struct iovec){ data, cut };
	iov[1] = (struct iovec){ data + cut, len - cut };
	cmd = (struct ti_command){
		.cdb = cdb, .facts = &w->facts, .iov = iov, .iov_count = 2, .sense = sense
	};
	status = run_command(w, &cmd, row);
	if (status == TCMU_STS_OK)
		apply(w, &m, before, len, data);
	else if (status == TCMU_STS_PASSTHROUGH_ERR && (sense[2] & 0x0f) == TI_KEY_MISCOMPARE)
		check_miscompare(w, &m, sense, before);
	else if (status == TCMU_STS_PASSTHROUGH_ERR && (sense[2] & 0x0f) == TI_KEY_COPY_ABORTED)
		apply_copy(w, before, len, sense);
	compare_lun(w);
}

/* Taken once: it is much memory for one input. */
static struct ti_copies *copies_for_all(void)
{
	static struct ti_copies copies;
	bool locked = true;

	if (!copies.memory)
		FUZZ_MUST(ti_copies_open(&copies, &locked) == 0);
	memset(copies.kept, 0, sizeof(copies.kept));
	return &copies;
}

static bool make(struct world *w, uint8_t shape_bits)
{
	struct sim_options so = { .seed = 1,
				  .bytes = { LUN_BYTES, META_BYTES },
				  .complete_percent = 100,
				  .discards = shape_bits & 8 };
	struct ti_format_shape shape = { .block_size = shape_bits & 1 ? 4096 : 512,
					 .tag_size = 4,
					 .journal_sectors = 200 };
	struct ti_pair_sizes sizes = { .data_sectors = LUN_BYTES / 512,
				       .meta_sectors = META_BYTES / 512,
				       .data_name = "data",
				       .meta_name = "meta" };
	struct ti_lun_options options = {
		.mode = shape_bits & 2 ? TI_MODE_JOURNAL : TI_MODE_DIRECT,
		.cache_bytes = 64 << 10,
		.queue_depth = 2,
		.max_part_bytes = 8192,
		.bounce_buffers = 1,
		.allow_discards = shape_bits & 8,
	};
	static const struct ti_log quiet;
	struct ti_superblock sb;
	struct ti_geometry geo;
	struct ti_error error = { 0 };

	w->sim = sim_queue_new(&so);
	w->size = shape_bits & 5 ? 4096 : 512;
	if (ti_geometry_plan(&shape, &sizes, &sb, &geo, &error) != 0)
		return false;
	sim_format(w->sim, &sb, &geo);
	if (ti_lun_open(&options, sim_as_queue(w->sim), sim_as_clock(w->sim), &quiet, &w->lun,
			&error) != 0)
		return false;
	w->copies = copies_for_all();
	/* Small, so that a copy takes several pieces. */
	for (unsigned i = 0; i < TI_COPIES; i++)
		w->copies->copy[i].buffer.iov_len = w->size * (size_t)(shape_bits & 0x10 ? 3 : 1);
	ti_select_open(&w->mode, NULL, 0);
	w->mode.kept = true;
	w->facts = (struct ti_scsi_facts){
		.block_size = w->size,
		.integrity_block = shape.block_size,
		.blocks = LUN_BYTES / w->size,
		.max_transfer = 2048,
		.max_write_same = 1000,
		.max_verify = 1000,
		.max_atomic = (uint32_t)(ti_lun_atomic_sectors(w->lun) / (w->size / 512)),
		.discards = shape_bits & 8,
		.max_unmap = 100,
		.unmap_granularity = 1,
		.serial = serial,
		.ready = ready,
		.stats = stats,
		.scrub = scrub,
		.copy_result = copy_result,
		.disk = w,
		.mode = &w->mode,
	};
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct fuzz_input in = { data, size };
	size_t rows = 0;

	memset(&w, 0, sizeof(w));
	while (ti_row_at(rows))
		rows++;
	FUZZ_MUST(make(&w, fuzz_take8(&in)));
	for (unsigned i = 0; i < COMMANDS && in.size > 0; i++)
		one(&w, &in, rows);
	FUZZ_MUST(ti_lun_close(w.lun) == 0);
	sim_queue_free(w.sim);
	return 0;
}
