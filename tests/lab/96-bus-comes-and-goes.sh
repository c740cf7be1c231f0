#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# The service has its name again after dbus-daemon was started anew, or was started late; a dbus-daemon that does not
# read costs signals of mismatches, which are counted, and nothing else; two LUNs of one name, on pairs that look the
# same, are told apart.
# lab: timeout=480
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-service.sh
. "${BASH_SOURCE[0]%/*}/lib-service.sh"

[[ $LAB_MODE == guest ]] || skip "the bus's policy is to be installed first"

start_bus() {
	dbus-daemon --system --fork --print-pid=3 --nopidfile 3>"$LAB_TMP/dbus.pid"
}
runner_memory_kb() {
	awk '/^RssAnon/ { print $2 }' "/proc/$(runner_pid)/status"
}

data=$(faulty_dev "$(loop_dev 64)")
meta=$(loop_dev 8)
format_pair "$meta" "$data" --integrity-legacy-hmac
start_runner
wait_for 20 service_is_there
backstore disk "$data" "$meta"
name=$(backstore_name disk)
disk=$(loop_login disk)

say 'two LUNs of one name'
data2=$(loop_dev 64)
meta2=$(loop_dev 8)
format_pair "$meta2" "$data2" --integrity-legacy-hmac
first=$(basename "$(dirname "$(backstore_dir "$name")")")
told 0 status "$first/$name"
assert_eq "$(json 'j["luns"][0]["name"]')" "$name"
twin=$target_core/user_4711
mkdir -p "$twin/$name"
at_end rmdir "$twin"
at_end rmdir "$twin/$name"
echo "dev_config=integrity/$data2;meta=$meta2,dev_size=$(($(provided_sectors "$meta2") * 512))" >"$twin/$name/control"
echo 1 >"$twin/$name/enable"
told 0 status
# Whichever was there first: nobody has the name now.
assert_eq "$(json '[(l["name"], l["data_device"]) for l in j["luns"]]')" \
	"[('$first/$name', '$data'), ('user_4711/$name', '$data2')]"
complains 3 "more than one LUN is called '$name': say $first/$name or user_4711/$name" scrub start "$name"
damage "$data2" 77
told 1 scrub start "user_4711/$name" --wait --batch-mode
assert_eq "$(json '(j["scrub"]["end_sector"], j["scrub"]["ranges"][0]["first_sector"])')" '(131072, 77)'
told 0 scrub start "$first/$name" --wait --batch-mode
assert_eq "$(json '(j["scrub"]["end_sector"], j["scrub"]["bad_sectors"])')" '(131072, 0)'
"$cli" metrics >"$LAB_TMP/metrics"
assert_eq "$(metric tcmu_integrity_scrub_bad_bytes "lun=user_4711/$name")" 512
assert_eq "$(metric tcmu_integrity_scrub_bad_bytes "lun=$first/$name")" 0
# Each finds its own after a restart, whichever of them is opened first.
kept() { [[ $(compgen -G '/var/lib/tcmu-integrity/scrub/*.state' | wc -l) -eq 2 ]] && ! grep -lq '^state=running' /var/lib/tcmu-integrity/scrub/*.state; }
wait_for 20 kept
stop_runner
start_runner
wait_for 20 service_is_there
both_know() { told 1 status && [[ $(json 'sorted((l["name"], l["scrub"]["bad_sectors"], l["scrub"]["state"]) for l in j["luns"])') == "[('$first/$name', 0, 'finished'), ('user_4711/$name', 1, 'finished')]" ]]; }
wait_for 20 both_know
rmdir "$twin/$name"
alone() { told 0 status "$name"; }
wait_for 20 alone
# Later targetcli cannot make any: without its bus name, which tcmu-runner does not look for again.
backstore other "$data2" "$meta2"
other=$(loop_login other)

say 'a dbus-daemon that ends, and comes back'
kill "$(<"$LAB_TMP/dbus.pid")"
runner_misses_it() { runner_log_has 'the bus name org.tcmu_integrity1 cannot be had \(the connection to the system bus was lost\)'; }
wait_for 20 runner_misses_it
complains 3 'no connection to the system bus' status
write_random "$disk" 0 64
read_blocks "$disk" 0 64
sleep 4
assert_eq "$(grep -ac 'the bus name org.tcmu_integrity1 cannot be had' "$runner_log")" 1 'lines about the name'
rm -f /run/dbus/system_bus_socket
start_bus
wait_for 70 service_is_there
assert runner_log_has 'the bus name org.tcmu_integrity1 is ours'
told 0 status
assert_eq "$(json '[l["name"] for l in j["luns"]]')" "['$name', '$(backstore_name other)']"
told 0 scrub start "$name" --restart --wait --batch-mode
# Once more: what was taken down is really gone.
kill "$(<"$LAB_TMP/dbus.pid")"
rm -f /run/dbus/system_bus_socket
sleep 1
start_bus
wait_for 70 service_is_there
told 0 status "$name"

say 'a dbus-daemon that does not read'
# Another LUN's mismatch, a device that fails and the end of the scrub get through the storm.
gdbus monitor --system --dest org.tcmu_integrity1 >"$LAB_TMP/signals" &
monitor=$!
at_end kill $monitor
signalled() { grep -qE "$1" "$LAB_TMP/signals"; }
wait_for 20 signalled 'is owned by'
python3 - "$data" <<'END'
import os, sys
file = os.open(sys.argv[1], os.O_RDWR)
for sector in range(20, 131000, 40):
    os.pwrite(file, b"rotten" + sector.to_bytes(8, "little"), sector * 512)
os.fsync(file)
END
blockdev --flushbufs "$data"
# Nothing in between: most of the storm is to find the daemon stopped.
"$cli" scrub start "$name" --restart --rate 16M >&2
kill -STOP "$(<"$LAB_TMP/dbus.pid")"
before=$(runner_memory_kb)
scrub_has_ended() { runner_log_has 'scrub finished .*bad_sectors=3275'; }
wait_for 60 scrub_has_ended
write_random "$disk" 0 64
read_blocks "$disk" 0 64
assert_fails read_blocks "$other" 77 1 >&2
write_random "$disk" 0 64
fail_all "$data"
assert_fails sg_sync "$disk" >&2
heal "$data"
grown=$(($(runner_memory_kb) - before))
kill -CONT "$(<"$LAB_TMP/dbus.pid")"
runner_counts() { runner_log_has "$name: mismatches were not signalled on D-Bus, dbus-daemon did not take them count=[1-9][0-9]+"; }
wait_for 20 runner_counts
wait_for 20 signalled "MismatchFound \(uint64 77, uint64 1, 'read'\)"
wait_for 20 signalled "ScrubFinished \('finished', uint64 3275\)"
wait_for 20 signalled "DeviceFailed \('data', '$data'"
assert_between "$grown" -100000 4096 'KiB that tcmu-runner has grown by'
told 1 scrub status "$name"
# Two of them have been written since.
assert_eq "$(json '(j["scrub"]["state"], j["scrub"]["bad_sectors"], j["scrub"]["mended_sectors"])')" "('finished', 3273, 2)"
assert_runner_alive
