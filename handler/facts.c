// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
#include "facts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "libtcmu_common.h"

#include "pair.h"

/* A WRITE SAME is to end long before an initiator's patience: 30 s, on a slow disk. */
#define MAX_WRITE_SAME_BYTES (32U << 20)
/* Likewise an UNMAP: so much of tags it writes at most, and so much the data device is to forget.
 */
#define MAX_UNMAP_TAG_BYTES (8U << 20)
#define MAX_UNMAP_BLOCKS    (1U << 20)
/* The core multiplies the transfer length with the block size in 32 bits, and divides by that. */
#define MAX_TRANSFER_BYTES (1U << 30)

static bool is_power_of_2(uint32_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static int check_block_size(uint32_t block_size, const struct ti_queue *queue,
			    const struct ti_lun *lun, struct ti_error *error)
{
	uint32_t align = ti_lun_io_align(lun);

	if (!is_power_of_2(block_size) || block_size < TI_SECTOR_BYTES ||
	    block_size > TI_MAX_BLOCK_SIZE)
		return ti_error_set(error, -EINVAL,
				    "the LUN is to have blocks of %" PRIu32
				    " bytes and can have 512, 1024, 2048 or 4096: create it with "
				    "another hw_block_size",
				    block_size);
	if (block_size % align != 0)
		return ti_error_set(error, -EINVAL,
				    "the LUN is to have blocks of %" PRIu32
				    " bytes, but %s with the integrity blocks on %s takes only "
				    "multiples of %" PRIu32
				    ": create it with hw_block_size=%" PRIu32,
				    block_size, queue->dev[TI_DATA].name, queue->dev[TI_META].name,
				    align, align);
	return 0;
}

int ti_facts_resize(struct ti_scsi_facts *facts, uint64_t provided_sectors, uint64_t bytes,
		    struct ti_error *error)
{
	if (bytes < facts->block_size || bytes % facts->block_size != 0)
		return ti_error_set(error, -EINVAL,
				    "a size of %" PRIu64
				    " bytes is not a whole number of the LUN's blocks of %" PRIu32
				    " bytes",
				    bytes, facts->block_size);
	if (bytes / TI_SECTOR_BYTES > provided_sectors)
		return ti_error_set(error, -EINVAL,
				    "a size of %" PRIu64 " bytes is more than the %" PRIu64
				    " bytes that the pair was formatted for: choose at most these",
				    bytes, provided_sectors * TI_SECTOR_BYTES);
	facts->blocks = bytes / facts->block_size;
	return 0;
}

/* Physical blocks of the data device, as far as it says anything. */
static void look_at_physical(int fd, struct ti_scsi_facts *facts)
{
	unsigned size = 0;
	int offset = 0;

	if (ioctl(fd, BLKPBSZGET, &size) != 0 || !is_power_of_2(size) || size <= facts->block_size)
		return;
	facts->physical_exponent = (uint8_t)__builtin_ctz(size / facts->block_size);
	if (ioctl(fd, BLKALIGNOFF, &offset) == 0 && offset > 0 &&
	    (uint32_t)offset % facts->block_size == 0)
		facts->lowest_aligned = (uint16_t)((uint32_t)offset / facts->block_size);
}

/* What the kernel says of a block device: of itself, or a partition's of its disk.  @otherwise if
 * it says nothing. */
static uint64_t kernel_says(const struct stat *st, const char *what, uint64_t otherwise)
{
	static const char *const where[] = { "", "../" };

	for (size_t i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
		uint64_t value = otherwise;
		char path[96];
		FILE *f;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s%s", major(st->st_rdev),
			 minor(st->st_rdev), where[i], what);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fscanf(f, "%" SCNu64, &value) != 1)
			value = otherwise;
		fclose(f);
		return value;
	}
	return otherwise;
}

/*
 * Tags are a block's own, so any block can be discarded; the data device forgets larger pieces. The
 * limit keeps a command far below an initiator's patience.
 */
static void look_at_discards(const struct ti_lun *lun, const struct stat *st,
			     struct ti_scsi_facts *facts)
{
	const struct ti_geometry *geo = ti_lun_geometry(lun);
	uint64_t most = MAX_UNMAP_TAG_BYTES / geo->tag_size * geo->block_size;
	uint64_t piece = (uint64_t)st->st_blksize, first = 0;

	facts->discards = ti_lun_discards(lun);
	facts->thin = S_ISREG(st->st_mode);
	if (S_ISBLK(st->st_mode)) {
		piece = kernel_says(st, "queue/discard_granularity", 0);
		first = kernel_says(st, "discard_alignment", 0);
	}
	piece /= facts->block_size;
	facts->unmap_granularity = piece > 0 && piece <= UINT32_MAX ? (uint32_t)piece : 1;
	facts->unmap_alignment = (uint32_t)(first / facts->block_size % facts->unmap_granularity);
	most /= facts->block_size;
	facts->max_unmap = most < MAX_UNMAP_BLOCKS ? (uint32_t)most : MAX_UNMAP_BLOCKS;
}

static char *serial_of(void *dev)
{
	return tcmu_cfgfs_dev_get_wwn(dev);
}

int ti_facts_fill(struct tcmu_device *dev, const struct ti_queue *queue, const struct ti_lun *lun,
		  struct ti_scsi_facts *facts, struct ti_error *error)
{
	const struct ti_geometry *geo = ti_lun_geometry(lun);
	uint32_t transfer = tcmu_dev_get_max_xfer_len(dev);
	int fd = ti_pair_fd(queue, TI_DATA);
	struct stat st;
	int err;

	*facts = (struct ti_scsi_facts){
		.block_size = tcmu_dev_get_block_size(dev),
		.integrity_block = geo->block_size,
		.write_protected = ti_lun_read_only(lun),
		.serial = serial_of,
		.serial_ctx = dev,
	};
	err = check_block_size(facts->block_size, queue, lun, error);
	if (err)
		return err;
	facts->max_write_same = MAX_WRITE_SAME_BYTES / facts->block_size;
	facts->max_verify = MAX_WRITE_SAME_BYTES / facts->block_size;
	facts->max_atomic =
		(uint32_t)(ti_lun_atomic_sectors(lun) / (facts->block_size / TI_SECTOR_BYTES));
	if (facts->max_atomic > UINT16_MAX) /* what a CDB can say */
		facts->max_atomic = UINT16_MAX;
	facts->max_transfer = MAX_TRANSFER_BYTES / facts->block_size;
	if (transfer && transfer < facts->max_transfer)
		facts->max_transfer = transfer;
	if (fd < 0 || fstat(fd, &st) != 0)
		memset(&st, 0, sizeof(st));
	if (S_ISBLK(st.st_mode)) {
		look_at_physical(fd, facts);
		facts->solid_state = kernel_says(&st, "queue/rotational", 1) == 0;
	}
	look_at_discards(lun, &st, facts);
	return ti_facts_resize(facts, geo->provided_sectors,
			       tcmu_lba_to_byte(dev, tcmu_dev_get_num_lbas(dev)), error);
}

void ti_facts_tell(struct tcmu_device *dev, const struct ti_scsi_facts *facts)
{
	tcmu_dev_set_write_cache_enabled(dev, true);
	tcmu_dev_set_solid_state_media(dev, facts->solid_state);
	tcmu_dev_set_max_xfer_len(dev, facts->max_transfer);
	tcmu_dev_set_opt_xcopy_rw_len(dev, facts->max_transfer);
	/* Left at 0 the core would divide by it, for WRITE SAME with UNMAP=1. */
	tcmu_dev_set_unmap_gran_align(dev, 1);
	tcmu_dev_set_opt_unmap_gran(dev, 1, false);
}
