# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
# shellcheck shell=bash disable=SC2154
#
# The kernel's own dm-integrity by device-mapper tables, for the scripts that compare it with us: they
# choose what integritysetup would choose for them.

# integrity_table DATA START TAG_SIZE MODE META SECTORS [option…]: crc32c with external metadata.
integrity_table() {
	integrity_table_with crc32c "$@"
}

# integrity_table_with HASH DATA START TAG_SIZE MODE META SECTORS [option…]: HASH as the kernel wants it.
integrity_table_with() {
	local hash=$1 data=$2 start=$3 tag=$4 mode=$5 meta=$6 sectors=$7
	shift 7
	set -- "meta_device:$meta" "internal_hash:$hash" "$@"
	echo "0 $sectors integrity $data $start $tag $mode $# $*"
}

# kernel_hash NAME KEY_FILE: integritysetup's spelling into the kernel's, with the key if it has one.
kernel_hash() {
	if [[ $1 == hmac-* ]]; then
		echo "hmac(${1#hmac-}):$(hex_of "$2")"
	else
		echo "$1"
	fi
}

# kernel_cipher NAME: ctr-aes into ctr(aes).
kernel_cipher() {
	if [[ $1 == *-aes ]]; then
		echo "${1%-aes}(aes)"
	else
		echo "$1"
	fi
}

hex_of() {
	od -An -v -t x1 "$1" | tr -d ' \n'
}

# kernel_has_hash NAME: asked of the kernel itself.
kernel_has_hash() {
	local name=${1#hmac-}
	python3 - "$name" <<-'END'
		import socket, sys
		with socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET) as s:
		    try:
		        s.bind(("hash", sys.argv[1]))
		    except OSError:
		        sys.exit(1)
	END
}

# kernel_map TABLE: activates it; prints the mapped device.
kernel_map() {
	requires_module dm-integrity crc32c
	dm_dev "$(lab_new integrity)" "$1"
}

kernel_unmap() {
	dm_remove "${1#/dev/mapper/}"
}

# mismatches_seen DEV: what dm-integrity has counted since it was mapped.
mismatches_seen() {
	dmsetup status "${1#/dev/mapper/}" | awk '{ print $4 }'
}

# random_bytes FILE_OR_DEVICE MIB
random_bytes() {
	dd if=/dev/urandom of="$1" bs=1M count="$2" conv=notrunc oflag=direct status=none 2>/dev/null ||
		dd if=/dev/urandom of="$1" bs=1M count="$2" conv=notrunc status=none
}

# drop_caches DEV…: the next buffered read comes from the device.
drop_caches() {
	blockdev --flushbufs "$@"
}

# read_all DEV FILE MIB: every block, past the page cache.
read_all() {
	dd if="$1" of="$2" bs=1M count="$3" iflag=direct status=none
}

# assert_reads_as DEV FILE MIB: the kernel reads all of it, without a mismatch, and it is FILE's bytes.
assert_reads_as() {
	read_all "$1" "$LAB_TMP/read" "$3" || fail "$1 cannot be read as a whole"
	cmp -n $(($3 << 20)) "$LAB_TMP/read" "$2" >&2 || fail "$1 reads differently from $2"
	assert_eq "$(mismatches_seen "$1")" 0 'mismatches that the kernel counted'
}
