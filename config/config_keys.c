/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* The table. */
#include "config_keys.h"

#include <string.h>

static const struct ti_config_word modes[] = {
	{ "journal", TI_MODE_JOURNAL },
	{ "direct", TI_MODE_DIRECT },
	{ "bitmap", TI_MODE_BITMAP },
	{ "recovery", TI_MODE_RECOVERY },
	{ NULL, 0 },
};

static const struct ti_config_word backends[] = {
	{ "auto", TI_BACKEND_AUTO },
	{ "uring", TI_BACKEND_URING },
	{ "threads", TI_BACKEND_THREADS },
	{ NULL, 0 },
};

static const struct ti_config_word helpers[] = {
	{ "auto", TI_CONFIG_AUTO },
	{ "0", 0 },
	{ "1", 1 },
	{ "2", 2 },
	{ "3", 3 },
	{ "4", 4 },
	{ "5", 5 },
	{ "6", 6 },
	{ "7", 7 },
	{ "8", 8 },
	{ NULL, 0 },
};

#define EVERYWHERE (TI_IN_DEFAULTS | TI_IN_PROFILE | TI_IN_STRING)
/* What is a matter of one pair: see config.h. */
#define PER_PAIR (TI_IN_PROFILE | TI_IN_STRING)

#define AT(member_) .offset = offsetof(struct ti_config, member_)

#define NUMBER(name_, where_, member_, min_, max_, unit_, preset_)                                 \
	.name = (name_), .kind = TI_KIND_NUMBER, .where = (where_), AT(member_), .min = (min_),    \
	.max = (max_), .unit = (unit_), .preset = (preset_)

#define PLACES(name_, member_, what_)                                                              \
	{                                                                                          \
		.name = (name_),                                                                   \
		.kind = TI_KIND_PLACE,                                                             \
		.where = TI_IN_PROFILE,                                                            \
		AT(member_),                                                                       \
		.summary = "where the key of " what_ " is",                                        \
		.about = "Where the key of " what_ " is, never the key itself: file:PATH, "        \
			 "keyring:user:DESCRIPTION or credential:NAME.",                           \
	},                                                                                         \
		{                                                                                  \
			.name = name_ "_file",                                                     \
			.kind = TI_KIND_PLACE_FILE,                                                \
			.where = TI_IN_PROFILE,                                                    \
			AT(member_),                                                               \
			.summary = "the same, if it is a file",                                    \
			.about = "The absolute path of a file that holds the key of " what_        \
				 ": all of the file, byte for byte.",                              \
		},                                                                                 \
	{                                                                                          \
		.name = name_ "_size", .kind = TI_KIND_PLACE_SIZE, .where = TI_IN_PROFILE,         \
		AT(member_), .min = 1, .max = TI_KEY_MAX_BYTES, .unit = "bytes",                   \
		.summary = "how many bytes of it count",                                           \
		.about = "The key of " what_ " is the first so many bytes of what is there. "      \
			 "Without it, all of them.",                                               \
	}

static const struct ti_config_key keys[] = {
	{
		.name = "data",
		.kind = TI_KIND_PATH,
		.where = TI_IN_PROFILE,
		AT(data_path),
		.summary = "the data device",
		.about = "The device, or file, that holds the LUN's blocks. In a config string it "
			 "stands first, without data=.",
	},
	{
		.name = "meta",
		.kind = TI_KIND_PATH,
		.where = PER_PAIR,
		AT(meta_path),
		.summary = "the metadata device",
		.about = "The device, or file, that holds the superblock, the journal and a tag "
			 "for each block. tcmu-integrity format makes it.",
	},
	{
		.name = "mode",
		.kind = TI_KIND_WORD,
		.where = EVERYWHERE,
		AT(mode),
		.words = modes,
		.preset = "journal",
		.summary = "what a crash may leave behind",
		.about = "journal: a block's data and tag change together or not at all. direct: "
			 "nothing protects them from a crash between the two. bitmap: after a "
			 "crash, tags of regions that were being written to are made anew. "
			 "recovery: read-only; no tag is looked at, the journal is not replayed.",
	},
	{
		.name = "hash",
		.kind = TI_KIND_DIGEST,
		.where = PER_PAIR,
		AT(hash),
		.preset = "crc32c",
		.summary = "the digest that makes the tags",
		.about = "It must be the one that the pair was formatted with, which the "
			 "superblock does not tell. Keyed ones, hmac-..., need integrity_key.",
	},
	{
		NUMBER("start", PER_PAIR, start_sectors, 0, 1ULL << 54, "sectors of 512 bytes",
		       "0"),
		.summary = "sectors in front of the superblock",
		.about = "Where the superblock lies on the metadata device; as it was formatted.",
	},
	{
		NUMBER("cache_mb", EVERYWHERE, cache_mb, 1, 65536, "MiB", "16"),
		.summary = "memory for tags",
		.about = "Locked in memory for each LUN, and also the most that dirty tags "
			 "take. With tags of 4 bytes and blocks of 512, 16 MiB cover 2 GiB of "
			 "data; with blocks of 4096, 16 GiB.",
	},
	{
		NUMBER("queue_depth", EVERYWHERE, queue_depth, 1, 1024, "requests", "128"),
		.summary = "requests worked on at once",
		.about = "More requests wait, in the order in which they came.",
	},
	{
		NUMBER("commit_time", EVERYWHERE, commit_time_ms, 1, 3600000, "ms", "10000"),
		.summary = "after which time writes are durable without a flush",
		.about = "Mode journal: what was written is in the journal, on the medium, after "
			 "this time at the latest. Modes direct and bitmap: changed tags are "
			 "written out after it.",
	},
	{
		NUMBER("journal_watermark", EVERYWHERE, journal_watermark, 1, 99, "percent", "50"),
		.summary = "how full the journal gets",
		.about = "Mode journal: fuller than this, it is written out to the places of the "
			 "blocks. A higher one saves writes of blocks that are written again; "
			 "a lower one leaves more room for bursts.",
	},
	{
		NUMBER("buffer_sectors", PER_PAIR, buffer_sectors, 1, 1U << 30, "sectors", "128"),
		.summary = "as dm-integrity's option of that name",
		.about = "It only matters for whether the tags fit the metadata device, since the "
			 "tag area is rounded up to it; as the pair was formatted.",
	},
	{
		NUMBER("bitmap_flush_interval", EVERYWHERE, bitmap_flush_interval_ms, 1, 3600000,
		       "ms", "10000"),
		.summary = "when regions are clean again",
		.about = "Mode bitmap: a region that is not written to any more is marked as "
			 "clean after this time. Longer ones cost less and leave more to be made "
			 "anew after a crash.",
	},
	{
		NUMBER("sectors_per_bit", PER_PAIR, sectors_per_bit, 1, 1U << 31,
		       "sectors of 512 bytes", NULL),
		.summary = "size of a region in mode bitmap",
		.about = "A power of two. Without it, what the pair was formatted with "
			 "(32768, 16 MiB, unless format was told otherwise).",
	},
	{
		NUMBER("recalculate", PER_PAIR, recalculate, 0, 1, "no or yes", "0"),
		.summary = "make all tags anew, once",
		.about = "1: all tags are made anew, in the background, unless the pair says that "
			 "it has been done. 0: only what the pair itself asks for. A block is not "
			 "verified before its turn has come.",
	},
	{
		NUMBER("legacy_recalculate", PER_PAIR, legacy_recalculate, 0, 1, "no or yes", "0"),
		.summary = "make tags anew with keyed tags, too",
		.about = "1: also where a key could be got around by it, which the kernel "
			 "refuses without its option of that name, too.",
	},
	{
		NUMBER("recalculate_rate", EVERYWHERE, recalculate_rate, 1, 1U << 20,
		       "MiB per second", NULL),
		.summary = "how fast tags are made anew at most",
		.about = "Without it there is no limit but that foreground I/O goes first.",
	},
	{
		NUMBER("allow_discards", EVERYWHERE, allow_discards, 0, 1, "no or yes", "0"),
		.summary = "serve UNMAP, and read what was discarded",
		.about = "1: UNMAP and WRITE SAME with UNMAP are served. The tags of discarded "
			 "blocks become dm-integrity's filler, the data device may forget the "
			 "blocks. 0: there is nothing to unmap, and a block that was discarded "
			 "with 1 is a mismatch until it is written.",
	},
	{
		.name = "backend",
		.kind = TI_KIND_WORD,
		.where = EVERYWHERE,
		AT(backend),
		.words = backends,
		.preset = "auto",
		.summary = "how the devices are driven",
		.about = "uring: by io_uring, or the LUN does not open. threads: by a pool of "
			 "threads. auto: io_uring, or threads where the kernel refuses io_uring.",
	},
	{
		.name = "hash_helpers",
		.kind = TI_KIND_WORD,
		.where = EVERYWHERE,
		AT(hash_helpers),
		.words = helpers,
		.preset = "auto",
		.summary = "threads that help with large requests",
		.about = "Where hash is a slow digest, so many threads of the LUN's own make some "
			 "of the tags of requests that take one thread 300 us or longer, from 64 "
			 "KiB on. auto: one less than there are processors, at most 3. crc32c, "
			 "crc32 and xxhash64 never have any.",
	},
	{
		.name = "journal_integrity",
		.kind = TI_KIND_DIGEST,
		.where = TI_IN_PROFILE,
		AT(journal_mac),
		.summary = "the digest that seals superblock and journal",
		.about = "dm-integrity's journal_mac; exactly if the pair was formatted with it.",
	},
	{
		.name = "journal_crypt",
		.kind = TI_KIND_CIPHER,
		.where = TI_IN_PROFILE,
		AT(journal_crypt),
		.summary = "the cipher of the journal",
		.about = "Exactly if the pair was formatted with it.",
	},
	PLACES("integrity_key", hash_key, "hash=hmac-..."),
	{
		NUMBER("tag_size", TI_IN_PROFILE, tag_size, 1, TI_MAX_TAG_SIZE, "bytes", NULL),
		.summary = "how long a tag is",
		.about = "As the pair was formatted. Needed where hash=hmac-... makes longer tags "
			 "than the pair has and no journal_integrity with a key protects the "
			 "superblock that says so; the LUN is refused if it says something else.",
	},
	PLACES("journal_integrity_key", journal_mac_key, "journal_integrity"),
	PLACES("journal_crypt_key", journal_crypt_key, "journal_crypt"),
	{
		/* Read, and taken out of a device's string, by tcmu-runner itself. */
		NUMBER("tcmur_cmd_time_out", TI_IN_STRING, runner_time_out_s, 0, INT32_MAX,
		       "seconds", NULL),
		.summary = "tcmu-runner's own",
		.about = "tcmu-runner logs commands that take longer.",
	},
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))
_Static_assert(KEYS <= TI_CONFIG_KEYS_MAX, "a bit per key");

const struct ti_config_key *ti_config_key(size_t index)
{
	return index < KEYS ? &keys[index] : NULL;
}

const struct ti_config_key *ti_config_find_key(const char *name, size_t *index)
{
	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(keys[i].name, name) != 0)
			continue;
		if (index)
			*index = i;
		return &keys[i];
	}
	return NULL;
}

/* Edit distance of two words: how many letters to change, insert or drop. */
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

const struct ti_config_key *ti_config_nearest_key(const char *name)
{
	const struct ti_config_key *nearest = NULL;
	size_t distance = 4; /* further away it is no help */

	/* No key is that long, and a stranger's word may be much longer. */
	if (strlen(name) > 64)
		return NULL;
	for (size_t i = 0; i < KEYS; i++) {
		size_t d = edit_distance(name, keys[i].name);

		if (d < distance && d < strlen(keys[i].name)) {
			distance = d;
			nearest = &keys[i];
		}
	}
	return nearest;
}
