// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/*
 * One table row per key: name, kind, limits, and where the value goes.  The parser cuts the string
 * at ';' and knows nothing of single keys.  A key that a later version will have is a row, too, so
 * that the answer is "not yet" and not "unknown".
 */
#include "config_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum kind {
	KIND_PATH,
	KIND_NUMBER,
	KIND_WORD,
	KIND_DIGEST,
	KIND_LATER, /* known, and not supported yet */
};

/* A value of a KIND_WORD key. */
struct word {
	const char *text;
	int value;
	bool later;
};

static const struct word modes[] = {
	{ "journal", TI_MODE_JOURNAL, false },
	{ "direct", TI_MODE_DIRECT, false },
	{ "bitmap", TI_MODE_BITMAP, false },
	{ "recovery", TI_MODE_RECOVERY, false },
	{ NULL, 0, false },
};

static const struct word backends[] = {
	{ "auto", TI_BACKEND_AUTO, false },
	{ "uring", TI_BACKEND_URING, false },
	{ "threads", TI_BACKEND_THREADS, false },
	{ NULL, 0, false },
};

enum key_id {
	KEY_META,
	KEY_MODE,
	KEY_HASH,
	KEY_START,
	KEY_CACHE_MB,
	KEY_QUEUE_DEPTH,
	KEY_COMMIT_TIME,
	KEY_JOURNAL_WATERMARK,
	KEY_BUFFER_SECTORS,
	KEY_BITMAP_FLUSH_INTERVAL,
	KEY_SECTORS_PER_BIT,
	KEY_RECALCULATE,
	KEY_LEGACY_RECALCULATE,
	KEY_RECALCULATE_RATE,
	KEY_BACKEND,
	KEY_RUNNER_TIME_OUT,
	KEY_OTHERS,
};

struct key {
	const char *name;
	enum kind kind;
	size_t offset; /* of a uint64_t in struct ti_config: KIND_NUMBER */
	uint64_t min, max;
	const char *unit;	  /* of the number, for messages */
	const struct word *words; /* KIND_WORD */
};

#define NUMBER(name_, member_, min_, max_, unit_)                                                  \
	{                                                                                          \
		.name = (name_), .kind = KIND_NUMBER,                                              \
		.offset = offsetof(struct ti_config, member_), .min = (min_), .max = (max_),       \
		.unit = (unit_)                                                                    \
	}

static const struct key keys[] = {
	[KEY_META] = { .name = "meta", .kind = KIND_PATH },
	[KEY_MODE] = { .name = "mode", .kind = KIND_WORD, .words = modes },
	[KEY_HASH] = { .name = "hash", .kind = KIND_DIGEST },
	[KEY_START] = NUMBER("start", start_sectors, 0, 1ULL << 54, "sectors of 512 bytes"),
	[KEY_CACHE_MB] = NUMBER("cache_mb", cache_mb, 1, 65536, "MiB"),
	[KEY_QUEUE_DEPTH] = NUMBER("queue_depth", queue_depth, 1, 1024, "requests"),
	[KEY_COMMIT_TIME] = NUMBER("commit_time", commit_time_ms, 1, 3600000, "ms"),
	[KEY_JOURNAL_WATERMARK] = NUMBER("journal_watermark", journal_watermark, 1, 99, "percent"),
	[KEY_BUFFER_SECTORS] = NUMBER("buffer_sectors", buffer_sectors, 1, 1U << 30, "sectors"),
	[KEY_BITMAP_FLUSH_INTERVAL] =
		NUMBER("bitmap_flush_interval", bitmap_flush_interval_ms, 1, 3600000, "ms"),
	[KEY_SECTORS_PER_BIT] =
		NUMBER("sectors_per_bit", sectors_per_bit, 1, 1U << 31, "sectors of 512 bytes"),
	[KEY_RECALCULATE] = NUMBER("recalculate", recalculate, 0, 1, "no or yes"),
	[KEY_LEGACY_RECALCULATE] =
		NUMBER("legacy_recalculate", legacy_recalculate, 0, 1, "no or yes"),
	[KEY_RECALCULATE_RATE] =
		NUMBER("recalculate_rate", recalculate_rate, 1, 1U << 20, "MiB per second"),
	[KEY_BACKEND] = { .name = "backend", .kind = KIND_WORD, .words = backends },
	/* Read, and taken out of a device's string, by tcmu-runner itself. */
	[KEY_RUNNER_TIME_OUT] =
		NUMBER("tcmur_cmd_time_out", runner_time_out_s, 0, INT32_MAX, "seconds"),
	[KEY_OTHERS] = { .name = "allow_discards", .kind = KIND_LATER },
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))

static const char description[] =
	"Config string: <data device>;meta=<metadata device>[;key=value...]\n"
	"           or: profile=NAME[;key=value...], with the rest in " TI_PROFILE_DIR
	"/NAME.conf\n"
	"Both are absolute paths of block devices or files that hold dm-integrity's format with\n"
	"separate metadata (tcmu-integrity format META --data-device DATA makes it). Keys:\n"
	"  mode=journal           data and tag change together or not at all (the default)\n"
	"  mode=direct            no crash protection between data and tags\n"
	"  mode=bitmap            after a crash, tags of regions written to are made anew\n"
	"  mode=recovery          read-only; no tag is looked at, the journal is not replayed\n"
	"  hash=NAME              what the tags are (crc32c); also crc32, xxhash64, sha1, sha256, "
	"sha384,\n"
	"                         sha512, sha3-256, sha3-512, blake2b-256, blake2b-512, "
	"blake2s-256,\n"
	"                         and hmac-... of the last nine, whose key a profile names\n"
	"  start=SECTORS          of the superblock on the metadata device, 512 bytes each (0)\n"
	"  cache_mb=MIB           memory for tags (16)\n"
	"  queue_depth=N          requests worked on at once (128)\n"
	"  commit_time=MS         what was written is durable after this time at the latest; in "
	"mode\n"
	"                         direct: changed tags are written out after it (10000)\n"
	"  journal_watermark=N    percent of the journal; fuller, it is written out (50)\n"
	"  bitmap_flush_interval=MS  mode bitmap: regions are clean again after this time (10000)\n"
	"  sectors_per_bit=N      mode bitmap: size of a region (as the pair was formatted)\n"
	"  recalculate=1          make all tags anew, once; 0: only what the pair asks for (0)\n"
	"  legacy_recalculate=1   also with keyed tags, which the kernel refuses without it (0)\n"
	"  recalculate_rate=MIB   per second at most, when tags are made anew (no limit)\n"
	"  buffer_sectors=N       as dm-integrity's option of that name (128)\n"
	"  backend=auto|uring|threads  how the devices are driven (auto)\n"
	"  tcmur_cmd_time_out=S   tcmu-runner's own: log commands that take longer\n"
	"No ':' and no ',' anywhere, at most 254 bytes with the leading integrity/.\n";

const char *ti_config_describe(void)
{
	return description;
}

const char *ti_config_key_name(size_t index)
{
	return index < KEYS ? keys[index].name : NULL;
}

/* Edit distance of two short words: how many letters to change, insert or drop. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t row[TI_CONFIG_MAX + 1];
	size_t b_len = strlen(b);

	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 0; a[i] != '\0'; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < b_len; j++) {
			size_t best = diagonal + (a[i] == b[j] ? 0 : 1);

			diagonal = row[j + 1];
			if (row[j + 1] + 1 < best)
				best = row[j + 1] + 1;
			if (row[j] + 1 < best)
				best = row[j] + 1;
			row[j + 1] = best;
		}
	}
	return row[b_len];
}

static int unknown_key(const char *name, struct ti_error *error)
{
	const struct key *nearest = NULL;
	size_t distance = 4; /* further away it is no help */

	for (size_t i = 0; i < KEYS; i++) {
		size_t d = edit_distance(name, keys[i].name);

		if (keys[i].kind != KIND_LATER && d < distance && d < strlen(keys[i].name)) {
			distance = d;
			nearest = &keys[i];
		}
	}
	if (nearest)
		return ti_error_set(error, -EINVAL,
				    "config string: there is no key '%s'; did you mean '%s'?", name,
				    nearest->name);
	return ti_error_set(
		error, -EINVAL,
		"config string: there is no key '%s'; the keys are meta, mode, hash, "
		"start, cache_mb, queue_depth, commit_time, journal_watermark, "
		"bitmap_flush_interval, sectors_per_bit, recalculate, legacy_recalculate, "
		"recalculate_rate, buffer_sectors and backend",
		name);
}

int ti_config_set_path(char *out, const char *what, const char *value, struct ti_error *error)
{
	if (value[0] != '/')
		return ti_error_set(error, -EINVAL,
				    "config string: the %s '%s' is not an absolute path; it must "
				    "start with '/'",
				    what, value);
	if (strlen(value) > TI_CONFIG_MAX)
		return ti_error_set(
			error, -ENAMETOOLONG,
			"config string: the path of the %s is longer than %d bytes; use "
			"a link with a shorter one",
			what, TI_CONFIG_MAX);
	snprintf(out, TI_CONFIG_MAX + 1, "%s", value);
	return 0;
}

static int set_number(const struct key *key, const char *value, struct ti_config *out,
		      struct ti_error *error)
{
	uint64_t number = 0;
	bool good = value[0] != '\0';

	for (const char *p = value; good && *p != '\0'; p++) {
		good = *p >= '0' && *p <= '9' && !__builtin_mul_overflow(number, 10, &number) &&
		       !__builtin_add_overflow(number, (uint64_t)(*p - '0'), &number);
	}
	if (!good || number < key->min || number > key->max)
		return ti_error_set(error, -EINVAL,
				    "config string: %s=%s is not a number from %llu to %llu (%s)",
				    key->name, value, (unsigned long long)key->min,
				    (unsigned long long)key->max, key->unit);
	memcpy((char *)out + key->offset, &number, sizeof(number));
	return 0;
}

static int find_word(const struct key *key, const char *value, int *out, struct ti_error *error)
{
	char known[128] = "";

	for (const struct word *w = key->words; w->text; w++) {
		size_t used = strlen(known);

		if (strcmp(w->text, value) == 0 && w->later)
			return ti_error_set(error, -EOPNOTSUPP,
					    "config string: %s=%s is not supported yet; %s=%s is",
					    key->name, value, key->name, key->words[0].text);
		if (strcmp(w->text, value) == 0) {
			*out = w->value;
			return 0;
		}
		if (!w->later)
			snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "",
				 w->text);
	}
	return ti_error_set(error, -EINVAL, "config string: %s=%s is unknown; it can be: %s",
			    key->name, value, known);
}

static int set_word(const struct key *key, const char *value, struct ti_config *out,
		    struct ti_error *error)
{
	int word = 0;
	int err = find_word(key, value, &word, error);

	if (err)
		return err;
	switch ((enum key_id)(key - keys)) {
	case KEY_MODE:
		out->mode = (enum ti_mode)word;
		break;
	case KEY_BACKEND:
		out->backend = (enum ti_backend)word;
		break;
	default:
		break;
	}
	return 0;
}

static int set_digest(const struct key *key, const char *value, struct ti_config *out,
		      struct ti_error *error)
{
	const struct ti_hash_ops *ops = ti_hash_find(value);

	if (!ops)
		return ti_error_set(error, -EINVAL,
				    "config string: %s=%s is unknown; it can be: " TI_HASH_NAMES,
				    key->name, value);
	out->hash = ops->name;
	return 0;
}

static int set_key(const struct key *key, const char *value, struct ti_config *out,
		   struct ti_error *error)
{
	switch (key->kind) {
	case KIND_PATH:
		return ti_config_set_path(out->meta_path, "metadata device", value, error);
	case KIND_NUMBER:
		return set_number(key, value, out, error);
	case KIND_WORD:
		return set_word(key, value, out, error);
	case KIND_DIGEST:
		return set_digest(key, value, out, error);
	case KIND_LATER:
		break;
	}
	return ti_error_set(error, -EOPNOTSUPP,
			    "config string: %s is not supported yet; leave it out", key->name);
}

int ti_config_set(const char *name, const char *value, uint32_t *seen, struct ti_config *out,
		  struct ti_error *error)
{
	const struct key *key = NULL;

	for (size_t i = 0; i < KEYS && !key; i++) {
		if (strcmp(keys[i].name, name) == 0)
			key = &keys[i];
	}
	if (!key)
		return unknown_key(name, error);
	if (*seen & (1U << (key - keys)))
		return ti_error_set(error, -EINVAL,
				    "config string: %s is given twice; leave one of them out",
				    key->name);
	*seen |= 1U << (key - keys);
	if (value[0] == '\0')
		return ti_error_set(error, -EINVAL, "config string: %s has no value after its '='",
				    key->name);
	return set_key(key, value, out, error);
}

/* One "key=value"; @option is cut at its '='.  @seen has a bit per key. */
static int parse_option(char *option, uint32_t *seen, struct ti_config *out, struct ti_error *error)
{
	char *value = strchr(option, '=');

	if (!value)
		return ti_error_set(error, -EINVAL,
				    option[0] ? "config string: '%s' is not of the form key=value"
					      : "config string: there is an empty option "
						"(a ';' too many)%s",
				    option);
	*value++ = '\0';
	/* Places of keys do not belong there: the string can be read by everybody. */
	if (strstr(option, "_key") != NULL)
		return ti_error_set(
			error, -EINVAL,
			"config string: it names no keys; put %s into a profile, " TI_PROFILE_DIR
			"/NAME.conf, and write %sprofile=NAME",
			option, TI_CONFIG_PREFIX);
	return ti_config_set(option, value, seen, out, error);
}

/* What cannot have come through targetcli and the kernel unharmed. */
static int check_characters(const char *s, struct ti_error *error)
{
	for (const char *p = s; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p;

		if (c < 0x20 || c == 0x7f)
			return ti_error_set(error, -EINVAL,
					    "config string: byte %zu is the control character "
					    "0x%02x; the kernel does not keep those",
					    (size_t)(p - s) + 1, c);
		if (c == ':' || c == ',')
			return ti_error_set(error, -EINVAL,
					    "config string: it contains a '%c', which targetcli "
					    "and the kernel cut at; use a link without one, e.g. "
					    "in /dev/disk/by-id",
					    c);
	}
	return 0;
}

static int check_frame(const char *s, struct ti_error *error)
{
	size_t len = strlen(s);

	if (len > TI_CONFIG_MAX)
		return ti_error_set(error, -ENAMETOOLONG,
				    "config string: it has %zu bytes with the leading '%s' and may "
				    "have %d, since the kernel cuts longer ones off; use shorter "
				    "device names",
				    len, TI_CONFIG_PREFIX, TI_CONFIG_MAX);
	if (strncmp(s, TI_CONFIG_PREFIX, strlen(TI_CONFIG_PREFIX)) != 0)
		return ti_error_set(error, -EINVAL, "config string: '%s' does not start with '%s'",
				    s, TI_CONFIG_PREFIX);
	return check_characters(s, error);
}

/* Whatever it was put together from. */
static int check_whole(const struct ti_config *config, struct ti_error *error)
{
	if (config->data_path[0] == '\0')
		return ti_error_set(error, -EINVAL,
				    "config string: the data device is missing; write "
				    "%s<data device>;meta=<metadata device>, or data= in the "
				    "profile",
				    TI_CONFIG_PREFIX);
	if (config->meta_path[0] == '\0')
		return ti_error_set(error, -EINVAL,
				    "config string: the metadata device is missing; add "
				    "';meta=<metadata device>'");
	if (strcmp(config->data_path, config->meta_path) == 0)
		return ti_error_set(error, -EINVAL,
				    "config string: data and metadata are both '%s'; they must be "
				    "two devices",
				    config->data_path);
	if (ti_hash_find(config->hash)->keyed && config->hash_key.kind == TI_KEY_NONE)
		return ti_error_set(error, -EINVAL,
				    "config string: hash=%s needs a key; name it in a profile, as "
				    "integrity_key_file=PATH, and write %sprofile=NAME",
				    config->hash, TI_CONFIG_PREFIX);
	return 0;
}

int ti_config_parse_at(const char *dir, const char *cfgstring, struct ti_config *out,
		       struct ti_error *error)
{
	static const char profile[] = "profile=";
	char copy[TI_CONFIG_MAX + 1];
	uint32_t seen = 0;
	char *rest = copy;
	char *data;
	int err;

	_Static_assert(KEYS <= 32, "a bit per key");
	*out = (struct ti_config){ .mode = TI_MODE_JOURNAL,
				   .backend = TI_BACKEND_AUTO,
				   .hash = ti_hash_crc32c.name };
	err = check_frame(cfgstring, error);
	if (err)
		return err;
	snprintf(copy, sizeof(copy), "%s", cfgstring + strlen(TI_CONFIG_PREFIX));
	data = strsep(&rest, ";");
	if (strncmp(data, profile, strlen(profile)) == 0)
		err = ti_profile_load(dir, data + strlen(profile), out, error);
	else if (data[0] != '\0')
		err = ti_config_set_path(out->data_path, "data device", data, error);
	while (!err && rest)
		err = parse_option(strsep(&rest, ";"), &seen, out, error);
	return err ? err : check_whole(out, error);
}

int ti_config_parse(const char *cfgstring, struct ti_config *out, struct ti_error *error)
{
	return ti_config_parse_at(TI_PROFILE_DIR, cfgstring, out, error);
}

static bool same_name(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool ti_config_equal(const struct ti_config *a, const struct ti_config *b)
{
	return strcmp(a->data_path, b->data_path) == 0 && strcmp(a->meta_path, b->meta_path) == 0 &&
	       a->mode == b->mode && a->backend == b->backend && strcmp(a->hash, b->hash) == 0 &&
	       ti_key_source_equal(&a->hash_key, &b->hash_key) &&
	       same_name(a->journal_mac, b->journal_mac) &&
	       ti_key_source_equal(&a->journal_mac_key, &b->journal_mac_key) &&
	       same_name(a->journal_crypt, b->journal_crypt) &&
	       ti_key_source_equal(&a->journal_crypt_key, &b->journal_crypt_key) &&
	       a->start_sectors == b->start_sectors && a->buffer_sectors == b->buffer_sectors &&
	       a->cache_mb == b->cache_mb && a->queue_depth == b->queue_depth &&
	       a->commit_time_ms == b->commit_time_ms &&
	       a->bitmap_flush_interval_ms == b->bitmap_flush_interval_ms &&
	       a->sectors_per_bit == b->sectors_per_bit && a->recalculate == b->recalculate &&
	       a->legacy_recalculate == b->legacy_recalculate &&
	       a->recalculate_rate == b->recalculate_rate &&
	       a->journal_watermark == b->journal_watermark;
}

void ti_config_options(const struct ti_config *config, struct ti_pair_options *pair,
		       struct ti_lun_options *lun)
{
	*pair = (struct ti_pair_options){
		.data_path = config->data_path,
		.meta_path = config->meta_path,
		.backend = config->backend,
		.read_only = config->mode == TI_MODE_RECOVERY,
	};
	*lun = (struct ti_lun_options){
		.mode = config->mode,
		.hash = config->hash,
		.seal = { .mac = config->journal_mac, .crypt = config->journal_crypt },
		.start_sector = config->start_sectors,
		.buffer_sectors = (uint32_t)config->buffer_sectors,
		.cache_bytes = (size_t)config->cache_mb << 20,
		.queue_depth = (unsigned)config->queue_depth,
		.commit_time_ms = (unsigned)config->commit_time_ms,
		.journal_watermark = (unsigned)config->journal_watermark,
		.bitmap_flush_interval_ms = (unsigned)config->bitmap_flush_interval_ms,
		.sectors_per_bit = (uint32_t)config->sectors_per_bit,
		.recalculate = config->recalculate != 0,
		.legacy_recalculate = config->legacy_recalculate != 0,
		.recalculate_rate = config->recalculate_rate << 20,
	};
}
