/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Where keys come from.
 *
 * A key's place may be named anywhere: in a profile, on a command line, in a log.  The key itself
 * is read from there straight into secret memory and goes nowhere else.
 */
#ifndef TI_KEY_H
#define TI_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "secret.h"

/** The longest key: integritysetup's limit. */
#define TI_KEY_MAX_BYTES 4096U

/** Room for a path, a key's description or a credential's name. */
#define TI_KEY_NAME_MAX 1023

enum ti_key_kind {
	TI_KEY_NONE,
	TI_KEY_FILE,	   /* file:PATH */
	TI_KEY_KEYRING,	   /* keyring:user:DESCRIPTION, the kernel's */
	TI_KEY_CREDENTIAL, /* credential:NAME, systemd's */
	TI_KEY_FD,	   /* fd:NUMBER, a descriptor that the process was started with */
};

/** All zero: no key. */
struct ti_key_source {
	enum ti_key_kind kind;
	int fd;
	char name[TI_KEY_NAME_MAX + 1];
	uint32_t size; /* bytes of the key, the first ones there; 0: all that are there */
	bool waits;    /* for a pipe that is named as a file, until its writer has closed it */
};

/**
 * Parse what names a place: "file:PATH", "keyring:user:DESCRIPTION", "credential:NAME", "fd:N".
 * @what: the option's name, for messages.  Leaves @out->size alone.  Returns 0 or -EINVAL; the text
 * is not repeated in the message, for it could be a key that somebody put there by mistake.
 */
int ti_key_source_parse(const char *what, const char *text, struct ti_key_source *out,
			struct ti_error *error);

/** The place is the file @path.  Returns 0 or -EINVAL. */
int ti_key_source_file(const char *what, const char *path, struct ti_key_source *out,
		       struct ti_error *error);

/** Do both name the same place? */
bool ti_key_source_equal(const struct ti_key_source *a, const struct ti_key_source *b);

/** Is it a file that everybody may read, or write another key to?  No if that cannot be seen. */
bool ti_key_is_exposed(const struct ti_key_source *source);

/**
 * Read the key; *@key is the caller's, NULL if the source is TI_KEY_NONE.  Does not wait for pipes
 * that are named as files, unless it says so; else blocks as the place does.  Returns 0; -ENOKEY if
 * it is not there; -EINVAL if it is empty, shorter than it should be or too long; -ENOMEM; or what
 * read() said.
 */
int ti_key_load(const char *what, const struct ti_key_source *source, struct ti_secret **key,
		struct ti_error *error);

#endif
