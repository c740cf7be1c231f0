/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Planning a pair of any shape on devices of any size: what is planned must load, also after having
 * been written and read.
 */
#include "check_geometry.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .size = size };
	struct ti_pair_sizes sizes = { .data_name = "data", .meta_name = "meta" };
	struct ti_format_shape shape = { 0 };
	struct ti_superblock sb, again;
	struct ti_geometry geo, loaded;
	struct ti_error e = { 0 };
	uint8_t buf[TI_SB_BYTES], kind;

	kind = fuzz_take8(&in);
	/* Mostly sizes that exist, so that the rest is reached. */
	shape.block_size = kind & 1 ? fuzz_take32(&in) : 512U << (kind >> 1 & 3);
	shape.tag_size = fuzz_take16(&in);
	shape.journal_sectors = kind & 8 ? UINT64_MAX : fuzz_take64(&in);
	shape.buffer_sectors = fuzz_take32(&in);
	shape.sectors_per_bit = fuzz_take32(&in);
	shape.start_sector = fuzz_take64(&in);
	shape.salted = kind & 16;
	sizes.data_sectors = fuzz_take64(&in);
	sizes.meta_sectors = fuzz_take64(&in);

	if (ti_geometry_plan(&shape, &sizes, &sb, &geo, &e)) {
		FUZZ_MUST(e.err && e.text[0]);
		return 0;
	}
	check_geometry(&sb, &sizes, &geo);
	FUZZ_MUST(sizes.data_sectors - sb.provided_sectors < geo.sectors_per_block);
	ti_superblock_write(&sb, buf);
	FUZZ_MUST(!ti_superblock_parse(buf, "meta", &again, NULL));
	FUZZ_MUST(!ti_superblock_check_supported(&again, "meta", NULL));
	FUZZ_MUST(!ti_geometry_load(&again, &sizes, shape.start_sector, shape.buffer_sectors,
				    &loaded, NULL));
	FUZZ_MUST(loaded.tag_offset == geo.tag_offset && loaded.tag_bytes == geo.tag_bytes);
	FUZZ_MUST(loaded.log2_buffer_sectors == geo.log2_buffer_sectors);
	return 0;
}
