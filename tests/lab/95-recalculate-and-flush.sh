#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A recalculation that an administrator asks for makes bad blocks good, goes on after tcmu-runner was killed, and is
# refused where it must be, with a sentence; a flush over D-Bus takes the devices' time and tells of their errors.
# lab: timeout=480
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-service.sh
. "${BASH_SOURCE[0]%/*}/lib-service.sh"
# shellcheck source-path=SCRIPTDIR source=lib-targetcli.sh
. "${BASH_SOURCE[0]%/*}/lib-targetcli.sh"

requires_command gdbus
[[ $LAB_MODE == guest ]] || skip "the bus's policy is to be installed first"
install_targetcli_ext

# call NAME METHOD [ARGUMENT…]: of the LUN's object, as any program would.
call() {
	local name=$1 method=$2
	shift 2
	gdbus call --system --timeout 60 --dest org.tcmu_integrity1 \
		--object-path "/org/tcmu_integrity1/lun/${name//-/_2d}" \
		--method "org.tcmu_integrity1.Lun.$method" "$@"
}
is_over() {
	"$cli" status "$1" --json >"$LAB_TMP/told"
	[[ $(json 'j["luns"][0]["recalculation"]["active"]') == False ]]
}

data=$(loop_dev 64)
meta=$(loop_dev 8)
format_pair "$meta" "$data"
start_runner
wait_for 20 service_is_there
backstore disk "$data" "$meta"
name=$(backstore_name disk)
damage "$data" 1000
damage "$data" 120000
told 1 scrub start "$name" --wait --batch-mode
assert_eq "$(json 'j["scrub"]["bad_sectors"]')" 2

say 'nothing without a yes'
complains 3 "no LUN 'nosuch' of ours" recalculate nosuch --yes
"$cli" recalculate "$name" </dev/null >"$LAB_TMP/said" 2>&1 && fail 'it was not asked for'
assert_match "$(<"$LAB_TMP/said")" 'found 2 bad sectors.*stdin is no terminal: nothing was changed; give --yes'
is_over "$name" || fail 'it runs'
told 1 scrub start "$name" --wait --batch-mode

say 'killed on the way'
# From the moment on in which it is granted the pair itself asks for it.
told 0 recalculate "$name" --yes --rate 16M
kill_runner
assert_eq "$(json '(j["name"], j["recalculation"]["active"], j["recalculation"]["end_sector"])')" "('$name', True, 131072)"
assert_match "$("$cli" dump "$meta")" 'flags .*recalculating'
start_runner
wait_for 20 service_is_there
assert_eq "$(grep -ac 'recalculation begins sector=0' "$runner_log")" 2 'recalculations that were begun'
wait_for 20 runner_log_has 'recalculation goes on at another rate .*rate_limit=16777216'
wait_for 60 is_over "$name"
told 0 scrub start "$name" --restart --wait --batch-mode
# Whoever waits for its end waits over a restart, too.
damage "$data" 1000
"$cli" recalculate "$name" --yes --rate 8M --wait --json >"$LAB_TMP/waited" 2>"$LAB_TMP/waiting" &
waiter=$!
is_on_its_way() { runner_log_has 'recalculation goes on'; }
wait_for 30 is_on_its_way
complains 3 'nothing is recalculated: it runs already' recalculate "$name" --yes
assert_match "$("$cli" status "$name" || :)" 'recalc +\[[#.]+\] +[0-9]+%'
kill_runner
misses_it() { grep -q 'waiting for tcmu-runner' "$LAB_TMP/waiting"; }
wait_for 10 misses_it
start_runner
wait $waiter || fail "the one who waited ended with $?: $(<"$LAB_TMP/waiting")"
assert_match "$(<"$LAB_TMP/waited")" '"active": false'
told 0 scrub start "$name" --restart --wait --batch-mode
told 0 recalculate "$name" --yes --wait --batch-mode
assert_eq "$(json 'j["recalculation"]["active"]')" False

say 'from targetcli, and over D-Bus'
damage "$data" 5
told 1 scrub start "$name" --restart --wait --batch-mode
assert_match "$(ext "/backstores/user:integrity/$name" recalculate rate=many || :)" 'rate=many is no number of bytes per second'
assert_match "$(ext "/backstores/user:integrity/$name" recalculate)" 'Tags are being made anew'
wait_for 30 is_over "$name"
told 0 scrub start "$name" --restart --wait --batch-mode
damage "$data" 5
assert_match "$(assert_fails call "$name" Recalculate '{"speed": <uint64 1>}')" 'an option is not known or of the wrong type'
assert_match "$(assert_fails call "$name" Recalculate '{"rate": <"fast">}')" 'an option is not known or of the wrong type'
assert_match "$(assert_fails call "$name" Recalculate '{"rate": <uint64 100>}')" 'a rate is from 64 KiB to 1 TiB per second'
assert_match "$(assert_fails call "$name" ScrubSetRate 65535)" 'a rate is from 64 KiB to 1 TiB per second'
assert_match "$(assert_fails call "$name" ScrubSetRate 0)" 'rate was not changed: none runs'
call "$name" Recalculate '{"rate": <uint64 104857600>}' >&2
wait_for 30 is_over "$name"
told 0 scrub start "$name" --restart --wait --batch-mode

say 'a pair whose blocks were never written'
data2=$(loop_dev 16)
meta2=$(loop_dev 8)
format_pair "$meta2" "$data2" --no-wipe
backstore bare "$data2" "$meta2" mode=journal
bare=$(backstore_name bare)
told 1 scrub start "$bare" --wait --batch-mode
assert_eq "$(json '(j["scrub"]["bad_sectors"], j["scrub"]["ranges_total"], j["scrub"]["unreadable_sectors"])')" '(32768, 1, 0)'
told 0 recalculate "$bare" --yes --wait --batch-mode
told 0 scrub start "$bare" --wait --batch-mode
assert_eq "$(json 'j["scrub"]["bad_sectors"]')" 0
backstore_remove bare

say 'refused'
format_pair "$meta2" "$data2" --force
backstore bits "$data2" "$meta2" mode=bitmap
complains 3 "mode does not allow it" recalculate "$(backstore_name bits)" --yes
backstore_remove bits
head -c 32 /dev/urandom >"$LAB_TMP/key"
chmod 600 "$LAB_TMP/key"
format_pair "$meta2" "$data2" --force --integrity hmac-sha256 --integrity-key-file "$LAB_TMP/key"
mkdir -p /etc/tcmu/integrity.d
printf '[lun]\ndata=%s\nmeta=%s\nhash=hmac-sha256\nintegrity_key=file:%s\n' "$data2" "$meta2" "$LAB_TMP/key" \
	>/etc/tcmu/integrity.d/keyed.conf
user_backstore integrity keyed $(($(provided_sectors "$meta2") * 512)) profile=keyed
complains 3 "have a key, which that would get around" recalculate "$(backstore_name keyed)" --yes
backstore_remove keyed

say 'a flush'
slow=$(delay_dev "$(loop_dev 16)" 0 0 600)
broken=$(faulty_dev "$(loop_dev 8)")
format_pair "$broken" "$slow"
backstore flushed "$slow" "$broken" mode=direct
name=$(backstore_name flushed)
disk=$(loop_login flushed)
write_random "$disk" 0 8
took=$(ms_of "$cli" flush "$name")
assert_between "$took" 600 5000 'ms of a flush'
# Two at once are answered, each.
write_random "$disk" 0 8
call "$name" Flush >"$LAB_TMP/one" 2>&1 &
one=$!
call "$name" Flush >&2
wait $one || fail "the other flush said $(<"$LAB_TMP/one")"
write_random "$disk" 0 8
fail_all "$broken"
assert_match "$(assert_fails call "$name" Flush)" 'FlushFailed.*the flush failed: what was written since'
told 4 flush "$name"
"$cli" status "$name" >"$LAB_TMP/said" && fail 'status saw no failed flush'
assert_match "$(<"$LAB_TMP/said")" "A FLUSH OF $broken HAS FAILED"
heal "$broken"
logout flushed
assert_runner_alive
