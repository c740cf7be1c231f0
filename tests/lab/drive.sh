# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
# shellcheck shell=bash
#
# What every driver (NN-name.drive) sources first.  A driver runs on the host, boots guests one after the
# other or side by side, and looks at what they left: for power cuts, and for tests of the lab itself.

set -Eeuo pipefail
shopt -s inherit_errexit
: "${LAB_RUN:?run this driver with tests/lab/run}"
LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export LC_ALL=C

fail() {
	trap - ERR
	echo "FAILED ${BASH_SOURCE[1]##*/}:${BASH_LINENO[0]}: $*" >&2
	exit 1
}
trap 'echo "FAILED ${0##*/}:$LINENO: $BASH_COMMAND ended with $?" >&2' ERR

skip() {
	echo "$*" >"$LAB_RUN/skip"
	exit 77
}

# disk NAME MIB: a file of zeroes on the host, for --disk; prints its path.
disk() {
	truncate -s "${2}M" "$LAB_RUN/$1.img"
	echo "$LAB_RUN/$1.img"
}

# guest NAME [boot option…] <SCRIPT: boots, runs SCRIPT with lib.sh at hand, and returns as boot does
# (125: the guest crashed).  What it left is in $LAB_RUN/NAME.
guest() {
	local dir=$LAB_RUN/$1 status=0
	shift
	mkdir -p "$dir"
	{
		echo "#!/bin/bash"
		echo ". '$LAB_DIR/lib.sh'"
		cat
	} >"$dir/script.sh"
	chmod 755 "$dir/script.sh"
	"$LAB_DIR/boot" --quiet --build "$LAB_BUILD" --run "$dir" "$@" "$dir/script.sh" || status=$?
	[[ $status -eq 0 ]] || sed 's/^/guest: /' "$dir/output"
	return "$status"
}

# guest_status WANTED NAME [boot option…] <SCRIPT: the same, and it must end with WANTED.
guest_status() {
	local wanted=$1 seen=0
	shift
	guest "$@" || seen=$?
	[[ $seen -eq $wanted ]] || fail "guest $1 ended with $seen instead of $wanted"
}

# output NAME: what that guest's script printed.
output() {
	cat "$LAB_RUN/$1/output"
}
