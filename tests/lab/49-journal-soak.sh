#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# Ten minutes of fio with verify and fsync on a LUN in mode journal, with clean restarts and kills of tcmu-runner
# in the middle of it, and with resizes and changes of mode in between: what was written is there, and every tag
# matches in the end.
# lab: timeout=1500 soak=1
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-journal.sh
. "${BASH_SOURCE[0]%/*}/lib-journal.sh"

requires_command fio
minutes=10
mib=$((1 << 20))
data=$(loop_dev 64)
meta=$(loop_dev 8)
format_pair "$meta" "$data" --journal-size 1M

# fio_pass [option…]: the same blocks with the same contents for the same seed, written or only verified.
fio_pass() {
	fio_run pass "$disk" --ioengine=libaio --iodepth=16 --rw=randwrite --bsrange=4k-64k --blockalign=4k \
		--size=14m --randseed="$seed" --verify=crc32c --verify_fatal=1 "$@"
}

size_is() {
	echo 1 >"/sys/block/${disk#/dev/}/device/rescan"
	[[ $(blockdev --getsize64 "$disk") -eq $1 ]]
}

# open_lun MODE
open_lun() {
	backstore disk "$data" "$meta" "mode=$1" commit_time=1000
	disk=$(iscsi_login disk)
}

close_lun() {
	logout disk
	backstore_remove disk
}

# What happens while fio writes.
restart() {
	stop_runner
	start_runner
}

die() {
	kill_runner
	sleep "0.$((RANDOM % 10))"
	start_runner
}

resize_twice() {
	local size
	for size in $((48 * mib)) $((64 * mib)); do
		targetcli "/backstores/user:integrity/$(backstore_name disk)" set attribute "dev_size=$size" >&2
		wait_for 10 size_is "$size"
	done
}

nothing() {
	:
}

# Another mode has the pair in between, and finds what mode journal has left.
change_mode() {
	close_lun
	open_lun "$1"
	fio_pass --verify_only
	close_lun
	open_lun journal
}

declare -A times=()
during=(restart die die resize_twice nothing)
between=(nothing nothing 'change_mode direct' 'change_mode bitmap' 'change_mode journal')
start_runner
open_lun journal
until=$(($(now_ms) + minutes * 60000))
rounds=0
while [[ $(now_ms) -lt $until ]]; do
	rounds=$((rounds + 1))
	seed=$RANDOM$RANDOM
	what=${during[RANDOM % ${#during[@]}]}
	then=${between[RANDOM % ${#between[@]}]}
	fio_pass --rate=3m --fsync=$((1 + RANDOM % 30)) --do_verify=0 &
	writer=$!
	sleep "$((1 + RANDOM % 2)).$((RANDOM % 10))"
	$what
	wait "$writer"
	$then
	fio_pass --verify_only
	times[$what]=$((${times[$what]:-0} + 1))
	times[$then]=$((${times[$then]:-0} + 1))
done
for what in "${!times[@]}"; do
	say "${times[$what]} times: $what"
done
say "$rounds rounds"
for what in restart die resize_twice 'change_mode direct' 'change_mode bitmap'; do
	[[ ${times[$what]:-0} -gt 0 ]] || fail "chance has left out: $what"
done
close_lun
"$cli" check "$meta" --data-device "$data" --batch-mode >&2
