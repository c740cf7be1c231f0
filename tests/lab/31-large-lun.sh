#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A LUN of more than 2^32 blocks: its size, its blocks and the addresses in its sense data are right.
# lab: timeout=150
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

tib_blocks=$((1 << 31))
data=$(loop_dev $((3 << 20)))
meta=$(loop_dev $((26 << 10)))
format_pair "$meta" "$data" --no-wipe
start_runner
backstore disk "$data" "$meta"
disk=$(loop_login disk)

assert_eq "$(blockdev --getsz "$disk")" $((3 * tib_blocks))
assert_match "$(sg_readcap "$disk")" "$((3 * tib_blocks - 1))"
first=$((1 << 32))
for lba in $((first - 4)) $((3 * tib_blocks - 64)); do
	write_random "$disk" "$lba" 64
	read_blocks "$disk" "$lba" 64
done
sg_sync "$disk"

# 100000020h: too long for the fixed format
damage "$data" $((first + 32))
said=$(sense "$disk" -r 32768 88 00 00 00 00 00 ff ff ff fc 00 00 00 40 00 00)
assert_match "$said" 'Descriptor format'
assert_match "$said" 'Medium Error'
assert_match "$said" "0x100000020|$((first + 32))|0000000100000020"
# The last block that would fit into the fixed format; a LUN this large has D_SENSE set.
damage "$data" $((first - 1))
said=$(sense "$disk" -r 32768 88 00 00 00 00 00 ff ff ff fc 00 00 00 40 00 00)
assert_match "$said" 'Information: 0x00000000ffffffff'
assert_fails read_blocks "$disk" $((first + 24)) 16
