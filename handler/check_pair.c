// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
#include "check_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/fsuid.h>
#include <sys/prctl.h>

#include <glib.h>

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

/* A name for what a path led to, whatever it leads to now. */
struct pin {
	int fd; /* O_PATH */
	char name[40];
};

/* Sets *@path to another name for what it leads to, below @proc. */
static void pin_path(struct pin *pin, const char *proc, const char **path, bool *secret)
{
	int err;

	pin->fd = open(*path, O_PATH | O_CLOEXEC);
	err = errno;
	if (pin->fd < 0 && err != ENOENT && err != ENOTDIR) {
		*secret = true;
		return;
	}
	/* Of what is not there, a name that nothing ever has. */
	snprintf(pin->name, sizeof(pin->name), "/proc/%s/fd/%d", proc, pin->fd);
	*path = pin->name;
}

static void pin_pair(struct pin pin[TI_DEVICES], struct ti_pair_options *pair, bool *secret)
{
	int dumpable = prctl(PR_GET_DUMPABLE);
	int user = setfsuid(NOBODY), group = setfsgid(NOBODY);

	*secret = false;
	/* Neither name is the beginning of the other. */
	pin_path(&pin[TI_DATA], "self", &pair->data_path, secret);
	pin_path(&pin[TI_META], "thread-self", &pair->meta_path, secret);
	setfsgid((gid_t)group);
	setfsuid((uid_t)user);
	/* The kernel dumps no core of a process whose rights have changed. */
	if (dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1);
}

/* Sentences have the names that were given. */
static void unpin(struct pin *pin, const char *path, struct ti_error *error)
{
	g_autoptr(GString) text = g_string_new(error->text);

	if (pin->fd >= 0)
		close(pin->fd);
	if (!*pin->name)
		return;
	g_string_replace(text, pin->name, path, 0);
	g_strlcpy(error->text, text->str, sizeof(error->text));
}

static int check(const struct ti_config *config, const struct ti_pair_options *pair,
		 struct ti_lun_options *options, struct ti_error *error)
{
	static const struct ti_log nobody;
	struct ti_config_keys keys;
	struct ti_queue *queue;
	struct ti_lun *lun;
	int err = ti_pair_open(pair, &nobody, &queue, error);

	if (err)
		return err;
	if (is_another_meta(config)) {
		ti_pair_close(queue);
		return 0;
	}
	options->cache_bytes = CACHE_BYTES;
	options->queue_depth = QUEUE_DEPTH;
	options->max_part_bytes = PART_BYTES;
	options->bounce_buffers = 1;
	options->crew.helpers = 0;
	/* Nothing is replayed, nor is there a need for the journal's memory. */
	if (options->mode == TI_MODE_JOURNAL)
		options->mode = TI_MODE_DIRECT;
	options->defer_start = true;
	err = ti_config_load_keys(config, &keys, options, error);
	if (!err)
		err = ti_lun_open(options, queue, &ti_clock_monotonic, &nobody, &lun, error);
	ti_config_drop_keys(&keys);
	if (!err)
		ti_lun_abandon(lun);
	ti_pair_close(queue);
	return err;
}

int ti_check_pair(const struct ti_config *config, bool *secret, struct ti_error *error)
{
	struct pin pin[TI_DEVICES] = { { .fd = -1 }, { .fd = -1 } };
	struct ti_pair_options pair;
	struct ti_lun_options options;
	int err;

	ti_config_options(config, &pair, &options);
	pair.depth = 1;
	pair.threads = 1;
	pair.peek = true;
	pin_pair(pin, &pair, secret);
	err = check(config, &pair, &options, error);
	unpin(&pin[TI_DATA], config->data_path, error);
	unpin(&pin[TI_META], config->meta_path, error);
	return err;
}
