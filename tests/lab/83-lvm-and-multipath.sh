#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# Whoever goes by the LUN's name finds it again: two paths, through two portal groups, are one disk to
# multipath; a volume group on it is there after a restart of the runner, and after targetcli has
# restored a configuration; serial number and NAA stay the same.
# lab: timeout=240
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

requires_command multipath pvcreate vgcreate lvcreate vgchange sg_vpd
requires_module dm_multipath dm_round_robin
portals=(127.0.0.1:3260 127.0.0.1:3261)
lvm=(--config 'devices { use_devicesfile=0 scan="/dev" filter=["a|^/dev/mapper/ti|","r|.*|"] } activation { udev_sync=0 udev_rules=0 } global { locking_type=1 }')

data=$(loop_dev 64)
meta=$(loop_dev 8)
format_pair "$meta" "$data"
start_runner
iqn=$(lun_iqn lun)

# The second portal group, beside the one that iscsi_target makes.
second_group() {
	local tpg=$configfs/target/iscsi/$iqn/tpgt_2 attribute
	mkdir "$tpg" "$tpg/lun/lun_0" "$tpg/np/${portals[1]}"
	ln -s "$(backstore_dir "$(backstore_name lun)")" "$tpg/lun/lun_0/backstore"
	for attribute in authentication=0 generate_node_acls=1 cache_dynamic_acls=1 demo_mode_write_protect=0; do
		echo "${attribute#*=}" >"$tpg/attrib/${attribute%=*}"
	done
	echo 1 >"$tpg/enable"
}

remove_second_group() {
	local tpg=$configfs/target/iscsi/$iqn/tpgt_2
	[[ -d $tpg ]] || return 0
	echo 0 >"$tpg/enable"
	rm "$tpg/lun/lun_0/backstore"
	rmdir "$tpg/lun/lun_0" "$tpg/np/${portals[1]}" "$tpg"
}

paths() {
	local session disk
	for session in /sys/class/iscsi_session/*; do
		for disk in "$session"/device/target*/*/block/*; do
			[[ ! -b /dev/${disk##*/} ]] || echo "/dev/${disk##*/}"
		done
	done
}

two_paths() {
	[[ $(paths | wc -l) == 2 ]]
}

# name DISK: NAA and serial number, as it says them itself, and the kernel's name of it.
name() {
	sg_vpd --page=di "$1" | grep -o '0x6001405[0-9a-f]*'
	sg_vpd --page=sn "$1" | sed -n 's/.*Unit serial number: *//p'
	cat "/sys/block/${1#/dev/}/device/wwid"
}

log_in() {
	iscsiadm -m discovery -t sendtargets -p "${portals[0]}" >&2
	iscsiadm -m node -T "$iqn" --login >&2
	wait_for 20 two_paths
}

# The two paths as one disk, /dev/mapper/ti, and the volume group on it, if there is one.  There is no udev in
# the lab, and multipath takes only what udev has seen.
assemble() {
	local disk
	mkdir -p /run/udev/data
	for disk in $(paths); do
		echo 'I:1' >"/run/udev/data/b$(cat "/sys/block/${disk#/dev/}/dev")"
	done
	multipath -v2 >&2
	[[ -b /dev/mapper/ti ]] || { multipath -v3 >&2; fail 'multipath made no disk of the two paths'; }
	assert_eq "$(dmsetup table ti | grep -oE ' [0-9]+:[0-9]+ ' | wc -l)" 2 'paths of it'
	vgchange "${lvm[@]}" --sysinit -ay >&2
}

leave_disk() {
	[[ ! -e /dev/mapper/group-volume ]] || dmsetup remove group-volume
	[[ ! -e /dev/mapper/ti ]] || dmsetup remove ti
	iscsi_logout lun
}

same_name() {
	local disk
	for disk in $(paths); do
		assert_eq "$(name "$disk")" "$wanted" "the name of $disk $1"
	done
}

same_content() {
	cmp -n ${#content} /dev/mapper/group-volume <(printf %s "$content")
}

backstore lun "$data" "$meta" mode=journal
iscsi_target lun >&2
at_end iscsi_target_remove lun
second_group
at_end remove_second_group
start_iscsid >&2
at_end leave_disk
log_in
wanted=$(name "$(paths | tail -1)")
say "$wanted"
assert_match "$wanted" '^0x6001405'
same_name 'through each portal group'

# Without udev multipath asks the paths themselves, by their VPD page 83h.
cat >/etc/multipath.conf <<-CONF
	defaults {
		find_multipaths no
	}
	overrides {
		uid_attribute ""
		path_grouping_policy multibus
		path_checker tur
	}
	multipaths {
		multipath {
			wwid 3$(sed -n '1s/^0x//p' <<<"$wanted")
			alias ti
		}
	}
CONF
assemble
content='what was there before'
pvcreate "${lvm[@]}" /dev/mapper/ti >&2
vgcreate "${lvm[@]}" group /dev/mapper/ti >&2
lvcreate "${lvm[@]}" -y -Wn -Zn -l 100%FREE -n volume group >&2
printf %s "$content" | dd of=/dev/mapper/group-volume bs=512 conv=sync,fsync status=none
same_content

# A restart of the runner, under the sessions.
stop_runner
start_runner
same_name 'after a restart of the runner'
echo 3 >/proc/sys/vm/drop_caches
same_content

# A new login.
leave_disk
log_in
assemble
same_name 'after a new login'
same_content

# One path goes away, and the other carries on.
path=$(paths | tail -1)
echo offline >"/sys/block/${path#/dev/}/device/state"
echo 3 >/proc/sys/vm/drop_caches
same_content
leave_disk

# A configuration that targetcli restores.
targetcli saveconfig "$LAB_TMP/config.json" >&2
targetcli clearconfig confirm=true >&2
assert_eq "$(backstore_dir "$(backstore_name lun)")" '' 'the backstore after clearconfig'
targetcli restoreconfig "$LAB_TMP/config.json" >&2
log_in
assemble
same_name 'after targetcli has restored it'
same_content
assert_runner_alive
