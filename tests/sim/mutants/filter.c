/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * For ./run: of a directed test's program, run the one test that TI_TEST names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

__attribute__((constructor)) static void only_one(void)
{
	const char *name = getenv("TI_TEST");

	if (name != NULL)
		cmocka_set_test_filter(name);
}
