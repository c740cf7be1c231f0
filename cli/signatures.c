/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * libblkid's probing, with everything that wipefs(8) would find: superblocks and partition tables,
 * also those whose checksum is wrong, because half a filesystem may still be somebody's data.
 */
#include "signatures.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <blkid/blkid.h>

/* A probe on a descriptor of its own: the pair's may need aligned transfers, libblkid's are not. */
struct probe {
	int fd;
	blkid_probe pr;
};

static void probe_close(struct probe *probe)
{
	blkid_free_probe(probe->pr);
	if (probe->fd >= 0)
		close(probe->fd);
}

static int probe_open(struct probe *probe, const char *path, bool writing, struct ti_error *error)
{
	int err;

	probe->pr = NULL;
	probe->fd = open(path, (writing ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (probe->fd < 0) {
		err = -errno;
		return ti_error_set(error, err, "%s cannot be opened: %s", path, strerror(-err));
	}
	errno = 0;
	probe->pr = blkid_new_probe();
	if (!probe->pr || blkid_probe_set_device(probe->pr, probe->fd, 0, 0)) {
		err = errno ? -errno : -ENOMEM;
		probe_close(probe);
		return ti_error_set(error, err, "%s cannot be searched for signatures: %s", path,
				    strerror(-err));
	}
	blkid_probe_enable_superblocks(probe->pr, 1);
	blkid_probe_set_superblocks_flags(probe->pr, BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_TYPE |
							     BLKID_SUBLKS_LABEL |
							     BLKID_SUBLKS_BADCSUM);
	blkid_probe_enable_partitions(probe->pr, 1);
	blkid_probe_set_partitions_flags(probe->pr, BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
	return 0;
}

/* Go to the next signature.  1: there is one, 0: no more, or negative errno. */
static int probe_next(struct probe *probe, const char *path, struct ti_error *error)
{
	int rc, err;

	errno = 0;
	rc = blkid_do_probe(probe->pr);
	if (rc == 0 || rc == 1)
		return !rc;
	err = errno ? -errno : -EIO;
	return ti_error_set(error, err, "searching %s for signatures failed: %s", path,
			    strerror(-err));
}

static const char *value(const struct probe *probe, const char *name)
{
	const char *text = NULL;

	return blkid_probe_lookup_value(probe->pr, name, &text, NULL) ? NULL : text;
}

static void describe(const struct probe *probe, struct signature *s)
{
	const char *type = value(probe, "TYPE");
	const char *table = value(probe, "PTTYPE");
	const char *label = value(probe, "LABEL");
	const char *offset = value(probe, type ? "SBMAGIC_OFFSET" : "PTMAGIC_OFFSET");
	size_t length = 0;

	if (blkid_probe_lookup_value(probe->pr, type ? "SBMAGIC" : "PTMAGIC", NULL, &length))
		length = 1;
	s->length = length;
	s->offset = offset ? strtoull(offset, NULL, 10) : 0;
	s->integrity = type && !strcmp(type, "DM_integrity");
	if (s->integrity)
		snprintf(s->text, sizeof(s->text), "a dm-integrity superblock");
	else if (type && label)
		snprintf(s->text, sizeof(s->text), "%s, labelled '%s'", type, label);
	else if (type)
		snprintf(s->text, sizeof(s->text), "%s", type);
	else
		snprintf(s->text, sizeof(s->text), "a partition table (%s)",
			 table ? table : "of unknown kind");
}

int signatures_find(const char *path, struct signatures *found, struct ti_error *error)
{
	struct probe probe;
	int rc;

	found->count = 0;
	rc = probe_open(&probe, path, false, error);
	if (rc)
		return rc;
	while ((rc = probe_next(&probe, path, error)) == 1 && found->count < SIGNATURES_MAX)
		describe(&probe, &found->list[found->count++]);
	probe_close(&probe);
	return rc < 0 ? rc : 0;
}

int signatures_wipe(const char *path, uint64_t from, struct ti_error *error)
{
	struct probe probe;
	int rc, err = 0;

	rc = probe_open(&probe, path, true, error);
	if (rc)
		return rc;
	while (!err && (rc = probe_next(&probe, path, error)) == 1) {
		struct signature s;

		describe(&probe, &s);
		if (s.offset + s.length <= from)
			continue;
		/* Steps back by itself, to look again for what the overwritten one had hidden. */
		if (blkid_do_wipe(probe.pr, 0))
			err = errno ? -errno : -EIO;
	}
	if (!err && rc < 0)
		err = rc;
	if (!err && fsync(probe.fd))
		err = -errno;
	if (err)
		ti_error_set(error, err, "overwriting the old signatures on %s failed: %s", path,
			     strerror(-err));
	probe_close(&probe);
	return err;
}
