#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# The power goes at any moment of a running fio, in mode bitmap. On the image, every region with unflushed writes
# is marked, and every block outside of the marked regions matches its tag. (a) The pair opened by us and (b) a
# copy of it opened by the kernel: after recalculation every tag matches, every write that was flushed is there,
# and both are byte for byte the same device.
# lab: timeout=600 soak_timeout=2400
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-journal.sh
. "${BASH_SOURCE[0]%/*}/lib-journal.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

requires_command python3
runs=1
cuts=${1:-3}
load_size=2m
if [[ -n ${LAB_SOAK:-} ]]; then
	runs=5
	cuts=10
	load_size=6m
fi
# 128 regions.
bit_sectors=256

# record: fio on our LUN, whose bits are cleared all the time; leaves base.img, log.img and iolog.
record() {
	local disk data meta
	format_file "$LAB_TMP/base.img" --sector-size "$block_size" --bitmap-sectors-per-bit $bit_sectors
	cp --sparse=always "$LAB_TMP/base.img" "$LAB_TMP/run.img"
	recorded_pair "$LAB_TMP/run.img" "$LAB_TMP/log.img"
	quick_backstore recorded "$data" "$meta" mode=bitmap bitmap_flush_interval=20
	disk=$(loop_login recorded)
	load "$disk"
	logout recorded
	backstore_remove recorded
	recording_ends
	rm "$LAB_TMP/run.img"
}

runner_log_count() {
	grep -ac "$1" "$runner_log" || :
}

# The begin of a recalculation is logged before the LUN is ready, if there is anything to do.
we_are_done() {
	[[ $(runner_log_count 'recalculation ends') -eq $(runner_log_count 'recalculation begins') ]]
}

kernel_is_done() {
	local at
	at=$(dmsetup status "${1#/dev/mapper/}" | awk '{ print $6 }')
	[[ $at == - || $at == "$(sectors_of "$1")" ]]
}

# judge SEED
judge() {
	local data meta ours theirs kernel_data kernel_meta found status
	make_cut "$LAB_TMP/cut.img" "$1"
	cp --sparse=always "$LAB_TMP/cut.img" "$LAB_TMP/kernel.img"
	pair_over "$LAB_TMP/kernel.img"
	kernel_data=$data
	kernel_meta=$meta
	pair_over "$LAB_TMP/cut.img"
	"$cli" dump "$meta" --json >"$LAB_TMP/dump"
	"$LAB_DIR/power_log" marked "$LAB_TMP/cut.img" $((pair_data_mib << 20)) "$LAB_TMP/unsettled" \
		<"$LAB_TMP/dump" >"$LAB_TMP/marked.said"
	status=0
	found=$("$cli" check "$meta" --data-device "$data" --batch-mode --max-ranges 100000) || status=$?
	assert_between "$status" 0 1 "what check ends with, which said: $found"
	[[ $found != *'block and tag differ'* ]] || fail "a block of a clean region does not match: $found"

	quick_backstore cut "$data" "$meta" mode=bitmap
	ours=$(loop_login cut)
	wait_for 60 we_are_done
	theirs=$(kernel_open "$kernel_meta" "$kernel_data" bitmap --bitmap-sectors-per-bit $bit_sectors)
	wait_for 60 kernel_is_done "$theirs"
	"$LAB_DIR/power_log" check "$ours" "$LAB_TMP/durable"
	"$LAB_DIR/power_log" check "$theirs" "$LAB_TMP/durable"
	assert_same_bytes "$ours" "$theirs"
	logout cut
	backstore_remove cut
	kernel_close "$theirs"
	drop_caches "$data" "$meta" "$kernel_data" "$kernel_meta"
	"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null
	"$cli" check "$kernel_meta" --data-device "$kernel_data" --batch-mode >/dev/null
	pair_off
	loop_off "$kernel_data"
	loop_off "$kernel_meta"
	say "block size $block_size, $(<"$LAB_TMP/cut.said"); $(<"$LAB_TMP/marked.said")"
}

start_runner
for ((run = 1; run <= runs; run++)); do
	block_size=$((run % 2 ? 512 : 4096))
	record
	for ((n = 1; n <= cuts; n++)); do
		judge "$RANDOM$RANDOM"
	done
done
assert_runner_alive
