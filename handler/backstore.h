/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * What the administrator calls a LUN: the name of its backstore, and its HBA's.  libtcmu keeps both
 * to itself; the kernel has them in the name of the UIO device,
 * tcm-user/<number>/<name>/<config string>.
 */
#ifndef TI_BACKSTORE_H
#define TI_BACKSTORE_H

#include <stdbool.h>

/** As long as libtcmu lets a name be. */
#define TI_BACKSTORE_NAME 128U

struct tcmu_device;

struct ti_backstore {
	char name[TI_BACKSTORE_NAME]; /* the UIO device's, if the kernel does not tell */
	char hba[32];		      /* user_N, as in configfs; "" if it does not tell */
};

/** Ask the kernel: reads a file in sysfs.  Allocates nothing.  Any thread. */
void ti_backstore_find(struct tcmu_device *dev, struct ti_backstore *backstore);

/** Take the UIO device's name apart; false, and nothing is changed: it is none of tcmu's. */
bool ti_backstore_parse(const char *text, struct ti_backstore *backstore);

#endif
