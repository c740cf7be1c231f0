#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A flush reaches the devices that hold unflushed writes and no others: counted where flushes arrive.
# lab: timeout=300
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

# flushes LOOP_DEV: that have ended there.
flushes() {
	awk '{ print $16 }' "/sys/block/${1#/dev/}/stat"
}

# expect DATA META WHAT: flushes since the last call.
expect() {
	local now=("$(flushes "$under")" "$(flushes "$meta")")
	assert_eq "$((now[0] - seen[0])) $((now[1] - seen[1]))" "$1 $2" "flushes of data and metadata device: $3"
	seen=("${now[@]}")
}

# open_lun NAME [key=value…]: fresh, and past its first flush, which goes to both devices in any case.
open_lun() {
	local name=$1
	shift
	faulty=$(faulty_dev "$meta")
	format_pair "$faulty" "$data" --force --journal-size 4M
	backstore "$name" "$data" "$faulty" commit_time=3600000 cache_mb=1 "$@"
	disk=$(loop_login "$name")
	read_blocks "$disk" 0 8
	seen=("$(flushes "$under")" "$(flushes "$meta")")
	sg_sync "$disk"
	expect 1 1 'the first one of all'
}

under=$(loop_dev 32)
data=$(delay_dev "$under" 0 0 0)
meta=$(loop_dev 8)
start_runner
open_lun direct mode=direct

sg_sync "$disk"
expect 0 0 'a clean pair'
write_random "$disk" 0 8
sg_sync "$disk"
expect 1 1 'after a write'
sg_sync "$disk"
expect 0 0 'nothing written in between'

# A write whose tag could not be stored leaves the data device dirty and the metadata device clean.
fail_all "$faulty"
assert_sense "$(write_sense "$disk" 40000 8)" 'Hardware Error' 'Internal target failure' 40000
heal "$faulty"
sg_sync "$disk"
expect 1 0 'only the data device is dirty'

# A flush that could not write the tags leaves them dirty; the data is durable by then.
write_random "$disk" 0 8
initial=$("$cli" dump --json "$faulty" | python3 -c 'import json, sys; print(json.load(sys.stdin)["geometry"]["tag_offset"] // 512)')
fail_range "$faulty" "$initial" 8
assert_sense "$(sense "$disk" 35 00 00 00 00 00 00 00 00 00)" 'Hardware Error' 'Internal target failure'
heal "$faulty"
seen=("$(flushes "$under")" "$(flushes "$meta")")
sg_sync "$disk"
expect 0 1 'only the metadata device is dirty'
sg_sync "$disk"
expect 0 0 'both are clean again'

# What is read with FUA is on the media first.
write_random "$disk" 0 8
scsi "$disk" -r 512 28 08 00 00 00 00 00 00 01 00
expect 1 1 'a read with FUA after a write'
scsi "$disk" -r 512 28 08 00 00 00 00 00 00 01 00
expect 0 0 'a read with FUA of a clean pair'
logout direct
backstore_remove direct

# In mode journal a flush is a commit; the data device gets nothing before the journal is written out.
open_lun journal mode=journal
write_random "$disk" 0 8
sg_sync "$disk"
expect 0 1 'mode journal, after a write'
sg_sync "$disk"
expect 0 0 'mode journal, nothing written in between'
write_random "$disk" 0 8
scsi "$disk" -r 512 28 08 00 00 00 00 00 00 01 00
expect 0 1 'mode journal, a read with FUA after a write'
logout journal
backstore_remove journal

# WCE=0 while a write is under way: sd asks for no flush any more, so the write's comes before its answer.
open_lun under_way mode=direct
set_delay "$data" 0 3000 0
seen=("$(flushes "$under")" "$(flushes "$meta")")
write_random "$disk" 64 8 &
writer=$!
sleep 0.5
cache=$(echo "/sys/block/${disk#/dev/}/device/scsi_disk/"*/cache_type)
echo 'write through' >"$cache"
assert_eq "$(<"$cache")" 'write through'
kill -0 "$writer" || fail 'the write was answered before MODE SELECT'
expect 0 0 'MODE SELECT of WCE=0, while nothing has been written'
wait "$writer"
expect 1 1 'a write that was under way at MODE SELECT'
set_delay "$data" 0 0 0
sg_sync "$disk"
expect 0 0 'nothing is left to flush'
assert_runner_alive
