#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# Mode journal under load while parts of the devices fail at random, once or for a while: the journal, the tags,
# the data, all of a device, or its writes alone. The LUN never returns wrong data. When the devices are back,
# everything can be read and is what it was told; after a close that failed, what was flushed is there. Every tag
# matches.
# lab: timeout=600
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-journal.sh
. "${BASH_SOURCE[0]%/*}/lib-journal.sh"

requires_command python3
rounds=2
seconds=8
if [[ -n ${LAB_SOAK:-} ]]; then
	rounds=12
	seconds=30
fi
data=$(faulty_dev "$(loop_dev 32)")
meta=$(faulty_dev "$(loop_dev 4)")
start_runner

# misbehave: one fault, chosen by chance, for up to a second.
misbehave() {
	case $((RANDOM % 8)) in
	0) fail_range "$meta" "$journal_first" "$journal_sectors" ;;
	# A part of the journal: commits fail when they get there.
	1) fail_range "$meta" $((journal_first + RANDOM % (journal_sectors - 100))) 100 ;;
	2) fail_range "$meta" "$tag_first" "$tag_sectors" ;;
	3) fail_range "$data" $((RANDOM % 30000)) $((1 + RANDOM % 9000)) ;;
	4) fail_range "$data" 0 "$(sectors_of "$data")" ;;
	5)
		fail_range "$meta" "$journal_first" $((journal_sectors + tag_sectors))
		fail_range "$data" 10000 1000
		;;
	6) fail_all "$1" ;;
	7) fail_writes "$1" ;;
	esac
	sleep "0.$((RANDOM % 10))"
}

recover() {
	heal "$data"
	heal "$meta"
}

# load SECONDS: four writers at once, each in 4 MiB of its own.
load() {
	local n pids=()
	for n in 0 1 2 3; do
		"$LAB_DIR/fault_model" run "$disk" $((8 * n)) 4 "$1" "$RANDOM" "$LAB_TMP/state$n" &
		pids+=($!)
	done
	# The last round of a load is left in peace, so that flushes succeed again.
	local until=$(($(now_ms) + $1 * 1000))
	while [[ $(now_ms) -lt $((until - 2000)) ]]; do
		misbehave "${2:-$data}"
		recover
		sleep "0.$((RANDOM % 10))"
	done
	for n in "${pids[@]}"; do
		wait "$n" || fail 'the LUN returned wrong data'
	done
}

verify() {
	local n
	for n in 0 1 2 3; do
		"$LAB_DIR/fault_model" verify "$disk" "$LAB_TMP/state$n" "$1" || fail "$2"
	done
}

closes() {
	grep -c 'close failed' "$runner_log" || :
}

for ((round = 1; round <= rounds; round++)); do
	format_pair "$meta" "$data" --force --journal-size $((100 + RANDOM % 300))K
	journal_areas "$meta"
	quick_backstore disk "$data" "$meta" mode=journal cache_mb=1 commit_time=1000
	disk=$(loop_login disk)
	load "$seconds" "$([[ $((round % 2)) == 0 ]] && echo "$data" || echo "$meta")"
	verify live 'the devices are back, and the LUN is not what it was told'
	which=live
	if ((round % 2)); then
		# It closes while something fails.
		misbehave "$data" >/dev/null
	fi
	before=$(closes)
	logout disk
	backstore_remove disk
	recover
	[[ $(closes) -eq $before ]] || which=durable
	say "round $round: journal of $journal_sectors sectors, then $which"
	"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null || fail 'tags do not match'
	quick_backstore disk "$data" "$meta" mode=journal
	disk=$(loop_login disk)
	verify "$which" "opened again, after a close that left it $which"
	logout disk
	backstore_remove disk
	"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null || fail 'tags do not match'
done
assert_runner_alive
