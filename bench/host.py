# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""This machine: one CPU of it for what is measured, and precedence on that CPU."""

from __future__ import annotations

import fcntl
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Optional

TOP = Path(__file__).resolve().parent.parent

# Seconds.
WAIT_FOR_CPU = 600


class CannotMeasure(Exception):
    """One sentence for a person."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r  {text} ", end="", file=sys.stderr, flush=True)


def _lock_one_of(cpus: list[int]) -> Optional[tuple[int, int]]:
    for cpu in cpus:
        fd = os.open(f"/sys/devices/system/cpu/cpu{cpu}", os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cpu, fd
        except OSError:
            os.close(fd)
    return None


@contextmanager
def cpu_of_our_own(wanted: Optional[int]) -> Iterator[int]:
    """A CPU to pin to, that lab boots keep off (tests/lab/boot takes the same lock)."""
    cpus = [wanted] if wanted is not None else sorted(os.sched_getaffinity(0), reverse=True)
    taken = _lock_one_of(cpus)
    if taken is None:
        say("  waiting for a CPU without a guest of the lab on it")
        for _ in range(WAIT_FOR_CPU):
            time.sleep(1)
            taken = _lock_one_of(cpus)
            if taken is not None:
                break
        else:
            raise CannotMeasure("Every CPU has a guest of the lab on it: try again when they have ended.")
    try:
        yield taken[0]
    finally:
        os.close(taken[1])


def give_precedence(pid: int) -> None:
    """Let a session of our own go before others: what else runs here would be measured as well.

    Where sessions share the CPU in groups, niceness counts only within the group.  A real-time class
    would be no good: a guest waits by spinning now and then.  Without root nothing happens.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, pid, -20)
        Path(f"/proc/{pid}/autogroup").write_text("-20", encoding="ascii")
    except OSError:
        pass


def start_with_precedence(cpu: int) -> Callable[[], None]:
    """For a child between fork and exec: a session of its own, pinned, with precedence."""

    def prepare() -> None:
        os.setsid()
        os.sched_setaffinity(0, [cpu])
        give_precedence(os.getpid())

    return prepare


def describe() -> dict[str, object]:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(),
            "load_before": os.getloadavg()[0]}
