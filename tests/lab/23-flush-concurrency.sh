#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A flush costs the slower device, not the sum, through the whole stack; what is clean is not flushed; any
# number of flushes that wait share one pair of device flushes.
# lab: timeout=240 alone=1
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

data_ms=500
meta_ms=300
slack_ms=200 # a timer tick is 10 ms, and the guest has one CPU

data=$(delay_dev "$(loop_dev 32)" 0 0 0)
faulty=$(faulty_dev "$(loop_dev 8)")
meta=$(delay_dev "$faulty" 0 0 0)
format_pair "$meta" "$data"
start_runner
backstore disk "$data" "$meta" commit_time=3600000 cache_mb=1
disk=$(loop_login disk)
read_blocks "$disk" 0 8
sg_sync "$disk" # the first flush of all goes to both devices: nothing is known of the time before
set_delay "$data" 0 0 $data_ms
set_delay "$meta" 0 0 $meta_ms

assert_between "$(flush_ms "$disk")" 0 $slack_ms 'a flush of a clean pair'
write_random "$disk" 0 8
together=$(flush_ms "$disk")
say "flush after a write: $together ms, of $data_ms ms for the data and $meta_ms ms for the tags"
assert_between "$together" $data_ms $((data_ms + slack_ms)) 'a flush of both'
assert_between "$(flush_ms "$disk")" 0 $slack_ms 'a second flush, with nothing written in between'

set_delay "$data" 0 0 $meta_ms
set_delay "$meta" 0 0 $data_ms
write_random "$disk" 0 8
assert_between "$(flush_ms "$disk")" $data_ms $((data_ms + slack_ms)) 'a flush, the metadata device slower'

# A write whose tag could not be stored leaves the data device dirty and the metadata device clean.
fail_all "$faulty"
assert_sense "$(write_sense "$disk" 40000 8)" 'Hardware Error' 'Internal target failure' 40000
heal "$faulty"
assert_between "$(flush_ms "$disk")" $meta_ms $((meta_ms + slack_ms)) 'a flush of the data device alone'
write_random "$disk" 40000 8
sg_sync "$disk"

# Durable writes wait for both, too.
[[ $(cat "/sys/block/${disk#/dev/}/queue/fua") == 1 ]] || fail 'the initiator does not use FUA'
fua_ms=$(ms_of scsi "$disk" -s 512 2a 08 00 00 00 00 00 00 01 00)
assert_between "$fua_ms" $data_ms $((data_ms + 3 * slack_ms)) 'a write with FUA'

# 32 at once: at most the round that the first one started and one for the others.
write_random "$disk" 0 8
shared=$(flush_ms -n 32 "$disk")
say "32 flushes at once: $shared ms"
assert_between "$shared" $data_ms $((2 * data_ms + slack_ms)) '32 flushes at once'

# IMMED: answered before the flush has ended.
write_random "$disk" 0 8
immed_ms=$(ms_of scsi "$disk" 35 02 00 00 00 00 00 00 00 00)
assert_between "$immed_ms" 0 $((data_ms - 1)) 'a flush with IMMED'
