/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Whatever open, close, check and format ask for is refused once: each piece of memory, each call
 * of the system, each I/O of each kind.  Either they do without, or they fail and say so; nothing
 * leaks; and what had been flushed is there at the next open, whatever came in between.
 *
 * The linker puts these functions in front of the C library's, for the engine and for nobody else
 * while an act is under way (the simulated devices use realloc()).
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "check.h"
#include "inspect.h"
#include "sim_lun.h"
#include "store_file.h"

static char directory[] = "/tmp/ti-refusals-XXXXXX";
static char path[80], ring[90];
static struct ti_secret *mac_key, *crypt_key, *hash_key;

/* ---- refusing ---- */

static struct {
	bool armed;
	unsigned calls, refuse; /* the how manieth, from 1; 0: none */
	long held;		/* taken and not given back while armed */
} sys;

static bool refuses(void)
{
	return sys.armed && ++sys.calls == sys.refuse;
}

static void *take(void *p)
{
	sys.held += sys.armed && p != NULL && p != MAP_FAILED;
	return p;
}

#define REAL(type, name, ...) type __real_##name(__VA_ARGS__)
REAL(void *, malloc, size_t size);
REAL(void *, calloc, size_t n, size_t size);
REAL(char *, strdup, const char *s);
REAL(void, free, void *p);
REAL(void *, mmap, void *at, size_t len, int prot, int flags, int fd, off_t off);
REAL(int, munmap, void *p, size_t len);
REAL(int, mlock, const void *p, size_t len);
REAL(int, madvise, void *p, size_t len, int advice);
REAL(int, rename, const char *from, const char *to);
REAL(int, fstat, int fd, struct stat *st);
REAL(int, fstatvfs, int fd, struct statvfs *fs);
REAL(ssize_t, pread, int fd, void *buf, size_t len, off_t off);
REAL(int, posix_fallocate, int fd, off_t off, off_t len);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);
int __wrap_asprintf(char **out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *p, size_t len);
int __wrap_mlock(const void *p, size_t len);
int __wrap_madvise(void *p, size_t len, int advice);
int __wrap_rename(const char *from, const char *to);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_fstatvfs(int fd, struct statvfs *fs);
ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t off);
int __wrap_posix_fallocate(int fd, off_t off, off_t len);

void *__wrap_malloc(size_t size)
{
	return refuses() ? NULL : take(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size)
{
	return refuses() ? NULL : take(__real_calloc(n, size));
}

char *__wrap_strdup(const char *s)
{
	return refuses() ? NULL : take(__real_strdup(s));
}

void __wrap_free(void *p)
{
	sys.held -= sys.armed && p != NULL;
	__real_free(p);
}

int __wrap_asprintf(char **out, const char *fmt, ...)
{
	va_list args;
	int len;

	if (refuses())
		return -1;
	va_start(args, fmt);
	len = vasprintf(out, fmt, args);
	va_end(args);
	take(*out);
	return len;
}

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	errno = ENOMEM;
	return refuses() ? MAP_FAILED : take(__real_mmap(at, len, prot, flags, fd, off));
}

int __wrap_munmap(void *p, size_t len)
{
	sys.held -= sys.armed;
	return __real_munmap(p, len);
}

#define REFUSE(error, real)                                                                        \
	do {                                                                                       \
		if (!refuses())                                                                    \
			return real;                                                               \
		errno = error;                                                                     \
		return -1;                                                                         \
	} while (0)

int __wrap_mlock(const void *p, size_t len)
{
	REFUSE(ENOMEM, __real_mlock(p, len));
}

int __wrap_madvise(void *p, size_t len, int advice)
{
	REFUSE(EAGAIN, __real_madvise(p, len, advice));
}

int __wrap_rename(const char *from, const char *to)
{
	REFUSE(EACCES, __real_rename(from, to));
}

int __wrap_fstat(int fd, struct stat *st)
{
	REFUSE(EIO, __real_fstat(fd, st));
}

int __wrap_fstatvfs(int fd, struct statvfs *fs)
{
	REFUSE(EIO, __real_fstatvfs(fd, fs));
}

ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t off)
{
	REFUSE(EIO, __real_pread(fd, buf, len, off));
}

int __wrap_posix_fallocate(int fd, off_t off, off_t len)
{
	return refuses() ? ENOSPC : __real_posix_fallocate(fd, off, len);
}

/* ---- scenes ---- */

#define FLUSHED 16U /* the first so many blocks, version 1 */

struct scene {
	enum ti_mode first, then;
	bool store, cut; /* how the first one ended: a kill, or a power cut */
	bool keys;	 /* tags, journal: a digest with a key, a MAC, a cipher */
	const char *crypt;
	bool discards, recalculate;
};

static const struct scene scenes[] = {
	{ .first = TI_MODE_DIRECT, .then = TI_MODE_DIRECT },
	{ .first = TI_MODE_DIRECT, .then = TI_MODE_DIRECT, .store = true },
	{ .first = TI_MODE_DIRECT, .then = TI_MODE_JOURNAL, .store = true, .discards = true },
	{ .first = TI_MODE_DIRECT, .then = TI_MODE_DIRECT, .cut = true, .recalculate = true },
	{ .first = TI_MODE_JOURNAL, .then = TI_MODE_JOURNAL, .cut = true },
	{ .first = TI_MODE_JOURNAL, .then = TI_MODE_JOURNAL, .store = true, .discards = true },
	{ .first = TI_MODE_JOURNAL, .then = TI_MODE_DIRECT, .cut = true },
	{ .first = TI_MODE_JOURNAL, .then = TI_MODE_BITMAP, .store = true },
	{ .first = TI_MODE_JOURNAL, .then = TI_MODE_JOURNAL, .keys = true, .crypt = "ctr-aes" },
	{ .first = TI_MODE_JOURNAL, .then = TI_MODE_JOURNAL, .keys = true, .crypt = "cbc-aes" },
	{ .first = TI_MODE_BITMAP, .then = TI_MODE_BITMAP, .store = true },
	{ .first = TI_MODE_BITMAP, .then = TI_MODE_BITMAP, .cut = true, .recalculate = true },
	{ .first = TI_MODE_BITMAP, .then = TI_MODE_JOURNAL, .cut = true },
	{ .first = TI_MODE_BITMAP, .then = TI_MODE_DIRECT, .cut = true },
	{ .first = TI_MODE_JOURNAL, .then = TI_MODE_RECOVERY, .store = true },
};
#define SCENES (sizeof(scenes) / sizeof(scenes[0]))

static struct ti_format_options format_options(const struct scene *s)
{
	static const uint8_t salt[TI_SALT_BYTES] = { 1, 2, 3, 4 };
	struct ti_format_options o = {
		.hash = s->keys ? ti_hash_find("hmac-sha256") : &ti_hash_crc32c,
		.hash_key = s->keys ? hash_key : NULL,
		.shape = { .tag_size = s->keys ? 32 : 4,
			   .journal_sectors = 200,
			   .sectors_per_bit = 64,
			   .salted = true,
			   .journal_mac = s->keys },
		.fill = TI_FORMAT_WIPE,
		.salt = salt,
	};

	if (s->keys)
		o.seal = (struct ti_seal_options){ .mac = "hmac-sha256",
						   .mac_key = mac_key,
						   .crypt = s->crypt,
						   .crypt_key = crypt_key };
	return o;
}

static int format(struct sim_lun *l, const struct scene *s)
{
	static const struct ti_progress quiet = { .step = NULL };
	const struct ti_format_options o = format_options(s);
	struct ti_queue *q = sim_as_queue(l->sim);
	struct ti_format_plan plan;
	int err;

	memset(&l->error, 0, sizeof(l->error));
	err = ti_format_plan(q, &o, &plan, &l->error);
	if (err == 0)
		err = ti_format_write(q, &plan, &quiet, &l->error);
	return err;
}

/* All that "check" does. */
static int check(struct sim_lun *l, const struct scene *s)
{
	const struct ti_format_options f = format_options(s);
	struct ti_queue *q = sim_as_queue(l->sim);
	struct ti_check_range list[4];
	struct ti_check_report report = { .list = list, .list_max = 4 };
	struct ti_journal_overlay overlay = { 0 };
	struct ti_unsettled unsettled = { 0 };
	struct ti_superblock sb;
	struct ti_geometry geo;
	struct ti_seal *seal = NULL;
	struct ti_hash hash;
	struct ti_check_options o = { .hash = f.hash,
				      .hash_key = f.hash_key,
				      .salt = f.salt,
				      .overlay = &overlay,
				      .unsettled = &unsettled };
	struct ti_error *e = &l->error;
	int err;

	memset(e, 0, sizeof(*e));
	err = ti_inspect_superblock(q, 0, &sb, e);
	if (err == 0)
		err = ti_inspect_geometry(q, &sb, 0, &geo, e);
	if (err == 0)
		err = ti_seal_open(&f.seal, &seal, e);
	if (err == 0)
		err = ti_seal_start(seal, &sb, &geo, e);
	if (err == 0)
		err = ti_inspect_seal(q, 0, &sb, seal, e);
	if (err == 0)
		err = ti_hash_prepare(&hash, f.hash, f.hash_key, &geo, f.salt, e);
	if (err != 0) {
		ti_seal_close(seal);
		return err;
	}
	err = ti_unsettled_load(q, &sb, &geo, &unsettled, e);
	if (err == 0 && !(sb.flags & TI_SB_DIRTY_BITMAP))
		err = ti_journal_overlay_load(q, &geo, seal, &hash, &overlay, e);
	if (err == 0)
		err = ti_check(q, &geo, &o, &report, e);
	/* What cannot be read is told in the report. */
	if (err == 0 && report.bad_sectors[TI_CHECK_DATA_UNREADABLE] +
					report.bad_sectors[TI_CHECK_TAG_UNREADABLE] !=
				0)
		err = ti_error_set(e, -EIO, "sim-data, sim-meta: unreadable");
	ti_journal_overlay_free(&overlay);
	ti_unsettled_free(&unsettled);
	ti_hash_destroy(&hash);
	ti_seal_close(seal);
	return err;
}

static void must_open(struct sim_lun *l)
{
	if (sim_lun_open(l) != 0)
		fail_msg("%s", l->error.text);
}

static void end_badly(struct sim_lun *l, bool cut)
{
	if (cut) {
		sim_power_cut(l->sim);
		unlink(path);
		unlink(ring);
	} else {
		sim_kill(l->sim);
	}
	ti_lun_abandon(l->lun);
	l->lun = NULL;
}

/* What came before: some blocks are durable, some acknowledged, and the end was sudden. */
static struct sim_lun *before(const struct scene *s)
{
	const struct ti_format_options f = format_options(s);
	struct sim_lun_options o = { .shape = f.shape, .blocks = 2048 };
	struct sim_lun *l;

	unlink(path);
	unlink(ring);
	o.lun = (struct ti_lun_options){ .mode = s->first,
					 .hash = s->keys ? "hmac-sha256" : NULL,
					 .hash_key = f.hash_key,
					 .seal = f.seal,
					 .store_path = s->store ? path : NULL,
					 .allow_discards = s->discards,
					 .cache_bytes = 1,
					 .max_part_bytes = 4096 };
	l = sim_lun_make(&o);
	if (format(l, s) != 0)
		fail_msg("%s", l->error.text);
	must_open(l);
	sim_ok(l, sim_write(l, 0, FLUSHED, 1));
	sim_ok(l, sim_flush(l));
	sim_ok(l, sim_write(l, 100, 40, 2));
	sim_ok(l, sim_write(l, 1500, 20, 3));
	end_badly(l, s->cut);
	l->options.mode = s->then;
	l->options.recalculate = s->recalculate;
	l->text[0] = '\0';
	sim_forget(l);
	return l;
}

enum act { OPEN, CLOSE, CHECK, FORMAT, ACTS };

/* What a close has to do something for. */
static void open_and_write(struct sim_lun *l, const struct scene *s)
{
	must_open(l);
	if (s->then != TI_MODE_RECOVERY)
		sim_ok(l, sim_write(l, 200, 9, 4));
	l->text[0] = '\0';
}

/* Do it while something is refused.  Returns its error. */
static int act(struct sim_lun *l, const struct scene *s, enum act what)
{
	int err;

	sys.armed = true;
	sys.calls = 0;
	switch (what) {
	case OPEN:
		err = sim_lun_open(l);
		break;
	case CLOSE:
		err = sim_lun_close(l);
		break;
	case CHECK:
		err = check(l, s);
		break;
	default:
		err = format(l, s);
		break;
	}
	sys.armed = false;
	return err;
}

/* Nothing is refused any more. */
static void all_is_well_again(struct sim_lun *l, const struct scene *s, enum act what)
{
	if (what == FORMAT && format(l, s) != 0)
		fail_msg("format once more: %s", l->error.text);
	must_open(l);
	/* Mode recovery shows what the data device has: the journal may have the rest. */
	if (s->then != TI_MODE_RECOVERY)
		sim_reads(l, 0, FLUSHED, what == FORMAT ? 0 : 1);
	/* A predecessor's failed flush is told until somebody has closed the LUN. */
	if (sim_lun_close(l) != 0)
		assert_int_not_equal(sim_logged(l, "a flush failed before"), 0);
	must_open(l);
	assert_int_equal(sim_lun_close(l), 0);
}

/* Every second of them, if time is short; scenes, which are much alike, take turns. */
static unsigned stride(void)
{
	return getenv("TI_SOAK") == NULL ? 2 : 1;
}

/* Of those that are refused memory or a call: the engine may have done without. */
static unsigned refuse_each_call(const struct scene *s, enum act what)
{
	unsigned failed = 0;

	for (unsigned n = 1 + (unsigned)(s - scenes) % stride();; n += stride()) {
		struct sim_lun *l = before(s);
		int err;

		if (what == CLOSE)
			open_and_write(l, s);
		sys.refuse = n;
		sys.held = 0;
		err = act(l, s, what);
		sys.refuse = 0;
		if (err != 0 && what != CLOSE && l->error.text[0] == '\0')
			fail_msg("call %u: error %d has no sentence", n, err);
		/* A close gives back more than it takes. */
		if (err != 0 && what != CLOSE)
			assert_int_equal(sys.held, 0);
		failed += err != 0;
		if (sys.calls < n) {
			if (err != 0)
				fail_msg("error %d though nothing was refused: %s", err,
					 l->error.text);
			sim_lun_free(l);
			return failed;
		}
		end_badly(l, n / stride() % 2 == 0);
		all_is_well_again(l, s, what);
		sim_lun_free(l);
	}
}

/* An I/O that fails is an error, or it is told in the log. */
static unsigned refuse_each_io(const struct scene *s, enum act what, enum ti_device dev,
			       enum ti_io_op op)
{
	unsigned failed = 0;

	for (uint32_t n = (uint32_t)(s - scenes) % stride();; n += stride()) {
		struct sim_lun *l = before(s);
		bool hit;
		int err;

		if (what == CLOSE)
			open_and_write(l, s);
		sim_fail_after(l, dev, op, SIM_EVERYWHERE, n);
		/* A check reads again what it could not read. */
		l->fault[0].times = what == CHECK ? 1000 : 1;
		err = act(l, s, what);
		hit = l->fault[0].times != (what == CHECK ? 1000 : 1);
		sim_mend(l);
		if (!hit) {
			if (err != 0)
				fail_msg("error %d though no I/O failed: %s", err, l->error.text);
			sim_lun_free(l);
			return failed;
		}
		if (err == 0 && l->text[0] == '\0')
			fail_msg(
				"mode %d to %d, act %d: I/O %u of kind %d on device %d failed, and "
				"nobody says so",
				s->first, s->then, what, n, op, dev);
		if (err != 0 && what != CLOSE &&
		    strstr(l->error.text, dev == TI_DATA ? "sim-data" : "sim-meta") == NULL &&
		    strstr(l->error.text, dev == TI_DATA ? "(data device" : "(metadata device") ==
			    NULL)
			fail_msg("mode %d to %d, act %d: I/O %u of kind %d on device %d: '%s' does "
				 "not name the device\n%s",
				 s->first, s->then, what, n, op, dev, l->error.text, l->text);
		failed += err != 0;
		end_badly(l, n / stride() % 2 == 0);
		all_is_well_again(l, s, what);
		sim_lun_free(l);
	}
}

/* ---- tests ---- */

/* To a format all scenes without keys are the same. */
static bool differs(size_t i, enum act what)
{
	return what != FORMAT || i == 0 || scenes[i].keys;
}

static void sweep_calls(enum act what, unsigned least)
{
	unsigned failed = 0;

	for (size_t i = 0; i < SCENES; i++)
		if (differs(i, what))
			failed += refuse_each_call(&scenes[i], what);
	if (failed < least / stride())
		fail_msg("only %u refusals were errors", failed);
}

static void sweep_io(enum act what, unsigned least)
{
	static const enum ti_io_op op[] = { TI_IO_READ, TI_IO_WRITE, TI_IO_FLUSH };
	unsigned failed = 0;

	for (size_t i = 0; i < SCENES; i++)
		for (enum ti_device dev = 0; dev < TI_DEVICES && differs(i, what); dev++)
			for (size_t k = 0; k < 3; k++)
				failed += refuse_each_io(&scenes[i], what, dev, op[k]);
	if (failed < least / stride())
		fail_msg("only %u failures were errors", failed);
}

static void open_that_is_refused_something_leaves_all_as_it_was(void **state)
{
	(void)state;
	sweep_calls(OPEN, 100);
}

static void close_needs_no_memory(void **state)
{
	(void)state;
	sweep_calls(CLOSE, 0);
}

static void check_that_is_refused_something_says_so(void **state)
{
	(void)state;
	sweep_calls(CHECK, 50);
}

static void format_that_is_refused_something_can_be_repeated(void **state)
{
	(void)state;
	sweep_calls(FORMAT, 50);
}

static void open_tells_of_every_io_that_fails(void **state)
{
	(void)state;
	sweep_io(OPEN, 50);
}

static void close_tells_of_every_io_that_fails(void **state)
{
	(void)state;
	sweep_io(CLOSE, 20);
}

static void check_tells_of_every_io_that_fails(void **state)
{
	(void)state;
	sweep_io(CHECK, 50);
}

static void format_tells_of_every_io_that_fails(void **state)
{
	(void)state;
	sweep_io(FORMAT, 20);
}

static struct ti_secret *make_key(size_t len)
{
	struct ti_secret *key;

	assert_int_equal(ti_secret_alloc(len, &key), 0);
	key->len = len;
	for (size_t i = 0; i < len; i++)
		key->bytes[i] = (uint8_t)(len + 7 * i);
	return key;
}

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/store", directory);
	(void)snprintf(ring, sizeof(ring), "%s%s", path, TI_STORE_JOURNAL);
	mac_key = make_key(40);
	crypt_key = make_key(32);
	hash_key = make_key(20);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ti_secret_free(mac_key);
	ti_secret_free(crypt_key);
	ti_secret_free(hash_key);
	unlink(path);
	unlink(ring);
	return rmdir(directory); /* nothing else is left there */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_that_is_refused_something_leaves_all_as_it_was),
		cmocka_unit_test(close_needs_no_memory),
		cmocka_unit_test(check_that_is_refused_something_says_so),
		cmocka_unit_test(format_that_is_refused_something_can_be_repeated),
		cmocka_unit_test(open_tells_of_every_io_that_fails),
		cmocka_unit_test(close_tells_of_every_io_that_fails),
		cmocka_unit_test(check_tells_of_every_io_that_fails),
		cmocka_unit_test(format_tells_of_every_io_that_fails),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
