#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# The commands of README's "Use it on this machine", typed as they stand there, lead to a disk at an initiator.
# lab: timeout=150
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"

[[ $LAB_MODE == guest ]] || skip 'it installs into the system'
requires_target

# What README's commands find on a machine and not here: systemd.
systemctl() {
	[[ $* != daemon-reload ]] || return 0
	assert_eq "$*" 'restart tcmu-runner'
	stop_runner
	use_handlers /usr/lib/*/tcmu-runner/handler_integrity.so
	start_runner
}

data=$(loop_dev 32)
meta=$(loop_dev 8)
initiator=$(sed -n 's/^InitiatorName=//p' /etc/iscsi/initiatorname.iscsi)
mapfile -t lines < <(sed -n '/^## Use it on this machine/,/^## /s/^    //p' "$LAB_DIR/../../README.md")
assert [ "${#lines[@]}" -ge 8 ]
typed=$(printf '%s\n' "${lines[@]}" | sed "s|/dev/META|$meta|g; s|/dev/DATA|$data|g; s|BYTES|$((32 << 20))|;
	s|INITIATOR|$initiator|; s|tcmu-integrity format|& --yes|")
say "$typed"
# The install notes in the build directory what it has installed; here that cannot be written.
assert_eq "$(basename "$LAB_BUILD")" build
mkdir "$LAB_TMP/upper" "$LAB_TMP/work"
mount -t overlay overlay -o "lowerdir=$LAB_BUILD,upperdir=$LAB_TMP/upper,workdir=$LAB_TMP/work" "$LAB_BUILD"
at_end umount "$LAB_BUILD"
cd "$LAB_BUILD/.."
start_iscsid
eval "$typed" >&2

iscsiadm -m discovery -t sendtargets -p $portal >&2
iscsiadm -m node -T iqn.2026-11.com.example:t0 -p $portal --login >&2
disk_is_there() {
	disk=$(lsblk -ndo NAME,VENDOR | awk '$2 ~ /LIO-ORG/ { print "/dev/" $1; exit }')
	[[ -b $disk ]]
}
wait_for 20 disk_is_there
disk_is_there
assert_eq "$(blockdev --getsize64 "$disk")" $((32 << 20))
dd if=/dev/urandom of="$disk" bs=64k count=16 oflag=direct conv=fsync status=none
cp "$disk" "$LAB_TMP/disk"
iscsiadm -m node --logout >&2
targetcli clearconfig confirm=True >&2
assert_same_bytes "$LAB_TMP/disk" "$data" $((1 << 20))
tcmu-integrity check "$meta" --data-device "$data" >&2
man -w tcmu-integrity >&2 || [[ -e $(echo /usr/share/man/man8/tcmu-integrity.8*) ]] || fail 'the man page is not installed'
