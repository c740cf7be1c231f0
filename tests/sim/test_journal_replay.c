/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Replay: journals are made on the medium, entry by entry, and then opened.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim_journal.h"

static void assert_nothing_was_written(const struct sim_lun *l)
{
	for (unsigned i = 0; i < l->events; i++)
		assert_int_equal(l->event[i].op, TI_IO_READ);
}

static void refuses(struct sim_lun *l, int err, const char *word)
{
	sim_forget(l);
	assert_int_equal(sim_lun_open(l), err);
	print_message("%s\n", l->error.text);
	if (strstr(l->error.text, "sim-meta") == NULL || strstr(l->error.text, word) == NULL)
		fail_msg("no '%s' in: %s", word, l->error.text);
	assert_nothing_was_written(l);
}

static void opens(struct sim_lun *l)
{
	sim_forget(l);
	if (sim_lun_open(l) != 0)
		fail_msg("%s", l->error.text);
}

/* The data device and the tag area hold it, durably. */
static void is_in_place(struct sim_lun *l, uint32_t block, uint32_t version)
{
	assert_true(sim_has_data(l, sim_durable(l->sim, TI_DATA), block, version));
	assert_true(sim_has_tag(l, sim_durable(l->sim, TI_META), block, version));
}

/*
 * Three of four sections committed, in their order: 2, 3, 0 with the numbers 0, 0, 1.  Section 1
 * is torn.  Block 7 stands in all three, 100 + n each in one.
 */
static struct sim_lun *torn_ring(void)
{
	struct sim_lun *l = sim_journal_make(4, 0);
	static const uint32_t order[] = { 2, 3, 0 };

	sim_journal_seq(l, 0, 1);
	for (uint32_t k = 0; k < 3; k++) {
		sim_journal_entry(l, order[k], 0, 7, k + 1);
		for (uint32_t n = 1; n < SIM_SECTION_ENTRIES; n++)
			sim_journal_entry(l, order[k], n, 100 + 10 * k + n, k + 1);
	}
	sim_journal_entry(l, 1, 0, 7, 99);
	sim_journal_entry(l, 1, 1, 200, 99);
	sim_journal_seq(l, 1, 1);
	/* One sector is still the old one. */
	ti_journal_set_id(
		sim_journal_bytes(l, 1), 9,
		ti_journal_commit_id(&(struct ti_journal_ids){ .id = { 0x1111111111111111ULL } }, 1,
				     9, 0));
	sim_settle(l->sim, TI_META);
	return l;
}

static void holds_the_torn_ring(struct sim_lun *l)
{
	sim_reads(l, 7, 1, 3);
	sim_reads(l, 200, 1, 0);
	for (uint32_t k = 0; k < 3; k++)
		sim_reads(l, 101 + 10 * k, 7, k + 1);
}

static void replay_writes_data_and_tags_to_their_places_durably(void **state)
{
	(void)state;
	for (int mode = TI_MODE_DIRECT; mode <= TI_MODE_JOURNAL; mode++) {
		struct sim_lun *l = torn_ring();

		l->options.mode = (enum ti_mode)mode;
		opens(l);
		is_in_place(l, 7, 3);
		is_in_place(l, 200, 0);
		for (uint32_t k = 0; k < 3; k++)
			for (uint32_t n = 1; n < SIM_SECTION_ENTRIES; n++)
				is_in_place(l, 100 + 10 * k + n, k + 1);
		holds_the_torn_ring(l);
		sim_lun_free(l);
	}
}

static void progress_of_a_replay_ends_with_it(void **state)
{
	struct sim_lun *l = torn_ring();

	(void)state;
	opens(l);
	assert_int_equal(ti_lun_start_progress(l->lun), UINT16_MAX);
	sim_lun_free(l);
	l = sim_lun_new(&(struct sim_lun_options){ .lun.mode = TI_MODE_JOURNAL });
	assert_int_equal(ti_lun_start_progress(l->lun), 0); /* there was none */
	sim_lun_free(l);
}

/*
 * A killed process may have left a commit in the device's cache only.  Were it replayed from there
 * and the power lost in between, the journal would be gone and some blocks half written.
 */
static void journal_is_durable_before_replay_writes_anything(void **state)
{
	struct sim_lun *l = torn_ring();
	struct ti_journal_summary s = sim_journal_look(l);
	size_t section = l->geo.section_sectors * (size_t)TI_SECTOR_BYTES;
	unsigned i = 0;

	(void)state;
	opens(l);
	while (i < l->events && l->event[i].op == TI_IO_READ)
		i++;
	/* Written again, byte for byte, ... */
	assert_true(s.replay_sections > 0);
	for (unsigned k = 0; k < 2 * s.replay_sections; k++, i++) {
		assert_int_equal(l->event[i].op, TI_IO_WRITE);
		assert_int_equal(l->event[i].dev, TI_META);
		assert_in_range(l->event[i].offset, l->geo.journal_offset,
				l->geo.journal_offset + (l->geo.journal_sections - 1) * section);
		assert_int_equal(l->event[i].completed, k % 2);
	}
	/* ... and flushed. */
	for (unsigned k = 0; k < 2; k++) {
		assert_int_equal(l->event[i + k].op, TI_IO_FLUSH);
		assert_int_equal(l->event[i + k].dev, TI_META);
		assert_int_equal(l->event[i + k].completed, k);
	}
	sim_lun_free(l);
}

static void torn_journal_is_erased_as_dm_integrity_does(void **state)
{
	struct sim_lun *l = torn_ring();
	struct ti_journal_summary s;

	(void)state;
	opens(l);
	s = sim_journal_look(l);
	assert_int_equal(s.used_entries, 0);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(s.seq[i], 3);
	/* The next commit carries the number behind them. */
	sim_ok(l, sim_write(l, 0, 1, 5));
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_journal_section(l, 0).seq, 0);
	sim_lun_cut(l);
	sim_reads(l, 0, 1, 5);
	holds_the_torn_ring(l);
	sim_lun_free(l);
}

static struct sim_lun *full_ring(void)
{
	struct sim_lun *l = sim_journal_make(3, 0);

	sim_journal_seq(l, 0, 2);
	sim_journal_seq(l, 1, 1);
	sim_journal_seq(l, 2, 1);
	sim_journal_entry(l, 1, 3, 40, 1);
	sim_journal_entry(l, 1, 4, 41, 1);
	sim_journal_entry(l, 2, 0, 41, 2);
	sim_journal_entry(l, 0, 7, 42, 3);
	return l;
}

static void full_ring_is_kept_while_open_and_goes_on_where_it_ended(void **state)
{
	struct sim_lun *l = full_ring();

	(void)state;
	opens(l);
	is_in_place(l, 40, 1);
	is_in_place(l, 41, 2);
	is_in_place(l, 42, 3);
	/* The same again, nothing else. */
	assert_int_equal(sim_started_at(l, TI_META, TI_IO_WRITE, l->geo.journal_offset), 1);
	assert_int_equal(sim_journal_look(l).used_entries, 4);
	assert_int_equal(sim_journal_look(l).used_entries, 4);
	sim_ok(l, sim_write(l, 40, 1, 9));
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_journal_section(l, 1).seq, 2);
	sim_lun_cut(l);
	sim_reads(l, 40, 1, 9);
	sim_reads(l, 41, 1, 2);
	sim_reads(l, 42, 1, 3);
	sim_lun_free(l);
}

static void holds_the_full_ring(struct sim_lun *l)
{
	sim_reads(l, 40, 1, 1);
	sim_reads(l, 41, 1, 2);
	sim_reads(l, 42, 1, 3);
}

/* Nothing was written by whoever had it open: the entries were replayed, that is all. */
static void close_after_a_replay_leaves_nothing_to_replay(void **state)
{
	struct sim_lun *l = full_ring();

	(void)state;
	opens(l);
	assert_int_equal(sim_lun_close(l), 0);
	assert_int_equal(sim_journal_look(l).used_entries, 0);
	/* On the medium, as commits of empty sections would have left it. */
	assert_memory_equal(sim_durable(l->sim, TI_META), sim_contents(l->sim, TI_META), 1 << 20);
	assert_int_equal(sim_journal_section(l, 1).seq, 2);
	assert_int_equal(sim_journal_section(l, 2).seq, 2);
	assert_int_equal(sim_journal_section(l, 0).seq, 3);
	opens(l);
	assert_nothing_was_written(l);
	holds_the_full_ring(l);
	sim_ok(l, sim_write(l, 40, 1, 9));
	sim_ok(l, sim_flush(l));
	assert_int_equal(sim_journal_section(l, 1).seq, 3);
	sim_lun_cut(l);
	sim_reads(l, 40, 1, 9);
	sim_reads(l, 41, 1, 2);
	sim_lun_free(l);
}

/* @full: one commit has filled the ring.  Else it went round: 0, 1 and 2 are newer than 3. */
static struct sim_lun *long_ring(bool full)
{
	struct sim_lun *l = sim_journal_make(4, 0);

	for (uint32_t k = 0; k < 4; k++) {
		uint32_t i = full ? k : (k + 3) % 4;

		sim_journal_seq(l, i, full || i == 3 ? 1 : 2);
		for (uint32_t n = 0; n < 3; n++)
			sim_journal_entry(l, i, n, 40 + k + n, k + 1);
	}
	return l;
}

static void holds_the_long_ring(struct sim_lun *l)
{
	for (uint32_t k = 0; k < 4; k++)
		sim_reads(l, 40 + k, k < 3 ? 1 : 3, k + 1);
}

/* Old sections that are replayed once more must bring back nothing that is older than what is in
 * place. */
static void close_after_a_replay_may_be_cut_at_any_io(void **state)
{
	unsigned cuts = 0;

	(void)state;
	for (unsigned seed = 0; seed < 40; seed++) {
		for (uint32_t ios = 0;; ios++) {
			struct sim_lun *l = long_ring(seed % 2);
			int err;

			opens(l);
			sim_vanish_after(l, ios);
			err = sim_lun_close(l);
			sim_vanish_after(l, SIM_FOR_EVER);
			if (err == 0) {
				sim_lun_free(l);
				break;
			}
			sim_reseed(l->sim, seed);
			sim_power_cut(l->sim);
			l->options.mode = seed / 2 % 2 ? TI_MODE_DIRECT : TI_MODE_JOURNAL;
			opens(l);
			holds_the_long_ring(l);
			assert_int_equal(sim_lun_close(l), 0);
			l->options.mode = TI_MODE_JOURNAL;
			opens(l);
			holds_the_long_ring(l);
			sim_lun_free(l);
			cuts++;
		}
	}
	print_message("%u cuts\n", cuts);
	assert_true(cuts > 100);
}

static void full_ring_is_erased_in_mode_direct(void **state)
{
	struct sim_lun *l = full_ring();

	(void)state;
	l->options.mode = TI_MODE_DIRECT;
	opens(l);
	assert_int_equal(sim_journal_look(l).used_entries, 0);
	assert_int_equal(sim_journal_look(l).state, TI_JOURNAL_EMPTY);
	sim_ok(l, sim_write(l, 40, 3, 9));
	assert_int_equal(sim_lun_close(l), 0);
	opens(l); /* nothing comes back */
	sim_reads(l, 40, 3, 9);
	assert_int_equal(sim_lun_close(l), 0);
	l->options.mode = TI_MODE_JOURNAL;
	opens(l);
	sim_reads(l, 40, 3, 9);
	sim_lun_free(l);
}

static void empty_journal_is_opened_without_a_write(void **state)
{
	struct sim_lun *l = sim_journal_make(3, 0);

	(void)state;
	opens(l);
	assert_nothing_was_written(l);
	sim_reads(l, 0, 100, 0);
	sim_lun_free(l);
}

static void entry_beyond_the_device_is_ignored(void **state)
{
	struct sim_lun *l = full_ring();

	(void)state;
	sim_journal_entry(l, 2, 1, 1000, 1);
	opens(l);
	sim_reads(l, 42, 1, 3);
	assert_int_equal(sim_started_at(l, TI_DATA, TI_IO_WRITE, 999 * 512), 0);
	sim_lun_free(l);
}

static void entry_of_a_sector_that_begins_no_block_is_refused(void **state)
{
	struct sim_lun *l = sim_lun_make(
		&(struct sim_lun_options){ .shape.block_size = 1024, .lun.mode = TI_MODE_JOURNAL });

	(void)state;
	sim_journal_entry(l, 0, 0, 10, 1);
	ti_journal_entry_set_sector(&l->geo, sim_journal_bytes(l, 0), 0, 21);
	refuses(l, -EUCLEAN, "names sector 21 in section 0, entry 0");
	sim_lun_free(l);
}

/* The wrong one is the last; all others would have been written out by then. */
static void entry_whose_tag_does_not_match_is_refused_and_nothing_is_written(void **state)
{
	struct ti_le64 *tag;

	(void)state;
	for (int mode = TI_MODE_DIRECT; mode <= TI_MODE_JOURNAL; mode++) {
		struct sim_lun *l = torn_ring();

		tag = (struct ti_le64 *)(sim_journal_bytes(l, 0) +
					 ti_journal_entry_offset(&l->geo, 7) +
					 ti_journal_entry_tag_offset(&l->geo));
		ti_le64_set(tag, ti_le64_get(tag) ^ 1);
		l->options.mode = (enum ti_mode)mode;
		refuses(l, -EILSEQ, "sector 127 that does not match its tag (section 0, entry 7)");
		ti_le64_set(tag, ti_le64_get(tag) ^ 1);
		opens(l);
		holds_the_torn_ring(l);
		sim_lun_free(l);
	}
}

static void damaged_journal_is_refused_and_nothing_is_written(void **state)
{
	struct sim_lun *l = torn_ring();

	(void)state;
	sim_journal_bytes(l, 2)[ti_journal_id_offset(5)] ^= 4;
	refuses(l, -EUCLEAN, "section 2, sector 5");
	l->options.mode = TI_MODE_DIRECT;
	refuses(l, -EUCLEAN, "section 2, sector 5");
	sim_journal_bytes(l, 2)[ti_journal_id_offset(5)] ^= 4;
	for (uint32_t i = 0; i < 4; i++)
		sim_journal_seq(l, i, i);
	refuses(l, -EUCLEAN, "all four commit sequence numbers");
	sim_lun_free(l);
}

static void read_only_open_refuses_what_must_be_replayed(void **state)
{
	struct sim_lun *l = full_ring();

	(void)state;
	l->options.read_only = true;
	refuses(l, -EUCLEAN, "holds 4 entries");
	l->options.mode = TI_MODE_DIRECT;
	refuses(l, -EUCLEAN, "holds 4 entries");
	l->options.mode = TI_MODE_BITMAP;
	refuses(l, -EUCLEAN, "holds 4 entries");
	sim_lun_free(l);
}

static void read_only_open_takes_an_empty_journal_and_never_writes(void **state)
{
	(void)state;
	for (int mode = TI_MODE_DIRECT; mode <= TI_MODE_BITMAP; mode++) {
		struct sim_lun *l = sim_journal_make(3, 0);

		l->options.mode = (enum ti_mode)mode;
		l->options.read_only = true;
		opens(l);
		sim_reads(l, 0, 100, 0);
		sim_bad(l, sim_write(l, 3, 1, 1), -EROFS, TI_CAUSE_READ_ONLY, 3);
		sim_age(l);
		assert_int_equal(sim_lun_close(l), 0);
		assert_nothing_was_written(l);
		sim_lun_free(l);
	}
}

/* dm-integrity: a gap in the sequence numbers is an erase that was cut: its entries are old. */
static void interrupted_erase_counts_as_empty(void **state)
{
	(void)state;
	for (int mode = TI_MODE_DIRECT; mode <= TI_MODE_JOURNAL; mode++) {
		struct sim_lun *l = sim_journal_make(4, 0);

		/* Two erased ones (3), one left over from the newest commit (1). */
		sim_journal_seq(l, 0, 3);
		sim_journal_seq(l, 1, 1);
		sim_journal_seq(l, 2, 3);
		sim_journal_seq(l, 3, 3);
		sim_journal_entry(l, 1, 0, 7, 1);
		sim_journal_entry(l, 0, 0, 8, 1);
		assert_int_equal(sim_journal_look(l).state, TI_JOURNAL_EMPTY);
		l->options.mode = (enum ti_mode)mode;
		opens(l);
		sim_reads(l, 7, 2, 0);
		sim_lun_free(l);
	}
}

static void unreadable_journal_is_told_with_its_sector(void **state)
{
	struct sim_lun *l = full_ring();

	(void)state;
	sim_fail(l, TI_META, TI_IO_READ, 20 * 512, SIM_FOR_EVER);
	refuses(l, -EIO, "sector 8:");
	sim_mend(l);
	opens(l);
	sim_reads(l, 42, 1, 3);
	sim_lun_free(l);
}

static void failed_replay_refuses_and_keeps_the_journal(void **state)
{
	static const struct {
		enum ti_device dev;
		enum ti_io_op op;
	} broken[] = {
		{ TI_DATA, TI_IO_WRITE },
		{ TI_DATA, TI_IO_FLUSH },
		{ TI_META, TI_IO_WRITE },
		{ TI_META, TI_IO_FLUSH },
	};

	(void)state;
	for (int mode = TI_MODE_DIRECT; mode <= TI_MODE_JOURNAL; mode++) {
		for (unsigned i = 0; i < 4; i++) {
			struct sim_lun *l = torn_ring();

			l->options.mode = (enum ti_mode)mode;
			sim_fail(l, broken[i].dev, broken[i].op, SIM_EVERYWHERE, SIM_FOR_EVER);
			assert_int_equal(sim_lun_open(l), -EIO);
			assert_non_null(strstr(l->error.text, "sim-meta"));
			assert_int_equal(sim_journal_look(l).replay_entries, 24);
			sim_mend(l);
			opens(l);
			holds_the_torn_ring(l);
			sim_lun_free(l);
		}
	}
}

static void journal_that_cannot_be_written_again_is_not_replayed(void **state)
{
	static const uint32_t replayed[] = { 2, 3, 0 };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct sim_lun *l = torn_ring();

		sim_fail(l, TI_META, TI_IO_WRITE,
			 l->geo.journal_offset + replayed[i] * ti_journal_section_bytes(&l->geo),
			 1);
		assert_int_equal(sim_lun_open(l), -EIO);
		assert_non_null(strstr(l->error.text, "again"));
		assert_int_equal(sim_started(l, TI_DATA, TI_IO_WRITE), 0);
		opens(l);
		holds_the_torn_ring(l);
		sim_lun_free(l);
	}
}

static void ring_of_any_length_is_erased_whole(void **state)
{
	(void)state;
	for (uint32_t sections = 1; sections <= 4; sections++) {
		for (uint32_t used = 1; used <= sections; used++) {
			struct sim_lun *l = sim_journal_make(sections, 99);

			opens(l);
			for (uint32_t n = 0; n < used; n++)
				sim_ok(l, sim_write_fua(l, 8 * n, 8, 1));
			l->options.mode = TI_MODE_DIRECT;
			sim_lun_cut(l);
			assert_int_equal(sim_journal_look(l).used_entries, 0);
			assert_int_equal(sim_journal_look(l).state, TI_JOURNAL_EMPTY);
			sim_reads(l, 0, 8 * used, 1);
			sim_lun_free(l);
		}
	}
}

/* Whatever the device refuses from the Nth I/O on never happened: the power is gone then. */
static void replay_cut_at_any_io_and_repeated_gives_the_same(void **state)
{
	unsigned cuts = 0;

	(void)state;
	for (int mode = TI_MODE_DIRECT; mode <= TI_MODE_JOURNAL; mode++) {
		for (unsigned n = 0;; n++) {
			struct sim_lun *l = torn_ring();
			int err;

			l->options.mode = (enum ti_mode)mode;
			sim_vanish_after(l, n);
			err = sim_lun_open(l);
			sim_vanish_after(l, SIM_FOR_EVER);
			if (err == 0) { /* it needs no more than n */
				sim_lun_free(l);
				break;
			}
			sim_power_cut(l->sim);
			opens(l);
			holds_the_torn_ring(l);
			is_in_place(l, 7, 3);
			sim_lun_cut(l);
			holds_the_torn_ring(l);
			sim_lun_free(l);
			cuts++;
		}
	}
	print_message("%u cuts\n", cuts);
	assert_true(cuts > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replay_writes_data_and_tags_to_their_places_durably),
		cmocka_unit_test(progress_of_a_replay_ends_with_it),
		cmocka_unit_test(journal_is_durable_before_replay_writes_anything),
		cmocka_unit_test(torn_journal_is_erased_as_dm_integrity_does),
		cmocka_unit_test(full_ring_is_kept_while_open_and_goes_on_where_it_ended),
		cmocka_unit_test(close_after_a_replay_leaves_nothing_to_replay),
		cmocka_unit_test(close_after_a_replay_may_be_cut_at_any_io),
		cmocka_unit_test(full_ring_is_erased_in_mode_direct),
		cmocka_unit_test(empty_journal_is_opened_without_a_write),
		cmocka_unit_test(entry_beyond_the_device_is_ignored),
		cmocka_unit_test(entry_of_a_sector_that_begins_no_block_is_refused),
		cmocka_unit_test(entry_whose_tag_does_not_match_is_refused_and_nothing_is_written),
		cmocka_unit_test(damaged_journal_is_refused_and_nothing_is_written),
		cmocka_unit_test(read_only_open_refuses_what_must_be_replayed),
		cmocka_unit_test(read_only_open_takes_an_empty_journal_and_never_writes),
		cmocka_unit_test(interrupted_erase_counts_as_empty),
		cmocka_unit_test(unreadable_journal_is_told_with_its_sector),
		cmocka_unit_test(failed_replay_refuses_and_keeps_the_journal),
		cmocka_unit_test(replay_cut_at_any_io_and_repeated_gives_the_same),
		cmocka_unit_test(journal_that_cannot_be_written_again_is_not_replayed),
		cmocka_unit_test(ring_of_any_length_is_erased_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
