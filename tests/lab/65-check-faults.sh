#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# check on devices that fail: unreadable places are named to the block, on either device, and the rest is
# checked all the same. format on failing, full-block and read-only devices leaves no half-made pair.
# lab: timeout=180
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

mib=16
loop=$(loop_dev $mib)
data=$(faulty_dev "$loop")
meta=$(faulty_dev "$(loop_dev 4)")
random_bytes "$data" $mib
"$cli" format "$meta" --data-device "$data" --keep-data --journal-size 88K --batch-mode
"$cli" check "$meta" --data-device "$data" >&2

say 'an unreadable sector of the data device, and damage behind it'
dd if=/dev/zero of="$loop" bs=512 seek=20000 count=2 oflag=direct conv=notrunc status=none
fail_range "$data" 9999 1
said=$(assert_status 4 "$cli" check "$meta" --data-device "$data")
assert_match "$said" 'sector 9999 \(bytes 5119488 to 5119999\): data device unreadable'
assert_match "$said" 'sectors 20000 to 20001 .*: block and tag differ'
assert_match "$said" 'checked all 32768 sectors'
heal "$data"
said=$(assert_status 1 "$cli" check "$meta" --data-device "$data")
[[ $said != *unreadable* ]] || fail "unreadable after healing: $said"

say 'an unreadable sector of the metadata device: the 128 tags in it'
# The tags begin behind the superblock and one section of 176 sectors.
fail_range "$meta" $((8 + 176 + 3)) 1
said=$(assert_status 4 "$cli" check "$meta" --data-device "$data")
assert_match "$said" 'sectors 384 to 511 .*: tag unreadable'
assert_match "$said" 'sectors 20000 to 20001 .*: block and tag differ'
heal "$meta"

say 'a superblock that cannot be read'
fail_range "$meta" 0 1
assert_match "$(assert_status 4 "$cli" dump "$meta")" 'superblock at sector 0 of .*: Input/output error'
assert_match "$(assert_status 4 "$cli" check "$meta" --data-device "$data")" 'Input/output error'
heal "$meta"

say 'writes that fail: no pair'
fail_writes "$data"
assert_match "$(assert_status 4 "$cli" format "$meta" --data-device "$data" --force --batch-mode)" 'is not formatted'
heal "$data"
assert_match "$(assert_status 3 "$cli" check "$meta" --data-device "$data")" 'not finished'
fail_writes "$meta"
assert_match "$(assert_status 4 "$cli" format "$meta" --data-device "$data" --force --batch-mode)" 'is not formatted'
heal "$meta"
"$cli" format "$meta" --data-device "$data" --batch-mode
"$cli" check "$meta" --data-device "$data" >&2

say 'stopped half way: no pair, and the signal is in the status'
slow=$(delay_dev "$loop" 0 3000 0)
dm_remove "${data#/dev/mapper/}"
"$cli" format "$meta" --data-device "$slow" --force --batch-mode 2>"$LAB_TMP/said" &
pid=$!
sleep 0.5
kill -INT $pid
status=0
wait $pid || status=$?
assert_eq $status 130 'status after SIGINT'
assert_match "$(<"$LAB_TMP/said")" 'stopped at sector [0-9]+ of 32768; .* is not formatted'
assert_match "$(assert_status 3 "$cli" dump "$meta")" 'not finished'
set_delay "$slow" 0 0 0

say 'read-only devices'
"$cli" format "$meta" --data-device "$slow" --batch-mode
blockdev --setro "$loop"
readonly_data=$loop
dm_remove "${slow#/dev/mapper/}"
"$cli" check "$meta" --data-device "$readonly_data" >&2
assert_match "$(assert_status 3 "$cli" format "$meta" --data-device "$readonly_data" --force --yes)" 'read-only'
blockdev --setrw "$loop"
"$cli" check "$meta" --data-device "$loop" >&2

say 'disks with sectors of 4096 bytes'
data4k=$(loop_dev 8 -b 4096)
meta4k=$(loop_dev 4 -b 4096)
assert_match "$(assert_status 3 "$cli" format "$meta4k" --data-device "$data4k" --yes)" 'sector-size 4096'
assert_match "$(assert_status 3 "$cli" format "$meta4k" --data-device "$data4k" --sector-size 4096 --start 9 --yes)" 'multiple of 8'
for tag in 4 7; do
	"$cli" format "$meta4k" --data-device "$data4k" --sector-size 4096 --tag-size $tag --start 8 --force --batch-mode
	dev=$(kernel_map "$(integrity_table "$data4k" 8 $tag D "$meta4k" 16384 block_size:4096 fix_hmac)")
	head -c 8M /dev/zero >"$LAB_TMP/zeros"
	assert_reads_as "$dev" "$LAB_TMP/zeros" 8
	dd if=/dev/urandom of="$dev" bs=4k seek=100 count=700 oflag=direct status=none
	kernel_unmap "$dev"
	"$cli" check "$meta4k" --data-device "$data4k" --start 8 >&2
done
