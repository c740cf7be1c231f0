#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# The main job as a story: two devices become a SCSI disk with checked blocks; its flush is concurrent; damage
# underneath is noticed and named; the kernel's own dm-integrity reads the same pair.  Every claim is checked
# on the way: a demo that says so and a demo that fails are the only outcomes.
# lab: timeout=240
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"

requires_command sg_sync sg_raw mkfs.ext4 dmsetup

data_flush_ms=300 meta_flush_ms=200
details=$LAB_TMP/details
if [[ -t 1 ]]; then
	bold=$(tput bold 2>/dev/null || :) plain=$(tput sgr0 2>/dev/null || :)
else
	bold='' plain=''
fi

chapter() {
	printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}

tell() {
	printf '   %s\n' "$*"
}

# shown COMMAND…: what a user would type; its output is part of the story.
shown() {
	printf ' $ %s\n' "$*"
	"$@" 2>&1 | sed 's/^/   /'
}

# quietly COMMAND…: its output is shown only if it fails.
quietly() {
	"$@" >"$details" 2>&1 || { cat "$details" >&2; fail "$*"; }
}

integrity() {
	"$cli" "$@"
}

make_devices() {
	data=$(delay_dev "$(loop_dev 96)" 0 0 0)
	meta=$(delay_dev "$(loop_dev 8)" 0 0 0)
	ln -s "$data" "$LAB_TMP/data"
	chapter '1. Two devices become a pair.'
	tell "data device $data, 96 MiB: the blocks.  metadata device $meta, 8 MiB: tags and journal."
	printf ' $ tcmu-integrity format %s --data-device %s --yes\n' "$meta" "$data"
	integrity format "$meta" --data-device "$data" --yes --batch-mode 2>&1 | sed 's/^/   /'

}

make_lun() {
	chapter '2. The pair becomes a SCSI disk, an iSCSI initiator logs in.'
	quietly start_runner
	printf ' $ targetcli /backstores/user:integrity create name=lun0 size=… cfgstring="%s;meta=%s;mode=direct"\n' \
		"$data" "$meta"
	quietly backstore lun0 "$data" "$meta"
	printf ' $ iscsiadm -m node -T %s --login\n' "$(lun_iqn lun0)"
	disk=$(iscsi_login lun0 2>"$details")
	tell "the disk is $disk: $(sg_inq "$disk" | sed -n 's/^ *\(Vendor\|Product\) identification: *//p' | xargs)," \
		"$(($(blockdev --getsize64 "$disk") >> 20)) MiB," \
		"$(cat "/sys/block/${disk#/dev/}/queue/write_cache") cache"
}

use_disk() {
	chapter '3. It is a disk like any other.'
	quietly mkfs.ext4 -q "$disk"
	mkdir "$LAB_TMP/mnt"
	mount "$disk" "$LAB_TMP/mnt"
	at_end umount_story
	dd if=/dev/urandom of="$LAB_TMP/original" bs=1M count=16 status=none
	cp "$LAB_TMP/original" "$LAB_TMP/mnt/file"
	sync -f "$LAB_TMP/mnt/file"
	echo 3 >/proc/sys/vm/drop_caches
	sum=$(sha256sum <"$LAB_TMP/mnt/file")
	assert_eq "$sum" "$(sha256sum <"$LAB_TMP/original")" 'the file after a round trip'
	tell "mkfs.ext4, mount, copy 16 MiB, sync, read back from the disk: sha256 ${sum:0:16}… as it was"
	umount "$LAB_TMP/mnt"
	shown sg_sync -v "$disk"
}

umount_story() {
	! mountpoint -q "$LAB_TMP/mnt" || umount "$LAB_TMP/mnt"
}

dirty_both() {
	dd if=/dev/urandom of="$disk" bs=4k count=1 seek=20000 oflag=direct conv=notrunc status=none
}

time_flush() {
	local ms
	chapter '4. A flush goes to both devices at once.'
	set_delay "$data" 0 0 $data_flush_ms
	set_delay "$meta" 0 0 $meta_flush_ms
	dirty_both
	ms=$(flush_ms "$disk")
	tell "slowed down: a flush of the data device takes $data_flush_ms ms, of the metadata device $meta_flush_ms ms"
	tell "SYNCHRONIZE CACHE after a write: ${bold}$ms ms${plain}" \
		"(the slower one: $data_flush_ms; one after the other: $((data_flush_ms + meta_flush_ms)))"
	assert_between "$ms" $data_flush_ms $((data_flush_ms + meta_flush_ms * 3 / 4)) 'a flush'
	tell "SYNCHRONIZE CACHE with nothing written since: $(flush_ms "$disk") ms"
	dirty_both
	ms=$(flush_ms -n 32 "$disk")
	tell "32 of them at the same time: $ms ms, they share flushes"
	assert_between "$ms" $data_flush_ms $((3 * (data_flush_ms + meta_flush_ms))) '32 flushes'
	set_delay "$data" 0 0 0
	set_delay "$meta" 0 0 0
}

# The first data block of the file, in sectors of the disk.
file_sector() {
	debugfs -R 'bmap /file 100' "$disk" 2>/dev/null | awk '{ print $1 * 8 }'
}

damage() {
	local sector=$1 status=0
	chapter '5. One sector of the data device goes bad, silently.'
	sync
	dd if="$data" of="$LAB_TMP/sector" bs=512 skip="$sector" count=1 iflag=direct status=none
	tr '\000-\377' '\001-\377\000' <"$LAB_TMP/sector" |
		dd of="$data" bs=512 seek="$sector" count=1 oflag=direct conv=notrunc iflag=fullblock status=none
	tell "sector $sector of $data was overwritten behind everybody's back"
	printf ' $ sg_raw -r 4096 %s 28 00 …   # READ(10) of the 8 blocks from %s on\n' "$disk" $((sector - 3))
	sg_raw -r 4096 "$disk" 28 00 "$(hex_byte $((sector - 3)) 3)" "$(hex_byte $((sector - 3)) 2)" \
		"$(hex_byte $((sector - 3)) 1)" "$(hex_byte $((sector - 3)) 0)" 00 00 08 00 >"$details" 2>&1 || status=$?
	assert_eq "$status" 3 "sg_raw's exit status (MEDIUM ERROR)"
	sed -n 's/^ *\(Fixed format\|Additional sense\|.*Info fld\)/   \1/p' "$details"
	assert_match "$(cat "$details")" "Info fld=0x[0-9a-f]* \[$sector\]"
	dd if="$disk" of=/dev/null bs=512 skip=$((sector + 1)) count=1 iflag=direct status=none
	tell 'its neighbours are readable, the LUN goes on'
}

hex_byte() {
	printf '%02x' $(($1 >> (8 * $2) & 255))
}

check_pair() {
	local sector=$1 status=0
	quietly logout lun0
	quietly backstore_remove lun0
	printf ' $ tcmu-integrity check %s --data-device %s\n' "$meta" "$data"
	integrity check "$meta" --data-device "$data" >"$details" 2>&1 || status=$?
	sed 's/^/   /' "$details"
	assert_eq "$status" 1 "check's exit status"
	assert_match "$(cat "$details")" "$sector"
	dd if="$LAB_TMP/sector" of="$data" bs=512 seek="$sector" oflag=direct conv=notrunc status=none
	tell 'the sector is put back as it was'
}

kernel_reads_it() {
	chapter "6. The kernel's own dm-integrity opens the same pair."
	kernel=$(kernel_open "$meta" "$data" direct)
	printf " $ integritysetup open %s name --data-device %s --integrity-no-journal\n" "$meta" "$data"
	mount -o ro "$kernel" "$LAB_TMP/mnt"
	assert_eq "$(sha256sum <"$LAB_TMP/mnt/file")" "$sum" 'the file as the kernel reads it'
	umount "$LAB_TMP/mnt"
	tell "the file there: sha256 ${sum:0:16}… the same; mismatches seen by the kernel:" \
		"$(dmsetup status "${kernel#/dev/mapper/}" | awk '{ print $4 }')"
}

make_devices
make_lun
use_disk
time_flush
sector=$(file_sector)
damage "$sector"
check_pair "$sector"
kernel_reads_it
chapter 'That is all: every step was checked, and all is as it should be.'
