#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# High availability over DRBD: data and metadata are two volumes of one resource with protocol C. When the node that
# serves is lost under load, the other one has all that was flushed, and opens the pair as after a power cut. Back on the first
# node, where the memory of the killed tcmu-runner still lies in /run, nothing of that comes up again.
# Both nodes are this kernel: DRBD talks to itself over the loopback interface.
# lab: timeout=180
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"

requires_command drbdsetup drbdmeta
# It wants to tell a cluster manager what happens.
modprobe drbd usermode_helper=/bin/true || skip 'the kernel module drbd is missing'
at_end modprobe -r drbd

# Each node has the minors FIRST (data) and FIRST + 1 (metadata).
declare -A first=([here]=0 [there]=2) address=([here]=127.0.0.1:7788 [there]=127.0.0.1:7789)

both_minors() {
	echo "${first[$1]} $((first[$1] + 1))"
}

make_node() {
	local minor disk volume=0
	drbdsetup new-resource "$1"
	at_end drbdsetup down "$1"
	for minor in $(both_minors "$1"); do
		disk=$(loop_dev $((volume ? 8 : 32)))
		drbdmeta --force "$minor" v08 "$disk" internal create-md >&2
		drbdsetup new-minor "$1" "$minor" "$volume"
		drbdsetup attach "$minor" "$disk" "$disk" internal --c-plan-ahead=0 --resync-rate=200M
		volume=$((volume + 1))
	done
}

# connect NODE PEER [option…]
connect() {
	drbdsetup connect "$1" "ipv4:${address[$1]}" "ipv4:${address[$2]}" --protocol=C "${@:3}"
}

lose_connection() {
	drbdsetup disconnect "ipv4:${address[here]}" "ipv4:${address[there]}" --force
	drbdsetup disconnect "ipv4:${address[there]}" "ipv4:${address[here]}" --force
}

all_are_connected() {
	[[ $(grep -c 'cs:Connected' /proc/drbd) == 4 ]]
}

all_are_up_to_date() {
	[[ $(grep -c 'cs:Connected.*ds:UpToDate/UpToDate' /proc/drbd) == 4 ]]
}

# role NODE ROLE: primary or secondary.
role() {
	local minor
	for minor in $(both_minors "$1"); do
		drbdsetup "$2" "$minor"
	done
}

# serve NODE: its pair as a LUN; sets disk.
serve() {
	backstore "$1" "/dev/drbd${first[$1]}" "/dev/drbd$((first[$1] + 1))" mode=journal
	disk=$(loop_login "$1")
}

leave() {
	logout "$1"
	backstore_remove "$1"
}

# put FILE AT: so many MiB from the beginning, and a flush; is_there likewise.
put() {
	dd if="$1" of="$disk" bs=256k seek="$2"M oflag=direct,seek_bytes conv=fsync status=none
}

is_there() {
	cmp "$1" <(dd if="$disk" bs=1M skip="$2" count=2 iflag=direct status=none)
}

for name in old new latest; do
	dd if=/dev/urandom of="$LAB_TMP/$name" bs=1M count=2 status=none
done

make_node here
make_node there
connect here there
connect there here
wait_for 20 all_are_connected
# Both disks are all zeroes: nothing to be copied.
for minor in $(both_minors here); do
	drbdsetup new-current-uuid --clear-bitmap "$minor"
done
wait_for 20 all_are_up_to_date
role here primary
format_pair /dev/drbd1 /dev/drbd0
start_runner
serve here
put "$LAB_TMP/old" 0
put "$LAB_TMP/new" 0
put "$LAB_TMP/old" 4

say 'the node that serves is lost, under load'
dd if=/dev/urandom of="$disk" bs=64k count=300 seek=128 oflag=direct status=none &
load=$!
load_has_begun() {
	[[ $(awk '{ print $7 }' "/sys/block/${disk#/dev/}/stat") -gt 18432 ]]
}
wait_for 30 load_has_begun
lose_connection
kill_runner
# What a node that is lost would keep; this one must let go of its disks first.
cp -a /run/tcmu-integrity "$LAB_TMP/left"
assert_match "$(ls "$LAB_TMP/left")" 'block-147-1-0.journal'
start_runner
wait "$load" || :
leave here
role here secondary

say 'the other one takes over'
role there primary
serve there
is_there "$LAB_TMP/new" 0
is_there "$LAB_TMP/old" 4
put "$LAB_TMP/latest" 0
leave there
"$cli" check /dev/drbd3 --data-device /dev/drbd2 --batch-mode >&2
role there secondary

say 'and back, where the memory of the killed runner is'
connect there here
connect here there --discard-my-data
wait_for 30 all_are_up_to_date
role here primary
cp -a "$LAB_TMP/left/." /run/tcmu-integrity
serve here
runner_log_has 'is not as a killed tcmu-runner left it' || fail 'the stale memory of a killed runner was not noticed'
is_there "$LAB_TMP/latest" 0
is_there "$LAB_TMP/old" 4
put "$LAB_TMP/new" 4
is_there "$LAB_TMP/new" 4
leave here
"$cli" check /dev/drbd1 --data-device /dev/drbd0 --batch-mode >&2
assert_runner_alive
