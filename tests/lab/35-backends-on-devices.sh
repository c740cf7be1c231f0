#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# Both I/O back-ends do on this kernel's block devices what they do on files: on RAM disks, where I/O completes
# in the submitting system call and flushes are done inline; on loop devices, which have a write cache; with
# 4096-byte sectors; on device-mapper; and on files without direct I/O.  The flushes of both devices run side by
# side, and not behind writes.
# lab: timeout=600
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"

cd "$LAB_TMP"

# try_on [DATA META [MS]]: on two devices, or without them on files; with the time of a flush: how they overlap.
try_on() {
	local backend
	for backend in uring threads; do
		say "$backend on ${*:-files}"
		run_tests "$LAB_BUILD/tests/unit/test_blockdev_$backend" "$@"
	done
}

# What cmocka has to say is of interest only when something is wrong.
run_tests() {
	local log=$LAB_TMP/tests.log
	if ! "$@" >"$log" 2>&1; then
		cat "$log" >&2
		fail "$(basename "$1") failed"
	fi
	assert_match "$(cat "$log")" 'PASSED'
}

ram=$(brd_dev 16)
loop=$(loop_dev 16)
# On files, and with one that has a write cache, the unit tests and most other scripts are.
if [[ -n ${LAB_SOAK:-} ]]; then
	try_on
	try_on "$loop" "$ram"
fi
try_on "$ram" "$(brd_dev 16)"
loop_4096=$(loop_dev 16 -b 4096)
try_on "$(delay_dev "$loop" 0 0 10)" "$loop_4096"
try_on "$(delay_dev "$(loop_dev 16)" 0 1000 400)" "$(delay_dev "$(loop_dev 16)" 0 0 400)" 400
