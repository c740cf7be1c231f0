// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * Commands into the engine and out again.  See disk.h for the threads and for how a command becomes
 * asynchronous.
 *
 * A command that finds no free context waits in line.  There is no memory for the line, nor any
 * needed: the links are in fields of struct tcmur_cmd that the core uses only for its own compound
 * commands.  What was decoded is thrown away and decoded again when a context is free.
 *
 * A flush (or a write with FUA) that has another command of ours right behind it in the ring is
 * handed in, but the engine does not run: it does for that command, and all that were held back
 * share one flush round or commit.  However that command ends, the engine runs before it does. That
 * command always comes to us, unless the core answers it for a unit attention, which only a resize
 * raises: for some seconds after one nothing is held back.
 */
#include "disk.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "disk_admin.h"
#include "iov.h"
#include "sense.h"
#include "thread.h"

#define SYNCHRONIZE_CACHE_10_OPCODE 0x35
#define SYNCHRONIZE_CACHE_16_OPCODE 0x91

/* A command that came back, on its way out. */
struct outcome {
	struct tcmur_cmd *cmd;
	int status;
	uint32_t answer; /* bytes of the buffer that the initiator gets; 0: all, or none if it
			    failed */
};

/* So many leave together, after the lock has been released. */
#define BATCH 32U

struct batch {
	unsigned count;
	struct outcome outcome[BATCH];
};

/* --- fields of struct tcmur_cmd that are ours while the core has nothing to do with a command ---
 */

static void set_next(struct tcmur_cmd *cmd, struct tcmur_cmd *next)
{
	cmd->cmd_state = next;
}

static struct tcmur_cmd *next_of(const struct tcmur_cmd *cmd)
{
	return cmd->cmd_state;
}

static void disguise(struct ti_disk *disk, struct tcmur_cmd *cmd, const struct ti_row *row)
{
	uint8_t *cdb = cmd->lib_cmd->cdb;

	cmd->cmd_state = disk;
	cmd->requested = cdb[0];
	cdb[0] = row->cdb_len == 16 ? SYNCHRONIZE_CACHE_16_OPCODE : SYNCHRONIZE_CACHE_10_OPCODE;
}

static bool is_disguised(const struct ti_disk *disk, const struct tcmur_cmd *cmd)
{
	return cmd->cmd_state == disk;
}

static void undo_disguise(struct tcmur_cmd *cmd)
{
	cmd->lib_cmd->cdb[0] = (uint8_t)cmd->requested;
	cmd->cmd_state = NULL;
	cmd->requested = 0;
}

/* Not for the core to do. */
static void complete(struct ti_disk *disk, const struct outcome *o)
{
	if (o->answer > 0 && ti_short_answer_possible(&disk->short_answer))
		ti_short_answer_complete(&disk->short_answer, disk->dev, o->cmd, o->status,
					 o->answer);
	else
		tcmur_cmd_complete(disk->dev, o->cmd, o->status);
}

/* --- decoding --- */

int ti_disk_told(struct ti_disk *disk, struct tcmur_cmd *cmd, int status)
{
	if (status != TCMU_STS_PASSTHROUGH_ERR)
		return status;
	if (ti_wants_descriptors(&disk->facts, ti_select_bits(&disk->mode)))
		ti_sense_to_descriptors(cmd->lib_cmd->sense_buf);
	else
		ti_sense_to_fixed(cmd->lib_cmd->sense_buf);
	return status;
}

unsigned ti_disk_flags(const struct ti_disk *disk, enum ti_req_op op, unsigned flags)
{
	bool durable = ti_select_bits(&disk->mode) & TI_SELECT_DURABLE;

	return durable && ti_req_writes(op) ? flags | TI_REQ_FUA : flags;
}

/* Has the command no data, whatever buffer the initiator has given it?  (MODE SELECT, which may
 * flush, has, and is looked at again.) */
static bool leaves_buffer(const struct ti_row *row, const struct ti_command *command, int status)
{
	if (status == TI_STS_REQUEST)
		return row->run != ti_cmd_mode_select && (command->request.op == TI_REQ_FLUSH ||
							  command->request.op == TI_REQ_VERIFY);
	return status == TCMU_STS_OK && !command->answered;
}

static int decode(struct ti_disk *disk, struct tcmur_cmd *cmd, const struct ti_row *row, bool again,
		  struct ti_command *out)
{
	struct tcmulib_cmd *lib = cmd->lib_cmd;
	int status;

	*out = (struct ti_command){
		.cdb = lib->cdb,
		.facts = &disk->facts,
		.iov = lib->iovec,
		.iov_count = lib->iov_cnt,
		.sense = lib->sense_buf,
		.again = again,
	};
	status = ti_row_run(row, out);
	if (leaves_buffer(row, out, status)) {
		/* The kernel copies the whole of a data-in buffer, and others have used it before.
		 */
		struct ti_iov_cursor cursor = ti_iov_cursor(out->iov, out->iov_count);

		ti_iov_zero(&cursor, SIZE_MAX);
	}
	if (status == TI_STS_REQUEST && (row->flags & TI_ROW_WRITES) &&
	    (ti_select_bits(&disk->mode) & TI_SELECT_SWP))
		status = ti_sense_set(out->sense, TI_KEY_DATA_PROTECT,
				      TI_ASC_SOFTWARE_WRITE_PROTECTED);
	status = ti_disk_told(disk, cmd, status);
	if (status == TI_STS_REQUEST)
		out->request.flags = ti_disk_flags(disk, out->request.op, out->request.flags);
	return status;
}

/*
 * The engine reads as much as the buffer holds.  The runner's array of pieces is the command's own
 * copy, so that a longer buffer can be cut.  Once only: afterwards its length is gone.
 */
static void cut_buffer(struct ti_context *context)
{
	struct ti_request *request = &context->request;
	uint64_t bytes = request->sectors * TI_SECTOR_BYTES;
	struct iovec *piece = context->cmd->lib_cmd->iovec;

	if (ti_iov_length(request->iov, request->iov_count) == bytes)
		return;
	context->answer = (uint32_t)bytes;
	for (; bytes > piece->iov_len; piece++)
		bytes -= piece->iov_len;
	piece->iov_len = bytes;
	request->iov_count = (size_t)(piece - request->iov) + 1;
}

static void fill_request(struct ti_disk *disk, struct ti_context *context,
			 const struct ti_command *command)
{
	uint64_t sectors = disk->facts.block_size / TI_SECTOR_BYTES;
	struct ti_request *request = &context->request;

	request->op = command->request.op;
	request->flags = command->request.flags;
	request->sector = command->request.lba * sectors;
	request->sectors = command->request.blocks * sectors;
	request->iov = command->request.iov;
	request->iov_count = command->request.iov_count;
	context->answer = 0;
	context->core = false;
	context->unmap = command->request.unmap;
	context->copy = NULL;
	if (request->op == TI_REQ_READ)
		cut_buffer(context);
}

/* What follows a request that is done (or the flush for it): an UNMAP's next range, a copy's next
 * step? */
static bool carry_on(struct ti_disk *disk, struct ti_context *context)
{
	uint64_t sectors = disk->facts.block_size / TI_SECTOR_BYTES;
	struct ti_extent extent;

	if (context->copy)
		return context->request.result.err == 0 &&
		       ti_disk_copy_step(disk, context) == TI_STS_REQUEST;
	if (context->unmap.count == 0 || context->request.result.err != 0 ||
	    !ti_unmap_next(context->cmd->lib_cmd->iovec, context->cmd->lib_cmd->iov_cnt,
			   &context->unmap, &extent))
		return false;
	if (ti_select_bits(&disk->mode) & TI_SELECT_SWP) { /* since it has begun */
		context->request.result =
			(struct ti_result){ .err = -EROFS, .cause = TI_CAUSE_READ_ONLY };
		return false;
	}
	context->request.op = TI_REQ_DISCARD;
	context->request.flags = ti_disk_flags(disk, TI_REQ_DISCARD, 0);
	context->request.sector = extent.lba * sectors;
	context->request.sectors = extent.blocks * sectors;
	ti_lun_submit(disk->lun, &context->request);
	return true;
}

/*
 * A write that began before WCE=0 and comes back after it: nobody would flush for it later, so a
 * flush follows it before it is answered.  What came back earlier is covered by MODE SELECT's own
 * flush, which begins when the bit is set.  Has the write failed, what was written of it is not
 * durable, as with FUA: no address behind its first may be named.  True if the flush is under way.
 */
static bool must_flush(struct ti_disk *disk, struct ti_request *request)
{
	unsigned flags = ti_disk_flags(disk, request->op, request->flags);

	if (flags == request->flags)
		return false;
	request->flags = flags;
	if (request->result.err != 0)
		return false;
	request->op = TI_REQ_FLUSH;
	ti_lun_submit(disk->lun, request);
	return true;
}

/* --- before the engine is there --- */

int ti_disk_ready(void *ctx, uint8_t *sense)
{
	const struct ti_disk *disk = ctx;

	switch (ti_disk_state(disk)) {
	case TI_DISK_READY:
		break;
	case TI_DISK_STARTING: /* Linux waits and tries again, for minutes */
		return ti_sense_set_progress(sense, ti_lun_start_progress(disk->lun));
	case TI_DISK_FAILED:
		return ti_sense_set(sense, TI_KEY_HARDWARE_ERROR, TI_ASC_INTERNAL_TARGET_FAILURE);
	}
	return TCMU_STS_OK;
}

/* Status and sense for a command that needs the medium, or TCMU_STS_OK. */
static int check_ready(struct ti_disk *disk, struct tcmur_cmd *cmd)
{
	return ti_disk_told(disk, cmd, ti_disk_ready(disk, cmd->lib_cmd->sense_buf));
}

/* --- under the lock --- */

static struct ti_context *take_context(struct ti_disk *disk, struct tcmur_cmd *cmd)
{
	struct ti_context *context = SLIST_FIRST(&disk->free);

	if (!context)
		return NULL;
	SLIST_REMOVE_HEAD(&disk->free, link);
	disk->contexts_used++;
	context->cmd = cmd;
	return context;
}

static void put_context(struct ti_disk *disk, struct ti_context *context)
{
	context->cmd = NULL;
	SLIST_INSERT_HEAD(&disk->free, context, link);
	disk->contexts_used--;
}

static void wait_in_line(struct ti_disk *disk, struct tcmur_cmd *cmd)
{
	set_next(cmd, NULL);
	if (disk->waiting_last)
		set_next(disk->waiting_last, cmd);
	else
		disk->waiting_first = cmd;
	disk->waiting_last = cmd;
}

static void leave(struct batch *batch, const struct outcome *outcome)
{
	batch->outcome[batch->count++] = *outcome;
}

/* Start those who wait in line, as far as there are contexts.  Returns true if any was started. */
static bool admit_waiting(struct ti_disk *disk, struct batch *batch)
{
	bool started = false;

	while (disk->waiting_first && !SLIST_EMPTY(&disk->free) && batch->count < BATCH) {
		struct tcmur_cmd *cmd = disk->waiting_first;
		struct ti_context *context;
		struct ti_command command;
		int status;

		disk->waiting_first = next_of(cmd);
		if (!disk->waiting_first)
			disk->waiting_last = NULL;
		set_next(cmd, NULL);
		status = decode(disk, cmd, ti_row_find(cmd->lib_cmd->cdb), true, &command);
		if (status != TI_STS_REQUEST) { /* the LUN has become smaller meanwhile */
			leave(batch, &(struct outcome){ cmd, status, command.answer });
			continue;
		}
		context = take_context(disk, cmd);
		fill_request(disk, context, &command);
		ti_lun_submit(disk->lun, &context->request);
		started = true;
	}
	return started;
}

/*
 * How many bytes of a read that failed does the initiator get?  Those before the address that the
 * sense data names: it takes them for good.
 */
static uint32_t bytes_before_error(const struct ti_disk *disk, const struct ti_request *request)
{
	uint64_t sectors = request->result.sector - request->sector;

	switch (request->result.cause) {
	case TI_CAUSE_TAG_MISMATCH:
	case TI_CAUSE_DATA_IO:
	case TI_CAUSE_META_IO:
		sectors -= sectors % (disk->facts.block_size / TI_SECTOR_BYTES);
		return (uint32_t)(sectors * TI_SECTOR_BYTES);
	default:
		return 0;
	}
}

/* What the engine has found for GET LBA STATUS goes into the initiator's buffer. */
static struct outcome answer_extent(struct ti_disk *disk, const struct ti_context *context)
{
	const struct tcmulib_cmd *lib = context->cmd->lib_cmd;
	struct ti_command command = {
		.cdb = lib->cdb, .facts = &disk->facts, .iov = lib->iovec, .iov_count = lib->iov_cnt
	};
	uint64_t sectors = disk->facts.block_size / TI_SECTOR_BYTES;
	int status = ti_answer_lba_status(&command, context->request.extent.sectors / sectors,
					  context->request.extent.discarded);

	return (struct outcome){ context->cmd, status, command.answer };
}

static struct outcome outcome_of(struct ti_disk *disk, struct ti_context *context)
{
	struct ti_request *request = &context->request;
	struct outcome o = { .cmd = context->cmd, .status = TCMU_STS_OK };
	bool named = ti_sense_may_name_block(request, disk->facts.tells_length);

	if (context->copy) {
		o.status = ti_disk_copy_end(disk, context);
		return o;
	}
	if (request->result.err == 0 && request->op == TI_REQ_EXTENT)
		return answer_extent(disk, context);
	if (request->result.err == 0) {
		o.answer = context->answer;
		return o;
	}
	if (!context->cmd) {
		o.status =
			TCMU_STS_HW_ERR; /* nobody to tell; the engine remembers a failed flush */
		return o;
	}
	if (request->op == TI_REQ_READ && named && !context->core)
		o.answer = bytes_before_error(disk, request);
	o.status = ti_sense_set_result(context->cmd->lib_cmd->sense_buf, request->op,
				       &request->result, disk->facts.block_size);
	if (!named)
		ti_sense_drop_information(context->cmd->lib_cmd->sense_buf);
	o.status = ti_disk_told(disk, context->cmd, o.status);
	return o;
}

/*
 * Take requests off @finished: free their contexts, put their commands into @batch, start those who
 * waited.  *@own, if it is among them, is set to NULL, and *@own_outcome to what became of it.
 */
static void collect(struct ti_disk *disk, struct ti_request_list *finished, struct batch *batch,
		    struct ti_context **own, struct outcome *own_outcome)
{
	struct ti_request *request;
	bool more = false;

	while (batch->count < BATCH && (request = STAILQ_FIRST(finished)) != NULL) {
		struct ti_context *context = request->owner;
		struct outcome outcome;

		STAILQ_REMOVE_HEAD(finished, link);
		if (must_flush(disk, request) || carry_on(disk, context)) {
			more = true;
			continue;
		}
		outcome = outcome_of(disk, context);
		if (context == &disk->own) {
			ti_disk_flush_back(disk);
			continue;
		}
		if (context == *own) {
			*own = NULL;
			*own_outcome = outcome;
		} else if (context->cmd) {
			leave(batch, &outcome);
		}
		put_context(disk, context);
	}
	more |= admit_waiting(disk, batch);
	if (more)
		ti_lun_run(disk->lun, finished);
}

/* The completion thread sleeps too long if the engine wants its tick earlier.  Is it so? */
static bool must_wake(struct ti_disk *disk)
{
	uint64_t deadline = ti_lun_deadline(disk->lun);

	if (disk->asleep_until_ns <= deadline)
		return false;
	disk->asleep_until_ns = deadline;
	return true;
}

/*
 * Run the engine, complete everything that comes back but @own.  Enters with the lock held, leaves
 * without.  Returns what became of @own; its status is TCMU_STS_ASYNC_HANDLED if it is still under
 * way.
 */
static struct outcome run_and_complete(struct ti_disk *disk, struct ti_context *own, bool *any)
{
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);
	struct outcome own_outcome = { .status = TCMU_STS_ASYNC_HANDLED };
	bool wake;

	ti_lun_run(disk->lun, &finished);
	*any = !STAILQ_EMPTY(&finished);
	for (;;) {
		struct batch batch = { .count = 0 };

		collect(disk, &finished, &batch, &own, &own_outcome);
		wake = must_wake(disk);
		pthread_mutex_unlock(&disk->lock);
		if (wake)
			ti_lun_wake(disk->lun);
		for (unsigned i = 0; i < batch.count; i++)
			complete(disk, &batch.outcome[i]);
		/* A full batch may have left some in line though there are contexts. */
		if (STAILQ_EMPTY(&finished) && batch.count < BATCH)
			return own_outcome;
		pthread_mutex_lock(&disk->lock);
	}
}

bool ti_disk_turn(struct ti_disk *disk)
{
	bool any;

	run_and_complete(disk, NULL, &any);
	pthread_mutex_lock(&disk->lock);
	return any;
}

/* --- in --- */

/* May the engine run later, for the next command in the ring?  See above. */
static bool may_hold_back(const struct ti_disk *disk, const struct ti_command *command)
{
	const struct ti_row *row;
	const uint8_t *next;

	if ((command->request.op != TI_REQ_FLUSH && !(command->request.flags & TI_REQ_FUA)) ||
	    atomic_load(&disk->no_holding_back) > 0)
		return false;
	next = ti_ring_next(&disk->ring);
	row = next ? ti_row_find(next) : NULL;
	return row && row->cdb_len > 0; /* of the unknown, libtcmu drops some */
}

/* A decoded command of our own; cmd->done is set.  Returns its status or ..._ASYNC_HANDLED; sets
 * disk->answer. */
static int hand_in(struct ti_disk *disk, struct tcmur_cmd *cmd, const struct ti_command *command,
		   bool hold_back)
{
	bool detached = command->request.detached, any, copies = command->request.copy.segments > 0;
	struct ti_context *context;
	struct outcome outcome;

	pthread_mutex_lock(&disk->lock);
	context = disk->waiting_first ? NULL : take_context(disk, detached ? NULL : cmd);
	if (!context && copies) { /* who waits is decoded again, under the lock: not these */
		pthread_mutex_unlock(&disk->lock);
		return TCMU_STS_NO_RESOURCE;
	}
	if (!context) {
		wait_in_line(disk, cmd); /* without a context nothing can be detached */
		pthread_mutex_unlock(&disk->lock);
		return TCMU_STS_ASYNC_HANDLED;
	}
	if (copies) {
		int status = ti_disk_copy_begin(disk, context, command);

		if (status != TI_STS_REQUEST) {
			put_context(disk, context);
			pthread_mutex_unlock(&disk->lock);
			return status;
		}
	} else {
		fill_request(disk, context, command);
		ti_lun_submit(disk->lun, &context->request);
	}
	disk->held_back = hold_back;
	if (hold_back) {
		pthread_mutex_unlock(&disk->lock);
		return detached ? TCMU_STS_OK : TCMU_STS_ASYNC_HANDLED;
	}
	disk->ran = true;
	outcome = run_and_complete(disk, detached ? NULL : context, &any);
	disk->answer = outcome.answer;
	return detached ? TCMU_STS_OK : outcome.status;
}

/* A command at first sight.  Returns its status; TCMU_STS_NOT_HANDLED: it is the core's. */
static int serve(struct ti_disk *disk, struct tcmur_cmd *cmd)
{
	const struct ti_row *row = ti_row_find(cmd->lib_cmd->cdb);
	struct ti_command command;
	int status;

	if (!row)
		return TCMU_STS_NOT_HANDLED;
	status = decode(disk, cmd, row, false, &command);
	disk->answer = disk->facts.tells_length ? command.answer : 0;
	if (status != TI_STS_REQUEST)
		return status;
	status = check_ready(disk, cmd);
	if (status != TCMU_STS_OK)
		return status;
	if (!disk->done) {
		disguise(disk, cmd, row);
		return TCMU_STS_NOT_HANDLED;
	}
	cmd->done = disk->done;
	return hand_in(disk, cmd, &command, may_hold_back(disk, &command));
}

int ti_disk_command(struct ti_disk *disk, struct tcmur_cmd *cmd)
{
	bool last = !ti_ring_has_more(&disk->ring);
	bool owed = disk->held_back, any;
	int status;

	if (!disk->command_thread_known) {
		disk->command_thread_known = true;
		ti_thread_adopt(disk);
	}
	if (disk->ring.passed_others)
		ti_skipped_answer(&disk->skipped);
	/* Also for what goes on to the core, which fills it in part only. */
	memset(cmd->lib_cmd->sense_buf, 0, sizeof(cmd->lib_cmd->sense_buf));
	disk->held_back = false;
	disk->ran = false;
	disk->answer = 0;
	status = serve(disk, cmd);
	if (owed && !disk->held_back && !disk->ran) {
		pthread_mutex_lock(&disk->lock);
		run_and_complete(disk, NULL, &any);
	}
	if (status == TCMU_STS_ASYNC_HANDLED || status == TCMU_STS_NOT_HANDLED)
		return status;
	/* Only what hand_in() has carried out has a way to complete itself. */
	if (disk->answer == 0 && (!last || !disk->ran))
		return status;
	complete(disk, &(struct outcome){ cmd, status, disk->answer }); /* see ring.h */
	return TCMU_STS_ASYNC_HANDLED;
}

int ti_disk_flush(struct ti_disk *disk, struct tcmur_cmd *cmd)
{
	struct ti_command command;
	int status;

	if (!is_disguised(disk, cmd))
		return ti_disk_callout(disk, cmd, TI_REQ_FLUSH, NULL, 0, 0, 0);
	disk->done = cmd->done;
	undo_disguise(cmd);
	disk->answer = 0;
	status = decode(disk, cmd, ti_row_find(cmd->lib_cmd->cdb), false, &command);
	if (status == TI_STS_REQUEST)
		status = hand_in(disk, cmd, &command, false);
	if (status == TCMU_STS_ASYNC_HANDLED)
		return TCMU_STS_OK;
	/* From here OK means "will be completed", so it must be. */
	if (status != TCMU_STS_OK && disk->answer == 0)
		return status;
	complete(disk, &(struct outcome){ cmd, status, disk->answer });
	return TCMU_STS_OK;
}

int ti_disk_callout(struct ti_disk *disk, struct tcmur_cmd *cmd, enum ti_req_op op,
		    const struct iovec *iov, size_t iov_count, size_t len, uint64_t offset)
{
	struct ti_context *context;
	int status = check_ready(disk, cmd);

	if (status != TCMU_STS_OK)
		return status;
	if (offset % TI_SECTOR_BYTES || len % TI_SECTOR_BYTES)
		return TCMU_STS_RANGE;
	pthread_mutex_lock(&disk->lock);
	context = take_context(disk, cmd);
	if (context) {
		context->answer = 0;
		context->core = true;
		context->unmap = (struct ti_unmap){ 0 };
		context->copy = NULL;
		context->request.op = op;
		context->request.flags = ti_disk_flags(disk, op, 0);
		context->request.sector = offset / TI_SECTOR_BYTES;
		context->request.sectors = len / TI_SECTOR_BYTES;
		context->request.iov = iov;
		context->request.iov_count = iov_count;
		ti_lun_submit(disk->lun, &context->request);
	}
	pthread_mutex_unlock(&disk->lock);
	if (!context)
		return TCMU_STS_NO_RESOURCE; /* TASK SET FULL: the initiator tries again */
	/*
	 * The completion thread carries it on.  Doing that here would complete commands inside the
	 * completion of another, one deeper for every step of a long compound command.
	 */
	ti_lun_wake(disk->lun);
	return TCMU_STS_OK;
}
