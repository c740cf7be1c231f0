/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Two threads submit, one waits and completes, all around one lock, as the engine's users do. There
 * are so few I/Os that the submitters often have to wait for the completer: if it ever misses a
 * wake-up, everybody hangs.
 */
#include "blockdev_hammer.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "clock.h"
#include "io_support.h"

#define BLOCK 4096U
#define SLOTS 4U

struct hammer {
	struct ti_queue *q;
	pthread_mutex_t monitor; /* whoever holds it may be in the queue */
	pthread_cond_t freed;	 /* `unused` is not empty any more */
	struct hammer_io *unused;
	unsigned limit, submitted, completed, errors;
	unsigned late; /* completed by the completer */
	uint64_t end_ns;
	bool stop;
};

struct hammer_io {
	struct counted_io c;
	struct hammer *hammer;
	struct hammer_io *next;
	char *buf;
};

static uint64_t now_ns(void)
{
	return ti_clock_now(&ti_clock_monotonic);
}

static void hammer_done(struct ti_io *io)
{
	struct hammer_io *h = io->owner;
	struct hammer *hammer = h->hammer;

	if (io->result != 0 && !(io->op == TI_IO_DISCARD && io->result == -EOPNOTSUPP))
		hammer->errors++;
	hammer->completed++;
	h->next = hammer->unused;
	hammer->unused = h;
	pthread_cond_broadcast(&hammer->freed);
}

/* The @n-th I/O: reads, writes and discards in turn, on both devices, and sometimes a flush. */
static void prepare(struct hammer_io *h, unsigned n)
{
	static const enum ti_io_op ops[] = { TI_IO_READ, TI_IO_WRITE, TI_IO_DISCARD };
	enum ti_device dev = n % 2 ? TI_DATA : TI_META;

	if (n % 1000 == 999)
		counted_io_set(&h->c, TI_IO_FLUSH, dev, 0, NULL, 0);
	else
		counted_io_set(&h->c, ops[n % 3], dev, (uint64_t)(n % 512) * BLOCK, h->buf, BLOCK);
}

static void *hammer_submit(void *arg)
{
	struct hammer *hammer = arg;

	pthread_mutex_lock(&hammer->monitor);
	while (hammer->submitted < hammer->limit && now_ns() < hammer->end_ns) {
		struct hammer_io *h = hammer->unused;
		unsigned n = hammer->submitted;

		if (!h) {
			/* Nobody submits now: if the completer missed its wake-up, all hang. */
			pthread_cond_wait(&hammer->freed, &hammer->monitor);
			continue;
		}
		hammer->unused = h->next;
		hammer->submitted++;
		prepare(h, n);
		h->c.io.done = hammer_done;
		h->c.io.owner = h;
		ti_queue_submit(hammer->q, &h->c.io);
		ti_queue_run(hammer->q);
		if (n % 7 == 0)
			hammer->q->ops->wake(hammer->q);
		pthread_mutex_unlock(&hammer->monitor);
		pthread_mutex_lock(&hammer->monitor);
	}
	/* A thread must not leave while requests of its own are under way. */
	while (hammer->completed < hammer->submitted)
		pthread_cond_wait(&hammer->freed, &hammer->monitor);
	pthread_mutex_unlock(&hammer->monitor);
	return NULL;
}

static void *hammer_complete(void *arg)
{
	struct hammer *hammer = arg;
	bool stop = false;

	for (unsigned n = 0; !stop; n++) {
		/* Now and then a deadline that has passed, or comes soon. */
		uint64_t deadline = n % 16 == 5	   ? 0
				    : n % 16 == 11 ? now_ns() + 50000
						   : TI_CLOCK_NEVER;

		hammer->q->ops->wait(hammer->q, deadline);
		pthread_mutex_lock(&hammer->monitor);
		hammer->late += ti_queue_run(hammer->q);
		stop = hammer->stop;
		pthread_mutex_unlock(&hammer->monitor);
	}
	return NULL;
}

unsigned blockdev_hammer(struct ti_queue *q, unsigned limit, uint64_t time_ns)
{
	struct hammer hammer = { .q = q, .limit = limit, .end_ns = now_ns() + time_ns };
	struct hammer_io ios[SLOTS];
	pthread_t submitters[2], completer;

	pthread_mutex_init(&hammer.monitor, NULL);
	pthread_cond_init(&hammer.freed, NULL);
	for (unsigned i = 0; i < SLOTS; i++) {
		ios[i].hammer = &hammer;
		ios[i].buf = testio_buffer(BLOCK, (int)i);
		ios[i].next = hammer.unused;
		hammer.unused = &ios[i];
	}
	assert_int_equal(pthread_create(&completer, NULL, hammer_complete, &hammer), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&submitters[i], NULL, hammer_submit, &hammer), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(submitters[i], NULL), 0);
	pthread_mutex_lock(&hammer.monitor);
	hammer.stop = true;
	hammer.q->ops->wake(hammer.q);
	pthread_mutex_unlock(&hammer.monitor);
	assert_int_equal(pthread_join(completer, NULL), 0);
	assert_int_equal(hammer.errors, 0);
	assert_int_equal(hammer.completed, hammer.submitted);
	print_message("             %u I/Os, %u of them completed for the sleeper\n",
		      hammer.submitted, hammer.late);
	for (unsigned i = 0; i < SLOTS; i++)
		free(ios[i].buf);
	pthread_cond_destroy(&hammer.freed);
	pthread_mutex_destroy(&hammer.monitor);
	return hammer.submitted;
}
