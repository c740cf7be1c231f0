# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
# shellcheck shell=bash
#
# What every guest script sources first.  A script is a list of commands and assertions: the first that
# fails ends it, with its line number and the logs.  Whatever a helper sets up, it also registers to be
# taken down (at_end), in reverse order; what is left after that is a failure too.
# State lives in files under $LAB_TMP, because helpers that print a device run in $(…).

set -Eeuo pipefail
shopt -s inherit_errexit
export DM_DISABLE_UDEV=1 LC_ALL=C

: "${LAB_MODE:?run this script with tests/lab/run or tests/lab/boot}"
LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ $LAB_MODE == guest ]]; then
	LAB_TMP=/tmp/lab
	mkdir -p "$LAB_TMP"
else
	LAB_TMP=$(mktemp -d "${TMPDIR:-/tmp}/tcmu-lab-host.XXXXXX")
fi
LAB_TAG=lab$$
# targetcli keeps a history and a log there.
export TARGETCLI_HOME=$LAB_TMP/targetcli
if [[ $LAB_MODE == host ]]; then
	lsmod | cut -d ' ' -f 1 | sort >"$LAB_TMP/modules"
fi
lab_dmesg_lines=$(dmesg | wc -l)
PATH=$LAB_BUILD/lab:$PATH
handler_so=$LAB_BUILD/handler/handler_integrity.so
cli=$LAB_BUILD/cli/tcmu-integrity

# --- telling ---

say() {
	echo "# $*" >&2
}

# fail SENTENCE: end the script here; says which line of it was running.
fail() {
	trap - ERR
	echo "FAILED $(lab_where): $*" >&2
	exit 1
}

skip() {
	echo "$*" >"$LAB_RUN/skip"
	exit 77
}

# The innermost line that is not in the library.
lab_where() {
	local i
	for ((i = 1; i < ${#BASH_SOURCE[@]}; i++)); do
		[[ ${BASH_SOURCE[i]} == "$LAB_DIR"/lib* ]] && continue
		echo "${BASH_SOURCE[i]##*/}:${BASH_LINENO[i - 1]}"
		return
	done
	echo "${0##*/}"
}

# Printed once per level of $(…) or function that the failure passes through, as a stack trace.
lab_on_error() {
	trap - ERR
	echo "FAILED $(lab_where): '$2' ended with $1" >&2
}
trap 'lab_on_error $? "$BASH_COMMAND"' ERR

now_ms() {
	local now=$EPOCHREALTIME
	echo $((${now/./} / 1000))
}

# ms_of COMMAND…: how long it took, in ms, on stdout; its own stdout goes to stderr.
ms_of() {
	local start
	start=$(now_ms)
	"$@" >&2
	echo $(($(now_ms) - start))
}

# flush_ms [-n TIMES] DEVICE…: flushes them all at once; see flush_ms.c.  For SCSI disks it is better than
# sg_sync wherever time or concurrency matters: starting a process costs 50 ms in the lab.

# wait_for SECONDS COMMAND…: until COMMAND succeeds.
wait_for() {
	local end=$(($(now_ms) + $1 * 1000))
	shift
	until "$@" >/dev/null 2>&1; do
		[[ $(now_ms) -lt $end ]] || fail "waited in vain for: $*"
		sleep 0.05
	done
}

# --- assertions ---

assert() {
	"$@" || fail "not so: $*"
}

# assert_eq SEEN WANTED [WHAT]
assert_eq() {
	[[ $1 == "$2" ]] || fail "${3:-value}: seen '$1', wanted '$2'"
}

# assert_between SEEN LOW HIGH [WHAT]
assert_between() {
	[[ $1 -ge $2 && $1 -le $3 ]] || fail "${4:-value}: seen $1, wanted $2 to $3"
}

# assert_match TEXT REGEX [WHAT]
assert_match() {
	[[ $1 =~ $2 ]] || fail "${3:-text}: '$1' does not match '$2'"
}

# assert_fails COMMAND…: it must fail; its output (both streams) is printed for the caller to look at.
assert_fails() {
	local output
	if output=$("$@" 2>&1); then
		fail "succeeded though it must not: $*"
	fi
	printf '%s\n' "$output"
}

# assert_status STATUS COMMAND…: it must end with STATUS; prints its output like assert_fails.
assert_status() {
	local wanted=$1 status=0 output
	shift
	output=$("$@" 2>&1) || status=$?
	[[ $status -eq $wanted ]] ||
		fail "ended with $status instead of $wanted: $* (it said: $output)"
	printf '%s\n' "$output"
}

# assert_same_bytes A B [BYTES]: block devices are read past the page cache's old contents.
assert_same_bytes() {
	local file
	for file in "$1" "$2"; do
		[[ ! -b $file ]] || blockdev --flushbufs "$file"
	done
	cmp ${3:+-n "$3"} "$1" "$2" >&2 || fail "$1 and $2 differ"
}

# --- what a script needs ---

requires_command() {
	local name
	for name in "$@"; do
		command -v "$name" >/dev/null || skip "the command $name is missing"
	done
}

requires_module() {
	local name
	for name in "$@"; do
		[[ -d /sys/module/${name//-/_} ]] || modprobe "$name" 2>/dev/null ||
			skip "the kernel module $name is missing"
	done
}

requires_handler() {
	[[ -e $handler_so ]] || fail "the handler is not built: $handler_so"
	[[ -x $cli ]] || fail "the command line tool is not built: $cli"
}

# --- taking down ---

# at_end COMMAND…: run at the end of the script, last registered first; also from within $(…).
at_end() {
	printf '%q ' "$@" >>"$LAB_TMP/at_end"
	echo >>"$LAB_TMP/at_end"
}

lab_take_down() {
	local commands line
	[[ -e $LAB_TMP/at_end ]] || return 0
	mapfile -t commands < <(tac "$LAB_TMP/at_end")
	rm "$LAB_TMP/at_end"
	for line in "${commands[@]}"; do
		eval "$line" >&2 || say "taking down failed: $line"
	done
}

# What must not be there when a script has been taken down.
lab_leftovers() {
	local core=/sys/kernel/config/target/core
	[[ ! -d /sys/module/dm_mod ]] || dmsetup ls 2>/dev/null | grep "^$LAB_TAG" || :
	losetup -n -O NAME,BACK-FILE 2>/dev/null | grep "$LAB_TMP/" || :
	find "$core" -mindepth 2 -maxdepth 2 -type d -name "$LAB_TAG*" 2>/dev/null || :
	find /sys/class/iscsi_session -mindepth 1 2>/dev/null |
		while read -r session; do
			grep "$LAB_TAG" "$session/targetname" || :
		done
}

# The iSCSI target frees an initiator's session some time after the logout. Where target_core_mod went before
# that, the kernel of the lab hung. When it is done cannot be seen, only that the session's threads have ended.
lab_let_sessions_go() {
	local _
	for _ in {1..50}; do
		pgrep -x 'iscsi_t[rt]x' >/dev/null || break
		sleep 0.1
	done
	sleep 2
}

# On a host: the modules that came with the script go, users before what they use.
lab_unload_modules() {
	local name _
	lab_let_sessions_go
	for _ in 1 2 3 4; do
		lsmod | awk 'NR > 1 && $3 == 0 { print $1 }' | sort | comm -13 "$LAB_TMP/modules" - |
			while read -r name; do
				modprobe -r "$name" 2>/dev/null || :
			done
	done
}

lab_exit() {
	local status=$? left
	trap - EXIT ERR
	trap '' INT TERM HUP
	set +eE
	lab_take_down
	left=$(lab_leftovers)
	if [[ -n $left && $status -eq 0 ]]; then
		echo "FAILED ${0##*/}: left behind: $left" >&2
		status=1
	fi
	if [[ $status -ne 0 && $status -ne 77 ]]; then
		lab_show_log "the kernel's log" "$(dmesg | tail -n "+$((lab_dmesg_lines + 1))" | tail -n 30)"
		[[ ! -e $runner_log ]] ||
			lab_show_log tcmu-runner.log "$(tail -n 60 "$runner_log" "$LAB_TMP/runner.out")"
	fi
	if [[ $LAB_MODE == host ]]; then
		lab_unload_modules
		rm -rf "$LAB_TMP"
	fi
	exit "$status"
}
trap lab_exit EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

lab_show_log() {
	printf '%s\n' "--- $1, the end of it:" "$2" "---"
}

# crash: the guest's kernel panics here and now; only what is on ubd devices and in /lab/run survives.
crash() {
	[[ $LAB_MODE == guest ]] || fail "crash is for guests only"
	echo 1 >/proc/sys/kernel/sysrq
	echo c >/proc/sysrq-trigger
	sleep 60
}

# lab_new PREFIX: a name that nothing else has, lab<pid>-PREFIX<n>.
lab_new() {
	local n=0
	[[ ! -e $LAB_TMP/count.$1 ]] || n=$(<"$LAB_TMP/count.$1")
	echo $((n + 1)) >"$LAB_TMP/count.$1"
	echo "$LAB_TAG-$1$n"
}

# shellcheck source-path=SCRIPTDIR source=lib-devices.sh
. "$LAB_DIR/lib-devices.sh"
# shellcheck source-path=SCRIPTDIR source=lib-target.sh
. "$LAB_DIR/lib-target.sh"
