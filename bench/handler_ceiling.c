/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The ceiling: what tcmu-runner can do at most for one LUN over one device, with no integrity.
 *
 * Measured against, never installed.  The config string is the device's path.  Every READ, WRITE
 * and SYNCHRONIZE CACHE is one system call on the runner's command thread (nr_threads = 0),
 * straight from and to the ring's memory.  Three subtypes tell the kernel in different ways:
 *  - `inline`: handle_cmd() returns the status.  The runner tells the kernel once when the ring is
 *    empty, then sleeps.  Best when many commands are waiting.
 *  - `callouts`: ->read(), ->write() and ->flush() complete each with tcmur_cmd_complete(), which
 * tells the kernel at once.  The next command is often in the ring by the time the runner looks: it
 * need not sleep.  Best when one command follows the other.
 *  - `ceiling`: `callouts` for the last command in the ring, `inline` for those before it.  The
 * best of both, so this is what others are compared with.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <libtcmu.h>
#include <target_core_user_local.h>
#include <tcmu-runner.h>
#include <tcmur_device.h>

enum opcode {
	OP_READ_10 = 0x28,
	OP_WRITE_10 = 0x2a,
	OP_SYNC_10 = 0x35,
	OP_READ_16 = 0x88,
	OP_WRITE_16 = 0x8a,
	OP_SYNC_16 = 0x91,
};

struct ceiling {
	int fd;
	uint64_t blocks;
	uint32_t block_size;
	const struct tcmu_mailbox *mailbox;
	uint32_t tail; /* where the runner's next command is, in bytes from the ring's start */
	bool lost;     /* it is not: never look again */
};

int handler_init(void);

/* The ring is empty when a device is opened, and the runner starts where the kernel does. */
static void find_ring(struct tcmu_device *dev, struct ceiling *c)
{
	void *base;
	size_t size;
	off_t offset;

	free(tcmu_dev_get_memory_info(dev, &base, &size, &offset));
	c->mailbox = base;
	c->tail = c->mailbox->cmd_tail;
}

/* Called a second time at once when it fails: leaves nothing behind. */
static int ceiling_open(struct tcmu_device *dev, bool reopen)
{
	const char *path = strchr(tcmu_dev_get_cfgstring(dev), '/');
	struct ceiling *c;

	(void)reopen;
	if (path == NULL)
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	c->blocks = tcmu_dev_get_num_lbas(dev);
	c->block_size = tcmu_dev_get_block_size(dev);
	c->fd = open(path + 1, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (c->fd < 0) {
		int err = -errno;

		tcmu_dev_err(dev, "cannot open %s with O_DIRECT: %s\n", path + 1, strerror(-err));
		free(c);
		return err;
	}
	find_ring(dev, c);
	tcmu_dev_set_write_cache_enabled(dev, true);
	tcmur_dev_set_private(dev, c);
	return 0;
}

static void ceiling_close(struct tcmu_device *dev)
{
	struct ceiling *c = tcmur_dev_get_private(dev);

	close(c->fd);
	free(c);
}

static int ceiling_reconfig(struct tcmu_device *dev, struct tcmulib_cfg_info *info)
{
	(void)dev;
	return info->type == TCMULIB_CFG_DEV_SIZE ? -EOPNOTSUPP : 0;
}

static size_t length_of(const struct iovec *iov, size_t count)
{
	size_t bytes = 0;

	for (size_t i = 0; i < count; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

/* A short transfer is an error here: block devices have none within their size. */
static int read_blocks(const struct ceiling *c, const struct iovec *iov, size_t count, off_t offset)
{
	ssize_t n = preadv(c->fd, iov, (int)count, offset);

	return n >= 0 && (size_t)n == length_of(iov, count) ? TCMU_STS_OK : TCMU_STS_RD_ERR;
}

static int write_blocks(const struct ceiling *c, const struct iovec *iov, size_t count,
			off_t offset)
{
	ssize_t n = pwritev(c->fd, iov, (int)count, offset);

	return n >= 0 && (size_t)n == length_of(iov, count) ? TCMU_STS_OK : TCMU_STS_WR_ERR;
}

static int flush_all(const struct ceiling *c)
{
	return fdatasync(c->fd) == 0 ? TCMU_STS_OK : TCMU_STS_WR_ERR;
}

/*
 * Is there a command behind this one in the ring?  The runner has just taken this one out; its
 * entry is intact until it is completed.  When in doubt: yes, which only delays what the kernel is
 * told.
 */
static bool more_in_ring(struct ceiling *c, uint16_t cmd_id)
{
	const struct tcmu_mailbox *mailbox = c->mailbox;
	/* Pairs with the kernel's barrier between an entry and cmd_head. */
	uint32_t head = __atomic_load_n(&mailbox->cmd_head, __ATOMIC_ACQUIRE);
	uint32_t size = mailbox->cmdr_size, walked = 0;

	while (!c->lost && c->tail != head && walked < size) {
		const struct tcmu_cmd_entry *entry =
			(const void *)((const char *)mailbox + mailbox->cmdr_off + c->tail);
		uint32_t len = tcmu_hdr_get_len(entry->hdr.len_op);

		if (len == 0 || len > size - c->tail)
			break;
		walked += len;
		c->tail = (c->tail + len) % size;
		if (tcmu_hdr_get_op(entry->hdr.len_op) == TCMU_OP_CMD &&
		    entry->hdr.cmd_id == cmd_id)
			return c->tail != head;
	}
	c->lost = true;
	return true;
}

/* --- inline --- */

static int handle_inline(struct tcmu_device *dev, struct tcmur_cmd *cmd)
{
	const struct ceiling *c = tcmur_dev_get_private(dev);
	struct tcmulib_cmd *lib_cmd = cmd->lib_cmd;
	uint8_t *cdb = lib_cmd->cdb;
	uint64_t lba, count;
	off_t offset;

	switch (cdb[0]) {
	case OP_SYNC_10:
	case OP_SYNC_16:
		return flush_all(c);
	case OP_READ_10:
	case OP_READ_16:
	case OP_WRITE_10:
	case OP_WRITE_16:
		break;
	default:
		return TCMU_STS_NOT_HANDLED;
	}
	lba = tcmu_cdb_get_lba(cdb);
	count = tcmu_cdb_get_xfer_length(cdb);
	if (lba > c->blocks || count > c->blocks - lba)
		return TCMU_STS_RANGE;
	if (length_of(lib_cmd->iovec, lib_cmd->iov_cnt) != count * c->block_size)
		return TCMU_STS_HW_ERR;
	offset = (off_t)(lba * c->block_size);
	if (cdb[0] == OP_READ_10 || cdb[0] == OP_READ_16)
		return read_blocks(c, lib_cmd->iovec, lib_cmd->iov_cnt, offset);
	return write_blocks(c, lib_cmd->iovec, lib_cmd->iov_cnt, offset);
}

/* --- callouts --- */

static int callout_read(struct tcmu_device *dev, struct tcmur_cmd *cmd, struct iovec *iov,
			size_t count, size_t len, off_t offset)
{
	(void)len;
	tcmur_cmd_complete(dev, cmd, read_blocks(tcmur_dev_get_private(dev), iov, count, offset));
	return TCMU_STS_OK;
}

static int callout_write(struct tcmu_device *dev, struct tcmur_cmd *cmd, struct iovec *iov,
			 size_t count, size_t len, off_t offset)
{
	(void)len;
	tcmur_cmd_complete(dev, cmd, write_blocks(tcmur_dev_get_private(dev), iov, count, offset));
	return TCMU_STS_OK;
}

static int callout_flush(struct tcmu_device *dev, struct tcmur_cmd *cmd)
{
	tcmur_cmd_complete(dev, cmd, flush_all(tcmur_dev_get_private(dev)));
	return TCMU_STS_OK;
}

/* --- ceiling --- */

static int handle_last_apart(struct tcmu_device *dev, struct tcmur_cmd *cmd)
{
	bool more = more_in_ring(tcmur_dev_get_private(dev), cmd->lib_cmd->cmd_id);

	/* What is not handled here goes to the callouts. */
	return more ? handle_inline(dev, cmd) : TCMU_STS_NOT_HANDLED;
}

/*
 * The runner keeps pointers to these for ever.  It answers INQUIRY and the like itself only for
 * handlers that have callouts for I/O, so `inline` has some that are never called.
 */
static struct tcmur_handler handlers[] = {
	{ .subtype = "ceiling", .handle_cmd = handle_last_apart },
	{ .subtype = "inline", .handle_cmd = handle_inline },
	{ .subtype = "callouts" },
};

/* The runner's way in, by this name. */
__attribute__((visibility("default"))) int handler_init(void)
{
	int err = 0;

	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]) && err == 0; i++) {
		handlers[i].name = "The benchmark's ceiling";
		handlers[i].cfg_desc = "path of a block device";
		handlers[i].open = ceiling_open;
		handlers[i].close = ceiling_close;
		handlers[i].reconfig = ceiling_reconfig;
		handlers[i].read = callout_read;
		handlers[i].write = callout_write;
		handlers[i].flush = callout_flush;
		handlers[i].nr_threads = 0;
		err = tcmur_register_handler(&handlers[i]);
	}
	return err;
}
