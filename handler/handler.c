// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * What tcmu-runner calls: registration, and a callout each for what can happen to a LUN.
 *
 * handler_init(), check_config(), open() and reconfig() run on the runner's main thread and keep
 * all other LUNs waiting, so they do the minimum.  handle_cmd(), flush() and the first read() or
 * write() of a compound command run on the LUN's command thread, further ones on our completion
 * thread. close() runs on the command thread as a cancellation handler, or on the main thread.
 *
 * The command thread is ended by pthread_cancel().  A cancellation inside the engine would run
 * close() with the monitor held, so callouts switch it off while they run.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

#include "libtcmu.h"
#include "tcmu-runner.h"
#include "tcmur_device.h"

#include "abi.h"
#include "check_pair.h"
#include "config.h"
#include "disk.h"
#include "facts.h"
#include "say.h"
#include "service.h"

static struct ti_disk *disk_of(struct tcmu_device *dev)
{
	return tcmur_dev_get_private(dev);
}

/* It goes out on D-Bus, which wants UTF-8, and may repeat a part of what came in.  The runner frees
 * it. */
static char *answer(const char *text)
{
	g_autofree char *valid = g_utf8_make_valid(text, -1);

	return strdup(valid);
}

/* Anybody may have it called, over D-Bus; see check_pair.h. */
static bool check_config(const char *cfgstring, char **reason)
{
	struct ti_error error = { 0 };
	struct ti_config config;
	bool secret = false;
	int err = ti_config_parse(cfgstring, &config, &error);

	if (!err)
		err = ti_check_pair(&config, &secret, &error);
	if (err) {
		/* The runner cuts what it logs itself. */
		ti_say(NULL, TI_LOG_WARN, "refused: %s", error.text);
		*reason = answer(secret ? "the pair cannot be opened; what lies on the way to it "
					  "is not for everybody to know, so the log alone says why"
					: error.text);
	}
	return !err;
}

/* @reopen is false also after a restart of the runner: each open is one like any other. */
static int open_disk(struct tcmu_device *dev, bool reopen)
{
	struct ti_error error = { 0 };
	struct ti_config config;
	struct ti_disk *disk = NULL;
	int err = ti_config_parse(tcmu_dev_get_cfgstring(dev), &config, &error);

	(void)reopen;
	if (!err)
		err = ti_disk_open(dev, &config, 0, &disk, &error);
	if (err) {
		ti_say(dev, TI_LOG_ERR, "open failed: %s", error.text);
		return err;
	}
	ti_facts_tell(dev, &disk->facts);
	tcmur_dev_set_private(dev, disk);
	ti_service_add(disk);
	return 0;
}

static void close_disk(struct tcmu_device *dev)
{
	struct ti_disk *disk = disk_of(dev);

	tcmur_dev_set_private(dev, NULL);
	ti_service_remove(disk);
	ti_disk_close(disk);
}

static int reconfig_string(struct ti_disk *disk, const char *cfgstring)
{
	struct ti_error error = { 0 };
	struct ti_config config;

	/*
	 * A restored configuration sets the same string again, twice.  The files that it leads to
	 * may have changed since; that counts when the LUN is opened next.
	 */
	if (!strcmp(cfgstring, disk->config.text) ||
	    (!ti_config_parse(cfgstring, &config, &error) &&
	     ti_config_equal(&config, &disk->config)))
		return 0;
	ti_log_ring_say(
		disk->lines, TI_LOG_ERR,
		"refused: the config string cannot be changed while the LUN exists; delete the "
		"backstore and create it anew");
	return -EOPNOTSUPP;
}

static int reconfig(struct tcmu_device *dev, struct tcmulib_cfg_info *cfg)
{
	struct ti_disk *disk = disk_of(dev);
	struct ti_error error = { 0 };
	int err;

	switch (cfg->type) {
	case TCMULIB_CFG_DEV_CFGSTR:
		return reconfig_string(disk, cfg->data.dev_cfgstring);
	case TCMULIB_CFG_DEV_SIZE:
		err = ti_disk_resize(disk, cfg->data.dev_size, &error);
		if (err)
			ti_log_ring_say(disk->lines, TI_LOG_ERR, "resize refused: %s", error.text);
		return err;
	case TCMULIB_CFG_WRITE_CACHE:
		/*
		 * The kernel's attribute is 0 for every user backstore and is written back at each
		 * restore, so it says nothing about what anybody wants.  The cache stays on, as
		 * MODE SENSE says.
		 */
		return 0;
	}
	return -EOPNOTSUPP;
}

static int handle_cmd(struct tcmu_device *dev, struct tcmur_cmd *cmd)
{
	int old, status;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	status = ti_disk_command(disk_of(dev), cmd);
	pthread_setcancelstate(old, NULL);
	return status;
}

static int flush(struct tcmu_device *dev, struct tcmur_cmd *cmd)
{
	int old, status;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	status = ti_disk_flush(disk_of(dev), cmd);
	pthread_setcancelstate(old, NULL);
	return status;
}

static int callout(struct tcmu_device *dev, struct tcmur_cmd *cmd, enum ti_req_op op,
		   struct iovec *iov, size_t iov_count, size_t len, off_t offset)
{
	int old, status;

	if (offset < 0)
		return TCMU_STS_RANGE;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	status = ti_disk_callout(disk_of(dev), cmd, op, iov, iov_count, len, (uint64_t)offset);
	pthread_setcancelstate(old, NULL);
	return status;
}

static int read_blocks(struct tcmu_device *dev, struct tcmur_cmd *cmd, struct iovec *iov,
		       size_t iov_count, size_t len, off_t offset)
{
	return callout(dev, cmd, TI_REQ_READ, iov, iov_count, len, offset);
}

static int write_blocks(struct tcmu_device *dev, struct tcmur_cmd *cmd, struct iovec *iov,
			size_t iov_count, size_t len, off_t offset)
{
	return callout(dev, cmd, TI_REQ_WRITE, iov, iov_count, len, offset);
}

/* Called by tcmu-runner when it has loaded this file. */
int handler_init(void);
__attribute__((visibility("default"))) int handler_init(void)
{
	/* The runner keeps the pointer for ever and writes to the struct. */
	static struct tcmur_handler handler = {
		.name = "Data with integrity tags on a second device",
		.subtype = "integrity",
		.check_config = check_config,
		.open = open_disk,
		.close = close_disk,
		.reconfig = reconfig,
		.nr_threads = 0, /* only so can commands be completed later */
		.handle_cmd = handle_cmd,
		.read = read_blocks,
		.write = write_blocks,
		.flush = flush,
		/* No ->unmap: the core loses its errors, and divides by zero on the way to it. */
	};
	struct ti_error error = { 0 };
	int err;

	if (ti_abi_check(&error)) {
		ti_say(NULL, TI_LOG_ERR, "%s", error.text);
		return -1;
	}
	handler.cfg_desc = ti_config_describe();
	/* A copy of this file in the same directory is refused here, and must not take the bus
	 * name. */
	err = tcmur_register_handler(&handler);
	if (!err)
		ti_service_start();
	return err;
}
