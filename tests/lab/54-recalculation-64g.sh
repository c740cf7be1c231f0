#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# Recalculation of a pair of 64 GiB: ten kills of tcmu-runner cost what was done since the last save, and no more;
# it comes to its end, and every tag matches. Foreground reads of 4 KiB keep at least half of their rate meanwhile.
# lab: timeout=3000 mem=3G alone=1 soak=1
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-journal.sh
. "${BASH_SOURCE[0]%/*}/lib-journal.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

sectors=$((64 << 21))
# A save at least every 256 MiB, of which one may be under way.
save_sectors=$((2 * 256 << 11))
data=$(loop_dev $((64 << 10)))
meta=$(loop_dev 256)
block_size=4096
format_pair "$meta" "$data" --sector-size $block_size --recalculate

saved_sector() {
	drop_caches "$meta"
	dump_value "$meta" recalc_sector
}

runner_log_count() {
	grep -ac "$1" "$runner_log" || :
}

is_done() {
	runner_log_has 'recalculation ends'
}

begins_again() {
	[[ $(runner_log_count 'recalculation begins') -gt $1 ]]
}

# reads_per_s DEPTH: of the LUN, for 4 s.
reads_per_s() {
	fio --name=reads --filename="$disk" --direct=1 --ioengine=libaio --iodepth="$1" --rw=randread --bs=4k \
		--norandommap --random_generator=tausworthe64 --time_based --runtime=4 --minimal \
		2>"$LAB_TMP/fio.err" | awk -F ';' '{ print $8 }'
}

start_runner
began=$(now_ms)
quick_backstore large "$data" "$meta" mode=journal
disk=$(loop_login large)

has_moved() {
	[[ $(saved_sector) -gt $before ]]
}

say 'ten kills'
before=0
for ((n = 1; n <= 10; n++)); do
	wait_for 120 has_moved
	sleep "$((RANDOM % 3)).$((RANDOM % 10))"
	! is_done || fail "it has ended after $((n - 1)) kills already"
	begins=$(runner_log_count 'recalculation begins')
	kill_runner
	at=$(saved_sector)
	assert_between "$at" $((before + 1)) $((sectors - 1)) "sector that is saved at kill $n"
	start_runner
	wait_for 60 begins_again "$begins"
	from=$(grep -a 'recalculation begins' "$runner_log" | tail -n 1 | sed 's/.* sector=\([0-9]*\).*/\1/')
	assert_eq "$from" "$at" 'sector that it goes on from'
	say "kill $n: goes on from $((at >> 11)) MiB"
	before=$at
done

say 'reads meanwhile'
with1=$(reads_per_s 1)
with16=$(reads_per_s 16)
! is_done || fail 'it has ended before the reads were measured'
wait_for 120 has_moved
wait_for 2400 is_done
say "it took $((($(now_ms) - began) / 1000)) s"
without1=$(reads_per_s 1)
without16=$(reads_per_s 16)
say "4k reads per second with and without it: depth 1 $with1 $without1, depth 16 $with16 $without16;" \
	"ratio $((with1 * 100 / without1)) % and $((with16 * 100 / without16)) %"
# Half is the promise; what is less than a third is no noise.
assert_between $((with1 * 100 / without1)) 34 1000 '% of the reads at depth 1'
assert_between $((with16 * 100 / without16)) 34 1000 '% of the reads at depth 16'
assert_match "$(grep -a 'recalculation ends' "$runner_log")" ' mismatches=0 unreadable_sectors=0'
# The last lap did what the kills had left, and at most what each had cost again.
done_sectors=$(grep -a 'recalculation ends' "$runner_log" | sed 's/.*recalculated_sectors=\([0-9]*\).*/\1/')
assert_between "$done_sectors" 1 $((sectors - before + save_sectors)) 'sectors that the last runner recalculated'
logout large
backstore_remove large
began=$(now_ms)
"$cli" check "$meta" --data-device "$data" --batch-mode >&2
say "check took $((($(now_ms) - began) / 1000)) s"
