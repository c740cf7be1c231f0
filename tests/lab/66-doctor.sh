#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# doctor is content when everything is there, and names each piece that is missing, with a command that mends it.
# lab: timeout=240
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

# state SUBJECT, from the last `diagnose`.
state() {
	python3 -c 'import json, sys
for finding in json.load(open(sys.argv[1]))["findings"]:
    if finding["subject"] == sys.argv[2]:
        print(finding["state"], finding["text"], "|", finding["mend"])' "$LAB_TMP/doctor" "$1"
}

# diagnose STATUS
diagnose() {
	local status=0
	"$cli" doctor --json >"$LAB_TMP/doctor" || status=$?
	assert_eq $status "$1" "doctor's status; it said $(<"$LAB_TMP/doctor")"
}

say 'a fresh machine: nothing runs'
diagnose 1
assert_match "$(state target_core_user)" '^ok .*available'
assert_match "$(state netlink_family)" '^missing .*modprobe target_core_user'
assert_match "$(state dbus)" '^missing .*systemctl start dbus'
assert_match "$(state configfs_mounted)" '^missing .*mount -t configfs'
assert_match "$(state reservations_directory)" '^ok'
assert_match "$(state io_uring)" '^ok'

say 'D-Bus alone'
requires_target
start_dbus
diagnose 1
assert_match "$(state dbus)" '^ok'
assert_match "$(state configfs_mounted)" '^ok'
assert_match "$(state netlink_family)" '^ok'
assert_match "$(state tcmu_runner)" '^missing .*systemctl start tcmu-runner'
assert_eq "$(pgrep -c tcmu-runner || :)" 0 'processes that doctor started'

say 'tcmu-runner without our handler'
mkdir "$LAB_TMP/handlers"
start_runner
diagnose 1
assert_match "$(state tcmu_runner)" '^ok .*process'
assert_match "$(state handler)" '^missing .*handler_integrity.so .*systemctl restart'
stop_runner
rm -r "$LAB_TMP/handlers"

say 'everything'
modprobe iscsi_target_mod
start_runner
diagnose 0
"$cli" doctor >&2
for subject in root configfs target_core_mod target_core_user iscsi_target_mod tcm_loop configfs_mounted \
	netlink_family targetcli reservations_directory tcmu_runner_version dbus tcmu_runner handler \
	io_uring locked_memory io_flusher; do
	assert_match "$(state $subject)" '^ok '
done

say 'LUNs, with both back-ends'
data=("$(loop_dev 16)" "$(loop_dev 16)")
meta=("$(loop_dev 8)" "$(loop_dev 8)")
# serve_luns: two of them, with a command each.
serve_luns() {
	backstore uring "${data[0]}" "${meta[0]}" backend=uring
	backstore pool "${data[1]}" "${meta[1]}" backend=threads
	local disk name
	for name in uring pool; do
		disk=$(loop_login $name)
		write_random "$disk" 0 8
		sg_sync "$disk"
	done
}
# unserve_luns: they go.
unserve_luns() {
	local name
	for name in uring pool; do
		logout $name
		backstore_remove $name
	done
}
format_pair "${meta[0]}" "${data[0]}"
format_pair "${meta[1]}" "${data[1]}"
assert_eq "$(state io_flusher_threads)" '' 'threads without a LUN'
serve_luns
diagnose 0
# Two for each LUN and 18 of the pool; io_uring's workers come on top.
assert_match "$(state io_flusher_threads)" '^ok all (2[2-9]|3[0-9]) threads'
assert_match "$(state locked_by_luns)" '^ok tcmu-runner has locked [1-9][0-9.]* MiB of memory for 2 LUNs'
unserve_luns
stop_runner

say 'a tcmu-runner that may neither become an I/O flusher nor lock memory'
assert_fails runner_log_has 'io_flusher=no' >/dev/null
assert_fails runner_log_has 'locked_memory=no' >/dev/null
runner_under=(prlimit --memlock=8192 setpriv "--bounding-set=-sys_resource,-ipc_lock")
start_runner
serve_luns
diagnose 0
assert_match "$(state io_flusher)" '^note '
assert_match "$(state io_flusher_threads)" '^note .* without PR_SET_IO_FLUSHER, do not swap to these LUNs: '
assert_match "$(state io_flusher_threads)" 'cmdproc-uio'
assert_match "$(state locked_memory)" '^note .*LimitMEMLOCK=infinity'
for thread in command completion pool; do
	assert runner_log_has "io_flusher=no thread=$thread"
done
assert runner_log_has 'locked_memory=no'
unserve_luns
stop_runner
runner_under=()
start_runner

say 'single pieces away'
mv /etc/rtslib-fb-target/pr /etc/rtslib-fb-target/away
diagnose 1
assert_match "$(state reservations_directory)" '^missing .*mkdir -p /etc/rtslib-fb-target/pr'
mv /etc/rtslib-fb-target/away /etc/rtslib-fb-target/pr
mkdir -p /etc/tcmu
printf '[lun]\ncache_mb=0\n' >/etc/tcmu/integrity.conf
diagnose 1
assert_match "$(state settings_files)" '^missing .*integrity.conf:2: cache_mb=0 .*tcmu-integrity config check'
rm /etc/tcmu/integrity.conf
mv /usr/bin/targetcli /usr/bin/targetcli.away
diagnose 1
assert_match "$(state targetcli)" '^missing .*apt-get install targetcli-fb'
mv /usr/bin/targetcli.away /usr/bin/targetcli
if [[ -e /proc/sys/kernel/io_uring_disabled ]]; then
	echo 2 >/proc/sys/kernel/io_uring_disabled
	diagnose 0
	assert_match "$(state io_uring)" '^note .*sysctl kernel.io_uring_disabled=0'
	echo 0 >/proc/sys/kernel/io_uring_disabled
fi
said=$(assert_status 1 setpriv --reuid 65534 --regid 65534 --clear-groups "$cli" doctor)
assert_match "$said" 'MISSING +not running as root'
assert_match "$said" 'sudo tcmu-integrity doctor'
assert_runner_alive
diagnose 0
