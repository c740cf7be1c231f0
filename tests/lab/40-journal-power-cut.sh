#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# The power goes at any moment of a running fio, in mode journal: (a) the pair opened by us and (b) a copy of
# it opened by the kernel have every write that was flushed, every tag matches, and both are byte for byte the
# same device.
# lab: timeout=900
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-journal.sh
. "${BASH_SOURCE[0]%/*}/lib-journal.sh"

requires_command python3
runs=1
cuts=5
load_size=2m
if [[ -n ${LAB_SOAK:-} ]]; then
	runs=5
	cuts=10
	load_size=6m
fi

# record: fio on our LUN; leaves base.img, log.img and iolog.
record() {
	local disk data meta
	format_file "$LAB_TMP/base.img" --sector-size "$block_size"
	cp --sparse=always "$LAB_TMP/base.img" "$LAB_TMP/run.img"
	recorded_pair "$LAB_TMP/run.img" "$LAB_TMP/log.img"
	quick_backstore recorded "$data" "$meta" mode=journal
	disk=$(loop_login recorded)
	load "$disk"
	logout recorded
	backstore_remove recorded
	recording_ends
	rm "$LAB_TMP/run.img"
}

# judge SEED
judge() {
	local data meta ours theirs kernel_data kernel_meta
	make_cut "$LAB_TMP/cut.img" "$1"
	cp --sparse=always "$LAB_TMP/cut.img" "$LAB_TMP/kernel.img"
	pair_over "$LAB_TMP/kernel.img"
	kernel_data=$data
	kernel_meta=$meta
	pair_over "$LAB_TMP/cut.img"
	"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null
	quick_backstore cut "$data" "$meta" mode=journal
	ours=$(loop_login cut)
	theirs=$(kernel_open "$kernel_meta" "$kernel_data" journal)
	"$LAB_DIR/power_log" check "$ours" "$LAB_TMP/durable"
	"$LAB_DIR/power_log" check "$theirs" "$LAB_TMP/durable"
	assert_same_bytes "$ours" "$theirs"
	logout cut
	backstore_remove cut
	kernel_close "$theirs"
	"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null
	pair_off
	loop_off "$kernel_data"
	loop_off "$kernel_meta"
	say "block size $block_size, $(<"$LAB_TMP/cut.said")"
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
