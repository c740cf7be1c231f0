#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# In targetcli-ext, a LUN is made by named parameters that complete and have help; what is wrong is said in a
# sentence and nothing is made; stock's own way works, too.
# lab: timeout=360
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-targetcli.sh
. "${BASH_SOURCE[0]%/*}/lib-targetcli.sh"

node=/backstores/user:integrity
lun=$(backstore_name lun0)
loop=$(loop_dev 32)
meta=$(loop_dev 8)
# As udev would: the path that an administrator should give.
mkdir -p /dev/disk/by-id
data=/dev/disk/by-id/lab-data
ln -sfn "$loop" "$data"
at_end rm "$data"
install_targetcli_ext
start_runner

# refused REGEX… -- COMMAND…: as many commands as sentences; nothing is made by any of them.
refused() {
	local regexes=() told i
	while [[ $1 != -- ]]; do
		regexes+=("$1")
		shift
	done
	shift
	mapfile -t told < <(session "${@/#/$node create $lun }" | grep '^error: ')
	printf '# %s\n' "${told[@]}" >&2
	assert_eq "${#told[@]}" "${#regexes[@]}" 'commands that were refused'
	for i in "${!regexes[@]}"; do
		assert_match "${told[i]}" "${regexes[i]}"
	done
	[[ -z $(backstore_dir "$lun") ]] || fail 'a backstore was created'
}
before=$(sha256sum "$data" "$meta")
refused 'the data device is missing: give data=PATH' 'the metadata device is missing: give meta=PATH' \
	'data and profile are both given' 'cfgstring and mode are both given' 'holds no dm-integrity superblock' \
	'mode=fast is unknown; it can be: journal, direct' 'they must be two devices' \
	'none.conf: the file cannot be read' 'the pair was not formatted, and no backstore was created' -- \
	'' "data=$data" "data=$data meta=$meta profile=x" "cfgstring=$data;meta=$meta mode=direct" \
	"data=$data meta=$meta" "data=$data meta=$meta mode=fast" "data=$data meta=$data" profile=none \
	"data=$data meta=$meta format=true"
# Nobody agreed to the last one, and nobody could be asked.
assert_eq "$(sha256sum "$data" "$meta")" "$before" 'contents of the devices'

# On a terminal somebody can be asked, and can say no.
answered() {
	printf '%s\n' "$1" | script -qec "targetcli-ext $node create $lun data=$data meta=$meta format=true \
		block_size=4096 cache_mb=3 hash=sha256 commit_time=5000" /dev/null
}
said=$(answered no || :)
assert_match "$said" "$data.*will be filled with zeros"
assert_match "$said" 'Type YES.*nothing was changed.*the pair was not formatted, and no backstore was created'
assert_eq "$(sha256sum "$data" "$meta")" "$before" 'contents of the devices'
[[ -z $(backstore_dir "$lun") ]] || fail 'a backstore was created'
at_end backstore_delete "$lun"
answered YES >&2
dir=$(backstore_dir "$lun")
assert_eq "$(sed -n 's|.*Config: \([^ ]*\) .*|\1|p' "$dir/info")" \
	"integrity/$data;meta=$meta;hash=sha256;cache_mb=3;commit_time=5000"
assert_eq "$(<"$dir/attrib/hw_block_size")" 4096
assert_eq "$(<"$dir/attrib/hw_max_sectors")" 256
assert_eq "$(<"$dir/attrib/dev_size")" $(($(provided_sectors "$meta") * 512))
assert_match "$(ext $node ls)" "lun0 .*$data;meta=$meta"
# How it is, and what can be done to it.
disk=$(loop_login lun0)
dd if=/dev/urandom of="$disk" bs=64k count=8 oflag=direct conv=fsync status=none
said=$(ext "$node/$lun" status)
say "$said"
for regex in 'state +ready, mode journal' "data device +$data" "metadata device +$meta" 'blocks of 4096' 'tags +sha256, 32 bytes' \
	'mismatches +0' 'I/O errors +0 data, 0 metadata' 'journal +[0-9]+% of [0-9]+ entries' 'scrub +never' \
	'flushes +(none measured yet|[1-9][0-9]* measured, mean [0-9.]+ ms)'; do
	assert_match "$said" "$regex"
done
# A bad block that nobody reads is found by a scrub; one that is too slow to end now can be stopped.
dd if=/dev/urandom of="$data" bs=4096 seek=5000 count=1 oflag=direct conv=notrunc status=none
said=$(session "$node/$lun info" "$node ls" "$node/$lun scrub begin" "$node/$lun scrub start rate=1" \
	"$node/$lun scrub start rate=1M" "$node/$lun scrub rate rate=2M" "$node/$lun flush" "$node/$lun status" "$node/$lun scrub stop" "$node/$lun status" "$node/$lun scrub stop" \
	"$node/$lun scrub start restart=true")
say "$said"
for regex in 'info.*mismatches +0.*\$' 'ls.*ready, mode journal, 0 mismatches.*\$' \
	'error: .*scrub start, scrub stop, scrub rate, not scrub begin' 'error: rate=1 is not from 64K to 1T' \
	'The scrub goes on at another rate' 'All that was acknowledged is durable' 'scrub +running, [0-9]+%' 'scrub +stopped' \
	"error: $lun: the scrub was not stopped: "; do
	assert_match "$said" "$regex"
done
scrub_is_done() { [[ $("$cli" scrub status "$lun" || :) == *finished* ]]; }
wait_for 60 scrub_is_done
said=$(ext "$node/$lun" status)
assert_match "$said" 'scrub +finished, 100%, 8 bad sectors'
assert_match "$said" 'sectors 40000 to 40007: mismatch'
# Written again, it is good.
dd if=/dev/urandom of="$disk" bs=4096 seek=5000 count=1 oflag=direct conv=fsync status=none
dd if="$disk" of=/dev/null bs=4096 skip=5000 count=1 iflag=direct status=none
loop_logout lun0

ext $node delete "$lun" >&2
[[ -z $(backstore_dir "$lun") ]] || fail 'the backstore is still there'

# A profile, and stock's own way, which takes its parameters by their places, too.
mkdir -p /etc/tcmu/integrity.d
printf '[lun]\ndata=%s\nmeta=%s\nhash=sha256\n' "$data" "$meta" >/etc/tcmu/integrity.d/p.conf
said=$(session "$node create $lun profile=p mode=direct" "$node ls" "$node delete $lun" \
	"$node create $lun 16M $data;meta=$meta;hash=sha256" "$node ls" "$node delete $lun")
say "$said"
[[ $said != *error:* ]] || fail 'one of them was refused'
assert_match "$said" 'profile=p;mode=direct .32.0MiB..*meta=.*hash=sha256 .16.0MiB.'
refused 'more than the pair provides' "block_size=512 is less than the pair's blocks have" -- \
	'profile=p size=64M' 'profile=p block_size=512'
command targetcli $node create "$lun" 16M cfgstring=profile=p control=hw_block_size=4096 >&2

# What tab shows.
said=$(session "?$node create x mode=" "?$node create x backend=u" "?$node create x data=/dev/loop" "?$node create x data=/dev/disk/by-id/lab" \
	"?$node create x journal_w" "$node help create" "$node delete $lun")
say "$said"
for regex in 'mode= -> mode=journal mode=direct mode=bitmap mode=recovery' 'backend=u -> backend=uring ' \
	"data=/dev/loop -> .*data=$loop.*data=$meta" "data=/dev/disk/by-id/lab -> data=$data " 'journal_w -> .*journal_watermark=' 'all that the pair' 'CFGSTRING FORMAT' 'format=true makes'; do
	assert_match "$said" "$regex"
done

# The manual page's examples, as they stand there.
mapfile -t lines < <(sed -n 's/^# targetcli/targetcli/p' "$LAB_SOURCE/docs/tcmu-handler-integrity.7.scd")
assert [ "${#lines[@]}" -ge 4 ]
typed=$(printf '%s\n' "${lines[@]}" | sed "s|/dev/DATA|$data|; s|/dev/META|$meta|; s|lun0|$lun|g")
say "$typed"
# What is a pair already is refused.
dd if=/dev/zero of="$meta" bs=4k count=1 oflag=direct status=none
eval "$typed" >&2
ext $node delete "$lun" >&2
"$cli" format "$meta" --data-device "$data" --integrity sha256 --sector-size 4096 --force --batch-mode --no-wipe

# Linked to where Python looks, the .pth file does the same to targetcli itself.
printf '%s\n' /usr/local/share/tcmu-integrity/python \
	'import tcmu_integrity_targetcli.hook; tcmu_integrity_targetcli.hook.arm()' \
	>/usr/lib/python3/dist-packages/tcmu-integrity-targetcli.pth
command targetcli $node create "$lun" profile=p >&2
command targetcli $node delete "$lun" >&2
# And if it breaks, stock goes on.
echo 'raise RuntimeError("broken")' >>/usr/local/share/tcmu-integrity/python/tcmu_integrity_targetcli/backstore.py
said=$(command targetcli $node ls 2>&1)
assert_match "$said" 'goes on without the commands of user:integrity: broken'
assert_match "$said" 'user:integrity .*Storage Objects: 0'
