/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * From ->open() to the first I/O: the journal is replayed by the completion thread; until that is
 * done, and if it fails, commands that need the medium are told so.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "disk.h"
#include "fake_tcmu.h"
#include "file_pair.h"
#include "hash.h"
#include "inspect.h"
#include "journal_format.h"
#include "pair.h"

int handler_init(void);

#define BYTES (1U << 20)

static struct file_pair pair;

static int make_pair(void **state)
{
	(void)state;
	if (!fake_handler())
		assert_int_equal(handler_init(), 0);
	file_pair_make(&pair, 512, BYTES, "");
	fake_log_clear();
	return 0;
}

static int remove_pair(void **state)
{
	(void)state;
	file_pair_remove(&pair);
	return 0;
}

/* Make a journal of one section, committed, that holds one block. */
static void leave_an_entry(uint64_t sector, uint8_t byte)
{
	const struct ti_pair_options options = { .data_path = pair.data, .meta_path = pair.meta };
	const struct ti_journal_ids ids = ti_journal_plain_ids();
	static const struct ti_log nobody;
	struct ti_error error = { 0 };
	struct ti_superblock sb;
	struct ti_geometry geo;
	struct ti_queue *q;
	struct ti_hash hash;
	uint8_t block[512], *section, *entry;

	if (ti_pair_open(&options, &nobody, &q, &error) ||
	    ti_inspect_superblock(q, 0, &sb, &error) ||
	    ti_inspect_geometry(q, &sb, 0, &geo, &error))
		fail_msg("%s", error.text);
	assert_int_equal(geo.journal_sections, 1);
	assert_int_equal(ti_hash_init(&hash, &ti_hash_crc32c, 512, geo.tag_size, sb.salt), 0);
	section = aligned_alloc(4096, ti_journal_section_bytes(&geo));
	assert_non_null(section);
	ti_journal_format_section(&geo, 0, 0, section);
	ti_journal_entry_set_sector(&geo, section, 0, sector);
	memset(block, byte, sizeof(block));
	memcpy(section + ti_journal_data_offset(&geo, 0), block, sizeof(block));
	ti_journal_set_id(section, TI_JOURNAL_META_SECTORS,
			  ti_journal_commit_id(&ids, 0, TI_JOURNAL_META_SECTORS, 0));
	entry = section + ti_journal_entry_offset(&geo, 0);
	memset(entry + ti_journal_last_bytes_offset(0), byte, 8);
	ti_hash_same(&hash, sector, block, 1, entry + ti_journal_entry_tag_offset(&geo));
	assert_int_equal(ti_queue_sync(q, TI_IO_WRITE, TI_META, geo.journal_offset, section,
				       ti_journal_section_bytes(&geo)),
			 0);
	free(section);
	ti_hash_destroy(&hash);
	ti_pair_close(q);
}

static int open_disk(const char *options, struct tcmu_device **dev, struct ti_disk **disk,
		     struct ti_error *error)
{
	char config[400];
	struct ti_config parsed;
	int err;

	snprintf(config, sizeof(config), "%s%s", pair.config, options);
	assert_int_equal(ti_config_parse(config, &parsed, error), 0);
	*dev = fake_device(config, 512, pair.bytes);
	err = ti_disk_open(*dev, &parsed, 0, disk, error);
	tcmur_dev_set_private(*dev, err ? NULL : *disk);
	return err;
}

static void shut(struct tcmu_device *dev, struct ti_disk *disk)
{
	assert_int_equal(ti_disk_close(disk), 0);
	fake_device_free(dev);
}

static void await(struct ti_disk *disk)
{
	while (ti_disk_state(disk) == TI_DISK_STARTING)
		sched_yield();
	assert_int_equal(ti_disk_state(disk), TI_DISK_READY);
}

static void open_replays_the_journal_in_both_modes(void **state)
{
	static const char *const mode[] = { "", ";mode=direct" };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct ti_error error = { 0 };
		struct tcmu_device *dev;
		struct ti_disk *disk;
		uint8_t data[512];
		struct fake_command read = { .cdb = { 0x28, 0, 0, 0, 0, 77, 0, 0, 1 },
					     .data = data,
					     .len = sizeof(data) };

		leave_an_entry(77, (uint8_t)(0x41 + i));
		if (open_disk(mode[i], &dev, &disk, &error))
			fail_msg("%s", error.text);
		await(disk);
		assert_int_equal(fake_run(dev, &read), TCMU_STS_OK);
		assert_int_equal(data[0], 0x41 + i);
		assert_int_equal(data[511], 0x41 + i);
		assert_true(fake_will_log("journal replay ends"));
		fake_log_clear();
		shut(dev, disk);
	}
}

static void check_config_replays_nothing(void **state)
{
	char *reason = NULL;
	FILE *f;
	uint8_t data[512];

	(void)state;
	leave_an_entry(77, 0x41);
	assert_true(fake_handler()->check_config(pair.config, &reason));
	f = fopen(pair.data, "re");
	assert_non_null(f);
	assert_int_equal(fseek(f, 77 * 512, SEEK_SET), 0);
	assert_int_equal(fread(data, 1, sizeof(data), f), sizeof(data));
	fclose(f);
	assert_int_equal(data[0], 0);
}

static void damaged_journal_refuses_the_open_with_its_place(void **state)
{
	struct ti_error error = { 0 };
	struct tcmu_device *dev;
	struct ti_disk *disk;

	(void)state;
	file_pair_damage(pair.meta, (8 + 3) * 512 + 504, 1);
	assert_int_equal(open_disk("", &dev, &disk, &error), -EUCLEAN);
	assert_non_null(strstr(error.text, "section 0, sector 3"));
	assert_true(fake_will_log("section 0, sector 3"));
	fake_device_free(dev);
	file_pair_damage(pair.meta, (8 + 3) * 512 + 504, 1);
	assert_int_equal(open_disk("", &dev, &disk, &error), 0); /* nobody holds it */
	shut(dev, disk);
}

/* One of each kind: by the table, by the core, by the core with callouts. */
static void all_say(struct tcmu_device *dev, uint8_t key, uint8_t asc, uint8_t ascq)
{
	static uint8_t data[512];
	static const struct {
		uint8_t cdb[16];
		size_t len;
	} some[] = {
		{ { 0x00 }, 0 },
		{ { 0x28, 0, 0, 0, 0, 1, 0, 0, 1 }, 512 },
		{ { 0x2a, 0, 0, 0, 0, 1, 0, 0, 1 }, 512 },
		{ { 0x35 }, 0 },
	};

	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
		struct fake_command c = { .data = data, .len = some[i].len };

		memcpy(c.cdb, some[i].cdb, sizeof(c.cdb));
		assert_int_equal(fake_run(dev, &c), TCMU_STS_PASSTHROUGH_ERR);
		assert_int_equal(c.sense[2] & 0x0f, key);
		assert_int_equal(c.sense[12], asc);
		assert_int_equal(c.sense[13], ascq);
	}
}

static void set_state(struct ti_disk *disk, enum ti_disk_state s)
{
	__atomic_store_n(&disk->state, s, __ATOMIC_RELEASE);
}

static void commands_before_and_after_a_start_that_failed_are_told(void **state)
{
	struct ti_error error = { 0 };
	struct tcmu_device *dev;
	struct ti_disk *disk;
	uint8_t data[96];
	struct fake_command inquiry = { .cdb = { 0x12, 0, 0, 0, 96 },
					.data = data,
					.len = sizeof(data) };
	struct fake_command sync = { .cdb = { 0x35 } };
	struct fake_command ready = { .cdb = { 0x00 } };

	(void)state;
	assert_int_equal(open_disk("", &dev, &disk, &error), 0);
	await(disk);
	/* The thread stays out, it would end; the state alone decides what commands are told. */
	pthread_mutex_lock(&disk->lock);
	set_state(disk, TI_DISK_STARTING);
	all_say(dev, 0x2, 0x04, 0x01);
	assert_int_equal(fake_run(dev, &ready), TCMU_STS_PASSTHROUGH_ERR);
	assert_int_equal(ready.sense[15], 0x80); /* how far it is */
	assert_int_equal(fake_run(dev, &inquiry), TCMU_STS_OK);
	set_state(disk, TI_DISK_FAILED);
	all_say(dev, 0x4, 0x44, 0x00);
	assert_int_equal(fake_run(dev, &inquiry), TCMU_STS_OK);
	set_state(disk, TI_DISK_READY);
	pthread_mutex_unlock(&disk->lock);
	assert_int_equal(fake_run(dev, &ready), TCMU_STS_OK);
	assert_int_equal(fake_run(dev, &sync), TCMU_STS_OK);
	shut(dev, disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(open_replays_the_journal_in_both_modes, make_pair,
						remove_pair),
		cmocka_unit_test_setup_teardown(check_config_replays_nothing, make_pair,
						remove_pair),
		cmocka_unit_test_setup_teardown(damaged_journal_refuses_the_open_with_its_place,
						make_pair, remove_pair),
		cmocka_unit_test_setup_teardown(
			commands_before_and_after_a_start_that_failed_are_told, make_pair,
			remove_pair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
