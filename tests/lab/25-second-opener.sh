#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A pair serves one at a time: whoever comes second is refused, and told who has it.
# lab: timeout=200
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

data=$(loop_dev 32)
meta=$(loop_dev 8)
spare=$(loop_dev 32)
format_pair "$meta" "$data"
start_runner
backstore first "$data" "$meta"

create() {
	targetcli /backstores/user:integrity create "name=$(backstore_name second)" size=1M "cfgstring=$1;meta=$2"
}

for pair in "$data $meta" "$spare $meta" "$data $spare"; do
	read -r a b <<<"$pair"
	said=$(assert_fails create "$a" "$b")
	assert_match "$said" "cfgstring invalid: .*in use by .*$(runner_pid)"
done
assert_match "$(assert_fails "$cli" check "$meta" --data-device "$data")" "in use by .*$(runner_pid)"
assert_fails integritysetup open "$meta" second --data-device "$data" --integrity crc32c --batch-mode

# The first one is none the worse for it.
disk=$(loop_login first)
write_random "$disk" 0 8
sg_sync "$disk"
read_blocks "$disk" 0 8
logout first
backstore_remove first

mapped=$(kernel_open "$meta" "$data" direct)
said=$(assert_fails create "$data" "$meta")
assert_match "$said" "cfgstring invalid: .*in use by .*dm-"
kernel_close "$mapped"

# An open that fails leaves nothing behind, the second time rtslib tries included.
format_pair "$meta" "$data" --force
said=$(assert_fails targetcli /backstores/user:integrity create "name=$(backstore_name third)" size=1G \
	"cfgstring=$data;meta=$meta")
assert_match "$said" 'creation failed'
assert runner_log_has 'open failed: a size of 1073741824 bytes is more than'
backstore third "$data" "$meta"
assert_runner_alive
