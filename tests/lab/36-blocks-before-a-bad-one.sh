#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A read that fails brings along what lies before the bad block, and says how much that is.  Linux' sd takes
# it for good: of several reads that became one command, those before the bad block succeed, with what was
# sent; nobody is handed what happened to be in memory.  Through tcm_loop and iSCSI, both sense formats.
# lab: timeout=150
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

blocks=16 # of 4096 bytes; the bad sector lies in number 12
bad=12

start_runner
data=$(loop_dev 32)
meta=$(loop_dev 8)
format_pair "$meta" "$data"
backstore lun "$data" "$meta"

# d_sense DISK 06|02: the Control page with D_SENSE, and without.
d_sense() {
	printf '%b' "\x00\x00\x00\x00\x0a\x0a\x$2\x10\x00\x40\x00\x00\xff\xff\x00\x00" >"$LAB_TMP/control"
	sg_raw -s 16 -i "$LAB_TMP/control" "$1" 15 10 00 00 10 00
}

# assert_reads_are_right_or_fail DISK
assert_reads_are_right_or_fail() {
	local seen n
	seen=$(merged_reads "$1" $blocks 65)
	say "$seen"
	[[ $seen != *wrong* ]] || fail 'a block was read without an error, and is wrong'
	for ((n = 0; n < bad; n++)); do
		[[ $seen == *"$n right"* ]] || fail "block $n lies before the bad one and was not read"
	done
	assert_match "$seen" "$bad (No data available|Input/output error)"
}

for login in loop_login iscsi_login; do
	disk=$($login lun)
	head -c $((blocks * 4096)) /dev/zero | tr '\0' 'A' |
		dd of="$disk" bs=$((blocks * 4096)) iflag=fullblock oflag=direct conv=notrunc,nocreat status=none
	sg_sync "$disk"
	damage "$data" $((bad * 8 + 4))
	assert_reads_are_right_or_fail "$disk"

	# With descriptors: D_SENSE of the Control page.
	d_sense "$disk" 06
	assert_reads_are_right_or_fail "$disk"
	d_sense "$disk" 02

	# A buffer that is longer than the answer, of a read and of an INQUIRY.
	assert_match "$(sg_raw -r 4096 -o "$LAB_TMP/got" "$disk" 28 00 00 00 00 00 00 00 01 00 2>&1)" \
		'512 bytes'
	assert_eq "$(wc -c <"$LAB_TMP/got")" 512 'bytes read'
	assert_match "$(sg_raw -r 255 -o "$LAB_TMP/got" "$disk" 12 01 83 00 ff 00 2>&1)" 'bytes of data'
	assert_eq "$(wc -c <"$LAB_TMP/got")" \
		$((4 + $(od -An -tu1 -j3 -N1 "$LAB_TMP/got"))) 'bytes of page 83h'
	logout lun
done
assert_runner_alive
