#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# check refuses a crash image, whose journal holds entries, and says what to do; doing just that makes it a
# pair that it checks. Opening in mode journal would not: without a write that leaves the journal as it is.
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

refused() {
	local said
	drop_caches "$data" "$meta"
	said=$(assert_status 3 "$cli" check "$meta" --data-device "$data")
	assert_match "$said" "$1 entries in its journal"
	assert_match "$said" 'integritysetup open --integrity-no-journal'
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
refused 88
open_and_close journal
refused 88
open_and_close direct
only_unwritten 1688

image c3.torn
refused 100
open_and_close direct
only_unwritten 1898
