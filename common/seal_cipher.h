/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* The ciphers of a journal; only seal.c uses them. */
#ifndef TI_SEAL_CIPHER_H
#define TI_SEAL_CIPHER_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "geometry.h"
#include "journal_format.h"
#include "secret.h"

enum ti_seal_kind {
	TI_SEAL_PLAIN, /* no cipher */
	TI_SEAL_CTR,
	TI_SEAL_CHACHA20,
	TI_SEAL_CBC,
	TI_SEAL_ECB,
};

struct ti_seal_cipher {
	enum ti_seal_kind kind;
	struct ti_secret *key;	  /* a stream's, until its key stream is made */
	struct ti_secret *stream; /* CTR, CHACHA20: as long as the journal */
	struct ti_secret *aes;	  /* CBC, ECB: both key schedules */
};

/** Returns 0, -EOPNOTSUPP, -ENOKEY, -EINVAL (a key of the wrong size), -ENOMEM. */
int ti_seal_cipher_open(struct ti_seal_cipher *cipher, const char *name,
			const struct ti_secret *key, struct ti_error *error);
void ti_seal_cipher_close(struct ti_seal_cipher *cipher);

/** Make the key stream, if it is a stream, and change the commit ids by it. */
int ti_seal_cipher_start(struct ti_seal_cipher *cipher, const struct ti_geometry *geo,
			 struct ti_journal_ids *ids, struct ti_error *error);

/** En- or decrypt section @i.  @in and @out may be the same.  io path. */
void ti_seal_cipher_run(const struct ti_seal_cipher *cipher, const struct ti_geometry *geo,
			uint32_t i, bool encrypt, const uint8_t *in, uint8_t *out);

#endif
