/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* See world_model.h. */
#include "world_model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sim_queue.h"

static void add_version(struct block *b, struct version v)
{
	if (b->count == b->room) {
		b->room = b->room ? b->room * 2 : 4;
		b->v = realloc(b->v, b->room * sizeof(*b->v));
		if (b->v == NULL)
			abort();
	}
	b->v[b->count++] = v;
}

static void set_version(struct block *b, uint32_t id, enum version_status status)
{
	b->count = 0;
	add_version(b, (struct version){ .id = id, .status = status });
}

void model_init(struct model *m, const struct schedule *s)
{
	uint32_t last = s->steps > 0 ? s->step[s->steps - 1].id : 0;

	m->blocks = s->shape.blocks;
	m->block_size = s->shape.block_size;
	m->block = calloc(m->blocks, sizeof(*m->block));
	m->written = calloc(last + 1, sizeof(*m->written));
	if (m->block == NULL || m->written == NULL)
		abort();
	for (unsigned i = 0; i < s->steps; i++)
		m->written[s->step[i].id] =
			(struct written){ .first = s->step[i].block,
					  .count = s->step[i].count,
					  .period = step_period(&s->step[i]),
					  .discard = s->step[i].op == STEP_DISCARD };
	m->forgets = s->shape.discards > 1;
	m->tags_tear = s->shape.discards > 0 && TI_SECTOR_BYTES % s->shape.tag_size != 0;
	for (uint32_t n = 0; n < m->blocks; n++)
		set_version(&m->block[n], 0, DONE);
}

void model_free(struct model *m)
{
	for (uint32_t n = 0; n < m->blocks; n++)
		free(m->block[n].v);
	free(m->block);
	free(m->written);
}

/* What the bytes of a version of a block follow from. */
static struct sim_random content_random(const struct model *m, uint32_t block, uint32_t id)
{
	const struct written *r = &m->written[id];
	uint32_t which = r->period > 0 ? ~((block - r->first) % r->period) : block;

	return (struct sim_random){ .state = ((uint64_t)id << 32) ^ which };
}

void model_content(const struct model *m, uint32_t block, uint32_t id, uint8_t *out)
{
	struct sim_random r = content_random(m, block, id);

	if (id == 0) {
		memset(out, 0, m->block_size);
		return;
	}
	for (size_t at = 0; at < m->block_size; at += 8) {
		uint64_t x = sim_random(&r);

		memcpy(out + at, &x, 8);
	}
}

/* Most blocks that are not a version differ in their first bytes: no need to make the others. */
bool model_holds(const struct model *m, const uint8_t *data, uint32_t block, uint32_t id)
{
	struct sim_random r = content_random(m, block, id);

	if (m->written[id].discard) {
		for (size_t at = 0; m->forgets && at < m->block_size; at++)
			if (data[at] != SIM_FORGOTTEN)
				return false;
		return true;
	}
	for (size_t at = 0; at < m->block_size; at += 8) {
		uint64_t x = id == 0 ? 0 : sim_random(&r);

		if (memcmp(data + at, &x, 8) != 0)
			return false;
	}
	return true;
}

/* Is the tag that goes with it one that lets pass whatever the block holds? */
static bool lets_pass(const struct model *m, const struct version *v)
{
	return v->status != BAD && (v->filler || m->written[v->id].discard);
}

/*
 * May a tag that was torn have been put together again by a later write that was torn, too?  What
 * stands behind a short digest is the same in every tag but the filler.
 */
static bool mended(const struct model *m, const struct block *b, unsigned i)
{
	if (!m->tags_tear || b->v[i].status != BAD)
		return false;
	for (unsigned k = i + 1; k < b->count; k++)
		if (b->v[k].status != BAD)
			return true;
	return false;
}

/*
 * May the block hold anything, because its @i-th version is a discard that is not complete, or one
 * whose tag lets pass what a write that came later has left in parts?
 */
static bool anything(const struct model *m, const struct block *b, unsigned i)
{
	if (mended(m, b, i))
		return true;
	if (!lets_pass(m, &b->v[i]))
		return false;
	if (b->v[i].status != DONE)
		return true;
	for (unsigned k = i + 1; k < b->count; k++)
		if (b->v[k].cut_parts_tag && b->v[k].status != DONE)
			return true;
	return false;
}

/* The same after a power cut: nothing but the first one is complete. */
static bool anything_after_cut(const struct model *m, const struct block *b, unsigned i)
{
	if (mended(m, b, i))
		return true;
	if (!lets_pass(m, &b->v[i]))
		return false;
	if (i > 0 || b->v[i].status != DONE)
		return true;
	for (unsigned k = i + 1; k < b->count; k++)
		if (b->v[k].cut_parts_tag)
			return true;
	return false;
}

void model_submitted(struct model *m, const struct step *step, const struct world_mode *mode)
{
	for (uint32_t n = 0; n < step->count; n++)
		add_version(&m->block[step->block + n],
			    (struct version){
				    .id = step->id,
				    .status = IN_FLIGHT,
				    .fua = step->fua,
				    .cut_parts_tag = mode->cut_parts_tag ||
						     (m->tags_tear && m->written[step->id].discard),
				    .outlives_process = mode->outlives_process });
}

void model_came_back(struct model *m, const struct step *step, enum version_status status)
{
	for (uint32_t n = 0; n < step->count; n++) {
		struct block *b = &m->block[step->block + n];

		for (unsigned i = 0; i < b->count; i++)
			if (b->v[i].id == step->id)
				b->v[i].status = status;
	}
}

static void durable(struct block *b, uint32_t id)
{
	for (unsigned i = 0; i < b->count; i++) {
		if (b->v[i].id != id)
			continue;
		memmove(b->v, b->v + i, (b->count - i) * sizeof(*b->v));
		b->count -= i;
		return;
	}
	/* Not there: an even newer one is durable already. */
}

void model_durable(struct model *m, uint32_t block, uint32_t count, uint32_t id)
{
	for (uint32_t n = 0; n < count; n++)
		durable(&m->block[block + n], id);
}

void model_acknowledged(const struct model *m, uint32_t *id)
{
	for (uint32_t n = 0; n < m->blocks; n++) {
		const struct block *b = &m->block[n];

		id[n] = UINT32_MAX;
		for (unsigned i = 0; i < b->count; i++)
			if (b->v[i].status == DONE)
				id[n] = b->v[i].id;
	}
}

void model_flushed(struct model *m, const uint32_t *id)
{
	for (uint32_t n = 0; n < m->blocks; n++)
		if (id[n] != UINT32_MAX)
			durable(&m->block[n], id[n]);
}

uint32_t model_judge_read(const struct model *m, uint32_t n, uint32_t newest, const uint8_t *data)
{
	const struct block *b = &m->block[n];
	int i = (int)b->count - 1;

	while (i >= 0 && b->v[i].id > newest)
		i--;
	/* There is one: what a younger write has made durable, an older read has seen before. */
	for (; i >= 0; i--) {
		const struct version *v = &b->v[i];

		if (v->status == IN_FLIGHT && !v->fua)
			violation("block %u: read overtook write %u", n, v->id);
		if (v->status == BAD && data != NULL)
			violation("block %u is good though its tag was wrong", n);
		if (data == NULL && (v->status == BAD || (v->status == FAILED && v->cut_parts_tag)))
			return SEEN_MISMATCH;
		if (data != NULL && (model_holds(m, data, n, v->id) || anything(m, b, (unsigned)i)))
			return v->id;
		if (v->status != FAILED)
			break;
	}
	violation("block %u: %s, newest version %u", n,
		  data ? "wrong data without an error" : "tag mismatch without a reason", newest);
}

void model_durable_seen(struct model *m, uint32_t n, uint32_t seen)
{
	struct block *b = &m->block[n];

	if (m->written[seen].discard)
		return;
	durable(b, seen);
	/* It is there, whatever its write was told. */
	if (b->v[0].id == seen && b->v[0].status == FAILED)
		b->v[0].status = DONE;
}

/* May the tag of a block be apart from its data after a power cut? */
static bool may_mismatch(const struct block *b)
{
	for (unsigned i = 0; i < b->count; i++)
		if (b->v[i].status == BAD || (i > 0 && b->v[i].cut_parts_tag))
			return true;
	return false;
}

uint32_t model_judge_cut(const struct model *m, uint32_t n, const uint8_t *data)
{
	const struct block *b = &m->block[n];
	unsigned i = b->count;

	if (data == NULL && !may_mismatch(b))
		violation("block %u: durable version %u, none of the %u since may part data and "
			  "tag, and its tag does not match",
			  n, b->v[0].id, b->count - 1);
	if (data == NULL)
		return SEEN_MISMATCH;
	while (i > 0 && (b->v[i - 1].status == BAD || !model_holds(m, data, n, b->v[i - 1].id)) &&
	       !anything_after_cut(m, b, i - 1))
		i--;
	if (i == 0)
		violation("block %u: none of the %u versions since %u, and no error", n, b->count,
			  b->v[0].id);
	return b->v[i - 1].id;
}

uint32_t model_judge_kill(const struct model *m, uint32_t n, const uint8_t *data)
{
	const struct block *b = &m->block[n];
	bool mismatch = false;

	/* From the newest version back to the newest acknowledged one that is still there. */
	for (unsigned i = b->count; i-- > 0;) {
		const struct version *v = &b->v[i];

		if (data != NULL && v->status != BAD && model_holds(m, data, n, v->id))
			return v->id;
		if (data != NULL && anything(m, b, i))
			return v->id;
		if (v->status == DONE && (i == 0 || v->outlives_process)) {
			if (data == NULL && mismatch)
				return SEEN_MISMATCH;
			violation("block %u: acknowledged version %u %s after a kill", n, v->id,
				  data ? "is lost" : "does not match its tag");
		}
		mismatch |= v->status == BAD || v->cut_parts_tag;
	}
	if (data == NULL && mismatch)
		return SEEN_MISMATCH;
	violation("block %u: %s after a kill", n,
		  data ? "none of the versions that it may have" : "tag mismatch without a reason");
}

void model_judge_atomic(const struct model *m, const uint32_t *seen)
{
	for (uint32_t n = 0; n < m->blocks; n++) {
		const struct written *w;

		if (seen[n] == SEEN_MISMATCH || !m->written[seen[n]].atomic)
			continue;
		w = &m->written[seen[n]];
		for (uint32_t k = w->first; k < w->first + w->count; k++)
			if (seen[k] != SEEN_MISMATCH && seen[k] < seen[n])
				violation("atomic write %u is there in part: block %u holds it, "
					  "block %u holds version %u",
					  seen[n], n, k, seen[k]);
	}
}

void model_settle_cut(struct model *m, uint32_t n, uint32_t seen)
{
	struct block *b = &m->block[n];
	enum version_status status = DONE;
	bool filler = false;

	/* What was seen may be there without its tag, over that of a discard. */
	for (unsigned i = 0; i < b->count && (i == 0 || b->v[i].id != seen); i++)
		filler |= lets_pass(m, &b->v[i]);
	for (unsigned i = 0; i < b->count; i++)
		if (b->v[i].id == seen && anything_after_cut(m, b, i)) {
			status = FAILED; /* it may be anything */
			filler = true;
		}
	if (seen == SEEN_MISMATCH) {
		seen = b->v[0].id;
		status = BAD;
	}
	set_version(b, seen, status);
	b->v[0].filler = filler;
}

void model_settle_kill(struct model *m, uint32_t n, uint32_t seen)
{
	struct block *b = &m->block[n];

	for (unsigned i = 0; i < b->count; i++)
		if (b->v[i].status == IN_FLIGHT)
			b->v[i].status = FAILED;
	if (seen == SEEN_MISMATCH) {
		struct version v = b->v[b->count - 1];

		/* Not durable: the devices' caches may hold it still. */
		v.status = BAD;
		add_version(b, v);
		return;
	}
	for (unsigned i = b->count; i-- > 0;) {
		if (b->v[i].id != seen || b->v[i].status == BAD)
			continue;
		/* What died with the process does not come back.  What the journal held is durable
		 * once it has been replayed. */
		while (b->count > i + 1 && !b->v[b->count - 1].outlives_process)
			b->count--;
		if (i > 0 && !b->v[i].outlives_process)
			set_version(b, seen, DONE);
		else if (b->count == i + 1 && !(lets_pass(m, &b->v[i]) && b->v[i].status == FAILED))
			b->v[i].status = DONE;
		return;
	}
}
