/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Worlds with keys: keyed digests, journal_mac, journal_crypt.
 */
#ifndef WORLD_SEAL_H
#define WORLD_SEAL_H

#include "world.h"

struct world_keys {
	struct ti_secret *hash, *mac, *crypt;
};

/* The keys of a world; NULL where the shape needs none. */
struct world_keys *world_keys_new(const struct world_shape *shape);
void world_keys_free(struct world_keys *keys);

/* What the shape says of digest and seal goes into the options of an open. */
void world_seal_options(const struct world_shape *shape, const struct world_keys *keys,
			struct ti_lun_options *options);

/* sim_format() for such a world. */
void world_format(struct world *w, const struct ti_superblock *sb);

#endif
