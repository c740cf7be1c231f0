#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# What fio writes over iSCSI it reads back, whatever the size, the order, the depth and the alignment, with both
# back-ends.  On its way between tcmu's ring and the data device no byte of it is copied.
# lab: timeout=900
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

# run_all BLOCK_SIZE BACKEND
run_all() {
	local bs=$1 backend=$2 lun=$2$1 disk
	say "blocks of $bs bytes, $backend"
	format_pair "$meta" "$data" --no-wipe --force --sector-size "$bs"
	backstore "$lun" "$data" "$meta" hw_block_size="$bs" backend="$backend"
	assert runner_log_has "backend=(io_)?$backend "
	disk=$(iscsi_login "$lun")
	verify "$disk" "$bs-random-4k-qd1" --rw=randwrite --bs=4k --iodepth=1 --io_size=2m
	verify "$disk" "$bs-random-4k-qd64" --rw=randwrite --bs=4k --iodepth=64
	verify "$disk" "$bs-sequential-4k-qd8" --rw=write --bs=4k --iodepth=8 --io_size=8m
	verify "$disk" "$bs-sequential-64k-qd16" --rw=write --bs=64k --iodepth=16
	verify "$disk" "$bs-sequential-1m-qd4" --rw=write --bs=1m --iodepth=4
	verify "$disk" "$bs-random-1m-qd64" --rw=randwrite --bs=1m --iodepth=64
	# Any length and place that the block size permits; flushes in between.
	verify "$disk" "$bs-mixed-qd32" --rw=randwrite --bsrange="$bs-256k" --blockalign="$bs" \
		--iodepth=32 --fsync=50 --io_size=8m
	logout "$lun"
	backstore_remove "$lun"
	luns=$((luns + 1))
	# Parts that went through a bounce buffer: none, of any LUN so far.
	assert_eq "$(grep -aoE '\bbounced=[0-9]+' "$runner_log" | sort | uniq -c | tr -s ' ')" " $luns bounced=0" 'bounced parts'
}

luns=0
start_runner
run_all 512 uring
run_all 4096 uring
run_all 512 threads
assert runner_log_has 'io_flusher=yes thread=pool threads=18 io_flushers=18 locked_stacks=18'
assert_runner_alive
