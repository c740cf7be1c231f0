// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
#include "abi.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libtcmu_common.h"

int ti_abi_check_file(const char *path, struct ti_error *error)
{
	char *real = realpath(path, NULL);
	const char *slash = real ? strrchr(real, '/') : NULL;
	int err = 0;

	if (!slash || strcmp(slash + 1, TI_LIBTCMU) != 0)
		err = ti_error_set(
			error, -ELIBBAD,
			"handler_integrity was built for tcmu-runner %s, which has %s, but "
			"this one has '%s': build the handler for the version that is "
			"installed",
			TI_TCMU_VERSION, TI_LIBTCMU, real ? real : path);
	free(real);
	return err;
}

int ti_abi_check(struct ti_error *error)
{
	union {
		char *(*function)(struct tcmu_device *dev);
		void *address;
	} any = { .function = tcmu_dev_get_cfgstring };
	Dl_info info;

	if (!dladdr(any.address, &info) || !info.dli_fname)
		return ti_error_set(error, -ELIBBAD,
				    "handler_integrity cannot find out which libtcmu is loaded");
	return ti_abi_check_file(info.dli_fname, error);
}
