#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# Whoever creates a LUN with a wrong config string is told what is wrong with it, nothing is created, and
# nothing changes on the devices.
# lab: timeout=150
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

data=$(loop_dev 32)
meta=$(loop_dev 8)
blank=$(loop_dev 8)
read_only=$(loop_dev 32 --read-only)
format_pair "$meta" "$data"
start_runner

devices=("$data" "$meta" "$blank" "$read_only")
digests() {
	local dev
	for dev in "${devices[@]}"; do
		blockdev --flushbufs "$dev"
		sha256sum "$dev"
	done
}
before=$(digests)

# refused CONFIG REGEX: by the D-Bus call that targetcli makes.
refused() {
	local answer
	answer=$(dbus-send --system --print-reply --dest=org.kernel.TCMUService1 \
		/org/kernel/TCMUService1/integrity org.kernel.TCMUService1.CheckConfig "string:integrity/$1")
	assert_match "$answer" 'boolean false' "answer to '$1'"
	assert_match "$answer" "$2" "answer to '$1'"
}

refused '' 'the data device is missing'
refused "$data" 'the metadata device is missing'
refused "${data#/dev/};meta=$meta" 'not an absolute path'
refused "$data;meta=$meta;cachemb=1" "did you mean 'cache_mb'"
refused "$data;meta=$meta;cache_mb=0" 'not a number from 1 to'
refused "$data;meta=$meta;mode=bitmaps" 'mode=bitmaps is unknown; it can be: '
refused "$data;meta=$meta;mode=direct;mode=direct" 'given twice'
refused 'profile=db1' 'db1'
refused "$data;meta=$data" 'must be two devices'
refused "$data;meta=/dev/nothing" '/dev/nothing does not exist'
refused "/tmp;meta=$meta" '/tmp is a directory'
refused "$data;meta=$blank" "$blank"
refused "$meta;meta=$data" "$data"
refused "$data;meta=$meta;start=8" "$meta"
refused "$read_only;meta=$meta" "$read_only is read-only"
refused "$data;meta=$meta;hash=md5" 'hash=md5 is unknown; it can be: .*crc32c'
refused "$(printf '/%0300d' 0);meta=$meta" 'may have 254'

say 'anybody may ask'
as_nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups dbus-send --system --print-reply \
		--dest=org.kernel.TCMUService1 /org/kernel/TCMUService1/integrity \
		org.kernel.TCMUService1.CheckConfig "string:$1"
}
mkdir -m 700 "$LAB_TMP/secret"
: >"$LAB_TMP/secret/there"
for path in secret/there secret/nothing; do
	assert_match "$(as_nobody "integrity/$LAB_TMP/$path;meta=$meta")" 'not for everybody to know'
done
assert_match "$(as_nobody "integrity/$data;meta=/dev/nothing")" 'does not exist'
assert_match "$(as_nobody "integrity/$data;meta=$meta")" 'boolean true'
assert_match "$(as_nobody $'x\n2026-11-29 12:00:00.000 417:cmdproc-uio0 [ERROR] forged')" 'control character 0x0a'
assert_fails runner_log_has forged >/dev/null

create() {
	targetcli /backstores/user:integrity create "name=$(backstore_name bad)" size=1M "cfgstring=$1"
}
said=$(assert_fails create "$data;meta=/dev/nothing")
assert_match "$said" 'cfgstring invalid: the metadata device /dev/nothing does not exist'
[[ -z $(backstore_dir "$(backstore_name bad)") ]] || fail 'a backstore was created'
assert_eq "$(digests)" "$before" 'contents of the devices'
assert_match "$(targetcli /backstores/user:integrity help create)" 'meta=<metadata device>'

# Blocks that do not fit are found by open only; the log says why.
format_pair "$meta" "$data" --force --sector-size 4096
before=$(digests)
said=$(assert_fails create "$data;meta=$meta")
assert_match "$said" 'creation failed'
assert_eq "$(digests)" "$before" 'contents of the devices'
assert runner_log_has 'open failed: the LUN is to have blocks of 512 bytes'
backstore even "$data" "$meta" hw_block_size=4096
assert_runner_alive
