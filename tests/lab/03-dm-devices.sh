#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# The lab's delays and faults are real: dm-delay's flush class delays flushes and nothing else, two flushes
# side by side take the slower one's time, not the sum; faulty devices fail where they are
# told to, and heal.
# lab: timeout=120
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"

a=$(delay_dev "$(loop_dev 8)" 0 0 200)
b=$(delay_dev "$(loop_dev 8)" 0 0 120)

write_block() {
	dd if=/dev/zero of="$1" bs=4k count=1 oflag=direct conv=notrunc,nocreat status=none
}

# What starting dd costs here is no part of the delay: the fastest of three is taken off.
write_ms() {
	local i ms best=100000
	for ((i = 0; i < 3; i++)); do
		ms=$(ms_of write_block "$1")
		[[ $ms -ge $best ]] || best=$ms
	done
	echo "$best"
}

no_delay=$(write_ms "$a")
assert_between "$no_delay" 0 199 'a write on a device with slow flushes only'
assert_between "$(flush_ms "$a")" 200 300 'a flush of 200 ms'
assert_between "$(flush_ms "$b")" 120 200 'a flush of 120 ms'
together=$(flush_ms "$a" "$b")
say "flushes of 200 ms and 120 ms together: $together ms"
assert_between "$together" 200 300 'two flushes together, of which the sum is 320'
set_delay "$a" 0 200 0
assert_between "$(($(write_ms "$a") - no_delay))" 190 300 'a write of 200 ms'
assert_between "$(flush_ms "$a")" 0 100 'a flush without delay'

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
