#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A journal as small as the format permits, one section, which a single write of 1 MiB fills many times: 64 such
# writes at once, then small writes, FUA writes and flushes beside them. Every request completes, in time, and
# reads back.
# lab: timeout=600
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-journal.sh
. "${BASH_SOURCE[0]%/*}/lib-journal.sh"

large=48m
small=1m
if [[ -n ${LAB_SOAK:-} ]]; then
	large=480m
	small=8m
fi
data=$(loop_dev 96)
meta=$(loop_dev 4)
start_runner

# verified NAME OFFSET OPTION…: fio writes into 16 MiB from there on, and verifies.
verified() {
	local name=$1 offset=$2
	shift 2
	fio_run "$name" "$disk" --offset="$offset" --size=16m --verify=crc32c --do_verify=1 "$@"
}

for block_size in 512 4096; do
	format_pair "$meta" "$data" --force --sector-size "$block_size" --journal-size 512
	assert_eq "$(dump_value "$meta" journal_sections)" 1 'sections'
	quick_backstore "lun$block_size" "$data" "$meta" mode=journal
	disk=$(loop_login "lun$block_size")
	ms=$(ms_of fio_run large "$disk" --ioengine=libaio --rw=write --bs=1m --iodepth=64 --size=48m \
		--io_size=$large --verify=crc32c --do_verify=1)
	say "block size $block_size: $large in writes of 1 MiB, 64 at once: $ms ms"

	jobs=()
	verified flushes 0 --ioengine=psync --rw=randwrite --bs=4k --fsync=1 --io_size=$small &
	jobs+=($!)
	# O_DSYNC: FUA writes, for the disk says that it takes them.
	verified fua 16m --ioengine=psync --rw=randwrite --bs=4k --sync=dsync --io_size=$small &
	jobs+=($!)
	verified many 32m --ioengine=libaio --iodepth=32 --rw=randwrite --bs=4k --fsync=64 --io_size=$small &
	jobs+=($!)
	verified mixed 48m --ioengine=libaio --iodepth=32 --rw=randwrite --bsrange=4k-256k --fsync=16 &
	jobs+=($!)
	verified large 64m --ioengine=libaio --iodepth=64 --rw=write --bs=1m &
	jobs+=($!)
	for job in "${jobs[@]}"; do
		wait "$job" || fail "a job failed, see above"
	done
	logout "lun$block_size"
	backstore_remove "lun$block_size"
	"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null
done
assert_runner_alive
! dmesg | grep -E 'ABORT_TASK|timing out|timed out|LUN_RESET|I/O error' || fail 'some request took too long or failed'
