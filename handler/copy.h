/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Copies under way (EXTENDED COPY), and what became of the last ones.
 *
 * A copy is a read into memory of its own, then a write from there, piece after piece: two requests
 * to the engine like any other, each of which verifies, locks and makes tags for itself.  Nothing
 * is held from one to the next.  The memory is taken at open.
 *
 * Segments are carried out in the order of the list, and the sense data of a failure names the one
 * at hand: all before it are done, none behind it has begun (SPC-4: errors detected during
 * processing of segment descriptors).  A command that could be carried out once but not twice is
 * refused (cmd_copy.c): the kernel tells the initiator to repeat what a killed tcmu-runner had
 * begun.
 *
 * A handler does not learn who has sent a command, so that initiators share the list identifiers.
 * They are refused to nobody; what is told of one is of the last copy that had it, and for
 * TI_COPY_KEPT_NS only, since an initiator that asks too late would take another's for its own.
 *
 * All functions: under the disk's lock.
 */
#ifndef TI_COPY_H
#define TI_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "cdb.h"
#include "lun.h"
#include "sense.h"

/** How long an outcome is kept; SPC-4 leaves that to the vendor. */
#define TI_COPY_KEPT_NS (2ULL * 1000 * 1000 * 1000)

/** What RECEIVE COPY RESULTS wants to know. */
struct ti_copy_question {
	uint8_t list_id;
	bool failure;	   /* of a failed segment, else the status */
	size_t allocation; /* bytes that the initiator takes */
};

/** COPY OPERATION STATUS (SPC-4: RECEIVE COPY STATUS(LID1)). */
enum ti_copy_state {
	TI_COPY_RUNNING = 0x00,
	TI_COPY_DONE = 0x01,
	TI_COPY_FAILED = 0x02,
};

struct ti_copy_result {
	enum ti_copy_state state;
	unsigned segments; /* begun or done */
	uint64_t bytes;	   /* written */
	uint8_t sense[TI_SENSE_BYTES];
};

/** One under way. */
struct ti_copy {
	struct ti_copy_order order; /* segments 0: it is free */
	const struct iovec *list;   /* the command's */
	size_t list_count;
	unsigned segment; /* at hand, or behind the last */
	struct ti_copy_segment left;
	uint64_t piece; /* blocks of what is read or written now; 0: nothing yet */
	bool writes;
	uint64_t bytes;
	struct iovec buffer, iov; /* all of it, and what is used */
	int status;		  /* of one that has come to its end */
};

/** The outcome of one that has ended. */
struct ti_copy_kept {
	uint8_t list_id;
	bool status, failure; /* what of it has not been asked for */
	uint64_t until_ns;
	struct ti_copy_result result;
};

struct ti_copies {
	struct ti_copy copy[TI_COPIES];
	struct ti_copy_kept kept[TI_COPIES];
	unsigned next; /* of those kept, the one to be overwritten */
	void *memory;
	size_t memory_bytes;
};

/** Take the memory.  *@locked becomes false if it cannot be locked.  Returns 0 or -ENOMEM. */
int ti_copies_open(struct ti_copies *copies, bool *locked);
void ti_copies_close(struct ti_copies *copies);

/**
 * Begin what EXTENDED COPY asks for; @command has passed ti_cmd_extended_copy().  NULL: as many are
 * under way as can be.  io path.
 */
struct ti_copy *ti_copies_begin(struct ti_copies *copies, const struct ti_command *command);

/**
 * At its beginning, and each time that @request has come back without an error: what is next?
 * Returns TI_STS_REQUEST and fills in @request, or the status with which the copy ends, with sense
 * data in @sense.  io path.
 */
int ti_copy_next(struct ti_copy *copy, const struct ti_scsi_facts *facts,
		 struct ti_request *request, uint8_t *sense);

/** Its @request has failed.  Returns the status with which the copy ends.  io path. */
int ti_copy_fail(const struct ti_copy *copy, const struct ti_scsi_facts *facts,
		 const struct ti_request *request, uint8_t *sense);

/** It has ended, with @status and @sense, as the initiator gets it.  @now_ns: monotonic. */
void ti_copies_end(struct ti_copies *copies, struct ti_copy *copy, int status, const uint8_t *sense,
		   uint64_t now_ns);

/** Answer the question.  False: nothing is known. */
bool ti_copies_ask(struct ti_copies *copies, const struct ti_copy_question *question,
		   uint64_t now_ns, struct ti_copy_result *result);

/** Bytes of an answer with @sense to RECEIVE COPY FAILURE DETAILS, all told. */
size_t ti_copy_failure_bytes(const uint8_t *sense);

#endif
