# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""The engine alone against fio's io_uring engine, over the same file, on this machine's own kernel.

Both read and write the data file with O_DIRECT; the engine keeps tags on a second file as well.
Everything written is zeroes, so what fio writes matches the tags that are there.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Callable, Optional

from host import CannotMeasure, cpu_of_our_own, progress, start_with_precedence
from ratios import Column, Rates, ratio_column

# rw, bytes, depth
CELLS: dict[str, tuple[str, int, int]] = {
    "randwrite-1": ("randwrite", 4096, 1),
    "randwrite-16": ("randwrite", 4096, 16),
    "randread-1": ("randread", 4096, 1),
    "randread-16": ("randread", 4096, 16),
    "write-128k": ("write", 128 << 10, 16),
    "read-128k": ("read", 128 << 10, 16),
}

COLUMNS: list[Column] = [ratio_column("engine/fio", "engine / fio", "engine", "fio", goal=0.85)]


def _run(command: list[str], prepare: Optional[Callable[[], None]] = None) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False, preexec_fn=prepare)
    if done.returncode != 0:
        raise CannotMeasure(f"'{' '.join(command)}' failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _fio(data: Path, cell: str, mib: int, seconds: int, prepare: Callable[[], None]) -> tuple[int, int]:
    """Bytes and ms."""
    rw, block, depth = CELLS[cell]
    line = _run(["fio", "--minimal", "--name=fio", f"--filename={data}", "--ioengine=io_uring",
                 "--registerfiles=1", "--thread=1", "--direct=1", f"--rw={rw}", f"--bs={block}", f"--iodepth={depth}",
                 f"--size={mib}M", "--time_based", f"--runtime={seconds}", "--gtod_reduce=1",
                 "--zero_buffers=1", "--norandommap=1", "--randrepeat=0", "--invalidate=0"],
                prepare)
    fields = line.strip().splitlines()[-1].split(";")
    return (int(fields[5]) + int(fields[46])) * 1024, int(fields[8]) + int(fields[49])


def _ours(load: subprocess.Popen[str], cell: str, seconds: int) -> tuple[int, int]:
    rw, block, depth = CELLS[cell]
    assert load.stdin is not None and load.stdout is not None
    load.stdin.write(f"{rw} {block} {depth} {seconds}\n")
    load.stdin.flush()
    answer = load.stdout.readline().split()
    if len(answer) != 2:
        raise CannotMeasure("The engine's load generator gave up; its reason is above.")
    return int(answer[0]), int(answer[1]) // 1_000_000


def _rounds(build: Path, meta: Path, data: Path, cells: list[str], mib: int, rounds: int, seconds: int,
            prepare: Callable[[], None]) -> Rates:
    rates = Rates()
    with subprocess.Popen([str(build / "bench/engine_load"), str(meta), str(data)], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=prepare) as load:
        for number in range(rounds):
            for cell in cells:
                for who in ("engine", "fio") if number % 2 == 0 else ("fio", "engine"):
                    moved, ms = (_ours(load, cell, seconds) if who == "engine"
                                 else _fio(data, cell, mib, seconds, prepare))
                    rates.add(cell, who, moved, ms)
            progress(f"round {number + 1} of {rounds}")
        assert load.stdin is not None
        load.stdin.close()
        if load.wait() != 0:
            raise CannotMeasure("The engine could not close its pair; its reason is above.")
    return rates


def measure(build: Path, directory: Path, cpu: Optional[int], block_size: int, mib: int,
            cells: list[str], rounds: int, seconds: int) -> Rates:
    work = Path(tempfile.mkdtemp(prefix="bench-engine.", dir=directory))
    meta, data = work / "meta", work / "data"
    tool = str(build / "cli/tcmu-integrity")
    try:
        for file in (meta, data):
            with file.open("wb") as opened:
                opened.truncate(mib << 20)
        _run([tool, "format", str(meta), "--data-device", str(data), "--sector-size", str(block_size),
              "--batch-mode"])
        with cpu_of_our_own(cpu) as pinned:
            rates = _rounds(build, meta, data, cells, mib, rounds, seconds, start_with_precedence(pinned))
        # Both wrote the same blocks: were a tag wrong now, something would have been left out.
        _run([tool, "check", str(meta), "--data-device", str(data)])
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return rates
