#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# The lab's delays and faults are real: dm-delay's flush class delays flushes and nothing else, two flushes
# side by side take the slower one's time, not the sum; faulty devices fail where they are
# told to, and heal.
# lab: timeout=120 alone=1
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"

a=$(delay_dev "$(loop_dev 8)" 0 0 300)
b=$(delay_dev "$(loop_dev 8)" 0 0 200)

write_block() {
	dd if=/dev/zero of="$1" bs=4k count=1 oflag=direct conv=notrunc,nocreat status=none
}

# As dd itself measures it, without the time that it takes to start.
write_ms() {
	dd if=/dev/zero of="$1" bs=4k count=1 oflag=direct conv=notrunc,nocreat 2>&1 |
		sed -n 's/.* copied, \([0-9.e-]*\) s.*/\1/p' | awk '{ print int($1 * 1000) }'
}

assert_between "$(write_ms "$a")" 0 199 'a write on a device with slow flushes only'
assert_between "$(flush_ms "$a")" 300 499 'a flush of 300 ms'
assert_between "$(flush_ms "$b")" 200 399 'a flush of 200 ms'
together=$(flush_ms "$a" "$b")
say "flushes of 300 ms and 200 ms together: $together ms"
assert_between "$together" 300 499 'two flushes together, of which the sum is 500'
set_delay "$a" 0 200 0
assert_between "$(write_ms "$a")" 200 399 'a write of 200 ms'
assert_between "$(flush_ms "$a")" 0 199 'a flush without delay'

faulty=$(faulty_dev "$(loop_dev 8)")

read_block() {
	dd if="$1" of=/dev/null bs=4k count=1 skip="${2:-0}" iflag=direct status=none
}

write_block "$faulty"
read_block "$faulty"
fail_all "$faulty"
assert_match "$(assert_fails read_block "$faulty")" 'Input/output error'
assert_match "$(assert_fails write_block "$faulty")" 'Input/output error'
fail_writes "$faulty"
read_block "$faulty"
assert_match "$(assert_fails write_block "$faulty")" 'Input/output error'
assert_match "$(assert_fails flush_ms "$faulty")" 'Input/output error'
# Sector 81 is in block 10.
fail_range "$faulty" 81 1
read_block "$faulty" 9
read_block "$faulty" 11
assert_match "$(assert_fails read_block "$faulty" 10)" 'Input/output error'
heal "$faulty"
read_block "$faulty" 10
write_block "$faulty"
flush_ms "$faulty" >&2
