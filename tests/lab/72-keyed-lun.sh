#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# A LUN with keyed tags and helper threads for them, its key named by a profile: it serves, the kernel reads the pair afterwards, forged blocks
# are refused; and no byte of the key is in a core dump, in the memory of the process after close, in a log,
# in configfs or on a command line.  The same with the key in the kernel's keyring.
# lab: timeout=300
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

[[ $LAB_MODE == guest ]] || skip 'it writes to /etc and dumps core'

mib=4
sectors=$((mib * 2048))
data=$(loop_dev $mib)
meta=$(loop_dev 4)
key=$LAB_TMP/key
# Bytes that are nowhere else.
head -c 32 /dev/urandom >"$key"
random_bytes "$data" $mib
"$cli" format "$meta" --data-device "$data" --integrity hmac-sha256 --integrity-key-file "$key" --keep-data \
	--journal-size 200K --batch-mode
mkdir -p /etc/tcmu/integrity.d

profile() {
	printf '[lun]\ndata=%s\nmeta=%s\nhash=hmac-sha256\nhash_helpers=2\ncache_mb=1\nqueue_depth=16\n%s\n' "$data" "$meta" "$1" >/etc/tcmu/integrity.d/safe.conf
}

# holds_key FILE…: prints those in which 8 bytes of the key stand, plain, as hex digits or under hmac's pads.
holds_key() {
	python3 - "$key" "$@" <<-'END'
		import sys
		key = open(sys.argv[1], "rb").read()
		masks = [0, 0x36, 0x5C]
		parts = [bytes(b ^ m for b in key[i:i + 8]) for m in masks for i in (0, 12, 24)]
		parts += [key[i:i + 8].hex().encode() for i in (0, 12, 24)]
		for name in sys.argv[2:]:
		    with open(name, "rb") as file:
		        content = file.read()
		    if any(part in content for part in parts):
		        print(name)
	END
}

# holds_state FILE…: prints those in which hmac()'s inner or outer state stands: what the key becomes when its
# block has gone through SHA-256, and enough to forge tags.  The key itself is needed at the open only.
holds_state() {
	python3 - "$key" "$@" <<-'END'
		import struct
		import sys

		def first_bits(power, n):
		    """Of the fractional part of the n-th prime's root."""
		    primes = [p for p in range(2, 400) if all(p % q for q in range(2, p))]
		    root, target = 0, primes[n] << (32 * power)
		    for bit in reversed(range(40)):
		        if (root | 1 << bit) ** power <= target:
		            root |= 1 << bit
		    return root & 0xFFFFFFFF

		def turn(x, n):
		    return (x >> n | x << (32 - n)) & 0xFFFFFFFF

		def compress(block):
		    w = list(struct.unpack(">16I", block))
		    for i in range(16, 64):
		        a, b = w[i - 15], w[i - 2]
		        w.append((w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ a >> 3) + w[i - 7]
		                  + (turn(b, 17) ^ turn(b, 19) ^ b >> 10)) & 0xFFFFFFFF)
		    start = [first_bits(2, i) for i in range(8)]
		    s = list(start)
		    for i in range(64):
		        a, b, c, d, e, f, g, h = s
		        t = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + (e & f ^ ~e & g) + first_bits(3, i) + w[i]
		        u = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (a & b ^ a & c ^ b & c)
		        s = [(t + u) & 0xFFFFFFFF, a, b, c, (d + t) & 0xFFFFFFFF, e, f, g]
		    return struct.pack("<8I", *((x + y) & 0xFFFFFFFF for x, y in zip(start, s)))

		key = open(sys.argv[1], "rb").read().ljust(64, b"\0")
		states = [compress(bytes(b ^ pad for b in key)) for pad in (0x36, 0x5C)]
		for name in sys.argv[2:]:
		    with open(name, "rb") as file:
		        content = file.read()
		    if any(state in content for state in states):
		        print(name)
	END
}

# memory_of PID FILE: all that can be read of a process.
memory_of() {
	python3 - "$1" "$2" <<-'END'
		import sys
		with open(f"/proc/{sys.argv[1]}/maps") as maps, open(f"/proc/{sys.argv[1]}/mem", "rb", 0) as mem, \
		        open(sys.argv[2], "wb") as out:
		    for line in maps:
		        area, flags = line.split()[:2]
		        if "r" not in flags or "[v" in line or "/dev/uio" in line:
		            continue
		        start, end = (int(x, 16) for x in area.split("-"))
		        try:
		            mem.seek(start)
		            out.write(mem.read(end - start))
		        except OSError:
		            pass
	END
}

ulimit -c unlimited
echo "$LAB_TMP/core" >/proc/sys/kernel/core_pattern
echo 0 >/proc/sys/kernel/core_uses_pid
start_runner

lun_works() {
	local disk
	user_backstore integrity safe $((mib << 20)) profile=safe
	disk=$(loop_login safe)
	read_all "$disk" "$LAB_TMP/read" $mib
	assert_same_bytes "$LAB_TMP/read" "$data"
	dd if=/dev/urandom of="$disk" bs=64k count=7 seek=5 oflag=direct conv=fsync status=none
	read_all "$disk" "$LAB_TMP/wanted" $mib
}

# nowhere WHAT FILE…: the key is in none of them; they are what they should be.
nowhere() {
	local what=$1 found
	shift
	found=$(holds_key "$@")
	[[ -z $found ]] || fail "$what: the key stands in $found"
	found=$(holds_state "$@")
	[[ -z $found ]] || fail "$what: what the key becomes in hmac() stands in $found"
}

everything_that_is_told() {
	cat "$runner_log" "$LAB_TMP/runner.out" >"$LAB_TMP/told"
	find "$LAB_TMP/log" -type f -exec cat {} + >>"$LAB_TMP/told"
	dmesg >>"$LAB_TMP/told"
	find "$target_core" -type f -perm -u+r -exec cat {} + >>"$LAB_TMP/told" 2>/dev/null || :
	cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >>"$LAB_TMP/told" 2>/dev/null || :
	dbus-send --system --print-reply --dest=org.kernel.TCMUService1 /org/kernel/TCMUService1/HandlerManager1/integrity \
		org.freedesktop.DBus.Properties.GetAll string:org.kernel.TCMUService1 >>"$LAB_TMP/told" 2>&1 || :
	grep -aq 'profile=safe' "$LAB_TMP/told" || fail 'not all that is told was collected'
	nowhere 'what is told' "$LAB_TMP/told"
}

# The search finds what is there.
assert_match "$(holds_key "$key")" "$key"
hex_of "$key" >"$LAB_TMP/hex"
assert_match "$(holds_key "$LAB_TMP/hex")" hex

say "a key in a file"
profile "integrity_key_file=$key"
chmod 644 "$key"
lun_works
assert runner_log_has "everybody may read, or change, a key of this LUN: .* path=$key"
chmod 600 "$key"
everything_that_is_told
# The search for the state finds it where it has to be.
memory_of "$(runner_pid)" "$LAB_TMP/memory"
assert_match "$(holds_state "$LAB_TMP/memory")" memory
logout safe
backstore_remove safe
assert runner_log_has 'io_flusher=yes thread=hash threads=2 io_flushers=2 locked_stacks=2'
assert runner_log_has 'hash_helpers=2 .*pieces_helped=[1-9]'
memory_of "$(runner_pid)" "$LAB_TMP/memory"
grep -aq 'hmac(sha256)' "$LAB_TMP/memory" || fail 'the memory of the runner was not read'
nowhere 'memory after close' "$LAB_TMP/memory"
dev=$(kernel_map "$(integrity_table_with "$(kernel_hash hmac-sha256 "$key")" "$data" 0 - J "$meta" $sectors fix_hmac)")
assert_reads_as "$dev" "$LAB_TMP/wanted" $mib
kernel_unmap "$dev"

say "a forged block, with a tag that only lacks the key"
dd if=/dev/urandom of="$data" bs=512 count=1 seek=1000 oflag=direct status=none
"$cli" dump "$meta" >"$LAB_TMP/dump"
user_backstore integrity safe $((mib << 20)) profile=safe
disk=$(loop_login safe)
assert_fails dd if="$disk" of=/dev/null bs=512 count=1 skip=1000 iflag=direct >/dev/null
dd if=/dev/zero of="$disk" bs=4k count=1 seek=125 oflag=direct conv=fsync status=none

say "a core dump"
read_all "$disk" "$LAB_TMP/read" $mib
kill -ABRT "$(runner_pid)"
wait_for 60 runner_is_gone
rm -f "$LAB_TMP/runner.pid"
wait_for 10 test -s "$LAB_TMP/core"
grep -aq 'profile=safe' "$LAB_TMP/core" || fail 'that is no core dump of the runner'
nowhere 'core dump' "$LAB_TMP/core"
rm -f "$LAB_TMP/core"
start_runner
logout safe
backstore_remove safe

say "a key that is not there, and one that is too short"
profile 'integrity_key_file=/no/such/key'
refused=$(user_backstore integrity safe $((mib << 20)) profile=safe 2>&1 || :)
assert_match "$refused" 'the key cannot be read from /no/such/key'
head -c 8 "$key" >"$LAB_TMP/short"
profile "integrity_key_file=$LAB_TMP/short
integrity_key_size=32"
refused=$(user_backstore integrity safe $((mib << 20)) profile=safe 2>&1 || :)
assert_match "$refused" 'the key has 8 bytes there, and 32 are wanted'

say "a key in the kernel's keyring"
profile 'integrity_key=keyring:user:lab-disk'
refused=$(user_backstore integrity safe $((mib << 20)) profile=safe 2>&1 || :)
assert_match "$refused" 'hold no key user:lab-disk'
# Root's own keyring, which the runner's session does not hold.
python3 - "$key" <<-'END'
	import ctypes, sys
	key = open(sys.argv[1], "rb").read()
	libc = ctypes.CDLL(None, use_errno=True)
	for name, payload in (b"lab-disk", key), (b"lab-long", key + bytes(6000)):
	    if libc.syscall(248, b"user", name, payload, len(payload), -4) < 0:
	        sys.exit(f"add_key: errno {ctypes.get_errno()}")
END
# The first bytes of one that is longer than keys may be.
"$cli" check "$meta" --data-device "$data" --integrity hmac-sha256 --integrity-key keyring:user:lab-long --integrity-key-size 32 \
	--batch-mode >&2
"$cli" check "$meta" --data-device "$data" --integrity hmac-sha256 --integrity-key keyring:user:lab-disk --batch-mode >&2
lun_works
everything_that_is_told
logout safe
backstore_remove safe
memory_of "$(runner_pid)" "$LAB_TMP/memory"
nowhere 'memory after close' "$LAB_TMP/memory"
"$cli" check "$meta" --data-device "$data" --integrity hmac-sha256 --integrity-key-file "$key" --batch-mode >&2
