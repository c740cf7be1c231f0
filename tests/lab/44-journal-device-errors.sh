#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# Mode journal over devices of which a part fails: the journal, the tags, or the data. The request that needs
# the part fails, with the sense data that says so; all others are served, and are right. When the part is back,
# everything is as it was told, also after the LUN was closed and opened again.
# lab: timeout=300
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-journal.sh
. "${BASH_SOURCE[0]%/*}/lib-journal.sh"

failure='Internal target failure'
data=$(faulty_dev "$(loop_dev 32)")
meta=$(faulty_dev "$(loop_dev 4)")
# 5 sections of 168 entries: what is behind the watermark fills it soon.
format_pair "$meta" "$data" --journal-size 440K
journal_areas "$meta"
start_runner

open_lun() {
	quick_backstore disk "$data" "$meta" mode=journal cache_mb=1
	disk=$(loop_login disk)
}

close_lun() {
	logout disk
	backstore_remove disk
}

# Known content: the same bytes as in $LAB_TMP/want, from LBA 0 on.
truncate -s 4M "$LAB_TMP/want"

# put LBA BLOCKS: must succeed.
put() {
	dd if=/dev/urandom of="$LAB_TMP/piece" bs=512 count="$2" status=none
	dd if="$LAB_TMP/piece" of="$disk" bs=$(($2 * 512)) count=1 seek=$(($1 * 512)) \
		oflag=direct,seek_bytes conv=notrunc,nocreat status=none
	dd if="$LAB_TMP/piece" of="$LAB_TMP/want" bs=512 count="$2" seek="$1" conv=notrunc status=none
}

# until_refused KEY ADDITIONAL: zeros go where zeros are, until a write fails, which must be for this reason.
until_refused() {
	local lba said address
	for ((lba = 20000; lba < 24000; lba += 64)); do
		read -ra address <<<"$(lba10 $lba)"
		said=$(scsi "$disk" -s 32768 2a 00 "${address[@]}" 00 00 40 00 2>&1) && continue
		assert_match "$said" "Sense key: $1"
		assert_match "$said" "Additional sense: $2"
		say "refused at $lba"
		return
	done
	fail 'all writes succeeded'
}

all_right() {
	dd if="$disk" of="$LAB_TMP/seen" bs=64k count=64 iflag=direct status=none
	cmp "$LAB_TMP/seen" "$LAB_TMP/want" >&2 || fail "${1:-}: the LUN returns wrong data"
}

flush_sense() {
	sense "$disk" 35 00 00 00 00 00 00 00 00 00
}

# settled WHAT: as told, now and after a close and an open, and on the devices.
settled() {
	all_right "$1"
	put 8000 8 # a close after a replay and nothing else leaves the journal alone, as the kernel's does
	sg_sync "$disk"
	close_lun
	"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null ||
		fail "$1: tags that do not match"
	assert_eq "$(dump_value "$meta" journal_state)" empty "$1: the journal"
	open_lun
	all_right "$1, opened again"
}

open_lun
put 0 64
sg_sync "$disk"

say 'the journal cannot be written: flushes and FUA writes fail, all else is served'
fail_range "$meta" "$journal_first" "$journal_sectors"
put 64 16
assert_sense "$(flush_sense)" 'Hardware Error' "$failure"
assert_sense "$(sense "$disk" -s 512 2a 08 00 00 03 e8 00 00 01 00)" 'Hardware Error' "$failure" 1000
dd if=/dev/zero of="$LAB_TMP/want" bs=512 count=1 seek=1000 conv=notrunc status=none
put 80 16
all_right 'without a journal'
heal "$meta"
settled 'the journal failed'

say 'the journal fails until no entry is free: writes fail, reads do not'
fail_range "$meta" "$journal_first" "$journal_sectors"
for ((lba = 1024; lba < 1424; lba += 40)); do
	put $lba 40
done
until_refused 'Hardware Error' "$failure"
all_right 'a full journal that cannot be written'
heal "$meta"
settled 'the journal failed for long'

say 'the tags cannot be read or written: flushes need none of them'
fail_range "$meta" "$tag_first" "$tag_sectors"
put 2048 160
sg_sync "$disk"
all_right 'without tags of what is in the journal' # they are in memory since the last read
assert_sense "$(read_sense "$disk" 60000 8)" 'Hardware Error' "$failure" 60000
write_random "$disk" 60000 8 # behind what is compared
heal "$meta"
settled 'the tags failed'

say 'the tags fail while the journal is written out: it is kept, and tried again'
fail_range "$meta" "$tag_first" "$tag_sectors"
for ((lba = 3000; lba < 3440; lba += 40)); do
	put $lba 40
done
sg_sync "$disk"
until_refused 'Hardware Error' "$failure"
all_right 'a write-out without tags'
heal "$meta"
settled 'the tags failed in a write-out'

say 'the data device fails in one place: reads of it fail, writes go to the journal'
fail_range "$data" 5000 8
assert_sense "$(read_sense "$disk" 4992 16)" 'Medium Error' 'Unrecovered read error' 5000
put 5000 8
sg_sync "$disk"
read_blocks "$disk" 5000 8
all_right 'an unreadable place that was written'
heal "$data"
settled 'the data device failed in one place'

say 'the data device fails there for long: what it has not taken stays in the journal'
fail_range "$data" 5000 8
put 5000 8
sg_sync "$disk"
for ((lba = 6000; lba < 6280; lba += 40)); do
	put $lba 40
done
sg_sync "$disk"
all_right 'a write-out that fails'
until_refused 'Medium Error' 'Write error'
all_right 'a journal full of what the data device refuses'
heal "$data"
settled 'the data device failed for long'

say 'the data device fails as a whole at the close: the journal keeps what it needs'
put 7000 100
sg_sync "$disk"
fail_all "$data"
! runner_log_has 'close failed' || fail 'a close failed too early'
close_lun
assert runner_log_has 'close failed'
heal "$data"
assert_match "$(dump_value "$meta" journal_state)" 'full_ring|partial_ring'
"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null
open_lun
settled 'the data device failed at the close'

say 'the journal fails at the close: what was flushed before is there'
put 7200 100
sg_sync "$disk"
fail_range "$meta" "$journal_first" "$journal_sectors"
close_lun
heal "$meta"
"$cli" check "$meta" --data-device "$data" --batch-mode >/dev/null
open_lun
settled 'the journal failed at the close'
assert_runner_alive
