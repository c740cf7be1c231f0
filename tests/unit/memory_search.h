/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The memory of this process, searched for keys.  What a core dump would hold is asked of the
 * kernel.
 */
#ifndef MEMORY_SEARCH_H
#define MEMORY_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How many pieces of private, readable and writable memory hold 8 bytes in a row of which byte i is
 * @first + i * @step, as they are or under one of hmac()'s two pads?  @only_dumped: of those that
 * would be in a core dump.
 */
unsigned memory_holds(uint8_t first, uint8_t step, bool only_dumped);

/*
 * Do the @len bytes at @p hold 8 in a row that go on by @step, forwards or backwards (as a word
 * does whose bytes were swapped), whatever the first one is, as they are or under one of the two
 * pads?
 */
bool bytes_hold_a_run(const uint8_t *p, size_t len, uint8_t step);

/* The same for the 8 bytes of which @inverted holds the inverse. */
unsigned memory_holds_inverse(const uint8_t *inverted);

/* Bytes of such memory that are left out of core dumps. */
size_t memory_not_dumped(void);

#endif
