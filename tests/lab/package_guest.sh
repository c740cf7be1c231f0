# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
# shellcheck shell=bash disable=SC2154,SC2034
#
# For 92-package: a machine with Debian's packages, which systemd has booted.  Nothing is started here: what runs,
# runs because a package has enabled it.

iqn=iqn.2026-11.com.example:package
initiator=$(sed -n 's/^InitiatorName=//p' /etc/iscsi/initiatorname.iscsi)
data=$(ubd_dev 0)
meta=$(ubd_dev 1)
runner_log=/var/log/tcmu-runner.log
: >"$LAB_TMP/runner.out"
# When a script fails its output is shown.
at_end journalctl -b --no-pager -o short-monotonic -u tcmu-runner -u rtslib-fb-targetctl -n 60
# Reading all manual pages after each dpkg takes long here, and a descriptor of the host's for each.
rm -f /var/lib/man-db/auto-update

system_files() {
	find /etc /usr /var/lib /opt /srv -xdev \
		\( -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/lib/systemd \) -prune -o -print | sort
}

# The process of tcmu-runner.service, 0 if it does not run.
main_pid() {
	systemctl show --value -p MainPID tcmu-runner.service
}

is_active() {
	systemctl -q is-active "$1"
}

# The guest's kernel holds every file of the host's open that it has seen, up to a limit.
forget_files() {
	echo 2 >/proc/sys/vm/drop_caches
}

assert_booted_by_systemd() {
	assert_eq "$(</proc/1/comm)" systemd 'the first process'
	assert is_active dbus.service
	assert is_active tcmu-runner.service
	assert is_active rtslib-fb-targetctl.service
	assert_eq "$(systemctl --failed --plain --no-legend)" '' 'failed units'
}

lun_exists() {
	compgen -G '/sys/kernel/config/target/core/user_*/lun0/info' >/dev/null
}

log_in() {
	iscsiadm -m discovery -t sendtargets -p "$portal" >&2
	iscsiadm -m node -T $iqn -p "$portal" --login >&2
	wait_for 20 the_disk
	udevadm settle
	the_disk
}

the_disk() {
	local disk
	disk=$(lsblk -ndo NAME,VENDOR | awk '$2 ~ /LIO-ORG/ { print "/dev/" $1; exit }')
	[[ -b $disk ]] && echo "$disk"
}

log_out() {
	udevadm settle
	iscsiadm -m node -T $iqn --logout >&2
}

# The first data block of the file, in sectors of the disk.
file_sector() {
	debugfs -R 'bmap /file 100' "$1" 2>/dev/null | awk '{ print $1 * 8 }'
}

