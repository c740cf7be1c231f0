#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# The power goes at any moment of a running fio on the kernel's dm-integrity, in mode journal: our replay, in
# both modes, and the kernel's own of a copy give byte for byte the same device, with every write that was
# flushed, and every tag matches.
# lab: timeout=900
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-journal.sh
. "${BASH_SOURCE[0]%/*}/lib-journal.sh"

requires_command python3
runs=1
cuts=2
load_size=2m
if [[ -n ${LAB_SOAK:-} ]]; then
	runs=2
	cuts=10
	load_size=6m
fi

# record: fio on the kernel's device; leaves base.img, log.img and iolog.
record() {
	local disk data meta
	format_file "$LAB_TMP/base.img" --sector-size "$block_size"
	cp --sparse=always "$LAB_TMP/base.img" "$LAB_TMP/run.img"
	recorded_pair "$LAB_TMP/run.img" "$LAB_TMP/log.img"
	disk=$(kernel_open "$meta" "$data" journal)
	load "$disk"
	kernel_close "$disk"
	recording_ends
	rm "$LAB_TMP/run.img"
}

# judge SEED
judge() {
	local data meta mode theirs kernel_data kernel_meta
	make_cut "$LAB_TMP/kernel.img" "$1"
	for mode in journal direct; do
		cp --sparse=always "$LAB_TMP/kernel.img" "$LAB_TMP/$mode.img"
	done
	pair_over "$LAB_TMP/kernel.img"
	kernel_data=$data
	kernel_meta=$meta
	theirs=$(kernel_open "$meta" "$data" journal)
	"$LAB_DIR/power_log" check "$theirs" "$LAB_TMP/durable"
	for mode in journal direct; do
		pair_over "$LAB_TMP/$mode.img"
		"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null
		judge_ours "$mode" "$theirs"
		pair_off
	done
	kernel_close "$theirs"
	loop_off "$kernel_data"
	loop_off "$kernel_meta"
	say "block size $block_size, $(<"$LAB_TMP/cut.said")"
}

# judge_ours MODE THEIRS
judge_ours() {
	local ours
	quick_backstore cut "$data" "$meta" "mode=$1"
	ours=$(loop_login cut)
	"$LAB_DIR/power_log" check "$ours" "$LAB_TMP/durable"
	assert_same_bytes "$ours" "$2"
	logout cut
	backstore_remove cut
	"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null
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
