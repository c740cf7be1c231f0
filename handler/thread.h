/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The threads of a disk: the completion thread, and what the runner's command thread needs.
 *
 * On a machine that writes its dirty pages to this very LUN, a thread of ours that allocates memory
 * in the kernel must not wait for that writing: PR_SET_IO_FLUSHER says so, per thread.
 */
#ifndef TI_THREAD_H
#define TI_THREAD_H

struct ti_disk;

/** Start the completion thread.  Returns 0 or negative errno. */
int ti_thread_start(struct ti_disk *disk);

/** Make it end when nothing is under way any more, and wait for that. */
void ti_thread_stop(struct ti_disk *disk);

/** Set up the calling thread, the runner's; log what became of it.  Once per disk. */
void ti_thread_adopt(struct ti_disk *disk);

#endif
