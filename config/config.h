/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The config string: what stands behind "cfgstring=" when a LUN is made.
 *
 *     integrity/<data device>;meta=<metadata device>[;key=value ...]
 *
 * It travels through targetcli, configfs and netlink before it arrives here, and each of them has
 * rules of its own: configfs keeps 255 bytes and drops the rest without a word, rtslib refuses ':',
 * the kernel splits its control line at ',' and newline.  So the parser is strict: whatever it does
 * not know, or what may have been cut off on the way, is refused with one sentence.
 */
#ifndef TI_CONFIG_H
#define TI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "hash.h"
#include "lun.h"
#include "pair.h"

/** The subtype; tcmu-runner compares only prefixes of it, the parser all of it. */
#define TI_CONFIG_PREFIX "integrity/"

/**
 * Longest config string, prefix included.  The kernel keeps 255 bytes: one that arrives with
 * exactly 255 may have lost its end, so the last byte stays free.
 */
#define TI_CONFIG_MAX 254

/** A parsed config string.  Numbers are 0 where the string says nothing: the engine's default. */
struct ti_config {
	char data_path[TI_CONFIG_MAX + 1];
	char meta_path[TI_CONFIG_MAX + 1];
	enum ti_mode mode;
	enum ti_backend backend;
	const char *hash;	 /* kernel name, static */
	uint64_t start_sectors;	 /* where the superblock lies on the metadata device */
	uint64_t buffer_sectors; /* as dm-integrity's option of that name */
	uint64_t cache_mb;
	uint64_t queue_depth;
	uint64_t commit_time_ms;
	uint64_t journal_watermark; /* percent */
	uint64_t runner_time_out_s; /* tcmu-runner's own key; accepted and not used */
};

/**
 * Parse a config string.  A function of @cfgstring alone: opens nothing.
 * Returns 0; -EINVAL for what can never be right, -ENAMETOOLONG if it is too long, -EOPNOTSUPP for
 * what is planned and does not work yet; @error has the sentence.  Any thread.
 */
int ti_config_parse(const char *cfgstring, struct ti_config *out, struct ti_error *error);

/** Do both ask for the same LUN?  What only tcmu-runner reads does not count. */
bool ti_config_equal(const struct ti_config *a, const struct ti_config *b);

/** What the engine and the devices are to be opened with.  Paths point into @config. */
void ti_config_options(const struct ti_config *config, struct ti_pair_options *pair,
		       struct ti_lun_options *lun);

/** The text that targetcli shows for "help create".  Static. */
const char *ti_config_describe(void);

/** Name of the key at @index of the table, NULL past its end: for texts and tests. */
const char *ti_config_key_name(size_t index);

#endif
