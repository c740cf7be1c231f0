#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A recalculation that is interrupted half-way, by a close or by a power cut, is ended by the other one: ours by
# the kernel, the kernel's by us; after a crash in mode bitmap, and after format --recalculate. Then every tag
# matches, and the data is what it was.
# lab: timeout=300 soak_timeout=1200 mem=1500M
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-journal.sh
. "${BASH_SOURCE[0]%/*}/lib-journal.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

# The kernel recalculates in chunks of 16 MiB.
mib=64
sectors=$((mib * 2048))
bit_sectors=256
data=$(loop_dev $mib)
meta=$(loop_dev 4)
copied_data=$(loop_dev $mib)
copied_meta=$(loop_dev 4)
wanted=$LAB_TMP/wanted
random_bytes "$wanted" $mib

# copy_pair DATA META TO_DATA TO_META: as a power cut would leave it now.
copy_pair() {
	drop_caches "$@"
	dd if="$1" of="$3" bs=1M iflag=direct oflag=direct status=none
	dd if="$2" of="$4" bs=1M iflag=direct oflag=direct status=none
}

kernel_mode() {
	local -A letter=([journal]=J [direct]=D [bitmap]=B)
	echo "${letter[$1]}"
}

# kernel_begin DATA META MODE: opened by the kernel, which goes on with what is to be recalculated; sets dev.
kernel_begin() {
	local option=()
	[[ $3 != bitmap ]] || option=("sectors_per_bit:$bit_sectors" bitmap_flush_interval:600000)
	drop_caches "$1" "$2"
	dev=$(kernel_map "$(integrity_table "$1" 0 - "$(kernel_mode "$3")" "$2" $sectors "${option[@]}")")
}

kernel_at() {
	dmsetup status "${dev#/dev/mapper/}" | awk '{ print $6 }'
}

kernel_is_done() {
	[[ $(kernel_at) == "$sectors" ]]
}

runner_log_count() {
	grep -ac "$1" "$runner_log" || :
}

# To be recalculated still, as the medium says: sectors, of whole regions in mode bitmap.
sectors_left() {
	local dirty
	drop_caches "$1"
	dirty=$(dump_value "$1" bitmap_dirty)
	if [[ -n $dirty ]]; then
		echo $((dirty * bit_sectors))
	else
		echo $((sectors - $(dump_value "$1" recalc_sector)))
	fi
}

is_whole() {
	drop_caches "$1" "$2"
	"$cli" check "$2" --data-device "$1" --batch-mode >&2
	assert_same_bytes "$1" "$wanted"
}

# kernel_ends DATA META MODE
kernel_ends() {
	say "the kernel ends it, $(sectors_left "$2") of $sectors sectors are left"
	kernel_begin "$@"
	wait_for 60 kernel_is_done
	read_all "$dev" /dev/null $mib
	assert_eq "$(mismatches_seen "$dev")" 0 'mismatches that the kernel counted'
	kernel_unmap "$dev"
	is_whole "$1" "$2"
}

# we_end DATA META MODE
we_end() {
	local before
	before=$(runner_log_count 'recalculation ends')
	we_are_done() {
		[[ $(runner_log_count 'recalculation ends') -gt $before ]]
	}
	say "we end it, $(sectors_left "$2") of $sectors sectors are left"
	quick_backstore ending "$1" "$2" "mode=$3"
	wait_for 60 we_are_done
	backstore_remove ending
	assert_match "$(grep -a 'recalculation ends' "$runner_log" | tail -n 1)" ' mismatches=0 unreadable_sectors=0'
	is_whole "$1" "$2"
}

# we_begin MODE: at half of it, the pair is copied, and then closed.  How far it is is saved every 10 s: a copy that
# is older is to be recalculated from the beginning.
we_begin() {
	local rate=8 seconds=4
	if [[ -n ${LAB_SOAK:-} ]]; then
		rate=4
		seconds=12
	fi
	quick_backstore beginning "$data" "$meta" "mode=$1" recalculate_rate=$rate
	sleep $seconds
	copy_pair "$data" "$meta" "$copied_data" "$copied_meta"
	backstore_remove beginning
	assert_between "$(sectors_left "$meta")" 1 $((sectors - 1)) 'sectors that are left'
}

# the_kernel_begins MODE: likewise.
the_kernel_begins() {
	local slow
	slow=$(delay_dev "$data" 1000 0 0)
	kernel_begin "$slow" "$meta" "$1"
	is_half_way() {
		[[ $(kernel_at) -ge $((sectors / 4)) ]]
	}
	wait_for 60 is_half_way
	copy_pair "$data" "$meta" "$copied_data" "$copied_meta"
	say "the kernel is at $(kernel_at) of $sectors"
	! kernel_is_done || fail 'the kernel was done already'
	kernel_unmap "$dev"
	dm_remove "${slow#/dev/mapper/}"
	drop_caches "$meta"
}

# crashed_in_mode_bitmap: the wanted data, every region dirty, and the tags of some blocks wrong.
crashed_in_mode_bitmap() {
	local n
	"$cli" format "$copied_meta" --data-device "$copied_data" --bitmap-sectors-per-bit $bit_sectors --force \
		--no-wipe --batch-mode --yes >&2
	kernel_begin "$copied_data" "$copied_meta" bitmap
	dd if="$wanted" of="$dev" bs=1M oflag=direct conv=fsync status=none
	copy_pair "$copied_data" "$copied_meta" "$data" "$meta"
	kernel_unmap "$dev"
	for ((n = 0; n < 64; n++)); do
		dd if=/dev/urandom of="$meta" bs=512 count=1 seek=$((($(dump_value "$meta" tag_offset) / 512) + n * 16)) \
			oflag=direct conv=notrunc,nocreat status=none
	done
	drop_caches "$meta"
}

to_be_recalculated() {
	dd if="$wanted" of="$data" bs=1M oflag=direct status=none
	"$cli" format "$meta" --data-device "$data" --bitmap-sectors-per-bit $bit_sectors --recalculate --force \
		--batch-mode --yes >&2
	drop_caches "$meta"
}

# hand_over STATE MODE
hand_over() {
	say "$1, mode $2: we begin"
	"$1"
	we_begin "$2"
	kernel_ends "$data" "$meta" "$2"
	kernel_ends "$copied_data" "$copied_meta" "$2"
	say "$1, mode $2: the kernel begins"
	"$1"
	the_kernel_begins "$2"
	we_end "$data" "$meta" "$2"
	we_end "$copied_data" "$copied_meta" "$2"
}

start_runner
hand_over crashed_in_mode_bitmap bitmap
hand_over to_be_recalculated direct
if [[ -n ${LAB_SOAK:-} ]]; then
	hand_over crashed_in_mode_bitmap direct
	hand_over crashed_in_mode_bitmap journal
	hand_over to_be_recalculated bitmap
	hand_over to_be_recalculated journal
fi
assert_runner_alive
