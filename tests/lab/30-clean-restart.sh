#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# tcmu-runner is stopped and started while two of its LUNs are written: initiators notice a pause, all
# writes are there, and nothing mismatches, since a LUN that is closed is flushed.
# lab: timeout=240
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

requires_command fio
names=(one two)
data=() meta=() disk=() job=()
start_runner
for i in 0 1; do
	data+=("$(loop_dev 64)")
	meta+=("$(loop_dev 8)")
	format_pair "${meta[i]}" "${data[i]}"
	backstore "${names[i]}" "${data[i]}" "${meta[i]}"
done
for i in 0 1; do
	disk+=("$(loop_login "${names[i]}")")
	fio --name=restart --filename="${disk[i]}" --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bs=8k \
		--size=48m --time_based --runtime=12 --verify=crc32c --verify_fatal=1 --minimal --fsync=64 \
		>"$LAB_TMP/fio.$i" 2>&1 &
	job+=($!)
done
sleep 4
stop_runner
start_runner
for i in 0 1; do
	wait "${job[i]}" || fail "fio on LUN ${names[i]}: $(tail -n 20 "$LAB_TMP/fio.$i")"
done
assert runner_log_has 'closed reads='
for i in 0 1; do
	logout "${names[i]}"
	backstore_remove "${names[i]}"
	"$cli" check "${meta[i]}" --data-device "${data[i]}"
done
