#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# File systems live on the LUN; md mends from its mirror, by itself, a block whose tag does not match; LVM
# and whoever else looks for it sees the same name before and after.
# lab: timeout=300
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

requires_command mkfs.ext4 mkfs.xfs mkfs.btrfs xfs_repair btrfs mdadm sg_vpd
requires_module raid1

mib=320
data=$(loop_dev $mib)
meta=$(loop_dev 16)
format_pair "$meta" "$data"
start_runner
backstore disk "$data" "$meta" mode=journal wwn=11112222-3333-4444-5555-666677778888
disk=$(loop_login disk)
mkdir "$LAB_TMP/mnt"

name() {
	sg_vpd --page=di "$disk" | grep -o '0x6001405[0-9a-f]*'
}
assert_eq "$(name)" 0x60014051111222233334444555566667 'NAA'

md_stop() {
	[[ ! -e /sys/block/md7/md ]] || mdadm --stop /dev/md7
}

# live TYPE: make it, fill it, read it back after a remount, check it.
live() {
	local type=$1
	say "$type"
	case $type in
	ext4) mkfs.ext4 -q -F "$disk" ;;
	xfs) mkfs.xfs -q -f "$disk" ;;
	btrfs) mkfs.btrfs -q -f "$disk" ;;
	esac
	mount -t "$type" "$disk" "$LAB_TMP/mnt"
	at_end lab_umount
	mkdir "$LAB_TMP/mnt/d"
	dd if=/dev/urandom of="$LAB_TMP/mnt/d/file" bs=1M count=24 conv=fsync status=none
	md5sum "$LAB_TMP/mnt/d/file" >"$LAB_TMP/sum"
	umount "$LAB_TMP/mnt"
	mount -t "$type" "$disk" "$LAB_TMP/mnt"
	md5sum -c --quiet "$LAB_TMP/sum"
	umount "$LAB_TMP/mnt"
	case $type in
	ext4) e2fsck -f -n "$disk" >&2 ;;
	xfs) xfs_repair -n "$disk" >&2 ;;
	btrfs) btrfs check "$disk" >&2 ;;
	esac
}

lab_umount() {
	! mountpoint -q "$LAB_TMP/mnt" || umount "$LAB_TMP/mnt"
}

for type in ext4 xfs btrfs; do
	live "$type"
done

say 'md mends a block from its mirror'
plain=$(loop_dev $mib)
wipefs -qa "$disk"
# Reads go to the LUN: md asks a mirror that is write-mostly only in need.
mdadm --create /dev/md7 --run --level=1 --raid-devices=2 --metadata=1.2 --assume-clean "$disk" \
	--write-mostly "$plain" >&2
at_end md_stop
dd if=/dev/urandom of="$LAB_TMP/content" bs=1M count=8 status=none
dd if="$LAB_TMP/content" of=/dev/md7 bs=1M oflag=direct status=none
blockdev --flushbufs /dev/md7
offset=$(mdadm --examine "$disk" | sed -n 's/ *Data Offset : \([0-9]*\) sectors/\1/p')
mdadm --stop /dev/md7 >&2
logout disk
backstore_remove disk
sector=$((offset + 4321))
damage "$data" $sector
backstore disk "$data" "$meta" mode=journal wwn=11112222-3333-4444-5555-666677778888
disk=$(loop_login disk)
assert_eq "$(name)" 0x60014051111222233334444555566667 'NAA, after it was set up anew'
assert_sense "$(read_sense "$disk" $sector 1)" 'Medium Error' 'Unrecovered read error' "$sector"
mdadm --assemble /dev/md7 --run "$disk" "$plain" >&2
mdadm --readwrite /dev/md7 >&2 # as the first write makes it
assert_eq "$(<"/sys/block/md7/md/dev-${disk##*/}/errors")" 0 'errors that md has mended'
assert_same_bytes "$LAB_TMP/content" /dev/md7 $((8 << 20))
read_blocks "$disk" $sector 1 # mended, without more than that read
[[ $(<"/sys/block/md7/md/dev-${disk##*/}/errors") -gt 0 ]] || fail 'md has mended nothing'
assert_match "$(cat /sys/block/md7/md/degraded)" '^0$' 'members that md has given up'
mdadm --stop /dev/md7 >&2
