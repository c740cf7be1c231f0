#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A LUN in mode journal takes memory for its journal and its tag cache, and none for its size: one of 16 TiB takes
# what one of 16 GiB takes, also after reads and writes all over it. Opening it clean takes less than a second, or
# on a busy machine at least no longer than a small one does.
# lab: timeout=300 alone=1
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-journal.sh
. "${BASH_SOURCE[0]%/*}/lib-journal.sh"

cache_mb=8
# dm-integrity's default for all but small devices.
journal_kib=65536

resident_kib() {
	awk '$1 == "VmRSS:" { print $2 }' "/proc/$(runner_pid)/status"
}

# measure GIB: sets open_ms, the best of three, and grown_kib, of the runner that serves the LUN.
measure() {
	local gib=$1 data meta disk n ms before
	data=$(loop_dev $((gib << 10)))
	# 4 bytes for each 512, and room for the journal.
	meta=$(loop_dev $(((gib << 3) + 128)))
	format_pair "$meta" "$data" --no-wipe --journal-size "${journal_kib}K"
	start_runner
	before=$(resident_kib)
	open_ms=
	for n in 1 2 3; do
		ms=$(ms_of quick_backstore "lun$gib" "$data" "$meta" mode=journal cache_mb=$cache_mb)
		[[ -n $open_ms && $open_ms -le $ms ]] || open_ms=$ms
		[[ $n -eq 3 ]] || backstore_remove "lun$gib"
	done
	disk=$(loop_login "lun$gib")
	fio_run all_over "$disk" --ioengine=libaio --iodepth=32 --rw=randwrite --bs=4k --size=100% --io_size=16m \
		--norandommap --random_generator=tausworthe64 --fsync=100
	fio_run there "$disk" --ioengine=libaio --iodepth=32 --rw=write --bs=64k --size=48m \
		--verify=crc32c --do_verify=1
	grown_kib=$(($(resident_kib) - before))
	logout "lun$gib"
	backstore_remove "lun$gib"
	assert_runner_alive
	stop_runner
	say "$gib GiB: opened in $open_ms ms, the runner grew by $grown_kib KiB"
}

measure 16
small_kib=$grown_kib
small_ms=$open_ms
measure $((16 << 10))

# Beside the journal's sections: 32 bytes for each entry of 512 + 16 bytes, bounce buffers, requests, the queue.
bound=$((journal_kib * 109 / 100 + cache_mb * 1024 + 24 * 1024))
say "ratio of memory 16 TiB / 16 GiB: $((grown_kib * 100 / small_kib)) %, of opening: $((open_ms * 100 / small_ms)) %"
assert_between "$grown_kib" 1 "$bound" 'KiB that the runner grew by'
assert_between $((grown_kib - small_kib)) -4096 4096 'KiB that 16 TiB take more than 16 GiB'
# On a machine that is busy with other things everything takes longer, the small one too.
bound_ms=$((small_ms * 3 / 2 > 1000 ? small_ms * 3 / 2 : 1000))
assert_between "$open_ms" 1 "$bound_ms" 'ms of a clean open'
