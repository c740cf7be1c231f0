# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
# shellcheck shell=bash disable=SC2154
#
# What the tests of modes journal and bitmap share.  Sourced after lib.sh and lib-scsi.sh.
#
# A pair for power cuts lies in one file, data first, so that one recording (see power_log) has the writes to
# both devices in their order.

pair_data_mib=16
pair_meta_mib=4

# loop_over FILE OFFSET_MIB [MIB]: a loop device over (a part of) a file; loop_off DEV.
loop_over() {
	local dev limit=()
	[[ -z ${3:-} ]] || limit=(--sizelimit $(($3 << 20)))
	requires_module loop
	dev=$(losetup --find --show --offset $(($2 << 20)) "${limit[@]}" "$1")
	at_end loop_off "$dev"
	echo "$dev"
}

loop_off() {
	! losetup "$1" >/dev/null 2>&1 || losetup -d "$1"
}

# pair_over FILE: sets data and meta to loop devices over the file's two parts.
pair_over() {
	data=$(loop_over "$1" 0 $pair_data_mib)
	meta=$(loop_over "$1" $pair_data_mib $pair_meta_mib)
}

pair_off() {
	loop_off "$data"
	loop_off "$meta"
}

# format_file FILE [option…]: a fresh pair in it.
format_file() {
	local file=$1 data meta
	shift
	rm -f "$file"
	truncate -s $((pair_data_mib + pair_meta_mib))M "$file"
	pair_over "$file"
	format_pair "$meta" "$data" --journal-size 1M "$@"
	pair_off
}

# recorded_pair FILE LOG: sets data and meta to devices whose writes, both in one order, are recorded in the
# file LOG until recording_ends.
recorded_pair() {
	local sectors=$((pair_data_mib * 2048))
	requires_module dm-log-writes
	rm -f "$2"
	truncate -s 600M "$2"
	whole=$(loop_over "$1" 0)
	log_dev=$(loop_over "$2" 0)
	recorder=$(lab_new recorder)
	dm_dev "$recorder" "0 $(sectors_of "$whole") log-writes $whole $log_dev" >/dev/null
	data=$(dm_dev "$recorder-data" "0 $sectors linear /dev/mapper/$recorder 0")
	meta=$(dm_dev "$recorder-meta" "0 $((pair_meta_mib * 2048)) linear /dev/mapper/$recorder $sectors")
}

recording_ends() {
	dm_remove "$recorder-data"
	dm_remove "$recorder-meta"
	dm_remove "$recorder"
	loop_off "$log_dev"
	loop_off "$whole"
}

# make_cut IMAGE SEED: what a power cut at some moment of the recording leaves; see power_log.
make_cut() {
	"$LAB_DIR/power_log" cut "$LAB_TMP/base.img" "$LAB_TMP/log.img" "$LAB_TMP/iolog" $((pair_data_mib << 20)) \
		"$1" "$LAB_TMP/durable" "$LAB_TMP/unsettled" "$2" >"$LAB_TMP/cut.said"
}

# quick_backstore NAME DATA META [key=value…]: our LUN, made as targetcli makes it but without a Python process.
quick_backstore() {
	local name dir config=$2\;meta=$3 pair
	name=$(backstore_name "$1")
	dir=$target_core/user_88/$name
	for pair in "${@:4}"; do
		config+=\;$pair
	done
	mkdir -p "$dir"
	at_end backstore_delete "$name"
	echo "dev_config=integrity/$config" >"$dir/control"
	echo "dev_size=$(($(provided_sectors "$3") * 512))" >"$dir/control"
	echo "hw_max_sectors=2048" >"$dir/control"
	[[ ${block_size:-512} == 512 ]] || echo "hw_block_size=$block_size" >"$dir/control"
	echo 1 >"$dir/enable"
}

# fio_run NAME DISK [option…]: in the foreground; what it said is in $LAB_TMP/NAME.fio.
fio_run() {
	local name=$1 disk=$2
	shift 2
	requires_command fio
	fio --name="$name" --filename="$disk" --direct=1 --randrepeat=0 --verify_fatal=1 "$@" \
		>"$LAB_TMP/$name.fio" 2>&1 || fail "fio $name: $(tail -n 20 "$LAB_TMP/$name.fio")"
}

# load DISK: what power_log expects, and beside it writes of other sizes, over each other, with flushes of
# their own.  The first half of the disk is the flushing writer's.
load() {
	local noise
	rm -f "$LAB_TMP/iolog" # fio would append to it
	fio_run noise "$1" --ioengine=libaio --iodepth=8 --rw=randwrite --norandommap --bsrange=4k-128k \
		--offset=8m --size=8m --io_size=24m --rate=3m --fsync=37 &
	noise=$!
	fio_run flushing "$1" --ioengine=psync --rw=randwrite --bs=4k --offset=4k --size=8188k \
		--io_size="$load_size" --fsync=3 --verify=pattern --verify_pattern=%o --do_verify=1 --verify_backlog=64 \
		--write_iolog="$LAB_TMP/iolog"
	wait "$noise"
}

# dump_value META KEY: a number or word of what dump shows.
dump_value() {
	"$cli" dump "$1" | awk -v key="$2" '$1 == key { print $2 }'
}

# journal_areas META: sets where things lie on it, in sectors.
# shellcheck disable=SC2034
journal_areas() {
	journal_first=$(($(dump_value "$1" journal_offset) / 512))
	journal_sectors=$(($(dump_value "$1" journal_bytes) / 512))
	tag_first=$(($(dump_value "$1" tag_offset) / 512))
	tag_sectors=$((($(dump_value "$1" tag_bytes) + 511) / 512))
}
