/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A LUN on simulated devices, for tests that say what happens step by step.
 *
 * A test writes versions of blocks: version 0 is a block of zeros, as formatted, and every other
 * number fills each block with bytes of its own.  sim_write() and the like submit and return at
 * once; sim_go() lets the engine run; with sim_hold() the test completes each I/O itself.  The
 * devices fail where sim_fail() says.  Requests live until sim_lun_free().
 */
#ifndef SIM_LUN_H
#define SIM_LUN_H

#include <stdbool.h>
#include <stdint.h>

#include "format.h"
#include "lun.h"
#include "sim_queue.h"

#define SIM_FOR_EVER   UINT32_MAX
#define SIM_EVERYWHERE UINT64_MAX

/* Of a version: all of its blocks hold the same bytes (what sim_write_same() writes). */
#define SIM_SAME 0x80000000U

/* Of a version: what a device that discards leaves. */
#define SIM_DISCARDED 0x40000000U

#define SIM_LOG_BYTES  8192U
#define SIM_LOG_EVENTS 32768U
#define SIM_LUN_FAULTS 8U

struct sim_lun_options {
	struct ti_format_shape shape; /* zeros: blocks of 512, tags of 4, one journal section */
	uint64_t blocks;	      /* 0: 4096, whose tags fill four lines of the cache */
	uint64_t meta_bytes;	      /* 0: 1 MiB */
	uint32_t logical_block_size[TI_DEVICES]; /* 0: 512 */
	bool cannot_discard;			 /* neither device can */
	bool fua[TI_DEVICES];			 /* the device says that it has FUA writes */
	bool says_no_cache[TI_DEVICES];		 /* see sim_queue.h */
	struct ti_lun_options lun;		 /* start_sector is the shape's */
};

/* A request and its memory. */
struct sim_req {
	struct ti_request req;
	struct iovec *iov;
	uint8_t *memory;
	uint32_t block, count, version;
	bool submitted, back;
	unsigned order; /* it was the how manieth to come back, from 1 */
	struct sim_req *next;
};

struct sim_fault {
	enum ti_device dev;
	enum ti_io_op op;
	uint64_t offset; /* hit when an I/O touches this byte, or one of these */
	uint64_t bytes;
	uint32_t times;
	uint32_t after; /* so many that it would hit go well before */
};

struct sim_event {
	enum ti_device dev;
	enum ti_io_op op;
	uint64_t offset;
	size_t len;
	const void *memory; /* of its first piece */
	bool completed;
};

struct sim_lun {
	struct sim_queue *sim;
	struct ti_lun *lun; /* NULL while it is not open */
	struct ti_lun_options options;
	struct ti_superblock sb;
	struct ti_geometry geo;
	struct ti_hash hash;
	struct ti_log log;
	struct ti_error error; /* what the last open said */
	struct sim_fault fault[SIM_LUN_FAULTS];
	unsigned faults;
	bool vanishing;
	uint32_t vanish_after;
	struct sim_req *reqs;
	unsigned back;
	struct sim_event event[SIM_LOG_EVENTS]; /* since sim_forget() */
	unsigned events;
	struct ti_lun_stats before; /* as sim_lun_new() left them */
	char text[SIM_LOG_BYTES];   /* the log's lines, each with its level before it */
};

/* Two formatted devices, not open.  NULL: all defaults. */
struct sim_lun *sim_lun_make(const struct sim_lun_options *options);
/* The same, open, and flushed once: the first flush after open reaches both devices in any case. */
struct sim_lun *sim_lun_new(const struct sim_lun_options *options);
void sim_lun_free(struct sim_lun *l);

/* 0, or the error with l->error set. */
int sim_lun_open(struct sim_lun *l);
/* Completes whatever is held back. */
int sim_lun_close(struct sim_lun *l);
/* Cut the power (the requests under way are gone) and open again. */
void sim_lun_cut(struct sim_lun *l);
/* The same with the process's death only: the devices keep what is in their caches. */
void sim_lun_die(struct sim_lun *l);

/* Submit a request of @count blocks from @block on.  A WRITE SAME writes version | SIM_SAME. */
struct sim_req *sim_write(struct sim_lun *l, uint32_t block, uint32_t count, uint32_t version);
struct sim_req *sim_write_fua(struct sim_lun *l, uint32_t block, uint32_t count, uint32_t version);
struct sim_req *sim_write_same(struct sim_lun *l, uint32_t block, uint32_t count, uint32_t version);
struct sim_req *sim_read(struct sim_lun *l, uint32_t block, uint32_t count);
struct sim_req *sim_verify(struct sim_lun *l, uint32_t block, uint32_t count);
struct sim_req *sim_flush(struct sim_lun *l);
struct sim_req *sim_discard(struct sim_lun *l, uint32_t block, uint32_t count);

/* Make one without submitting it: aligned memory in one piece. */
struct sim_req *sim_prepare(struct sim_lun *l, enum ti_req_op op, uint32_t block, uint32_t count,
			    uint32_t version);
/* Lay its memory out in pieces of @piece bytes, with gaps, each at @shift bytes from alignment. */
void sim_scatter(struct sim_req *r, size_t piece, size_t shift);
/* Fill what it writes, and submit it. */
struct sim_req *sim_submit(struct sim_lun *l, struct sim_req *r);

/* Let the engine run once. */
void sim_go(struct sim_lun *l);
/* End sim_hold() and run until all requests are back.  A test fails if one never comes. */
void sim_finish(struct sim_lun *l);

/* Let two ticks pass: what is dirty is now old enough to be written out. */
void sim_age(struct sim_lun *l);

/* The bytes of a version of a block. */
void sim_content(const struct sim_lun *l, uint32_t block, uint32_t version, uint8_t *out);

/* Does the memory of a read hold this version of all its blocks? */
bool sim_holds(const struct sim_lun *l, const struct sim_req *r, uint32_t version);
/* Of its first @count blocks? */
bool sim_holds_first(const struct sim_lun *l, const struct sim_req *r, uint32_t count,
		     uint32_t version);
/* The block on a data device, the tag on a metadata device (sim_contents() or sim_durable()). */
bool sim_has_data(const struct sim_lun *l, const uint8_t *data, uint32_t block, uint32_t version);
bool sim_has_tag(const struct sim_lun *l, const uint8_t *meta, uint32_t block, uint32_t version);

/* Is the block's tag the discard filler? */
bool sim_has_filler(const struct sim_lun *l, const uint8_t *meta, uint32_t block);

/* Let the next @times I/Os of this kind that touch byte @offset of the device fail with -EIO. */
void sim_fail(struct sim_lun *l, enum ti_device dev, enum ti_io_op op, uint64_t offset,
	      uint32_t times);
/* The same to the one after the next @after. */
void sim_fail_after(struct sim_lun *l, enum ti_device dev, enum ti_io_op op, uint64_t offset,
		    uint32_t after);
/* The same to all that touch one of these bytes, for ever. */
void sim_fail_range(struct sim_lun *l, enum ti_device dev, enum ti_io_op op, uint64_t offset,
		    uint64_t bytes);
void sim_mend(struct sim_lun *l);
/* Both devices are gone after @count more I/Os; SIM_FOR_EVER: they stay, or are back. */
void sim_vanish_after(struct sim_lun *l, uint32_t count);

/* I/Os of a kind that were submitted since sim_forget(). */
unsigned sim_started(const struct sim_lun *l, enum ti_device dev, enum ti_io_op op);
void sim_forget(struct sim_lun *l);
/* How often @what stands in the log. */
unsigned sim_logged(const struct sim_lun *l, const char *what);

/* Since sim_lun_new(). */
struct ti_lun_stats sim_stats(const struct sim_lun *l);

/* Complete the one I/O of this kind that is under way, and let the engine run. */
#define sim_let(l, dev, op) sim_let_at_line(l, dev, op, __FILE__, __LINE__)
void sim_let_at_line(struct sim_lun *l, enum ti_device dev, enum ti_io_op op, const char *file,
		     int line);

/* Finish, and check how the request ended.  @block: the one that the result names. */
#define sim_ok(l, r) sim_ok_at_line(l, r, __FILE__, __LINE__)
#define sim_bad(l, r, err, cause, block)                                                           \
	sim_bad_at_line(l, r, err, cause, block, __FILE__, __LINE__)
void sim_ok_at_line(struct sim_lun *l, struct sim_req *r, const char *file, int line);
void sim_bad_at_line(struct sim_lun *l, struct sim_req *r, int err, enum ti_cause cause,
		     uint32_t block, const char *file, int line);

/* Read these blocks now: they hold this version. */
#define sim_reads(l, block, count, version)                                                        \
	sim_reads_at_line(l, block, count, version, __FILE__, __LINE__)
void sim_reads_at_line(struct sim_lun *l, uint32_t block, uint32_t count, uint32_t version,
		       const char *file, int line);

#endif
