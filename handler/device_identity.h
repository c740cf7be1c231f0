/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * Which devices a pair lies on, for what is kept about a pair apart from it.
 *
 * Pairs without a salt, and copies made with dd, look the same.  A device's path may change with
 * each boot, udev's names of it below /dev/disk/by-id do not.  So a device is known by the first
 * of these, and by its path where there are none: a file, a loop device, a machine without udev.
 */
#ifndef TI_DEVICE_IDENTITY_H
#define TI_DEVICE_IDENTITY_H

#include <stdint.h>

/** Where udev keeps what it knows of devices. */
#define TI_UDEV_DATA "/run/udev/data"

/**
 * A number that other devices have with a chance of next to none.  @udev: TI_UDEV_DATA.  Reads
 * small files, and asks for what the paths are: not on a thread that may not block.
 */
uint64_t ti_device_identity(const char *udev, const char *data_path, const char *meta_path);

#endif
