#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# What the kernel's dm-integrity formatted and wrote, in every mode that has tags on disk after a clean close,
# our check finds clean; damage done to it underneath is found at its place.
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

zero_both() {
	dd if=/dev/zero of="$data" bs=1M count=$mib oflag=direct status=none
	dd if=/dev/zero of="$meta" bs=1M count=4 oflag=direct status=none
}

# expect_clean START: and the LUN's blocks are the data device's.
expect_clean() {
	drop_caches "$data" "$meta"
	"$cli" check "$meta" --data-device "$data" --start "$1" >&2
	assert_same_bytes "$LAB_TMP/random" "$data"
}

# flip_byte DEV OFFSET
flip_byte() {
	local byte
	byte=$(od -An -t u1 -j "$2" -N 1 "$1" | tr -d ' ')
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
	sync "$1"
	drop_caches "$1"
}

expect_damage() {
	local block=$1 start=$2 at=$3 said
	flip_byte "$data" "$at"
	said=$(assert_status 1 "$cli" check "$meta" --data-device "$data" --start "$start")
	assert_match "$said" "bytes $((at / block * block)) to $((at / block * block + block - 1))\\): block and tag differ"
	flip_byte "$data" "$at"
}

try() {
	local block=$1 tag=$2 start=$3 mode=$4 dev
	shift 4
	say "blocks of $block, tags of $tag, start $start, mode $mode, $*"
	zero_both
	dev=$(kernel_map "$(integrity_table "$data" "$start" "$tag" "$mode" "$meta" $sectors "block_size:$block" journal_sectors:600 "$@")")
	dd if="$LAB_TMP/random" of="$dev" bs=1M oflag=direct conv=fsync status=none
	kernel_unmap "$dev"
	expect_clean "$start"
	expect_damage "$block" "$start" 1234567
	expect_clean "$start"
}

try 512 4 0 D
try 512 4 8 J fix_hmac
try 512 2 0 D fix_hmac
try 4096 4 0 D fix_hmac
try 4096 4 16 J
try 4096 3 0 J fix_hmac
try 2048 40 0 D
try 1024 7 24 J fix_hmac
try 512 4 0 B fix_hmac
try 4096 4 0 B

# As integritysetup makes them when nobody tells it anything, and with its options.
try_setup() {
	local mode=$1 dev
	shift
	say "integritysetup, mode $mode, $*"
	zero_both
	kernel_format "$meta" "$data" "$@"
	# It has wiped the device: clean before the first write.
	drop_caches "$data" "$meta"
	"$cli" check "$meta" --data-device "$data" >&2
	dev=$(kernel_open "$meta" "$data" "$mode")
	dd if="$LAB_TMP/random" of="$dev" bs=1M oflag=direct conv=fsync status=none
	kernel_close "$dev"
	expect_clean 0
}

try_setup journal
try_setup direct
try_setup direct --sector-size 4096
try_setup journal --sector-size 4096 --tag-size 2
try_setup bitmap --integrity-legacy-hmac
