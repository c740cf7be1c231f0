/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The engine: one LUN over a pair of devices.
 *
 * The engine is a monitor.  At any moment at most one thread is inside a struct ti_lun; its user
 * holds one lock around submit, run and the rest, and none while it completes requests.  Inside
 * there are no locks, no blocking and, after open, no allocation.
 *
 *     lock; ti_lun_submit(lun, req); ti_lun_run(lun, &finished); unlock;
 *     for each request on `finished`: tell whoever asked
 *
 * and in one other thread
 *
 *     for (;;) { ti_lun_wait(lun, deadline);           // not inside
 *                lock; ti_lun_tick(lun); ti_lun_run(lun, &finished);
 *                deadline = ti_lun_deadline(lun); unlock; ... }
 *
 * Requests come back only through ti_lun_run().  A request that could be served without waiting is
 * on the list of the very run that follows its submission.
 *
 * What is durable when, mode direct: a completed WRITE is in the data device's (volatile) cache,
 * its tag in memory.  A completed FLUSH, or a WRITE with TI_REQ_FUA, means: data and tag of every
 * write completed before the FLUSH was submitted (of this write) have been flushed on both devices.
 */
#ifndef TI_LUN_H
#define TI_LUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "blockdev.h"
#include "clock.h"
#include "error.h"
#include "event.h"
#include "geometry.h"
#include "hash_crew.h"
#include "latency.h"
#include "log.h"
#include "scrub_report.h"
#include "seal.h"
#include "secret.h"

enum ti_mode {
	TI_MODE_DIRECT,	  /* 'D': no crash protection between data and tag */
	TI_MODE_JOURNAL,  /* 'J': data and tag change together */
	TI_MODE_BITMAP,	  /* 'B': after a crash, tags of regions written to are made anew */
	TI_MODE_RECOVERY, /* 'R': read-only, no tag is looked at, the journal is not replayed */
};

struct ti_lun_options {
	enum ti_mode mode;
	const char *hash; /* its name; NULL: "crc32c".  The superblock does not tell. */
	const struct ti_secret *hash_key; /* of a keyed digest, else NULL; used in the open only */
	struct ti_hash_crew_options crew; /* helper threads for slow digests; zeros: none */
	struct ti_seal_options seal; /* journal_mac, journal_crypt; their keys: in the open only */
	uint32_t tag_size;	     /* bytes; 0: not told, see ti_seal_check_tag_size() */
	uint64_t start_sector;	     /* of the superblock on the metadata device */
	uint32_t buffer_sectors;     /* dm-integrity's option, part of its fit test; 0: 128 */
	size_t cache_bytes;	     /* of tags; 0: 16 MiB */
	unsigned queue_depth;	     /* requests worked on at once; 0: 128.  More wait, in order. */
	uint32_t max_part_bytes;     /* largest single device transfer; 0: 1 MiB */
	unsigned bounce_buffers;     /* of max_part_bytes; 0: 4 */
	unsigned journal_watermark;  /* percent; 0: 50.  Fuller, the journal is written out */
	unsigned commit_time_ms;     /* dirty tags are written out after this; 0: 10000 */
	unsigned bitmap_flush_interval_ms; /* mode bitmap: bits are cleared after this; 0: 10000 */
	uint32_t sectors_per_bit;	   /* mode bitmap; 0: as the superblock says */
	bool recalculate;		   /* all tags, unless the pair says how far that is */
	bool reset_recalculate;		   /* all tags, from the beginning */
	bool legacy_recalculate;	   /* with keyed tags, too: ti_seal_check_recalculate() */
	uint64_t recalculate_rate; /* bytes per second at most; 0: no limit but others' I/O */
	/* The name of files on tmpfs, of this pair's own, in which what has been acknowledged
	 * outlives the process; NULL: none.  See store_file.h.  Used during the open only. */
	const char *store_path;
	struct ti_event_sink events;
	bool allow_discards; /* TI_REQ_DISCARD is served, and what it leaves behind can be read */
	bool read_only;	     /* writes fail with -EROFS; nothing is ever written */
	bool defer_start;    /* ti_lun_start() is called later */
};

enum ti_req_op {
	TI_REQ_READ,  /* data into iov, every tag verified */
	TI_REQ_WRITE, /* data from iov */
	/* iov holds one block or several; they are written over and over until the range is full,
	 * whose length is a multiple of theirs */
	TI_REQ_WRITE_SAME,
	TI_REQ_VERIFY, /* read and verify; the data goes nowhere, iov is not used */
	TI_REQ_FLUSH,  /* sector, sectors and iov are not used */
	/* Like VERIFY, and the data is compared with iov's; ..._SAME: iov as in WRITE_SAME. */
	TI_REQ_COMPARE,
	TI_REQ_COMPARE_SAME,
	/* iov holds twice as many bytes as the range: what the range is compared with, and what is
	 * written if it held the same.  Nobody else gets at the range in between. */
	TI_REQ_COMPARE_AND_WRITE,
	/* iov's bits are added to the range's; nobody else gets at the range in between.  iov holds
	 * the result afterwards. */
	TI_REQ_OR_WRITE,
	/* A WRITE that is made durable, and then a VERIFY or COMPARE of what was written. */
	TI_REQ_WRITE_AND_VERIFY,
	TI_REQ_WRITE_AND_COMPARE,
	/* The range's content is not needed any more: until it is written again a read of it gives
	 * whatever the data device has.  iov is not used.  See discard.h. */
	TI_REQ_DISCARD,
	/* Which part of the range, from its first sector on, is alike: discarded, or not?  The
	 * answer is in `extent`, and covers one block at least.  iov is not used. */
	TI_REQ_EXTENT,
};

/**
 * Whatever writes: durable on completion, data and tag.  READ, VERIFY, COMPARE: what is read is
 * durable, data and tag, before it is read; if it cannot be made so, the request fails as a FLUSH
 * does.
 */
#define TI_REQ_FUA 0x1U

/** WRITE of at most ti_lun_atomic_sectors(): after a crash all of it is there, or nothing. */
#define TI_REQ_ATOMIC 0x2U

struct ti_request {
	/* Set by the caller, unchanged until the request comes back. */
	enum ti_req_op op;
	unsigned flags;
	uint64_t sector;	 /* first, 512 bytes each, a multiple of the block size */
	uint64_t sectors;	 /* count, a multiple of the block size; 0 does nothing */
	const struct iovec *iov; /* sectors * 512 bytes, unless the operation says otherwise */
	size_t iov_count;
	void *owner; /* the caller's */

	/*
	 * Of one that failed because of a tag or a device (TAG_MISMATCH, DATA_IO, META_IO), all
	 * that lies before result.sector is as if it had not failed: initiators count on that.  A
	 * READ's is in iov and verified; a WRITE's is written, but with FUA or ATOMIC it is not
	 * promised to be durable, or there.
	 */
	struct ti_result result;
	struct {
		uint64_t sectors;
		bool discarded;
	} extent; /* of TI_REQ_EXTENT, if it has not failed */

	/* The engine's. */
	STAILQ_ENTRY(ti_request) link;
	uint64_t engine[2];
};

STAILQ_HEAD(ti_request_list, ti_request);

/** Numbers for people and tests.  Counters only grow. */
struct ti_lun_stats {
	uint64_t reads, writes, flushes; /* requests completed; one that verifies is a read too */
	uint64_t verifies;
	uint64_t discards, discarded_sectors;
	uint64_t read_sectors, written_sectors, verified_sectors;
	/* Requests that failed because of a device or a tag. */
	uint64_t failed_reads, failed_writes, failed_verifies;
	uint64_t mismatches;   /* blocks whose tag did not match */
	uint64_t tags_decayed; /* bad on the medium while the one in memory was right */
	uint64_t device_flushes[TI_DEVICES]; /* flushes sent to each device */
	uint64_t scrubs;		     /* that went to the end */
	uint64_t flush_rounds;		     /* pairs: what any number of waiters share */
	uint64_t tag_lines_read, tag_lines_written;
	uint64_t tag_lines, tag_lines_dirty; /* of the cache, now */
	/* Parts that went through a bounce buffer.  The others' data was not copied on its way
	 * between the caller's memory and the data device. */
	uint64_t bounced_parts;
	uint64_t io_errors[TI_DEVICES];
	int flush_failed[TI_DEVICES]; /* errno of the first flush that failed; 0: none has */
	bool locked_memory;	      /* the pools are locked in memory */

	struct ti_io_threads hash_helpers; /* none: it needs none, or could not have any */
	struct ti_hash_crew_stats hash_pieces;

	/* How long flushes took, and what a FLUSH waits for: a round, or a commit. */
	struct ti_latency flush_latency[TI_DEVICES], round_latency;

	/* Mode journal. */
	uint64_t journal_sections, journal_free_sections;
	uint64_t journal_entries, journal_used_entries;
	uint64_t journal_commits, journal_writeouts;

	/* Recalculation: under way (or waiting, on a read-only LUN); all before the sector is done.
	 */
	bool recalculating;
	uint64_t recalc_sector, recalc_end;
	uint64_t recalc_rate;	       /* bytes per second at most; 0: no limit, or none runs */
	uint64_t recalculated_sectors; /* since open */
	uint64_t recalc_mismatches;    /* blocks of clean regions that it found not to match */
	uint64_t recalc_unreadable;    /* sectors that could not be read: their tags stay */

	/* Mode bitmap. */
	uint64_t bitmap_bits, bitmap_dirty; /* regions; those whose bit is set */
	uint64_t bitmap_writes, bitmap_clears;
};

struct ti_lun;

/**
 * Open the LUN on @queue: read and check the superblock, allocate everything, and, unless that is
 * deferred, ti_lun_start().  @queue, @clock and @log must outlive the LUN.  Blocks.  Returns 0 or
 * negative errno with a sentence in @error.
 */
int ti_lun_open(const struct ti_lun_options *options, struct ti_queue *queue,
		struct ti_clock *clock, const struct ti_log *log, struct ti_lun **lun,
		struct ti_error *error);

/**
 * Bring home what a killed predecessor left in the store.  Mend what its mode or death left on the
 * devices: see bitmap_open.c for a dirty bitmap; recalculation goes on, or begins, in the
 * background.  Then read the journal and replay what it holds (none of it in mode recovery): data
 * and tags go to their places, both devices are flushed, and then, in mode direct or if its newest
 * commit was torn, the journal is erased. Writes nothing if there is nothing to replay.  May take
 * long: the journal is as large as its format made it.  After an open that deferred it, once,
 * before anything else but ti_lun_geometry(), ti_lun_io_align(), ti_lun_get_stats() and
 * ti_lun_wake(); nobody else is inside meanwhile.  Any thread.  Returns 0 or negative errno with a
 * sentence in @error: -EUCLEAN if the journal is damaged, or holds entries and the open is
 * read-only; -EILSEQ if an entry does not match its tag (in all these cases nothing has been
 * written); or what a device said.  After an error only ti_lun_close() is left.
 */
int ti_lun_start(struct ti_lun *lun, struct ti_error *error);

/** How far a replay is, in 65536ths; grows.  Any thread, also while ti_lun_start() runs. */
uint16_t ti_lun_start_progress(const struct ti_lun *lun);

/**
 * Write out and flush everything, then free the LUN; one that was not started is only freed.  All
 * requests must have come back.  Does not close the queue.  Returns 0, or the error that left
 * something not durable (the LUN is gone all the same).  Blocks.
 */
int ti_lun_close(struct ti_lun *lun);

/**
 * Free the LUN without writing anything, as if the process had been killed: its store stays
 * (tests). Requests under way never come back, and their I/O must not complete any more.
 */
void ti_lun_abandon(struct ti_lun *lun);

const struct ti_geometry *ti_lun_geometry(const struct ti_lun *lun);

/** Do all writes fail with -EROFS (option read_only, mode recovery)? */
bool ti_lun_read_only(const struct ti_lun *lun);

/** Requests start and end on multiples of this: the block size, or the data device's if larger. */
uint32_t ti_lun_io_align(const struct ti_lun *lun);

/** Is TI_REQ_DISCARD served (option allow_discards, and the LUN can be written)? */
bool ti_lun_discards(const struct ti_lun *lun);

/** Does such a request change what the LUN holds? */
bool ti_req_writes(enum ti_req_op op);

/** The longest TI_REQ_ATOMIC; 0 where the mode gives no atomicity. */
uint64_t ti_lun_atomic_sectors(const struct ti_lun *lun);

void ti_lun_get_stats(const struct ti_lun *lun, struct ti_lun_stats *stats);

/**
 * Who has asked for a recalculation.  @done is called once, from a run: with 0 when the superblock
 * says on the medium that all is to be recalculated, which begins then; else with the negative
 * errno of a device, and nothing has begun.  (The medium may still say so, for the next open.)
 */
struct ti_recalc_wish {
	void (*done)(struct ti_recalc_wish *wish, int err);
};

/**
 * Make every tag anew from the blocks that are there, in the background; see recalc.h.  Whatever is
 * bad becomes good, and until its turn has come a block is read without a look at its tag.
 * @rate: bytes per second; 0: no limit but others' I/O.  @wish stays the caller's, and is told if 0
 * is returned.  Inside the monitor; the thread that waits is to be woken afterwards.  Returns 0;
 * -EROFS; -EOPNOTSUPP in mode bitmap; -EALREADY; -EPERM if tags or journal have a key that this
 * would get around (ti_seal_check_recalculate()).
 */
int ti_lun_recalculate(struct ti_lun *lun, uint64_t rate, struct ti_recalc_wish *wish);

/** Let the one that runs go on at another rate.  Returns 0, or -EALREADY if none runs.  Likewise.
 */
int ti_lun_recalculate_set_rate(struct ti_lun *lun, uint64_t rate);

/**
 * Begin to verify every tag on the medium, in the background; see scrub.h.  @from: a report of this
 * pair's, to go on where it ends; one that does not fit is dropped.  NULL: from the beginning.
 * @rate_limit: bytes per second; 0: none but others' I/O.  Inside the monitor; the thread that
 * waits is to be woken afterwards.  Returns 0, -EALREADY, or -EOPNOTSUPP in mode recovery.
 */
int ti_lun_scrub_start(struct ti_lun *lun, const struct ti_scrub_report *from, uint64_t rate_limit);

/** Let the one that runs go on at another rate, from its next piece on.  Returns 0, or -EALREADY if
 *  none runs.  Likewise. */
int ti_lun_scrub_set_rate(struct ti_lun *lun, uint64_t rate_limit);

/** End it with the piece under way.  Returns 0, or -EALREADY if none runs.  Likewise. */
int ti_lun_scrub_stop(struct ti_lun *lun);

/** Let what another process knew of a scrub be the last one.  Returns 0, or -EALREADY if one runs.
 */
int ti_lun_scrub_restore(struct ti_lun *lun, const struct ti_scrub_report *report);

/**
 * A number that another pair has with a chance of next to none, if they are salted: for what is
 * kept about a pair apart from it.
 */
uint64_t ti_lun_fingerprint(const struct ti_lun *lun);

/** The scrub under way, or the last one.  Inside the monitor. */
void ti_lun_scrub_get(const struct ti_lun *lun, struct ti_scrub_report *report);

/** Hand a request in.  It comes back from a later ti_lun_run(), never from here.  io path. */
void ti_lun_submit(struct ti_lun *lun, struct ti_request *req);

/** Carry work forward as far as it goes without waiting.  Finished requests are appended to
 * @finished (initialised by the caller).  io path. */
void ti_lun_run(struct ti_lun *lun, struct ti_request_list *finished);

/**
 * When ti_lun_tick() wants to be called; it reads the clock and does nothing before that time.
 * ti_lun_run() takes no time stamp: one would cost more than the rest of a small request.  Call
 * ti_lun_run() after it.
 */
uint64_t ti_lun_deadline(const struct ti_lun *lun);
void ti_lun_tick(struct ti_lun *lun);

/** Block until there may be work, at the latest until @deadline_ns.  Not inside the monitor. */
void ti_lun_wait(struct ti_lun *lun, uint64_t deadline_ns);

/** Make ti_lun_wait() return.  Any thread. */
void ti_lun_wake(struct ti_lun *lun);

#endif
