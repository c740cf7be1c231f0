#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# libiscsi's public suite against our LUN and against four others in the same boot: we fail no test that one
# of them passes, but for those that docs/conformance.md lists.
# lab: timeout=1500 soak_timeout=2400 mem=1500M
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

requires_command iscsi-test-cu tgtd tgtadm python3
requires_module target_core_file target_core_iblock iscsi_target_mod
mib=64
results=$LAB_RUN/conformance
mkdir -p "$results"

# fileio_backstore NAME FILE BYTES
fileio_backstore() {
	local name dir
	name=$(backstore_name "$1")
	dir=$target_core/fileio_78
	mkdir -p "$dir/$name"
	echo "fd_dev_name=$2,fd_dev_size=$3,fd_buffered_io=1" >"$dir/$name/control"
	echo 1 >"$dir/$name/enable"
	at_end backstore_delete "$name"
}

image() {
	truncate -s "${mib}M" "$LAB_TMP/$1.img"
	echo "$LAB_TMP/$1.img"
}

start_tgtd() {
	tgtd --iscsi portal=127.0.0.1:3261
	at_end stop_tgtd
	wait_for 10 tgtadm --lld iscsi --mode target --op show
	tgtadm --lld iscsi --mode target --op new --tid 1 --targetname "$(lun_iqn tgt)"
	tgtadm --lld iscsi --mode logicalunit --op new --tid 1 --lun 1 --backing-store "$(image tgt)"
	tgtadm --lld iscsi --mode target --op bind --tid 1 --initiator-address ALL
}

stop_tgtd() {
	local pid
	pid=$(pgrep -o -x tgtd) || return 0
	kill -KILL "$pid"
	wait_for 10 tgtd_is_gone
}

tgtd_is_gone() {
	! pgrep -x tgtd
}

# judge PEER [PORT [LUN]]
judge() {
	say "against $1"
	"$LAB_DIR/conformance" "iscsi://127.0.0.1:${2:-3260}/$(lun_iqn "$1")/${3:-0}" "$results/$1"
	say "$1: $(cut -d ' ' -f 2 "$results/$1" | sort | uniq -c | xargs)"
}

# The kernel keeps what PERSISTENT RESERVE with APTPL says there; no package makes it.
mkdir -p /etc/rtslib-fb-target/pr

data=$(loop_dev $mib)
meta=$(loop_dev 16)
format_pair "$meta" "$data"
qcow=/usr/lib/x86_64-linux-gnu/tcmu-runner/handler_qcow.so
use_handlers "$handler_so" "$qcow"
start_runner
backstore integrity "$data" "$meta" mode=journal
iscsi_target integrity
peers=(integrity)
judge integrity
assert_runner_alive

if [[ -n ${LAB_SOAK:-} ]]; then
	# The same again with discards, for the tests that are skipped without.
	data=$(loop_dev $mib)
	meta=$(loop_dev 16)
	format_pair "$meta" "$data"
	backstore discards "$data" "$meta" mode=journal allow_discards=1
	iscsi_target discards
	judge discards
	iscsi_target_remove discards
	peers+=(discards)
	user_backstore qcow runner "$((mib << 20))" "$(image runner)"
	fileio_backstore fileio "$(image fileio)" "$((mib << 20))"
	block_backstore iblock "$(loop_dev $mib)"
	for peer in runner fileio iblock; do
		iscsi_target "$peer"
		judge "$peer"
		iscsi_target_remove "$peer"
		peers+=("$peer")
	done
	start_tgtd
	judge tgt 3261 1
	peers+=(tgt)
fi
"$LAB_DIR/conformance_table" "$LAB_SOURCE/docs/conformance.md" "${peers[@]/#/$results/}"
iscsi_target_remove integrity
