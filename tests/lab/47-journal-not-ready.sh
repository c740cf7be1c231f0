#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A replay that takes long, after a runner was killed: commands that need the medium are told that the LUN is
# becoming ready, a mounted filesystem waits and meets no error, other LUNs of the runner are served meanwhile.
# lab: timeout=240
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-journal.sh
. "${BASH_SOURCE[0]%/*}/lib-journal.sh"

requires_command mkfs.ext4 sg_turs
data=$(delay_dev "$(loop_dev 64)" 0 0 0)
meta=$(loop_dev 4)
format_pair "$meta" "$data" --journal-size 2M
other_data=$(loop_dev 16)
other_meta=$(loop_dev 4)
format_pair "$other_meta" "$other_data"
start_runner
quick_backstore slow "$data" "$meta" mode=journal
quick_backstore other "$other_data" "$other_meta" mode=journal
disk=$(loop_login slow)
other=$(loop_login other)
mount_point=$LAB_TMP/mounted

mkfs.ext4 -q -E lazy_itable_init=0,nodiscard "$disk"
mkdir "$mount_point"
mount "$disk" "$mount_point"
at_end umount_if_mounted
umount_if_mounted() {
	! mountpoint -q "$mount_point" || umount "$mount_point"
}
head -c 300000 /dev/urandom >"$LAB_TMP/want"
cp "$LAB_TMP/want" "$mount_point/file"
sync -f "$mount_point/file"
echo 3 >/proc/sys/vm/drop_caches

kill_runner
# As after a power cut: without its files the next runner replays what the medium has.
rm -f /run/tcmu-integrity/block-*
# Each write of the replay takes so long; they go 64 at a time.
set_delay "$data" 0 4000 0
start_runner
said=$(sense "$disk" 00 00 00 00 00 00)
assert_sense "$said" 'Not Ready' 'Logical unit is in process of becoming ready'
assert_match "$said" 'Progress indication: [0-9.]+%' 'sense data'
# REQUEST SENSE in both formats: how far it is, and that it goes on.
progress() {
	scsi "$disk" -r 252 03 "$1" 00 00 fc 00 >/dev/null
	sg_raw -b -r 252 -o - "$disk" 03 "$1" 00 00 fc 00 2>/dev/null | od -An -v -tu1 -w252
}
read -ra fixed < <(progress 00)
read -ra described < <(progress 01)
assert_eq "$((fixed[2])) ${fixed[12]} ${fixed[13]} ${fixed[15]}" '2 4 1 128' 'fixed sense data'
assert_eq "${described[0]} ${described[1]} ${described[8]} ${described[12]}" '114 2 2 128' 'descriptors'
assert_between $((described[13] * 256 + described[14])) $((fixed[16] * 256 + fixed[17])) 65535 'a later progress'
# READ(10) of one block.
said=$(sense "$disk" -r 512 28 00 00 00 00 00 00 00 01 00)
assert_sense "$said" 'Not Ready' 'Logical unit is in process of becoming ready'
# What needs no medium is answered.
scsi "$disk" -r 36 12 00 00 00 24 00 >/dev/null
assert_between "$(ms_of read_blocks "$other" 0 8)" 0 1500 'ms of a read of the other LUN'
ms=$(ms_of cmp "$mount_point/file" "$LAB_TMP/want")
say "the reader of the mounted filesystem waited for $ms ms"
assert_between "$ms" 300 60000 'ms of that wait'
set_delay "$data" 0 0 0
cp "$LAB_TMP/want" "$mount_point/another"
sync -f "$mount_point/another"
echo 3 >/proc/sys/vm/drop_caches
cmp "$mount_point/another" "$LAB_TMP/want"
assert runner_log_has 'journal replay begins'
assert runner_log_has 'journal replay ends'
umount "$mount_point"
! dmesg | grep -E 'I/O error|critical|EXT4-fs error|Aborting journal' || fail 'somebody met an error'
logout slow
logout other
backstore_remove slow
backstore_remove other
"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null
