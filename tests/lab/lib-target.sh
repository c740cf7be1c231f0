# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
# shellcheck shell=bash disable=SC2154
#
# The target's side for guest scripts, sourced by lib.sh: D-Bus, tcmu-runner, backstores, and two ways
# to an initiator's disk: iSCSI over the loopback interface, and tcm_loop, which has no network in between.
# Backstore names are given a prefix of their own (see backstore_name), so that --host meets nothing else.

configfs=/sys/kernel/config
target_core=$configfs/target/core
runner_log=$LAB_TMP/log/tcmu-runner.log

requires_target() {
	requires_module configfs target_core_user
	requires_command tcmu-runner targetcli dbus-daemon
	if ! mountpoint -q $configfs; then
		mount -t configfs configfs $configfs
		at_end umount $configfs
	fi
}

# target_dir DIR: makes a directory of the target's unless it is there; it goes at the end.
target_dir() {
	[[ ! -d $1 ]] || return 0
	mkdir "$1"
	at_end rmdir "$1"
}

backstore_name() {
	echo "$LAB_TAG-$1"
}

# --- the runner ---

start_dbus() {
	[[ ! -S /run/dbus/system_bus_socket ]] || return 0
	mkdir -p /run/dbus
	# Where an installation puts it: it counts that tcmu-runner's own policy, in /etc, is read after it.
	[[ $LAB_MODE != guest ]] ||
		install -D -m 644 -t /usr/share/dbus-1/system.d "$LAB_SOURCE/handler/dbus/org.tcmu_integrity1.conf"
	dbus-daemon --system --fork --print-pid=3 --nopidfile 3>"$LAB_TMP/dbus.pid"
	at_end stop_dbus
}

stop_dbus() {
	kill "$(<"$LAB_TMP/dbus.pid")"
	rm -f /run/dbus/system_bus_socket
}

# The runner's log also goes out of the guest as it grows, so that it survives a crash.
follow_runner_log() {
	[[ ! -e $runner_log ]] || return 0
	mkdir -p "$LAB_TMP/log"
	: >"$runner_log"
	[[ $LAB_MODE == guest ]] || return 0
	tail -n +1 -F "$runner_log" </dev/null >/dev/ttyS1 2>/dev/null &
}

runner_is_on_the_bus() {
	dbus-send --system --print-reply --dest=org.freedesktop.DBus / \
		org.freedesktop.DBus.NameHasOwner string:org.kernel.TCMUService1 | grep -q 'boolean true'
}

# use_handlers SO…: what the next start_runner loads; without it, our handler alone.
use_handlers() {
	local so
	rm -rf "$LAB_TMP/handlers"
	mkdir "$LAB_TMP/handlers"
	for so in "$@"; do
		cp "$so" "$LAB_TMP/handlers/"
	done
}

# start_runner: starts tcmu-runner and waits until it answers.  Its log is $runner_log, over restarts.
# runner_env=(VARIABLE=VALUE…) goes into its environment, runner_under=(COMMAND…) is put before it; RUNNER_DEBUG=1 puts every command into the log.
runner_env=()
runner_under=()
start_runner() {
	local debug=()
	requires_target
	[[ -d $LAB_TMP/handlers ]] || { requires_handler; use_handlers "$handler_so"; }
	start_dbus
	! runner_is_on_the_bus || skip "a tcmu-runner is running here already: stop it first"
	[[ -z ${RUNNER_DEBUG:-} ]] || debug=(-d)
	follow_runner_log
	env "${runner_env[@]}" "${runner_under[@]}" tcmu-runner "${debug[@]}" --tcmu-log-dir "$LAB_TMP/log" --handler-path "$LAB_TMP/handlers" \
		</dev/null >>"$LAB_TMP/runner.out" 2>&1 &
	echo $! >"$LAB_TMP/runner.pid"
	[[ -e $LAB_TMP/runner.known ]] || at_end stop_runner
	: >"$LAB_TMP/runner.known"
	wait_for 20 runner_is_on_the_bus
}

runner_pid() {
	cat "$LAB_TMP/runner.pid"
}

runner_is_alive() {
	[[ -e $LAB_TMP/runner.pid ]] && kill -0 "$(runner_pid)" 2>/dev/null
}

runner_is_gone() {
	! runner_is_alive
}

assert_runner_alive() {
	runner_is_alive || fail "tcmu-runner died"
}

# stop_runner: as a service manager does it, TERM and a wait.
stop_runner() {
	runner_is_alive || return 0
	kill -TERM "$(runner_pid)"
	wait_for 20 runner_is_gone
	rm -f "$LAB_TMP/runner.pid"
}

# kill_runner: SIGKILL, in the middle of whatever it does.
kill_runner() {
	kill -KILL "$(runner_pid)"
	wait_for 20 runner_is_gone
	rm -f "$LAB_TMP/runner.pid"
}

# runner_log_has REGEX
runner_log_has() {
	grep -aqE "$1" "$runner_log"
}

# --- backstores ---

# The first targetcli of a guest has no preferences to load, and says so; nobody needs to hear it.
targetcli() {
	command targetcli "$@" 2>&1 | sed '/^Warning: Could not load preferences file/d'
}

# user_backstore SUBTYPE NAME BYTES CONFIG [targetcli parameter=value…]: what targetcli's create does.
user_backstore() {
	local subtype=$1 name bytes=$3 config=$4
	name=$(backstore_name "$2")
	shift 4
	[[ "$*" == *hw_max_sectors=* ]] || set -- hw_max_sectors=2048 "$@"
	targetcli "/backstores/user:$subtype" create "name=$name" "size=$bytes" "cfgstring=$config" "$@"
	at_end backstore_delete "$name"
}

# backstore NAME DATA META [key=value…]: our LUN.  size=BYTES (default: all that META provides), wwn=,
# hw_max_sectors= and control= go to targetcli, hw_block_size= and other control keys of tcmu too; any other
# key to the config string.  mode=direct unless given.
backstore() {
	local name=$1 data=$2 meta=$3 config control='' bytes='' mode=direct pass=() pair
	shift 3
	config="$data;meta=$meta"
	for pair in "$@"; do
		case $pair in
		size=*) bytes=${pair#size=} ;;
		mode=*) mode=${pair#mode=} ;;
		wwn=* | hw_max_sectors=*) pass+=("$pair") ;;
		control=*) control+=,${pair#control=} ;;
		hw_block_size=* | max_data_area_mb=* | data_pages_per_blk=* | cmd_ring_size_mb=*) control+=,$pair ;;
		*) config+=";$pair" ;;
		esac
	done
	[[ -n $bytes ]] || bytes=$(($(provided_sectors "$meta") * 512))
	[[ -z $control ]] || pass+=("control=${control#,}")
	user_backstore integrity "$name" "$bytes" "$config;mode=$mode" "${pass[@]}"
}

# backstore_dir NAME: its directory in configfs.
backstore_dir() {
	local dir
	for dir in "$target_core"/*/"$1"; do
		[[ ! -d $dir ]] || echo "$dir"
	done
}

# backstore_delete FULL_NAME, backstore_remove NAME: the LUN is closed; it must have been logged out of.
backstore_delete() {
	local dir
	dir=$(backstore_dir "$1")
	[[ -n $dir ]] || return 0
	rmdir "$dir"
	# The adapter above it goes with its last backstore.
	rmdir "${dir%/*}" 2>/dev/null || :
}

backstore_remove() {
	backstore_delete "$(backstore_name "$1")"
}

# block_backstore NAME DEV: the kernel's iblock on DEV, for comparison.
block_backstore() {
	local name dir
	requires_module target_core_iblock
	name=$(backstore_name "$1")
	dir=$target_core/iblock_77
	mkdir -p "$dir/$name"
	echo "udev_path=$2" >"$dir/$name/control"
	echo 1 >"$dir/$name/enable"
	at_end backstore_delete "$name"
}

# --- initiators ---

portal=127.0.0.1:3260
iqn_prefix=iqn.2026-11.com.example

lun_iqn() {
	echo "$iqn_prefix:$(backstore_name "$1")"
}

# iscsi_target NAME: exports the backstore at 127.0.0.1, to anybody.
iscsi_target() {
	local name iqn tpg attribute
	requires_module iscsi_target_mod
	name=$(backstore_name "$1")
	iqn=$(lun_iqn "$1")
	tpg=$configfs/target/iscsi/$iqn/tpgt_1
	target_dir $configfs/target/iscsi
	mkdir "$configfs/target/iscsi/$iqn" "$tpg" "$tpg/lun/lun_0" "$tpg/np/$portal"
	at_end iscsi_target_remove "$1"
	ln -s "$(backstore_dir "$name")" "$tpg/lun/lun_0/backstore"
	for attribute in authentication=0 generate_node_acls=1 cache_dynamic_acls=1 \
		demo_mode_write_protect=0; do
		echo "${attribute#*=}" >"$tpg/attrib/${attribute%=*}"
	done
	echo 1 >"$tpg/enable"
}

iscsi_target_remove() {
	local dir tpg
	dir=$configfs/target/iscsi/$(lun_iqn "$1")
	tpg=$dir/tpgt_1
	[[ -d $dir ]] || return 0
	echo 0 >"$tpg/enable"
	rm "$tpg/lun/lun_0/backstore"
	rmdir "$tpg/lun/lun_0" "$tpg/np/$portal" "$tpg" "$dir"
}

start_iscsid() {
	requires_command iscsid iscsiadm
	requires_module iscsi_tcp sd_mod sg
	! pgrep -x iscsid >/dev/null || return 0
	iscsid
	at_end iscsiadm -k 0
}

# iscsi_login NAME: exports the backstore and logs in; prints the initiator's disk, /dev/sdX.
iscsi_login() {
	local iqn dir
	iqn=$(lun_iqn "$1")
	iscsi_target "$1" >&2
	start_iscsid >&2
	for dir in /etc/iscsi/nodes /etc/iscsi/send_targets; do
		[[ -d $dir ]] || at_end rm_empty_dirs "$dir"
	done
	iscsiadm -m discovery -t sendtargets -p $portal >&2
	at_end iscsi_logout "$1"
	iscsiadm -m node -T "$iqn" -p $portal --login >&2
	wait_for 20 iscsi_disk "$1"
	iscsi_disk "$1"
}

rm_empty_dirs() {
	[[ ! -d $1 ]] || find "$1" -depth -type d -empty -delete
}

iscsi_disk() {
	local session disk
	for session in /sys/class/iscsi_session/*; do
		[[ $(cat "$session/targetname" 2>/dev/null) == "$(lun_iqn "$1")" ]] || continue
		for disk in "$session"/device/target*/*/block/*; do
			[[ -b /dev/${disk##*/} ]] || continue
			echo "/dev/${disk##*/}"
			return
		done
	done
	return 1
}

iscsi_logout() {
	local iqn
	iqn=$(lun_iqn "$1")
	if iscsiadm -m session 2>/dev/null | grep -q "$iqn"; then
		iscsiadm -m node -T "$iqn" --logout
	fi
	iscsiadm -m node -T "$iqn" -o delete 2>/dev/null || :
	iscsiadm -m discoverydb -t sendtargets -p $portal -o delete 2>/dev/null || :
}

# loop_login NAME: the same through tcm_loop; quicker to set up and without a network's cost.
# The names are of NAA type 5: rtslib takes one of type 6 for another name, and then every later targetcli fails.
loop_login() {
	local name dir tpg n
	requires_module tcm_loop sd_mod sg
	name=$(backstore_name "$1")
	n=$(lab_new tcmloop)
	dir=$configfs/target/loopback/naa.5001405$(printf '%09x' $((16#$(md5sum <<<"$n" | cut -c1-8))))
	tpg=$dir/tpgt_1
	target_dir $configfs/target/loopback
	mkdir "$dir" "$tpg"
	echo "$dir" >"$LAB_TMP/tcmloop.$1"
	at_end loop_logout "$1"
	echo "naa.5001405$(printf '%09x' $((16#$(md5sum <<<"i$n" | cut -c1-8))))" >"$tpg/nexus"
	mkdir "$tpg/lun/lun_0"
	ln -s "$(backstore_dir "$name")" "$tpg/lun/lun_0/backstore"
	wait_for 20 loop_disk "$1"
	loop_disk "$1"
}

loop_disk() {
	local address disk
	address=$(<"$(<"$LAB_TMP/tcmloop.$1")/tpgt_1/address")
	for disk in "/sys/class/scsi_device/$address:0/device/block"/*; do
		[[ -b /dev/${disk##*/} ]] || continue
		echo "/dev/${disk##*/}"
		return
	done
	return 1
}

loop_logout() {
	local dir tpg
	dir=$(<"$LAB_TMP/tcmloop.$1")
	tpg=$dir/tpgt_1
	[[ -d $tpg ]] || return 0
	rm "$tpg/lun/lun_0/backstore"
	rmdir "$tpg/lun/lun_0"
	echo NULL >"$tpg/nexus"
	rmdir "$tpg" "$dir"
}

# logout NAME: whichever way it was logged in to; the backstore stays.
logout() {
	if [[ -e $LAB_TMP/tcmloop.$1 ]]; then
		loop_logout "$1"
	else
		iscsi_logout "$1"
		iscsi_target_remove "$1"
	fi
}
