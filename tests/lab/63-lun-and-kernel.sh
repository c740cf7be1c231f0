#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A LUN of ours and the kernel's dm-integrity take turns on the same pair: what an initiator wrote through the
# LUN the kernel reads without a mismatch, what the kernel wrote the LUN reads, and so on, in either's format.
# lab: timeout=300
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

mib=4
sectors=$((mib * 2048))
data=$(loop_dev $mib)
meta=$(loop_dev 4)
wanted=$LAB_TMP/wanted
start_runner

# scribble DEV BLOCK_SIZE SEED: writes of many sizes and places, into DEV and into what is wanted.
scribble() {
	local dev=$1 block=$2 seed=$3 n size place
	RANDOM=$seed
	for n in 1 2 4 6 8 10 12 14; do
		size=$((block * (1 + RANDOM % (n * n))))
		place=$((RANDOM * 32768 % ((mib << 20) - size) / block * block))
		head -c $size /dev/urandom >"$LAB_TMP/piece"
		dd if="$LAB_TMP/piece" of="$dev" bs=$size count=1 oflag=direct,seek_bytes seek=$place conv=notrunc status=none
		dd if="$LAB_TMP/piece" of="$wanted" bs=$size count=1 oflag=seek_bytes seek=$place conv=notrunc status=none
	done
}

# lun_turn BLOCK_SIZE START SEED: log in, read everything, write, flush, read everything, log out.
lun_turn() {
	local block=$1 start=$2 seed=$3 disk
	backstore turn "$data" "$meta" "hw_block_size=$block" "start=$start" size=$((mib << 20))
	disk=$(loop_login turn)
	read_all "$disk" "$LAB_TMP/read" $mib
	assert_same_bytes "$LAB_TMP/read" "$wanted"
	scribble "$disk" "$block" "$seed"
	sg_sync "$disk"
	read_all "$disk" "$LAB_TMP/read" $mib
	assert_same_bytes "$LAB_TMP/read" "$wanted"
	logout turn
	backstore_remove turn
	"$cli" check "$meta" --data-device "$data" --start "$start" >&2
	assert_same_bytes "$wanted" "$data"
}

# kernel_turn BLOCK_SIZE START SEED MODE TAG [option…]
kernel_turn() {
	local block=$1 start=$2 seed=$3 mode=$4 tag=$5 dev
	shift 5
	dev=$(kernel_map "$(integrity_table "$data" "$start" "$tag" "$mode" "$meta" $sectors "block_size:$block" "$@")")
	assert_reads_as "$dev" "$wanted" $mib
	scribble "$dev" "$block" "$seed"
	assert_reads_as "$dev" "$wanted" $mib
	kernel_unmap "$dev"
}

zero_both() {
	dd if=/dev/zero of="$data" bs=1M count=$mib oflag=direct status=none
	dd if=/dev/zero of="$meta" bs=1M count=4 oflag=direct status=none
	head -c $((mib << 20)) /dev/zero >"$wanted"
}

# in_turns BLOCK_SIZE START TAG [option…]: the pair is formatted and zero.
in_turns() {
	local block=$1 start=$2 tag=$3
	shift 3
	lun_turn "$block" "$start" 1
	kernel_turn "$block" "$start" 2 D "$tag" "$@"
	lun_turn "$block" "$start" 3
	kernel_turn "$block" "$start" 4 J "$tag" "$@"
	"$cli" check "$meta" --data-device "$data" --start "$start" >&2
}

formatted_by_us() {
	say "formatted by us: blocks of $1, salted"
	zero_both
	"$cli" format "$meta" --data-device "$data" --sector-size "$1" --batch-mode
	in_turns "$1" 0 4 fix_hmac
}

formatted_by_the_kernel() {
	local dev
	say "formatted by the kernel: blocks of $1, plain"
	zero_both
	dev=$(kernel_map "$(integrity_table "$data" 8 4 D "$meta" $sectors "block_size:$1")")
	dd if=/dev/zero of="$dev" bs=1M count=$mib oflag=direct status=none
	kernel_unmap "$dev"
	in_turns "$1" 8 4
}

formatted_by_us 512
formatted_by_the_kernel 4096
if [[ -n $LAB_SOAK ]]; then
	formatted_by_us 4096
	formatted_by_the_kernel 512
fi

say 'formatted by integritysetup with its defaults'
zero_both
kernel_format "$meta" "$data"
in_turns 512 0 4 fix_hmac

say 'formatted by us: blocks of 4096, tags of 7 bytes, plain'
zero_both
"$cli" format "$meta" --data-device "$data" --sector-size 4096 --tag-size 7 --start 24 \
	--integrity-legacy-hmac --batch-mode
in_turns 4096 24 7
assert_runner_alive
