/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A disk: one LUN as tcmu-runner sees it, around one engine.
 *
 * Threads: the runner's command thread ("cmdproc", one per LUN) brings commands, our completion
 * thread reaps what the devices finish.  Both enter the engine under `lock`, the monitor; the
 * commands that come back are completed after it has been released, because tcmur_cmd_complete()
 * may call us again (compound commands of the core) and takes locks of the runner's.
 *
 * Whoever gets a request from ti_lun_run() completes its command, so every command is completed
 * exactly once.  If it is the command that the command thread is just handing in, its status is
 * returned instead: the runner then completes it, together with others.
 *
 * How a command becomes asynchronous.  handle_cmd() says so by returning TCMU_STS_ASYNC_HANDLED,
 * and tcmur_cmd_complete() then calls cmd->done, which the runner sets only for callouts such as
 * ->flush().  The pointer is the same for all commands, so a disk learns it once: its first command
 * is turned into a SYNCHRONIZE CACHE, which the runner passes to ->flush().  Nothing of ours is
 * under way until then, so it does no harm if the runner answers that command itself (ALUA states).
 * From then on ti_disk_command() sets cmd->done.
 */
#ifndef TI_DISK_H
#define TI_DISK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "tcmu-runner.h"

#include "cdb.h"
#include "config.h"
#include "copy.h"
#include "error.h"
#include "events.h"
#include "log.h"
#include "log_ring.h"
#include "lun.h"
#include "ring.h"
#include "short_answer.h"
#include "skipped.h"

/** Contexts of a disk; more commands than these wait, in order, without one. */
#define TI_DISK_CONTEXTS 512U

/** One engine request under way.  From a pool. */
struct ti_context {
	struct ti_request request;
	struct tcmur_cmd *cmd; /* NULL: nobody waits for it (IMMED) */
	struct ti_unmap unmap; /* ranges that follow the request's */
	struct ti_copy *copy;  /* the request is a step of it, or NULL */
	uint32_t answer;       /* bytes that are read, if the buffer holds more, else 0 */
	bool core;	       /* a step of a command of the core's, which completes it */
	SLIST_ENTRY(ti_context) link;
};

SLIST_HEAD(ti_context_list, ti_context);

/** How far the engine is: the completion thread starts it, which may mean a long replay. */
enum ti_disk_state {
	TI_DISK_STARTING, /* nobody but the completion thread is inside */
	TI_DISK_READY,
	TI_DISK_FAILED, /* for ever; said why in the log */
};

struct ti_disk {
	struct tcmu_device *dev;
	struct ti_config config;
	struct ti_scsi_facts facts;
	struct ti_select mode;
	struct ti_log_ring *lines; /* to the runner's log; for whoever has the disk */
	struct ti_log log;	   /* the engine's way into it */
	struct ti_queue *queue;
	struct ti_short_answer short_answer;
	struct ti_skipped skipped;

	/* The command thread's alone. */
	void (*done)(struct tcmu_device *dev, struct tcmur_cmd *cmd, int status); /* learned */
	bool command_thread_known;
	struct ti_ring ring;
	bool held_back; /* a flush was handed in, and the engine has not run since; see disk_io.c */
	bool ran;	/* the engine, for the command at hand */
	uint32_t answer; /* of the command at hand; see struct outcome */
	/* Ticks for which nothing is held back: a resize makes the core answer a command itself.
	 * Set by the main thread, counted down by the completion thread. */
	_Atomic unsigned no_holding_back;

	pthread_mutex_t lock;
	pthread_cond_t started;	  /* state is no longer STARTING */
	enum ti_disk_state state; /* set under the lock; read with ti_disk_state() */
	struct ti_error start_error;
	/* Under the lock. */
	struct ti_lun *lun;
	struct ti_context_list free;
	unsigned contexts_used;
	struct tcmur_cmd *waiting_first, *waiting_last; /* for a context; see disk_io.c */
	struct ti_copies copies;
	uint64_t asleep_until_ns; /* the completion thread; 0 while it is awake */
	bool stopping;

	/* A flush that an administrator has asked for; see disk_admin.h.  Under the lock. */
	struct ti_context own;
	bool own_busy, own_back;
	/* Likewise a recalculation, until it is granted or refused. */
	struct ti_recalc_wish wish;
	bool wish_busy, wish_back;
	int wish_err;
	struct ti_events events; /* what the engine has to tell */

	struct ti_context *contexts;
	size_t contexts_bytes;
	bool locked_memory;
	pthread_t thread;
};

/**
 * Open the LUN of @config for @dev: devices, engine, contexts, completion thread.  Leaves nothing
 * behind when it fails.  The completion thread starts the engine; if that takes longer than a
 * moment, the disk is returned in state STARTING, and becomes READY or FAILED later.  @contexts: 0
 * for TI_DISK_CONTEXTS.  Blocks.  Returns 0 or negative errno.
 */
int ti_disk_open(struct tcmu_device *dev, const struct ti_config *config, unsigned contexts,
		 struct ti_disk **disk, struct ti_error *error);

/**
 * Let everything come to its end, write out, flush and free.  All commands have been completed.
 * Blocks.  Returns 0, or the error because of which something may not be durable.
 */
int ti_disk_close(struct ti_disk *disk);

/** Change the size to @bytes.  Returns 0 or -EINVAL with a sentence.  Any thread. */
int ti_disk_resize(struct ti_disk *disk, uint64_t bytes, struct ti_error *error);

/** Start the engine and say how that went.  Completion thread. */
void ti_disk_start(struct ti_disk *disk);

/** What the command table asks of the disk @ctx; see struct ti_scsi_facts.  Any thread. */
int ti_disk_ready(void *ctx, uint8_t *sense);
void ti_disk_stats(void *ctx, struct ti_lun_stats *stats);
void ti_disk_scrub(void *ctx, struct ti_scrub_report *report);
bool ti_disk_copy_result(void *ctx, const struct ti_copy_question *question,
			 struct ti_copy_result *result);

/** Any thread. */
static inline enum ti_disk_state ti_disk_state(const struct ti_disk *disk)
{
	return __atomic_load_n(&disk->state, __ATOMIC_ACQUIRE);
}

/* disk_io.c */

/** A command, at first sight.  Returns TCMU_STS_*.  Command thread.  io path. */
int ti_disk_command(struct ti_disk *disk, struct tcmur_cmd *cmd);

/**
 * The runner's ->flush(): a command that ti_disk_command() has disguised as one, or a flush of the
 * core's.  Returns TCMU_STS_OK if it has been handed in or completed, else a status.
 */
int ti_disk_flush(struct ti_disk *disk, struct tcmur_cmd *cmd);

/**
 * A read or write (@op) that the runner's core wants for a compound command, or a flush.  @len and
 * @offset in bytes; @iov holds @len bytes.  Returns TCMU_STS_OK if it has been handed in, else a
 * status.  Any thread, also from inside tcmur_cmd_complete().
 */
int ti_disk_callout(struct ti_disk *disk, struct tcmur_cmd *cmd, enum ti_req_op op,
		    const struct iovec *iov, size_t iov_count, size_t len, uint64_t offset);

/**
 * Run the engine and complete what comes back; if anything did, returns true.  Enters and leaves
 * with the lock held and releases it to complete.  Completion thread.  io path.
 */
bool ti_disk_turn(struct ti_disk *disk);

/** Sense data of @cmd in the format that the initiators have chosen.  Returns @status. */
int ti_disk_told(struct ti_disk *disk, struct tcmur_cmd *cmd, int status);

/** @flags of a request @op, and TI_REQ_FUA where WCE is 0: there are no writes but durable ones. */
unsigned ti_disk_flags(const struct ti_disk *disk, enum ti_req_op op, unsigned flags);

/* disk_copy.c: steps of a copy; under the lock, io path. */

/** Begin one.  Returns TI_STS_REQUEST, or a status if that was all. */
int ti_disk_copy_begin(struct ti_disk *disk, struct ti_context *context,
		       const struct ti_command *command);

/** The next step.  Returns TI_STS_REQUEST if one was handed in, else the status of the copy. */
int ti_disk_copy_step(struct ti_disk *disk, struct ti_context *context);

/** One that has no next step, or whose request has failed.  Returns its status. */
int ti_disk_copy_end(struct ti_disk *disk, struct ti_context *context);

#endif
