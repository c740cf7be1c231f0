#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# In targetcli-ext, a LUN is made by named parameters that complete and have help; what is wrong is said in a
# sentence and nothing is made; stock's own way works, too.
# lab: timeout=240
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-targetcli.sh
. "${BASH_SOURCE[0]%/*}/lib-targetcli.sh"

node=/backstores/user:integrity
data=$(loop_dev 32)
meta=$(loop_dev 8)
install_targetcli_ext
start_runner

said=$(ext $node help create)
for word in name size data meta profile mode format cache_mb 'all that the pair' 'CFGSTRING FORMAT'; do
	assert_match "$said" "$word"
done

# Nothing is there yet: sentences, and nothing is made.
refused() {
	local regex=$1 said
	shift
	said=$(assert_fails ext $node create lun0 "$@")
	assert_match "$said" "$regex"
	[[ -z $(backstore_dir lun0) ]] || fail "a backstore was created by: $*"
}
refused 'the data device is missing: give data=PATH'
refused 'the metadata device is missing: give meta=PATH' "data=$data"
refused 'data and profile are both given' "data=$data" "meta=$meta" profile=x
refused 'cfgstring and mode are both given' "cfgstring=$data;meta=$meta" mode=direct
refused "no superblock|not.*dm-integrity|nothing of dm-integrity|format" "data=$data" "meta=$meta"
refused 'mode=fast is unknown; it can be: journal, direct' "data=$data" "meta=$meta" mode=fast
refused 'they must be two devices' "data=$data" "meta=$data"
refused 'none.conf: the file cannot be read' profile=none
# Nobody agreed, and nobody can be asked.
before=$(sha256sum "$data" "$meta")
refused 'the pair was not formatted, and no backstore was created' "data=$data" "meta=$meta" format=true
assert_eq "$(sha256sum "$data" "$meta")" "$before" 'contents of the devices'

ext $node create lun0 "data=$data" "meta=$meta" format=true yes=true block_size=4096 cache_mb=3 hash=sha256 \
	commit_time=5000 >&2
at_end backstore_delete lun0
dir=$(backstore_dir lun0)
assert_eq "$(sed -n 's|.*Config: \([^ ]*\) .*|\1|p' "$dir/info")" \
	"integrity/$data;meta=$meta;hash=sha256;cache_mb=3;commit_time=5000"
assert_eq "$(<"$dir/attrib/hw_block_size")" 4096
assert_eq "$(<"$dir/attrib/hw_max_sectors")" 2048
assert_eq "$(<"$dir/attrib/dev_size")" $(($(provided_sectors "$meta") * 512))
assert_match "$(ext $node ls)" "lun0 .*$data;meta=$meta"
ext $node delete lun0 >&2
[[ -z $(backstore_dir lun0) ]] || fail 'the backstore is still there'

# A profile, and stock's own way, which takes its parameters by their places, too.
mkdir -p /etc/tcmu/integrity.d
printf '[lun]\ndata=%s\nmeta=%s\nhash=sha256\n' "$data" "$meta" >/etc/tcmu/integrity.d/p.conf
ext $node create lun0 profile=p mode=direct >&2
assert_match "$(<"$dir/info")" 'integrity/profile=p;mode=direct'
ext $node delete lun0 >&2
refused 'more than the pair provides' profile=p size=64M
refused "block_size=512 is less than the pair's blocks have" profile=p block_size=512
ext $node create lun0 16M "$data;meta=$meta;hash=sha256" >&2
assert_eq "$(<"$dir/attrib/dev_size")" $((16 << 20))
ext $node delete lun0 >&2
command targetcli $node create lun0 16M cfgstring=profile=p control=hw_block_size=4096 >&2
ext $node delete lun0 >&2

# What tab shows.
said=$("$LAB_DIR/completions" "$TARGETCLI_HOME" "$node create x mode=" "$node create x backend=u" \
	"$node create x data=/dev/loop" "$node create x journal_w" "$node create x meta=${meta%?}")
say "$said"
for regex in 'mode= -> mode=journal mode=direct mode=bitmap mode=recovery' 'backend=u -> backend=uring ' \
	"data=/dev/loop -> .*data=$data.*data=$meta" 'journal_w -> .*journal_watermark='; do
	assert_match "$said" "$regex"
done

# Linked to where Python looks, the .pth file does the same to targetcli itself.
printf '%s\n' /usr/local/share/tcmu-integrity/python \
	'import tcmu_integrity_targetcli.hook; tcmu_integrity_targetcli.hook.arm()' \
	>/usr/lib/python3/dist-packages/tcmu-integrity-targetcli.pth
command targetcli $node create lun0 profile=p >&2
command targetcli $node delete lun0 >&2
# And if it breaks, stock goes on.
echo 'raise RuntimeError("broken")' >>/usr/local/share/tcmu-integrity/python/tcmu_integrity_targetcli/backstore.py
said=$(command targetcli $node ls 2>&1)
assert_match "$said" 'goes on without the commands of user:integrity: broken'
assert_match "$said" 'user:integrity .*Storage Objects: 0'
