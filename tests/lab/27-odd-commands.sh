#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# No command takes tcmu-runner down or is left without an answer, however broken: every group of opcodes, with
# addresses, lengths and buffers that do not fit each other.
# lab: timeout=240
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

requires_command python3
count=3000
[[ -z ${LAB_SOAK:-} ]] || count=30000

data=$(loop_dev 32)
meta=$(loop_dev 8)
format_pair "$meta" "$data"
start_runner
backstore disk "$data" "$meta"
disk=$(loop_login disk)
before=$(runner_pid)

illegal() {
	assert_sense "$(sense "$disk" "${@:2}")" 'Illegal Request' "$1"
}

say 'chosen ones'
illegal 'Invalid command operation code' -s 24 42 00 00 00 00 00 00 00 18 00          # UNMAP
illegal 'Invalid command operation code' 04 00 00 00 00 00                            # FORMAT UNIT
illegal 'Parameter list length error' -s 15 83 00 00 00 00 00 00 00 00 00 00 00 00 0f 00 00      # EXTENDED COPY
illegal 'Invalid field in cdb' -s 16 83 01 00 00 00 00 00 00 00 00 00 00 00 10 00 00             # with LID4
illegal 'Invalid field in cdb' -s 512 93 08 00 00 00 00 00 00 00 00 00 00 00 08 00 00 # WRITE SAME, UNMAP=1
illegal 'Invalid field in cdb' -s 512 41 18 00 00 00 00 00 00 08 00                   # and ANCHOR
illegal 'Invalid field in cdb' -r 512 28 20 00 00 00 00 00 00 01 00                   # RDPROTECT
illegal 'Invalid field in cdb' -s 512 2a 20 00 00 00 00 00 00 01 00                   # WRPROTECT
illegal 'Invalid field in command information unit' -r 512 28 00 00 00 00 00 00 00 08 00                   # half a buffer
illegal 'Invalid field in command information unit' -s 8192 2a 00 00 00 00 00 00 00 08 00                  # two
illegal 'Invalid field in command information unit' 2a 00 00 00 00 00 00 00 08 00                          # none
out_of_range=$(sense "$disk" -r 512 28 00 ff ff ff ff 00 00 01 00)
assert_sense "$out_of_range" 'Illegal Request' 'Logical block address out of range' 4294967295
out_of_range=$(sense "$disk" -r 512 88 00 ff ff ff ff ff ff ff ff 00 00 00 01 00 00)
assert_match "$out_of_range" 'Logical block address out of range'
out_of_range=$(sense "$disk" 35 02 ff ff ff ff 00 00 01 00)
assert_sense "$out_of_range" 'Illegal Request' 'Logical block address out of range' 4294967295
scsi "$disk" 28 00 00 00 00 00 00 00 00 00
scsi "$disk" -s 131072 0a 00 00 00 00 00 # 256 blocks
scsi "$disk" -s 512 93 00 00 00 00 00 00 00 00 00 00 00 08 00 00 00
scsi "$disk" 93 01 00 00 00 00 00 00 00 00 00 00 08 00 00 00 # no data: zeroes
read_blocks "$disk" 0 2048

say 'opcodes that libtcmu skips'
for opcode in c0 ff; do # sg_raw takes the others for NVMe
	start=$(now_ms)
	illegal 'Invalid command operation code' "$opcode" 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
	assert_between $(($(now_ms) - start)) 0 5000 # the kernel's time-out is 30 s
done
illegal 'Invalid command operation code' -s 512 c1 00 00 00 00 00

say "$count random ones"
"$LAB_DIR/odd_commands" "$disk" "$count"
assert_eq "$(runner_pid)" "$before"
assert_runner_alive
write_random "$disk" 0 1024
read_blocks "$disk" 0 1024
sg_sync "$disk"

say 'tcmu-runner ends when it is told to, with such a command just sent'
sense "$disk" c0 00 00 00 00 00 >/dev/null &
command=$!
sleep 0.1
stop_runner
start_runner
wait "$command"
read_blocks "$disk" 0 1024
