/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A superblock from a stranger, on devices of any size: 64 bytes of superblock, then the numbers of
 * sectors of both devices, the start sector and the buffer option.
 */
#include "check_geometry.h"
#include "fuzz_input.h"

#include <errno.h>

static void round_trip(const struct ti_superblock *sb)
{
	uint8_t buf[TI_SB_BYTES];
	struct ti_superblock again;

	ti_superblock_write(sb, buf);
	FUZZ_MUST(ti_superblock_probe(buf) == TI_SB_PRESENT);
	if (ti_superblock_version(sb->flags) > 5)
		return;
	FUZZ_MUST(!ti_superblock_parse(buf, "meta", &again, NULL));
	FUZZ_MUST(again.version == ti_superblock_version(sb->flags));
	FUZZ_MUST(again.tag_size == sb->tag_size);
	FUZZ_MUST(again.journal_sections == sb->journal_sections);
	FUZZ_MUST(again.provided_sectors == sb->provided_sectors);
	FUZZ_MUST(again.flags == sb->flags);
	FUZZ_MUST(again.log2_sectors_per_block == sb->log2_sectors_per_block);
	FUZZ_MUST(again.log2_blocks_per_bitmap_bit == sb->log2_blocks_per_bitmap_bit);
	FUZZ_MUST(again.recalc_sector == sb->recalc_sector);
	FUZZ_MUST(!memcmp(again.salt, sb->salt, sizeof(sb->salt)));
}

static void must_explain(int err, const struct ti_error *e)
{
	FUZZ_MUST(err == e->err);
	FUZZ_MUST(err == 0 || err == -EINVAL || err == -ENODATA || err == -EOPNOTSUPP);
	FUZZ_MUST(!err == !e->text[0]);
	FUZZ_MUST(memchr(e->text, '\0', sizeof(e->text)));
	FUZZ_MUST(strlen(e->text) < sizeof(e->text) - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .size = size };
	struct ti_pair_sizes sizes = { .data_name = "data", .meta_name = "meta" };
	struct ti_error parsing = { 0 }, support = { 0 }, loading = { 0 };
	uint8_t buf[TI_SB_BYTES] = { 0 };
	struct ti_superblock sb;
	struct ti_geometry geo;
	uint64_t start;
	uint32_t buffer;
	int err;

	fuzz_take(&in, buf, sizeof(struct ti_superblock_disk));
	sizes.data_sectors = fuzz_take64(&in);
	sizes.meta_sectors = fuzz_take64(&in);
	start = fuzz_take64(&in);
	buffer = fuzz_take32(&in);

	err = ti_superblock_parse(buf, "meta", &sb, &parsing);
	must_explain(err, &parsing);
	if (err)
		return 0;
	must_explain(ti_superblock_check_supported(&sb, "meta", &support), &support);
	round_trip(&sb);
	err = ti_geometry_load(&sb, &sizes, start, buffer, &geo, &loading);
	must_explain(err, &loading);
	if (!err) {
		check_geometry(&sb, &sizes, &geo);
		FUZZ_MUST(geo.start_sector == start);
	}
	return 0;
}
