#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# What bench/run runs in the lab: sets up every target on RAM disks of its own, each behind tcm_loop, then
# measures all cells on all targets, round after round, one right after the other.
#
# Prints lines for bench/run to read:
#   bench: RESULT round cell target bytes ms
# or, with profile=REQUESTS, what tcmu-runner did for so many requests of each cell:
#   bench: CALLS cell target requests name count   (a system call's name, or switches: of its threads)
# or, with flushes=SECONDS, what 8 writers with fsync cost the devices of our LUN:
#   bench: FLUSHES fsyncs, and flushes of: initiator's_disk data_device metadata_device
# and for people everything else, on stderr.
#
# usage: guest.sh KEY=VALUE…: rounds, seconds, mib, block_size, mode, hash, engine, profile, flushes, cells, targets
# (the last two are lists with commas)
#
# shellcheck source-path=SCRIPTDIR source=../tests/lab/lib.sh
. "${BASH_SOURCE[0]%/*}/../tests/lab/lib.sh"

declare -A option=([rounds]=7 [seconds]=1 [mib]=128 [block_size]=4096 [mode]=direct [hash]=crc32c [profile]=0 [flushes]=0 [engine]=io_uring
	[cells]=randwrite-1 [targets]=ceiling)
for pair in "$@"; do
	[[ -n ${option[${pair%%=*}]:-} ]] || fail "no such option: $pair"
	option[${pair%%=*}]=${pair#*=}
done
IFS=, read -ra cells <<<"${option[cells]}"
IFS=, read -ra targets <<<"${option[targets]}"
jobs=$LAB_TMP/jobs.fio
lines=$LAB_TMP/lines

# The digest, as integritysetup takes it; a keyed one has its key in a file.
key=$LAB_TMP/bench.key
digest=(--integrity "${option[hash]}")
if [[ ${option[hash]} == hmac-* ]]; then
	head -c 32 /dev/urandom >"$key"
	digest+=(--integrity-key-file "$key" --integrity-key-size 32)
fi

# --- targets ---

# ram_dev: the next RAM disk, all of it written once, so that no cell pays for its memory.
ram_dev() {
	local dev
	dev=$(brd_dev "${option[mib]}")
	dd if=/dev/zero of="$dev" bs=1M count="${option[mib]}" oflag=direct status=none
	echo "$dev"
}

# pair: "META DATA", formatted by the kernel's own tool, which writes every tag.
pair() {
	local data meta
	data=$(ram_dev)
	meta=$(ram_dev)
	kernel_format "$meta" "$data" --sector-size "${option[block_size]}" "${digest[@]}" >&2
	echo "$meta $data"
}

plain_handler() {
	local dev
	dev=$(ram_dev)
	user_backstore "$1" "$1" $((option[mib] * 1024 * 1024)) "$dev" \
		"control=hw_block_size=${option[block_size]}"
}

# our_lun DATA META: a key is named by a profile only.
our_lun() {
	if [[ ${#digest[@]} == 2 ]]; then
		backstore integrity "$1" "$2" "mode=${option[mode]}" "hash=${option[hash]}" \
			"hw_block_size=${option[block_size]}"
		return
	fi
	mkdir -p /etc/tcmu/integrity.d
	printf '%s\n' '[lun]' "data=$1" "meta=$2" "hash=${option[hash]}" "mode=${option[mode]}" \
		"integrity_key_file=$key" >/etc/tcmu/integrity.d/bench.conf
	user_backstore integrity integrity $(($(provided_sectors "$2") * 512)) profile=bench \
		"control=hw_block_size=${option[block_size]}"
}

set_up() {
	local meta data dev
	case $1 in
	integrity)
		read -r meta data < <(pair)
		our_lun "$data" "$meta"
		;;
	ceiling | inline | callouts | file) plain_handler "$1" ;;
	kernel)
		read -r meta data < <(pair)
		dev=$(kernel_open "$meta" "$data" "${option[mode]}" "${digest[@]}")
		block_backstore kernel "$dev"
		;;
	bare)
		dev=$(ram_dev)
		block_backstore bare "$dev"
		;;
	*) fail "no such target: $1" ;;
	esac
}

# log_in TARGET: prints the initiator's disk.
log_in() {
	local disk type
	disk=$(loop_login "$1")
	# A RAM disk has no write cache, so the initiator would send iblock's bare one no SYNCHRONIZE CACHE.
	type=$(echo "/sys/block/${disk##*/}"/device/scsi_disk/*/cache_type)
	[[ $(<"$type") != 'write through' ]] || echo 'temporary write back' >"$type"
	echo "$disk"
}

# --- cells ---

# cell_options CELL: fio's options for it.
cell_options() {
	case $1 in
	randwrite-* | randread-*) echo "rw=${1%-*} bs=4k iodepth=${1#*-}" ;;
	write-128k | read-128k) echo "rw=${1%-*} bs=128k iodepth=16" ;;
	write-flush) echo "rw=randwrite bs=4k iodepth=1 fdatasync=1" ;;
	write-flush-8) echo "rw=randwrite bs=4k iodepth=1 fdatasync=1 numjobs=8 group_reporting=1 thread=1" ;;
	*) fail "no such cell: $1" ;;
	esac
}

job_defaults() {
	cat <<-END
		[global]
		ioengine=${option[engine]}
		direct=1
		gtod_reduce=1
		norandommap=1
		randrepeat=0
		scramble_buffers=0
		invalidate=0
		stonewall
	END
}

# job CELL TARGET
job() {
	printf '[%s %s]\nfilename=%s\n' "$1" "$2" "${disk_of[$2]}"
	cell_options "$1" | tr ' ' '\n'
}

# round_jobs ROUND: one fio job per cell and target; who is first in a cell changes from round to round.
round_jobs() {
	local round=$1 cell n i target
	job_defaults
	printf '%s\n' time_based=1 "runtime=${option[seconds]}"
	n=${#targets[@]}
	for cell in "${cells[@]}"; do
		for ((i = 0; i < n; i++)); do
			target=${targets[(i + round) % n]}
			job "$cell" "$target"
			# What a target holds back must not be written while another one is measured.
			[[ $cell == *read* ]] || echo "exec_postrun=flush_ms ${disk_of[$target]} >/dev/null"
		done
	done
}

# Of fio's terse lines (version 3), for reads and writes: KiB in fields 6 and 47, ms in 9 and 50.
print_results() {
	local round=$1 line f
	while IFS= read -r line; do
		IFS=';' read -ra f <<<"$line"
		[[ ${f[0]} == 3 ]] || continue
		[[ ${f[4]} == 0 ]] || fail "fio failed with error ${f[4]}: ${f[2]}"
		echo "bench: RESULT $round ${f[2]} $(((f[5] + f[46]) * 1024)) $((f[8] + f[49]))"
	done <"$lines"
}

measure() {
	local round
	for ((round = 0; round < option[rounds]; round++)); do
		round_jobs "$round" >"$jobs"
		fio --minimal --eta=never "$jobs" >"$lines" || fail "fio failed: $(<"$lines")"
		print_results "$round"
	done
}

# --- where the time goes ---

run_requests() {
	{
		job_defaults
		echo "number_ios=${option[profile]}"
		job "$1" "$2"
	} >"$jobs"
	fio --minimal --eta=never "$jobs" >"$lines" || fail "fio failed: $(<"$lines")"
}

# Context switches of all of the runner's threads so far, io_uring's workers included.
switches() {
	cat "/proc/$(runner_pid)/task"/*/status | awk '/ctxt_switches/ { n += $2 } END { print n }'
}

# profile CELL TARGET: the switches of an undisturbed run, then the system calls of one under strace.
profile() {
	local before after
	before=$(switches)
	run_requests "$1" "$2"
	after=$(switches)
	echo "bench: CALLS $1 $2 ${option[profile]} switches $((after - before))"
	strace -qq -f -c -U name,calls -o "$LAB_TMP/calls" -p "$(runner_pid)" &
	sleep 1
	run_requests "$1" "$2"
	kill -INT $!
	wait $! || :
	awk -v line="bench: CALLS $1 $2 ${option[profile]}" \
		'$2 ~ /^[0-9]+$/ && $1 != "total" { print line, $1, $2 }' "$LAB_TMP/calls"
}

# --- flushes ---

# flushes_of DISK: how many its block layer has seen completed.
flushes_of() {
	local f
	read -ra f <"/sys/block/${1##*/}/stat"
	echo "${f[15]}"
}

# On loop devices, which have a volatile cache and count; RAM disks do neither.  A flush takes 2 ms there,
# as a good disk's does, and the journal is as large as on a disk of 8 GiB.
count_flushes() {
	local data meta slow_data slow_meta disk before after f
	data=$(loop_dev "${option[mib]}")
	meta=$(loop_dev "${option[mib]}")
	slow_data=$(delay_dev "$data" 0 0 2)
	slow_meta=$(delay_dev "$meta" 0 0 2)
	kernel_format "$slow_meta" "$slow_data" --sector-size "${option[block_size]}" --journal-size $((64 << 20)) >&2
	backstore counted "$slow_data" "$slow_meta" "mode=${option[mode]}" "hw_block_size=${option[block_size]}" >&2
	disk_of[counted]=$(log_in counted)
	disk=${disk_of[counted]}
	flush_ms "$disk" >/dev/null
	{
		job_defaults
		printf '%s\n' time_based=1 "runtime=${option[flushes]}"
		job write-flush-8 counted
	} >"$jobs"
	before=("$(flushes_of "$disk")" "$(flushes_of "$data")" "$(flushes_of "$meta")")
	fio --minimal --eta=never "$jobs" >"$lines" || fail "fio failed: $(<"$lines")"
	after=("$(flushes_of "$disk")" "$(flushes_of "$data")" "$(flushes_of "$meta")")
	IFS=';' read -ra f < <(grep '^3;' "$lines")
	echo "bench: FLUSHES $((f[46] / 4)) $((after[0] - before[0])) $((after[1] - before[1]))" \
		"$((after[2] - before[2]))"
}

requires_command fio integritysetup
[[ ${option[profile]} -eq 0 ]] || requires_command strace
requires_target
requires_module dm-integrity
handlers=()
for target in "${targets[@]}"; do
	case $target in
	integrity) handlers+=("$LAB_BUILD/handler/handler_integrity.so") ;;
	ceiling | inline | callouts) handlers+=("$LAB_BUILD/bench/handler_ceiling.so") ;;
	file) handlers+=("$LAB_BUILD/bench/handler_file.so") ;;
	esac
done
use_handlers "${handlers[@]}"
start_runner
declare -A disk_of
if [[ ${option[flushes]} -gt 0 ]]; then
	count_flushes
	exit 0
fi
# targetcli stumbles over tcm_loop targets that it has not made, so all backstores come first.
for target in "${targets[@]}"; do
	say "setting up $target"
	set_up "$target" >&2
done
for target in "${targets[@]}"; do
	disk_of[$target]=$(log_in "$target")
done
if [[ ${option[profile]} -eq 0 ]]; then
	measure
else
	for cell in "${cells[@]}"; do
		for target in "${targets[@]}"; do
			profile "$cell" "$target"
		done
	done
fi
