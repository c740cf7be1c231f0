#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# The stock stack works in the lab, without anything of ours: an iblock backstore on a RAM disk, over iSCSI and
# over tcm_loop, and one of tcmu-runner's packaged handlers, which survives a SIGKILL of the runner.
# lab: timeout=180
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"

requires_target
requires_command sg_sync sg_inq

dd if=/dev/urandom of="$LAB_TMP/random" bs=64k count=4 status=none

write_flush_and_read_back() {
	local disk=$1
	dd if="$LAB_TMP/random" of="$disk" bs=64k oflag=direct status=none
	sg_sync "$disk"
	assert_same_bytes "$LAB_TMP/random" "$disk" $((256 * 1024))
}

ram=$(brd_dev 16)
block_backstore plain "$ram"
disk=$(iscsi_login plain)
assert_match "$(sg_inq "$disk")" 'IBLOCK'
write_flush_and_read_back "$disk"
assert_same_bytes "$LAB_TMP/random" "$ram" $((256 * 1024))
logout plain
assert test ! -b "$disk"
dd if=/dev/zero of="$ram" bs=64k count=4 oflag=direct status=none
disk=$(loop_login plain)
write_flush_and_read_back "$disk"
assert_same_bytes "$LAB_TMP/random" "$ram" $((256 * 1024))
logout plain
backstore_remove plain

use_handlers "$(dirname "$(dpkg -L tcmu-runner | grep -m 1 '/handler_.*\.so$')")/handler_file_zbc.so"
start_runner
user_backstore zbc zoned $((64 * 1024 * 1024)) "model-HA/zsize-16@$LAB_TMP/zoned.raw"
disk=$(iscsi_login zoned)
assert_match "$(sg_inq "$disk")" 'TCMU ZBC'
write_flush_and_read_back "$disk"
killed=$(runner_pid)
kill_runner
start_runner
assert test "$(runner_pid)" != "$killed"
write_flush_and_read_back "$disk"
assert_runner_alive
