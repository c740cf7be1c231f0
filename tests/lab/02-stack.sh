#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# The stock stack works in the lab, without anything of ours: an iblock backstore on a RAM disk, exported
# over iSCSI and over tcm_loop, is logged in to, written, flushed, read back and logged out of.
# lab: timeout=60
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"

requires_target
requires_command sg_sync sg_inq

ram=$(brd_dev 16)
block_backstore plain "$ram"

walk() {
	local disk=$1
	assert_match "$(sg_inq "$disk")" 'LIO-ORG'
	dd if=/dev/urandom of="$LAB_TMP/random" bs=64k count=4 status=none
	dd if="$LAB_TMP/random" of="$disk" bs=64k oflag=direct status=none
	sg_sync "$disk"
	dd if="$disk" of="$LAB_TMP/back" bs=64k count=4 iflag=direct status=none
	assert_same_bytes "$LAB_TMP/random" "$LAB_TMP/back"
	assert_same_bytes "$LAB_TMP/random" "$ram" $((256 * 1024))
}

walk "$(iscsi_login plain)"
logout plain
walk "$(loop_login plain)"
logout plain
backstore_remove plain
