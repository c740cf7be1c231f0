# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""Whole LUNs, measured in the lab: one boot, pinned to one CPU, everything in it on RAM disks."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Optional

from host import TOP, CannotMeasure, cpu_of_our_own, give_precedence, progress, say
from ratios import Column, Rates, is_4k, quotient_column, ratio_column

# Every target there is, and what it is, in a few words.
TARGETS = {
    "integrity": "handler_integrity, the LUN that this project is about",
    "ceiling": "a handler without integrity: what tcmu-runner can do at most",
    "inline": "the same, always completing in handle_cmd (not by default)",
    "callouts": "the same, always completing in ->read and ->write (not by default)",
    "file": "tcmu-runner's own example file handler",
    "kernel": "LIO's iblock over the kernel's dm-integrity, same mode, digest and block size",
    "bare": "LIO's iblock over the bare RAM disk",
}
DEFAULT_TARGETS = ["integrity", "ceiling", "file", "kernel", "bare"]

COLUMNS: list[Column] = [
    ratio_column("integrity/ceiling", "integrity / ceiling", "integrity", "ceiling",
                 goal=0.9, goal_cells=is_4k),
    ratio_column("integrity/file", "integrity / file", "integrity", "file", goal=1.0),
    ratio_column("kernel/bare", "kernel / bare", "kernel", "bare"),
    quotient_column("overhead", "(integrity / ceiling) / (kernel / bare)",
                    ("integrity", "ceiling"), ("kernel", "bare"), goal=1.0),
    ratio_column("integrity/inline", "integrity / inline", "integrity", "inline"),
    ratio_column("integrity/callouts", "integrity / callouts", "integrity", "callouts"),
    ratio_column("inline/ceiling", "inline / ceiling", "inline", "ceiling"),
    ratio_column("callouts/ceiling", "callouts / ceiling", "callouts", "ceiling"),
]


def columns_for(targets: list[str]) -> list[Column]:
    def needs(column: Column) -> set[str]:
        return set(DEFAULT_TARGETS) - {"file"} if column.name == "overhead" else set(column.name.split("/"))

    return [column for column in COLUMNS if needs(column) <= set(targets)]


def _processes_of(run: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"uml_dir={run}/uml".encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def _prefer_guest(run: Path) -> None:
    """The guest makes itself a session when it is up; its later processes inherit."""
    for _ in range(10):
        time.sleep(0.5)
        for pid in _processes_of(run):
            give_precedence(pid)


def boot(build: Path, cpu: Optional[int], options: dict[str, str], time_limit: int) -> list[list[str]]:
    """Runs guest.sh in the lab; returns the words of its lines for us.  Tells how far it is."""
    lines: list[list[str]] = []
    run = Path(tempfile.mkdtemp(prefix="tcmu-bench."))
    try:
        with cpu_of_our_own(cpu) as pinned:
            command = [str(TOP / "tests/lab/boot"), "--build", str(build), "--run", str(run),
                       "--cpu", str(pinned), "--mem", "3G", "--time", str(time_limit),
                       str(TOP / "bench/guest.sh")]
            command += [f"{key}={value}" for key, value in options.items()]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as guest:
                threading.Thread(target=_prefer_guest, args=(run,), daemon=True).start()
                assert guest.stdout is not None
                for line in guest.stdout:
                    words = line.split()
                    if words[:1] == ["bench:"]:
                        lines.append(words[1:])
                        progress(f"{len(lines)} lines")
                    elif words:
                        say(f"  {line.rstrip()}")
            if guest.returncode != 0:
                raise CannotMeasure(f"The lab ended with status {guest.returncode}; "
                                    "what it said is above.")
    finally:
        shutil.rmtree(run, ignore_errors=True)
    return lines


def measure(build: Path, cpu: Optional[int], options: dict[str, str], time_limit: int) -> Rates:
    rates = Rates()
    lines = boot(build, cpu, options, time_limit)
    wanted = int(options["rounds"]) * len(options["cells"].split(",")) * len(options["targets"].split(","))
    if len(lines) != wanted:
        raise CannotMeasure(f"The lab measured {len(lines)} of {wanted}; what it said is above.")
    for kind, _, cell, target, moved, ms in lines:
        assert kind == "RESULT"
        rates.add(cell, target, int(moved), int(ms))
    return rates


# cell -> what is counted -> target -> how often per request
Calls = dict[str, dict[str, dict[str, float]]]


def profile(build: Path, cpu: Optional[int], options: dict[str, str], time_limit: int) -> Calls:
    calls: Calls = {}
    for kind, cell, target, requests, name, count in boot(build, cpu, options, time_limit):
        assert kind == "CALLS"
        calls.setdefault(cell, {}).setdefault(name, {})[target] = int(count) / int(requests)
    return calls


# What was flushed, and how often.
FLUSHED = ["fsync of a writer", "SYNCHRONIZE CACHE to the LUN", "flush of the data device",
           "flush of the metadata device"]


def flushes(build: Path, cpu: Optional[int], options: dict[str, str], time_limit: int) -> dict[str, int]:
    for kind, *counts in boot(build, cpu, options, time_limit):
        if kind == "FLUSHES" and len(counts) == len(FLUSHED):
            return {what: int(count) for what, count in zip(FLUSHED, counts)}
    raise CannotMeasure("The lab counted no flushes; what it said is above.")
