#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# integritysetup reads our superblock: its dump says what we were told to make, line by line what our own dump
# says, and it opens the pair in modes direct, journal and bitmap. Neither tool formats over the other.
# lab: timeout=180
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

mib=8
data=$(loop_dev $mib)
meta=$(loop_dev 4)
random_bytes "$LAB_TMP/random" $mib
dd if="$LAB_TMP/random" of="$data" bs=1M oflag=direct status=none

# field NAME TEXT: one value of a dump.
field() {
	sed -n "s/^$1 *\\(.*[^ ]\\) *$/\\1/p" <<<"$2"
}

# expect_dump NAME VALUE…: both tools.
expect_dump() {
	local theirs ours
	theirs=$(integritysetup dump "$meta")
	ours=$("$cli" dump "$meta")
	while [[ $# -gt 0 ]]; do
		assert_eq "$(field "$1" "$theirs")" "$2" "integritysetup's $1"
		assert_match "$(field "$1" "$ours")" "^$2( |\$)" "our $1"
		shift 2
	done
}

"$cli" format "$meta" --data-device "$data" --journal-size 352K --keep-data --batch-mode
expect_dump superblock_version 5 log2_interleave_sectors 0 integrity_tag_size 4 journal_sections 4 \
	provided_data_sectors $((mib * 2048)) sector_size 512 log2_blocks_per_bitmap 15 flags fix_hmac

for mode in direct journal bitmap; do
	say "integritysetup open, mode $mode"
	dev=$(kernel_open "$meta" "$data" $mode)
	assert_reads_as "$dev" "$LAB_TMP/random" $mib
	kernel_close "$dev"
	drop_caches "$data" "$meta"
	"$cli" check "$meta" --data-device "$data" >&2
done

# A pair that the kernel holds is not ours to touch, and we say who holds it.
dev=$(kernel_open "$meta" "$data" direct)
said=$(assert_status 3 "$cli" check "$meta" --data-device "$data")
assert_match "$said" 'in use'
assert_match "$said" "${dev#/dev/mapper/}"
assert_match "$(assert_status 3 "$cli" format "$meta" --data-device "$data" --force --yes)" 'in use'
"$cli" dump "$meta" >/dev/null
assert_reads_as "$dev" "$LAB_TMP/random" $mib
kernel_close "$dev"

said=$(assert_status 3 "$cli" format "$meta" --data-device "$data" --yes)
assert_match "$said" 'dm-integrity superblock'
"$cli" format "$meta" --data-device "$data" --sector-size 4096 --tag-size 7 --integrity-legacy-hmac \
	--bitmap-sectors-per-bit 256 --keep-data --force --batch-mode
expect_dump superblock_version 2 integrity_tag_size 7 provided_data_sectors $((mib * 2048)) sector_size 4096 \
	log2_blocks_per_bitmap 5
