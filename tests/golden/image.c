/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Unpacking with tar, as anybody would, and comparing with the pattern.
 */
#include "image.h"

#include <fcntl.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

static void path_in(const char *dir, const char *name, const char *suffix, char *path, size_t len)
{
	int n = snprintf(path, len, "%s/%s%s", dir, name, suffix);

	assert_true(n > 0 && (size_t)n < len);
}

/* Run a command to its end; it must succeed. */
static void run(char *const argv[])
{
	pid_t pid;
	int status;

	assert_int_equal(posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static uint8_t *load(const char *path, size_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *buf;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*bytes = (size_t)st.st_size;
	/* Aligned: the superblock's reader takes any address, queues do not. */
	buf = aligned_alloc(4096, *bytes);
	assert_non_null(buf);
	assert_int_equal(read(fd, buf, *bytes), st.st_size);
	close(fd);
	return buf;
}

static void read_superblock(struct golden_pair *pair)
{
	struct ti_pair_sizes sizes = {
		.data_sectors = pair->data_bytes / TI_SECTOR_BYTES,
		.meta_sectors = pair->meta_bytes / TI_SECTOR_BYTES,
		.data_name = pair->data_path,
		.meta_name = pair->meta_path,
	};
	uint64_t start = pair->image->start_sector;
	struct ti_error e = { 0 };

	if (ti_superblock_parse(pair->meta + start * TI_SECTOR_BYTES, pair->meta_path, &pair->sb,
				&e) ||
	    ti_geometry_load(&pair->sb, &sizes, start, 0, &pair->geo, &e))
		fail_msg("%s", e.text);
}

static struct ti_secret *key_from(uint8_t first, size_t len)
{
	struct ti_secret *key;

	assert_int_equal(ti_secret_alloc(len, &key), 0);
	for (size_t n = 0; n < len; n++)
		key->bytes[key->len++] = (uint8_t)(first + n);
	return key;
}

struct golden_pair *golden_open(const struct golden_image *image)
{
	struct golden_pair *pair = calloc(1, sizeof(*pair));
	const char *tmp = getenv("TMPDIR");
	char archive[GOLDEN_PATH];

	assert_non_null(pair);
	pair->image = image;
	path_in(tmp ? tmp : "/tmp", "ti-golden-XXXXXX", "", pair->dir, sizeof(pair->dir));
	assert_non_null(mkdtemp(pair->dir));
	path_in(TI_GOLDEN_DIR, image->name, ".tar.xz", archive, sizeof(archive));
	run((char *[]){ "tar", "-x", "-J", "-f", archive, "-C", pair->dir, NULL });
	path_in(pair->dir, image->name, ".data", pair->data_path, sizeof(pair->data_path));
	path_in(pair->dir, image->name, ".meta", pair->meta_path, sizeof(pair->meta_path));
	pair->data = load(pair->data_path, &pair->data_bytes);
	pair->meta = load(pair->meta_path, &pair->meta_bytes);
	read_superblock(pair);
	if (ti_hash_find(image->hash)->keyed)
		pair->hash_key = key_from(0x00, 32);
	if (pair->sb.flags & TI_SB_HAVE_JOURNAL_MAC) {
		pair->mac_key = key_from(0x20, 32);
		pair->seal.mac = "hmac(sha256)";
		pair->seal.mac_key = pair->mac_key;
	}
	return pair;
}

void golden_close(struct golden_pair *pair)
{
	if (!pair)
		return;
	run((char *[]){ "rm", "-r", "-f", pair->dir, NULL });
	ti_secret_free(pair->hash_key);
	ti_secret_free(pair->mac_key);
	free(pair->data);
	free(pair->meta);
	free(pair);
}

void golden_sector(uint32_t n, uint8_t generation, uint8_t *sector)
{
	char line[33];
	int len = snprintf(line, sizeof(line), "sector=%08x gen=%02x dmi-gold\n", n, generation);

	assert_int_equal(len, 32);
	for (unsigned i = 0; i < TI_SECTOR_BYTES; i += 32)
		memcpy(sector + i, line, 32);
}

uint8_t golden_generation(const struct golden_image *image, uint64_t sector)
{
	for (const struct golden_run *r = image->runs; r->count; r++)
		if (sector >= r->first && sector - r->first < r->count)
			return r->generation;
	return 0;
}

void golden_sha256(const struct golden_pair *pair, const uint8_t *bytes, size_t len, char hex[65])
{
	char path[GOLDEN_PATH + 64], command[GOLDEN_PATH + 128];
	FILE *f;

	path_in(pair->dir, "digest", ".in", path, sizeof(path));
	f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	(void)snprintf(command, sizeof(command), "sha256sum '%s'", path);
	f = popen(command, "re");
	assert_non_null(f);
	assert_int_equal(fread(hex, 1, 64, f), 64);
	hex[64] = '\0';
	while (fgetc(f) != EOF)
		;
	assert_int_equal(pclose(f), 0);
}

struct ti_seal *golden_seal(const struct golden_pair *p)
{
	struct ti_error e = { 0 };
	struct ti_seal *seal;

	if (ti_seal_open(&p->seal, &seal, &e) || ti_seal_start(seal, &p->sb, &p->geo, &e))
		fail_msg("%s", e.text);
	return seal;
}

void golden_hash(const struct golden_pair *p, struct ti_hash *hash)
{
	assert_int_equal(ti_hash_init_keyed(hash, ti_hash_find(p->image->hash), p->hash_key,
					    p->geo.block_size, p->geo.tag_size,
					    p->sb.flags & TI_SB_FIXED_HMAC ? p->sb.salt : NULL),
			 0);
}

static int setup(void **state)
{
	*state = golden_open(*state);
	return 0;
}

static int teardown(void **state)
{
	golden_close(*state);
	return 0;
}

int golden_run_all(const char *group, const char *const *what, void (*const *test)(void **state),
		   size_t properties)
{
	size_t count = golden_image_count * properties;
	struct CMUnitTest *tests = calloc(count, sizeof(*tests));
	char(*names)[96] = calloc(count, sizeof(*names));
	int failed;

	if (!tests || !names)
		abort();
	for (size_t i = 0; i < count; i++) {
		const struct golden_image *image = &golden_images[i / properties];

		(void)snprintf(names[i], sizeof(names[i]), "%s: %s", image->name,
			       what[i % properties]);
		tests[i] = (struct CMUnitTest){
			.name = names[i],
			.test_func = test[i % properties],
			.setup_func = setup,
			.teardown_func = teardown,
			.initial_state = (void *)(uintptr_t)image,
		};
	}
	failed = _cmocka_run_group_tests(group, tests, count, NULL, NULL);
	free(names);
	free(tests);
	return failed;
}
