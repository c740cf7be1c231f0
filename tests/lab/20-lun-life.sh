#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A LUN lives: targetcli makes it, an iSCSI initiator logs in, writes, flushes, reads back what it wrote
# (which is what lies on the data device), logs out; targetcli deletes it, and nobody holds the pair then.
# lab: timeout=120
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

requires_command sg_sync sg_readcap sg_vpd sg_modes

data=$(loop_dev 64)
meta=$(loop_dev 8)
format_pair "$meta" "$data"
start_runner
backstore disk "$data" "$meta" wwn=11112222-3333-4444-5555-666677778888
disk=$(iscsi_login disk)

assert_eq "$(blockdev --getsize64 "$disk")" $(($(provided_sectors "$meta") * 512)) 'size of the disk'
dd if=/dev/urandom of="$LAB_TMP/random" bs=1M count=4 status=none
dd if="$LAB_TMP/random" of="$disk" bs=1M oflag=direct status=none
sg_sync "$disk"
dd if="$disk" of="$LAB_TMP/back" bs=64k count=64 iflag=direct status=none
assert_same_bytes "$LAB_TMP/random" "$LAB_TMP/back"
assert_same_bytes "$LAB_TMP/random" "$data" $((4 << 20))

# What the disk says about itself is true.
capacity=$(sg_readcap --16 "$disk")
assert_match "$capacity" 'lbpme=0, lbprz=0'
assert_match "$capacity" 'Logical block length=512'
assert_match "$(sg_vpd --page=bl "$disk")" 'Maximum unmap LBA count: 0'
assert_match "$(sg_vpd --page=bl "$disk")" 'Maximum transfer length: 2048 blocks'
assert_match "$(sg_vpd --page=di "$disk")" '0x60014051111222233334444555566667'
assert_match "$(sg_vpd --page=sn "$disk")" '11112222-3333-4444-5555-666677778888'
[[ $(sg_vpd --page=di --raw "$disk" | tr -d '\0') != *loop* ]] || fail 'initiators see our paths'
assert_match "$(sg_modes --page=8 "$disk")" 'DpoFua=1'
assert_match "$(dmesg)" 'supports DPO and FUA'
assert_eq "$(cat "/sys/block/${disk#/dev/}/queue/write_cache")" 'write back'
assert_eq "$(cat "/sys/block/${disk#/dev/}/queue/fua")" 1
assert runner_log_has 'locked_memory=yes'
assert runner_log_has 'io_flusher=yes thread=completion'
assert runner_log_has 'io_flusher=yes thread=command'

logout disk
backstore_remove disk
assert_runner_alive
assert runner_log_has 'closed reads='
"$cli" check "$meta" --data-device "$data" --json >"$LAB_TMP/check" || fail "$(cat "$LAB_TMP/check")"
