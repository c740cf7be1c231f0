#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A data device that has discards and no WRITE ZEROES, as dm-thin: with backend=threads what is discarded goes back to its
# pool; with io_uring, which cannot send a plain discard in Linux 6.1, it stays, and the discard is no failure. Either
# way the blocks can be read.
# lab: timeout=120
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

requires_command sg_unmap sg_sync
requires_module dm-thin-pool
mib=8
pool_data=$(loop_dev 16)
pool_meta=$(loop_dev 4)
meta=$(loop_dev 2)
# Chunks of 64 KiB.
pool=$(dm_dev "$(lab_new pool)" "0 $((16 * 2048)) thin-pool $pool_meta $pool_data 128 0 1 skip_block_zeroing")
dmsetup message "${pool##*/}" 0 'create_thin 0'
thin=$(dm_dev "$(lab_new thin)" "0 $((mib * 2048)) thin $pool 0")

chunks_used() {
	local used
	used=$(dmsetup status "${pool##*/}" | awk '{ print $6 }')
	echo "${used%/*}"
}

# discard BACKEND: the first 4 MiB of 8; `back` is how many chunks the pool got back.
discard() {
	local disk before
	backstore disk "$thin" "$meta" mode=journal allow_discards=1 "backend=$1"
	disk=$(loop_login disk)
	dd if=/dev/urandom of="$disk" bs=1M count=$mib oflag=direct conv=fsync status=none
	before=$(chunks_used)
	sg_unmap --lba=0 --num=8192 --force "$disk" >&2
	dd if="$disk" of=/dev/null bs=1M iflag=direct status=none
	sg_sync "$disk"
	logout disk
	backstore_remove disk
	blockdev --flushbufs "$thin" "$meta"
	"$cli" check "$meta" --data-device "$thin" --allow-discards --batch-mode >&2
	back=$((before - $(chunks_used)))
}

format_pair "$meta" "$thin"
start_runner
say 'backend=threads'
discard threads
assert_eq "$back" 64 'chunks that went back to the pool'
say 'backend=uring'
discard uring
assert_eq "$back" 0 'chunks that went back to the pool'
assert_runner_alive
