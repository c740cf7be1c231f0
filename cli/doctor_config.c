/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Settings files: a mistake in them keeps LUNs from being opened, which shows when tcmu-runner is
 * started the next time.
 */
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "config_files.h"
#include "doctor.h"

void doctor_config(struct doctor *doctor)
{
	struct config_files files;
	struct ti_error first = { 0 };
	size_t bad = 0;
	int err = config_files_find(TI_DEFAULTS_FILE, TI_PROFILE_DIR, &files);

	for (size_t i = 0; i < files.count; i++) {
		bool is_defaults = !strcmp(files.path[i], TI_DEFAULTS_FILE);
		struct ti_config config;

		/* The first sentence stays. */
		bad += ti_config_check_file(files.path[i],
					    is_defaults ? TI_LAYER_DEFAULTS : TI_LAYER_PROFILE,
					    &config, NULL, &first) != 0;
	}
	if (err)
		doctor_mend(doctor_add(doctor, "settings_files", FINDING_MISSING,
				       "%s cannot be read: %s", TI_PROFILE_DIR, strerror(-err)),
			    "ls -ld %s", TI_PROFILE_DIR);
	else if (bad)
		doctor_mend(doctor_add(doctor, "settings_files", FINDING_MISSING,
				       "%zu of %zu settings files are wrong, LUNs that need them "
				       "will not open: %.120s",
				       bad, files.count, first.text),
			    "tcmu-integrity config check");
	else
		doctor_add(doctor, "settings_files", FINDING_OK, "%zu settings files, none wrong",
			   files.count);
	config_files_free(&files);
}
