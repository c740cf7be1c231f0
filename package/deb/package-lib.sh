# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
# shellcheck shell=sh
# What the package's maintainer scripts share; it is put into each of them.

target_core=/sys/kernel/config/target/core

# Does tcmu-runner serve any LUN, of whichever handler?
serves_luns() {
	for dir in "$target_core"/user_*/*/; do
		[ ! -e "$dir/info" ] || return 0
	done
	return 1
}

# Names of LUNs of ours.
our_luns() {
	for dir in "$target_core"/user_*/*/; do
		[ -e "$dir/info" ] || continue
		! grep -q 'Config: integrity/' "$dir/info" || basename "$dir"
	done
}

reload_systemd() {
	[ ! -d /run/systemd/system ] || systemctl --system daemon-reload || true
}

# Only if it runs: else it will load the handler when it is started, or take note that there is none.
restart_runner() {
	[ ! -d /run/systemd/system ] || systemctl try-restart tcmu-runner.service || true
}
