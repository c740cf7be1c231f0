/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What the D-Bus service decides without a bus: which signals go out, how LUNs are called, and
 * which devices are the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dirent.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "backstore.h"
#include "device_identity.h"
#include "service_lun.h"

/* ---- signals ---- */

static unsigned put_many(struct ti_signal_budget *b, unsigned count)
{
	unsigned gone = 0;

	for (unsigned i = 0; i < count; i++)
		gone += ti_signal_may_go(b);
	return gone;
}

/* Also when they come while the queue is being asked whether it is empty. */
static void never_more_signals_wait_than_there_may(void **state)
{
	struct ti_signal_budget b = { 0 };

	(void)state;
	assert_int_equal(put_many(&b, 100), 100);
	ti_signals_ask(&b);
	assert_int_equal(put_many(&b, 200), TI_SIGNALS_MOST - 100);
	assert_int_equal(ti_signals_are_out(&b), 44);
	/* Of the 256, the first 100 are gone for certain. */
	assert_int_equal(put_many(&b, 200), 100);
	ti_signals_ask(&b);
	assert_int_equal(put_many(&b, 1), 0);
	assert_int_equal(ti_signals_are_out(&b), 101);
	assert_int_equal(b.waiting, 0);
	assert_int_equal(put_many(&b, 1000), TI_SIGNALS_MOST);
	ti_signals_gone(&b);
	assert_int_equal(put_many(&b, 1000), TI_SIGNALS_MOST);
	/* An answer that was meant for the queue before. */
	assert_int_equal(ti_signals_are_out(&b), 2 * (1000 - TI_SIGNALS_MOST));
	assert_int_equal(put_many(&b, 1), 0);
}

/* ---- names ---- */

static void backstore_is_named_by_its_uio_device(void **state)
{
	static const char *const others[] = {
		"",
		"tcm-user",
		"tcm-user/",
		"tcm-user/1",
		"tcm-user/1/",
		"tcm-user//x/",
		"tcm-user/x/y/z",
		"uio_pci",
		"tcm-user/12345678901234567/x/y",
	};
	struct ti_backstore b = { .name = "uio0", .hba = "" };

	(void)state;
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (ti_backstore_parse(others[i], &b))
			fail_msg("taken: %s", others[i]);
		assert_string_equal(b.name, "uio0");
		assert_string_equal(b.hba, "");
	}
	assert_true(ti_backstore_parse("tcm-user/4711/lun 0/integrity/a;meta=b\n", &b));
	assert_string_equal(b.name, "lun 0");
	assert_string_equal(b.hba, "user_4711");
	assert_true(ti_backstore_parse("tcm-user/0/x\n", &b));
	assert_string_equal(b.name, "x");
	assert_string_equal(b.hba, "user_0");
}

static struct ti_service_lun lun_of(char *backstore, char *full_name)
{
	return (struct ti_service_lun){ .backstore = backstore, .full_name = full_name };
}

/* The one that was there first has no right to the name. */
static void twins_are_called_by_their_full_names_while_there_are_two(void **state)
{
	char lun[] = "lun", other[] = "lun_", one[] = "user_1/lun", two[] = "user_2/lun",
	     three[] = "user_3/lun_";
	struct ti_service_lun a = lun_of(lun, one), b = lun_of(lun, two), c = lun_of(other, three);
	g_autoptr(GPtrArray) all = g_ptr_array_new();
	g_autofree char *path = NULL;

	(void)state;
	g_ptr_array_add(all, &a);
	g_ptr_array_add(all, &c);
	assert_string_equal(ti_service_lun_called(&a, all), "lun");
	g_ptr_array_add(all, &b);
	assert_string_equal(ti_service_lun_called(&a, all), "user_1/lun");
	assert_string_equal(ti_service_lun_called(&b, all), "user_2/lun");
	assert_string_equal(ti_service_lun_called(&c, all), "lun_");
	g_ptr_array_remove(all, &a);
	assert_string_equal(ti_service_lun_called(&b, all), "lun");
	c.name = ti_service_lun_called(&c, all);
	path = ti_service_lun_path(&c);
	assert_string_equal(path, "/org/tcmu_integrity1/lun/lun_5f");
}

/* ---- devices ---- */

/* Any block device that this machine has; false: it has none. */
static bool a_block_device(char *path, size_t size, struct stat *st)
{
	DIR *dir = opendir("/dev");
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		if ((size_t)snprintf(path, size, "/dev/%s", entry->d_name) < size)
			found = stat(path, st) == 0 && S_ISBLK(st->st_mode);
	}
	if (dir)
		closedir(dir);
	return found;
}

static void files_are_known_by_their_paths(void **state)
{
	uint64_t id = ti_device_identity("/nonexistent", "/a", "/b");

	(void)state;
	assert_true(id == ti_device_identity("/nonexistent", "/a", "/b"));
	assert_true(id != ti_device_identity("/nonexistent", "/a", "/c"));
	assert_true(id != ti_device_identity("/nonexistent", "/b", "/a"));
	assert_true(id != ti_device_identity("/nonexistent", "/a/b", ""));
}

static void devices_are_known_by_what_udev_calls_them(void **state)
{
	char dir[] = "/tmp/ti-udev-XXXXXX", file[64], device[300], alias[64];
	uint64_t id, alone;
	struct stat st;
	FILE *f;

	(void)state;
	if (!a_block_device(device, sizeof(device), &st)) {
		print_message(
			"this machine has no block device to try it with; the lab's 94 has\n");
		skip();
	}
	assert_non_null(mkdtemp(dir));
	snprintf(alias, sizeof(alias), "%s/alias", dir);
	assert_int_equal(symlink(device, alias), 0);
	alone = ti_device_identity(dir, device, "/meta");
	assert_true(alone != ti_device_identity(dir, alias, "/meta"));
	snprintf(file, sizeof(file), "%s/b%u:%u", dir, major(st.st_rdev), minor(st.st_rdev));
	f = fopen(file, "w");
	assert_non_null(f);
	fputs("S:disk/by-path/x\nS:disk/by-id/wwn-2\nS:disk/by-id/ata-1\nE:ID_SERIAL=1\n", f);
	fclose(f);
	id = ti_device_identity(dir, device, "/meta");
	assert_true(id != alone);
	assert_true(id == ti_device_identity(dir, alias, "/meta"));
	/* In whatever order udev has them, and whatever the path. */
	f = fopen(file, "w");
	assert_non_null(f);
	fputs("S:disk/by-id/ata-1\nS:disk/by-path/y\nS:disk/by-id/wwn-2\n", f);
	fclose(f);
	assert_true(id == ti_device_identity(dir, alias, "/meta"));
	f = fopen(file, "w");
	assert_non_null(f);
	fputs("S:disk/by-id/ata-9\nS:disk/by-id/wwn-9\n", f);
	fclose(f);
	assert_true(id != ti_device_identity(dir, device, "/meta"));
	unlink(file);
	unlink(alias);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(never_more_signals_wait_than_there_may),
		cmocka_unit_test(backstore_is_named_by_its_uio_device),
		cmocka_unit_test(twins_are_called_by_their_full_names_while_there_are_two),
		cmocka_unit_test(files_are_known_by_their_paths),
		cmocka_unit_test(devices_are_known_by_what_udev_calls_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
