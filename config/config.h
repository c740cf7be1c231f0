/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The config string: what stands behind "cfgstring=" when a LUN is made.
 *
 *     integrity/<data device>;meta=<metadata device>[;key=value ...]
 *     integrity/profile=<name>[;key=value ...]
 *
 * It travels through targetcli, configfs and netlink before it arrives here, and each of them has
 * rules of its own: configfs keeps 255 bytes and drops the rest without a word, rtslib refuses ':',
 * the kernel splits its control line at ',' and newline.  So the parser is strict: whatever it does
 * not know, or what may have been cut off on the way, is refused with one sentence.
 *
 * Three layers say what a LUN is, and each counts more than those before it:
 *
 *     built in         config_keys.c
 *     defaults file    /etc/tcmu/integrity.conf, for every LUN
 *     profile          /etc/tcmu/integrity.d/NAME.conf, for those that name it
 *     config string
 *
 * The files have the same keys (file.c).  A profile is the only place where those of a LUN's keys
 * are named.  What must fit what is on the devices, such as hash, cannot stand in the defaults
 * file: a line there would change the meaning of every pair that exists.
 */
#ifndef TI_CONFIG_H
#define TI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "hash.h"
#include "key.h"
#include "lun.h"
#include "pair.h"

/** The subtype; tcmu-runner compares only prefixes of it, the parser all of it. */
#define TI_CONFIG_PREFIX "integrity/"

/**
 * Longest config string, prefix included.  The kernel keeps 255 bytes: one that arrives with
 * exactly 255 may have lost its end, so the last byte stays free.
 */
#define TI_CONFIG_MAX 254

/** Where profiles lie: NAME.conf. */
#define TI_PROFILE_DIR "/etc/tcmu/integrity.d"

/** What counts for every LUN. */
#define TI_DEFAULTS_FILE "/etc/tcmu/integrity.conf"

/** What was parsed.  Numbers are 0 where nobody says anything: the engine's default. */
/** Of a number that may also be left to us. */
#define TI_CONFIG_AUTO (-1)

struct ti_config {
	char text[TI_CONFIG_MAX + 1]; /* the config string as it was given */
	char data_path[TI_CONFIG_MAX + 1];
	char meta_path[TI_CONFIG_MAX + 1];
	enum ti_mode mode;
	enum ti_backend backend;
	const char *hash;	       /* kernel name, static */
	struct ti_key_source hash_key; /* of a keyed digest */
	const char *journal_mac;       /* kernel name, static, or NULL */
	struct ti_key_source journal_mac_key;
	const char *journal_crypt; /* kernel name, static, or NULL */
	struct ti_key_source journal_crypt_key;
	uint64_t tag_size;	 /* bytes; 0: as the superblock says, if it is to be believed */
	uint64_t start_sectors;	 /* where the superblock lies on the metadata device */
	uint64_t buffer_sectors; /* as dm-integrity's option of that name */
	uint64_t cache_mb;
	uint64_t queue_depth;
	uint64_t commit_time_ms;
	uint64_t journal_watermark; /* percent */
	uint64_t bitmap_flush_interval_ms;
	uint64_t sectors_per_bit;
	uint64_t recalculate;	     /* 1: make all tags anew, once */
	uint64_t legacy_recalculate; /* 1: with keyed tags, too */
	uint64_t allow_discards;     /* 1: discards are served */
	uint64_t recalculate_rate;   /* MiB/s */
	int hash_helpers;	     /* threads; TI_CONFIG_AUTO: as many as suit the machine */
	uint64_t runner_time_out_s;  /* tcmu-runner's own key; accepted and not used */
};

/** Where files are looked for. */
struct ti_config_paths {
	const char *defaults; /* a file; need not exist; NULL: none */
	const char *profiles; /* a directory */
};

extern const struct ti_config_paths ti_config_system_paths;

/** Who said it. */
enum ti_config_layer {
	TI_LAYER_BUILT_IN,
	TI_LAYER_DEFAULTS,
	TI_LAYER_PROFILE,
	TI_LAYER_STRING,
};

/** "built_in", "defaults", "profile", "config_string". */
const char *ti_config_layer_name(enum ti_config_layer layer);

#define TI_CONFIG_KEYS_MAX     64
#define TI_CONFIG_PROBLEMS_MAX 32

/** For those who want to know more than what came out. */
struct ti_config_trace {
	struct {
		enum ti_config_layer layer;
		unsigned line;	    /* in a file, from 1 */
	} from[TI_CONFIG_KEYS_MAX]; /* by the number of the key's row, see config_keys.h */
	char defaults[1024];	    /* paths of the files that were read, "" if there were none */
	char profile[1024];
	unsigned problems; /* in all; the list holds the first ones */
	struct ti_error problem[TI_CONFIG_PROBLEMS_MAX];
};

/**
 * Parse a config string, and what it leads to.  Opens nothing but the defaults file and the
 * profile, if it names one.
 * Returns 0; -EINVAL for what can never be right, -ENAMETOOLONG if it is too long, -EOPNOTSUPP for
 * what is planned and does not work yet; @error has the sentence.  Any thread.
 */
int ti_config_parse(const char *cfgstring, struct ti_config *out, struct ti_error *error);

/**
 * The same with other files.  With @trace (may be NULL) it does not stop at the first problem, but
 * collects all of them there; the first is the one that is returned and in @error.
 */
int ti_config_parse_at(const struct ti_config_paths *paths, const char *cfgstring,
		       struct ti_config *out, struct ti_config_trace *trace,
		       struct ti_error *error);

/**
 * Look at one file of @layer (DEFAULTS or PROFILE) as ti_config_parse_at() does; a profile must
 * name all that a LUN needs.
 */
int ti_config_check_file(const char *path, enum ti_config_layer layer, struct ti_config *out,
			 struct ti_config_trace *trace, struct ti_error *error);

/** Keys, as long as an open needs them. */
struct ti_config_keys {
	struct ti_secret *hash, *journal_mac, *journal_crypt;
};

/**
 * Read the keys that @config names and let @lun lead to them.  They are needed until the LUN is
 * open; ti_config_drop_keys() wipes them, also after an error.  Blocks.
 */
int ti_config_load_keys(const struct ti_config *config, struct ti_config_keys *keys,
			struct ti_lun_options *lun, struct ti_error *error);
void ti_config_drop_keys(struct ti_config_keys *keys);

/** The path of a key's file that everybody may read or write; points into @config.  NULL: none. */
const char *ti_config_exposed_key(const struct ti_config *config);

/** Do both ask for the same LUN?  What only tcmu-runner reads does not count. */
bool ti_config_equal(const struct ti_config *a, const struct ti_config *b);

/** What the engine and the devices are to be opened with.  Paths point into @config. */
void ti_config_options(const struct ti_config *config, struct ti_pair_options *pair,
		       struct ti_lun_options *lun);

/** The text that targetcli shows for "help create".  Static. */
const char *ti_config_describe(void);

#endif
