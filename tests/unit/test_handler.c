/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What the runner's main thread calls: registration, check_config(), open(), reconfig(), close(),
 * and what is said when they refuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/prctl.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <glib.h>

#include "libtcmu.h"

#include "abi.h"
#include "check_pair.h"
#include "config.h"
#include "fake_tcmu.h"
#include "file_pair.h"
#include "pair.h"
#include "say.h"
#include "superblock.h"

int handler_init(void);

static struct file_pair pair;
static struct tcmur_handler *handler;

static int make_pair(void **state)
{
	(void)state;
	file_pair_make(&pair, 512, 1 << 20, "");
	assert_int_equal(chmod(pair.dir, 0755), 0); /* everybody may know what lies there */
	fake_log_clear();
	return 0;
}

static int remove_pair(void **state)
{
	(void)state;
	file_pair_remove(&pair);
	return 0;
}

static void it_registers_itself(void **state)
{
	(void)state;
	assert_int_equal(handler_init(), 0);
	handler = fake_handler();
	assert_string_equal(handler->subtype, "integrity");
	assert_ptr_equal(handler->cfg_desc, ti_config_describe());
	assert_int_equal(handler->nr_threads, 0);
	assert_null(handler->unmap);
	assert_null(handler->writesame);
	assert_null(handler->caw);
}

static void another_libtcmu_is_refused(void **state)
{
	struct ti_error error = { 0 };

	(void)state;
	assert_int_equal(ti_abi_check(&error), 0); /* the fake has the right name */
	assert_int_equal(ti_abi_check_file("/bin/sh", &error), -ELIBBAD);
	assert_non_null(strstr(error.text, TI_LIBTCMU));
	memset(&error, 0, sizeof(error));
	assert_int_equal(ti_abi_check_file("/nonexistent/libtcmu.so.2.2", &error), -ELIBBAD);
}

/* Releases from 1.5.0 to 1.6.2 have the same library, and not the same structs. */
static void another_version_of_the_runner_is_refused(void **state)
{
	static const char good[] = "usage\0" TI_TCMU_VERSION, longer[] = "1" TI_TCMU_VERSION;
	static const char patch[] = TI_TCMU_VERSION ".1\0tcmu-runner %s",
			  part[] = "2." TI_TCMU_VERSION;

	(void)state;
	assert_true(ti_abi_names_version(good, sizeof(good)));
	assert_true(ti_abi_names_version(TI_TCMU_VERSION, sizeof(TI_TCMU_VERSION)));
	assert_false(ti_abi_names_version(good, sizeof(good) - 1)); /* it does not end here */
	assert_false(ti_abi_names_version(longer, sizeof(longer)));
	assert_false(ti_abi_names_version(patch, sizeof(patch)));
	assert_false(ti_abi_names_version(part, sizeof(part)));
	assert_false(ti_abi_names_version("1.6.2", sizeof("1.6.2")));
	assert_false(ti_abi_names_version("", 0));
}

static void checked(const char *cfgstring, const char *part)
{
	char *reason = NULL;
	bool good = handler->check_config(cfgstring, &reason);

	if (good != !part)
		fail_msg("'%s': %s", cfgstring, good ? "accepted" : reason);
	if (part && !strstr(reason, part))
		fail_msg("'%s': '%s' does not contain '%s'", cfgstring, reason, part);
	free(reason);
}

static void check_config_finds_what_open_would(void **state)
{
	struct tcmu_device *dev = fake_device(pair.config, 512, pair.bytes);
	char s[300];

	(void)state;
	checked(pair.config, NULL);
	checked("integrity/", "the data device is missing");
	snprintf(s, sizeof(s), "%s;cash_mb=1", pair.config);
	checked(s, "did you mean 'cache_mb'");
	snprintf(s, sizeof(s), "integrity/%s;meta=%s/nothing", pair.data, pair.dir);
	checked(s, "does not exist");
	snprintf(s, sizeof(s), "integrity/%s;meta=%s", pair.meta, pair.data);
	checked(s, pair.data); /* exchanged: no superblock there */
	/* A LUN that is open holds its pair, and says who it is. */
	assert_int_equal(handler->open(dev, false), 0);
	snprintf(s, sizeof(s), "%d", getpid());
	checked(pair.config, s);
	handler->close(dev);
	checked(pair.config, NULL);
	fake_device_free(dev);
}

/* To look at paths as nobody changes the process's rights, after which it would leave no core. */
static void check_config_leaves_the_process_one_that_dumps_core(void **state)
{
	(void)state;
	assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0);
	checked(pair.config, NULL);
	assert_int_equal(prctl(PR_GET_DUMPABLE), 1);
	assert_int_equal(prctl(PR_SET_DUMPABLE, 0), 0);
	checked(pair.config, NULL);
	assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
	assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0);
}

/* Anybody may ask, and root answers. */
static void check_config_does_not_tell_what_lies_in_private_places(void **state)
{
	char s[300];

	(void)state;
	if (geteuid() == 0)
		assert_int_equal(chmod(pair.dir, 0700), 0);
	else
		assert_int_equal(chmod(pair.dir, 0), 0);
	snprintf(s, sizeof(s), "integrity/%s;meta=%s/nothing", pair.data, pair.dir);
	checked(s, "the log alone says why");
	snprintf(s, sizeof(s), "integrity/%s;meta=%s", pair.meta, pair.data);
	checked(s, "the log alone says why");
	assert_true(fake_logged(geteuid() == 0 ? "nothing does not exist" : "refused: "));
	assert_int_equal(chmod(pair.dir, 0755), 0);
}

int __real_ti_pair_open(const struct ti_pair_options *options, const struct ti_log *log,
			struct ti_queue **queue, struct ti_error *error);
int __wrap_ti_pair_open(const struct ti_pair_options *options, const struct ti_log *log,
			struct ti_queue **queue, struct ti_error *error);

static char link_path[100], open_path[100], private_path[110]; /* "": nobody exchanges anything */

static void lead_to(const char *path)
{
	unlink(link_path);
	assert_int_equal(symlink(path, link_path), 0);
}

/* The link leads elsewhere from before the pair is looked at until it has been. */
int __wrap_ti_pair_open(const struct ti_pair_options *options, const struct ti_log *log,
			struct ti_queue **queue, struct ti_error *error)
{
	int err;

	if (*link_path)
		lead_to(private_path);
	err = __real_ti_pair_open(options, log, queue, error);
	if (*link_path)
		lead_to(open_path);
	return err;
}

/* What is said is about what everybody may see, whether there is something else or not. */
static void check_config_is_not_led_to_private_places_meanwhile(void **state)
{
	char s[300], dir[80], *reason[2] = { NULL, NULL };
	int fd;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/private", pair.dir);
	snprintf(open_path, sizeof(open_path), "%s/open", pair.dir);
	snprintf(private_path, sizeof(private_path), "%s/there", dir);
	snprintf(link_path, sizeof(link_path), "%s/link", pair.dir);
	snprintf(s, sizeof(s), "integrity/%s;meta=%s", pair.data, link_path);
	assert_int_equal(chmod(pair.dir, 0755), 0);
	assert_int_equal(mkdir(dir, 0700), 0);
	for (unsigned opened = 0; opened < 2; opened++) {
		if (opened) {
			fd = open(open_path, O_CREAT | O_RDWR, 0644);
			assert_true(fd >= 0);
			close(fd);
		}
		for (unsigned there = 0; there < 2; there++) {
			if (there) {
				fd = open(private_path, O_CREAT | O_RDWR, 0600);
				assert_true(fd >= 0);
				close(fd);
			}
			lead_to(open_path);
			assert_false(handler->check_config(s, &reason[there]));
			unlink(private_path);
		}
		assert_string_equal(reason[0], reason[1]);
		assert_non_null(strstr(reason[0], opened ? "is empty" : "does not exist"));
		assert_non_null(strstr(reason[0], link_path));
		free(reason[0]);
		free(reason[1]);
	}
	unlink(link_path);
	unlink(open_path);
	rmdir(dir);
	*link_path = '\0';
}

/* A profile's key is not tried on whatever somebody names. */
static void check_config_loads_no_key_for_another_metadata_device(void **state)
{
	const struct ti_config_paths paths = { .profiles = pair.dir };
	struct ti_error error = { 0 };
	struct ti_config config;
	bool secret;
	char path[100], s[200];
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "%s/p.conf", pair.dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "[lun]\ndata=%s\nmeta=%s\nhash=hmac-sha256\nintegrity_key_file=%s/key\n",
		pair.data, pair.meta, pair.dir);
	fclose(f);
	if (ti_config_parse_at(&paths, "integrity/profile=p", &config, NULL, &error))
		fail_msg("%s", error.text);
	assert_int_equal(ti_check_pair(&config, &secret, &error), -ENOKEY); /* there is none */
	snprintf(s, sizeof(s), "integrity/profile=p;meta=%s", pair.meta);
	assert_int_equal(ti_config_parse_at(&paths, s, &config, NULL, &error), 0);
	error.err = 0;
	assert_int_equal(ti_check_pair(&config, &secret, &error), 0);
	unlink(path);
}

/* As an open does: a dirty bitmap is what a crash leaves in mode bitmap, and nowhere else. */
static void check_config_lets_a_keyed_dirty_bitmap_pass_in_mode_bitmap(void **state)
{
	const struct ti_config_paths paths = { .profiles = pair.dir };
	struct ti_error error = { 0 };
	struct ti_config config;
	bool secret;
	char profile[100], key[100];
	FILE *f;

	(void)state;
	snprintf(profile, sizeof(profile), "%s/p.conf", pair.dir);
	snprintf(key, sizeof(key), "%s/key", pair.dir);
	f = fopen(key, "w");
	assert_non_null(f);
	fputs("key", f);
	fclose(f);
	f = fopen(profile, "w");
	assert_non_null(f);
	fprintf(f, "[lun]\ndata=%s\nmeta=%s\nhash=hmac-sha256\ntag_size=4\nintegrity_key_file=%s\n",
		pair.data, pair.meta, key);
	fclose(f);
	f = fopen(pair.meta, "r+");
	assert_non_null(f);
	assert_int_equal(fseek(f, offsetof(struct ti_superblock_disk, flags), SEEK_SET), 0);
	fputc(TI_SB_FIXED_HMAC | TI_SB_DIRTY_BITMAP, f);
	fclose(f);
	for (int bitmap = 0; bitmap < 2; bitmap++) {
		assert_int_equal(ti_config_parse_at(&paths,
						    bitmap ? "integrity/profile=p;mode=bitmap"
							   : "integrity/profile=p",
						    &config, NULL, &error),
				 0);
		assert_int_equal(ti_check_pair(&config, &secret, &error), bitmap ? 0 : -EOPNOTSUPP);
		error.err = 0;
	}
	unlink(profile);
	unlink(key);
}

/* GDBus takes no other; a name may be cut in the middle of a character. */
static void reasons_are_utf8(void **state)
{
	char *reason = NULL, s[200];

	(void)state;
	snprintf(s, sizeof(s), "%.120s;a", "integrity//dev/a;meta=/dev/b");
	for (unsigned i = 0; i < 40; i++)
		strcat(s, "\xc3\xa4");
	strcat(s, "=1");
	assert_false(handler->check_config(s, &reason));
	assert_non_null(strstr(reason, "there is no key"));
	assert_true(g_utf8_validate(reason, -1, NULL));
	free(reason);
}

/* Open must fail, say @part in the log and leave nothing behind: twice, as rtslib does. */
static void open_fails(const char *config, uint32_t block_size, uint64_t bytes, const char *part)
{
	struct tcmu_device *dev = fake_device(config, block_size, bytes);

	fake_log_clear();
	assert_int_not_equal(handler->open(dev, false), 0);
	assert_int_not_equal(handler->open(dev, false), 0);
	if (!fake_logged(part))
		fail_msg("not logged: %s", part);
	assert_null(tcmur_dev_get_private(dev));
	fake_device_free(dev);
	checked(pair.config, NULL); /* nobody holds it */
}

static void open_refuses_what_cannot_be_served(void **state)
{
	struct file_pair large;

	(void)state;
	open_fails("integrity//dev/zero;meta=/dev/null", 512, 512, "open failed");
	open_fails("int//dev/zero;meta=/dev/null", 512, 512, "does not start with");
	open_fails(pair.config, 512, pair.bytes + 512, "more than");
	open_fails(pair.config, 512, 0, "whole number");
	open_fails(pair.config, 8192, pair.bytes, "hw_block_size");
	open_fails(pair.config, 520, pair.bytes, "hw_block_size");
	file_pair_make(&large, 4096, 1 << 20, "");
	open_fails(large.config, 512, large.bytes, "hw_block_size=4096");
	file_pair_remove(&large);
	unlink(pair.data);
	fake_log_clear();
	{
		struct tcmu_device *dev = fake_device(pair.config, 512, pair.bytes);

		assert_int_not_equal(handler->open(dev, false), 0);
		assert_true(fake_logged("does not exist"));
		fake_device_free(dev);
	}
}

static void a_second_opener_is_told_who_holds_the_pair(void **state)
{
	struct tcmu_device *first = fake_device(pair.config, 512, pair.bytes);
	struct tcmu_device *second = fake_device(pair.config, 512, pair.bytes);
	char pid[16];

	(void)state;
	assert_int_equal(handler->open(first, false), 0);
	fake_log_clear();
	assert_int_not_equal(handler->open(second, false), 0);
	snprintf(pid, sizeof(pid), "%d", getpid());
	assert_true(fake_logged(pid));
	handler->close(first);
	assert_int_equal(handler->open(second, false), 0);
	handler->close(second);
	fake_device_free(first);
	fake_device_free(second);
}

static void the_core_is_told_the_truth(void **state)
{
	struct tcmu_device *dev = fake_device(pair.config, 512, pair.bytes);

	(void)state;
	assert_int_equal(handler->open(dev, false), 0);
	assert_true(fake_write_cache(dev));
	assert_int_equal(fake_unmap_align(dev), 1);
	assert_true(fake_will_log("open data="));
	assert_true(fake_will_log("locked_memory="));
	handler->close(dev);
	assert_true(fake_logged("closed reads=0"));
	fake_device_free(dev);
}

static int reconfig(struct tcmu_device *dev, struct tcmulib_cfg_info cfg)
{
	return handler->reconfig(dev, &cfg);
}

static void reconfig_takes_what_changes_nothing(void **state)
{
	struct tcmu_device *dev = fake_device(pair.config, 512, pair.bytes);
	char same[300], other[300];

	(void)state;
	snprintf(same, sizeof(same), "%s;mode=journal;tcmur_cmd_time_out=3", pair.config);
	snprintf(other, sizeof(other), "%s;cache_mb=1", pair.config);
	assert_int_equal(handler->open(dev, false), 0);
	assert_int_equal(reconfig(dev, (struct tcmulib_cfg_info){ .type = TCMULIB_CFG_DEV_CFGSTR,
								  .data.dev_cfgstring = same }),
			 0);
	assert_int_equal(reconfig(dev, (struct tcmulib_cfg_info){ .type = TCMULIB_CFG_DEV_CFGSTR,
								  .data.dev_cfgstring = other }),
			 -EOPNOTSUPP);
	assert_true(fake_will_log("cannot be changed"));
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			reconfig(dev, (struct tcmulib_cfg_info){ .type = TCMULIB_CFG_WRITE_CACHE,
								 .data.write_cache = i }),
			0);
	handler->close(dev);
	fake_device_free(dev);
}

static void the_size_can_be_changed_within_the_pair(void **state)
{
	struct tcmu_device *dev = fake_device(pair.config, 512, 512 * 10);
	struct fake_command c = { .cdb = { 0x28, [5] = 10, [8] = 1 }, .len = 512 };
	uint8_t block[512];

	(void)state;
	c.data = block;
	assert_int_equal(handler->open(dev, false), 0);
	assert_int_equal(fake_run(dev, &c), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(reconfig(dev, (struct tcmulib_cfg_info){ .type = TCMULIB_CFG_DEV_SIZE,
								  .data.dev_size = 512 * 11 }),
			 0);
	assert_int_equal(fake_run(dev, &c), TCMU_STS_OK);
	assert_int_equal(
		reconfig(dev, (struct tcmulib_cfg_info){ .type = TCMULIB_CFG_DEV_SIZE,
							 .data.dev_size = pair.bytes + 512 }),
		-EINVAL);
	assert_true(fake_will_log("resize refused"));
	assert_int_equal(reconfig(dev, (struct tcmulib_cfg_info){ .type = TCMULIB_CFG_DEV_SIZE,
								  .data.dev_size = 1000 }),
			 -EINVAL);
	assert_int_equal(fake_run(dev, &c), TCMU_STS_OK);
	handler->close(dev);
	fake_device_free(dev);
}

static void what_was_written_is_there_after_close(void **state)
{
	struct tcmu_device *dev = fake_device(pair.config, 512, pair.bytes);
	uint8_t block[512];
	struct fake_command c = { .cdb = { 0x2a, [5] = 7, [8] = 1 }, .data = block, .len = 512 };

	(void)state;
	memset(block, 0x42, sizeof(block));
	assert_int_equal(handler->open(dev, false), 0);
	assert_int_equal(fake_run(dev, &c), TCMU_STS_OK);
	handler->close(dev);
	assert_int_equal(handler->open(dev, false), 0);
	memset(block, 0, sizeof(block));
	c.cdb[0] = 0x28;
	assert_int_equal(fake_run(dev, &c), TCMU_STS_OK);
	assert_int_equal(block[0], 0x42);
	assert_int_equal(block[511], 0x42);
	handler->close(dev);
	fake_device_free(dev);
}

#define NAME "integrity/uio7: " /* in front of a LUN's lines */

/* The runner cuts at 255 bytes, with a LUN's name in front or without. */
static void long_sentences_are_logged_whole(void **state)
{
	struct tcmu_device *devs[] = { NULL, fake_device("integrity/x", 512, 1 << 20) };
	char text[700];

	(void)state;
	for (unsigned d = 0; d < 2; d++) {
		fake_log_clear();
		text[0] = '\0';
		for (unsigned i = 0; i < 60; i++)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "word%03u ", i);
		ti_say(devs[d], TI_LOG_ERR, "%s", text);
		for (unsigned i = 0; i < 60; i++) {
			char word[16];

			snprintf(word, sizeof(word), "word%03u", i);
			assert_true(fake_logged(word));
		}
		assert_true(fake_logged(d ? " ...\n" NAME "... word" : " ...\n... word"));
		/* One that has no place to be cut at. */
		fake_log_clear();
		memset(text, 'x', 650);
		snprintf(text + 650, 5, "end");
		ti_say(devs[d], TI_LOG_ERR, "%s", text);
		assert_true(fake_logged(d ? "x ...\n" NAME "... x" : "x ...\n... x"));
		assert_true(fake_logged("end\n"));
	}
	fake_device_free(devs[1]);
}

/* What fits is one line, to the last byte. */
static void sentences_that_fit_are_one_line(void **state)
{
	struct tcmu_device *devs[] = { NULL, fake_device("integrity/x", 512, 1 << 20) };
	char text[300];

	(void)state;
	for (unsigned d = 0; d < 2; d++) {
		size_t room = 254 - strlen(d ? "ti:0: " NAME : "ti:0: ") - 1;

		memset(text, 'x', room);
		text[room / 2] = ' ';
		text[room] = '\0';
		fake_log_clear();
		ti_say(devs[d], TI_LOG_ERR, "%s", text);
		assert_true(fake_logged("x\n"));
		assert_false(fake_logged("..."));
		strcat(text, "x");
		fake_log_clear();
		ti_say(devs[d], TI_LOG_ERR, "%s", text);
		assert_true(fake_logged(d ? "x ...\n" NAME "... x" : "x ...\n... x"));
		assert_true(fake_logged("x\n"));
	}
	fake_device_free(devs[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_pair, remove_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_registers_itself),
		TEST(another_libtcmu_is_refused),
		cmocka_unit_test(another_version_of_the_runner_is_refused),
		TEST(check_config_finds_what_open_would),
		TEST(check_config_leaves_the_process_one_that_dumps_core),
		TEST(check_config_does_not_tell_what_lies_in_private_places),
		TEST(check_config_is_not_led_to_private_places_meanwhile),
		TEST(check_config_loads_no_key_for_another_metadata_device),
		TEST(check_config_lets_a_keyed_dirty_bitmap_pass_in_mode_bitmap),
		TEST(reasons_are_utf8),
		TEST(open_refuses_what_cannot_be_served),
		TEST(a_second_opener_is_told_who_holds_the_pair),
		TEST(the_core_is_told_the_truth),
		TEST(reconfig_takes_what_changes_nothing),
		TEST(the_size_can_be_changed_within_the_pair),
		TEST(what_was_written_is_there_after_close),
		TEST(long_sentences_are_logged_whole),
		TEST(sentences_that_fit_are_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
