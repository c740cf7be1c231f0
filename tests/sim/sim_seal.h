/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * A LUN in mode journal whose superblock and journal have MACs, and perhaps a cipher.
 *
 * Blocks of 512 and tags of 255: 8 entries in a section of 16 sectors.
 */
#ifndef SIM_SEAL_H
#define SIM_SEAL_H

#include "seal.h"
#include "sim_journal.h"

#define SIM_SEALED_SECTIONS	   4U
#define SIM_SEALED_SECTION_SECTORS 16U

/* Byte i of a key is its first byte + i * SIM_KEY_STEP. */
#define SIM_KEY_STEP 7U

struct sim_sealed {
	struct sim_lun *l;
	struct ti_secret *mac_key, *crypt_key;
};

/* A key of @len bytes in secret memory; the caller's. */
struct ti_secret *sim_key(size_t len, uint8_t first);

/* Formatted with the cipher @crypt (or none) and a MAC, salted or not; not open. */
struct sim_sealed sim_sealed_make(const char *crypt, bool salted);
void sim_sealed_drop(struct sim_sealed *w);

/* A seal of its own with the LUN's keys, to be closed by the caller. */
struct ti_seal *sim_sealed_seal(struct sim_sealed *w);

#endif
