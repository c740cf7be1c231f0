// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
// Copyright (c) 2026 The tcmu-integrity authors
/* See backstore.h. */
#include "backstore.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libtcmu_common.h"

#define PREFIX "tcm-user/"

bool ti_backstore_parse(const char *text, struct ti_backstore *b)
{
	const char *number, *name;
	size_t number_len, name_len;

	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0)
		return false;
	number = text + strlen(PREFIX);
	number_len = strspn(number, "0123456789");
	if (number_len == 0 || number_len > 16 || number[number_len] != '/')
		return false;
	name = number + number_len + 1;
	name_len = strcspn(name, "/\n");
	if (name_len == 0 || name_len >= sizeof(b->name))
		return false;
	snprintf(b->hba, sizeof(b->hba), "user_%.*s", (int)number_len, number);
	snprintf(b->name, sizeof(b->name), "%.*s", (int)name_len, name);
	return true;
}

void ti_backstore_find(struct tcmu_device *dev, struct ti_backstore *b)
{
	const char *uio = tcmu_dev_get_uio_name(dev);
	char path[64], text[512];
	ssize_t len = -1;
	int fd;

	*b = (struct ti_backstore){ .hba = "" };
	snprintf(b->name, sizeof(b->name), "%s", uio);
	if ((size_t)snprintf(path, sizeof(path), "/sys/class/uio/%s/name", uio) >= sizeof(path))
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len < 0)
		return;
	text[len] = '\0';
	ti_backstore_parse(text, b);
}
