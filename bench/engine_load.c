/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Load on the engine alone: no tcmu, no SCSI, one thread that submits, runs and waits.
 *
 *     engine_load META DATA [HASH [HELPERS]]
 *
 * reads one line for each measurement, "RW BLOCK_BYTES DEPTH SECONDS" with RW one of randwrite,
 * randread, write and read, and answers with "BYTES NANOSECONDS".  The LUN stays open between
 * measurements, so tags that one of them left dirty are written out during a later one: as in a
 * LUN that is in use.  Everything written is zeroes, so that somebody else may write zeroes to DATA
 * (fio does) without making a tag wrong.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun.h"
#include "pair.h"

#define MAX_DEPTH   256U
#define MAX_BLOCK   (1U << 20)
#define MEMORY_PAGE 4096U

struct job {
	bool writes, random;
	uint32_t bytes; /* of a request */
	unsigned depth;
	uint64_t duration_ns;
};

struct load {
	struct ti_lun *lun;
	uint64_t lun_sectors;
	uint64_t random_state;
	uint64_t next_sector; /* sequential */
	uint64_t bytes_done;
	int err;
	struct ti_request requests[MAX_DEPTH];
	struct iovec iov[MAX_DEPTH];
	uint8_t *memory;
};

/* xorshift64*: good enough to scatter requests, and cheap. */
static uint64_t next_random(struct load *load)
{
	uint64_t x = load->random_state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	load->random_state = x;
	return x * 0x2545f4914f6cdd1dULL;
}

static void submit(struct load *load, const struct job *job, struct ti_request *req)
{
	uint64_t sectors = job->bytes / 512, places = load->lun_sectors / sectors;

	req->op = job->writes ? TI_REQ_WRITE : TI_REQ_READ;
	req->sectors = sectors;
	if (job->random) {
		req->sector = next_random(load) % places * sectors;
	} else {
		if (load->next_sector + sectors > load->lun_sectors)
			load->next_sector = 0;
		req->sector = load->next_sector;
		load->next_sector += sectors;
	}
	ti_lun_submit(load->lun, req);
}

/*
 * Take what has finished; hand it in again until @until_ns.  Returns the number still under way.
 * Each request is started on its own, as the handler does it (and fio): the device is at work on
 * the first while the second is being prepared.
 */
static unsigned turn(struct load *load, const struct job *job, unsigned busy, uint64_t until_ns)
{
	struct ti_request_list finished = STAILQ_HEAD_INITIALIZER(finished);
	uint64_t now;

	ti_lun_run(load->lun, &finished);
	if (STAILQ_EMPTY(&finished)) {
		ti_lun_wait(load->lun, ti_lun_deadline(load->lun));
		ti_lun_tick(load->lun);
		return busy;
	}
	now = ti_clock_now(&ti_clock_monotonic);
	if (now >= ti_lun_deadline(load->lun))
		ti_lun_tick(load->lun);
	while (!STAILQ_EMPTY(&finished)) {
		struct ti_request *req = STAILQ_FIRST(&finished);

		STAILQ_REMOVE_HEAD(&finished, link);
		if (req->result.err != 0 && load->err == 0)
			load->err = req->result.err;
		load->bytes_done += req->sectors * 512;
		if (now < until_ns && load->err == 0) {
			submit(load, job, req);
			ti_lun_run(load->lun, &finished);
		} else {
			busy--;
		}
	}
	return busy;
}

static uint64_t measure(struct load *load, const struct job *job)
{
	uint64_t began_ns = ti_clock_now(&ti_clock_monotonic);
	unsigned busy = job->depth;

	load->bytes_done = 0;
	for (unsigned i = 0; i < job->depth; i++) {
		load->iov[i].iov_base = load->memory + (size_t)i * job->bytes;
		load->iov[i].iov_len = job->bytes;
		load->requests[i].iov = &load->iov[i];
		load->requests[i].iov_count = 1;
		submit(load, job, &load->requests[i]);
	}
	while (busy > 0)
		busy = turn(load, job, busy, began_ns + job->duration_ns);
	return ti_clock_now(&ti_clock_monotonic) - began_ns;
}

static bool parse(const char *line, struct job *job)
{
	char rw[16];
	unsigned seconds;

	if (sscanf(line, "%15s %" SCNu32 " %u %u", rw, &job->bytes, &job->depth, &seconds) != 4)
		return false;
	job->random = strncmp(rw, "rand", 4) == 0;
	job->writes = strstr(rw, "write") != NULL;
	job->duration_ns = seconds * TI_NS_PER_SEC;
	return job->depth >= 1 && job->depth <= MAX_DEPTH && job->bytes >= 512 &&
	       job->bytes <= MAX_BLOCK && job->bytes % 512 == 0;
}

static int serve(struct load *load)
{
	char line[128];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		struct job job;
		uint64_t ns;

		if (!parse(line, &job)) {
			fprintf(stderr, "engine_load: cannot make sense of: %s", line);
			return 2;
		}
		ns = measure(load, &job);
		if (load->err != 0) {
			fprintf(stderr, "engine_load: a request failed: %s.\n",
				strerror(-load->err));
			return 1;
		}
		printf("%" PRIu64 " %" PRIu64 "\n", load->bytes_done, ns);
		fflush(stdout);
	}
	return 0;
}

static void log_line(void *ctx, enum ti_log_level level, const char *text)
{
	(void)ctx;
	if (level <= TI_LOG_WARN)
		fprintf(stderr, "engine_load: %s\n", text);
}

int main(int argc, char **argv)
{
	static struct load load = { .random_state = 88172645463325252ULL };
	const struct ti_log log = { .line = log_line };
	struct ti_lun_options options = { .mode = TI_MODE_DIRECT };
	struct ti_pair_options pair = { .backend = TI_BACKEND_URING };
	struct ti_queue *queue = NULL;
	struct ti_error error = { 0 };
	int status = 1;

	if (argc < 3 || argc > 5) {
		fprintf(stderr, "usage: engine_load META DATA [HASH [HELPERS]]\n");
		return 2;
	}
	options.hash = argc > 3 ? argv[3] : NULL;
	options.crew.helpers = argc > 4 ? (unsigned)atoi(argv[4]) : 0;
	pair.meta_path = argv[1];
	pair.data_path = argv[2];
	load.memory = aligned_alloc(MEMORY_PAGE, (size_t)MAX_DEPTH * MAX_BLOCK);
	if (load.memory == NULL) {
		fprintf(stderr, "engine_load: out of memory.\n");
		return 1;
	}
	memset(load.memory, 0, (size_t)MAX_DEPTH * MAX_BLOCK);
	if (ti_pair_open(&pair, &log, &queue, &error) == 0 &&
	    ti_lun_open(&options, queue, &ti_clock_monotonic, &log, &load.lun, &error) == 0) {
		load.lun_sectors = ti_lun_geometry(load.lun)->provided_sectors;
		status = serve(&load);
		if (ti_lun_close(load.lun) != 0)
			status = 1;
	} else {
		fprintf(stderr, "engine_load: %s\n", error.text);
	}
	ti_pair_close(queue);
	free(load.memory);
	return status;
}
