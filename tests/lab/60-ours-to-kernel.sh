#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# What we formatted and tagged, the kernel's dm-integrity reads without a mismatch, in mode direct and in
# mode journal; what it writes then, our check agrees with. Superblock and journal are, byte for
# byte, what the kernel would have made.
# lab: timeout=240
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

mib=4
sectors=$((mib * 2048))
data=$(loop_dev $mib)
meta=$(loop_dev 4)
random_bytes "$LAB_TMP/random" $mib
cp "$LAB_TMP/random" "$LAB_TMP/wanted"

# fresh: random data, and metadata without a superblock.
fresh() {
	dd if="$LAB_TMP/random" of="$data" bs=1M oflag=direct status=none
	dd if=/dev/zero of="$meta" bs=1M count=4 oflag=direct status=none
}

# kernel_walk BLOCK_SIZE TAG START [option…]: direct reads all; journal reads all and overwrites some.
kernel_walk() {
	local block=$1 tag=$2 start=$3 dev
	shift 3
	dev=$(kernel_map "$(integrity_table "$data" "$start" "$tag" D "$meta" $sectors "block_size:$block" "$@")")
	assert_reads_as "$dev" "$LAB_TMP/wanted" $mib
	kernel_unmap "$dev"
	dev=$(kernel_map "$(integrity_table "$data" "$start" "$tag" J "$meta" $sectors "block_size:$block" "$@")")
	assert_reads_as "$dev" "$LAB_TMP/wanted" $mib
	dd if=/dev/urandom of="$dev" bs=64k seek=13 count=5 oflag=direct status=none
	read_all "$dev" "$LAB_TMP/wanted" $mib
	kernel_unmap "$dev"
	"$cli" check "$meta" --data-device "$data" --start "$start" >&2
	assert_same_bytes "$LAB_TMP/wanted" "$data"
}

try() {
	local block=$1 tag=$2 start=$3 salt=$4 ours=() theirs=()
	if [[ $salt == plain ]]; then
		ours=(--integrity-legacy-hmac)
	else
		theirs=(fix_hmac)
	fi
	say "blocks of $block, tags of $tag, start $start, $salt"
	fresh
	cp "$LAB_TMP/random" "$LAB_TMP/wanted"
	"$cli" format "$meta" --data-device "$data" --sector-size "$block" --tag-size "$tag" \
		--start "$start" --journal-size 300K --keep-data --batch-mode "${ours[@]}"
	kernel_walk "$block" "$tag" "$start" "${theirs[@]}"
}

try 512 4 0 salted
try 512 4 8 plain
try 4096 4 0 salted
try 4096 4 24 plain
try 1024 7 8 salted
try 2048 2 0 plain
try 4096 40 8 salted
try 512 1 0 salted

# same_as_kernel BLOCK_SIZE TAG START JOURNAL_SECTORS: the kernel formats a zeroed device with these
# values, we do; without salt, superblock and journal must be the same bytes.
same_as_kernel() {
	local block=$1 tag=$2 start=$3 journal=$4 dev end
	say "superblock and journal: blocks of $block, tags of $tag, start $start, journal $journal"
	fresh
	dev=$(kernel_map "$(integrity_table "$data" "$start" "$tag" D "$meta" $sectors "block_size:$block" "journal_sectors:$journal")")
	kernel_unmap "$dev"
	drop_caches "$meta"
	end=$("$cli" dump "$meta" --start "$start" | awk '$1 == "tag_offset" { print $2 }')
	head -c "$end" "$meta" >"$LAB_TMP/theirs"
	fresh
	"$cli" format "$meta" --data-device "$data" --sector-size "$block" --tag-size "$tag" --start "$start" \
		--journal-size $((journal * 512)) --integrity-legacy-hmac --no-wipe --batch-mode
	drop_caches "$meta"
	head -c "$end" "$meta" >"$LAB_TMP/ours"
	assert_same_bytes "$LAB_TMP/theirs" "$LAB_TMP/ours"
}

same_as_kernel 512 4 0 700
same_as_kernel 512 7 8 1
same_as_kernel 4096 4 0 1200
same_as_kernel 2048 32 24 2000
# More than fits: both take what does.
same_as_kernel 1024 4 0 1000000

# The default wipe: zeros everywhere, readable by the kernel; with the journal's default size.
fresh
"$cli" format "$meta" --data-device "$data" --sector-size 4096 --batch-mode
head -c $((mib << 20)) /dev/zero >"$LAB_TMP/wanted"
kernel_walk 4096 4 0 fix_hmac

# Without wiping, nothing can be read until it is written.
fresh
"$cli" format "$meta" --data-device "$data" --no-wipe --batch-mode
dev=$(kernel_map "$(integrity_table "$data" 0 4 D "$meta" $sectors fix_hmac)")
dd if=/dev/urandom of="$dev" bs=4k seek=1 count=1 oflag=direct status=none
dd if="$dev" of=/dev/null bs=4k skip=1 count=1 iflag=direct status=none
assert_match "$(assert_fails dd if="$dev" of=/dev/null bs=4k skip=2 count=1 iflag=direct)" 'Input/output|Invalid or incomplete'
kernel_unmap "$dev"
checked=$(assert_status 1 "$cli" check "$meta" --data-device "$data")
assert_match "$checked" "tag never written: $((sectors - 8)) sectors"
