#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A scrub goes on where it was after tcmu-runner was killed, and keeps what it had found; one that was stopped
# waits to be started; a bus name that somebody else has costs one line in the log and nothing else.
# lab: timeout=480
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-service.sh
. "${BASH_SOURCE[0]%/*}/lib-service.sh"

[[ $LAB_MODE == guest ]] || skip "the bus's policy is to be installed first"

data=$(loop_dev 64)
meta=$(loop_dev 8)
format_pair "$meta" "$data"
start_runner
wait_for 20 service_is_there
backstore disk "$data" "$meta"
name=$(backstore_name disk)
damage "$data" 100

say 'killed on the way'
told 0 scrub start "$name" --rate 2M
assert_eq "$(json '(j["scrub"]["state"], j["scrub"]["rate_limit"])')" "('running', 2097152)"
is_kept() { grep -qE '^sector=[1-9]' /var/lib/tcmu-integrity/scrub/*.state; }
wait_for 30 is_kept
kept=$(sed -n 's/^sector=//p' /var/lib/tcmu-integrity/scrub/*.state)
kill_runner
start_runner
wait_for 20 service_is_there
wait_for 20 scrub_is "$name" running
told 1 scrub status "$name"
assert_eq "$(json "j['scrub']['sector'] >= $kept")" True
assert_eq "$(json '(j["scrub"]["rate_limit"], j["scrub"]["ranges"][0]["first_sector"], j["scrub"]["ranges_total"])')" \
	'(2097152, 100, 1)'
assert runner_log_has "scrub begins sector=[1-9][0-9]* of=131072"

say 'at another rate'
told 0 scrub rate "$name" --rate 3M
assert_eq "$(json 'j["scrub"]["rate_limit"]')" 3145728

say 'stopped'
told 0 scrub stop "$name"
wait_for 10 scrub_is "$name" stopped
told 1 scrub status "$name"
stopped=$(json 'j["scrub"]["sector"]')
# What is recalculated is no longer told as bad, and after a restart neither.
told 0 recalculate "$name" --yes --wait --batch-mode
told 0 scrub status "$name"
assert_eq "$(json '(j["scrub"]["bad_sectors"], j["scrub"]["mended_sectors"], j["scrub"]["ranges"])')" '(0, 1, [])'
is_written_down() { grep -q '^mended_sectors=1$' /var/lib/tcmu-integrity/scrub/*.state; }
wait_for 20 is_written_down
stop_runner
# What an earlier version has left has an earlier name, and goes on.
kept=$(echo /var/lib/tcmu-integrity/scrub/*.state)
mv "$kept" "${kept%-*}.state"
start_runner
wait_for 20 service_is_there
wait_for 20 scrub_is "$name" stopped
told 0 scrub status "$name"
assert_eq "$(json 'j["scrub"]["sector"]')" "$stopped" 'where it was stopped'
assert [ -f "$kept" ]
told 0 scrub start "$name" --wait --batch-mode
assert_eq "$(json '(j["scrub"]["state"], j["scrub"]["verified_sectors"], j["scrub"]["ranges_total"], j["scrub"]["mended_sectors"])')" \
	"('finished', 131072, 0, 1)"
damage "$data" 100
started=$(json 'j["scrub"]["started"]')
told 1 scrub start "$name" --restart --wait --batch-mode
assert_eq "$(json '(j["scrub"]["verified_sectors"], j["scrub"]["ranges_total"])')" '(131072, 1)'
assert_eq "$(json "j['scrub']['started'] >= $started")" True

say 'another pair under the same name'
backstore_remove disk
format_pair "$meta" "$data" --force
backstore disk "$data" "$meta"
wait_for 20 scrub_is "$name" never

say 'somebody else has the name'
stop_runner
python3 -c 'import time, dbus
bus = dbus.SystemBus()
bus.request_name("org.tcmu_integrity1")
time.sleep(600)' &
squatter=$!
at_end kill $squatter
wait_for 20 service_is_there
start_runner
runner_says_so() { runner_log_has 'the bus name org.tcmu_integrity1 cannot be had'; }
wait_for 20 runner_says_so
disk=$(loop_login disk)
write_random "$disk" 0 64
read_blocks "$disk" 0 64
assert_eq "$(grep -ac 'the bus name org.tcmu_integrity1' "$runner_log")" 1 'lines about the name'
assert_runner_alive
