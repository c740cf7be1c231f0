#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# Mode recovery: whatever state a pair is in, it can be read, tags that do not match included, and not a byte of it
# changes; the initiator sees a disk that is write-protected. Among the states is a dirty bitmap of the kernel's, which
# the kernel itself cannot open in this mode (6.1 crashes).
# lab: timeout=200
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

requires_command sg_modes sg_sync sg_raw
mib=8
sectors=$((mib * 2048))
data=$(loop_dev $mib)
meta=$(loop_dev 2)
crash_data=$(loop_dev $mib)
crash_meta=$(loop_dev 2)

# crash_image LETTER STATE [option…]: what the kernel leaves when the power goes.
crash_image() {
	local dev
	"$cli" format "$meta" --data-device "$data" --journal-size 300K --force --batch-mode >&2
	dev=$(kernel_map "$(integrity_table "$data" 0 - "$1" "$meta" $sectors fix_hmac "${@:3}")")
	dd if=/dev/urandom of="$dev" bs=64k count=5 seek=2 oflag=direct conv=fsync status=none
	drop_caches "$data" "$meta" "$crash_data" "$crash_meta"
	dd if="$data" of="$crash_data" bs=1M iflag=direct oflag=direct status=none
	dd if="$meta" of="$crash_meta" bs=1M iflag=direct oflag=direct status=none
	kernel_unmap "$dev"
	drop_caches "$crash_meta"
	"$cli" dump "$crash_meta" >"$LAB_TMP/dump"
	assert_match "$(<"$LAB_TMP/dump")" "$2"
}

only_read() {
	local disk sg
	damage "$crash_data" 9000 # and nobody looks at its tag
	dd if="$crash_data" of="$LAB_TMP/data" bs=1M iflag=direct status=none
	dd if="$crash_meta" of="$LAB_TMP/meta" bs=1M iflag=direct status=none
	backstore disk "$crash_data" "$crash_meta" mode=recovery "$@"
	disk=$(loop_login disk)
	assert_eq "$(<"/sys/block/${disk##*/}/ro")" 1 'the initiator sees it read-only'
	assert_match "$(sg_modes --page=8 "$disk")" 'WP=1'
	read_all "$disk" "$LAB_TMP/read" $mib
	assert_same_bytes "$LAB_TMP/read" "$LAB_TMP/data"
	# The kernel opens the disk itself for reading only.
	sg=$(echo "/sys/block/${disk##*/}/device/scsi_generic/"*)
	sg=/dev/${sg##*/}
	assert_sense "$(write_sense "$sg" 8 8)" 'Data Protect' 'Write protected'
	# WRITE SAME(10) of one block.
	assert_sense "$(sense "$sg" -s 512 41 00 00 00 00 08 00 00 08 00)" 'Data Protect' 'Write protected'
	assert_fails dd if=/dev/zero of="$disk" bs=4k count=1 oflag=direct status=none >/dev/null
	sg_sync "$sg"
	logout disk
	backstore_remove disk
	drop_caches "$crash_data" "$crash_meta"
	assert_same_bytes "$LAB_TMP/data" "$crash_data"
	assert_same_bytes "$LAB_TMP/meta" "$crash_meta"
}

start_runner
say 'a journal that is not empty'
crash_image J 'journal_state +(full|partial)_ring' journal_watermark:99
only_read
say 'a dirty bitmap, with discards allowed'
crash_image B 'bitmap_dirty +[1-9]' bitmap_flush_interval:600000
only_read allow_discards=1
say 'a pair that was never closed in mode direct'
crash_image D 'journal_state +empty'
only_read

say 'and afterwards it is opened as ever'
backstore disk "$crash_data" "$crash_meta" mode=journal
disk=$(loop_login disk)
assert_eq "$(<"/sys/block/${disk##*/}/ro")" 0 'writable again'
assert_sense "$(read_sense "$disk" 9000 1)" 'Medium Error' 'Unrecovered read error' 9000
dd if=/dev/urandom of="$disk" bs=512 seek=9000 count=1 oflag=direct conv=fsync status=none
logout disk
backstore_remove disk
drop_caches "$crash_data" "$crash_meta"
"$cli" check "$crash_meta" --data-device "$crash_data" --batch-mode >&2
assert_runner_alive
