# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
# shellcheck shell=bash disable=SC2154
#
# What the tests of the handler share: pairs, single SCSI commands and their sense data, single blocks.
# Sourced after lib.sh.

# format_pair META DATA [option…]: by our own command line tool; every block gets a tag.
format_pair() {
	local meta=$1 data=$2
	shift 2
	"$cli" format "$meta" --data-device "$data" --yes "$@" >&2
}

# scsi DISK CDB_BYTE…: a command without data; with "-r BYTES" or "-s BYTES" before the CDB one that reads
# or writes zeroes.
scsi() {
	local disk=$1
	local option=() bytes
	shift
	requires_command sg_raw
	if [[ $1 == -[rs] ]]; then
		bytes=$2
		option=(-r "$bytes" -o /dev/null)
		[[ $1 == -r ]] || option=(-s "$bytes" -i /dev/zero)
		shift 2
	fi
	sg_raw "${option[@]}" "$disk" "$@"
}

# sense DISK …: a command like scsi's, which must fail; prints the sense data in words.
sense() {
	assert_fails scsi "$@"
}

# assert_sense TEXT KEY ADDITIONAL [LBA]
assert_sense() {
	assert_match "$1" "Sense key: $2" 'sense key'
	assert_match "$1" "Additional sense: $3" 'additional sense'
	if [[ -n ${4:-} ]]; then
		assert_match "$1" "Info fld=0x[0-9a-f]+ \[$4\]" 'information field'
	else
		[[ $1 != *'Info fld'* ]] || fail "there is an address in it: $1"
	fi
}

# lba10 LBA: as four bytes of a CDB.
lba10() {
	printf '%02x %02x %02x %02x' $(($1 >> 24 & 255)) $(($1 >> 16 & 255)) $(($1 >> 8 & 255)) $(($1 & 255))
}

# read_sense DISK LBA BLOCKS [BLOCK_SIZE]: READ(10) must fail; write_sense: WRITE(10) of zeroes must.
read_sense() {
	local lba
	read -ra lba <<<"$(lba10 "$2")"
	sense "$1" -r $(($3 * ${4:-512})) 28 00 "${lba[@]}" 00 00 "$(printf %02x "$3")" 00
}

write_sense() {
	local lba
	read -ra lba <<<"$(lba10 "$2")"
	sense "$1" -s $(($3 * ${4:-512})) 2a 00 "${lba[@]}" 00 00 "$(printf %02x "$3")" 00
}

# read_blocks DISK LBA BLOCKS [BLOCK_SIZE]: as one read, past the page cache; write_random: likewise.
read_blocks() {
	local size=${4:-512}
	dd if="$1" of=/dev/null bs=$(($3 * size)) count=1 skip=$(($2 * size)) iflag=direct,skip_bytes \
		status=none
}

write_random() {
	local size=${4:-512}
	dd if=/dev/urandom of="$1" bs=$(($3 * size)) count=1 seek=$(($2 * size)) iflag=fullblock \
		oflag=direct,seek_bytes conv=notrunc,nocreat status=none
}

# damage DEV SECTOR: one sector of a device changes, behind the back of whoever uses it.
damage() {
	write_random "$1" "$2" 1
}
