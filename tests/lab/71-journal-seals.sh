#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# Journals with MACs and ciphers, in both directions, with blocks of 512 and 4096 bytes: what our LUN has journalled
# and left behind when the runner was killed and its memory lost, the kernel replays; what the kernel has
# journalled when it was stopped, our engine replays; both end in the same data.
# lab: timeout=600
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
	printf '[lun]\ndata=%s\nmeta=%s\n%s\nmode=journal\ncache_mb=1\nqueue_depth=16\n%s\n' \
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

try crc32c - ctr-aes aes128 512 salted
try hmac-sha256 hmac-sha256 cbc-aes aes256 4096 salted
if [[ -n ${LAB_SOAK:-} ]]; then
	try crc32c - ctr-aes aes128 4096 salted
	try hmac-sha256 hmac-sha256 cbc-aes aes256 512 salted
fi
try sha256 hmac-sha512 chacha20 aes256 512 plain
try crc32c hmac-sha1 ecb-aes aes128 4096 plain
try hmac-sha256 hmac-sha256 - - 4096 salted
try crc32c sha512 - - 512 salted
try crc32c - cbc-aes aes128 512 plain

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

# As integritysetup makes and opens them.
say "integritysetup"
dd if=/dev/zero of="$meta" bs=1M count=2 oflag=direct status=none
setup=(--integrity hmac-sha256 --integrity-key-file "$LAB_TMP/hash" --integrity-key-size 32
	--journal-integrity hmac-sha256 --journal-integrity-key-file "$LAB_TMP/mac" --journal-integrity-key-size 32
	--journal-crypt cbc-aes --journal-crypt-key-file "$LAB_TMP/aes256" --journal-crypt-key-size 32)
kernel_format "$meta" "$data" "${setup[@]}"
check "$data" "$meta"
dev=$(kernel_open "$meta" "$data" journal "${setup[@]}")
dd if="$LAB_TMP/random" of="$dev" bs=1M oflag=direct conv=fsync status=none
kernel_close "$dev"
check "$data" "$meta"
assert_same_bytes "$LAB_TMP/random" "$data"
