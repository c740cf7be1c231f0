// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
#include "check_pair.h"

#include <errno.h>
#include <string.h>

#include <sys/fsuid.h>
#include <sys/stat.h>

#include "clock.h"
#include "lun.h"
#include "pair.h"

/* Small: nothing is going to be served. */
#define CACHE_BYTES (256U << 10)
#define QUEUE_DEPTH 1U
#define PART_BYTES  4096U

/* Does a string lead a profile's keys to another metadata device than the profile's? */
static bool is_another_meta(const struct ti_config *config)
{
	return (config->hash_key.kind != TI_KEY_NONE ||
		config->journal_mac_key.kind != TI_KEY_NONE ||
		config->journal_crypt_key.kind != TI_KEY_NONE) &&
	       strstr(config->text, ";meta=");
}

/* The user that file systems know as nobody. */
#define NOBODY 65534

bool ti_check_may_be_told(const struct ti_config *config)
{
	int user = setfsuid(NOBODY), group = setfsgid(NOBODY);
	struct stat st;
	bool may = true;

	if (stat(config->data_path, &st) != 0 && errno == EACCES)
		may = false;
	if (stat(config->meta_path, &st) != 0 && errno == EACCES)
		may = false;
	setfsgid((gid_t)group);
	setfsuid((uid_t)user);
	return may;
}

int ti_check_pair(const struct ti_config *config, struct ti_error *error)
{
	static const struct ti_log nobody;
	struct ti_pair_options pair;
	struct ti_lun_options options;
	struct ti_config_keys keys;
	struct ti_queue *queue;
	struct ti_lun *lun;
	int err;

	ti_config_options(config, &pair, &options);
	pair.depth = 1;
	pair.threads = 1;
	pair.peek = true;
	err = ti_pair_open(&pair, &nobody, &queue, error);
	if (err)
		return err;
	if (is_another_meta(config)) {
		ti_pair_close(queue);
		return 0;
	}
	options.cache_bytes = CACHE_BYTES;
	options.queue_depth = QUEUE_DEPTH;
	options.max_part_bytes = PART_BYTES;
	options.bounce_buffers = 1;
	options.crew.helpers = 0;
	/* Nothing is replayed, nor is there a need for the journal's memory. */
	if (options.mode == TI_MODE_JOURNAL)
		options.mode = TI_MODE_DIRECT;
	options.defer_start = true;
	err = ti_config_load_keys(config, &keys, &options, error);
	if (!err)
		err = ti_lun_open(&options, queue, &ti_clock_monotonic, &nobody, &lun, error);
	ti_config_drop_keys(&keys);
	if (!err)
		ti_lun_abandon(lun);
	ti_pair_close(queue);
	return err;
}
