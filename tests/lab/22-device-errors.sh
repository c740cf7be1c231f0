#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# An error of a device reaches the initiator as what it is: the data device's as MEDIUM ERROR, the metadata
# device's and a failed flush as HARDWARE ERROR. The LUN goes on, and recovers as far as it may: a flush
# that the data device has failed stays failed until the LUN is opened again.
# lab: timeout=240
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

data=$(faulty_dev "$(loop_dev 64)")
meta=$(faulty_dev "$(loop_dev 8)")
format_pair "$meta" "$data"
start_runner
backstore disk "$data" "$meta" cache_mb=1
disk=$(loop_login disk)
failure='Internal target failure'

say 'the data device fails in one place'
write_random "$disk" 1000 16
fail_range "$data" 1004 2
assert_sense "$(read_sense "$disk" 1000 16)" 'Medium Error' 'Unrecovered read error' 1004
assert_sense "$(write_sense "$disk" 1000 16)" 'Medium Error' 'Write error' 1000
read_blocks "$disk" 2000 16
heal "$data"
write_random "$disk" 1000 16
read_blocks "$disk" 1000 16

say 'the metadata device fails: tags that are in memory still serve'
fail_all "$meta"
read_blocks "$disk" 1000 16
assert_sense "$(read_sense "$disk" 100000 8)" 'Hardware Error' "$failure" 100000
assert_sense "$(write_sense "$disk" 100000 8)" 'Hardware Error' "$failure" 100000
heal "$meta"
read_blocks "$disk" 1000 16
write_random "$disk" 100000 8
read_blocks "$disk" 100000 8
sg_sync "$disk"

say 'a flush of the data device fails: never again is anything called durable'
write_random "$disk" 3000 8
fail_writes "$data"
assert_sense "$(sense "$disk" 35 00 00 00 00 00 00 00 00 00)" 'Hardware Error' "$failure"
heal "$data"
assert_sense "$(sense "$disk" 35 00 00 00 00 00 00 00 00 00)" 'Hardware Error' "$failure"
write_random "$disk" 3000 8
read_blocks "$disk" 3000 8
assert_sense "$(sense "$disk" 91 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00)" 'Hardware Error' "$failure"
# A durable write is none either.
assert_sense "$(sense "$disk" -s 512 2a 08 00 00 0b b8 00 00 01 00)" 'Hardware Error' "$failure"
assert runner_log_has 'flush failed'
assert_runner_alive

say 'opened again it is a good LUN'
logout disk
backstore_remove disk
assert runner_log_has 'close failed'
backstore again "$data" "$meta"
disk=$(loop_login again)
sg_sync "$disk"
write_random "$disk" 3000 8
sg_sync "$disk"
read_blocks "$disk" 3000 8
