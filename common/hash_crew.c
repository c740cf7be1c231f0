/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * See hash_crew.h.
 *
 * A piece's states, and who moves it:
 *
 *	FREE -> OFFERED		the request's thread offers it
 *	OFFERED -> BEGUN	a helper begins
 *	OFFERED -> FREE		it is taken back
 *	BEGUN -> DONE		the helper has ended
 *	DONE -> FREE		its tags are taken
 *	BEGUN -> LEFT		the request's thread has made it once more
 *	LEFT -> FREE		the helper has ended
 *
 * To FREE from OFFERED and DONE, and to LEFT, it is the request's thread that moves it, else a
 * helper.  Where two threads could move it, compare-and-swap decides.  The bytes, and what else
 * describes the piece, are the request's thread's to write while it is FREE, and nobody's until it
 * is FREE again; the tags are the helper's while it is BEGUN or LEFT.
 */
#include "hash_crew.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "memory.h"

#define DEFAULT_PIECE_BYTES ((size_t)16 << 10)

/*
 * Requests are shared that take one thread longer than this: twenty times what it takes until a
 * sleeping helper is at work, for a helper also takes a processor from somebody.  How long they
 * take is measured, for it differs from processor to processor: SHA-256 takes three times as long
 * without instructions of its own.  The bounds are for measurements that went wrong.
 */
#define SHARE_NS    (300U * 1000)
#define LEAST_BYTES ((size_t)64 << 10)
#define MOST_BYTES  ((size_t)512 << 10)
#define TRIES	    5U

/* The default's bound: what is left of a request's time goes down with each further one, and a
 * machine has other things to do. */
#define MOST_BY_DEFAULT 3U

enum state {
	FREE,
	OFFERED,
	BEGUN,
	DONE,
	LEFT,
};

#define LINE 64U /* bytes that processors share */

struct piece {
	_Alignas(LINE) atomic_uint state;
	/* The offer. */
	uint64_t sector;
	size_t blocks;
	uint8_t *bytes; /* piece_blocks blocks */
	uint8_t *tags;
	/* Of the request's thread alone: where the tags are to go; NULL: nobody waits for it. */
	uint8_t *wanted;
};

struct helper {
	_Alignas(LINE) struct ti_hash hash; /* its own */
	struct piece *piece;		    /* that it has begun */
	bool made;			    /* the piece's tags */
	struct ti_hash_crew *crew;
	unsigned number;
	struct ti_io_threads got;
	pthread_t thread;
};

struct ti_hash_crew {
	const struct ti_hash *own;
	const struct ti_hash_crew_script *script;
	size_t piece_blocks, share_blocks;
	size_t bytes; /* of this, helpers, pieces, their blocks and tags */
	unsigned helpers, pieces;
	struct helper *helper;
	struct piece *piece;
	struct ti_hash_crew_stats stats;
	struct ti_io_threads threads;
	sem_t offers, started;
	_Alignas(LINE) atomic_bool stopping;
};

/* The request under way. */
struct round {
	struct ti_hash_crew *crew;
	struct ti_iov_cursor *data;
	uint64_t sector;
	size_t left; /* blocks that are neither made nor offered */
	uint8_t *tags;
	bool alone; /* no more offers */
};

/* Tags of @n blocks of the piece, from its @first on.  io path. */
static void hash_piece(const struct ti_hash *hash, const struct piece *p, size_t first, size_t n,
		       uint8_t *tags)
{
	struct iovec bytes = { .iov_base = p->bytes + first * hash->block_size,
			       .iov_len = n * hash->block_size };
	struct ti_iov_cursor cursor = ti_iov_cursor(&bytes, 1);

	ti_hash_blocks(hash, p->sector + first * (hash->block_size / TI_SECTOR_BYTES), &cursor, n,
		       tags);
}

/* ---- a helper ---- */

/* io path */
static bool begin(struct helper *h)
{
	const struct ti_hash_crew *crew = h->crew;

	for (unsigned i = 0; !h->piece && i < crew->pieces; i++) {
		unsigned offered = OFFERED;

		if (atomic_load_explicit(&crew->piece[i].state, memory_order_relaxed) == OFFERED &&
		    atomic_compare_exchange_strong(&crew->piece[i].state, &offered, BEGUN))
			h->piece = &crew->piece[i];
	}
	h->made = false;
	return h->piece != NULL;
}

/* io path */
static void work(struct helper *h)
{
	hash_piece(&h->hash, h->piece, 0, h->piece->blocks, h->piece->tags);
	h->made = true;
}

/* io path */
static void end(struct helper *h)
{
	unsigned begun = BEGUN;

	if (!atomic_compare_exchange_strong(&h->piece->state, &begun, DONE))
		atomic_store(&h->piece->state, FREE);
	h->piece = NULL;
}

bool ti_hash_helper_step(struct ti_hash_crew *crew, unsigned helper)
{
	struct helper *h = &crew->helper[helper];

	if (!h->piece)
		return begin(h);
	if (h->made)
		end(h);
	else
		work(h);
	return true;
}

static void *help(void *arg)
{
	struct helper *h = arg;
	struct ti_hash_crew *crew = h->crew;

	h->got = ti_io_thread_prepare("ti-hash", h->number);
	(void)sem_post(&crew->started);
	for (;;) {
		while (sem_wait(&crew->offers) != 0)
			; /* a signal: there are none for this thread but a debugger's */
		if (atomic_load(&crew->stopping))
			return NULL;
		while (ti_hash_helper_step(crew, h->number))
			;
	}
}

/* ---- the request's thread ---- */

/* io path */
static void give_a_chance(struct ti_hash_crew *crew)
{
	if (crew->script)
		crew->script->chance(crew->script->ctx, crew);
}

/* The request goes on @blocks further on.  io path. */
static void advance(struct round *r, size_t blocks)
{
	const struct ti_hash *own = r->crew->own;

	r->sector += blocks * (own->block_size / TI_SECTOR_BYTES);
	r->tags += blocks * own->tag_size;
	r->left -= blocks;
}

/* Offer the next piece in @p, which is free.  io path. */
static void offer(struct round *r, struct piece *p)
{
	struct ti_hash_crew *crew = r->crew;

	p->sector = r->sector;
	p->blocks = crew->piece_blocks;
	p->wanted = r->tags;
	(void)ti_iov_copy_out(r->data, p->bytes, p->blocks * crew->own->block_size);
	advance(r, p->blocks);
	atomic_store(&p->state, OFFERED);
	if (!crew->script)
		(void)sem_post(&crew->offers);
	/* Done before we are back: the helper was put on our processor, in our place, for there is
	 * no other one.  Then all that it does is switch. */
	r->alone = !crew->script && atomic_load(&p->state) == DONE;
	give_a_chance(crew);
}

/* Offer what there is room for, but the last piece.  io path. */
static void offer_all(struct round *r)
{
	struct ti_hash_crew *crew = r->crew;

	for (unsigned i = 0; i < crew->pieces && r->left > crew->piece_blocks && !r->alone; i++)
		if (!crew->piece[i].wanted && atomic_load(&crew->piece[i].state) == FREE)
			offer(r, &crew->piece[i]);
}

/* Make the next piece ourselves, from where it lies.  io path. */
static void make(struct round *r)
{
	struct ti_hash_crew *crew = r->crew;
	size_t blocks = r->left < crew->piece_blocks ? r->left : crew->piece_blocks;

	ti_hash_blocks(crew->own, r->sector, r->data, blocks, r->tags);
	advance(r, blocks);
	give_a_chance(crew);
}

/* If the piece is done, take its tags.  io path. */
static bool take_done(struct ti_hash_crew *crew, struct piece *p)
{
	if (!p->wanted || atomic_load(&p->state) != DONE)
		return false;
	memcpy(p->wanted, p->tags, p->blocks * crew->own->tag_size);
	p->wanted = NULL;
	crew->stats.helped++;
	atomic_store(&p->state, FREE);
	return true;
}

/* io path */
static void take_all_done(struct ti_hash_crew *crew)
{
	for (unsigned i = 0; i < crew->pieces; i++)
		(void)take_done(crew, &crew->piece[i]);
}

/* If nobody has begun the piece, make it ourselves.  io path. */
static void take_back(struct ti_hash_crew *crew, struct piece *p)
{
	unsigned offered = OFFERED;

	if (!p->wanted || !atomic_compare_exchange_strong(&p->state, &offered, FREE))
		return;
	hash_piece(crew->own, p, 0, p->blocks, p->wanted);
	p->wanted = NULL;
	give_a_chance(crew);
}

/* A helper has begun the piece, perhaps ended it.  Make it once more, as long as it has not.  io
 * path. */
static void repeat(struct ti_hash_crew *crew, struct piece *p)
{
	const struct ti_hash *own = crew->own;
	unsigned begun = BEGUN;

	for (size_t n = 0; n < p->blocks; n++) {
		if (take_done(crew, p))
			return;
		hash_piece(own, p, n, 1, p->wanted + n * own->tag_size);
		give_a_chance(crew);
	}
	if (!atomic_compare_exchange_strong(&p->state, &begun, LEFT)) {
		(void)take_done(crew, p); /* in the last moment */
		return;
	}
	p->wanted = NULL;
	crew->stats.repeated++;
}

/* Everything is made or offered: see to it that all of it is there.  io path. */
static void finish(struct ti_hash_crew *crew)
{
	for (unsigned i = 0; i < crew->pieces; i++) {
		take_all_done(crew);
		take_back(crew, &crew->piece[i]);
	}
	for (unsigned i = 0; i < crew->pieces; i++)
		if (crew->piece[i].wanted)
			repeat(crew, &crew->piece[i]);
}

bool ti_hash_crew_shares(const struct ti_hash_crew *crew, size_t blocks)
{
	return crew && blocks >= crew->share_blocks;
}

void ti_hash_crew_blocks(struct ti_hash_crew *crew, uint64_t sector, struct ti_iov_cursor *data,
			 size_t n, uint8_t *tags)
{
	struct round r = { .crew = crew, .data = data, .sector = sector, .left = n, .tags = tags };

	while (r.left > 0) {
		offer_all(&r);
		make(&r);
		take_all_done(crew);
	}
	finish(crew);
}

/* ---- open and close ---- */

unsigned ti_hash_crew_suits(void)
{
	cpu_set_t set;
	unsigned processors = 1;

	/* More processors than fit are many. */
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		processors = (unsigned)CPU_COUNT(&set);
	else if (errno == EINVAL)
		processors = CPU_SETSIZE;
	return processors - 1 < MOST_BY_DEFAULT ? processors - 1 : MOST_BY_DEFAULT;
}

static size_t round_up(size_t n)
{
	return (n + LINE - 1) & ~(size_t)(LINE - 1);
}

/* All of it in one piece of memory. */
static struct ti_hash_crew *allocate(const struct ti_hash *own, unsigned helpers,
				     size_t piece_blocks, bool *locked)
{
	/* Each helper may be late with one, and has two more: while it makes one, the next lies
	 * ready. */
	unsigned pieces = 3 * helpers;
	size_t block_bytes = round_up(piece_blocks * own->block_size);
	size_t tag_bytes = round_up(piece_blocks * own->tag_size);
	size_t bytes = sizeof(struct ti_hash_crew) + helpers * sizeof(struct helper) +
		       pieces * (sizeof(struct piece) + block_bytes + tag_bytes);
	struct ti_hash_crew *crew = ti_memory_get(bytes, locked);
	uint8_t *at;

	if (!crew)
		return NULL;
	crew->own = own;
	crew->bytes = bytes;
	crew->piece_blocks = piece_blocks;
	crew->pieces = pieces;
	crew->helper = (struct helper *)(void *)(crew + 1);
	crew->piece = (struct piece *)(void *)(crew->helper + helpers);
	at = (uint8_t *)(crew->piece + pieces);
	for (unsigned i = 0; i < pieces; i++, at += block_bytes + tag_bytes) {
		crew->piece[i].bytes = at;
		crew->piece[i].tags = at + block_bytes;
	}
	return crew;
}

static uint64_t processor_time_ns(void)
{
	struct timespec t;

	/* Of this thread: what else goes on does not count. */
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * TI_NS_PER_SEC + (uint64_t)t.tv_nsec;
}

/* From how many bytes on are requests to be shared? */
static size_t measure(const struct ti_hash_crew *crew)
{
	size_t len = crew->piece_blocks * crew->own->block_size, bytes;
	uint64_t took, least = UINT64_MAX;

	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t start = processor_time_ns();

		hash_piece(crew->own, &crew->piece[0], 0, crew->piece_blocks, crew->piece[0].tags);
		took = processor_time_ns() - start;
		if (took < least)
			least = took;
	}
	if (least == 0)
		return MOST_BYTES;
	bytes = (size_t)(len * (uint64_t)SHARE_NS / least);
	if (bytes < LEAST_BYTES)
		return LEAST_BYTES;
	return bytes < MOST_BYTES ? bytes : MOST_BYTES;
}

/* One more helper, at work.  Returns 0 or negative errno. */
static int hire(struct ti_hash_crew *crew, const struct ti_secret *key, const uint8_t *salt)
{
	const struct ti_hash *own = crew->own;
	struct helper *h = &crew->helper[crew->helpers];
	int err = ti_hash_init_keyed(&h->hash, own->ops, key, own->block_size, own->tag_size, salt);

	if (err)
		return err;
	h->crew = crew;
	h->number = crew->helpers;
	if (!crew->script)
		err = ti_io_thread_start(&h->thread, help, h);
	if (err) {
		ti_hash_destroy(&h->hash);
		return err;
	}
	crew->helpers++;
	return 0;
}

/* Threads allocate when they start; from then on none of them does. */
static void await_helpers(struct ti_hash_crew *crew)
{
	for (unsigned i = 0; !crew->script && i < crew->helpers; i++)
		while (sem_wait(&crew->started) != 0)
			;
	for (unsigned i = 0; i < crew->helpers; i++)
		ti_io_threads_add(&crew->threads, &crew->helper[i].got);
}

int ti_hash_crew_open(const struct ti_hash_crew_options *o, const struct ti_hash *own,
		      const struct ti_secret *key, const uint8_t *salt, bool *locked,
		      struct ti_hash_crew **out)
{
	size_t piece = o->piece_bytes ? o->piece_bytes : DEFAULT_PIECE_BYTES;
	unsigned helpers = o->helpers < TI_HASH_CREW_MAX ? o->helpers : TI_HASH_CREW_MAX;
	struct ti_hash_crew *crew;
	int err = 0;

	*out = NULL;
	if (!helpers || (!own->ops->slow && !o->share_bytes))
		return 0;
	crew = allocate(own, helpers, piece > own->block_size ? piece / own->block_size : 1,
			locked);
	if (!crew)
		return -ENOMEM;
	crew->script = o->script;
	crew->stats.share_bytes = o->share_bytes ? o->share_bytes : measure(crew);
	crew->share_blocks = crew->stats.share_bytes / own->block_size;
	/* With these values they cannot fail. */
	(void)sem_init(&crew->offers, 0, 0);
	(void)sem_init(&crew->started, 0, 0);
	while (!err && crew->helpers < helpers)
		err = hire(crew, key, salt);
	await_helpers(crew);
	if (!crew->helpers) {
		ti_hash_crew_close(crew);
		return err;
	}
	*out = crew;
	return 0;
}

void ti_hash_crew_close(struct ti_hash_crew *crew)
{
	if (!crew)
		return;
	atomic_store(&crew->stopping, true);
	for (unsigned i = 0; !crew->script && i < crew->helpers; i++)
		(void)sem_post(&crew->offers);
	/* What they work in goes with the last of them, not before. */
	for (unsigned i = 0; !crew->script && i < crew->helpers; i++)
		(void)pthread_join(crew->helper[i].thread, NULL);
	for (unsigned i = 0; i < crew->helpers; i++)
		ti_hash_destroy(&crew->helper[i].hash);
	(void)sem_destroy(&crew->offers);
	(void)sem_destroy(&crew->started);
	ti_memory_put(crew, crew->bytes);
}

struct ti_io_threads ti_hash_crew_threads(const struct ti_hash_crew *crew)
{
	return crew ? crew->threads : (struct ti_io_threads){ 0 };
}

struct ti_hash_crew_stats ti_hash_crew_stats(const struct ti_hash_crew *crew)
{
	return crew ? crew->stats : (struct ti_hash_crew_stats){ 0 };
}
