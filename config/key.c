/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Each kind of place either is, or leads to, a file descriptor that is read to its end; only the
 * kernel's keyring is not.
 */
#include "key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/keyctl.h>

/* The kernel makes no longer key of type user. */
#define KEYRING_MAX_BYTES ((size_t)32767)

static int set_name(const char *what, const char *name, struct ti_key_source *out,
		    struct ti_error *error)
{
	if (!name[0])
		return ti_error_set(error, -EINVAL, "%s names nothing after its ':'", what);
	if (strlen(name) > TI_KEY_NAME_MAX)
		return ti_error_set(error, -EINVAL, "%s is longer than %d bytes", what,
				    TI_KEY_NAME_MAX);
	memcpy(out->name, name, strlen(name) + 1);
	return 0;
}

int ti_key_source_file(const char *what, const char *path, struct ti_key_source *out,
		       struct ti_error *error)
{
	out->kind = TI_KEY_FILE;
	return set_name(what, path, out, error);
}

static int parse_keyring(const char *what, const char *text, struct ti_key_source *out,
			 struct ti_error *error)
{
	if (!strncmp(text, "logon:", 6))
		return ti_error_set(error, -EINVAL,
				    "%s names a key of type logon, which only the kernel can use "
				    "and no process can read: make one of type user",
				    what);
	if (strncmp(text, "user:", 5) != 0)
		return ti_error_set(error, -EINVAL,
				    "%s names no type of key: write keyring:user:DESCRIPTION",
				    what);
	out->kind = TI_KEY_KEYRING;
	return set_name(what, text + 5, out, error);
}

static int parse_fd(const char *what, const char *text, struct ti_key_source *out,
		    struct ti_error *error)
{
	char *end;
	long fd = strtol(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || fd > INT32_MAX)
		return ti_error_set(error, -EINVAL,
				    "%s names no file descriptor after fd: but something else",
				    what);
	out->kind = TI_KEY_FD;
	out->fd = (int)fd;
	return 0;
}

int ti_key_source_parse(const char *what, const char *text, struct ti_key_source *out,
			struct ti_error *error)
{
	if (!strncmp(text, "file:", 5))
		return ti_key_source_file(what, text + 5, out, error);
	if (!strncmp(text, "keyring:", 8))
		return parse_keyring(what, text + 8, out, error);
	if (!strncmp(text, "fd:", 3))
		return parse_fd(what, text + 3, out, error);
	if (strncmp(text, "credential:", 11) != 0)
		return ti_error_set(error, -EINVAL,
				    "%s does not say where the key is: write file:PATH, "
				    "keyring:user:DESCRIPTION, credential:NAME or fd:NUMBER, and "
				    "never the key itself",
				    what);
	if (strchr(text, '/') || !strcmp(text + 11, ".") || !strcmp(text + 11, ".."))
		return ti_error_set(error, -EINVAL, "%s: a credential's name is no path", what);
	out->kind = TI_KEY_CREDENTIAL;
	return set_name(what, text + 11, out, error);
}

bool ti_key_source_equal(const struct ti_key_source *a, const struct ti_key_source *b)
{
	return a->kind == b->kind && a->fd == b->fd && a->size == b->size &&
	       !strcmp(a->name, b->name);
}

bool ti_key_is_exposed(const struct ti_key_source *source)
{
	struct stat st;

	return source->kind == TI_KEY_FILE && stat(source->name, &st) == 0 && S_ISREG(st.st_mode) &&
	       (st.st_mode & (S_IROTH | S_IWOTH));
}

static int not_there(const char *what, const char *place, int err, struct ti_error *error)
{
	return ti_error_set(error, err == -ENOENT ? -ENOKEY : err,
			    "%s: the key cannot be read from %s: %s", what, place, strerror(-err));
}

/* Read @fd until there is enough.  Straight into the secret: no stdio, no buffer of ours. */
static int read_all(int fd, struct ti_secret *key)
{
	while (key->len < key->room) {
		ssize_t got = read(fd, key->bytes + key->len, key->room - key->len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		key->len += (size_t)got;
	}
	return 0;
}

static int open_and_read(const char *path, bool waits, struct ti_secret *key)
{
	/* O_NONBLOCK: a pipe without a writer is empty; it must not stop the whole runner. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (waits ? 0 : O_NONBLOCK));
	int err;

	if (fd < 0)
		return -errno;
	err = read_all(fd, key);
	close(fd);
	return err;
}

static int read_credential(const char *what, const struct ti_key_source *source,
			   struct ti_secret *key, struct ti_error *error)
{
	const char *name = source->name;
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	char path[4096];
	int err;

	if (!dir)
		return ti_error_set(error, -ENOKEY,
				    "%s: this process has no systemd credentials; add "
				    "LoadCredential=%s:PATH to its service (systemctl edit)",
				    what, name);
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
		return ti_error_set(error, -EINVAL, "%s: the credential's path is too long", what);
	err = open_and_read(path, source->waits, key);
	return err ? not_there(what, path, err, error) : 0;
}

static long keyctl(int operation, long a, const void *b, const void *c, long d)
{
	return syscall(SYS_keyctl, operation, a, b, c, d);
}

/*
 * The session's keyring first, then root's own.  A service has a session of its own, in which
 * root's keyring may not be linked; then the key found there can only be read when it is linked to
 * a keyring of the thread's for that time.
 */
static long find_key(const char *description)
{
	static const long keyrings[] = { KEY_SPEC_SESSION_KEYRING, KEY_SPEC_USER_KEYRING };
	long id = -1;

	for (size_t i = 0; id < 0 && i < sizeof(keyrings) / sizeof(keyrings[0]); i++)
		id = keyctl(KEYCTL_SEARCH, keyrings[i], "user", description,
			    KEY_SPEC_THREAD_KEYRING);
	return id;
}

static int read_keyring(const char *what, const char *description, struct ti_secret *key,
			struct ti_error *error)
{
	long id, len;
	int err;

	/* Makes the thread's keyring if there is none. */
	(void)keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, (void *)1, NULL, 0);
	id = find_key(description);
	if (id < 0) {
		err = -errno;
		return ti_error_set(error, -ENOKEY,
				    "%s: the kernel's keyrings hold no key user:%s that this "
				    "process can use (%s); add one with 'keyctl padd user %s @u'",
				    what, description, strerror(-err), description);
	}
	len = keyctl(KEYCTL_READ, id, key->bytes, (void *)key->room, 0);
	err = len < 0 ? -errno : 0;
	(void)keyctl(KEYCTL_UNLINK, id, (void *)(long)KEY_SPEC_THREAD_KEYRING, NULL, 0);
	if (err)
		return not_there(what, description, err, error);
	/* Then nothing was read, and zeros are no key. */
	if ((size_t)len > key->room)
		return ti_error_set(error, -EINVAL, "%s: the key has %ld bytes, more than %zu",
				    what, len, key->room);
	key->len = (size_t)len;
	return 0;
}

static int check_length(const char *what, const struct ti_key_source *source, struct ti_secret *key,
			struct ti_error *error)
{
	if (!key->len)
		return ti_error_set(error, -EINVAL, "%s: the key is empty", what);
	if (source->size) {
		if (key->len < source->size)
			return ti_error_set(error, -EINVAL,
					    "%s: the key has %zu bytes there, and %u are wanted",
					    what, key->len, source->size);
		key->len = source->size;
	}
	if (key->len > TI_KEY_MAX_BYTES)
		return ti_error_set(error, -EINVAL,
				    "%s: there are more than %u bytes; give the key's size", what,
				    TI_KEY_MAX_BYTES);
	return 0;
}

static int read_key(const char *what, const struct ti_key_source *source, struct ti_secret *key,
		    struct ti_error *error)
{
	char place[32];
	int err;

	switch (source->kind) {
	case TI_KEY_KEYRING:
		return read_keyring(what, source->name, key, error);
	case TI_KEY_CREDENTIAL:
		return read_credential(what, source, key, error);
	case TI_KEY_FD:
		err = read_all(source->fd, key);
		snprintf(place, sizeof(place), "descriptor %d", source->fd);
		return err ? not_there(what, place, err, error) : 0;
	case TI_KEY_FILE:
	case TI_KEY_NONE:
		break;
	}
	err = open_and_read(source->name, source->waits, key);
	return err ? not_there(what, source->name, err, error) : 0;
}

int ti_key_load(const char *what, const struct ti_key_source *source, struct ti_secret **out,
		struct ti_error *error)
{
	/* One byte more shows that a key is too long.  A keyring gives all of a key or nothing. */
	size_t room = source->kind == TI_KEY_KEYRING ? KEYRING_MAX_BYTES
		      : source->size		     ? source->size
						     : TI_KEY_MAX_BYTES + 1;
	struct ti_secret *key;
	int err;

	*out = NULL;
	if (source->kind == TI_KEY_NONE)
		return 0;
	if (ti_secret_alloc(room, &key))
		return ti_error_set(error, -ENOMEM,
				    "%s: there is no memory for a key, or none that may be locked",
				    what);
	err = read_key(what, source, key, error);
	if (!err)
		err = check_length(what, source, key, error);
	if (err) {
		ti_secret_free(key);
		return err;
	}
	*out = key;
	return 0;
}
