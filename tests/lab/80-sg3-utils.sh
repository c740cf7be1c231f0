#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# What sg3_utils say of the LUN, and what they make it do, is what their man pages promise; the data
# afterwards is what was meant.
# lab: timeout=240
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

requires_command sg_verify sg_write_same sg_unmap sg_get_lba_status sg_compare_and_write sg_sync sg_logs \
	sg_modes sg_opcodes sg_readcap sg_vpd sg_dd sg_wr_mode sg_write_verify sg_write_x sg_requests sg_start \
	sg_reassign sg_turs sg_seek sg_xcopy sg_copy_results
requires_module sg

data=$(loop_dev 32)
meta=$(loop_dev 8)
format_pair "$meta" "$data"
start_runner
backstore disk "$data" "$meta" mode=journal
disk=$(loop_login disk)
cd "$LAB_TMP"

# holds DISK LBA FILE: the blocks from LBA on are FILE's bytes.
holds() {
	dd if="$1" of=seen bs="$(stat -c %s "$3")" count=1 skip=$(($2 * 512)) iflag=direct,skip_bytes status=none
	cmp seen "$3" >&2 || fail "the blocks from $2 on are not those of $3"
}

# says REGEX…: each of them is in $out.
says() {
	local regex
	for regex in "$@"; do
		assert_match "$out" "$regex"
	done
}

dd if=/dev/urandom of=a bs=4096 count=1 status=none
dd if=/dev/urandom of=b bs=4096 count=1 status=none
dd if=/dev/zero of=zeroes bs=4096 count=1 status=none
head -c 512 a >a1
for _ in 1 2 3 4 5 6 7 8; do cat a1; done >a1x8

say 'what the LUN says of itself'
sg_turs "$disk"
out=$(sg_readcap --16 "$disk")
says 'prot_en=0' 'lbpme=0, lbprz=0' 'Number of logical blocks=[0-9]+' 'Logical block length=512'
blocks=$(sed -n 's/.*Number of logical blocks=\([0-9]*\).*/\1/p' <<<"$out")
assert_eq "$blocks" "$(blockdev --getsz "$disk")"
assert_match "$(sg_readcap "$disk")" "Number of logical blocks=$blocks"
out=$(sg_vpd "$disk")
says 'Supported VPD pages' 'Unit serial number' 'Device identification' 'Extended inquiry' 'Third party copy' 'Block limits' \
	'Block device characteristics' 'Logical block provisioning'
serial=$(<"$(backstore_dir "$(backstore_name disk)")/wwn/vpd_unit_serial")
serial=${serial##*: }
out=$(sg_vpd --page=sn "$disk")
says "Unit serial number: $serial"
digits=${serial//-/}
out=$(sg_vpd --page=di "$disk")
says "0x6001405${digits:0:25}"
out=$(sg_vpd --page=ei "$disk")
says 'SIMPSUP=1' 'ORDSUP=0' 'HEADSUP=0' 'V_SUP=1' 'NV_SUP=0'
out=$(sg_vpd --page=bl "$disk")
says 'WSNZ\): 0' 'Maximum compare and write length: 255' 'Maximum transfer length: 2048 blocks' \
	'Maximum write same length: (0x10000 blocks|65536 blocks)' 'Maximum unmap LBA count: 0' 'Maximum atomic transfer length: [1-9]'
out=$(sg_vpd --page=tpc "$disk")
says 'Extended copy\(LID1\)' 'Receive copy failure details\(LID1\)' 'block -> block' 'Maximum segment length: 16777216' \
	'Total concurrent copies: 8'
out=$(sg_vpd --page=lbpv "$disk")
says 'LBPU\): 0' 'LBPWS\): 0' 'fully provisioned'

say 'commands'
out=$(sg_opcodes "$disk" | grep -c '^ [0-9a-f][0-9a-f] ')
assert_eq "$out" 60 'supported commands'
out=$(sg_opcodes --opcode=0x2f --rctd "$disk")
says 'Verify\(10\)' 'supported' '2f 16 ff ff ff ff 00 ff ff 00'
out=$(sg_opcodes --opcode=0x9e,0x12 "$disk")
says 'Get LBA status' '9e 12 ff'
out=$(sg_opcodes --tmf "$disk")
says 'Abort task' 'Logical unit reset'

say 'mode pages'
out=$(sg_modes --page=8 "$disk")
says 'DpoFua=1' 'Caching'
says '08 12 04'
out=$(sg_modes --page=8 --control=1 "$disk")
says '08 12 04 00 00'
out=$(sg_modes --all "$disk")
says 'Read-Write error recovery' 'Caching' 'Control' 'Informational exceptions'

say 'writing and verifying'
sg_dd if=a of="$disk" bs=512 count=8 seek=100 oflag=fua 2>/dev/null
holds "$disk" 100 a
sg_dd if="$disk" of=seen bs=512 count=8 skip=100 iflag=fua,dpo 2>/dev/null
assert_same_bytes seen a
sg_verify --lba=100 --count=8 "$disk"
sg_verify --lba=0 --count="$blocks" --bpc=32768 "$disk" # all of it: a scrub
sg_verify --lba=100 --count=8 --ndo=4096 --in=a "$disk"
out=$(assert_status 14 sg_verify -v --lba=100 --count=8 --ndo=4096 --in=b "$disk")
says 'Sense key: Miscompare' 'Miscompare during verify operation' 'Info fld=0x64 \[100\]'
sg_verify --16 --lba=100 --count=8 --ndo=4096 --in=a "$disk"
sg_write_verify --lba=108 --num=8 --bytchk=1 --ilen=4096 --in=b "$disk"
holds "$disk" 108 b
sg_write_verify --16 --lba=108 --num=8 --ilen=4096 --in=a "$disk"
holds "$disk" 108 a
sg_seek --pre-fetch --10 --lba=100 --num-blocks=8 "$disk"

say 'write same'
sg_write_same --in=a1 --lba=200 --num=8 --xferlen=512 "$disk"
holds "$disk" 200 a1x8
sg_verify --lba=200 --count=8 --ebytchk=3 --ndo=512 --in=a1 "$disk"
sg_write_same --16 --ndob --lba=200 --num=8 "$disk"
holds "$disk" 200 zeroes
out=$(assert_fails sg_write_same --16 --unmap --lba=200 --num=8 "$disk")
out=$(assert_fails sg_unmap --force --lba=200 --num=8 "$disk")
holds "$disk" 200 zeroes

sg_write_same --in=a1 --lba=$((blocks - 8)) --num=0 --xferlen=512 "$disk" # up to the end
holds "$disk" $((blocks - 8)) a1x8

say 'compare and write'
cat a b >ab
cat b a >ba
sg_dd if=a of="$disk" bs=512 count=8 seek=300 2>/dev/null
sg_compare_and_write --in=ab --lba=300 --num=8 --xferlen=8192 "$disk"
holds "$disk" 300 b
out=$(assert_status 14 sg_compare_and_write --in=ab --lba=300 --num=8 --xferlen=8192 "$disk")
says 'Miscompare at byte offset: 0 '
holds "$disk" 300 b
sg_compare_and_write --fua --in=ba --lba=300 --num=8 --xferlen=8192 "$disk"
holds "$disk" 300 a

say 'or, atomic'
sg_write_x --or --in=b --lba=300 --num=8 --bs=512 "$disk"
python3 -c 'a, b = open("a", "rb").read(), open("b", "rb").read()
open("or", "wb").write(bytes(x | y for x, y in zip(a, b)))'
holds "$disk" 300 or
sg_write_x --atomic=0 --in=b --lba=300 --num=8 --bs=512 "$disk"
holds "$disk" 300 b

say 'copies'
sg=/dev/$(ls "/sys/block/${disk##*/}/device/scsi_generic")
out=$(sg_copy_results --params "$disk")
says 'SNLID\): yes' 'Maximum segment descriptor count: 4' 'Segment descriptor 0x02' 'Target descriptor 0xe4'
dd if=/dev/urandom of=many bs=512 count=9000 status=none
dd if=many of="$disk" bs=512 seek=10000 oflag=direct status=none
sg_xcopy if="$sg" of="$sg" bs=512 skip=10000 seek=20000 count=9000 bpt=32768 list_id=5 id_usage=hold 2>/dev/null
cmp -n $((9000 * 512)) "$disk" many -i $((20000 * 512)):0
out=$(sg_copy_results --status --list_id=5 "$disk")
says 'completed without errors' 'Segments processed: 1' 'Transfer count: 4608000'
out=$(assert_fails sg_xcopy if="$sg" of="$sg" bs=512 skip=10000 seek=10100 count=200 bpt=200 2>&1) # over its source
says 'Illegal request'
out=$(assert_fails sg_xcopy if="$sg" of="$sg" bs=512 skip=10000 seek=$((blocks - 100)) count=200 bpt=200 \
	list_id=5 id_usage=hold 2>&1)
says 'Copy aborted'
out=$(sg_copy_results --failed --list_id=5 "$disk")
says 'Sense key: Copy Aborted' 'start of segment descriptor, byte 20'

say 'where what is'
scsi "$disk" -r 24 9e 12 00 00 00 00 00 00 01 2c 00 00 00 18 00 00 >/dev/null
out=$(sg_raw -r 24 "$disk" 9e 12 00 00 00 00 00 00 01 2c 00 00 00 18 00 00 2>&1)
says '00 00 00 14 00 00 00 00  00 00 00 00 00 00 01 2c' "00 00 $(printf '%04x' $((blocks - 300)) | sed 's/../& /g')00 00 00 00"
sg_get_lba_status --lba=300 "$disk"

say 'flushes'
sg_sync "$disk"
sg_sync --lba=100 --count=8 "$disk"
sg_sync --16 --immed "$disk"
sg_start --stop "$disk"
sg_start --start "$disk"
sg_turs "$disk"

say 'state and counters'
out=$(sg_requests --desc "$disk" 2>&1)
says '[Nn]o [Ss]ense'
out=$(sg_logs "$disk")
says 'Write error' 'Read error' 'Verify error' 'Background scan' 'Informational exceptions'
out=$(sg_logs --page=5 "$disk")
says 'Total bytes processed = [1-9]'
says 'Total uncorrected errors = 0'
out=$(sg_logs --page=0x15 "$disk")
says 'no background scans active'
out=$(sg_reassign --grown "$disk")
says 'grown defect list: 0'

say 'sense data in descriptor format'
sg_wr_mode --page=0xa --contents=0a,0a,06,10,00,40,00,00,ff,ff,00,00 "$disk"
out=$(sense "$disk" -r 512 28 00 ff ff ff ff 00 00 01 00)
says 'Descriptor format' 'Illegal Request' 'Logical block address out of range'
sg_wr_mode --page=0xa --contents=0a,0a,02,10,00,40,00,00,ff,ff,00,00 "$disk"
out=$(sense "$disk" -r 512 28 00 ff ff ff ff 00 00 01 00)
says 'Fixed format'

say 'no write cache'
sg_wr_mode --page=8 --contents=08,12,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00 "$disk"
out=$(sg_modes --page=8 "$disk")
says '08 12 00'
sg_dd if=a of="$disk" bs=512 count=8 seek=5000 2>/dev/null
holds "$disk" 5000 a
sg_wr_mode --page=8 --contents=08,12,04,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00 "$disk"

say 'a corrupted block'
sg_sync "$disk"
sg_dd if=a of="$disk" bs=512 count=8 seek=4000 oflag=fua 2>/dev/null
logout disk
backstore_remove disk
damage "$data" 4003
backstore disk "$data" "$meta" mode=journal
disk=$(loop_login disk)
out=$(assert_status 18 sg_verify -v --lba=4000 --count=8 "$disk")
says 'Medium Error' 'Unrecovered read error'
out=$(sg_logs --page=5 "$disk")
says 'Total uncorrected errors = 1'
sg=/dev/$(ls "/sys/block/${disk##*/}/device/scsi_generic")
out=$(assert_fails sg_xcopy if="$sg" of="$sg" bs=512 skip=4000 seek=6000 count=8 list_id=6 id_usage=hold 2>&1)
says 'Copy aborted'
out=$(sg_copy_results --failed --list_id=6 "$disk")
says 'Sense key: Copy Aborted' 'Third party device failure'

say 'copies, and tcmu-runner is killed meanwhile: the initiator repeats what it gets no answer to'
(
	until [[ -e enough ]]; do
		sg_xcopy if="$sg" of="$sg" bs=512 skip=10000 seek=30000 count=9000 bpt=3000 || exit
	done
) 2>copying &
copier=$!
sleep 0.5
kill_runner
start_runner
touch enough
wait "$copier" || fail "$(<copying)"
cmp -n $((9000 * 512)) "$disk" many -i $((30000 * 512)):0
