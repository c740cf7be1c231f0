#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# Journals with MACs and ciphers, in both directions, with blocks of 512 and 4096 bytes: what our LUN has journalled
# and left behind when the runner was killed and its memory lost, the kernel replays; what the kernel has
# journalled when it was stopped, our engine replays; both end in the same data.
# lab: timeout=600 soak_timeout=3600
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

[[ $LAB_MODE == guest ]] || skip 'it writes to /etc'

mib=2
sectors=$((mib * 2048))
data=$(loop_dev $mib)
meta=$(loop_dev 2)
data2=$(loop_dev $mib)
meta2=$(loop_dev 2)
random_bytes "$LAB_TMP/random" $mib
for name in hash mac; do
	head -c 32 /dev/urandom >"$LAB_TMP/$name"
done
head -c 16 /dev/urandom >"$LAB_TMP/aes128"
head -c 24 /dev/urandom >"$LAB_TMP/aes192"
head -c 32 /dev/urandom >"$LAB_TMP/aes256"
mkdir -p /etc/tcmu/integrity.d
start_runner

# Everything for one combination: what it is called by us, by a profile and by the kernel.
# choose HASH MAC CRYPT CRYPT_KEY_FILE BLOCK SALT ("-": none)
choose() {
	local hash=$1 mac=$2 crypt=$3 crypt_key=$4 block=$5 salt=$6
	ours=(--integrity "$hash") seals=()
	profile="hash=$hash"
	table=("block_size:$block" journal_watermark:99)
	[[ $salt == plain ]] || table+=(fix_hmac)
	kernel=$(kernel_hash "$hash" "$LAB_TMP/hash")
	if [[ $hash == hmac* ]]; then
		ours+=(--integrity-key-file "$LAB_TMP/hash")
		profile+=$'\n'"integrity_key_file=$LAB_TMP/hash"
	fi
	if [[ $mac != - ]]; then
		seals+=(--journal-integrity "$mac")
		profile+=$'\n'"journal_integrity=$mac"
		table+=("journal_mac:$(kernel_hash "$mac" "$LAB_TMP/mac")")
		if [[ $mac == hmac* ]]; then
			seals+=(--journal-integrity-key-file "$LAB_TMP/mac")
			profile+=$'\n'"journal_integrity_key_file=$LAB_TMP/mac"
		fi
	fi
	if [[ $crypt != - ]]; then
		seals+=(--journal-crypt "$crypt" --journal-crypt-key-file "$LAB_TMP/$crypt_key")
		profile+=$'\n'"journal_crypt=$crypt"$'\n'"journal_crypt_key_file=$LAB_TMP/$crypt_key"
		table+=("journal_crypt:$(kernel_cipher "$crypt"):$(hex_of "$LAB_TMP/$crypt_key")")
	fi
	ours+=("${seals[@]}")
}

write_profile() {
	printf '[lun]\ndata=%s\nmeta=%s\n%s\nmode=journal\ncache_mb=1\nqueue_depth=16\nhash_helpers=2\n%s\n' \
		"$1" "$2" "$profile" "${3:-}" >/etc/tcmu/integrity.d/seal.conf
}

map() {
	kernel_map "$(integrity_table_with "$kernel" "$1" 0 - "$2" "$3" $sectors "${table[@]}")"
}

check() {
	drop_caches "$1" "$2"
	"$cli" check "$2" --data-device "$1" "${ours[@]}" --batch-mode >&2
}

# copy_pair: both devices as they are now, to the other two.
copy_pair() {
	dd if="$data" of="$data2" bs=1M iflag=direct oflag=direct status=none
	dd if="$meta" of="$meta2" bs=1M iflag=direct oflag=direct status=none
}

try() {
	local block=$5 salt=$6 dev disk legacy=()
	say "hash $1, journal_mac $2, journal_crypt $3, blocks of $block, $salt"
	choose "$@"
	[[ $salt == salted ]] || legacy=(--integrity-legacy-hmac)

	# Ours to kernel: a LUN whose journal holds flushed writes, copied while it is in use: a crash image.
	dd if="$LAB_TMP/random" of="$data" bs=1M oflag=direct status=none
	dd if=/dev/zero of="$meta" bs=1M count=2 oflag=direct status=none
	"$cli" format "$meta" --data-device "$data" --sector-size "$block" --journal-size 600K --keep-data --batch-mode \
		"${legacy[@]}" "${ours[@]}"
	write_profile "$data" "$meta" journal_watermark=99
	user_backstore integrity seal $((mib << 20)) profile=seal "control=hw_block_size=$block"
	disk=$(loop_login seal)
	read_all "$disk" "$LAB_TMP/wanted" $mib
	assert_same_bytes "$LAB_TMP/wanted" "$LAB_TMP/random"
	# Large enough for helper threads.
	dd if=/dev/urandom of="$disk" bs=256k count=1 seek=6 oflag=direct status=none
	dd if=/dev/urandom of="$disk" bs=4k count=3 seek=11 oflag=direct status=none
	dd if=/dev/urandom of="$disk" bs=4k count=2 seek=12 oflag=direct conv=fsync status=none
	copy_pair
	read_all "$disk" "$LAB_TMP/wanted" $mib
	logout seal
	backstore_remove seal
	drop_caches "$meta2"
	"$cli" dump "$meta2" "${seals[@]}" >"$LAB_TMP/dump"
	assert_match "$(<"$LAB_TMP/dump")" 'journal_state +(full|partial)_ring'
	check "$data" "$meta"
	assert_same_bytes "$LAB_TMP/wanted" "$data"
	dev=$(map "$data2" J "$meta2")
	assert_reads_as "$dev" "$LAB_TMP/wanted" $mib
	kernel_unmap "$dev"
	assert_same_bytes "$LAB_TMP/wanted" "$data2"

	# Kernel to ours: the kernel goes on with our journal; a crash image of it, replayed by us in both modes.
	dev=$(map "$data" J "$meta")
	dd if=/dev/urandom of="$dev" bs=4k count=9 seek=30 oflag=direct conv=fsync status=none
	copy_pair
	read_all "$dev" "$LAB_TMP/wanted" $mib
	kernel_unmap "$dev"
	check "$data" "$meta"
	assert_same_bytes "$LAB_TMP/wanted" "$data"
	# The journal counts in a check; then it is replayed.
	check "$data2" "$meta2"
	! cmp -s "$LAB_TMP/wanted" "$data2" || fail 'the crash image is no crash image'
	write_profile "$data2" "$meta2"
	user_backstore integrity seal $((mib << 20)) profile=seal "control=hw_block_size=$block"
	disk=$(loop_login seal)
	read_all "$disk" "$LAB_TMP/read" $mib
	assert_same_bytes "$LAB_TMP/wanted" "$LAB_TMP/read"
	logout seal
	backstore_remove seal
	check "$data2" "$meta2"
	assert_same_bytes "$LAB_TMP/wanted" "$data2"
}

# has HASH: does this kernel?  blake2b is the only one that a kernel may lack here.
has() {
	kernel_has_hash "$1" && return
	assert_match "$1" 'blake2b'
	say "this kernel has no $1"
	return 1
}

tried=0
# By default one of each: family of digests, MAC, cipher; half of them with blocks of 512.
while read -r hash mac crypt key block salt; do
	[[ $hash != blake2b* ]] || has "$hash" || continue
	try "$hash" "$mac" "$crypt" "$key" "$block" "$salt"
	tried=$((tried + 1))
done <<-'END'
	crc32c - ctr-aes aes128 512 salted
	hmac-sha256 hmac-sha256 cbc-aes aes256 4096 salted
	sha256 hmac-sha512 chacha20 aes256 512 plain
	xxhash64 hmac-sha1 ecb-aes aes128 4096 plain
	sha3-256 hmac-sha256 - - 4096 salted
	sha1 sha512 - - 512 salted
	crc32 - cbc-aes aes128 512 plain
	blake2b-256 - - - 4096 salted
END
((tried >= 7)) || fail "only $tried combinations were tried"

# In a soak every digest, every MAC and every cipher, with blocks of both sizes.
if [[ -n ${LAB_SOAK:-} ]]; then
	for block in 512 4096; do
		for hash in crc32c crc32 xxhash64 sha1 sha256 sha384 sha512 sha3-256 sha3-512 blake2b-256 blake2b-512 \
			hmac-sha1 hmac-sha256 hmac-sha384 hmac-sha512 hmac-sha3-256 hmac-sha3-512 hmac-blake2b-256 hmac-blake2b-512; do
			has "$hash" || continue
			try "$hash" - - - $block salted
		done
		for mac in crc32c sha1 sha256 sha512 hmac-sha1 hmac-sha256 hmac-sha384 hmac-sha512 hmac-sha3-512; do
			for salt in salted plain; do
				try crc32c $mac - - $block $salt
			done
		done
		for crypt in ctr-aes:aes128 ctr-aes:aes192 ctr-aes:aes256 chacha20:aes256 cbc-aes:aes128 cbc-aes:aes256 \
			ecb-aes:aes128 ecb-aes:aes256; do
			try crc32c - "${crypt%:*}" "${crypt#*:}" $block salted
			try hmac-sha256 hmac-sha256 "${crypt%:*}" "${crypt#*:}" $block plain
		done
	done
fi

assert runner_log_has 'hash_helpers=2 .*pieces_helped=[1-9]'

# A machine without the keys, or with others.
say "without the keys"
choose hmac-sha256 hmac-sha256 cbc-aes aes256 512 salted
dd if=/dev/zero of="$meta" bs=1M count=2 oflag=direct status=none
"$cli" format "$meta" --data-device "$data" --journal-size 600K --keep-data --batch-mode "${ours[@]}"
said=$(assert_status 3 "$cli" check "$meta" --data-device "$data" --integrity hmac-sha256 --integrity-key-file "$LAB_TMP/hash")
assert_match "$said" 'flag journal_mac'
profile=${profile/"$LAB_TMP/mac"/"$LAB_TMP/hash"}
write_profile "$data" "$meta"
said=$(user_backstore integrity seal $((mib << 20)) profile=seal 2>&1 || :)
assert_match "$said" 'superblock on .* does not match its MAC'

# As integritysetup makes and opens them: its defaults, with fix_hmac for a plain digest, too; and all keys.  A crash
# of either is replayed by the other.
setup_pair() {
	local block=$1 dev disk
	shift
	say "integritysetup, blocks of $block: $*"
	dd if=/dev/zero of="$meta" bs=1M count=2 oflag=direct status=none
	kernel_format "$meta" "$data" "$@" --sector-size "$block" --journal-size 614400
	check "$data" "$meta"
	dev=$(kernel_open "$meta" "$data" journal "$@" --journal-watermark 99)
	dd if="$LAB_TMP/random" of="$dev" bs=1M oflag=direct conv=fsync status=none
	# Again if these were just the ones for which a full journal was written out.
	for _ in 1 2 3; do
		dd if=/dev/urandom of="$dev" bs=4k count=5 seek=60 oflag=direct conv=fsync status=none
		copy_pair
		read_all "$dev" "$LAB_TMP/wanted" $mib
		! cmp -s "$LAB_TMP/wanted" "$data2" || continue
		break
	done
	kernel_close "$dev"
	check "$data" "$meta"
	assert_same_bytes "$LAB_TMP/wanted" "$data"
	# The kernel's crash, ours to replay; then ours, the kernel's.
	check "$data2" "$meta2"
	! cmp -s "$LAB_TMP/wanted" "$data2" || fail 'the crash image is no crash image'
	write_profile "$data2" "$meta2" journal_watermark=99
	user_backstore integrity seal $((mib << 20)) profile=seal "control=hw_block_size=$block"
	disk=$(loop_login seal)
	read_all "$disk" "$LAB_TMP/read" $mib
	assert_same_bytes "$LAB_TMP/wanted" "$LAB_TMP/read"
	dd if=/dev/urandom of="$disk" bs=4k count=5 seek=63 oflag=direct conv=fsync status=none
	dd if="$data2" of="$data" bs=1M iflag=direct oflag=direct status=none
	dd if="$meta2" of="$meta" bs=1M iflag=direct oflag=direct status=none
	read_all "$disk" "$LAB_TMP/wanted" $mib
	logout seal
	backstore_remove seal
	drop_caches "$data" "$meta"
	! cmp -s "$LAB_TMP/wanted" "$data" || fail 'our crash image is no crash image'
	dev=$(kernel_open "$meta" "$data" journal "$@")
	assert_reads_as "$dev" "$LAB_TMP/wanted" $mib
	kernel_close "$dev"
	check "$data" "$meta"
	assert_same_bytes "$LAB_TMP/wanted" "$data"
}

choose crc32c - - - 512 salted
setup_pair 512 --integrity crc32c
[[ -z ${LAB_SOAK:-} ]] || setup_pair 4096 --integrity crc32c
setup=(--integrity hmac-sha256 --integrity-key-file "$LAB_TMP/hash" --integrity-key-size 32
	--journal-integrity hmac-sha256 --journal-integrity-key-file "$LAB_TMP/mac" --journal-integrity-key-size 32
	--journal-crypt cbc-aes --journal-crypt-key-file "$LAB_TMP/aes256" --journal-crypt-key-size 32)
choose hmac-sha256 hmac-sha256 cbc-aes aes256 512 salted
[[ -z ${LAB_SOAK:-} ]] || setup_pair 512 "${setup[@]}"
setup_pair 4096 "${setup[@]}"
