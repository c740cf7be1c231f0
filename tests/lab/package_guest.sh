# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
# shellcheck shell=bash disable=SC2154,SC2034
#
# For 92-package: a machine with Debian's packages, in a guest.  systemd alone is not there: what the package's
# scripts ask of it is written down, and done by the test.

iqn=iqn.2026-11.com.example:package
initiator=$(sed -n 's/^InitiatorName=//p' /etc/iscsi/initiatorname.iscsi)
data=$(ubd_dev 0)
meta=$(ubd_dev 1)

system_files() {
	find /etc /usr /var/lib /opt /srv -xdev \( -path /var/lib/dpkg -o -path /var/lib/apt \) -prune -o -print | sort
}

start_machine() {
	# Reading all manual pages after each dpkg takes long here, and a descriptor of the host's for each.
	rm -f /var/lib/man-db/auto-update
	mkdir -p /run/systemd/system "$LAB_TMP" /usr/local/sbin
	printf '#!/bin/sh\necho "$*" >>%s/systemctl\n' "$LAB_TMP" >/usr/local/sbin/systemctl
	chmod 755 /usr/local/sbin/systemctl
	# Debian's directory of handlers, whatever is in it.
	ln -sfn "$(dirname "$(echo /usr/lib/*/tcmu-runner/handler_qcow.so)")" "$LAB_TMP/handlers"
	# The package brings the policy for the bus; lib-target's start_dbus would do it first.
	dbus-daemon --system --fork --print-pid=3 --nopidfile 3>"$LAB_TMP/dbus.pid"
	at_end stop_dbus
	start_runner
	start_iscsid
}

# What systemctl was asked since the last time.
systemctl_said() {
	cat "$LAB_TMP/systemctl"
	rm "$LAB_TMP/systemctl"
}

restart_machine_runner() {
	# The guest's kernel holds every file of the host's open that it has seen, up to a limit.
	echo 2 >/proc/sys/vm/drop_caches
	stop_runner
	start_runner
}

stop_machine() {
	targetctl clear >&2
	stop_runner
	rm -f /usr/local/sbin/systemctl
	rm -rf /run/systemd
}

log_in() {
	iscsiadm -m discovery -t sendtargets -p "$portal" >&2
	iscsiadm -m node -T $iqn -p "$portal" --login >&2
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

# The first data block of the file, in sectors of the disk.
file_sector() {
	debugfs -R 'bmap /file 100' "$1" 2>/dev/null | awk '{ print $1 * 8 }'
}

