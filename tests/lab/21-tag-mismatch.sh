#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A block that does not match its tag reaches the initiator as MEDIUM ERROR, UNRECOVERED READ ERROR, with the
# first bad block's address; the blocks around it can be read, and writing the block mends it.
# lab: timeout=150
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

start_runner

data=$(loop_dev 32)
meta=$(loop_dev 8)
format_pair "$meta" "$data"
backstore small "$data" "$meta"
disk=$(loop_login small)
write_random "$disk" 64 128
sg_sync "$disk"
damage "$data" 100
damage "$data" 103

for _ in 1 2; do
	assert_sense "$(read_sense "$disk" 96 16)" 'Medium Error' 'Unrecovered read error' 100
done
assert_sense "$(read_sense "$disk" 101 8)" 'Medium Error' 'Unrecovered read error' 103
assert_match "$(assert_fails read_blocks "$disk" 96 8)" 'No data available|Input/output error'
read_blocks "$disk" 64 36
read_blocks "$disk" 101 2
read_blocks "$disk" 104 88
assert_match "$(dmesg)" 'critical medium error.*sector 100'
assert runner_log_has 'tag mismatch on read .*sector=100 blocks=2'
write_random "$disk" 100 4
read_blocks "$disk" 64 128
logout small
backstore_remove small
"$cli" check "$meta" --data-device "$data"

# Addresses count the LUN's blocks.
data=$(loop_dev 32)
meta=$(loop_dev 8)
format_pair "$meta" "$data" --sector-size 4096
backstore large "$data" "$meta" hw_block_size=4096
disk=$(loop_login large)
write_random "$disk" 0 256 4096
damage "$data" $((100 * 8 + 5))
assert_sense "$(read_sense "$disk" 96 16 4096)" 'Medium Error' 'Unrecovered read error' 100
assert_sense "$(read_sense "$disk" 100 1 4096)" 'Medium Error' 'Unrecovered read error' 100
read_blocks "$disk" 101 100 4096
assert_runner_alive
