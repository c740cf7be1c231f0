/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Layers, from the defaults file to the config string, and what holds for all of them together.
 * The parser cuts the string at ';' and knows nothing of single keys.
 */
#include "config_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct ti_config_paths ti_config_system_paths = { TI_DEFAULTS_FILE, TI_PROFILE_DIR };

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
	"  allow_discards=1       serve UNMAP, and read what was discarded (0)\n"
	"  hash_helpers=auto|N    threads that help with large requests, 0 to 8 (auto)\n"
	"  buffer_sectors=N       as dm-integrity's option of that name (128)\n"
	"  backend=auto|uring|threads  how the devices are driven (auto)\n"
	"  tcmur_cmd_time_out=S   tcmu-runner's own: log commands that take longer\n"
	"No ':' and no ',' anywhere, at most 254 bytes with the leading integrity/.\n";

const char *ti_config_describe(void)
{
	return description;
}

const char *ti_config_layer_name(enum ti_config_layer layer)
{
	static const char *const names[] = {
		[TI_LAYER_BUILT_IN] = "built_in",
		[TI_LAYER_DEFAULTS] = "defaults",
		[TI_LAYER_PROFILE] = "profile",
		[TI_LAYER_STRING] = "config_string",
	};

	return names[layer];
}

int ti_config_problem(struct ti_config_load *load, int err, const char *fmt, ...)
{
	struct ti_config_trace *trace = load->trace;
	struct ti_error e = { 0 };
	char text[TI_ERROR_TEXT];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (!load->path)
		ti_error_set(&e, err, "config string: %s", text);
	else if (load->line)
		ti_error_set(&e, err, "%s:%u: %s", load->path, load->line, text);
	else
		ti_error_set(&e, err, "%s: %s", load->path, text);
	if (trace && trace->problems++ < TI_CONFIG_PROBLEMS_MAX)
		trace->problem[trace->problems - 1] = e;
	return ti_error_set(load->error, err, "%s", e.text);
}

bool ti_config_may_repeat(const struct ti_config_load *load, const char *name)
{
	return !load->path || strlen(name) <= 8 ||
	       strspn(name, "abcdefghijklmnopqrstuvwxyz_-[]") == strlen(name);
}

static int unknown_key(struct ti_config_load *load, const char *name)
{
	const struct ti_config_key *nearest = ti_config_nearest_key(name);

	if (nearest && nearest->where & (1U << load->layer))
		return ti_config_problem(load, -EINVAL,
					 "there is no key '%.60s'; did you mean '%s'?", name,
					 nearest->name);
	if (!ti_config_may_repeat(load, name))
		return ti_config_problem(load, -EINVAL,
					 "what stands before the '=' is the name of no key; "
					 "'tcmu-integrity config explain' lists them");
	return ti_config_problem(load, -EINVAL,
				 "there is no key '%.60s'; 'tcmu-integrity config explain' lists "
				 "them",
				 name);
}

/* A key that exists, where it may not stand. */
static int wrong_place(struct ti_config_load *load, const struct ti_config_key *key)
{
	if (load->layer == TI_LAYER_DEFAULTS)
		return ti_config_problem(load, -EINVAL,
					 "%s is a matter of each pair; put it into profiles or "
					 "config strings",
					 key->name);
	if (load->layer == TI_LAYER_PROFILE)
		return ti_config_problem(load, -EINVAL,
					 "%s stands in config strings only, tcmu-runner reads it "
					 "there",
					 key->name);
	if (key->kind == TI_KIND_PATH)
		return ti_config_problem(load, -EINVAL,
					 "the data device stands first, without %s=; write "
					 "%s<data device>;meta=<metadata device>",
					 key->name, TI_CONFIG_PREFIX);
	/* The string can be read by everybody. */
	if (key->kind == TI_KIND_PLACE || key->kind == TI_KIND_PLACE_FILE)
		return ti_config_problem(load, -EINVAL,
					 "it names no keys; put %s into a profile, " TI_PROFILE_DIR
					 "/NAME.conf, and write %sprofile=NAME",
					 key->name, TI_CONFIG_PREFIX);
	return ti_config_problem(load, -EINVAL,
				 "%s stands in profiles only; put it into " TI_PROFILE_DIR
				 "/NAME.conf, and write %sprofile=NAME",
				 key->name, TI_CONFIG_PREFIX);
}

static int given_twice(struct ti_config_load *load, const char *name, unsigned line)
{
	if (line)
		return ti_config_problem(load, -EINVAL,
					 "%s is given twice, in line %u before; leave one of them "
					 "out",
					 name, line);
	return ti_config_problem(load, -EINVAL, "%s is given twice; leave one of them out", name);
}

static void note_origin(struct ti_config_load *load, const struct ti_config_key *key, size_t row)
{
	/* A file is a way of naming a place: it is told there. */
	if (key->kind == TI_KIND_PLACE_FILE)
		row--;
	load->trace->from[row].layer = load->layer;
	load->trace->from[row].line = load->line;
}

int ti_config_take(struct ti_config_load *load, const char *name, const char *value)
{
	const struct ti_config_key *key;
	struct ti_error why = { 0 };
	size_t row;
	int err;

	if (!strcmp(name, "profile"))
		return ti_config_problem(
			load, -EINVAL,
			load->layer == TI_LAYER_STRING
				? "profile= stands first, in the place of the data "
				  "device"
				: "a file does not lead to another one");
	key = ti_config_find_key(name, &row);
	if (!key)
		return unknown_key(load, name);
	if (!(key->where & (1U << load->layer)))
		return wrong_place(load, key);
	if (load->seen & (1ULL << row))
		return given_twice(load, key->name, load->seen_line[row]);
	load->seen |= 1ULL << row;
	load->seen_line[row] = load->line;
	if (!value[0])
		return ti_config_problem(load, -EINVAL, "%s has no value after its '='", key->name);
	err = ti_config_set_value(key, value, load->out, &why);
	if (err)
		return ti_config_problem(load, err, "%s", why.text);
	if (load->trace)
		note_origin(load, key, row);
	return 0;
}

/* One "key=value"; @option is cut at its '='. */
static int take_option(struct ti_config_load *load, char *option)
{
	char *value = strchr(option, '=');

	if (!value && option[0])
		return ti_config_problem(load, -EINVAL, "'%s' is not of the form key=value",
					 option);
	if (!value)
		return ti_config_problem(load, -EINVAL,
					 "there is an empty option (a ';' too many)");
	*value++ = '\0';
	return ti_config_take(load, option, value);
}

/* What cannot have come through targetcli and the kernel unharmed. */
static int check_characters(struct ti_config_load *load, const char *s)
{
	for (const char *p = s; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p;

		if (c < 0x20 || c == 0x7f)
			return ti_config_problem(load, -EINVAL,
						 "byte %zu is the control character 0x%02x; the "
						 "kernel does not keep those",
						 (size_t)(p - s) + 1, c);
		if (c == ':' || c == ',')
			return ti_config_problem(load, -EINVAL,
						 "it contains a '%c', which targetcli and the "
						 "kernel cut at: for a device use a link "
						 "without one, as in /dev/disk/by-id; a "
						 "key's place goes into a profile",
						 c);
	}
	return 0;
}

static int check_frame(struct ti_config_load *load, const char *s)
{
	size_t len = strlen(s);
	int err;

	if (len > TI_CONFIG_MAX)
		return ti_config_problem(load, -ENAMETOOLONG,
					 "it has %zu bytes with the leading '%s' and may have %d, "
					 "since the kernel cuts longer ones off; use shorter "
					 "device names",
					 len, TI_CONFIG_PREFIX, TI_CONFIG_MAX);
	/* Before anything of it is repeated: it goes to the log, and anybody may have sent it. */
	err = check_characters(load, s);
	if (!err && strncmp(s, TI_CONFIG_PREFIX, strlen(TI_CONFIG_PREFIX)) != 0)
		err = ti_config_problem(load, -EINVAL, "'%s' does not start with '%s'", s,
					TI_CONFIG_PREFIX);
	return err;
}

/* A key that nothing needs is a mistake somewhere. */
static int check_keys(struct ti_config_load *load)
{
	const struct ti_config *c = load->out;
	bool keyed_mac = c->journal_mac && ti_hash_find(c->journal_mac)->keyed;

	if (ti_hash_find(c->hash)->keyed && c->hash_key.kind == TI_KEY_NONE)
		return ti_config_problem(load, -EINVAL,
					 "hash=%s needs a key; name it in a profile, as "
					 "integrity_key_file=PATH, and write %sprofile=NAME",
					 c->hash, TI_CONFIG_PREFIX);
	if (keyed_mac && c->journal_mac_key.kind == TI_KEY_NONE)
		return ti_config_problem(load, -EINVAL,
					 "journal_integrity=%s needs a key; add "
					 "journal_integrity_key_file=PATH",
					 c->journal_mac);
	if (!keyed_mac && c->journal_mac_key.kind != TI_KEY_NONE)
		return ti_config_problem(load, -EINVAL,
					 "journal_integrity_key is there for no keyed "
					 "journal_integrity; leave it out");
	if (c->journal_crypt && c->journal_crypt_key.kind == TI_KEY_NONE)
		return ti_config_problem(load, -EINVAL,
					 "journal_crypt=%s needs a key; add "
					 "journal_crypt_key_file=PATH",
					 c->journal_crypt);
	if (!c->journal_crypt && c->journal_crypt_key.kind != TI_KEY_NONE)
		return ti_config_problem(load, -EINVAL,
					 "journal_crypt_key is there without journal_crypt; leave "
					 "it out");
	return 0;
}

/* Whatever it was put together from. */
static int check_whole(struct ti_config_load *load)
{
	const struct ti_config *c = load->out;
	int err = 0;

	load->line = 0;
	if (c->data_path[0] == '\0')
		err = ti_config_problem(load, -EINVAL,
					"the data device is missing; write %s<data device>;meta="
					"<metadata device>, or data= in the profile",
					TI_CONFIG_PREFIX);
	if (ti_config_goes_on(load, err) && c->meta_path[0] == '\0')
		err = ti_config_problem(load, -EINVAL,
					"the metadata device is missing; add ';meta=<metadata "
					"device>', or meta= in the profile");
	if (!err && strcmp(c->data_path, c->meta_path) == 0)
		err = ti_config_problem(load, -EINVAL,
					"data and metadata are both '%s'; they must be two devices",
					c->data_path);
	return ti_config_goes_on(load, err) ? check_keys(load) : err;
}

static int check_name(struct ti_config_load *load, const char *name)
{
	if (!name[0])
		return ti_config_problem(load, -EINVAL, "profile has no name");
	if (name[0] == '.' || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789._-") != strlen(name))
		return ti_config_problem(load, -EINVAL,
					 "a profile's name has letters, digits, '.', '_' and '-' "
					 "only and does not begin with '.', not '%s'",
					 name);
	return 0;
}

static void read_profile(struct ti_config_load *load, const char *dir, const char *name)
{
	char path[1024];

	if (check_name(load, name))
		return;
	if ((size_t)snprintf(path, sizeof(path), "%s/%s.conf", dir, name) >= sizeof(path)) {
		ti_config_problem(load, -ENAMETOOLONG, "the profile's path is too long");
		return;
	}
	load->layer = TI_LAYER_PROFILE;
	ti_config_read_file(load, path, false);
	load->layer = TI_LAYER_STRING;
	load->path = NULL;
	load->line = 0;
	load->seen = 0;
}

/* The string, and the profile that it names. */
static void read_string(struct ti_config_load *load, const char *profiles, const char *cfgstring)
{
	static const char profile[] = "profile=";
	char copy[TI_CONFIG_MAX + 1];
	char *rest = copy;
	char *data;
	size_t row;

	load->layer = TI_LAYER_STRING;
	if (check_frame(load, cfgstring))
		return;
	snprintf(load->out->text, sizeof(load->out->text), "%s", cfgstring);
	snprintf(copy, sizeof(copy), "%s", cfgstring + strlen(TI_CONFIG_PREFIX));
	data = strsep(&rest, ";");
	if (strncmp(data, profile, strlen(profile)) == 0) {
		read_profile(load, profiles, data + strlen(profile));
	} else if (data[0] != '\0') {
		const struct ti_config_key *key = ti_config_find_key("data", &row);
		struct ti_error why = { 0 };
		int err = ti_config_set_value(key, data, load->out, &why);

		if (err)
			ti_config_problem(load, err, "%s", why.text);
		else if (load->trace)
			note_origin(load, key, row);
	}
	while (ti_config_goes_on(load, load->error->err) && rest)
		take_option(load, strsep(&rest, ";"));
	/* What is wrong already may be why something is missing. */
	if (!load->error->err)
		check_whole(load);
}

static void start(struct ti_config_load *load)
{
	*load->out = (struct ti_config){ .mode = TI_MODE_JOURNAL,
					 .backend = TI_BACKEND_AUTO,
					 .hash_helpers = TI_CONFIG_AUTO,
					 .hash = ti_hash_crc32c.name };
	if (load->trace)
		*load->trace = (struct ti_config_trace){ 0 };
}

int ti_config_parse_at(const struct ti_config_paths *paths, const char *cfgstring,
		       struct ti_config *out, struct ti_config_trace *trace, struct ti_error *error)
{
	struct ti_error own = { 0 };
	struct ti_config_load load = { .out = out, .trace = trace, .error = &own };

	start(&load);
	load.layer = TI_LAYER_DEFAULTS;
	if (paths->defaults)
		ti_config_read_file(&load, paths->defaults, true);
	load.path = NULL;
	load.line = 0;
	load.seen = 0;
	if (ti_config_goes_on(&load, own.err))
		read_string(&load, paths->profiles, cfgstring);
	return own.err ? ti_error_set(error, own.err, "%s", own.text) : 0;
}

int ti_config_parse(const char *cfgstring, struct ti_config *out, struct ti_error *error)
{
	return ti_config_parse_at(&ti_config_system_paths, cfgstring, out, NULL, error);
}

int ti_config_check_file(const char *path, enum ti_config_layer layer, struct ti_config *out,
			 struct ti_config_trace *trace, struct ti_error *error)
{
	struct ti_error own = { 0 };
	struct ti_config_load load = { .out = out, .trace = trace, .error = &own, .layer = layer };

	start(&load);
	if (!ti_config_read_file(&load, path, false) && layer == TI_LAYER_PROFILE)
		check_whole(&load);
	return own.err ? ti_error_set(error, own.err, "%s", own.text) : 0;
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
	       a->tag_size == b->tag_size && a->start_sectors == b->start_sectors &&
	       a->buffer_sectors == b->buffer_sectors && a->cache_mb == b->cache_mb &&
	       a->queue_depth == b->queue_depth && a->commit_time_ms == b->commit_time_ms &&
	       a->bitmap_flush_interval_ms == b->bitmap_flush_interval_ms &&
	       a->sectors_per_bit == b->sectors_per_bit && a->recalculate == b->recalculate &&
	       a->legacy_recalculate == b->legacy_recalculate &&
	       a->allow_discards == b->allow_discards &&
	       a->recalculate_rate == b->recalculate_rate && a->hash_helpers == b->hash_helpers &&
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
		.crew.helpers = config->hash_helpers == TI_CONFIG_AUTO
					? ti_hash_crew_suits()
					: (unsigned)config->hash_helpers,
		.seal = { .mac = config->journal_mac, .crypt = config->journal_crypt },
		.tag_size = (uint32_t)config->tag_size,
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
		.allow_discards = config->allow_discards != 0,
		.recalculate_rate = config->recalculate_rate << 20,
	};
}
