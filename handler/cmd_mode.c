// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * MODE SENSE and MODE SELECT (6) and (10).
 *
 * WCE, D_SENSE and SWP can be changed (see mode_select.h); nothing is saved.  Of all else MODE
 * SELECT accepts exactly what MODE SENSE returns, which is what tools send that change one bit and
 * write all back. It changes nothing unless all of its list is good.
 */
#include "cdb.h"

#include <string.h>

#include "libtcmu_common.h"

#include "iov.h"
#include "sense.h"

#define CONTROL	     0x0a
#define ALL_PAGES    0x3f
#define ALL_SUBPAGES 0xff

enum page_control {
	CURRENT,
	CHANGEABLE,
	DEFAULTS,
	SAVED,
};

#define WCE	0x04
#define D_SENSE 0x04
#define SWP	0x08

#define MAX_CHANGES 2

struct page {
	uint8_t code;
	uint8_t len; /* bytes behind the two of the header */
	uint8_t bytes[18];
	/* Bits that can be changed: in bytes[at], TI_SELECT_* that they have been. */
	struct {
		uint8_t at, bit;
		unsigned mode;
	} change[MAX_CHANGES];
};

static const struct page pages[] = {
	/* Read-Write Error Recovery: the defaults */
	{ .code = 0x01, .len = 0x0a },
	/* Caching: WCE */
	{ .code = 0x08,
	  .len = 0x12,
	  .bytes = { [0] = WCE },
	  .change = { { 0, WCE, TI_SELECT_WRITE_THROUGH } } },
	/* Control: GLTSD (log parameters are not saved), unrestricted reordering, TAS, and no limit
	 * to how long a BUSY may last */
	{ .code = CONTROL,
	  .len = 0x0a,
	  .bytes = { [0] = 0x02, [1] = 0x10, [3] = 0x40, [6] = 0xff, [7] = 0xff },
	  .change = { { 0, D_SENSE, TI_SELECT_D_SENSE }, { 2, SWP, TI_SELECT_SWP } } },
	/* Informational Exceptions: disabled */
	{ .code = 0x1c, .len = 0x0a, .bytes = { [0] = 0x08 } },
};

#define PAGES	      (sizeof(pages) / sizeof(pages[0]))
#define MAX_DATA      (8 + sizeof(pages)) /* of MODE SENSE */
#define DPOFUA	      0x10
#define WRITE_PROTECT 0x80
#define SELECT_MAX    512
#define PAGE_FORMAT   0x10
#define SAVE_PAGES    0x01

/* Promises that a restart would break are not given; see mode_select.h. */
static bool can_change(unsigned bit, const struct ti_select *mode)
{
	return bit != TI_SELECT_WRITE_THROUGH || mode->kept;
}

static size_t put_page(const struct page *page, enum page_control control,
		       const struct ti_scsi_facts *facts, uint8_t *out)
{
	uint8_t *bytes = out + 2;

	out[0] = page->code;
	out[1] = page->len;
	memset(bytes, 0, page->len);
	if (control != CHANGEABLE)
		memcpy(bytes, page->bytes, page->len);
	if (control != CHANGEABLE && page->code == CONTROL && ti_wants_descriptors(facts, 0))
		bytes[0] |= D_SENSE;
	for (unsigned i = 0; i < MAX_CHANGES && page->change[i].mode != 0; i++) {
		uint8_t *byte = &bytes[page->change[i].at], bit = page->change[i].bit;
		unsigned mode = page->change[i].mode;

		if (control == CHANGEABLE && can_change(mode, facts->mode))
			*byte |= bit;
		if (control == CURRENT && (ti_select_bits(facts->mode) & mode))
			*byte ^= bit;
	}
	return 2U + page->len;
}

int ti_cmd_mode_sense(const struct ti_row *row, struct ti_command *cmd)
{
	const uint8_t *cdb = cmd->cdb;
	bool ten = row->cdb_len == 10;
	enum page_control control = (enum page_control)(cdb[2] >> 6);
	uint8_t code = cdb[2] & 0x3f, subpage = cdb[3];
	uint8_t data[MAX_DATA] = { 0 };
	bool protected =
		cmd->facts->write_protected || (ti_select_bits(cmd->facts->mode) & TI_SELECT_SWP);
	uint8_t specific = (uint8_t)(DPOFUA | (protected ? WRITE_PROTECT : 0));
	size_t header = ten ? 8 : 4, len = header;

	if (control == SAVED)
		return ti_sense_set(cmd->sense, TI_KEY_ILLEGAL_REQUEST,
				    TI_ASC_SAVING_NOT_SUPPORTED);
	if (subpage != 0 && subpage != ALL_SUBPAGES)
		return ti_bad_field(cmd, 3, -1);
	for (size_t i = 0; i < PAGES; i++) {
		if (code == ALL_PAGES || code == pages[i].code)
			len += put_page(&pages[i], control, cmd->facts, data + len);
	}
	if (len == header)
		return ti_bad_field(cmd, 2, 5);
	if (ten) {
		ti_put_be16(data, (uint16_t)(len - 2));
		data[3] = specific;
	} else {
		data[0] = (uint8_t)(len - 1);
		data[2] = specific;
	}
	return ti_answer(cmd, data, len, ten ? ti_be16(cdb + 7) : cdb[4]);
}

static int bad_parameter(struct ti_command *cmd, size_t byte)
{
	return ti_sense_set_field(cmd->sense, TI_ASC_INVALID_FIELD_IN_PARAMETERS, (unsigned)byte,
				  -1);
}

static int bad_length(struct ti_command *cmd)
{
	return ti_sense_set(cmd->sense, TI_KEY_ILLEGAL_REQUEST, TI_ASC_PARAMETER_LIST_LENGTH);
}

/*
 * One page at @at of a list of @len bytes; *@next is where the following one starts.  What it
 * changes goes into *@bits (TI_SELECT_*).
 */
static int check_page(struct ti_command *cmd, const uint8_t *list, size_t at, size_t len,
		      unsigned *bits, size_t *next)
{
	uint8_t wanted[2 + sizeof(pages[0].bytes)], now[sizeof(wanted)], mask[sizeof(wanted)];
	const struct ti_scsi_facts *facts = cmd->facts;

	for (size_t i = 0; i < PAGES; i++) {
		size_t size;

		if ((list[at] & 0x7f) != pages[i].code) /* bit 7 is reserved here, bit 6 is SPF */
			continue;
		size = put_page(&pages[i], DEFAULTS, facts, wanted);
		put_page(&pages[i], CHANGEABLE, facts, mask);
		put_page(&pages[i], CURRENT, facts, now);
		mask[1] = 0;
		if (len - at < size)
			return bad_length(cmd);
		for (size_t j = 1; j < size; j++) {
			if ((list[at + j] ^ now[j]) & ~mask[j])
				return bad_parameter(cmd, at + j);
		}
		for (unsigned k = 0; k < MAX_CHANGES && pages[i].change[k].mode != 0; k++) {
			unsigned mode = pages[i].change[k].mode;
			size_t j = 2U + pages[i].change[k].at;

			if (!can_change(mode, facts->mode))
				continue;
			if ((list[at + j] ^ wanted[j]) & pages[i].change[k].bit)
				*bits |= mode;
			else
				*bits &= ~mode;
		}
		*next = at + size;
		return TCMU_STS_OK;
	}
	return bad_parameter(cmd, at);
}

/* A block descriptor may be sent along if it says what is so already. */
static int check_descriptor(struct ti_command *cmd, const uint8_t *list, size_t header)
{
	const uint8_t *d = list + header;
	uint32_t blocks = ti_be32(d), size = ti_be32(d + 4) & 0xffffff;
	uint64_t now = cmd->facts->blocks;

	if (blocks != 0 && blocks != (now > UINT32_MAX ? UINT32_MAX : (uint32_t)now))
		return bad_parameter(cmd, header);
	if (size != cmd->facts->block_size)
		return bad_parameter(cmd, header + 5);
	return TCMU_STS_OK;
}

int ti_cmd_mode_select(const struct ti_row *row, struct ti_command *cmd)
{
	struct ti_iov_cursor cursor = ti_iov_cursor(cmd->iov, cmd->iov_count);
	bool ten = row->cdb_len == 10;
	size_t len = ten ? ti_be16(cmd->cdb + 7) : cmd->cdb[4];
	size_t header = ten ? 8 : 4, descriptors, at;
	uint8_t list[SELECT_MAX];
	unsigned bits = ti_select_bits(cmd->facts->mode);
	int status = TCMU_STS_OK;

	if (!(cmd->cdb[1] & PAGE_FORMAT))
		return ti_bad_field(cmd, 1, 4);
	if (cmd->cdb[1] & SAVE_PAGES)
		return ti_bad_field(cmd, 1, 0);
	if (len == 0)
		return TCMU_STS_OK;
	if (len < header || len > sizeof(list) || ti_iov_copy_out(&cursor, list, len) != len)
		return bad_length(cmd);
	descriptors = ten ? ti_be16(list + 6) : list[3];
	if (ten && (list[4] & 0x01)) /* LONGLBA: MODE SENSE never sends those */
		return bad_parameter(cmd, 4);
	if (descriptors != 0 && descriptors != 8)
		return bad_parameter(cmd, ten ? 6 : 3);
	if (len - header < descriptors)
		return bad_length(cmd);
	if (descriptors)
		status = check_descriptor(cmd, list, header);
	for (at = header + descriptors; status == TCMU_STS_OK && at < len;)
		status = check_page(cmd, list, at, len, &bits, &at);
	if (status != TCMU_STS_OK)
		return status;
	/* Not again: a later MODE SELECT may have been answered since. */
	if (!cmd->again)
		ti_select_change(cmd->facts->mode, bits);
	cmd->answered = true; /* the buffer is the initiator's list */
	if (!(bits & (TI_SELECT_WRITE_THROUGH | TI_SELECT_SWP)))
		return TCMU_STS_OK;
	/*
	 * What was written before is durable when the initiator hears of WCE=0, or SWP=1.  Also if
	 * that is so already: a command that has waited comes here twice, and has changed the bits
	 * the first time.
	 */
	cmd->request.op = TI_REQ_FLUSH;
	return TI_STS_REQUEST;
}
