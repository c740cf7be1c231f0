#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A LUN over what administrators put below one: the data on a volume of LVM on a multipath device, the tags on a volume
# on a RAID 1 of md. A flush reaches every disk; a path and a leg may fail; nobody else gets at any layer; without a path
# reads fail with their address, and with one again they do not.
# lab: timeout=120
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

requires_command pvcreate vgcreate lvcreate lvremove mdadm sg_sync sg_raw
requires_module dm_multipath dm_round_robin raid1
lvm=(--config 'devices { use_devicesfile=0 scan="/dev" filter=["a|^/dev/mapper/multipath|","a|^/dev/md7$|","r|.*|"] } activation { udev_sync=0 udev_rules=0 } global { locking_type=1 }')

# The disk of the data, with two paths to it.
data_disk=$(loop_dev 40)
for n in 1 2; do
	path[n]=$(dm_dev "$(lab_new path)" "0 $(sectors_of "$data_disk") linear $data_disk 0")
done
multipath=$(dm_dev multipath-data "0 $(sectors_of "$data_disk") multipath 2 queue_mode bio 0 1 1 round-robin 0 2 1 ${path[1]} 1 ${path[2]} 1")

# The two disks of the metadata.
legs=("$(loop_dev 16)" "$(loop_dev 16)")
md_stop() {
	[[ ! -e /sys/block/md7/md ]] || mdadm --stop /dev/md7
}
mdadm --create /dev/md7 --run --level=1 --raid-devices=2 --metadata=1.2 --bitmap=none --assume-clean "${legs[@]}" >&2
at_end md_stop

# volume NAME DISK: all of a volume group of its own.
volume() {
	pvcreate "${lvm[@]}" "$2" >&2
	vgcreate "${lvm[@]}" "$1" "$2" >&2
	lvcreate "${lvm[@]}" -y -Wn -Zn -l 100%FREE -n volume "$1" >&2
	at_end dm_remove "$1-volume"
	echo "/dev/mapper/$1-volume"
}
data=$(volume below_data "$multipath")
meta=$(volume below_meta /dev/md7)

flushes() {
	awk '{ print $16 }' "/sys/block/${1#/dev/}/stat"
}

md_is_whole() {
	grep -q '^clean\|^active' /sys/block/md7/md/array_state && [[ $(<"/sys/block/md7/md/degraded") == 0 ]]
}

# write_some SEED: 4 MiB of it, and a flush.
write_some() {
	dd if=/dev/urandom of="$LAB_TMP/content" bs=1M count=4 status=none
	dd if="$LAB_TMP/content" of="$disk" bs=1M oflag=direct status=none
	sg_sync "$disk"
	cmp "$LAB_TMP/content" <(dd if="$disk" bs=1M count=4 iflag=direct status=none)
}

format_pair "$meta" "$data"
start_runner
backstore disk "$data" "$meta" mode=journal
disk=$(loop_login disk)

say 'a flush reaches each disk'
dd if=/dev/urandom of="$disk" bs=64k count=1 oflag=direct status=none
declare -A before
for device in "$data_disk" "${legs[@]}"; do
	before[$device]=$(flushes "$device")
done
# All of it: the journal is written out, so that the data device has something to flush.
for ((i = 0; i < 4; i++)); do
	write_some
done
for device in "$data_disk" "${legs[@]}"; do
	assert_between "$(flushes "$device")" $((before[$device] + 1)) 100000 "flushes of $device"
done

say 'no layer can be used by others'
message=$(assert_fails lvremove "${lvm[@]}" -y below_data)
assert_match "$message" 'in use|used by'
message=$(assert_fails mdadm --stop /dev/md7)
for device in "$data" "$multipath" "${path[1]}"; do
	message=$(assert_fails "$cli" check "$meta" --data-device "$device" --batch-mode)
	say "$message"
	assert_match "$message" 'in use'
done

say 'a path fails, and a leg'
dmsetup message "${multipath##*/}" 0 "fail_path ${path[1]}"
mdadm /dev/md7 --fail "${legs[0]}" >&2
write_some
dmsetup message "${multipath##*/}" 0 "reinstate_path ${path[1]}"
dmsetup message "${multipath##*/}" 0 "fail_path ${path[2]}"
mdadm /dev/md7 --remove "${legs[0]}" >&2
mdadm /dev/md7 --add "${legs[0]}" >&2
wait_for 30 md_is_whole
mdadm /dev/md7 --fail "${legs[1]}" >&2
write_some

say 'without a path'
dmsetup message "${multipath##*/}" 0 "fail_path ${path[1]}"
assert_sense "$(read_sense "$disk" 40000 1)" 'Medium Error' 'Unrecovered read error' 40000
dmsetup message "${multipath##*/}" 0 "reinstate_path ${path[2]}"
read_blocks "$disk" 40000 1
write_some

say 'everything is as it should be'
logout disk
backstore_remove disk
drop_caches "$data" "$meta"
"$cli" check "$meta" --data-device "$data" --batch-mode >&2
cmp -n $((4 << 20)) "$LAB_TMP/content" "$data"
assert_runner_alive
