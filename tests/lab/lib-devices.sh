# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
# shellcheck shell=bash
#
# Block devices for guest scripts, sourced by lib.sh.  Each helper prints the device that it made.
# Sizes are in MiB unless the name says otherwise, delays in ms.

# loop_dev MIB [losetup option…]: a loop device over a file of zeroes in memory.  It takes O_DIRECT,
# advertises a write cache and, with -b 4096, has 4096-byte sectors.
loop_dev() {
	local file dev size=$1
	shift
	requires_module loop
	file=$LAB_TMP/$(lab_new loop).img
	truncate -s "${size}M" "$file"
	dev=$(losetup --find --show "$@" "$file")
	at_end loop_remove "$dev" "$file"
	echo "$dev"
}

loop_remove() {
	losetup -d "$1"
	rm -f "$2"
}

# brd_dev MIB: a RAM disk.  Fast, takes O_DIRECT, has no write cache: flushes never reach it.
# All RAM disks of a script have the size of the first.
brd_dev() {
	local n=0 size_kb=$(($1 * 1024)) seen_kb
	if [[ ! -e $LAB_TMP/brd ]]; then
		[[ ! -d /sys/module/brd ]] || skip "brd is already loaded here, with sizes of its own"
		modprobe brd rd_nr=16 rd_size="$size_kb" max_part=0 || skip "the kernel module brd is missing"
		at_end modprobe -r brd
	else
		n=$(<"$LAB_TMP/brd")
	fi
	[[ $n -lt 16 ]] || fail "a script has at most 16 RAM disks"
	seen_kb=$(($(blockdev --getsize64 "/dev/ram$n") / 1024))
	[[ $seen_kb -ge $size_kb ]] || fail "RAM disks are $((seen_kb / 1024)) MiB here, as the first one"
	echo $((n + 1)) >"$LAB_TMP/brd"
	echo "/dev/ram$n"
}

# ubd_dev N: the Nth --disk of boot, a file of the host that outlives the guest.
ubd_dev() {
	local letters=abcdefghijklmnop
	[[ $1 -lt $LAB_DISKS ]] || fail "boot was given $LAB_DISKS disks, there is no number $1"
	echo "/dev/ubd${letters:$1:1}"
}

sectors_of() {
	blockdev --getsz "$1"
}

# dm_dev NAME TABLE: a device-mapper device.
dm_dev() {
	requires_module dm-mod
	dmsetup create "$1" --table "$2"
	at_end dm_remove "$1"
	echo "/dev/mapper/$1"
}

dm_remove() {
	! dmsetup info "$1" >/dev/null 2>&1 || dmsetup remove --retry "$1"
}

# dm_reload DEV TABLE: the table is changed at once, also with requests in flight.
dm_reload() {
	local name=${1#/dev/mapper/}
	dmsetup load "$name" --table "$2"
	dmsetup suspend --noflush "$name"
	dmsetup resume "$name"
}

delay_table() {
	local dev=$1 read=$2 write=$3 flush=$4
	echo "0 $(sectors_of "$dev") delay $dev 0 $read $dev 0 $write $dev 0 $flush"
}

# delay_dev DEV READ WRITE FLUSH: a request of each class takes so many ms longer.  DEV must have a write
# cache (a loop device has) or flushes never get here.  FUA writes are of the write class.
delay_dev() {
	local name
	requires_module dm-delay
	name=$(lab_new delay)
	dm_dev "$name" "$(delay_table "$@")"
	echo "$1" >"$LAB_TMP/under.$name"
}

# set_delay DELAY_DEV READ WRITE FLUSH
set_delay() {
	local under
	under=$(<"$LAB_TMP/under.${1#/dev/mapper/}")
	dm_reload "$1" "$(delay_table "$under" "$2" "$3" "$4")"
}

# faulty_dev DEV: passes everything on, until one of the functions below is called on it.
faulty_dev() {
	local name
	requires_module dm-flakey
	name=$(lab_new faulty)
	dm_dev "$name" "0 $(sectors_of "$1") linear $1 0"
	echo "$1" >"$LAB_TMP/under.$name"
}

# faulty_table DEV TARGET [ARG…]: TARGET over the whole of the device below, from its sector 0.
faulty_table() {
	local dev=$1 target=$2 under
	shift 2
	under=$(<"$LAB_TMP/under.${dev#/dev/mapper/}")
	dm_reload "$dev" "0 $(sectors_of "$dev") $target $under 0 $*"
}

# Every read and write fails with EIO.
fail_all() {
	faulty_table "$1" flakey 0 3600
}

# Writes and flushes fail with EIO, reads work.
fail_writes() {
	faulty_table "$1" flakey 0 3600 1 error_writes
}

# Writes and flushes say that they are done, and are not.
drop_writes() {
	faulty_table "$1" flakey 0 3600 1 drop_writes
}

# fail_range DEV SECTOR COUNT: reads and writes that touch these 512-byte sectors fail with EIO.
fail_range() {
	local dev=$1 start=$2 count=$3 under total end table=
	under=$(<"$LAB_TMP/under.${dev#/dev/mapper/}")
	total=$(sectors_of "$dev")
	end=$((start + count))
	[[ $start -eq 0 ]] || table="0 $start linear $under 0"$'\n'
	table+="$start $count error"
	[[ $end -ge $total ]] || table+=$'\n'"$end $((total - end)) linear $under $end"
	dm_reload "$dev" "$table"
}

heal() {
	faulty_table "$1" linear
}

# provided_sectors META [START]: the LUN's size as the superblock at sector START has it.
provided_sectors() {
	od -An -t u8 -j $((${2:-0} * 512 + 16)) -N 8 "$1" | tr -d ' '
}

# kernel_format META DATA [integritysetup option…]: crc32c unless told otherwise.
kernel_format() {
	local meta=$1 data=$2
	shift 2
	requires_module dm-integrity
	requires_command integritysetup
	integritysetup format "$meta" --data-device "$data" --integrity crc32c --batch-mode "$@"
}

# kernel_open META DATA MODE [integritysetup option…]: the kernel's own dm-integrity on a pair, in MODE
# direct, journal, bitmap or recovery; prints the mapped device.
kernel_open() {
	local meta=$1 data=$2 mode=$3 name
	shift 3
	requires_module dm-integrity
	requires_command integritysetup
	name=$(lab_new kernel)
	case $mode in
	direct) set -- --integrity-no-journal "$@" ;;
	bitmap) set -- --integrity-bitmap-mode "$@" ;;
	recovery) set -- --integrity-recovery-mode "$@" ;;
	journal) ;;
	*) fail "no such mode: $mode" ;;
	esac
	integritysetup open "$meta" "$name" --data-device "$data" --integrity crc32c --batch-mode "$@" >&2
	at_end dm_remove "$name"
	echo "/dev/mapper/$name"
}

kernel_close() {
	integritysetup close "${1#/dev/mapper/}"
}
