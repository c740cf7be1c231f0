/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The command table: every CDB that this handler answers itself is one row.
 *
 * A row's run() checks the CDB against the facts about the LUN and either answers it (data into the
 * initiator's buffer, or sense data) or says what the engine is to do.  It knows neither the engine
 * nor tcmu's devices, keeps no state and never blocks, so it may run on any thread and any number
 * of times for the same command.  Exceptions: INQUIRY and EXTENDED COPY ask for the serial number;
 * RECEIVE COPY RESULTS ends what is kept of a copy.
 *
 * A row without a run() is for tcmu-runner's core.  Rows that only refuse are there because the
 * core's own code for these commands loses errors or crashes, or, the kernel's, for REPORT
 * SUPPORTED OPERATION CODES.
 */
#ifndef TI_CDB_H
#define TI_CDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "lun.h"
#include "mode_select.h"

struct ti_copy_question;
struct ti_copy_result;

/** Status of run(): the engine is to carry out cmd->request.  Others: TCMU_STS_*. */
#define TI_STS_REQUEST (-100)

/** The largest LUN block; also what tcmu's default and every usual initiator stay within. */
#define TI_MAX_BLOCK_SIZE 4096U

/** What commands need to know about the LUN.  Set at open; only `blocks` ever changes. */
struct ti_scsi_facts {
	uint32_t block_size;	    /* bytes: 512..TI_MAX_BLOCK_SIZE, a power of 2 */
	uint32_t integrity_block;   /* bytes: divides block_size */
	_Atomic uint64_t blocks;    /* the LUN's size */
	uint32_t max_transfer;	    /* blocks, as advertised */
	uint32_t max_write_same;    /* blocks, kept */
	uint32_t max_verify;	    /* blocks, kept: VERIFY without data */
	uint32_t max_atomic;	    /* blocks; 0: WRITE ATOMIC is not served */
	bool discards;		    /* UNMAP and the like are served; the rest is for them */
	uint32_t max_unmap;	    /* blocks of one UNMAP */
	uint32_t unmap_granularity; /* blocks: what the data device forgets at once */
	uint32_t unmap_alignment;   /* first block at which such a piece begins */
	bool thin; /* the data device is a file, which has the blocks it holds only */
	uint8_t physical_exponent; /* 2^n blocks are one physical block */
	uint16_t lowest_aligned;   /* first LBA on a physical block's start */
	bool solid_state;
	bool write_protected; /* mode recovery */
	bool tells_length;    /* the initiator can be told that its buffer is not full */
	/* The unit serial number, malloc'ed, or NULL; it can change until the LUN is exported. */
	char *(*serial)(void *ctx);
	void *serial_ctx;
	/* TCMU_STS_OK if the medium can be used, else a status, with sense data in @sense. */
	int (*ready)(void *ctx, uint8_t *sense);
	void (*stats)(void *ctx, struct ti_lun_stats *stats);
	void (*scrub)(void *ctx, struct ti_scrub_report *report);
	/* What became of the copy that RECEIVE COPY RESULTS asks for; see copy.h. */
	bool (*copy_result)(void *ctx, const struct ti_copy_question *question,
			    struct ti_copy_result *result);
	void *disk; /* ctx of these */
	struct ti_select *mode;
	uint64_t opened_ns; /* CLOCK_MONOTONIC */
};

/** Most descriptors of one UNMAP. */
#define TI_MAX_UNMAP_DESCRIPTORS 256U

/** How far an UNMAP has got with its descriptors. */
struct ti_unmap {
	unsigned next, count;
};

/* What EXTENDED COPY takes; RECEIVE COPY OPERATING PARAMETERS and page 8Fh say so. */
#define TI_COPIES	 8U /* at once */
#define TI_COPY_CSCDS	 8U
#define TI_COPY_SEGMENTS 4U
#define TI_COPY_SEGMENT_BYTES                                                                      \
	(16U << 20) /* as for WRITE SAME: far below an initiator's patience                        \
		     */

/** A list's descriptors, 32 bytes of a CSCD and 28 of a segment each. */
#define TI_COPY_LIST_BYTES (TI_COPY_CSCDS * 32U + TI_COPY_SEGMENTS * 28U)

/** A parameter list of EXTENDED COPY that has been checked. */
struct ti_copy_order {
	unsigned segments; /* 0: it is none */
	unsigned cscds;
	uint8_t own;	 /* CSCD descriptors that name this LUN, a bit for each, */
	uint8_t no_disk; /* and those of them that take it for something else */
	uint8_t list_id;
	bool named; /* it has a list identifier */
	bool kept;  /* its outcome is to be kept */
};

/** One segment of it.  Blocks. */
struct ti_copy_segment {
	uint64_t source, destination, blocks;
};

/** One command on its way through run(). */
struct ti_command {
	const uint8_t *cdb; /* as long as its opcode's group says */
	const struct ti_scsi_facts *facts;
	const struct iovec *iov; /* the initiator's buffer, of the initiator's length */
	size_t iov_count;
	uint8_t *sense; /* TI_SENSE_BYTES */
	bool again;	/* it has been here before, and has waited for a context since */

	/* Of a command that was answered. */
	bool answered;	 /* the buffer is as it is to be */
	uint32_t answer; /* bytes of data, if they are fewer than it holds, else 0 */

	/* What the engine is to do.  Memory is the command's or static. */
	struct {
		enum ti_req_op op;
		unsigned flags;
		uint64_t lba;
		uint64_t blocks;
		const struct iovec *iov;
		size_t iov_count;
		struct ti_unmap unmap;	   /* count 0: it is none */
		struct ti_copy_order copy; /* if it is one, of the rest only iov counts: its list */
		bool detached; /* the command is answered when the request has started */
	} request;
};

/** ti_row.service_action of opcodes that have none. */
#define TI_NO_SERVICE_ACTION (-1)

/** The row's command changes the medium. */
#define TI_ROW_WRITES 0x1U
/** Not in REPORT SUPPORTED OPERATION CODES. */
#define TI_ROW_HIDDEN 0x2U
/** The kernel serves it, we do not. */
#define TI_ROW_KERNEL 0x4U

struct ti_row {
	uint8_t opcode;
	int8_t service_action; /* CDB byte 1, bits 4..0 */
	uint8_t cdb_len;
	uint8_t flags; /* TI_ROW_* */
	const char *name;
	int (*run)(const struct ti_row *row, struct ti_command *cmd); /* NULL: the core's */
	uint8_t usage[16]; /* operation code, service action, and the bits that are looked at */
};

/** The row for a CDB, one that refuses if there is none, or NULL: the core's. */
const struct ti_row *ti_row_find(const uint8_t *cdb);

/** Does this LUN serve the command?  For REPORT SUPPORTED OPERATION CODES. */
bool ti_row_is_listed(const struct ti_row *row, const struct ti_scsi_facts *facts);

/** The table, for tests and REPORT SUPPORTED OPERATION CODES.  NULL past its end. */
const struct ti_row *ti_row_at(size_t index);

static inline uint16_t ti_be16(const uint8_t *p)
{
	return (uint16_t)((p[0] << 8) | p[1]);
}

static inline uint32_t ti_be32(const uint8_t *p)
{
	return ((uint32_t)ti_be16(p) << 16) | ti_be16(p + 2);
}

static inline uint64_t ti_be64(const uint8_t *p)
{
	return ((uint64_t)ti_be32(p) << 32) | ti_be32(p + 4);
}

static inline void ti_put_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void ti_put_be32(uint8_t *p, uint32_t v)
{
	ti_put_be16(p, (uint16_t)(v >> 16));
	ti_put_be16(p + 2, (uint16_t)v);
}

static inline void ti_put_be64(uint8_t *p, uint64_t v)
{
	ti_put_be32(p, (uint32_t)(v >> 32));
	ti_put_be32(p + 4, (uint32_t)v);
}

/**
 * Answer with data: the first @len bytes of @data, at most @allocation, as far as the buffer goes;
 * the rest of the buffer is zeroed, since it may hold another command's data, and the initiator is
 * told how much is data, where that can be told.  Returns TCMU_STS_OK.
 */
int ti_answer(struct ti_command *cmd, const uint8_t *data, size_t len, size_t allocation);

/** INVALID FIELD IN CDB with a pointer to @byte and, unless negative, @bit. */
int ti_bad_field(struct ti_command *cmd, unsigned byte, int bit);

/** Address and count of the CDBs of @cdb_len bytes that have them at the usual places. */
struct ti_extent {
	uint64_t lba;
	uint64_t blocks;
};
struct ti_extent ti_cdb_extent(const uint8_t *cdb, unsigned cdb_len);

/** Does the extent lie on the LUN?  Returns TCMU_STS_OK, or sense data with the first bad LBA. */
int ti_check_extent(struct ti_command *cmd, struct ti_extent extent);

/* Bits of CDB byte 1 that several commands have, and of the control byte, a CDB's last. */
#define TI_CDB_PROTECT_MASK 0xe0
#define TI_CDB_FUA	    0x08
#define TI_CDB_NACA	    0x04

/**
 * Is sense data to be in descriptor format, if these TI_SELECT_* are set?  D_SENSE is 1 by default
 * where addresses need more than the fixed format's 32 bits, as in the kernel's own targets.
 */
static inline bool ti_wants_descriptors(const struct ti_scsi_facts *facts, unsigned bits)
{
	return (facts->blocks - 1 > UINT32_MAX) != !!(bits & TI_SELECT_D_SENSE);
}

/** Where the row's CDB has its count of blocks. */
unsigned ti_count_byte(const struct ti_row *row);

/**
 * Run the row, unless the CDB's control byte asks for an auto contingent allegiance (NACA), which
 * is not there (SAM-5: control byte).  Returns what run() does.
 */
int ti_row_run(const struct ti_row *row, struct ti_command *cmd);

/** The initiator's buffer must hold @bytes, as the CDB says. */
int ti_check_buffer(struct ti_command *cmd, uint64_t bytes);
/** The same for data-in: it may hold more, if that can be told. */
int ti_check_room(struct ti_command *cmd, uint64_t bytes);

/** The engine is to do @op, with the command's buffer.  Returns TI_STS_REQUEST. */
int ti_ask_engine(struct ti_command *cmd, enum ti_req_op op, struct ti_extent extent);

/** @len bytes at @at of an initiator's parameter list, which holds them. */
void ti_list_bytes(const struct iovec *iov, size_t iov_count, size_t at, uint8_t *out, size_t len);

/**
 * The next range of an UNMAP whose first one has been asked for: false if there is none.  The
 * buffer is the initiator's and has been checked.  io path.
 */
bool ti_unmap_next(const struct iovec *iov, size_t iov_count, struct ti_unmap *unmap,
		   struct ti_extent *extent);

/**
 * Answer GET LBA STATUS with what the engine has found: so many whole blocks, 0 if its extent ends
 * within the first.  Returns TCMU_STS_OK.
 */
int ti_answer_lba_status(struct ti_command *cmd, uint64_t blocks, bool discarded);

/**
 * Segment @n of a copy, from the list that was checked.  Returns TCMU_STS_OK, or sense data: it
 * cannot be begun.  Any thread.  io path.
 */
int ti_copy_segment(const struct iovec *iov, size_t iov_count, const struct ti_copy_order *order,
		    unsigned n, uint64_t lun_blocks, struct ti_copy_segment *segment,
		    uint8_t *sense);

/** The LUN's NAA designator, from its serial number: as kernel and core make it. */
#define TI_NAA_BYTES 16
void ti_naa_of(const char *serial, uint8_t naa[TI_NAA_BYTES]);

/* The rows' functions, by file. */
int ti_cmd_read_write(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_write_same(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_synchronize_cache(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_inquiry(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_mode_sense(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_mode_select(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_read_capacity(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_pre_fetch(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_verify(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_write_and_verify(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_compare_and_write(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_or_write(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_write_atomic(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_unmap(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_get_lba_status(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_extended_copy(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_copy_status(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_copy_parameters(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_copy_failure(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_test_unit_ready(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_request_sense(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_start_stop(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_log_sense(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_read_defect_data(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_report_opcodes(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_report_tmf(const struct ti_row *row, struct ti_command *cmd);
int ti_cmd_refuse(const struct ti_row *row, struct ti_command *cmd);

#endif
