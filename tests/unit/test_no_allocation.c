/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The I/O path allocates nothing: 100,000 mixed requests on an open engine, over each back-end of
 * real files, and some with every digest, with every allocation function of the C library
 * interposed and counted, and so are mmap() and brk(), by whichever thread.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "format.h"
#include "lun.h"
#include "pair.h"

#define REQUESTS  100000U
#define DEPTH	  32U
#define MAX_BYTES (256U << 10)
#define DATA_SIZE (64U << 20)

static atomic_bool counting;
static atomic_uint allocations;

static void count(void)
{
	if (atomic_load_explicit(&counting, memory_order_relaxed))
		atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
}

/* glibc's own names behind the ones that are interposed here. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *p);

void *malloc(size_t size)
{
	count();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	count();
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	count();
	return __libc_realloc(p, size);
}

void *memalign(size_t align, size_t size);

void *memalign(size_t align, size_t size)
{
	count();
	return __libc_memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size)
{
	return memalign(align, size);
}

int posix_memalign(void **p, size_t align, size_t size)
{
	*p = memalign(align, size);
	return *p == NULL ? ENOMEM : 0;
}

void free(void *p)
{
	/* Not an allocation, but nothing to be freed either. */
	if (p != NULL)
		count();
	__libc_free(p);
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	count();
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, offset);
}

struct fixture {
	char data[32], meta[32], store[48];
	struct ti_queue *queue;
	struct ti_lun *lun;
	uint8_t *buffers;
	const char *crypt; /* journal_crypt, which goes with a journal_mac; NULL: neither */
	bool discards;
	unsigned helpers; /* for the digest, of requests from 2 KiB on */
};

static void make_file(char *name, off_t size)
{
	int fd;

	strcpy(name, "./ti-alloc-XXXXXX"); /* the build tree takes O_DIRECT, /tmp may not */
	fd = mkstemp(name);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void open_engine(struct fixture *f, enum ti_backend backend, enum ti_mode mode,
			const char *hash)
{
	struct ti_pair_options pair = { .data_path = f->data,
					.meta_path = f->meta,
					.backend = backend };
	struct ti_format_options format = { .hash = ti_hash_find(hash), .fill = TI_FORMAT_WIPE };
	/* A small cache and a short commit time: lines come and go, and ticks find work. */
	struct ti_lun_options options = {
		.mode = mode,
		.cache_bytes = 256U << 10,
		.commit_time_ms = 2,
		.hash = hash,
		.allow_discards = f->discards,
		.store_path = f->store,
		.crew = { .helpers = f->helpers, .piece_bytes = 1024, .share_bytes = 2048 }
	};
	static const struct ti_log quiet;
	static const struct ti_progress unseen;
	struct ti_format_plan plan;
	struct ti_error error = { 0 };
	struct ti_secret *key = NULL;

	/* On tmpfs, as in earnest. */
	(void)snprintf(f->store, sizeof(f->store), "/dev/shm/ti-alloc-%d", (int)getpid());
	make_file(f->data, DATA_SIZE);
	make_file(f->meta, 16 << 20);
	if (ti_pair_open(&pair, &quiet, &f->queue, &error) != 0)
		fail_msg("%s", error.text);
	unlink(f->data); /* nothing stays behind if a test fails */
	unlink(f->meta);
	format.shape.journal_sectors = UINT64_MAX;
	if (format.hash->keyed) {
		assert_int_equal(ti_secret_alloc(32, &key), 0);
		memset(key->bytes, 0x77, key->len = 32);
		format.hash_key = options.hash_key = key;
	}
	if (f->crypt != NULL)
		format.seal = options.seal = (struct ti_seal_options){
			.mac = "hmac(sha256)",
			.mac_key = key,
			.crypt = f->crypt,
			.crypt_key = key,
		};
	if (ti_format_plan(f->queue, &format, &plan, &error) != 0 ||
	    ti_format_write(f->queue, &plan, &unseen, &error) != 0)
		fail_msg("%s", error.text);
	if (ti_lun_open(&options, f->queue, &ti_clock_monotonic, &quiet, &f->lun, &error) != 0)
		fail_msg("%s", error.text);
	ti_secret_free(key);
	f->buffers = aligned_alloc(4096, DEPTH * (MAX_BYTES + 4096));
	assert_non_null(f->buffers);
}

static void close_engine(struct fixture *f)
{
	assert_int_equal(ti_lun_close(f->lun), 0);
	ti_pair_close(f->queue);
	free(f->buffers);
}

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525U + 1013904223U;
	return *state >> 8;
}

static void make_request(struct ti_request *req, struct iovec *iov, uint8_t *buf, uint32_t *random)
{
	static const enum ti_req_op op[] = { TI_REQ_READ,  TI_REQ_READ,	      TI_REQ_WRITE,
					     TI_REQ_WRITE, TI_REQ_WRITE_SAME, TI_REQ_VERIFY,
					     TI_REQ_WRITE, TI_REQ_FLUSH };
	uint32_t dice = next_random(random);
	uint64_t len = 512 + 512 * (uint64_t)(next_random(random) % (dice % 50 == 0 ? 512 : 16));

	*req = (struct ti_request){ .op = op[dice % 8], .owner = iov, .iov = iov, .iov_count = 1 };
	req->sector = next_random(random) % ((DATA_SIZE - len) / 512);
	req->sectors = len / 512;
	if (dice % 64 == 2 || dice % 64 == 8)
		req->flags = TI_REQ_FUA;
	iov->iov_base = dice % 16 == 3 ? buf + 1 : buf; /* now and then through a bounce buffer */
	iov->iov_len = len;
	if (req->op == TI_REQ_WRITE_SAME)
		iov->iov_len = len % 1024 == 0 ? 1024 : 512;
}

/* In the place of some: discards, short ones and long ones, and looks at what is discarded. */
static void make_discard(struct ti_request *req, uint32_t *random)
{
	uint32_t dice = next_random(random);

	if (dice % 16 > 1)
		return;
	req->op = dice % 16 == 0 ? TI_REQ_DISCARD : TI_REQ_EXTENT;
	req->flags = 0;
	if (dice % 64 == 0)
		req->sectors = DATA_SIZE / 512 - req->sector;
}

/* Returns the number of requests that failed. */
static unsigned run_requests(struct fixture *f, unsigned requests)
{
	static struct ti_request req[DEPTH];
	static struct iovec iov[DEPTH];
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);
	unsigned submitted = 0, done = 0, failed = 0;
	uint32_t random = 42;

	for (; submitted < DEPTH; submitted++) {
		make_request(&req[submitted], &iov[submitted],
			     f->buffers + submitted * (MAX_BYTES + 4096), &random);
		if (f->discards)
			make_discard(&req[submitted], &random);
		ti_lun_submit(f->lun, &req[submitted]);
	}
	while (done < requests) {
		struct ti_request *r;

		ti_lun_tick(f->lun);
		ti_lun_run(f->lun, &finished);
		if (STAILQ_EMPTY(&finished))
			ti_lun_wait(f->lun, ti_lun_deadline(f->lun));
		while ((r = STAILQ_FIRST(&finished)) != NULL) {
			STAILQ_REMOVE_HEAD(&finished, link);
			done++;
			failed += r->result.err != 0;
			if (submitted == requests)
				continue;
			make_request(r, r->owner,
				     f->buffers + (size_t)(r - req) * (MAX_BYTES + 4096), &random);
			if (f->discards)
				make_discard(r, &random);
			submitted++;
			ti_lun_submit(f->lun, r);
		}
	}
	return failed;
}

/* @f says what is special.  Returns what was done. */
static struct ti_lun_stats count_in(struct fixture *f, enum ti_backend backend, enum ti_mode mode,
				    const char *hash, unsigned requests)
{
	struct ti_lun_stats stats;
	unsigned failed, counted;

	open_engine(f, backend, mode, hash);
	assert_int_equal(access(f->store, F_OK), 0);
	atomic_store(&allocations, 0);
	atomic_store(&counting, true);
	failed = run_requests(f, requests);
	atomic_store(&counting, false);
	counted = atomic_load(&allocations);
	ti_lun_get_stats(f->lun, &stats);
	close_engine(f);
	assert_int_equal(failed, 0);
	assert_int_equal(counted, 0);
	return stats;
}

static void count_sealed_allocations(enum ti_backend backend, enum ti_mode mode, const char *hash,
				     const char *crypt, unsigned requests)
{
	struct fixture f = { .crypt = crypt };
	struct ti_lun_stats stats = count_in(&f, backend, mode, hash, requests);

	/* It was work of every kind. */
	assert_true(stats.reads > requests / 10 * 3 && stats.writes > requests / 10 * 3 &&
		    stats.flushes > requests / 20);
	assert_true(stats.tag_lines_read > requests / 1000 &&
		    stats.tag_lines_written > requests / 100);
	assert_int_equal(access(f.store, F_OK), -1);
}

static void count_allocations(enum ti_backend backend, enum ti_mode mode, const char *hash,
			      unsigned requests)
{
	count_sealed_allocations(backend, mode, hash, NULL, requests);
}

static void sealed_journals_allocate_nothing(void **state)
{
	static const char *const ciphers[] = { "ctr(aes)", "chacha20", "cbc(aes)", "ecb(aes)" };

	(void)state;
	for (size_t i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++)
		count_sealed_allocations(TI_BACKEND_AUTO, TI_MODE_JOURNAL, "hmac(sha256)",
					 ciphers[i], REQUESTS / 25);
}

static void uring_requests_allocate_nothing(void **state)
{
	(void)state;
	count_allocations(TI_BACKEND_URING, TI_MODE_DIRECT, "crc32c", REQUESTS);
	count_allocations(TI_BACKEND_URING, TI_MODE_JOURNAL, "crc32c", REQUESTS);
}

static void thread_pool_requests_allocate_nothing(void **state)
{
	(void)state;
	count_allocations(TI_BACKEND_THREADS, TI_MODE_DIRECT, "crc32c", REQUESTS);
	count_allocations(TI_BACKEND_THREADS, TI_MODE_JOURNAL, "crc32c", REQUESTS);
}

static void no_digest_allocates(void **state)
{
	static const char *const names[] = { "crc32",
					     "xxhash64",
					     "sha1",
					     "sha256",
					     "sha384",
					     "sha512",
					     "sha3-256",
					     "sha3-512",
					     "blake2b-256",
					     "blake2b-512",
					     "blake2s-256",
					     "hmac(sha1)",
					     "hmac(sha256)",
					     "hmac(sha384)",
					     "hmac(sha512)",
					     "hmac(sha3-256)",
					     "hmac(sha3-512)",
					     "hmac(blake2b-256)",
					     "hmac(blake2b-512)",
					     "hmac(blake2s-256)" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		count_allocations(TI_BACKEND_AUTO, TI_MODE_DIRECT, names[i], REQUESTS / 25);
}

static void helpers_for_the_digest_allocate_nothing(void **state)
{
	static const struct {
		const char *hash;
		enum ti_mode mode;
	} cases[] = { { "hmac(sha256)", TI_MODE_DIRECT },
		      { "sha512", TI_MODE_JOURNAL },
		      { "hmac(blake2b-256)", TI_MODE_DIRECT } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture f = { .helpers = 2 };
		struct ti_lun_stats stats =
			count_in(&f, TI_BACKEND_AUTO, cases[i].mode, cases[i].hash, REQUESTS / 25);

		assert_int_equal(stats.hash_helpers.count, 2);
		assert_int_equal(stats.hash_helpers.locked_stacks, 2);
		assert_true(stats.hash_pieces.helped > 0);
	}
}

static void discards_allocate_nothing(void **state)
{
	static const enum ti_mode modes[] = { TI_MODE_DIRECT, TI_MODE_JOURNAL, TI_MODE_BITMAP };

	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct fixture f = { .discards = true };
		struct ti_lun_stats stats =
			count_in(&f, TI_BACKEND_AUTO, modes[i], "crc32c", REQUESTS / 25);

		assert_true(stats.discards > REQUESTS / 25 / 32);
		assert_true(stats.writes > REQUESTS / 25 / 10 * 3);
	}
}

static void the_counter_counts(void **state)
{
	(void)state;
	atomic_store(&allocations, 0);
	atomic_store(&counting, true);
	free(malloc(1));
	free(calloc(1, 1));
	free(strdup("x"));
	atomic_store(&counting, false);
	assert_int_equal(atomic_load(&allocations), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_counter_counts),
		cmocka_unit_test(uring_requests_allocate_nothing),
		cmocka_unit_test(thread_pool_requests_allocate_nothing),
		cmocka_unit_test(no_digest_allocates),
		cmocka_unit_test(helpers_for_the_digest_allocate_nothing),
		cmocka_unit_test(sealed_journals_allocate_nothing),
		cmocka_unit_test(discards_allocate_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
