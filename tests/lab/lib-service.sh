# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
# shellcheck shell=bash disable=SC2154
#
# What the tests of the D-Bus service and its commands share.  Sourced after lib.sh.

# json EXPRESSION: of what the last `told` printed, as Python sees it in `j`.
json() {
	python3 -c 'import json, sys
j = json.load(open(sys.argv[1]))
print(eval(sys.argv[2]))' "$LAB_TMP/told" "$1"
}

# told STATUS VERB [ARGUMENT…]: our command with --json, which must end so and print what its schema says.
told() {
	local wanted=$1 status=0
	shift
	"$cli" "$@" --json >"$LAB_TMP/told" || status=$?
	assert_eq "$status" "$wanted" "the status of '$*', which said $(<"$LAB_TMP/told")"
	python3 -c 'import json, sys, jsonschema
jsonschema.Draft202012Validator(json.load(open(sys.argv[1]))).validate(json.load(open(sys.argv[2])))' \
		"$LAB_SOURCE/docs/schema/$1.json" "$LAB_TMP/told" >&2
}

# complains STATUS REGEX VERB [ARGUMENT…]: our command must end so, with one sentence on stderr.
complains() {
	local wanted=$1 regex=$2 status=0
	shift 2
	"$cli" "$@" >"$LAB_TMP/said" 2>"$LAB_TMP/complained" || status=$?
	assert_eq "$status" "$wanted" "the status of '$*'"
	assert_match "$(<"$LAB_TMP/complained")" "^tcmu-integrity( [a-z]+)?: .*$regex"
	assert_eq "$(wc -l <"$LAB_TMP/complained")" 1 "lines of the complaint of '$*'"
}

# scrub_state LUN STATE, for wait_for.
scrub_is() {
	"$cli" scrub status "$1" --json 2>/dev/null >"$LAB_TMP/scrub.json" || :
	[[ $(python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["scrub"]["state"])' "$LAB_TMP/scrub.json" 2>/dev/null) == "$2" ]]
}

# service_is_there, for wait_for: our name is on the bus.
service_is_there() {
	dbus-send --system --print-reply --dest=org.freedesktop.DBus / \
		org.freedesktop.DBus.NameHasOwner string:org.tcmu_integrity1 | grep -q 'boolean true'
}

# metric NAME LABEL=VALUE…: its value in "$LAB_TMP/metrics", as Prometheus' own parsers read the text: that of
# OpenMetrics and the older one, which must agree.
metric() {
	python3 - "$LAB_TMP/metrics" "$@" <<'END'
import sys
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

text = open(sys.argv[1], encoding="utf-8").read()
labels = dict(word.split("=", 1) for word in sys.argv[3:])
seen = []
for parse in (openmetrics.text_string_to_metric_families, parser.text_string_to_metric_families):
    seen.append([sample.value for family in parse(text) for sample in family.samples
                 if sample.name == sys.argv[2] and labels.items() <= sample.labels.items()])
assert seen[0] == seen[1] and len(seen[0]) == 1, seen
print(int(seen[0][0]) if seen[0][0] == int(seen[0][0]) else seen[0][0])
END
}
