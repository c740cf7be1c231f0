/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* A config string from a stranger. */
#include "config.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ti_config config, again;
	struct ti_error e = { 0 };
	struct ti_pair_options pair;
	struct ti_lun_options lun;
	char *text = malloc(size + 1);
	int err;

	FUZZ_MUST(text);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	err = ti_config_parse(text, &config, &e);
	FUZZ_MUST(err <= 0 && e.err == err);
	FUZZ_MUST(!err == !e.text[0]);
	if (!err) {
		FUZZ_MUST(strlen(text) <= TI_CONFIG_MAX);
		FUZZ_MUST(!strncmp(text, TI_CONFIG_PREFIX, strlen(TI_CONFIG_PREFIX)));
		FUZZ_MUST(config.data_path[0] && config.meta_path[0] && config.hash);
		/* A function of the text alone. */
		FUZZ_MUST(!ti_config_parse(text, &again, NULL));
		FUZZ_MUST(ti_config_equal(&config, &again));
		ti_config_options(&config, &pair, &lun);
		FUZZ_MUST(pair.data_path && pair.meta_path && lun.hash);
	}
	free(text);
	return 0;
}
