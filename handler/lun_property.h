/* SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later */
/* Copyright (c) 2026 The tcmu-integrity authors */
/* The properties of org.tcmu_integrity1.Lun, as they are at this moment.  Main thread. */
#ifndef TI_LUN_PROPERTY_H
#define TI_LUN_PROPERTY_H

#include "service_lun.h"

/** One of them (floating), or NULL: the LUN is closed. */
GVariant *ti_lun_property(struct ti_service_lun *lun, const char *name);

/** All of them, an a{sv} (floating); empty if the LUN is closed. */
GVariant *ti_lun_properties(struct ti_service_lun *lun);

#endif
