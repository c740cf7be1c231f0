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

/* The first @count are gone, or all from @count on. */
static void drop_first(struct block *b, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free(b->v[i].bytes);
	memmove(b->v, b->v + count, (b->count - count) * sizeof(*b->v));
	b->count -= count;
}

static void drop_from(struct block *b, unsigned count)
{
	while (b->count > count)
		free(b->v[--b->count].bytes);
}

static void set_version(struct block *b, uint32_t id, enum version_status status)
{
	drop_from(b, 0);
	add_version(b, (struct version){ .id = id, .status = status });
}

static uint8_t *copy_of(const struct model *m, const uint8_t *bytes)
{
	uint8_t *copy = malloc(m->block_size);

	if (copy == NULL)
		abort();
	memcpy(copy, bytes, m->block_size);
	return copy;
}

void model_init(struct model *m, const struct schedule *s)
{
	uint32_t last = s->steps > 0 ? s->step[s->steps - 1].id : 0;

	m->blocks = s->shape.blocks;
	m->block_size = s->shape.block_size;
	m->unit = s->shape.data_unit < m->block_size ? s->shape.data_unit : m->block_size;
	m->block = calloc(m->blocks, sizeof(*m->block));
	m->written = calloc(last + 1, sizeof(*m->written));
	m->scratch[0] = malloc(m->block_size);
	m->scratch[1] = malloc(m->block_size);
	if (!m->block || !m->written || !m->scratch[0] || !m->scratch[1])
		abort();
	for (unsigned i = 0; i < s->steps; i++)
		m->written[s->step[i].id] =
			(struct written){ .first = s->step[i].block,
					  .count = s->step[i].count,
					  .period = step_period(&s->step[i]),
					  .discard = s->step[i].op == STEP_DISCARD };
	m->discards = s->shape.discards > 0;
	m->forgets = s->shape.discards > 1;
	m->tags_tear = m->discards && TI_SECTOR_BYTES % s->shape.tag_size != 0;
	for (uint32_t n = 0; n < m->blocks; n++)
		set_version(&m->block[n], 0, DONE);
}

void model_free(struct model *m)
{
	for (uint32_t n = 0; n < m->blocks; n++) {
		drop_from(&m->block[n], 0);
		free(m->block[n].v);
	}
	free(m->scratch[0]);
	free(m->scratch[1]);
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

	if (id == 0 || m->written[id].discard) {
		memset(out, id == 0 ? 0 : SIM_FORGOTTEN, m->block_size);
		return;
	}
	for (size_t at = 0; at < m->block_size; at += 8) {
		uint64_t x = sim_random(&r);

		memcpy(out + at, &x, 8);
	}
}

/* Most blocks that are not a version differ in their first bytes: no need to make the others. */
static bool was_written(const struct model *m, const uint8_t *data, uint32_t block, uint32_t id)
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

static bool holds(const struct model *m, const uint8_t *data, uint32_t block,
		  const struct version *v)
{
	return v->bytes != NULL ? memcmp(data, v->bytes, m->block_size) == 0
				: was_written(m, data, block, v->id);
}

bool model_holds(const struct model *m, const uint8_t *data, uint32_t block, uint32_t id)
{
	const struct block *b = &m->block[block];

	for (unsigned i = 0; i < b->count; i++)
		if (b->v[i].id == id && b->v[i].bytes != NULL)
			return holds(m, data, block, &b->v[i]);
	return was_written(m, data, block, id);
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
		if ((b->v[k].cut_parts_tag || b->v[k].fails_part_tag) && b->v[k].status != DONE)
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
		if (b->v[k].cut_parts_tag || (b->v[k].fails_part_tag && b->v[k].status != DONE))
			return true;
	return false;
}

/* Can a part of this version be on the medium without the rest? */
static bool tears(const struct version *v)
{
	return v->cut_parts_tag || v->marks || v->status == BAD || v->found;
}

/* Is each unit of the block that of one version from the @first on, or of a later one that may be
 * there in part? */
static bool is_mixture(const struct model *m, uint32_t n, unsigned first, const uint8_t *data)
{
	const struct block *b = &m->block[n];
	uint8_t *found = m->scratch[0], *bytes = m->scratch[1];
	uint32_t units = m->block_size / m->unit;

	memset(found, 0, units);
	for (unsigned i = b->count; i-- > first;) {
		const struct version *v = &b->v[i];
		bool all = true;

		/* A discard that is not complete, or over which something was written in part. */
		if (lets_pass(m, v) && (i > first || v->status != DONE || v->filler || !m->forgets))
			return true;
		if (v->bytes != NULL)
			memcpy(bytes, v->bytes, m->block_size);
		else
			model_content(m, n, v->id, bytes);
		for (uint32_t u = 0; u < units; u++) {
			bool here = memcmp(bytes + u * m->unit, data + u * m->unit, m->unit) == 0;

			all &= here || found[u];
			found[u] |= here && tears(v);
		}
		if (all)
			return true;
	}
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
				    .fails_part_tag = mode->fails_part_tag,
				    .marks = mode->marks,
				    .outlives_process = mode->outlives_process });
}

bool model_known(const struct model *m, uint32_t n, uint8_t *out)
{
	const struct block *b = &m->block[n];
	const struct version *v = &b->v[b->count - 1];

	if (v->status != DONE || b->doubt || v->unreadable || lets_pass(m, v))
		return false;
	/* Tags of before that let anything pass, or none. */
	for (unsigned i = 0; i < b->count; i++)
		if (b->v[i].status != DONE || lets_pass(m, &b->v[i]))
			return false;
	if (v->bytes != NULL)
		memcpy(out, v->bytes, m->block_size);
	else
		model_content(m, n, v->id, out);
	return true;
}

void model_set_bytes(struct model *m, uint32_t n, uint32_t id, const uint8_t *bytes)
{
	struct block *b = &m->block[n];

	assert(b->v[b->count - 1].id == id && b->v[b->count - 1].bytes == NULL);
	b->v[b->count - 1].bytes = copy_of(m, bytes);
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

/* A discard that leaves on the device what is there, lost or not. */
static bool is_bare(const struct model *m, uint32_t id)
{
	return m->written[id].discard && !m->forgets;
}

void model_lost(struct model *m)
{
	for (uint32_t n = 0; n < m->blocks; n++) {
		struct block *b = &m->block[n];

		if (b->count < 2)
			continue;
		b->lost = true;
		b->lost_id = b->v[b->count - 1].id;
	}
}

/* One discard leaves what another one does: what is seen may be an older one's. */
static bool is_older_perhaps(const struct model *m, const struct block *b, uint32_t seen)
{
	if (!m->written[seen].discard)
		return false;
	for (unsigned i = b->count; i-- > 0;)
		if (b->v[i].id == seen)
			return b->v[i].status != DONE;
	return false;
}

bool model_is_lost(const struct model *m, uint32_t n, uint32_t seen)
{
	const struct block *b = &m->block[n];

	return b->lost && (seen >= SEEN_TORN || seen <= b->lost_id || is_bare(m, seen) ||
			   is_older_perhaps(m, b, seen));
}

static void durable(const struct model *m, struct block *b, uint32_t id)
{
	if (b->lost && id <= b->lost_id)
		return;
	for (unsigned i = 0; i < b->count; i++) {
		if (b->v[i].id != id)
			continue;
		drop_first(b, i);
		b->lost = b->lost && is_bare(m, id);
		return;
	}
	/* Not there: an even newer one is durable already. */
}

void model_durable(struct model *m, uint32_t block, uint32_t count, uint32_t id)
{
	for (uint32_t n = 0; n < count; n++)
		durable(m, &m->block[block + n], id);
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
			durable(m, &m->block[n], id[n]);
}

/* A failed write, or what was found, may have left data and tag apart. */
static bool is_apart(const struct version *v)
{
	return v->status == BAD || v->unreadable || (v->status == FAILED && v->fails_part_tag);
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
		if (v->status == BAD && data != NULL && !mended(m, b, (unsigned)i))
			violation("block %u is good though its tag was wrong", n);
		if (data == NULL && is_apart(v))
			return SEEN_MISMATCH;
		if (data != NULL && holds(m, data, n, v))
			return v->id;
		/* Whatever that is, it is not this version: a FUA read has not seen it durable. */
		if (data != NULL && anything(m, b, (unsigned)i))
			return SEEN_TORN;
		if (v->status != FAILED)
			break;
	}
	if (data != NULL && b->doubt && is_mixture(m, n, i < 0 ? 0 : (unsigned)i, data))
		return SEEN_TORN;
	violation("block %u: %s, newest version %u", n,
		  data ? "wrong data without an error" : "tag mismatch without a reason", newest);
}

void model_judge_scrub(const struct model *m, uint32_t n, bool faults)
{
	const struct block *b = &m->block[n];

	for (int i = (int)b->count - 1; i >= 0; i--) {
		const struct version *v = &b->v[i];

		if (is_apart(v) || (v->fails_part_tag && v->status == IN_FLIGHT && faults))
			return;
		if (v->status != FAILED && v->status != IN_FLIGHT)
			break;
	}
	violation("block %u: the scrub has found a mismatch without a reason", n);
}

void model_durable_seen(struct model *m, uint32_t n, uint32_t seen)
{
	struct block *b = &m->block[n];
	bool filler = false;

	if (seen == SEEN_TORN || m->written[seen].discard)
		return;
	for (unsigned i = 0; i < b->count && b->v[i].id != seen; i++)
		filler |= lets_pass(m, &b->v[i]);
	durable(m, b, seen);
	/* It is there, whatever its write was told; its tag perhaps is not, and that of a discard
	 * before it has let it pass. */
	if (b->v[0].id == seen && b->v[0].status == FAILED) {
		b->v[0].status = DONE;
		b->v[0].filler |= filler;
	}
}

/* May the tag of a block be apart from its data after a power cut? */
static bool may_mismatch(const struct block *b)
{
	for (unsigned i = 0; i < b->count; i++)
		if ((i > 0 && b->v[i].cut_parts_tag) || is_apart(&b->v[i]))
			return true;
	return false;
}

/* The newest acknowledged version that was marked, or the durable one. */
static unsigned newest_marked(const struct block *b)
{
	unsigned i = b->count - 1;

	while (i > 0 && !(b->v[i].marks && b->v[i].status == DONE))
		i--;
	return i;
}

/*
 * A discard on a device that does not forget is matched by whatever is there.  What the medium's
 * doubt permits of the versions after it is not the discard come back: a write that came later was
 * cut over one that is there.
 */
static bool is_of_later(const struct model *m, uint32_t n, unsigned i, const uint8_t *data)
{
	const struct block *b = &m->block[n];

	return !m->forgets && b->v[i].bytes == NULL && m->written[b->v[i].id].discard &&
	       i + 1 < b->count && is_mixture(m, n, i + 1, data);
}

uint32_t model_judge_cut(const struct model *m, uint32_t n, const uint8_t *data, bool doubt)
{
	const struct block *b = &m->block[n];
	/* Its mark may be gone only if it is durable. */
	unsigned least = doubt || b->lost ? 0 : newest_marked(b);
	bool anything = doubt || b->doubt;

	if (data == NULL && doubt)
		violation("block %u: its tag was looked at before it was made anew", n);
	if (data == NULL && !may_mismatch(b))
		violation("block %u: durable version %u, none of the %u since may part data and "
			  "tag, and its tag does not match",
			  n, b->v[0].id, b->count - 1);
	if (data == NULL)
		return SEEN_MISMATCH;
	for (unsigned i = b->count; i-- > least;)
		if (b->v[i].status != BAD && holds(m, data, n, &b->v[i]))
			return doubt && is_of_later(m, n, i, data) ? SEEN_TORN : b->v[i].id;
		else if (anything_after_cut(m, b, i))
			return SEEN_TORN;
	if (anything && is_mixture(m, n, least, data))
		return SEEN_TORN;
	violation("block %u: none of the %u versions since %u, no error and %s doubt", n,
		  b->count - least, b->v[least].id, doubt ? "a" : "no");
}

uint32_t model_judge_kill(const struct model *m, uint32_t n, const uint8_t *data, bool doubt)
{
	const struct block *b = &m->block[n];
	bool mismatch = false;
	unsigned i = b->count;

	/* From the newest version back to the newest acknowledged one that is still there. */
	while (i-- > 0) {
		const struct version *v = &b->v[i];

		/* In doubt its tag is not looked at, and made anew of what is there. */
		if (data != NULL && (v->status != BAD || doubt) && holds(m, data, n, v))
			return v->id;
		if (data != NULL && anything(m, b, i))
			return SEEN_TORN;
		mismatch |= is_apart(v);
		if (i == 0 || (v->status == DONE && v->outlives_process))
			break;
		mismatch |= v->cut_parts_tag;
	}
	if (data == NULL && mismatch && !doubt)
		return SEEN_MISMATCH;
	if (data != NULL && (doubt || b->doubt) && is_mixture(m, n, i, data))
		return SEEN_TORN;
	violation("block %u: acknowledged version %u %s after a kill, %s doubt", n, b->v[i].id,
		  data ? "is lost" : "does not match its tag", doubt ? "a" : "no");
}

void model_judge_atomic(const struct model *m, const uint32_t *seen)
{
	for (uint32_t n = 0; n < m->blocks; n++) {
		const struct written *w;

		if (seen[n] >= SEEN_TORN || !m->written[seen[n]].atomic)
			continue;
		w = &m->written[seen[n]];
		for (uint32_t k = w->first; k < w->first + w->count; k++)
			if (seen[k] < SEEN_TORN && seen[k] < seen[n])
				violation("atomic write %u is there in part: block %u holds it, "
					  "block %u holds version %u",
					  seen[n], n, k, seen[k]);
	}
}

/* What was found though nobody wrote it. */
static struct version found_version(const struct model *m, uint32_t seen, const uint8_t *bytes,
				    bool doubt, uint32_t step)
{
	return (struct version){
		.id = step,
		.status = seen == SEEN_MISMATCH ? BAD : DONE,
		.outlives_process = true,
		.marks = seen == SEEN_TORN && doubt,
		.bytes = copy_of(m, bytes),
		.found = true,
	};
}

/* A version's own bytes go with it wherever it goes. */
static void keep_only(struct block *b, unsigned i)
{
	drop_from(b, i + 1);
	drop_first(b, i);
	b->v[0].status = DONE;
	b->v[0].unreadable = false;
}

/* The newest one of this id. */
static unsigned find_version(const struct block *b, uint32_t id)
{
	unsigned i = b->count;

	while (i-- > 0)
		if (b->v[i].id == id)
			return i;
	abort(); /* it was seen because it is there */
}

void model_settle_cut(struct model *m, uint32_t n, uint32_t seen, const uint8_t *bytes, bool doubt,
		      uint32_t step)
{
	struct block *b = &m->block[n];
	enum version_status status = seen == SEEN_MISMATCH ? BAD : DONE;
	bool filler = false;

	/* What was seen may be there without its tag, over that of a discard. */
	for (unsigned i = 0; i < b->count && (i == 0 || b->v[i].id != seen); i++)
		filler |= lets_pass(m, &b->v[i]);
	for (unsigned i = 0; i < b->count; i++)
		if (b->v[i].id == seen && anything_after_cut(m, b, i)) {
			status = FAILED; /* it may be anything */
			filler = true;
		}
	if (seen >= SEEN_TORN) {
		struct version v = found_version(m, seen, bytes, doubt, step);

		drop_from(b, 0);
		add_version(b, v);
	} else {
		keep_only(b, find_version(b, seen));
	}
	b->v[0].status = status;
	b->v[0].filler = filler;
	b->doubt = doubt;
	b->lost = false;
}

void model_settle_kill(struct model *m, uint32_t n, uint32_t seen, const uint8_t *bytes, bool doubt,
		       uint32_t step)
{
	struct block *b = &m->block[n];
	bool filler = false;
	unsigned i;

	b->doubt = doubt;
	for (i = 0; i < b->count; i++)
		if (b->v[i].status == IN_FLIGHT)
			b->v[i].status = FAILED;
	if (seen >= SEEN_TORN) {
		/* Not durable: the devices' caches may hold older ones still. */
		add_version(b, found_version(m, seen, bytes, doubt, step));
		/* What was found is of what a failed flush should have covered. */
		if (b->lost)
			b->lost_id = step;
		b->v[b->count - 1].cut_parts_tag = seen == SEEN_MISMATCH;
		for (i = 0; i < b->count - 1; i++)
			b->v[b->count - 1].filler |= lets_pass(m, &b->v[i]);
		return;
	}
	i = find_version(b, seen);
	/* It may be there without its tag, over that of a discard. */
	for (unsigned k = 0; b->v[i].status != DONE && k < i; k++)
		filler |= lets_pass(m, &b->v[k]);
	/* In doubt no tag is looked at, so there is no mismatch any more. */
	for (unsigned k = 0; doubt && k < b->count; k++)
		if (b->v[k].status == BAD)
			b->v[k].status = k == i ? DONE : FAILED;
	/* What died with the process does not come back.  What the journal held is durable once it
	 * has been replayed. */
	while (b->count > i + 1 && (!b->v[b->count - 1].outlives_process ||
				    (!m->discards && tears(&b->v[b->count - 1]))))
		drop_from(b, b->count - 1);
	if (i > 0 && !b->v[i].outlives_process) {
		keep_only(b, i);
		i = 0;
	} else if (b->count == i + 1 && !(lets_pass(m, &b->v[i]) && b->v[i].status == FAILED)) {
		b->v[i].status = DONE;
	}
	b->v[i].filler |= filler;
}

void model_unreadable(struct model *m)
{
	for (uint32_t n = 0; n < m->blocks; n++)
		for (unsigned i = 0; m->block[n].doubt && i < m->block[n].count; i++)
			m->block[n].v[i].unreadable = true;
}

bool model_recalculated(struct model *m)
{
	bool left = false;

	for (uint32_t n = 0; n < m->blocks; n++) {
		struct block *b = &m->block[n];

		/* A write that failed may be there in part, under a tag made anew since. */
		if (b->v[b->count - 1].status == DONE)
			b->doubt = false;
		left |= b->doubt;
	}
	return left;
}
