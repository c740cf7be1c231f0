/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* A settings file from a stranger, as defaults file and as profile. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz_input.h"
#include "config_keys.h"

/* What a file says, once quickly and once with all that is wrong. */
static void look(const char *path, enum ti_config_layer layer)
{
	struct ti_config_trace trace;
	struct ti_config quick, slow;
	struct ti_error first = { 0 }, again = { 0 };
	int err = ti_config_check_file(path, layer, &quick, NULL, &first);

	FUZZ_MUST(err <= 0 && first.err == err && !err == !first.text[0]);
	FUZZ_MUST(ti_config_check_file(path, layer, &slow, &trace, &again) == err);
	FUZZ_MUST(!strcmp(first.text, again.text) && !trace.problems == !err);
	FUZZ_MUST(!err || !strcmp(trace.problem[0].text, first.text));
	FUZZ_MUST(!err || !strncmp(first.text, path, strlen(path)));
	if (err)
		return;
	FUZZ_MUST(ti_config_equal(&quick, &slow) && quick.hash);
	FUZZ_MUST(layer == TI_LAYER_PROFILE || !quick.data_path[0]);
	for (size_t i = 0; ti_config_key(i); i++) {
		char text[2048];

		ti_config_value_text(ti_config_key(i), &quick, text, sizeof(text));
		FUZZ_MUST(!strchr(text, '\n'));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	static char path[64];

	/* The parser opens what it is given by its name. */
	if (fd < 0) {
		fd = memfd_create("profile", MFD_CLOEXEC);
		FUZZ_MUST(fd >= 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	FUZZ_MUST(!ftruncate(fd, 0));
	FUZZ_MUST(pwrite(fd, data, size, 0) == (ssize_t)size);
	look(path, TI_LAYER_DEFAULTS);
	look(path, TI_LAYER_PROFILE);
	return 0;
}
