/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What every host back-end must do, as one set of tests: each back-end's own test runs them, on two
 * files of its own, or on two devices that its command line names (their contents are lost).
 */
#ifndef TI_TEST_BLOCKDEV_CASES_H
#define TI_TEST_BLOCKDEV_CASES_H

#include "pair.h"

/**
 * Run the tests on @backend, on @argv's devices if there are any; if those are slow, with the time
 * that a flush of each takes, in ms: the tests of that.  Returns what main() should.
 */
int blockdev_cases_run(enum ti_backend backend, int argc, char **argv);

#endif
