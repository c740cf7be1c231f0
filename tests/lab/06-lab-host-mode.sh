#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# `run --host` runs the same scripts on a machine that has target_core_user (this guest is one), leaves that
# machine as it was, and refuses with one sentence where it must.
# lab: timeout=300
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"

# Names and sizes; device nodes that stay when their module goes are left out.
state_of_machine() {
	lsmod | cut -d ' ' -f 1 | sort
	mount
	losetup -l
	find /dev -maxdepth 1 -not -regex '/dev/\(loop\|ram\|bsg\|sg\|mapper\).*' | sort
	find /etc /var/lib /tmp -xdev -not -path "$LAB_TMP*" -printf '%p %s\n' | sort
	pgrep -l 'iscsid|tcmu-run|dbus-' || :
}

run_on_host() {
	env -u LAB_MODE -u LAB_RUN "$LAB_DIR/run" --host --build "$LAB_BUILD" "$@"
}

state_of_machine >"$LAB_TMP/before"
run_on_host 02-stack >"$LAB_TMP/report"
state_of_machine >"$LAB_TMP/after"
cat "$LAB_TMP/report"
assert_match "$(<"$LAB_TMP/report")" 'ok 02-stack .*1 passed, 0 failed'
diff "$LAB_TMP/before" "$LAB_TMP/after" >&2 || fail "the machine is not as it was"

assert_match "$(assert_status 77 run_on_host 01-lab)" 'skip 01-lab-isolated: a driver boots guests'

cp /usr/bin/sleep "$LAB_TMP/tcmu-runner"
"$LAB_TMP/tcmu-runner" 60 &
assert_match "$(assert_status 2 run_on_host 02-stack)" '^lab: --host starts a tcmu-runner of its own: stop the one'
kill $!
umount /lib/modules
assert_match "$(assert_status 2 run_on_host 02-stack)" '^lab: --host needs the kernel module target_core_user'
