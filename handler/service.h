/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/*
 * The handler's service on the system bus; dbus/org.tcmu_integrity1.xml says what it offers.
 *
 * All of it runs in the runner's main thread, in the default main context, where the runner's own
 * D-Bus service runs.  Nothing here waits for a device or the bus, and the lock of a disk is held
 * no longer than a copy takes.  One small file is read for each LUN when it has started; files are
 * written by another thread.
 *
 * If there is no bus, or the name cannot be had, one line in the log says so, and the LUNs are
 * served all the same.  Nothing of it begins before the main loop runs.
 */
#ifndef TI_SERVICE_H
#define TI_SERVICE_H

struct ti_disk;

/** Begin, as soon as the main loop runs.  Once; further calls do nothing.  Main thread. */
void ti_service_start(void);

/** The disk has been opened: make an object of it.  Main thread. */
void ti_service_add(struct ti_disk *disk);

/**
 * The disk is about to be closed: on return nobody in the service uses it any more, nor will.  Any
 * thread.
 */
void ti_service_remove(struct ti_disk *disk);

#endif
