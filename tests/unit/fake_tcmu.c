/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
#include "fake_tcmu.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "libtcmu.h"
#include "libtcmu_common.h"
#include "libtcmu_log.h"
#include "target_core_user_local.h"

/* Entries are of one size here, and each has room for its CDB behind the ring. */
#define RING_ENTRIES 16U
#define ENTRY_BYTES  128U
#define CDB_BYTES    16U

/* The kernel's, newer than the runner's header. */
#define CAP_READ_LEN   (1U << 1)
#define UFLAG_READ_LEN 0x2

struct ring {
	struct tcmu_mailbox mailbox;
	uint8_t entry[RING_ENTRIES][ENTRY_BYTES] __attribute__((aligned(8)));
	uint8_t cdb[RING_ENTRIES][CDB_BYTES];
};

struct tcmu_device {
	/* As in libtcmu_priv.h: the handler looks at the last of these. */
	int fd;
	struct tcmu_mailbox *map;
	size_t map_len;
	uint32_t cmd_tail; /* where the library is in the ring */

	struct ring *ring; /* or NULL */
	struct fake_command *skipped[RING_ENTRIES];
	uint16_t skipped_id[RING_ENTRIES];
	unsigned enqueued;
	bool id_used[RING_ENTRIES + 1];
	char cfgstring[300];
	uint32_t block_size, max_xfer_len, opt_xcopy_len, unmap_align;
	uint64_t num_lbas;
	bool write_cache, solid_state, fenced;
	unsigned attention_in; /* commands; 0: none is pending */
	void *private;

	struct tcmur_device runner; /* what the handler may know of it */
	pthread_mutex_t lock;
	pthread_cond_t completed;
	unsigned outstanding;
};

/* A command as the runner has it: one piece of memory, given back at completion. */
struct runner_command {
	struct tcmur_cmd cmd;
	struct tcmulib_cmd lib;
	struct iovec iov[3];
	uint8_t cdb[16];
	struct fake_command *fake;
};

static struct tcmur_handler *registered;

/* Set while the fake's own code runs, on whichever thread. */
static __thread bool inside;

bool fake_is_inside(void)
{
	return inside;
}

/* Set while the calling thread is the command thread. */
static __thread bool commanding;

static bool set_inside(bool now)
{
	bool before = inside;

	inside = now;
	/* The compiler thinks that malloc() does not look at it. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return before;
}

static void die(const char *what)
{
	fprintf(stderr, "fake tcmu-runner: %s\n", what);
	abort();
}

static unsigned cdb_length(uint8_t opcode)
{
	static const unsigned group[8] = { 6, 10, 10, 0, 16, 12, 0, 0 };

	return group[opcode >> 5];
}

/* --- devices --- */

struct tcmu_device *fake_device(const char *cfgstring, uint32_t block_size, uint64_t bytes)
{
	struct tcmu_device *dev = calloc(1, sizeof(*dev));

	snprintf(dev->cfgstring, sizeof(dev->cfgstring), "%s", cfgstring);
	dev->block_size = block_size;
	dev->num_lbas = bytes / block_size;
	dev->max_xfer_len = 2048;
	pthread_mutex_init(&dev->lock, NULL);
	pthread_cond_init(&dev->completed, NULL);
	dev->runner.dev = dev;
	pthread_spin_init(&dev->runner.lock, 0);
	pthread_mutex_init(&dev->runner.track_queue.track_lock, NULL);
	list_head_init(&dev->runner.cmds_list);
	return dev;
}

void *tcmu_dev_get_private(struct tcmu_device *dev)
{
	return &dev->runner;
}

void fake_device_free(struct tcmu_device *dev)
{
	if (dev->outstanding)
		die("a device goes away with commands under way");
	if (dev->runner.track_queue.tracked_aio_ops || !list_empty(&dev->runner.cmds_list))
		die("a command was completed, but not for the runner");
	pthread_mutex_destroy(&dev->runner.track_queue.track_lock);
	pthread_spin_destroy(&dev->runner.lock);
	pthread_cond_destroy(&dev->completed);
	pthread_mutex_destroy(&dev->lock);
	free(dev->ring);
	free(dev);
}

char *tcmu_dev_get_cfgstring(struct tcmu_device *dev)
{
	return dev->cfgstring;
}

const char *tcmu_dev_get_uio_name(struct tcmu_device *dev)
{
	(void)dev;
	return "uio7";
}

void fake_ring(struct tcmu_device *dev)
{
	struct tcmu_mailbox *mailbox;

	if (posix_memalign((void **)&dev->ring, _Alignof(struct ring), sizeof(*dev->ring)) != 0)
		die("no memory");
	memset(dev->ring, 0, sizeof(*dev->ring));
	mailbox = &dev->ring->mailbox;
	mailbox->cmdr_off = offsetof(struct ring, entry);
	mailbox->cmdr_size = sizeof(dev->ring->entry);
	mailbox->flags = CAP_READ_LEN;
	/* As on a device that has been in use. */
	mailbox->cmd_head = 5 * ENTRY_BYTES;
	mailbox->cmd_tail = 5 * ENTRY_BYTES;
	dev->cmd_tail = mailbox->cmd_tail;
}

/* The library takes the command out of the ring, or steps over it. */
static void pass(struct tcmu_device *dev, uint16_t id)
{
	const struct tcmu_cmd_entry *entry;
	uint32_t place = dev->cmd_tail;

	if (!dev->ring)
		return;
	do {
		entry = (const void *)dev->ring->entry[place / ENTRY_BYTES];
		place = (uint32_t)((place + ENTRY_BYTES) % sizeof(dev->ring->entry));
	} while (tcmu_hdr_get_op(entry->hdr.len_op) != TCMU_OP_CMD || entry->hdr.cmd_id != id);
	__atomic_store_n(&dev->cmd_tail, place, __ATOMIC_RELEASE);
}

static struct tcmu_cmd_entry *add_entry(struct ring *ring, enum tcmu_opcode op)
{
	struct tcmu_mailbox *mailbox = &ring->mailbox;
	struct tcmu_cmd_entry *entry = (void *)ring->entry[mailbox->cmd_head / ENTRY_BYTES];

	memset(entry, 0, ENTRY_BYTES);
	entry->hdr.len_op = ENTRY_BYTES | (uint32_t)op;
	return entry;
}

static void step_head(struct tcmu_mailbox *mailbox)
{
	uint32_t head = (mailbox->cmd_head + ENTRY_BYTES) % mailbox->cmdr_size;

	__atomic_store_n(&mailbox->cmd_head, head, __ATOMIC_RELEASE);
}

/* As the kernel's: the lowest that is free. */
static uint16_t new_id(struct tcmu_device *dev)
{
	uint16_t id = 1;

	pthread_mutex_lock(&dev->lock);
	while (dev->id_used[id])
		id++;
	dev->id_used[id] = true;
	pthread_mutex_unlock(&dev->lock);
	return id;
}

/* Put a command into the ring, as the kernel does; returns its id. */
static uint16_t enqueue(struct tcmu_device *dev, const uint8_t *cdb)
{
	struct ring *ring = dev->ring;
	struct tcmu_cmd_entry *entry;
	uint32_t i;

	if (!ring)
		return 0;
	if (++dev->enqueued % 3 == 0) {
		add_entry(ring, TCMU_OP_PAD);
		step_head(&ring->mailbox);
	}
	entry = add_entry(ring, TCMU_OP_CMD);
	i = ring->mailbox.cmd_head / ENTRY_BYTES;
	entry->hdr.cmd_id = new_id(dev);
	entry->req.cdb_off = (uint64_t)(ring->cdb[i] - (uint8_t *)ring);
	memcpy(ring->cdb[i], cdb, CDB_BYTES);
	step_head(&ring->mailbox);
	return entry->hdr.cmd_id;
}

char *tcmu_dev_get_memory_info(struct tcmu_device *dev, void **base, size_t *len, off_t *offset)
{
	*base = dev->ring;
	*len = dev->ring ? sizeof(*dev->ring) : 0;
	*offset = 0;
	return NULL;
}

uint32_t tcmu_dev_get_block_size(struct tcmu_device *dev)
{
	return dev->block_size;
}

uint64_t tcmu_dev_get_num_lbas(struct tcmu_device *dev)
{
	return dev->num_lbas;
}

uint64_t tcmu_lba_to_byte(struct tcmu_device *dev, uint64_t lba)
{
	return lba * dev->block_size;
}

uint32_t tcmu_dev_get_max_xfer_len(struct tcmu_device *dev)
{
	return dev->max_xfer_len;
}

void tcmu_dev_set_max_xfer_len(struct tcmu_device *dev, uint32_t len)
{
	dev->max_xfer_len = len;
}

void tcmu_dev_set_opt_xcopy_rw_len(struct tcmu_device *dev, uint32_t len)
{
	dev->opt_xcopy_len = len;
}

void tcmu_dev_set_opt_unmap_gran(struct tcmu_device *dev, uint32_t len, bool split)
{
	(void)dev;
	(void)len;
	(void)split;
}

void tcmu_dev_set_unmap_gran_align(struct tcmu_device *dev, uint32_t len)
{
	dev->unmap_align = len;
}

void tcmu_dev_set_write_cache_enabled(struct tcmu_device *dev, bool enabled)
{
	dev->write_cache = enabled;
}

void tcmu_dev_set_solid_state_media(struct tcmu_device *dev, bool solid_state)
{
	dev->solid_state = solid_state;
}

char *tcmu_cfgfs_dev_get_wwn(struct tcmu_device *dev)
{
	bool before = set_inside(true);
	char *serial = strdup("00000000-0000-0000-0000-000000000001");

	(void)dev;
	set_inside(before);
	return serial;
}

void *tcmur_dev_get_private(struct tcmu_device *dev)
{
	return dev->private;
}

void tcmur_dev_set_private(struct tcmu_device *dev, void *private)
{
	dev->private = private;
}

bool fake_write_cache(const struct tcmu_device *dev)
{
	return dev->write_cache;
}

uint32_t fake_unmap_align(const struct tcmu_device *dev)
{
	return dev->unmap_align;
}

void fake_unit_attention(struct tcmu_device *dev, unsigned skip)
{
	dev->attention_in = skip + 1;
}

void fake_fence(struct tcmu_device *dev, bool fenced)
{
	dev->fenced = fenced;
}

int tcmur_register_handler(struct tcmur_handler *handler)
{
	registered = handler;
	return 0;
}

struct tcmur_handler *fake_handler(void)
{
	return registered;
}

/* --- the log --- */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t log_changed = PTHREAD_COND_INITIALIZER;
static bool log_hangs;
static unsigned log_let, log_waiting;
static char log_text[1 << 16];

/* The log's file may hang.  Who serves I/O does not wait for it, nor allocates for a line. */
static void check_thread(void)
{
	char name[16] = "";

	pthread_getname_np(pthread_self(), name, sizeof(name));
	if (strncmp(name, "ti-log-", strlen("ti-log-")) == 0)
		return;
	if (commanding || (pid_t)syscall(SYS_gettid) != getpid())
		die("a thread that serves I/O calls the log");
}

static void log_line(struct tcmu_device *dev, const char *funcname, int linenr, const char *fmt,
		     va_list args)
{
	/* As long as the runner's, with what it puts in front; of names the longest. */
	char line[255], prefix[255];
	size_t used;

	check_thread();
	if (dev)
		snprintf(prefix, sizeof(prefix), "%s:%d integrity/%0127d: ", funcname, linenr, 0);
	else
		snprintf(prefix, sizeof(prefix), "%s:%d: ", funcname, linenr);
	vsnprintf(line, sizeof(line) - strlen(prefix), fmt, args);
	pthread_mutex_lock(&log_lock);
	log_waiting++;
	pthread_cond_broadcast(&log_changed);
	while (log_hangs && log_let == 0)
		pthread_cond_wait(&log_changed, &log_lock);
	log_waiting--;
	if (log_let > 0)
		log_let--;
	used = strlen(log_text);
	snprintf(log_text + used, sizeof(log_text) - used, "%s", line);
	pthread_cond_broadcast(&log_changed);
	pthread_mutex_unlock(&log_lock);
}

#define LOG_FUNCTION(name)                                                                         \
	void name(struct tcmu_device *dev, const char *funcname, int linenr, const char *fmt, ...) \
	{                                                                                          \
		va_list args;                                                                      \
		va_start(args, fmt);                                                               \
		log_line(dev, funcname, linenr, fmt, args);                                        \
		va_end(args);                                                                      \
	}

LOG_FUNCTION(tcmu_err_message)
LOG_FUNCTION(tcmu_warn_message)
LOG_FUNCTION(tcmu_info_message)
LOG_FUNCTION(tcmu_dbg_message)

bool fake_logged(const char *part)
{
	bool found;

	pthread_mutex_lock(&log_lock);
	found = strstr(log_text, part) != NULL;
	pthread_mutex_unlock(&log_lock);
	return found;
}

bool fake_will_log(const char *part)
{
	struct timespec until;
	bool found;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	pthread_mutex_lock(&log_lock);
	while (!(found = strstr(log_text, part) != NULL) &&
	       pthread_cond_timedwait(&log_changed, &log_lock, &until) == 0)
		;
	pthread_mutex_unlock(&log_lock);
	return found;
}

void fake_log_hang(bool hangs)
{
	pthread_mutex_lock(&log_lock);
	log_hangs = hangs;
	log_let = 0;
	pthread_cond_broadcast(&log_changed);
	pthread_mutex_unlock(&log_lock);
}

void fake_log_let(unsigned lines)
{
	pthread_mutex_lock(&log_lock);
	log_let = lines;
	pthread_cond_broadcast(&log_changed);
	while (log_let > 0 || log_waiting == 0)
		pthread_cond_wait(&log_changed, &log_lock);
	pthread_mutex_unlock(&log_lock);
}

const char *fake_log_text(void)
{
	return log_text;
}

void fake_log_clear(void)
{
	pthread_mutex_lock(&log_lock);
	log_text[0] = '\0';
	pthread_mutex_unlock(&log_lock);
}

/* --- commands --- */

static struct runner_command *runner_command(struct tcmur_cmd *cmd)
{
	return (struct runner_command *)(void *)cmd;
}

/*
 * What the kernel makes of a response: the command is the entry's, and so is the length.  Entries
 * are looked at one by one, so the tail is where the kernel is, too.
 */
static void respond(struct tcmu_device *dev, uint16_t id, struct fake_command *fake)
{
	struct tcmu_mailbox *mailbox = &dev->ring->mailbox;
	struct tcmu_cmd_entry *entry;

	do {
		if (mailbox->cmd_tail == __atomic_load_n(&mailbox->cmd_head, __ATOMIC_ACQUIRE))
			die("a response, but no command in the ring");
		entry = (void *)dev->ring->entry[mailbox->cmd_tail / ENTRY_BYTES];
		mailbox->cmd_tail = (mailbox->cmd_tail + ENTRY_BYTES) % mailbox->cmdr_size;
	} while (tcmu_hdr_get_op(entry->hdr.len_op) != TCMU_OP_CMD);
	entry->hdr.cmd_id = id;
	if (!(entry->hdr.uflags & UFLAG_READ_LEN) || !entry->rsp.__pad3)
		fake->answer = fake->status == TCMU_STS_OK ? fake->len : 0;
	else
		fake->answer = entry->rsp.__pad3;
	/* Of the command that was there nothing is left. */
	memset((uint8_t *)entry + sizeof(entry->hdr), 0x20, ENTRY_BYTES - sizeof(entry->hdr));
	dev->id_used[id] = false;
}

/* One that is not in the runner's memory: the library had skipped it. */
static void complete_skipped(struct tcmu_device *dev, struct tcmulib_cmd *lib, int status)
{
	struct fake_command *fake = NULL;

	pthread_mutex_lock(&dev->lock);
	for (unsigned i = 0; i < RING_ENTRIES && !fake; i++) {
		if (dev->skipped[i] && dev->skipped_id[i] == lib->cmd_id) {
			fake = dev->skipped[i];
			dev->skipped[i] = NULL;
		}
	}
	if (!fake)
		die("a command was completed that nobody knows, or twice");
	fake->status = status;
	respond(dev, lib->cmd_id, fake);
	memcpy(fake->sense, lib->sense_buf, sizeof(fake->sense));
	free(lib);
	fake->done = true;
	dev->outstanding--;
	pthread_cond_broadcast(&dev->completed);
	pthread_mutex_unlock(&dev->lock);
}

void tcmulib_command_complete(struct tcmu_device *dev, struct tcmulib_cmd *lib, int status)
{
	struct runner_command *rc = runner_command(lib->hm_private);
	struct fake_command *fake;

	if (!rc) {
		complete_skipped(dev, lib, status);
		return;
	}
	fake = rc->fake;
	pthread_mutex_lock(&dev->lock);
	if (fake->done)
		die("a command was completed twice");
	fake->status = status;
	if (dev->ring)
		respond(dev, lib->cmd_id, fake);
	memcpy(fake->sense, rc->lib.sense_buf, sizeof(fake->sense));
	memset(rc, 0xdd, sizeof(*rc));
	free(rc);
	fake->done = true;
	dev->outstanding--;
	pthread_cond_broadcast(&dev->completed);
	pthread_mutex_unlock(&dev->lock);
}

void tcmulib_processing_complete(struct tcmu_device *dev)
{
	(void)dev;
}

/* What tcmur_tcmulib_cmd_complete() does. */
static void complete(struct tcmu_device *dev, struct tcmur_cmd *cmd, int status)
{
	pthread_spin_lock(&dev->runner.lock);
	list_del(&cmd->cmds_list_entry);
	tcmulib_command_complete(dev, cmd->lib_cmd, status);
	pthread_spin_unlock(&dev->runner.lock);
}

static void track(struct tcmu_device *dev)
{
	struct tcmu_track_aio *queue = &dev->runner.track_queue;

	pthread_mutex_lock(&queue->track_lock);
	queue->tracked_aio_ops++;
	pthread_mutex_unlock(&queue->track_lock);
}

static void untrack(struct tcmu_device *dev)
{
	struct tcmu_track_aio *queue = &dev->runner.track_queue;

	pthread_mutex_lock(&queue->track_lock);
	if (queue->tracked_aio_ops-- == 0)
		die("more commands have ended than were begun");
	pthread_mutex_unlock(&queue->track_lock);
}

static void generic_done(struct tcmu_device *dev, struct tcmur_cmd *cmd, int status)
{
	complete(dev, cmd, status);
	untrack(dev);
}

void tcmur_cmd_complete(struct tcmu_device *dev, void *data, int status)
{
	struct tcmur_cmd *cmd = data;
	bool before = set_inside(true);

	if (!cmd->done)
		die("tcmur_cmd_complete() for a command without ->done");
	cmd->done(dev, cmd, status);
	set_inside(before);
}

static struct runner_command *make(struct tcmu_device *dev, struct fake_command *fake)
{
	bool before = set_inside(true);
	struct runner_command *rc = malloc(sizeof(*rc));
	size_t first = fake->len / 2 & ~(size_t)511;

	/* The runner zeroes struct tcmur_cmd and nothing else. */
	set_inside(before);
	memset(rc, 0xa5, sizeof(*rc));
	memset(&rc->cmd, 0, sizeof(rc->cmd));
	rc->cmd.lib_cmd = &rc->lib;
	rc->lib.hm_private = &rc->cmd;
	rc->fake = fake;
	memcpy(rc->cdb, fake->cdb, sizeof(rc->cdb));
	memset(rc->cdb + cdb_length(fake->cdb[0]), 0xee, 16 - cdb_length(fake->cdb[0]));
	rc->lib.cdb = rc->cdb;
	rc->lib.iovec = rc->iov;
	rc->lib.iov_cnt = 0;
	if (first)
		rc->iov[rc->lib.iov_cnt++] = (struct iovec){ fake->data, first };
	if (fake->len > first)
		rc->iov[rc->lib.iov_cnt++] =
			(struct iovec){ fake->data + first, fake->len - first };
	fake->done = false;
	pthread_mutex_lock(&dev->lock);
	dev->outstanding++;
	pthread_mutex_unlock(&dev->lock);
	pthread_spin_lock(&dev->runner.lock);
	list_add_tail(&dev->runner.cmds_list, &rc->cmd.cmds_list_entry);
	pthread_spin_unlock(&dev->runner.lock);
	return rc;
}

/* What the core does with a command that handle_cmd() has left to it. */
static int core(struct tcmu_device *dev, struct tcmur_cmd *cmd)
{
	int status;

	switch (cmd->lib_cmd->cdb[0]) {
	case 0x00:
		return TCMU_STS_OK;
	case 0x35:
	case 0x91:
		if (dev->fenced)
			return TCMU_STS_FENCED;
		cmd->done = generic_done;
		track(dev);
		set_inside(false);
		status = registered->flush(dev, cmd);
		set_inside(true);
		if (!status)
			return TCMU_STS_ASYNC_HANDLED;
		untrack(dev);
		return status;
	default:
		return TCMU_STS_NOT_HANDLED;
	}
}

static void process(struct tcmu_device *dev, struct tcmur_cmd *cmd)
{
	bool before = set_inside(true);
	int status;

	if (dev->attention_in > 0 && --dev->attention_in == 0) {
		complete(dev, cmd, TCMU_STS_CAPACITY_CHANGED);
		set_inside(before);
		return;
	}
	track(dev);
	set_inside(false);
	commanding = true;
	status = registered->handle_cmd(dev, cmd);
	commanding = false;
	set_inside(true);
	if (status != TCMU_STS_ASYNC_HANDLED)
		untrack(dev);
	if (status == TCMU_STS_NOT_HANDLED)
		status = core(dev, cmd);
	if (status != TCMU_STS_ASYNC_HANDLED)
		complete(dev, cmd, status);
	set_inside(before);
}

/* Behind a ring's entry, and known by its id. */
static void skip(struct tcmu_device *dev, struct fake_command *fake, uint16_t id)
{
	unsigned i = 0;

	pthread_mutex_lock(&dev->lock);
	while (dev->skipped[i])
		i++;
	fake->done = false;
	dev->skipped[i] = fake;
	dev->skipped_id[i] = id;
	dev->outstanding++;
	pthread_mutex_unlock(&dev->lock);
}

void fake_issue_all(struct tcmu_device *dev, struct fake_command *fake, size_t count)
{
	struct tcmur_cmd *cmd[FAKE_ISSUE_MAX];
	uint16_t id[FAKE_ISSUE_MAX];

	if (count > FAKE_ISSUE_MAX)
		die("too many commands for the ring");
	for (size_t i = 0; i < count; i++) {
		struct runner_command *rc;

		id[i] = enqueue(dev, fake[i].cdb);
		cmd[i] = NULL;
		if (cdb_length(fake[i].cdb[0]) == 0) {
			skip(dev, &fake[i], id[i]);
			continue;
		}
		rc = make(dev, &fake[i]);
		rc->lib.cmd_id = id[i];
		cmd[i] = &rc->cmd;
	}
	for (size_t i = 0; i < count; i++) {
		pass(dev, id[i]);
		if (cmd[i])
			process(dev, cmd[i]);
	}
}

void fake_issue(struct tcmu_device *dev, struct fake_command *fake)
{
	fake_issue_all(dev, fake, 1);
}

void fake_wait(struct tcmu_device *dev, struct fake_command *fake)
{
	int old;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old); /* not with the lock held */
	pthread_mutex_lock(&dev->lock);
	while (!fake->done)
		pthread_cond_wait(&dev->completed, &dev->lock);
	pthread_mutex_unlock(&dev->lock);
	pthread_setcancelstate(old, NULL);
}

int fake_run(struct tcmu_device *dev, struct fake_command *fake)
{
	fake_issue(dev, fake);
	fake_wait(dev, fake);
	return fake->status;
}

unsigned fake_outstanding(struct tcmu_device *dev)
{
	unsigned n;

	pthread_mutex_lock(&dev->lock);
	n = dev->outstanding;
	pthread_mutex_unlock(&dev->lock);
	return n;
}

/* --- compound commands --- */

struct compound {
	unsigned left;
	struct iovec iov;
	size_t *depth;
	const char *top; /* of the stack, where the first callback stood */
	pthread_t thread;
};

static void compound_wrote(struct tcmu_device *dev, struct tcmur_cmd *cmd, int status);

static void measure(struct compound *c)
{
	const char here = 0;
	size_t depth;

	if (!c->top || !pthread_equal(c->thread, pthread_self())) {
		c->top = &here;
		c->thread = pthread_self();
	}
	depth = (size_t)(c->top > &here ? c->top - &here : &here - c->top);
	if (depth > *c->depth)
		*c->depth = depth;
}

/* The next write, or the end. */
static void compound_read(struct tcmu_device *dev, struct tcmur_cmd *cmd, int status)
{
	struct compound *c = cmd->cmd_state;

	measure(c);
	if (status == TCMU_STS_OK && c->left > 0) {
		c->left--;
		cmd->done = compound_wrote;
		status = registered->write(dev, cmd, &c->iov, 1, c->iov.iov_len, 0);
		if (status == TCMU_STS_OK)
			return;
	}
	complete(dev, cmd, status);
}

static void compound_wrote(struct tcmu_device *dev, struct tcmur_cmd *cmd, int status)
{
	struct compound *c = cmd->cmd_state;

	measure(c);
	if (status == TCMU_STS_OK) {
		cmd->done = compound_read;
		status = registered->read(dev, cmd, &c->iov, 1, c->iov.iov_len, 0);
		if (status == TCMU_STS_OK)
			return;
	}
	complete(dev, cmd, status);
}

int fake_compound(struct tcmu_device *dev, void *buffer, size_t len, unsigned steps, size_t *depth)
{
	struct compound c = { .left = steps, .iov = { buffer, len }, .depth = depth };
	struct fake_command fake = { .cdb = { 0x2e } };
	struct tcmur_cmd *cmd = &make(dev, &fake)->cmd;

	*depth = 0;
	memset(cmd->lib_cmd->sense_buf, 0, sizeof(cmd->lib_cmd->sense_buf));
	cmd->cmd_state = &c;
	compound_read(dev, cmd, TCMU_STS_OK);
	fake_wait(dev, &fake);
	return fake.status;
}

int fake_core_flush(struct tcmu_device *dev)
{
	struct fake_command fake = { .cdb = { 0x35 } };
	struct tcmur_cmd *cmd = &make(dev, &fake)->cmd;
	int status;

	cmd->done = generic_done;
	track(dev);
	status = registered->flush(dev, cmd);
	if (status != TCMU_STS_OK)
		generic_done(dev, cmd, status);
	fake_wait(dev, &fake);
	return fake.status;
}
