#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# kill -9 of tcmu-runner under load, in mode journal, and its restart: the LUN and the session come back, and
# every write that was flushed and acknowledged is there; also the one that was acknowledged by the runner that
# died and whose flush its successor answered.
# lab: timeout=300 soak_timeout=1200
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

requires_command python3
rounds=3
[[ -z ${LAB_SOAK:-} ]] || rounds=50

data=$(loop_dev 64)
meta=$(loop_dev 8)
format_pair "$meta" "$data" --journal-size 1M
start_runner
backstore disk "$data" "$meta" mode=journal
disk=$(iscsi_login disk)

writer_is_at() {
	[[ $(wc -l <"$LAB_TMP/acknowledged") -ge $1 ]]
}

for ((round = 1; round <= rounds; round++)); do
	: >"$LAB_TMP/acknowledged"
	"$LAB_DIR/flushed_writes" write "$disk" "$round" >"$LAB_TMP/acknowledged" &
	writer=$!
	wait_for 60 writer_is_at 3
	# Unflushed writes elsewhere, which may be lost.
	dd if=/dev/urandom of="$disk" bs=64k count=32 seek=512 oflag=direct conv=nocreat status=none &
	noise=$!
	sleep "0.$((RANDOM % 10))"
	kill_runner
	before=$(wc -l <"$LAB_TMP/acknowledged")
	start_runner
	wait_for 60 writer_is_at $((before + 2))
	kill "$writer"
	wait "$writer" "$noise" || :
	say "round $round: killed after $before flushed writes, $(wc -l <"$LAB_TMP/acknowledged") checked"
	"$LAB_DIR/flushed_writes" check "$disk" "$round" <"$LAB_TMP/acknowledged"
done
[[ -b $disk ]] || fail 'the disk is gone'
logout disk
backstore_remove disk
"$cli" check "$meta" --data-device "$data" >&2
