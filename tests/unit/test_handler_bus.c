/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The D-Bus service on a bus of its own, at moments that hardly ever come: a LUN that is closed, or
 * a bus that ends, between a call and its answer; a scrub that is asked for while a thread still
 * reads where the last one was; a connection that is lost before anybody listens to it.
 *
 * The test is the runner's main thread, and nothing of the service runs but when it turns the main
 * loop.  What the service would wait for, timers and the file of the last scrub, comes when the
 * test says so.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <gio/gio.h>

#include "tcmu-runner.h"

#include "disk_admin.h"
#include "fake_tcmu.h"
#include "file_pair.h"
#include "scrub_state.h"
#include "service_lun.h"
#include "signal_budget.h"

#define BYTES	     (1U << 20)
#define LUN_PATH     TI_SERVICE_LUNS "/uio7"
#define LUN	     TI_SERVICE_NAME ".Lun"
#define KEEP_SECONDS 5
#define PATIENCE_US  (60 * G_USEC_PER_SEC)

int handler_init(void);

static struct file_pair pair;
static struct tcmu_device *dev;
static char address[128];
static GSubprocess *daemon_process;
static GDBusConnection *client;

/* ---- what stands between the service and the world ---- */

struct timer {
	guint seconds;
	GSourceFunc call;
	gpointer data;
};

static struct {
	struct timer timer[8];
	unsigned timers;
	unsigned recalculations, flushes; /* that the disk was asked for */
	unsigned signals;
	/* The next connection is lost before anybody has it; and that has been signalled, too. */
	bool close_next, signal_next;
	bool hold_drain;
	GAsyncReadyCallback drained; /* an answer that has been held back */
	gpointer drained_data;
	GObject *drained_by;

	GMutex lock; /* around the rest, which threads of GLib's use */
	GCond cond;
	bool hold_load;
	int load_err;
	struct ti_scrub_saved left; /* what is loaded */
	struct ti_scrub_saved kept; /* what was saved last */
	unsigned saves;
} world;

guint __wrap_g_timeout_add_seconds(guint seconds, GSourceFunc call, gpointer data);
guint __wrap_g_timeout_add_seconds(guint seconds, GSourceFunc call, gpointer data)
{
	assert_true(world.timers < G_N_ELEMENTS(world.timer));
	world.timer[world.timers++] = (struct timer){ seconds, call, data };
	return world.timers;
}

/* Is there a timer of so many seconds?  Then its time has come. */
static bool fire(guint seconds)
{
	for (unsigned i = 0; i < world.timers; i++) {
		struct timer timer = world.timer[i];

		if (timer.seconds != seconds)
			continue;
		world.timer[i] = world.timer[--world.timers];
		if (timer.call(timer.data) == G_SOURCE_CONTINUE)
			world.timer[world.timers++] = timer;
		return true;
	}
	return false;
}

int __wrap_ti_scrub_state_load(const char *dir, const char *name, struct ti_scrub_saved *saved);
int __wrap_ti_scrub_state_load(const char *dir, const char *name, struct ti_scrub_saved *saved)
{
	int err;

	assert_string_equal(dir, TI_SCRUB_STATE_DIR);
	assert_string_equal(name, "uio7");
	g_mutex_lock(&world.lock);
	while (world.hold_load)
		g_cond_wait(&world.cond, &world.lock);
	err = world.load_err;
	if (!err) {
		saved->report = world.left.report;
		saved->started = world.left.started;
		saved->recalculating = world.left.recalculating;
		saved->recalc_rate = world.left.recalc_rate;
	}
	g_mutex_unlock(&world.lock);
	return err;
}

int __wrap_ti_scrub_state_save(const char *dir, const char *name,
			       const struct ti_scrub_saved *saved);
int __wrap_ti_scrub_state_save(const char *dir, const char *name,
			       const struct ti_scrub_saved *saved)
{
	(void)dir;
	(void)name;
	g_mutex_lock(&world.lock);
	world.kept = *saved;
	world.saves++;
	g_mutex_unlock(&world.lock);
	return 0;
}

int __real_ti_disk_recalculate(struct ti_disk *disk, uint64_t rate);
int __wrap_ti_disk_recalculate(struct ti_disk *disk, uint64_t rate);
int __wrap_ti_disk_recalculate(struct ti_disk *disk, uint64_t rate)
{
	world.recalculations++;
	return __real_ti_disk_recalculate(disk, rate);
}

int __real_ti_disk_flush_begin(struct ti_disk *disk);
int __wrap_ti_disk_flush_begin(struct ti_disk *disk);
int __wrap_ti_disk_flush_begin(struct ti_disk *disk)
{
	world.flushes++;
	return __real_ti_disk_flush_begin(disk);
}

static void was_signalled(GDBusConnection *bus, gboolean remote, GError *error, gpointer data)
{
	(void)bus;
	(void)remote;
	(void)error;
	(void)data;
	world.signal_next = false;
}

GDBusConnection *__real_g_dbus_connection_new_for_address_finish(GAsyncResult *result,
								 GError **error);
GDBusConnection *__wrap_g_dbus_connection_new_for_address_finish(GAsyncResult *result,
								 GError **error);
GDBusConnection *__wrap_g_dbus_connection_new_for_address_finish(GAsyncResult *result,
								 GError **error)
{
	GDBusConnection *bus = __real_g_dbus_connection_new_for_address_finish(result, error);

	if (!bus || !world.close_next)
		return bus;
	world.close_next = false;
	g_signal_connect(bus, "closed", G_CALLBACK(was_signalled), NULL);
	assert_true(g_dbus_connection_close_sync(bus, NULL, NULL));
	while (world.signal_next)
		g_main_context_iteration(NULL, TRUE);
	return bus;
}

gboolean __real_g_dbus_connection_emit_signal(GDBusConnection *bus, const gchar *to,
					      const gchar *path, const gchar *interface,
					      const gchar *name, GVariant *values, GError **error);
gboolean __wrap_g_dbus_connection_emit_signal(GDBusConnection *bus, const gchar *to,
					      const gchar *path, const gchar *interface,
					      const gchar *name, GVariant *values, GError **error);
gboolean __wrap_g_dbus_connection_emit_signal(GDBusConnection *bus, const gchar *to,
					      const gchar *path, const gchar *interface,
					      const gchar *name, GVariant *values, GError **error)
{
	world.signals++;
	return __real_g_dbus_connection_emit_signal(bus, to, path, interface, name, values, error);
}

void __real_g_dbus_connection_flush(GDBusConnection *bus, GCancellable *cancellable,
				    GAsyncReadyCallback call, gpointer data);
void __wrap_g_dbus_connection_flush(GDBusConnection *bus, GCancellable *cancellable,
				    GAsyncReadyCallback call, gpointer data);
void __wrap_g_dbus_connection_flush(GDBusConnection *bus, GCancellable *cancellable,
				    GAsyncReadyCallback call, gpointer data)
{
	if (!world.hold_drain) {
		__real_g_dbus_connection_flush(bus, cancellable, call, data);
		return;
	}
	assert_null(world.drained);
	world.drained = call;
	world.drained_data = data;
	world.drained_by = g_object_ref(G_OBJECT(bus));
}

/* ---- the main loop ---- */

static gboolean look_again(gpointer data)
{
	(void)data;
	return G_SOURCE_CONTINUE;
}

/* Turn the loop until that is so. */
static void await_at(bool (*is_so)(void), const char *what)
{
	gint64 until = g_get_monotonic_time() + PATIENCE_US;
	guint source = g_timeout_add(10, look_again, NULL);

	while (!is_so()) {
		if (g_get_monotonic_time() > until)
			fail_msg("it does not come: %s\n%s", what, fake_log_text());
		g_main_context_iteration(NULL, TRUE);
	}
	g_source_remove(source);
}

#define await(is_so) await_at(is_so, #is_so)

/* Whatever is ready now. */
static void turn(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		;
}

/* ---- the bus, and who asks on it ---- */

static void start_bus(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GDataInputStream) out = NULL;
	g_autofree char *option = g_strdup_printf("--address=%s", address), *line = NULL;

	daemon_process =
		g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE, &error, "dbus-daemon", "--session",
				 option, "--nofork", "--nopidfile", "--print-address=1", NULL);
	if (!daemon_process)
		fail_msg("dbus-daemon: %s", error->message);
	out = g_data_input_stream_new(g_subprocess_get_stdout_pipe(daemon_process));
	line = g_data_input_stream_read_line(out, NULL, NULL, NULL);
	assert_non_null(line);
	client = g_dbus_connection_new_for_address_sync(
		address,
		G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
			G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
		NULL, NULL, &error);
	if (!client)
		fail_msg("the bus cannot be reached: %s", error->message);
	g_dbus_connection_set_exit_on_close(client, FALSE);
}

static void end_bus(void)
{
	g_subprocess_force_exit(daemon_process);
	assert_true(g_subprocess_wait(daemon_process, NULL, NULL));
	g_clear_object(&daemon_process);
	g_clear_object(&client);
}

struct reply {
	bool is_there;
	GVariant *value;
	GError *error;
};

static void replied(GObject *source, GAsyncResult *result, gpointer data)
{
	struct reply *reply = data;

	reply->is_there = true;
	reply->value =
		g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, &reply->error);
}

static struct reply reply[2];

static bool first_is_answered(void)
{
	return reply[0].is_there;
}

static bool both_are_answered(void)
{
	return reply[0].is_there && reply[1].is_there;
}

static void forget(struct reply *r)
{
	g_clear_pointer(&r->value, g_variant_unref);
	g_clear_error(&r->error);
	r->is_there = false;
}

static void ask_of(struct reply *r, const char *interface, const char *method,
		   const char *parameters)
{
	forget(r);
	g_dbus_connection_call(client, TI_SERVICE_NAME, LUN_PATH, interface, method,
			       parameters ? g_variant_new_parsed(parameters) : NULL, NULL,
			       G_DBUS_CALL_FLAGS_NONE, -1, NULL, replied, r);
}

static void ask(struct reply *r, const char *method, const char *parameters)
{
	ask_of(r, LUN, method, parameters);
}

/* The answer to the call: an error of that name, or NULL: none. */
static void assert_answer(struct reply *r, const char *error)
{
	g_autofree char *name = NULL;

	assert_true(r->is_there);
	if (!error && r->error)
		fail_msg("%s", r->error->message);
	if (!error)
		return;
	assert_non_null(r->error);
	name = g_dbus_error_get_remote_error(r->error);
	if (!name)
		fail_msg("%s", r->error->message);
	assert_string_equal(name, error);
}

static void call(const char *method, const char *parameters, const char *error)
{
	ask(&reply[0], method, parameters);
	await(first_is_answered);
	assert_answer(&reply[0], error);
	forget(&reply[0]);
}

static bool name_is_there(void)
{
	g_autoptr(GVariant) answer = g_dbus_connection_call_sync(
		client, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
		"NameHasOwner", g_variant_new("(s)", TI_SERVICE_NAME), NULL, G_DBUS_CALL_FLAGS_NONE,
		-1, NULL, NULL);
	gboolean has = FALSE;

	assert_non_null(answer);
	g_variant_get(answer, "(b)", &has);
	return has;
}

/* ---- LUNs ---- */

static struct ti_disk *disk(void)
{
	return tcmur_dev_get_private(dev);
}

static struct ti_scrub_report scrub(void)
{
	struct ti_disk_view view;

	ti_disk_look(disk(), &view);
	return view.scrub;
}

static bool disk_is_ready(void)
{
	return ti_disk_state(disk()) == TI_DISK_READY;
}

/* One after the other: opened, and known to the service. */
static void open_as(const char *config)
{
	dev = fake_device(config, 512, pair.bytes);
	assert_int_equal(fake_handler()->open(dev, false), 0);
	await(disk_is_ready);
	turn();
}

static void open_lun(void)
{
	open_as(pair.config);
}

static void close_lun(void)
{
	fake_handler()->close(dev);
	fake_device_free(dev);
	turn();
}

static void let_load(void)
{
	g_mutex_lock(&world.lock);
	world.hold_load = false;
	g_cond_signal(&world.cond);
	g_mutex_unlock(&world.lock);
}

static unsigned saves(void)
{
	unsigned count;

	g_mutex_lock(&world.lock);
	count = world.saves;
	g_mutex_unlock(&world.lock);
	return count;
}

static unsigned saves_before;

static bool it_was_saved(void)
{
	return saves() > saves_before;
}

static bool it_is_saved_in_time(void)
{
	fire(KEEP_SECONDS);
	return it_was_saved();
}

static int begin(void **state)
{
	(void)state;
	file_pair_make(&pair, 512, BYTES, ";mode=direct");
	g_snprintf(address, sizeof(address), "unix:path=%s/bus", pair.dir);
	g_setenv("DBUS_SYSTEM_BUS_ADDRESS", address, TRUE);
	start_bus();
	assert_int_equal(handler_init(), 0);
	await(name_is_there);
	return 0;
}

static int end(void **state)
{
	g_autofree char *socket = g_strdup_printf("%s/bus", pair.dir);

	(void)state;
	end_bus();
	unlink(socket);
	file_pair_remove(&pair);
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	world.load_err = -ENOENT;
	fake_log_clear();
	open_lun();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close_lun();
	forget(&reply[0]);
	forget(&reply[1]);
	return 0;
}

/* ---- properties ---- */

/* As Get says, and GetAll. */
static bool is_read_only(void)
{
	g_autoptr(GVariant) one = NULL, all = NULL;
	gboolean says, also_says;

	ask_of(&reply[0], "org.freedesktop.DBus.Properties", "Get", "('" LUN "', 'ReadOnly')");
	await(first_is_answered);
	assert_answer(&reply[0], NULL);
	g_variant_get(reply[0].value, "(v)", &one);
	says = g_variant_get_boolean(one);
	ask_of(&reply[0], "org.freedesktop.DBus.Properties", "GetAll", "('" LUN "',)");
	await(first_is_answered);
	assert_answer(&reply[0], NULL);
	all = g_variant_get_child_value(reply[0].value, 0);
	assert_true(g_variant_lookup(all, "ReadOnly", "b", &also_says));
	assert_int_equal(says, also_says);
	return says;
}

static void select_swp(bool on)
{
	uint8_t list[16] = { [4] = 0x0a, 0x0a, 0x02, 0x10, on ? 0x08 : 0, 0x40, 0, 0, 0xff, 0xff };
	struct fake_command select = { .cdb = { 0x15, 0x10, 0, 0, sizeof(list) },
				       .data = list,
				       .len = sizeof(list) };

	assert_int_equal(fake_run(dev, &select), TCMU_STS_OK);
}

static void read_only_is_what_swp_makes_of_a_lun(void **state)
{
	(void)state;
	disk()->mode.kept = true; /* as if there were a file */
	assert_false(is_read_only());
	select_swp(true);
	assert_true(is_read_only());
	select_swp(false);
	assert_false(is_read_only());
}

/* And one that is read-only anyway stays it. */
static void read_only_is_not_what_swp_leaves_of_a_lun(void **state)
{
	char config[400];

	(void)state;
	close_lun();
	g_snprintf(config, sizeof(config), "integrity/%s;meta=%s;mode=recovery", pair.data,
		   pair.meta);
	open_as(config);
	disk()->mode.kept = true;
	assert_true(is_read_only());
	select_swp(true);
	select_swp(false);
	assert_true(is_read_only());
}

/* ---- scrubs ---- */

static bool scrub_may_begin(void)
{
	ask(&reply[0], "ScrubStart", "({'rate': <uint64 65536>},)");
	await(first_is_answered);
	return !reply[0].error;
}

static bool scrub_is_stopped(void)
{
	return scrub().state == TI_SCRUB_STOPPED;
}

/* Nothing else happens to the LUN that would wake the service. */
static void scrub_of_an_idle_lun_is_written_down_every_few_seconds(void **state)
{
	uint64_t sector;

	(void)state;
	await(scrub_may_begin);
	call("ScrubStop", NULL, NULL);
	await(scrub_is_stopped);
	turn();
	/* Until nobody has anything to write down. */
	while (fire(KEEP_SECONDS))
		turn();
	saves_before = saves();
	assert_true(scrub_may_begin());
	await(it_was_saved);
	for (unsigned i = 0; i < 3; i++) {
		saves_before = saves();
		turn();
		assert_true(fire(KEEP_SECONDS));
		await(it_was_saved);
	}
	assert_int_equal(world.kept.report.state, TI_SCRUB_RUNNING);
	sector = scrub().sector;
	assert_true(world.kept.report.sector <= sector);
	call("ScrubStop", NULL, NULL);
}

static bool scrub_has_ended(void)
{
	return scrub().state == TI_SCRUB_FINISHED;
}

static bool it_is_kept_as_mended(void)
{
	unsigned count;

	fire(KEEP_SECONDS);
	g_mutex_lock(&world.lock);
	count = (unsigned)world.kept.report.mended_sectors;
	g_mutex_unlock(&world.lock);
	return count == 8;
}

/* Written down while no scrub runs, and once. */
static void bad_place_that_was_mended_is_written_down(void **state)
{
	uint8_t block[4096] = { 1 };
	struct fake_command write = { .cdb = { 0x2a, 0, 0, 0, 0, 64, 0, 0, 8, 0 },
				      .data = block,
				      .len = sizeof(block) };

	(void)state;
	file_pair_damage(pair.data, (uint64_t)64 * 512, sizeof(block));
	call("ScrubStart", "({'restart': <true>},)", NULL);
	await(scrub_has_ended);
	assert_int_equal(scrub().bad_sectors[TI_SCRUB_MISMATCH], 8);
	turn();
	assert_int_equal(fake_run(dev, &write), TCMU_STS_OK);
	assert_int_equal(scrub().mended_sectors, 8);
	await(it_is_kept_as_mended);
	turn();
	saves_before = saves();
	while (fire(KEEP_SECONDS))
		turn();
	assert_false(it_was_saved());
}

/* It would begin at the beginning, and what is read then be dropped. */
static void scrub_waits_until_it_is_known_where_the_last_one_was(void **state)
{
	(void)state;
	close_lun();
	world.hold_load = true;
	world.load_err = 0;
	world.left = (struct ti_scrub_saved){ .report = { .state = TI_SCRUB_STOPPED,
							  .sector = 1024,
							  .end = BYTES / 512,
							  .verified_sectors = 1000,
							  .skipped_sectors = 24 },
					      .started = 1700000000 };
	open_lun();
	call("ScrubStart", "({'rate': <uint64 65536>},)", TI_SERVICE_NAME ".Error.NotReady");
	assert_int_equal(scrub().state, TI_SCRUB_NEVER);
	let_load();
	await(scrub_may_begin);
	assert_true(scrub().sector >= 1024);
	assert_true(scrub().verified_sectors >= 1000);
	call("ScrubStop", NULL, NULL);
}

/* Who wants it from the beginning need not wait, and what is read later changes nothing. */
static void scrub_from_the_beginning_does_not_wait(void **state)
{
	(void)state;
	close_lun();
	world.hold_load = true;
	world.load_err = 0;
	open_lun();
	call("ScrubStart", "({'rate': <uint64 65536>, 'restart': <true>},)", NULL);
	let_load();
	saves_before = saves();
	await(it_is_saved_in_time);
	assert_int_equal(scrub().skipped_sectors, 0);
	assert_true(scrub().sector < 1024);
	call("ScrubStop", NULL, NULL);
}

static struct ti_lun_stats stats(void)
{
	struct ti_disk_view view;

	ti_disk_look(disk(), &view);
	return view.stats;
}

static bool nothing_is_recalculated(void)
{
	return !stats().recalculating;
}

static bool rate_is_taken_up(void)
{
	return stats().recalc_rate == 65536;
}

static bool rate_is_kept(void)
{
	bool is;

	fire(KEEP_SECONDS);
	g_mutex_lock(&world.lock);
	is = world.kept.recalculating && world.kept.recalc_rate == 65536;
	g_mutex_unlock(&world.lock);
	return is;
}

static bool rate_is_forgotten(void)
{
	return !rate_is_kept();
}

/* Also if it is asked for before it is known what an earlier process has left. */
static void rate_of_a_recalculation_counts_after_a_restart(void **state)
{
	(void)state;
	close_lun();
	world.hold_load = true;
	open_lun();
	call("Recalculate", "({'rate': <uint64 65536>},)", NULL);
	assert_true(rate_is_taken_up());
	let_load();
	await(rate_is_kept);
	assert_int_equal(world.kept.report.state, TI_SCRUB_NEVER);
	close_lun();
	world.load_err = 0;
	world.left = world.kept;
	open_lun();
	await(rate_is_taken_up);
	assert_true(rate_is_kept());
	assert_int_equal(ti_disk_recalculate_set_rate(disk(), 0), 0);
	await(nothing_is_recalculated);
	await(rate_is_forgotten);
	assert_int_equal(ti_disk_recalculate_set_rate(disk(), 0), -EALREADY);
}

/* Nor is it of use when the recalculation has ended. */
static void rate_that_was_left_begins_nothing(void **state)
{
	(void)state;
	close_lun();
	world.load_err = 0;
	world.left = (struct ti_scrub_saved){ .recalculating = true, .recalc_rate = 65536 };
	open_lun();
	await(scrub_may_begin);
	call("ScrubStop", NULL, NULL);
	assert_true(nothing_is_recalculated());
	assert_int_equal(stats().recalc_rate, 0);
	assert_false(rate_is_kept());
}

/* ---- a LUN that is closed between a call and its answer ---- */

static unsigned asked_before;

static bool recalculation_was_asked_for(void)
{
	return world.recalculations > asked_before;
}

static bool flush_was_begun(void)
{
	return world.flushes > asked_before;
}

/* It may have been granted: then nobody has looked yet. */
static void recalculation_of_a_lun_that_is_closed_is_answered(void **state)
{
	(void)state;
	asked_before = world.recalculations;
	ask(&reply[0], "Recalculate", "({'rate': <uint64 65536>},)");
	await(recalculation_was_asked_for);
	close_lun();
	await(first_is_answered);
	assert_answer(&reply[0], TI_SERVICE_NAME ".Error.Closed");
	open_lun();
}

/* The one that is under way, and those that wait for the next one. */
static void flushes_of_a_lun_that_is_closed_are_answered(void **state)
{
	(void)state;
	asked_before = world.flushes;
	ask(&reply[0], "Flush", NULL);
	ask(&reply[1], "Flush", NULL);
	await(flush_was_begun);
	close_lun();
	await(both_are_answered);
	assert_answer(&reply[0], TI_SERVICE_NAME ".Error.Closed");
	/* This one may have come after the object had gone. */
	assert_non_null(reply[1].error);
	open_lun();
}

/* ---- a bus that ends ---- */

static bool bus_loss_is_told(void)
{
	return fake_logged("the connection to the system bus was lost)");
}

/* A bus again, and the service on it, after its first look for one. */
static void bus_comes_back(void)
{
	start_bus();
	assert_true(fire(1));
	await(name_is_there);
	call("Flush", NULL, NULL);
}

static void bus_that_ends_between_a_call_and_its_answer_takes_nothing_with_it(void **state)
{
	(void)state;
	asked_before = world.flushes;
	ask(&reply[0], "Flush", NULL);
	await(flush_was_begun);
	end_bus();
	await(bus_loss_is_told);
	await(first_is_answered);
	assert_non_null(reply[0].error);
	/* The flush has ended, too, and there is nobody to tell. */
	turn();
	bus_comes_back();
	assert_true(fake_logged("is ours"));
}

static unsigned timers_before;

static bool another_look_is_planned(void)
{
	return !world.close_next && world.timers > timers_before;
}

/* Its signal that it is closed comes afterwards, or has come before anybody listened. */
static void connection_that_is_lost_at_once_is_looked_for_once(void **state)
{
	(void)state;
	end_bus();
	await(bus_loss_is_told);
	start_bus();
	for (unsigned i = 0; i < 2; i++) {
		world.close_next = true;
		world.signal_next = i;
		assert_true(fire(1U << i));
		timers_before = world.timers;
		await(another_look_is_planned);
		turn();
		assert_int_equal(world.timers, timers_before + 1);
	}
	assert_true(fire(4));
	await(name_is_there);
	call("Flush", NULL, NULL);
	assert_false(fire(1) || fire(2) || fire(4) || fire(8));
}

static void put_mismatches(unsigned count)
{
	const struct ti_event event = { .type = TI_EVENT_MISMATCH, .sectors = 1 };

	for (unsigned i = 0; i < count; i++) {
		ti_events_put(&disk()->events, &event);
		if (i % 32 == 31)
			turn();
	}
	turn();
}

/* It tells that the queue of the connection before is empty, and says nothing of this one's. */
static void answer_of_a_connection_that_is_gone_does_not_count(void **state)
{
	g_autoptr(GTask) stale = NULL;
	GAsyncReadyCallback drained;

	(void)state;
	world.hold_drain = true;
	put_mismatches(1);
	assert_non_null(world.drained);
	stale = g_task_new(world.drained_by, NULL, NULL, NULL);
	g_clear_object(&world.drained_by);
	drained = g_steal_pointer(&world.drained);
	end_bus();
	await(bus_loss_is_told);
	bus_comes_back();
	world.signals = 0;
	put_mismatches(200);
	assert_int_equal(world.signals, 200);
	g_task_return_boolean(stale, TRUE);
	drained(g_task_get_source_object(stale), G_ASYNC_RESULT(stale), world.drained_data);
	put_mismatches(200);
	assert_int_equal(world.signals, TI_SIGNALS_MOST);
	world.hold_drain = false;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(read_only_is_what_swp_makes_of_a_lun),
		TEST(read_only_is_not_what_swp_leaves_of_a_lun),
		TEST(scrub_of_an_idle_lun_is_written_down_every_few_seconds),
		TEST(bad_place_that_was_mended_is_written_down),
		TEST(scrub_waits_until_it_is_known_where_the_last_one_was),
		TEST(scrub_from_the_beginning_does_not_wait),
		TEST(rate_of_a_recalculation_counts_after_a_restart),
		TEST(rate_that_was_left_begins_nothing),
		TEST(recalculation_of_a_lun_that_is_closed_is_answered),
		TEST(flushes_of_a_lun_that_is_closed_are_answered),
		TEST(bus_that_ends_between_a_call_and_its_answer_takes_nothing_with_it),
		TEST(connection_that_is_lost_at_once_is_looked_for_once),
		TEST(answer_of_a_connection_that_is_gone_does_not_count),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
