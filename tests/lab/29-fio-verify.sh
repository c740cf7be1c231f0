#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# What fio writes over iSCSI it reads back, whatever the size, the order, the depth and the alignment.
# lab: timeout=600
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

requires_command fio
size=16m
[[ -z ${LAB_SOAK:-} ]] || size=160m

data=$(loop_dev 256)
meta=$(loop_dev 16)

# verify DISK NAME [fio option…]
verify() {
	local disk=$1 name=$2
	shift 2
	say "fio $name"
	fio --name="$name" --filename="$disk" --direct=1 --ioengine=libaio --size=$size --verify=crc32c \
		--verify_fatal=1 --do_verify=1 --randrepeat=0 --group_reporting --minimal "$@" \
		>"$LAB_TMP/fio.out" 2>&1 || fail "fio $name: $(tail -n 20 "$LAB_TMP/fio.out")"
}

# run_all BLOCK_SIZE
run_all() {
	local bs=$1 disk
	format_pair "$meta" "$data" --no-wipe --force --sector-size "$bs"
	backstore "lun$bs" "$data" "$meta" hw_block_size="$bs"
	disk=$(iscsi_login "lun$bs")
	verify "$disk" "$bs-random-4k-qd1" --rw=randwrite --bs=4k --iodepth=1 --io_size=2m
	verify "$disk" "$bs-random-4k-qd64" --rw=randwrite --bs=4k --iodepth=64
	verify "$disk" "$bs-sequential-64k-qd16" --rw=write --bs=64k --iodepth=16
	verify "$disk" "$bs-sequential-1m-qd4" --rw=write --bs=1m --iodepth=4
	verify "$disk" "$bs-random-1m-qd64" --rw=randwrite --bs=1m --iodepth=64
	# Any length and place that the block size permits; flushes in between.
	verify "$disk" "$bs-mixed-qd32" --rw=randwrite --bsrange="$bs-256k" --blockalign="$bs" \
		--iodepth=32 --fsync=50 --io_size=8m
	logout "lun$bs"
	backstore_remove "lun$bs"
}

start_runner
run_all 512
run_all 4096
assert_runner_alive
