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

# assert_size BYTES: all that tell it agree: both READ CAPACITY, and the configuration that outlives a restart.
assert_size() {
	local long
	wait_for 10 size_is "$1"
	for long in '' --16; do
		# shellcheck disable=SC2086
		assert_match "$(sg_readcap $long "$disk")" "Last (LBA|logical block address)=$(($1 / 512 - 1)) " "capacity $long"
	done
	assert_match "$(cat "$(backstore_dir "$(backstore_name disk)")/info")" " Size: $1"
}

assert_size $((16 * mib))
out_of_range=$(read_sense "$disk" $((16 * 2048)) 8)
assert_sense "$out_of_range" 'Illegal Request' 'Logical block address out of range' $((16 * 2048))

resize $((48 * mib))
assert_size $((48 * mib))
write_random "$disk" $((47 * 2048)) 2048
read_blocks "$disk" $((47 * 2048)) 2048
sg_sync "$disk"

assert_fails resize $((65 * mib))
assert runner_log_has 'resize refused: .*more than the 67108864 bytes'
assert_size $((48 * mib))
read_blocks "$disk" $((47 * 2048)) 2048

resize $((8 * mib))
assert_size $((8 * mib))
assert_sense "$(read_sense "$disk" $((8 * 2048)) 1)" 'Illegal Request' \
	'Logical block address out of range' $((8 * 2048))
read_blocks "$disk" 0 $((8 * 2048))

# The devices' sizes count when they are opened.  One that grows meanwhile makes the LUN no larger: it ends where
# the pair's format does.
truncate -s 96M "$(losetup -n -O BACK-FILE "$data" | tr -d ' ')"
losetup --set-capacity "$data"
assert_eq "$(blockdev --getsize64 "$data")" $((96 * mib))
assert_fails resize $((96 * mib))
assert_size $((8 * mib))
resize $((64 * mib))
assert_size $((64 * mib))
read_blocks "$disk" $((63 * 2048)) 2048
logout disk
backstore_remove disk
backstore disk "$data" "$meta"
disk=$(iscsi_login disk)
assert_size $((64 * mib))

# One that has shrunk is not opened.
logout disk
backstore_remove disk
truncate -s 32M "$(losetup -n -O BACK-FILE "$data" | tr -d ' ')"
losetup --set-capacity "$data"
said=$(assert_fails targetcli /backstores/user:integrity create name=shrunk size=1M "cfgstring=$data;meta=$meta")
assert_match "$said" "cfgstring invalid: data device $data has 65536 sectors, but $meta was formatted for 131072"
