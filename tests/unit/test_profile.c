/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Profiles: what may stand in one, what of it the config string overrides, and a sentence for all
 * that is wrong.  No sentence repeats a key.
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/keyctl.h>

#include <cmocka.h>

#define DEVICES "data=/dev/a\nmeta=/dev/b\n"
#define KEYED	"[lun]\n" DEVICES "hash=hmac-sha256\n"

static char dir[] = "/tmp/ti-profile-XXXXXX";

static void write_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int parse(const char *text, const char *string, struct ti_config *config,
		 struct ti_error *error)
{
	const struct ti_config_paths paths = { .profiles = dir };

	write_file("p.conf", text);
	return ti_config_parse_at(&paths, string, config, NULL, error);
}

static struct ti_config good(const char *text, const char *string)
{
	struct ti_error error = { 0 };
	struct ti_config config;

	if (parse(text, string, &config, &error))
		fail_msg("%s", error.text);
	return config;
}

static void refused(const char *text, const char *part)
{
	struct ti_error error = { 0 };
	struct ti_config config;

	assert_true(parse(text, "integrity/profile=p", &config, &error) < 0);
	if (!strstr(error.text, part))
		fail_msg("'%s' does not contain '%s'", error.text, part);
	assert_null(strstr(error.text, "5eC2eT"));
	assert_null(strchr(error.text, '\n'));
}

static void a_profile_has_all_that_a_config_string_has(void **state)
{
	struct ti_config c = good("[lun]\ndata=/dev/disk/by-path/pci-0000:00:1f.2-ata-1\n"
				  "meta=/dev/b\nhash=sha512\nmode=direct\ncache_mb=3\nstart=8\n",
				  "integrity/profile=p");

	(void)state;
	/* A ':', which no config string may hold. */
	assert_string_equal(c.data_path, "/dev/disk/by-path/pci-0000:00:1f.2-ata-1");
	assert_string_equal(c.meta_path, "/dev/b");
	assert_string_equal(c.hash, "sha512");
	assert_int_equal(c.mode, TI_MODE_DIRECT);
	assert_int_equal(c.cache_mb, 3);
	assert_int_equal(c.start_sectors, 8);
	assert_int_equal(c.hash_key.kind, TI_KEY_NONE);
}

static void the_config_string_counts_more(void **state)
{
	struct ti_config c = good("[lun]\n" DEVICES "mode=direct\ncache_mb=3\n",
				  "integrity/profile=p;mode=journal;meta=/dev/c");

	(void)state;
	assert_int_equal(c.mode, TI_MODE_JOURNAL);
	assert_string_equal(c.meta_path, "/dev/c");
	assert_int_equal(c.cache_mb, 3);
}

static void keys_are_named_in_every_way(void **state)
{
	struct ti_config c = good(KEYED "integrity_key_file=/etc/k\nintegrity_key_size=32\n",
				  "integrity/profile=p");

	(void)state;
	assert_string_equal(c.hash, "hmac(sha256)");
	assert_int_equal(c.hash_key.kind, TI_KEY_FILE);
	assert_string_equal(c.hash_key.name, "/etc/k");
	assert_int_equal(c.hash_key.size, 32);
	c = good(KEYED "integrity_key=keyring:user:disk1\n", "integrity/profile=p");
	assert_int_equal(c.hash_key.kind, TI_KEY_KEYRING);
	assert_string_equal(c.hash_key.name, "disk1");
	assert_int_equal(c.hash_key.size, 0);
	c = good(KEYED "integrity_key=credential:disk1\n", "integrity/profile=p");
	assert_int_equal(c.hash_key.kind, TI_KEY_CREDENTIAL);
	c = good(KEYED "integrity_key=file:/etc/k\n", "integrity/profile=p");
	assert_int_equal(c.hash_key.kind, TI_KEY_FILE);
}

static void two_places_are_two_luns(void **state)
{
	struct ti_config a = good(KEYED "integrity_key_file=/etc/k\n", "integrity/profile=p");
	struct ti_config b = good(KEYED "integrity_key_file=/etc/k\n", "integrity/profile=p");

	(void)state;
	assert_true(ti_config_equal(&a, &b));
	b = good(KEYED "integrity_key_file=/etc/l\n", "integrity/profile=p");
	assert_false(ti_config_equal(&a, &b));
	b = good(KEYED "integrity_key_file=/etc/k\nintegrity_key_size=9\n", "integrity/profile=p");
	assert_false(ti_config_equal(&a, &b));
}

static void what_is_wrong_is_told(void **state)
{
	(void)state;
	refused("", "one group");
	refused(DEVICES, "p.conf:1: there must be a line [lun] first");
	refused("[disk]\n" DEVICES, "one group");
	refused("[lun]\n" DEVICES "[more]\na=b\n", "one group");
	refused("[lun]\nmeta=/dev/b\n", "data device is missing");
	refused("[lun]\ndata=/dev/a\n", "metadata device is missing");
	refused("[lun]\ndata=a\nmeta=/dev/b\n", "p.conf:2: the data device 'a' is not an absolute");
	refused("[lun]\n" DEVICES "cachemb=1\n", "did you mean 'cache_mb'?");
	refused("[lun]\n" DEVICES "cache_mb=0\n", "p.conf:4: cache_mb=0 is not a number");
	refused("[lun]\n" DEVICES "mode=\n", "mode has no value");
	refused("[lun]\n" DEVICES "profile=other\n", "does not lead to another");
	refused(KEYED, "needs a key");
	refused(KEYED "integrity_key_file=k\n", "absolute");
	refused(KEYED "integrity_key=file:k\n", "absolute");
	refused(KEYED "integrity_key=5eC2eT\n", "never the key itself");
	refused(KEYED "integrity_key=keyring:logon:5eC2eT\n", "make one of type user");
	refused(KEYED "integrity_key=keyring:5eC2eT\n", "keyring:user:DESCRIPTION");
	refused(KEYED "integrity_key=fd:3\n", "command lines");
	refused(KEYED "integrity_key=credential:../x\n", "no path");
	refused(KEYED "8Jx5eC2eT+kUq1M/Zl3Rw2bT0pVn4yHsGdA7oFcXi9E=\n",
		"p.conf:5: what stands before");
	refused(KEYED "5eC2eT5eC2eT==\n", "p.conf:5: what stands before");
	refused(KEYED "5eC2eT5eC2eT=x\\ty\n", "p.conf:5: what stands before");
	refused(KEYED "no_such_name=5eC2eT\n", "p.conf:5: there is no key 'no_such_name'");
	refused(KEYED "integrity_key_size=0\n", "from 1 to 4096");
	refused(KEYED "integrity_key_size=4097\n", "from 1 to 4096");
	refused(KEYED "integrity_key_file=/a\nintegrity_key=file:/b\n", "second place");
}

static void long_paths_are_refused_not_cut(void **state)
{
	char text[400] = "[lun]\nmeta=/dev/b\ndata=/";
	size_t len = strlen(text);

	(void)state;
	memset(text + len, 'x', 254);
	strcpy(text + len + 254, "\n");
	refused(text, "longer than 254");
	strcpy(text + len + 253, "\n");
	good(text, "integrity/profile=p");
}

static int load(const char *text, uint32_t size, struct ti_secret **key, struct ti_error *error)
{
	struct ti_key_source source = { .size = size };

	*error = (struct ti_error){ 0 };
	if (ti_key_source_parse("k", text, &source, error))
		return error->err;
	return ti_key_load("k", &source, key, error);
}

static void keys_are_read_as_integritysetup_reads_them(void **state)
{
	struct ti_error error;
	struct ti_secret *key;
	char place[128], large[4200];

	(void)state;
	write_file("key", "0123456789");
	snprintf(place, sizeof(place), "file:%s/key", dir);
	assert_int_equal(load(place, 0, &key, &error), 0);
	assert_int_equal(key->len, 10);
	assert_memory_equal(key->bytes, "0123456789", 10);
	ti_secret_free(key);
	/* The first bytes, and never fewer than asked for. */
	assert_int_equal(load(place, 4, &key, &error), 0);
	assert_int_equal(key->len, 4);
	ti_secret_free(key);
	assert_int_equal(load(place, 11, &key, &error), -EINVAL);
	assert_non_null(strstr(error.text, "10 bytes"));
	assert_null(strstr(error.text, "01234"));
	assert_null(key);
	write_file("key", "");
	assert_int_equal(load(place, 0, &key, &error), -EINVAL);
	memset(large, 'k', sizeof(large));
	large[4097] = '\0';
	write_file("key", large);
	assert_int_equal(load(place, 0, &key, &error), -EINVAL);
	assert_int_equal(load(place, 4096, &key, &error), 0);
	ti_secret_free(key);
	large[4096] = '\0';
	write_file("key", large);
	assert_int_equal(load(place, 0, &key, &error), 0);
	assert_int_equal(key->len, 4096);
	ti_secret_free(key);
	assert_int_equal(load("file:/no/such/key", 0, &key, &error), -ENOKEY);
	assert_int_equal(load("file:/", 0, &key, &error), -EISDIR);
}

static void a_key_that_everybody_may_read_is_noticed(void **state)
{
	char path[64], text[256];
	struct ti_config c;

	(void)state;
	write_file("key", "k");
	snprintf(path, sizeof(path), "%s/key", dir);
	snprintf(text, sizeof(text), KEYED "integrity_key_file=%s\n", path);
	c = good(text, "integrity/profile=p");
	for (unsigned mode = 0; mode <= 0777; mode++) {
		assert_int_equal(chmod(path, (mode_t)mode), 0);
		if (mode & 06)
			assert_string_equal(ti_config_exposed_key(&c), path);
		else
			assert_null(ti_config_exposed_key(&c));
	}
	assert_int_equal(chmod(path, 0644), 0);
	c.hash_key.kind = TI_KEY_CREDENTIAL; /* who may read those is systemd's business */
	assert_null(ti_config_exposed_key(&c));
	unlink(path);
	c.hash_key.kind = TI_KEY_FILE;
	assert_null(ti_config_exposed_key(&c));
}

static void descriptors_and_credentials_are_read(void **state)
{
	struct ti_error error;
	struct ti_secret *key;
	char place[32];
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "abcdef", 6), 6);
	close(fds[1]);
	snprintf(place, sizeof(place), "fd:%d", fds[0]);
	assert_int_equal(load(place, 0, &key, &error), 0);
	assert_int_equal(key->len, 6);
	ti_secret_free(key);
	close(fds[0]);
	assert_int_equal(load(place, 0, &key, &error), -EBADF);
	assert_int_equal(load("fd:x", 0, &key, &error), -EINVAL);

	unsetenv("CREDENTIALS_DIRECTORY");
	assert_int_equal(load("credential:key", 0, &key, &error), -ENOKEY);
	assert_non_null(strstr(error.text, "LoadCredential=key:"));
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	write_file("key", "from systemd");
	assert_int_equal(load("credential:key", 0, &key, &error), 0);
	assert_int_equal(key->len, 12);
	ti_secret_free(key);
	assert_int_equal(load("credential:none", 0, &key, &error), -ENOKEY);
}

static void a_key_that_no_keyring_has_is_told(void **state)
{
	struct ti_error error;
	struct ti_secret *key;

	(void)state;
	/* Where the kernel has no keyrings, or does not let us near them, it is not there either.
	 */
	assert_int_equal(load("keyring:user:ti-test-no-such-key", 0, &key, &error), -ENOKEY);
	assert_non_null(strstr(error.text, "keyctl padd user ti-test-no-such-key"));
	assert_null(key);
}

/* In a session of this process's own.  tests/lab/72-keyed-lun.sh does the same where there are
 * keyrings for certain. */
static void of_a_long_key_in_a_keyring_the_first_bytes_count(void **state)
{
	static char long_key[8000];
	struct ti_error error;
	struct ti_secret *key;

	(void)state;
	memset(long_key, 'k', sizeof(long_key));
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 ||
	    syscall(SYS_add_key, "user", "ti-test-long", long_key, sizeof(long_key),
		    KEY_SPEC_SESSION_KEYRING) < 0)
		skip();
	assert_int_equal(load("keyring:user:ti-test-long", 32, &key, &error), 0);
	assert_int_equal(key->len, 32);
	assert_memory_equal(key->bytes, long_key, 32);
	ti_secret_free(key);
	assert_int_equal(load("keyring:user:ti-test-long", 0, &key, &error), -EINVAL);
	assert_non_null(strstr(error.text, "give the key's size"));
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/p.conf", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/key", dir);
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_profile_has_all_that_a_config_string_has),
		cmocka_unit_test(the_config_string_counts_more),
		cmocka_unit_test(keys_are_named_in_every_way),
		cmocka_unit_test(two_places_are_two_luns),
		cmocka_unit_test(what_is_wrong_is_told),
		cmocka_unit_test(long_paths_are_refused_not_cut),
		cmocka_unit_test(keys_are_read_as_integritysetup_reads_them),
		cmocka_unit_test(a_key_that_everybody_may_read_is_noticed),
		cmocka_unit_test(descriptors_and_credentials_are_read),
		cmocka_unit_test(a_key_that_no_keyring_has_is_told),
		cmocka_unit_test(of_a_long_key_in_a_keyring_the_first_bytes_count),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
