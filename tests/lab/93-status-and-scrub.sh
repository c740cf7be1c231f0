#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A scrub finds a block that has decayed while the LUN is served; status, LOG SENSE, a signal, the log and the
# metrics tell of it; what cannot be answered is refused with one sentence; a log that hangs holds nobody up.
# lab: timeout=480
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-scsi.sh
. "${BASH_SOURCE[0]%/*}/lib-scsi.sh"
# shellcheck source-path=SCRIPTDIR source=lib-service.sh
. "${BASH_SOURCE[0]%/*}/lib-service.sh"

requires_command gdbus sg_logs curl
[[ $LAB_MODE == guest ]] || skip "the bus's policy is to be installed first"

say 'nobody to ask'
complains 3 'no connection to the system bus .*systemctl start dbus' status
requires_target
start_dbus
complains 3 'tcmu-runner does not run, or has not loaded our handler' status
complains 3 'tcmu-runner does not run' scrub start x
complains 3 'tcmu-runner does not run' metrics --output "$LAB_TMP/metrics"
assert_eq "$(metric tcmu_integrity_up)" 0
complains 2 'start, stop, rate or status' scrub
complains 2 'not start, stop, rate or status' scrub begin x
complains 2 'the name of the LUN is missing' scrub start

say 'no LUN'
# The log has a file system of its own, which nobody else has open: it is frozen later.
log_dev=$(loop_dev 16)
mkfs.ext4 -q "$log_dev"
mkdir "$LAB_TMP/log"
mount "$log_dev" "$LAB_TMP/log"
at_end umount "$LAB_TMP/log"
: >"$runner_log"
start_runner
wait_for 20 service_is_there
told 0 status
assert_eq "$(json 'j["luns"]')" '[]'
assert_match "$("$cli" status)" 'no LUN of ours'
complains 3 "no LUN 'x', nor any other" status x

say 'two LUNs'
data=$(loop_dev 64)
meta=$(loop_dev 8)
format_pair "$meta" "$data"
backstore disk "$data" "$meta" mode=journal
name=$(backstore_name disk)
data2=$(loop_dev 16)
meta2=$(loop_dev 8)
format_pair "$meta2" "$data2" --sector-size 4096
backstore bits "$data2" "$meta2" mode=bitmap hw_block_size=4096
disk=$(loop_login disk)
write_random "$disk" 0 4096
sg_sync "$disk"
told 0 status
assert_eq "$(json '[(l["name"], l["mode"], l["state"], l["needs_attention"]) for l in j["luns"]]')" \
	"[('$(backstore_name bits)', 'bitmap', 'ready', False), ('$name', 'journal', 'ready', False)]"
told 0 status "$name"
assert_eq "$(json '(j["luns"][0]["size"], j["luns"][0]["data_device"], j["luns"][0]["scrub"]["state"], len(j["luns"]))')" \
	"(67108864, '$data', 'never', 1)"
assert_eq "$(json 'j["luns"][0]["flush_latency"]["round"]["count"] > 0 and j["luns"][0]["counters"]["writes"] > 0')" True
complains 3 "no LUN 'nosuch' of ours; it serves $(backstore_name bits), $name" status nosuch
assert_match "$("$cli" status)" "$name +journal +ready +64.0 MiB +0 +0"
assert_match "$("$cli" status "$name")" 'journal .*of [0-9]+ entries'

say 'a clean scrub'
told 0 scrub start "$name" --wait --batch-mode
assert_eq "$(json '(j["scrub"]["state"], j["scrub"]["bad_sectors"], j["scrub"]["verified_sectors"] + j["scrub"]["skipped_sectors"])')" \
	"('finished', 0, 131072)"
complains 3 'none runs' scrub stop "$name"

say 'two bad blocks'
gdbus monitor --system --dest org.tcmu_integrity1 >"$LAB_TMP/signals" &
monitor=$!
at_end kill $monitor
monitors() { grep -q 'is owned by' "$LAB_TMP/signals"; }
wait_for 20 monitors
damage "$data" 9000
damage "$data" 9001
told 1 scrub start "$name" --wait --batch-mode
assert_eq "$(json '(j["scrub"]["state"], j["scrub"]["bad_sectors"], j["scrub"]["ranges"])')" \
	"('finished', 2, [{'kind': 'mismatch', 'first_sector': 9000, 'length_sectors': 2}])"
told 1 status "$name"
assert_eq "$(json '(j["luns"][0]["needs_attention"], j["luns"][0]["errors"]["mismatches"])')" '(True, 2)'
out=$("$cli" status "$name" || :)
assert_match "$out" 'LBA 9000, 2 sectors: mismatch'
assert runner_log_has "$name: tag mismatch on scrub device=$data sector=9000 blocks=2 expected=[0-9a-f]{8} found=[0-9a-f]{8}"
signalled() { grep -qE "$1" "$LAB_TMP/signals"; }
wait_for 10 signalled "MismatchFound \(uint64 9000, uint64 2, 'scrub'\)"
wait_for 10 signalled "ScrubFinished \('finished', uint64 2\)"
out=$(sg_logs --page=0x15 "$disk")
assert_match "$out" 'no background scans active'
assert_match "$out" 'Number of background scans performed: 2'
assert_match "$out" 'LBA.*: 0x2328|0x0*2328|9000'
assert_match "$out" '[Mm]edium scan parameter # 2'

say 'metrics'
"$cli" metrics >"$LAB_TMP/metrics"
assert_eq "$(tail -n 1 "$LAB_TMP/metrics")" '# EOF'
assert_eq "$(metric tcmu_integrity_up)" 1
assert_eq "$(metric tcmu_integrity_mismatched_blocks_total "lun=$name")" 2
assert_eq "$(metric tcmu_integrity_scrub_bad_bytes "lun=$name")" 1024
assert_eq "$(metric tcmu_integrity_scrub_state "lun=$name" state=finished)" 1
assert_eq "$(metric tcmu_integrity_lun_info "lun=$name" "data_device=$data" mode=journal integrity=crc32c)" 1
assert_eq "$(metric tcmu_integrity_flush_duration_seconds_bucket "lun=$name" device=both le=+Inf)" \
	"$(metric tcmu_integrity_flush_duration_seconds_count "lun=$name" device=both)"
mkdir "$LAB_TMP/collector"
"$cli" metrics --output "$LAB_TMP/collector/tcmu.prom"
assert_eq "$(ls "$LAB_TMP/collector")" tcmu.prom
assert_eq "$(grep -c '^# TYPE' "$LAB_TMP/collector/tcmu.prom")" "$(grep -c '^# TYPE' "$LAB_TMP/metrics")"
"$cli" metrics --listen 9733 2>"$LAB_TMP/listen" &
server=$!
at_end kill $server
listens() { grep -q 'listening at' "$LAB_TMP/listen"; }
wait_for 20 listens
curl -sf -D "$LAB_TMP/headers" http://127.0.0.1:9733/metrics >"$LAB_TMP/metrics"
assert_eq "$(metric tcmu_integrity_mismatched_blocks_total "lun=$name")" 2
assert_match "$(<"$LAB_TMP/headers")" 'Content-Type: application/openmetrics-text; version=1.0.0'
out=$(assert_fails curl -sf http://127.0.0.1:9733/other)
ss -ltn >"$LAB_TMP/sockets" 2>/dev/null || :
[[ ! -s $LAB_TMP/sockets ]] || assert_eq "$(grep -c '[*0]\(\.0\.0\.0\)\?:9733' "$LAB_TMP/sockets" || :)" 0 'sockets open to the world'

say 'a write mends them'
write_random "$disk" 9001 1
told 1 scrub status "$name"
assert_eq "$(json '(j["scrub"]["bad_sectors"], j["scrub"]["mended_sectors"], j["scrub"]["ranges"])')" \
	"(1, 1, [{'kind': 'mismatch', 'first_sector': 9000, 'length_sectors': 1}])"
write_random "$disk" 9000 2
assert_match "$("$cli" scrub status "$name")" '0 bad sectors in 0 places; 2 more have been mended since'
sg_sync "$disk"
told 0 scrub start "$name" --wait --batch-mode
gdbus call --system --dest org.tcmu_integrity1 \
	--object-path "/org/tcmu_integrity1/lun/${name//-/_2d}" \
	--method org.tcmu_integrity1.Lun.Flush >&2

say 'not root'
complaint=$(setpriv --reuid=65534 --clear-groups "$cli" status 2>&1 || :)
assert_match "$complaint" 'only root may ask'
for method in ScrubStart ScrubStop Recalculate Flush; do
	[[ $method == ScrubStop || $method == Flush ]] && options=() || options=('{}')
	complaint=$(assert_fails setpriv --reuid=65534 --clear-groups gdbus call --system --dest org.tcmu_integrity1 \
		--object-path "/org/tcmu_integrity1/lun/${name//-/_2d}" \
		--method "org.tcmu_integrity1.Lun.$method" "${options[@]}" 2>&1)
	assert_match "$complaint" AccessDenied "$method"
done

say 'a log that hangs'
damage "$data" 20
thaw() { fsfreeze --unfreeze "$LAB_TMP/log" 2>/dev/null || :; }
at_end thaw
fsfreeze --freeze "$LAB_TMP/log"
for _ in 1 2 3; do
	assert_sense "$(timeout 20 sg_raw -r 512 "$disk" 28 00 00 00 00 14 00 00 01 00 2>&1 || :)" \
		'Medium Error' 'Unrecovered read error' 20
done
timeout 20 dd if="$disk" of=/dev/null bs=512 count=8 skip=64 iflag=direct status=none
status=0
timeout 20 "$cli" status "$name" >/dev/null || status=$?
assert_eq "$status" 1 'the status while the log hangs'
sleep 1.5
thaw
wait_for 20 runner_log_has "ti-log-uio[0-9]+ .*$name: tag mismatch on read .*sector=20 .*said_at=\"20"
write_random "$disk" 20 1
sg_sync "$disk"

say 'a LUN that goes'
logout disk
backstore_remove disk
told 0 status
assert_eq "$(json 'len(j["luns"])')" 1
wait_for 10 signalled 'InterfacesRemoved'
assert_runner_alive
