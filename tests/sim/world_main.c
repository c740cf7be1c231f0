/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Simulated worlds, one after the other: random requests, errors, kills and power cuts against the
 * engine, in every mode.
 *
 * The worlds live in a child.  When it ends badly, by a broken promise, a crash or because it does
 * not get on, its parent makes the schedule shorter, with a child for each try, and says how to
 * repeat it.  Past failures (schedules in a directory) come first.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"
#include "world_shrink.h"

/* Of processor time; a world that is not at its end by then does not get on. */
#define WORLD_SECONDS 60
#define SHRINK_TRIES  400U
/* Times the seconds that were asked for, if crash states are missing by then. */
#define PATIENCE 6

/* What the child tells its parent. */
struct told {
	uint64_t seed; /* of the world under way */
	uint32_t step; /* under way in it; UINT32_MAX: at its end */
	char message[500];
	struct world_counts counts;
};

static struct told *told;

struct options {
	uint64_t seed, seeds, states;
	unsigned steps, seconds;
	char mode;
	bool verbose, shrink, scrub;
	const char *only, *replay, *corpus;
	char store[100];
};

void world_at_step(uint32_t id)
{
	told->step = id;
}

void violation(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(told->message, sizeof(told->message), fmt, args);
	va_end(args);
	fflush(stdout);
	_exit(1);
}

/* Seconds of processor time of this process. */
static double processor_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void run_one(const struct schedule *s, const struct options *o, bool verbose)
{
	const struct itimerval limit = { .it_value.tv_sec = WORLD_SECONDS };

	setitimer(ITIMER_PROF, &limit, NULL);
	world_run(s, o->store, verbose, &told->counts);
}

static void make_schedule(struct schedule *s, const struct options *o, uint64_t seed)
{
	schedule_make(s, seed, o->steps, o->mode);
	s->shape.scrub = o->scrub;
}

/* As many worlds as were asked for; or as the time allows, and longer if crash states are missing
 * that must be checked. */
static bool enough(const struct options *o, uint64_t worlds)
{
	double seconds = processor_seconds();

	if (o->seconds == 0)
		return worlds >= o->seeds;
	return seconds >= o->seconds &&
	       (told->counts.states >= o->states || seconds >= PATIENCE * o->seconds);
}

/* Child: all worlds. */
static void run_seeds(void *ctx)
{
	const struct options *o = ctx;

	for (uint64_t n = 0; !enough(o, n); n++) {
		struct schedule s;

		told->seed = o->seed + n;
		make_schedule(&s, o, told->seed);
		run_one(&s, o, o->verbose);
		schedule_free(&s);
	}
}

struct single {
	const struct options *options;
	const struct schedule *schedule;
};

static void run_single(void *ctx)
{
	const struct single *single = ctx;

	run_one(single->schedule, single->options, single->options->verbose);
}

/* Let a child do it.  Returns its wait status. */
static int in_child(void (*fn)(void *ctx), void *ctx, bool silent)
{
	int status = 0;
	pid_t pid;

	fflush(NULL);
	told->message[0] = '\0';
	pid = fork();
	if (pid < 0) {
		perror("sim_world: fork");
		exit(2);
	}
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (silent && (freopen("/dev/null", "w", stdout) == NULL ||
			       freopen("/dev/null", "w", stderr) == NULL))
			_exit(2);
		fn(ctx);
		exit(0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static const char *how_it_ended(int status)
{
	static char text[100];

	if (told->message[0] != '\0')
		return told->message;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF)
		(void)snprintf(text, sizeof(text), "no end after %d s", WORLD_SECONDS);
	else if (WIFSIGNALED(status))
		(void)snprintf(text, sizeof(text), "it ended by signal %d", WTERMSIG(status));
	else
		(void)snprintf(text, sizeof(text), "it ended with status %d", WEXITSTATUS(status));
	return text;
}

static bool fails(void *ctx, const struct schedule *s)
{
	struct single single = { ctx, s };

	return in_child(run_single, &single, true) != 0;
}

/* The numbers of the kept steps, as --only takes them. */
static void print_only(const struct schedule *s, const bool *keep, FILE *out)
{
	const char *comma = "";

	for (unsigned i = 0; i < s->steps; i++) {
		unsigned last = i;

		if (!keep[i])
			continue;
		while (last + 1 < s->steps && keep[last + 1])
			last++;
		fprintf(out, "%s%" PRIu32, comma, s->step[i].id);
		if (last > i)
			fprintf(out, "-%" PRIu32, s->step[last].id);
		comma = ",";
		i = last;
	}
}

/* Returns false if the list is none. */
static bool read_only(const struct schedule *s, const char *list, bool *keep)
{
	memset(keep, 0, s->steps * sizeof(*keep));
	while (*list != '\0') {
		char *end;
		unsigned long first = strtoul(list, &end, 10), last = first;

		if (end == list)
			return false;
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (unsigned i = 0; i < s->steps; i++)
			keep[i] = keep[i] || (s->step[i].id >= first && s->step[i].id <= last);
		if (*end != ',' && *end != '\0')
			return false;
		list = end + (*end == ',');
	}
	return true;
}

static void save(const struct schedule *s, uint64_t seed, const char *message)
{
	char path[100];
	FILE *file;

	(void)snprintf(path, sizeof(path), "sim-failure-%c-%" PRIu64 ".schedule", s->shape.mode,
		       seed);
	file = fopen(path, "w");
	if (file == NULL)
		return;
	fprintf(file, "# %s\n", message);
	schedule_write(s, file);
	fclose(file);
	fprintf(stderr, "its schedule (for the corpus): %s\n", path);
}

/* Make a failure shorter and say how to repeat it. */
static void explain(const struct options *o, const struct schedule *s, uint64_t seed)
{
	bool *keep = calloc(s->steps + 1, sizeof(*keep));
	struct schedule shorter;
	struct single single;

	if (keep == NULL)
		abort();
	for (unsigned i = 0; i < s->steps; i++)
		keep[i] = s->step[i].id <= told->step;
	schedule_shrink(s, keep, fails, (void *)(uintptr_t)o, SHRINK_TRIES);
	schedule_keep(&shorter, s, keep);
	fprintf(stderr,
		"shortest, %u of %u steps: sim_world%s --mode %c --seed %" PRIu64
		" --steps %u --only ",
		shorter.steps, s->steps, o->scrub ? " --scrub" : "", s->shape.mode, seed, o->steps);
	print_only(s, keep, stderr);
	fprintf(stderr, " -v\n");
	single = (struct single){ o, &shorter };
	if (in_child(run_single, &single, true) != 0) {
		fprintf(stderr, "in which: step %" PRIu32 ": %s\n", told->step, told->message);
		schedule_write(&shorter, stderr);
		save(&shorter, seed, told->message);
	}
	schedule_free(&shorter);
	free(keep);
}

static int worlds(const struct options *o)
{
	int status = in_child(run_seeds, (void *)(uintptr_t)o, false);
	struct world_counts counts = told->counts;
	struct schedule s;

	if (status == 0)
		return 0;
	fprintf(stderr,
		"sim_world: VIOLATION at seed %" PRIu64 " step %" PRIu32 ": %s\n"
		"repeat: sim_world%s --mode %c --seed %" PRIu64 " --steps %u --seeds 1 -v\n",
		told->seed, told->step, how_it_ended(status), o->scrub ? " --scrub" : "",
		o->mode ? o->mode : '*', told->seed, o->steps);
	if (o->shrink) {
		make_schedule(&s, o, told->seed);
		explain(o, &s, told->seed);
		schedule_free(&s);
	}
	told->counts = counts;
	return 1;
}

static int replay(const struct options *o, const char *path)
{
	struct schedule s;
	struct single single = { o, &s };
	FILE *file = fopen(path, "r");
	unsigned line;
	int status;

	if (file == NULL) {
		perror(path);
		return 2;
	}
	line = schedule_read(&s, file);
	fclose(file);
	if (line != 0) {
		fprintf(stderr, "%s:%u: this is no line of a schedule\n", path, line);
		schedule_free(&s);
		return 2;
	}
	status = in_child(run_single, &single, false);
	if (status != 0)
		fprintf(stderr,
			"sim_world: VIOLATION in %s step %" PRIu32 ": %s\n"
			"repeat: sim_world --replay %s -v\n",
			path, told->step, how_it_ended(status), path);
	schedule_free(&s);
	return status != 0;
}

static int only(const struct options *o)
{
	struct schedule whole, s;
	struct single single = { o, &s };
	bool *keep;
	int status;

	make_schedule(&whole, o, o->seed);
	keep = calloc(whole.steps + 1, sizeof(*keep));
	if (keep == NULL)
		abort();
	if (!read_only(&whole, o->only, keep)) {
		fprintf(stderr, "sim_world: --only wants numbers of steps: 1,4-7\n");
		return 2;
	}
	schedule_keep(&s, &whole, keep);
	told->seed = o->seed;
	status = in_child(run_single, &single, false);
	if (status != 0)
		fprintf(stderr, "sim_world: VIOLATION at seed %" PRIu64 " step %" PRIu32 ": %s\n",
			told->seed, told->step, how_it_ended(status));
	schedule_free(&s);
	schedule_free(&whole);
	free(keep);
	return status != 0;
}

static int is_schedule(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot != NULL && strcmp(dot, ".schedule") == 0;
}

static int corpus(const struct options *o)
{
	struct dirent **entry;
	int count = scandir(o->corpus, &entry, is_schedule, alphasort), failed = 0;
	char path[4096];

	if (count < 0) {
		perror(o->corpus);
		return 2;
	}
	for (int i = 0; i < count; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", o->corpus, entry[i]->d_name);
		failed |= replay(o, path);
		free(entry[i]);
	}
	free(entry);
	printf("%d past failures of %s tried\n", count, o->corpus);
	return failed;
}

static void print_counts(const struct world_counts *c)
{
	printf("%" PRIu64 " worlds: %" PRIu64 " reads, %" PRIu64 " writes, %" PRIu64
	       " flushes, %" PRIu64 " errors injected, %" PRIu64 " power cuts, %" PRIu64
	       " kills (%" PRIu64 " at work), %" PRIu64 " reopens (%" PRIu64
	       " after a failed flush, without a cut), %" PRIu64 " permitted mismatches\n",
	       c->worlds, c->reads, c->writes, c->flushes, c->faults, c->cuts, c->kills, c->deaths,
	       c->reopens, c->lived_on, c->mismatches);
	printf("%" PRIu64 " crash states checked at %" PRIu64 " moments, all of them at %" PRIu64
	       "; cut again %" PRIu64 " times, opened again %" PRIu64 " times\n",
	       c->states, c->looks, c->exhaustive, c->cut_again, c->opened_again);
	printf("%" PRIu64 " opens with tags in doubt, %" PRIu64 " recalculations to their end\n",
	       c->doubts, c->recalculations);
	if (c->scrubs > 0)
		printf("%" PRIu64 " scrubs to their end, %" PRIu64 " mismatches found by them\n",
		       c->scrubs, c->scrub_mismatches);
	printf("%" PRIu64 " comparisons with one block over and over\n", c->compares_same);
	for (unsigned i = 0; i < world_mode_count; i++)
		printf("  opened in mode %c: %" PRIu64 "\n", world_modes[i].letter,
		       c->states_by_mode[i]);
	printf("  opened in mode R first: %" PRIu64 "\n", c->recoveries);
}

static void usage(void)
{
	fprintf(stderr,
		"usage: sim_world [--mode LETTER] [--seed N] [--seeds COUNT] [--steps N]\n"
		"                 [--seconds N] [--states N] [--corpus DIR] [--scrub] "
		"[--no-shrink] [-v]\n"
		"       sim_world --seed N --only STEPS [--mode LETTER] [--steps N] [-v]\n"
		"       sim_world --replay FILE [-v]\n"
		"--seconds: of processor time, longer until --states crash states were checked;\n"
		"fewer than that are a failure\n");
	exit(2);
}

static void parse(int argc, char **argv, struct options *o)
{
	for (int i = 1; i < argc; i++) {
		const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(name, "-v") == 0) {
			o->verbose = true;
			continue;
		}
		if (strcmp(name, "--scrub") == 0) {
			o->scrub = true;
			continue;
		}
		if (strcmp(name, "--no-shrink") == 0) {
			o->shrink = false;
			continue;
		}
		if (value == NULL)
			usage();
		i++;
		if (strcmp(name, "--seed") == 0)
			o->seed = strtoull(value, NULL, 0);
		else if (strcmp(name, "--seeds") == 0)
			o->seeds = strtoull(value, NULL, 0);
		else if (strcmp(name, "--states") == 0)
			o->states = strtoull(value, NULL, 0);
		else if (strcmp(name, "--steps") == 0)
			o->steps = (unsigned)strtoul(value, NULL, 0);
		else if (strcmp(name, "--seconds") == 0)
			o->seconds = (unsigned)strtoul(value, NULL, 0);
		else if (strcmp(name, "--only") == 0)
			o->only = value;
		else if (strcmp(name, "--replay") == 0)
			o->replay = value;
		else if (strcmp(name, "--corpus") == 0)
			o->corpus = value;
		else if (strcmp(name, "--mode") == 0)
			o->mode = value[0] == '*' ? 0 : value[0];
		else
			usage();
	}
	if (o->mode != 0 && world_mode_find(o->mode) == NULL)
		usage();
}

static int run(const struct options *o)
{
	int status = 0;

	if (o->replay != NULL)
		return replay(o, o->replay);
	if (o->only != NULL)
		return only(o);
	printf("first seed %" PRIu64 "\n", o->seed);
	if (o->corpus != NULL)
		status = corpus(o);
	if (status == 0)
		status = worlds(o);
	print_counts(&told->counts);
	if (status == 0 && told->counts.states < o->states) {
		fprintf(stderr, "sim_world: only %" PRIu64 " crash states, not %" PRIu64 "\n",
			told->counts.states, o->states);
		status = 1;
	}
	return status;
}

int main(int argc, char **argv)
{
	struct options o = { .seed = 1, .seeds = 100, .steps = 800, .shrink = true };
	/* Memory, where there is some: the file of unwritten tags is mapped. */
	bool shm = access("/dev/shm", W_OK) == 0;
	char dir[60];
	int status;

	parse(argc, argv, &o);
	/* Keep what is freed: LUNs come and go. */
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	(void)snprintf(dir, sizeof(dir), "%s/ti-sim-XXXXXX", shm ? "/dev/shm" : ".");
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (told == MAP_FAILED || mkdtemp(dir) == NULL) {
		perror("sim_world");
		return 2;
	}
	(void)snprintf(o.store, sizeof(o.store), "%s/store", dir);
	status = run(&o);
	world_drop_store(o.store);
	(void)snprintf(o.store, sizeof(o.store), "%s/store-look", dir);
	world_drop_store(o.store);
	rmdir(dir);
	return status;
}
