#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# Discards: what is discarded, and flushed, stays discarded when the power goes, for us and for the kernel; so
# does what the kernel has discarded, for us; in modes journal, direct and bitmap.  The LUN says what it can, and
# file systems trim it.
# lab: timeout=400
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

requires_command sg_unmap sg_write_same sg_get_lba_status sg_vpd sg_readcap sg_sync blkdiscard fstrim mkfs.ext4 mkfs.xfs mkfs.btrfs btrfs
mib=16
sectors=$((mib * 2048))
data=$(loop_dev $mib)
meta=$(loop_dev 4)
data2=$(loop_dev $mib)
meta2=$(loop_dev 4)
wanted=$LAB_TMP/wanted
mkdir "$LAB_TMP/mnt"

# copy_pair: what is on the devices now, as a power cut would leave it.
copy_pair() {
	drop_caches "$data" "$meta" "$data2" "$meta2"
	dd if="$data" of="$data2" bs=1M iflag=direct oflag=direct status=none
	dd if="$meta" of="$meta2" bs=1M iflag=direct oflag=direct status=none
}

fresh_pair() {
	"$cli" format "$meta" --data-device "$data" --journal-size 1M --batch-mode --force
	head -c $((mib << 20)) /dev/zero >"$wanted"
}

kernel_opens() {
	kernel_map "$(integrity_table "$2" 0 - "$3" "$1" $sectors fix_hmac "${@:4}")"
}

# put DEV KIB COUNT_KIB: random bytes there and in what is wanted.
put() {
	dd if=/dev/urandom of="$LAB_TMP/piece" bs=1k count="$3" status=none
	dd if="$LAB_TMP/piece" of="$1" bs=4k oflag=direct,seek_bytes seek=$(($2 << 10)) conv=nocreat,notrunc status=none
	dd if="$LAB_TMP/piece" of="$wanted" bs=1k seek="$2" conv=notrunc status=none
}

# forgotten KIB COUNT_KIB: what a loop device makes of it.
forgotten() {
	dd if=/dev/zero of="$wanted" bs=1k seek="$1" count="$2" conv=notrunc status=none
}

# wait_recalculated DEV: a crash in mode bitmap leaves regions to recalculate.
kernel_is_done() {
	local at
	at=$(dmsetup status "${1#/dev/mapper/}" | awk '{ print $6 }')
	[[ $at == - || $at == "$sectors" ]]
}

reads_as_wanted() {
	read_all "$1" "$LAB_TMP/read" $mib || fail "$1 cannot be read as a whole"
	cmp -n $((mib << 20)) "$LAB_TMP/read" "$wanted" >&2 || fail "$1 reads differently"
}

# ours_then_kernel MODE LETTER
ours_then_kernel() {
	local disk dev
	say "mode $1: discarded by us, flushed, the power goes"
	fresh_pair
	backstore disk "$data" "$meta" mode="$1" allow_discards=1 bitmap_flush_interval=600000
	disk=$(loop_login disk)
	# Old and new versions in the ring, some of it in its place already.
	put "$disk" 0 2048
	put "$disk" 256 512
	put "$disk" 4096 1024
	put "$disk" 300 128
	sg_sync "$disk"
	put "$disk" 4096 64
	sg_unmap --lba=$((256 * 2)) --num=$((256 * 2)) --force "$disk"
	sg_unmap --lba=$((4096 * 2)),$((4500 * 2)) --num=128,64 --force "$disk"
	sg_write_same --16 --unmap --lba=$((1500 * 2)) --num=8 --xferlen=512 "$disk"
	forgotten 256 256
	forgotten 4096 64
	forgotten 4500 32
	forgotten 1500 4
	sg_sync "$disk"
	put "$disk" 320 4 # and what is written again is there
	sg_sync "$disk"
	reads_as_wanted "$disk"
	copy_pair
	dev=$(kernel_opens "$meta2" "$data2" "$2" allow_discards)
	wait_for 60 kernel_is_done "$dev"
	assert_reads_as "$dev" "$wanted" $mib
	kernel_unmap "$dev"
	copy_pair
	kill_runner
	start_runner
	logout disk
	backstore_remove disk
	drop_caches "$data" "$meta"
	"$cli" check "$meta" --data-device "$data" --allow-discards --batch-mode >&2
	assert_same_bytes "$wanted" "$data"
	dev=$(kernel_opens "$meta" "$data" D allow_discards)
	assert_reads_as "$dev" "$wanted" $mib
	kernel_unmap "$dev"
	say "mode $1: ours opens what the power cut has left"
	backstore cut "$data2" "$meta2" mode="$1" allow_discards=1
	disk=$(loop_login cut)
	reads_as_wanted "$disk"
	logout cut
	backstore_remove cut
	drop_caches "$data2" "$meta2"
	"$cli" check "$meta2" --data-device "$data2" --allow-discards --batch-mode >&2
}

# kernel_then_ours MODE LETTER
kernel_then_ours() {
	local disk dev
	say "mode $1: discarded by the kernel, the power goes"
	fresh_pair
	dev=$(kernel_opens "$meta" "$data" "$2" allow_discards)
	put "$dev" 0 2048
	put "$dev" 256 512
	sync "$dev"
	blkdiscard --offset $((256 << 10)) --length $((256 << 10)) "$dev"
	forgotten 256 256
	put "$dev" 4096 1024
	sync "$dev"
	copy_pair
	kernel_unmap "$dev"
	drop_caches "$data" "$meta"
	backstore disk "$data" "$meta" mode="$1" allow_discards=1
	disk=$(loop_login disk)
	reads_as_wanted "$disk"
	logout disk
	backstore_remove disk
	# After the power cut the kernel's own journal may bring it back: whatever it does, so do we.
	backstore cut "$data2" "$meta2" mode="$1" allow_discards=1
	disk=$(loop_login cut)
	read_all "$disk" "$LAB_TMP/ours" $mib
	logout cut
	backstore_remove cut
	drop_caches "$data2" "$meta2"
	"$cli" check "$meta2" --data-device "$data2" --allow-discards --batch-mode >&2
	dev=$(kernel_opens "$meta2" "$data2" "$2" allow_discards)
	assert_reads_as "$dev" "$LAB_TMP/ours" $mib
	kernel_unmap "$dev"
}

modes=(journal)
[[ -z ${LAB_SOAK:-} ]] || modes+=(direct bitmap)
start_runner
for mode in "${modes[@]}"; do
	letter=${mode:0:1}
	ours_then_kernel "$mode" "${letter^}"
	kernel_then_ours "$mode" "${letter^}"
done

say 'what the LUN says of itself'
fresh_pair
backstore disk "$data" "$meta" mode=journal allow_discards=1
disk=$(loop_login disk)
assert_match "$(sg_readcap --16 "$disk")" 'lbpme=1, lbprz=0'
limits=$(sg_vpd --page=bl "$disk")
assert_match "$limits" 'Maximum unmap LBA count: 1048576'
assert_match "$limits" 'Maximum unmap block descriptor count: 256'
assert_match "$limits" 'Optimal unmap granularity: [1-9]'
assert_match "$limits" 'Unmap granularity alignment valid: true'
provisioning=$(sg_vpd --page=lbpv "$disk")
assert_match "$provisioning" 'LBPU\): 1'
assert_match "$provisioning" 'LBPWS\): 1'
assert_match "$provisioning" 'LBPWS10\): 1'
assert_match "$provisioning" 'LBPRZ\): 0'
sg_write_same --10 --unmap --lba=64 --num=16 --xferlen=512 "$disk"
sg_write_same --16 --ndob --unmap --lba=80 --num=16 "$disk"
assert_match "$(sg_get_lba_status --lba=0 "$disk")" 'LBA: 0x0+ +blocks: +64 +mapped'
assert_match "$(sg_get_lba_status --lba=64 "$disk")" 'LBA: 0x0*40 +blocks: +32 +deallocated'
[[ $(<"/sys/block/${disk##*/}/queue/discard_max_bytes") -gt 0 ]] || fail 'the initiator sees no discards'
logout disk
backstore_remove disk
drop_caches "$data" "$meta"
say 'without the option'
assert_match "$(assert_status 1 "$cli" check "$meta" --data-device "$data" --batch-mode)" \
	'sectors 64 to 95 .*: discarded'
backstore disk "$data" "$meta" mode=journal
disk=$(loop_login disk)
assert_sense "$(read_sense "$disk" 60 8)" 'Medium Error' 'Unrecovered read error' 64
assert_fails sg_unmap --lba=0 --num=8 --force "$disk" >/dev/null
assert_match "$(sg_readcap --16 "$disk")" 'lbpme=0, lbprz=0'
logout disk
backstore_remove disk
dev=$(kernel_opens "$meta" "$data" J)
assert_fails dd if="$dev" of=/dev/null bs=512 skip=64 count=1 iflag=direct status=none >/dev/null
kernel_unmap "$dev"

lab_umount() {
	! mountpoint -q "$LAB_TMP/mnt" || umount "$LAB_TMP/mnt"
}

# trim TYPE: the file's blocks come back to the data device.
trim() {
	local type=$1 before after
	say "fstrim on $type"
	"mkfs.$type" -q "$2" "$disk"
	mount -t "$type" "$disk" "$LAB_TMP/mnt"
	at_end lab_umount
	dd if=/dev/urandom of="$LAB_TMP/mnt/kept" bs=1M count=2 conv=fsync status=none
	dd if=/dev/urandom of="$LAB_TMP/mnt/gone" bs=1M count=24 conv=fsync status=none
	md5sum "$LAB_TMP/mnt/kept" >"$LAB_TMP/sum"
	rm "$LAB_TMP/mnt/gone"
	sync
	before=$(stat -c %b "$big_file")
	assert_match "$(fstrim -v "$LAB_TMP/mnt")" 'trimmed'
	after=$(stat -c %b "$big_file")
	# Some of it may not have left the journal yet.
	[[ $((before - after)) -gt $((12 * 2048)) ]] || fail "the data device has got back only $((before - after)) sectors"
	umount "$LAB_TMP/mnt"
	mount -t "$type" "$disk" "$LAB_TMP/mnt"
	md5sum -c --quiet "$LAB_TMP/sum"
	umount "$LAB_TMP/mnt"
	case $type in
	ext4) e2fsck -f -n "$disk" >&2 ;;
	xfs) xfs_repair -n "$disk" >&2 ;;
	btrfs) btrfs check "$disk" >&2 ;;
	esac
}

big=$(loop_dev 320)
big_file=$(losetup -n -O BACK-FILE "$big" | xargs)
big_meta=$(loop_dev 16)
format_pair "$big_meta" "$big"
backstore big "$big" "$big_meta" mode=journal allow_discards=1
disk=$(loop_login big)
trim ext4 -F
trim xfs -f
trim btrfs -f
logout big
backstore_remove big
drop_caches "$big" "$big_meta"
"$cli" check "$big_meta" --data-device "$big" --allow-discards --batch-mode >&2
assert_runner_alive
