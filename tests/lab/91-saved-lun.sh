#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A LUN that was saved comes back as it was: after clearconfig and restoreconfig, and at boot by 'targetctl
# restore', with stock's targetcli; an initiator finds the same disk with the same data.
# lab: timeout=360
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-targetcli.sh
. "${BASH_SOURCE[0]%/*}/lib-targetcli.sh"

iqn=iqn.2026-11.com.example:saved
data=$(loop_dev 32)
meta=$(loop_dev 8)
install_targetcli_ext
start_runner
start_iscsid

ext /backstores/user:integrity create lun0 "data=$data" "meta=$meta" format=true yes=true \
	wwn=6b5f8f6c-0d2c-4a57-9f0e-0a8b4f0d5a11 commit_time=600000 >&2
at_end backstore_delete lun0
at_end targetcli clearconfig confirm=True
targetcli /iscsi create $iqn >&2
targetcli /iscsi/$iqn/tpg1/luns create /backstores/user:integrity/lun0 >&2
targetcli /iscsi/$iqn/tpg1/acls create "$(sed -n 's/^InitiatorName=//p' /etc/iscsi/initiatorname.iscsi)" >&2
targetcli saveconfig >&2

log_in() {
	iscsiadm -m discovery -t sendtargets -p $portal >&2
	iscsiadm -m node -T $iqn -p $portal --login >&2
	wait_for 20 the_disk
	the_disk
}
the_disk() {
	local disk
	disk=$(lsblk -ndo NAME,VENDOR | awk '$2 ~ /LIO-ORG/ { print "/dev/" $1; exit }')
	[[ -b $disk ]] && echo "$disk"
}
log_out() {
	iscsiadm -m node -T $iqn --logout >&2
}
serial() {
	sg_vpd -p sn -q "$1"
}

disk=$(log_in)
dd if=/dev/urandom of="$disk" bs=64k count=16 oflag=direct conv=fsync status=none
dd if="$disk" of="$LAB_TMP/wrote" bs=64k count=16 iflag=direct status=none
serial=$(serial "$disk")
log_out

# Everything away, everything back.
targetcli clearconfig confirm=True >&2
[[ -z $(backstore_dir lun0) ]] || fail 'clearconfig left the backstore'
said=$(targetcli restoreconfig)
say "$said"
[[ $said != *rror* ]] || fail "restoreconfig said: $said"
info=$(<"$(backstore_dir lun0)/info")
assert_match "$info" "integrity/$data;meta=$meta;commit_time=600000"
disk=$(log_in)
assert_eq "$(serial "$disk")" "$serial" "the disk's serial number"
assert_same_bytes "$LAB_TMP/wrote" "$disk" $((1 << 20))

# The same again while it exists, as some scripts do, and after a profile's defaults have changed.
mkdir -p /etc/tcmu
printf '[lun]\nqueue_depth=64\n' >/etc/tcmu/integrity.conf
log_out
said=$(targetctl restore 2>&1)
[[ $said != *rror* ]] || fail "targetctl restore said: $said"

# The machine goes down: services stop, and come up again.
targetcli clearconfig confirm=True >&2
stop_runner
rm -rf /run/tcmu-integrity
start_runner
said=$(targetctl restore 2>&1)
[[ $said != *rror* ]] || fail "targetctl restore said: $said"
disk=$(log_in)
assert_eq "$(serial "$disk")" "$serial" "the disk's serial number"
assert_same_bytes "$LAB_TMP/wrote" "$disk" $((1 << 20))
log_out
rm /etc/tcmu/integrity.conf
