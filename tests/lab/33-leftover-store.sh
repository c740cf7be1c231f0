#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# What a killed tcmu-runner has left in memory files is found by whoever looks at the pair: dump, check and
# doctor tell, check --replay refuses, the next tcmu-runner brings it home, and format deletes it.
# lab: timeout=150
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

store=/run/tcmu-integrity
data=$(loop_dev 32)
meta=$(loop_dev 8)
format_pair "$meta" "$data" --start 8
start_runner

# stores JSON_COMMAND…: what its store_files says.
stores() {
	"$@" --json | python3 -c 'import json, sys; print(*json.load(sys.stdin)["store_files"])'
}

# serve_and_kill: with a write whose tag is on no device yet.
serve_and_kill() {
	backstore disk "$data" "$meta" mode=direct start=8 commit_time=3600000 size=$((32 << 20))
	disk=$(loop_login disk)
	assert_match "$(stores "$cli" dump "$meta" --start 8)" "^$store/block-[0-9]+-[0-9]+-8$"
	write_random "$disk" 0 8
	kill_runner
}

assert_eq "$(stores "$cli" dump "$meta" --start 8)" ''
serve_and_kill
file=$(stores "$cli" dump "$meta" --start 8)
assert_eq "$file" "$(echo $store/block-*-8)"
assert_match "$("$cli" dump "$meta" --start 8)" "store_file +$file"
said=$(assert_status 1 "$cli" check "$meta" --data-device "$data" --start 8)
assert_match "$said" "warning: a tcmu-runner that served $meta .* is in $file: start tcmu-runner"
assert_match "$said" 'block and tag differ|tag never written'
assert_eq "$(set +e; stores "$cli" check "$meta" --data-device "$data" --start 8 2>/dev/null)" "$file"
said=$(assert_status 3 "$cli" check "$meta" --data-device "$data" --start 8 --replay)
assert_match "$said" "is in $file: nothing was changed"
assert_match "$("$cli" doctor || :)" "note +in $store (there is a file|there are files) left by a tcmu-runner that was killed"

say 'the next tcmu-runner brings it home'
start_runner
wait_for 20 read_blocks "$disk" 0 8
logout disk
backstore_remove disk
[[ ! -e $file ]] || fail 'the file is still there after a clean close'
said=$("$cli" check "$meta" --data-device "$data" --start 8 2>&1)
assert_match "$said" 'clean: all'
[[ $said != *warning* ]] || fail "check warns for nothing: $said"

say 'format deletes it'
serve_and_kill
[[ -e $file ]] || fail 'there is no file'
assert_status 3 "$cli" format "$meta" --data-device "$data" --start 8 --yes >/dev/null
[[ -e $file ]] || fail 'a format that was refused deleted the file'
said=$("$cli" format "$meta" --data-device "$data" --start 8 --yes --force 2>&1)
assert_match "$said" "$file, which a killed tcmu-runner left, will be deleted"
[[ ! -e $file ]] || fail 'format left the file'
"$cli" check "$meta" --data-device "$data" --start 8
start_runner
wait_for 20 read_blocks "$disk" 0 8
! runner_log_has 'tags rescued .*blocks=[1-9].*blocks=' || fail 'tags were taken over into a fresh pair'

say 'what MODE SELECT has changed goes with the pair'
protected() {
	sg_modes --page=0x0a "$disk" | grep -o 'WP=[01]'
}
sg_wr_mode --page=0xa --contents=0a,0a,02,10,08,40,00,00,ff,ff,00,00 "$disk"
assert_eq "$(protected)" 'WP=1'
logout disk
backstore_remove disk
mode_file=$(echo $store/block-*-8.mode)
[[ -e $mode_file ]] || fail 'there is no file of the mode'
said=$("$cli" check "$meta" --data-device "$data" --start 8 2>&1)
[[ $said != *warning* ]] || fail "check warns for nothing: $said"
cp "$mode_file" "$LAB_TMP/mode"
backstore disk "$data" "$meta" mode=direct start=8 size=$((32 << 20))
runner_log_has 'as MODE SELECT has left it write_cache=on write_protect=on' || fail 'no line says that the LUN is write protected'
backstore_remove disk
"$cli" format "$meta" --data-device "$data" --start 8 --yes --force
[[ ! -e $mode_file ]] || fail 'format left the file of the mode'
cp "$LAB_TMP/mode" "$mode_file"
backstore disk "$data" "$meta" mode=direct start=8 size=$((32 << 20))
disk=$(loop_login disk)
assert_eq "$(protected)" 'WP=0'
runner_log_has 'another pair with this metadata device is dropped write_cache=on write_protect=on' ||
	fail 'no line says that a mode was dropped'
