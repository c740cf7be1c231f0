#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# Tags of every digest that this kernel knows, in both directions and with blocks of 512 and 4096 bytes: what we
# tagged the kernel reads without a mismatch, what it wrote then our check finds clean; what integritysetup
# formatted and the kernel wrote, too.  With another key, nothing matches on either side.
# lab: timeout=400 soak_timeout=1800
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib-interop.sh
. "${BASH_SOURCE[0]%/*}/lib-interop.sh"

mib=1
sectors=$((mib * 2048))
data=$(loop_dev $mib)
meta=$(loop_dev 2)
random_bytes "$LAB_TMP/random" $mib
head -c 32 /dev/urandom >"$LAB_TMP/key"
head -c 32 /dev/urandom >"$LAB_TMP/other"

fresh() {
	dd if="$LAB_TMP/random" of="$data" bs=1M oflag=direct status=none
	dd if=/dev/zero of="$meta" bs=1M count=2 oflag=direct status=none
	cp "$LAB_TMP/random" "$LAB_TMP/wanted"
}

# key_options HASH [FILE]: ours, if it is keyed; setup_key_options: integritysetup's.
key_options() {
	[[ $1 != hmac* ]] || echo "--integrity-key-file ${2:-$LAB_TMP/key}"
}
setup_key_options() {
	[[ $1 != hmac* ]] || echo "--integrity-key-file $LAB_TMP/key --integrity-key-size 32"
}

# The callers' tag says how long tags are.
check() {
	local hash=$1
	drop_caches "$data" "$meta"
	# shellcheck disable=SC2046 # several words
	"$cli" check "$meta" --data-device "$data" --integrity "$hash" $(key_options "$@") --batch-mode \
		$([[ ${tag:--} == - ]] || echo "--tag-size $tag") >&2
}

# map HASH BLOCK MODE TAG [option…]
map() {
	local hash=$1 block=$2 mode=$3 tag=$4
	shift 4
	kernel_map "$(integrity_table_with "$(kernel_hash "$hash" "$LAB_TMP/key")" "$data" 0 "$tag" "$mode" "$meta" \
		$sectors "block_size:$block" "$@")"
}

ours_to_kernel() {
	local hash=$1 block=$2 tag=$3 dev salt=${4:-fix_hmac}
	fresh
	# shellcheck disable=SC2046
	"$cli" format "$meta" --data-device "$data" --sector-size "$block" --integrity "$hash" $(key_options "$hash") \
		--keep-data --journal-size 200K --batch-mode $([[ $tag == - ]] || echo "--tag-size $tag") \
		$([[ $salt == fix_hmac ]] || echo --integrity-legacy-hmac)
	[[ $salt == fix_hmac ]] || salt=journal_watermark:50 # an option that changes nothing
	dev=$(map "$hash" "$block" J "$tag" "$salt")
	assert_reads_as "$dev" "$LAB_TMP/wanted" $mib
	dd if=/dev/urandom of="$dev" bs=64k seek=3 count=5 oflag=direct status=none
	read_all "$dev" "$LAB_TMP/wanted" $mib
	kernel_unmap "$dev"
	check "$hash"
	assert_same_bytes "$LAB_TMP/wanted" "$data"
	if [[ $hash == hmac* ]]; then
		assert_match "$(assert_status 1 check "$hash" "$LAB_TMP/other" 2>&1)" "block and tag differ"
	fi
}

setup_to_ours() {
	local hash=$1 block=$2 mode=$3 tag=$4 dev
	dd if=/dev/zero of="$meta" bs=1M count=2 oflag=direct status=none
	# shellcheck disable=SC2046
	kernel_format "$meta" "$data" --integrity "$hash" --tag-size "$tag" $(setup_key_options "$hash") \
		--sector-size "$block"
	check "$hash"
	# shellcheck disable=SC2046
	dev=$(kernel_open "$meta" "$data" "$mode" --integrity "$hash" $(setup_key_options "$hash"))
	dd if="$LAB_TMP/random" of="$dev" bs=1M oflag=direct conv=fsync status=none
	kernel_close "$dev"
	check "$hash"
	assert_same_bytes "$LAB_TMP/random" "$data"
}

tried=0
for row in crc32c:4 crc32:4 xxhash64:8 sha1:20 sha256:32 sha384:48 sha512:64 sha3-256:32 sha3-512:64 blake2b-256:32 \
	blake2b-512:64 hmac-sha1:20 hmac-sha256:32 hmac-sha384:48 hmac-sha512:64 hmac-sha3-256:32 hmac-sha3-512:64 \
	hmac-blake2b-256:32 hmac-blake2b-512:64; do
	hash=${row%:*} size=${row#*:}
	if ! kernel_has_hash "$hash"; then
		# The only ones that a kernel may lack here; all others are counted below.
		assert_match "$hash" 'blake2b'
		say "this kernel has no $hash"
		continue
	fi
	# All digests with both blocks in a soak; else one of each family, and they share the blocks out.
	blocks=(512 4096)
	if [[ -z ${LAB_SOAK:-} ]]; then
		[[ ! $hash =~ ^(sha384|sha512|sha3-512|blake2b-512|hmac-.*(384|512))$ ]] || continue
		blocks=($((tried % 2 ? 512 : 4096)))
	fi
	for block in "${blocks[@]}"; do
		say "$hash, blocks of $block"
		ours_to_kernel "$hash" "$block" -
		setup_to_ours "$hash" "$block" journal "$size"
	done
	tried=$((tried + 1))
done
say "$tried digests"
((tried >= 8)) || fail "only $tried digests were tried"

# Without a salt; cut, and filled up with zeros.
ours_to_kernel hmac-sha256 512 - plain
ours_to_kernel sha512 4096 - plain
ours_to_kernel hmac-sha256 4096 7
ours_to_kernel sha1 512 40
ours_to_kernel xxhash64 512 3
setup_to_ours hmac-sha256 512 direct 16

# As integritysetup does it when it is told no more than the digest.
dd if=/dev/zero of="$meta" bs=1M count=2 oflag=direct status=none
integritysetup format "$meta" --data-device "$data" --integrity hmac-sha256 --integrity-key-file "$LAB_TMP/key" \
	--integrity-key-size 32 --batch-mode
check hmac-sha256
