// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
#include "abi.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
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

/* Of neighbours, too, which the address sanitizer guards: they are all the program's constants. */
__attribute__((no_sanitize("address"))) bool ti_abi_names_version(const char *text, size_t len)
{
	static const char version[] = TI_TCMU_VERSION; /* compared with its end */

	for (size_t at = 0; at + sizeof(version) <= len; at++) {
		char before = at > 0 ? text[at - 1] : '\0';
		size_t same = 0;

		while (same < sizeof(version) && text[at + same] == version[same])
			same++;
		if (same == sizeof(version) && before != '.' && (before < '0' || before > '9'))
			return true;
	}
	return false;
}

/* The program comes first, and is all that is looked at. */
static int look_at_program(struct dl_phdr_info *info, size_t size, void *found)
{
	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];

		if (part->p_type != PT_LOAD || (part->p_flags & (PF_R | PF_W)) != PF_R)
			continue;
		if (ti_abi_names_version((const char *)(info->dlpi_addr + part->p_vaddr),
					 part->p_filesz))
			*(bool *)found = true;
	}
	return 1;
}

/* The runner exports no version, but has it as a string, for --version. */
static int check_program(struct ti_error *error)
{
	bool found = false;

	dl_iterate_phdr(look_at_program, &found);
	return found ? 0
		     : ti_error_set(error, -ELIBBAD,
				    "handler_integrity was built for tcmu-runner %s, and this is "
				    "another version: build the handler for the one that is "
				    "installed",
				    TI_TCMU_VERSION);
}

int ti_abi_check(struct ti_error *error)
{
	union {
		char *(*function)(struct tcmu_device *dev);
		void *address;
	} any = { .function = tcmu_dev_get_cfgstring };
	Dl_info info;
	int err;

	if (!dladdr(any.address, &info) || !info.dli_fname)
		return ti_error_set(error, -ELIBBAD,
				    "handler_integrity cannot find out which libtcmu is loaded");
	err = ti_abi_check_file(info.dli_fname, error);
	return err ? err : check_program(error);
}
