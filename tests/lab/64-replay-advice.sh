#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# check counts what a crash image's journal holds, without writing; the kernel's replay, in mode journal (which
# leaves the journal as it is) and in mode direct (which erases it), changes nothing of what it says.
# lab: timeout=120
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

requires_command xz
requires_module loop

# image NAME: unpacks it and puts loop devices over both files; sets data and meta.
image() {
	tar -C "$LAB_TMP" -xJf "$LAB_DIR/../golden/$1.tar.xz"
	data=$(losetup --find --show "$LAB_TMP/$1.data")
	at_end losetup -d "$data"
	meta=$(losetup --find --show "$LAB_TMP/$1.meta")
	at_end losetup -d "$meta"
}

# open_and_close MODE
open_and_close() {
	kernel_close "$(kernel_open "$meta" "$data" "$1")"
}

# only_unwritten SECTORS: so many were never written; everything else matches.
only_unwritten() {
	local said
	drop_caches "$data" "$meta"
	said=$(assert_status 1 "$cli" check "$meta" --data-device "$data")
	assert_match "$said" "tag never written: $1 sectors"
	[[ $said != *'tags differ'* && $said != *'block and tag differ'* ]] || fail "mismatches: $said"
}

image J_wrap.act
only_unwritten 1688
open_and_close journal
only_unwritten 1688
open_and_close direct
only_unwritten 1688

image c3.torn
only_unwritten 1898
open_and_close direct
only_unwritten 1898
