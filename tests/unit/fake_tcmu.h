/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A tcmu-runner for tests: what the handler calls of it, and a command path that treats commands as
 * tcmu-runner 1.5.4 does with nr_threads = 0.
 *
 * Unlike the real one it minds: a command that is completed twice, or without ->done, aborts the
 * test; its memory is given back at completion, so that the sanitizers see whoever still uses it.
 */
#ifndef FAKE_TCMU_H
#define FAKE_TCMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tcmu-runner.h"
#include "tcmur_device.h"

/** One command and, when it has been completed, its outcome.  The test's, until it is done. */
struct fake_command {
	uint8_t cdb[16];
	uint8_t *data; /* the initiator's buffer */
	size_t len;

	bool done;
	int status; /* TCMU_STS_* */
	uint8_t sense[SENSE_BUFFERSIZE];
	size_t answer; /* bytes of the buffer that the initiator has got; needs a ring */
};

/** A device as it is before ->open(). */
struct tcmu_device *fake_device(const char *cfgstring, uint32_t block_size, uint64_t bytes);
void fake_device_free(struct tcmu_device *dev);

/** What the handler registered; NULL before handler_init(). */
struct tcmur_handler *fake_handler(void);

/** Give the device a ring for the handler to look into, before ->open().  Without one the handler
 * takes every command for one of many. */
void fake_ring(struct tcmu_device *dev);

/** Let the command thread (the caller) process one command.  It may be done on return, or later. */
void fake_issue(struct tcmu_device *dev, struct fake_command *command);

/** Several that are in the ring together: at most FAKE_ISSUE_MAX.  Those with operation codes of
 * groups without a known length are skipped, as by the library; that needs a ring. */
#define FAKE_ISSUE_MAX 10U
void fake_issue_all(struct tcmu_device *dev, struct fake_command *command, size_t count);

/** Wait until it is done. */
void fake_wait(struct tcmu_device *dev, struct fake_command *command);

/** Both; returns the status. */
int fake_run(struct tcmu_device *dev, struct fake_command *command);

/** Commands that are not done. */
unsigned fake_outstanding(struct tcmu_device *dev);

/** The core answers one command itself, for a unit attention: the one after the next @skip. */
void fake_unit_attention(struct tcmu_device *dev, unsigned skip);

/** From now on the core itself refuses commands that go to ->flush(), as ALUA may. */
void fake_fence(struct tcmu_device *dev, bool fenced);

/**
 * A compound command of the core's: @steps writes of the buffer, each read back, of @blocks blocks
 * at LBA 0, one after the other.  Returns once it is done; *@depth becomes the most stack that the
 * core's callbacks found in use below them.
 */
int fake_compound(struct tcmu_device *dev, void *buffer, size_t len, unsigned steps, size_t *depth);

/** ->flush() as the core would call it for a command of its own. */
int fake_core_flush(struct tcmu_device *dev);

/** Is the calling thread in the fake's own code, and not in the handler's? */
bool fake_is_inside(void);

/** Has a line with @part been logged since the last fake_log_clear()? */
bool fake_logged(const char *part);
/** Likewise, or will it be soon?  For what comes through a ring. */
bool fake_will_log(const char *part);
/** Whoever writes to the log waits until it hangs no longer.  That is for the log's threads and the
 *  main thread: any other that calls it aborts the test. */
void fake_log_hang(bool hangs);
/** While it hangs: let so many lines pass, and return when another one waits. */
void fake_log_let(unsigned lines);
/** All since fake_log_clear(), while nobody writes. */
const char *fake_log_text(void);
void fake_log_clear(void);

/** What tcmu_dev_set_*() was told. */
bool fake_write_cache(const struct tcmu_device *dev);
uint32_t fake_unmap_align(const struct tcmu_device *dev);

#endif
