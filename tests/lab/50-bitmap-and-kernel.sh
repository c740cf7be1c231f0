#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# Mode bitmap and recalculation, we and the kernel in turns: a dirty bitmap of ours is recalculated by the kernel
# and the other way round; what is not dirty matches throughout. (53: one that is interrupted.)
# lab: timeout=300
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

mib=32
sectors=$((mib * 2048))
data=$(loop_dev $mib)
meta=$(loop_dev 4)
data2=$(loop_dev $mib)
meta2=$(loop_dev 4)

# copy_pair: what is on the devices now, as a crash would leave it.
copy_pair() {
	drop_caches "$data" "$meta" "$data2" "$meta2"
	dd if="$data" of="$data2" bs=1M iflag=direct oflag=direct status=none
	dd if="$meta" of="$meta2" bs=1M iflag=direct oflag=direct status=none
}

kernel_is_done() {
	[[ $(dmsetup status "${1#/dev/mapper/}" | awk '{ print $6 }') == "$sectors" ]]
}

# only_unsettled META DATA: some regions are dirty, and every block outside of them matches its tag.
only_unsettled() {
	local found
	found=$("$cli" check "$1" --data-device "$2" --batch-mode) && fail 'nothing is dirty'
	assert_match "$found" 'still to be recalculated'
	[[ $found != *'block and tag differ'* ]] || fail "a block of a clean region does not match: $found"
}

say 'ours dies with dirty regions, the kernel recalculates'
"$cli" format "$meta" --data-device "$data" --bitmap-sectors-per-bit 256 --batch-mode --yes
start_runner
backstore disk "$data" "$meta" mode=bitmap bitmap_flush_interval=600000
disk=$(loop_login disk)
dd if=/dev/urandom of="$disk" bs=64k count=40 seek=100 oflag=direct conv=nocreat status=none
dd if=/dev/urandom of="$disk" bs=4k count=1 seek=5 oflag=direct conv=nocreat,fdatasync status=none
kill_runner
copy_pair
only_unsettled "$meta2" "$data2"
dev=$(kernel_map "$(integrity_table "$data2" 0 - B "$meta2" $sectors sectors_per_bit:256)")
wait_for 30 kernel_is_done "$dev"
read_all "$dev" "$LAB_TMP/read" $mib
assert_eq "$(mismatches_seen "$dev")" 0 'mismatches that the kernel counted'
kernel_unmap "$dev"
drop_caches "$data2" "$meta2"
"$cli" check "$meta2" --data-device "$data2" >&2

say 'and so do we, when we are back'
start_runner
wait_for 30 runner_log_has 'recalculation ends'
logout disk
backstore_remove disk
"$cli" check "$meta" --data-device "$data" >&2
assert_same_bytes "$data" "$data2"

say 'the kernel dies with dirty regions, we recalculate'
dev=$(kernel_map "$(integrity_table "$data" 0 - B "$meta" $sectors sectors_per_bit:256 bitmap_flush_interval:600000)")
dd if=/dev/urandom of="$dev" bs=64k count=40 seek=200 oflag=direct conv=fsync status=none
read_all "$dev" "$LAB_TMP/wanted" $mib
copy_pair
kernel_unmap "$dev"
only_unsettled "$meta2" "$data2"
ends=$(grep -ac 'recalculation ends' "$runner_log")
we_are_done() {
	[[ $(grep -ac 'recalculation ends' "$runner_log") -gt $ends ]]
}
backstore disk "$data2" "$meta2" mode=bitmap
wait_for 30 we_are_done
backstore_remove disk
drop_caches "$data2" "$meta2"
"$cli" check "$meta2" --data-device "$data2" >&2
assert_same_bytes "$LAB_TMP/wanted" "$data2"
