#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A journal that is not replayed yet: dump shows it, check takes it into account and writes nothing, check --replay
# and every open, ours and the kernel's, in mode journal and in mode direct, bring home what it holds. After each
# the other mode opens the pair.
# lab: timeout=600
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-journal.sh
. "${BASH_SOURCE[0]%/*}/lib-journal.sh"

mib=8
data=$(faulty_dev "$(loop_dev $mib)")
meta=$(loop_dev 4)
format_pair "$meta" "$data" --journal-size 600K
truncate -s ${mib}M "$LAB_TMP/want"
start_runner

# scribble DISK: some writes, flushed; the same into $LAB_TMP/want.
scribble() {
	local n lba blocks
	for n in 1 2 3 4 5; do
		blocks=$((8 * (1 + RANDOM % 8)))
		lba=$((RANDOM % (mib * 2048 - 64)))
		dd if=/dev/urandom of="$LAB_TMP/piece" bs=512 count=$blocks status=none
		dd if="$LAB_TMP/piece" of="$1" bs=$((blocks * 512)) count=1 seek=$((lba * 512)) \
			oflag=direct,seek_bytes conv=notrunc,nocreat status=none
		dd if="$LAB_TMP/piece" of="$LAB_TMP/want" bs=512 seek=$lba conv=notrunc status=none
	done
	blockdev --flushbufs "$1"
}

# our_turn MODE: everything is there; some more is written; a clean close.
our_turn() {
	local disk
	quick_backstore turn "$data" "$meta" "mode=$1"
	disk=$(loop_login turn)
	assert_same_bytes "$disk" "$LAB_TMP/want"
	scribble "$disk"
	sg_sync "$disk"
	assert_same_bytes "$disk" "$LAB_TMP/want"
	logout turn
	backstore_remove turn
	assert_eq "$(dump_value "$meta" journal_state)" empty "the journal after our mode $1"
	"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null
}

# kernels_turn MODE: likewise.
kernels_turn() {
	local disk
	disk=$(kernel_open "$meta" "$data" "$1")
	assert_same_bytes "$disk" "$LAB_TMP/want"
	scribble "$disk"
	assert_same_bytes "$disk" "$LAB_TMP/want"
	kernel_close "$disk"
	"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null
}

# unfinished_turn: mode journal, ours, and a close that cannot write anything out.
unfinished_turn() {
	local disk entries
	quick_backstore turn "$data" "$meta" mode=journal
	disk=$(loop_login turn)
	assert_same_bytes "$disk" "$LAB_TMP/want"
	scribble "$disk"
	sg_sync "$disk"
	fail_all "$data"
	logout turn
	backstore_remove turn
	heal "$data"
	# As after a reboot: what a runner that is gone kept in memory is gone, too.
	rm -f /run/tcmu-integrity/*
	assert_match "$(dump_value "$meta" journal_state)" '^(full|partial)_ring$' 'the journal that was left'
	entries=$(dump_value "$meta" journal_replay_entries)
	assert_between "$entries" 1 320 'entries that are left'
	assert_match "$("$cli" dump "$meta" --json)" "\"replay_entries\": *$entries" 'the same in JSON'
}

digests() {
	blockdev --flushbufs "$data" "$meta"
	sha256sum "$data" "$meta"
}

say 'dump and check write nothing, and know what the journal holds'
unfinished_turn
before=$(digests)
"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null
"$cli" dump "$meta" >/dev/null
assert_eq "$(digests)" "$before" 'the devices after dump and check'
# What the devices hold in place of the journal's blocks does not count; anything else does.
free=$((mib * 2048 - 1)) # scribble never gets there
damage "$data" $free
assert_match "$(assert_status 1 "$cli" check "$meta" --data-device "$data" --batch-mode)" "$free" 'what check lists'
dd if=/dev/zero of="$data" bs=512 count=1 seek=$free oflag=direct conv=notrunc,nocreat status=none
"$cli" check "$meta" --data-device "$data" --batch-mode --replay >/dev/null
assert_eq "$(dump_value "$meta" journal_state)" empty 'the journal after check --replay'
assert_same_bytes "$data" "$LAB_TMP/want"

# Whoever only looks leaves nothing to replay; the kernel writes nothing then, neither at open nor at close.
say 'unfinished, then our open and close without a write'
unfinished_turn
quick_backstore turn "$data" "$meta" mode=journal
disk=$(loop_login turn)
assert_same_bytes "$disk" "$LAB_TMP/want"
logout turn
backstore_remove turn
assert_eq "$(dump_value "$meta" journal_state)" empty 'the journal that was only replayed'
assert_eq "$(dump_value "$meta" journal_used_entries)" 0 'entries in it'
before=$(digests)
disk=$(kernel_open "$meta" "$data" journal)
assert_same_bytes "$disk" "$LAB_TMP/want"
kernel_close "$disk"
assert_eq "$(digests)" "$before" 'the devices after the kernel has had them open'

for next in journal direct; do
	say "unfinished, then our mode $next"
	unfinished_turn
	our_turn $next
	say "unfinished, then the kernel's mode $next"
	unfinished_turn
	kernels_turn $next
done
say 'from mode to mode'
our_turn direct
our_turn journal
kernels_turn direct
our_turn journal
kernels_turn journal
our_turn direct
kernels_turn journal
our_turn journal
assert_runner_alive
