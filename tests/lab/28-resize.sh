#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A LUN's size can be changed while it is in use, up to what the pair provides; the initiator sees it.
# lab: timeout=150
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

mib=$((1 << 20))
data=$(loop_dev 64)
meta=$(loop_dev 8)
format_pair "$meta" "$data"
start_runner
backstore disk "$data" "$meta" size=$((16 * mib))
disk=$(iscsi_login disk)

resize() {
	targetcli "/backstores/user:integrity/$(backstore_name disk)" set attribute "dev_size=$1"
}

size_is() {
	echo 1 >"/sys/block/${disk#/dev/}/device/rescan"
	[[ $(blockdev --getsize64 "$disk") -eq $1 ]]
}

assert_eq "$(blockdev --getsize64 "$disk")" $((16 * mib))
out_of_range=$(read_sense "$disk" $((16 * 2048)) 8)
assert_sense "$out_of_range" 'Illegal Request' 'Logical block address out of range' $((16 * 2048))

resize $((48 * mib))
wait_for 10 size_is $((48 * mib))
write_random "$disk" $((47 * 2048)) 2048
read_blocks "$disk" $((47 * 2048)) 2048
sg_sync "$disk"

assert_fails resize $((65 * mib))
assert runner_log_has 'resize refused: .*more than the 67108864 bytes'
wait_for 10 size_is $((48 * mib))
read_blocks "$disk" $((47 * 2048)) 2048

resize $((8 * mib))
wait_for 10 size_is $((8 * mib))
assert_sense "$(read_sense "$disk" $((8 * 2048)) 1)" 'Illegal Request' \
	'Logical block address out of range' $((8 * 2048))
read_blocks "$disk" 0 $((8 * 2048))
