# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
# shellcheck shell=bash disable=SC2154
#
# targetcli-ext for guest scripts, installed as CMake does it; sourced after lib.sh.

# install_targetcli_ext: targetcli-ext and tcmu-integrity are commands from now on.
install_targetcli_ext() {
	[[ $LAB_MODE == guest ]] || skip 'it installs into the system'
	mkdir -p /usr/local/share/tcmu-integrity/python
	cp -r "$LAB_SOURCE/targetcli-ext/tcmu_integrity_targetcli" /usr/local/share/tcmu-integrity/python/
	cp "$LAB_SOURCE/targetcli-ext/targetcli-ext" /usr/local/bin/
	ln -sf "$cli" /usr/local/sbin/tcmu-integrity
}

# ext COMMAND…: without the first run's word about preferences.
ext() {
	targetcli-ext "$@" 2>&1 | sed '/^Warning: Could not load preferences file/d'
}

# session LINE…: all of them in one shell; see targetcli_session.
session() {
	"$LAB_DIR/targetcli_session" "$TARGETCLI_HOME" "$@" 2>&1
}
