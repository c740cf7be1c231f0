// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * INQUIRY: what this LUN is and what it can do; every bit of it true.
 *
 * The core's own INQUIRY is not used: its Device Identification page shows the config string, that
 * is the paths of our devices, to every initiator, and writes past its buffer when that string and
 * the target's name are long.  Vendor, product and NAA designator are the core's, so that a LUN
 * keeps its name.  Designators of ports are left out: a handler does not learn through which port a
 * command came.
 */
#include "cdb.h"

#include <stdlib.h>
#include <string.h>

#include "libtcmu_common.h"

#include "sense.h"

#define EVPD	       0x01
#define COMMAND_DATA   0x02 /* obsolete */
#define PAGE_HEADER    4
#define MAX_PAGE       512
#define MAX_SERIAL     240 /* a designator's length is one byte */
#define CODE_SET_BIN   1
#define CODE_SET_ASCII 2
#define DESIGNATOR_T10 1
#define DESIGNATOR_NAA 3
/* Block Limits page, bytes 32 to 35. */
#define UGAVALID 0x80000000U
/* Logical Block Provisioning page, bytes 5 and 6. */
#define LBPU	0x80
#define LBPWS	0x40
#define LBPWS10 0x20
#define THIN	0x02

static const char vendor[8] = "LIO-ORG "; /* fields are padded with blanks, not terminated */

static size_t standard(uint8_t *data)
{
	static const char product_and_revision[] = "TCMU device     0002";
	/* SAM-5, SPC-4, SBC-3 */
	static const uint8_t versions[] = { 0x00, 0xa0, 0x04, 0x60, 0x04, 0xc0 };

	data[2] = 0x06;	       /* SPC-4 */
	data[3] = 0x02 | 0x10; /* response data format 2, LUNs are numbered hierarchically */
	data[4] = 96 - 5;
	data[5] = 0x08; /* 3PC: EXTENDED COPY and the like */
	data[7] = 0x02; /* command queuing */
	memcpy(data + 8, vendor, sizeof(vendor));
	memcpy(data + 16, product_and_revision, sizeof(product_and_revision) - 1);
	memcpy(data + 58, versions, sizeof(versions));
	return 96;
}

static size_t page_serial(const struct ti_scsi_facts *facts, const char *serial, uint8_t *page)
{
	size_t len = strlen(serial);

	(void)facts;
	memcpy(page + PAGE_HEADER, serial, len);
	return len;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* NAA 6, OpenFabrics' company id, then the serial number's hex digits. */
void ti_naa_of(const char *serial, uint8_t naa[TI_NAA_BYTES])
{
	static const uint8_t start[] = { 0x60, 0x01, 0x40, 0x50 };
	unsigned digits = 7; /* half bytes that are set */

	memset(naa, 0, TI_NAA_BYTES);
	memcpy(naa, start, sizeof(start));
	for (const char *p = serial; *p != '\0' && digits < 2 * TI_NAA_BYTES; p++) {
		int digit = hex_digit(*p);

		if (digit < 0)
			continue;
		naa[digits / 2] |= (uint8_t)(digits % 2 ? digit : digit << 4);
		digits++;
	}
}

static size_t page_identification(const struct ti_scsi_facts *facts, const char *serial,
				  uint8_t *page)
{
	uint8_t *p = page + PAGE_HEADER;
	size_t len = strlen(serial);

	(void)facts;
	p[0] = CODE_SET_ASCII;
	p[1] = DESIGNATOR_T10;
	p[3] = (uint8_t)(sizeof(vendor) + len);
	memcpy(p + 4, vendor, sizeof(vendor));
	memcpy(p + 4 + sizeof(vendor), serial, len);
	p += 4 + sizeof(vendor) + len;

	p[0] = CODE_SET_BIN;
	p[1] = DESIGNATOR_NAA;
	p[3] = TI_NAA_BYTES;
	ti_naa_of(serial, p + 4);
	p += 4 + TI_NAA_BYTES;
	return (size_t)(p - page - PAGE_HEADER);
}

static size_t page_extended(const struct ti_scsi_facts *facts, const char *serial, uint8_t *page)
{
	(void)facts;
	(void)serial;
	page[5] = 0x01; /* SIMPSUP: other task attributes do not reach us */
	page[6] = 0x01; /* V_SUP: a volatile cache */
	return 0x3c;
}

static size_t page_limits(const struct ti_scsi_facts *facts, const char *serial, uint8_t *page)
{
	(void)serial;
	page[5] = UINT8_MAX; /* longest COMPARE AND WRITE: what its CDB can say */
	ti_put_be16(page + 6, (uint16_t)(1U << facts->physical_exponent));
	ti_put_be32(page + 8, facts->max_transfer);
	if (facts->discards) {
		ti_put_be32(page + 20, facts->max_unmap);
		ti_put_be32(page + 24, TI_MAX_UNMAP_DESCRIPTORS);
		ti_put_be32(page + 28, facts->unmap_granularity);
		ti_put_be32(page + 32, UGAVALID | facts->unmap_alignment);
	}
	ti_put_be64(page + 36, facts->max_write_same);
	ti_put_be32(page + 44, facts->max_atomic); /* of any alignment and length */
	return 0x3c;
}

static size_t page_characteristics(const struct ti_scsi_facts *facts, const char *serial,
				   uint8_t *page)
{
	(void)serial;
	ti_put_be16(page + 4, facts->solid_state ? 1 : 0);
	return 0x3c;
}

/*
 * What a discarded block reads as is the data device's business (LBPRZ 0).  A block device does not
 * say whether it has a block for each address, so neither do we (provisioning type 0); a file has
 * not.
 */
static size_t page_provisioning(const struct ti_scsi_facts *facts, const char *serial,
				uint8_t *page)
{
	(void)serial;
	if (facts->discards) {
		page[5] = LBPU | LBPWS | LBPWS10;
		page[6] = facts->thin ? THIN : 0;
	}
	return 4;
}

/* The commands of cdb.c's table, and what they take (SPC-4: Third-party Copy VPD page). */
static size_t page_copies(const struct ti_scsi_facts *facts, const char *serial, uint8_t *page)
{
	static const uint8_t commands[] = { 0x00, 0x01, 0x00, 0x0c, 8,	  0x83, 1, 0x00,
					    0x84, 3,	0x00, 0x03, 0x04, 0,	0, 0 };
	static const uint8_t descriptors[] = { 0x00, 0x08, 0x00, 0x04, 2, 0x02, 0xe4, 0 };
	static const uint8_t ids[] = { 0x00, 0x0c, 0x00, 0x04, 0, 0, 0, 0 };
	static const uint8_t parameters[] = { 0x00, 0x04, 0x00, 0x1c };
	static const uint8_t general[] = { 0x80, 0x01, 0x00, 0x20 };
	uint8_t *p = page + PAGE_HEADER;

	(void)serial;
	memcpy(p, commands, sizeof(commands));
	p += sizeof(commands);
	memcpy(p, parameters, sizeof(parameters));
	ti_put_be16(p + 8, TI_COPY_CSCDS);
	ti_put_be16(p + 10, TI_COPY_SEGMENTS);
	ti_put_be32(p + 12, TI_COPY_LIST_BYTES);
	p += sizeof(parameters) + 0x1c;
	memcpy(p, descriptors, sizeof(descriptors));
	p += sizeof(descriptors);
	memcpy(p, ids, sizeof(ids)); /* none but the list's indices */
	p += sizeof(ids);
	memcpy(p, general, sizeof(general));
	ti_put_be32(p + 4, TI_COPIES);
	ti_put_be32(p + 8, TI_COPIES);
	ti_put_be32(p + 12, TI_COPY_SEGMENT_BYTES);
	p[16] = (uint8_t)__builtin_ctz(facts->block_size);
	p += sizeof(general) + 0x20;
	return (size_t)(p - page - PAGE_HEADER);
}

struct page {
	uint8_t code;
	bool serial; /* wants the serial number */
	/* Fills the zeroed page behind its header; returns the bytes there. */
	size_t (*fill)(const struct ti_scsi_facts *facts, const char *serial, uint8_t *page);
};

static size_t page_list(const struct ti_scsi_facts *facts, const char *serial, uint8_t *page);

static const struct page pages[] = {
	{ 0x00, false, page_list },
	{ 0x80, true, page_serial },
	{ 0x83, true, page_identification },
	{ 0x86, false, page_extended },
	{ 0x8f, false, page_copies },
	{ 0xb0, false, page_limits },
	{ 0xb1, false, page_characteristics },
	{ 0xb2, false, page_provisioning },
};

#define PAGES (sizeof(pages) / sizeof(pages[0]))

static size_t page_list(const struct ti_scsi_facts *facts, const char *serial, uint8_t *page)
{
	(void)facts;
	(void)serial;
	for (size_t i = 0; i < PAGES; i++)
		page[PAGE_HEADER + i] = pages[i].code;
	return PAGES;
}

static int answer_page(const struct page *page, struct ti_command *cmd, size_t allocation)
{
	const struct ti_scsi_facts *facts = cmd->facts;
	char serial[MAX_SERIAL + 1] = "";
	uint8_t data[MAX_PAGE] = { 0 };
	size_t len;

	if (page->serial) {
		char *text = facts->serial(facts->serial_ctx);

		if (!text)
			return TCMU_STS_BUSY; /* configfs could not be read: try again */
		strncpy(serial, text, MAX_SERIAL);
		free(text);
	}
	len = page->fill(facts, serial, data);
	data[1] = page->code;
	ti_put_be16(data + 2, (uint16_t)len);
	return ti_answer(cmd, data, PAGE_HEADER + len, allocation);
}

int ti_cmd_inquiry(const struct ti_row *row, struct ti_command *cmd)
{
	const uint8_t *cdb = cmd->cdb;
	size_t allocation = ti_be16(cdb + 3);

	(void)row;
	if (cdb[1] & COMMAND_DATA)
		return ti_bad_field(cmd, 1, 1);
	if (!(cdb[1] & EVPD)) {
		uint8_t data[96] = { 0 };

		if (cdb[2])
			return ti_bad_field(cmd, 2, -1);
		return ti_answer(cmd, data, standard(data), allocation);
	}
	for (size_t i = 0; i < PAGES; i++) {
		if (pages[i].code == cdb[2])
			return answer_page(&pages[i], cmd, allocation);
	}
	return ti_bad_field(cmd, 2, -1);
}
